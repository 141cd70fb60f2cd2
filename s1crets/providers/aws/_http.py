"""HTTP: aiobotocore's session, without redirects and with a limit for the size of responses.

aiohttp would send a new value and the session token to wherever a redirect points, and read a body
of any size. Imported late, since aiobotocore is.
"""

from __future__ import annotations

from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import HTTPClientError

from s1crets.providers.aws._errors import RejectedResponse

LARGEST = 8 * 2**20
"""Bytes of a response: more than 20 secrets of 64 KiB, each character written as `\\u0000`."""
_REDIRECTS = range(300, 400)


class HttpSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """A session whose responses are rejected if they redirect, or are too large."""

    async def send(self, request: Any) -> Any:
        """Send a request; a rejected response is not a failure to retry, as aiobotocore thinks."""
        try:
            return await super().send(request)
        except HTTPClientError as error:
            if isinstance(cause := error.kwargs.get("error"), RejectedResponse):
                raise cause from None
            raise

    async def _get_session(self, proxy_url: str | None) -> _Requests:
        return _Requests(await super()._get_session(proxy_url))


class _Requests:
    """The part of aiohttp's `ClientSession` that aiobotocore uses."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **options: Any) -> _Response:
        response = await self._session.request(method, allow_redirects=False, **options)
        if response.status in _REDIRECTS:
            response.close()
            raise RejectedResponse(
                f"the response is a redirect (HTTP {response.status}), which is not followed"
            )
        return _Response(response)


class _Response:
    """The part of aiohttp's `ClientResponse` that aiobotocore uses."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.url, self.status = response.url, response.status
        self.raw_headers = response.raw_headers

    async def read(self) -> bytes:
        """Return the body, which is never decompressed. Its parts have at most 256 KiB."""
        parts: list[bytes] = []
        left = LARGEST
        try:
            async for part in self._response.content.iter_any():
                parts.append(part)
                left -= len(part)
                if left < 0:
                    break
        finally:
            self._response.close()  # a connection whose response was read is in the pool by now
        if left < 0:
            raise RejectedResponse(f"the response has more than {LARGEST:,} bytes")
        return b"".join(parts)
