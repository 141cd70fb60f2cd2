"""Threads, forks and tasks: run_in_thread, on_fork, new_lock for signal handlers, spawn_task."""

from __future__ import annotations

import asyncio
import contextvars
import logging  # noqa: F401  # imports take its lock, so its fork hook must precede the hook here
import os
import sys
import threading
import weakref
from asyncio import _get_running_loop
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread

from s1crets._redaction import Redacted
from s1crets.errors import UnavailableError

with suppress(RuntimeError):  # it can't be imported any more while the interpreter shuts down
    # asyncio would import it to look up a host; a fork hook added during a fork runs only half.
    import concurrent.futures.thread  # noqa: F401

R = TypeVar("R")
Args = TypeVarTuple("Args")


class Forkable(Protocol):
    """An object with state that a forked child can't use as the parent left it."""

    def after_fork(self) -> None:
        """Make the state usable in the child, where the parent's other threads don't exist."""


class ForkHolder(Protocol):
    """An object with locks that must not be held by another thread while the process forks."""

    def before_fork(self) -> None:
        """Acquire the locks."""

    def after_in_parent(self) -> None:
        """Release them; in the child, `after_fork` replaces them."""


_locks: weakref.WeakValueDictionary[int, threading.RLock] = weakref.WeakValueDictionary()


def new_lock() -> threading.RLock:
    """Return a lock that a signal handler can't wait for forever.

    The handler runs in the middle of what it interrupts, with its locks. It may take them again,
    and lends them to other threads while it waits for these: see `lent`. So whatever such a lock
    protects must be sound between any two lines.
    """
    lock = threading.RLock()
    _locks[id(lock)] = lock
    return lock


@contextmanager
def lent() -> Iterator[None]:
    """Release the locks of this thread, if there are any, while it waits for other threads."""
    locks: Any = [lock for ref in _locks.valuerefs() if (lock := ref())]
    held = [(lock, lock._release_save()) for lock in locks if lock._is_owned()]  # noqa: SLF001  # as Condition.wait
    try:
        yield
    finally:
        for lock, state in held:
            lock._acquire_restore(state)  # noqa: SLF001


import_lock = new_lock()
"""Held during a late import: a child forked meanwhile would wait forever for the module's lock,
since the thread that holds it does not exist there."""

_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()
_holders: weakref.WeakSet[Any] = weakref.WeakSet()
_holding: list[Any] = []


def on_fork(forkable: Forkable) -> None:
    """Call `forkable.after_fork()` in every child that this process forks."""
    _forkables.add(forkable)


def hold_while_forking(holder: ForkHolder) -> None:
    """Call `holder.before_fork()` before each fork, and `holder.after_in_parent()` after it."""
    _holders.add(holder)


def _before_fork() -> None:
    import_lock.acquire()
    for holder in list(_holders):
        holder.before_fork()
        _holding.append(holder)


def _after_in_parent() -> None:
    while _holding:
        _holding.pop().after_in_parent()
    import_lock.release()


def _after_in_child() -> None:
    _holding.clear()
    import_lock.release()
    for forkable in list(_forkables):
        forkable.after_fork()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)


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
