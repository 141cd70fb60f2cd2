"""Single flight across processes: who fetches an entry of a shared folder locks a byte for it.

The kernel frees the locks of a process that dies, so there is nothing to clean up. Where a lock
does not work, two processes fetch the same, and nothing else is lost.
"""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from s1crets._runtime import on_fork

if TYPE_CHECKING:
    from pathlib import Path


class Claims:
    """The claims of this process on the entries of one folder.

    Args:
        file: what is locked, opened; closed when this is garbage.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self.after_fork()
        on_fork(self)
        weakref.finalize(self, os.close, file)

    def after_fork(self) -> None:
        """Hold nothing: locks belong to the process that took them."""
        self._lock = threading.Lock()
        self._held: set[int] = set()

    def take(self, row: str) -> bool:
        """Claim an entry, unless somebody has. Does not wait."""
        slot = _slot(row)
        with self._lock:
            if slot in self._held:
                return False
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except (BlockingIOError, PermissionError):
                return False
            except OSError:
                pass  # no locks in this file system
            self._held.add(slot)
            return True

    def release(self, row: str) -> None:
        """Let others claim it."""
        slot = _slot(row)
        with self._lock, suppress(OSError):
            self._held.discard(slot)
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot)


_known: weakref.WeakValueDictionary[tuple[int, int], Claims] = weakref.WeakValueDictionary()


def claims_in(folder: Path) -> Claims:
    """Return the claims of this process in a private folder.

    One object for all: closing a file, the kernel frees all locks that the process has on it.
    """
    path = folder / "claims"
    with suppress(FileNotFoundError):
        found = _known.get(_identity(os.lstat(path)))
        if found is not None:
            return found
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    made = Claims(file)
    return _known.setdefault(_identity(os.fstat(file)), made)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _slot(row: str) -> int:
    text = row.encode("utf-8", "surrogatepass")
    return zlib.crc32(text) << 28 ^ zlib.adler32(text)
