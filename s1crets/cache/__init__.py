"""The cache in front of every call: one tier for keys, one for all that is derived from several.

`update` drops a key and the whole second tier: paths, and the names that a secret has besides its
own (ARNs, selectors, versions).
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import TYPE_CHECKING, Any

from s1crets._runtime import on_fork
from s1crets.cache.freshness import Flights, Refresher, spawn_task
from s1crets.cache.inside import numbers
from s1crets.cache.keys import Derived, Key, name_of
from s1crets.cache.outages import Outages, passes, refuses
from s1crets.cache.owners import Owner
from s1crets.cache.records import Lease
from s1crets.cache.tiers import CacheArgs, Tiers
from s1crets.errors import S1cretsError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from s1crets.cache.entry import CachedValue
    from s1crets.cache.freshness import Spawn
    from s1crets.cache.owners import Identity
    from s1crets.cache.tiers import Tier

__all__ = ["CacheArgs", "Derived", "Key", "SecretCache"]

_CLAIMED = 1.0  # seconds that another process may take to fetch what it has claimed
_LOOK, _LOOK_LATER = 0.005, 0.05  # seconds between looks at what another process fetches


class SecretCache:
    """Reads through two tiers, and fetches what neither has.

    Args:
        args: the caller's `cache_args`, checked.
        load: fetches what is asked for by a key from the service.
        identity: tells whose entries these are, where others use the same store.
        on_stale: told of each expired value that is served.
        timer: monotonic seconds; injected by tests.
        clock: wall-clock seconds; injected by tests.
    """

    def __init__(
        self,
        args: CacheArgs,
        load: Callable[[Key], Coroutine[None, None, CachedValue]],
        identity: Identity,
        *,
        on_stale: Callable[[], None] = lambda: None,
        timer: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ttl = args.get("cache_ttl", 900)
        self._jitter = args.get("jitter", 0.1)
        self._stale_for = args.get("stale_for", 0)
        self._clock = clock
        self._load = load
        self._lock = threading.Lock()
        self._generation = 0
        tiers = Tiers.of(args, self._refresh, timer, clock)
        self._keys, self._derived = tiers.keys, tiers.derived
        self._owner = Owner(tiers.outside, tiers.memo, identity, self.lease)
        self.peek_name: Callable[[str], CachedValue | None] = self._keys.peek
        self._refresher = Refresher(self._renew)
        self._flights: Flights[Key, CachedValue] = Flights()
        self._outages: Outages[Key] = Outages(timer)
        self._dropping: set[asyncio.Task[None]] = set()
        self._on_stale = on_stale
        self.spawn: Spawn = spawn_task
        on_fork(self)

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.Lock()

    def open(self) -> bool:
        """Open what takes reading files. Blocks.

        Returns:
            Whether another look may find more now.
        """
        return self._owner.look()

    def peek(self, key: Key) -> CachedValue | None:
        """Return what a local tier holds, or None; waits for nothing.

        `peek_name` is the same for plain names alone, and faster.
        """
        return self._tier(key).peek(key)

    async def read(self, key: Key, *, cached: bool) -> CachedValue:
        """Return what a tier holds or `load` returns, which is then stored.

        Where `cached` is false, no tier and no other caller's fetch answers, but it is stored.
        """
        found: dict[Key, CachedValue | S1cretsError] = {}
        await self.read_many([key], found, cached=cached)
        held = found[key]
        if isinstance(held, S1cretsError):
            raise held
        return held

    async def read_many(
        self, keys: Iterable[Key], found: dict[Key, CachedValue | S1cretsError], *, cached: bool
    ) -> None:
        """Put into `found`, as they come, what `read` would return or raise for each of `keys`."""
        if not self._owner.known:
            await self._owner.find_out()
        # A fetch from before an update is not joined by callers from after it, and one that no
        # cache may answer is not joined at all.
        flight = self._generation if cached else object()
        fetch = self._get_or_fetch if cached and self.ttl else self._fetch
        await self._flights.join([(key, (key, flight)) for key in keys], fetch, found)

    async def _get_or_fetch(self, key: Key) -> CachedValue:
        tier = self._tier(key)
        held = await tier.get(key)  # another flight may have landed since the caller looked
        if held is not None:
            return held
        claimed = await tier.claim(key)
        if claimed is None:
            return await self._fetch_or_stale(key)
        try:
            if not claimed:
                held, claimed = await self._wait_for_claim(key)
            # Who had the claim until now may have stored it.
            held = held or await tier.get(key)
            return held or await self._fetch_or_stale(key)
        finally:
            if claimed:
                await tier.release(key)

    async def _wait_for_claim(self, key: Key) -> tuple[CachedValue | None, bool | None]:
        """Wait until another process has fetched it, or does not any more, or takes too long."""
        tier, pause = self._tier(key), _LOOK
        until = time.monotonic() + _CLAIMED
        while time.monotonic() < until:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LOOK_LATER)
            held = await tier.get(key)
            if held is not None:
                return held, False
            claimed = await tier.claim(key)
            if claimed is not False:
                return None, claimed
        return None, False

    async def _fetch_or_stale(self, key: Key) -> CachedValue:
        """Fetch; in an outage, return what has expired not too long ago, and spare AWS."""
        if self._outages.waits(key):
            held = await self._tier(key).stale(key)
            if held is not None:
                self._on_stale()
                return held
        try:
            return await self._fetch(key)
        except S1cretsError as error:
            return await self.in_outage(key, error)

    async def in_outage(self, key: Key, error: S1cretsError) -> CachedValue:
        """Return what has expired not too long ago, if `error` is one of an outage.

        Raises:
            S1cretsError: `error`, if not.
        """
        held = await self._tier(key).stale(key) if self._stale_for and passes(error) else None
        if held is None:
            raise error
        self._outages.failed(key, name_of(key), error)
        self._on_stale()
        return held

    async def _fetch(self, key: Key) -> CachedValue:
        lease = self.lease()
        try:
            held = await self._load(key)
        except S1cretsError as error:
            if refuses(error):
                self._outages.over(key)
                await self._tier(key).refused(key)
            raise
        self._outages.over(key)
        return await self.put(key, held, lease)

    async def _renew(self, key: Key) -> None:
        """Fetch what is about to expire, unless another process is at it."""
        tier = self._tier(key)
        claimed = await tier.claim(key)
        if claimed is False:
            return
        try:
            await self._fetch(key)
        finally:
            if claimed:
                await tier.release(key)

    async def put(self, key: Key, held: CachedValue, lease: Lease) -> CachedValue:
        """Store what was fetched, unless that is not wanted any more."""
        held.version = held.version or lease.began
        if self.ttl:
            await self._tier(key).store({key: held}, lease, self._life())
        return held

    async def fill(self, values: Mapping[Key, CachedValue], lease: Lease) -> None:
        """Store what a path's fetch has read besides, as far as there is room."""
        for held in values.values():
            held.version = held.version or lease.began
        if self.ttl and values:
            tier = self._tier(next(iter(values)))
            await tier.store(values, lease, self._life(), room_only=True)

    def lease(self) -> Lease:
        """Return what says whether what is fetched from now on may still be stored.

        An update or an invalidation in between says no: the fetch may have read the old value.
        """
        generation = self._generation
        return Lease(next(numbers), self._clock(), lambda: self._generation == generation)

    async def drop(self, *keys: Key) -> None:
        """Forget these, and all that may be derived from them, also what is being fetched now."""
        await self._to_its_end(self._drop(keys))

    async def _to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Forget something; who is cancelled meanwhile leaves it: half of it would be worse."""
        with self._lock:
            self._generation += 1
        dropping = asyncio.get_running_loop().create_task(work)
        self._dropping.add(dropping)
        dropping.add_done_callback(self._dropped)
        await asyncio.shield(dropping)

    def _dropped(self, dropping: asyncio.Task[None]) -> None:
        self._dropping.discard(dropping)
        _ = dropping.cancelled() or dropping.exception()  # or asyncio says that nobody looked

    async def _drop(self, keys: Iterable[Key]) -> None:
        if not self._owner.known:
            await self._owner.find_out()
        for key in keys:
            await self._tier(key).forget(key)
        await self._derived.clear()

    async def clear(self) -> None:
        """Forget all."""
        await self._to_its_end(self._clear())

    async def _clear(self) -> None:
        await self._drop(())
        await self._keys.clear()

    async def close(self) -> None:
        """Close what the tiers have open."""
        await self._keys.close()
        await self._derived.close()

    def _life(self) -> float:
        """Return how many seconds a new entry is to live."""
        return self.ttl * (1 - self._jitter * random.random())  # noqa: S311  # no secret

    def _refresh(self, key: Key) -> None:
        self._refresher.start(key, self.spawn)

    def _tier(self, key: Key) -> Tier:
        return self._keys if isinstance(key, str) else self._derived
