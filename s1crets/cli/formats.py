"""Formats of exported variables. Pure functions, each the inverse of a parser."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping

from s1crets.errors import InvalidValueError

_BARE = re.compile(r"[A-Za-z0-9_@%+:,./-]*")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})
# python-dotenv expands ${…} in any quotes; a default value is the only way to write the two signs.
_DOLLAR = "${S1CRETS_NO_SUCH_VARIABLE:-$}{"


def _lines(line: str, quoted: Callable[[str], str]) -> Callable[[Mapping[str, str]], str]:
    """Return a format of one line per variable."""
    return lambda variables: "".join(
        line.format(name, quoted(value)) + "\n" for name, value in variables.items()
    )


def _dotenv_value(value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    return '"' + value.translate(_ESCAPES).replace("${", _DOLLAR) + '"'


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
    "dotenv": _lines("{}={}", _dotenv_value),  # python-dotenv reads it
    "json": _json,
    "yaml": _lines('"{}": {}', _yaml_value),  # names are quoted, since a bare NO would be false
    "shell": _lines("export {}={}", shlex.quote),
    "docker": _docker,  # for `docker run --env-file`, which has no quotes
}
