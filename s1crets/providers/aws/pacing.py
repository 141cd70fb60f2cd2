"""As fast as the account's quota allows, and no faster: AWS says how fast, by throttling.

Nothing is held back until AWS throttles for the first time. From then on requests leave at a rate
that grows slowly and drops when AWS throttles again (additive increase, multiplicative decrease).
botocore's own "adaptive" mode does this for each client, and took 200 s where 10 were enough.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import anyio

from s1crets._fork import renew_after_fork
from s1crets.providers.aws.errors import THROTTLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from s1crets.providers.stats import Counters

_FIRST = 4.0  # requests a second, at least, after AWS has throttled for the first time
_SLOWEST = 0.5  # requests a second
_DECREASE = 0.9  # of what AWS took in the last second
_INCREASE = 0.04  # requests a second for each one taken, so 4 % of the rate each second
_CATCH_UP = 0.1  # seconds that a late timer may make up for
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
        self._taken: deque[float] = deque()  # when AWS took requests, of the last second
        self.last_taken = float("-inf")
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Replace the locks, which the parent's threads and loops may have held."""
        self._lock = threading.Lock()
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    async def turn(self) -> None:
        """Wait until the next request may leave; first come, first served."""
        if self.rate is None:
            return
        turn = self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with turn:
            while (wait := self._reserve()) > 0:
                await self._sleep(wait * random.uniform(1.0, 1.1))  # noqa: S311  # no secret

    def _reserve(self) -> float:
        """Take the next place, or return how many seconds it is away."""
        with self._lock:
            now = self.clock()
            if self.rate is None or now - self._throttled > _QUIET:
                self.rate = None
                return 0
            if self._next > now:
                return self._next - now
            self._next = max(self._next, now - _CATCH_UP) + 1 / self.rate
            return 0

    def taken(self) -> None:
        """Learn that AWS took a request."""
        with self._lock:
            self.last_taken = now = self.clock()
            self._taken.append(now)
            self._forget(now)
            if self.rate is not None:
                self.rate += _INCREASE

    def throttled(self, sent: float) -> None:
        """Learn that AWS refused a request that was sent at `sent` as one too many."""
        with self._lock:
            if sent < self._throttled:
                return  # it left before the rate was last lowered, and says nothing about that
            self._throttled = now = self.clock()
            self._forget(now)
            lowered = len(self._taken) * _DECREASE
            if self.rate is None:
                self.rate = max(_FIRST, lowered)
            else:
                self.rate = max(_SLOWEST, min(self.rate * _DECREASE, max(lowered, self.rate / 2)))
            self._next = now + 2 / self.rate

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0] < now - 1:
            self._taken.popleft()


class Paces:
    """The paces of one provider, one for each of the service's quotas."""

    def __init__(self, counters: Counters) -> None:
        self._paces: dict[str, Pace] = {}
        self._counters = counters

    def of(self, operation: str) -> Pace:
        """Return the pace of an operation."""
        quota = "Get" if operation in _TOGETHER else operation
        return self._paces.setdefault(quota, Pace())

    def govern(self, client: Any, attempts: int) -> None:
        """Make every request of `client` keep the pace, its retries and its pages too.

        What AWS throttles is repeated, at a pace that AWS will bear: not more often than `attempts`
        in all while AWS takes nothing at all, and for as long as it takes others.
        """

        async def leave(request: Any, operation_name: str, **_: Any) -> None:
            pace = self.of(operation_name)
            await pace.turn()
            request.context["s1crets_sent"] = pace.clock()
            request.context.setdefault("s1crets_first_sent", pace.clock())

        def again(
            response: Any, request_dict: Any, operation: Any, attempts_made: int, **_: Any
        ) -> float | None:
            if response is None:
                return None
            pace, context = self.of(operation.name), request_dict["context"]
            if (response[1].get("Error") or {}).get("Code") not in THROTTLES:
                pace.taken()
                return None
            pace.throttled(context["s1crets_sent"])
            self._counters.throttled += 1
            moving = pace.last_taken > context["s1crets_first_sent"]
            return 0.0 if moving or attempts_made < attempts else None

        events, service = client.meta.events, client.meta.service_model.service_id.hyphenize()
        # Before botocore's own handlers: a request is signed after the wait, and the first answer
        # to "needs it a retry" counts.
        events.register_first(f"request-created.{service}", leave)
        events.register_first(
            f"needs-retry.{service}",
            lambda attempts, **about: again(attempts_made=attempts, **about),
        )
