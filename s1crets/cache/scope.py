"""Scope: the identity that the entries of a cache outside the process belong to."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from s1crets._circuit_breaker import Backoff
from s1crets._coalescing import SingleFlight
from s1crets._runtime import run_in_thread
from s1crets.cache.entry import CachedValue, CacheKey, new_fetch_id
from s1crets.errors import S1cretsError

if TYPE_CHECKING:
    from s1crets.cache.shared_tier import SharedTier

_log = logging.getLogger("s1crets.cache")
REMEMBERED = 3600.0  # seconds that the scope is remembered
_KEY = CacheKey.of_secret("scope")
_RETRY = 5.0  # seconds before the service is asked again


class Scope(NamedTuple):
    """An identity: nobody gets the values of another identity."""

    # Service, region and endpoint: the same secrets for everybody who may read them. Invalidations
    # apply to all entries of a place, also of other identities.
    place: str
    owner: str  # account, role or namespace: the identity that may read them
    is_lasting: bool = True  # also after its credentials are renewed: it may be remembered on disk


class ScopeSource(Protocol):
    """A store, as far as the scope of its entries is concerned."""

    def scope_hint(self) -> str:
        """Return a text that changes whenever the scope may change, or "" if unknown. Blocks."""
        ...

    async def scope(self) -> Scope:
        """Return the identity that cache entries belong to."""
        ...


class ScopeResolver:
    """Opens the shared tiers of a cache, and tells them the scope, which `memo` remembers."""

    def __init__(
        self, tiers: Sequence[SharedTier], memo: SharedTier | None, source: ScopeSource
    ) -> None:
        self._tiers = tiers
        self._memo = memo
        self._source = source
        self._opened = False
        self._backoff = Backoff(_RETRY, _RETRY, timer=time.monotonic)
        self._resolving: SingleFlight[str, Any, None] = SingleFlight()
        self.is_known = not tiers

    def forget(self) -> None:
        """Find out the scope again before the next miss."""
        self._opened, self.is_known = False, not self._tiers
        self._backoff.succeeded("scope")

    def open(self) -> bool:
        """Open files, and look for a remembered scope; return whether there is one. Blocks."""
        if self.is_known or self._opened:
            return False
        for tier in self._tiers:
            tier.open()
        if self._memo and self._hint():
            remembered = self._memo.peek_id(_KEY.id)
            if remembered is not None and isinstance(remembered.raw, dict):
                self._use(Scope(str(remembered.raw["place"]), str(remembered.raw["owner"])))
        self._opened = True
        return self.is_known

    def _hint(self) -> str:
        """Return the current hint, under which `memo` remembers the scope, or ""."""
        hint = self._source.scope_hint() if self._memo else ""
        if self._memo and hint:
            self._memo.use_scope(Scope(hint, "scope"))
        return hint

    async def resolve(self) -> None:
        """Find out the scope, if it is not known yet. Without it, shared tiers are not used."""
        if not self.is_known and not self._backoff.is_waiting("scope"):
            await self._resolving.join("scope", self._resolve)

    async def _resolve(self, _: str) -> None:
        await run_in_thread(self.open)
        if self.is_known:
            return
        problems = [await tier.check_key() for tier in self._tiers]
        for problem in list(filter(None, problems))[:1]:
            _log.warning(problem)
        hint = await run_in_thread(self._hint)
        self._backoff.failed("scope")  # also if the caller has no time for the answer
        try:
            scope = await self._source.scope()
        except S1cretsError as error:
            # The caller's fetch follows, and gets the same error if it is an error.
            _log.debug("the cache outside the process is not used: %s", error)
            return
        self._use(scope)
        # Not if it is unknown which of two hints it belongs to.
        if scope.is_lasting and self._memo and hint == await run_in_thread(self._hint):
            raw = {"place": scope.place, "owner": scope.owner}
            tokens = await self._memo.begin([_KEY])
            values = {_KEY: CachedValue(raw, 1.0, new_fetch_id())}
            await self._memo.put(values, tokens, {_KEY: REMEMBERED})

    def _use(self, scope: Scope) -> None:
        for tier in self._tiers:
            tier.use_scope(scope)
        self.is_known = True
