"""Rotation: secrets read again when they stop working, or watched for new versions."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar

from s1crets._coalescing import SingleFlight
from s1crets._keypath import KeyPath, keys_of
from s1crets._runtime import check_asyncio
from s1crets._validation import NUMBER, Rule, check_value
from s1crets.cache.entry import CachedValue, CacheKey
from s1crets.cache.freshness import is_outage
from s1crets.errors import S1cretsError

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

KeyPaths: TypeAlias = KeyPath | Mapping[str, KeyPath]
"""Where the secret of `refresh_on` is in a JSON value; a mapping says so for several arguments."""

_log = logging.getLogger("s1crets")
_RECEIVERS = ("self", "cls", "mcs", "this")  # names of the argument before a method's secret
_BURST = 1.0  # seconds: failures within them are a burst, for which the secret is read once


class Injected(Protocol[P, R_co]):
    """A function that is called without its secret; as a method, also without its instance."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function."""
        ...

    def __get__(self, instance: Any, owner: Any = None, /) -> Callable[..., R_co]:
        """Return the bound method."""
        ...


class _Reader(Protocol):
    """The part of `AsyncProvider` that rotation needs."""

    def key_of(self, path: str) -> CacheKey: ...
    def cached_value(self, key: CacheKey) -> CachedValue | None: ...
    async def read(self, key: CacheKey, *, cached: bool) -> CachedValue: ...
    def answer(self, held: CachedValue, path: str, keypath: KeyPath) -> Any: ...


class Rotation:
    """Reads rotated secrets again, once for all callers that need that at the same time."""

    def __init__(self, reader: _Reader, timer: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._timer = timer
        self._rereads: SingleFlight[CacheKey, Any, CachedValue] = SingleFlight()
        self._bursts: SingleFlight[CacheKey, Any, None] = SingleFlight()
        self._recent: dict[CacheKey, tuple[float, CachedValue | None]] = {}

    def forget(self) -> None:
        """Forget what recent bursts have read."""
        self._recent.clear()

    def refresh_on(
        self, exceptions: tuple[type[Exception], ...], path: str, keypath: KeyPaths
    ) -> Callable[[Any], Any]:
        """Return the decorator that `AsyncProvider.refresh_on` documents."""
        key = self._checked(exceptions, path, keypath)

        def decorate(function: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
            injected = self._injector(function, path, keypath, is_async=True)

            @functools.wraps(function)
            async def call(*args: Any, **kwargs: Any) -> Any:
                held = await self._current(key)
                try:
                    return await injected(held, args, kwargs)()
                except exceptions:
                    newer = await self._newer(key, held)
                    if newer is None:
                        raise
                return await injected(newer, args, kwargs)()

            return _without_secrets(call, function, keypath)

        return _through_descriptors(decorate)

    def blocking_refresh_on(
        self,
        exceptions: tuple[type[Exception], ...],
        path: str,
        keypath: KeyPaths,
        run: Callable[..., Any],
    ) -> Callable[[Any], Any]:
        """Return the decorator for blocking functions; `run` runs a coroutine function."""
        key = self._checked(exceptions, path, keypath)

        def decorate(function: Callable[..., Any]) -> Any:
            injected = self._injector(function, path, keypath, is_async=False)

            @functools.wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                held = self._reader.cached_value(key) or run(self._reader.read, key, cached=True)
                try:
                    return injected(held, args, kwargs)()
                except exceptions:
                    newer = run(self._newer, key, held)
                    if newer is None:
                        raise
                return injected(newer, args, kwargs)()

            return _without_secrets(call, function, keypath)

        return _through_descriptors(decorate)

    def _injector(
        self, function: Callable[..., R], path: str, keypath: KeyPaths, *, is_async: bool
    ) -> Callable[[CachedValue, tuple[Any, ...], Mapping[str, Any]], Callable[[], R]]:
        """Check the function; return what binds a call's arguments and the secret to it.

        So no frame that calls the function has the secret.
        """
        _check_function(function, is_async=is_async)
        answer = self._reader.answer
        if isinstance(keypath, Mapping):

            def named(
                held: CachedValue, args: tuple[Any, ...], kwargs: Mapping[str, Any]
            ) -> Callable[[], R]:
                secrets = {name: answer(held, path, keys) for name, keys in keypath.items()}
                return partial(function, *args, **kwargs, **secrets)

            return named
        position = _position(function)

        def injected(
            held: CachedValue, args: tuple[Any, ...], kwargs: Mapping[str, Any]
        ) -> Callable[[], R]:
            before, after = args[:position], args[position:]
            return partial(function, *before, answer(held, path, keypath), *after, **kwargs)

        return injected

    def watch(self, path: str, interval: float, keypath: KeyPath) -> AsyncIterator[Any]:
        """Return the iterator that `AsyncProvider.watch` documents."""
        check_value("interval", interval, Rule(NUMBER))
        if not 0 < interval < math.inf:
            raise ValueError(f"interval must be a number of seconds above 0, not {interval}")
        keys_of(keypath)
        return self._watch(self._reader.key_of(path), path, interval, keypath)

    async def _watch(
        self, key: CacheKey, path: str, interval: float, keypath: KeyPath
    ) -> AsyncIterator[Any]:
        held = await self._current(key)
        is_reachable = True
        while True:
            # Processes that were started together need not read together.
            await asyncio.sleep(interval * random.uniform(0.9, 1))  # noqa: S311  # not a secret
            try:
                found = await self._rereads.join(key, self._reread)
            except S1cretsError as error:
                if not is_outage(error):
                    raise
                if is_reachable:
                    _log.warning("a watched secret can't be read at the moment: %s", error)
                is_reachable = False
                continue
            is_reachable = True
            if found.differs_from(held):
                held = found
                yield self._reader.answer(held, path, keypath)

    async def _newer(self, key: CacheKey, than: CachedValue) -> CachedValue | None:
        """Return another version than the one that failed, or None; a burst reads only once."""
        now = self._timer()
        self._recent = {k: seen for k, seen in self._recent.items() if now < seen[0] + _BURST}
        known = self._reader.cached_value(key)
        if known is None or not known.differs_from(than):
            _, seen = self._recent.get(key, (0.0, None))
            # A read from before the version that failed says nothing.
            if key not in self._recent or (seen is not None and seen.version < than.version):
                await self._bursts.join(key, self._reread_for_burst)
            _, known = self._recent.get(key, (0.0, None))
        return known if known is not None and known.differs_from(than) else None

    async def _reread_for_burst(self, key: CacheKey) -> None:
        held = None
        try:
            held = await self._rereads.join(key, self._reread)
        except S1cretsError as error:
            _log.warning("a secret that may have been rotated can't be read: %s", error)
        self._recent[key] = self._timer(), held

    async def _reread(self, key: CacheKey) -> CachedValue:
        return await self._reader.read(key, cached=False)

    async def _current(self, key: CacheKey) -> CachedValue:
        check_asyncio(self._reader)
        return self._reader.cached_value(key) or await self._reader.read(key, cached=True)

    def _checked(
        self, exceptions: tuple[type[Exception], ...], path: str, keypath: KeyPaths
    ) -> CacheKey:
        """Return the key of the secret, all arguments checked."""
        if not exceptions or not all(
            isinstance(kind, type) and issubclass(kind, Exception) for kind in exceptions
        ):
            message = "refresh_on needs the exception classes that an outdated secret leads to"
            raise TypeError(message)
        if isinstance(keypath, Mapping):
            if not keypath or not all(isinstance(name, str) for name in keypath):
                raise TypeError("a mapping as keypath has names of arguments as its keys")
            keypaths = list(keypath.values())
        else:
            keypaths = [keypath]
        for keys in keypaths:
            keys_of(keys)
        return self._reader.key_of(path)


def _check_function(function: object, *, is_async: bool) -> None:
    """Reject a blocking function for an async provider, and the other way round."""
    candidates = (function, getattr(function, "__call__", None))  # noqa: B004  # an instance's own
    if any(map(inspect.iscoroutinefunction, candidates)) is not is_async:
        name = getattr(function, "__qualname__", type(function).__name__)
        takes = "an async provider takes `async def`" if is_async else "a blocking one takes `def`"
        raise TypeError(f"refresh_on can't decorate {name}: {takes}")


def _position(function: Callable[..., object]) -> int:
    """Return the position of the secret among the arguments: 1 for a method in a class's body.

    The parameter's name decides, since nothing else is certain here: a later `staticmethod` or
    another decorator hides how the function will be called.
    """
    try:
        first = next(iter(inspect.signature(function).parameters), "")
    except ValueError:  # a function in C
        return 0
    return int(first.strip("_") in _RECEIVERS)


def _without_secrets(
    call: Callable[..., R], function: Callable[..., object], keypath: KeyPaths
) -> Callable[..., R]:
    """Hide the secrets in a wrapper's signature: FastAPI takes parameters from the request."""
    names = keypath if isinstance(keypath, Mapping) else ()
    try:
        # What follows a keyword argument can only be passed by name: `partial` says so.
        signature = inspect.signature(partial(function, **dict.fromkeys(names)))
    except ValueError:  # a function in C, or one without these parameters
        return call
    parameters = list(signature.parameters.values())
    if names:
        parameters = [p for p in parameters if p.kind is not p.KEYWORD_ONLY or p.name not in names]
    else:
        position = _position(function)
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        if position < len(parameters) and parameters[position].kind in kinds:
            del parameters[position]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def _through_descriptors(decorate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator that also takes what `staticmethod` and `classmethod` return."""

    def decorator(function: Any) -> Any:
        if isinstance(function, (staticmethod, classmethod)):
            return type(function)(decorate(function.__func__))
        return decorate(function)

    return decorator
