"""MemoryCache: a bounded aiocache backend in the memory of the process."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from aiocache.base import API
from aiocache.serializers import NullSerializer

from s1crets._fork import new_lock, on_fork
from s1crets.cache.backends.base import INFINITY, Storage, StorageCache

_R = TypeVar("_R")
_CHUNK = 250  # entries that are deleted before the event loop runs
_FREED = 25  # entries that are freed before it runs, if nobody waits for that


class MemoryCache(StorageCache):
    """A complete aiocache backend: bounded, the least recently used entry is evicted first.

    Expiry is checked when an entry is read. There is no timer and no event loop behind it
    (aiocache's own memory cache has both, and no bound), so it can be used from any thread and any
    loop. A hit takes no lock.

    `peek`, `peek_many` and `peek_stale` take keys as `build_key` returns them and answer with
    the stored value, without namespace, serializer and plugins.

    Args:
        size: number of entries at most.
        refresh_ahead: a hit within this many seconds of expiry is reported to `on_due`.
        stale_for: seconds after expiry during which `peek_stale` still returns the entry.
        on_due: called with the key of a hit that is due for a refresh.
        timer: monotonic seconds; injected by tests.
        serializer: aiocache's; the default stores values as they are.
        timeout: seconds that a call may take, or None.
        options: aiocache's other options: `plugins`, `namespace`, `key_builder`, `ttl`.

    Attributes:
        NAME: the backend's name in aiocache.
        size: see the argument.
    """

    NAME = "s1crets-memory"

    def __init__(
        self,
        *,
        size: int = 1000,
        refresh_ahead: float = 0.0,
        stale_for: float = 0.0,
        on_due: Callable[[Hashable], None] = lambda _: None,
        timer: Callable[[], float] = time.monotonic,
        serializer: Any = None,
        timeout: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(serializer=serializer or NullSerializer(), timeout=timeout, **options)
        self.size = size
        self._ahead = refresh_ahead
        self._kept = refresh_ahead + stale_for
        self._on_due = on_due
        self._timer = timer
        self._storage = _Entries(size, refresh_ahead, timer)
        self._entries = self._storage.entries
        self._touch = self._entries.move_to_end
        self._lock = new_lock()
        on_fork(self)

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = new_lock()

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, key: Hashable) -> Any:
        """Return the value of `key`, or None. Never waits."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, due = entry
        now = self._timer()
        if due <= now:
            return self._due(key, entry, now)
        try:  # noqa: SIM105  # contextlib.suppress would take half of the time of a hit
            self._touch(key)
        except KeyError:
            pass  # another thread has just removed it; the value that was read is valid
        return value

    def peek_many(self, keys: Sequence[Hashable]) -> list[Any]:
        """Return the values of `keys`, all of the same instant; None for a missing key."""
        with self._lock:
            entries = [self._entries.get(key) for key in keys]
        now = self._timer()
        return [self._due(key, entry, now) for key, entry in zip(keys, entries, strict=True)]

    def peek_stale(self, key: Hashable) -> Any:
        """Return the value of `key` until `stale_for` seconds after its expiry, or None."""
        value, due = self._entries.get(key, (None, -INFINITY))
        return value if self._timer() < due + self._kept else None

    def _due(self, key: Hashable, entry: tuple[Any, float] | None, now: float) -> Any:
        """Return the value of an entry that may be due or expired."""
        if entry is None:
            return None
        value, due = entry
        if due <= now:
            if due + self._ahead <= now:
                if due + self._kept <= now:
                    self._forget(key, entry)
                return None
            self._on_due(key)
        try:  # noqa: SIM105  # as in `peek`
            self._touch(key)
        except KeyError:
            pass
        return value

    def _forget(self, key: Hashable, entry: tuple[Any, float]) -> None:
        with self._lock:
            if self._entries.get(key) is entry:
                self._entries.pop(key, None)

    @property
    def full(self) -> bool:
        """Whether another entry would evict one."""
        return len(self._entries) >= self.size

    @API.aiocache_enabled()  # type: ignore[untyped-decorator]
    @API.timeout  # type: ignore[untyped-decorator]
    async def multi_set_if(
        self,
        items: Iterable[tuple[Hashable, Any, float]],
        is_wanted: Callable[[Hashable, Any], bool],
    ) -> None:
        """Store values in one step, as they are, if `is_wanted(key, value that is there)`.

        Each of `items` is a key, a value, and the seconds that it lives. The value that is there
        may have expired; None if there is none. `is_wanted` must not use the cache: it runs under a
        lock.
        """
        with self._lock:
            for key, value, ttl in items:
                there, _ = self._storage.find(key, expired=True) or (None, 0.0)
                if is_wanted(key, there):
                    self._storage.put(key, value, self._expires(ttl))

    async def delete_where(self, predicate: Callable[[Any, Any], bool]) -> int:
        """Delete entries for which `predicate(key, value)` is true, expired or not; count them.

        The event loop runs in between. The predicate must not use the cache: it runs under a lock.
        """
        keys = list(dict.keys(self._entries))  # one step: OrderedDict's own iterator hashes again
        count = 0
        for start in range(0, len(keys), _CHUNK):
            with self._lock:
                count += self._storage.remove_where(keys[start : start + _CHUNK], predicate)
            await asyncio.sleep(0)
        return count

    async def _clear(self, namespace: str | None = None, _conn: object = None) -> bool:
        if namespace:
            await self.delete_where(lambda key, _: str(key).startswith(namespace))
            return True
        with self._lock:
            removed = self._storage.entries
            self._entries = self._storage.entries = OrderedDict()
            self._touch = self._entries.move_to_end
        _free(removed)
        return True

    async def purge(self, prefix: str) -> None:
        """Delete all keys with a prefix."""
        await self._clear(prefix)

    async def _read(self, keys: Sequence[Hashable]) -> Sequence[Any]:
        return self.peek_many(keys)

    async def _transact(self, action: Callable[[Storage], _R]) -> _R:
        with self._lock:
            return action(self._storage)

    def _expires(self, ttl: float | None) -> float:
        return self._timer() + ttl if ttl else INFINITY


def _free(removed: OrderedDict[Hashable, Any]) -> None:
    """Free some entries, and the rest bit by bit: to free 100,000 at once takes 30 ms."""
    for _ in range(min(_FREED, len(removed))):
        removed.popitem()
    if removed:
        asyncio.get_running_loop().call_soon(_free, removed)


class _Entries:
    """The storage of a `MemoryCache`; it is used under the lock.

    An entry is the value and the time from which on a hit is due, `ahead` seconds before expiry.
    """

    def __init__(self, size: int, ahead: float, timer: Callable[[], float]) -> None:
        self._size = size
        self._ahead = ahead
        self._timer = timer
        self.entries: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()

    def find(self, key: Hashable, *, expired: bool = False) -> tuple[Any, float] | None:
        entry = self.entries.get(key)
        if entry is None:
            return None
        value, due = entry
        return (value, due + self._ahead) if expired or self._timer() < due + self._ahead else None

    def put(self, key: Hashable, stored: Any, expires: float) -> None:
        entries = self.entries
        entries[key] = stored, expires - self._ahead
        with suppress(KeyError):  # a signal handler has just removed it
            entries.move_to_end(key)
            while len(entries) > self._size:
                entries.popitem(last=False)

    def remove(self, key: Hashable) -> None:
        self.entries.pop(key, None)

    def remove_where(self, keys: Iterable[Hashable], predicate: Callable[[Any, Any], bool]) -> int:
        found = [(key, entry[0]) for key in keys if (entry := self.entries.get(key))]
        return sum(
            predicate(key, value) and self.entries.pop(key, None) is not None
            for key, value in found
        )

    def items(self) -> Iterable[tuple[Hashable, Any]]:
        found = [(key, self.find(key)) for key in list(dict.keys(self.entries))]
        return [(key, entry[0]) for key, entry in found if entry]
