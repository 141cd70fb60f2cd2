"""What is asked for in one tick of an event loop, by whichever tasks, is asked for together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from s1crets._redaction import Redacted, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

T = TypeVar("T")
R = TypeVar("R")

_Ticket: TypeAlias = "asyncio.Future[Redacted]"


class Gathered(Generic[T, R]):
    """Hands over to one call what is asked for in one tick, and then answers all at once.

    So what follows is in one tick again, and requests to AWS stay batches.

    Args:
        work: does what was asked for; returns an answer for each, in the order asked.
    """

    def __init__(self, work: Callable[[list[T]], Coroutine[Any, Any, Sequence[R]]]) -> None:
        self._work = work
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, list[tuple[T, _Ticket]]] = (
            WeakKeyDictionary()
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def do(self, one: T) -> R:
        """Return the answer to `one`; it is worked on also if its caller does not wait."""
        loop = asyncio.get_running_loop()
        ticket: _Ticket = loop.create_future()
        waiting = self._waiting.get(loop)
        if waiting is None:
            waiting = self._waiting[loop] = []
            loop.call_soon(self._leave, loop)
        waiting.append((one, ticket))
        found: R = (await ticket).reveal()
        return found

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(self._answer(self._waiting.pop(loop)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: list[tuple[T, _Ticket]]) -> None:
        try:
            answers = await self._work([one for one, _ in batch])
        except BaseException as error:
            for _, ticket in batch:
                _land(ticket, error)
            if not isinstance(error, Exception):
                raise
        else:
            for (_, ticket), answer in zip(batch, answers, strict=True):
                _land(ticket, redact(answer))


def _land(ticket: _Ticket, outcome: Redacted | BaseException) -> None:
    if ticket.done():
        return
    if isinstance(outcome, Redacted):
        ticket.set_result(outcome)
    elif isinstance(outcome, Exception):
        ticket.set_exception(outcome)
    else:
        ticket.cancel()
