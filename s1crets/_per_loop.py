"""PerLoop and LoopLocal: one resource, or one value, for each event loop of the process."""

from __future__ import annotations

import asyncio
import atexit
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from s1crets._fork import on_fork
from s1crets._runtime import cancel_and_wait, outcome_of, spawn_task

R = TypeVar("R")


class LoopLocal(weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, R]):
    """A value per event loop, created by `make` when it is first needed there.

    Closed loops are dropped here too: a weak key stays alive if its value refers to the loop, as
    tasks and contended locks do.
    """

    def __init__(self, make: Callable[[], R]) -> None:
        super().__init__()
        self._make = make

    def here(self) -> R:
        """Return the value of the running loop."""
        loop = asyncio.get_running_loop()
        value = self.get(loop)
        if value is None:
            for reference in self.keyrefs():
                if (other := reference()) is not None and other.is_closed():
                    self.pop(other, None)
            value = self.setdefault(loop, self._make())
        return value


class _Opened(Generic[R]):
    """A resource, the generator that closes it, and the finalizer that keeps both alive.

    To call the finalizer closes the resource soon, on its loop.
    """

    __slots__ = ("finalizer", "lifetime", "resource")

    def __init__(self, owner: PerLoop[R], resource: R, lifetime: AsyncGenerator[R, None]) -> None:
        self.resource = resource
        self.lifetime = lifetime
        # A garbage owner closes its resources. Until then the finalizer refers to them, or aiohttp
        # would be collected in the same cycle first, and complain of an unclosed session.
        loop = asyncio.get_running_loop()
        self.finalizer: Any = weakref.finalize(owner, _close_soon, loop, lifetime)
        self.finalizer.atexit = False


class PerLoop(Generic[R]):
    """A resource such as a client: opened on first use, separately for each event loop and process.

    Concurrent callers share the opening. A loop that shuts down closes the generators begun on it,
    so a program that never closes its provider leaves no connection open.
    """

    def __init__(self, open_: Callable[..., AsyncGenerator[R, None]]) -> None:
        self._open = open_  # opens the resource, yields it and closes it
        self._opening: dict[asyncio.AbstractEventLoop, asyncio.Task[_Opened[R]]] = {}
        # What is open, by event loop; a look here is faster than `get`.
        self.ready: dict[asyncio.AbstractEventLoop, R] = {}
        _all_per_loop.add(self)
        on_fork(self)

    def after_fork(self) -> None:
        """Forget the parent's resources. Finalizers keep them open: the parent still uses them."""
        self._opening, self.ready = {}, {}

    async def get(self, *args: Any) -> R:
        """Return the resource of the running loop; `args` are passed on to the opening."""
        loop = asyncio.get_running_loop()
        task = self._opening.get(loop)
        if task is None or (task.done() and not _succeeded(task)):
            self.forget_closed_loops()
            task = self._opening[loop] = loop.create_task(self._opened(*args))
            task.add_done_callback(_succeeded)  # or asyncio logs an exception nobody retrieved
        return (await outcome_of(task)).resource

    async def _opened(self, *args: Any) -> _Opened[R]:
        lifetime = self._open(*args)
        opened = _Opened(self, await anext(lifetime), lifetime)
        self.ready[asyncio.get_running_loop()] = opened.resource
        return opened

    def forget_closed_loops(self) -> None:
        """Drop the resources of loops that have been closed."""
        for loop in list(self._opening):
            if loop.is_closed():
                self.ready.pop(loop, None)
                task = self._opening.pop(loop, None)
                if task is not None and _succeeded(task):
                    task.result().finalizer()

    async def aclose(self) -> None:
        """Close the resource of the running loop, and let other running loops close theirs."""
        opening, self._opening, self.ready = self._opening, {}, {}
        for loop, task in opening.items():
            here = loop is asyncio.get_running_loop()
            if _succeeded(task) and here:
                task.result().finalizer.detach()
                await task.result().lifetime.aclose()
            elif _succeeded(task):
                task.result().finalizer()
            elif here:
                await cancel_and_wait(task)
            else:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(task.cancel)


def _succeeded(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _close_soon(loop: asyncio.AbstractEventLoop, lifetime: AsyncGenerator[Any, None]) -> None:
    with suppress(RuntimeError):  # the loop was closed at this moment, or is closing the generator
        if loop.is_closed():
            _close_without_loop(lifetime)
        else:
            loop.call_soon_threadsafe(spawn_task, lifetime.aclose)


def _close_without_loop(lifetime: AsyncGenerator[Any, None]) -> None:
    """Close what a closed loop left open. No transport works any more, so nothing is awaited."""
    closing = lifetime.aclose()
    with suppress(StopIteration):
        while closing.send(None) is None:
            pass


_all_per_loop: weakref.WeakSet[PerLoop[Any]] = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    for per_loop in list(_all_per_loop):
        per_loop.forget_closed_loops()
