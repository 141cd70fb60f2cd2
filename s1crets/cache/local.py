"""A memory in front of a tier that others share, for a short while: hits are as fast as memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s1crets.cache.inside import InsideTier, numbers
from s1crets.cache.records import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from s1crets.cache.entry import CachedValue
    from s1crets.cache.keys import Key
    from s1crets.cache.memory import MemoryCache
    from s1crets.cache.outside import OutsideTier


class LocalTier:
    """A tier as a cache sees it; what others have updated is seen `seconds` later at most.

    Args:
        memory: this provider's own.
        shared: the tier behind it.
        seconds: how long an entry stays in the memory, from when it was asked for on.
        ahead: seconds before its expiry from which on a hit is a late one.
        clock: wall-clock seconds.
    """

    def __init__(
        self,
        memory: MemoryCache,
        shared: OutsideTier,
        *,
        seconds: float,
        ahead: float,
        clock: Callable[[], float],
    ) -> None:
        self._memory = InsideTier(memory)
        self._shared = shared
        self._seconds = seconds
        self._ahead = ahead
        self._clock = clock
        self._age = object()  # another one after all that is forgotten
        self.peek = memory.peek
        self.stale, self.claim, self.release = shared.stale, shared.claim, shared.release

    async def get(self, key: Key) -> CachedValue | None:
        """Return what is there and fresh."""
        held: CachedValue | None = self.peek(key)
        if held is None:
            age = self._age
            lease = Lease(next(numbers), self._clock(), lambda: self._age is age)
            held, life = await self._shared.find(key)
            if held is not None:
                # The first late hit has to be seen by the tier behind.
                early = life - self._ahead
                await self._keep({key: held}, lease, early if early > 0 else life)
        return held

    async def store(
        self,
        entries: Mapping[Key, CachedValue],
        lease: Lease,
        life: float,
        *,
        room_only: bool = False,
    ) -> None:
        """Do what `InsideTier.store` does, here and there."""
        await self._keep(entries, lease, max(life - self._ahead, 0), room_only=room_only)
        await self._shared.store(entries, lease, life, room_only=room_only)

    async def _keep(
        self,
        entries: Mapping[Key, CachedValue],
        lease: Lease,
        life: float,
        *,
        room_only: bool = False,
    ) -> None:
        # Counted from when it was asked for: an update may have come in between.
        left = self._seconds - max(self._clock() - lease.began, 0)
        if min(life, left) > 0:
            await self._memory.store(entries, lease, min(life, left), room_only=room_only)

    async def forget(self, key: Key) -> None:
        """Forget one, at once here, and then there."""
        self._age = object()
        await self._memory.forget(key)
        await self._shared.forget(key)

    async def refused(self, key: Key) -> None:
        """Forget one that AWS does not give any more."""
        self._age = object()
        await self._memory.refused(key)
        await self._shared.refused(key)

    async def clear(self) -> None:
        """Forget all, at once here, and then there."""
        self._age = object()
        await self._memory.clear()
        await self._shared.clear()

    async def close(self) -> None:
        """Close what is open."""
        await self._shared.close()
