"""SecretMetadata: what `describe` returns for a secret, without its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class SecretMetadata:
    """A secret without its value.

    Attributes:
        name: the full name.
        type: a parameter's type (`SecureString`, `String`, `StringList`), otherwise `secret`.
        version: a parameter's version number, or the id of a secret's current version; may be "".
        changed: time of the last change, with a time zone; None if the service does not report it.
    """

    name: str
    type: str
    version: str
    changed: datetime | None


def is_under(name: str, path: str) -> bool:
    """Return whether `name` is `path` or starts with `path` and a slash. "" contains every name."""
    return not path or name == path or name.startswith(path.rstrip("/") + "/")
