"""Freshness: how long an entry is served, refreshed ahead of expiry, and kept for outages. Pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

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

# Seconds in an outage between two requests for a name: at first, and at most.
OUTAGE_PAUSE, LONGEST_OUTAGE_PAUSE = 1.0, 30.0
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
