"""The clients behind a provider on AWS: the only place in which tests reach for them."""

from __future__ import annotations

from typing import Any


def clients_of(provider: Any) -> Any:
    """Return the `Clients` of a provider."""
    return provider._store.clients


async def opened(provider: Any) -> Any:
    """Open the client of the running loop, and return botocore's object."""
    return await clients_of(provider)._per_loop.get(clients_of(provider)._request("GetParameter", "/a"))
