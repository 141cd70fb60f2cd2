"""An aiocache backend in memory: bounded, least recently used first out, expiry checked at read."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer

from s1crets._runtime import on_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence


class MemoryCache(BaseCache):  # type: ignore[misc]  # aiocache has no type hints
    """Entries in this process's memory.

    No timer and no event loop is behind it (aiocache's own one has both, and no bound), so it can
    be used from any thread and any loop. A hit takes no lock.

    Args:
        size: how many entries it holds.
        ahead: seconds before its expiry from which on a hit is a late one.
        stale_for: seconds after its expiry that an entry is kept for `peek_stale`.
        on_late: told the key of every late hit.
        timer: a clock in seconds; injected by tests.
    """

    NAME = "s1crets-memory"

    def __init__(
        self,
        *,
        size: int = 1000,
        ahead: float = 0.0,
        stale_for: float = 0.0,
        on_late: Callable[[Hashable], None] = lambda _: None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(serializer=NullSerializer(), timeout=0)
        self.size = size
        self._ahead = ahead
        self._kept = ahead + stale_for
        self._on_late = on_late
        self._timer = timer
        self._entries: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()
        self._touch = self._entries.move_to_end
        self._lock = threading.Lock()
        on_fork(self)

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, key: Hashable) -> Any:
        """Return the value of `key`, or None. Does not wait for anything."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, late = entry
        now = self._timer()
        if late <= now:
            if late + self._ahead <= now:
                if late + self._kept <= now:
                    self._forget(key, entry)
                return None
            self._on_late(key)
        try:  # noqa: SIM105  # contextlib.suppress would take half of the time of a hit
            self._touch(key)
        except KeyError:
            pass  # another thread has just dropped it; what was read is good
        return value

    def peek_stale(self, key: Hashable) -> Any:
        """Return the value of `key` if it has expired at most `stale_for` ago, or not; or None."""
        value, late = self._entries.get(key, (None, float("-inf")))
        return value if self._timer() < late + self._kept else None

    @property
    def full(self) -> bool:
        """Whether another entry would push one out."""
        return len(self._entries) >= self.size

    def _forget(self, key: Hashable, entry: tuple[Any, float]) -> None:
        with self._lock:
            if self._entries.get(key) is entry:
                del self._entries[key]

    async def _get(self, key: Hashable, encoding: object = None, _conn: object = None) -> Any:  # noqa: ARG002
        return self.peek(key)

    async def _set(
        self,
        key: Hashable,
        value: object,
        ttl: float | None = None,
        _cas_token: Callable[[Hashable, Any], bool] | None = None,
        _conn: object = None,
    ) -> bool:
        return self.put(key, value, ttl, _cas_token)

    def put(
        self,
        key: Hashable,
        value: object,
        ttl: float | None,
        wanted: Callable[[Hashable, Any], bool] | None,
    ) -> bool:
        """Store a value, unless it is not wanted. `set` is the same, awaited.

        Args:
            key: its key.
            value: what.
            ttl: seconds, or None.
            wanted: told the key and the value that is there, at the last moment.
        """
        late = float("inf") if ttl is None else self._timer() + ttl - self._ahead
        with self._lock:
            there = self._entries.get(key, (None,))[0]
            if wanted is not None and not wanted(key, there):
                return False
            self._entries[key] = (value, late)
            self._entries.move_to_end(key)
            while len(self._entries) > self.size:
                self._entries.popitem(last=False)
        return True

    async def fill(
        self,
        entries: Mapping[Hashable, object],
        ttl: float,
        wanted: Callable[[Hashable, Any], bool],
        *,
        room_only: bool,
    ) -> None:
        """Store several, each if it is wanted; with `room_only`, while nothing is pushed out."""
        for key, value in entries.items():
            if room_only and self.full:
                break
            self.put(key, value, ttl, wanted)

    look = peek

    async def replace(
        self, namespaces: Sequence[str], entries: Mapping[str, object], ttl: float
    ) -> None:
        """Put some entries in the place of all in some namespaces."""
        for namespace in namespaces:
            await self.clear(namespace=namespace)
        for key, value in entries.items():
            self.put(key, value, ttl, None)

    async def _delete(self, key: Hashable, _conn: object = None) -> int:
        with self._lock:
            return 0 if self._entries.pop(key, None) is None else 1

    async def _clear(self, namespace: str | None = None, _conn: object = None) -> bool:
        with self._lock:
            for key in list(self._entries):
                if namespace is None or str(key).startswith(namespace):
                    del self._entries[key]
        return True
