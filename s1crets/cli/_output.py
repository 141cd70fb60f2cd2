"""Output: values as text or JSON; rows as a table for people, as lines or JSON for programs.

On a terminal, control and bidirectional characters are escaped. Anything else gets the output
unmodified.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from unicodedata import combining, east_asian_width

import click

from s1crets.cli._json import dump
from s1crets.cli._terminal import clear_bars, has_colour, in_colour, is_terminal, readable

Row: TypeAlias = Sequence[str]

FORMS = ["table", "text", "json"]
OTHER = 7  # the exit code of errors without one of their own


def report(*messages: str) -> None:
    """Write messages ("cause; hint" or only a cause) to stderr, and each hint once at the end."""
    hints = {}
    for message in map(one_line, messages):
        cause, separator, hint = message.rpartition("; ")
        write_line(f"s1crets: {cause if separator else message}")
        if separator:
            hints[f"  hint: {hint}"] = True
    for line in hints:
        write_line(line)


def write_line(line: str) -> None:
    """Write a line to stderr."""
    clear_bars()
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
    clear_bars()
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


def is_for_people(output: str | None) -> bool:
    """Return whether rows are shown as a table on a terminal."""
    return output in (None, "table") and is_terminal(sys.stdout)


def show(columns: Row, rows: Sequence[Row], output: str | None) -> None:
    """Write rows to stdout as `output` says; by default as a table on terminals, else as text."""
    form = output or ("table" if is_terminal(sys.stdout) else "text")
    if form == "json":  # which escapes line breaks itself
        text = readable(_as_json(columns, rows), sys.stdout)
    else:
        rows = [[readable(cell, sys.stdout, keep="") for cell in row] for row in rows]
        colour = has_colour(sys.stdout)
        text = as_table(columns, rows, colour=colour) if form == "table" else _as_text(rows)
    _write(text.encode("utf-8", "surrogateescape"))


def as_table(columns: Row, rows: Sequence[Row], *, colour: bool = False) -> str:
    """Return aligned columns under a header; with colour it is bold, and states have theirs."""
    widths = [max(map(_width, column)) for column in zip(columns, *rows, strict=True)]
    styles: list[Callable[[str], str]] = [str] * len(columns)
    if colour:
        styles = [in_colour if column == "state" else str for column in columns]
    header, *lines = [
        "  ".join(
            style(text) + " " * (width - _width(text))
            for text, width, style in zip(row, widths, styles, strict=True)
        ).rstrip()
        for row in (columns, *rows)
    ]
    return "\n".join([click.style(header, bold=True) if colour else header, *lines, ""])


def _as_text(rows: Sequence[Row]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def _as_json(columns: Row, rows: Sequence[Row]) -> str:
    return dump([dict(zip(columns, row, strict=True)) for row in rows], indent=2) + "\n"


def _width(text: str) -> int:
    """Return the number of terminal columns that a text takes."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
