"""Formats of exported variables. Pure functions, each the inverse of a parser."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Callable, Mapping

from s1crets.errors import InvalidValueError

_BARE = re.compile(r"[A-Za-z0-9_@%+:,./-]*")
# A dotenv file is read by python-dotenv and by shells. Between double quotes both unescape `\\` and
# `\"`, and both resolve `${NAME:-default}`, which is how a dollar sign is written. `${NAME-text}`
# is text only for a shell, `${NAME+:-text}` only for python-dotenv, which knows `\r` but reads a
# carriage return as a line feed. A backtick can only be written between single quotes, so a first
# line sets the variable to `HELPER`, and the second refers to it.
_UNSET = "S1CRETS_NO_SUCH_VARIABLE"
_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    "$": f"${{{_UNSET}:-$}}",
    "\r": f"${{{_UNSET}-\r}}${{{_UNSET}+:-\\r}}",
}
HELPER = "`"


def _lines(line: str, quoted: Callable[[str], str]) -> Callable[[Mapping[str, str]], str]:
    """Return a format of one line per variable."""
    return lambda variables: "".join(
        line.format(name, quoted(value)) + "\n" for name, value in variables.items()
    )


def _dotenv_line(name: str, value: str) -> str:
    if _BARE.fullmatch(value):
        return f"{name}={value}\n"
    if not re.search(r"['\\\r]|\$\{", value):
        return f"{name}='{value}'\n"
    escapes = str.maketrans({**_ESCAPES, HELPER: f"${{{name}}}"})
    helper = f"{name}='{HELPER}'\n" if HELPER in value else ""
    return f'{helper}{name}="{value.translate(escapes)}"\n'


def _dotenv(variables: Mapping[str, str]) -> str:
    return "".join(itertools.starmap(_dotenv_line, variables.items()))


def from_dotenv(value: str, helper: str | None) -> str:
    """Return the value of an exported line that python-dotenv has parsed, but not expanded.

    Args:
        value: what python-dotenv returns.
        helper: the name of the variable, if it is that of the line before too.
    """
    if helper:
        value = value.replace(f"${{{helper}}}", HELPER)
    value = re.sub(rf"\$\{{{_UNSET}-[\r\n]\}}", "", value)
    return re.sub(rf"\$\{{{_UNSET}\+?:-([$\r])\}}", r"\1", value)


def _yaml_value(value: str) -> str:
    return '"' + re.sub(r'[^ -~]|[\\"]', _yaml_escape, value) + '"'


def _yaml_escape(match: re.Match[str]) -> str:
    character, code = match[0], ord(match[0])
    if character in '\\"':
        return "\\" + character
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"  # noqa: PLR2004


def _json(variables: Mapping[str, str]) -> str:
    return json.dumps(variables, ensure_ascii=False, indent=2) + "\n"


def _docker(variables: Mapping[str, str]) -> str:
    broken = [name for name, value in variables.items() if re.search(r"[\r\n]", value)]
    if broken:
        message = f"docker's env-files can't have line breaks in values: {', '.join(broken)}"
        raise InvalidValueError(message)
    return _lines("{}={}", str)(variables)


FORMATS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "dotenv": _dotenv,
    "json": _json,
    "yaml": _lines('"{}": {}', _yaml_value),  # names are quoted, since a bare NO would be false
    "shell": _lines("export {}={}", shlex.quote),
    "docker": _docker,  # for `docker run --env-file`, which has no quotes
}
