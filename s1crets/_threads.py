"""What is handed to threads; while the interpreter shuts down, which starts none, it is done here.

Calls are made until the very end: by `atexit` handlers, and by threads that outlive the main one.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

R = TypeVar("R")


def ending() -> bool:
    """Say whether the main thread has ended: no executor takes work then, no thread is started."""
    return not threading.main_thread().is_alive()


async def in_thread(function: Callable[..., R], *args: Any) -> R:
    """Return what `function` returns, which may block; who gives up does not wait for it."""
    if ending():
        return function(*args)
    # A limiter of its own: the usual one is shared with the program's own blocking work.
    limiter = anyio.CapacityLimiter(1)
    return await anyio.to_thread.run_sync(function, *args, abandon_on_cancel=True, limiter=limiter)


def endure(loop: asyncio.AbstractEventLoop) -> None:
    """Let `loop` go on, and end, while the interpreter shuts down.

    It wants an executor to connect, and from Python 3.12 on one more thread to end the executor's.
    """
    if "run_in_executor" not in vars(loop):
        vars(loop)["run_in_executor"] = partial(_run_in_executor, loop)
        vars(loop)["shutdown_default_executor"] = partial(_shutdown_default_executor, loop)


async def _shutdown_default_executor(loop: asyncio.AbstractEventLoop, *timeout: float) -> None:
    if not ending():  # then they have been joined
        await type(loop).shutdown_default_executor(loop, *timeout)


def _run_in_executor(
    loop: asyncio.AbstractEventLoop, executor: Any, function: Callable[..., Any], *args: Any
) -> asyncio.Future[Any]:
    if not ending():
        return type(loop).run_in_executor(loop, executor, function, *args)
    done = loop.create_future()
    try:
        done.set_result(function(*args))
    except Exception as error:  # noqa: BLE001  # whoever awaits it gets it
        done.set_exception(error)
    return done
