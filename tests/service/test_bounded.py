"""Nothing grows with the names that were ever requested, and nothing stalls the event loop."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import sqlite3
import sys
import types
from collections import deque
from contextlib import closing
from functools import partial
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Asked, Wire, parameter, refusal
from _support.world import WORLDS, Clock, World
from botocore.loaders import Loader

import s1crets
from s1crets import _circuit_breaker
from s1crets._circuit_breaker import Backoff
from s1crets.cache import secret_cache, shared_tier, tombstones
from s1crets.cache.backends import _sqlite
from s1crets.cache.backends._sqlite import Database
from s1crets.cache.backends.disk import DiskCache
from s1crets.cache.backends.memory import MemoryCache
from s1crets.cache.entry import PATH, CachedValue, CacheKey, Fetched, FetchTokens
from s1crets.cache.tiers import MemoryTier
from s1crets.providers import rotation
from s1crets.providers.aws import ParameterStore, _store, parameter_store
from s1crets.providers.aws._retry import RateLimiter
from s1crets.providers.simple import AsyncSimpleProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("scripted")  # no local AWS, which takes seconds to start
NAMES = 16  # twice as many as a container may grow by
KEPT = 4  # what caches and tables are limited to
ROUNDS = range(NAMES // 2), range(NAMES, 2 * NAMES)  # of names; the first one fills the tables
TTL = 100.0
REFERENCE = "/aws/reference/secretsmanager/"


def containers(roots: Iterable[object]) -> Iterator[Any]:
    """Yield all containers that objects refer to, not through modules, loops or frames."""
    passed: tuple[type, ...] = (type, types.ModuleType, asyncio.AbstractEventLoop, Growth)
    passed += (types.FrameType, types.CoroutineType, sqlite3.Connection)
    passed += (ModuleSpec, type(s1crets.__loader__))  # pytest's, and with it all tests
    found = list(roots)
    seen = {id(root) for root in found}
    while found:
        one = found.pop()
        if isinstance(one, (dict, set, list, deque)):
            yield one
        if isinstance(one, Loader):  # of botocore's models, which are large
            yield from (kept for kept in vars(one).values() if isinstance(kept, dict))
            continue
        for referent in gc.get_referents(one):
            is_module = isinstance(one, types.FunctionType) and isinstance(referent, dict)
            if id(referent) not in seen and not isinstance(referent, passed) and not is_module:
                seen.add(id(referent))
                found.append(referent)


class Growth:
    """The containers of an object and of all modules of s1crets, and how large they were."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._before = self._sizes()

    def _sizes(self) -> dict[int, tuple[Any, int]]:
        gc.collect()
        modules = [name for name in sys.modules if name.startswith("s1crets")]
        own = [name for name in modules if not name.startswith("s1crets.testing")]
        roots = [self._root, *(vars(sys.modules[name]) for name in own)]
        return {id(one): (one, len(one)) for one in containers(roots)}

    def check(self) -> None:
        """Fail if a container has grown by half of the names, or is new and that large."""
        sizes = self._sizes()
        assert len(sizes) > 100
        grown = [
            f"{type(one).__name__} from {before} to {size}: {str(one)[:500]}"
            for number, (one, size) in sizes.items()
            if size >= (before := self._before.get(number, (None, 0))[1]) + NAMES // 2
            and not all(str(item).isidentifier() for item in one)  # attributes of a new object
        ]
        assert not grown


@pytest.fixture(autouse=True)
def _small_tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (shared_tier, tombstones, _sqlite, _circuit_breaker, _store, parameter_store):
        monkeypatch.setattr(module, "_REMEMBERED", KEPT)
    monkeypatch.setattr(parameter_store, "_LABELS", KEPT)
    monkeypatch.setattr(secret_cache, "_STOPPED", 0)  # seconds that fetch locks are waited for
    monkeypatch.setattr(rotation, "_BURST", 0)
    logging.disable()  # pytest keeps the records
    yield
    logging.disable(logging.NOTSET)


class Names(World):
    """A world of any names, some of which are missing or denied."""

    async def fetch(self, key: CacheKey) -> Fetched:
        if self.fails:
            raise self.fails
        if key.name.endswith("missing"):
            raise s1crets.SecretNotFoundError
        if key.name.endswith("denied"):
            raise s1crets.AccessDeniedError
        if key.kind != PATH:
            return Fetched("fake", 1)
        below = f"{key.name}/below"
        also = {CacheKey.of_secret(below): Fetched("fake", 1)}
        return Fetched({below: "fake"}, also=also)

    def ancestors(self, path: str) -> list[CacheKey]:
        return [CacheKey(path.rpartition("/")[0] or "/", PATH)]

    async def request(self, names: list[str], other: World) -> None:
        """Let everything happen to some names that can happen to a name."""
        cache, keys = self.cache, [CacheKey.of_secret(name) for name in names]
        await asyncio.gather(*(cache.read(key, cached=True) for key in keys))
        more = [
            *(CacheKey.of_secret(f"{name}/{end}") for name in names for end in ENDS),
            *(CacheKey(name, PATH) for name in names),
            *(CacheKey(name, options=(("version", 1),), secrets=(name,)) for name in names),
        ]
        for options in ({}, {"max_age": 0}):
            await cache.read_many([*keys, *more], {}, cached=True, **options)
        await cache.read_many(more, {}, cached=False)
        self.wait(TTL - 1)
        for fails in (None, s1crets.UnavailableError("fake")):
            self.fails = fails
            for key in keys:
                cache.peek(key)  # which starts a refresh
            await self.settle()
        self.wait(TTL)
        await cache.read_many(keys, {}, cached=True)  # stale values
        self.fails = None
        self.wait(9 * TTL)
        await other.cache.read(keys[0], cached=False)
        for key in keys:
            await other.cache._keys.lock([key])
            await cache.read(key, cached=True)
            await other.cache._keys.unlock([key])
        await cache.invalidate(names)


ENDS = ("missing", "denied")
AHEAD = {"cache_ttl": TTL, "jitter": 0, "refresh_ahead": 10, "stale_for": TTL, "missing_ttl": 9}


@pytest.mark.parametrize("place", ["memory", "disk", "shared"])
async def test_no_cache_grows_with_the_names_requested(tmp_path: Path, place: str) -> None:
    """Hits, misses, refusals, paths, versions, refreshes, outages, locks, invalidations."""
    memory = MemoryCache(size=10 * KEPT)
    args: Any = {
        "memory": dict,
        "disk": lambda: {"backend": DiskCache(tmp_path, size=10 * KEPT)},
        "shared": lambda: {"backend": lambda: memory, "local_ttl": TTL},
    }[place]
    world, other = (Names(cache_size=3 * KEPT, **AHEAD, **args()) for _ in range(2))
    growth: Any = None
    for numbers in ROUNDS:
        growth = Growth(world)
        for start in numbers[::KEPT]:
            names = [f"/{number}" for number in range(start, start + KEPT)]
            await world.request(names, other)
        for number in numbers:  # nobody writes in between
            world.cache.peek(CacheKey.of_secret(f"/{number}"))
        world.fetched.clear()
        other.fetched.clear()
    growth.check()
    for one in (world, other):
        WORLDS.remove(one)
        await one.cache.aclose()


async def test_no_folder_grows_with_the_names_requested(tmp_path: Path) -> None:
    """Names of secrets that are there, or not. Those of invalidated secrets stay for a day."""
    folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
    on_disk = {"cache_on_disk": True, "cache_key": b"k" * 32, "cache_size": 1, **folders}
    world = Names(**on_disk, cache_ttl=None, missing_ttl=9)
    names = [f"/{number}" for number in range(3 * NAMES)]
    for name in names[:NAMES]:
        await world.cache.invalidate([name])
    for end in ("", "/missing"):
        keys = [CacheKey.of_secret(name + end) for name in names[NAMES:]]
        await world.cache.read_many(keys, {}, cached=True)

    for folder in folders.values():
        with closing(sqlite3.connect(folder / "cache.db")) as file:
            (rows,) = file.execute("SELECT COUNT(*) FROM Cache").fetchone()
        assert NAMES < rows < 2 * NAMES + 10
    WORLDS.remove(world)
    await world.cache.aclose()


class Full(MemoryCache):
    """A cache that takes no tombstones."""

    async def _multi_set(self, *_: Any, **__: Any) -> Any:
        raise OSError("full")


async def test_undelivered_invalidations_do_not_grow() -> None:
    """Once they are many, everything is outdated."""
    world = Names(backend=Full())
    world.cache.spawn = lambda _: None  # nothing is delivered in the background
    await world.cache.read(CacheKey.of_secret("/a"), cached=True)
    growth = Growth(world)
    for number in range(NAMES):
        await world.cache.invalidate([f"/{number}"])
    growth.check()
    WORLDS.remove(world)


def of_name(asked: Asked) -> Any:
    """Respond to any operation about any names."""
    body = asked.body
    if "Path" in body:
        return {"Parameters": [{"Name": f"{body['Path']}/x", "Value": "fake"}]}
    names = body.get("Names") or [body["Name"]]
    if any("denied" in name for name in names):
        return refusal("AccessDeniedException")
    there = [name for name in names if "missing" not in name]
    if "Names" in body:
        missing = [name for name in names if name not in there]
        found = [{"Name": name, "Value": '{"k": "fake"}'} for name in there]
        return {"Parameters": found, "InvalidParameters": missing}
    return parameter(body["Name"], '{"k": "fake"}') if there else refusal("ParameterNotFound")


def test_no_provider_grows_with_the_names_requested(scripted: Wire) -> None:
    """Nor do its clients: of all verbs, on the portal and on other event loops."""
    operations = ("GetParameter", "GetParameters", "GetParametersByPath")
    scripted.answers = dict.fromkeys(operations, of_name)
    args: Any = {"cache_size": KEPT, "missing_ttl": 900}
    with ParameterStore(cache_args=args, max_connections=1) as ps:
        # A second passes between two requests, so that those of long ago are forgotten.
        seconds = map(float, itertools.count())
        limits: Any = ps.awaited._clients.spec.limits
        limits.default_factory = partial(RateLimiter, clock=lambda: next(seconds))
        growth: Any = None
        for numbers in ROUNDS:
            growth = Growth(ps)
            names = [f"/{number}" for number in numbers]
            request(ps, names)
            asyncio.run(gathered(ps.awaited, names))
            scripted.asked.clear()
        growth.check()


def request(ps: ParameterStore, names: list[str]) -> None:
    """Request names in each way that AWS's providers treat differently."""
    refusals = [f"{name}/{end}" for name in names for end in ENDS]
    ps.get_many([*names, *refusals], errors="return")
    for name in names:
        ps.get(f"{REFERENCE}{name[1:]}/k")
        ps.get_by_path(name, label=name[1:])

        @ps.refresh_on(ZeroDivisionError, path=name)
        def fail(_: Any) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()


async def gathered(ps: Any, names: list[str]) -> None:
    """Request names concurrently, on a loop of its own."""
    await asyncio.gather(*(ps.get(name, cached=False) for name in names))


def test_failures_of_names_are_forgotten() -> None:
    """Those of long ago, once there are many."""
    clock = Clock()
    backoff = Backoff(1, 30, timer=clock)
    for number in range(5_000):
        clock.now += 0.1
        backoff.failed(number)
        assert len(backoff.failed_keys) <= 1000
    assert backoff.is_waiting(4_999)


class Counted:
    """A value; `freed` counts those that were freed."""

    freed = 0

    def __del__(self) -> None:
        Counted.freed += 1


async def most_between_turns(
    work: Awaitable[object], count: Callable[[], int], until: int = 0
) -> int:
    """Await some work; return by how much a count grows at most between two turns of the loop.

    The loop turns further until the count is what it should be.
    """
    most, last = 0, count()
    task = asyncio.ensure_future(work)
    while not task.done() or last < until:
        await asyncio.sleep(0)
        most, last = max(most, count() - last), count()
    await task
    return most


ENTRIES = 5_000


@pytest.mark.parametrize("how", ["all", "one", "namespace"])
async def test_an_invalidation_lets_the_loop_run(how: str) -> None:
    """However many entries there are: few are looked at, or freed, between two of its turns."""
    backend = MemoryCache(size=ENTRIES)
    tier = MemoryTier(backend, FetchTokens())
    key = CacheKey("/a:0", secrets=("/a",))
    await tier.put({key: CachedValue("fake")}, await tier.begin([key]), {key: 9})
    for number in range(1, ENTRIES):
        await backend.set(CacheKey(f"/a:{number}", secrets=("/a",)), Counted(), ttl=9)
    work: dict[str, Any] = {
        "all": tier.invalidate(None),
        "one": tier.invalidate(["/a"]),
        "namespace": backend.clear(namespace="CacheKey"),
    }
    freed = Counted.freed
    most = await most_between_turns(work.pop(how), lambda: Counted.freed, until=freed + ENTRIES - 1)
    for other in work.values():
        other.close()

    assert most <= 500
    assert len(backend) == 0


async def test_an_invalidation_of_a_name_does_not_search_the_paths() -> None:
    """They are dropped in one step, and in as many turns of the loop as if there were none."""

    async def turns(paths: int) -> int:
        tier = MemoryTier(MemoryCache(), FetchTokens(), MemoryCache(size=ENTRIES))
        keys = [CacheKey(f"/a/{number}", PATH) for number in range(paths)]
        for key in keys:
            await tier.put({key: CachedValue({})}, await tier.begin([key]), {key: 9})
        assert [key for key in keys if not tier.peek_id(key.id)] == []
        task, count = asyncio.ensure_future(tier.invalidate(["/a/1"])), 0
        while not task.done():
            await asyncio.sleep(0)
            count += 1
        assert [key for key in keys if tier.peek_id(key.id)] == []
        return count

    assert await turns(ENTRIES) == await turns(0)


class AsyncVault(AsyncSimpleProvider):
    service = "vault"

    async def fetch(self, name: str) -> str:  # noqa: ARG002
        return "fake"

    async def names(self, path: str) -> list[str]:
        return [path]


async def test_an_invalidation_on_disk_is_one_transaction_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each folder. The number of rows does not matter."""
    transact, written = Database.write, []

    def write(self: Database, action: Any) -> Any:
        written.append(self)
        return transact(self, action)

    folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
    args: Any = {"cache_on_disk": True, "cache_key": b"k" * 32, "namespace": "n", **folders}
    async with AsyncVault(cache_args=args) as vault:
        await vault.get_many([f"/{one}" for one in range(50)])
        monkeypatch.setattr(Database, "write", write)
        await vault.invalidate()
        assert len(written) == len(set(written)) == 2
        assert vault.peek("/0") is None
