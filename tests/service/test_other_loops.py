"""Event loops other than a running asyncio loop: trio, and loops that were stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Wire, parameter

from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Provider = AsyncParameterStore | AsyncSecretsManager


async def watched(provider: Provider) -> Any:
    return await anext(aiter(provider.watch("/a", interval=1)))


async def refreshed(provider: Provider) -> Any:
    @provider.refresh_on(OSError, path="/a")
    async def use(secret: str) -> str:
        return secret

    return await use()


VERBS: dict[str, Callable[[Provider], Coroutine[Any, Any, Any]]] = {
    "get": lambda provider: provider.get("/a"),
    "get past the cache": lambda provider: provider.get("/a", cached=False),
    "get_many": lambda provider: provider.get_many(["/a"]),
    "get_by_path": lambda provider: provider.get_by_path("/a"),
    "path_exists": lambda provider: provider.path_exists("/a"),
    "create": lambda provider: provider.create("/a", "fake"),
    "put": lambda provider: provider.put("/a", "fake"),
    "update": lambda provider: provider.update("/a", "fake"),
    "delete": lambda provider: provider.delete("/a"),
    "describe": lambda provider: provider.describe("/a"),
    "invalidate": lambda provider: provider.invalidate("/a"),
    "open": lambda provider: provider.__aenter__(),
    "close": lambda provider: provider.aclose(),
    "watch": watched,
    "refresh_on": refreshed,
}


@pytest.mark.parametrize("kind", [AsyncParameterStore, AsyncSecretsManager])
def test_without_asyncio_every_call_fails_at_once(scripted: Wire, kind: type[Provider]) -> None:
    """A hit too, as on trio, where a coroutine is run without a running asyncio loop."""
    scripted.answers |= {
        "GetParameter": parameter("/a", "fake"),
        "GetSecretValue": {"Name": "/a", "SecretString": "fake"},
    }
    cold, warm = kind(), kind()
    asyncio.run(warm.get("/a"))
    sent = len(scripted.asked)
    for provider in (cold, warm):
        for verb in VERBS.values():
            call = verb(provider)

            with pytest.raises(RuntimeError, match=f"{kind.__name__} requires asyncio.* trio"):
                call.send(None)
    assert len(scripted.asked) == sent
