"""As fast as the account's quota allows, and no faster: AWS says how fast, by throttling.

Nothing is held back until AWS throttles for the first time. From then on requests leave at a rate
that grows slowly and drops when AWS throttles again (additive increase, multiplicative decrease).
botocore's own "adaptive" mode does this for each client, and took 200 s where 10 were enough.

A request has few attempts, so one that AWS has throttled goes before those that have not left yet,
after a pause in which the quota recovers, and its third attempt only after a silence.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import anyio

from s1crets._runtime import on_fork

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST = 4.0  # requests a second, at least, after AWS has throttled for the first time
_SLOWEST = 0.5  # requests a second
_DECREASE = 0.9  # of what AWS took lately
_INCREASE = 0.04  # requests a second for each one taken, so 4 % of the rate each second
_CATCH_UP = 0.1  # seconds that a late timer may make up for
_REST = 0.5  # of a place, a longer pause for each request that AWS refused with the first one
_SILENCE = 0.5  # seconds, at least, before a third attempt
_HOPELESS = 4  # times that AWS refuses after a pause, taking none, until those in line give up
_PAUSE = 1.0  # seconds, at most, before the next request after AWS has throttled
_QUIET = 60.0  # seconds without throttling after which nothing is held back any more
_TOGETHER = {"GetParameter", "GetParameters", "GetParametersByPath"}  # these share one quota


class Pace:
    """How fast requests of one quota may leave: shared by tasks, threads and event loops.

    Args:
        clock: monotonic seconds.
        sleep: waits for some.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Any = anyio.sleep
    ) -> None:
        self.clock = clock
        self._sleep = sleep
        self.rate: float | None = None  # requests a second; None: as fast as they come
        self._next = float("-inf")  # when the next request may leave
        self._throttled = float("-inf")  # when the rate was last lowered
        self._taken: deque[float] = deque()  # when AWS took requests, lately
        self._first_throttled = float("-inf")  # when there was no rate yet
        self._refusals = 0  # how often the rate was lowered since AWS last took a request
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Replace the locks, which the parent's threads and loops may have held."""
        self._lock = threading.Lock()
        self._lines: WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[asyncio.Lock, asyncio.Lock]
        ] = WeakKeyDictionary()

    async def turn(self, refused: int = 0) -> bool:
        """Wait until the next request may leave.

        Args:
            refused: how often AWS has throttled it: then it goes before those that have not left.

        Returns:
            False: it need not be sent, as AWS takes nothing, and others stand in front of it.
        """
        if self.rate is None:
            return True
        line, front = self._lines.setdefault(
            asyncio.get_running_loop(), (asyncio.Lock(), asyncio.Lock())
        )
        behind = front.locked()
        if behind and self._hopeless():
            return False
        # Of those that have not left yet, only the first one stands beside those that have.
        async with nullcontext() if refused else line, front:
            while (wait := self._reserve(refused)) > 0:
                if behind and self._hopeless():
                    return False
                await self._sleep(wait * random.uniform(1.0, 1.1))  # noqa: S311  # no secret
        return True

    def _hopeless(self) -> bool:
        return self._refusals >= _HOPELESS

    def _reserve(self, refused: int) -> float:
        """Take the next place, or return how many seconds it is away."""
        with self._lock:
            now = self.clock()
            if self.rate is None or now - self._throttled > _QUIET:
                self.rate = None
                return 0
            silence = min(max(3 / self.rate, _SILENCE), _PAUSE) if refused > 1 else 0.0
            if self._next + silence > now:
                return self._next + silence - now
            self._next = max(self._next, now - _CATCH_UP) + 1 / self.rate
            return 0

    def taken(self, sent: float) -> None:
        """Learn that AWS took a request that was sent at `sent`."""
        with self._lock:
            now = self.clock()
            self._refusals = 0
            self._taken.append(now)
            while self._taken[0] < now - self._memory():
                self._taken.popleft()
            if self.rate is not None:
                self.rate += _INCREASE
                if sent < self._first_throttled:  # of the burst that the first rate is made from
                    self.rate = max(self.rate, len(self._taken) * _DECREASE)

    def throttled(self, sent: float) -> None:
        """Learn that AWS refused a request that was sent at `sent` as one too many."""
        with self._lock:
            now = self.clock()
            if sent <= self._throttled:
                # It left before the rate was last lowered, and says nothing about that; but it
                # will leave again, and AWS is to take it then.
                more = _REST / (self.rate or _FIRST)
                self._next = min(self._next + more, self._throttled + _PAUSE)
                return
            start = max(now - self._memory(), self._throttled)
            lowered = sum(then > start for then in self._taken) / (now - start) * _DECREASE
            self._refusals = 1 if self.rate is None else self._refusals + 1
            if self.rate is None:
                self._first_throttled = now
                self.rate = max(_FIRST, lowered)
            else:
                self.rate = max(_SLOWEST, min(self.rate * _DECREASE, max(lowered, self.rate / 2)))
            self._throttled = now
            self._next = now + min(2 / self.rate, _PAUSE)

    def _memory(self) -> float:
        """Return of how many past seconds the rate is made."""
        return 1 if self.rate is None else max(1, 5 / self.rate)


class Paces:
    """The paces of one provider, one for each of the service's quotas."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}

    def of(self, operation: str) -> Pace:
        """Return the pace of an operation."""
        quota = "Get" if operation in _TOGETHER else operation
        return self._paces.setdefault(quota, Pace())
