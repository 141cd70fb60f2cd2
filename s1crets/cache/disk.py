"""An aiocache backend on diskcache: shared by processes, kept between runs, no pickle, private.

What diskcache does that bites, and what is done about it here, is said where it is done; the facts
were measured with diskcache 5.6.3.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import diskcache
from aiocache.base import BaseCache
from aiocache.serializers import StringSerializer

from s1crets._fork import renew_after_fork
from s1crets.cache.private import NotPrivateError, private_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

_log = logging.getLogger("s1crets.cache")
_STAMP = struct.Struct("!dd")  # when an entry was stored, and when it expires: wall clock
_RAW = diskcache.core.MODE_RAW
_BUSY: Any = 0.05  # Any, as diskcache wants an int; seconds that a reader waits for a foreign lock
_REOPEN = 5.0  # seconds after which a file that could not be opened is tried again
_FAILURES = (sqlite3.Error, diskcache.Timeout, OSError, ValueError)
_SETTINGS = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "size_limit": 2**30,
    "cull_limit": 10,
    "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 2**13,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 2**26,
    "sqlite_secure_delete": 1,  # or an expired secret stays readable in the file
    "sqlite_synchronous": 1,
    "disk_min_file_size": 2**31,
    "disk_pickle_protocol": 0,
}


class TextDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no type hints
    """Stores str keys and bytes values in the database itself; refuses all else that a row may say.

    diskcache's own unpickles what a row tells it to, and reads and deletes any file it names.
    """

    def put(self, key: str) -> tuple[str, bool]:
        """Return the database's form of a key."""
        return key, True

    def get(self, key: object, raw: object) -> str:
        """Return the key of a row."""
        if not raw or not isinstance(key, str):
            raise ValueError("a row has a key that s1crets did not write")
        return key

    def store(
        self,
        value: bytes,
        read: object,  # noqa: ARG002
        key: object = None,  # noqa: ARG002
    ) -> tuple[int, int, None, sqlite3.Binary]:
        """Return a row's size, mode, file name and value."""
        return len(value), _RAW, None, sqlite3.Binary(value)

    def fetch(
        self,
        mode: int,
        filename: object,
        value: object,
        read: object,  # noqa: ARG002
    ) -> bytes:
        """Return a row's value."""
        if mode != _RAW or filename is not None or not isinstance(value, bytes):
            raise ValueError("a row has a value that s1crets did not write")
        return value

    def remove(self, file_path: object) -> None:
        """Delete no file, whatever a row says: there are none."""


class DiskCache(BaseCache):  # type: ignore[misc]  # aiocache has no type hints
    """Entries in a folder that only its owner can read.

    Reads are made where they are asked for (5 µs; a reader in WAL mode waits for no writer), writes
    and the opening in a worker thread. When the disk fails, that is a miss and one warning.

    Args:
        folder: where; made if it is not there.
        size: how many entries it holds.
        clock: the wall clock in seconds; injected by tests.

    Raises:
        PermissionError: at first use, when others than the owner can get into the folder.
    """

    NAME = "s1crets-disk"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        size: int = 1000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(serializer=StringSerializer(), timeout=0)
        self.folder = Path(folder)
        self.size = size
        self._clock = clock
        self._lock = threading.Lock()
        self._cache: Any = None
        self._tried = float("-inf")
        self._warned = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Replace the lock; diskcache itself opens a connection anew in a child."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._cache) if self._cache is not None else 0

    def peek(self, key: str) -> str | None:
        """Return the text of `key`, or None; also None while the file is not open."""
        if self._cache is None:
            return None
        try:
            record = self._cache.get(key)
            if record is None:
                return None
            stored, expires = _STAMP.unpack_from(record)
            # An entry from the future means that the clock was set back: its age is not known.
            fresh = stored <= self._clock() < expires
            return record[_STAMP.size :].decode() if fresh else None
        except (*_FAILURES, struct.error) as error:
            self._warn("read", error)
            return None

    def open(self) -> None:
        """Open the file, if it is not open. Blocks, for 50 ms at most when others lock the file."""
        if self._cache is not None or time.monotonic() - self._tried < _REOPEN:
            return
        with self._lock:
            if self._cache is None:
                self._open()

    def _open(self) -> None:
        try:
            with private_folder(self.folder):
                _probe(self.folder)
                self._cache = diskcache.Cache(
                    str(self.folder), timeout=_BUSY, disk=TextDisk, **_SETTINGS
                )
        except NotPrivateError:
            raise
        except _FAILURES as error:
            self._tried = time.monotonic()
            self._warn("opened", error)

    def _warn(self, verb: str, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "the disk cache in %s can't be %s (%s: %s); going on without it",
                self.folder, verb, type(error).__name__, error,
            )  # fmt: skip

    async def _get(
        self,
        key: str,
        encoding: object = None,  # noqa: ARG002
        _conn: object = None,
    ) -> str | None:
        if self._cache is None:
            await anyio.to_thread.run_sync(self.open)
        return self.peek(key)

    async def _set(
        self,
        key: str,
        value: str,
        ttl: float | None = None,
        _cas_token: Callable[[], bool] | None = None,
        _conn: object = None,
    ) -> bool:
        return bool(await self._write(self._store, key, value, ttl, _cas_token))

    async def fill(
        self, entries: Mapping[str, str], ttl: float, still_wanted: Callable[[], bool]
    ) -> None:
        """Store as many of `entries` as there is room for."""
        await self._write(self._fill, entries, ttl, still_wanted)

    def _fill(
        self, entries: Mapping[str, str], ttl: float, still_wanted: Callable[[], bool]
    ) -> None:
        with self._cache.transact():
            for key, value in entries.items():
                if len(self._cache) >= self.size:
                    break
                self._store(key, value, ttl, still_wanted)

    async def _delete(self, key: str, _conn: object = None) -> int:
        return int(await self._write(lambda: self._cache.delete(key)) or 0)

    async def _clear(self, namespace: str | None = None, _conn: object = None) -> bool:
        return bool(await self._write(self._clear_now, namespace))

    def _clear_now(self, namespace: str | None) -> bool:
        for key in list(self._cache.iterkeys()):
            if namespace is None or key.startswith(namespace):
                self._cache.delete(key)
        return True

    async def _close(self, *_args: object, **_kwargs: object) -> None:
        if self._cache is not None:
            await anyio.to_thread.run_sync(self._cache.close)

    async def _write(self, write: Callable[..., Any], *args: object) -> Any:
        """Run `write` in a worker thread, as it may wait for a lock. None if the disk failed."""
        return await anyio.to_thread.run_sync(self._write_now, write, *args)

    def _write_now(self, write: Callable[..., Any], *args: object) -> Any:
        self.open()
        if self._cache is None:
            return None
        with self._lock:
            try:
                return write(*args)
            except _FAILURES as error:
                self._warn("written", error)
                return None
            finally:
                self._cache.close()  # this thread's connection; the thread may end at any time

    def _store(
        self, key: str, value: str, ttl: float | None, still_wanted: Callable[[], bool] | None
    ) -> bool:
        if still_wanted is not None and not still_wanted():
            return False
        now = self._clock()
        expires = float("inf") if ttl is None else now + ttl
        self._cache.set(key, _STAMP.pack(now, expires) + value.encode(), expire=ttl)
        while len(self._cache) > self.size:
            oldest, _ = self._cache.peekitem(last=False)
            self._cache.delete(oldest)
        return True


def _probe(folder: Path) -> None:
    """Fail within 50 ms when the file is locked: diskcache's constructor would wait for 60 s."""
    connection = sqlite3.connect(folder / "cache.db", timeout=_BUSY, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.close()
