"""DiskCache: the diskcache backend for aiocache, shared by processes, private, without pickle."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import anyio.to_thread
from aiocache.base import BaseCache
from aiocache.serializers import StringSerializer

from s1crets._runtime import run_in_thread
from s1crets.cache.backends._sqlite import Database, select
from s1crets.cache.backends.base import KernelLocks, SyncReadable
from s1crets.cache.backends.memory import already_exists, apply_raw, incremented

if TYPE_CHECKING:
    import os

__all__ = ["DiskCache"]

_R = TypeVar("_R")

_HEADER = struct.Struct("!dd")  # when an entry was stored, and when it expires: wall clock
_INFINITY = float("inf")


class DiskCache(BaseCache, SyncReadable, KernelLocks):  # type: ignore[misc]  # no type hints
    """A complete aiocache backend in a folder that only its owner can read.

    Reads run in the caller's thread (5 µs; in WAL mode a reader does not wait for writers), writes
    and the opening in a worker thread. Each write is one transaction, also for other processes.
    A damaged or removed file is replaced by a new one; every other failure is raised.

    `peek` and `peek_many` take keys as `build_key` returns them and answer with the stored text,
    without namespace, serializer and plugins.

    Args:
        folder: created if it does not exist.
        size: number of entries at most; the oldest ones are deleted first.
        unbounded_prefix: entries whose keys start with it do not count, and are never deleted
            because of `size`.
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
        sqlite3.Error, diskcache.Timeout, OSError: the file can't be opened, read or written.
    """

    NAME = "s1crets-disk"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        size: int = 1000,
        unbounded_prefix: str | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        serializer: Any = None,
        timeout: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(serializer=serializer or StringSerializer(), timeout=timeout, **options)
        self.folder = Path(folder)
        self.size = size
        # The first and the last key with the prefix; without a prefix, there is no such key.
        self._unbounded = (
            (unbounded_prefix, unbounded_prefix + chr(0x10FFFF)) if unbounded_prefix else ("", "")
        )
        self._clock = clock
        self._database = Database(self.folder, timer)
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    def __len__(self) -> int:
        """Return the number of entries that `size` bounds; 0 while the file is not open."""
        return self._database.read(_count, self._unbounded) or 0

    def open(self) -> None:
        """Open the file, if it is not open. Blocks, for 150 ms at most while others lock it."""
        self._database.open()

    def peek(self, key: str) -> str | None:
        """Return the text of `key`, or None; also None while the file is not open."""
        return self.peek_many((key,))[0]

    def peek_many(self, keys: Sequence[str]) -> list[str | None]:
        """Return the texts of `keys` in one snapshot; None for each while the file is not open."""
        records = self._database.read(select, keys)
        if records is None:
            return [None] * len(keys)
        now = self._clock()
        return [
            None if record is None else _decoded(_payload(record, now), "utf-8")
            for record in records
        ]

    def acquire_lock(self, key: str) -> bool:
        """Lock `key` unless another has. Nothing is locked, and it is True, before the opening."""
        locks = self._database.locks
        return locks is None or locks.acquire(key)

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

    # The storage operations behind aiocache's public methods. Those that take `cache`, which is
    # diskcache's, run in a transaction.

    async def _payloads(self, keys: Sequence[str]) -> list[bytes | None]:
        while (records := self._database.read(select, keys)) is None:
            await run_in_thread(self._database.open)
        now = self._clock()
        return [_payload(record, now) for record in records]

    async def _write(self, write: Callable[[Any], _R]) -> _R:
        """Run a write in a worker thread: it may wait for locks of other processes."""
        # Writes of one loop wait for each other here, without a thread each.
        gate = self._gates.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with gate:
            return await anyio.to_thread.run_sync(
                self._database.write,
                write,
                abandon_on_cancel=True,
                limiter=anyio.CapacityLimiter(1),
            )

    def _record(self, cache: Any, key: str) -> bytes | None:
        (record,) = select(cache._sql, (key,))  # noqa: SLF001  # in the transaction
        return None if _payload(record, self._clock()) is None else record

    def _expires(self, ttl: float | None) -> float:
        return self._clock() + ttl if ttl else _INFINITY

    def _store(self, cache: Any, key: str, payload: bytes, expires: float) -> None:
        now = self._clock()
        _remove(cache, key)  # an updated row would keep its place among the oldest
        ttl = None if expires == _INFINITY else expires - now
        cache.set(key, _HEADER.pack(now, expires) + payload, expire=ttl)
        excess = _count(cache._sql, self._unbounded) - self.size  # noqa: SLF001
        if excess > 0:
            cache._sql(  # noqa: SLF001
                "DELETE FROM Cache WHERE rowid IN (SELECT rowid FROM Cache"
                " WHERE NOT (key >= ? AND key < ?) ORDER BY rowid LIMIT ?)",
                (*self._unbounded, excess),
            )

    async def _get(self, key: str, encoding: str | None = "utf-8", _conn: object = None) -> Any:
        return _decoded((await self._payloads((key,)))[0], encoding)

    async def _gets(self, key: str, encoding: object = None, _conn: object = None) -> Any:
        payload = (await self._payloads((key,)))[0]
        text = _decoded(payload, "utf-8")
        return payload if text is None else text

    async def _multi_get(
        self, keys: Sequence[str], encoding: str | None = "utf-8", _conn: object = None
    ) -> list[Any]:
        return [_decoded(payload, encoding) for payload in await self._payloads(keys)]

    async def _set(
        self,
        key: str,
        value: str | bytes,
        ttl: float | None = None,
        _cas_token: Any = None,
        _conn: object = None,
    ) -> bool:
        """Store a value. With a token, only if it equals the value that is stored.

        The token may also be a function of the key and the text that is stored, or None: it
        decides in the transaction whether to store.
        """
        payload = _encoded(value)

        def write(cache: Any) -> bool:
            record = self._record(cache, key)
            there = None if record is None else record[_HEADER.size :]
            if callable(_cas_token):
                if not _cas_token(key, _decoded(there, "utf-8")):
                    return False
            elif _cas_token is not None and _encoded(_cas_token) != there:
                return False
            self._store(cache, key, payload, self._expires(ttl))
            return True

        return await self._write(write)

    async def _multi_set(
        self,
        pairs: Iterable[tuple[str, str | bytes]],
        ttl: float | None = None,
        _conn: object = None,
    ) -> bool:
        encoded = [(key, _encoded(value)) for key, value in pairs]

        def write(cache: Any) -> bool:
            for key, payload in encoded:
                self._store(cache, key, payload, self._expires(ttl))
            return True

        return await self._write(write)

    async def _add(
        self, key: str, value: str | bytes, ttl: float | None = None, _conn: object = None
    ) -> bool:
        payload = _encoded(value)

        def write(cache: Any) -> bool:
            if self._record(cache, key) is not None:
                raise already_exists(key)
            self._store(cache, key, payload, self._expires(ttl))
            return True

        return await self._write(write)

    async def _exists(self, key: str, _conn: object = None) -> bool:
        return (await self._payloads((key,)))[0] is not None

    async def _increment(self, key: str, delta: int, _conn: object = None) -> int:
        def write(cache: Any) -> int:
            number, expires = delta, _INFINITY
            record = self._record(cache, key)
            if record is not None:
                _, expires = _HEADER.unpack_from(record)
                number = incremented(record[_HEADER.size :], delta)
            self._store(cache, key, _encoded(number), expires)
            return number

        return await self._write(write)

    async def _expire(self, key: str, ttl: float, _conn: object = None) -> bool:
        def write(cache: Any) -> bool:
            record = self._record(cache, key)
            if record is None:
                return False
            self._store(cache, key, record[_HEADER.size :], self._expires(ttl))
            return True

        return await self._write(write)

    async def _delete(self, key: str, _conn: object = None) -> int:
        def write(cache: Any) -> int:
            found = self._record(cache, key) is not None
            _remove(cache, key)
            return int(found)

        return await self._write(write)

    async def _clear(self, namespace: str | None = None, _conn: object = None) -> bool:
        prefix = namespace or ""

        def write(cache: Any) -> bool:
            cache._sql("DELETE FROM Cache WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))  # noqa: SLF001
            return True

        return await self._write(write)

    async def _raw(
        self,
        command: str,
        *args: Any,
        encoding: str | None = "utf-8",
        _conn: object = None,
        **kwargs: Any,
    ) -> Any:
        """Call a method of dict, such as `setdefault`, on the values that have not expired."""

        def write(cache: Any) -> Any:
            now = self._clock()
            rows = cache._sql("SELECT key, value FROM Cache WHERE raw = 1 AND mode = 1")  # noqa: SLF001
            values = {key: _decoded(_payload(record, now), encoding) for key, record in rows}
            before = {key: value for key, value in values.items() if value is not None}
            result, changed, deleted = apply_raw(before, command, *args, **kwargs)
            for key in deleted:
                _remove(cache, key)
            for key, value in changed.items():
                self._store(cache, key, _encoded(value), _INFINITY)
            return result

        return await self._write(write)

    async def _redlock_release(self, key: str, value: str) -> int:
        def write(cache: Any) -> int:
            record = self._record(cache, key)
            if record is None or record[_HEADER.size :] != _encoded(value):
                return 0
            _remove(cache, key)
            return 1

        return await self._write(write)

    async def _close(self, *_args: object, **_kwargs: object) -> None:
        await self._database.aclose()


def _encoded(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, (str, int, float)):
        return str(value).encode("utf-8", "surrogatepass")
    kind = type(value).__name__
    message = f"DiskCache stores text, bytes and numbers, not {kind}: choose another serializer"
    raise TypeError(message)


def _decoded(payload: bytes | None, encoding: str | None) -> Any:
    """Return the text of a value; None if it is not text, bytes without an encoding."""
    if payload is None or encoding is None:
        return payload
    try:
        return payload.decode(encoding, "surrogatepass")
    except ValueError:
        return None


def _payload(record: Any, now: float) -> bytes | None:
    """Return the value of a row, or None if it has expired or s1crets did not write it."""
    try:
        stored, expires = _HEADER.unpack_from(record)
    except (TypeError, struct.error):  # also if there is no row
        return None
    # An entry from the future means that the clock was set back: its age is not known.
    return record[_HEADER.size :] if stored <= now < expires else None


def _count(sql: Any, unbounded: tuple[str, str]) -> int:
    """Return the number of rows outside a range of keys, in the time of counting those in it."""
    return int(
        sql(
            "SELECT value - (SELECT COUNT(*) FROM Cache WHERE key >= ? AND key < ?)"
            " FROM Settings WHERE key = 'count'",
            unbounded,
        ).fetchone()[0]
    )


def _remove(cache: Any, key: str) -> None:
    cache._sql("DELETE FROM Cache WHERE key = ? AND raw = 1", (key,))  # noqa: SLF001
