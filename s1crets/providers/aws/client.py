"""One client for each event loop, made on first use; calls are made through `Clients.run`."""

from __future__ import annotations

import asyncio
import atexit
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from s1crets._redaction import stripped
from s1crets._runtime import on_fork
from s1crets.providers.aws.attempts import outcome, stop
from s1crets.providers.aws.errors import Request, refused, translated
from s1crets.providers.aws.quiet import quiet
from s1crets.providers.aws.session import ClientSpec, client_lifetime, prepare

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from s1crets.errors import S1cretsError

R = TypeVar("R")


@dataclass(frozen=True)
class _Client:
    """A client of one event loop, the generator that closes it, and what keeps that alive."""

    api: Any
    region: str
    lifetime: AsyncGenerator[Any, None]
    closing: weakref.finalize[Any, Any]


class Clients:
    """The clients of one provider: a client belongs to one event loop and to one process."""

    def __init__(self, spec: ClientSpec) -> None:
        self.spec = spec
        self._opening: dict[asyncio.AbstractEventLoop, asyncio.Task[_Client]] = {}
        _all.add(self)
        on_fork(self)

    def after_fork(self) -> None:
        """Forget the parent's clients: their loops are not in the child."""
        self._opening = {}

    async def run(
        self,
        operation: str,
        subject: str,
        work: Callable[[Any], Awaitable[R]],
        *,
        names: Sequence[str] = (),
        writes: bool = False,
    ) -> R:
        """Return what `work` returns, which is given this loop's client.

        Args:
            operation: the service's name of what `work` asks for.
            subject: the name or path that error messages tell.
            work: asks the service.
            names: all that it is about, if that is more than the subject.
            writes: whether a secret's value is in the request.
        """
        with quiet():
            return await stripped(
                self._done(operation, subject, work, names=names or (subject,), writes=writes)
            )

    async def _done(
        self,
        operation: str,
        subject: str,
        work: Callable[[Any], Awaitable[R]],
        *,
        names: Sequence[str],
        writes: bool,
    ) -> R:
        client = await self._client(operation, subject)
        request = Request(self.spec.title, client.region, operation, subject, writes)
        observed = self.spec.counters.observer.request(operation, names)
        with observed, translated(request):
            return await work(client.api)

    def refused(
        self, client: Any, operation: str, subject: str, code: str, words: str = ""
    ) -> S1cretsError:
        """Return the error for one name that AWS refused in a batch."""
        return refused(
            Request(self.spec.title, client.meta.region_name, operation, subject), code, words
        )

    async def aclose(self) -> None:
        """Close the clients of all loops that still run."""
        opening, self._opening = self._opening, {}
        for loop, task in opening.items():
            if _is_open(task):
                await _close_on(loop, task.result().lifetime)
            elif loop is asyncio.get_running_loop():
                await stop(task)
            else:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(task.cancel)

    async def _client(self, operation: str, subject: str) -> _Client:
        loop = asyncio.get_running_loop()
        self.forget_closed()
        task = self._opening.get(loop)
        if task is None or (task.done() and not _is_open(task)):
            task = self._opening[loop] = loop.create_task(self._open(operation, subject))
            task.add_done_callback(_is_open)  # or asyncio complains of an error nobody looked at
        client: _Client = await outcome(task)
        return client

    def forget_closed(self) -> None:
        """Drop the clients of loops that have been closed."""
        for loop in list(self._opening):
            if loop.is_closed():
                task = self._opening.pop(loop, None)
                if task is not None and _is_open(task):
                    client = task.result()
                    client.closing.detach()
                    _close_later(loop, client.lifetime)

    async def _open(self, operation: str, subject: str) -> _Client:
        with translated(Request(self.spec.title, "region not known", operation, subject)):
            session, region = await prepare(self.spec)
        self.spec.counters.region = region
        with translated(Request(self.spec.title, region, operation, subject)):
            lifetime = client_lifetime(self.spec, session, region)
            api = await lifetime.__anext__()
        # A provider that is garbage closes its clients; until then this keeps them alive, or
        # aiohttp would find its session in the same garbage first, and complain.
        closing: Any = weakref.finalize(self, _close_later, asyncio.get_running_loop(), lifetime)
        closing.atexit = False
        return _Client(api, region, lifetime, closing)


def _is_open(task: asyncio.Task[_Client]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _close_later(loop: asyncio.AbstractEventLoop, lifetime: AsyncGenerator[Any, None]) -> None:
    with suppress(RuntimeError):  # the loop has been closed in this moment; or it is being done
        if loop.is_closed():
            _close_without_loop(lifetime)
        else:
            loop.call_soon_threadsafe(_close_now, loop, lifetime)


def _close_without_loop(lifetime: AsyncGenerator[Any, None]) -> None:
    """Close what a loop that was just closed has left open, or aiohttp would complain on stderr.

    No transport works any more, so there is nothing to wait for.
    """
    closing = lifetime.aclose()
    with suppress(StopIteration):
        while closing.send(None) is None:
            pass


def _close_now(loop: asyncio.AbstractEventLoop, lifetime: AsyncGenerator[Any, None]) -> None:
    closing = loop.create_task(lifetime.aclose())
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[Any]] = set()


async def _close_on(loop: asyncio.AbstractEventLoop, lifetime: AsyncGenerator[Any, None]) -> None:
    if loop is asyncio.get_running_loop():
        await lifetime.aclose()
    else:
        _close_later(loop, lifetime)


_all: weakref.WeakSet[Clients] = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    for clients in list(_all):
        clients.forget_closed()
