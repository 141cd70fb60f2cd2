"""What a signal handler or a stopped event loop may leave between two steps."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest
from _support.world import PATH, A, B, World
from aiocache import SimpleMemoryCache

from s1crets import _sync
from s1crets.cache.backends._sqlite import FetchLocks, select
from s1crets.cache.backends.disk import DiskCache
from s1crets.cache.backends.memory import MemoryCache
from s1crets.cache.entry import CachedValue, CacheKey, FetchToken, FetchTokens
from s1crets.cache.tiers import MemoryTier
from s1crets.errors import SecretNotFoundError

if TYPE_CHECKING:
    from pathlib import Path


class Interrupted(MemoryCache):
    """A cache in which an invalidation comes right after a value was stored."""

    tokens: FetchTokens

    async def multi_set_if(self, *args: Any, **kwargs: Any) -> Any:
        stored = await super().multi_set_if(*args, **kwargs)
        self.tokens.void(None, paths=True)
        return stored


async def test_what_is_voided_while_it_is_stored_does_not_stay() -> None:
    """An invalidation in a signal handler deletes nothing that is not there yet."""
    backend, tokens = Interrupted(), FetchTokens()
    backend.tokens = tokens
    token = tokens.add(FetchToken(A))
    value = CachedValue("old", 1.0, token.fetch)
    await MemoryTier(backend, tokens).put({A: value}, {A: token}, {A: 100})

    assert backend.peek(A.id) is None


async def test_cancelled_while_the_values_of_a_group_are_stored() -> None:
    """No work on the name that could not be read is left over, which Python would warn of."""
    storing = asyncio.Event()

    class Slow(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
        async def _multi_set(self, pairs: Any, *args: Any, **kwargs: Any) -> Any:
            if storing.is_set() or not any("tombstone" not in key for key, _ in pairs):
                return await super()._multi_set(pairs, *args, **kwargs)
            storing.set()
            return await asyncio.Event().wait()

    world = World(backend=Slow())
    fetch = world.fetch

    async def one_fails(key: CacheKey) -> Any:
        if key == B:
            raise SecretNotFoundError("no")
        return await fetch(key)

    world.fetch = one_fails  # type: ignore[method-assign]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        reading = asyncio.ensure_future(world.cache.read_many([A, B], {}, cached=False))
        await storing.wait()
        before = asyncio.all_tasks()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        for _ in range(10):
            await asyncio.sleep(0)
        del reading
        gc.collect()
    assert len(asyncio.all_tasks()) < len(before)
    # Others are of what other tests have left.
    assert not [one for one in warned if one.category is RuntimeWarning]
    await world.cache.aclose()


async def test_a_derived_value_that_is_stored_in_between() -> None:
    """Another thread stores a path while this one stores a secret: an invalidation drops both."""
    backend, tokens = MemoryCache(), FetchTokens()
    tier = MemoryTier(backend, tokens)

    def put(key: CacheKey, values: dict[CacheKey, CachedValue]) -> Any:
        return tier.put(values, {key: tokens.add(FetchToken(key))}, {key: 100})

    class Values(dict[CacheKey, CachedValue]):
        def items(self) -> Any:
            with pytest.raises(StopIteration):  # it does not wait
                put(PATH, {PATH: CachedValue({"/a": "old"})}).send(None)
            return super().items()

    await put(A, Values({A: CachedValue("old")}))
    assert backend.peek(PATH.id) is not None
    await tier.invalidate(["/a"])
    assert backend.peek(PATH.id) is None


def test_a_read_that_interrupts_another_is_not_older(tmp_path: Path) -> None:
    """It does not use the snapshot of what it interrupts."""
    disk, other = DiskCache(tmp_path), DiskCache(tmp_path)
    asyncio.run(disk.set("k", "old"))
    assert disk.peek("k") == "old"

    def interrupted(execute: Any, keys: list[str]) -> str | None:
        execute("BEGIN")
        select(execute, keys)
        asyncio.run(other.set("k", "new"))
        try:
            return disk.peek("k")
        finally:
            execute("COMMIT")

    assert disk._database.read(interrupted, ["k"]) is None
    assert disk.peek("k") == "new"
    for cache in (disk, other):
        asyncio.run(cache.close())


def test_the_locks_of_a_stopped_loop_are_free(tmp_path: Path) -> None:
    """Its fetches may never end."""
    locks = FetchLocks(os.open(tmp_path / "locks", os.O_RDWR | os.O_CREAT))

    async def take() -> bool:
        return locks.acquire("k")

    stopped = asyncio.new_event_loop()
    try:
        assert stopped.run_until_complete(take())
        assert asyncio.run(take())
        locks.release("k")  # outside of the loop that has it: nothing happens
    finally:
        stopped.close()


def test_a_cancelled_call_of_the_facade_ends() -> None:
    """Its caller gets the exception of concurrent.futures."""

    async def cancelled() -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(CancelledError):
        _sync._portal.run(_sync._Call(cancelled))
