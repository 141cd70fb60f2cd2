"""The source text of the items of a JSON document, exactly as it is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator

_decoder = json.JSONDecoder(parse_float=str, parse_int=str)  # to find where an item ends


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
