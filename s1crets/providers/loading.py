"""How a simple provider loads what the cache does not have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from s1crets.cache import Derived, SecretCache
from s1crets.cache.entry import CachedValue, together
from s1crets.errors import BadResponseError, S1cretsError, SecretNotFoundError
from s1crets.providers.asking import Asking, SimpleIdentity
from s1crets.providers.base import AsyncProvider, check_name
from s1crets.providers.batch import Batch
from s1crets.providers.entries import is_below
from s1crets.providers.hooks import Fetched, Hooks
from s1crets.providers.options import SimpleOptions, boxed, check_outside, checked_cache_args
from s1crets.providers.stats import Counters

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from s1crets.cache import Key

_ONLY = 1.0  # the version of secrets that have none: what is stored tells them apart


class SimpleLoading(Hooks, AsyncProvider):
    """What of `AsyncSimpleProvider` is no verb."""

    def __init__(self, **options: Unpack[SimpleOptions]) -> None:
        options = boxed(options)
        args = checked_cache_args(type(self), options, self.default_ttl)
        if type(self).identity is Hooks.identity:
            check_outside(self.service, args)
        self.deadline = options.get("deadline", 60.0)
        self._namespace = args.get("namespace", "")
        self._counters = Counters()
        self._ask = Asking(self.service, self.concurrency, self._counters)
        identity = SimpleIdentity(self._whose)
        self._cache = SecretCache(args, self._load, identity, on_stale=self._counters.served_stale)

    async def invalidate(self, path: str | None = None) -> None:
        """Forget what the caches hold of one secret and of all paths, or all."""
        if path is None:
            await self._cache.clear()
        else:
            await self._cache.drop(self._named(path))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.service}>"

    def _key_of(self, path: str) -> Key:
        return self._named(path)

    def _named(self, name: str) -> str:
        check_name(name)
        self.check(name)
        return name

    def _trimmed(self, path: str) -> str:
        """Return a path without the slash at its end; nothing for that of all."""
        check_name(path)
        trimmed = path.rstrip("/")
        return self._named(trimmed) if trimmed else ""

    def _path_key(self, path: str, what: str) -> Derived:
        return Derived(self._trimmed(path), (what,))

    async def _load(self, key: Key) -> CachedValue:
        if isinstance(key, str):
            return await self._fetch(key)
        if key.what == ("path",):
            return await self._fetch_path(key.name)
        if not await self._ask("exists", key.name, self.exists, key.name):
            message = f"{self.service}: there is no secret {key.name!r}, and none below"
            raise SecretNotFoundError(message)
        return CachedValue("yes", _ONLY)

    async def _fetch(self, name: str) -> CachedValue:
        fetched = await self._ask("fetch", name, self.fetch, name)
        if fetched is None:
            message = f"{self.service}: there is no secret {name!r}"
            raise SecretNotFoundError(message)
        if not isinstance(fetched, Fetched):
            fetched = Fetched(fetched)
        if not isinstance(fetched.value, (str, bytes)):
            message = (
                f"{self.service}: {name!r} came as {type(fetched.value).__name__}: `fetch` is to"
                " return str, bytes, Fetched or None"
            )
            raise BadResponseError(message)
        return CachedValue(fetched.value, fetched.version or _ONLY)

    async def _fetch_path(self, path: str) -> CachedValue:
        lease = self._cache.lease()
        found = await self._ask("names", path, self.names, path)
        names = sorted({name for name in found if is_below(name, path)})
        outcomes = await asyncio.gather(*map(self._fetch, names), return_exceptions=True)
        read: dict[str, CachedValue] = {}
        batch = Batch()
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, CachedValue):
                read[name] = outcome
            elif not isinstance(outcome, S1cretsError):
                raise outcome
            elif not isinstance(outcome, SecretNotFoundError):  # that one has just gone
                batch.errors[name] = outcome
        await self._cache.fill(dict(read.items()), lease)
        if batch.errors:
            batch.values = {name: one.value() for name, one in read.items()}
            raise batch.error(self.service)
        return together(read)

    def _whose(self) -> str:
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        return f"{kind}\0{self._namespace}\0{self.identity()}"

    async def _close_clients(self) -> None:
        await self.disconnect()
