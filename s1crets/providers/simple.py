"""What another package subclasses to add a provider.

It says how one secret is fetched, and which there are; the verbs, caches, batches, deadlines,
rotation and the blocking flavour come from here.

```python
from s1crets.providers.simple import AsyncSimpleProvider, SimpleProvider


class AsyncVault(AsyncSimpleProvider):
    service = "our vault"

    async def fetch(self, name):
        return await ask_for(name)  # text or bytes; None: there is none of that name

    async def names(self, path):
        return await ask_for_names()


class Vault(SimpleProvider[AsyncVault]):
    async_class = AsyncVault
```
Its package names the blocking class as an entry point, and everybody who installs it can say
`s1crets.get("our.vault", "name")`:

```toml
[project.entry-points."s1crets.providers"]
"our.vault" = "our_vault:Vault"
```
`s1crets.testing.contract.ProviderContract` has the tests that every provider passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from s1crets._keypath import keys_of
from s1crets._redaction import Redacted, redact
from s1crets._runtime import run_in_thread as pass_to_thread
from s1crets._sentinels import MISSING, UNSET
from s1crets._sync import Facade, blocking, direct, in_background
from s1crets.errors import SecretNotFoundError
from s1crets.providers.batch import distinct
from s1crets.providers.entries import Entry
from s1crets.providers.hooks import Fetched, Hooks
from s1crets.providers.options import SimpleOptions, boxed
from s1crets.providers.simple_writing import SimpleWriting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s1crets._keypath import KeyPath

__all__ = [
    "AsyncSimpleProvider",
    "Entry",
    "Fetched",
    "Hooks",
    "Redacted",
    "SimpleOptions",
    "SimpleProvider",
    "in_thread",
]

Concealed = Redacted  # the name until 1.0

_R = TypeVar("_R")


class AsyncSimpleProvider(SimpleWriting):
    """A provider on a store that says how one secret is fetched, and which there are.

    See `Hooks` for what a subclass may say.

    Args:
        options: `cache_args` and `deadline`: see `SimpleOptions`.

    Raises:
        TypeError: an option is not known or of the wrong type.
        ValueError: an option is out of range; or what is cached outside of the process can't be
            told from what others cache there.
    """

    async def get(
        self, path: str, *, keypath: KeyPath = (), default: Any = UNSET, cached: bool = True
    ) -> Any:
        """Return a secret's value.

        Args:
            path: its name.
            keypath: a key, or a sequence of them, to look up in a value that is JSON.
            default: what to return when there is no such secret or key.
            cached: whether a cache may answer.

        Returns:
            A dict or list if the text is a JSON object or array, else the text; bytes for a
            binary secret. It is yours.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret or key.
            S1cretsError: everything else that goes wrong, as the class of its own.
        """
        found = self.get_local(path, keypath=keypath, default=default, cached=cached)
        if found is not MISSING:
            return found
        keys_of(keypath)
        key = self._key_of(path)
        try:
            held = await self._read(key, cached=cached)
        except SecretNotFoundError:
            if default is UNSET:
                raise
            return default
        return self._answer(held, path, keypath, default)

    def get_local(
        self, path: str, *, keypath: KeyPath = (), default: Any = UNSET, cached: bool = True
    ) -> Any:
        """Return what `get` would if a local cache has it, else `MISSING`; waits for nothing."""
        return self._local_name(path, keypath, default) if cached else MISSING

    def peek(self, path: str, *, keypath: KeyPath = (), default: Any = None) -> Any:
        """Return what a local cache holds now, or `default`. Asks for nothing, never waits."""
        held = self._cache.peek(self._key_of(path))
        return default if held is None else self._answer(held, path, keypath, default)

    async def get_many(
        self,
        paths: Iterable[str],
        *,
        cached: bool = True,
        errors: Literal["raise", "return"] = "raise",
    ) -> dict[str, Any]:
        """Return the values of several secrets, in the order asked for.

        Args:
            paths: names.
            cached: whether a cache may answer.
            errors: `"return"` puts errors in the values' places.

        Raises:
            BatchError: some could not be read; it has what was read, and an error a name.
        """
        names = distinct(paths, errors)
        batch = await self._read_many(names, self._key_of, cached=cached)
        return batch.answer(names, errors, self.service)

    async def get_by_path(self, path: str, *, cached: bool = True) -> dict[str, Any]:
        """Return all secrets whose names are `path` or begin with it and a slash.

        Args:
            path: what names begin with, up to a `/`; `/` alone means all.
            cached: whether a cache may answer.

        Returns:
            Names and values; nothing below the path is an empty dict.

        Raises:
            BatchError: some could not be read; it has what was read, and an error a name.
            S1cretsError: anything else that goes wrong.
        """
        found = self.get_by_path_local(path, cached=cached)
        if found is not MISSING:
            return dict(found)
        held = await self._read(self._path_key(path, "path"), cached=cached)
        return dict(held.value())

    def get_by_path_local(self, path: str, *, cached: bool = True) -> Any:
        """Return what `get_by_path` would if a local cache has it, else `MISSING`."""
        return self._local(self._path_key(path, "path"), (), UNSET, cached=cached)

    async def path_exists(self, path: str) -> bool:
        """Say whether there is a secret of that name, or one below. A yes is cached, a no is not.

        Raises:
            S1cretsError: it could not be told.
        """
        key = self._path_key(path, "exists")
        if self._local(key, (), UNSET, cached=True) is not MISSING:
            return True
        try:
            await self._read(key, cached=True)
        except SecretNotFoundError:
            return False
        return True


_S = TypeVar("_S", bound=AsyncSimpleProvider)


class SimpleProvider(Facade[_S]):
    """The same for callers that are not async; this class is what an entry point names.

    Args:
        options: those of `async_class`.

    Attributes:
        async_class: the class that does the work.
    """

    async_class: type[_S]

    def __init__(self, **options: Any) -> None:
        options = boxed(options)
        self._provider = in_background(self.async_class(**options))

    get = blocking(AsyncSimpleProvider.get, AsyncSimpleProvider.get_local)
    get_many = blocking(AsyncSimpleProvider.get_many)
    get_by_path = blocking(AsyncSimpleProvider.get_by_path, AsyncSimpleProvider.get_by_path_local)
    path_exists = blocking(AsyncSimpleProvider.path_exists)
    create = blocking(AsyncSimpleProvider.create)
    put = blocking(AsyncSimpleProvider.put)
    update = blocking(AsyncSimpleProvider.update)
    delete = blocking(AsyncSimpleProvider.delete)
    describe = blocking(AsyncSimpleProvider.describe)
    invalidate = blocking(AsyncSimpleProvider.invalidate)
    peek = direct(AsyncSimpleProvider.peek)


async def in_thread(function: Callable[..., _R], *args: Any) -> _R:
    """Return what `function` returns, which may block. Who gives up does not wait for it.

    The result passes between the threads unseen, as asyncio's debug mode logs what does.
    """
    found: _R = (await pass_to_thread(_concealed, function, args)).reveal()
    return found


def _concealed(function: Callable[..., Any], args: tuple[Any, ...]) -> Redacted:
    return redact(function(*args))
