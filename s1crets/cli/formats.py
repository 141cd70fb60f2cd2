"""Formats: of exported variables, and of the files that import reads. Pure functions."""

from __future__ import annotations

import io
import itertools
import json
import re
import shlex
from collections.abc import Callable, Mapping

from s1crets._json import members, parse
from s1crets._redaction import Redacted, redact
from s1crets.errors import ConfigurationError, InvalidValueError

_BARE = r"[A-Za-z0-9_@%+:,./-]*"
# A dotenv file is read by python-dotenv and by shells. Between double quotes both unescape `\\` and
# `\"`, and both resolve `${NAME:-default}`, which is how a dollar sign is written. `${NAME-text}`
# is text only for a shell, `${NAME+:-text}` only for python-dotenv, which knows `\r` but reads a
# carriage return as a line feed. A backtick can only be written between single quotes, so a first
# line sets the variable to `_HELPER`, and the second refers to it.
_UNSET = "S1CRETS_NO_SUCH_VARIABLE"
_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    "$": f"${{{_UNSET}:-$}}",
    "\r": f"${{{_UNSET}-\r}}${{{_UNSET}+:-\\r}}",
}
_HELPER = "`"


def _lines(line: str, quoted: Callable[[str], str]) -> Callable[[Mapping[str, str]], str]:
    """Return a format of one line per variable."""
    return lambda variables: "".join(
        line.format(name, quoted(value)) + "\n" for name, value in variables.items()
    )


def _dotenv_line(name: str, value: str) -> str:
    if re.fullmatch(_BARE, value):
        return f"{name}={value}\n"
    if not re.search(r"['\\\r]|\$\{", value):
        return f"{name}='{value}'\n"
    escapes = str.maketrans({**_ESCAPES, _HELPER: f"${{{name}}}"})
    helper = f"{name}='{_HELPER}'\n" if _HELPER in value else ""
    return f'{helper}{name}="{value.translate(escapes)}"\n'


def _dotenv(variables: Mapping[str, str]) -> str:
    return "".join(itertools.starmap(_dotenv_line, variables.items()))


def _from_dotenv(value: str, helper: str | None) -> str:
    """Return the value of an exported line that python-dotenv has parsed, but not expanded.

    Args:
        value: what python-dotenv returns.
        helper: the name of the variable, if it is that of the line before too.
    """
    if helper:
        value = value.replace(f"${{{helper}}}", _HELPER)
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


def _github(variables: Mapping[str, str]) -> str:
    return "".join(itertools.starmap(_github_line, variables.items()))


def _github_line(name: str, value: str) -> str:
    if not re.search(r"[\r\n]", value):
        return f"{name}={value}\n"
    candidates = (f"end_of_{name}{number or ''}" for number in itertools.count())
    delimiter = next(one for one in candidates if one not in value)
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def _github_mask(variables: Mapping[str, str]) -> str:
    """Return a workflow command per line of each value, since a log is masked line by line."""
    lines = (line for value in variables.values() for line in re.split(r"[\r\n]", value))
    escaped = (line.replace("%", "%25") for line in lines if line.strip())
    return "".join(f"::add-mask::{line}\n" for line in escaped)


def _hcl_value(value: str) -> str:
    """Return a quoted template of HCL, in which `${` and `%{` are doubled."""
    escaped = value.translate(_HCL_ESCAPES)
    return '"' + re.sub(r"([$%])\{", r"\1\1{", escaped) + '"'


_HCL_ESCAPES = {
    **{code: f"\\u{code:04x}" for code in (*range(0x20), 0x7F, 0x2028, 0x2029, 0xFEFF)},
    **str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}),
}


def _property(value: str) -> str:
    """Return a value of a Java properties file, which is Latin-1; here it is ASCII."""
    escaped = value.replace("\\", "\\\\")
    return re.sub(r"[^ -~]|^ ", _utf_16_escape, escaped)


def _utf_16_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _separated(dialect: str) -> Callable[[Mapping[str, str]], str]:
    """Return a format of one row per variable, quoted as by spreadsheets."""

    def format_rows(variables: Mapping[str, str]) -> str:
        import csv  # takes 2 ms, which --help does not need

        text = io.StringIO(newline="")
        # With "\n" as its end of line, the writer of Python 3.11 and 3.12 would not quote "\r".
        writer = csv.writer(text, dialect)
        for row in variables.items():
            writer.writerow(row)
            text.seek(text.tell() - 2)
            text.write("\n")
            text.truncate()
        return text.getvalue()

    return format_rows


FORMATS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "dotenv": _dotenv,
    "json": _json,
    "yaml": _lines('"{}": {}', _yaml_value),  # names are quoted, since a bare NO would be false
    "shell": _lines("export {}={}", shlex.quote),
    "docker": _docker,  # for `docker run --env-file`, which has no quotes
    "github": _github,  # for $GITHUB_ENV and $GITHUB_OUTPUT
    "github-mask": _github_mask,  # for the output of a step: its log does not show the values
    "tfvars": _lines("{} = {}", _hcl_value),
    "properties": _lines("{}={}", _property),
    "csv": _separated("excel"),
    "tsv": _separated("excel-tab"),
}


def _parse_json(text: Redacted) -> dict[str, Redacted]:
    try:
        found = redact(members(text.reveal()))
    except (ValueError, RecursionError):
        found = redact(None)
    if found.reveal() is None:
        raise ConfigurationError("the input is not a JSON object")
    settings: dict[str, Redacted] = {}
    wrong = []
    for name, stored in found.reveal():
        problem = "it occurs twice" if name in settings else ""
        try:
            value = parse(stored)
        except ValueError as error:
            value, problem = None, str(error)
        if problem:
            wrong.append(f"{name} ({problem})")
        settings[name] = redact(
            "" if value is None else value if isinstance(value, str) else stored
        )
    if wrong:
        raise ConfigurationError(f"not JSON that can be imported: {', '.join(wrong)}")
    return settings


def _parse_dotenv(text: Redacted) -> dict[str, Redacted]:
    try:
        from dotenv.parser import parse_stream
    except ImportError as error:
        message = "a dotenv file needs python-dotenv; pip install 's1crets[dotenv]'"
        raise ConfigurationError(message) from error
    settings: dict[str, Redacted] = {}
    for binding in parse_stream(io.StringIO(text.reveal())):
        line, name, value = binding.original.line, binding.key, binding.value
        if binding.error or (name is not None and value is None):
            raise ConfigurationError(f"line {line} of the input is not NAME=value")
        if name is not None and value is not None:
            helper = name in settings and settings[name].reveal() == _HELPER
            if name in settings and not helper:
                raise ConfigurationError(f"line {line} of the input sets {name} again")
            settings[name] = redact(_from_dotenv(value, name if helper else None))
    return settings


PARSERS: Mapping[str, Callable[[Redacted], dict[str, Redacted]]] = {
    "dotenv": _parse_dotenv,
    "json": _parse_json,
}
