"""Apps that a real server serves in a process of its own, and clients in another one."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _support.wire import Wire

HAMMER = """
import asyncio, collections, json, sys
import aiohttp

ENOUGH, WORKERS = 300, 20

async def main(url):
    seen = {"before": collections.Counter(), "after": collections.Counter()}
    phase = "before"

    async def work(session):
        while sum(seen["after"].values()) < ENOUGH:
            begun = phase
            async with session.get(url) as answer:
                seen[begun][f"{answer.status} {await answer.text()}"] += 1

    async with aiohttp.ClientSession() as session:
        workers = [asyncio.ensure_future(work(session)) for _ in range(WORKERS)]
        while sum(seen["before"].values()) < ENOUGH:
            await asyncio.wait(workers, timeout=0.01)
        print("busy", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        phase = "after"
        await asyncio.gather(*workers)
    print(json.dumps(seen))

asyncio.run(main(sys.argv[1]))
"""


def fetch(url: str, *, data: bytes | None = None) -> str:
    """Return what a GET answers, or with `data` a POST."""
    with urllib.request.urlopen(url, data, timeout=30) as answer:  # noqa: S310
        return str(answer.read().decode())


async def all_closed(server: Wire) -> bool:
    """Say whether a server has no connection left, which it sees a moment later than a client."""
    with anyio.move_on_after(5):
        while server.open_connections:
            await anyio.sleep(0.01)
    return not server.open_connections


def _start(folder: Path, program: str, server: socket.socket) -> subprocess.Popen[str]:
    (folder / "program.py").write_text(textwrap.dedent(program))
    return subprocess.Popen(
        [sys.executable, "-W", "default::ResourceWarning", "program.py", str(server.fileno())],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        pass_fds=[server.fileno()],
    )  # fmt: skip


@contextmanager
def served(folder: Path, program: str) -> Iterator[str]:
    """Run a program that serves the socket whose number it is given; stop it, which is quiet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = _start(folder, program, server)
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            process.terminate()
            _, err = process.communicate(timeout=30)
    assert (process.returncode in (0, -signal.SIGTERM), err) == (True, "")


def not_started(folder: Path, program: str) -> tuple[int, str]:
    """Return how a program ends that can't serve, and what it says."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = _start(folder, program, server)
        try:
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
            process.communicate()
    return process.returncode, err


@dataclass
class Load:
    """A process that sends requests, many at a time.

    Attributes:
        process: it ends by itself, a while after `finish`.
    """

    process: subprocess.Popen[str]

    def finish(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return how often which answer came, to what was asked before this call, and after."""
        out, _ = self.process.communicate("go on\n", timeout=60)
        seen: dict[str, Any] = json.loads(out)
        return seen["before"], seen["after"]


@contextmanager
def load(url: str) -> Iterator[Load]:
    """Send requests from another process; it is well under way when this begins."""
    command = [sys.executable, "-c", HAMMER, url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "busy\n"
            yield Load(process)
        finally:
            process.kill()
