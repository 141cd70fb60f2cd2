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

from typing import TYPE_CHECKING

from aiohttp import web

from s1crets.integrations._serving import Preload, preloads, serving
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from s1crets.integrations._serving import Provider

__all__ = ["PARAMETER_STORE", "Preload", "SECRETS_MANAGER", "secrets"]  # noqa: RUF022  # as sorted() does

PARAMETER_STORE = web.AppKey("PARAMETER_STORE", AsyncParameterStore)
"""Where an app has its Parameter Store: `request.app[PARAMETER_STORE]`; an app that was added to
another one: `request.config_dict[PARAMETER_STORE]`."""
SECRETS_MANAGER = web.AppKey("SECRETS_MANAGER", AsyncSecretsManager)
"""Where an app has its Secrets Manager."""


def secrets(
    *providers: Provider | str | Preload,
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a context for `app.cleanup_ctx`: providers are there with the app, and closed.

    Before the app serves, what a `Preload` names is read. What can't be read later is up to the
    handler, or aiohttp: an error that nobody catches is a 500 without details.

    Args:
        providers: async providers, names of the process's own (`'aws.ps'`, `'aws.sm'`), or a
            `Preload` of one. Of two of a kind the first gets the key; kinds that are not AWS's have
            none. What is not read before opens on first use: without a `Preload` nothing is asked.

    Raises:
        TypeError: one is no provider.
        ValueError: there is no provider of that name.
        BatchError: at startup, so the server exits: something can't be read, and the message says
            all that can't be, and why.
    """
    wanted = preloads(providers)

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        async with serving(wanted) as found:
            for one in found.values():
                if isinstance(one, AsyncParameterStore):
                    app[PARAMETER_STORE] = one
                elif isinstance(one, AsyncSecretsManager):
                    app[SECRETS_MANAGER] = one
            yield

    return lifetime
