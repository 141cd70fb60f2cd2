"""Refresher: renews entries in the background before they expire, one refresh per key."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from asyncio import _get_running_loop
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from s1crets._circuit_breaker import Backoff
from s1crets._fork import on_fork
from s1crets.errors import S1cretsError

if TYPE_CHECKING:
    from s1crets.cache.entry import CacheKey

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
