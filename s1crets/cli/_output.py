"""Output: values as text or JSON; rows as a table for people, as lines or JSON for programs.

On a terminal, control and bidirectional characters are escaped. Anything else gets the output
unmodified.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeAlias
from unicodedata import combining, east_asian_width

import click

from s1crets.cli._json import dump

Row: TypeAlias = Sequence[str]

OTHER = 7  # the exit code of errors without one of their own
# C0, C1, line separators, bidirectional and other invisible formatting, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; it is None if the process was started without it."""
    return stream is not None and stream.isatty()


def readable(text: str, stream: TextIO | None, keep: str = "\n\t") -> str:
    """Return text as written to a stream: on a terminal, characters that could deceive are escaped.

    The escapes are those of JSON, so that JSON stays valid.
    """

    def escape(match: re.Match[str]) -> str:
        return match[0] if match[0] in keep else _escape(match[0])

    return _UNSAFE.sub(escape, text) if is_terminal(stream) else text


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def report(*messages: str) -> None:
    """Write messages ("cause; hint" or only a cause) to stderr, and each hint once at the end."""
    hints = {}
    for message in map(one_line, messages):
        cause, separator, hint = message.rpartition("; ")
        _report_line(f"s1crets: {cause if separator else message}")
        if separator:
            hints[f"  hint: {hint}"] = True
    for line in hints:
        _report_line(line)


def _report_line(line: str) -> None:
    click.echo(readable(line, sys.stderr), err=True)


def one_line(text: object) -> str:
    """Return a message without line breaks."""
    return " ".join(str(text).split())


def write(data: bytes) -> None:
    """Write to stdout; see `readable`."""
    if is_terminal(sys.stdout):
        data = readable(data.decode("utf-8", "backslashreplace"), sys.stdout).encode()
    _write(data)


def _write(data: bytes) -> None:
    """Write to stdout. Exit if that fails, without a message if nobody reads any more."""
    if sys.stdout is None:
        report("can't write to stdout: it is closed")
        sys.exit(OTHER)
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        with Path(os.devnull).open("wb") as null:  # or Python reports the error again at exit
            os.dup2(null.fileno(), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            report(f"can't write to stdout: {error.strerror}")
        sys.exit(OTHER)


def write_value(value: Any) -> None:
    """Write text and a newline, an object or array as JSON, or bytes as they are."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape") + b"\n"
    elif not isinstance(value, bytes):
        value = (dump(value, indent=2) + "\n").encode("utf-8", "surrogatepass")
    write(value)


def show(columns: Row, rows: Sequence[Row], output: str | None) -> None:
    """Write rows to stdout; the header of a table is bold on a terminal unless NO_COLOR is set."""
    on_terminal = is_terminal(sys.stdout)
    form = output or ("table" if on_terminal else "text")
    if form != "json":  # which escapes line breaks itself
        rows = [[readable(cell, sys.stdout, keep="") for cell in row] for row in rows]
    text = readable(_FORMS[form](columns, rows), sys.stdout)
    if form == "table" and on_terminal and not os.environ.get("NO_COLOR"):
        header, _, others = text.partition("\n")
        text = f"{click.style(header, bold=True)}\n{others}"
    _write(text.encode("utf-8", "surrogateescape"))


def as_table(columns: Row, rows: Sequence[Row]) -> str:
    """Return aligned columns under a header."""
    widths = [max(map(_width, column)) for column in zip(columns, *rows, strict=True)]
    lines = [
        "  ".join(text + " " * (width - _width(text)) for text, width in zip(row, widths)).rstrip()  # noqa: B905  # as zipped above
        for row in (columns, *rows)
    ]
    return "\n".join([*lines, ""])


_FORMS: dict[str, Callable[[Row, Sequence[Row]], str]] = {
    "table": as_table,
    "text": lambda _, rows: "".join("\t".join(row) + "\n" for row in rows),
    "json": lambda columns, rows: (
        dump([dict(zip(columns, row, strict=True)) for row in rows], indent=2) + "\n"
    ),
}
output_option = click.option(
    "--output",
    type=click.Choice(list(_FORMS)),
    help="Default: a table on a terminal, otherwise text, which is one line per row with tabs"
    " between columns.",
)


def _width(text: str) -> int:
    """Return the number of terminal columns that a text takes."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
