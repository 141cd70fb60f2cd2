"""What is told of a parameter or a secret besides its value."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from s1crets.providers.entries import Entry, is_below

__all__ = ["Entry", "is_below", "of_parameter", "of_secret"]


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


def _moment(given: object) -> datetime | None:
    return given if isinstance(given, datetime) else None
