"""The work of a provider, as it happens: a line per request with --debug, otherwise a bar."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from s1crets.cli._output import one_line, write_line
from s1crets.cli._terminal import Bar
from s1crets.errors import S1cretsError
from s1crets.providers.instrumentation import NO_ERRORS, Observer, Stats

_SHOWN = 5  # names of a batch


_log = logging.getLogger("s1crets")


@contextmanager
def observed(provider: Any, *, debug: bool) -> Iterator[None]:
    """Report on stderr what a provider does."""
    counters = provider.awaited.counters
    if debug:
        with _debugged(provider) as counters.observer:
            yield
    else:
        with Bar("requests") as bar:
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

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def sent(self, *, again: bool) -> None:  # noqa: ARG002  # retries count too
        """Count a request."""
        self._bar.step()


class _Debug(_Silent):
    """A line for everything that happens, with the seconds since the start."""

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
