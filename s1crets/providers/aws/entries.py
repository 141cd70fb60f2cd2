"""What is told of a parameter or a secret besides its value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A parameter or a secret, without its value.

    Attributes:
        name: its full name.
        type: `SecureString`, `String` or `StringList`; `secret` in Secrets Manager.
        version: a parameter's number, or the id of a secret's current version; maybe empty.
        changed: when it was changed last, with a time zone; None where AWS does not tell.
    """

    name: str
    type: str
    version: str
    changed: datetime | None


def of_parameter(described: dict[str, Any]) -> Entry:
    """Return what `DescribeParameters` tells."""
    return Entry(
        described["Name"],
        str(described.get("Type", "")),
        str(described.get("Version", "")),
        _moment(described.get("LastModifiedDate")),
    )


def of_secret(listed: dict[str, Any]) -> Entry:
    """Return what `ListSecrets` tells."""
    stages = listed.get("SecretVersionsToStages") or {}
    current = [version for version, labels in stages.items() if "AWSCURRENT" in labels]
    changed = listed.get("LastChangedDate") or listed.get("CreatedDate")
    return Entry(listed["Name"], "secret", "".join(current[:1]), _moment(changed))


def is_below(name: str, path: str) -> bool:
    """Say whether a name is `path`, or begins with it and a slash; all are below no path."""
    return not path or name == path or name.startswith(path.rstrip("/") + "/")


def _moment(given: object) -> datetime | None:
    return given if isinstance(given, datetime) else None
