"""Freshness: how long an entry is served, refreshed ahead of expiry, and kept for outages. Pure.

Refresher: renews entries in the background before they expire, one refresh per key.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from asyncio import _get_running_loop
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from s1crets._circuit_breaker import Backoff
from s1crets._fork import on_fork
from s1crets.errors import (
    AccessDeniedError,
    BatchError,
    DeadlineExceededError,
    DecryptionError,
    S1cretsError,
    SecretNotFoundError,
    ThrottledError,
    UnavailableError,
)

if TYPE_CHECKING:
    from s1crets.cache.entry import CacheKey

_OUTAGES = (DeadlineExceededError, ThrottledError, UnavailableError)
_REFUSALS = (AccessDeniedError, DecryptionError, SecretNotFoundError)


class State(Enum):
    """The state of an entry: `FRESH` and `DUE` are served, `DUE` starts a refresh too."""

    FRESH = auto()
    DUE = auto()
    STALE = auto()
    GONE = auto()


class OnError(Enum):
    """The reaction to a failed fetch."""

    SERVE_STALE = auto()
    DROP = auto()
    RAISE = auto()


class Freshness(NamedTuple):
    """The time limits of a cache, all in seconds."""

    ttl: float = 900  # age at which an entry expires
    jitter: float = 0.1  # the part of `ttl`, at most, by which an entry expires earlier, at random
    refresh_ahead: float = 0  # a hit within this time before expiry starts a refresh
    stale_for: float = 0  # time after expiry in which an outage serves the entry

    def expiry(self, stored: float, expires: float) -> float:
        """Return when an entry expires for this reader, whose `ttl` may be shorter."""
        return min(expires, stored + self.ttl)

    def state(self, stored: float, expires: float, now: float) -> State:
        """Return the state of an entry, by one clock; `expires` is the opinion of who stored it."""
        expiry = self.expiry(stored, expires)
        # Before `stored`, the clock was set back: the age is unknown.
        if now < stored or now >= expiry + self.stale_for:
            return State.GONE
        if now >= expiry:
            return State.STALE
        is_due = self.refresh_ahead and now >= expiry - self.refresh_ahead
        return State.DUE if is_due else State.FRESH

    def on_error(self, error: S1cretsError) -> OnError:
        """Return what a failed fetch means for the entries of its name."""
        if is_refusal(error):
            return OnError.DROP
        return OnError.SERVE_STALE if self.stale_for and is_outage(error) else OnError.RAISE


def is_outage(error: S1cretsError) -> bool:
    """Return whether an error is transient, so that the next attempt may succeed."""
    if isinstance(error, BatchError):
        return all(map(is_outage, error.errors.values()))
    return isinstance(error, _OUTAGES)


def is_refusal(error: S1cretsError) -> bool:
    """Return whether the service refuses the secret, so that no cached value may be used."""
    if isinstance(error, BatchError):
        return any(map(is_refusal, error.errors.values()))
    return isinstance(error, _REFUSALS)


_log = logging.getLogger("s1crets.cache")

Spawn: TypeAlias = "Callable[[Callable[[], Coroutine[Any, Any, None]]], None]"
_LOST = 60.0  # seconds after which a refresh is considered lost, such as one never begun
_PAUSE = 1.0  # seconds before a failed refresh is repeated


class Refresher:
    """Starts refreshes: `fetch` fetches a key and stores the result."""

    def __init__(
        self,
        fetch: Callable[[CacheKey], Coroutine[Any, Any, object]],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._timer = timer
        self._backoff = Backoff(_PAUSE, _PAUSE, timer=timer)
        # When each began, and on which event loop; None: on that of another thread, soon.
        self._running: dict[CacheKey, tuple[float, asyncio.AbstractEventLoop | None]] = {}
        on_fork(self)

    def after_fork(self) -> None:
        """Forget the parent's refreshes: they don't run in the child."""
        self._running = {}

    def start(self, key: CacheKey, spawn: Spawn) -> None:
        """Refresh an entry in the background, unless that is under way or has just failed."""
        now = self._timer()
        began, loop = self._running.get(key, (float("-inf"), None))
        is_running = now < began + _LOST and (loop is None or loop.is_running())
        if is_running or self._backoff.is_waiting(key):
            return
        self._running[key] = now, _get_running_loop()
        try:
            spawn(functools.partial(self._run, key))
        except RuntimeError:  # no loop runs here: an awaited hit will start the refresh
            self._running.pop(key, None)

    async def _run(self, key: CacheKey) -> None:
        self._running[key] = self._timer(), asyncio.get_running_loop()
        try:
            await self._fetch(key)
        except S1cretsError as error:
            # The entry is good until it expires, so nobody needs to know yet.
            _log.debug("refreshing an entry ahead of its expiry failed: %s", error)
            self._backoff.failed(key)
        else:
            self._backoff.succeeded(key)
        finally:
            self._running.pop(key, None)
