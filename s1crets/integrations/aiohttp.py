"""aiohttp: providers that live as long as the app.

```python
ps = AsyncParameterStore()
app = web.Application()
app.cleanup_ctx.append(secrets(Preload(ps, names=["/prod/db"])))

async def index(request: web.Request) -> web.Response:
    db = await request.app[PARAMETER_STORE].get("/prod/db")
    ...
```
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from s1crets.integrations._lifespan import Preload, opened, preloads
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

if TYPE_CHECKING:
    from s1crets.providers.async_provider import AsyncProvider

__all__ = ["PARAMETER_STORE", "Preload", "SECRETS_MANAGER", "secrets"]  # noqa: RUF022  # as sorted() does

PARAMETER_STORE = web.AppKey("PARAMETER_STORE", AsyncParameterStore)
"""Key of an app's Parameter Store: `request.app[PARAMETER_STORE]`, or in a sub-app
`request.config_dict[PARAMETER_STORE]`."""
SECRETS_MANAGER = web.AppKey("SECRETS_MANAGER", AsyncSecretsManager)
"""Key of an app's Secrets Manager."""


def secrets(
    *providers: AsyncProvider | str | Preload,
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a context for `app.cleanup_ctx` that adds providers to the app, and closes them.

    Preloads are read before the app serves requests. Errors of later reads are left to the handler;
    aiohttp answers an uncaught error with a 500 without details.

    Args:
        providers: async providers, names of process-wide providers (`'aws.ps'`, `'aws.sm'`), or a
            `Preload` of either. If there are several of a kind, the key is that of the first.
            Providers of other services have no key.

    Raises:
        TypeError: an argument is not a provider.
        ValueError: there is no provider of that name.
        BatchError: at startup, so the server exits: lists everything that can't be read, and why.
    """
    wanted = preloads(providers)

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        async with opened(wanted) as found:
            for provider in found.by_kind.values():
                if isinstance(provider, AsyncParameterStore):
                    app[PARAMETER_STORE] = provider
                elif isinstance(provider, AsyncSecretsManager):
                    app[SECRETS_MANAGER] = provider
            yield

    return lifetime
