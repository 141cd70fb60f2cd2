"""Metrics: a provider's own counters, read when metrics are collected, and two histograms."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from opentelemetry.metrics import MeterProvider, Observation, get_meter, get_meter_provider

from s1crets._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.metrics import CallbackOptions

    from s1crets.providers.instrumentation import Counters, Stats

_Series: TypeAlias = "tuple[str, frozenset[tuple[str, str]]]"  # a metric and its attributes

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


class Source:
    """Counters of a single provider, from now until its end.

    It has no reference to the provider, which would stay alive. `provider` and `service` are names
    such as `aws.ps` and `SSM`.
    """

    def __init__(self, counters: Counters, provider: str, service: str) -> None:
        self._counters = counters
        self.provider = provider
        self.service = service
        self._seen = _numbers(counters.stats())
        self._final: Stats | None = None

    @property
    def ended(self) -> bool:
        """Whether the numbers are final."""
        return self._final is not None

    def end(self) -> None:
        """Stop counting, and stop notifying the observer."""
        if not self.ended:
            self._final = self._counters.stats()
            self._counters.observer = None

    def attributes(self) -> dict[str, str]:
        """Return the attributes that identify this provider."""
        region = self._counters.region
        return {"s1crets.provider": self.provider} | ({"cloud.region": region} if region else {})

    def increments(self) -> Iterator[tuple[_Series, int]]:
        """Yield everything counted since the last time.

        If the region has become known meanwhile, the increments belong to that region.
        """
        base = self.attributes()
        before, self._seen = self._seen, _numbers(self._final or self._counters.stats())
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


class Metrics:
    """The instruments of a meter provider, shared by all providers that report to it."""

    def __init__(self, meter_provider: MeterProvider) -> None:
        self._sources: list[Source] = []
        self._totals: Counter[_Series] = Counter()  # of all sources, including those that ended
        meter = get_meter("s1crets", __version__, meter_provider)
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

    def add(self, source: Source) -> None:
        """Report the counters of another source."""
        self._sources.append(source)

    def _observe(self, name: str, _: CallbackOptions) -> list[Observation]:
        for source in list(self._sources):
            ended = source.ended
            for series, increment in source.increments():
                self._totals[series] += increment
            if ended:
                self._sources.remove(source)
        return [
            Observation(total, dict(attributes))
            for (metric, attributes), total in self._totals.items()
            if metric == name
        ]


_metrics: WeakKeyDictionary[MeterProvider, Metrics] = WeakKeyDictionary()
_global: list[Metrics] = []


def metrics_for(given: MeterProvider | None) -> Metrics:
    """Return the metrics of a meter provider, whose instruments must be created only once.

    Until the global meter provider is set, a proxy takes its place. The proxy's instruments become
    those of the global meter provider, so both share a `Metrics`.
    """
    current = get_meter_provider()
    provider = current if given is None else given
    found = _metrics.get(provider)
    if found is None and provider is current and _global:
        found = _global[0]
    if found is None:
        found = _metrics[provider] = Metrics(provider)
        if provider is current:
            _global.append(found)
    return found


def _numbers(stats: Stats) -> dict[tuple[str, str], int]:
    """Return the numbers by metric and operation, or by metric and an empty text."""
    numbers = {}
    for metric, attribute, *_ in _COUNTERS:
        value = getattr(stats, attribute)
        for operation, number in (value if isinstance(value, dict) else {"": value}).items():
            numbers[metric, operation] = number
    return numbers
