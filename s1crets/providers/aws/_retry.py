"""Retries of refused requests. No request is sent more than `retry` times.

botocore's standard mode decides about failures, with its backoff. Throttled requests are sent again
at the rate that AWS accepts, and requests with an expired token once, with renewed credentials. All
attempts are counted together, for each request and each page.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from s1crets._runtime import cancel_and_wait, outcome_of
from s1crets.providers.aws._errors import EXPIRED, THROTTLES
from s1crets.providers.aws._rate_limit import RateLimiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s1crets.providers.aws._session import ClientSpec

# Keys in the context that botocore passes from attempt to attempt.
_THROTTLED, _SENT, _CREDENTIALS, _RENEWED = (
    f"s1crets_{name}" for name in ("throttled", "sent", "credentials", "renewed")
)


class RateLimits:
    """The rate limiters of a provider, by quota."""

    def __init__(self) -> None:
        self._limiters: defaultdict[str, RateLimiter] = defaultdict(RateLimiter)

    def of(self, quota: str) -> RateLimiter:
        """Return the limiter of a quota."""
        return self._limiters[quota]


class Renewal:
    """Replaces a client's credentials when AWS says that they have expired.

    Args:
        client: of botocore.
        fetch: returns credentials from the source of the client's own.
    """

    def __init__(self, client: Any, fetch: Callable[[], Awaitable[Any]]) -> None:
        self._signer = client._request_signer  # noqa: SLF001  # there is no public access
        self._fetch = fetch
        self._task: asyncio.Task[None] | None = None

    @property
    def credentials(self) -> Any:
        """The credentials that sign the next request."""
        return self._signer._credentials  # noqa: SLF001

    async def renew(self, expired: Any) -> None:
        """Replace these credentials, once for all requests that were signed with them."""
        if self.credentials is not expired:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._replace())
        await outcome_of(self._task)

    async def _replace(self) -> None:
        self._signer._credentials = await self._fetch()  # noqa: SLF001

    async def aclose(self) -> None:
        """Cancel a renewal under way."""
        if self._task is not None:
            await cancel_and_wait(self._task)


def govern(client: Any, spec: ClientSpec, renewal: Renewal) -> None:
    """Apply rate limits, retries and counters to all requests of a client."""
    from botocore.exceptions import ClientError

    def limiter(operation: str) -> RateLimiter:
        return spec.limits.of(spec.service.quota(operation))

    async def before_signing(request: Any, operation_name: str, **_: Any) -> None:
        rate, context = limiter(operation_name), request.context
        if not await rate.acquire(context.get(_THROTTLED, 0)):
            message = "other requests have been throttled for too long"
            raise ClientError(
                {"Error": {"Code": "ThrottlingException", "Message": message}}, operation_name
            )
        context[_SENT], context[_CREDENTIALS] = rate.clock(), renewal.credentials

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
        response: Any, request_dict: Any, operation: Any, attempts: int, **_: Any
    ) -> float | None:
        if response is None:
            return None
        rate, context = limiter(operation.name), request_dict["context"]
        code = (response[1].get("Error") or {}).get("Code")
        if code in THROTTLES:
            rate.throttled(context[_SENT])
            spec.counters.was_throttled()
            context[_THROTTLED] = context.get(_THROTTLED, 0) + 1
        else:
            rate.accepted(context[_SENT])
            if code not in EXPIRED or context.get(_RENEWED):
                return None
            context[_RENEWED] = True
            await renewal.renew(context[_CREDENTIALS])
        return 0.0 if attempts < spec.retry else None

    events, service = client.meta.events, client.meta.service_model.service_id.hyphenize()
    # Before botocore's own handlers: a request is signed after the wait, and of the answers to
    # "needs-retry" the first one counts.
    events.register_first(f"request-created.{service}", before_signing)
    events.register_first(f"needs-retry.{service}", needs_retry)
    events.register("before-send", before_send)
