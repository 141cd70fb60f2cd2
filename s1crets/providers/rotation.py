"""Secrets that are rotated: read anew when they fail, or watched for another version."""

from __future__ import annotations

import functools
import inspect
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from s1crets._keypath import keys_of
from s1crets._sentinels import UNSET
from s1crets.providers.renewals import Renewals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from s1crets._keypath import KeyPath
    from s1crets.cache import Key, SecretCache
    from s1crets.cache.entry import CachedValue
    from s1crets.providers.stats import Counters

F = TypeVar("F")
P = ParamSpec("P")
R = TypeVar("R")


class Rotating(ABC):
    """What a provider does about secrets that are rotated."""

    _cache: SecretCache
    _counters: Counters

    @abstractmethod
    async def _read(self, key: Key, *, cached: bool) -> CachedValue: ...

    @abstractmethod
    def _key_of(self, path: str) -> Key: ...

    @abstractmethod
    def _answer(self, held: CachedValue, path: str, keypath: KeyPath, default: Any) -> Any: ...

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
        key = self._checked(exceptions, path, keypath)

        def decorate(
            function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
        ) -> Callable[P, Coroutine[Any, Any, R]]:
            check_function(function, awaited=True)

            @functools.wraps(function)
            async def call(*args: P.args, **kwargs: P.kwargs) -> R:
                held = self._held_local(key) or await self._read(key, cached=True)
                try:
                    return await function(self._picked(held, path, keypath), *args, **kwargs)
                except exceptions:
                    newer = await self._renewals.newer(key, held)
                    if newer is None:
                        raise
                return await function(self._picked(newer, path, keypath), *args, **kwargs)

            return call

        return decorate

    def blocking_refresh_on(
        self,
        exceptions: tuple[type[Exception], ...],
        path: str,
        keypath: KeyPath,
        run: Callable[..., Any],
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Callable[P, R]]:
        """Return the decorator for functions that block; `run` runs a coroutine function."""
        key = self._checked(exceptions, path, keypath)

        def decorate(function: Callable[Concatenate[Any, P], R]) -> Callable[P, R]:
            check_function(function, awaited=False)

            @functools.wraps(function)
            def call(*args: P.args, **kwargs: P.kwargs) -> R:
                held = self._held_local(key) or run(self._read, key, cached=True)
                try:
                    return function(self._picked(held, path, keypath), *args, **kwargs)
                except exceptions:
                    newer = run(self._renewals.newer, key, held)
                    if newer is None:
                        raise
                return function(self._picked(newer, path, keypath), *args, **kwargs)

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
        return self._watch(self._key_of(path), path, interval, keypath)

    async def _watch(
        self, key: Key, path: str, interval: float, keypath: KeyPath
    ) -> AsyncIterator[Any]:
        held = self._held_local(key) or await self._read(key, cached=True)
        async for newer in self._renewals.watch(key, held, interval):
            yield self._picked(newer, path, keypath)

    def _checked(self, exceptions: tuple[type[Exception], ...], path: str, keypath: KeyPath) -> Key:
        check_exceptions(exceptions)
        keys_of(keypath)
        return self._key_of(path)

    def _held_local(self, key: Key) -> CachedValue | None:
        held = self._cache.peek(key)
        self._counters.hits += held is not None
        return held

    def _picked(self, held: CachedValue, path: str, keypath: KeyPath) -> Any:
        return self._answer(held, path, keypath, UNSET)

    @functools.cached_property
    def _renewals(self) -> Renewals:
        return Renewals(functools.partial(self._read, cached=False), self._cache.peek)


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
