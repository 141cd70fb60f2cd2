"""What a provider counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
    """What `Stats` is made from.

    Attributes:
        hits: see `Stats`, as for the others.
        misses: the same.
        requests: the same.
        throttled: the same.
        retried: the same.
    """

    hits: int = 0
    misses: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    throttled: int = 0
    retried: int = 0

    def stats(self, stale: int) -> Stats:
        """Return what was counted up to now, here and in the cache."""
        return Stats(
            hits=self.hits,
            misses=self.misses,
            stale=stale,
            requests=dict(self.requests),
            throttled=self.throttled,
            retried=self.retried,
        )
