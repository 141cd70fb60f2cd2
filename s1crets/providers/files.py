"""The provider: names, values, errors; file access itself is in `_rooted_fs`."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

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
from s1crets.providers._rooted_fs import list_files, read, remove, write
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
        await in_thread(self._change_file, name, write, _encode(value), exists)

    async def remove(self, name: str) -> None:
        """Delete a file."""
        await in_thread(self._change_file, name, remove)

    def identity(self) -> str:
        """Return the machine or container, the user, and the folder."""
        return f"{socket.gethostname()}\0{os.getuid()}\0{os.path.realpath(self.folder)}"

    def _read_file(self, name: str) -> Fetched:
        limit = self.largest + 1  # for a newline that is dropped
        with self._translate_errors(name, "read"):
            data, info = read(self.folder, _parts(name), limit)
        if len(data) > limit:
            del data
            message = f"{self.service}: {name!r} has more than {self.largest:,} bytes"
            raise InvalidValueError(message)
        return Fetched(_decode(data), float(info.st_mtime_ns))

    def _list_files(self, path: str) -> list[SecretMetadata]:
        with self._translate_errors(path or "/", "listed"):
            listed = list_files(self.folder, _parts(path), _MAX_FILES)
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
