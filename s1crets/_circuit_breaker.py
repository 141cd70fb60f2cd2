"""CircuitBreaker and Backoff: when to leave a failing service alone, and for how long."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class CircuitBreaker:
    """Stops calls to a failing service for a while; then the next call tries again.

    Args:
        rest: seconds without calls after a failure.
        timer: monotonic seconds; injected by tests.
    """

    def __init__(self, rest: float, timer: Callable[[], float] = time.monotonic) -> None:
        self._rest = rest
        self._timer = timer
        self._closed_from = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether calls must not be made now."""
        return self._timer() < self._closed_from

    def failed(self) -> None:
        """Open the circuit for `rest` seconds."""
        self._closed_from = self._timer() + self._rest


class Backoff:
    """A pause per key after a failure; it doubles with every further failure.

    Args:
        first: seconds of the first pause.
        longest: seconds of a pause at most.
        jitter: the part of a pause, at most, that is randomly left out.
        timer: monotonic seconds; injected by tests.
    """

    def __init__(
        self,
        first: float,
        longest: float,
        *,
        jitter: float = 0.0,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._timer = timer
        self._pauses: dict[Hashable, tuple[float, float]] = {}  # until when, and how long it was

    def is_waiting(self, key: Hashable) -> bool:
        """Return whether it is too early to try `key` again."""
        until, _ = self._pauses.get(key, (float("-inf"), 0.0))
        return self._timer() < until

    def failed(self, key: Hashable) -> bool:
        """Start or extend the pause of `key`; return whether this is its first failure."""
        _, pause = self._pauses.get(key, (0.0, 0.0))
        longer = min(2 * pause, self._longest) or self._first
        wait = longer * random.uniform(1 - self._jitter, 1)  # noqa: S311  # not a secret
        self._pauses[key] = self._timer() + wait, longer
        return not pause

    def succeeded(self, key: Hashable) -> None:
        """End the pause of `key`."""
        self._pauses.pop(key, None)
