"""AsyncProvider: every verb, implemented once, over a store and a cache."""

from __future__ import annotations

import asyncio
import time
import weakref
from asyncio import _get_running_loop
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
)
from contextlib import AbstractContextManager, nullcontext, suppress
from math import inf
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

import anyio

from s1crets._keypath import MISSING, UNSET, KeyPath, describe_missing, keys_of
from s1crets._redaction import Redacted, redact, strip_traceback, stripped
from s1crets._runtime import check_asyncio, not_asyncio
from s1crets._validation import NUMBER, Rule, check_value
from s1crets.cache.entry import EXISTS, PATH, VALUE, CachedValue, CacheKey, decode
from s1crets.cache.options import CacheArgs
from s1crets.cache.refresh import Spawn
from s1crets.cache.secret_cache import LOOK_UP_LIMIT, SecretCache
from s1crets.errors import (
    BatchError,
    DeadlineExceededError,
    S1cretsError,
    SecretNotFoundError,
)
from s1crets.providers.instrumentation import Counters, Stats
from s1crets.providers.rotation import Injected, KeyPaths, Rotation
from s1crets.providers.store import (
    SecretMetadata,
    SecretVersion,
    Store,
    WriteMode,
    batch_error,
    relative_to,
)

P = ParamSpec("P")
R = TypeVar("R")

_GRACE = 0.1  # seconds that the invalidation after a failed or cancelled write may take
_METHODS = {VALUE: "get", PATH: "get_by_path", EXISTS: "path_exists"}

_live: weakref.WeakSet[AsyncProvider] = weakref.WeakSet()


def live_providers() -> list[AsyncProvider]:
    """Return all providers of this process that are in use, also those of blocking classes."""
    return list(_live)


class AsyncProvider:
    """Reads the secrets of a store through a cache, and writes them.

    Attributes:
        deadline: seconds that a public call may take in total, or None.
        counters: the source of `stats`, shared with the store, and the observer.
        rotation: the mechanism behind `refresh_on` and `watch`.
        was_used: whether it may have entries, clients or files since it was last started afresh.
    """

    service: str
    """The service's name in error messages."""
    registered_as: str = ""
    """The name of the process-wide provider of this class, such as `aws.ps`, if there is one."""

    def __init__(
        self, store: Store, cache_args: CacheArgs, deadline: float | None, counters: Counters
    ) -> None:
        if deadline is not None:
            check_value("deadline", deadline, Rule(NUMBER, 0.001))
        self._store = store
        self.deadline = deadline
        self.counters = counters
        self._cache = SecretCache(cache_args, store, on_stale=counters.served_stale)
        self._peek_name = self._cache.peek_name
        self.rotation = Rotation(self)
        self.was_used = False
        _live.add(self)

    # Reading

    async def get(
        self,
        path: str,
        *,
        keypath: KeyPath = (),
        default: Any = UNSET,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
    ) -> Any:
        """Return a secret's value.

        Args:
            path: its name.
            keypath: a key, or a sequence of keys, to look up in a JSON value.
            default: returned if there is no such secret or key.
            cached: whether a cache may answer.
            max_age: seconds since a cached value was read; older ones do not count.
            raw: whether JSON is returned as the text that is stored.

        Returns:
            A dict or list if the text is a JSON object or array, otherwise the text; bytes for a
            binary secret. It is a copy that belongs to the caller.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret or key.
            S1cretsError: any other failure, as its own subclass.
        """
        if _get_running_loop() is None:
            raise not_asyncio(self)
        if cached and max_age is None and not raw:  # a hit costs nothing more
            found = self.hit(path, keypath, default)
            if found is not MISSING:
                return found
        options: Any = {"cached": cached, "max_age": max_age, "raw": raw}
        key = self._store.key(path)
        found = self._hit_other(key, keypath, default, **options)
        if found is MISSING:
            found = await self._get(key, keypath, default, **options)
        return found

    def get_local(
        self,
        path: str,
        *,
        keypath: KeyPath = (),
        default: Any = UNSET,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
    ) -> Any:
        """Return the result of `get` if a local cache has it, otherwise `MISSING`. Never waits."""
        if cached and max_age is None and not raw:
            return self.hit(path, keypath, default)
        options: Any = {"cached": cached, "max_age": max_age, "raw": raw}
        return self._hit_other(self._store.key(path), keypath, default, **options)

    def peek(self, path: str, *, keypath: KeyPath = (), default: Any = None) -> Any:
        """Return the value in a local cache, or `default`. Sends no request and never waits."""
        return self._peek(path, keypath, default)

    async def get_many(
        self,
        paths: Iterable[str],
        *,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
        errors: Literal["raise", "return"] = "raise",
    ) -> dict[str, Any]:
        """Return the values of several secrets, in the requested order.

        Args:
            paths: names.
            cached: whether a cache may answer.
            max_age: seconds since a cached value was read; older ones do not count.
            raw: whether JSON is returned as the text that is stored.
            errors: `"return"` puts errors in place of the values.

        Raises:
            BatchError: some could not be read; it has the values, and one error per name.
        """
        # Stripped, since the frames of a failure contain the values.
        return await stripped(
            self._get_many(paths, errors, cached=cached, max_age=max_age, raw=raw)
        )

    async def get_by_path(
        self,
        path: str,
        *,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
        relative: bool = False,
    ) -> dict[str, Any]:
        """Return all secrets whose names are `path` or start with it and a slash, by name.

        Args:
            path: the beginning of names, up to a `/`; `/` alone means all.
            cached: whether a cache may answer.
            max_age: seconds since cached values were read; older ones do not count.
            raw: whether JSON is returned as the text that is stored.
            relative: whether names are returned without the path; that of `path` itself is "".

        Raises:
            BatchError: some could not be read; it has the values, and one error per name.
            S1cretsError: any other failure.
        """
        options: Any = {"cached": cached, "max_age": max_age, "raw": raw}
        return await self._get_by_path(path, relative=relative, **options)

    def get_by_path_local(
        self,
        path: str,
        *,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
        relative: bool = False,
    ) -> Any:
        """Return the result of `get_by_path` if a local cache has it, otherwise `MISSING`."""
        options: Any = {"cached": cached, "max_age": max_age, "raw": raw}
        return self._hit_path(path, relative=relative, **options)

    async def path_exists(self, path: str) -> bool:
        """Return whether there is a secret of this name, or under this path.

        A positive answer is cached, a negative one is not. Any failure is an `S1cretsError`.
        """
        check_asyncio(self)
        key = self._store.key(path, EXISTS)
        if self._hit_key(key, cached=True) is MISSING:
            try:
                await self.read(key, cached=True)
            except SecretNotFoundError:
                return False
        return True

    # Writing

    async def create(self, path: str, value: Any) -> None:
        """Store a new secret.

        Args:
            path: a name that does not exist yet.
            value: text, bytes, or a dict or list, which is stored as JSON.

        Raises:
            SecretExistsError: a `FileExistsError`: the secret exists.
            InvalidValueError: wrong type or too long; nothing was written.
            S1cretsError: any other failure.
        """
        value = redact(value)
        await self._write("create", path, value)

    async def put(self, path: str, value: Any) -> None:
        """Store a secret, new or existing; arguments as of `create`.

        Raises:
            InvalidValueError: wrong type or too long; nothing was written.
            S1cretsError: any other failure.
        """
        value = redact(value)
        await self._write("put", path, value)

    async def update(self, path: str, value: Any) -> None:
        """Store a new value of an existing secret; arguments as of `create`.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret; nothing was written.
            InvalidValueError: wrong type or too long; nothing was written.
            S1cretsError: any other failure.
        """
        value = redact(value)
        await self._write("update", path, value)

    async def delete(self, path: str) -> None:
        """Delete a secret.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret.
            S1cretsError: any other failure.
        """
        await self._delete(path)

    async def restore(self, path: str) -> None:
        """Cancel the deletion of a secret that can still be restored.

        Raises:
            TypeError: the service can't restore anything.
            SecretNotFoundError: a `KeyError`: no such secret.
            S1cretsError: any other failure.
        """
        check_asyncio(self)
        work = self._store.restore(path)
        await self._timed("restore", path, self._invalidating(path, work))

    async def history(self, path: str) -> list[SecretVersion]:
        """Return the versions of a secret, without values, the oldest first. No cache answers.

        Raises:
            TypeError: the service keeps no versions.
            SecretNotFoundError: a `KeyError`: no such secret.
            S1cretsError: any other failure.
        """
        check_asyncio(self)
        return await self._timed("history", path, self._store.history(path))

    async def describe(self, path: str = "") -> list[SecretMetadata]:
        """Return the metadata of secrets, without values, sorted by name. No cache answers.

        Args:
            path: a secret's name, or the beginning of names up to a `/`; "" means all.

        Raises:
            S1cretsError: any failure.
        """
        check_asyncio(self)
        if path != "":
            self._store.key(path, EXISTS)  # a name or a path
        found = await self._timed("describe", path, self._store.describe(path))
        return sorted(found, key=lambda metadata: metadata.name)

    async def invalidate(self, path: str | None = None) -> None:
        """Drop a secret and all paths from the caches, or everything.

        Raises:
            DeadlineExceededError: other processes may still read the old value. This process does
                not, and keeps trying to notify them.
        """
        check_asyncio(self)
        secrets = None if path is None else list(self._store.aliases(path))
        self.rotation.forget()
        await self._bounded("invalidate", path or "", self._cache.invalidate(secrets))

    # Rotation

    @overload
    def refresh_on(
        self, *exceptions: type[Exception], path: str, keypath: KeyPath = ()
    ) -> Callable[
        [Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]],
        Injected[P, Coroutine[Any, Any, R]],
    ]: ...

    @overload
    def refresh_on(
        self, *exceptions: type[Exception], path: str, keypath: Mapping[str, KeyPath]
    ) -> Callable[
        [Callable[..., Coroutine[Any, Any, R]]], Injected[..., Coroutine[Any, Any, R]]
    ]: ...

    def refresh_on(self, *exceptions: type[Exception], path: str, keypath: KeyPaths = ()) -> Any:
        """Decorate a coroutine function whose first argument is a secret that may be rotated.

        In a method the secret follows `self` or `cls`. Callers leave it out. When the function
        raises one of `exceptions`, the secret is read past all caches, once for all calls that
        fail within a second. If it has changed, the function is called again with it, once. If not,
        as while a new password is in the database but not yet in AWS, or if it can't be read, the
        exception is passed on.

        >>> @ps.refresh_on(PermissionError, path="/prod/db", keypath="password")
        ... async def query(password, statement):
        ...     return f"result of {statement}"
        >>> await query("SELECT 1")
        'result of SELECT 1'

        Args:
            exceptions: the exceptions that an outdated secret leads to.
            path: a secret's name, as for `get`.
            keypath: a key, or a sequence of keys, to look up in a JSON value. A mapping passes
                several keyword arguments instead: `{"user": "user", "password": ("db", "pw")}`.

        Raises:
            TypeError: not exception classes, or the function is not a coroutine function.
        """
        return self.rotation.refresh_on(exceptions, path, keypath)

    def watch(self, path: str, *, interval: float, keypath: KeyPath = ()) -> AsyncIterator[Any]:
        """Return an async iterator over the values that a secret changes to.

        The value at the start is not among them. The secret is read past all caches, which store
        what is found. Its version decides, so a new version with the same value is a change.
        During an outage the iterator waits, with one warning.

        >>> async def follow():
        ...     async for level in ps.watch("/prod/log-level", interval=60):
        ...         logging.getLogger().setLevel(level)

        Args:
            path: a secret's name, as for `get`.
            interval: seconds between two reads; up to a tenth less, at random.
            keypath: a key, or a sequence of keys, to look up in a JSON value.

        Raises:
            SecretNotFoundError: the secret, or the key in it, no longer exists.
            S1cretsError: any other failure that is not an outage.
        """
        return self.rotation.watch(path, interval, keypath)

    # Life

    @property
    def stats(self) -> Stats:
        """Numbers of this provider since it was created."""
        return self.counters.stats()

    async def __aenter__(self) -> Self:
        check_asyncio(self)
        return self  # it opens on first use

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections and files; a later call opens them again."""
        check_asyncio(self)
        await self._store.aclose()
        await self._cache.aclose()

    async def start_afresh(self) -> None:
        """Empty the caches, close, and let a later call find other settings, as in a new test."""
        self.rotation.forget()
        with suppress(S1cretsError):  # it can't be used: its cache folder is not private, say
            await self.invalidate()
        with suppress(S1cretsError):
            await self.aclose()
        self._cache.forget_scope()
        self.was_used = False

    def forget_failures(self) -> None:
        """Let the next calls send requests at once, however often they have failed: for tests."""
        self._cache.forget_failures()

    def open_cache(self) -> bool:
        """Open the disk cache, which blocks; return whether another look-up may find more now."""
        self.was_used = True
        return self._cache.open()

    def spawn_with(self, spawn: Spawn) -> None:
        """Do background work with `spawn`, not as a task of the caller's loop."""
        self._cache.spawn = spawn

    def __reduce__(self) -> str:
        message = f"{type(self).__name__} can't be copied or pickled: make one where it is used"
        raise TypeError(message)

    # Reading, for subclasses with more options, and for rotation

    def hit(self, name: str, keypath: KeyPath = (), default: Any = UNSET) -> Any:
        """Return the value of a primary key in a local cache, or `MISSING`: the cost of a hit."""
        try:
            held = self._peek_name(name)
        except TypeError:
            return MISSING  # not hashable; the miss reports it as an invalid name
        if held is None:
            return MISSING
        self.counters.hits += 1
        return held.value() if keypath == () else self.answer(held, name, keypath, default)

    def _hit_other(
        self,
        key: CacheKey,
        keypath: KeyPath,
        default: Any,
        *,
        cached: bool,
        max_age: float | None,
        raw: bool,
    ) -> Any:
        """Return the value of a name that `hit` does not find, or need not look for."""
        if key.is_primary and cached and max_age is None and not raw:
            return MISSING
        return self._hit_key(key, keypath, default, cached=cached, max_age=max_age, raw=raw)

    def _hit_key(
        self,
        key: CacheKey,
        keypath: KeyPath = (),
        default: Any = UNSET,
        *,
        cached: bool,
        max_age: float | None = None,
        raw: bool = False,
    ) -> Any:
        """Return the value of any key in a local cache, or `MISSING`; reject invalid options."""
        if max_age is not None:
            check_value("max_age", max_age, Rule(NUMBER, 0))
        if raw and keypath != ():
            raise TypeError("raw returns the text as it is stored: leave keypath out")
        held = self.cached_value(key, max_age) if cached else None
        if held is None:
            return MISSING
        return held.stored() if raw else self.answer(held, key.name, keypath, default)

    def _hit_path(
        self,
        path: str,
        *,
        cached: bool,
        max_age: float | None,
        raw: bool,
        relative: bool,
        **options: Any,
    ) -> Any:
        """Return the secrets under a path in a local cache, by name, or `MISSING`."""
        key = self._store.key(path, PATH, **options)
        found = self._hit_key(key, cached=cached, max_age=max_age, raw=raw)
        return relative_to(key.name, found) if relative and found is not MISSING else found

    def cached_value(self, key: CacheKey, max_age: float | None = None) -> CachedValue | None:
        """Return the entry in a local cache, counted as a hit, or None."""
        cache = self._cache
        held = cache.peek(key) if max_age is None else cache.peek_younger(key, max_age)
        self.counters.hits += held is not None
        return held

    def _peek(self, path: str, keypath: KeyPath, default: Any, **options: Any) -> Any:
        held = self._cache.peek(self._store.key(path, **options))
        return default if held is None else self.answer(held, path, keypath, default)

    async def _get(
        self,
        key: CacheKey,
        keypath: KeyPath,
        default: Any,
        *,
        cached: bool,
        max_age: float | None,
        raw: bool,
    ) -> Any:
        """Read a secret that no local cache has."""
        if keypath != ():
            keys_of(keypath)  # rejects it before anything is sent
        try:
            held = await self.read(key, cached=cached, max_age=max_age)
        except SecretNotFoundError:
            if default is UNSET:
                raise
            return default
        return held.stored() if raw else self.answer(held, key.name, keypath, default)

    async def _get_by_path(
        self,
        path: str,
        *,
        cached: bool,
        max_age: float | None,
        raw: bool,
        relative: bool,
        **options: Any,
    ) -> dict[str, Any]:
        check_asyncio(self)
        local: Any = {"cached": cached, "max_age": max_age, "raw": raw, "relative": relative}
        found = self._hit_path(path, **local, **options)
        if found is MISSING:
            key = self._store.key(path, PATH, **options)
            try:
                held = await self.read(key, cached=cached, max_age=max_age)
            except BatchError as error:
                error.values = error.values if raw else decode(error.values)
                raise
            found = held.stored() if raw else held.value()
            found = relative_to(key.name, found) if relative else found
        values: dict[str, Any] = found
        return values

    async def _get_many(
        self,
        paths: Iterable[str],
        on_error: str,
        *,
        cached: bool,
        max_age: float | None,
        raw: bool,
        **options: Any,
    ) -> dict[str, Any]:
        check_asyncio(self)
        names = distinct(paths, on_error)
        values: dict[str, Any] = {}
        errors: dict[str, S1cretsError] = {}
        missing: dict[CacheKey, str] = {}
        for name in names:
            try:
                key = self._store.key(name, **options)
            except S1cretsError as error:
                errors[name] = error
                continue
            values[name] = self._hit_key(key, cached=cached, max_age=max_age, raw=raw)
            if values[name] is MISSING:
                missing[key] = name
        self.counters.misses += len(missing)
        if missing:
            with self._observed("get_many", missing.values(), errors):
                read = await self._read_missing(missing, cached=cached, max_age=max_age)
                for name, outcome in read.items():
                    if isinstance(outcome, S1cretsError):
                        errors[name] = outcome
                    else:
                        values[name] = outcome.stored() if raw else outcome.value()
        return self._batch(names, {**values, **errors}, on_error)

    async def _read_missing(
        self, missing: dict[CacheKey, str], *, cached: bool, max_age: float | None
    ) -> dict[str, CachedValue | S1cretsError]:
        found: dict[CacheKey, CachedValue | S1cretsError] = {}
        self.was_used = True
        # What was read within the deadline counts, also if other names were not.
        with suppress(TimeoutError):
            async with asyncio.timeout(self.deadline):
                reading = self._cache.read_many(missing, found, cached=cached, max_age=max_age)
                await stripped(reading)
        for key in [key for key in missing if key not in found]:
            found[key] = self._too_late("get_many", missing[key])
            if cached:
                with suppress(S1cretsError):
                    late = self._too_late("get", missing[key])
                    found[key] = await self._cache.stale_or_raise(key, late, max_age)
        return {name: found[key] for key, name in missing.items()}

    def _batch(self, names: Iterable[str], found: dict[str, Any], on_error: str) -> dict[str, Any]:
        """Return the values and errors of several names in order, or raise a `BatchError`."""
        if on_error == "raise" and any(isinstance(one, S1cretsError) for one in found.values()):
            raise batch_error(self.service, found)
        return {name: found[name] for name in names}

    async def read(
        self, key: CacheKey, *, cached: bool, max_age: float | None = None
    ) -> CachedValue:
        """Read what no local cache has: from a shared cache, or from the service."""
        self.counters.misses += 1
        method = _METHODS[key.kind]
        with self._observed(method, [key.name]):
            began, token = time.monotonic(), None
            # A look-up has a limit of its own: hits need no timer each.
            if cached and max_age is None and (self.deadline or inf) > LOOK_UP_LIMIT:
                try:
                    found = await self._cache.look_up(key)
                except BaseException as error:  # noqa: BLE001  # its frames contain values
                    raise strip_traceback(error) from error.__cause__
                if isinstance(found, CachedValue):
                    return found
                token = found
            self.was_used = True
            limit = None if self.deadline is None else self.deadline - (time.monotonic() - began)
            read = self._cache.read(key, cached=cached, max_age=max_age, token=token, limit=limit)
            try:
                return await read
            except BaseException as error:  # noqa: BLE001  # its frames contain values
                if isinstance(error, S1cretsError) or not isinstance(error, TimeoutError):
                    raise strip_traceback(error) from error.__cause__
            # Outside of this block the error has no context.
            late = self._too_late(method, key.name)
            if not cached:
                raise late
            return await stripped(self._cache.stale_or_raise(key, late, max_age))

    def key_of(self, path: str) -> CacheKey:
        """Return the key of a secret's value, with default options."""
        return self._store.key(path)

    def answer(self, held: CachedValue, path: str, keypath: KeyPath, default: Any = UNSET) -> Any:
        """Return the caller's own copy of the item at `keypath`, or `default`, if it is given."""
        found = held.pick(keypath) if keypath != () else held.value()
        if found is not MISSING:
            return found
        if default is not UNSET:
            return default
        missing = describe_missing(held.value, keys_of(keypath))
        raise SecretNotFoundError(f"{self.service}: {path!r} has no key {missing}")

    # Writing and time limits

    async def _write(self, mode: WriteMode, path: str, value: Redacted, **settings: Any) -> None:
        check_asyncio(self)
        work = self._store.write(path, value, mode, settings)
        await self._timed(mode, path, self._invalidating(path, work))

    async def _delete(self, path: str, **options: Any) -> None:
        check_asyncio(self)
        work = self._store.delete(path, **options)
        await self._timed("delete", path, self._invalidating(path, work))

    async def _invalidating(self, path: str, work: Awaitable[None]) -> None:
        secrets = list(self._store.aliases(path))
        try:
            await work
        except BaseException:
            # Whether the service has stored the value may be unknown. A caller without time does
            # not wait for anybody's answer.
            with anyio.move_on_after(_GRACE, shield=True):
                await self._cache.invalidate(secrets)
            raise
        await self._cache.invalidate(secrets)

    async def _timed(self, method: str, subject: str, work: Awaitable[R]) -> R:
        """Do the work of a public call that no cache answers, within the deadline."""
        with self._observed(method, [subject]):
            return await self._bounded(method, subject, work)

    def _observed(
        self, method: str, names: Collection[str], *errors: dict[str, S1cretsError]
    ) -> AbstractContextManager[None]:
        """Return the observer's context manager around a public call; `errors` are of a batch."""
        observer = self.counters.observer
        return observer.call(method, names, *errors) if observer else nullcontext()

    async def _bounded(self, method: str, subject: str, work: Awaitable[R]) -> R:
        """Return the result of `work`, which is cancelled at the deadline of the call."""
        self.was_used = True
        try:
            async with asyncio.timeout(self.deadline):
                try:
                    return await work
                except BaseException as error:  # noqa: BLE001  # its frames contain values
                    raise strip_traceback(error) from error.__cause__
        except S1cretsError:
            raise
        except TimeoutError:
            pass  # outside of this block the error has no context, which would show frames
        raise self._too_late(method, subject)

    def _too_late(self, method: str, subject: str) -> S1cretsError:
        message = (
            f"{self.service}: {method} {subject!r} took longer than the deadline of"
            f" {self.deadline} s; check that the service is reachable, or raise the deadline"
        )
        return DeadlineExceededError(message)


def distinct(paths: Iterable[str], on_error: str) -> list[str]:
    """Return each name once, in order; reject a single str, which is never intended."""
    if isinstance(paths, str) or not isinstance(paths, Iterable):
        raise TypeError(f"paths must be several names, not {type(paths).__name__}")
    if on_error not in ("raise", "return"):
        raise ValueError("errors must be 'raise' or 'return'")
    return list(dict.fromkeys(paths))
