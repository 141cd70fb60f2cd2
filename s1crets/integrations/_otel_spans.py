"""Spans of public calls and of operations of the service, and the durations of both.

Spans never contain a secret's name in clear, or an error's message.
"""

from __future__ import annotations

import time
from collections import Counter
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry import context as otel
from opentelemetry.trace import Link, SpanKind, StatusCode, set_span_in_context

from s1crets._batcher import callers
from s1crets.errors import BatchError, SecretNotFoundError
from s1crets.providers.instrumentation import NO_ERRORS, Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from opentelemetry.metrics import Histogram
    from opentelemetry.trace import Span, Tracer

    from s1crets.errors import S1cretsError
    from s1crets.integrations._otel_metrics import Metrics, Source


@dataclass(eq=False)
class Spans(Observer):
    """Creates the spans of a single provider, and measures their durations."""

    source: Source
    metrics: Metrics
    tracer: Tracer
    hashed: Callable[[str], str] | None  # returns the hash of a name; None: names are omitted

    def call(
        self, method: str, names: Collection[str], errors: Mapping[str, S1cretsError] = NO_ERRORS
    ) -> _CallSpan:
        """Return the span of a public call."""
        return _CallSpan(self, method, self._about(names), errors)

    def request(self, operation: str, names: Collection[str]) -> _RequestSpan:
        """Return the span of an operation of the service."""
        return _RequestSpan(self, operation, self._about(names))

    def sent(self, *, again: bool) -> None:
        """Count a request of the current operation."""
        _count(requests=1, retries=int(again))

    def throttled(self) -> None:
        """Count a throttled request."""
        _count(throttles=1)

    def stale(self) -> None:
        """Mark the spans of all callers that get an expired value."""
        for call in _waiting():
            call.span.set_attribute("s1crets.stale", True)  # noqa: FBT003  # OpenTelemetry's own

    def _about(self, names: Collection[str]) -> dict[str, Any]:
        names = [name for name in names if name]  # an empty path means everything
        hashes = {"s1crets.names": [*map(self.hashed, names)]} if self.hashed else {}
        return {"s1crets.name_count": len(names), **hashes}


class _TimedSpan:
    """A context manager for a span that has begun: makes it current, and measures its duration.

    The attributes of the duration are those of the source and those in `key`.
    """

    current: ClassVar[ContextVar[Any]]

    def __init__(
        self, source: Source, span: Span, histogram: Histogram, key: Mapping[str, str]
    ) -> None:
        self.span = span
        self.ended = False
        self._source = source
        self._histogram = histogram
        self._key = key

    def __enter__(self) -> None:
        self._reset = self.current.set(self)
        self._token = otel.attach(set_span_in_context(self.span))
        self._began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        seconds = time.perf_counter() - self._began
        attributes = {**self._source.attributes(), **self._key}
        failure = self._failure(kind)
        if failure:
            attributes["error.type"] = failure
            if kind is None or issubclass(kind, Exception):  # otherwise it was cancelled
                self.span.set_status(StatusCode.ERROR)
        self.span.set_attributes(attributes)
        self._histogram.record(seconds, attributes)
        self.ended = True
        self.span.end()
        # The garbage collector throws GeneratorExit in any context, where the tokens are invalid.
        if kind is not GeneratorExit:
            otel.detach(self._token)
            self.current.reset(self._reset)

    def _failure(self, kind: type[BaseException] | None) -> str | None:
        return kind.__name__ if kind else None


class _CallSpan(_TimedSpan):
    """A public call that a local cache did not answer."""

    current = ContextVar[Any]("s1crets_call", default=None)

    def __init__(
        self, spans: Spans, method: str, about: dict[str, Any], errors: Mapping[str, S1cretsError]
    ) -> None:
        key = {"s1crets.method": method}
        attributes = {**spans.source.attributes(), **key, **about}
        span = spans.tracer.start_span(f"s1crets.{method}", attributes=attributes)
        super().__init__(spans.source, span, spans.metrics.calls, key)
        self._method = method
        self._errors = errors

    def _failure(self, kind: type[BaseException] | None) -> str | None:
        if self._errors:
            self.span.set_attribute("s1crets.error_count", len(self._errors))
            kinds = {type(error) for error in self._errors.values()}
            return (kinds.pop() if len(kinds) == 1 else BatchError).__name__
        if self._method == "path_exists" and kind is SecretNotFoundError:
            return None  # the answer is no
        return super()._failure(kind)


class _RequestSpan(_TimedSpan):
    """An operation of the service, with all its pages and attempts."""

    current = ContextVar[Any]("s1crets_request", default=None)

    def __init__(self, spans: Spans, operation: str, about: dict[str, Any]) -> None:
        service, waiting = spans.source.service, _waiting()
        key = {"rpc.service": service, "rpc.method": operation}
        old = {}  # names from earlier semantic conventions
        if spans.source.provider.startswith("aws."):
            key["rpc.system.name"] = old["rpc.system"] = "aws-api"
        # The child of a single caller. A span can't have several parents, so if there are several
        # callers it is a root, with a link to each of them and from each of them.
        parent, linked = otel.Context(), waiting
        if len(waiting) == 1:
            parent, linked = set_span_in_context(waiting[0].span), []
        span = spans.tracer.start_span(
            f"{service}.{operation}",
            parent,
            SpanKind.CLIENT,
            {**old, **key, **spans.source.attributes(), **about},
            [Link(call.span.get_span_context()) for call in linked],
        )
        super().__init__(spans.source, span, spans.metrics.requests, key)
        self.attempts = Counter(requests=0, retries=0, throttles=0)
        self._known = set(waiting)
        for call in linked:
            call.span.add_link(span.get_span_context())

    def _failure(self, kind: type[BaseException] | None) -> str | None:
        for call in set(_waiting()) - self._known:  # callers that joined meanwhile
            self.span.add_link(call.span.get_span_context())
            call.span.add_link(self.span.get_span_context())
        self.span.set_attributes({f"s1crets.{name}": n for name, n in self.attempts.items()})
        return super()._failure(kind)


def _count(**numbers: int) -> None:
    """Add numbers to the current operation, unless it began before `instrument`."""
    request = _RequestSpan.current.get()
    if request is not None:
        request.attempts.update(numbers)


def _waiting() -> list[_CallSpan]:
    """Return the spans of the calls that wait for the current task."""
    groups = callers.get()
    contexts = [context for group in groups for context in group] if groups else [copy_context()]
    calls = dict.fromkeys(context.get(_CallSpan.current) for context in contexts)
    return [call for call in calls if call is not None and not call.ended]
