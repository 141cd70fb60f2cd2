"""CacheKey: everything that decides which value a request gets, as one typed key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

VALUE, PATH, EXISTS = "value", "path", "exists"


@dataclass(frozen=True, slots=True)
class CacheKey:
    """The key of a cache entry. Only the `key` method of a store builds keys.

    Attributes:
        name: the secret's name as requested, or the path.
        kind: `VALUE` for a secret, `PATH` for all secrets under a path, `EXISTS` for a check.
        options: the other arguments that affect the result, by name, without defaults.
        secrets: the names of the secret that this entry depends on, as tombstones have them. Empty
            for an entry that depends on any number of secrets, such as a path.
    """

    name: str
    kind: str = VALUE
    options: tuple[tuple[str, Hashable], ...] = ()
    secrets: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of_secret(cls, name: str) -> CacheKey:
        """Return the key of a secret's current value under its own name."""
        return cls(name, secrets=(name,))

    @property
    def is_primary(self) -> bool:
        """Whether this is a secret's current value under its own name, with default options."""
        return self.kind == VALUE and not self.options and self.secrets == (self.name,)

    @property
    def id(self) -> Hashable:
        """The key in memory: a primary key is looked up by its name alone, which is faster."""
        return self.name if self.is_primary else self

    @property
    def text(self) -> str:
        """The key for backends that only have text keys."""
        return self.name if self.is_primary else f"{self.kind}{self.options!r}:{self.name}"

    def option(self, name: str, default: Hashable = None) -> Hashable:
        """Return an option, or its default."""
        return dict(self.options).get(name, default)
