"""The metrics: what providers count anyway, read when it is collected, and two histograms."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from opentelemetry.metrics import MeterProvider, Observation, get_meter, get_meter_provider

from s1crets._version import __version__
from s1crets.providers.observing import Observer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.metrics import CallbackOptions

    from s1crets.providers.stats import Counters, Stats

Attributes: TypeAlias = "dict[str, str]"
_Series: TypeAlias = "tuple[str, frozenset[tuple[str, str]]]"  # a metric, and its attributes

_COUNTED = (
    ("s1crets.cache.hits", "{hit}", "Secrets and paths that a cache answered."),
    ("s1crets.cache.misses", "{miss}", "Those that no local cache answered."),
    ("s1crets.cache.stale", "{value}", "Expired values that were served, in an outage."),
    ("s1crets.requests", "{request}", "Requests to the store, with pages and repetitions."),
    ("s1crets.throttles", "{request}", "Requests that it refused as too many."),
    ("s1crets.retries", "{request}", "Requests that were repetitions."),
)
_HITS, _MISSES, _STALE, _REQUESTS, _THROTTLES, _RETRIES = (name for name, _, _ in _COUNTED)
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds, as the conventions advise; the SDK's own buckets are for milliseconds."""


class Source:
    """What one provider counts, from now until its end.

    It has no reference to the provider, which may go.

    Args:
        counters: the provider's.
        provider: its name, as `aws.ps`.
        service: AWS's name of the service, or another store's.
    """

    def __init__(self, counters: Counters, provider: str, service: str) -> None:
        self._counters = counters
        self._provider = provider
        self.service = service
        self._seen = Counter(dict(_numbers(counters.stats())))
        self._at_end: Stats | None = None

    @property
    def of_aws(self) -> bool:
        """Whether AWS is asked."""
        return self._provider.startswith("aws.")

    @property
    def ended(self) -> bool:
        """Whether there is nothing to come."""
        return self._at_end is not None

    def end(self) -> None:
        """Count no further, and tell no observer any more."""
        if self._at_end is None:
            self._at_end = self._counters.stats()
            self._counters.observer = Observer()

    @property
    def region(self) -> str | None:
        """Where the service is asked, as far as that is known."""
        return self._counters.region

    def attributes(self) -> Attributes:
        """Return what tells this provider from others."""
        where = {} if self.region is None else {"cloud.region": self.region}
        return {"s1crets.provider": self._provider, **where}

    def news(self) -> Iterator[tuple[_Series, int]]:
        """Yield what has been counted since the last time.

        The region may become known in between, and what is new is of that region.
        """
        base = self.attributes()
        for (metric, operation), number in _numbers(self._at_end or self._counters.stats()):
            attributes = dict(base)
            if metric in (_REQUESTS, _THROTTLES, _RETRIES):
                attributes["rpc.service"] = self.service
            if operation:
                attributes["rpc.method"] = operation
            new, self._seen[metric, operation] = number - self._seen[metric, operation], number
            # A zero begins a series, but not one of an unknown region, which will not go on.
            if new or self.region is not None:
                yield (metric, frozenset(attributes.items())), new


class Metrics:
    """The instruments of one meter provider, which all providers share that report to it."""

    def __init__(self, meter_provider: MeterProvider) -> None:
        self._sources: list[Source] = []
        self._totals: Counter[_Series] = Counter()
        meter = get_meter("s1crets", __version__, meter_provider)
        for name, unit, description in _COUNTED:
            meter.create_observable_counter(name, [partial(self._observe, name)], unit, description)
        self.requests = meter.create_histogram(
            "rpc.client.call.duration",
            "s",
            "Operations of AWS, with all their pages and attempts.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self.calls = meter.create_histogram(
            "s1crets.call.duration",
            "s",
            "Calls that no local cache answered.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def add(self, source: Source) -> None:
        """Report a source too."""
        self._sources.append(source)

    def _observe(self, name: str, _: CallbackOptions) -> list[Observation]:
        # What a source has counted stays when that goes: a counter never falls.
        for source in list(self._sources):
            ended = source.ended
            for series, new in source.news():
                self._totals[series] += new
            if ended:
                self._sources.remove(source)
        return [
            Observation(total, dict(attributes))
            for (metric, attributes), total in self._totals.items()
            if metric == name
        ]


_all: WeakKeyDictionary[MeterProvider, Metrics] = WeakKeyDictionary()
_global: list[Metrics] = []


def metrics_of(given: MeterProvider | None) -> Metrics:
    """Return the metrics of a meter provider: instruments of one name are made once in each.

    The global one has a stand-in until it is set, whose instruments become its own then.
    """
    current = get_meter_provider()
    provider = current if given is None else given
    found = _all.get(provider)
    if found is None and provider is current and _global:
        found = _global[0]
    if found is None:
        found = _all[provider] = Metrics(provider)
        if provider is current:
            _global.append(found)
    return found


def _numbers(stats: Stats) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the numbers, each with its metric and, if it is of one, the operation."""
    yield (_HITS, ""), stats.hits
    yield (_MISSES, ""), stats.misses
    yield (_STALE, ""), stats.stale
    for operation, number in stats.requests.items():
        yield (_REQUESTS, operation), number
    yield (_THROTTLES, ""), stats.throttled
    yield (_RETRIES, ""), stats.retried
