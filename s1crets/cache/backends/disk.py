"""DiskCache: the diskcache backend for aiocache, shared by processes, private, without pickle."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
from aiocache.serializers import StringSerializer

from s1crets._runtime import LoopLocal, run_in_thread
from s1crets.cache.backends._sqlite import IS_READ, Database, select
from s1crets.cache.backends.base import (
    INFINITY,
    LARGEST_ROW,
    KernelLocks,
    OversizedError,
    Storage,
    StorageCache,
)

__all__ = ["DiskCache", "default_folder"]

_R = TypeVar("_R")

_HEADER = struct.Struct("!dd")  # when an entry was stored, and when it expires: wall clock
_EVICTION = 10  # times `size`: the entries under the unbounded prefix, before any is evicted


def default_folder() -> Path:
    """Return the folder of a cache whose own was not given: in the user's cache folder."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "s1crets"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s1crets"


class DiskCache(StorageCache, KernelLocks):
    """A complete aiocache backend in a folder that only its owner can read.

    Reads run in the caller's thread (5 µs; in WAL mode a reader does not wait for writers), writes
    and the opening in a worker thread. Each write is one transaction, also for other processes.
    A damaged or removed file is replaced by a new one; every other failure is raised. A row of more
    than 8 MiB is neither stored nor read.

    `peek` and `peek_many` take keys as `build_key` returns them and answer with the stored text,
    without namespace, serializer and plugins.

    Args:
        folder: created if it does not exist.
        size: number of entries at most; the oldest ones are deleted first.
        unbounded_prefix: entries whose keys start with it do not count, and are never deleted
            because of `size`, except for those in the next line.
        evictable: the beginning of texts under that prefix that may be lost: while there are more
            than ten times `size` entries under it, the oldest of these are deleted.
        clock: wall clock in seconds, since processes share the entries; injected by tests.
        timer: monotonic seconds; injected by tests.
        serializer: aiocache's; it must return str or bytes.
        timeout: seconds that a call may take, or None.
        options: aiocache's other options: `plugins`, `namespace`, `key_builder`, `ttl`.

    Attributes:
        NAME: the backend's name in aiocache.
        folder: see the argument.
        size: see the argument.

    Raises:
        PermissionError: at first use: others than the owner can access the folder.
        ValueError: a value is larger than 8 MiB.
        sqlite3.Error, diskcache.Timeout, OSError: the file can't be opened, read or written.
    """

    NAME = "s1crets-disk"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        size: int = 1000,
        unbounded_prefix: str | None = None,
        evictable: str = "",
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        serializer: Any = None,
        timeout: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(serializer=serializer or StringSerializer(), timeout=timeout, **options)
        self.folder = Path(folder).absolute()  # the same one after `os.chdir`
        self.size = size
        # The first and the last key with the prefix; without a prefix, there is no such key.
        self._unbounded = (
            (unbounded_prefix, unbounded_prefix + chr(0x10FFFF)) if unbounded_prefix else ("", "")
        )
        self._evictable = evictable.encode()
        self._clock = clock
        self._database = Database(self.folder, timer)
        self._gates = LoopLocal(asyncio.Lock)

    def __len__(self) -> int:
        """Return the number of entries that `size` bounds; 0 while the file is not open."""
        counts = self._database.read(_counts, self._unbounded)
        return counts[0] if counts else 0

    def open(self) -> None:
        """Open the file, if it is not open. Blocks, for 150 ms at most while others lock it."""
        self._database.open()

    def peek(self, key: str) -> str | None:
        """Return the text of `key`, or None; also None while the file is not open."""
        return self.peek_many((key,))[0]

    def peek_many(self, keys: Sequence[str]) -> list[str | None]:
        """Return the texts of `keys` in one snapshot; None for each while the file is not open."""
        found = self._database.reread(_texts, tuple(keys))
        if found is None:
            return [None] * len(keys)
        now = self._clock()
        return [text if stored <= now < expires else None for text, stored, expires in found]

    def acquire_lock(self, key: str) -> bool:
        """Lock `key` unless another has. Nothing is locked, and it is True, before the opening."""
        locks = self._database.locks
        return locks is None or locks.acquire(key)

    def renew_lock(self, key: str) -> None:
        """Change the pulse of `key`, which this process has locked."""
        if self._database.locks is not None:
            self._database.locks.renew(key)

    def lock_pulse(self, key: str) -> str | None:
        """Return the pulse of `key`; None if it is not locked."""
        locks = self._database.locks
        return None if locks is None else locks.pulse(key)

    def release_lock(self, key: str) -> None:
        """Unlock `key`."""
        if self._database.locks is not None:
            self._database.locks.release(key)

    async def purge(self, prefix: str) -> None:
        """Delete all keys with a prefix, and leave no trace of them in any file."""
        await self._clear(prefix)
        await run_in_thread(self._database.empty_journal)

    async def aclose(self) -> None:
        """Close the file; the next call opens it again."""
        await self._close()

    async def _read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        while (records := self._database.read(select, keys)) is None:
            await run_in_thread(self._database.open)
        now = self._clock()
        return [_payload(record, now) for record in records]

    async def _transact(self, action: Callable[[Storage], _R]) -> _R:
        def change(cache: Any) -> _R:
            rows = _Rows(cache, self.size, self._unbounded, self._evictable, self._clock())
            result = action(rows)
            rows.trim()
            return result

        return await self._change(change)

    async def _change(self, write: Callable[[Any], _R]) -> _R:
        """Write in a worker thread: that may wait for locks of other processes."""
        # Those of one loop wait for each other here, without a thread each.
        async with self._gates.get(asyncio.get_running_loop()) or self._gates.here():
            return await anyio.to_thread.run_sync(
                self._database.write,
                write,
                abandon_on_cancel=True,
                limiter=anyio.CapacityLimiter(1),
            )

    async def _clear(self, namespace: str | None = None, _conn: object = None) -> bool:
        prefix = namespace or ""
        delete = "DELETE FROM Cache WHERE substr(key, 1, ?) = ?"
        await self._change(lambda cache: cache._sql(delete, (len(prefix), prefix)))  # noqa: SLF001
        return True

    def _expires(self, ttl: float | None) -> float:
        return self._clock() + ttl if ttl else INFINITY

    async def _multi_set(
        self, pairs: Iterable[tuple[Any, Any]], ttl: float | None = None, _conn: object = None
    ) -> bool:
        small, oversized = [], None
        for key, value in pairs:
            try:
                small.append((key, self._encoded(value)))
            except OversizedError as error:
                oversized = error
        await super()._multi_set(small, ttl)
        if oversized is not None:
            raise oversized  # the others are stored
        return True

    def _encoded(self, value: object) -> bytes:
        if isinstance(value, (str, int, float)):
            value = str(value).encode("utf-8", "surrogatepass")
        if not isinstance(value, bytes):
            kind = type(value).__name__
            raise TypeError(
                f"DiskCache stores text, bytes and numbers, not {kind}: choose another serializer"
            )
        if _HEADER.size + len(value) > LARGEST_ROW:
            raise OversizedError(f"a value of {len(value)} bytes is larger than 8 MiB")
        return value

    def _decoded(self, stored: bytes | None, encoding: str | None = "utf-8") -> Any:
        return _decoded(stored, encoding)

    async def _close(self, *_args: object, **_kwargs: object) -> None:
        await self._database.aclose()


class _Rows:
    """The storage of a `DiskCache` in a transaction of `cache`, which is diskcache's."""

    def __init__(
        self, cache: Any, size: int, unbounded: tuple[str, str], evictable: bytes, now: float
    ) -> None:
        self._cache = cache
        self._sql = cache._sql  # noqa: SLF001  # diskcache has no method for several rows
        self._size, self._unbounded, self._evictable, self._now = size, unbounded, evictable, now
        self._has_grown = False

    def find(self, key: str, *, expired: bool = False) -> tuple[bytes, float] | None:
        (record,) = select(self._sql, (key,))
        payload = _payload(record, None if expired else self._now)
        return None if payload is None else (payload, _HEADER.unpack_from(record)[1])

    def put(self, key: str, stored: bytes, expires: float) -> None:
        self.remove(key)  # an updated row would keep its place among the oldest
        ttl = None if expires == INFINITY else expires - self._now
        self._cache.set(key, _HEADER.pack(self._now, expires) + stored, expire=ttl)
        self._has_grown = True

    def trim(self) -> None:
        """Delete the oldest rows that are too many, at the end of the transaction."""
        if not self._has_grown:
            return
        bounded, unbounded = _counts(self._sql, self._unbounded)
        self._evict(bounded - self._size, "NOT (key >= ? AND key < ?)")
        if self._evictable:
            excess = unbounded - _EVICTION * self._size
            # In the order of age, without the index of keys: the first ones are soon found.
            which = f"+key >= ? AND key < ? AND substr(value, {_HEADER.size + 1}, ?) = ?"
            self._evict(excess, which, len(self._evictable), self._evictable)

    def _evict(self, excess: int, which: str, *arguments: object) -> None:
        """Delete the oldest rows of those for which a condition on the unbounded keys is true."""
        if excess > 0:
            oldest = f"SELECT rowid FROM Cache WHERE {which} ORDER BY rowid LIMIT ?"  # noqa: S608
            delete = f"DELETE FROM Cache WHERE rowid IN ({oldest})"  # noqa: S608
            self._sql(delete, (*self._unbounded, *arguments, excess))

    def remove(self, key: str) -> None:
        self._sql("DELETE FROM Cache WHERE key = ? AND raw = 1", (key,))

    def items(self) -> Iterable[tuple[str, bytes | None]]:
        rows = self._sql(f"SELECT key, value FROM Cache WHERE {IS_READ}").fetchall()  # noqa: S608
        return [(key, _payload(record, self._now)) for key, record in rows]


def _decoded(payload: bytes | None, encoding: str | None) -> Any:
    """Return the text of a value; None if it is not text, bytes without an encoding."""
    if payload is None or encoding is None:
        return payload
    try:
        return payload.decode(encoding, "surrogatepass")
    except ValueError:
        return None


def _texts(execute: Any, keys: Sequence[str]) -> list[tuple[str | None, float, float]]:
    """Return the text of each row, and from when to when it is valid."""
    return [
        (None, 0.0, 0.0)
        if (payload := _payload(record, None)) is None
        else (_decoded(payload, "utf-8"), *_HEADER.unpack_from(record))
        for record in select(execute, keys)
    ]


def _payload(record: Any, now: float | None) -> bytes | None:
    """Return the value of a row, or None if it has expired or s1crets did not write it."""
    try:
        stored, expires = _HEADER.unpack_from(record)
    except (TypeError, struct.error):  # also if there is no row
        return None
    # An entry from the future means that the clock was set back: its age is not known.
    return record[_HEADER.size :] if now is None or stored <= now < expires else None


def _counts(sql: Any, unbounded: tuple[str, str]) -> tuple[int, int]:
    """Return the numbers of rows outside and in a range of keys; only the latter are counted."""
    (inside,) = sql("SELECT COUNT(*) FROM Cache WHERE key >= ? AND key < ?", unbounded).fetchone()
    (total,) = sql("SELECT value FROM Settings WHERE key = 'count'").fetchone()
    return int(total) - inside, inside
