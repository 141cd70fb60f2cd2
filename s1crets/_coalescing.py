"""Coalescing: concurrent requests share work.

`Batcher`: everything submitted in the same tick of an event loop is handled by few calls.
`SingleFlight`: what several callers need at the same time is fetched once per event loop, and what
they need in the same tick is fetched together.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from s1crets._runtime import LoopLocal
from s1crets.errors import S1cretsError, UnavailableError

T = TypeVar("T", bound=Hashable)
K = TypeVar("K", bound=Hashable)
G = TypeVar("G", bound=Hashable)
R = TypeVar("R")

_Callers: TypeAlias = tuple[tuple[Hashable, Sequence[contextvars.Context]], ...]
_callers: contextvars.ContextVar[_Callers] = contextvars.ContextVar("callers", default=())
_CLOSED = "the provider was closed during this call; call again"


def contexts_of_callers() -> list[contextvars.Context]:
    """Return the contexts of the callers that the current task works for; [] if it is their own."""
    return [context for _, contexts in _callers.get() for context in contexts]


def work_for(key: Hashable) -> None:
    """Let the current task work only for those callers that want this key."""
    _callers.set(tuple(pair for pair in _callers.get() if pair[0] == key))


class _Waiter(Generic[T, R]):
    """A caller's items, their results or exceptions once `done`, and the calls they are sent in.

    The future itself has no result, since asyncio logs the results of futures at DEBUG.
    """

    __slots__ = ("callers", "calls", "done", "left", "results")

    def __init__(self, count: int) -> None:
        self.results: dict[T, R | BaseException | None] = {}
        self.left = count  # items without a result
        self.callers = _callers.get()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.calls: list[_Call[T, R]] = []


class _Call(Generic[T, R]):
    """A call under way, and the items in it, each with its waiter."""

    def __init__(self, items: list[tuple[T, _Waiter[T, R]]]) -> None:
        self.items = items
        self.task: asyncio.Task[None] | None = None

    def settle(self, results: Mapping[T, R | BaseException | None]) -> None:
        """Give the waiters their results; wake those that have all."""
        for item, waiter in self.items:
            if item not in waiter.results:
                waiter.results[item] = results[item]
                waiter.left -= 1
                if not waiter.left and not waiter.done.done():
                    waiter.done.set_result(None)


class _Queue(Generic[T, R]):
    """The items of a group on an event loop that are to be sent, and the calls under way."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[T, _Waiter[T, R]]] = deque()
        self.calls: set[_Call[T, R]] = set()
        self.scheduled = False


class Batcher(Generic[T, R]):
    """Turns requests of many callers into calls for several items.

    Everything submitted in a tick is sent at its end, `size` distinct items per call. While
    `calls` are under way, items accumulate for the next call. Results are delivered together, so
    that follow-up requests meet in a tick again. A call that nobody awaits any more is cancelled
    unless `finishes`; otherwise what fits in one call, and is alone, is handled in its caller's
    task.

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
        self._queues: LoopLocal[dict[Hashable, _Queue[T, R]]] = LoopLocal(dict)

    async def submit(self, item: T, group: Hashable = None) -> R:
        """Return the result for `item`; only items of the same group share a call.

        Raises:
            Exception: the exception that `work` raised, or returned for this item.
        """
        result = (await self.outcomes((item,), group))[item]
        if isinstance(result, BaseException):
            raise result
        return result

    async def submit_many(self, items: Iterable[T], group: Hashable = None) -> dict[T, R]:
        """Return the results for distinct items; raise the first exception there is."""
        results = await self.outcomes(tuple(items), group)
        for result in results.values():
            if isinstance(result, BaseException):
                raise result
        return results  # type: ignore[return-value]  # without exceptions

    async def outcomes(
        self, items: Sequence[T], group: Hashable = None
    ) -> dict[T, R | BaseException]:
        """Return a result or an exception for each of several distinct items."""
        if not items:
            return {}
        loop = asyncio.get_running_loop()
        queues = self._queues.get(loop)
        if queues is None:
            queues = self._queues.here()
        queue = queues.get(group) or queues.setdefault(group, _Queue())
        waiter: _Waiter[T, R] = _Waiter(len(items))
        queue.waiting.extend((item, waiter) for item in items)
        is_first, queue.scheduled = not queue.scheduled, True
        if is_first and self._finishes:
            loop.call_soon(self._send, queue, group)
        try:
            if is_first and not self._finishes:
                await self._tick(queue, group, waiter)
            if waiter.left:
                await waiter.done
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise
        return waiter.results  # type: ignore[return-value]  # all are there

    async def _tick(self, queue: _Queue[T, R], group: Hashable, waiter: _Waiter[T, R]) -> None:
        """Wait for the end of the tick; then handle a waiter that is alone, or send all."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            waiter.done.cancel()
            self._send(queue, group)
            raise
        # The first of the waiting items is this waiter's, unless it was sent with earlier ones.
        is_alone = waiter.left == len(queue.waiting) <= self.size and queue.waiting[0][1] is waiter
        if not is_alone or len(queue.calls) >= self._calls:
            self._send(queue, group)
            return
        call = _Call(list(queue.waiting))
        queue.waiting.clear()
        queue.calls.add(call)
        queue.scheduled = False
        try:
            await self._run(call, group)
        finally:
            self._next(queue, group, call)

    def _abandon(self, waiter: _Waiter[T, R]) -> None:
        """Cancel the calls of a cancelled waiter in which nobody awaits any item any more."""
        for call in [] if self._finishes else waiter.calls:
            if call.task and all(other.done.done() for _, other in call.items):
                call.task.cancel()

    def _send(self, queue: _Queue[T, R], group: Hashable) -> None:
        """Send the waiting items as far as `calls` allows."""
        queue.scheduled = False
        while queue.waiting and len(queue.calls) < self._calls:
            items = self._take(queue)
            if not items:
                break
            call = _Call(items)
            waiters = dict.fromkeys(waiter for _, waiter in items)
            for waiter in waiters:
                waiter.calls.append(call)
            queue.calls.add(call)
            context = contextvars.copy_context()
            context.run(_callers.set, tuple(c for waiter in waiters for c in waiter.callers))
            task = asyncio.get_running_loop().create_task(self._run(call, group), context=context)
            call.task = task
            task.add_done_callback(partial(self._ended, queue, group, call))
        if not queue.calls:  # groups may be many
            self._queues[asyncio.get_running_loop()].pop(group, None)

    def _take(self, queue: _Queue[T, R]) -> list[tuple[T, _Waiter[T, R]]]:
        """Take `size` distinct items that are still awaited."""
        taken: list[tuple[T, _Waiter[T, R]]] = []
        items: set[T] = set()
        while queue.waiting and (len(items) < self.size or queue.waiting[0][0] in items):
            item, waiter = queue.waiting.popleft()
            if self._finishes or not waiter.done.done():
                items.add(item)
                taken.append((item, waiter))
        return taken

    async def _run(self, call: _Call[T, R], group: Hashable) -> None:
        items = list(dict.fromkeys(item for item, _ in call.items))
        results: Mapping[T, R | BaseException | None]
        try:
            results = await self._work(items, group)
        except Exception as error:  # noqa: BLE001  # each caller raises it
            results = dict.fromkeys(items, error)
        call.settle(results)

    def _ended(
        self, queue: _Queue[T, R], group: Hashable, call: _Call[T, R], task: asyncio.Task[None]
    ) -> None:
        if task.cancelled():
            for _, waiter in call.items:
                waiter.done.cancel()
        elif bug := task.exception():
            call.settle(dict.fromkeys((item for item, _ in call.items), bug))
        self._next(queue, group, call)

    def _next(self, queue: _Queue[T, R], group: Hashable, call: _Call[T, R]) -> None:
        queue.calls.discard(call)
        self._send(queue, group)


class _Wait:
    """A caller's wait until none of its flights is `left`."""

    __slots__ = ("arrived", "left")

    def __init__(self) -> None:
        self.left = 0
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def landed(self) -> None:
        """Count a flight that has landed."""
        self.left -= 1
        if not self.left:
            self.wake()

    def wake(self) -> None:
        """End the wait, whatever has landed."""
        if not self.arrived.done():
            self.arrived.set_result(None)


class Flight(Generic[K, R]):
    """A fetch under way: its waits, the contexts of its callers, and its outcome once `landed`.

    Args:
        key: what is fetched.
        token: what its first caller passed.
        others: those of its group that can be joined.
    """

    __slots__ = ("contexts", "key", "landed", "others", "outcome", "token", "trip", "waits")
    outcome: R | BaseException

    def __init__(self, key: K, token: Any, others: dict[K, Flight[K, R]]) -> None:
        self.key, self.token, self.others = key, token, others
        self.contexts: list[contextvars.Context] = []
        self.waits: set[_Wait] = set()
        self.trip: _Trip[K, R] | None = None  # once it has begun
        self.landed = False

    def land(self, outcome: R | BaseException) -> None:
        """Set the outcome and wake the callers; only the first time counts."""
        if self.landed:
            return
        self.landed, self.outcome = True, outcome
        self.close()
        for wait in self.waits:
            wait.landed()

    def close(self) -> None:
        """Let nobody join any more."""
        if self.others.get(self.key) is self:
            del self.others[self.key]

    def leave(self, wait: _Wait) -> None:
        """Forget a caller; cancel a task that fetches for nobody."""
        self.waits.discard(wait)
        if self.waits or self.landed:
            return
        self.close()
        if self.trip is not None and not any(one.is_awaited for one in self.trip.flights):
            self.trip.task.cancel()

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for the outcome."""
        return bool(self.waits) and not self.landed

    def result(self) -> R:
        """Return the outcome, or raise the caller's own copy of the error."""
        if not self.landed:
            raise TimeoutError
        outcome = self.outcome
        if isinstance(outcome, S1cretsError):
            own = copy.copy(outcome)
            own.__cause__ = outcome.__cause__
            raise own
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class _Trip(Generic[K, R]):
    """Flights, and the task that fetches them."""

    task: asyncio.Task[None]

    def __init__(self, flights: Sequence[Flight[K, R]]) -> None:
        self.flights = flights

    def ended(self, task: asyncio.Task[None]) -> None:
        """Land what the task has left under way."""
        # asyncio would log an exception that nobody retrieves.
        error = UnavailableError(_CLOSED) if task.cancelled() else task.exception()
        if error is not None:
            for flight in self.flights:
                flight.land(error)
        self.flights = ()  # they refer to this


async def _fetch_alone(flights: Sequence[Flight[Any, Any]], fetch: Any) -> None:
    (flight,) = flights
    flight.land(await fetch(flight.key))


class _Flights(Generic[K, G, R]):
    """The flights of an event loop: all that can be joined, and those that begin after the tick."""

    def __init__(self) -> None:
        self.by_group: dict[G, dict[K, Flight[K, R]]] = {}
        self.due: dict[G, list[Flight[K, R]]] = {}


class SingleFlight(Generic[K, G, R]):
    """The fetches under way, by event loop, group and key.

    What is wanted of the same group in the same tick is fetched by one task, up to a number of
    keys. Callers wait without owning the task. One that is cancelled leaves the others
    alone; when nobody waits for any flight of a task, it is cancelled. Each caller of a failed
    fetch gets an exception of its own: one object raised in many tasks would collect the
    tracebacks of all.

    Args:
        fetch: fetches some flights of a group, and lands each of them. By default a group is a
            function that fetches a key, in a task of its own.
        size: returns how many keys of a group a task fetches at most.
        is_joinable: returns whether flights of a group can be joined after they have begun.
    """

    def __init__(
        self,
        fetch: Callable[[Sequence[Flight[K, R]], G], Coroutine[Any, Any, None]] = _fetch_alone,
        size: Callable[[G], int] = lambda _: 1,
        is_joinable: Callable[[G], bool] = lambda _: True,
    ) -> None:
        self._fetch = fetch
        self._size = size
        self._is_joinable = is_joinable
        self._flights: LoopLocal[_Flights[K, G, R]] = LoopLocal(_Flights)

    async def join(self, key: K, group: G, token: Any = None, limit: float | None = None) -> R:
        """Return the result of a flight, or raise the caller's copy of the error.

        Raises:
            TimeoutError: it has not landed within the seconds of `limit`.
        """
        wait = _Wait()
        flight = self._join(key, group, token, wait, contextvars.copy_context())
        timer = None
        if limit is not None:
            # Costs less than a scope that cancels the task, which does nothing here but wait.
            timer = asyncio.get_running_loop().call_later(limit, wait.wake)
        try:
            await wait.arrived
        finally:
            if timer is not None:
                timer.cancel()
            flight.leave(wait)
        return flight.result()

    async def join_many(
        self, wanted: Iterable[tuple[K, G, Any]], found: dict[K, R | S1cretsError]
    ) -> None:
        """Join flights, or start them; put each result or error into `found`.

        `wanted` has distinct keys, each with its group and a token. A caller that is cancelled
        finds there what has landed.
        """
        wait, context = _Wait(), contextvars.copy_context()
        joined = [self._join(key, group, token, wait, context) for key, group, token in wanted]
        try:
            if joined:
                await wait.arrived
        finally:
            for flight in joined:
                flight.leave(wait)
            for flight in [flight for flight in joined if flight.landed]:
                try:
                    found[flight.key] = flight.result()
                except S1cretsError as error:
                    found[flight.key] = error.with_traceback(None)

    def _join(
        self, key: K, group: G, token: Any, wait: _Wait, context: contextvars.Context
    ) -> Flight[K, R]:
        """Let a caller wait for the flight of a key, which is created if there is none."""
        loop = asyncio.get_running_loop()
        flights = self._flights.get(loop) or self._flights.here()
        others = flights.by_group.get(group)
        if others is None:
            others = flights.by_group[group] = {}
        flight = others.get(key)
        if flight is None:
            flight = others[key] = Flight(key, token, others)
            if not flights.due:
                loop.call_soon(self._begin, flights)
            flights.due.setdefault(group, []).append(flight)
        wait.left += 1
        flight.waits.add(wait)
        flight.contexts.append(context)
        return flight

    def _begin(self, flights: _Flights[K, G, R]) -> None:
        """Start the tasks of all flights that are due and still waited for."""
        loop = asyncio.get_running_loop()
        due, flights.due = flights.due, {}
        flights.by_group = {group: others for group, others in flights.by_group.items() if others}
        for group, created in due.items():
            wanted, size = [flight for flight in created if flight.waits], self._size(group)
            for flight in [] if self._is_joinable(group) else wanted:
                flight.close()
            for start in range(0, len(wanted), size):
                together = wanted[start : start + size]
                context = together[0].contexts[0].copy()
                context.run(_callers.set, tuple((one.key, one.contexts) for one in together))
                trip = _Trip(together)
                for flight in together:
                    flight.trip = trip
                trip.task = loop.create_task(self._fetch(together, group), context=context)
                trip.task.add_done_callback(trip.ended)
