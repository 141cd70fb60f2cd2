"""Retries, rate limiting, and what an attempt may receive.

No request is sent more than `retry` times.

botocore's standard mode decides about failures, with its backoff. Throttled requests are sent again
at the rate that AWS accepts, and requests with an expired token once, with renewed credentials. All
attempts are counted together, for each request and each page.

The rate follows AIMD (additive increase, multiplicative decrease): requests are not delayed until
AWS throttles for the first time; then the rate grows slowly, and drops whenever AWS throttles
again. botocore's "adaptive" mode does this for each client, and took 200 s for a job that needs 10.
A request has few attempts. So a request that AWS throttled is sent before those that were not sent
yet, after a pause in which the quota recovers, and its third attempt only after a silence.

A response that redirects or is too large is rejected by the HTTP session, and not requested again.
aiohttp would send a new value and the session token to wherever a redirect points.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from s1crets._fork import new_lock, on_fork
from s1crets._runtime import LoopLocal, cancel_and_wait, outcome_of
from s1crets.providers.aws._errors import EXPIRED, QUOTAS, THROTTLES, RejectedResponse

if TYPE_CHECKING:
    from s1crets.providers.aws._credentials import Credentials
    from s1crets.providers.aws._session import ClientSpec

    _Locks = tuple[asyncio.Lock, asyncio.Lock]

T = TypeVar("T")

_FIRST = 4.0  # requests per second, at least, after AWS has throttled for the first time
_SLOWEST = 0.5  # requests per second
_DECREASE = 0.9  # the part of the recent rate of accepted requests that is kept
_INCREASE = 0.04  # requests per second for each accepted request: 4 % of the rate per second
_CATCH_UP = 0.1  # seconds that a late timer may make up for
_REST = 0.5  # the part of an interval that each request throttled together with others adds
_SILENCE = 0.5  # seconds, at least, before a third attempt
_HOPELESS = 4  # decreases without any accepted request after which queued requests give up
_PAUSE = 1.0  # seconds, at most, before the next request after AWS has throttled
_QUIET = 60.0  # seconds without throttling after which requests are not delayed any more

# Bytes of a response: 20 secrets of 64 KiB fit, each character written as `\u0000`.
_LARGEST = 8 * 2**20
_REDIRECTS = range(300, 400)

# Keys in the context that botocore passes from attempt to attempt.
_RATE, _SENT, _THROTTLED, _CREDENTIALS, _RENEWED = (
    f"s1crets_{name}" for name in ("rate", "sent", "throttled", "credentials", "renewed")
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

    async def acquire(self, attempts: int = 0) -> bool:
        """Wait until a request throttled `attempts` times may be sent; False if it is pointless."""
        if self.rate is None:
            return True
        new, front = self._queues.here()
        is_behind = front.locked()
        if is_behind and self._is_hopeless():  # AWS accepts nothing, and others wait in front
            return False
        # Only the first of the requests that were not sent yet competes with the throttled ones.
        async with nullcontext() if attempts else new, front:
            while (wait := self._reserve(attempts)) > 0:
                if is_behind and self._is_hopeless():
                    return False
                await self._sleep(wait * random.uniform(1.0, 1.1))  # noqa: S311  # not a secret
        return True

    def _is_hopeless(self) -> bool:
        return self._decreases >= _HOPELESS

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


class Waits:
    """What requests of a client wait for, until the client is closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def outcome(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`; a cancelled caller leaves it running."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await outcome_of(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        _ = task.cancelled() or task.exception()  # or asyncio logs that nobody retrieved it

    async def aclose(self) -> None:
        """End all waiting."""
        for task in list(self._tasks):
            await cancel_and_wait(task)


def unbind(client: Any) -> None:
    """Replace the lock of a client, which may be bound to a loop that has ended."""
    http = client._endpoint.http_session  # noqa: SLF001  # there is no public access
    http._sessions_lock = asyncio.Lock()  # noqa: SLF001


def govern(client: Any, spec: ClientSpec, credentials: Credentials, waits: Waits) -> None:
    """Apply credentials, rate limits, retries and counters to all requests of a client."""
    from botocore.exceptions import ClientError

    async def before_signing(request: Any, operation_name: str, **_: Any) -> None:
        quota = spec.service.quotas.get(operation_name, operation_name)
        rate, context = spec.limits[quota], request.context
        if not await rate.acquire(context.get(_THROTTLED, 0)):
            message = "other requests have been throttled for too long"
            raise ClientError(
                {"Error": {"Code": "ThrottlingException", "Message": message}}, operation_name
            )
        context[_RATE], context[_SENT] = rate, rate.clock()
        found = credentials.found
        if found is None or credentials.clock() >= found.due:
            found = await waits.outcome(credentials.get())
        context[_CREDENTIALS] = found
        context.setdefault("signing", {})["request_credentials"] = found.keys

    def before_send(request: Any, event_name: str, **_: Any) -> None:
        operation = event_name.rsplit(".", 1)[-1]
        attempt = request.headers.get("amz-sdk-request", b"")
        attempt = attempt if isinstance(attempt, bytes) else attempt.encode()
        again = b"attempt=1;" not in attempt + b";"
        counters = spec.counters
        counters.requests[operation] += 1
        counters.retried += again
        if observer := counters.observer:
            observer.sent(again=again)

    async def needs_retry(
        response: Any, operation: Any, request_dict: Any, attempts: int, **_: Any
    ) -> float | None:
        if response is None:
            return None
        context = request_dict["context"]
        code = (response[1].get("Error") or {}).get("Code")
        if code in THROTTLES:
            context[_RATE].throttled(context[_SENT])
            spec.counters.was_throttled()
            context[_THROTTLED] = context.get(_THROTTLED, 0) + 1
        else:
            context[_RATE].accepted(context[_SENT])
            if code in QUOTAS:  # botocore takes LimitExceededException for throttling
                raise ClientError(response[1], operation.name)
            if code not in EXPIRED or context.get(_RENEWED):
                return None
            context[_RENEWED] = True
            await waits.outcome(credentials.renew(context[_CREDENTIALS]))
        return 0.0 if attempts < spec.retry else None

    events, service = client.meta.events, client.meta.service_model.service_id.hyphenize()
    # Before botocore's own handlers: a request is signed after the wait, and of the answers to
    # "needs-retry" the first one counts.
    events.register_first(f"request-created.{service}", before_signing)
    events.register_first(f"needs-retry.{service}", needs_retry)
    events.register("before-send", before_send)


@cache
def http_session() -> Any:
    """Return the class of HTTP sessions. It derives from aiobotocore's, which is imported late."""
    from aiobotocore.httpsession import AIOHTTPSession
    from botocore.exceptions import HTTPClientError

    class HttpSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._contexts: dict[str | None, Any] = {}

        def _build_ssl_contexts(self, proxy_url: str | None) -> Any:
            # To read the certificates takes 30 ms, for each event loop that opens the client.
            if proxy_url not in self._contexts:
                self._contexts[proxy_url] = super()._build_ssl_contexts(proxy_url)
            return self._contexts[proxy_url]

        async def send(self, request: Any) -> Any:
            try:
                return await super().send(request)
            except HTTPClientError as error:  # it would be sent again
                if isinstance(rejected := error.kwargs.get("error"), RejectedResponse):
                    raise rejected from None
                raise

        async def _get_session(self, proxy_url: str | None) -> _HttpClient:
            return _HttpClient(await super()._get_session(proxy_url))

    return HttpSession


class _HttpClient:
    """The part of aiohttp's `ClientSession` that aiobotocore uses."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **options: Any) -> _HttpResponse:
        response = await self._session.request(method, allow_redirects=False, **options)
        if response.status in _REDIRECTS:
            response.close()
            raise RejectedResponse(f"a redirect (HTTP {response.status}), which is never followed")
        return _HttpResponse(response)


class _HttpResponse:
    """The part of aiohttp's `ClientResponse` that aiobotocore uses."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.url, self.status = response.url, response.status
        self.raw_headers = response.raw_headers

    async def read(self) -> bytes:
        """Return the body as it was sent: aiobotocore does not decompress it."""
        parts: list[bytes] = []
        left = _LARGEST
        try:
            async for part in self._response.content.iter_any():  # at most 256 KiB
                parts.append(part)
                left -= len(part)
                if left < 0:
                    break
        finally:
            self._response.close()  # a connection whose response was read is in the pool by now
        if left < 0:
            raise RejectedResponse(f"the response has more than {_LARGEST:,} bytes")
        return b"".join(parts)
