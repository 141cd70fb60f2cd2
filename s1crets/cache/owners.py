"""Whose entries a store outside of the process is looked into for."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

from s1crets._runtime import run_in_thread
from s1crets.cache.entry import CachedValue
from s1crets.cache.freshness import Flights
from s1crets.errors import S1cretsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s1crets.cache.outside import OutsideTier
    from s1crets.cache.records import Lease

_log = logging.getLogger("s1crets.cache")
_KNOWN = "who"  # the name of the row that remembers the answer
_REMEMBERED = 3600.0  # seconds
_AGAIN = 5.0  # seconds after which it is asked again, where there was no answer


class Identity(Protocol):
    """Tells whose entries a provider's are, so that nobody else's are taken for them."""

    def hint(self) -> str:
        """Return all that decides it and is at hand; nothing if that is not enough. Blocks."""
        ...

    async def ask(self) -> tuple[str, bool]:
        """Return it, and whether it may be remembered by the hint.

        Raises:
            S1cretsError: it can't be told.
        """
        ...


class Owner:
    """Opens the tiers of one cache, and tells them whose entries are meant.

    Args:
        tiers: those that are outside of the process.
        memory: a tier to remember in whose entries they are, or None.
        identity: whom to ask.
        lease: see `SecretCache.lease`.
    """

    def __init__(
        self,
        tiers: Sequence[OutsideTier],
        memory: OutsideTier | None,
        identity: Identity,
        lease: Callable[[], Lease],
    ) -> None:
        self._tiers = tiers
        self._memory = memory
        self._identity = identity
        self._lease = lease
        self._looked = False
        self._not_before = float("-inf")
        self._openings: Flights[str, None] = Flights()
        self.known = not tiers

    def look(self) -> bool:
        """Open files, and see whether they say who it is. Blocks.

        Returns:
            Whether that was news.
        """
        if self.known or self._looked:
            return False
        for tier in self._tiers:
            tier.open()
        hint = self._identity.hint() if self._memory else ""
        if self._memory and hint:
            self._memory.belong_to(hint)
            remembered = self._memory.peek(_KNOWN)
            if remembered:
                self._belong(str(remembered.raw))
        self._looked = True
        return self.known

    async def find_out(self) -> None:
        """Ask, if it is not known yet. Without an answer the tiers outside are not used."""
        if not self.known and time.monotonic() >= self._not_before:
            await self._openings.join([(_KNOWN, _KNOWN)], self._find_out, {})

    async def _find_out(self, _: str) -> None:
        await run_in_thread(self.look)
        if self.known:
            return
        problems = [await tier.check_seal() for tier in self._tiers]
        for problem in list(filter(None, problems))[:1]:
            _log.warning(problem)
        lease = self._lease()
        self._not_before = time.monotonic() + _AGAIN  # also where the caller has no time for it
        try:
            identity, lasting = await self._identity.ask()
        except S1cretsError as error:
            # Whoever asked fetches from AWS now, and gets the same error if it is one.
            _log.debug("the cache outside of the process is not used: %s", error)
            return
        self._belong(identity)
        if lasting and self._memory:
            await self._memory.store({_KNOWN: CachedValue(identity)}, lease, _REMEMBERED)

    def _belong(self, identity: str) -> None:
        for tier in self._tiers:
            tier.belong_to(identity)
        self.known = True
