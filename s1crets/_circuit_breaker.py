"""CircuitBreaker and Backoff: when to leave a failing service alone, and for how long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable

_REMEMBERED = 1000  # keys, before those are forgotten that failed long ago


class CircuitBreaker:
    """Stops calls to a failing service for `rest` seconds; then the next call tries again."""

    def __init__(self, rest: float, timer: Callable[[], float] = time.monotonic) -> None:
        self._rest = rest
        self._timer = timer
        self._closed_from = 0.0
        self.has_failed = False  # whether it may be open; False saves the look-up

    @property
    def is_open(self) -> bool:
        """Whether calls must not be made now."""
        self.has_failed = self.has_failed and self._timer() < self._closed_from
        return self.has_failed

    def failed(self) -> None:
        """Open the circuit for `rest` seconds."""
        self._closed_from = self._timer() + self._rest
        self.has_failed = True


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
        # The keys whose last attempt failed: the end and the length of the pause of each.
        self.failed_keys: dict[Hashable, tuple[float, float]] = {}
        self._limit = _REMEMBERED

    def is_waiting(self, key: Hashable) -> bool:
        """Return whether it is too early to try `key` again."""
        until, _ = self.failed_keys.get(key, (float("-inf"), 0.0))
        return self._timer() < until

    def failed(self, key: Hashable) -> bool:
        """Start or extend the pause of `key`; return whether this is its first failure."""
        _, pause = self.failed_keys.get(key, (0.0, 0.0))
        longer = min(2 * pause, self._longest) or self._first
        wait = longer * random.uniform(1 - self._jitter, 1)  # noqa: S311  # not a secret
        now = self._timer()
        self.failed_keys[key] = now + wait, longer
        if len(self.failed_keys) > self._limit:  # of keys that nobody has tried for long
            recent = [(k, v) for k, v in self.failed_keys.items() if now < v[0] + self._longest]
            self.failed_keys = dict(recent)
            self._limit = max(_REMEMBERED, 2 * len(recent))
        return not pause

    def succeeded(self, key: Hashable) -> None:
        """End the pause of `key`."""
        self.failed_keys.pop(key, None)
