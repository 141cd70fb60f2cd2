"""OpenTelemetry for a provider: metrics and spans. Needs the extra `otel`.

```python
from s1crets.integrations.opentelemetry import instrument

instrument(ParameterStore())
```
A cache hit costs nothing extra: it creates no span, and counters are read when they are collected.

Metrics count from `instrument` on, histograms in seconds. Their attributes include
`s1crets.provider` (`aws.ps`, `aws.sm`, or a class name) and, once it is known, `cloud.region`:

- `s1crets.cache.hits`, `s1crets.cache.misses`, `s1crets.cache.stale`, as in `stats`.
- `s1crets.requests`: every page and every attempt, by `rpc.service` and `rpc.method`.
- `s1crets.throttles`, `s1crets.retries`: by `rpc.service`.
- `rpc.client.call.duration`: an operation of AWS with its pages and attempts, by `rpc.service`,
  `rpc.method` and `error.type`.
- `s1crets.call.duration`: a call that a local cache did not answer, by `s1crets.method` and
  `error.type`.

Spans:

- `s1crets.get` etc.: a call that a local cache did not answer, or that writes or lists.
  `s1crets.name_count` is the number of names (not in the cache), `s1crets.error_count` of those
  that failed; `s1crets.stale` means that an expired value was served.
- `SSM.GetParameter` etc.: an operation of AWS, with the name and attributes of the semantic
  conventions for AWS SDKs. `s1crets.requests` is the number of requests it took, including
  `s1crets.retries` retries; `s1crets.throttles` of them were throttled. Requests to assume a role
  or to identify the account have no span.

The span of an operation is a child of the call that waits for it. If several calls wait, because
their names share a batch or they want the same name, it is a root span, linked with each of them in
both directions. A call that joins later is linked as well. A refresh ahead of expiry is a root span
without links: nobody waits for it.

Of an error only the class is exported (`error.type`), because messages contain names. A cancelled
operation has that attribute, but no error status. If `path_exists` is false that is not an error;
if `get` returns a default it is.
"""

from __future__ import annotations

import hmac
import time
import weakref
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, ClassVar, Literal, TypeAlias

from s1crets._coalescing import contexts_of_callers
from s1crets._sync import Facade
from s1crets._version import __version__
from s1crets.errors import BatchError, ConfigurationError, S1cretsError, SecretNotFoundError
from s1crets.providers.async_provider import AsyncProvider
from s1crets.providers.instrumentation import NO_ERRORS, Counters, Observer, Stats

try:
    from opentelemetry import context as otel
    from opentelemetry import metrics, trace
except ImportError:
    raise ConfigurationError(
        "OpenTelemetry needs the extra `otel`: pip install 's1crets[otel]'"
    ) from None

__all__ = ["Instrumentation", "instrument"]

_SERVICES = {"Parameter Store": ("aws.ps", "SSM"), "Secrets Manager": ("aws.sm", "Secrets Manager")}
_COUNTERS = (  # name, attribute of `Stats`, unit, description
    ("s1crets.cache.hits", "hits", "{hit}", "Secrets and paths answered from a local cache."),
    ("s1crets.cache.misses", "misses", "{miss}", "Secrets and paths not in a local cache."),
    ("s1crets.cache.stale", "stale", "{value}", "Expired values served during an outage."),
    ("s1crets.requests", "requests", "{request}", "Requests, including pages and retries."),
    ("s1crets.throttles", "throttled", "{request}", "Requests that the service throttled."),
    ("s1crets.retries", "retried", "{request}", "Requests that were retries."),
)
# Seconds, as the semantic conventions advise; the SDK's default buckets are for milliseconds.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_HASH_LENGTH = 16  # hex digits

_Series: TypeAlias = tuple[str, frozenset[tuple[str, str]]]  # a metric and its attributes


class Instrumentation(AbstractContextManager["Instrumentation"]):
    """Result of `instrument`, which `uninstrument()` or leaving a `with` block undoes."""

    @abstractmethod
    def uninstrument(self) -> None:
        """Stop creating spans and counting; the counts so far remain."""

    def __exit__(self, *_: object) -> None:
        """Uninstrument."""
        self.uninstrument()


def instrument(
    provider: AsyncProvider | Facade[Any],
    *,
    names: Literal["omit", "hash"] = "omit",
    key: str | bytes | None = None,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> Instrumentation:
    """Create metrics and spans for everything a provider does from now on.

    A sync provider and the async provider behind it count as the same. Providers of the same
    service and region are counted together. A provider is not kept alive; its counts remain.

    Args:
        provider: async or sync; for `s1crets.get` and similar functions it is
            `s1crets.providers.provider('aws.ps')`.
        names: `"hash"` adds hashes of secrets' names to spans, as `s1crets.names`: the first 64
            bits of an HMAC-SHA-256, in hex. Otherwise nothing exported contains names.
        key: key of the hashes, required because names are easy to guess. The same key always gives
            the same hashes.
        tracer_provider: destination of spans; default: the global tracer provider.
        meter_provider: destination of metrics; default: the global meter provider.

    Raises:
        TypeError: `provider` is not a provider, or `key` is not text or bytes.
        ConfigurationError: a `ValueError`: the provider is instrumented already, or `names` and
            `key` do not fit together.
    """
    hashed = _hasher(names, key)
    del key  # or tracebacks with locals would show it
    awaited = provider.awaited if isinstance(provider, Facade) else provider
    if not isinstance(awaited, AsyncProvider):
        raise TypeError(f"provider must be a provider, not {type(provider).__name__}")
    counters = awaited.counters
    if counters.observer is not None:
        raise ConfigurationError(f"{provider!r} is instrumented already; call uninstrument() first")
    kind = type(awaited).__name__.removeprefix("Async")
    source = _Source(counters, *_SERVICES.get(awaited.service, (kind, kind)))
    instruments = _instruments_of(meter_provider or metrics.get_meter_provider())
    instruments.sources.append(source)
    tracer = trace.get_tracer("s1crets", __version__, tracer_provider)
    counters.observer = _Spans(source, instruments, tracer, hashed)
    # The source does not keep the provider alive, and keeps its counts when it is gone.
    weakref.finalize(awaited, source.uninstrument).atexit = False
    return source


def _hasher(names: object, key: str | bytes | None) -> Callable[[str], str] | None:
    """Return a function that hashes names, or None if they are omitted."""
    if names not in ("omit", "hash"):
        raise ConfigurationError("names must be 'omit' or 'hash'")
    if key is not None and not isinstance(key, (str, bytes)):
        raise TypeError(f"key must be text or bytes, not {type(key).__name__}")
    if (names == "hash") is not bool(key):
        raise ConfigurationError(
            "names='hash' needs a key, and a key names='hash': without a key, anybody could hash a"
            " guessed name and compare"
        )
    if not key:
        return None
    keyed = hmac.new(key.encode() if isinstance(key, str) else key, digestmod=sha256)

    def hashed(name: str) -> str:
        digest = keyed.copy()
        digest.update(name.encode())
        return digest.hexdigest()[:_HASH_LENGTH]

    return hashed


class _Source(Instrumentation):
    """Counters of a single provider, from now until its end; does not keep the provider alive."""

    def __init__(self, counters: Counters, provider: str, service: str) -> None:
        self._counters = counters
        self.provider = provider  # such as `aws.ps`
        self.service = service  # such as `SSM`
        self.final: Stats | None = None
        self._seen = _numbers(counters.stats())

    def uninstrument(self) -> None:
        if self.final is None:
            self.final = self._counters.stats()
            self._counters.observer = None

    def attributes(self) -> dict[str, str]:
        region = self._counters.region
        return {"s1crets.provider": self.provider} | ({"cloud.region": region} if region else {})

    def increments(self) -> Iterator[tuple[_Series, int]]:
        """Yield everything counted since the last time, which belongs to the region known now."""
        base = self.attributes()
        before, self._seen = self._seen, _numbers(self.final or self._counters.stats())
        for (metric, operation), number in self._seen.items():
            attributes = dict(base)
            if not metric.startswith("s1crets.cache."):
                attributes["rpc.service"] = self.service
            if operation:
                attributes["rpc.method"] = operation
            increment = number - before.get((metric, operation), 0)
            # A zero starts a series, but not one without a region, which will not continue.
            if increment or "cloud.region" in base:
                yield (metric, frozenset(attributes.items())), increment


def _numbers(stats: Stats) -> dict[tuple[str, str], int]:
    """Return the numbers by metric and operation, or by metric and an empty text."""
    numbers = {}
    for metric, attribute, *_ in _COUNTERS:
        value = getattr(stats, attribute)
        for operation, number in (value if isinstance(value, dict) else {"": value}).items():
            numbers[metric, operation] = number
    return numbers


class _Instruments:
    """The instruments of a meter provider, shared by all providers that report to it."""

    def __init__(self, meter_provider: metrics.MeterProvider) -> None:
        self.sources: list[_Source] = []
        self._totals: Counter[_Series] = Counter()  # of all sources, including those that ended
        meter = metrics.get_meter("s1crets", __version__, meter_provider)
        for name, _, unit, description in _COUNTERS:
            meter.create_observable_counter(name, [partial(self._observe, name)], unit, description)
        histogram = partial(
            meter.create_histogram, unit="s", explicit_bucket_boundaries_advisory=_BUCKETS
        )
        self.requests = histogram(
            "rpc.client.call.duration", description="AWS operations with all pages and attempts."
        )
        self.calls = histogram(
            "s1crets.call.duration", description="Calls not answered from a local cache."
        )

    def _observe(self, name: str, _: metrics.CallbackOptions) -> list[metrics.Observation]:
        for source in list(self.sources):
            ended = source.final is not None
            for series, increment in source.increments():
                self._totals[series] += increment
            if ended:
                self.sources.remove(source)
        return [
            metrics.Observation(total, dict(attributes))
            for (metric, attributes), total in self._totals.items()
            if metric == name
        ]


_instruments = weakref.WeakKeyDictionary[metrics.MeterProvider, _Instruments]()
_global: list[_Instruments] = []  # empty, or the instruments of the global meter provider


def _instruments_of(provider: metrics.MeterProvider) -> _Instruments:
    """Return the instruments of a meter provider, which must be created only once.

    Until the global meter provider is set, a proxy takes its place. The proxy's instruments become
    those of the global meter provider, so both share an `_Instruments`.
    """
    if provider not in _instruments:
        is_global = provider is metrics.get_meter_provider()
        created = _global[0] if is_global and _global else _Instruments(provider)
        if is_global and not _global:
            _global.append(created)
        _instruments[provider] = created
    return _instruments[provider]


@dataclass(eq=False)
class _Spans(Observer):
    """Creates the spans of a single provider, and measures their durations."""

    source: _Source
    instruments: _Instruments
    tracer: trace.Tracer
    hashed: Callable[[str], str] | None  # returns the hash of a name; None: names are omitted

    def call(
        self, method: str, names: Collection[str], errors: Mapping[str, S1cretsError] = NO_ERRORS
    ) -> _CallSpan:
        return _CallSpan(self, method, names, errors)

    def request(self, operation: str, names: Collection[str]) -> _RequestSpan:
        return _RequestSpan(self, operation, names)

    def sent(self, *, again: bool) -> None:
        _count(requests=1, retries=int(again))

    def throttled(self) -> None:
        _count(throttles=1)

    def stale(self) -> None:
        for call in _waiting():
            call.span.set_attribute("s1crets.stale", True)  # noqa: FBT003  # OpenTelemetry's own


class _TimedSpan:
    """A span, and a context manager that makes it current and measures its duration."""

    current: ClassVar[ContextVar[Any]]
    histogram: metrics.Histogram

    def __init__(
        self, spans: _Spans, name: str, names: Collection[str], key: Mapping[str, str], **span: Any
    ) -> None:
        names = [one for one in names if one]  # an empty path means everything
        about: dict[str, Any] = {"s1crets.name_count": len(names)}
        if spans.hashed:
            about["s1crets.names"] = [*map(spans.hashed, names)]
        about |= {**spans.source.attributes(), **key, **span.pop("attributes", {})}
        self.span = spans.tracer.start_span(name, attributes=about, **span)
        self.ended = False
        self._source = spans.source
        self._key = key  # attributes of the duration in addition to the source's

    def __enter__(self) -> None:
        self._reset = self.current.set(self)
        self._token = otel.attach(trace.set_span_in_context(self.span))
        self._began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        seconds = time.perf_counter() - self._began
        attributes = {**self._source.attributes(), **self._key}
        failure = self._failure(kind)
        if failure:
            attributes["error.type"] = failure
            if kind is None or issubclass(kind, Exception):  # otherwise it was cancelled
                self.span.set_status(trace.StatusCode.ERROR)
        self.span.set_attributes(attributes)
        self.histogram.record(seconds, attributes)
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
        self, spans: _Spans, method: str, names: Collection[str], errors: Mapping[str, S1cretsError]
    ) -> None:
        super().__init__(spans, f"s1crets.{method}", names, {"s1crets.method": method})
        self.histogram = spans.instruments.calls
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

    def __init__(self, spans: _Spans, operation: str, names: Collection[str]) -> None:
        service, waiting = spans.source.service, _waiting()
        key = {"rpc.service": service, "rpc.method": operation}
        old = {}  # names from earlier semantic conventions
        if spans.source.provider.startswith("aws."):
            key["rpc.system.name"] = old["rpc.system"] = "aws-api"
        # The child of a single caller. A span can't have several parents, so if there are several
        # callers it is a root, with a link to each of them and from each of them.
        parent, linked = otel.Context(), waiting
        if len(waiting) == 1:
            parent, linked = trace.set_span_in_context(waiting[0].span), []
        links = [trace.Link(call.span.get_span_context()) for call in linked]
        options = {"context": parent, "kind": trace.SpanKind.CLIENT, "links": links}
        super().__init__(spans, f"{service}.{operation}", names, key, attributes=old, **options)
        self.histogram = spans.instruments.requests
        self.attempts = Counter(requests=0, retries=0, throttles=0)
        self._known = set(waiting)
        for call in linked:
            call.span.add_link(self.span.get_span_context())

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
    contexts = contexts_of_callers() or [copy_context()]
    calls = dict.fromkeys(context.get(_CallSpan.current) for context in contexts)
    return [call for call in calls if call is not None and not call.ended]
