"""What an answer must be to be believed: a 200 may come from a proxy, or be cut short."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def malformed() -> Exception:
    """Return botocore's own error for an answer that is not what the API promises."""
    from botocore.parsers import ResponseParserError

    error: Exception = ResponseParserError("the answer is not what the API promises")
    return error


def listed(page: Any, field: str) -> list[dict[str, Any]]:
    """Return the structures that a page of a listing lists: none of them is an empty list.

    Raises:
        ResponseParserError: it is no list of structures.
    """
    found = page.get(field)
    if isinstance(found, list) and all(isinstance(one, dict) for one in found):
        return found
    raise malformed()


def named(page: Any, field: str) -> list[dict[str, Any]]:
    """Return the structures that a page of a listing lists, each with a name.

    Raises:
        ResponseParserError: it is no list of such.
    """
    found = listed(page, field)
    if all(isinstance(one.get("Name"), str) for one in found):
        return found
    raise malformed()


async def tokens_differ(pages: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """Pass on the pages of a listing until a token comes again, which would never end.

    aiobotocore's paginator sees a token that comes twice in a row, not one that comes back later.
    """
    from botocore.exceptions import PaginationError

    seen = set()
    async for page in pages:
        yield page
        token = page.get("NextToken")
        if not isinstance(token, (str, NoneType)):
            raise malformed()
        if token is not None and token in seen:
            raise PaginationError(message="the service sent a page token that it had sent before")
        seen.add(token)
