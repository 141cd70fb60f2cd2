"""Gathers what is to be written while a write is under way, so that it is one transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from s1crets._runtime import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    Write: TypeAlias = Callable[[], Any]


class Writer:
    """Runs writes in a worker thread, as they may wait for a lock, one batch at a time.

    Args:
        write_all: makes some writes; returns what each returned.
    """

    def __init__(self, write_all: Callable[[list[Write]], list[Any]]) -> None:
        self._write_all = write_all
        self._waiting: WeakKeyDictionary[
            asyncio.AbstractEventLoop, list[tuple[Write, asyncio.Future[Any]]]
        ] = WeakKeyDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    async def do(self, write: Write) -> Any:
        """Make a write, with those of others; it is made also if its caller does not wait."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        waiting = self._waiting.get(loop)
        if waiting is None:
            self._waiting[loop] = waiting = []
            task = loop.create_task(self._work(loop, waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        waiting.append((write, done))
        result, error = await done
        if error is not None:
            raise error
        return result

    async def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        waiting: list[tuple[Write, asyncio.Future[Any]]],
    ) -> None:
        try:
            while waiting:
                batch = waiting.copy()
                waiting.clear()
                try:
                    outcomes = await run_in_thread(self._outcomes, [write for write, _ in batch])
                except RuntimeError as error:  # no thread can be started
                    outcomes = [(None, error)] * len(batch)
                for (_, done), outcome in zip(batch, outcomes, strict=True):
                    if not done.done():
                        done.set_result(outcome)
        finally:
            del self._waiting[loop]

    def _outcomes(self, writes: list[Write]) -> list[tuple[Any, Exception | None]]:
        try:
            return [(result, None) for result in self._write_all(writes)]
        except Exception as error:  # noqa: BLE001  # each of those who wait raises it
            return [(None, error)] * len(writes)
