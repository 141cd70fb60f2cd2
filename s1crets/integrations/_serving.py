"""What the web frameworks share: providers that live as long as an app, and what it reads first."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

from s1crets.errors import BatchError, S1cretsError, SecretNotFoundError
from s1crets.providers import provider as _of_process
from s1crets.providers import provider_class
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager
from s1crets.providers.base import check_name
from s1crets.providers.files import AsyncFiles
from s1crets.providers.simple import AsyncSimpleProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    _Read: TypeAlias = tuple[Callable[[Any], Awaitable[dict[str, S1cretsError]]], Any]

Provider: TypeAlias = AsyncParameterStore | AsyncSecretsManager | AsyncSimpleProvider
_KINDS: dict[str, type[Provider]] = {
    "aws.ps": AsyncParameterStore,
    "aws.sm": AsyncSecretsManager,
    "files": AsyncFiles,
}


@dataclass(frozen=True, slots=True)
class Preload:
    """A provider, and what is read from it before the app serves.

    An app whose secrets can't all be read does not start: one error names them all. What was read
    is in the provider's cache, unless its `cache_ttl` is 0.

    Attributes:
        provider: an async provider, or the name of the process's own, such as `'aws.ps'`.
        names: secrets, as `get_many` takes them, and read in the same batches.
        paths: as `get_by_path` takes them; one that has nothing below it is an error too.

    Raises:
        TypeError: that is no async provider, or `names` or `paths` is no list of names.
        ValueError: there is no provider of that name, or that can't be a name.
    """

    provider: Provider | str
    names: Collection[str] = ()
    paths: Collection[str] = ()

    def __post_init__(self) -> None:
        check_provider(self.provider)
        for what in (self.names, self.paths):
            if isinstance(what, str) or not isinstance(what, Collection):
                raise TypeError("names and paths of a Preload are lists of names")
            for name in what:
                check_name(name)


def check_provider(provider: object) -> None:
    """Refuse what is neither an async provider nor the name of one.

    Raises:
        TypeError: it is something else; a blocking provider has an async one: `.awaited`.
        ValueError: there is none of that name.
    """
    if isinstance(provider, str):
        provider_class(provider)
    elif not isinstance(provider, (AsyncParameterStore, AsyncSecretsManager, AsyncSimpleProvider)):
        message = (
            f"a provider can't be {type(provider).__name__}: it is an async one, the .awaited of a"
            " blocking one, or the name of the process's own"
        )
        raise TypeError(message)


def preloads(providers: Sequence[Provider | str | Preload]) -> list[Preload]:
    """Return each provider with what is to be read from it.

    Raises:
        TypeError: one is none.
        ValueError: there is none of that name.
    """
    return [one if isinstance(one, Preload) else Preload(one) for one in providers]


def named(provider: Provider | str) -> Provider:
    """Return the process's own provider of a name; an instance is itself."""
    if isinstance(provider, str):
        found: Provider = _of_process(provider).awaited
        return found
    return provider


@asynccontextmanager
async def serving(wanted: Sequence[Preload]) -> AsyncIterator[dict[str, Provider]]:
    """Read what is wanted, yield the providers by the names of their kinds, close them at the end.

    Of two of a kind the first one has the name.

    Raises:
        BatchError: something can't be read; its message says all that can't be, and why.
    """
    found: dict[str, Provider] = {}
    reads: list[_Read] = []
    async with AsyncExitStack() as stack:
        for one in wanted:
            provider = named(one.provider)
            await stack.enter_async_context(provider)
            found.setdefault(_kind(one.provider), provider)
            reads += _reads(provider, one)
        await _read_all(reads)
        yield found


def _kind(provider: Provider | str) -> str:
    if isinstance(provider, str):
        return provider
    known = (name for name, kind in _KINDS.items() if isinstance(provider, kind))
    return next(known, type(provider).__name__)  # of another package, which may have no name


def _reads(provider: Provider, preload: Preload) -> Iterator[_Read]:
    """Yield what there is to read, each a function and what it is told."""
    if preload.names:
        yield partial(_names, provider), preload.names
    for path in preload.paths:
        yield partial(_below, provider), path


async def _read_all(reads: Sequence[_Read]) -> None:
    """Read all at the same time."""
    failed: list[Mapping[str, S1cretsError]] = [{} for _ in reads]

    async def run(place: int) -> None:
        read, what = reads[place]
        try:
            failed[place] = await read(what)
        except BatchError as error:
            failed[place] = error.errors
        except S1cretsError as error:
            failed[place] = {str(what): error.with_traceback(None)}

    async with anyio.create_task_group() as group:
        for place in range(len(reads)):
            group.start_soon(run, place)
    errors = {name: error for one in failed for name, error in one.items()}
    if errors:
        told = dict.fromkeys(f"\n- {error}" for one in failed for error in one.values())
        message = f"the app is not started, as not all of its secrets can be read:{''.join(told)}"
        raise BatchError(message, {}, errors)


async def _names(provider: Provider, names: Collection[str]) -> dict[str, S1cretsError]:
    found = await provider.get_many(names, errors="return")
    return {name: one for name, one in found.items() if isinstance(one, S1cretsError)}


async def _below(provider: Provider, path: str) -> dict[str, S1cretsError]:
    if await provider.get_by_path(path):
        return {}
    message = f"{provider.service}: there is nothing below {path!r}; check it, and the region"
    raise SecretNotFoundError(message)
