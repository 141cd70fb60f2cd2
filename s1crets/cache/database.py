"""The database file of a cache on disk: private, opened within bounds, renewed when it is damaged.

What diskcache does that bites, and what is done about it here, is said where it is done; the facts
were measured with diskcache 5.6.3.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import diskcache

from s1crets._runtime import hold_while_forking, on_fork, run_in_thread
from s1crets.cache.claims import claims_in
from s1crets.cache.private import make_file, private_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s1crets.cache.claims import Claims

FAILURES = (sqlite3.Error, diskcache.Timeout, OSError)
"""What goes wrong with a file, and is no mistake of a caller's."""

_RAW = diskcache.core.MODE_RAW
_BUSY: Any = 0.045  # Any, as diskcache wants an int; seconds that a reader waits for foreign locks
_TRIES = 3  # times that, for a writer
_CHECK = 0.1  # seconds between looks at whether the file is still there: one takes 1 µs
_SETTINGS = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "size_limit": 2**30,
    "cull_limit": 10,
    "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 2**13,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 0,  # reading a mapped file that was cut short would kill the process
    "sqlite_secure_delete": 1,  # or an expired secret stays readable in the file
    "sqlite_synchronous": 1,
    "disk_min_file_size": 2**31,
    "disk_pickle_protocol": 0,
}


class TextDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no type hints
    """Stores str keys and bytes values in the database itself; all else that a row may say is void.

    diskcache's own unpickles what a row tells it to, and reads and deletes any file it names.
    """

    def put(self, key: str) -> tuple[str, bool]:
        """Return the database's form of a key."""
        return key, True

    def get(self, key: object, raw: object) -> str:
        """Return the key of a row, or nothing if s1crets did not write it."""
        return key if raw and isinstance(key, str) else ""

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
        """Return a row's value, or nothing if s1crets did not write it."""
        if mode != _RAW or filename is not None or not isinstance(value, bytes):
            return b""
        return value

    def remove(self, file_path: object) -> None:
        """Delete no file, whatever a row says: there are none."""


class Database:
    """The file of one folder, and diskcache's view of it.

    Args:
        folder: where; made if it is not there.
        timer: monotonic seconds.

    Attributes:
        cache: diskcache's, or None while the file is not open.
        claims: those of the folder.
        writing: a lock that is held while something is opened or written.
        reading: a lock that is held while something is read where it is asked for.
    """

    def __init__(self, folder: Path, timer: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._timer = timer
        self._file = str(folder / "cache.db")
        self._inode = 0
        self._checked = 0.0
        self._corrupt = False
        self._moved = False
        self.cache: Any = None
        self.claims: Claims | None = None
        self.after_fork()
        on_fork(self)
        hold_while_forking(self)

    def after_fork(self) -> None:
        """Replace the locks; diskcache itself opens a connection anew in a child."""
        self.writing = threading.Lock()
        self.reading = threading.Lock()

    def before_fork(self) -> None:
        """Let no child be made in the midst of SQLite, whose mutexes would stay locked in it."""
        self.writing.acquire()
        self.reading.acquire()

    def after_in_parent(self) -> None:
        """Go on."""
        self.reading.release()
        self.writing.release()

    def open(self) -> None:
        """Open the file, a new one if the one that is there is known to be damaged.

        Blocks, for 150 ms at most while others lock it.

        Raises:
            NotPrivateError: others than the owner can get into the folder.
            Exception: one of `FAILURES`.
        """
        with private_folder(self._folder) as descriptor:
            if self._corrupt:
                self._move_aside()
            self._inode = make_file(descriptor)
            _probe(self._folder)
            self.claims = claims_in(self._folder)
            self.cache = diskcache.Cache(
                str(self._folder), timeout=_BUSY, disk=TextDisk, **_SETTINGS
            )
            self.cache.close()  # this thread's connection: others may read

    def _move_aside(self) -> None:
        """Put a damaged file out of the way, once, unless another process has."""
        self._corrupt, self._moved = False, True
        database = self._folder / "cache.db"
        with suppress(FileNotFoundError):
            if database.stat().st_ino == self._inode:
                database.replace(self._folder / "cache.db.corrupt")
                for besides in ("cache.db-wal", "cache.db-shm"):
                    (self._folder / besides).unlink(missing_ok=True)

    def check(self, *, now: bool = False) -> None:
        """See, now and then, that the file is still the one that was opened.

        Raises:
            FileNotFoundError: it was removed, or is another one now.
        """
        moment = self._timer()
        if moment < self._checked + _CHECK and not now:
            return
        self._checked = moment
        if os.stat(self._file).st_ino != self._inode:  # noqa: PTH116  # half of pathlib's time
            raise FileNotFoundError(self._file)

    def failed(self, error: Exception) -> bool:
        """Learn what went wrong; return whether opening it again may help at once."""
        # What SQLite says of a damaged file is of no subclass.
        self._corrupt = type(error) is sqlite3.DatabaseError and not self._moved
        if self._corrupt or isinstance(error, FileNotFoundError):
            self.cache = None
            return True
        return False

    def transact(self, writes: list[Callable[[], Any]]) -> list[Any]:
        """Make some writes in one transaction, and return what each returned.

        Raises:
            Exception: one of `FAILURES`; nothing was written.
        """
        cache, tries = self.cache, 0
        try:
            while True:
                try:
                    with cache.transact():
                        return [write() for write in writes]
                except diskcache.Timeout:
                    tries += 1
                    if tries == _TRIES:
                        raise
        finally:
            cache.close()  # this thread's connection; the thread may end at any time

    def empty_journal(self) -> None:
        """Let nothing stand in the journal that is not in the database any more."""
        with suppress(*FAILURES), self.writing:
            connection = _connect(self._folder)
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.close()

    async def aclose(self) -> None:
        """Close the connections of this thread, and the last one in another."""
        cache, self.cache = self.cache, None
        if cache is None:
            return
        with suppress(*FAILURES):  # the folder may have gone
            # The last connection to close copies the journal, which takes time.
            last = await run_in_thread(self._connect_last)
            with self.reading:
                cache.close()
            await run_in_thread(self._close_last, last)

    def _connect_last(self) -> sqlite3.Connection:
        with self.writing:
            return _connect(self._folder)

    def _close_last(self, connection: sqlite3.Connection) -> None:
        with self.writing:
            connection.close()


def _probe(folder: Path) -> None:
    """Fail soon when the file is locked: diskcache's constructor would wait for 60 s.

    Also for the journal's mode, which can't be set while another connection is open.
    """
    connection = _connect(folder)
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _connect(folder: Path) -> sqlite3.Connection:
    address = f"{(folder.absolute() / 'cache.db').as_uri()}?mode=rw"  # or it would make one anew
    wait = _TRIES * _BUSY
    return sqlite3.connect(
        address, uri=True, timeout=wait, isolation_level=None, check_same_thread=False
    )
