"""Where in a store outside of the process an entry is, and what stands there: plain or sealed."""

from __future__ import annotations

import hashlib
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Protocol

from s1crets.cache.records import pack, unpack
from s1crets.cache.sealing import framed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s1crets.cache.records import Record
    from s1crets.cache.sealing import Seal

PLAIN = "s1crets:plain"
"""What the namespaces of all rows begin with that are not sealed."""


class Rows(Protocol):
    """The rows of one identity and one kind.

    Attributes:
        namespace: what all their keys begin with.
    """

    namespace: str

    def at(self, name: str) -> tuple[str, bytes]:
        """Return the rest of a row's key, and what its content is bound to."""
        ...

    def pack(self, record: Record, context: bytes) -> str:
        """Return what is stored."""
        ...

    def unpack(self, text: object, context: bytes) -> Record | None:
        """Return what was stored, or None if it was not, or in another row."""
        ...


class PlainRows:
    """Rows that anybody can read who can read the store."""

    def __init__(self, outer: str, identity: str, kind: str) -> None:
        who = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self.namespace = f"{outer}{PLAIN}:{who}:{kind}"
        # Also in the rest, as an aiocache cache may be told to leave namespaces out of its keys.
        self._row = f":{who[:16]}:{kind}:"

    def at(self, name: str) -> tuple[str, bytes]:
        """Return whose it is, and the name itself."""
        return self._row + name, b""

    def pack(self, record: Record, context: bytes) -> str:  # noqa: ARG002
        """Return the record as text."""
        return b2a_base64(pack(record), newline=False).decode()

    def unpack(self, text: object, context: bytes) -> Record | None:  # noqa: ARG002
        """Return the record of a text."""
        try:
            return unpack(a2b_base64(text))  # type: ignore[arg-type]
        except (ValueError, TypeError):
            return None


class SealedRows:
    """Rows that tell nothing without the key."""

    def __init__(self, outer: str, identity: str, kind: str, seal: Seal) -> None:
        self._context = framed(identity) + framed(kind)
        self._seal = seal
        self.namespace = f"{outer}s1crets:sealed:{seal.name(self._context)[:32]}"

    def at(self, name: str) -> tuple[str, bytes]:
        """Return what stands for the name."""
        context = self._context + framed(name)
        return ":" + self._seal.name(context), context

    def pack(self, record: Record, context: bytes) -> str:
        """Return the record, sealed."""
        return self._seal.close(pack(record), context)

    def unpack(self, text: object, context: bytes) -> Record | None:
        """Return the record, if it was sealed with this key and for this row."""
        opened = self._seal.open(text, context)
        return None if opened is None else unpack(opened)


def rows_of(seals: Sequence[Seal], identity: str, kind: str, outer: str) -> list[Rows]:
    """Return the rows of a tier: those that are written first, then those that are read besides.

    Args:
        seals: the keys; none, and nothing is sealed.
        identity: whose entries they are.
        kind: tells the tiers of one backend apart.
        outer: what the backend's own namespace puts before all rows.
    """
    sealed = [SealedRows(outer, identity, kind, seal) for seal in seals]
    return [*sealed] or [PlainRows(outer, identity, kind)]
