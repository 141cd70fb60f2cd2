"""SQLite file of a disk cache: private, opened within bounds, replaced when it is damaged.

Each workaround for a trap of diskcache says which; the facts were measured with diskcache 5.6.3.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import logging
import os
import sqlite3
import stat
import threading
import time
import weakref
import zlib
from asyncio import _get_running_loop
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import diskcache

from s1crets._fork import hold_while_forking, new_lock, on_fork
from s1crets._runtime import run_in_thread
from s1crets.cache.backends.base import LARGEST_ROW
from s1crets.errors import NotPrivateError

A = TypeVar("A")
R = TypeVar("R")

FAILURES = (sqlite3.Error, diskcache.Timeout, OSError)
"""Errors of a file that are not mistakes of the caller."""

_log = logging.getLogger("s1crets.cache")
_RAW = diskcache.core.MODE_RAW
_BUSY: Any = 0.045  # Any, as diskcache wants an int; seconds that a reader waits for foreign locks
_TRIES = 3  # times that, for a writer; also attempts to open the file
_PRIMARY = 0xFF  # the bits of an error code of SQLite that its variants share
_CHECK = 0.1  # seconds between checks that the file is still there: one takes 1 µs
_REMEMBERED = 1000  # results per thread
_PULSE, _PULSES = 8, 1024  # bytes of the pulse of a fetch lock; their number: several share one
_CHUNK = 50  # keys per SELECT: a longer statement takes longer to compile than it saves
# The rows that s1crets reads. SQLite knows type and length of a value without reading it.
IS_READ = f"raw = 1 AND mode = {_RAW} AND typeof(value) = 'blob' AND length(value) <= {LARGEST_ROW}"
_VALUE = f"(SELECT value FROM Cache WHERE key = ? AND {IS_READ})"  # noqa: S608
_SETTINGS = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "size_limit": 2**30,
    "cull_limit": 10,
    "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 2**13,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 0,  # reading a mapped file that was truncated would kill the process
    "sqlite_secure_delete": 1,  # or an expired secret stays readable in the file
    "sqlite_synchronous": 1,
    "disk_min_file_size": 2**31,
    "disk_pickle_protocol": 0,
}


class FilelessDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no type hints
    """Stores text keys and bytes in the database itself, which is all that `DiskCache` stores."""

    def put(self, key: str) -> tuple[str, bool]:
        """Return the database's form of a key: also a subclass of str, such as an enum, is text."""
        return key, True

    def remove(self, file_path: object) -> None:
        """Delete no file, whatever a row says: there are none."""


def _address(path: Path, mode: str) -> str:
    """Return a file's URI, with every byte escaped; `Path.as_uri` would import `urllib.parse`."""
    return f"file:%{os.fsencode(path).hex('%')}?{mode}"


@functools.cache
def _select(count: int) -> str:
    # Faster than `key IN (?, …)`, which fills and sorts a table for each execution.
    return "SELECT " + ", ".join([_VALUE] * count)


def select(sql: Callable[..., sqlite3.Cursor], keys: Sequence[str]) -> Sequence[Any]:
    """Return the values of some keys, all of one snapshot; None for a missing row."""
    if not keys:
        return ()
    if len(keys) <= _CHUNK:
        return sql(_select(len(keys)), keys).fetchone()  # type: ignore[no-any-return]
    values: list[Any] = []
    sql("BEGIN")
    try:
        for start in range(0, len(keys), _CHUNK):
            values += select(sql, keys[start : start + _CHUNK])
    finally:
        sql("COMMIT")
    return values


class Database:
    """The file of one folder, and diskcache's view of it.

    A deleted or replaced file is opened again, a damaged one is moved aside, once, and replaced:
    both within the call that notices. Other failures are raised: the exceptions of `FAILURES`.

    Args:
        folder: where the file is; created if it does not exist.
        timer: monotonic seconds.

    Attributes:
        locks: the fetch locks of the folder; None until it is open.
    """

    def __init__(self, folder: Path, timer: Callable[[], float]) -> None:
        self._folder = folder
        self._timer = timer
        self._file = str(folder / "cache.db")
        self._inode = 0
        self._checked = 0.0
        self._damaged = False
        self._moved = False
        self._cache: Any = None
        self._seen = threading.local()
        self.locks: FetchLocks | None = None
        self.after_fork()
        on_fork(self)
        hold_while_forking(self)

    def after_fork(self) -> None:
        """Replace the locks; diskcache itself opens a new connection in a child."""
        if isinstance(self._cache, _ReadOnly):
            self._cache = None
        self._writing = new_lock()
        self._reading = new_lock()

    def before_fork(self) -> None:
        """Wait until no thread is inside SQLite: its mutexes would stay locked in the child."""
        self._writing.acquire()
        self._reading.acquire()

    def after_in_parent(self) -> None:
        """Let the threads continue."""
        self._reading.release()
        self._writing.release()

    def read(self, query: Callable[[Callable[..., sqlite3.Cursor], A], R], argument: A) -> R | None:
        """Return `query(execute, argument)`, run in this thread; None while no file is open."""
        cache = self._cache
        if cache is None:
            return None
        try:
            self._check()
            with self._reading:
                execute = cache._sql  # noqa: SLF001  # its connection of this thread
                # A signal handler must not read in the older snapshot of what it interrupts.
                return None if execute.__self__.in_transaction else query(execute, argument)
        except FAILURES as error:
            if self._can_repair(error):
                return None
            raise

    def reread(
        self, query: Callable[[Callable[..., sqlite3.Cursor], A], R], argument: A
    ) -> R | None:
        """Return the result of `read`, remembered for as long as nobody writes to the file."""
        return self.read(partial(self._reread, query), argument)

    def _reread(self, query: Callable[[Any, A], R], execute: Any, argument: A) -> R:
        # The version changes with every commit of another connection, and reads have their own.
        # It comes first: rows that are newer than their version are read again, older ones never.
        (version,) = execute("PRAGMA data_version").fetchone()
        state = (execute.__self__, version)
        # State and results are replaced together: a signal handler may read in between.
        seen = getattr(self._seen, "results", None)
        if seen is None or seen[0] != state or len(seen[1]) >= _REMEMBERED:
            seen = self._seen.results = state, {}
        results: dict[A, R] = seen[1]
        if argument not in results:
            results[argument] = query(execute, argument)
        return results[argument]

    def open(self) -> None:
        """Open the file unless it is open. Blocks, for 150 ms at most while others lock it."""
        if self._cache is None:
            with self._writing:
                self._repairing(lambda: None)

    def write(self, write: Callable[[Any], R]) -> R:
        """Run `write(cache)` in a transaction, undone if it raises; return its result. Blocks."""
        with self._writing:
            return self._repairing(lambda: self._transact(write))

    def _repairing(self, action: Callable[[], R]) -> R:
        """Run an action on the open file, and again if a new file helps against its failure."""
        repairs = 0
        while True:
            try:
                if self._cache is None:
                    self._open()
                return action()
            except FAILURES as error:
                repairs += 1
                if repairs > 2 or not self._can_repair(error):  # noqa: PLR2004
                    raise

    def _transact(self, write: Callable[[Any], R]) -> R:
        if isinstance(self._cache, _ReadOnly):
            raise PermissionError(f"{self._folder} is read-only: nothing is stored in it")
        self._check(now=True)
        cache, tries = self._cache, 0
        try:
            while True:
                try:
                    with cache.transact():
                        return write(cache)
                except diskcache.Timeout:
                    tries += 1
                    if tries == _TRIES:
                        raise
        finally:
            cache.close()  # this thread's connection; the thread may end at any time

    def _open(self) -> None:
        with private_folder(self._folder) as descriptor:
            if self._is_read_only():
                if self._damaged:
                    raise PermissionError(f"{self._file} is damaged, and can't be replaced")
                self._inode = os.stat(self._file).st_ino  # noqa: PTH116
                self._cache = _ReadOnly(self._folder)
                return
            if self._damaged:
                self._move_aside()
            self._inode = _create_file(descriptor)
            self._probe()
            self.locks = fetch_locks(self._folder)
            self._cache = diskcache.Cache(
                str(self._folder), timeout=_BUSY, disk=FilelessDisk, **_SETTINGS
            )
            self._cache.close()  # this thread's connection: others may read

    def _is_read_only(self) -> bool:
        """Return whether the file exists and can't be written, as on a read-only file system."""
        paths = (self._folder, self._file)
        return os.path.exists(self._file) and not all(  # noqa: PTH110
            os.access(path, os.W_OK, effective_ids=True) for path in paths
        )

    def _move_aside(self) -> None:
        """Rename a damaged file, unless another process already has."""
        self._damaged, self._moved = False, True
        database = self._folder / "cache.db"
        with contextlib.suppress(FileNotFoundError):
            if database.stat().st_ino == self._inode:
                database.replace(self._folder / "cache.db.corrupt")
                for journal in ("cache.db-wal", "cache.db-shm"):
                    (self._folder / journal).unlink(missing_ok=True)

    def _probe(self) -> None:
        """Fail within 0.3 s when the file is locked: diskcache's constructor would wait for 60 s.

        Also sets the journal's mode, which is impossible while another connection is open. Of
        processes that do so at once in a new file, SQLite lets one succeed and fails the others
        without waiting: for them it is set when they try again.
        """
        tries = 0
        while True:
            try:
                with contextlib.closing(self._connect(_BUSY)) as connection:
                    connection.execute("PRAGMA journal_mode = WAL").fetchall()
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("ROLLBACK")
                    return
            except sqlite3.OperationalError as error:
                tries += 1
                if tries == _TRIES or error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY:
                    raise
                time.sleep(_BUSY)

    def _connect(self, wait: float = _TRIES * _BUSY) -> sqlite3.Connection:
        # mode=rw, or SQLite would create a file that is missing, with the umask's mode.
        address = _address(self._folder.absolute() / "cache.db", "mode=rw")
        return sqlite3.connect(
            address, uri=True, timeout=wait, isolation_level=None, check_same_thread=False
        )

    def _check(self, *, now: bool = False) -> None:
        """Check, every 0.1 s, that the file is still the opened one, not removed or replaced."""
        if isinstance(self._cache, _ReadOnly) and self._cache.has_changed:
            self._cache = None
            raise FileNotFoundError(self._file)
        moment = self._timer()
        if moment < self._checked + _CHECK and not now:
            return
        self._checked = moment
        if os.stat(self._file).st_ino != self._inode:  # noqa: PTH116  # half of pathlib's time
            raise FileNotFoundError(self._file)

    def _can_repair(self, error: Exception) -> bool:
        """Return whether opening a new file helps; close the present one if so."""
        # SQLite's error for a damaged file is this class itself, the others are subclasses.
        damaged = type(error) is sqlite3.DatabaseError and not self._moved
        if not damaged and not isinstance(error, FileNotFoundError):
            return False
        if damaged or self._cache is not None:
            _log.warning(
                "the disk cache in %s was damaged or removed (%s: %s); continuing with a new file",
                self._folder, type(error).__name__, error,
            )  # fmt: skip
        self._damaged = damaged
        self._cache = None
        return True

    def empty_journal(self) -> None:
        """Leave nothing in the journal that is not in the database any more. Blocks."""
        if isinstance(self._cache, _ReadOnly):
            return  # pragma: no cover  # its tests run as a user who can't measure
        with self._writing, contextlib.closing(self._connect()) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    async def aclose(self) -> None:
        """Close the connections of this thread, and the last one in another."""
        cache, self._cache = self._cache, None
        if cache is None:
            return
        if isinstance(cache, _ReadOnly):
            with self._reading:
                cache.close()
            return
        with contextlib.suppress(*FAILURES):  # the folder may have been removed
            # The last connection to close copies the journal, which takes time.
            last = await run_in_thread(self._connect_last)
            with self._reading:
                cache.close()
            await run_in_thread(self._close_last, last)

    def _connect_last(self) -> sqlite3.Connection:
        with self._writing:
            return self._connect()

    def _close_last(self, connection: sqlite3.Connection) -> None:
        with self._writing:
            connection.close()


class _ReadOnly:
    """A database file that this process can't write, for reading; the part of diskcache's `Cache`.

    SQLite can't create the journal's index in such a folder. Without a journal it need not, if it
    is promised that nobody writes; so when a journal appears, or the file changes, it is reopened.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder.absolute() / "cache.db"
        self._connections = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._state = self._stat()

    def _stat(self) -> tuple[int, ...]:
        file = os.stat(self._path)  # noqa: PTH116  # half of pathlib's time
        try:
            journal = os.stat(f"{self._path}-wal").st_size  # noqa: PTH116
        except FileNotFoundError:
            journal = 0
        return file.st_ino, file.st_size, file.st_mtime_ns, journal

    @property
    def has_changed(self) -> bool:
        """Whether another process has written since this was opened."""
        return self._stat() != self._state

    @property
    def _sql(self) -> Callable[..., sqlite3.Cursor]:
        found: sqlite3.Connection | None = getattr(self._connections, "one", None)
        if found is None:
            # With a journal, SQLite reads both, if it finds the index or can do without.
            mode = "mode=ro" if self._state[-1] else "immutable=1"
            found = self._connections.one = sqlite3.connect(
                _address(self._path, mode),
                uri=True, timeout=_BUSY, isolation_level=None, check_same_thread=False,
            )  # fmt: skip
            self._opened.append(found)
        return found.execute

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._opened:
            connection.close()


class FetchLocks:
    """Single flight across processes: to fetch an entry of a shared folder is to lock a byte.

    The kernel frees the locks of a process that dies, so there is nothing to clean up. One that is
    stopped keeps them, so whoever has a lock writes a random pulse from time to time. Where file
    locks do not work, two processes fetch the same entry, and nothing else is lost.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self.after_fork()
        on_fork(self)
        weakref.finalize(self, os.close, file)

    def after_fork(self) -> None:
        """Hold nothing: locks belong to the process that took them."""
        self._lock = new_lock()
        self._held: dict[asyncio.AbstractEventLoop | None, set[int]] = {}

    def acquire(self, key: str) -> bool:
        """Lock `key`, unless this or another process has; return whether it did. Never waits.

        The locks of event loops that were stopped are released: their fetches may never end.
        """
        slot = _slot(key)
        with self._lock:
            for loop in [one for one in self._held if one is not None and not one.is_running()]:
                for abandoned in self._held.pop(loop, ()):
                    self._unlock(abandoned)
            if any(slot in slots for slots in self._held.values()):
                return False
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except (BlockingIOError, PermissionError):
                return False
            except OSError:
                pass  # no locks in this file system
            self._held.setdefault(_get_running_loop(), set()).add(slot)
            return True

    def renew(self, key: str) -> None:
        """Write another pulse for `key`, which this process has locked."""
        with contextlib.suppress(OSError):  # the disk is full
            os.pwrite(self._file, os.urandom(_PULSE), _place(key))

    def pulse(self, key: str) -> str | None:
        """Return the last pulse of `key`, or None if it is not locked."""
        if self.acquire(key):
            self.release(key)
            return None
        return os.pread(self._file, _PULSE, _place(key)).hex()

    def release(self, key: str) -> None:
        """Unlock `key`, if the running event loop has locked it."""
        slot = _slot(key)
        with self._lock:
            slots = self._held.get(_get_running_loop(), set())
            if slot in slots:
                slots.remove(slot)
                self._unlock(slot)

    def _unlock(self, slot: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot)


_known: weakref.WeakValueDictionary[tuple[int, int], FetchLocks] = weakref.WeakValueDictionary()


def fetch_locks(folder: Path) -> FetchLocks:
    """Return the locks of this process in a private folder.

    There is one object per folder: when a process closes a file, the kernel frees all locks that
    the process has on it.
    """
    path = folder / "claims"
    with contextlib.suppress(FileNotFoundError):
        found = _known.get(_identity(os.lstat(path)))
        if found is not None:
            return found
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    created = FetchLocks(file)
    return _known.setdefault(_identity(os.fstat(file)), created)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _place(key: str) -> int:
    return _slot(key) % _PULSES * _PULSE


def _slot(key: str) -> int:
    text = key.encode("utf-8", "surrogatepass")
    return zlib.crc32(text) << 28 ^ zlib.adler32(text)


@contextlib.contextmanager
def private_folder(folder: Path) -> Iterator[int]:
    """Create the folder if it does not exist, check that it is private, and yield it opened."""
    # `os.makedirs(mode=)` would leave the folders between at the umask.
    for path in [*reversed(folder.parents), folder]:
        if not path.is_dir():
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
    _check_private(folder, os.lstat(folder))
    for parent in folder.resolve().parents:
        if stat.S_IMODE(parent.stat().st_mode) & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            raise NotPrivateError(
                f"the cache folder {folder} is in {parent}, where others can rename and replace it:"
                f" run `chmod +t {parent}` or `chmod o-w {parent}`, or name another folder"
            )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _check_private(folder, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _check_private(folder: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        problem = "is a symbolic link"
    elif status.st_uid != os.geteuid():
        problem = f"belongs to the user {status.st_uid}"
    elif mode & 0o077:
        problem = f"has the mode {mode:04o}, so others can get into it"
    else:
        return
    raise NotPrivateError(
        f"the cache folder {folder} {problem}; secrets are only kept in a folder of the user's own"
        " with the mode 0700: change that, or name another folder"
    )


def _create_file(descriptor: int) -> int:
    """Create the database file in an opened folder, private; return its inode.

    SQLite gives its -wal and -shm files the same mode.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY
    with contextlib.suppress(FileExistsError):
        os.close(os.open("cache.db", flags, 0o600, dir_fd=descriptor))
    status = os.stat("cache.db", dir_fd=descriptor, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise NotPrivateError("the database file of the cache is a symbolic link: remove it")
    return status.st_ino
