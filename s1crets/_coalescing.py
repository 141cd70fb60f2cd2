"""Coalescing: concurrent requests share work.

`Batcher`: everything submitted in the same tick of an event loop is handled by few calls.
`SingleFlight`: what several callers need at the same time is fetched once per event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from s1crets._per_loop import LoopLocal
from s1crets.errors import S1cretsError, UnavailableError

T = TypeVar("T", bound=Hashable)
K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

callers: contextvars.ContextVar[tuple[Sequence[contextvars.Context], ...]] = contextvars.ContextVar(
    "callers", default=()
)
"""The contexts of the callers that the current task works for, if it works for several callers.
Sequences, since callers may join at any time."""


class _Waiter(Generic[T]):
    """An item, its result or exception once `done`, and the call that it was sent in.

    The future itself has no result, since asyncio logs the results of futures at DEBUG.
    """

    __slots__ = ("call", "callers", "done", "item", "result")

    def __init__(self, item: T) -> None:
        self.item = item
        self.result: Any = None
        self.callers = callers.get()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call: _Call[T] | None = None


@dataclass(slots=True, eq=False)
class _Call(Generic[T]):
    """A call under way and the waiters whose items are in it."""

    waiters: list[_Waiter[T]]
    task: asyncio.Task[None] | None = None


@dataclass(slots=True, eq=False)
class _Queue(Generic[T]):
    """The waiters of a group on an event loop that are to be sent, and the calls under way."""

    waiting: deque[_Waiter[T]] = field(default_factory=deque)
    calls: set[_Call[T]] = field(default_factory=set)
    scheduled: bool = False


class Batcher(Generic[T, R]):
    """Turns single requests into calls for several items.

    Everything submitted in a tick is sent at its end, `size` distinct items per call. While
    `calls` are under way, items accumulate for the next call. Results are delivered together, so
    that follow-up requests meet in a tick again. A call that nobody awaits any more is cancelled
    unless `finishes`; otherwise an item that is alone is handled in its caller's task.

    Args:
        work: handles the distinct items of a group; returns a result or an exception for each.
        size: the largest number of items per call.
        calls: the largest number of calls under way per group and event loop.
        finishes: whether a call runs to its end after all of its callers were cancelled.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T], Any], Coroutine[Any, Any, Mapping[T, R | Exception]]],
        *,
        size: int,
        calls: int,
        finishes: bool = False,
    ) -> None:
        self._work = work
        self.size = size
        self._calls = calls
        self._finishes = finishes
        self._queues: LoopLocal[dict[Hashable, _Queue[T]]] = LoopLocal(dict)

    async def submit(self, item: T, group: Hashable = None) -> R:
        """Return the result for `item`; only items of the same group share a call.

        Raises:
            Exception: the exception that `work` raised, or returned for this item.
        """
        loop = asyncio.get_running_loop()
        queues = self._queues.get(loop)
        if queues is None:
            queues = self._queues.here()
        queue = queues.get(group) or queues.setdefault(group, _Queue())
        waiter = _Waiter(item)
        queue.waiting.append(waiter)
        is_first, queue.scheduled = not queue.scheduled, True
        if is_first and self._finishes:
            loop.call_soon(self._send, queue, group)
        try:
            if is_first and not self._finishes:
                await self._tick(queue, group, waiter)
            if not waiter.done.done():
                await waiter.done
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise
        if isinstance(waiter.result, BaseException):
            raise waiter.result
        found: R = waiter.result
        return found

    async def _tick(self, queue: _Queue[T], group: Hashable, waiter: _Waiter[T]) -> None:
        """Wait for the end of the tick; then handle a waiter that is alone, or send all."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            waiter.done.cancel()
            self._send(queue, group)
            raise
        is_alone = len(queue.waiting) == 1 and queue.waiting[0] is waiter  # unsent
        if not is_alone or len(queue.calls) >= self._calls:
            self._send(queue, group)
            return
        call = _Call([queue.waiting.pop()])
        queue.calls.add(call)
        queue.scheduled = False
        try:
            await self._run(call, group)
        finally:
            self._next(queue, group, call)

    def _abandon(self, waiter: _Waiter[T]) -> None:
        """Cancel the call of a cancelled waiter if nobody awaits any of its items any more."""
        call = waiter.call
        if call and call.task and not self._finishes and all(w.done.done() for w in call.waiters):
            call.task.cancel()

    def _send(self, queue: _Queue[T], group: Hashable) -> None:
        """Send the waiting items as far as `calls` allows."""
        queue.scheduled = False
        while queue.waiting and len(queue.calls) < self._calls:
            waiters = self._take(queue)
            if not waiters:
                break
            call = _Call(waiters)
            for waiter in waiters:
                waiter.call = call
            queue.calls.add(call)
            context = contextvars.copy_context()
            context.run(callers.set, tuple(c for waiter in waiters for c in waiter.callers))
            task = asyncio.get_running_loop().create_task(self._run(call, group), context=context)
            call.task = task
            task.add_done_callback(partial(self._ended, queue, group, call))
        if not queue.calls:  # groups may be many
            self._queues[asyncio.get_running_loop()].pop(group, None)

    def _take(self, queue: _Queue[T]) -> list[_Waiter[T]]:
        """Take the waiters of `size` distinct items that are still awaited."""
        waiters: list[_Waiter[T]] = []
        items: set[T] = set()
        while queue.waiting and (len(items) < self.size or queue.waiting[0].item in items):
            waiter = queue.waiting.popleft()
            if self._finishes or not waiter.done.done():
                items.add(waiter.item)
                waiters.append(waiter)
        return waiters

    async def _run(self, call: _Call[T], group: Hashable) -> None:
        items = list(dict.fromkeys(waiter.item for waiter in call.waiters))
        try:
            results: Mapping[T, object] = await self._work(items, group)
        except Exception as error:  # noqa: BLE001  # each caller raises it
            results = dict.fromkeys(items, error)
        for waiter in call.waiters:
            if not waiter.done.done():
                waiter.result = results[waiter.item]
                waiter.done.set_result(None)

    def _ended(
        self, queue: _Queue[T], group: Hashable, call: _Call[T], task: asyncio.Task[None]
    ) -> None:
        bug = None if task.cancelled() else task.exception()
        for waiter in call.waiters:
            if not waiter.done.done():
                waiter.result = bug
                waiter.done.set_result(None) if bug else waiter.done.cancel()
        self._next(queue, group, call)

    def _next(self, queue: _Queue[T], group: Hashable, call: _Call[T]) -> None:
        queue.calls.discard(call)
        self._send(queue, group)


class _Flight:
    """A fetch under way, the futures of its waiters, and the contexts of its callers."""

    __slots__ = ("contexts", "task", "waiters")

    def __init__(self) -> None:
        self.contexts: list[contextvars.Context] = []
        self.waiters: set[asyncio.Future[None]] = set()
        self.task: asyncio.Task[Any]

    def start(self, fetch: Coroutine[Any, Any, Any]) -> None:
        """Run `fetch` as a task."""
        context = contextvars.copy_context()
        context.run(callers.set, (self.contexts,))
        self.task = asyncio.get_running_loop().create_task(fetch, context=context)

    def land(self) -> None:
        """Wake the waiters."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def result(self) -> Any:
        """Return the result, or raise the caller's own copy of the error."""
        if self.task.cancelled():
            raise UnavailableError("the provider was closed during this call; call again")
        error = self.task.exception()
        if isinstance(error, S1cretsError):
            own = copy.copy(error)
            own.__cause__ = error.__cause__
            raise own
        return self.task.result()


class SingleFlight(Generic[K, R]):
    """The fetches under way, by event loop and flight id.

    Look up, join or start the task, wait without owning it. A caller that is cancelled leaves the
    others alone; when the last one leaves, the fetch is cancelled. Each caller of a failed fetch
    gets an exception of its own: one object raised in many tasks would collect the tracebacks of
    all.
    """

    def __init__(self) -> None:
        self._flights: LoopLocal[dict[Hashable, _Flight]] = LoopLocal(dict)

    async def join(
        self, key: K, flight_id: Hashable, fetch: Callable[[K], Coroutine[Any, Any, R]]
    ) -> R:
        """Return the result of the fetch with this id, or raise the caller's copy of the error."""
        flights = self._here()
        flight, waiter = _join(flights, key, flight_id, fetch)
        try:
            await waiter
            found: R = flight.result()
        finally:
            _leave(flights, flight_id, flight, waiter)
        return found

    async def join_many(
        self,
        wanted: Iterable[tuple[K, Hashable]],
        fetch: Callable[[K], Coroutine[Any, Any, R]],
        found: dict[K, R | S1cretsError],
    ) -> None:
        """Join fetches, or start them; put each result or error into `found` as it arrives.

        `wanted` has keys, each with its flight id.
        """
        flights = self._here()
        joined = [
            (key, flight_id, *_join(flights, key, flight_id, fetch)) for key, flight_id in wanted
        ]
        try:
            for key, _, flight, waiter in joined:
                await waiter
                try:
                    found[key] = flight.result()
                except S1cretsError as error:
                    found[key] = error.with_traceback(None)
        finally:
            for _, flight_id, flight, waiter in joined:
                _leave(flights, flight_id, flight, waiter)

    def _here(self) -> dict[Hashable, _Flight]:
        flights = self._flights.get(asyncio.get_running_loop())
        return self._flights.here() if flights is None else flights


def _join(
    flights: dict[Hashable, _Flight],
    key: K,
    flight_id: Hashable,
    fetch: Callable[[K], Coroutine[Any, Any, R]],
) -> tuple[_Flight, asyncio.Future[None]]:
    """Return the flight with this id, which starts if there is none, and a waiter for it."""
    flight = flights.get(flight_id)
    is_new = flight is None
    if flight is None:
        flight = flights[flight_id] = _Flight()
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    flight.waiters.add(waiter)
    flight.contexts.append(contextvars.copy_context())
    if is_new:
        flight.start(_fly(flights, key, flight_id, flight, fetch))
    return flight, waiter


async def _fly(
    flights: dict[Hashable, _Flight],
    key: K,
    flight_id: Hashable,
    flight: _Flight,
    fetch: Callable[[K], Coroutine[Any, Any, R]],
) -> R:
    try:
        return await fetch(key)
    finally:
        _remove(flights, flight_id, flight)
        flight.land()


def _leave(
    flights: dict[Hashable, _Flight],
    flight_id: Hashable,
    flight: _Flight,
    waiter: asyncio.Future[None],
) -> None:
    """Forget a waiter; cancel a flight that nobody waits for."""
    flight.waiters.discard(waiter)
    if flight.task.done():
        _retrieve(flight.task)
    elif not flight.waiters:
        _remove(flights, flight_id, flight)
        flight.task.add_done_callback(_retrieve)
        flight.task.cancel()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Take note of a task's exception, or asyncio logs that nobody did."""
    _ = task.cancelled() or task.exception()


def _remove(flights: dict[Hashable, _Flight], flight_id: Hashable, flight: _Flight) -> None:
    if flights.get(flight_id) is flight:
        del flights[flight_id]
