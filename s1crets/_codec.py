"""Conversion between the text or bytes that a service stores and the values callers see. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from s1crets.errors import InvalidValueError

if TYPE_CHECKING:
    from s1crets._redaction import Redacted

Raw: TypeAlias = str | bytes | Mapping[str, str | bytes]
"""The content of a cache entry: a secret as stored, or all secrets under a path, by name."""


def decode(raw: Raw) -> Any:
    """Parse `raw` if it is a JSON object or array; leave any other text unchanged."""
    if isinstance(raw, str):
        if raw.lstrip(" \t\r\n")[:1] in ("{", "["):
            try:
                return json.loads(raw)
            except (ValueError, RecursionError):
                return raw
        return raw
    if isinstance(raw, bytes):
        return raw
    return {name: decode(member) for name, member in raw.items()}


def deep_copy(value: Any) -> Any:
    """Copy decoded JSON; `copy.deepcopy` takes ten times as long."""
    if isinstance(value, dict):
        return {key: deep_copy(member) for key, member in value.items()}
    if isinstance(value, list):
        return [deep_copy(member) for member in value]
    return value


def dump(raw: Raw) -> str:
    """Return `raw` as a text for disks and servers. The inverse of `load`."""
    if isinstance(raw, str):
        return "t" + raw
    if isinstance(raw, bytes):
        return "b" + base64.b64encode(raw).decode()
    return "m" + json.dumps({name: dump(member) for name, member in raw.items()})


def load(text: str) -> Raw | None:
    """Return the argument of the `dump` that made `text`, or None if none did."""
    kind, body = text[:1], text[1:]
    try:
        if kind == "t":
            return body
        if kind == "b":
            return base64.b64decode(body, validate=True)
        if kind == "m":
            return {str(name): _load_member(member) for name, member in json.loads(body).items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        pass
    return None


def _load_member(text: object) -> str | bytes:
    raw = load(text) if isinstance(text, str) else None
    if not isinstance(raw, (str, bytes)):
        raise TypeError
    return raw


def encode(value: Redacted, *, binary: bool, limit: int) -> str | bytes:
    """Return the text to store: str as it is, a dict or list as JSON; bytes if `binary`.

    Raises:
        InvalidValueError: another type, not expressible as JSON, empty, or longer than `limit`
            bytes.
    """
    raw, problem = _serialized(value, binary=binary)
    size = len(raw.encode() if isinstance(raw, str) else raw)
    if not problem and not 0 < size <= limit:
        problem = f"it has {size:,} bytes; the service accepts 1 to {limit:,}"
    if problem:
        del raw
        message = f"the value can't be stored: {problem}"
        raise InvalidValueError(message)
    return raw


def _serialized(value: Redacted, *, binary: bool) -> tuple[str | bytes, str]:
    """Return the bytes or text to store, and the problem with it, if any."""
    kind = type(value.reveal()).__name__
    allowed = "str, dict, list" + (", bytes" if binary else "")
    if isinstance(value.reveal(), bytes) and binary:
        return bytes(value.reveal()), ""
    if isinstance(value.reveal(), (dict, list)):
        try:
            text = json.dumps(value.reveal(), allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            return "", f"the {kind} contains something that JSON can't express"
    elif isinstance(value.reveal(), str):
        text = str(value.reveal())
    else:
        return "", f"it must be {allowed}, not {kind}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "", "it contains a lone surrogate, which UTF-8 can't express"
    return text, ""
