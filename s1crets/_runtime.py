"""Threads, tasks, the caller's place in warnings; PerLoop, LoopLocal: resources of event loops."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import sys
import threading
import weakref
from asyncio import _get_running_loop
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread

from s1crets._fork import on_fork
from s1crets._redaction import Redacted
from s1crets.errors import UnavailableError

R = TypeVar("R")
Args = TypeVarTuple("Args")


def check_can_start_thread() -> None:
    """Raise an error once the main thread has ended: no thread starts any more."""
    if not threading.main_thread().is_alive():
        raise RuntimeError(
            "the interpreter is shutting down and can't start a thread: make the first call before"
            " the program's end, not in an atexit handler"
        )


def not_asyncio(caller: object) -> RuntimeError:
    """Return the error for an awaited call without asyncio; a hit alone would not notice."""
    return RuntimeError(
        f"{type(caller).__name__} requires asyncio, but no asyncio event loop is running here; on"
        " trio, call the blocking class in a thread: await trio.to_thread.run_sync(...)"
    )


def check_asyncio(caller: object) -> None:
    """Raise an error if the running coroutine is not run by asyncio."""
    if _get_running_loop() is None:
        raise not_asyncio(caller)


def callers_level() -> int:
    """Return the number of frames up to the first frame outside of s1crets, for `warnings.warn`."""
    level, frame = 0, sys._getframe()  # noqa: SLF001  # warnings can skip files from 3.12 on
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == "s1crets":
        level, frame = level + 1, frame.f_back
    return level


async def run_in_thread(function: Callable[[Unpack[Args]], R], *args: *Args) -> R:
    """Return the result of a blocking function. A cancelled caller does not wait for it.

    The result passes between the threads redacted, since asyncio's debug mode logs it.
    """
    check_can_start_thread()
    # A limiter per call: the default limiter is shared with the program's own blocking work.
    limiter = anyio.CapacityLimiter(1)
    result: R = (
        await anyio.to_thread.run_sync(
            lambda: Redacted(function(*args)), abandon_on_cancel=True, limiter=limiter
        )
    ).reveal()
    return result


def start_daemon(name: str, run: Callable[[], R]) -> Future[R]:
    """Run a function in a daemon thread, which a program that ends does not wait for."""
    check_can_start_thread()
    done: Future[R] = Future()
    done.set_running_or_notify_cancel()  # a waiter that leaves must not cancel it
    context = contextvars.copy_context()

    def work() -> None:
        try:
            done.set_result(context.run(run))
        except BaseException as error:  # noqa: BLE001  # the waiters raise it
            done.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return done


async def outcome_of(task: asyncio.Task[R]) -> R:
    """Return the result of a task, which a cancelled caller leaves running."""
    await asyncio.wait([task])
    if task.cancelled():
        raise UnavailableError("the provider was closed during this call; call again")
    return task.result()


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.wait([task])
    _ = task.cancelled() or task.exception()  # or asyncio logs that nobody retrieved it


def spawn_task(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `work` as a task of the running loop."""
    task: asyncio.Task[None] = asyncio.get_running_loop().create_task(_awaited(work))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _awaited(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await work()


_tasks: set[asyncio.Task[None]] = set()


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
    """A resource, the generator that closes it, and the finalizer that keeps both alive."""

    __slots__ = ("finalizer", "lifetime", "resource")

    def __init__(self, owner: PerLoop[R], resource: R, lifetime: AsyncGenerator[R, None]) -> None:
        self.resource = resource
        self.lifetime = lifetime
        # A garbage owner closes its resources. Until then the finalizer refers to them, or aiohttp
        # would be collected in the same cycle first, and complain of an unclosed session.
        loop = asyncio.get_running_loop()
        self.finalizer: Any = weakref.finalize(owner, _close_soon, loop, lifetime)
        self.finalizer.atexit = False

    def close_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the resource on its loop. To call the finalizer does nothing at exit."""
        self.finalizer.detach()
        _close_soon(loop, self.lifetime)


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
                    task.result().close_soon(loop)

    async def aclose(self) -> None:
        """Close the resource of the running loop, and let other running loops close theirs."""
        opening, self._opening, self.ready = self._opening, {}, {}
        for loop, task in opening.items():
            here = loop is asyncio.get_running_loop()
            if _succeeded(task) and here:
                task.result().finalizer.detach()
                await task.result().lifetime.aclose()
            elif _succeeded(task):
                task.result().close_soon(loop)
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
