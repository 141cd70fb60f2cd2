"""Store: the operations of one service. A store knows neither the cache nor the deadline."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from s1crets.cache.entry import Fetched
from s1crets.cache.scope import Scope
from s1crets.errors import InvalidNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from s1crets._redaction import Redacted
    from s1crets.cache.keys import CacheKey
    from s1crets.providers.metadata import SecretMetadata

__all__ = ["Fetched", "Scope", "Store", "WriteMode", "check_name"]

WriteMode: TypeAlias = Literal["create", "put", "update"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_NAME = 2048


class Store(Protocol):
    """One service's operations. A new service implements this and nothing else.

    Every method raises `S1cretsError` subclasses for failures of the service.

    Attributes:
        title: the service's name in error messages, such as `Parameter Store`.
    """

    title: str

    def key(self, path: str, kind: str = ..., **options: Any) -> CacheKey:
        """Return the cache key of a request. The only place that validates names and builds keys.

        Raises:
            InvalidNameError: no secret or path of this service can have this name.
        """
        ...

    def aliases(self, path: str) -> Iterable[str]:
        """Return all names under which a secret may be cached, as in `CacheKey.secrets`."""
        ...

    def ancestors(self, path: str) -> Iterable[CacheKey]:
        """Return the keys of all paths whose entries may contain the secret."""
        ...

    async def fetch(self, key: CacheKey) -> Fetched:
        """Return what the service has for a key, and whatever was read along the way.

        Raises:
            SecretNotFoundError: the service has nothing for this key.
        """
        ...

    async def write(
        self, path: str, value: Redacted, mode: WriteMode, settings: Mapping[str, Any]
    ) -> None:
        """Store a value; `settings` are the service's own arguments, validated."""
        ...

    async def delete(self, path: str, **options: Any) -> None:
        """Delete a secret."""
        ...

    async def describe(self, path: str) -> Sequence[SecretMetadata]:
        """Return the metadata of the secrets under a path; "" means all."""
        ...

    def scope_hint(self) -> str:
        """Return a text that changes whenever the scope may change, or "" if unknown. Blocks."""
        ...

    async def scope(self) -> Scope:
        """Return the identity that cache entries belong to."""
        ...

    async def aclose(self) -> None:
        """Close connections; a later call opens them again."""
        ...


def check_name(name: object) -> None:
    """Reject a name that no service can have.

    Raises:
        InvalidNameError: not str, empty, too long, or with control characters.
    """
    if not isinstance(name, str):
        problem = f"it must be str, not {type(name).__name__}"
    elif not name:
        problem = "it is empty"
    elif len(name) > _LONGEST_NAME:
        problem = f"it has {len(name):,} characters; the maximum is {_LONGEST_NAME:,}"
    elif _CONTROL.search(name):
        problem = "it contains control characters or lone surrogates"
    else:
        return
    shown = ascii(name)[:80] if isinstance(name, str) else "this"
    message = f"{shown} is not a valid name: {problem}"
    raise InvalidNameError(message)
