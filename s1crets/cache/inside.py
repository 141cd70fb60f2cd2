"""A tier in this process's memory: it holds the objects themselves."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s1crets.cache.entry import CachedValue
    from s1crets.cache.keys import Key
    from s1crets.cache.memory import MemoryCache
    from s1crets.cache.records import Lease

numbers = itertools.count(1)
"""What orders fetches that begin and fetches that land, whatever the clocks do."""


class InsideTier:
    """A tier as a cache sees it; `OutsideTier` is the other kind.

    Args:
        backend: this provider's own.
    """

    def __init__(self, backend: MemoryCache) -> None:
        self._backend = backend
        self.peek = backend.peek

    async def get(self, key: Key) -> CachedValue | None:
        """Return what is there and fresh."""
        found: CachedValue | None = self.peek(key)
        return found

    async def stale(self, key: Key) -> CachedValue | None:
        """Return what is there, also if it has expired, but not too long ago."""
        found: CachedValue | None = self._backend.peek_stale(key)
        return found

    async def store(
        self,
        entries: Mapping[Key, CachedValue],
        lease: Lease,
        life: float,
        *,
        room_only: bool = False,
    ) -> None:
        """Store what was fetched, unless it is not wanted any more, or older than what is there.

        Args:
            entries: what.
            lease: of the fetch.
            life: seconds.
            room_only: whether nothing may be pushed out for it.
        """

        def wanted(key: Any, there: CachedValue | None) -> bool:
            older = there and lease.number < there.landed and entries[key].version < there.version
            return lease.holds() and not older

        for key, held in entries.items():
            if room_only and self._backend.full:
                return
            held.landed = next(numbers)
            self._backend.put(key, held, life, wanted)

    async def claim(self, key: Key) -> bool | None:  # noqa: ARG002
        """Nobody else has this memory, so there is nothing to claim."""
        return None

    async def release(self, key: Key) -> None:
        """Nothing was claimed."""

    async def forget(self, key: Key) -> None:
        """Forget one."""
        await self._backend.delete(key)

    async def refused(self, key: Key) -> None:
        """Forget one that AWS does not give any more."""
        await self._backend.delete(key)

    async def clear(self) -> None:
        """Forget all."""
        await self._backend.clear()

    async def close(self) -> None:
        """Close nothing: it goes with the process."""
