"""What a provider that is made of `AsyncSimpleProvider` says of its store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s1crets.errors import AccessDeniedError
from s1crets.providers.entries import Entry, is_below

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s1crets._redaction import Redacted


@dataclass(frozen=True, repr=False)
class Fetched:
    """A secret as its store has it; the repr does not show it.

    Attributes:
        value: text, or bytes of a binary secret.
        version: a number that grows with every version, where the store has one; else what is
            stored tells whether a secret was changed.
    """

    value: str | bytes
    version: float = 0.0


class Hooks(ABC):
    """What is asked of a store; the caller's verbs come from `AsyncSimpleProvider`.

    `fetch` and `names` have to be written, the others may be; names that begin with an underscore
    are s1crets' own. They run on the caller's event loop, which may be another one each time; what
    blocks goes through `in_thread`.

    What goes wrong is to be raised as one of `s1crets.errors`. An `OSError` becomes an
    `UnavailableError`, for which `stale_for` is meant, and a `PermissionError` an
    `AccessDeniedError`; anything else is passed on as it is. No message may have a value in it.

    Attributes:
        service: what error messages call the store.
        default_ttl: seconds that a cache keeps what it holds, where `cache_ttl` does not say; 900.
        concurrency: questions that the store is asked at a time; 50.
        largest: bytes that a value may have which is to be stored; a mebibyte.
    """

    service: str
    default_ttl: float = 900
    concurrency: int = 50
    largest: int = 2**20

    @abstractmethod
    async def fetch(self, name: str) -> str | bytes | Fetched | None:
        """Return a secret, or None if there is none of that name."""

    @abstractmethod
    async def names(self, path: str) -> Iterable[str]:
        """Return the names that are `path` or begin with `path` and a slash; others do no harm.

        An empty `path` means all of them.
        """

    async def exists(self, path: str) -> bool:
        """Say whether there is a secret of that name, or one below; as `names` says by default."""
        return any(is_below(name, path) for name in await self.names(path))

    async def entries(self, path: str) -> Iterable[Entry]:
        """Return what there is to tell of `names`; their names alone by default."""
        return [Entry(name, "secret", "", None) for name in await self.names(path)]

    async def store(self, name: str, value: Redacted, *, exists: bool | None) -> None:  # noqa: ARG002
        """Store a value, or refuse to, which is the default.

        Args:
            name: the secret's.
            value: `value.reveal()` is text or bytes; its repr does not show it.
            exists: True: it must be there (`SecretNotFoundError`); False: it must not
                (`SecretExistsError`); None: either will do.
        """
        raise self._read_only(name)

    async def remove(self, name: str) -> None:
        """Delete a secret (`SecretNotFoundError`), or refuse to, which is the default."""
        raise self._read_only(name)

    def _read_only(self, name: str) -> AccessDeniedError:
        message = f"{self.service} is only read here: change {name!r} where it comes from"
        return AccessDeniedError(message)

    def check(self, name: str) -> None:  # noqa: B027  # most stores take any name
        """Refuse what can't be a name or a path in this store, before anything is asked.

        Raises:
            InvalidNameError: it can't be; by default all can that `s1crets` takes at all.
        """

    def identity(self) -> str:
        """Return what tells this store from another of its class: its address, account, folder.

        Entries of a cache outside of the process are kept apart by it. Without it such a cache
        needs a `namespace`. May block.
        """
        return ""

    async def disconnect(self) -> None:  # noqa: B027  # most stores have nothing open
        """Close what is open; a later call opens it again."""
