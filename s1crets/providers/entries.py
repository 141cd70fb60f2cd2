"""What is told of a secret besides its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Entry:
    """A secret, without its value.

    Attributes:
        name: its full name.
        type: a parameter's (`SecureString`, `String`, `StringList`), else `secret`.
        version: a parameter's number, or the id of a secret's current version; maybe empty.
        changed: when it was changed last, with a time zone; None where the service does not tell.
    """

    name: str
    type: str
    version: str
    changed: datetime | None


def is_below(name: str, path: str) -> bool:
    """Say whether a name is `path`, or begins with it and a slash; all are below no path."""
    return not path or name == path or name.startswith(path.rstrip("/") + "/")
