"""Terminals: escapes of control characters, colours, and progress bars."""

from __future__ import annotations

import itertools
import os
import re
import sys
import time
from collections.abc import Collection, Iterator
from typing import Any, Self, TextIO

import click

DELAY = 1.0  # seconds until a progress bar is shown
# C0, C1, line separators, bidirectional and other invisible formatting, lone surrogates.
_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_COLOURS = {
    "green": ("ok", "created", "updated", "only in b"),
    "yellow": ("missing", "different", "create", "update", "kept"),
    "red": ("denied", "error", "only in a"),
}
_COLOUR_OF = {state: colour for colour, states in _COLOURS.items() for state in states}


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; it is None if the process was started without it."""
    return stream is not None and stream.isatty()


def has_colour(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal, and NO_COLOR is not set."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def in_colour(state: str) -> str:
    """Return a state in its colour."""
    return click.style(state, fg=_COLOUR_OF[state]) if state in _COLOUR_OF else state


def readable(text: str, stream: TextIO | None, keep: str = "\n\t") -> str:
    """Return text as written to a stream: on a terminal, characters that could deceive are escaped.

    The escapes are those of JSON, so that JSON stays valid.
    """

    def escape(match: re.Match[str]) -> str:
        return match[0] if match[0] in keep else _escape(match[0])

    return re.sub(_UNSAFE, escape, text) if is_terminal(stream) else text


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class Bar:
    """A progress bar on stderr. It appears after a second, and disappears at its end.

    Only the innermost of several is shown.
    """

    def __init__(self, label: str, length: int | None = None) -> None:
        self._label = label
        self._length = length
        self._shown: Any = None
        self._done = 0
        self._start = time.monotonic()

    def step(self) -> None:
        """Note that one more item is done."""
        self._done += 1
        is_due = time.monotonic() - self._start >= DELAY
        if is_due and self is _bars[-1] and is_terminal(sys.stderr):
            if self._shown is None:
                self._shown = self._made()
            self._shown.update(self._done - self._shown.pos)

    def _made(self) -> Any:
        items = None if self._length else itertools.count()  # click wants one of both
        return click.progressbar(
            items, self._length, label=self._label, show_pos=True, file=sys.stderr
        )

    def clear(self) -> None:
        """Remove it from the terminal; the next step shows it again."""
        if self._shown is not None:
            click.echo("\r\033[K\033[?25h", file=sys.stderr, nl=False)  # the cursor, too
            self._shown = None

    def __enter__(self) -> Self:
        clear_bars()
        _bars.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        _bars.remove(self)


_bars: list[Bar] = []


def clear_bars() -> None:
    """Remove progress bars before something else is written."""
    for bar in _bars:
        bar.clear()


def progress(items: Collection[str], label: str) -> Iterator[str]:
    """Yield items, with a progress bar."""
    with Bar(label, len(items)) as bar:
        for item in items:
            yield item
            bar.step()
