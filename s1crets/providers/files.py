"""The provider `files`: names, values, errors; access to files in one folder and nowhere else.

Each part of a name is opened relative to the folder before it, and symlinks are followed here
instead of by the kernel. So the object that was checked is the object that is used, even if
somebody swaps files in between. The functions that do so are the second half of this module; they
block, and raise an `OSError` for whatever can't be done, for example a `PermissionError` for a name
that leads out of the folder. The provider translates it.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, Unpack

from s1crets._redaction import Redacted, redact
from s1crets.cache.options import redact_options
from s1crets.errors import (
    AccessDeniedError,
    ConfigurationError,
    InvalidNameError,
    InvalidValueError,
    S1cretsError,
    SecretExistsError,
    SecretNotFoundError,
    UnavailableError,
)
from s1crets.providers.simple import (
    AsyncSimpleProvider,
    Fetched,
    SimpleOptions,
    SimpleProvider,
    in_thread,
)
from s1crets.providers.store import SecretMetadata, check_name

_DEFAULT_FOLDER = "/run/secrets"  # Docker's
_MAX_PART = 255  # bytes
_MAX_FILES = 10_000
_Listing: TypeAlias = "list[tuple[str, os.stat_result | None]]"
_Place: TypeAlias = "tuple[int, bytes, os.stat_result]"
"""Descriptor of the containing folder, name in it, status; a folder is `.` in itself."""
_ATTEMPTS = 3
_MAX_LINKS = 40  # Linux's own limit
# Linux can open a folder that may be entered but not listed; elsewhere it has to be readable.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_OUTSIDE = "a symlink leads out of the folder"
_DRAFT = os.O_WRONLY | os.O_CREAT | os.O_EXCL  # does not follow symlinks


class AsyncFiles(AsyncSimpleProvider):
    """Secrets that are files in a folder, async API.

    A name is the path of a file relative to the folder: `db_password`, `db/password`. Nothing
    outside of the folder is read or written, regardless of names and symlinks. A UTF-8 file is
    text, without a single newline at its end; any other file is bytes.

    Nothing is cached unless `cache_args` has a `cache_ttl`: reading a file is cheap, and changes
    are seen immediately.

    Files are written atomically, readable for their owner only. Files that Kubernetes mounts can't
    be written; change them at their source.

    Args:
        folder: defaults to `S1CRETS_FILES` in the environment, or `/run/secrets`.
        options: `cache_args`, `deadline`: see `SimpleOptions`.

    Raises:
        TypeError: an option is unknown or of the wrong type.
        ValueError: an option is out of range.

    Attributes:
        folder: absolute path of the folder.
        default_ttl: 0: nothing is cached.
        concurrency: number of files read at the same time.
    """

    registered_as = "files"
    default_ttl = 0
    concurrency = 8

    def __init__(
        self, *, folder: str | os.PathLike[str] | None = None, **options: Unpack[SimpleOptions]
    ) -> None:
        options = redact_options(options)
        self.folder = _absolute(folder)
        self.service = f"files in {self.folder!r}"
        super().__init__(**options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {getattr(self, 'folder', None)!r}>"

    def check(self, name: str) -> None:
        """Refuse names that are not paths relative to the folder."""
        for part in name.split("/"):
            if part in {"", "."}:
                problem = "it must be relative to the folder, without empty parts and dots"
            elif part.startswith(".."):
                problem = "no part may begin with two dots"
            elif len(part.encode()) > _MAX_PART:
                problem = f"no part may have more than {_MAX_PART} bytes"
            else:
                continue
            raise InvalidNameError(f"{name[:80]!r} can't be a name of {self.service}: {problem}")

    async def fetch(self, name: str) -> Fetched:
        """Read a file."""
        return await in_thread(self._read_file, name)

    async def names(self, path: str) -> list[str]:
        """List files."""
        return [entry.name for entry in await self.entries(path)]

    async def entries(self, path: str) -> list[SecretMetadata]:
        """List files with their modification times."""
        return await in_thread(self._list_files, path)

    async def store(self, name: str, value: Redacted, *, exists: bool | None) -> None:
        """Write a file."""
        await in_thread(self._change_file, name, _write_file, _encode(value), exists)

    async def remove(self, name: str) -> None:
        """Delete a file."""
        await in_thread(self._change_file, name, _remove_file)

    def identity(self) -> str:
        """Return the machine or container, the user, and the folder."""
        return f"{socket.gethostname()}\0{os.getuid()}\0{os.path.realpath(self.folder)}"

    def _read_file(self, name: str) -> Fetched:
        limit = self.largest + 1  # for a newline that is dropped
        with self._translate_errors(name, "read"):
            data, info = _read_file(self.folder, _parts(name), limit)
        if len(data) > limit:
            del data
            message = f"{self.service}: {name!r} has more than {self.largest:,} bytes"
            raise InvalidValueError(message)
        return Fetched(_decode(data), float(info.st_mtime_ns))

    def _list_files(self, path: str) -> list[SecretMetadata]:
        with self._translate_errors(path or "/", "listed"):
            listed = _listed_files(self.folder, _parts(path), _MAX_FILES)
        found = []
        for name, info in listed:
            with suppress(InvalidNameError):  # somebody else's file
                check_name(name)
                found.append(_entry(name, info))
        return found

    def _change_file(self, name: str, change: Callable[..., None], *args: Any) -> None:
        with self._translate_errors(name, "changed"):
            change(self.folder, _parts(name), *args)

    @contextmanager
    def _translate_errors(self, name: str, verb: str) -> Iterator[None]:
        kind: type[S1cretsError]
        try:
            yield
        except FileExistsError:
            kind, problem = SecretExistsError, "it exists already"
        except FileNotFoundError:
            kind, problem = SecretNotFoundError, "there is no such file"
            if not Path(self.folder).is_dir():
                problem = "there is no such folder; S1CRETS_FILES sets another"
        except (IsADirectoryError, NotADirectoryError) as error:
            kind = InvalidNameError if verb == "changed" else SecretNotFoundError
            problem = f"{error.strerror}"
        except OSError as error:
            denied = isinstance(error, PermissionError) or error.errno == errno.EROFS
            kind = AccessDeniedError if denied else UnavailableError
            hint = "; change mounted secrets at their source" * (denied and verb == "changed")
            problem = f"{error.strerror}{hint}"
        else:
            return
        raise kind(
            f"{self.service}: {name!r} can't be {verb}: {problem}"
        )  # out here it has no context, whose frames may have a value


class Files(SimpleProvider[AsyncFiles]):
    """Secrets that are files in a folder, sync API; for the arguments see `AsyncFiles`."""

    async_class = AsyncFiles
    """The class that does the work."""

    def __init__(
        self, *, folder: str | os.PathLike[str] | None = None, **options: Unpack[SimpleOptions]
    ) -> None:
        options = redact_options(options)
        super().__init__(folder=folder, **options)


def _absolute(folder: Any) -> str:
    if folder is None:
        folder = os.environ.get("S1CRETS_FILES") or _DEFAULT_FOLDER
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder must be a path, not {type(folder).__name__}")
    path = os.fsdecode(folder)
    if not path or "\0" in path:
        raise ConfigurationError("folder must be a path, not empty and without NUL characters")
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH117, PTH118  # text


def _parts(name: str) -> list[bytes]:
    return name.encode().split(b"/") if name else []


def _entry(name: str, info: os.stat_result | None) -> SecretMetadata:
    version, changed = "", None
    if info is not None:
        version = str(info.st_mtime_ns)
        with suppress(OverflowError, ValueError):  # a year that Python does not support
            changed = datetime.fromtimestamp(info.st_mtime, UTC)
    return SecretMetadata(name, "file", version, changed)


def _decode(data: bytes) -> str | bytes:
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        return data


def _encode(value: Redacted) -> Redacted:
    """Return the bytes of a file that is read as `value`."""
    data = value.reveal()
    if isinstance(data, str):
        # Readers drop a newline at the end, so add another to a value that ends with a newline.
        data = (data + "\n" * data.endswith("\n")).encode()
    return redact(data)


def _read_file(root: str, parts: Sequence[bytes], limit: int) -> tuple[bytes, os.stat_result]:
    """Return the content of a file, at most one byte more than `limit`, and its status."""
    # Kubernetes replaces the folder that symlinks lead to, and then removes the old folder.
    for _ in range(_ATTEMPTS - 1):
        with suppress(FileNotFoundError):
            return _read(root, parts, limit)
    return _read(root, parts, limit)


def _listed_files(root: str, parts: Sequence[bytes], limit: int) -> _Listing:
    """Return the name and status of every file at a place and under it, `limit` at most.

    Names that begin with two dots are left out, like those of Kubernetes' own folders, and so are
    names that are not UTF-8. The status of a symlink that leads out of the folder is None.
    """
    while True:
        generation = _generation(root)
        listed = _list(root, tuple(parts), limit)
        # If Kubernetes has put new files in place meanwhile, a folder may have been listed while
        # it was being emptied.
        if _generation(root) == generation:
            return listed


def _write_file(root: str, parts: Sequence[bytes], data: Redacted, exists: bool | None) -> None:  # noqa: FBT001
    """Replace or create a file, atomically; only its owner may read it.

    The data is written to a draft next to the file, which then takes the file's place. So readers
    see the old content or all of the new, also after a crash or on a full disk. Missing folders
    are created. If `exists` is True the file must exist, if it is False it must not.
    """
    if exists is not True:
        _make_folders(root, parts[:-1])
    name = parts[-1]
    with _open_folder(root, parts[:-1]) as folder:
        if not _is_file(folder, name) and exists is True:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        draft = b"..s1crets-" + secrets.token_hex(8).encode()  # such names are never listed
        try:
            with open(os.open(draft, _DRAFT, 0o600, dir_fd=folder), "wb") as file:  # noqa: PTH123  # it is a descriptor
                file.write(data.reveal())
                file.flush()
                os.fsync(file.fileno())
            take_place = os.link if exists is False else os.rename
            take_place(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            with suppress(OSError):
                os.unlink(draft, dir_fd=folder)


def _remove_file(root: str, parts: Sequence[bytes]) -> None:
    """Delete a file."""
    with _open_folder(root, parts[:-1]) as folder:
        _is_file(folder, parts[-1])
        os.unlink(parts[-1], dir_fd=folder)


@contextmanager
def _resolved(root: str, parts: Sequence[bytes]) -> Iterator[_Place]:
    """Yield the place that a name leads to; its descriptor is closed at the end."""
    folders = [os.open(root, _FOLDER)]
    try:
        yield _walk(root, folders, list(reversed(parts)))
    finally:
        for folder in folders:
            os.close(folder)


def _walk(root: str, folders: list[int], ahead: list[bytes]) -> _Place:
    """Go from folder to folder (`folders`, descriptors); `ahead` has the next part last."""
    links = 0
    while ahead:
        part = ahead.pop()
        if part in {b"", b"."}:
            continue
        if part == b"..":
            if len(folders) == 1:
                raise PermissionError(errno.EPERM, _OUTSIDE)
            os.close(folders.pop())  # back to the folder before
            continue
        info = os.stat(part, dir_fd=folders[-1], follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            links += 1
            if links > _MAX_LINKS:
                raise PermissionError(errno.EPERM, "too many levels of symlinks")
            target = os.readlink(part, dir_fd=folders[-1])
            if target.startswith(b"/"):
                target = _relative(root, target)
                while len(folders) > 1:
                    os.close(folders.pop())
            ahead.extend(reversed(target.split(b"/")))
        elif ahead or stat.S_ISDIR(info.st_mode):
            folders.append(os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folders[-1]))
        else:
            return folders[-1], part, info
    return folders[-1], b".", os.fstat(folders[-1])


def _relative(root: str, target: bytes) -> bytes:
    """Return an absolute target as a path from the folder."""
    for folder in (root, os.path.realpath(root)):
        prefix = os.fsencode(folder).rstrip(b"/") + b"/"
        if target.startswith(prefix):
            return target.removeprefix(prefix)
    raise PermissionError(errno.EPERM, _OUTSIDE)


def _read(root: str, parts: Sequence[bytes], limit: int) -> tuple[bytes, os.stat_result]:
    with _resolved(root, parts) as (folder, name, info):
        _check_file(info)
        descriptor = os.open(name, _FILE, dir_fd=folder)
    with open(descriptor, "rb") as file:  # noqa: PTH123  # it is a descriptor
        info = os.fstat(descriptor)
        _check_file(info)  # somebody may have put something else in its place
        return file.read(limit + 1), info


def _check_file(info: os.stat_result) -> None:
    """Refuse everything but regular files; opening others may block, or act on a device."""
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(info.st_mode):
        raise PermissionError(errno.EPERM, "not a regular file")


def _generation(root: str) -> str:
    """Return the target of the symlink that Kubernetes replaces when it updates the files."""
    with suppress(OSError):
        return os.readlink(os.path.join(root, "..data"))  # noqa: PTH115, PTH118  # text
    return ""


def _list(root: str, start: tuple[bytes, ...], limit: int) -> _Listing:
    listed: _Listing = []
    ahead: list[tuple[tuple[bytes, ...], frozenset[tuple[int, int]]]] = [(start, frozenset())]
    for _ in range(limit):
        if not ahead:
            return listed
        parts, above = ahead.pop()
        name = b"/".join(parts).decode()
        try:
            info, inside = _look(root, parts)
        except (FileNotFoundError, NotADirectoryError):
            continue  # it has just been removed, or is a symlink that leads nowhere
        except PermissionError:
            if parts == start:
                raise
            listed.append((name, None))  # reading it raises the error
            continue
        if inside is None:
            raise PermissionError(errno.EACCES, f"the folder {name!r} can't be listed")
        identity = (info.st_dev, info.st_ino)
        if identity not in above:  # otherwise a symlink leads back to a folder that it is in
            ahead += [((*parts, part), above | {identity}) for part in inside]
        if stat.S_ISREG(info.st_mode):
            listed.append((name, info))
    message = f"there are more than {limit:,} files in {root!r}; does it contain only secrets?"
    raise ConfigurationError(message)


def _look(root: str, parts: Sequence[bytes]) -> tuple[os.stat_result, list[bytes] | None]:
    """Return the status of a place, and the names in it; None if they can't be listed."""
    with _resolved(root, parts) as (folder, _, info):
        if not stat.S_ISDIR(info.st_mode):
            return info, []
        try:
            descriptor = os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        except PermissionError:
            return info, None
        try:
            names = [*map(os.fsencode, os.listdir(descriptor))]  # noqa: PTH208  # it is a descriptor
            names = [name for name in names if name.decode(errors="ignore").encode() == name]
            return info, [name for name in names if not name.startswith(b"..")]
        finally:
            os.close(descriptor)


@contextmanager
def _open_folder(root: str, parts: Sequence[bytes]) -> Iterator[int]:
    with _resolved(root, parts) as (folder, _, info):
        if not stat.S_ISDIR(info.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "it would be in a file, not in a folder")
        yield folder


def _make_folders(root: str, parts: Sequence[bytes]) -> None:
    for depth, part in enumerate(parts):
        with _open_folder(root, parts[:depth]) as folder, suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=folder)


def _is_file(folder: int, name: bytes) -> bool:
    """Return whether a file exists; refuse symlinks and everything but regular files."""
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(info.st_mode):
        raise PermissionError(errno.EPERM, "it is a symlink, as in a folder that Kubernetes mounts")
    _check_file(info)
    return True
