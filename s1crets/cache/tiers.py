"""Tiers: MemoryTier in the process, SharedTier outside of it, TieredCache for both in a row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import TYPE_CHECKING, Protocol

from s1crets.cache.entry import CachedValue, FetchToken, depends, key_of_id, next_in_sequence

if TYPE_CHECKING:
    from s1crets.cache.backends.memory import MemoryCache
    from s1crets.cache.entry import CacheKey, FetchTokens
    from s1crets.cache.shared_tier import SharedTier


class Tier(Protocol):
    """Storage of entries, as the cache sees it."""

    @property
    def peek_id(self) -> Callable[[Hashable], CachedValue | None]:
        """Returns the fresh entry of a `CacheKey.id` without waiting, or None."""
        ...

    async def begin(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, FetchToken]:
        """Return the tokens of fetches that begin now."""
        ...

    async def look_up(self, key: CacheKey) -> CachedValue | FetchToken:
        """Return the fresh entry, or the token of a fetch that begins now."""
        ...

    async def look_up_many(
        self, keys: Collection[CacheKey]
    ) -> Mapping[CacheKey, CachedValue | FetchToken]:
        """Return the result of `look_up` for each key, with as few operations as possible."""
        ...

    async def find(self, key: CacheKey) -> CachedValue | None:
        """Return the entry, fresh or within `stale_for`, or None."""
        ...

    async def put(
        self,
        values: Mapping[CacheKey, CachedValue],
        tokens: Mapping[CacheKey, FetchToken],
        lives: Mapping[CacheKey, float],
    ) -> object:
        """Store the results of fetches, unless their tokens say that they are outdated.

        `lives` has the seconds that each lives.
        """
        ...

    async def fill(
        self,
        values: Mapping[CacheKey, CachedValue],
        token: FetchToken,
        lives: Mapping[CacheKey, float],
    ) -> None:
        """Store what a fetch has read along the way, as far as there is room."""
        ...

    async def lock(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, bool | None]:
        """Take the fetch locks of keys: False if another process has it, None if unknown.

        Without locks the result is empty.
        """
        ...

    async def lock_pulse(self, key: CacheKey) -> str | None:
        """Return what changes as long as another process works on a key; None if none does."""
        ...

    async def unlock(self, keys: Collection[CacheKey]) -> None:
        """Release fetch locks."""
        ...

    async def invalidate(self, secrets: Collection[str] | None, *, paths: bool = True) -> None:
        """Drop the entries of these secrets, or all. Their fetches were voided before.

        Args:
            secrets: names, as in `CacheKey.secrets`; None means everything.
            paths: whether entries that depend on any number of secrets are dropped too.
        """
        ...

    async def drop(self, keys: Collection[CacheKey]) -> None:
        """Drop single entries."""
        ...

    async def has_entries(self, secret: str) -> bool:
        """Return whether entries may depend on a secret."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


class MemoryTier:
    """Entries in this process's memory: the objects themselves.

    An invalidation first voids the fetches under way, then deletes the entries. A fetch checks
    under the lock of the backend that it is not void: it stores nothing, or it stores before the
    deletion.

    Args:
        backend: where the entries are.
        tokens: the fetches under way in this process.
        paths: where the entries are that depend on any number of secrets. Each invalidation drops
            them: a backend of their own is emptied in one step, and not searched.
    """

    def __init__(
        self, backend: MemoryCache, tokens: FetchTokens, paths: MemoryCache | None = None
    ) -> None:
        self._backend, self._paths = backend, paths
        self._has_derived = False
        self._tokens = tokens
        self.peek_id = backend.peek if paths is None else self._peek_id

    def _peek_id(self, key_id: Hashable) -> CachedValue | None:
        found: CachedValue | None = self._backend_of(key_of_id(key_id)).peek(key_id)
        return found

    def _backend_of(self, key: CacheKey) -> MemoryCache:
        return self._backend if self._paths is None or key.secrets else self._paths

    async def begin(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, FetchToken]:
        """Return the tokens of fetches that begin now."""
        return {key: self._tokens.add(FetchToken(key)) for key in keys}

    async def look_up(self, key: CacheKey) -> CachedValue | FetchToken:
        """Return the fresh entry or a token."""
        return self._found(key)

    async def look_up_many(
        self, keys: Collection[CacheKey]
    ) -> Mapping[CacheKey, CachedValue | FetchToken]:
        """Return the fresh entries or tokens."""
        return {key: self._found(key) for key in keys}

    def _found(self, key: CacheKey) -> CachedValue | FetchToken:
        token = self._tokens.add(FetchToken(key))  # before the look: see `FetchTokens.void`
        return self.peek_id(key.id) or token

    async def find(self, key: CacheKey) -> CachedValue | None:
        """Return the entry, fresh or stale."""
        found: CachedValue | None = self._backend_of(key).peek_stale(key.id)
        return found

    async def put(
        self,
        values: Mapping[CacheKey, CachedValue],
        tokens: Mapping[CacheKey, FetchToken],
        lives: Mapping[CacheKey, float],
    ) -> None:
        """Store values, unless their tokens say that they are outdated."""
        by_id = {key.id: (value, tokens[key]) for key, value in values.items()}
        items: dict[MemoryCache, list[tuple[Hashable, CachedValue, float]]] = {}

        def is_wanted(key_id: Hashable, there: CachedValue | None) -> bool:
            value, token = by_id[key_id]
            value.landed = next_in_sequence()
            return not token.is_void and not token.yields_to(there, value.version)

        for key, value in values.items():
            backend = self._backend_of(key)
            if backend is self._backend and not key.is_primary:
                self._has_derived = True  # no look first: another thread may come
            if lives[key] > 0:
                items.setdefault(backend, []).append((key.id, value, lives[key]))
        for backend, of_backend in items.items():
            await backend.multi_set_if(of_backend, is_wanted)
            for key_id, value, _ in of_backend:
                # A signal handler may have come between the check and the storing.
                if by_id[key_id][1].is_void and backend.peek_stale(key_id) is value:
                    await backend.delete(key_id)

    async def fill(
        self,
        values: Mapping[CacheKey, CachedValue],
        token: FetchToken,
        lives: Mapping[CacheKey, float],
    ) -> None:
        """Store values as long as that pushes nothing out."""
        for key, value in values.items():
            if self._backend.full:
                return
            await self.put({key: value}, {key: token}, lives)

    async def lock(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, bool | None]:  # noqa: ARG002
        """Return nothing: no other process has this memory."""
        return {}

    async def lock_pulse(self, key: CacheKey) -> None:  # noqa: ARG002
        """Return None."""
        return

    async def unlock(self, keys: Collection[CacheKey]) -> None:
        """Do nothing: there are no locks."""

    async def invalidate(self, secrets: Collection[str] | None, *, paths: bool = True) -> None:
        """Delete the entries."""
        if self._paths is not None and paths:
            await self._paths.clear()
        if secrets is None:
            await self._backend.clear()
            return
        for secret in secrets:
            await self._backend.delete(secret)
        if self._has_derived:
            await self._backend.delete_where(
                lambda key_id, _value: depends(key_of_id(key_id), secrets, paths=paths)
            )

    async def drop(self, keys: Collection[CacheKey]) -> None:
        """Delete entries."""
        for key in keys:
            await self._backend_of(key).delete(key.id)

    async def has_entries(self, secret: str) -> bool:  # noqa: ARG002
        """Return True: an invalidation costs next to nothing here."""
        return True

    async def aclose(self) -> None:
        """Do nothing: the memory is freed with the provider."""


class TieredCache:
    """A memory in front of a shared tier, so that hits are as fast as without it.

    Invalidations of other processes are seen when an entry expires in the memory, which is
    `local_ttl` seconds after the beginning of the fetch, or of the look-up, that brought it.
    """

    def __init__(
        self,
        memory: MemoryTier,
        shared: SharedTier,
        local_ttl: float,
        timer: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._shared = shared
        self._local_ttl = local_ttl
        self._timer = timer
        self.peek_id = memory.peek_id
        self.find, self.has_entries = shared.find, shared.has_entries
        self.lock, self.unlock, self.lock_pulse = shared.lock, shared.unlock, shared.lock_pulse

    async def begin(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, FetchToken]:
        """Return tokens with the tombstones of the shared tier."""
        began = self._timer()
        tokens = await self._shared.begin(keys)
        for token in tokens.values():
            token.began = began
        return tokens

    async def look_up(self, key: CacheKey) -> CachedValue | FetchToken:
        """Return the entry of the memory, or the shared entry, which the memory then keeps."""
        local = await self._memory.look_up(key)
        if isinstance(local, CachedValue):
            return local
        local.began = self._timer()
        return await self._kept(key, local, *await self._shared.look_up_with_life(key))

    async def look_up_many(
        self, keys: Collection[CacheKey]
    ) -> Mapping[CacheKey, CachedValue | FetchToken]:
        """Return the results of `look_up`."""
        found = dict(await self._memory.look_up_many(keys))
        began = self._timer()
        missing = {key: one for key, one in found.items() if isinstance(one, FetchToken)}
        for key, (shared, life) in (await self._shared.look_up_many_with_life(missing)).items():
            missing[key].began = began
            found[key] = await self._kept(key, missing[key], shared, life)
        return found

    async def _kept(
        self, key: CacheKey, local: FetchToken, found: CachedValue | FetchToken, life: float
    ) -> CachedValue | FetchToken:
        """Return what the shared tier has found, which the memory keeps if it is an entry."""
        if isinstance(found, CachedValue):
            await self._memory.put({key: found}, {key: local}, {key: self._life_here(life, local)})
        else:
            found.began = local.began
        return found

    def _life_here(self, life: float, token: FetchToken) -> float:
        left = self._local_ttl - (self._timer() - token.began)
        return min(self._shared.seconds_until_due(life), left)

    async def put(
        self,
        values: Mapping[CacheKey, CachedValue],
        tokens: Mapping[CacheKey, FetchToken],
        lives: Mapping[CacheKey, float],
    ) -> None:
        """Store the results of fetches in both tiers, unless outdated in the shared tier."""
        outdated = await self._shared.put(values, tokens, lives)
        kept = {key: value for key, value in values.items() if key not in outdated}
        here = {key: self._life_here(lives[key], tokens[key]) for key in kept}
        await self._memory.put(kept, tokens, here)

    async def fill(
        self,
        values: Mapping[CacheKey, CachedValue],
        token: FetchToken,
        lives: Mapping[CacheKey, float],
    ) -> None:
        """Store values in both tiers."""
        await self._shared.fill(values, token, lives)
        here = {key: self._life_here(life, token) for key, life in lives.items()}
        await self._memory.fill(values, token, here)

    async def invalidate(self, secrets: Collection[str] | None, *, paths: bool = True) -> None:
        """Invalidate the memory at once, then the shared tier."""
        await self._memory.invalidate(secrets, paths=paths)
        await self._shared.invalidate(secrets, paths=paths)

    async def drop(self, keys: Collection[CacheKey]) -> None:
        """Drop entries from both tiers."""
        await self._memory.drop(keys)
        await self._shared.drop(keys)

    async def aclose(self) -> None:
        """Close the shared tier."""
        await self._shared.aclose()
