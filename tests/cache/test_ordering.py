"""The ordering rule: after an update or an invalidation nobody gets an older value.

`World` and `Service` stand for processes with caches in the same place; a fetch is held back until
a test releases it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from _support.scripts import LIMIT
from _support.wire import Wire, parameter
from _support.world import PATH, A, B, Clock, Source
from aiocache import SimpleMemoryCache
from hypothesis import given, settings
from hypothesis import strategies as st

from s1crets.cache import DiskCache, MemoryCache, tombstones
from s1crets.cache.entry import (
    CachedValue,
    CacheKey,
    Fetched,
    FetchId,
    FetchToken,
    Record,
    pack,
    unpack,
)
from s1crets.cache.scope import Scope
from s1crets.cache.secret_cache import SecretCache
from s1crets.errors import AccessDeniedError, UnavailableError
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NEW, OLD = b"n" * 32, b"o" * 32


class Service(Source):
    """A service whose answers a test holds back; caches of several processes in front of it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.requests: asyncio.Queue[asyncio.Future[Fetched]] = asyncio.Queue()

    def cache(self, **args: Any) -> SecretCache:
        args = {"jitter": 0, **args}
        return SecretCache(args, self, timer=self.clock, clock=self.clock)  # type: ignore[arg-type]

    async def fetch(self, key: CacheKey) -> Fetched:  # noqa: ARG002
        answer: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()
        await self.requests.put(answer)
        return await answer

    async def read(self, cache: SecretCache, key: CacheKey) -> tuple[Any, asyncio.Future[Fetched]]:
        """Begin to read; return the read, and the answer that the service is to give."""
        reading = asyncio.ensure_future(cache.read(key, cached=False))
        return reading, await self.requests.get()

    async def store(self, cache: SecretCache, key: CacheKey, fetched: Fetched) -> None:
        """Read a key, with this answer."""
        reading, answer = await self.read(cache, key)
        answer.set_result(fetched)
        await reading


@pytest.fixture
async def pair(place: Any) -> AsyncIterator[tuple[Service, SecretCache, SecretCache]]:
    """Yield a service and two caches in front of it, which share their entries if they can."""
    service = Service()
    caches = [service.cache(**place())]
    # Memory is not shared; with a memory in front, the updates of others are seen later.
    is_own = not place() or "local_ttl" in place()
    caches.append(caches[0] if is_own else service.cache(**place()))
    yield service, caches[0], caches[1]
    for cache in caches:
        await cache.aclose()


async def stored(cache: SecretCache, key: CacheKey) -> Any:
    """Return what a cache has, without asking the service."""
    found = await cache._tier(key).look_up(key)
    return found.raw if isinstance(found, CachedValue) else None


@pytest.mark.parametrize("key", [A, PATH])
@pytest.mark.parametrize("secrets", [["/a"], None])
async def test_a_fetch_from_before_an_invalidation_is_not_served(
    pair: Any, key: CacheKey, secrets: Any
) -> None:
    """Also if another process has invalidated the secret, or everything."""
    service, cache, other = pair
    await other.read_many([], {}, cached=True)
    reading, answer = await service.read(cache, key)
    await other.invalidate(secrets)
    answer.set_result(Fetched("old", 1))
    assert (await reading).raw == "old"
    assert await stored(cache, key) is None

    await service.store(cache, key, Fetched("new", 2))
    assert await stored(other, key) == "new"


@pytest.mark.parametrize(("first", "second", "stays"), [(8, 7, "v8"), (7, 8, "v8"), (7, 7, "v7")])
async def test_of_two_fetches_that_overlap_the_higher_version_wins(
    pair: Any, first: int, second: int, stays: str
) -> None:
    """In whichever order they land."""
    service, cache, other = pair
    late, late_answer = await service.read(cache, A)
    await service.store(other, A, Fetched(f"v{first}", first))
    late_answer.set_result(Fetched(f"v{second}", second))
    await late

    assert await stored(cache, A) == stays


async def test_without_versions_the_later_fetch_wins(pair: Any) -> None:
    """Though the earlier fetch lands later."""
    service, cache, other = pair
    late, late_answer = await service.read(cache, PATH)
    await service.store(other, PATH, Fetched({"/p/a": "new"}))
    late_answer.set_result(Fetched({"/p/a": "old"}))
    await late

    assert await stored(cache, PATH) == {"/p/a": "new"}


async def test_a_secret_created_again_replaces_the_former(pair: Any) -> None:
    """Its versions begin with 1 again, and the fetches do not overlap."""
    service, cache, other = pair
    await service.store(cache, A, Fetched("v7", 7))
    await service.store(other, A, Fetched("v1", 1))

    assert await stored(cache, A) == "v1"


async def test_an_invalidation_reaches_every_key_of_a_secret(pair: Any) -> None:
    """Versions and ARNs, and paths; other secrets stay."""
    service, cache, other = pair
    version = CacheKey("/a:3", options=(("version", "3"),), secrets=("/a",))
    other_version = CacheKey("/b:3", options=(("version", "3"),), secrets=("/b",))
    for key in (A, version, PATH, B, other_version):
        await service.store(cache, key, Fetched("old", 1))
    await other.invalidate(["/a"])

    found = [await stored(cache, key) for key in (A, version, PATH, B, other_version)]
    assert found == [None, None, None, "old", "old"]


async def test_an_invalidation_leaves_fetches_of_other_secrets_alone(pair: Any) -> None:
    """Their results are stored."""
    service, cache, _ = pair
    reading, answer = await service.read(cache, B)
    await cache.invalidate(["/a"])
    answer.set_result(Fetched("v", 1))
    await reading

    assert await stored(cache, B) == "v"


async def test_a_cancelled_invalidation_runs_to_its_end(pair: Any) -> None:
    """Half of it would be worse than none."""
    service, cache, other = pair
    for key in (A, PATH):
        await service.store(cache, key, Fetched("old", 1))
    invalidating = asyncio.ensure_future(cache.invalidate(["/a"]))
    await asyncio.sleep(0)
    invalidating.cancel()
    while cache._invalidations:
        await asyncio.sleep(0.001)

    assert invalidating.cancelled()
    assert [await stored(c, key) for c in (cache, other) for key in (A, PATH)] == [None] * 4


async def test_a_read_after_a_cancelled_invalidation_joins_no_earlier_fetch(pair: Any) -> None:
    """Its first moment is enough."""
    service, cache, _ = pair
    early = asyncio.ensure_future(cache.read(A, cached=True))
    early_answer = await service.requests.get()
    invalidating = asyncio.ensure_future(cache.invalidate(None))
    await asyncio.sleep(0)
    invalidating.cancel()
    late = asyncio.ensure_future(cache.read(A, cached=True))
    late_answer = await asyncio.wait_for(service.requests.get(), 60)
    early_answer.set_result(Fetched("old", 1))
    late_answer.set_result(Fetched("new", 2))

    assert [(await early).raw, (await late).raw] == ["old", "new"]
    assert await stored(cache, A) == "new"


@pytest.mark.parametrize("size", [1, 10, 1000])
async def test_tombstones_are_not_evicted_by_size(tmp_path: Path, size: int) -> None:
    """However many other entries are stored after the invalidation."""
    service = Service()
    args: Any = {"cache_on_disk": True, "cache_size": size, "cache_key": OLD}
    folders = {"key_cache_dir": tmp_path / "k", "path_cache_dir": tmp_path / "p"}
    cache, other = (service.cache(**args, **folders) for _ in range(2))
    reading, answer = await service.read(cache, A)
    await service.store(cache, A, Fetched("older", 0))
    await other.invalidate(["/a"])
    others = [CacheKey.of_secret(f"/{i}") for i in range(size + 1)]
    reads = asyncio.ensure_future(other.read_many(others, {}, cached=False))
    for _ in others:
        (await service.requests.get()).set_result(Fetched("v", 1))
    await reads
    answer.set_result(Fetched("old", 1))
    await reading

    assert [await stored(cache, A), await stored(other, A)] == [None, None]
    await cache.aclose()
    await other.aclose()


@pytest.mark.parametrize("rings", [([OLD], [NEW, OLD]), ([NEW, OLD], [OLD, NEW]), ([OLD], [OLD])])
@pytest.mark.parametrize("key", [A, PATH])
async def test_key_rings_of_a_roll_out(rings: Any, key: CacheKey) -> None:
    """While a key is replaced, some processes have the old key ring and some the new."""
    service, backend = Service(), SimpleMemoryCache()
    updater, reader = (service.cache(backend=backend, cache_key=ring) for ring in rings)
    await service.store(reader, key, Fetched("old", 1))
    assert await stored(reader, key) == "old"
    await updater.invalidate(["/a"])

    assert await stored(reader, key) is None


async def test_an_update_under_another_identity_counts() -> None:
    """Tombstones belong to the place, entries to the owner."""
    backend = SimpleMemoryCache()
    services = [Service(), Service()]
    for service, owner in zip(services, ("reader", "writer"), strict=True):
        scope = Scope("the same place", owner)

        async def resolve(scope: Scope = scope) -> Scope:
            return scope

        service.scope = resolve  # type: ignore[method-assign]
    reader, writer = (service.cache(backend=backend) for service in services)
    await services[0].store(reader, A, Fetched("old", 1))
    assert await stored(writer, A) is None
    await writer.invalidate(["/a"])

    assert await stored(reader, A) is None


class Faulty(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache that rejects writes while a test says so."""

    is_full = False

    async def _multi_set(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_full:
            raise OSError("full")
        return await super()._multi_set(*args, **kwargs)


@pytest.mark.parametrize("count", [1, 1001, None])
async def test_an_undelivered_invalidation_is_delivered_later(count: int | None) -> None:
    """Until then this process does not use the entries; afterwards no process does."""
    backend, service = Faulty(), Service()
    args: Any = {"backend": backend, "cache_ttl": 10_000, "stale_for": 100}
    cache, other = service.cache(**args), service.cache(**args)
    for key in (A, PATH, B):
        await service.store(cache, key, Fetched("old", 1))
    await other.read_many([], {}, cached=True)
    backend.is_full = True
    names = None if count is None else ["/a", *(f"/{i}" for i in range(count - 1))]
    await cache.invalidate(names)

    async def found(by: SecretCache) -> list[Any]:
        return [await stored(by, key) for key in (A, PATH, B)]

    b = "old" if count == 1 else None
    assert await found(cache) == [None, None, b]
    assert await cache._keys.find(A) is None
    backend.is_full = False
    service.clock.now += 10  # the circuit breaker lets the next call through
    assert await found(cache) == [None, None, b]
    assert await found(other) == [None, None, b]


class Gated(Faulty):
    """A cache that also rejects deletions, and holds back the answer to a write."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: asyncio.Event | None = None
        self.written = asyncio.Event()

    async def _multi_set(self, *args: Any, **kwargs: Any) -> Any:
        result = await super()._multi_set(*args, **kwargs)
        gate, self.gate = self.gate, None
        if gate is not None:
            self.written.set()
            await gate.wait()
        return result

    async def _delete(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_full:
            raise OSError("full")
        return await super()._delete(*args, **kwargs)

    async def held(self) -> asyncio.Event:
        """Wait until the next write has been done; return what releases its answer."""
        gate = self.gate = asyncio.Event()
        self.written.clear()
        await self.written.wait()
        return gate


async def test_of_two_invalidations_of_a_secret_the_failed_one_is_delivered_later() -> None:
    """The other one began before, and is answered after it: that says nothing about it."""
    backend, service = Gated(), Service()
    cache, other = service.cache(backend=backend), service.cache(backend=backend)
    await service.store(other, A, Fetched("old", 1))
    await cache.read_many([], {}, cached=True)
    first = asyncio.ensure_future(cache.invalidate(["/a"]))
    answer = await backend.held()
    await service.store(other, A, Fetched("between", 2))
    backend.is_full = True
    await cache.invalidate(["/a"])
    backend.is_full = False
    answer.set()
    await first
    service.clock.now += 10  # the circuit breaker lets the next call through

    assert await stored(cache, A) is None
    assert await stored(other, A) is None


async def test_an_invalidation_that_fails_while_others_are_delivered_is_delivered_later() -> None:
    """Though nobody reads in this process."""
    backend, service = Gated(), Service()
    cache, other = service.cache(backend=backend), service.cache(backend=backend)
    await cache.read_many([], {}, cached=True)
    backend.is_full = True
    await cache.invalidate(["/a"])
    backend.is_full = False
    answer = await backend.held()  # of the next attempt
    await service.store(other, B, Fetched("old", 1))
    backend.is_full = True
    await cache.invalidate(["/b"])
    backend.is_full = False
    answer.set()
    async with asyncio.timeout(LIMIT):
        while await stored(other, B) is not None:
            await asyncio.sleep(0.01)


async def test_many_look_ups_see_what_failed_while_others_were_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key whose invalidation is not delivered yet is not read."""
    monkeypatch.setattr(tombstones, "_RETRY", 9 * LIMIT)  # the look-ups deliver, nobody before
    backend, service = Gated(), Service()
    cache, other = service.cache(backend=backend), service.cache(backend=backend)
    await cache.read_many([], {}, cached=True)
    backend.is_full = True
    await cache.invalidate(["/a"])
    backend.is_full = False
    await service.store(other, B, Fetched("old", 1))
    service.clock.now += 10  # the circuit breaker lets the next call through
    reading = asyncio.ensure_future(cache._keys.look_up_many([A, B]))
    answer = await backend.held()
    backend.is_full = True
    await cache.invalidate(["/b"])
    answer.set()
    found = await reading

    assert [type(found[key]) for key in (A, B)] == [FetchToken, FetchToken]
    backend.is_full = False
    await cache.aclose()


class FaultyMemory(MemoryCache):
    """A cache that is read without waiting, and rejects writes while a test says so."""

    is_full = False

    async def _multi_set(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_full:
            raise OSError("full")
        return await super()._multi_set(*args, **kwargs)


async def test_a_full_backend_still_deletes() -> None:
    """Other processes get no old value, though it takes no tombstone."""
    backend, service = Faulty(), Service()
    cache, other = service.cache(backend=backend), service.cache(backend=backend)
    await service.store(other, A, Fetched("old", 1))
    await cache.read_many([], {}, cached=True)
    backend.is_full = True
    await cache.invalidate(["/a"])

    assert await stored(other, A) is None
    await cache.aclose()


async def test_an_undelivered_invalidation_hides_entries_from_peek() -> None:
    """Until it is delivered."""
    backend, service = FaultyMemory(timer=lambda: 0.0), Service()
    cache = service.cache(backend=backend)
    for key in (A, B, PATH):
        await service.store(cache, key, Fetched("old", 1))
    backend.is_full = True
    await cache.invalidate(["/a"])
    found = [cache.peek(key) for key in (A, B, PATH)]

    assert [held and held.raw for held in found] == [None, "old", None]
    await cache.aclose()


async def test_a_backend_that_fails_while_a_fetch_is_under_way() -> None:
    """The value is served and not stored; a refusal is remembered until it can be delivered."""

    class Failing(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
        fails = False

        async def _multi_get(self, *args: Any, **kwargs: Any) -> Any:
            if self.fails:
                raise ConnectionError
            return await super()._multi_get(*args, **kwargs)

    backend, service = Failing(), Service()
    cache = service.cache(backend=backend)
    reading, answer = await service.read(cache, A)
    refused, refusal = await service.read(cache, B)
    backend.fails = True
    answer.set_result(Fetched("v", 1))
    assert (await reading).raw == "v"
    refusal.set_exception(AccessDeniedError("no"))
    with pytest.raises(AccessDeniedError):
        await refused
    await cache.aclose()


async def test_a_path_fills_the_memory_and_the_shared_tier(place: Any) -> None:
    """Its secrets are cached under their own names; unless something was invalidated meanwhile."""
    service = Service()
    cache = service.cache(**place())
    member = CacheKey.of_secret("/p/a")
    also = {member: Fetched("v", 1)}
    await service.store(cache, PATH, Fetched({"/p/a": "v"}, 1, also))
    assert await stored(cache, member) == ("v" if _fills(place()) else None)
    await cache.invalidate(["/p/a"])
    reading, answer = await service.read(cache, PATH)
    await cache.invalidate(["/p/b"])
    answer.set_result(Fetched({"/p/a": "old"}, 1, {member: Fetched("old", 1)}))
    await reading
    assert await stored(cache, member) is None
    await cache.aclose()


def _fills(args: dict[str, Any]) -> bool:
    """Return whether a place has room that can be told: a shared backend may be anybody's."""
    backend = args.get("backend")
    return backend is None or "local_ttl" in args or isinstance(backend, (MemoryCache, DiskCache))


async def test_a_path_does_not_fill_what_another_process_invalidated(tmp_path: Path) -> None:
    """Its tombstone of paths is another one by then; a newer entry of a member stays too."""
    service = Service()
    backend = MemoryCache(timer=lambda: 0.0)
    cache, other = service.cache(backend=backend), service.cache(backend=backend)
    member = CacheKey.of_secret("/p/a")
    await other.read_many([], {}, cached=True)
    reading, answer = await service.read(cache, PATH)
    await other.invalidate(["/x"])
    answer.set_result(Fetched({"/p/a": "v"}, 1, {member: Fetched("v", 1)}))
    await reading
    assert await stored(cache, member) is None
    reading, answer = await service.read(cache, PATH)
    await service.store(other, member, Fetched("newer", 2))
    answer.set_result(Fetched({"/p/a": "v"}, 1, {member: Fetched("v", 1)}))
    await reading
    assert await stored(cache, member) == "newer"


async def test_a_path_is_not_filled_from_a_backend_that_fails_meanwhile() -> None:
    """Whether something was invalidated is unknown."""

    class Failing(MemoryCache):
        fails = False

        async def _multi_get(self, *args: Any, **kwargs: Any) -> Any:
            if self.fails:
                raise ConnectionError
            return await super()._multi_get(*args, **kwargs)

    backend, service = Failing(timer=lambda: 0.0), Service()
    cache = service.cache(backend=backend)
    reading, answer = await service.read(cache, PATH)
    backend.fails = True
    answer.set_result(Fetched({"/p/a": "v"}, 1, {CacheKey.of_secret("/p/a"): Fetched("v", 1)}))
    assert (await reading).raw == {"/p/a": "v"}
    backend.fails = False
    service.clock.now += 10
    assert await stored(cache, CacheKey.of_secret("/p/a")) is None


async def test_without_a_scope_nothing_is_stored_and_nothing_dropped() -> None:
    """The identity could not be found out."""
    service = Service()

    async def unknown() -> Scope:
        raise UnavailableError("no")

    service.scope = unknown  # type: ignore[method-assign]
    backend = SimpleMemoryCache()
    cache = service.cache(backend=backend)
    await service.store(cache, A, Fetched("v", 1))
    reading, answer = await service.read(cache, PATH)
    answer.set_exception(AccessDeniedError("no"))
    with pytest.raises(AccessDeniedError):
        await reading
    assert not any(str(row).startswith("s1crets:plain") for row in backend._cache)


async def test_an_idle_process_delivers_in_the_background() -> None:
    """Nobody has to read for that."""
    backend, service = Faulty(), Service()
    cache, other = service.cache(backend=backend), service.cache(backend=backend)
    await service.store(other, PATH, Fetched("old", 1))
    await cache.read_many([], {}, cached=True)
    backend.is_full = True
    await cache.invalidate(["/a"])
    assert await stored(other, PATH) == "old"
    backend.is_full = False
    service.clock.now += 10
    for _ in range(6000):
        if await stored(other, PATH) is None:
            await cache.aclose()
            return
        await asyncio.sleep(0.01)
    pytest.fail("the invalidation was not delivered")


async def test_closing_delivers(tmp_path: Path) -> None:
    """A command ends right after its update."""
    backend, service = Faulty(), Service()
    cache, other = service.cache(backend=backend), service.cache(backend=backend)
    await service.store(other, A, Fetched("old", 1))
    await cache.read_many([], {}, cached=True)
    backend.is_full = True
    await cache.invalidate(["/a"])
    backend.is_full = False
    service.clock.now += 10
    await cache.aclose()

    assert await stored(other, A) is None


async def test_the_tombstone_comes_before_the_deletion() -> None:
    """Between the two a reader finds an entry that does not count."""

    class Watched(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
        found: Any = "not deleted"

        async def _delete(self, *args: Any, **kwargs: Any) -> Any:
            self.found = await stored(cache, A)
            return await super()._delete(*args, **kwargs)

    service, backend = Service(), Watched()
    cache = service.cache(backend=backend)
    await service.store(cache, A, Fetched("old", 1))
    await cache.invalidate(["/a"])

    assert backend.found is None


@pytest.mark.parametrize("which", ["tombstone:", "encrypted:"])
async def test_a_lost_row_costs_a_fetch_and_nothing_else(which: str) -> None:
    """Redis may evict any row; an entry without its tombstone does not count again."""
    service, backend = Service(), SimpleMemoryCache()
    cache = service.cache(backend=backend, cache_key=OLD)
    await service.store(cache, A, Fetched("old", 1))
    copy = dict(backend._cache)
    await cache.invalidate(["/a"])
    await service.store(cache, A, Fetched("new", 2))
    for row in [row for row in backend._cache if which in row]:
        del backend._cache[row]
        if which in "encrypted:":
            backend._cache[row] = copy.get(row)

    assert await stored(cache, A) is None
    await service.store(cache, A, Fetched("newer", 3))
    assert await stored(cache, A) == "newer"


async def test_damaged_tombstones_match_no_entry() -> None:
    """And they are repaired by nobody but the next invalidation: the next entry has them."""
    service, backend = Service(), SimpleMemoryCache()
    cache = service.cache(backend=backend)
    await service.store(cache, A, Fetched("old", 1))
    for row in [row for row in backend._cache if "tombstone" in row]:
        backend._cache[row] = "garbage"
    assert await stored(cache, A) is None
    await service.store(cache, A, Fetched("new", 2))

    assert await stored(cache, A) == "new"


async def test_clocks_of_other_machines_do_not_matter() -> None:
    """An updater an hour behind, or ahead, of the reader."""
    backend, services = SimpleMemoryCache(), [Service(), Service()]
    for skew in (-3600, 3600):
        services[1].clock.now = services[0].clock.now + skew
        reader, writer = (service.cache(backend=backend) for service in services)
        await services[0].store(reader, A, Fetched("old", 1))
        await writer.read_many([], {}, cached=True)
        await writer.invalidate(["/a"])
        assert await stored(reader, A) is None
        await services[1].store(writer, A, Fetched("new", 2))
        assert await stored(writer, A) == "new"


async def test_the_wall_clock_of_this_machine_is_set_back(tmp_path: Path) -> None:
    """Memory does not depend on it; on disk an entry from the future is a miss."""
    service = Service()
    wall = Clock()
    args: Any = {"cache_ttl": 100, "stale_for": 100, "jitter": 0}
    in_memory = SecretCache(args, service, timer=service.clock, clock=wall)
    folder = DiskCache(tmp_path / "c", clock=lambda: 1000.0)
    args_on_disk: Any = {**args, "backend": folder}
    on_disk = SecretCache(args_on_disk, service, timer=service.clock, clock=wall)
    for cache in (in_memory, on_disk):
        await service.store(cache, A, Fetched("v", 1))
    for step, expected in ((-3600, None), (0, "v"), (3600, None)):
        wall.now = 1000.0 + step
        assert await stored(in_memory, A) == "v"
        assert await stored(on_disk, A) == expected
        found = await on_disk._keys.find(A)
        assert (found and found.raw) == expected
    await on_disk.aclose()


@given(st.binary(max_size=60))
def test_unpack_accepts_any_bytes(data: bytes) -> None:
    """Rows may have been written by anybody."""
    record = unpack(data)

    assert record is None or unpack(pack(record)) is not None


@given(
    st.floats(allow_nan=False),
    st.dictionaries(st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8)),
    st.text() | st.binary() | st.dictionaries(st.text(), st.text() | st.binary()),
)
def test_pack_and_unpack(version: float, tombstones: dict[bytes, bytes], raw: Any) -> None:
    """They are inverse."""
    record = Record(1.0, 2.0, version, FetchId(1, 2), tombstones, raw)

    assert unpack(pack(record)) == record


def test_a_fetch_yields_to_no_entry_that_it_saw() -> None:
    """Nor to nothing."""
    seen = FetchId(7, 7)
    record = Record(1.0, 2.0, 9, seen, {}, "v")

    assert not FetchToken(A, seen=seen).yields_to(record, 1)
    assert not FetchToken(A).yields_to(None, 1)
    assert FetchToken(A).yields_to(record, 1)
    assert not FetchToken(A).yields_to(record, 9)  # another process: the later landing wins


STEPS = st.sampled_from(["read", "fetch", "land", "crash", "update", "invalidate", "evict"])


@pytest.mark.parametrize("kind", ["memory", "shared", "foreign", "encrypted", "disk"])
@settings(max_examples=40)
@given(steps=st.lists(st.tuples(STEPS, st.integers(0, 1), st.booleans()), max_size=25))
def test_no_read_is_older_than_the_last_completed_update(
    tmp_path_factory: pytest.TempPathFactory, kind: str, steps: list[tuple[str, int, bool]]
) -> None:
    """Over random interleavings of fetch, update, invalidation, crash and eviction.

    Two processes; the service has a number that grows with each update. A read from a cache, path
    or secret, never returns less than the number at the last update that was completed before.
    """

    async def main() -> None:  # noqa: PLR0912  # a branch per step
        folder = tmp_path_factory.mktemp("cache") / "c" if kind == "disk" else None
        backend: Any = {
            "memory": lambda: None,
            "shared": lambda: MemoryCache(size=8, timer=lambda: 0.0),
            "foreign": SimpleMemoryCache,
            "encrypted": SimpleMemoryCache,
            "disk": lambda: DiskCache(folder or "", size=3, unbounded_prefix="s1crets:tombstone:"),
        }[kind]()
        service = Service()
        args: dict[str, Any] = {} if backend is None else {"backend": backend}
        if kind == "encrypted":
            args["cache_key"] = [OLD, NEW]
        caches = [service.cache(**args, cache_size=3) for _ in range(2)]
        if backend is None:
            caches[1] = caches[0]
        number, completed = 1, 1
        flying: list[tuple[Any, asyncio.Future[Fetched], CacheKey, int]] = []
        for step, process, is_path in steps:
            cache, key = caches[process], PATH if is_path else CacheKey.of_secret("/p/a")
            if step == "read":
                found = await stored(cache, key)
                value = found["/p/a"] if isinstance(found, dict) else found
                assert value is None or int(value) >= completed
            elif step == "fetch":
                reading, answer = await service.read(cache, key)
                flying.append((reading, answer, key, number))
            elif step == "land" and flying:
                reading, answer, key, seen = flying.pop(len(flying) // 2)
                raw: Any = {"/p/a": str(seen)} if key is PATH else str(seen)
                also = {CacheKey.of_secret("/p/a"): Fetched(str(seen), seen)} if key is PATH else {}
                answer.set_result(Fetched(raw, seen, also))
                await reading
            elif step == "crash" and flying:
                reading, *_ = flying.pop()
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            elif step == "update":
                number += 1
                await cache.invalidate(["/p/a"])
                completed = number
            elif step == "invalidate":
                await cache.invalidate(None)
            elif step == "evict" and not (kind == "shared" and flying):  # it evicts tombstones too
                for i in range(4):
                    name = CacheKey.of_secret(f"/other/{i}")
                    await service.store(cache, name, Fetched("x", 1))
        for reading, *_ in flying:
            reading.cancel()
        await asyncio.gather(*(reading for reading, *_ in flying), return_exceptions=True)
        for cache in caches:
            await cache.aclose()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
@pytest.mark.parametrize("kind", [AsyncParameterStore, AsyncSecretsManager])
async def test_another_providers_update_on_the_wire(
    scripted: Wire, tmp_path: Path, kind: Any
) -> None:
    """They share a folder: what the other was fetching is not served any more."""
    go = threading.Event()
    value = ["old"]

    def read(_: Any) -> Any:
        found = value[0]
        go.wait(30)
        return {**parameter("/a", found), "SecretString": found, "Name": "/a"}

    scripted.answers = {
        "GetParameter": read,
        "GetSecretValue": read,
        "DescribeParameters": {"Parameters": [{"Name": "/a", "Type": "SecureString"}]},
        "PutParameter": {"Version": 2},
        "PutSecretValue": {"VersionId": "v2"},
    }
    args: Any = {
        "cache_on_disk": True,
        "key_cache_dir": tmp_path / "keys",
        "path_cache_dir": tmp_path / "paths",
    }
    async with kind(cache_args=args) as ps, kind(cache_args=args) as other:
        reading = asyncio.ensure_future(ps.get("/a"))
        while not scripted.count("GetParameter") + scripted.count("GetSecretValue"):
            await asyncio.sleep(0.01)
        await other.update("/a", "new")
        value[0] = "new"
        go.set()
        assert await reading == "old"
        assert [await ps.get("/a"), await other.get("/a")] == ["new", "new"]


async def test_versions_come_from_aws(ssm: Any, asm: Any, top: str) -> None:
    """Parameter Store's number, in single reads and batches; a secret's date of creation."""
    for i in range(3):
        ssm.put_parameter(Name=top, Value=f"v{i}", Type="String", Overwrite=True)
    ssm.put_parameter(Name=f"{top}/b", Value="v", Type="String")
    made = asm.create_secret(Name=top, SecretString="v")
    created = asm.get_secret_value(SecretId=made["ARN"])["CreatedDate"].timestamp()
    async with AsyncParameterStore() as ps, AsyncSecretsManager() as sm:
        for wanted in ([top], [top, f"{top}/b"]):
            await ps.get_many(wanted, cached=False)
            held = ps.cached_value(ps.key_of(top))
            assert held is not None
            assert held.version == 3
        await sm.get(top)
        held = sm.cached_value(sm.key_of(top))
        assert held is not None
        assert held.version == created


@pytest.mark.parametrize("form", ["arn", "partial arn"])
async def test_an_update_by_arn_is_seen_under_the_name(asm: Any, top: str, form: str) -> None:
    """And under the ARN."""
    arn = asm.create_secret(Name=top, SecretString="old")["ARN"]
    async with AsyncSecretsManager() as sm:
        for name in (top, arn):
            assert await sm.get(name) == "old"
        await sm.update(arn if form == "arn" else arn[:-7], "new")
        assert [await sm.get(top), await sm.get(arn)] == ["new", "new"]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("/a", "/a:3"),
        ("/a", "/a"),
        ("/a", "arn:aws:ssm:eu-west-1:1:parameter/a"),
        ("a", "arn:aws:ssm:eu-west-1:1:parameter/a:label"),
        ("a", "a"),
    ],
)
async def test_a_parameter_is_invalidated_under_every_name(
    scripted: Wire, name: str, form: str
) -> None:
    """Version, label and ARN."""
    scripted.answers["GetParameter"] = parameter(name, "v")
    async with AsyncParameterStore() as ps:
        await ps.get(name)
        await ps.invalidate(form)
        assert ps.peek(name) is None
