"""What a test wants AWS to hold, and how it gets there."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from s1crets.errors import ConfigurationError, InvalidValueError
from s1crets.testing._calls import Refused

if TYPE_CHECKING:
    from s1crets.testing._strict import Strict

Seed: TypeAlias = Mapping[str, Mapping[str, Any]] | str | PathLike[str]
_BINARY = "$base64"


def store(strict: Strict, seed: Seed) -> None:
    """Store all that a seed has: see `LoopbackAws.seed`.

    Raises:
        TypeError: it is of another shape.
        ValueError: AWS would not store it under that name, or it has an unknown part.
    """
    stores = {"aws.ps": _parameter, "aws.sm": _secret}
    for provider, values in _read(seed).items():
        if provider not in stores:
            known = ", ".join(map(repr, stores))
            message = f"a seed can't have {provider!r}: known are {known}"
            raise ConfigurationError(message)
        for name, value in values.items():
            try:
                stores[provider](strict, name, value)
            except Refused as refused:
                message = f"{provider} {name!r} can't be stored: {refused.message} [{refused.code}]"
                raise InvalidValueError(message) from None


def _read(seed: Seed) -> Mapping[str, Mapping[str, Any]]:
    found: Any = seed
    if not hasattr(seed, "items"):
        path = Path(found)
        try:
            found = json.loads(path.read_bytes())
        except ValueError as error:
            # The JSON error has the text, and so the values, in it.
            message = f"{path} can't be read as a seed: it is no JSON [{type(error).__name__}]"
            raise ConfigurationError(message) from None
    if hasattr(found, "items") and all(hasattr(one, "items") for one in found.values()):
        return dict(found)
    message = "a seed is a dict of providers ('aws.ps', 'aws.sm'), each a dict of names and values"
    raise TypeError(message)


def _parameter(strict: Strict, name: str, value: Any) -> None:
    text = _text("aws.ps", name, value)
    if isinstance(text, bytes):
        message = f"aws.ps {name!r} can't be stored: Parameter Store takes no bytes"
        raise InvalidValueError(message)
    body = {"Name": name, "Value": text, "Type": "SecureString", "Overwrite": True}
    strict.store("ssm", "PutParameter", {**body, "Tier": "Intelligent-Tiering"})


def _secret(strict: Strict, name: str, value: Any) -> None:
    text = _text("aws.sm", name, value)
    if isinstance(text, bytes):
        body = {"SecretBinary": base64.b64encode(text).decode()}
    else:
        body = {"SecretString": text}
    if strict.holds("secretsmanager", name):
        strict.store("secretsmanager", "PutSecretValue", {"SecretId": name, **body})
    else:
        strict.store("secretsmanager", "CreateSecret", {"Name": name, **body})


def _text(provider: str, name: str, value: Any) -> str | bytes:
    """Return a value as it is stored."""
    if isinstance(value, dict) and set(value) == {_BINARY}:
        try:
            return base64.b64decode(value[_BINARY], validate=True)
        except (TypeError, ValueError):
            message = f"{provider} {name!r} can't be stored: what it has as {_BINARY} is no base64"
            raise InvalidValueError(message) from None
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(name, str) and isinstance(value, (str, bytes)):
        return value
    kinds = f"{type(name).__name__} and {type(value).__name__}"
    rule = "names are text, values text, bytes or JSON"
    message = f"{provider} {name!r} can't be stored: {rule}; these are {kinds}"
    raise TypeError(message)
