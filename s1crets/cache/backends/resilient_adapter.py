"""AiocacheBackend: any aiocache cache as the backend of a shared tier.

A failing or slow backend is a miss and one warning, and a circuit breaker leaves it alone for a
while: a cache must not be slower than AWS.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import sys
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from aiocache.backends.memory import SimpleMemoryBackend
from aiocache.base import BaseCache

from s1crets._circuit_breaker import CircuitBreaker
from s1crets._runtime import LoopLocal, PerLoop, run_in_thread
from s1crets.cache.backends.base import (
    CacheFactory,
    KernelLocks,
    MultiWriter,
    SyncReadable,
    pausing,
)
from s1crets.errors import NotPrivateError

R = TypeVar("R")
T = TypeVar("T")

_log = logging.getLogger("s1crets.cache")
_REST = 5.0  # seconds without calls after a failure
_CHUNK = 200  # keys per call, so that a busy process does not look like a slow backend
_CALLS = 8  # calls at a time: more would wait for the CPU, or for the pool of connections


class _Operation:
    """An operation under way: when it began, and how many ticks it may last."""

    __slots__ = ("_before", "_budget", "_opening", "_paused", "began", "limit", "ticks")

    def __init__(self, budget: TimeBudget, limit: asyncio.Timeout, ticks: int) -> None:
        self._budget, self.limit, self.ticks = budget, limit, ticks
        self.began = budget.rough_now()
        self._opening = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count no time, but only so long: connections are opened for the operation."""
        if not self._opening:
            self._paused, self._before = self._budget.now(), self.ticks
            self.ticks = self._budget.ticks(TimeBudget.OPENING)
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1
            if not self._opening:
                self.began += self._budget.now() - self._paused
                self.ticks = self._before


class TimeBudget:
    """A time limit for each operation on an event loop, and for several slow ones in a row.

    A public call takes several operations. The time of slow ones is subtracted from one budget,
    which recovers with time; when it is used up the backend counts as failed.

    A process that gets no CPU reads answers late, which does not make the backend slow. So time
    counts as far as the loop could have noticed an answer: neither while it was late, nor while it
    worked itself. While operations are under way the loop ticks; one that lasts for too many ticks
    is cancelled.
    """

    LIMIT = 1.0  # seconds
    OPENING = 3.0  # seconds that it may take to open connections
    _QUICK = 0.1  # seconds that an operation may take without being slow
    _TICK = 0.01  # seconds: the smaller, the less counts of the time in which others have the CPU

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._left, self._updated = self.LIMIT, float("-inf")
        self._slow_until = float("-inf")
        self._under_way: set[_Operation] = set()
        self._is_ticking = False
        self._due = self._worked = self._uncounted = 0.0

    def now(self) -> float:
        """Return seconds that count."""
        return self.rough_now() - self._lost()

    def rough_now(self) -> float:
        """Return `now` and what the loop has worked since the last tick; in a tenth of the time."""
        return self._timer() - self._uncounted

    def _lost(self) -> float:
        """Return the seconds since the last tick that do not count."""
        late = asyncio.get_running_loop().time() - self._due
        return max(late, time.thread_time() - self._worked)

    def ticks(self, seconds: float) -> int:
        """Return the number of ticks in so many seconds."""
        return max(1, math.ceil(seconds / self._TICK))

    def begin(self, limit: asyncio.Timeout) -> _Operation:
        """Limit an operation that begins now."""
        if not self._is_ticking:
            self._tick_later()
        operation = _Operation(self, limit, self.ticks(self._left_now()))
        self._under_way.add(operation)
        return operation

    def end(self, operation: _Operation) -> bool:
        """Subtract the time of an operation, if it was slow; return whether there is some left."""
        self._under_way.discard(operation)
        if self.rough_now() - operation.began > self._QUICK:
            now = self.now()
            # The time that several callers waited at once is counted once.
            since = max(operation.began, self._slow_until)
            self._left = self._left_now() - max(now - since, 0)
            self._slow_until = self._updated = now
        return self._left > 0

    def _left_now(self) -> float:
        if self._left >= self.LIMIT:
            return self.LIMIT
        now = self.now()  # may be less than before, if the clock stood still
        left = self._left + max(now - self._updated, 0) * self.LIMIT / _REST
        self._left, self._updated = min(self.LIMIT, left), now
        return self._left

    def reset(self) -> None:
        """Forget the slow operations."""
        self._left = self.LIMIT

    def _tick_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._is_ticking, self._worked = True, time.thread_time()
        self._due = loop.time() + self._TICK
        loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._uncounted += self._lost()
        self._is_ticking = False
        if not self._under_way:
            return
        self._tick_later()
        for operation in list(self._under_way):
            operation.ticks -= 1
            if not operation.ticks:
                operation.limit.reschedule(0)


class AiocacheBackend:
    """An aiocache cache, used within time limits and on the event loops that it works on.

    Args:
        cache: an aiocache cache, used on the event loop that uses it first, and the caller's to
            close; or a function that returns a new cache, called once per event loop. What it
            returns is closed here.
        title: the backend's name in warnings.
        warned: the warnings that this provider has given; shared by its backends.
        timer: monotonic seconds; injected by tests.

    Attributes:
        sync: the cache, if it is read in the caller's thread.
    """

    def __init__(
        self,
        cache: BaseCache | Callable[[], BaseCache],
        title: str,
        warned: list[str],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title = title
        self.sync = cache if isinstance(cache, SyncReadable) else None
        self._cache: Any = cache if isinstance(cache, BaseCache) else None
        self._per_loop = (
            None if isinstance(cache, BaseCache) else PerLoop(partial(_lifetime, cache))
        )
        self._locks = cache if isinstance(cache, KernelLocks) else None
        self._explain = cache.explain if isinstance(cache, CacheFactory) else None
        self._is_bound = not isinstance(cache, (SyncReadable, SimpleMemoryBackend))
        self._loop: weakref.ref[asyncio.AbstractEventLoop] | None = None
        calls = cache.calls if isinstance(cache, CacheFactory) else _CALLS
        self._slots = LoopLocal(partial(asyncio.Semaphore, calls))
        self._budgets = LoopLocal(partial(TimeBudget, timer))
        self._warned = warned
        self._timer = timer
        self._reads = CircuitBreaker(_REST, timer)
        self._writes = CircuitBreaker(_REST, timer)
        self._deletes = CircuitBreaker(_REST, timer)  # a full backend still deletes

    @property
    def is_available(self) -> bool:
        """Whether the backend can be read, as far as is known."""
        return not (self._reads.has_failed and self._reads.is_open)

    def open(self) -> None:
        """Open files, if there are any; NotPrivateError if others can access them. Blocks."""
        if self.sync is not None:
            self._guarded_sync(self.sync.open)

    def peek_many(self, keys: Sequence[str]) -> Sequence[str | None]:
        """Return texts of a backend with `sync`, None for a missing text. Does not wait."""
        assert self.sync is not None
        return self._guarded_sync(self.sync.peek_many, keys) or [None] * len(keys)

    async def get_many(self, keys: Sequence[str]) -> list[str | None] | None:
        """Return texts, None for a missing text; None altogether if the backend fails."""
        if await self._cache_here() is None:
            return None
        found: list[str | None] = []
        for chunk in _chunks(keys):
            texts = await self._call(self._reads, "multi_get", chunk)
            if texts is None and not self._reads.is_open:
                texts = await self._get_one_by_one(chunk)
            if not isinstance(texts, (list, tuple)) or len(texts) != len(chunk):
                return None
            found += texts
        return found

    async def _get_one_by_one(self, keys: Sequence[str]) -> list[str | None]:
        """Return the same texts, and delete those that the cache's serializer can't read."""
        texts: list[str | None] = []
        for key in keys:
            text = await self._call(self._reads, "get", key, default="")
            if text is None:
                await self._call(self._writes, "delete", key)
            texts.append(text or None)
        return texts

    async def set_many(self, texts: Mapping[str, str], ttl: float, *, urgent: bool = False) -> bool:
        """Store texts, if it is urgent also after a failure; return whether that succeeded."""
        breaker = CircuitBreaker(0, self._timer) if urgent else self._writes
        return all(
            [
                await self._call(breaker, "multi_set", chunk, ttl=_whole(ttl))
                for chunk in _chunks(list(texts.items()))
            ]
        )

    async def add_many(self, texts: Mapping[str, str], ttl: float) -> dict[str, bool | None]:
        """Store the texts of keys that do not exist; return which, None if that is unknown."""

        async def add(key: str) -> bool | None:
            return await self._call(self._writes, "_add", key, texts[key], _whole(ttl))

        if not await self._writes_many():
            return dict(zip(texts, await asyncio.gather(*map(add, texts)), strict=True))
        added: dict[str, bool | None] = dict.fromkeys(texts)
        for chunk in _chunks(list(texts.items())):
            existing = await self._call(self._writes, "multi_add", chunk, ttl=_whole(ttl))
            if existing is not None:
                added |= {key: key not in existing for key, _ in chunk}
        return added

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Delete keys, unless the backend fails."""
        if await self._writes_many():
            for chunk in _chunks(keys):
                await self._call(self._deletes, "multi_delete", chunk)
        else:
            await asyncio.gather(*(self._call(self._deletes, "delete", key) for key in keys))

    async def _writes_many(self) -> bool:
        """Return whether the cache has operations for several keys; its plugins know none."""
        cache = await self._cache_here()
        return isinstance(cache, MultiWriter) and not cache.plugins

    async def purge(self, prefix: str) -> None:
        """Delete all keys with a prefix from a backend with `sync`."""
        if self.sync is not None:
            await self._guarded(self._writes, self.sync.purge(prefix))

    async def lock_many(
        self, keys: Sequence[str], holder: str, ttl: float
    ) -> dict[str, bool | None]:
        """Take fetch locks: False if another process has it, None if that is unknown."""
        if self._locks is not None:
            return {key: self._guarded_sync(self._locks.acquire_lock, key) for key in keys}
        return await self.add_many(dict.fromkeys(keys, holder), ttl)

    async def lock_pulses(self, keys: Sequence[str]) -> dict[str, str | None]:
        """Return what changes when a lock's holder renews it; None if it is free, or unknown."""
        if self._locks is not None:
            return {key: self._guarded_sync(self._locks.lock_pulse, key) for key in keys}
        return dict(zip(keys, await self.get_many(keys) or [None] * len(keys), strict=True))

    async def renew_locks(self, keys: Sequence[str], holder: str, ttl: float) -> None:
        """Renew the fetch locks that the holder still has."""
        if self._locks is not None:
            for key in keys:
                self._guarded_sync(self._locks.renew_lock, key)
        elif own := await self._locks_of(holder, keys):
            await self.set_many(dict.fromkeys(own, holder + os.urandom(4).hex()), ttl)

    async def unlock_many(self, keys: Sequence[str], holder: str) -> None:
        """Release the fetch locks that the holder still has."""
        if self._locks is not None:
            for key in keys:
                self.abandon_lock(key)
        else:
            await self.delete_many(await self._locks_of(holder, keys))

    async def _locks_of(self, holder: str, keys: Sequence[str]) -> list[str]:
        pulses = await self.lock_pulses(keys)
        return [key for key, pulse in pulses.items() if pulse and pulse.startswith(holder)]

    def abandon_lock(self, key: str) -> None:
        """Release a fetch lock at once if it does not expire."""
        if self._locks is not None:
            self._guarded_sync(self._locks.release_lock, key)

    async def aclose(self) -> None:
        """Close what was opened here."""
        if self._per_loop is not None:
            await self._per_loop.aclose()
        elif self.sync is not None:
            await self._guarded(self._reads, self._cache.close())

    async def _call(
        self, breaker: CircuitBreaker, verb: str, *args: Any, **kwargs: Any
    ) -> Any | None:
        """Return the result of a method of the cache, or None if it fails or takes too long."""
        if breaker.has_failed and breaker.is_open:
            return None
        async with self._slots.get(asyncio.get_running_loop()) or self._slots.here():
            if (breaker.has_failed and breaker.is_open) or (
                cache := await self._cache_here()
            ) is None:
                return None
            if (cache.timeout or 0) > TimeBudget.LIMIT:
                kwargs["timeout"] = 0  # or a process that gets no CPU looks like a slow backend
            if verb == "_add":
                return await self._guarded(breaker, _add(cache, *args, **kwargs))
            return await self._guarded(breaker, getattr(cache, verb)(*args, **kwargs))

    async def _cache_here(self) -> Any:
        """Return the cache for the running loop, or None if there is none."""
        if self._per_loop is not None:
            cache = self._per_loop.ready.get(asyncio.get_running_loop())
            return cache or await self._guarded(self._reads, self._per_loop.get())
        if self._is_bound:
            loop = asyncio.get_running_loop()
            if self._loop is None:
                self._loop = weakref.ref(loop)
            if self._loop() is not loop:
                self._warn("it belongs to another event loop: pass a function that returns a cache")
                return None
        return self._cache

    async def _guarded(self, breaker: CircuitBreaker, work: Awaitable[R]) -> R | None:
        """Return the result of `work`, or None if it fails or takes too long."""
        try:
            if self.sync is not None:
                return await work
            result, is_left = await self._limited(work)
        except NotPrivateError:
            raise
        except ValueError as error:
            self._warn(self._described(error))  # an unreadable row says nothing about other rows
        except Exception as error:  # noqa: BLE001  # the cache is optional
            # Slow writes mean slow reads: one call must not wait for a budget of each.
            self._failed(self._reads if isinstance(error, TimeoutError) else breaker, error)
        else:
            if not is_left:
                self._failed(self._reads, TimeoutError("too slow"))
            return result
        return None

    async def _limited(self, work: Awaitable[R]) -> tuple[R, bool]:
        """Return the result of `work`, and whether there is time left for more."""
        budget = self._budgets.get(asyncio.get_running_loop()) or self._budgets.here()
        async with asyncio.timeout(None) as limit:
            operation = budget.begin(limit)
            pausing.set(operation.paused)
            try:
                result = await work
            finally:
                is_left = budget.end(operation)
        return result, is_left

    def _guarded_sync(self, function: Callable[..., R], *args: Any) -> R | None:
        if not self.is_available:
            return None
        try:
            return function(*args)
        except NotPrivateError:
            raise
        except Exception as error:  # noqa: BLE001  # the cache is optional
            self._failed(self._reads, error)
            return None

    def _failed(self, breaker: CircuitBreaker, error: Exception) -> None:
        breaker.failed()
        if breaker is self._reads or isinstance(error, TimeoutError):
            self._writes.failed()  # storing what can't be read again is useless
            self._deletes.failed()
        for budget in self._budgets.values():
            budget.reset()
        self._warn(self._described(error))

    def _described(self, error: Exception) -> str:
        # Messages about files contain no secrets; those of other caches might.
        words = str(error) if self.sync is not None else ""
        if self._explain:
            words = self._explain(error)
        return f"{type(error).__name__}: {words}" if words else type(error).__name__

    def _warn(self, problem: str) -> None:
        if not self._warned:
            self._warned.append(problem)
            _log.warning("the cache %s fails (%s); continuing without it", self.title, problem)


def _whole(ttl: float) -> int | None:
    """Return whole seconds, since not every backend accepts fractions; None: without expiry."""
    return None if ttl == math.inf else math.ceil(ttl)


async def _add(cache: Any, key: str, text: str, ttl: int | None, **options: Any) -> bool | None:
    try:
        await cache.add(key, text, ttl=ttl, **options)
    except ValueError:  # aiocache's error for a key that exists
        return False
    except NotImplementedError:
        return None
    return True


def _chunks(items: Sequence[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), _CHUNK):
        yield list(items[start : start + _CHUNK])


async def _lifetime(factory: Any) -> AsyncGenerator[BaseCache, None]:
    cache = await run_in_thread(_create, factory)
    try:
        yield cache
    finally:
        try:
            budget = TimeBudget(time.monotonic)
            async with asyncio.timeout(None) as limit:
                operation = budget.begin(limit)
                try:
                    await _close(cache)
                finally:
                    budget.end(operation)
        except Exception as error:  # noqa: BLE001  # nothing more can be done
            _log.debug("closing a cache failed: %s", type(error).__name__)


def _create(factory: Callable[[], BaseCache]) -> BaseCache:
    """Create a cache. Blocks."""
    made: object = factory()
    if not isinstance(made, BaseCache):
        raise TypeError("the function must return an aiocache cache")
    return made


async def _close(cache: Any) -> None:
    if _is_redis(cache):  # whose `close` leaves the pool open, and is deprecated
        await cache.client.aclose(close_connection_pool=True)
    else:
        await cache.close()


def _is_redis(cache: Any) -> bool:
    redis = sys.modules.get("aiocache.backends.redis")
    return redis is not None and isinstance(cache, redis.RedisBackend)
