"""Facade: blocking calls of the same coroutines, which run on the portal thread."""

from __future__ import annotations

import asyncio
import atexit
import functools
import threading
import warnings
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeAlias, TypeVar, overload

import anyio

from s1crets._fork import import_lock, lent, new_lock, on_fork
from s1crets._keypath import MISSING
from s1crets._redaction import Redacted, redact
from s1crets._runtime import callers_level, check_can_start_thread, spawn_task
from s1crets.providers.async_provider import AsyncProvider, live_providers

if TYPE_CHECKING:
    from typing import Self

    from s1crets._keypath import KeyPath
    from s1crets.providers.instrumentation import Stats
    from s1crets.providers.rotation import Injected, KeyPaths

T = TypeVar("T", bound=AsyncProvider)
T_co = TypeVar("T_co", bound=AsyncProvider, covariant=True)
P = ParamSpec("P")
R = TypeVar("R")

_EXIT = 0.5  # seconds that the portal may take to close connections when the process exits

_Started: TypeAlias = tuple[asyncio.AbstractEventLoop, asyncio.Event]  # and what ends it


class _Portal:
    """The thread that runs the coroutines of all facades of the process; they share connections.

    It is a daemon thread: a portal started by a context manager hangs the interpreter's exit. It
    is not anyio's `BlockingPortal`, which needs two trips between threads for each call.
    """

    def __init__(self) -> None:
        self._lock = new_lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False
        on_fork(self)

    @property
    def is_running(self) -> bool:
        """Whether the thread was started, and not stopped."""
        return self._loop is not None

    def after_fork(self) -> None:
        """Start a new thread on the next call: threads do not survive a fork."""
        self._lock = new_lock()
        self._loop = self._thread = None

    def run(self, call: _Call) -> Any:
        """Run `call` on the portal's thread and return its result."""
        if threading.current_thread() is self._thread:  # which would wait for itself
            message = "a blocking call on the thread of s1crets' coroutines: await the async class"
            raise RuntimeError(message)
        _warn_in_event_loop()
        loop = self._running()
        loop.call_soon_threadsafe(call.start)
        try:
            # Unlike a `Future`, no lock is held here that a signal handler's call could need.
            with lent():
                call.done.acquire()
        except BaseException:
            loop.call_soon_threadsafe(call.cancel)  # or the request would continue after Ctrl-C
            raise
        if self._stopped and call.is_cancelled:
            threading.Event().wait()  # this is a daemon thread of a process that ends
        return call.result().reveal()

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
                started: Future[_Started] = Future()
                thread = threading.Thread(
                    target=self._serve, args=(started,), name="s1crets", daemon=True
                )
                thread.start()
                loop, stop = started.result()
                if self._loop is None:
                    self._thread, self._stop, self._loop = thread, stop, loop
                else:  # pragma: no cover  # by a signal handler: tests/processes/test_signals.py
                    loop.call_soon_threadsafe(stop.set)
            return self._loop

    def _serve(self, started: Future[_Started]) -> None:
        try:
            anyio.run(self._main, started)
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)  # such as too few file descriptors for a loop

    async def _main(self, started: Future[_Started]) -> None:
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()

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


def _warn_in_event_loop() -> None:
    """Warn about a blocking call in a running event loop, in asyncio's debug mode."""
    try:
        is_debugged = asyncio.get_running_loop().get_debug()
    except RuntimeError:
        return
    if is_debugged:
        message = (
            "a blocking call delays all tasks of the running event loop: await the async class"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=callers_level())


def in_background(provider: T) -> T:
    """Let a provider do its background work on the portal's thread."""
    provider.spawn_with(_portal.spawn)
    return provider


class _Call:
    """A method and its arguments, which the repr does not show, and the task that calls it."""

    def __init__(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._bound = functools.partial(method, *args, **kwargs)
        self._task: asyncio.Task[Redacted] | None = None
        self.done = threading.Lock()  # held until the task has ended
        self.done.acquire()

    def start(self) -> None:
        """Start the task on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Redacted]) -> None:
        _ = task.cancelled() or task.exception()  # or asyncio logs that nobody retrieved it
        self.done.release()

    def cancel(self) -> None:
        """Cancel the task, which was started before."""
        assert self._task is not None
        self._task.cancel()

    @property
    def is_cancelled(self) -> bool:
        """Whether the task, which has ended, was cancelled."""
        return self._task is not None and self._task.cancelled()

    def result(self) -> Redacted:
        """Return the result of the task, which has ended, or raise its exception."""
        task, self._task = self._task, None  # the exception's frames would refer to it
        assert task is not None
        if task.cancelled():
            raise CancelledError
        try:
            return task.result()
        finally:
            del task

    async def _run(self) -> Redacted:
        """Return the result redacted, since asyncio logs results of tasks at DEBUG."""
        return redact(await self._bound())


def has_awaited() -> bool:
    """Return whether a blocking call had to await something; if not, only files can be open."""
    return _portal.is_running


def start_afresh() -> None:
    """Empty the caches of every live provider, and close it: a later call opens it again."""
    for provider in live_providers():
        if provider.was_used:  # others may be many, and garbage
            _portal.run(_Call(provider.start_afresh))


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

    @overload
    def refresh_on(
        self, *exceptions: type[Exception], path: str, keypath: KeyPath = ()
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Injected[P, R]]: ...

    @overload
    def refresh_on(
        self, *exceptions: type[Exception], path: str, keypath: Mapping[str, KeyPath]
    ) -> Callable[[Callable[..., R]], Injected[..., R]]: ...

    def refresh_on(self, *exceptions: type[Exception], path: str, keypath: KeyPaths = ()) -> Any:
        """Decorate a blocking function or method; see `AsyncProvider.refresh_on`.

        >>> @ps.refresh_on(PermissionError, path="/prod/db", keypath="password")
        ... def query(password, statement):
        ...     return f"result of {statement}"
        >>> query("SELECT 1")
        'result of SELECT 1'
        """
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
    hit: Callable[[T, Any], Any] | None = None,
) -> Callable[Concatenate[Facade[T], P], R]:
    """Return the blocking form of an async method: same arguments, result and errors.

    Args:
        method: the method of the async class.
        local: looks the result up in a local cache in the caller's thread, or returns `MISSING`.
        hit: does the same for a call with one argument, in less time.
    """
    if local is not None:
        local.__qualname__ = method.__qualname__  # the name in a TypeError

    @functools.wraps(method)
    def call(self: Facade[T], /, *args: P.args, **kwargs: P.kwargs) -> R:
        provider = self._provider
        try:
            if hit is not None and not kwargs:
                names: Any = args
                if len(names) == 1:
                    found: R = hit(provider, names[0])
                    if found is not MISSING:
                        return found
            if local is not None:
                found = local(provider, *args, **kwargs)
                if found is MISSING and provider.open_cache():
                    found = local(provider, *args, **kwargs)
                if found is not MISSING:
                    return found
            wanted = _Call(method, provider, *args, **kwargs)
            del args, kwargs  # a traceback would show the value of an update
            result: R = _portal.run(wanted)
        except TypeError as error:
            raise _about(error, method, self) from error.__cause__
        return result

    return call


def _about(error: TypeError, method: Callable[..., Any], facade: Facade[Any]) -> TypeError:
    """Return an error about wrong arguments with the name of the method that was called."""
    wrong, called = f"{method.__qualname__}()", f"{type(facade).__name__}.{method.__name__}()"
    if str(error).startswith(wrong):
        error.args = (str(error).replace(wrong, called, 1),)
    return error


def direct(method: Callable[Concatenate[T, P], R]) -> Callable[Concatenate[Facade[T], P], R]:
    """Return the blocking form of a method that is not a coroutine and never waits."""

    @functools.wraps(method)
    def call(self: Facade[T], /, *args: P.args, **kwargs: P.kwargs) -> R:
        self._provider.open_cache()
        try:
            return method(self._provider, *args, **kwargs)
        except TypeError as error:
            raise _about(error, method, self) from error.__cause__

    return call
