"""FastAPI: providers that live as long as the app, and secrets as dependencies.

```python
ps = AsyncParameterStore()
app = FastAPI(lifespan=lifespan(Preload(ps, names=["/prod/db"])))

@app.get("/")
async def index(db: Annotated[dict, Secret("/prod/db")]) -> str: ...
```
Needs the extra `fastapi`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from s1crets._keypath import KeyPath, keys_of
from s1crets.cache.freshness import is_outage
from s1crets.errors import ConfigurationError, S1cretsError
from s1crets.integrations._lifespan import (
    Opened,
    Preload,
    check_provider,
    opened,
    preloads,
    resolve,
)
from s1crets.providers.store import check_name

try:
    from fastapi import HTTPException
    from fastapi.params import Depends
    from starlette.requests import HTTPConnection
    from starlette.routing import Mount
except ImportError as error:
    message = "s1crets.integrations.fastapi needs FastAPI: pip install 's1crets[fastapi]'"
    raise ConfigurationError(message) from error

if TYPE_CHECKING:
    from s1crets.providers.async_provider import AsyncProvider

__all__ = ["Preload", "Secret", "lifespan"]

_log = logging.getLogger("s1crets")
_DEFAULT = "aws.ps"
# The providers of each app's lifespan. Some servers (Mangum) have no lifespan state, and a look-up
# in the app's state takes three times as long as a hit.
_providers: WeakKeyDictionary[Any, Opened] = WeakKeyDictionary()
_NONE = Opened()
_NOTE = "; no provider of the app preloads {!r}, so the default was used: provider={!r}"
# Older versions of FastAPI can't resolve the annotations of a callable object.
_SIGNATURE = inspect.Signature(
    [inspect.Parameter("connection", inspect.Parameter.KEYWORD_ONLY, annotation=HTTPConnection)]
)


def lifespan(
    *providers: AsyncProvider | str | Preload,
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Return a lifespan for `FastAPI(lifespan=…)` that opens providers, and closes them.

    Preloads are read before the app serves requests. A `Secret` finds the providers, also in apps
    mounted on this app. Inside your own lifespan: `async with lifespan(ps)(app): yield`.

    Args:
        providers: async providers, names of process-wide providers (`'aws.ps'`, `'aws.sm'`), or a
            `Preload` of either. A `Secret` uses the first that preloads it, and a name of a kind
            stands for the first of that kind.

    Raises:
        TypeError: an argument is not a provider.
        ValueError: there is no provider of that name.
        BatchError: at startup, so the server exits: lists everything that can't be read, and why.
    """
    wanted = preloads(providers)

    @asynccontextmanager
    async def lifetime(app: Any) -> AsyncIterator[None]:
        async with opened(wanted) as found:
            for each in _with_mounted(app):
                _providers[each] = _providers.get(each, _NONE) | found
            yield

    return lifetime


class Secret(Depends):
    """A secret as a dependency: `Annotated[dict, Secret(…)]`, or `Depends(Secret(…))`.

    It is read for each request, from the provider's cache if possible. If it can't be read, the
    client gets a 503 (AWS is down, throttles or is slow) or a 500 (any other error) without
    details; the logger `s1crets` reports the error at ERROR, and the `HTTPException` has it as its
    `__cause__`. As with every dependency, a request reads equal secrets once, and nothing checks
    that the value is of the annotated type.

    Secrets with the same arguments are equal, so a test can replace them:
    `app.dependency_overrides[Secret("/prod/db")] = lambda: {"password": "fake"}`.

    Args:
        path: a secret's name, as for `get`.
        keypath: a key, or a sequence of keys, to look up in a JSON value.
        provider: an async provider, or a name (`'aws.ps'`): the provider of that name in the app's
            lifespan, or else the process-wide provider. By default the provider that preloads the
            secret, alone or with a path; if none does, `'aws.ps'`.

    Raises:
        InvalidNameError: `path` is not a valid name.
        TypeError: an argument is of the wrong type.
        ValueError: there is no provider of that name.
    """

    def __init__(
        self, path: str, *, keypath: KeyPath = (), provider: AsyncProvider | str | None = None
    ) -> None:
        check_name(path)
        if provider is not None:
            check_provider(provider)
        self._arguments = (path, tuple(keys_of(keypath)), provider)
        self.__signature__ = _SIGNATURE
        super().__init__(self)

    async def __call__(self, *, connection: HTTPConnection) -> Any:
        """Return the value. FastAPI calls this with the request or the WebSocket."""
        path, keypath, provider = self._arguments
        note = ""
        try:
            if provider is None or isinstance(provider, str):
                providers = _providers.get(connection.scope["app"], _NONE)
                if provider is None and (provider := providers.preloaded(path)) is None:
                    provider, note = _DEFAULT, _NOTE.format(path, _DEFAULT)
                if isinstance(provider, str):
                    provider = providers.by_kind.get(provider) or resolve(provider)
            return await provider.get(path, keypath=keypath)
        except S1cretsError as error:
            status = 503 if is_outage(error) else 500
            _log.error("responded with %d: %s%s", status, error, note)
            if note:
                error.add_note(note.removeprefix("; "))
            raise HTTPException(status) from error

    def __eq__(self, other: object) -> bool:
        return self._arguments == other._arguments if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._arguments[:2])  # a provider need not be hashable

    def __repr__(self) -> str:
        path, keypath, provider = self._arguments
        keys = f", keypath={keypath!r}" if keypath else ""
        by = "" if provider is None else f", provider={provider!r}"
        return f"Secret({path!r}{keys}{by})"


def _with_mounted(app: Any) -> Iterator[Any]:
    """Yield an app and all apps mounted on it: a request only knows the innermost of them."""
    yield app
    for route in app.routes:
        if isinstance(route, Mount) and hasattr(route.app, "routes"):
            yield from _with_mounted(route.app)
