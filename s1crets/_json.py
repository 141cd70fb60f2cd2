"""JSON as it is stored: shown, compared and taken apart without changing a digit."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from s1crets.errors import InvalidValueError

_decoder = json.JSONDecoder(parse_float=str, parse_int=str)


def parse(text: str) -> Any:
    """Parse JSON; reject NaN, infinities and objects with a key twice. Numbers keep their digits.

    A number is a pair, equal only to the same digits: `1` is neither `true` nor `1.0`.
    """
    return json.loads(
        text,
        object_pairs_hook=_unique,
        parse_constant=_reject,
        parse_float=_number,
        parse_int=_number,
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object in it has a key twice")
    return found


def _reject(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _number(digits: str) -> tuple[str, str]:
    return "number", digits


def content(raw: Any) -> Any:
    """Return what two equal values have in common: the content of JSON, otherwise `raw` itself."""
    if isinstance(raw, str) and raw.lstrip(" \t\r\n")[:1] in ("{", "["):
        try:
            return parse(raw)
        except (ValueError, RecursionError):
            pass
    return raw


def source(raw: str | bytes, binary: Callable[[bytes], str] | None = None) -> str:
    """Return a value as JSON: an object or array exactly as stored, anything else as a string."""
    if content(raw) is not raw:
        return str(raw)
    if isinstance(raw, bytes):
        raw = binary(raw) if binary else base64.b64encode(raw).decode()
    return dump(raw)


def serialize(value: Any, indent: int | None = None) -> str:
    """Return a value as the JSON that s1crets stores and prints; a TypeError or ValueError."""
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)


def dump(value: Any, indent: int | None = None) -> str:
    """Return a parsed value as valid JSON, or reject it."""
    try:
        return serialize(value, indent)
    except ValueError:
        pass  # outside of this block the error has no context, which would show the value
    message = "the value has a number that JSON does not allow, or that is too large to be read"
    raise InvalidValueError(f"{message}; get the whole secret, without a KEY")


def members(text: str) -> list[tuple[str, str]]:
    """Return the keys of a JSON object, each with the text of its value, or raise a ValueError."""
    if not isinstance(_decoder.decode(text), dict):
        raise ValueError("not an object")  # noqa: TRY004
    return [(str(key), item) for key, item in items(text)]


def items(text: str) -> Iterator[tuple[str | int, str]]:
    """Yield the keys or indices of a valid JSON object or array, each with the text of its item."""
    start = _skip(text, 0)
    end = "}" if text[start] == "{" else "]"
    at, index = _skip(text, start + 1), 0
    while text[at] != end:
        key: str | int = index
        if end == "}":
            key, at = _decoder.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        _, stop = _decoder.raw_decode(text, at)
        yield key, text[at:stop]
        at, index = _skip(text, stop), index + 1
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, position: int) -> int:
    """Return the position of the next character that is not white space."""
    while text[position] in " \t\r\n":
        position += 1
    return position
