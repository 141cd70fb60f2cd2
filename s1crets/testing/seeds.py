"""Seeds: the values that a local AWS holds at first."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from s1crets.errors import ConfigurationError, InvalidValueError
from s1crets.testing._server import AwsError, Call, signed

if TYPE_CHECKING:
    from s1crets.testing._moto import Moto

Seed: TypeAlias = Mapping[str, Mapping[str, Any]] | str | PathLike[str]
_BINARY = "$base64"


def store(moto: Moto, region: str, seed: Seed) -> None:
    """Store a seed's values: see `LocalAws.seed`."""
    for provider, values in _read(seed).items():
        if provider not in ("aws.ps", "aws.sm"):
            message = f"a seed can't contain {provider!r}: known are 'aws.ps', 'aws.sm'"
            raise ConfigurationError(message)
        for name, value in values.items():
            if refusal := _refusal(moto, region, provider, name, value):
                raise InvalidValueError(f"{provider} {name!r} can't be stored: {refusal}")


def _read(seed: Seed) -> Mapping[str, Mapping[str, Any]]:
    found: Any = seed
    if not hasattr(seed, "items"):
        path = Path(found)
        try:
            found = json.loads(path.read_bytes())
        except ValueError as error:  # it contains the text, and so the values
            message = f"{path} can't be read as a seed: not valid JSON [{type(error).__name__}]"
            raise ConfigurationError(message) from None
    if hasattr(found, "items") and all(hasattr(values, "items") for values in found.values()):
        return dict(found)
    message = "a seed is a dict of providers ('aws.ps', 'aws.sm'), each a dict of names and values"
    raise TypeError(message)


def _refusal(moto: Moto, region: str, provider: str, name: str, value: Any) -> str:
    """Store a value; return the reason why AWS refuses it, or empty text."""
    try:
        moto.execute(_call(moto, region, provider, name, value), lambda _: None)
    except AwsError as error:
        return f"{error.message} [{error.code}]"
    return ""


def _call(moto: Moto, region: str, provider: str, name: str, value: Any) -> Call:
    """Return the call that stores a value."""
    text = _text(provider, name, value)
    if provider == "aws.sm":
        member = "SecretString"
        if isinstance(text, bytes):
            member, text = "SecretBinary", base64.b64encode(text).decode()
        exists = name in moto.backend("secretsmanager", region).secrets
        operation, key = ("PutSecretValue", "SecretId") if exists else ("CreateSecret", "Name")
        body = {key: name, member: text, "ClientRequestToken": str(uuid.uuid4())}
        return signed("secretsmanager", operation, region, body)
    if isinstance(text, bytes):
        message = f"aws.ps {name!r} can't be stored: Parameter Store does not store bytes"
        raise InvalidValueError(message)
    body = {"Name": name, "Value": text, "Type": "SecureString", "Overwrite": True}
    return signed("ssm", "PutParameter", region, {**body, "Tier": "Intelligent-Tiering"})


def _text(provider: str, name: str, value: Any) -> str | bytes:
    """Return a value as it is stored."""
    if isinstance(value, dict) and set(value) == {_BINARY}:
        try:
            return base64.b64decode(value[_BINARY], validate=True)
        except (TypeError, ValueError):
            message = f"{provider} {name!r} can't be stored: its {_BINARY} is not valid base64"
            raise InvalidValueError(message) from None
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(name, str) and isinstance(value, (str, bytes)):
        return value
    kinds = f"{type(name).__name__} and {type(value).__name__}"
    rule = "names are text, values text, bytes or JSON"
    raise TypeError(f"{provider} {name!r} can't be stored: {rule}; these are {kinds}")
