"""The verbs that every provider has, reading through the cache; a provider says how to load."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from s1crets._keypath import keys_of
from s1crets._redaction import stripped
from s1crets._sentinels import MISSING, UNSET
from s1crets.cache.keys import name_of
from s1crets.errors import (
    DeadlineExceededError,
    InvalidNameError,
    S1cretsError,
    SecretNotFoundError,
)
from s1crets.providers.batch import Batch
from s1crets.providers.observing import doing, reading
from s1crets.providers.rotation import Rotating

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from types import TracebackType
    from typing import Self

    from s1crets._keypath import KeyPath
    from s1crets.cache import Key, SecretCache
    from s1crets.cache.entry import CachedValue
    from s1crets.providers.stats import Counters, Stats

R = TypeVar("R")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_NAME = 2048


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


class AsyncProvider(Rotating, ABC):
    """A store of secrets, read through a cache."""

    service: str
    """What error messages call the store."""

    _cache: SecretCache
    _counters: Counters
    deadline: float | None
    """Seconds that one public call may take in all, or None."""

    @abstractmethod
    async def path_exists(self, path: str) -> bool:
        """Say whether there is such a path or key."""

    @abstractmethod
    async def update(self, path: str, value: Any) -> None:
        """Store a new value."""

    @abstractmethod
    async def invalidate(self, path: str | None = None) -> None:
        """Forget what the caches hold of one name and of all paths, or all."""

    @abstractmethod
    async def _load(self, key: Key) -> CachedValue:
        """Fetch what the cache does not have."""

    @abstractmethod
    async def _close_clients(self) -> None: ...

    @property
    def stats(self) -> Stats:
        """What this provider has done since it was made."""
        return self._counters.stats()

    @property
    def counters(self) -> Counters:
        """What `stats` is made from, and who is told of more: for `s1crets.integrations`."""
        return self._counters

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

    def spawn_with(self, spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]) -> None:
        """Do what is done in the background with `spawn`, not as a task of the caller's loop."""
        self._cache.spawn = spawn

    def __reduce__(self) -> str:
        message = f"{type(self).__name__} can't be copied or pickled: make one where it is used"
        raise TypeError(message)

    def _local_name(self, name: str, keypath: KeyPath, default: Any) -> Any:
        """Return what `_local` would for a secret's own name. This is what a hit costs."""
        try:
            held = self._cache.peek_name(name)
        except TypeError:
            return MISSING  # the name can't be a key, so whoever fetches will refuse it
        if held is None:
            return MISSING
        self._counters.hits += 1
        return held.value() if keypath == () else self._answer(held, name, keypath, default)

    def _local(self, key: Key, keypath: KeyPath, default: Any, *, cached: bool) -> Any:
        """Return what a local tier holds, or `MISSING`, without waiting."""
        held = self._cache.peek(key) if cached else None
        if held is None:
            return MISSING
        self._counters.hits += 1
        return self._answer(held, name_of(key), keypath, default)

    async def _read(self, key: Key, *, cached: bool) -> CachedValue:
        """Read what is not at hand: from a store that needs I/O, or from the service."""
        self._counters.misses += 1
        with self._counters.observer.call(reading(key), [name_of(key)]):
            read = self._cache.read(key, cached=cached)
            try:
                return await self._bounded("reading", name_of(key), read)
            except DeadlineExceededError as error:
                if not cached:
                    raise
                late = error
            return await stripped(self._cache.in_outage(key, late))

    async def _read_many(
        self, names: Iterable[str], key_of: Callable[[str], Key], *, cached: bool
    ) -> Batch:
        """Read several names, from wherever they are."""
        batch = Batch()
        missing: dict[Key, str] = {}
        for name in names:
            try:
                key = key_of(name)
            except InvalidNameError as error:
                batch.errors[name] = error
                continue
            batch.values[name] = self._local(key, (), UNSET, cached=cached)
            if batch.values[name] is MISSING:
                del batch.values[name]
                missing[key] = name
        self._counters.misses += len(missing)
        if missing:
            with self._counters.observer.call("get_many", missing.values(), batch.errors):
                await self._read_missing(missing, batch, cached=cached)
        return batch

    async def _read_missing(self, missing: dict[Key, str], batch: Batch, *, cached: bool) -> None:
        found: dict[Key, CachedValue | S1cretsError] = {}
        with anyio.move_on_after(self.deadline):
            await stripped(self._cache.read_many(missing, found, cached=cached))
        for key, name in missing.items():
            outcome = found.get(key) or await self._stale_or_late(key, cached=cached)
            if isinstance(outcome, S1cretsError):
                batch.errors[name] = outcome
            else:
                batch.values[name] = outcome.value()

    async def _stale_or_late(self, key: Key, *, cached: bool) -> CachedValue | S1cretsError:
        """Return what is said of a name that was not read within the deadline."""
        error = self._too_late("reading", name_of(key))
        try:
            return await self._cache.in_outage(key, error) if cached else error
        except DeadlineExceededError:
            return error

    def _answer(self, held: CachedValue, path: str, keypath: KeyPath, default: Any) -> Any:
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
        what = "it is there, but not that key in it"
        if not isinstance(held.value(), (dict, list)):
            what = "it is no JSON object or array"
        message = f"{self.service}: {path!r} has no key {keys} ({what})"
        raise SecretNotFoundError(message)

    async def _in_time(self, verb: str, subject: str, work: Awaitable[R]) -> R:
        """Do the work of a public call that no cache answers, within `deadline`."""
        with self._counters.observer.call(doing(verb), [subject]):
            return await self._bounded(verb, subject, work)

    async def _bounded(self, verb: str, subject: str, work: Awaitable[R]) -> R:
        """Return what `work` returns, which is ended when it takes longer than `deadline`."""
        try:
            with anyio.fail_after(self.deadline):
                return await stripped(work)
        except S1cretsError:
            raise
        except TimeoutError:
            pass  # raised outside of here, what follows has no context, which would show frames
        raise self._too_late(verb, subject)

    async def _written(self, path: str, work: Awaitable[None]) -> None:
        """Do what changes a name, and forget what is known of it."""
        try:
            await work
        finally:
            # Also after an error: whether the service has stored it may not be known.
            with anyio.CancelScope(shield=True):
                await self.invalidate(path)

    def _too_late(self, verb: str, subject: str) -> DeadlineExceededError:
        message = (
            f"{self.service}: {verb} {subject!r} took longer than the deadline of"
            f" {self.deadline} s; see whether the service can be reached, or raise the deadline"
        )
        return DeadlineExceededError(message)
