"""The clients behind a provider on AWS, and credentials: the only place to reach for them."""

from __future__ import annotations

from typing import Any

from s1crets.providers.aws import _credentials


def clients_of(provider: Any) -> Any:
    """Return the `Clients` of a provider."""
    return provider._store.clients


async def opened(provider: Any) -> Any:
    """Open the client of the running loop, and return botocore's object."""
    clients = clients_of(provider)
    return await clients._per_loop.get(clients._request("GetParameter", "/a"))


def forget_credentials() -> None:
    """Make providers resolve their credentials again, as in another process."""
    _credentials._shared.clear()


def credentials_of(provider: Any) -> Any:
    """Return the credentials that a provider used last."""
    return clients_of(provider).credentials.latest
