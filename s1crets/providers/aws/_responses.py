"""Checks of responses: a 200 may come from a proxy, or be truncated."""

from __future__ import annotations

from datetime import datetime
from types import NoneType
from typing import Any


def malformed() -> Exception:
    """Return botocore's own error for a response that violates the API."""
    from botocore.parsers import ResponseParserError

    error: Exception = ResponseParserError("the response does not match the API")
    return error


def listed(page: Any, field: str, *, named: bool = False) -> list[dict[str, Any]]:
    """Return the list of structures in a response.

    Args:
        page: the response.
        field: the name of the list.
        named: whether each structure must have a name.

    Raises:
        ResponseParserError: not a list of such structures.
    """
    found = page.get(field)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise malformed()
    if named and not all(isinstance(item.get("Name"), str) for item in found):
        raise malformed()
    return found


def check_token(page: Any, seen: set[str]) -> None:
    """Reject a page token that was sent before, since the pages would never end.

    aiobotocore notices a token that is repeated immediately, but not one that comes back later.

    Args:
        page: the response.
        seen: the tokens so far; the page's token is added.

    Raises:
        PaginationError: the token is repeated.
        ResponseParserError: it is not text.
    """
    from botocore.exceptions import PaginationError

    token = page.get("NextToken")
    if not isinstance(token, (str, NoneType)):
        raise malformed()
    if token in seen:
        raise PaginationError(message="the service repeated a page token")
    if token is not None:
        seen.add(token)


def moment(value: object) -> datetime | None:
    """Return a timestamp of a response, if it is one."""
    return value if isinstance(value, datetime) else None
