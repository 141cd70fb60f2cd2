"""Base classes for providers of other packages.

A subclass says how a secret is fetched, and which secrets there are. Verbs, caches, batches,
deadlines, rotation and the blocking API come from here.

```python
from s1crets.providers.simple import AsyncSimpleProvider, SimpleProvider


class AsyncVault(AsyncSimpleProvider):
    service = "our vault"

    async def fetch(self, name):
        return await read_from_vault(name)  # text or bytes; None: there is no such secret

    async def names(self, path):
        return await list_names()


class Vault(SimpleProvider[AsyncVault]):
    async_class = AsyncVault
```
Its package names the blocking class as an entry point, so that whoever installs it can call
`s1crets.get("our.vault", "name")`:

```toml
[project.entry-points."s1crets.providers"]
"our.vault" = "our_vault:Vault"
```
`s1crets.testing.contract.ProviderContract` has the tests that every provider passes.
"""

from __future__ import annotations

import asyncio
import inspect
import weakref
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, TypedDict, TypeVar, Unpack

from s1crets._redaction import Redacted, redact, strip_traceback
from s1crets._runtime import LoopLocal, PerLoop, run_in_thread
from s1crets._sync import Facade, blocking, direct, in_background
from s1crets._validation import suggestion
from s1crets.cache.entry import PATH, VALUE, CacheKey, Fetched
from s1crets.cache.options import RULES, CacheArgs, check_cache_args, redact_options
from s1crets.cache.scope import Scope
from s1crets.errors import (
    AccessDeniedError,
    BadResponseError,
    ConfigurationError,
    S1cretsError,
    SecretNotFoundError,
    UnavailableError,
)
from s1crets.providers.async_provider import AsyncProvider
from s1crets.providers.instrumentation import Counters
from s1crets.providers.store import (
    SecretMetadata,
    SecretVersion,
    WriteMode,
    check_name,
    encode,
    fetch_each,
    fetched_path,
    is_under,
)

__all__ = [
    "AsyncSimpleProvider",
    "Concealed",
    "Entry",
    "Fetched",
    "Hooks",
    "Redacted",
    "SecretMetadata",
    "SimpleOptions",
    "SimpleProvider",
    "in_thread",
]

_R = TypeVar("_R")

Concealed = Redacted
"""The former name of `Redacted`."""
Entry = SecretMetadata
"""The former name of `SecretMetadata`."""
in_thread = run_in_thread
"""Runs a blocking function in a thread: for hooks that block."""

# Attributes that a provider sets on itself; `deadline` and `was_used` also later.
_SET_ONCE = ("_cache", "_peek_name", "_store", "counters", "rotation")
_ATTRIBUTES = (*_SET_ONCE, "deadline", "was_used")
_ONLY = 1.0  # the version of secrets without versions: their content decides
_MUST_EXIST: Mapping[WriteMode, bool | None] = {"create": False, "put": None, "update": True}


class SimpleOptions(TypedDict, total=False):
    """The keyword arguments of every provider.

    Attributes:
        cache_args: what is cached, where, and how long.
        deadline: seconds that a public call may take in total, None for no limit; 60.0.
    """

    cache_args: CacheArgs
    deadline: float | None


class Hooks(ABC):
    """The questions that a provider's store answers.

    `fetch` and `names` have to be implemented, the others may be. A name that s1crets itself uses
    for something else, such as `read`, is refused when the class is created.

    Hooks run on the caller's event loop, which may be another loop each time; blocking work goes
    through `in_thread`.

    Failures are raised as errors of `s1crets.errors`. An `OSError` becomes an `UnavailableError`,
    for which `stale_for` is meant, and a `PermissionError` an `AccessDeniedError`; any other
    exception is passed on. No message may contain a value.

    Attributes:
        service: the store's name in error messages.
        default_ttl: seconds that entries are cached, unless `cache_ttl` is given; 900.
        concurrency: hooks that run at the same time; 50.
        largest: bytes of the largest value that can be stored; a mebibyte.
    """

    service: str
    default_ttl: float = 900
    concurrency: int = 50
    largest: int = 2**20

    @abstractmethod
    async def fetch(self, name: str) -> str | bytes | Fetched | None:
        """Return a secret, or None if there is no secret of that name."""

    @abstractmethod
    async def names(self, path: str) -> Iterable[str]:
        """Return the names that are `path` or start with `path` and a slash; others are ignored.

        An empty `path` means all names.
        """

    async def exists(self, path: str) -> bool:
        """Return whether there is a secret of that name or under that path."""
        return any(is_under(name, path) for name in await self.names(path))

    async def entries(self, path: str) -> Iterable[SecretMetadata]:
        """Return the metadata of `names`; by default the names alone."""
        return [SecretMetadata(name, "secret", "", None) for name in await self.names(path)]

    async def store(self, name: str, value: Redacted, *, exists: bool | None) -> None:  # noqa: ARG002
        """Store a value, or refuse to, which is the default.

        Args:
            name: the secret's name.
            value: `value.reveal()` is text or bytes; its repr does not show it.
            exists: True: it must exist (`SecretNotFoundError`); False: it must not
                (`SecretExistsError`); None: either is fine.
        """
        raise self._read_only(name)

    async def remove(self, name: str) -> None:
        """Delete a secret (`SecretNotFoundError`), or refuse to, which is the default."""
        raise self._read_only(name)

    def _read_only(self, name: str) -> AccessDeniedError:
        return AccessDeniedError(f"{self.service} is read-only here: change {name!r} at its source")

    def check(self, name: str) -> None:  # noqa: B027  # most stores accept any name
        """Reject invalid names and paths (`InvalidNameError`) before a hook is called; optional."""

    def identity(self) -> str:
        """Return what distinguishes this store from others of its class: address, account, folder.

        Entries of a cache outside the process are separated by it. Without it such a cache needs a
        `namespace`. May block.
        """
        return ""

    async def disconnect(self) -> None:  # noqa: B027  # most stores have nothing open
        """Close what is open on the running event loop; a later call opens it again.

        Called when the provider is closed, and when an event loop ends on which it was used.
        """


class _SimpleStore:
    """The hooks as a `Store`: limited in number, counted, their errors translated."""

    def __init__(self, hooks: Hooks, namespace: str, counters: Counters) -> None:
        self._hooks = hooks
        self._namespace = namespace
        self._counters = counters
        self._slots = LoopLocal(partial(asyncio.Semaphore, hooks.concurrency))
        self._used = PerLoop(partial(_until_closed, weakref.ref(hooks)))

    def key(self, path: str, kind: str = VALUE) -> CacheKey:
        check_name(path)
        if kind == VALUE:
            self._hooks.check(path)
            return CacheKey.of_secret(path)
        trimmed = path.rstrip("/")  # so that both ways to write a path share an entry
        if trimmed:
            check_name(trimmed)
            self._hooks.check(trimmed)
        return CacheKey(trimmed, kind)

    def aliases(self, path: str) -> list[str]:
        return [self.key(path).name]

    def ancestors(self, path: str) -> list[CacheKey]:
        # Itself and "" included.
        parts = path.split("/")
        return [CacheKey("/".join(parts[:end]), PATH) for end in range(len(parts) + 1)]

    def batch_size(self, key: CacheKey) -> int:  # noqa: ARG002  # the hooks read one by one
        return 1

    async def fetch_many(
        self, keys: Sequence[CacheKey]
    ) -> Mapping[CacheKey, Fetched | S1cretsError]:
        return await fetch_each(keys, self._fetch_key)

    async def _fetch_key(self, key: CacheKey) -> Fetched:
        if key.kind == VALUE:
            return await self._fetch(key.name)
        if key.kind == PATH:
            return await self._fetch_path(key.name)
        if not await self._call("exists", key.name, self._hooks.exists, key.name):
            message = f"{self._hooks.service}: there is no secret {key.name!r}, and none under it"
            raise SecretNotFoundError(message)
        return Fetched("yes", _ONLY)

    async def _fetch(self, name: str) -> Fetched:
        fetched = await self._call("fetch", name, self._hooks.fetch, name)
        if fetched is None:
            raise SecretNotFoundError(f"{self._hooks.service}: there is no secret {name!r}")
        if not isinstance(fetched, Fetched):
            fetched = Fetched(fetched)
        if not isinstance(fetched.value, (str, bytes)):
            problem = f"has the type {type(fetched.value).__name__}"
            needed = "`fetch` must return str, bytes, Fetched or None"
            raise BadResponseError(f"{self._hooks.service}: {name!r} {problem}: {needed}")
        return Fetched(fetched.value, fetched.version or _ONLY)

    async def _fetch_path(self, path: str) -> Fetched:
        found = await self._call("names", path, self._hooks.names, path)
        names = sorted({name for name in found if is_under(name, path)})
        read = await fetch_each(names, self._fetch)
        deleted = [name for name, one in read.items() if isinstance(one, SecretNotFoundError)]
        for name in deleted:  # meanwhile
            del read[name]
        return fetched_path(self._hooks.service, read)

    def write(
        self,
        path: str,
        value: Redacted,
        mode: WriteMode,
        settings: Mapping[str, Any],  # noqa: ARG002  # a simple store has none
    ) -> Awaitable[None]:
        name = self.key(path).name
        raw = redact(encode(value, binary=True, limit=self._hooks.largest))
        return self._call("store", name, self._hooks.store, name, raw, exists=_MUST_EXIST[mode])

    def delete(self, path: str) -> Awaitable[None]:
        name = self.key(path).name
        return self._call("remove", name, self._hooks.remove, name)

    def restore(self, path: str) -> Awaitable[None]:
        raise TypeError(f"{self._hooks.service}: {path!r} can't be restored: it is not kept")

    def history(self, path: str) -> Awaitable[list[SecretVersion]]:
        raise TypeError(f"{self._hooks.service}: {path!r} has no history: no versions are kept")

    async def describe(self, path: str) -> list[SecretMetadata]:
        under = path and self.key(path, PATH).name
        found = await self._call("entries", path, self._hooks.entries, under)
        return [metadata for metadata in found if is_under(metadata.name, under)]

    def scope_hint(self) -> str:
        return f"{self._namespace}\0{self._place()}"

    async def scope(self) -> Scope:
        return Scope(await run_in_thread(self._place), self._namespace)

    def _place(self) -> str:
        kind = type(self._hooks)
        return f"{kind.__module__}.{kind.__qualname__}\0{self._hooks.identity()}"

    async def aclose(self) -> None:
        was_used = asyncio.get_running_loop() in self._used.ready
        await self._used.aclose()
        if not was_used:  # here: but a method of its own may have opened something
            await self._hooks.disconnect()

    async def _call(
        self,
        operation: str,
        subject: str,
        hook: Callable[..., Coroutine[Any, Any, _R]],
        *args: Any,
        **kwargs: Any,
    ) -> _R:
        if asyncio.get_running_loop() not in self._used.ready:
            await self._used.get()
        async with self._slots.here():
            observer = self._counters.observer
            observed = observer.request(operation, [subject]) if observer else nullcontext()
            with observed, _translated(self._hooks.service, operation, subject):
                self._counters.requests[operation] += 1
                if observer:
                    observer.sent(again=False)
                return await hook(*args, **kwargs)


async def _until_closed(reference: weakref.ref[Hooks]) -> AsyncGenerator[None, None]:
    """Disconnect at the end, which is that of the event loop if nobody closes the provider."""
    try:
        yield
    finally:
        if (hooks := reference()) is not None:
            await hooks.disconnect()


@contextmanager
def _translated(service: str, operation: str, subject: str) -> Iterator[None]:
    """Raise errors of s1crets for those of the operating system."""
    kind: type[S1cretsError]
    try:
        yield
    except S1cretsError as error:
        if error.__cause__ is not None:
            strip_traceback(error.__cause__)  # its frames may contain the value
        raise
    except PermissionError:
        kind, problem = AccessDeniedError, "is not allowed"
    except OSError as error:
        # The error's message is left out, since it may contain anything.
        problem = f"failed ({type(error).__name__}); it may be available later"
        kind = UnavailableError
    else:
        return
    raise kind(f"{service}: {operation} {subject!r} {problem}")


class AsyncSimpleProvider(Hooks, AsyncProvider):
    """A provider over a store of your own; see `Hooks` for what a subclass implements.

    Args:
        options: `cache_args` and `deadline`: see `SimpleOptions`.

    Raises:
        TypeError: an unknown option, or an option of the wrong type. Also a class without
            `service`; and, when the class is created, a hook that is not `async def`, or an
            attribute with a name that s1crets itself uses.
        ValueError: an option out of range, or a cache outside the process without `namespace`.
    """

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        for name in _reserved_names():
            if getattr(cls, name, None) is not getattr(AsyncSimpleProvider, name, None):
                raise _name_in_use(cls, name)
        for name, hook in vars(Hooks).items():
            if inspect.isfunction(hook) and not name.startswith("_"):
                own = getattr(cls, name)
                is_async = any(map(inspect.iscoroutinefunction, (own, inspect.unwrap(own))))
                if is_async != inspect.iscoroutinefunction(hook):
                    needed = "a `def`" if is_async else "an `async def`"
                    raise TypeError(f"{cls.__name__}.{name} must be {needed}, as it is in `Hooks`")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _SET_ONCE and name in vars(self):
            raise _name_in_use(type(self), name)
        super().__setattr__(name, value)

    def __init__(self, **options: Unpack[SimpleOptions]) -> None:
        options = redact_options(options)
        if not hasattr(type(self), "service") and "service" not in vars(self):
            needed = "set it to the store's name, which error messages show"
            raise TypeError(f"the class {type(self).__name__} has no attribute `service`: {needed}")
        for name in options:
            if name not in SimpleOptions.__annotations__:
                raise TypeError(f"{type(self).__name__} has no option {name!r}: {self._hint(name)}")
        args = self._checked_cache_args(options.get("cache_args"))
        counters = Counters()
        store = _SimpleStore(self, args.get("namespace", ""), counters)
        AsyncProvider.__init__(self, store, args, options.get("deadline", 60.0), counters)

    def _hint(self, name: str) -> str:
        elsewhere = {one: f"cache_args={{{one!r}: ...}}" for one in RULES}
        named = inspect.signature(type(self)).parameters.values()
        own = [option.name for option in named if option.kind is not option.VAR_KEYWORD]
        return suggestion(name, [*own, *SimpleOptions.__annotations__], elsewhere)

    def _checked_cache_args(self, args: Any) -> Any:
        """Return the `cache_args` with this class's TTL, after validating them."""
        args = {} if args is None else args
        if isinstance(args, Mapping):
            args = {"cache_ttl": self.default_ttl, **args}
        check_cache_args(args)
        is_shared = args.get("cache_on_disk") or "backend" in args
        if is_shared and "namespace" not in args and type(self).identity is Hooks.identity:
            raise ConfigurationError(
                f"{self.service} can't be cached outside the process: nothing distinguishes it from"
                " other stores of its kind; give a namespace in cache_args, or implement `identity`"
            )
        return args

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.service}>"


def _reserved_names() -> list[str]:
    """Return the names that s1crets uses itself: neither hooks nor verbs."""
    public = {name for name in (*dir(Hooks), *dir(SimpleProvider)) if not name.startswith("_")}
    public |= {"aclose", "watch", "registered_as"}  # not a part of the blocking API
    own = {*dir(AsyncSimpleProvider), *_ATTRIBUTES} - public - {"_abc_impl"}  # each class has one
    return sorted(name for name in own if not name.startswith("__"))


def _name_in_use(cls: type, name: str) -> TypeError:
    problem = f"`{name}` is used by s1crets itself; choose another name"
    return TypeError(f"{cls.__name__}.{name}: {problem}")


_S = TypeVar("_S", bound=AsyncSimpleProvider)


class SimpleProvider(Facade[_S]):
    """The blocking API of a simple provider, with its options; an entry point names this class."""

    async_class: type[_S]
    """The class that does the work."""

    def __init__(self, **options: Any) -> None:
        options = redact_options(options)
        self._provider = in_background(self.async_class(**options))

    get = blocking(AsyncSimpleProvider.get, AsyncSimpleProvider.get_local, AsyncSimpleProvider.hit)
    get_many = blocking(AsyncSimpleProvider.get_many)
    get_by_path = blocking(AsyncSimpleProvider.get_by_path, AsyncSimpleProvider.get_by_path_local)
    path_exists = blocking(AsyncSimpleProvider.path_exists)
    create = blocking(AsyncSimpleProvider.create)
    put = blocking(AsyncSimpleProvider.put)
    update = blocking(AsyncSimpleProvider.update)
    delete = blocking(AsyncSimpleProvider.delete)
    restore = blocking(AsyncSimpleProvider.restore)
    history = blocking(AsyncSimpleProvider.history)
    describe = blocking(AsyncSimpleProvider.describe)
    invalidate = blocking(AsyncSimpleProvider.invalidate)
    peek = direct(AsyncSimpleProvider.peek)
