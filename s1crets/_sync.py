"""Facade: blocking calls of the same coroutines, which run on the portal thread."""

from __future__ import annotations

import asyncio
import atexit
import functools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

import anyio

from s1crets._redaction import Redacted, redact
from s1crets._runtime import check_can_start_thread, import_lock, on_fork, spawn_task
from s1crets._sentinels import MISSING
from s1crets.providers.async_provider import AsyncProvider, live_providers

if TYPE_CHECKING:
    from typing import Self

    from s1crets._keypath import KeyPath
    from s1crets.providers.instrumentation import Stats

T = TypeVar("T", bound=AsyncProvider)
T_co = TypeVar("T_co", bound=AsyncProvider, covariant=True)
P = ParamSpec("P")
R = TypeVar("R")

_EXIT = 0.5  # seconds that the portal may take to close connections when the process exits


class _Portal:
    """The thread that runs the coroutines of all facades of the process; they share connections.

    It is a daemon thread: a portal started by a context manager hangs the interpreter's exit. It
    is not anyio's `BlockingPortal`, which needs two trips between threads for each call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False
        on_fork(self)

    def after_fork(self) -> None:
        """Start a new thread on the next call: threads do not survive a fork."""
        self._lock = threading.Lock()
        self._loop = self._thread = None

    def run(self, call: _Call) -> Any:
        """Run `call` on the portal's thread and return its result."""
        if threading.current_thread() is self._thread:  # which would wait for itself
            message = "a blocking call on the thread of s1crets' coroutines: await the async class"
            raise RuntimeError(message)
        loop = self._running()
        future = asyncio.run_coroutine_threadsafe(call.run(), loop)
        try:
            return future.result().reveal()
        except BaseException as error:
            future.cancel()  # otherwise the request would continue after Ctrl-C
            if self._stopped and isinstance(error, CancelledError):
                threading.Event().wait()  # this is a daemon thread of a process that ends
            raise

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start `work` on the portal's thread without waiting."""
        self._running().call_soon_threadsafe(spawn_task, work)

    def _running(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        return loop if loop is not None else self._start()

    def _start(self) -> asyncio.AbstractEventLoop:
        check_can_start_thread()
        with self._lock, import_lock:
            if self._loop is None:
                started: Future[asyncio.AbstractEventLoop] = Future()
                self._thread = threading.Thread(
                    target=self._serve, args=(started,), name="s1crets", daemon=True
                )
                self._thread.start()
                self._loop = started.result()
            return self._loop

    def _serve(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        try:
            anyio.run(self._main, started)
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)  # such as too few file descriptors for a loop

    async def _main(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        self._stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        started.set_result(loop)
        await self._stop.wait()

    def stop(self) -> None:
        """Close connections, within a short time limit."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
            self._stopped = True
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(self._stop.set)
            thread.join(_EXIT)


_portal = _Portal()
atexit.register(_portal.stop)


def in_background(provider: T) -> T:
    """Let a provider do its background work on the portal's thread."""
    provider.spawn_with(_portal.spawn)
    return provider


class _Call:
    """A method and its arguments; the repr does not show them."""

    def __init__(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._bound = functools.partial(method, *args, **kwargs)

    async def run(self) -> Redacted:
        """Return the result redacted, since asyncio logs results of tasks at DEBUG."""
        return redact(await self._bound())


def start_afresh() -> None:
    """Empty the caches of every live provider, and close it: a later call opens it again."""
    for provider in live_providers():
        _portal.run(_Call(provider.invalidate))
        _portal.run(_Call(provider.aclose))


class Facade(Generic[T_co]):
    """Blocking API of a provider; an async provider does the work."""

    _provider: T_co

    @property
    def awaited(self) -> T_co:
        """The async provider behind it, with the same cache."""
        return self._provider

    @property
    def stats(self) -> Stats:
        """Numbers of this provider since it was created."""
        return self._provider.stats

    def __enter__(self) -> Self:
        """Return the provider; it opens on first use."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the provider."""
        self.close()

    def refresh_on(
        self, *exceptions: type[Exception], path: str, keypath: KeyPath = ()
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Callable[P, R]]:
        """Decorate a blocking function; see `AsyncProvider.refresh_on`."""
        return self._provider.rotation.blocking_refresh_on(exceptions, path, keypath, self._run)

    def _run(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return _portal.run(_Call(method, *args, **kwargs))

    def close(self) -> None:
        """Close connections and files; a later call opens them again."""
        _portal.run(_Call(self._provider.aclose))

    def __repr__(self) -> str:
        if not hasattr(self, "_provider"):
            return f"<{type(self).__name__}, which could not be made>"
        return repr(self._provider).replace("<Async", "<", 1)

    def __reduce__(self) -> str:
        message = f"{type(self).__name__} can't be copied or pickled: make one where it is used"
        raise TypeError(message)


def blocking(
    method: Callable[Concatenate[T, P], Coroutine[Any, Any, R]],
    local: Callable[Concatenate[T, P], Any] | None = None,
) -> Callable[Concatenate[Facade[T], P], R]:
    """Return the blocking form of an async method: same arguments, result and errors.

    Args:
        method: the method of the async class.
        local: looks the result up in a local cache in the caller's thread, or returns `MISSING`.
    """
    if local is not None:
        local.__qualname__ = method.__qualname__  # the name in a TypeError

    @functools.wraps(method)
    def call(self: Facade[T], /, *args: P.args, **kwargs: P.kwargs) -> R:
        provider = self._provider
        if local is not None:
            found: R = local(provider, *args, **kwargs)
            if found is MISSING and provider.open_cache():
                found = local(provider, *args, **kwargs)
            if found is not MISSING:
                return found
        wanted = _Call(method, provider, *args, **kwargs)
        del args, kwargs  # a traceback would show the value of an update
        result: R = _portal.run(wanted)
        return result

    return call


def direct(method: Callable[Concatenate[T, P], R]) -> Callable[Concatenate[Facade[T], P], R]:
    """Return the blocking form of a method that is not a coroutine and never waits."""

    @functools.wraps(method)
    def call(self: Facade[T], /, *args: P.args, **kwargs: P.kwargs) -> R:
        self._provider.open_cache()
        return method(self._provider, *args, **kwargs)

    return call
