"""One client for each event loop, made on first use; calls are made through `Clients.run`."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from s1crets._fork import renew_after_fork
from s1crets.errors import S1cretsError
from s1crets.providers.aws.errors import EXPIRED, Request, code_of, refused, translated
from s1crets.providers.aws.quiet import quiet
from s1crets.providers.aws.session import ClientSpec, client_lifetime, prepare

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

R = TypeVar("R")


@dataclass(frozen=True)
class _Client:
    """A client of one event loop, and the generator that closes it."""

    api: Any
    region: str
    lifetime: AsyncGenerator[Any, None]


class Clients:
    """The clients of one provider: a client belongs to one event loop and to one process."""

    def __init__(self, spec: ClientSpec) -> None:
        self.spec = spec
        self._opening: dict[asyncio.AbstractEventLoop, asyncio.Task[_Client]] = {}
        self._retired: list[tuple[asyncio.AbstractEventLoop, _Client]] = []
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget the parent's clients: their loops are not in the child."""
        self._opening = {}
        self._retired = []

    async def run(
        self,
        operation: str,
        subject: str,
        work: Callable[[Any], Awaitable[R]],
        *,
        writes: bool = False,
    ) -> R:
        """Return what `work` returns, which is given this loop's client.

        A token that has expired is renewed, once, and `work` is done again.
        """
        try:
            with quiet():
                return await self._attempt(operation, subject, work, writes=writes)
        except S1cretsError as error:
            failed = error
        # The context and the frames so far are botocore's: what is sent stands in their locals.
        failed.__context__ = failed.__cause__
        raise failed.with_traceback(None)

    async def _attempt(
        self, operation: str, subject: str, work: Callable[[Any], Awaitable[R]], *, writes: bool
    ) -> R:
        client = await self._client(operation, subject)
        request = Request(self.spec.title, client.region, operation, subject, writes)
        with translated(request):
            try:
                return await work(client.api)
            except Exception as error:
                if code_of(error) not in EXPIRED:
                    raise
        self._retire(client)
        client = await self._client(operation, subject)
        with translated(request):
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
        retired, self._retired = self._retired, []
        clients = [(loop, task.result()) for loop, task in opening.items() if _is_open(task)]
        for loop, client in [*retired, *clients]:
            await _close_on(loop, client.lifetime)

    async def _client(self, operation: str, subject: str) -> _Client:
        loop = asyncio.get_running_loop()
        for other in list(self._opening):
            if other.is_closed():
                self._opening.pop(other, None)
        task = self._opening.get(loop)
        if task is None or (task.done() and not _is_open(task)):
            task = self._opening[loop] = loop.create_task(self._open(operation, subject))
            task.add_done_callback(_is_open)  # or asyncio complains of an error nobody looked at
        # Shielded: a caller that gives up leaves the opening to the others.
        return await asyncio.shield(task)

    def _retire(self, client: _Client) -> None:
        """Make the next call open a client anew; others' requests on this one go on."""
        loop = asyncio.get_running_loop()
        task = self._opening.get(loop)
        if task is not None and _is_open(task) and task.result() is client:
            del self._opening[loop]
            self._retired.append((loop, client))

    async def _open(self, operation: str, subject: str) -> _Client:
        with translated(Request(self.spec.title, "region not known", operation, subject)):
            session, region = await prepare(self.spec)
        with translated(Request(self.spec.title, region, operation, subject)):
            lifetime = client_lifetime(self.spec, session, region)
            client = _Client(await lifetime.__anext__(), region, lifetime)
        # A provider that is garbage closes its clients; until then this keeps them alive, or
        # aiohttp would find its session in the same garbage first, and complain.
        closing = weakref.finalize(self, _close_later, asyncio.get_running_loop(), lifetime)
        closing.atexit = False
        return client


def _is_open(task: asyncio.Task[_Client]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _close_later(loop: asyncio.AbstractEventLoop, lifetime: AsyncGenerator[Any, None]) -> None:
    with suppress(RuntimeError):  # the loop is closed, and has closed the generator
        loop.call_soon_threadsafe(_close_now, loop, lifetime)


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
