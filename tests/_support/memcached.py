"""A small real Memcached server, for machines without `memcached`; and the real one."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from contextlib import suppress
from typing import Any, NamedTuple

from _support.servers import LoopServer, free_port

LARGEST = 2**20  # bytes of an item, as by default
_DATE = 30 * 86400  # a larger number is a date


class _Item(NamedTuple):
    flags: bytes
    value: bytes
    expires: float
    version: int


class MemcachedServer(LoopServer):
    """The text protocol on loopback, in a thread of its own.

    Attributes:
        silent: whether it takes commands and never answers.
        largest: bytes of an item that it takes.
    """

    def __init__(self) -> None:
        self.silent, self.largest = False, LARGEST
        self._items: dict[bytes, _Item] = {}
        self._version = 0
        super().__init__()

    @property
    def url(self) -> str:
        return f"memcached://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, with no items."""
        self._items.clear()
        super().start()

    def reset(self) -> None:
        self._items.clear()
        self.silent = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                verb, *words = line.split()
                answer = await getattr(self, f"_{verb.decode()}")(reader, *words)
                if not self.silent:
                    writer.write(answer)
        writer.close()

    def _find(self, key: bytes) -> _Item | None:
        item = self._items.get(key)
        return item if item and item.expires > time.time() else None

    def _store(self, key: bytes, flags: bytes, life: bytes, value: bytes) -> bytes:
        seconds = int(life)
        self._version += 1
        expires = seconds + (0 if seconds > _DATE else time.time()) if seconds else float("inf")
        self._items[key] = _Item(flags, value, expires, self._version)
        return b"STORED\r\n"

    async def _get(self, _reader: Any, *keys: bytes, version: bool = False) -> bytes:
        found = [(key, item) for key in keys if (item := self._find(key))]
        lines = [
            b"VALUE %b %b %d%b\r\n%b\r\n"
            % (key, item.flags, len(item.value), b" %d" % item.version * version, item.value)
            for key, item in found
        ]
        return b"".join(lines) + b"END\r\n"

    async def _gets(self, reader: Any, *keys: bytes) -> bytes:
        return await self._get(reader, *keys, version=True)

    async def _read(self, reader: Any, size: bytes) -> bytes | None:
        value: bytes = (await reader.readexactly(int(size) + 2))[:-2]
        return value if len(value) <= self.largest else None

    async def _set(self, reader: Any, key: bytes, flags: bytes, life: bytes, size: bytes) -> bytes:
        if (value := await self._read(reader, size)) is None:
            return b"SERVER_ERROR object too large for cache\r\n"
        return self._store(key, flags, life, value)

    async def _add(self, reader: Any, key: bytes, flags: bytes, life: bytes, size: bytes) -> bytes:
        value = await self._read(reader, size) or b""
        return b"NOT_STORED\r\n" if self._find(key) else self._store(key, flags, life, value)

    async def _append(self, reader: Any, key: bytes, *numbers: bytes) -> bytes:
        value = await self._read(reader, numbers[-1]) or b""
        if (item := self._find(key)) is None:
            return b"NOT_STORED\r\n"
        self._items[key] = item._replace(value=item.value + value)
        return b"STORED\r\n"

    async def _delete(self, _reader: Any, key: bytes) -> bytes:
        was_there = self._find(key) is not None
        self._items.pop(key, None)
        return b"DELETED\r\n" if was_there else b"NOT_FOUND\r\n"

    async def _touch(self, _reader: Any, key: bytes, life: bytes) -> bytes:
        if (item := self._find(key)) is None:
            return b"NOT_FOUND\r\n"
        self._store(key, item.flags, life, item.value)
        return b"TOUCHED\r\n"

    async def _incr(self, _reader: Any, key: bytes, delta: bytes) -> bytes:
        if (item := self._find(key)) is None:
            return b"NOT_FOUND\r\n"
        number = b"%d" % (int(item.value) + int(delta))
        self._items[key] = item._replace(value=number)
        return number + b"\r\n"

    async def _flush_all(self, _reader: Any) -> bytes:
        self._items.clear()
        return b"OK\r\n"


class InstalledMemcached:
    """The program `memcached`."""

    def __init__(self, program: str, *more: str) -> None:
        self.port = free_port()
        user = ["-u", "nobody"]  # as root it demands one
        options = ["-l", "127.0.0.1", "-p", str(self.port), *user]
        self._process = subprocess.Popen([program, *options, *more])
        until = time.monotonic() + 60
        while True:
            with suppress(OSError):
                self.reset()
                return
            assert time.monotonic() < until, "memcached does not answer"
            time.sleep(0.01)

    @property
    def url(self) -> str:
        return f"memcached://127.0.0.1:{self.port}"

    def reset(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(b"flush_all\r\n")
            assert connection.recv(9) == b"OK\r\n"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
