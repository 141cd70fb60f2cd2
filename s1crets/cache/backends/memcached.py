"""MemcachedServer: aiocache's own backend for Memcached, with what its client lacks.

aiomcache waits forever for a connection that has failed, spins on one that the server has closed,
and reads the rest of a cancelled command's response as the next one's. Memcached itself has
neither replicas nor users, and by default no entry of more than 1 MiB.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import aiomcache
from aiocache.backends.memcached import MemcachedCache
from aiocache.serializers import StringSerializer
from aiomcache.pool import MemcachePool

from s1crets.cache.backends.base import LARGEST_ROW, CacheFactory, OversizedError

if TYPE_CHECKING:
    from aiocache.base import BaseCache

    from s1crets.cache.backends.server_url import Address

_LONGEST_TTL = 30 * 86400  # seconds: Memcached takes a larger number for a date
_CONNECTIONS = 2  # per event loop


class MemcachedServer(CacheFactory):
    """The address of a Memcached server; called, it returns a cache for one event loop."""

    def __init__(self, address: Address) -> None:
        self.title = address.title
        ((self._host, self._port),) = address.hosts

    def __call__(self) -> BaseCache:
        """Return a cache for one event loop."""
        return MemcachedBackend(self._host, self._port)

    def explain(self, error: BaseException) -> str:
        """Return what an error means."""
        meanings: dict[type[BaseException], str] = {
            OversizedError: "an entry is larger than 8 MiB, or than the server accepts",
            ConnectionRefusedError: "nobody listens on its port",
            socket.gaierror: "its host is not known",
            OSError: "the connection failed",
        }
        return next((words for kind, words in meanings.items() if isinstance(error, kind)), "")


class _Pool(MemcachePool):
    """A pool in which nobody waits for a connection that has failed."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, minsize=_CONNECTIONS, maxsize=_CONNECTIONS)
        self._free = asyncio.Semaphore(_CONNECTIONS)

    async def acquire(self) -> Any:
        """Return a connection."""
        await self._free.acquire()
        try:
            return await super().acquire()
        except BaseException:
            self._free.release()
            raise

    def release(self, conn: Any) -> None:
        """Take a connection back."""
        super().release(conn)
        self._free.release()


class _BoundedReader:
    """Reads no row that is too long, as of a server with `-I 100m`: its length comes before it."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.readline = reader.readline

    async def readexactly(self, length: int) -> bytes:
        if length > LARGEST_ROW:
            raise OversizedError
        return await self._reader.readexactly(length)


class _Client(aiomcache.Client):
    """A client that closes a connection whose response it has not read to its end."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._pool = _Pool(host, port)

    async def _execute_simple_command(self, conn: Any, raw_command: bytes) -> bytes:
        try:
            conn.writer.write(raw_command)
            await conn.writer.drain()
            response: bytes = await conn.reader.readuntil(b"\r\n")
        except BaseException as error:
            conn.reader.set_exception(error)
            raise
        if b"too large" in response:
            raise OversizedError
        return response[:-2]

    async def _multi_get(self, conn: Any, *keys: bytes, with_cas: bool = True) -> Any:
        try:
            bounded = conn._replace(reader=_BoundedReader(conn.reader))
            return await super()._multi_get(bounded, *keys, with_cas=with_cas)  # type: ignore[call-overload]
        except BaseException as error:
            conn.reader.set_exception(error)
            raise


class MemcachedBackend(MemcachedCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache on a Memcached server."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(StringSerializer(), endpoint=host, port=port, timeout=None)
        self.client = _Client(host, port)

    def _get_ttl(self, ttl: Any) -> int:
        return min(math.ceil(super()._get_ttl(ttl) or 0), _LONGEST_TTL)

    async def _multi_set(
        self, pairs: Iterable[tuple[bytes, str]], ttl: int = 0, _conn: object = None
    ) -> bool:
        stored = (self._set(key, value, ttl) for key, value in pairs)
        for result in await asyncio.gather(*stored, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        return True
