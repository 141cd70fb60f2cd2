"""Instrumentation: counters, and an observer that is notified of everything but cache hits."""

from __future__ import annotations

import collections
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from s1crets.errors import S1cretsError

NO_ERRORS: Mapping[str, S1cretsError] = MappingProxyType({})
"""The errors of a call that is not a batch."""


class Observer(Protocol):
    """Notified of a provider's work other than cache hits.

    Methods are called where the work is done: in the caller's context, or in the context of a task
    that works for several callers.
    """

    def call(
        self, method: str, names: Collection[str], errors: Mapping[str, S1cretsError] = NO_ERRORS
    ) -> AbstractContextManager[None]:
        """Return a context manager around the part of a public call that a local cache can't do.

        Args:
            method: the public method's name.
            names: the names in question; of a batch, those that the caches did not have.
            errors: receives the errors of single names of a batch.
        """
        ...

    def request(self, operation: str, names: Collection[str]) -> AbstractContextManager[None]:
        """Return a context manager around an operation of the service, its retries and pages."""
        ...

    def sent(self, *, again: bool) -> None:
        """Note that the request, or one of its pages, was sent; `again` for a retry."""

    def throttled(self) -> None:
        """Note that the service throttled the request."""

    def stale(self) -> None:
        """Note that an expired value is served during an outage."""


@dataclass(frozen=True)
class Stats:
    """Numbers of a provider since it was created.

    Attributes:
        hits: secrets and paths answered from the cache.
        misses: secrets and paths that were not.
        stale: secrets and paths for which an expired value was returned, during an outage.
        requests: requests sent to the service, by operation.
        throttled: requests that the service throttled.
        retried: requests that were retries.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    requests: Mapping[str, int] = field(default_factory=dict)
    throttled: int = 0
    retried: int = 0


class Counters:
    """The numbers of `Stats`, as they grow, and the observer.

    Attributes:
        requests: requests sent to the service, by operation.
        region: the service's region, once it is known.
        observer: notified of everything but hits, if there is one.
    """

    def __init__(self, region: str | None = None) -> None:
        self.hits = self.misses = self.stale = self.throttled = self.retried = 0
        self.requests: collections.Counter[str] = collections.Counter()
        self.region = region
        self.observer: Observer | None = None

    def was_throttled(self) -> None:
        """Count a throttled request."""
        self.throttled += 1
        if observer := self.observer:
            observer.throttled()

    def served_stale(self) -> None:
        """Count an expired value that was served."""
        self.stale += 1
        if observer := self.observer:
            observer.stale()

    def stats(self) -> Stats:
        """Return the numbers up to now."""
        requests = dict(self.requests)
        return Stats(self.hits, self.misses, self.stale, requests, self.throttled, self.retried)
