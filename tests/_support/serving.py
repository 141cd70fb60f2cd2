"""Web apps under test: requests during a rotation, and servers as processes of their own."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
from _support.scripts import LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from _support.wire import Wire

ENOUGH, WORKERS = 100, 20


async def answers_around(
    change: Callable[[], Awaitable[object]], send: Callable[[], Awaitable[Any]]
) -> tuple[Counter[Any], Counter[Any]]:
    """Keep sending requests while something changes.

    Returns:
        The answers to requests sent before the change was complete, and to those sent after it.
    """
    before: Counter[Any] = Counter()
    after: Counter[Any] = Counter()
    current = before

    async def work() -> None:
        while after.total() < ENOUGH:
            seen = current
            seen[await send()] += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())
        while before.total() < ENOUGH:
            await asyncio.sleep(0)
        await change()
        current = after
    return before, after


async def all_closed(server: Wire) -> bool:
    """Return whether a server has no connections left; it notices a little later than a client."""
    with anyio.move_on_after(30):
        while server.open_connections:
            await anyio.sleep(0.01)
    return not server.open_connections


@contextmanager
def served(folder: Path, program: str) -> Iterator[str]:
    """Run a program that serves the socket with the given number; SIGTERM ends it silently."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = _start(folder, program, server)
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            process.terminate()
            _, err = process.communicate(timeout=LIMIT)
    assert (process.returncode in (0, -signal.SIGTERM), err) == (True, "")


def fetch(url: str) -> str:
    """Return the answer to a GET."""
    with urllib.request.urlopen(url, timeout=LIMIT) as answer:  # noqa: S310
        return str(answer.read().decode())


def not_started(folder: Path, program: str) -> tuple[int, str]:
    """Return the exit code and stderr of a program that can't serve."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = _start(folder, program, server)
        try:
            _, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
            process.communicate()
    return process.returncode, err


def _start(folder: Path, program: str, server: socket.socket) -> subprocess.Popen[str]:
    (folder / "program.py").write_text(textwrap.dedent(program))
    return subprocess.Popen(
        [sys.executable, "-W", "default::ResourceWarning", "program.py", str(server.fileno())],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        pass_fds=[server.fileno()],
    )  # fmt: skip
