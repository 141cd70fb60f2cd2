"""Formats of exported variables. Pure functions, each the inverse of a parser."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

from s1crets.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BARE = re.compile(r"[A-Za-z0-9_@%+:,./-]*")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})
# python-dotenv expands ${…} in any quotes; a default value is the only way to write the two signs.
_DOLLAR = "${S1CRETS_NO_SUCH_VARIABLE:-$}{"


def dotenv(variables: Mapping[str, str]) -> str:
    """Return lines that python-dotenv reads."""
    return _lines(variables, "{}={}", _dotenv_value)


def shell(variables: Mapping[str, str]) -> str:
    """Return commands that a POSIX shell evaluates."""
    return _lines(variables, "export {}={}", shlex.quote)


def as_json(variables: Mapping[str, str]) -> str:
    """Return one JSON object."""
    return json.dumps(variables, ensure_ascii=False, indent=2) + "\n"


def as_yaml(variables: Mapping[str, str]) -> str:
    """Return a YAML mapping. Names are quoted, since a bare NO would be false."""
    return _lines(variables, '"{}": {}', _yaml_value)


def docker(variables: Mapping[str, str]) -> str:
    """Return lines for `docker run --env-file`, which has no quotes.

    Raises:
        InvalidValueError: a value contains a line break.
    """
    broken = [name for name, value in variables.items() if re.search(r"[\r\n]", value)]
    if broken:
        message = f"docker's env-files can't have line breaks in values: {', '.join(broken)}"
        raise InvalidValueError(message)
    return _lines(variables, "{}={}", str)


FORMATS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "dotenv": dotenv,
    "json": as_json,
    "yaml": as_yaml,
    "shell": shell,
    "docker": docker,
}


def _lines(variables: Mapping[str, str], line: str, quoted: Callable[[str], str]) -> str:
    return "".join(line.format(name, quoted(value)) + "\n" for name, value in variables.items())


def _dotenv_value(value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    return '"' + value.translate(_ESCAPES).replace("${", _DOLLAR) + '"'


def _yaml_value(value: str) -> str:
    return '"' + "".join(map(_yaml_character, value)) + '"'


def _yaml_character(character: str) -> str:
    if character in '\\"':
        return "\\" + character
    if " " <= character <= "~":
        return character
    return f"\\u{ord(character):04X}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08X}"  # noqa: PLR2004
