"""A folder and a database file that only their owner can read, and that nobody can slip in."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from s1crets.errors import NotPrivateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def private_folder(folder: Path) -> Iterator[int]:
    """Make the folder if there is none, see that it is private, and yield it opened.

    Raises:
        NotPrivateError: the folder is a link, another user's, or open to others.
    """
    # `os.makedirs(mode=)` would leave the folders between at the umask.
    for one in [*reversed(folder.parents), folder]:
        if not one.is_dir():
            with contextlib.suppress(FileExistsError):
                one.mkdir(mode=0o700)
    _check_private(folder, os.lstat(folder))
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
    message = (
        f"the cache folder {folder} {problem}; secrets are only kept in a folder of one's own"
        " with the mode 0700: change that, or name another folder"
    )
    raise NotPrivateError(message)


def make_file(descriptor: int) -> int:
    """Make the database file, private; SQLite gives its -wal and -shm files the same mode.

    Args:
        descriptor: of a private folder.

    Returns:
        The file's inode.

    Raises:
        NotPrivateError: it is a link.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY
    with contextlib.suppress(FileExistsError):
        os.close(os.open("cache.db", flags, 0o600, dir_fd=descriptor))
    status = os.stat("cache.db", dir_fd=descriptor, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise NotPrivateError("the database file of the cache is a symbolic link: remove it")
    return status.st_ino
