"""AiocacheBackend: any aiocache cache as the backend of a shared tier.

A failing or slow backend is a miss and one warning, and a circuit breaker leaves it alone for a
while: a cache must not be slower than AWS.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from aiocache.backends.memory import SimpleMemoryBackend
from aiocache.base import BaseCache

from s1crets._circuit_breaker import CircuitBreaker
from s1crets._per_loop import LoopLocal, PerLoop
from s1crets._runtime import run_in_thread
from s1crets.cache.backends.base import KernelLocks, SyncReadable
from s1crets.errors import NotPrivateError

R = TypeVar("R")
T = TypeVar("T")

_log = logging.getLogger("s1crets.cache")
_REST = 5.0  # seconds without calls after a failure
_CHUNK = 200  # keys per call, so that a busy process does not look like a slow backend
_CALLS = 8  # calls at a time: more would wait for the CPU, or for the pool of connections
_CLOSING = 1.0  # seconds that connections may take to close


class TimeBudget:
    """A time limit for one operation, and for several slow operations in a row.

    A public call takes several operations. The time of slow ones is subtracted from one budget,
    which recovers with time; when it is used up the backend counts as failed.
    """

    LIMIT = 1.0  # seconds
    _QUICK = 0.1  # seconds that an operation may take without being slow

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._left, self._updated = self.LIMIT, float("-inf")
        self._slow_until = float("-inf")

    def left(self) -> float:
        """Return the seconds that the next operation may take."""
        now = self._timer()
        left = self._left + (now - self._updated) * self.LIMIT / _REST
        self._left, self._updated = min(self.LIMIT, left), now
        return self._left

    def spend(self, began: float, busy: float) -> bool:
        """Subtract the time of an operation, without the `busy` seconds that this thread worked.

        Returns whether there is some left.
        """
        now = self._timer()
        if now - began - busy > self._QUICK:
            # The time that several callers waited at once is counted once.
            since = max(began + busy, self._slow_until)
            self._left = self.left() - max(now - since, 0)
            self._slow_until = now
        return self._left > 0

    def reset(self) -> None:
        """Forget the slow operations."""
        self._left = self.LIMIT


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
        self._is_bound = not isinstance(cache, (SyncReadable, SimpleMemoryBackend))
        self._loop: weakref.ref[asyncio.AbstractEventLoop] | None = None
        self._slots = LoopLocal(partial(asyncio.Semaphore, _CALLS))
        self._warned = warned
        self._timer = timer
        self._reads = CircuitBreaker(_REST, timer)
        self._writes = CircuitBreaker(_REST, timer)
        self._deletes = CircuitBreaker(_REST, timer)  # a full backend still deletes
        self._budget = None if self.sync is not None else TimeBudget(timer)

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

    async def set_many(self, texts: Mapping[str, str], ttl: float) -> bool:
        """Store texts; return whether that succeeded."""
        return all(
            [
                await self._call(self._writes, "multi_set", chunk, ttl=_whole(ttl))
                for chunk in _chunks(list(texts.items()))
            ]
        )

    async def add_many(self, texts: Mapping[str, str], ttl: float) -> dict[str, bool | None]:
        """Store the texts of keys that do not exist; return which, None if that is unknown."""

        async def add(key: str) -> bool | None:
            return await self._call(self._writes, "_add", key, texts[key], _whole(ttl))

        return dict(zip(texts, await asyncio.gather(*map(add, texts)), strict=True))

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Delete keys, unless the backend fails."""
        await asyncio.gather(*(self._call(self._deletes, "delete", key) for key in keys))

    async def purge(self, prefix: str) -> None:
        """Delete all keys with a prefix from a backend with `sync`."""
        if self.sync is not None:
            await self._guarded(self._writes, self.sync.purge(prefix))

    async def lock_many(self, keys: Sequence[str], ttl: float) -> dict[str, bool | None]:
        """Take fetch locks: False if another process has one, None if that is unknown."""
        if self._locks is not None:
            return {key: self._guarded_sync(self._locks.acquire_lock, key) for key in keys}
        return await self.add_many(dict.fromkeys(keys, "1"), ttl)

    async def unlock_many(self, keys: Sequence[str]) -> None:
        """Release fetch locks."""
        if self._locks is None:
            await self.delete_many(keys)
            return
        for key in keys:
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
            if verb == "_add":
                return await self._guarded(breaker, _add(cache, *args))
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
        began, busy = self._timer(), time.thread_time()
        try:
            async with asyncio.timeout(self._budget.left() if self._budget else None):
                result = await work
        except NotPrivateError:
            raise
        except ValueError as error:
            self._warn(type(error).__name__)  # an unreadable row says nothing about other rows
        except Exception as error:  # noqa: BLE001  # the cache is optional
            # Slow writes mean slow reads: one call must not wait for a budget of each.
            self._failed(self._reads if isinstance(error, TimeoutError) else breaker, error)
        else:
            if self._budget and not self._budget.spend(began, time.thread_time() - busy):
                self._failed(self._reads, TimeoutError("too slow"))
            return result
        return None

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
        if self._budget:
            self._budget.reset()
        # Messages about files contain no secrets; those of other caches might.
        words = "" if self.sync is None else f": {error}"
        self._warn(f"{type(error).__name__}{words}")

    def _warn(self, problem: str) -> None:
        if not self._warned:
            self._warned.append(problem)
            _log.warning("the cache %s fails (%s); continuing without it", self.title, problem)


def _whole(ttl: float) -> int | None:
    """Return whole seconds, since not every backend accepts fractions; None: without expiry."""
    return None if ttl == math.inf else math.ceil(ttl)


async def _add(cache: Any, key: str, text: str, ttl: int | None) -> bool | None:
    try:
        await cache.add(key, text, ttl=ttl)
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
            async with asyncio.timeout(_CLOSING):
                await _close(cache)
        except Exception as error:  # noqa: BLE001  # nothing more can be done
            _log.debug("closing a cache failed: %s", type(error).__name__)


def _create(factory: Callable[[], BaseCache]) -> BaseCache:
    """Create a cache. Blocks: redis-py reads its own version from files for each connection."""
    made: object = factory()
    if not isinstance(made, BaseCache):
        raise TypeError("the function must return an aiocache cache")
    cache = cast("Any", made)
    if _is_redis(cache):
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options = cache.client.connection_pool.connection_kwargs
        options.setdefault("retry", Retry(NoBackoff(), 1))  # a server closes idle connections
        about = getattr(cache.client.connection_pool.make_connection(), "driver_info", None)
        options.update({} if about is None else {"driver_info": about})
    return cache


async def _close(cache: Any) -> None:
    if _is_redis(cache):  # whose `close` leaves the pool open, and is deprecated
        await cache.client.aclose(close_connection_pool=True)
    else:
        await cache.close()


def _is_redis(cache: Any) -> bool:
    redis = sys.modules.get("aiocache.backends.redis")
    return redis is not None and isinstance(cache, redis.RedisBackend)
