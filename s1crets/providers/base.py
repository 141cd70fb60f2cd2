"""The verbs that every provider has, reading through the cache; a provider says how to fetch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from s1crets._values import MISSING, UNSET, keys_of
from s1crets.errors import (
    BatchError,
    DeadlineExceededError,
    InvalidNameError,
    S1cretsError,
    SecretNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from s1crets._values import Held, KeyPath
    from s1crets.cache import SecretCache

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_NAME = 2048


@dataclass(frozen=True)
class Stats:
    """What a provider has done since it was made.

    Attributes:
        hits: calls answered from the cache.
        misses: calls that were not.
        stale: calls answered with an expired value, in an outage.
        requests: requests sent to the service, by operation.
        throttled: requests that the service refused as too many.
        retried: requests that were repetitions.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    requests: Mapping[str, int] = field(default_factory=dict)
    throttled: int = 0
    retried: int = 0


@dataclass
class Counters:
    """What `Stats` is made from."""

    hits: int = 0
    misses: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    throttled: int = 0
    retried: int = 0


class Batch:
    """What was read of several names; its repr does not show it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.errors: dict[str, S1cretsError] = {}


def check_name(name: object) -> None:
    """Refuse what no service can have a secret under.

    Raises:
        InvalidNameError: it is not text, empty, too long, or has control characters in it.
    """
    if not isinstance(name, str):
        problem = f"it is {type(name).__name__}, not str"
    elif not name:
        problem = "it is empty"
    elif len(name) > _LONGEST_NAME:
        problem = f"it has {len(name):,} characters, and {_LONGEST_NAME:,} is the most"
    elif _CONTROL.search(name):
        problem = "it has control characters or lone surrogates in it"
    else:
        return
    shown = ascii(name)[:80] if isinstance(name, str) else "that"
    message = f"{shown} can't be a name: {problem}"
    raise InvalidNameError(message)


class AsyncProvider(ABC):
    """A store of secrets, read through a cache.

    Attributes:
        deadline: seconds that one public call may take in all, or None.
    """

    service: str
    """What error messages call the store."""

    _cache: SecretCache
    _counters: Counters
    deadline: float | None

    @abstractmethod
    async def path_exists(self, path: str) -> bool:
        """Say whether there is such a path or key."""

    @abstractmethod
    async def update(self, path: str, value: Any) -> None:
        """Store a new value."""

    @abstractmethod
    async def _close_clients(self) -> None: ...

    @property
    def stats(self) -> Stats:
        """What this provider has done since it was made."""
        counted = self._counters
        return Stats(
            hits=counted.hits,
            misses=counted.misses,
            requests=dict(counted.requests),
            throttled=counted.throttled,
            retried=counted.retried,
        )

    async def __aenter__(self) -> Self:
        """Return the provider; it opens by itself, on first use."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections and files; a later call opens them again."""
        await self._close_clients()
        await self._cache.close()

    def open_cache(self) -> bool:
        """Open the disk cache here and now, for callers that may block: the facade.

        Returns:
            Whether another look may find more now.
        """
        return self._cache.open()

    def __reduce__(self) -> str:
        message = f"a {type(self).__name__} can't be copied or pickled: make one where it is used"
        raise TypeError(message)

    def _answer(self, held: Held, path: str, keypath: KeyPath, default: Any) -> Any:
        """Return the caller's own copy of what is at `keypath`.

        Raises:
            SecretNotFoundError: there is no such key, and no default was given.
        """
        found = held.pick(keypath) if keypath != () else held.value()
        if found is not MISSING:
            return found
        if default is not UNSET:
            return default
        keys = " / ".join(map(repr, keys_of(keypath)))
        message = (
            f"{self.service}: {path!r} has no key {keys} (it is there, but not that key in it)"
        )
        raise SecretNotFoundError(message)

    @contextmanager
    def _bounded(self, verb: str, subject: str) -> Iterator[None]:
        """End what takes longer than `deadline`."""
        try:
            with anyio.fail_after(self.deadline):
                yield
        except TimeoutError as error:
            if isinstance(error, S1cretsError):
                raise
            message = (
                f"{self.service}: {verb} {subject!r} took longer than the deadline of"
                f" {self.deadline} s; see whether the service can be reached, or raise the deadline"
            )
            raise DeadlineExceededError(message) from None

    async def _gather(
        self, paths: Iterable[str], read: Callable[[str], Awaitable[Any]], limit: int
    ) -> Batch:
        """Read all of `paths`, each once."""
        batch = Batch()
        places = anyio.CapacityLimiter(limit)

        async def one(name: str) -> None:
            try:
                async with places:
                    batch.values[name] = await read(name)
            except S1cretsError as error:
                batch.errors[name] = error

        async with anyio.create_task_group() as group:
            for name in paths:
                group.start_soon(one, name)
        return batch

    async def _get_many(
        self,
        paths: Iterable[str],
        read: Callable[[str], Awaitable[Any]],
        limit: int,
        on_error: str,
    ) -> dict[str, Any]:
        """Return values in the order asked for; what went wrong is raised, or put among them.

        Raises:
            BatchError: something went wrong, and `on_error` is "raise".
        """
        if isinstance(paths, str):
            raise TypeError("paths must be several names, not one text")
        if on_error not in ("raise", "return"):
            raise ValueError("errors must be 'raise' or 'return'")
        names = list(dict.fromkeys(paths))
        batch = await self._gather(names, read, limit)
        if batch.errors and on_error == "raise":
            raise self._batch_error(batch)
        return {
            name: batch.errors[name] if name in batch.errors else batch.values[name]
            for name in names
        }

    def _batch_error(self, batch: Batch) -> BatchError:
        total = len(batch.errors) + len(batch.values)
        one = next(iter(batch.errors.values()))
        message = (
            f"{self.service}: {len(batch.errors)} of {total} could not be read: .errors has one"
            f" error a name, .values what was read; one of them: {one}"
        )
        return BatchError(message, batch.values, batch.errors)
