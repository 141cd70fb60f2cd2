"""Output: values as text or JSON; rows as a table for people, as lines or JSON for programs."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from unicodedata import combining, east_asian_width

import click

from s1crets.cli._errors import OTHER, report

Row: TypeAlias = Sequence[str]


def write(data: bytes) -> None:
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
        value = _json(value).encode("utf-8", "surrogatepass")
    write(value)


def show(columns: Row, rows: Sequence[Row], output: str | None) -> None:
    """Write rows to stdout."""
    form = output or ("table" if sys.stdout.isatty() else "text")
    write(_FORMS[form](columns, rows).encode("utf-8", "surrogateescape"))


def as_table(columns: Row, rows: Sequence[Row]) -> str:
    """Return aligned columns under a header, which is bold on a terminal unless NO_COLOR is set."""
    widths = [max(map(_width, column)) for column in zip(columns, *rows, strict=True)]
    lines = [
        "  ".join(text + " " * (width - _width(text)) for text, width in zip(row, widths)).rstrip()  # noqa: B905  # as zipped above
        for row in (columns, *rows)
    ]
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        lines[0] = click.style(lines[0], bold=True)
    return "\n".join([*lines, ""])


_FORMS: dict[str, Callable[[Row, Sequence[Row]], str]] = {
    "table": as_table,
    "text": lambda _, rows: "".join("\t".join(row) + "\n" for row in rows),
    "json": lambda columns, rows: _json([dict(zip(columns, row, strict=True)) for row in rows]),
}
output_option = click.option(
    "--output",
    type=click.Choice(list(_FORMS)),
    help="Default: a table on a terminal, otherwise text, which is one line per row with tabs"
    " between columns.",
)


def _json(value: Any) -> str:
    def base64_text(binary: bytes) -> str:
        return base64.b64encode(binary).decode()

    return json.dumps(value, ensure_ascii=False, indent=2, default=base64_text) + "\n"


def _width(text: str) -> int:
    """Return the number of terminal columns that a text takes."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
