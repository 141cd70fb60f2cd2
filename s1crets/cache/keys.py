"""What a cache's entries are known by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Derived:
    """The key of what goes to the second tier.

    Attributes:
        name: the path, or what a secret was asked for by besides its own name.
        what: every argument that changes the answer.
    """

    name: str
    what: tuple[Any, ...]


Key: TypeAlias = str | Derived
"""A plain text is a secret's own name, the key of its current value in the first tier."""


def name_of(key: Key) -> str:
    """Return the name or path that a key is about."""
    return key if isinstance(key, str) else key.name


def text_of(key: Key) -> str:
    """Return a key as one text, for stores that have only such."""
    return key if isinstance(key, str) else f"{key.what!r}:{key.name}"
