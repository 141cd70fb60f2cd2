"""What a provider counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s1crets.providers.observing import Observer

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Stats:
    """What a provider has done since it was made.

    Attributes:
        hits: secrets and paths answered from the cache.
        misses: those that were not.
        stale: those answered with an expired value, in an outage.
        requests: requests sent to the service, by operation.
        throttled: requests that the service refused as too many.
        retried: requests that were repetitions.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    requests: Mapping[str, int] = field(default_factory=dict)
    throttled: int = 0
    retried: int = 0


@dataclass
class Counters:
    """What `Stats` is made from, and who is told of more than numbers.

    Attributes:
        hits: see `Stats`, as for the others.
        misses: the same.
        stale: the same.
        requests: the same.
        throttled: the same.
        retried: the same.
        region: where the service is asked, as far as that is known yet.
        observer: told of all but hits.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    throttled: int = 0
    retried: int = 0
    region: str | None = None
    observer: Observer = field(default_factory=Observer)

    def sent(self, operation: str, *, again: bool) -> None:
        """Count a request that leaves."""
        self.requests[operation] = self.requests.get(operation, 0) + 1
        self.retried += again
        self.observer.sent(again=again)

    def refused(self) -> None:
        """Count a request that was one too many."""
        self.throttled += 1
        self.observer.throttled()

    def served_stale(self) -> None:
        """Count an expired value that was served."""
        self.stale += 1
        self.observer.stale()

    def stats(self) -> Stats:
        """Return what was counted up to now."""
        return Stats(
            hits=self.hits,
            misses=self.misses,
            stale=self.stale,
            requests=dict(self.requests),
            throttled=self.throttled,
            retried=self.retried,
        )
