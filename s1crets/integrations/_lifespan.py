"""Provider lifetime for web frameworks: open and preload at startup, close at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from s1crets.errors import BatchError, S1cretsError, SecretNotFoundError
from s1crets.providers import provider as process_wide
from s1crets.providers import provider_class
from s1crets.providers.async_provider import AsyncProvider
from s1crets.providers.store import check_name, is_under


@dataclass(frozen=True, slots=True)
class Preload:
    """A provider, and the secrets to read from it before the app serves requests.

    If some can't be read, the app does not start, and a single error lists them all: a
    `BatchError`, which is also an `AccessDeniedError`, say, if all its errors are. The values are
    kept in the provider's cache, unless its `cache_ttl` is 0.

    Attributes:
        provider: an async provider, or the name of a process-wide provider, such as `'aws.ps'`.
        names: secrets, which are read in batches as by `get_many`.
        paths: paths, as for `get_by_path`; a path without secrets is an error.

    Raises:
        TypeError: `provider` is not an async provider; `names` or `paths` is not a list of names.
        ValueError: there is no provider of that name, or a name is invalid.
    """

    provider: AsyncProvider | str
    names: Collection[str] = ()
    paths: Collection[str] = ()

    def __post_init__(self) -> None:
        check_provider(self.provider)
        for names in (self.names, self.paths):
            if isinstance(names, str) or not isinstance(names, Collection):
                raise TypeError("names and paths of a Preload must be lists of names")
            for name in names:
                check_name(name)


def check_provider(provider: object) -> None:
    """Refuse an unknown name (`ValueError`), and anything but async providers (`TypeError`)."""
    if isinstance(provider, str):
        provider_class(provider)
    elif not isinstance(provider, AsyncProvider):
        wanted = "an async provider, the .awaited of a sync provider, or a name such as 'aws.ps'"
        raise TypeError(f"a provider must be {wanted}, not {type(provider).__name__}")


def preloads(providers: Sequence[AsyncProvider | str | Preload]) -> list[Preload]:
    """Return a `Preload` for every provider, which is checked."""
    return [item if isinstance(item, Preload) else Preload(item) for item in providers]


def resolve(provider: AsyncProvider | str) -> AsyncProvider:
    """Return an instance as it is, and the process-wide provider of a name."""
    return provider if isinstance(provider, AsyncProvider) else process_wide(provider).awaited


@dataclass(frozen=True, slots=True)
class Opened:
    """The providers of an app: the first of each kind, and the first to preload a name or path."""

    by_kind: dict[str, AsyncProvider] = field(default_factory=dict)
    by_name: dict[str, AsyncProvider] = field(default_factory=dict)
    by_path: dict[str, AsyncProvider] = field(default_factory=dict)

    def __or__(self, newer: Opened) -> Opened:
        """Return the providers of both, of which the newer come first."""
        return Opened(
            self.by_kind | newer.by_kind,
            self.by_name | newer.by_name,
            self.by_path | newer.by_path,
        )

    def preloaded(self, name: str) -> AsyncProvider | None:
        """Return the provider that preloaded a secret, if any."""
        found = self.by_name.get(name)
        if found is None:
            paths = (one for path, one in self.by_path.items() if is_under(name, path))
            found = next(paths, None)
        return found


@asynccontextmanager
async def opened(wanted: Sequence[Preload]) -> AsyncIterator[Opened]:
    """Preload, yield the providers, and close them at the end."""
    found = Opened()
    reads: list[tuple[AsyncProvider, Collection[str] | str]] = []  # names, or a path
    async with AsyncExitStack() as stack:
        for preload in wanted:
            provider = resolve(preload.provider)
            await stack.enter_async_context(provider)
            found.by_kind.setdefault(_kind(preload.provider), provider)
            for name in preload.names:
                found.by_name.setdefault(name, provider)
            for path in preload.paths:
                found.by_path.setdefault(path, provider)
            reads += [(provider, item) for item in (preload.names, *preload.paths) if item]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_errors(*read)) for read in reads]
        if errors := [item for task in tasks for item in task.result().items()]:
            reasons = dict.fromkeys(f"\n- {error}" for _, error in errors)
            message = "the app is not started because some of its secrets can't be read:"
            raise _of_one_kind(message + "".join(reasons), dict(errors))
        yield found


def _of_one_kind(message: str, errors: Mapping[str, S1cretsError]) -> BatchError:
    """Return a `BatchError` that is also of the class that all its errors have in common."""
    kinds = {type(error) for error in errors.values()}
    bases: tuple[type, ...] = (BatchError, *kinds) if len(kinds) == 1 else (BatchError,)
    kind = type("BatchError", bases, {"__module__": BatchError.__module__})
    error: BatchError = kind(message, {}, errors)
    return error


def _kind(provider: AsyncProvider | str) -> str:
    if isinstance(provider, str):
        return provider
    return provider.registered_as or type(provider).__name__


async def _errors(
    provider: AsyncProvider, wanted: Collection[str] | str
) -> Mapping[str, S1cretsError]:
    """Read names or a path; return what went wrong, by name."""
    try:
        if not isinstance(wanted, str):
            values = await provider.get_many(wanted, errors="return")
            return {name: one for name, one in values.items() if isinstance(one, S1cretsError)}
        if await provider.get_by_path(wanted):
            return {}
    except BatchError as error:
        return error.errors
    except S1cretsError as error:
        return {str(wanted): error.with_traceback(None)}
    problem = "check the path and the region"
    with suppress(S1cretsError):
        if await provider.path_exists(wanted):
            problem = "it is the name of a secret, not a path: put it in names"
    message = f"{provider.service}: there is nothing under {wanted!r}; {problem}"
    return {wanted: SecretNotFoundError(message)}
