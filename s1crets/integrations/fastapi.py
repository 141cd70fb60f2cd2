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
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from s1crets._keypath import keys_of
from s1crets.cache.outages import passes
from s1crets.errors import ConfigurationError, S1cretsError
from s1crets.integrations._serving import Preload, check_provider, named, preloads, serving
from s1crets.providers.base import check_name

try:
    from fastapi import HTTPException
    from fastapi.params import Depends
    from starlette.requests import HTTPConnection
    from starlette.routing import Mount
except ImportError as error:
    message = "s1crets.integrations.fastapi needs FastAPI: pip install 's1crets[fastapi]'"
    raise ConfigurationError(message) from error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from s1crets._keypath import KeyPath
    from s1crets.integrations._serving import Provider

__all__ = ["Preload", "Secret", "lifespan"]

_log = logging.getLogger("s1crets")
# By app, what its lifespan has. Not as state of the lifespan, which not every server knows (Mangum
# does not); and a look into the app's own takes three times as long as the secret.
_providers: WeakKeyDictionary[Any, dict[str, Provider]] = WeakKeyDictionary()
_FAILED = HTTPStatus.INTERNAL_SERVER_ERROR
# Older FastAPIs can't look up what the annotations of a callable object mean.
_SIGNATURE = inspect.Signature(
    [inspect.Parameter("connection", inspect.Parameter.KEYWORD_ONLY, annotation=HTTPConnection)]
)


def lifespan(
    *providers: Provider | str | Preload,
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Return a lifespan for `FastAPI(lifespan=…)`: providers are there with the app, and closed.

    Before the app serves, what a `Preload` names is read. A `Secret` finds the providers, also in
    apps that are mounted on this one. Within a lifespan of one's own:
    `async with lifespan(ps)(app): yield`.

    Args:
        providers: async providers, names of the process's own (`'aws.ps'`, `'aws.sm'`), or a
            `Preload` of one. Of two of a kind the first is what a `Secret` takes by default.
            What is not read before opens on first use: without a `Preload` nothing is asked of AWS.

    Raises:
        TypeError: one is no provider.
        ValueError: there is no provider of that name.
        BatchError: by the lifespan, so the server exits: something can't be read, and the message
            says all that can't be, and why.
    """
    wanted = preloads(providers)

    @asynccontextmanager
    async def lifetime(app: Any) -> AsyncIterator[None]:
        async with serving(wanted) as found:
            for one in _with_mounted(app):
                _providers[one] = {**_providers.get(one, {}), **found}
            yield

    return lifetime


class Secret(Depends):
    """A secret as a dependency: `Annotated[dict, Secret(…)]`, or `Depends(Secret(…))`.

    It is read where it is needed, from the provider's cache if that has it. When it can't be, the
    client gets a 503 (AWS is down, throttles or is slow) or a 500 (all else), without a word of the
    secret; the log of `s1crets` says at ERROR what went wrong, and the `HTTPException` has the
    error as its `__cause__`. As with every dependency, a request reads equal ones once, and nothing
    checks that the value is of the annotated type.

    Secrets of the same arguments are equal, so a test may replace one:
    `app.dependency_overrides[Secret("/prod/db")] = lambda: {"password": "fake"}`.

    Args:
        path: a secret's name, as `get` takes it.
        keypath: a key, or a sequence of them, to look up in a value that is JSON.
        provider: the name of a kind, `'aws.ps'` or `'aws.sm'`, which means the one that the app's
            lifespan has, else the process's own; or an async provider.

    Raises:
        InvalidNameError: that can't be a name.
        TypeError: an argument is of the wrong type.
        ValueError: there is no provider of that name.
    """

    def __init__(
        self, path: str, *, keypath: KeyPath = (), provider: Provider | str = "aws.ps"
    ) -> None:
        check_name(path)
        check_provider(provider)
        self._path = path
        self._keypath = tuple(keys_of(keypath))
        self._provider = provider
        self._hash = hash((path, self._keypath))
        self.__signature__ = _SIGNATURE
        super().__init__(self)

    async def __call__(self, *, connection: HTTPConnection) -> Any:
        """Return the value: FastAPI calls it, with the request or the WebSocket.

        Raises:
            HTTPException: it can't be read.
        """
        try:
            return await self._of(connection).get(self._path, keypath=self._keypath)
        except S1cretsError as error:
            status = HTTPStatus.SERVICE_UNAVAILABLE if passes(error) else _FAILED
            _log.error("answered with %d: %s", status, error)
            raise HTTPException(status.value) from error

    def _of(self, connection: HTTPConnection) -> Provider:
        if isinstance(self._provider, str):
            found = _providers.get(connection.scope["app"], {})
            return found.get(self._provider) or named(self._provider)
        return self._provider

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self._path, self._keypath, self._provider) == (
            other._path,
            other._keypath,
            other._provider,
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        keypath = f", keypath={self._keypath!r}" if self._keypath else ""
        return f"Secret({self._path!r}{keypath}, provider={self._provider!r})"


def _with_mounted(app: Any) -> Iterator[Any]:
    """Yield an app, and those that are mounted on it: a request knows its own one only."""
    yield app
    for route in app.routes:
        if isinstance(route, Mount) and hasattr(route.app, "routes"):
            yield from _with_mounted(route.app)
