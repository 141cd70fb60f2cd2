"""Rows as people or programs read them: a table on a terminal, else text; or JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any
from unicodedata import combining, east_asian_width

import click

from s1crets.cli.shared import write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_WIDE = ("W", "F")


def output_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option that says how rows are shown."""
    return click.option(
        "--output",
        type=click.Choice(["table", "text", "json"]),
        help="Without it: a table on a terminal; in a pipe text, a line a row, with tabs between.",
    )(command)


def show(columns: Sequence[str], rows: Sequence[Sequence[str]], output: str | None) -> None:
    """Write rows to stdout."""
    form = output or ("table" if sys.stdout.isatty() else "text")
    write(_FORMS[form](columns, rows).encode("utf-8", "surrogateescape"))


def as_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns below a header."""
    lines = [columns, *rows]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(text + " " * (width - _width(text)) for text, width in zip(line, widths))  # noqa: B905  # as zipped above
        for line in lines
    ]
    header, *others = (line.rstrip() for line in aligned)
    return "".join(line + "\n" for line in [_bold(header), *others])


def _as_text(_: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def _as_json(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    found: list[dict[str, Any]] = [dict(zip(columns, row, strict=True)) for row in rows]
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"


_FORMS = {"table": as_table, "text": _as_text, "json": _as_json}


def _bold(text: str) -> str:
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return click.style(text, bold=True) if colours else text


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(0 if combining(one) else 2 if east_asian_width(one) in _WIDE else 1 for one in text)
