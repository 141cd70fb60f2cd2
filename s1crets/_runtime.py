"""Threads and tasks: run_in_thread, spawn_task; the caller's place in warnings."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from asyncio import _get_running_loop
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread

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
