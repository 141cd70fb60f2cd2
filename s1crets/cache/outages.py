"""What is done while AWS can't be reached: expired values for a while, and few attempts."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from s1crets.errors import (
    AccessDeniedError,
    BatchError,
    DeadlineExceededError,
    DecryptionError,
    SecretNotFoundError,
    ThrottledError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from s1crets.errors import S1cretsError

_log = logging.getLogger("s1crets.cache")
_PASSES = (DeadlineExceededError, ThrottledError, UnavailableError)
_REFUSES = (AccessDeniedError, DecryptionError, SecretNotFoundError)
_FIRST, _LONGEST = 1.0, 30.0  # seconds without an attempt after the first failure, and at most
K = TypeVar("K", bound="Hashable")


def passes(error: S1cretsError) -> bool:
    """Say whether an error is one of an outage: the next attempt may succeed."""
    if isinstance(error, BatchError):
        return all(map(passes, error.errors.values()))
    return isinstance(error, _PASSES)


def refuses(error: S1cretsError) -> bool:
    """Say whether an error means that AWS does not want a value to be used any more."""
    if isinstance(error, BatchError):
        return any(map(refuses, error.errors.values()))
    return isinstance(error, _REFUSES)


class Outages(Generic[K]):
    """The keys that could not be fetched, and when to try again.

    Args:
        timer: a clock in seconds; injected by tests.
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._next: dict[K, tuple[float, float]] = {}  # when, and how long it is waited then

    def waits(self, key: K) -> bool:
        """Say whether it is too early for another attempt."""
        after, _ = self._next.get(key, (float("-inf"), 0.0))
        return self._timer() < after

    def failed(self, key: K, name: str, error: S1cretsError) -> None:
        """Learn that an expired value was served; warn, once in an outage."""
        if self.waits(key):
            return
        _, pause = self._next.get(key, (0.0, 0.0))
        if not pause:
            _log.warning("an expired value of %r is served, as AWS can't be asked: %s", name, error)
        pause = min(2 * pause, _LONGEST) or _FIRST
        wait = pause * random.uniform(0.5, 1)  # noqa: S311  # no secret
        self._next[key] = self._timer() + wait, pause

    def over(self, key: K) -> None:
        """Learn that a fetch succeeded, or that AWS has refused."""
        self._next.pop(key, None)
