"""Single flight, so that what many ask for is fetched once; and refreshing ahead of expiry."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from s1crets._runtime import on_fork
from s1crets.errors import S1cretsError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Iterable

_log = logging.getLogger("s1crets.cache")
R = TypeVar("R")
K = TypeVar("K", bound="Hashable")


aboard: contextvars.ContextVar[tuple[list[contextvars.Context], ...] | None] = (
    contextvars.ContextVar("aboard", default=None)
)
"""The contexts of those for whom the current task fetches, where that is a task of its own.

Lists, as others may join at any time.
"""


class _GroundedError(Exception):
    """The fetch ended without a result, because the event loop that it ran on did."""


_Outcome: TypeAlias = "tuple[Any, BaseException | None]"
_Ticket: TypeAlias = "asyncio.Future[_Outcome]"


class _Flight:
    """One fetch under way, and the tickets of those who wait for it, on whichever loop they are.

    A ticket gets an outcome and never an exception, which asyncio would complain of where the one
    that waits has gone.
    """

    __slots__ = ("contexts", "loop", "task", "tickets", "waiting")

    def __init__(self, fetch: Coroutine[Any, Any, Any]) -> None:
        self.contexts: list[contextvars.Context] = []
        self.loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        context.run(aboard.set, (self.contexts,))
        self.task = context.run(self.loop.create_task, fetch)  # its `context=` is of Python 3.11
        self.tickets: list[_Ticket] = []
        self.waiting = 0

    def outcome(self) -> _Outcome:
        """Return what the fetch ended with."""
        if self.task.cancelled():
            return None, _GroundedError()
        error = self.task.exception()
        return (None, error) if error is not None else (self.task.result(), None)

    def cancel(self) -> None:
        """Stop the fetch; nobody waits for it any more."""
        if self.loop is asyncio.get_running_loop():
            self.task.cancel()
            return
        with suppress(RuntimeError):  # its loop has been closed: there is nothing to stop
            self.loop.call_soon_threadsafe(self.task.cancel)


class Flights(Generic[K, R]):
    """The fetches under way in this process, whichever task, thread or event loop asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, _Flight] = {}
        on_fork(self)

    def after_fork(self) -> None:
        """Forget the parent's fetches: their loops are not in the child."""
        self._lock = threading.Lock()
        self._flights = {}

    async def join(
        self,
        wanted: Iterable[tuple[K, Hashable]],
        fetch: Callable[[K], Coroutine[Any, Any, R]],
        found: dict[K, R | S1cretsError],
    ) -> None:
        """Join the fetches of several keys, and put into `found` what comes of each.

        A waiter that is cancelled leaves the others alone; when the last one is, so is the fetch.
        When a fetch fails, each waiter gets an exception object of its own.

        Args:
            wanted: keys, each with what its flight is known by.
            fetch: makes the fetch of a key.
            found: gets a result or an error a key, as they come.
        """
        wanted = list(wanted)
        while wanted:
            boarded = [
                (key, flight_id, *self._board(key, flight_id, fetch)) for key, flight_id in wanted
            ]
            wanted = []
            try:
                for key, flight_id, _, ticket in boarded:
                    result, error = await ticket
                    if error is None:
                        found[key] = result
                    elif isinstance(error, S1cretsError):
                        # One object raised in many tasks would pile up the tracebacks of all.
                        found[key] = own = copy.copy(error)
                        own.__cause__ = error.__cause__
                    elif isinstance(error, _GroundedError):
                        wanted.append((key, flight_id))
                    else:
                        raise error
            finally:
                for _, flight_id, flight, _ in boarded:
                    self._leave(flight_id, flight)

    def _board(
        self, key: K, flight_id: Hashable, fetch: Callable[[K], Coroutine[Any, Any, R]]
    ) -> tuple[_Flight, _Ticket]:
        ticket: _Ticket = asyncio.get_running_loop().create_future()
        with self._lock:
            flight = self._flights.get(flight_id)
            # A loop that was closed without cancelling its tasks has left this one for dead.
            if flight is None or flight.loop.is_closed():
                flight = self._flights[flight_id] = _Flight(fetch(key))
                flight.task.add_done_callback(lambda _: self._land(flight_id, flight))
            flight.waiting += 1
            flight.tickets.append(ticket)
            flight.contexts.append(contextvars.copy_context())
        return flight, ticket

    def _land(self, flight_id: Hashable, flight: _Flight) -> None:
        with self._lock:
            if self._flights.get(flight_id) is flight:
                del self._flights[flight_id]
            tickets, flight.tickets = flight.tickets, []
        outcome = flight.outcome()
        for ticket in tickets:
            loop = ticket.get_loop()
            if loop is flight.loop:
                _hand_over(ticket, outcome)
            else:
                with suppress(RuntimeError):  # the loop of the one that waited has been closed
                    loop.call_soon_threadsafe(_hand_over, ticket, outcome)

    def _leave(self, flight_id: Hashable, flight: _Flight) -> None:
        with self._lock:
            flight.waiting -= 1
            if flight.waiting or not flight.tickets:
                return
            if self._flights.get(flight_id) is flight:
                del self._flights[flight_id]
        flight.cancel()


Spawn: TypeAlias = "Callable[[Callable[[], Coroutine[Any, Any, None]]], None]"
_AGAIN = 1.0  # seconds before a refresh that failed is tried again
_LOST = 60.0  # seconds after which one that has not ended is taken for lost, with its loop


class Refresher(Generic[K]):
    """Refreshes entries that are about to expire, one refresh a key at a time.

    Args:
        fetch: fetches a key anew, and stores it.
        timer: a clock in seconds; injected by tests.
    """

    def __init__(
        self,
        fetch: Callable[[K], Coroutine[Any, Any, object]],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._timer = timer
        self._not_before: dict[K, float] = {}
        on_fork(self)

    def after_fork(self) -> None:
        """Forget the parent's refreshes: they are not going on in the child."""
        self._not_before = {}

    def start(self, key: K, spawn: Spawn) -> None:
        """Refresh an entry in the background, unless that is going on, or has just failed."""
        if self._timer() >= self._not_before.get(key, 0.0):
            self._not_before[key] = self._timer() + _LOST
            try:
                spawn(functools.partial(self._run, key))
            except RuntimeError:  # no loop runs here: a hit that is awaited will start it
                self._not_before.pop(key, None)

    async def _run(self, key: K) -> None:
        try:
            await self._fetch(key)
        except S1cretsError as error:
            # The entry is good until it expires, so nobody needs to know yet.
            _log.debug("refreshing an entry ahead of its expiry failed: %s", error)
            self._not_before[key] = self._timer() + _AGAIN
        except BaseException:
            self._not_before.pop(key, None)
            raise
        else:
            self._not_before.pop(key, None)


def spawn_task(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `work` as a task of the running loop, which it does not outlive."""
    task = asyncio.get_running_loop().create_task(work())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


_tasks: set[asyncio.Task[None]] = set()


def _hand_over(ticket: _Ticket, outcome: _Outcome) -> None:
    if not ticket.done():
        ticket.set_result(outcome)
