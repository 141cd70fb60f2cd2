"""Tombstones: they decide which entries outside the process count. Invalidations replace them.

The ordering rule. Every secret has a tombstone, a random token that `update`, `delete` and
`invalidate` replace; a tombstone for paths is replaced with it, and another covers all secrets.
A fetch remembers the tombstones that were there when it began, and stores them in the entry. An
entry counts only if its tombstones are the current ones, which are read together with it:

- A fetch that began before an update stores the old value with the old tombstone: it never counts,
  whenever and by whomever it is stored, and whether or not the fetching process survives.
- A tombstone that was lost (expired, evicted) does not match any entry: that costs one fetch.
- Nothing depends on clocks, so machines need not agree on the time.

Tombstones are named by place and secret, not by identity, and exist under every key of the key
ring, so that the entries of other roles, namespaces and key rings are invalidated too.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from s1crets._circuit_breaker import Backoff
from s1crets._runtime import spawn_task
from s1crets.cache.entry import CacheKey, depends

if TYPE_CHECKING:
    from s1crets.cache.backends.resilient_adapter import AiocacheBackend
    from s1crets.cache.refresh import Spawn

TOMBSTONES = "s1crets:tombstone:"
"""The prefix of tombstones: backends of limited size neither count nor evict them."""
PATHS, ALL = "\0paths", "\0all"
"""The names of the tombstones of paths and of all secrets."""
TOKEN = 8
"""Bytes of a token, of which the first says how it came about, `CREATED` or `REPLACED`."""
RANDOM = TOKEN - 1
"""Bytes of a token that are random."""
CREATED = b"c".hex()
"""The beginning of a tombstone that is no invalidation: to lose it costs a fetch, at any time."""
REPLACED = b"r".hex()
"""The beginning of a tombstone that an invalidation has put there."""
TOMBSTONE_TTL = 86400.0
"""Seconds at least, more than entries live: afterwards it costs a fetch."""
_REMEMBERED = 1000  # names that are undelivered, before everything is
_RETRY, _RETRY_LONGEST = 0.05, 5.0  # seconds between attempts to deliver an invalidation


class InvalidatedRows(NamedTuple):
    """The rows of what is invalidated."""

    tombstones: Sequence[str]  # to be replaced, in this order
    entries: Sequence[str]  # to be deleted


class Invalidations:
    """Replaces tombstones, and remembers what the backend has not taken yet.

    Args:
        backend: where the tombstones are stored.
        rows_of: returns the rows of names, in their order; None while they are not known.
        ttl: seconds that a tombstone lives.
        timer: monotonic seconds.

    Attributes:
        undelivered: the names whose tombstones are to be replaced: entries that depend on them do
            not count. An invalidation of a name that is being delivered has a mark of its own.
        spawn: runs the repeated delivery in the background.
    """

    def __init__(
        self,
        backend: AiocacheBackend,
        rows_of: Callable[[Sequence[str]], InvalidatedRows | None],
        ttl: float,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._rows_of = rows_of
        self._ttl = ttl
        self.undelivered: dict[str, object] = {}
        self.spawn: Spawn = spawn_task
        self._delivery: asyncio.Task[Any] | None = None
        self._backoff = Backoff(_RETRY, _RETRY_LONGEST, timer=timer)

    def affect(self, key: CacheKey) -> bool:
        """Return whether an entry depends on what is undelivered."""
        paths = PATHS in self.undelivered
        return ALL in self.undelivered or depends(key, self.undelivered, paths=paths)

    async def invalidate(self, secrets: Collection[str] | None, *, paths: bool) -> None:
        """Replace the tombstones of secrets, or that of all; if that fails, again later."""
        names = [ALL] if secrets is None else [*secrets]
        mark = object()
        self.undelivered |= dict.fromkeys([*names, PATHS] if paths else names, mark)
        if len(self.undelivered) > _REMEMBERED:
            self.undelivered = {ALL: mark}
        if not await self.deliver() and self._backoff.failed("deliver"):
            self.spawn(self._deliver_repeatedly)

    async def deliver(self, *, urgent: bool = False) -> bool:
        """Replace the tombstones of what was invalidated; return whether that succeeded.

        If it is urgent, also while the backend is left alone after a failure.
        """
        # The tombstone of paths comes first, as its control character sorts first: see `fill`.
        marks = dict(self.undelivered)
        names = sorted(marks)
        rows = self._rows_of(names)
        if rows is None or not names:
            return not names
        texts = {row: REPLACED + os.urandom(RANDOM).hex() for row in rows.tombstones}
        delivered = await self._backend.set_many(texts, self._ttl, urgent=urgent)
        if delivered:
            for name, mark in marks.items():
                if self.undelivered.get(name) is mark:
                    del self.undelivered[name]
            if not self.undelivered:
                self._backoff.succeeded("deliver")
        # Also if that failed: a full backend takes no tombstones, but deletes.
        await self._backend.delete_many(rows.entries)
        return delivered

    async def _deliver_repeatedly(self) -> None:
        self._delivery = asyncio.current_task()
        # After a failover others may use the backend again before this process does. Until then
        # they do not know that their entries are outdated.
        pause = _RETRY
        await asyncio.sleep(pause)
        while not await self.deliver(urgent=True) or self.undelivered:
            pause = min(2 * pause, _RETRY_LONGEST)
            await asyncio.sleep(pause)

    async def aclose(self) -> None:
        """Deliver what is undelivered, if possible, for the last time."""
        if self._delivery is not None and not self._delivery.done():
            with suppress(RuntimeError):  # its loop is closed
                self._delivery.get_loop().call_soon_threadsafe(self._delivery.cancel)
        if self.undelivered:
            await self.deliver()
