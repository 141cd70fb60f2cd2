"""What becomes of a request that AWS refuses: sent again, or not; never more often than `retry`.

What botocore's standard mode repeats it repeats here too, with its backoff. What is throttled is
repeated at the pace that AWS bears, and after an expired token with renewed credentials. All of
these attempts are counted together, for every request and every page.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from s1crets.providers.aws.errors import EXPIRED, THROTTLES, closed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s1crets.providers.aws.pacing import Paces
    from s1crets.providers.stats import Counters

_REFUSED, _SENT, _SIGNED, _RENEWED = (
    f"s1crets_{what}" for what in ("refused", "sent", "signed", "renewed")
)


class Renewal:
    """The credentials that a client signs with, replaced when AWS calls them expired.

    Args:
        client: of botocore.
        fetch: returns credentials from where the client's own came from.
    """

    def __init__(self, client: Any, fetch: Callable[[], Awaitable[Any]]) -> None:
        self._signer = client._request_signer  # noqa: SLF001  # there is no other way to them
        self._fetch = fetch
        self._task: asyncio.Task[None] | None = None

    @property
    def credentials(self) -> Any:
        """The ones that the next request is signed with."""
        return self._signer._credentials  # noqa: SLF001

    async def renew(self, expired: Any) -> None:
        """Replace these credentials, once for all requests that were signed with them."""
        if self.credentials is not expired:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._replace())
        await outcome(self._task)

    async def _replace(self) -> None:
        self._signer._credentials = await self._fetch()  # noqa: SLF001

    async def aclose(self) -> None:
        """Stop a renewal that is under way."""
        if self._task is not None:
            await stop(self._task)


async def outcome(task: asyncio.Task[Any]) -> Any:
    """Return what a task that others wait for too ends with; a caller that gives up leaves it be.

    Raises:
        UnavailableError: the provider was closed meanwhile.
    """
    if not task.done():
        await asyncio.wait([task])
    if task.cancelled():
        raise closed()
    return task.result()


async def stop(task: asyncio.Task[Any]) -> None:
    """Cancel a task and see its end."""
    task.cancel()
    await asyncio.wait([task])
    _ = task.cancelled() or task.exception()  # or asyncio complains that nobody looked at it


def govern(client: Any, retry: int, renewal: Renewal, paces: Paces, counters: Counters) -> None:
    """Make every request of `client` keep the pace, and repeat those that may be."""
    from botocore.exceptions import ClientError

    async def leave(request: Any, operation_name: str, **_: Any) -> None:
        pace, context = paces.of(operation_name), request.context
        if not await pace.turn(context.get(_REFUSED, 0)):
            words = "others were refused for too long"
            raise ClientError(
                {"Error": {"Code": "ThrottlingException", "Message": words}}, operation_name
            )
        context[_SENT], context[_SIGNED] = pace.clock(), renewal.credentials

    async def again(
        response: Any, request_dict: Any, operation: Any, attempts: int, **_: Any
    ) -> float | None:
        if response is None:
            return None
        pace, context = paces.of(operation.name), request_dict["context"]
        code = (response[1].get("Error") or {}).get("Code")
        if code in THROTTLES:
            pace.throttled(context[_SENT])
            counters.refused()
            context[_REFUSED] = context.get(_REFUSED, 0) + 1
        else:
            pace.taken(context[_SENT])
            if code not in EXPIRED or context.get(_RENEWED):
                return None
            context[_RENEWED] = True
            await renewal.renew(context[_SIGNED])
        return 0.0 if attempts < retry else None

    events, service = client.meta.events, client.meta.service_model.service_id.hyphenize()
    # Before botocore's own handlers: a request is signed after the wait, and the first answer to
    # "needs it a retry" counts.
    events.register_first(f"request-created.{service}", leave)
    events.register_first(f"needs-retry.{service}", again)
