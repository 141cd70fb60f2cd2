"""Fetch locks: taken, renewed, released, and given up by whoever is cancelled."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
from _support.scripts import LIMIT
from _support.world import A, B, World, lock, text_of
from aiocache import SimpleMemoryCache

from s1crets._coalescing import contexts_of_callers
from s1crets.cache import DiskCache, MemoryCache, secret_cache, shared_tier
from s1crets.cache.backends.resilient_adapter import AiocacheBackend
from s1crets.cache.entry import CacheKey

if TYPE_CHECKING:
    from pathlib import Path

    from s1crets.cache.entry import Fetched


class Stolen(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache whose locks are always taken by others, who release them again at once."""

    async def _add(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        if ":lock:" in key:
            raise ValueError(key)
        return await super()._add(key, value, *args, **kwargs)


async def known(*worlds: World) -> None:
    """Resolve the scopes."""
    for world in worlds:
        await world.cache.read_many([], {}, cached=True)


async def test_a_lock_that_others_take_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is limited."""
    monkeypatch.setattr(secret_cache, "_STOPPED", 0.02)
    world = World(backend=Stolen())

    assert await world.get() == "v1"


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_a_cancelled_caller_gives_up_its_lock(kind: str, tmp_path: Path) -> None:
    """At once, where a lock does not expire."""
    memory = MemoryCache()

    def backend() -> Any:
        return memory if kind == "memory" else DiskCache(tmp_path)

    first, second = World(backend=backend()), World(backend=backend())
    await known(first, second)
    locking = asyncio.ensure_future(lock(first.cache._keys, A))
    await asyncio.sleep(0)
    locking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await locking

    if kind == "disk":
        assert await lock(second.cache._keys, A)
        await second.cache._keys.unlock([A])


@pytest.mark.parametrize("kind", ["memory", "disk", "server", "cluster"])
async def test_nothing_is_renewed_after_the_last_fetch(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as one runs, its lock is renewed: others see that its holder lives."""
    monkeypatch.setattr(shared_tier, "_LOCK_RENEWAL", 0)
    if kind in ("memory", "disk"):
        backend: Any = MemoryCache() if kind == "memory" else DiskCache(tmp_path)
    else:
        request.getfixturevalue("patient")
        backend = request.getfixturevalue("deployment_of")(kind).url
    first, second = World(backend=backend), World(backend=backend)
    await known(first, second)
    tier: Any = first.cache._keys
    for key in (A, B):
        assert await lock(tier, key)
    before = await second.cache._keys.lock_pulse(A)
    async with asyncio.timeout(LIMIT):
        while await second.cache._keys.lock_pulse(A) == before:
            await asyncio.sleep(0.001)
    for key in (A, B):
        await tier.unlock([key])
    async with asyncio.timeout(LIMIT):
        while await second.cache._keys.lock_pulse(A):  # a renewal was under way
            await asyncio.sleep(0.001)
    held = tier._locks._held_here()
    await tier._locks._renew(held)  # it was under way
    assert held.timer is None
    for world in (first, second):
        await world.cache.aclose()


async def test_a_renewal_under_way_does_not_lock_again() -> None:
    """A lock that was released meanwhile stays released."""

    class Slow(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
        arrived, gate = asyncio.Event(), asyncio.Event()

        async def _multi_set(self, pairs: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.gate.is_set():
                self.arrived.set()
                await self.gate.wait()
            return await super()._multi_set(pairs, *args, **kwargs)

    backend = Slow()
    backend.gate.set()
    first, second = World(backend=backend), World(backend=backend)
    await known(first, second)
    tier: Any = first.cache._keys
    assert await lock(tier, A)
    backend.gate.clear()
    renewal = asyncio.ensure_future(tier._locks._renew(tier._locks._held_here()))
    await backend.arrived.wait()
    await tier.unlock([A])
    backend.gate.set()
    await renewal

    assert await second.cache._keys.lock_pulse(A) is None


async def test_what_is_not_locked(tmp_path: Path) -> None:
    """Nothing happens: memory has no locks, a folder has none before it is opened."""
    backend = AiocacheBackend(SimpleMemoryCache(), "test", [])
    await backend.renew_locks(["a"], "me", 9)
    DiskCache(tmp_path).renew_lock("a")

    assert await backend.lock_pulses(["a"]) == {"a": None}
    assert await World().cache._keys.lock_pulse(A) is None


async def test_what_was_stored_since_it_was_peeked_at() -> None:
    """Is not fetched again: the fetch looks first."""
    world = World()
    found: Any = {}
    assert await world.get(A) == "v1"
    await world.cache.read_many([A], found, cached=True)

    assert found[A].raw == "v1"


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_many_that_are_cancelled_at_any_time_leave_no_lock(kind: str, tmp_path: Path) -> None:
    """Also where another process holds the lock of one of them."""
    memory = MemoryCache()
    one, other = (
        World(backend=memory if kind == "memory" else DiskCache(tmp_path)) for _ in range(2)
    )
    await known(one, other)
    for steps in range(25):
        keys = [CacheKey.of_secret(f"/{steps}/{name}") for name in "abc"]
        assert await lock(other.cache._keys, keys[2])
        reading = asyncio.ensure_future(one.cache.read_many(keys, {}, cached=True))
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await other.cache._keys.unlock([keys[2]])
        await one.settle()
        async with asyncio.timeout(LIMIT):
            for key in keys:
                while not await lock(other.cache._keys, key):
                    await asyncio.sleep(0)
        await other.cache._keys.unlock(keys)
    assert one.fetched
    for world in (one, other):
        await world.cache.aclose()


@pytest.mark.parametrize("ticks", range(40))
async def test_cancelled_at_any_time(ticks: int) -> None:
    """Of two names one is locked by another process. No lock is held afterwards."""
    backend = SimpleMemoryCache()
    first, second = World(backend=backend), World(backend=backend)
    await known(first, second)
    assert await lock(second.cache._keys, B)
    before = asyncio.all_tasks()
    reading = asyncio.ensure_future(first.cache.read_many([A, B], {}, cached=True))
    for _ in range(ticks):
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    while asyncio.all_tasks() - before:
        await asyncio.sleep(0)
    locks: Any = first.cache._keys
    held = locks._locks._held_here()

    assert not held.rows
    assert held.timer is None
    await second.cache._keys.unlock([B])


@pytest.mark.parametrize("is_stored", [False, True])
async def test_names_that_are_locked_do_not_hold_back_others(*, is_stored: bool) -> None:
    """Each waits on its own for another process, and is fetched for its own callers."""
    backend = SimpleMemoryCache()
    first, second = World(backend=backend), World(backend=backend)
    await known(first, second)
    assert await lock(second.cache._keys, B)
    caller: ContextVar[CacheKey] = ContextVar("caller")
    callers: dict[CacheKey, list[CacheKey]] = {}
    fetch = first.fetch

    async def noted(key: CacheKey) -> Fetched:
        callers[key] = [context[caller] for context in contexts_of_callers()]
        return await fetch(key)

    async def read(key: CacheKey) -> Any:
        caller.set(key)
        return text_of(await first.cache.read(key, cached=True))

    first.fetch = noted  # type: ignore[method-assign]
    waiting, free = (asyncio.ensure_future(read(key)) for key in (B, A))
    assert await free == "v1"
    assert not waiting.done()
    if is_stored:
        await second.cache.read(B, cached=False)
    await second.cache._keys.unlock([B])
    assert await waiting == ("v1" if is_stored else "v2")
    assert callers.get(B, [B]) == [B]
    assert first.fetched == ([A] if is_stored else [A, B])
