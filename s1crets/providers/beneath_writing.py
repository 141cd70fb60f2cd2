"""Files below a folder, written and deleted: whole or not at all. All of it blocks."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from s1crets.providers.beneath import check_file, found

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from s1crets._redaction import Redacted

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def write(root: str, parts: Sequence[bytes], data: Redacted, exists: bool | None) -> None:  # noqa: FBT001
    """Put a new file in the place of what is there, readable for its owner only.

    Args:
        root: the folder, which is there.
        parts: of the name; folders that it needs are made.
        data: bytes.
        exists: see `Hooks.store`.

    Raises:
        FileExistsError: it is there, and must not be.
        FileNotFoundError: it is not there, and must be; or there is no such folder.
        OSError: it can't be written.
    """
    if exists is not True:
        _make_folders(root, parts[:-1])
    name = parts[-1]
    with _folder(root, parts[:-1]) as folder:
        there = _known(folder, name)
        if exists is True and not there:
            raise FileNotFoundError(errno.ENOENT, "there is none")
        # Kubernetes skips such names, and so does `files`.
        draft = b"..s1crets-" + secrets.token_hex(8).encode()
        try:
            with open(os.open(draft, _NEW, 0o600, dir_fd=folder), "wb") as file:  # noqa: PTH123  # it is a descriptor
                file.write(data.reveal())
                file.flush()
                os.fsync(file.fileno())
            if exists is False:
                os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            with suppress(OSError):
                os.unlink(draft, dir_fd=folder)


def remove(root: str, parts: Sequence[bytes]) -> None:
    """Delete a file.

    Raises:
        OSError: there is none, or it can't be deleted.
    """
    with _folder(root, parts[:-1]) as folder:
        _known(folder, parts[-1])
        os.unlink(parts[-1], dir_fd=folder)


@contextmanager
def _folder(root: str, parts: Sequence[bytes]) -> Iterator[int]:
    with found(root, parts) as place:
        if not stat.S_ISDIR(place.info.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "it would be below a file")
        yield place.folder


def _make_folders(root: str, parts: Sequence[bytes]) -> None:
    for depth, part in enumerate(parts):
        with _folder(root, parts[:depth]) as folder, suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=folder)


def _known(folder: int, name: bytes) -> bool:
    """Say whether there is such a file.

    Raises:
        PermissionError: it is a symlink.
        OSError: it is no file.
    """
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(info.st_mode):
        raise PermissionError(errno.EPERM, "it is a symlink, as in what Kubernetes mounts")
    check_file(info)
    return True
