"""Reading a secret past all caches, because it may have been rotated."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any

import anyio

from s1crets.cache.freshness import Flights
from s1crets.cache.outages import passes
from s1crets.errors import S1cretsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from s1crets.cache import Key
    from s1crets.cache.entry import CachedValue

_log = logging.getLogger("s1crets")
_BURST = 1.0  # seconds in which what fails is taken for one burst, and the secret is read once


def changed(held: CachedValue, than: CachedValue) -> bool:
    """Say whether one is another version; where there is none to tell by, what is stored tells."""
    return held.version != than.version or held.raw != than.raw


class Renewals:
    """Reads secrets anew, once for all who want that in the same moment.

    Args:
        fetch: fetches a secret past all caches.
        peek: returns what a local cache holds, or None.
        timer: monotonic seconds; injected by tests.
    """

    def __init__(
        self,
        fetch: Callable[[Key], Coroutine[Any, Any, CachedValue]],
        peek: Callable[[Key], CachedValue | None],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._peek = peek
        self._timer = timer
        self._flights: Flights[Key, CachedValue] = Flights()
        self._bursts: Flights[Key, None] = Flights()
        self._lately: dict[Key, tuple[float, CachedValue | None]] = {}

    async def look(self, key: Key) -> CachedValue:
        """Fetch a secret past all caches; who wants the same meanwhile gets the same.

        Raises:
            S1cretsError: it could not be read.
        """
        found: dict[Key, CachedValue | S1cretsError] = {}
        await self._flights.join([(key, key)], self._fetch, found)
        outcome = found[key]
        if isinstance(outcome, S1cretsError):
            raise outcome
        return outcome

    async def newer(self, key: Key, than: CachedValue) -> CachedValue | None:
        """Return another version of a secret than the one that failed, or None.

        Of a burst of failures the first one looks; the others learn what it has found.
        """
        now = self._timer()
        self._lately = {one: seen for one, seen in self._lately.items() if now < seen[0] + _BURST}
        known = self._peek(key)
        if known is None or not changed(known, than):
            _, seen = self._lately.get(key, (0.0, None))
            # What was seen before the one that failed says nothing.
            if key not in self._lately or (seen is not None and seen.version < than.version):
                await self._bursts.join([(key, key)], self._look, {})
            _, known = self._lately.get(key, (0.0, None))
        return known if known is not None and changed(known, than) else None

    async def _look(self, key: Key) -> None:
        held = None
        try:
            held = await self.look(key)
        except S1cretsError as error:
            _log.warning("a secret that may have been rotated can't be read anew: %s", error)
        self._lately[key] = self._timer(), held

    async def watch(
        self, key: Key, held: CachedValue, interval: float
    ) -> AsyncIterator[CachedValue]:
        """Yield a secret each time that it is found to be another version than `held`, or the last.

        Raises:
            S1cretsError: it can't be read any more, for other reasons than an outage.
        """
        reached = True
        while True:
            # Processes that were started together need not look together.
            await anyio.sleep(interval * random.uniform(0.9, 1))  # noqa: S311  # no secret
            try:
                found = await self.look(key)
            except S1cretsError as error:
                if not passes(error):
                    raise
                if reached:
                    _log.warning("a secret that is watched can't be read at the moment: %s", error)
                reached = False
                continue
            reached = True
            if changed(found, held):
                held = found
                yield held
