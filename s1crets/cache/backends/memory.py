"""MemoryCache: a bounded aiocache backend in the memory of the process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer

from s1crets._runtime import on_fork
from s1crets.cache.backends.base import SyncReadable

_INFINITY = float("inf")


class MemoryCache(BaseCache, SyncReadable):  # type: ignore[misc]  # aiocache has no type hints
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
        # The value, and the time from which on a hit is due: `refresh_ahead` before the expiry.
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
        value, due = self._entries.get(key, (None, -_INFINITY))
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
                del self._entries[key]

    @property
    def full(self) -> bool:
        """Whether another entry would evict one."""
        return len(self._entries) >= self.size

    def delete_where(self, predicate: Callable[[Any, Any], bool]) -> int:
        """Delete entries for which `predicate(key, value)` is true, expired or not; count them.

        The predicate runs under the lock: it must not use the cache.
        """
        with self._lock:
            found = [key for key, (value, _) in self._entries.items() if predicate(key, value)]
            for key in found:
                del self._entries[key]
        return len(found)

    async def purge(self, prefix: str) -> None:
        """Delete all keys with a prefix."""
        await self._clear(prefix)

    # The storage operations behind aiocache's public methods. Those with an underscore that are
    # not async need the lock.

    def _live(self, key: Hashable) -> tuple[Any, float] | None:
        entry = self._entries.get(key)
        return entry if entry is not None and self._timer() < entry[1] + self._ahead else None

    def _due_after(self, ttl: float | None) -> float:
        return self._timer() + ttl - self._ahead if ttl else _INFINITY

    def _store(self, key: Hashable, value: object, due: float) -> None:
        self._entries[key] = (value, due)
        self._entries.move_to_end(key)
        while len(self._entries) > self.size:
            self._entries.popitem(last=False)

    async def _get(self, key: Hashable, encoding: object = None, _conn: object = None) -> Any:
        return self.peek(key)

    _gets = _get

    async def _multi_get(
        self, keys: Sequence[Hashable], encoding: object = None, _conn: object = None
    ) -> list[Any]:
        return self.peek_many(keys)

    async def _set(
        self,
        key: Hashable,
        value: object,
        ttl: float | None = None,
        _cas_token: Any = None,
        _conn: object = None,
    ) -> bool:
        """Store a value. With a token, only if it equals the value that is stored.

        The token may also be a function of the key and the value that is stored, expired or not:
        it decides under the lock whether to store.
        """
        due = self._due_after(ttl)
        with self._lock:
            if callable(_cas_token):
                if not _cas_token(key, self._entries.get(key, (None,))[0]):
                    return False
            elif _cas_token is not None and _cas_token != (self._live(key) or (None,))[0]:
                return False
            self._store(key, value, due)
        return True

    async def _multi_set(
        self,
        pairs: Iterable[tuple[Hashable, object]],
        ttl: float | None = None,
        _conn: object = None,
    ) -> bool:
        due = self._due_after(ttl)
        with self._lock:
            for key, value in pairs:
                self._store(key, value, due)
        return True

    async def _add(
        self, key: Hashable, value: object, ttl: float | None = None, _conn: object = None
    ) -> bool:
        due = self._due_after(ttl)
        with self._lock:
            if self._live(key):
                raise already_exists(key)
            self._store(key, value, due)
        return True

    async def _exists(self, key: Hashable, _conn: object = None) -> bool:
        return self._live(key) is not None

    async def _increment(self, key: Hashable, delta: int, _conn: object = None) -> int:
        with self._lock:
            value, due = self._live(key) or (0, _INFINITY)
            number = incremented(value, delta)
            self._store(key, number, due)
        return number

    async def _expire(self, key: Hashable, ttl: float, _conn: object = None) -> bool:
        due = self._due_after(ttl)
        with self._lock:
            entry = self._live(key)
            if entry is not None:
                self._entries[key] = (entry[0], due)
        return entry is not None

    async def _delete(self, key: Hashable, _conn: object = None) -> int:
        with self._lock:
            found = self._live(key) is not None
            self._entries.pop(key, None)
        return int(found)

    async def _clear(self, namespace: str | None = None, _conn: object = None) -> bool:
        self.delete_where(lambda key, _: str(key).startswith(namespace or ""))
        return True

    async def _raw(
        self, command: str, *args: Any, encoding: object = None, _conn: object = None, **kwargs: Any
    ) -> Any:
        """Call a method of dict, such as `setdefault`, on the values that have not expired."""
        with self._lock:
            before = {key: self._entries[key][0] for key in self._entries if self._live(key)}
            result, changed, deleted = apply_raw(before, command, *args, **kwargs)
            for key in deleted:
                del self._entries[key]
            for key, value in changed.items():
                self._store(key, value, _INFINITY)
        return result

    async def _redlock_release(self, key: Hashable, value: object) -> int:
        with self._lock:
            entry = self._live(key)
            found = entry is not None and entry[0] == value
            if found:
                del self._entries[key]
        return int(found)


def already_exists(key: object) -> ValueError:
    """Return the error of `add` for a key that exists, as aiocache words it."""
    return ValueError(f"Key {key} already exists, use .set to update the value")


def incremented(value: Any, delta: int) -> int:
    """Return a stored number plus `delta`, or raise a TypeError."""
    with suppress(ValueError):
        return int(value) + delta
    raise TypeError("Value is not an integer")  # outside of the handler: its error has the value


def apply_raw(
    before: dict[Any, Any], command: str, *args: Any, **kwargs: Any
) -> tuple[Any, dict[Any, Any], set[Any]]:
    """Call a method of dict on a copy; return its result, the changed items and deleted keys."""
    after = before.copy()
    result = getattr(after, command)(*args, **kwargs)
    changed = {
        key: value for key, value in after.items() if key not in before or value is not before[key]
    }
    return result, changed, before.keys() - after.keys()
