"""Secrets that are rotated: read anew when they fail, or watched for another version."""

from __future__ import annotations

import functools
import inspect
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from s1crets._values import UNSET, keys_of
from s1crets.providers.renewals import Renewals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from s1crets._values import Held, KeyPath
    from s1crets.cache import Key, SecretCache
    from s1crets.providers.stats import Counters

F = TypeVar("F")
P = ParamSpec("P")
R = TypeVar("R")


class Rotating(ABC):
    """What a provider does about secrets that are rotated."""

    _cache: SecretCache
    _counters: Counters

    @abstractmethod
    async def _read(self, key: Key, *, cached: bool) -> Held: ...

    @abstractmethod
    def _answer(self, held: Held, path: str, keypath: KeyPath, default: Any) -> Any: ...

    def refresh_on(
        self, *exceptions: type[Exception], path: str, keypath: KeyPath = ()
    ) -> Callable[
        [Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]],
        Callable[P, Coroutine[Any, Any, R]],
    ]:
        """Decorate a function whose first argument is a secret, which may have been rotated.

        Callers leave that argument out. When the function raises one of `exceptions`, the secret
        is read past all caches, once for all calls that fail within a second. If it is another
        version now, the function is called again with it, once.

        Args:
            exceptions: what a secret that is not valid any more leads to.
            path: a secret's name, as `get` takes it.
            keypath: a key, or a sequence of them, to look up in a value that is JSON.

        Raises:
            TypeError: an exception is no class of exceptions, or the function is not async.
        """
        check_exceptions(exceptions)
        key = self.key_of(path)
        keys_of(keypath)

        def decorate(
            function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
        ) -> Callable[P, Coroutine[Any, Any, R]]:
            check_function(function, awaited=True)

            @functools.wraps(function)
            async def call(*args: P.args, **kwargs: P.kwargs) -> R:
                held = self.held_local(key) or await self.held(key)
                try:
                    return await function(self.answer(held, path, keypath), *args, **kwargs)
                except exceptions:
                    newer = await self.newer(key, held)
                    if newer is None:
                        raise
                return await function(self.answer(newer, path, keypath), *args, **kwargs)

            return call

        return decorate

    def watch(self, path: str, *, interval: float, keypath: KeyPath = ()) -> AsyncIterator[Any]:
        """Return an async iterator of the values that a secret changes to.

        What `get` returns when the iteration begins is the first version, and not among them. The
        secret is read past all caches, which get what is found. Its version decides, so a new one
        with the same value is a change. In an outage the iterator waits, with one warning.

        Args:
            path: a secret's name, as `get` takes it.
            interval: seconds between two looks; up to a tenth less, at random.
            keypath: a key, or a sequence of them, to look up in a value that is JSON.

        Raises:
            SecretNotFoundError: it is there no more, or has no such key any more.
            S1cretsError: anything else that goes wrong, but for an outage.
        """
        check_interval(interval)
        keys_of(keypath)
        return self._watch(self.key_of(path), path, interval, keypath)

    async def _watch(
        self, key: Key, path: str, interval: float, keypath: KeyPath
    ) -> AsyncIterator[Any]:
        held = self.held_local(key) or await self.held(key)
        async for newer in self._renewals.watch(key, held, interval):
            yield self.answer(newer, path, keypath)

    @abstractmethod
    def key_of(self, path: str) -> Key:
        """Return what a secret's current value is known by in the cache.

        Raises:
            InvalidNameError: nothing can have that name.
        """

    def held_local(self, key: Key) -> Held | None:
        """Return what a local cache holds, without waiting."""
        held = self._cache.peek(key)
        self._counters.hits += held is not None
        return held

    async def held(self, key: Key) -> Held:
        """Return what a cache or the service has."""
        return await self._read(key, cached=True)

    async def newer(self, key: Key, than: Held) -> Held | None:
        """Return another version than the one that failed, from the service, or None."""
        return await self._renewals.newer(key, than)

    @functools.cached_property
    def _renewals(self) -> Renewals:
        return Renewals(functools.partial(self._read, cached=False), self._cache.peek)

    def answer(self, held: Held, path: str, keypath: KeyPath) -> Any:
        """Return the caller's own copy of what is at `keypath`.

        Raises:
            SecretNotFoundError: there is no such key.
        """
        return self._answer(held, path, keypath, UNSET)


def check_exceptions(exceptions: tuple[type[Exception], ...]) -> None:
    """Refuse what can't be caught.

    Raises:
        TypeError: there is none, or one is no class of exceptions.
    """
    if not exceptions or not all(
        isinstance(one, type) and issubclass(one, Exception) for one in exceptions
    ):
        raise TypeError("refresh_on takes the classes of exceptions that a rotated secret leads to")


def check_function(function: F, *, awaited: bool) -> F:
    """Refuse a function of the other kind.

    Raises:
        TypeError: it is not awaited where the provider is, or the other way round.
    """
    if inspect.iscoroutinefunction(function) is not awaited:
        name = getattr(function, "__qualname__", type(function).__name__)
        takes = (
            "an async provider takes an `async def`" if awaited else "a blocking one takes a `def`"
        )
        message = f"refresh_on can't decorate {name}: {takes}"
        raise TypeError(message)
    return function


def check_interval(interval: object) -> None:
    """Refuse what is no number of seconds.

    Raises:
        TypeError: it is no number.
        ValueError: it is not above 0, or not finite.
    """
    if isinstance(interval, bool) or not isinstance(interval, (int, float)):
        message = f"interval can't be {type(interval).__name__}: it is a number of seconds"
        raise TypeError(message)
    if not 0 < interval < math.inf:
        message = f"interval can't be {interval}: it is a number of seconds above 0"
        raise ValueError(message)
