"""Instrumentation: counters, and an observer that is notified of everything but cache hits."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager

    from s1crets.errors import S1cretsError

_NOTHING: AbstractContextManager[None] = nullcontext()
NO_ERRORS: Mapping[str, S1cretsError] = MappingProxyType({})
"""The errors of a call that is not a batch."""


class Observer:
    """Notified of a provider's work other than cache hits. This class ignores everything.

    Methods are called where the work is done: in the caller's context, or in the context of a task
    that works for several callers, whose contexts are then in `s1crets._batcher.callers`.
    """

    def call(
        self,
        method: str,  # noqa: ARG002  # for subclasses, as in all methods here
        names: Collection[str],  # noqa: ARG002
        errors: Mapping[str, S1cretsError] = NO_ERRORS,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Return a context manager around the part of a public call that a local cache can't do.

        Args:
            method: the public method's name.
            names: the names in question; of a batch, those that the caches did not have.
            errors: receives the errors of single names of a batch.
        """
        return _NOTHING

    def request(
        self,
        operation: str,  # noqa: ARG002
        names: Collection[str],  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Return a context manager around a request to the service with its retries and pages.

        Args:
            operation: the service's name of the operation.
            names: the names in question.
        """
        return _NOTHING

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
        stale: secrets and paths answered with an expired value, during an outage.
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


@dataclass
class Counters:
    """The source of `Stats`, and the observer.

    Attributes:
        hits: as of `Stats`, like the following.
        misses: as of `Stats`.
        stale: as of `Stats`.
        requests: as of `Stats`.
        throttled: as of `Stats`.
        retried: as of `Stats`.
        region: the service's region, once it is known.
        observer: notified of everything but hits.
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
        """Count a request that is sent."""
        self.requests[operation] = self.requests.get(operation, 0) + 1
        self.retried += again
        self.observer.sent(again=again)

    def was_throttled(self) -> None:
        """Count a throttled request."""
        self.throttled += 1
        self.observer.throttled()

    def served_stale(self) -> None:
        """Count an expired value that was served."""
        self.stale += 1
        self.observer.stale()

    def stats(self) -> Stats:
        """Return the numbers up to now."""
        return Stats(
            hits=self.hits,
            misses=self.misses,
            stale=self.stale,
            requests=dict(self.requests),
            throttled=self.throttled,
            retried=self.retried,
        )
