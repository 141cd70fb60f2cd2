"""What a signal handler or a stopped event loop may leave between two steps."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest
from _support.world import PATH, A

from s1crets import _sync
from s1crets.cache.backends._sqlite import FetchLocks, select
from s1crets.cache.backends.disk import DiskCache
from s1crets.cache.backends.memory import MemoryCache
from s1crets.cache.entry import CachedValue, CacheKey, FetchToken, FetchTokens
from s1crets.cache.tiers import MemoryTier

if TYPE_CHECKING:
    from collections.abc import Iterator
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


async def test_a_derived_value_that_is_stored_in_between() -> None:
    """Another thread stores a path while this one stores a secret: an invalidation drops both."""
    backend, tokens = MemoryCache(), FetchTokens()
    tier = MemoryTier(backend, tokens)

    def put(key: CacheKey, values: dict[CacheKey, CachedValue]) -> Any:
        return tier.put(values, {key: tokens.add(FetchToken(key))}, {key: 100})

    class Values(dict[CacheKey, CachedValue]):
        def __iter__(self) -> Iterator[CacheKey]:
            with pytest.raises(StopIteration):  # it does not wait
                put(PATH, {PATH: CachedValue({"/a": "old"})}).send(None)
            return super().__iter__()

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
