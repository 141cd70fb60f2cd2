"""Settings of new and overwritten secrets, validated before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from s1crets._redaction import Redacted, redact
from s1crets._validation import Rule, check_value
from s1crets.errors import ConfigurationError, InvalidNameError, InvalidValueError
from s1crets.providers.aws._errors import malformed

ParameterType: TypeAlias = Literal["SecureString", "String", "StringList"]
Tier: TypeAlias = Literal["Standard", "Advanced", "Intelligent-Tiering"]

LARGEST_PARAMETER, LARGEST_SECRET = 8192, 65536  # bytes
_LARGEST_STANDARD = 4096  # bytes of a parameter in the standard tier
_LEVELS = 15  # of a parameter's name
_RESERVED = r"(?i)/?(aws|ssm)(/|$)|(aws|ssm)[^/]*$"
_REFERENCE = re.compile(r"\{\{\s*ssm:")  # compiled: a frame of `re` would have the value
_STAGES = 20  # of a version
_CURRENT = "AWSCURRENT"
_TAGS, _TAG_KEY, _TAG_VALUE = 50, 128, 256  # their number, and their characters
_ATTRIBUTES = ("Type", "KeyId", "Tier", "Description", "AllowedPattern", "DataType")


def parameter_settings(
    type: object = None,  # noqa: A002  # AWS's name
    kms_key_id: object = None,
    description: object = None,
    tier: object = None,
    tags: object = None,
) -> dict[str, Any]:
    """Return the arguments of `PutParameter` for a caller's settings."""
    _check_choice("type", type, get_args(ParameterType))
    _check_choice("tier", tier, get_args(Tier))
    if kms_key_id is not None and type not in (None, "SecureString"):
        raise ConfigurationError(f"kms_key_id requires a SecureString; a {type} is not encrypted")
    return _given(
        Type=type,
        KeyId=_text("kms_key_id", kms_key_id, 2048),
        Description=_text("description", description, 1024),
        Tier=tier,
        Tags=_tags(tags),
    )


def secret_settings(
    kms_key_id: object = None,
    description: object = None,
    tags: object = None,
    version_stages: object = None,
    client_request_token: object = None,
) -> dict[str, Any]:
    """Return the arguments of `CreateSecret` and `PutSecretValue` for a caller's settings."""
    settings = _given(
        KmsKeyId=_text("kms_key_id", kms_key_id, 2048),
        Description=_text("description", description, 2048),
        Tags=_tags(tags),
    )
    stages = _stages(version_stages)
    if stages and settings:
        raise ConfigurationError(
            "version_stages can't be combined with kms_key_id, description and tags, which are the"
            " secret's, not a version's: call twice"
        )
    token = _text("client_request_token", client_request_token, 64, shortest=32)
    return {**settings, **_given(VersionStages=stages, ClientRequestToken=token)}


def refuse_stages(settings: Mapping[str, Any], name: str) -> None:
    """Reject stages for the first version of a secret, which is always the current one."""
    if settings.get("VersionStages", [_CURRENT]) != [_CURRENT]:
        raise ConfigurationError(
            f"there is no secret {name!r}, and its first version can only be {_CURRENT}: create it"
            " without version_stages; nothing was written"
        )


def deletion(recovery_days: int | None, *, force: bool) -> dict[str, Any]:
    """Return the arguments of `DeleteSecret`."""
    if recovery_days is None:
        return {"ForceDeleteWithoutRecovery": True} if force else {}
    if force:
        raise ConfigurationError(
            "force and recovery_days can't be combined: nothing can be recovered"
        )
    check_value("recovery_days", recovery_days, Rule((int,)))
    if not 7 <= recovery_days <= 30:  # noqa: PLR2004  # AWS's range, as the message says
        raise ConfigurationError(f"recovery_days must be from 7 to 30, not {recovery_days}")
    return {"RecoveryWindowInDays": recovery_days}


def refuse_tags(settings: Mapping[str, Any], name: str) -> None:
    """Reject tags for an existing secret."""
    if "Tags" in settings:
        raise ConfigurationError(
            f"{name!r} already exists, and AWS accepts tags only for a new one: leave tags out, or"
            " set them with another tool; nothing was written"
        )


def kept_attributes(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with which `PutParameter`, which resets the rest, keeps a parameter."""
    kept = {name: described[name] for name in _ATTRIBUTES if described.get(name)}
    try:
        policies = [policy["PolicyText"] for policy in described.get("Policies") or []]
    except (KeyError, TypeError):
        raise malformed() from None
    if not all(isinstance(text, str) for text in (*kept.values(), *policies)):
        raise malformed()
    return {**kept, "Policies": f"[{','.join(policies)}]"} if policies else kept


def check_tier(tier: str, raw: Redacted) -> None:
    """Reject a value that is too long for the parameter's tier."""
    size = len(raw.reveal().encode())
    if tier == "Standard" and size > _LARGEST_STANDARD:
        raise InvalidValueError(
            f"the value can't be stored: it has {size:,} bytes, and a parameter of the standard"
            f" tier takes {_LARGEST_STANDARD:,}; pass tier='Advanced' to put"
        )


def string_list(value: Redacted, raw: Redacted) -> Redacted:
    """Return the text of a StringList: a list's items, separated by commas; text as it is."""
    if isinstance(value.reveal(), str):
        return raw
    kind, problem = type(value.reveal()).__name__, ""
    if not isinstance(value.reveal(), list):
        problem = f"it takes a list or text, not {kind}"
    elif not all(isinstance(item, str) for item in value.reveal()):
        problem = "its items must be text"
    elif any("," in item for item in value.reveal()):
        problem = "an item contains a comma, which separates items"
    elif not any(value.reveal()):
        problem = "it needs at least one item that is not empty"
    if problem:
        raise InvalidValueError(f"the value can't be stored in a StringList: {problem}")
    return redact(",".join(value.reveal()))


def check_parameter(name: str, raw: Redacted) -> None:
    """Reject a name or a value that no parameter can have."""
    problem = ""
    levels = name.count("/")
    if ":" in name:
        return  # an ARN or a version, which AWS rejects with a reason of its own
    if levels and not name.startswith("/"):
        problem = f"it contains a / and must begin with one; did you mean {'/' + name!r}?"
    elif levels > _LEVELS:
        problem = f"it has {levels} levels; the maximum is {_LEVELS}"
    elif re.match(_RESERVED, name):
        problem = "names that begin with aws or ssm are reserved; use another name"
    if problem:
        raise InvalidNameError(f"{name!r} is not a valid name of a parameter: {problem}")
    if _REFERENCE.search(raw.reveal()):
        raise InvalidValueError(
            "the value can't be stored: it contains {{ssm:…}}, a reference to another parameter,"
            " which AWS does not allow; leave it out"
        )


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value}


def _check_choice(name: str, given: object, known: tuple[str, ...]) -> None:
    if given is not None and given not in known:
        shown = repr(given) if isinstance(given, str) else type(given).__name__
        raise ConfigurationError(f"{name} must be one of {', '.join(known)}, not {shown}")


def _text(name: str, given: Any, longest: int, *, shortest: int = 1) -> str | None:
    if given is None:
        return None
    check_value(name, given, Rule((str,)))
    if not shortest <= len(given) <= longest:
        limits = f"{shortest} to {longest:,}"
        message = f"{name} has {len(given):,} characters, and must have {limits}"
        raise ConfigurationError(message)
    return str(given)


def _stages(given: object) -> list[str]:
    """Return the stages of a version."""
    if given is None:
        return []
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"version_stages must be a list of str, not {type(given).__name__}")
    if not 1 <= len(given) <= _STAGES:
        message = f"version_stages has {len(given)} stages, and must have 1 to {_STAGES}"
        raise ConfigurationError(message)
    return [str(_text("version_stages", stage, 256)) for stage in given]


def _tags(given: object) -> list[dict[str, str]]:
    """Return tags in AWS's form."""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise TypeError(f"tags must be a dict of str, not {type(given).__name__}")
    if len(given) > _TAGS:
        raise ConfigurationError(f"there are {len(given)} tags; the maximum is {_TAGS}")
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError("tags: keys and values must be str")
        if not 1 <= len(key) <= _TAG_KEY or len(value) > _TAG_VALUE:
            message = f"tags: a key has 1 to {_TAG_KEY} characters, a value {_TAG_VALUE} at most"
            raise ConfigurationError(message)
        if key.lower().startswith("aws:"):
            raise ConfigurationError(f"tags: {key!r} begins with aws:, which is reserved")
    return [{"Key": key, "Value": value} for key, value in given.items()]
