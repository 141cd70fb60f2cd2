"""Store: the operations of one service. A store knows neither the cache nor the deadline."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from s1crets._json import serialize
from s1crets._redaction import Redacted
from s1crets.cache.entry import CacheKey, Fetched
from s1crets.cache.secret_cache import Source
from s1crets.errors import BatchError, InvalidNameError, InvalidValueError, S1cretsError

_K = TypeVar("_K", bound=Hashable)
_R = TypeVar("_R")
WriteMode: TypeAlias = Literal["create", "put", "update"]

_LONGEST_NAME = 2048
VALID_NAME = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{_LONGEST_NAME}}}")


@dataclass(frozen=True)
class SecretMetadata:
    """A secret without its value, as `describe` returns it.

    Attributes:
        name: the full name.
        type: a parameter's type (`SecureString`, `String`, `StringList`), otherwise `secret`.
        version: a parameter's version number, or the id of a secret's current version; may be "".
        changed: time of the last change, with a time zone; None if the service does not report it.
        kms_key: the key that encrypts it, as the service names it; "" if none is reported.
        accessed: day of the last access; None if the service does not report it.
        description: its description; may be "".
    """

    name: str
    type: str
    version: str
    changed: datetime | None
    kms_key: str = ""
    accessed: datetime | None = None
    description: str = ""


@dataclass(frozen=True)
class SecretVersion:
    """A version of a secret without its value, as `history` returns it.

    Attributes:
        version: a parameter's version number, or the id of a secret's version.
        labels: a parameter's labels, or the stages of a secret's version, such as `AWSCURRENT`.
        created: time of its creation, with a time zone; None if the service does not report it.
    """

    version: str
    labels: tuple[str, ...]
    created: datetime | None


class Store(Source, Protocol):
    """One service's operations. A new service implements this, which includes `Source`.

    Every method raises `S1cretsError` subclasses for failures of the service; `fetch_many` returns
    them, a `SecretNotFoundError` if the service has nothing for a key.
    """

    def key(self, path: str, *args: Any, **options: Any) -> CacheKey:
        """Return the cache key of a request, or raise an `InvalidNameError`.

        The only place that validates names and builds keys. `args` has the kind, if it is not
        `VALUE`; `options` are the service's own, such as `decrypt`.
        """
        ...

    def aliases(self, path: str) -> Collection[str]:
        """Return all names under which a secret may be cached, as in `CacheKey.secrets`."""
        ...

    def write(
        self, path: str, value: Redacted, mode: WriteMode, settings: Mapping[str, Any]
    ) -> Awaitable[None]:
        """Validate everything at once, and return the work of storing a value.

        The mode says whether the secret must exist ("update"), must not ("create"), or may ("put");
        `settings` are the service's own arguments, such as a KMS key.
        """
        ...

    def delete(self, path: str, *args: Any, **options: Any) -> Awaitable[None]:
        """Validate, and return the work of deleting a secret."""
        ...

    def restore(self, path: str) -> Awaitable[None]:
        """Validate, and return the work of restoring a deleted secret, or raise a TypeError."""
        ...

    async def describe(self, path: str) -> Sequence[SecretMetadata]:
        """Return the metadata of the secrets under a path; "" means all."""
        ...

    def history(self, path: str) -> Awaitable[list[SecretVersion]]:
        """Validate, and return the request for a secret's versions, or raise a TypeError."""
        ...

    async def aclose(self) -> None:
        """Close connections; a later call opens them again."""


def check_name(name: object) -> None:
    """Reject a name that no service can have (`InvalidNameError`)."""
    if not isinstance(name, str):
        problem = f"it must be str, not {type(name).__name__}"
    elif not name:
        problem = "it is empty"
    elif len(name) > _LONGEST_NAME:
        problem = f"it has {len(name):,} characters; the maximum is {_LONGEST_NAME:,}"
    elif not VALID_NAME.fullmatch(name):
        problem = "it contains control characters or lone surrogates"
    else:
        return
    shown = ascii(name)[:80] if isinstance(name, str) else "this"
    raise InvalidNameError(f"{shown} is not a valid name: {problem}")


def is_under(name: str, path: str) -> bool:
    """Return whether `name` is `path` or starts with `path` and a slash. "" contains every name."""
    return not path or name == path or name.startswith(path.rstrip("/") + "/")


def relative_to(path: str, values: Mapping[str, _R]) -> dict[str, _R]:
    """Return the values by their names without the path that contains them."""
    above = path.rstrip("/")
    return {name.removeprefix(above).removeprefix("/"): one for name, one in values.items()}


async def fetch_each(
    names: Sequence[_K], fetch: Callable[[_K], Awaitable[_R]]
) -> dict[_K, _R | S1cretsError]:
    """Return what `fetch` returns or raises for each name; bugs are raised."""
    outcomes = await asyncio.gather(*map(fetch, names), return_exceptions=True)
    found: dict[_K, _R | S1cretsError] = {}
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, S1cretsError):
            raise outcome
        found[name] = outcome
    return found


def fetched_path(title: str, found: Mapping[str, Fetched | S1cretsError]) -> Fetched:
    """Return the secrets under a path; if some could not be read, raise a `BatchError`.

    It has the values as they are stored.
    """
    read = {name: one for name, one in found.items() if isinstance(one, Fetched)}
    if len(read) < len(found):
        raise batch_error(title, {**found, **{name: one.value for name, one in read.items()}})
    also = {CacheKey.of_secret(name): one for name, one in read.items()}
    values: Any = {name: one.value for name, one in read.items()}
    return Fetched(values, sum(one.version for one in read.values()), also)


def batch_error(service: str, found: Mapping[str, Any]) -> BatchError:
    """Return the error of a batch, from the values and errors of its names."""
    errors = {name: one for name, one in found.items() if isinstance(one, S1cretsError)}
    values = {name: one for name, one in found.items() if name not in errors}
    message = (
        f"{service}: {len(errors)} of {len(found)} could not be read: .errors has one error per"
        f" name, .values the rest; the first error: {next(iter(errors.values()))}"
    )
    return BatchError(message, values, errors)


def encode(value: Redacted, *, binary: bool, limit: int) -> str | bytes:
    """Return the text to store: str as it is, a dict or list as JSON; bytes if `binary`.

    Raises:
        InvalidValueError: another type, not expressible as JSON, empty, or longer than `limit`
            bytes.
    """
    raw, problem = _serialized(value, binary=binary)
    size = len(raw.encode() if isinstance(raw, str) else raw)
    if not problem and not 0 < size <= limit:
        problem = f"it has {size:,} bytes; the service accepts 1 to {limit:,}"
    if problem:
        del raw
        raise InvalidValueError(f"the value can't be stored: {problem}")
    return raw


def _serialized(value: Redacted, *, binary: bool) -> tuple[str | bytes, str]:
    """Return the bytes or text to store, and the problem with it, if any."""
    kind = type(value.reveal()).__name__
    allowed = "str, dict, list" + (", bytes" if binary else "")
    if isinstance(value.reveal(), bytes) and binary:
        return bytes(value.reveal()), ""
    if isinstance(value.reveal(), (dict, list)):
        try:
            text = serialize(value.reveal())
        except (TypeError, ValueError, RecursionError):
            return "", f"the {kind} contains something that JSON can't express"
    elif isinstance(value.reveal(), str):
        text = str(value.reveal())
    else:
        return "", f"it must be {allowed}, not {kind}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "", "it contains a lone surrogate, which UTF-8 can't express"
    return text, ""
