"""A caller's aiocache cache on every event loop, as connections belong to one, and to one process.

Of a cache on Redis each loop gets a twin with a pool of its own, which is closed with the provider,
or with the loop; the caller's is only copied, never used, and never closed. Any other cache is used
as it is, and is the caller's to close.
"""

from __future__ import annotations

import asyncio
import copy
import re
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from s1crets._runtime import on_fork, run_in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

_AT_ONCE = 8  # connections of one provider on one loop: more than these would wait for the CPU
_CLOSING = 1.0  # seconds that connections may take to close
_SWEEPING = 0.25  # seconds that looking for rows to delete may take, of those of all who share it
_MANY = 1000  # rows that are looked at in one go


class _Opened(NamedTuple):
    """What a loop has.

    Attributes:
        backend: the twin, or the caller's own.
        slots: as many operations as there may be at once.
        lifetime: ends with the loop, or before.
        closing: ends it when the provider is garbage.
    """

    backend: Any
    slots: asyncio.Semaphore
    lifetime: AsyncGenerator[None, None]
    closing: Any


class OnEveryLoop:
    """An aiocache cache that may be used on any event loop, and in forked children.

    Args:
        backend: the caller's.

    Attributes:
        namespace: what it puts before all keys, if anything.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.namespace = getattr(backend, "namespace", None)
        self._opened: dict[asyncio.AbstractEventLoop, _Opened] = {}
        on_fork(self)

    def after_fork(self) -> None:
        """Forget the parent's connections: what a child sent, the parent would get answers to.

        They stay referred to by their finalizers, as closing them would be seen by the parent.
        """
        self._opened = {}

    async def ask(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """Return what a method of the backend returns, on this loop."""
        opened = await self._here()
        async with opened.slots:
            return await getattr(opened.backend, verb)(*args, **kwargs)

    async def ask_all(
        self,
        verb: str,
        many: Sequence[tuple[Any, ...]],
        *,
        expected: tuple[type[Exception], ...] = (),
        **kwargs: Any,
    ) -> list[Any]:
        """Return what a method returns for each of some arguments; errors only if expected.

        Raises:
            Exception: one that is not, after all have ended.
        """
        answers = await asyncio.gather(
            *(self.ask(verb, *args, **kwargs) for args in many), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, expected):
                raise answer
        return answers

    async def sweep(self, namespace: str) -> None:
        """Delete what is in a namespace, as far as that is quickly done.

        aiocache has Redis look through all keys at once (`KEYS`), which stops it for everybody.
        """
        opened = await self._here()
        if opened.backend is self._backend:
            await opened.backend.clear(namespace=namespace)
            return
        async with opened.slots:
            await _sweep(opened.backend.client, namespace)

    async def _here(self) -> _Opened:
        loop = asyncio.get_running_loop()
        opened = self._opened.get(loop)
        if opened is None:
            made = await run_in_thread(_twin, self._backend)
            opened = self._opened.get(loop) or await self._open(loop, *made)
        return opened

    async def _open(self, loop: asyncio.AbstractEventLoop, backend: Any, slots: int) -> _Opened:
        for other in list(self._opened):
            if other.is_closed():
                self._opened.pop(other).closing.detach()
        lifetime = _lifetime(None if backend is self._backend else backend)
        closing: Any = weakref.finalize(self, _close_later, loop, lifetime)
        closing.atexit = False
        opened = _Opened(backend, asyncio.Semaphore(slots), lifetime, closing)
        self._opened[loop] = opened
        # A loop that shuts down closes the generators that have begun on it.
        await lifetime.__anext__()
        return opened

    async def close(self) -> None:
        """Close the connections on this loop, and let other loops close theirs."""
        opened, self._opened = self._opened, {}
        for loop, one in opened.items():
            one.closing.detach()
            if loop is asyncio.get_running_loop():
                await one.lifetime.aclose()
            else:
                _close_later(loop, one.lifetime)


def _twin(backend: Any) -> tuple[Any, int]:
    """Return a cache on Redis like another one, without connections yet, and how many it may have.

    Reads files. Any other cache is returned itself.
    """
    client: Any = getattr(backend, "client", None)
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        return backend, _AT_ONCE
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    twin_pool = type(pool)(
        connection_class=pool.connection_class,
        max_connections=pool.max_connections,
        # What the server has closed meanwhile, as it was idle, is not always noticed before.
        **{"retry": Retry(NoBackoff(), 1), **pool.connection_kwargs},
    )
    # redis-py looks into files for its own version, for every connection anew.
    about = getattr(twin_pool.make_connection(), "driver_info", None)
    if about is not None:
        twin_pool.connection_kwargs.setdefault("driver_info", about)
    twin = copy.copy(backend)
    twin.client = type(client)(connection_pool=twin_pool)
    return twin, min(_AT_ONCE, pool.max_connections)


async def _sweep(client: Any, namespace: str) -> None:
    pattern = re.sub(r"([*?\[\]\\])", r"\\\1", namespace) + ":*"
    until, cursor = time.monotonic() + _SWEEPING, 0
    while time.monotonic() < until:
        cursor, found = await client.scan(cursor, match=pattern, count=_MANY)
        if found:
            await client.delete(*found)
        if not cursor:
            return


async def _lifetime(twin: Any) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await _disconnect(twin)


async def _disconnect(twin: Any) -> None:
    if twin is not None:
        with suppress(Exception):  # whatever it is, there is nothing more to be done
            await asyncio.wait_for(twin.client.aclose(close_connection_pool=True), _CLOSING)


def _close_later(loop: asyncio.AbstractEventLoop, lifetime: AsyncGenerator[None, None]) -> None:
    with suppress(RuntimeError):  # the loop has been closed: it has ended its generators
        loop.call_soon_threadsafe(_close_now, loop, lifetime)


def _close_now(loop: asyncio.AbstractEventLoop, lifetime: AsyncGenerator[None, None]) -> None:
    task = loop.create_task(_end(lifetime))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _end(lifetime: AsyncGenerator[None, None]) -> None:
    await lifetime.aclose()


_closing: set[asyncio.Task[None]] = set()
