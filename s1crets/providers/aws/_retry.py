"""Retries and rate limiting.

No request is sent more than `retry` times.

botocore's standard mode decides about failures, with its backoff. Throttled requests are sent again
at the rate that AWS accepts, and requests with an expired token once, with renewed credentials. All
attempts are counted together, for each request and each page.

The rate follows AIMD (additive increase, multiplicative decrease): requests are not delayed until
AWS throttles for the first time; then the rate grows slowly, and drops whenever AWS throttles
again. botocore's "adaptive" mode does this for each client, and took 200 s for a job that needs 10.
A request has few attempts. So a request that AWS throttled is sent before those that were not sent
yet, after a pause in which the quota recovers, and its third attempt only after a silence.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from s1crets._fork import new_lock, on_fork
from s1crets._runtime import LoopLocal, cancel_and_wait, outcome_of
from s1crets.providers.aws._errors import EXPIRED, QUOTAS, THROTTLES

if TYPE_CHECKING:
    from s1crets.providers.aws._credentials import Credentials
    from s1crets.providers.aws._session import ClientSpec

    _Locks = tuple[asyncio.Lock, asyncio.Lock]

R = TypeVar("R")

_FIRST = 4.0  # requests per second, at least, after AWS has throttled for the first time
_SLOWEST = 0.5  # requests per second
_DECREASE = 0.9  # the part of the recent rate of accepted requests that is kept
_INCREASE = 0.04  # requests per second for each accepted request: 4 % of the rate per second
_CATCH_UP = 0.1  # seconds that a late timer may make up for
_REST = 0.5  # the part of an interval that each request throttled together with others adds
_SILENCE = 0.5  # seconds, at least, before a third attempt
_HOPELESS = 4  # decreases, at least, without any accepted request, then queued requests give up
_PAUSE = 1.0  # seconds, at most, before the next request after AWS has throttled
_QUIET = 60.0  # seconds without throttling after which requests are not delayed any more

# Keys in the context that botocore passes from attempt to attempt.
_RATE, _SENT, _THROTTLED, _CREDENTIALS, _RENEWED, _OUTCOME = (
    f"s1crets_{name}" for name in ("rate", "sent", "throttled", "credentials", "renewed", "outcome")
)


class RateLimiter:
    """The rate of the requests of a quota. Shared by tasks, threads and event loops."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Any = anyio.sleep
    ) -> None:
        self.clock = clock
        self._sleep = sleep
        self.rate: float | None = None  # requests per second; None: unlimited
        self._next = float("-inf")  # when the next request may be sent
        self._throttled = float("-inf")  # when the rate was last lowered
        self._first_throttled = float("-inf")  # when the first rate was set
        self._accepted: deque[float] = deque()  # recent times at which AWS accepted a request
        self._decreases = 0  # since AWS last accepted a request
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Replace the locks, which threads and loops of the parent may have held."""
        self._lock = new_lock()
        self._queues: LoopLocal[_Locks] = LoopLocal(lambda: (asyncio.Lock(), asyncio.Lock()))

    async def acquire(self, attempts: int = 0, retry: int = 0) -> bool:
        """Wait until a request throttled `attempts` times may be sent; False if it is pointless.

        That is if others wait in front, and AWS throttles as many in a row as this one may be sent.
        """
        if self.rate is None:
            return True
        new, front = self._queues.here()
        is_behind, limit = front.locked(), max(retry, _HOPELESS)
        if is_behind and self._decreases >= limit:
            return False
        # Only the first of the requests that were not sent yet competes with the throttled ones.
        async with nullcontext() if attempts else new, front:
            while (wait := self._reserve(attempts)) > 0:
                if is_behind and self._decreases >= limit:
                    return False
                await self._sleep(wait * random.uniform(1.0, 1.1))  # noqa: S311  # not a secret
        return True

    def _reserve(self, attempts: int) -> float:
        """Take the next slot, or return the seconds until it."""
        with self._lock:
            now = self.clock()
            rate = self.rate
            if rate is None or now - self._throttled > _QUIET:
                self.rate = None
                return 0
            silence = min(max(3 / rate, _SILENCE), _PAUSE) if attempts > 1 else 0.0
            if self._next + silence > now:
                return self._next + silence - now
            self._next = max(self._next, now - _CATCH_UP) + 1 / rate
            return 0

    def accepted(self, sent: float) -> None:
        """Count a request, sent at the time `sent`, that AWS did not throttle."""
        with self._lock:
            now = self.clock()
            self._decreases = 0
            self._accepted.append(now)
            while self._accepted[0] < now - self._window():
                self._accepted.popleft()
            if self.rate is not None:
                self.rate += _INCREASE
                if sent < self._first_throttled:  # part of the burst that set the first rate
                    self.rate = max(self.rate, len(self._accepted) * _DECREASE)

    def throttled(self, sent: float) -> None:
        """Lower the rate after AWS throttled a request that was sent at the time `sent`."""
        with self._lock:
            now = self.clock()
            if sent <= self._throttled:
                # Sent before the rate was last lowered, so it says nothing about the new rate. But
                # it will be sent again, and must be accepted then.
                more = _REST / (self.rate or _FIRST)
                self._next = min(self._next + more, self._throttled + _PAUSE)
                return
            start = max(now - self._window(), self._throttled)
            lowered = sum(then > start for then in self._accepted) / (now - start) * _DECREASE
            self._decreases = 1 if self.rate is None else self._decreases + 1
            if self.rate is None:
                self._first_throttled = now
                self.rate = max(_FIRST, lowered)
            else:
                self.rate = max(_SLOWEST, min(self.rate * _DECREASE, max(lowered, self.rate / 2)))
            self._throttled = now
            self._next = now + min(2 / self.rate, _PAUSE)

    def _window(self) -> float:
        """Return the length, in seconds, of the recent past that determines the rate."""
        return 1 if self.rate is None else max(1, 5 / self.rate)


class Attempts:
    """Handlers of botocore's events: what each attempt of a client's requests needs and costs."""

    def __init__(self, spec: ClientSpec, credentials: Credentials) -> None:
        self._spec = spec
        self._credentials = credentials
        self._waiting: set[asyncio.Task[Any]] = set()  # for credentials

    async def aclose(self) -> None:
        """End all waiting: the calls fail at once."""
        for task in list(self._waiting):
            await cancel_and_wait(task)

    async def _outcome(self, work: Coroutine[Any, Any, R]) -> R:
        """Return the result of `work`. Closing the client ends it, a cancelled caller does not.

        Otherwise a renewal that takes longer than the calls' deadline would never succeed.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._waiting.add(task)
        task.add_done_callback(self._ended)
        return await outcome_of(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._waiting.discard(task)
        _ = task.cancelled() or task.exception()  # or asyncio logs that nobody retrieved it

    async def before_signing(self, request: Any, operation_name: str, **_: Any) -> None:
        """Wait until the request may be sent, and give it the current keys."""
        context = request.context
        if _OUTCOME in context:
            return
        quota = self._spec.service.quotas.get(operation_name, operation_name)
        rate = self._spec.limits[quota]
        if not await rate.acquire(context.get(_THROTTLED, 0), self._spec.retry):
            message = "other requests have been throttled for too long"
            error = {"Code": "ThrottlingException", "Message": message}
            raise _client_error({"Error": error}, operation_name)
        context[_RATE], context[_SENT] = rate, rate.clock()
        found = self._credentials.found
        if found is None or self._credentials.clock() >= found.due:
            found = await self._outcome(self._credentials.get())
        context[_CREDENTIALS] = found
        context.setdefault("signing", {})["request_credentials"] = found.keys

    def hand_over(self, context: Any, outcome: Any) -> None:
        """Make a response or an error that of botocore's next attempt. None: it was not sent."""
        context[_OUTCOME] = outcome

    def before_send(self, request: Any, event_name: str, **_: Any) -> Any:
        """Count the attempt, or return its outcome if it was sent already."""
        if (outcome := getattr(request, "context", {}).pop(_OUTCOME, None)) is not None:
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        operation = event_name.rsplit(".", 1)[-1]
        attempt = request.headers.get("amz-sdk-request", b"")
        attempt = attempt if isinstance(attempt, bytes) else attempt.encode()
        again = b"attempt=1;" not in attempt + b";"
        counters = self._spec.counters
        counters.requests[operation] += 1
        counters.retried += again
        if observer := counters.observer:
            observer.sent(again=again)
        return None

    async def needs_retry(
        self, response: Any, operation: Any, request_dict: Any, attempts: int, **_: Any
    ) -> float | None:
        """Return 0 to send the request again, None to leave that to botocore."""
        if response is None:
            return None
        context = request_dict["context"]
        code = (response[1].get("Error") or {}).get("Code")
        if code in THROTTLES:
            context[_RATE].throttled(context[_SENT])
            self._spec.counters.was_throttled()
            context[_THROTTLED] = context.get(_THROTTLED, 0) + 1
        else:
            context[_RATE].accepted(context[_SENT])
            if code in QUOTAS:  # botocore takes LimitExceededException for throttling
                raise _client_error(response[1], operation.name)
            if code not in EXPIRED or context.get(_RENEWED):
                return None
            context[_RENEWED] = True
            await self._outcome(self._credentials.renew(context[_CREDENTIALS]))
        return 0.0 if attempts < self._spec.retry else None


def _client_error(response: Any, operation: str) -> Exception:
    from botocore.exceptions import ClientError

    error: Exception = ClientError(response, operation)
    return error


def govern(client: Any, spec: ClientSpec, credentials: Credentials) -> Attempts:
    """Apply credentials, rate limits, retries and counters to all requests of a client."""
    events, service = client.meta.events, client.meta.service_model.service_id.hyphenize()
    attempts = Attempts(spec, credentials)
    # Before botocore's own handlers: a request is signed after the wait, and of the answers to
    # "needs-retry" the first one counts.
    events.register_first(f"request-created.{service}", attempts.before_signing)
    events.register_first(f"needs-retry.{service}", attempts.needs_retry)
    events.register("before-send", attempts.before_send)
    return attempts
