"""Single flight: however many ask for the same thing at once, it is fetched once."""

from __future__ import annotations

import asyncio
import copy
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from s1crets._fork import renew_after_fork
from s1crets.errors import S1cretsError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

R = TypeVar("R")


class _GroundedError(Exception):
    """The fetch ended without a result, because the event loop that it ran on did."""


class _Flight(Generic[R]):
    """One fetch under way, and how many wait for it."""

    def __init__(self, fetch: Coroutine[Any, Any, R]) -> None:
        self.loop = asyncio.get_running_loop()
        self.landed: Future[R] = Future()
        self.landed.set_running_or_notify_cancel()  # so that a cancelled waiter can't cancel it
        self.waiting = 0
        self.task = self.loop.create_task(fetch)
        self.task.add_done_callback(self._land)

    def _land(self, task: asyncio.Task[R]) -> None:
        if task.cancelled():
            self.landed.set_exception(_GroundedError())
        elif (error := task.exception()) is not None:
            self.landed.set_exception(error)
        else:
            self.landed.set_result(task.result())

    def cancel(self) -> None:
        """Stop the fetch; nobody waits for it any more."""
        if self.loop is asyncio.get_running_loop():
            self.task.cancel()
            return
        with suppress(RuntimeError):  # its loop has been closed: there is nothing to stop
            self.loop.call_soon_threadsafe(self.task.cancel)


class Flights:
    """The fetches under way in this process, whichever task, thread or event loop asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, _Flight[Any]] = {}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget the parent's fetches: their loops are not in the child."""
        self._lock = threading.Lock()
        self._flights = {}

    async def join(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Return what `fetch` returns, from the fetch of `key` that is under way or from a new one.

        A waiter that is cancelled leaves the others alone; when the last one is, so is the fetch.
        When the fetch fails, each waiter gets an exception object of its own.
        """
        while True:
            flight = self._board(key, fetch)
            try:
                return await asyncio.wrap_future(flight.landed)
            except _GroundedError:
                continue
            except S1cretsError as error:
                # One object raised in many tasks would pile up the tracebacks of all.
                raise copy.copy(error) from error.__cause__
            finally:
                self._leave(key, flight)

    def _board(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, R]]) -> _Flight[R]:
        with self._lock:
            flight = self._flights.get(key)
            if flight is None or flight.landed.done():
                flight = self._flights[key] = _Flight(fetch())
            flight.waiting += 1
            return flight

    def _leave(self, key: Hashable, flight: _Flight[Any]) -> None:
        with self._lock:
            flight.waiting -= 1
            if flight.waiting:
                return
            if self._flights.get(key) is flight:
                del self._flights[key]
        if not flight.landed.done():
            flight.cancel()
