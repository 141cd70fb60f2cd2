"""What an update of a parameter must send again: `PutParameter` resets what it is not given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s1crets.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s1crets._redaction import Redacted

_STANDARD, LARGEST = 4096, 8192  # bytes of a value in the standard tier, and in any
ATTRIBUTES = ("Type", "KeyId", "Tier", "Description", "AllowedPattern", "DataType")


def attributes(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `PutParameter` that keep a parameter as it is."""
    kept = {name: described[name] for name in ATTRIBUTES if described.get(name)}
    policies = [one["PolicyText"] for one in described.get("Policies") or []]
    if policies:
        kept["Policies"] = f"[{','.join(policies)}]"
    return kept


def check_tier(described: Mapping[str, Any], raw: Redacted) -> None:
    """Refuse a value that is too long for the parameter's tier.

    Raises:
        InvalidValueError: it is.
    """
    size = len(raw.reveal().encode())
    if described.get("Tier", "Standard") == "Standard" and size > _STANDARD:
        message = (
            f"the value can't be stored: it has {size:,} bytes, and a parameter of the standard"
            f" tier takes {_STANDARD:,}: make it an advanced one first"
        )
        raise InvalidValueError(message)
