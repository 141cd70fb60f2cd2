"""Nothing grows with the names that were ever requested, and nothing stalls the event loop."""

from __future__ import annotations

import asyncio
import gc
import types
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from _support.world import Clock

from s1crets import _circuit_breaker
from s1crets._circuit_breaker import Backoff
from s1crets.cache import shared_tier
from s1crets.cache.backends import _sqlite
from s1crets.cache.backends._sqlite import Database
from s1crets.cache.backends.memory import MemoryCache
from s1crets.cache.entry import CachedValue, CacheKey, FetchTokens
from s1crets.cache.tiers import MemoryTier
from s1crets.providers.aws import AsyncSecretsManager
from s1crets.providers.simple import AsyncSimpleProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from _support.wire import Wire

NAMES = 300
MOST = 250  # items of a container


class AsyncVault(AsyncSimpleProvider):
    service = "vault"

    async def fetch(self, name: str) -> str | None:
        return None if "missing" in name else "fake"

    async def names(self, path: str) -> list[str]:
        return [path]


def containers(root: object) -> Iterator[Any]:
    """Yield all containers that an object refers to, not through modules, classes or loops."""
    seen, found = {id(root)}, [root]
    passed = (type, types.ModuleType, types.FrameType, asyncio.AbstractEventLoop)
    while found:
        one = found.pop()
        if isinstance(one, (dict, set, list, tuple, deque)):
            yield one
        for referent in gc.get_referents(one):
            is_module = isinstance(one, types.FunctionType) and isinstance(referent, dict)
            if id(referent) not in seen and not isinstance(referent, passed) and not is_module:
                seen.add(id(referent))
                found.append(referent)


@pytest.mark.parametrize("place", ["memory", "disk", "shared"])
async def test_nothing_grows_with_the_names_requested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Of values, missing secrets, paths, refreshes and rotations, with a cache of ten entries."""
    folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
    args: Any = {
        "memory": {},
        "disk": {"cache_on_disk": True, "cache_key": b"k" * 32, "namespace": "n", **folders},
        "shared": {"backend": MemoryCache(size=10), "local_ttl": 9, "namespace": "n"},
    }[place]
    for module in (shared_tier, _sqlite, _circuit_breaker):
        monkeypatch.setattr(module, "_REMEMBERED", 50)
    names = [f"/{number}" for number in range(NAMES)]
    async with AsyncVault(cache_args=args | {"cache_size": 10}) as vault:
        for start in range(0, NAMES, 50):
            some = names[start : start + 50]
            await vault.get_many(some)
            await vault.get_many([f"{name}/missing" for name in some], errors="return")
            for name in some[::5]:
                await vault.get_by_path(name)
        for name in names[:50]:
            await vault.invalidate(name)
        gc.collect()

        sizes = [(len(one), str(one)[:500]) for one in containers(vault)]
    assert len(sizes) > 50
    assert max(sizes)[0] < MOST, max(sizes)


async def test_groups_of_requests_are_forgotten(scripted: Wire) -> None:
    """Each version of a secret is a group of its own."""
    scripted.answers["GetSecretValue"] = lambda asked: {
        "Name": asked.body["SecretId"],
        "SecretString": "fake",
        "VersionId": asked.body.get("VersionId"),
    }
    async with AsyncSecretsManager() as sm:
        for number in range(20):
            await sm.get("a", version_id=f"{number:032}")
        store: Any = sm._store
        queues = store._batcher._queues.here()

    assert not queues


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


async def most_between_turns(work: Awaitable[object], count: Callable[[], int]) -> int:
    """Await some work; return by how much a count grows at most between two turns of the loop."""
    most, last = 0, count()
    task = asyncio.ensure_future(work)
    while not task.done():
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
    await tier.put(CachedValue("fake"), await tier.begin(CacheKey("/a:0", secrets=("/a",))), 9)
    for number in range(1, ENTRIES):
        await backend.set(CacheKey(f"/a:{number}", secrets=("/a",)), Counted(), ttl=9)
    work: dict[str, Any] = {
        "all": tier.invalidate(None),
        "one": tier.invalidate(["/a"]),
        "namespace": backend.clear(namespace="CacheKey"),
    }
    freed = Counted.freed
    most = await most_between_turns(work.pop(how), lambda: Counted.freed)
    for other in work.values():
        other.close()

    assert Counted.freed - freed >= ENTRIES - 1
    assert most <= 500
    assert len(backend) == 0


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
        await vault.get_many([f"/{one}" for one in range(200)])
        monkeypatch.setattr(Database, "write", write)
        await vault.invalidate()
        assert len(written) == len(set(written)) == 2
        assert vault.peek("/0") is None
