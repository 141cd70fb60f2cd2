"""Output: values as text or JSON; rows as a table for people, as lines or JSON for programs.

On stderr: messages, progress bars, and with --debug one line per event of a provider.

On a terminal, control and bidirectional characters are escaped. Anything else gets the output
unmodified.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self, TextIO, TypeAlias
from unicodedata import combining, east_asian_width

import click

from s1crets._json import dump
from s1crets.errors import S1cretsError
from s1crets.providers.instrumentation import NO_ERRORS, Observer, Stats

Row: TypeAlias = Sequence[str]

FORMS = ["table", "text", "json"]
OTHER = 7  # the exit code of errors without one of their own

_SHOWN = 5  # names of a batch
_log = logging.getLogger("s1crets")
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
        colour = _has_colour(sys.stdout)
        text = as_table(columns, rows, colour=colour) if form == "table" else _as_text(rows)
    _write(text.encode("utf-8", "surrogateescape"))


def as_table(columns: Row, rows: Sequence[Row], *, colour: bool = False) -> str:
    """Return aligned columns under a header; with colour it is bold, and states have theirs."""
    widths = [max(map(_width, column)) for column in zip(columns, *rows, strict=True)]
    styles: list[Callable[[str], str]] = [str] * len(columns)
    if colour:
        styles = [_in_colour if column == "state" else str for column in columns]
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


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; it is None if the process was started without it."""
    return stream is not None and stream.isatty()


def _has_colour(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal, and NO_COLOR is not set."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def _in_colour(state: str) -> str:
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


class _Bar:
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


_bars: list[_Bar] = []


def clear_bars() -> None:
    """Remove progress bars before something else is written."""
    for bar in _bars:
        bar.clear()


def progress(items: Collection[str], label: str) -> Iterator[str]:
    """Yield items, with a progress bar."""
    with _Bar(label, len(items)) as bar:
        for item in items:
            yield item
            bar.step()


@contextmanager
def observed(provider: Any, *, debug: bool) -> Iterator[None]:
    """Report on stderr what a provider does."""
    counters = provider.awaited.counters
    if debug:
        with _debugged(provider) as counters.observer:
            yield
    else:
        with _Bar("requests") as bar:
            counters.observer = _Requests(bar)
            yield


@contextmanager
def _debugged(provider: Any) -> Iterator[_Debug]:
    reporter, level = _Debug(), _log.level
    handler = _Records(reporter)
    _log.addHandler(handler)
    _log.setLevel(logging.DEBUG)
    try:
        yield reporter
    finally:
        _log.removeHandler(handler)
        _log.setLevel(level)
        reporter.sum_up(provider.stats, provider.awaited.counters.region)


class _Silent(Observer):
    """Ignores everything."""

    def call(self, *_: Any) -> AbstractContextManager[None]:
        """Ignore a call."""
        return nullcontext()

    def request(self, *_: Any) -> AbstractContextManager[None]:
        """Ignore an operation."""
        return nullcontext()

    def throttled(self) -> None:
        """Ignore it."""

    def stale(self) -> None:
        """Ignore it: no option of the command leads to it."""


class _Requests(_Silent):
    """A bar that counts requests: how many there will be is not known."""

    def __init__(self, bar: _Bar) -> None:
        self._bar = bar

    def sent(self, *, again: bool) -> None:  # noqa: ARG002  # retries count too
        """Count a request."""
        self._bar.step()


class _Debug(_Silent):
    """One line per event, with the seconds since the start."""

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._start = timer()

    @contextmanager
    def call(
        self, method: str, names: Collection[str], errors: Mapping[str, S1cretsError] = NO_ERRORS
    ) -> Iterator[None]:
        """Report a call that no local cache has answered."""
        self.line(f"{method} {_shown(names)}: not answered by a local cache")
        with self._timed(f"{method} {_shown(names)}"):
            yield
        for name, error in errors.items():
            self.line(f"{method} {name!r}: {type(error).__name__}")

    @contextmanager
    def request(self, operation: str, names: Collection[str]) -> Iterator[None]:
        """Report an operation of the service."""
        with self._timed(f"{operation} {_shown(names)}"):
            yield

    def sent(self, *, again: bool) -> None:
        """Report that a request was sent."""
        self.line("request sent again" if again else "request sent")

    def throttled(self) -> None:
        """Report that the service throttled a request."""
        self.line("request throttled")

    def sum_up(self, stats: Stats, region: str | None) -> None:
        """Report numbers at the end."""
        sent = ", ".join(f"{number} {name}" for name, number in sorted(stats.requests.items()))
        self.line(f"cache: {stats.hits} hits, {stats.misses} misses")
        self.line(
            f"requests: {sent or 'none'}; {stats.retried} retries, {stats.throttled} throttled"
        )
        self.line(f"region: {region or 'none'}")

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started, outcome = self._timer(), "done"
        try:
            yield
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            self.line(f"{what}: {outcome} after {(self._timer() - started) * 1000:.0f} ms")

    def line(self, text: str) -> None:
        """Report anything."""
        write_line(f"s1crets: debug: {self._timer() - self._start:.3f} s  {one_line(text)}")


class _Records(logging.Handler):
    """Reports the log's records below a warning, which is reported anyway."""

    def __init__(self, reporter: _Debug) -> None:
        super().__init__()
        self.addFilter(lambda record: record.levelno < logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """Report a record."""
        self._reporter.line(record.getMessage())


def _shown(names: Collection[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, itertools.islice(names, _SHOWN))) + more
