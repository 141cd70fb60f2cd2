"""Verbs of aiocache over a storage, and what backends declare about reads and locks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from aiocache.base import API, SENTINEL, BaseCache

R = TypeVar("R")

INFINITY = float("inf")
LARGEST_ROW = 8 * 2**20
"""Bytes of a row outside of the process that is read or stored: it is decrypted on the loop."""

pausing: ContextVar[Callable[[], AbstractContextManager[object]]] = ContextVar(
    "pausing", default=nullcontext
)
"""What stops the clock of the running operation while a connection is opened for it."""


class SyncReadable(ABC):
    """A backend that is read in the caller's thread, without the event loop.

    A backend declares this by subclassing; a method of the same name means nothing.
    """

    @abstractmethod
    def peek_many(self, keys: Sequence[str]) -> Sequence[str | None]:
        """Return the stored texts, None for a missing or expired key. Never waits for I/O long.

        All keys are read in the same instant. Raises what the storage raises.
        """

    def open(self) -> None:  # noqa: B027  # memory has no files
        """Open files, if there are any. Blocks."""

    async def purge(self, prefix: str) -> None:  # noqa: B027
        """Delete all keys with a prefix, and leave no trace of them in any file."""


class KernelLocks(ABC):
    """A backend with fetch locks that the operating system frees when a process dies."""

    @abstractmethod
    def acquire_lock(self, key: str) -> bool:
        """Lock `key` for this process unless another has; return whether it did. Never waits."""

    @abstractmethod
    def renew_lock(self, key: str) -> None:
        """Change the pulse of `key`, which this process has locked."""

    @abstractmethod
    def lock_pulse(self, key: str) -> str | None:
        """Return what changes as long as the holder of `key` works; None if it is not locked."""

    @abstractmethod
    def release_lock(self, key: str) -> None:
        """Unlock `key`."""


class MultiWriter(BaseCache):  # type: ignore[misc]  # aiocache has no type hints
    """A backend that adds or deletes several keys in one operation; aiocache has no verbs for it.

    A backend declares this by subclassing.
    """

    @API.aiocache_enabled(fake_return=frozenset())  # type: ignore[untyped-decorator]
    @API.timeout  # type: ignore[untyped-decorator]
    async def multi_add(self, pairs: Iterable[tuple[str, Any]], ttl: Any = SENTINEL) -> set[str]:
        """Store the values of keys that do not exist; return the keys that do."""
        keys = {self.build_key(key, namespace=self.namespace): (key, value) for key, value in pairs}
        serializer: Any = self.serializer
        values = {key: serializer.dumps(value) for key, (_, value) in keys.items()}
        return {keys[key][0] for key in await self._multi_add(values, self._get_ttl(ttl))}

    @API.aiocache_enabled()  # type: ignore[untyped-decorator]
    @API.timeout  # type: ignore[untyped-decorator]
    async def multi_delete(self, keys: Iterable[str]) -> None:
        """Delete keys, as far as they exist."""
        await self._multi_delete([self.build_key(key, namespace=self.namespace) for key in keys])

    @abstractmethod
    async def _multi_add(self, values: Mapping[Any, Any], ttl: float | None) -> Collection[Any]:
        """Store the values of keys that do not exist; return the keys that do."""

    @abstractmethod
    async def _multi_delete(self, keys: Collection[Any]) -> None:
        """Delete keys."""


class OversizedError(ValueError):
    """A row is longer than any that is read or stored here."""


class CacheFactory(ABC):
    """A function that returns an aiocache cache for one event loop, and knows its errors.

    Attributes:
        title: the cache's name in warnings.
        calls: operations at a time, per loop. The others wait before their time counts.
    """

    title: str
    calls: int = 8

    @abstractmethod
    def __call__(self) -> BaseCache:
        """Return a new cache. May block."""

    @abstractmethod
    def explain(self, error: BaseException) -> str:
        """Return what an error of the cache means, without a secret; "" if that is unknown."""


class Storage(Protocol):
    """Stored entries, as a transaction sees them. `expires` is by the storage's own clock."""

    def find(self, key: Any, *, expired: bool = False) -> tuple[Any, float] | None:
        """Return the stored value of a key, and when it expires; None if there is none."""
        ...

    def put(self, key: Any, stored: Any, expires: float) -> None:
        """Store a value."""
        ...

    def remove(self, key: Any) -> None:
        """Delete a key, if it exists."""
        ...

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Return the keys and stored values that have not expired."""
        ...


class StorageCache(MultiWriter, SyncReadable):
    """Implements the operations behind aiocache's public methods, each as one transaction."""

    @abstractmethod
    async def _read(self, keys: Sequence[Any]) -> Sequence[Any]:
        """Return the stored values of `keys`, all of the same instant; None for a missing key."""

    @abstractmethod
    async def _transact(self, action: Callable[[Storage], R]) -> R:
        """Return `action(storage)`, during which nobody else writes."""

    @abstractmethod
    def _expires(self, ttl: float | None) -> float:
        """Return when an entry expires that is stored now."""

    def _encoded(self, value: Any) -> Any:
        """Return the form in which a value is stored."""
        return value

    def _decoded(self, stored: Any, encoding: str | None = "utf-8") -> Any:
        """Return the value of its stored form; None for None, and for what can't be decoded."""
        return stored

    async def _get(self, key: Any, encoding: str | None = "utf-8", _conn: object = None) -> Any:
        return self._decoded((await self._read((key,)))[0], encoding)

    async def _gets(self, key: Any, encoding: object = None, _conn: object = None) -> Any:
        stored = (await self._read((key,)))[0]
        value = self._decoded(stored)
        return stored if value is None else value

    async def _multi_get(
        self, keys: Sequence[Any], encoding: str | None = "utf-8", _conn: object = None
    ) -> list[Any]:
        return [self._decoded(stored, encoding) for stored in await self._read(keys)]

    async def _set(
        self,
        key: Any,
        value: Any,
        ttl: float | None = None,
        _cas_token: Any = None,
        _conn: object = None,
    ) -> bool:
        """Store a value. With a token, only if it equals the value that is stored."""
        stored = self._encoded(value)

        def action(storage: Storage) -> bool:
            if _cas_token is not None:
                there, _ = storage.find(key) or (None, 0)
                if self._encoded(_cas_token) != there:
                    return False
            storage.put(key, stored, self._expires(ttl))
            return True

        return await self._transact(action)

    async def _multi_set(
        self, pairs: Iterable[tuple[Any, Any]], ttl: float | None = None, _conn: object = None
    ) -> bool:
        encoded = [(key, self._encoded(value)) for key, value in pairs]

        def action(storage: Storage) -> bool:
            for key, stored in encoded:
                storage.put(key, stored, self._expires(ttl))
            return True

        return await self._transact(action)

    async def _add(
        self, key: Any, value: Any, ttl: float | None = None, _conn: object = None
    ) -> bool:
        stored = self._encoded(value)

        def action(storage: Storage) -> bool:
            if storage.find(key):  # the error is worded as aiocache's own
                raise ValueError(f"Key {key} already exists, use .set to update the value")
            storage.put(key, stored, self._expires(ttl))
            return True

        return await self._transact(action)

    async def _multi_add(self, values: Mapping[Any, Any], ttl: float | None) -> Collection[Any]:
        encoded = {key: self._encoded(value) for key, value in values.items()}

        def action(storage: Storage) -> Collection[Any]:
            existing = {key for key in encoded if storage.find(key)}
            for key, stored in encoded.items():
                if key not in existing:
                    storage.put(key, stored, self._expires(ttl))
            return existing

        return await self._transact(action)

    async def _exists(self, key: Any, _conn: object = None) -> bool:
        return await self._transact(lambda storage: storage.find(key) is not None)

    async def _increment(self, key: Any, delta: int, _conn: object = None) -> int:
        def action(storage: Storage) -> int:
            stored, expires = storage.find(key) or (0, INFINITY)
            number = _incremented(stored, delta)
            storage.put(key, self._encoded(number), expires)
            return number

        return await self._transact(action)

    async def _expire(self, key: Any, ttl: float, _conn: object = None) -> bool:
        def action(storage: Storage) -> bool:
            found = storage.find(key)
            if found:
                storage.put(key, found[0], self._expires(ttl))
            return found is not None

        return await self._transact(action)

    async def _delete(self, key: Any, _conn: object = None) -> int:
        def action(storage: Storage) -> int:
            found = storage.find(key)
            storage.remove(key)
            return int(found is not None)

        return await self._transact(action)

    async def _multi_delete(self, keys: Collection[Any]) -> None:
        def action(storage: Storage) -> None:
            for key in keys:
                storage.remove(key)

        await self._transact(action)

    @abstractmethod
    async def _clear(self, namespace: str | None = None, _conn: object = None) -> bool:
        """Delete all keys that start with a namespace."""

    async def _raw(
        self,
        command: str,
        *args: Any,
        encoding: str | None = "utf-8",
        _conn: object = None,
        **kwargs: Any,
    ) -> Any:
        """Call a method of dict, such as `setdefault`, on the values that have not expired."""

        def action(storage: Storage) -> Any:
            values = {key: self._decoded(stored, encoding) for key, stored in storage.items()}
            before = {key: value for key, value in values.items() if value is not None}
            after = before.copy()
            result = getattr(after, command)(*args, **kwargs)
            for key in before.keys() - after.keys():
                storage.remove(key)
            for key, value in after.items():
                if key not in before or value is not before[key]:
                    storage.put(key, self._encoded(value), INFINITY)
            return result

        return await self._transact(action)

    async def _redlock_release(self, key: Any, value: Any) -> int:
        def action(storage: Storage) -> int:
            found = storage.find(key)
            is_owner = found is not None and found[0] == self._encoded(value)
            if is_owner:
                storage.remove(key)
            return int(is_owner)

        return await self._transact(action)


def _incremented(stored: Any, delta: int) -> int:
    with suppress(ValueError):
        return int(stored) + delta
    raise TypeError("Value is not an integer")  # outside of the handler: its error has the value
