"""A folder of files, each a secret: what Docker, Kubernetes and systemd give to containers."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1crets._redaction import redact
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
from s1crets.providers.beneath import again, files, read
from s1crets.providers.beneath_writing import remove, write
from s1crets.providers.options import redact_options
from s1crets.providers.simple import (
    AsyncSimpleProvider,
    Entry,
    Fetched,
    SimpleProvider,
    in_thread,
)
from s1crets.providers.store import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Unpack

    from s1crets._redaction import Redacted
    from s1crets.providers.simple import SimpleOptions

__all__ = ["AsyncFiles", "Files"]

_DEFAULT = "/run/secrets"  # Docker's
_PART, _FILES = 255, 10_000  # bytes of a file's name; files and folders that are looked through


class AsyncFiles(AsyncSimpleProvider):
    """Secrets that are files in a folder, awaited.

    A name is the path of a file from the folder on: `db_password`, `db/password`. Nothing outside
    of the folder is read or written, whatever names and symlinks say. A file that is UTF-8 is text,
    without the one newline at its end, if it has one; any other is bytes.

    Nothing is cached unless `cache_args` has a `cache_ttl`: reading a file is cheap, and what is
    changed is seen at once.

    What is written takes its file's place as a whole, readable for its owner only. What Kubernetes
    mounts is not written: it is changed where it comes from.

    Args:
        folder: `S1CRETS_FILES` in the environment, or `/run/secrets`, if not given.
        options: `cache_args`, `deadline`: see `SimpleOptions`.

    Raises:
        TypeError: an option is not known or of the wrong type.
        ValueError: an option is out of range.

    Attributes:
        folder: which one it is.
        default_ttl: 0, as is said above.
        concurrency: files that are read at a time.
        largest: bytes that a file may have.
    """

    default_ttl = 0
    concurrency = 8
    largest = 2**20

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
        """Refuse what is no path of a file from the folder on."""
        for part in name.split("/"):
            problem = ""
            if part in {"", "."}:
                problem = "it is a path from the folder on, without empty parts or dots"
            elif part.startswith(".."):
                problem = "no part of it may begin with two dots"
            elif len(part.encode()) > _PART:
                problem = f"a part of it has more than {_PART} bytes"
            if problem:
                message = f"{name[:80]!r} can't be a name of {self.service}: {problem}"
                raise InvalidNameError(message)

    async def fetch(self, name: str) -> Fetched:
        """Read a file."""
        return await in_thread(self._read_file, name)

    async def names(self, path: str) -> list[str]:
        """List files."""
        return [entry.name for entry in await self.entries(path)]

    async def entries(self, path: str) -> list[Entry]:
        """List files, and when they were changed."""
        return await in_thread(self._list_files, path)

    async def store(self, name: str, value: Redacted, *, exists: bool | None) -> None:
        """Write a file."""
        await self._change(name, write, _data(value), exists)

    async def remove(self, name: str) -> None:
        """Delete a file."""
        await self._change(name, remove)

    def identity(self) -> str:
        """Return which folder it is, of which machine or container, and who reads it."""
        return f"{socket.gethostname()}\0{os.getuid()}\0{os.path.realpath(self.folder)}"

    def _read_file(self, name: str) -> Fetched:
        limit = self.largest + 1  # for a newline that is dropped
        with self._told(name, "read"):
            data, info = again(read, self.folder, _parts(name), limit)
        if len(data) > limit:
            del data
            message = f"{self.service}: {name!r} has more than {self.largest:,} bytes"
            raise InvalidValueError(message)
        return Fetched(_value(data), float(info.st_mtime_ns))

    def _list_files(self, path: str) -> list[Entry]:
        with self._told(path or "/", "listed"):
            found = files(self.folder, _parts(path), _FILES)
        return [_entry(name, info) for name, info in found if _is_name(name)]

    async def _change(self, name: str, how: Callable[..., None], *args: Any) -> None:
        def change() -> None:
            with self._told(name, "changed"):
                how(self.folder, _parts(name), *args)

        await in_thread(change)

    @contextmanager
    def _told(self, name: str, verb: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            kind: type[S1cretsError] = SecretExistsError
            problem = "is there already"
        except FileNotFoundError:
            kind = SecretNotFoundError
            there = Path(self.folder).is_dir()
            what = "file" if there else "folder; S1CRETS_FILES names another one"
            problem = f"can't be {verb}: there is no such {what}"
        except (IsADirectoryError, NotADirectoryError) as error:
            kind = InvalidNameError if verb == "changed" else SecretNotFoundError
            problem = f"can't be {verb}: {error.strerror}"
        except OSError as error:
            denied = isinstance(error, PermissionError) or error.errno == errno.EROFS
            kind = AccessDeniedError if denied else UnavailableError
            problem = f"can't be {verb}: {error.strerror}"
            if denied and verb == "changed":
                problem += "; what is mounted is changed where it comes from"
        else:
            return
        message = f"{self.service}: {name!r} {problem}"
        raise kind(message)


class Files(SimpleProvider[AsyncFiles]):
    """Secrets that are files in a folder, blocking; the arguments are `AsyncFiles`'s.

    Attributes:
        async_class: `AsyncFiles`.
    """

    async_class = AsyncFiles

    def __init__(
        self, *, folder: str | os.PathLike[str] | None = None, **options: Unpack[SimpleOptions]
    ) -> None:
        options = redact_options(options)
        super().__init__(folder=folder, **options)


def _absolute(folder: Any) -> str:
    if folder is None:
        folder = os.environ.get("S1CRETS_FILES") or _DEFAULT
    if not isinstance(folder, (str, os.PathLike)):
        message = f"folder can't be {type(folder).__name__}: it is a path"
        raise TypeError(message)
    path = os.fsdecode(folder)
    if not path or "\0" in path:
        raise ConfigurationError("folder can't be empty or have a NUL in it: it is a path")
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH117, PTH118  # text


def _parts(name: str) -> list[bytes]:
    return name.encode().split(b"/") if name else []


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except InvalidNameError:
        return False
    return True


def _entry(name: str, info: os.stat_result | None) -> Entry:
    if info is None:
        return Entry(name, "file", "", None)
    try:
        changed = datetime.fromtimestamp(info.st_mtime, UTC)
    except (OverflowError, ValueError):
        changed = None  # a year that Python does not know
    return Entry(name, "file", str(info.st_mtime_ns), changed)


def _value(data: bytes) -> str | bytes:
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        return data


def _data(value: Redacted) -> Redacted:
    """Return the bytes of a file that is read as `value`."""
    raw = value.reveal()
    if isinstance(raw, str):
        # One newline is dropped by whoever reads it, so one that is part of the value gets company.
        raw = (raw + "\n" * raw.endswith("\n")).encode()
    return redact(raw)
