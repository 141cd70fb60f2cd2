"""SingleFlight: what several callers need at the same time is fetched once per event loop.

Look up, join or start the task, wait without owning it. A caller that is cancelled leaves the
others alone; when the last one leaves, the fetch is cancelled. Each caller of a failed fetch gets
an exception of its own: one object raised in many tasks would collect the tracebacks of all.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Any, Generic, TypeVar

from s1crets._batcher import callers
from s1crets._per_loop import LoopLocal
from s1crets.errors import S1cretsError, UnavailableError

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class _Flight:
    """A fetch under way, the futures of its waiters, and the contexts of its callers."""

    __slots__ = ("contexts", "task", "waiters")

    def __init__(self, fetch: Coroutine[Any, Any, Any]) -> None:
        self.contexts: list[contextvars.Context] = []
        self.waiters: set[asyncio.Future[None]] = set()
        context = contextvars.copy_context()
        context.run(callers.set, (self.contexts,))
        self.task = asyncio.get_running_loop().create_task(fetch, context=context)
        self.task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[Any]) -> None:
        _ = task.cancelled() or task.exception()  # or asyncio logs that nobody retrieved it
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def outcome(self) -> tuple[Any, S1cretsError | None]:
        """Return the result, or an error for one caller; raise a bug."""
        if self.task.cancelled():
            return None, UnavailableError("the provider was closed during this call; call again")
        error = self.task.exception()
        if isinstance(error, S1cretsError):
            own = copy.copy(error)
            own.__cause__ = error.__cause__
            return None, own
        return self.task.result(), None


class SingleFlight(Generic[K, R]):
    """The fetches under way, by event loop and flight id."""

    def __init__(self) -> None:
        self._flights: LoopLocal[dict[Hashable, _Flight]] = LoopLocal(dict)

    async def join(
        self, key: K, flight_id: Hashable, fetch: Callable[[K], Coroutine[Any, Any, R]]
    ) -> R:
        """Return the result of the fetch with this id, or raise the caller's copy of the error."""
        found: dict[K, R | S1cretsError] = {}
        await self.join_many([(key, flight_id)], fetch, found)
        result = found[key]
        if isinstance(result, S1cretsError):
            raise result
        return result

    async def join_many(
        self,
        wanted: Iterable[tuple[K, Hashable]],
        fetch: Callable[[K], Coroutine[Any, Any, R]],
        found: dict[K, R | S1cretsError],
    ) -> None:
        """Join fetches, or start them; put each result or error into `found` as it arrives.

        `wanted` has keys, each with its flight id.
        """
        flights = self._flights.get(asyncio.get_running_loop())
        if flights is None:
            flights = self._flights.here()
        joined = [
            (key, flight_id, *self._join(flights, key, flight_id, fetch))
            for key, flight_id in wanted
        ]
        try:
            for key, _, flight, waiter in joined:
                await waiter
                result, error = flight.outcome()
                found[key] = result if error is None else error
        finally:
            for _, flight_id, flight, waiter in joined:
                flight.waiters.discard(waiter)
                if not flight.waiters and not flight.task.done():
                    _remove(flights, flight_id, flight)
                    flight.task.cancel()

    def _join(
        self,
        flights: dict[Hashable, _Flight],
        key: K,
        flight_id: Hashable,
        fetch: Callable[[K], Coroutine[Any, Any, R]],
    ) -> tuple[_Flight, asyncio.Future[None]]:
        flight = flights.get(flight_id)
        if flight is None:
            flight = flights[flight_id] = _Flight(fetch(key))
            flight.task.add_done_callback(lambda _: _remove(flights, flight_id, flight))
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flight.waiters.add(waiter)
        flight.contexts.append(contextvars.copy_context())
        if flight.task.done():
            waiter.set_result(None)
        return flight, waiter


def _remove(flights: dict[Hashable, _Flight], flight_id: Hashable, flight: _Flight) -> None:
    if flights.get(flight_id) is flight:
        del flights[flight_id]
