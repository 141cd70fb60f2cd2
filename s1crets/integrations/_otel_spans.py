"""The spans, and how long they took; never with a name in clear, never with a message."""

from __future__ import annotations

import time
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry.trace import Link, SpanKind, StatusCode, get_tracer, set_span_in_context

from s1crets._version import __version__
from s1crets.cache.freshness import aboard
from s1crets.errors import BatchError, SecretNotFoundError
from s1crets.providers.observing import NO_ERRORS, Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import TracebackType

    from opentelemetry.metrics import Histogram
    from opentelemetry.trace import Span, TracerProvider

    from s1crets.errors import S1cretsError
    from s1crets.integrations._otel_metrics import Metrics, Source

_SYSTEM = "aws-api"


class Spans(Observer):
    """Makes the spans of one provider.

    Args:
        source: tells whose they are.
        metrics: has the histograms.
        tracer_provider: where they go, or None for the global one.
        hashed: makes what stands for a name, or None where names are omitted.
    """

    def __init__(
        self,
        source: Source,
        metrics: Metrics,
        tracer_provider: TracerProvider | None,
        hashed: Callable[[str], str] | None,
    ) -> None:
        self.source = source
        self.metrics = metrics
        self.tracer = get_tracer("s1crets", __version__, tracer_provider)
        self._hashed = hashed

    def call(
        self, method: str, names: Collection[str], errors: Mapping[str, S1cretsError] = NO_ERRORS
    ) -> _Call:
        """Return what is entered while a public call is done."""
        return _Call(self, method, self._about(names), errors)

    def request(self, operation: str, names: Collection[str]) -> _Request:
        """Return what is entered while AWS is asked."""
        return _Request(self, operation, self._about(names))

    def sent(self, *, again: bool) -> None:
        """Count a request of the operation that is under way."""
        attempts = _attempts.get() or _Attempts()  # none, if it was under way at `instrument`
        attempts.requests += 1
        attempts.retries += again

    def throttled(self) -> None:
        """Count one that was refused as too many."""
        (_attempts.get() or _Attempts()).throttles += 1

    def stale(self) -> None:
        """Tell of an expired value in the spans of those who get it."""
        for call in _callers():
            call.span.set_attribute("s1crets.stale", True)  # noqa: FBT003  # OpenTelemetry's own

    def _about(self, names: Collection[str]) -> dict[str, Any]:
        told = [name for name in names if name]  # an empty path means all there are
        hashes = {"s1crets.names": [*map(self._hashed, told)]} if self._hashed else {}
        return {"s1crets.name_count": len(told), **hashes}


class _Timed:
    """What is entered while something is done: its span is current, and its time is taken.

    Args:
        source: tells whose it is.
        span: has begun.
        histogram: gets the seconds.
        key: the attributes by which it is measured, besides those of the source.
    """

    def __init__(
        self, source: Source, span: Span, histogram: Histogram, key: Mapping[str, str]
    ) -> None:
        self.span = span
        self.ended = False
        self._source = source
        self._histogram = histogram
        self._key = key

    def __enter__(self) -> None:
        self._outer = [(variable, variable.get()) for variable in _VARIABLES]
        self._token = otel.attach(set_span_in_context(self.span))
        self._began = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        seconds = time.perf_counter() - self._began
        attributes = {**self._source.attributes(), **self._key}
        failure = self._failure(kind)
        if failure:
            attributes["error.type"] = failure
            if kind is None or issubclass(kind, Exception):  # else it was cancelled
                self.span.set_status(StatusCode.ERROR)
        self.span.set_attributes(attributes)
        self._histogram.record(seconds, attributes)
        self.ended = True
        self.span.end()
        if kind is not GeneratorExit:  # which is thrown in wherever the garbage collector runs
            otel.detach(self._token)
            for variable, outer in self._outer:
                variable.set(outer)

    def _failure(self, kind: type[BaseException] | None) -> str | None:
        """Return the type of what went wrong."""
        return kind.__name__ if kind else None


class _Call(_Timed):
    """A public call that a local cache did not answer."""

    def __init__(
        self,
        spans: Spans,
        method: str,
        about: Mapping[str, Any],
        errors: Mapping[str, S1cretsError],
    ) -> None:
        key = {"s1crets.method": method}
        attributes = {**spans.source.attributes(), **key, **about}
        span = spans.tracer.start_span(f"s1crets.{method}", attributes=attributes)
        super().__init__(spans.source, span, spans.metrics.calls, key)
        self._method = method
        self._errors = errors

    def __enter__(self) -> None:
        super().__enter__()
        _call.set(self)

    def _failure(self, kind: type[BaseException] | None) -> str | None:
        if self._errors:
            self.span.set_attribute("s1crets.error_count", len(self._errors))
            kinds = {type(error) for error in self._errors.values()}
            return (kinds.pop() if len(kinds) == 1 else BatchError).__name__
        if self._method == "path_exists" and kind is SecretNotFoundError:
            return None  # that is an answer
        return super()._failure(kind)


class _Request(_Timed):
    """An operation of AWS, with all its pages and attempts; or of another store."""

    def __init__(self, spans: Spans, operation: str, about: Mapping[str, Any]) -> None:
        service, waiting = spans.source.service, _callers()
        alone = len(waiting) == 1
        key = {"rpc.service": service, "rpc.method": operation}
        old = {}  # by its name of before
        if spans.source.of_aws:
            key["rpc.system.name"] = old["rpc.system"] = _SYSTEM
        span = spans.tracer.start_span(
            f"{service}.{operation}",
            set_span_in_context(waiting[0].span) if alone else otel.Context(),
            SpanKind.CLIENT,
            {**old, **key, **spans.source.attributes(), **about},
            [] if alone else [Link(call.span.get_span_context()) for call in waiting],
        )
        super().__init__(spans.source, span, spans.metrics.requests, key)
        self._attempts = _Attempts()
        self._known = set(waiting)
        for call in [] if alone else waiting:
            call.span.add_link(span.get_span_context())

    def __enter__(self) -> None:
        super().__enter__()
        _attempts.set(self._attempts)

    def _failure(self, kind: type[BaseException] | None) -> str | None:
        for call in set(_callers()) - self._known:  # they have joined meanwhile
            self.span.add_link(call.span.get_span_context())
            call.span.add_link(self.span.get_span_context())
        self.span.set_attributes(self._attempts.told())
        return super()._failure(kind)


@dataclass
class _Attempts:
    """What an operation has taken up to now."""

    requests: int = 0
    retries: int = 0
    throttles: int = 0

    def told(self) -> dict[str, int]:
        return {f"s1crets.{what}": number for what, number in vars(self).items()}


_attempts: ContextVar[_Attempts | None] = ContextVar("s1crets_attempts", default=None)
_call: ContextVar[_Call | None] = ContextVar("s1crets_call", default=None)
_VARIABLES: tuple[ContextVar[Any], ...] = (_attempts, _call)


def _callers() -> list[_Call]:
    """Return the calls that wait for what is being done here."""
    fetched_for = aboard.get()
    contexts = [copy_context()]
    if fetched_for is not None:
        contexts = [context for joined in fetched_for for context in joined]
    calls = dict.fromkeys(context.get(_call) for context in contexts)
    return [call for call in calls if call is not None and not call.ended]
