"""Files below a folder and nowhere else, whatever names and symlinks say. All of it blocks.

Every part of a name is opened from the folder before it, and symlinks are followed here, not by the
system: what is checked is what is opened, also where somebody changes it meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from s1crets.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

R = TypeVar("R")
_TRIES = 3
_LINKS = 40  # as many as Linux follows
# On Linux a folder that may not be listed can be gone through; elsewhere it has to be readable.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class Found(NamedTuple):
    """Where a name leads to.

    Attributes:
        folder: of the folder that it is in, or that it is, a descriptor; open while it is used.
        name: what it is called in there, or `.`.
        info: what it is.
    """

    folder: int
    name: bytes
    info: os.stat_result


@contextmanager
def found(root: str, parts: Sequence[bytes]) -> Iterator[Found]:
    """Yield where a name leads to.

    Args:
        root: the folder.
        parts: of the name.

    Raises:
        PermissionError: it leads out of the folder, or nowhere.
        OSError: there is no such thing, or it can't be reached.
    """
    folders = [os.open(root, _FOLDER)]
    try:
        yield _follow(root, folders, list(reversed(parts)))
    finally:
        for folder in folders:
            os.close(folder)


def _follow(root: str, folders: list[int], ahead: list[bytes]) -> Found:
    """Go from folder to folder; those on the way stay open in `folders`.

    Args:
        root: the first of them.
        folders: descriptors, which `..` goes back in.
        ahead: parts that are to come, the next one last.
    """
    links = 0
    while ahead:
        part = ahead.pop()
        if part in {b"", b"."}:
            continue
        if part == b"..":
            if len(folders) == 1:
                raise _outside()
            os.close(folders.pop())
            continue
        info = os.stat(part, dir_fd=folders[-1], follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            links += 1
            if links > _LINKS:
                raise PermissionError(errno.EPERM, "its symlinks go round in circles")
            target = os.readlink(part, dir_fd=folders[-1])
            if target.startswith(b"/"):
                target = _inside(root, target)
                while len(folders) > 1:
                    os.close(folders.pop())
            ahead.extend(reversed(target.split(b"/")))
        elif ahead or stat.S_ISDIR(info.st_mode):
            folders.append(os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folders[-1]))
        else:
            return Found(folders[-1], part, info)
    return Found(folders[-1], b".", os.fstat(folders[-1]))


def _inside(root: str, target: bytes) -> bytes:
    """Return what an absolute target is from the folder on."""
    for one in (root, os.path.realpath(root)):
        prefix = os.fsencode(one).rstrip(b"/") + b"/"
        if target.startswith(prefix):
            return target[len(prefix) :]
    raise _outside()


def _outside() -> PermissionError:
    return PermissionError(errno.EPERM, "it is a symlink that leads out of the folder")


def again(function: Callable[..., R], *args: Any) -> R:
    """Return what `function` returns, which is called anew where something was not there.

    Kubernetes puts another folder in the place of the one that symlinks lead to, and removes that.
    """
    for _ in range(_TRIES - 1):
        with suppress(FileNotFoundError):
            return function(*args)
    return function(*args)


def read(root: str, parts: Sequence[bytes], limit: int) -> tuple[bytes, os.stat_result]:
    """Return what a file has, no more than one byte past `limit`, and what is known of it.

    Raises:
        PermissionError: it is no file, or not in the folder, or can't be read.
        IsADirectoryError: it is a folder.
        OSError: there is no such thing, or it can't be read.
    """
    with found(root, parts) as place:
        check_file(place.info)
        descriptor = os.open(place.name, _FILE, dir_fd=place.folder)
    with open(descriptor, "rb") as file:  # noqa: PTH123  # it is a descriptor
        info = os.fstat(descriptor)
        check_file(info)  # it may be another one by now
        return file.read(limit + 1), info


def check_file(info: os.stat_result) -> None:
    """Refuse what is not even opened: that may wait for ever, or do something to a device.

    Raises:
        IsADirectoryError: it is a folder.
        PermissionError: it is no file.
    """
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(info.st_mode):
        raise PermissionError(errno.EPERM, "it is no file")


def files(root: str, parts: Sequence[bytes], limit: int) -> list[tuple[str, os.stat_result | None]]:
    """Return the names of the files at a place and below, and what is known of each.

    Names that begin with two dots are left out, as those of Kubernetes' own folders do, and those
    that are not UTF-8. Of what leads out of the folder nothing is known.

    Args:
        root: the folder.
        parts: of the place's name.
        limit: how many files and folders may be looked at.

    Raises:
        ConfigurationError: there are more.
        OSError: the place, or a folder below it, can't be listed.
    """
    listed: list[tuple[str, os.stat_result | None]] = []
    generation = None
    # Once more if it has changed meanwhile: a folder may have been listed while it was emptied.
    while generation != (generation := _generation(root)):
        listed = _files(root, tuple(parts), limit)
    return listed


def _generation(root: str) -> str:
    """Return what Kubernetes changes, when it puts other files in the place of those there are."""
    with suppress(OSError):
        return os.readlink(os.path.join(root, "..data"))  # noqa: PTH115, PTH118  # text
    return ""


def _files(
    root: str, start: tuple[bytes, ...], limit: int
) -> list[tuple[str, os.stat_result | None]]:
    listed: list[tuple[str, os.stat_result | None]] = []
    ahead: list[tuple[tuple[bytes, ...], frozenset[tuple[int, int]]]] = [(start, frozenset())]
    for _ in range(limit):
        if not ahead:
            return listed
        at, above = ahead.pop()
        name = b"/".join(at).decode()
        try:
            info, inside = again(_look, root, at)
        except (FileNotFoundError, NotADirectoryError):
            continue  # it has just gone, or it is a symlink that leads nowhere
        except PermissionError:
            if at == start:
                raise
            listed.append((name, None))  # who reads it is told
            continue
        if inside is None:
            raise PermissionError(errno.EACCES, f"the folder {name!r} can't be listed")
        here = (info.st_dev, info.st_ino)
        if here not in above:
            ahead += [((*at, one), above | {here}) for one in inside]
        if stat.S_ISREG(info.st_mode):
            listed.append((name, info))
    message = f"there are more than {limit:,} files in {root!r}: is it a folder of secrets?"
    raise ConfigurationError(message)


def _look(root: str, at: Sequence[bytes]) -> tuple[os.stat_result, list[bytes] | None]:
    """Return what is known of a place, and what is in it; None where that can't be listed."""
    with found(root, at) as place:
        if not stat.S_ISDIR(place.info.st_mode):
            return place.info, []
        try:
            descriptor = os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place.folder)
        except PermissionError:
            return place.info, None
        try:
            names = map(os.fsencode, os.listdir(descriptor))  # noqa: PTH208  # it is a descriptor
            return place.info, [one for one in names if _is_listed(one)]
        finally:
            os.close(descriptor)


def _is_listed(name: bytes) -> bool:
    return not name.startswith(b"..") and name.decode(errors="ignore").encode() == name
