"""What a new parameter or secret gets besides its value, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from s1crets.errors import ConfigurationError

ParameterType: TypeAlias = Literal["SecureString", "String", "StringList"]
Tier: TypeAlias = Literal["Standard", "Advanced", "Intelligent-Tiering"]

_TYPES = ("SecureString", "String", "StringList")
_TIERS = ("Standard", "Advanced", "Intelligent-Tiering")
_TAGS, _TAG_KEY, _TAG_VALUE = 50, 128, 256  # how many at most, and of how many characters


def parameter_settings(
    kind: object, kms_key_id: object, description: object, tier: object, tags: object
) -> dict[str, Any]:
    """Return the arguments of `PutParameter` for what was given.

    Raises:
        TypeError: something is of another type.
        ConfigurationError: something is out of range, or does not go together.
    """
    _one_of("type", kind, _TYPES)
    _one_of("tier", tier, _TIERS)
    if kms_key_id is not None and kind not in (None, "SecureString"):
        message = f"kms_key_id is for a SecureString; a {kind} is not encrypted"
        raise ConfigurationError(message)
    given = {
        "Type": kind,
        "KeyId": _text("kms_key_id", kms_key_id, 2048),
        "Description": _text("description", description, 1024),
        "Tier": tier,
        "Tags": _tags(tags),
    }
    return {name: one for name, one in given.items() if one}


def secret_settings(kms_key_id: object, description: object, tags: object) -> dict[str, Any]:
    """Return the arguments of `CreateSecret` for what was given.

    Raises:
        TypeError: something is of another type.
        ConfigurationError: something is out of range.
    """
    given = {
        "KmsKeyId": _text("kms_key_id", kms_key_id, 2048),
        "Description": _text("description", description, 2048),
        "Tags": _tags(tags),
    }
    return {name: one for name, one in given.items() if one}


def deletion(recovery_days: object, *, force: bool) -> dict[str, Any]:
    """Return the arguments of `DeleteSecret`.

    Raises:
        TypeError: `recovery_days` is no number.
        ConfigurationError: it is out of range, or was given though there is no recovery.
    """
    if recovery_days is None:
        return {"ForceDeleteWithoutRecovery": True} if force else {}
    if force:
        raise ConfigurationError("with force there is no recovery: leave recovery_days out")
    if isinstance(recovery_days, bool) or not isinstance(recovery_days, int):
        message = f"recovery_days can't be {type(recovery_days).__name__}: it is a number of days"
        raise TypeError(message)
    if not 7 <= recovery_days <= 30:  # noqa: PLR2004  # AWS's bounds, as the message says
        message = f"recovery_days can't be {recovery_days}: it is 7 to 30"
        raise ConfigurationError(message)
    return {"RecoveryWindowInDays": recovery_days}


def refuse_tags(settings: Mapping[str, Any], subject: str) -> None:
    """Refuse tags for what is there already.

    Raises:
        ConfigurationError: there are some.
    """
    if "Tags" in settings:
        message = (
            f"{subject!r} is there already, and AWS takes tags with a new one only: leave tags out,"
            " or set them with another tool; nothing was written"
        )
        raise ConfigurationError(message)


def _one_of(name: str, given: object, known: tuple[str, ...]) -> None:
    if given is not None and given not in known:
        shown = repr(given) if isinstance(given, str) else type(given).__name__
        message = f"{name} can't be {shown}: it is one of {', '.join(known)}"
        raise ConfigurationError(message)


def _text(name: str, given: object, longest: int) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str):
        message = f"{name} can't be {type(given).__name__}: it is a text"
        raise TypeError(message)
    if not 1 <= len(given) <= longest:
        message = f"{name} has {len(given):,} characters, and must have 1 to {longest:,}"
        raise ConfigurationError(message)
    return given


def _tags(given: object) -> list[dict[str, str]]:
    """Return tags as AWS wants them."""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        message = f"tags can't be {type(given).__name__}: it is a dict of texts"
        raise TypeError(message)
    if len(given) > _TAGS:
        message = f"there are {len(given)} tags, and {_TAGS} is the most"
        raise ConfigurationError(message)
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError("tags: keys and values are texts")
        if not 1 <= len(key) <= _TAG_KEY or len(value) > _TAG_VALUE:
            message = f"tags: a key has 1 to {_TAG_KEY} characters, a value {_TAG_VALUE} at most"
            raise ConfigurationError(message)
        if key.lower().startswith("aws:"):
            message = f"tags: {key!r} begins with aws:, which is reserved"
            raise ConfigurationError(message)
    return [{"Key": key, "Value": value} for key, value in given.items()]
