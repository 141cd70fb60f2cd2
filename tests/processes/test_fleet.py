"""Processes share a cache: what one has fetched, or is fetching, the others need not."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from contextlib import contextmanager, nullcontext
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from _support.deployments import FORMS
from _support.scripts import LIMIT, check, start, unmeasured
from _support.wire import Asked, Wire, parameter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _support.deployments import Deployment
    from _support.servers import RedisServer

    from s1crets.testing import LoopbackAws

NAMES = [f"/fleet/{i}" for i in range(200)]
KEY = base64.b64encode(b"k" * 32).decode()
FORKER = """
import asyncio, gc, json, os, signal, sys
sys.modules.pop("redis", None)  # which other programs of the tests do without
import aiomcache, redis.asyncio.cluster, redis.asyncio.sentinel  # once, not in each worker
import s1crets.cache.backends.redis
from s1crets.providers.aws import AsyncParameterStore

async def serve(reader, writer):
    stores = {}
    while line := await reader.readline():
        args, verb, *arguments = json.loads(line)
        store = AsyncParameterStore(cache_args=args, deadline=None)
        ps = stores.setdefault(json.dumps(args), store)
        if verb == "gather":
            found = await asyncio.gather(*map(ps.get, *arguments))
        else:
            found = await getattr(ps, verb)(*arguments)
        writer.write(json.dumps(found).encode() + b"\\n")
    for ps in stores.values():
        await ps.aclose()
    writer.close()

async def child(address, environment):
    os.environ.update(environment)
    reader, writer = await asyncio.open_unix_connection(address, limit=2**20)
    writer.write(b"%d\\n" % os.getpid())
    await serve(reader, writer)

async def warm():
    async with AsyncParameterStore(retry=1) as ps:  # loads modules and models
        await ps.get_many(["/warm"], errors="return")

os.environ.update(json.loads(sys.stdin.readline()))
asyncio.run(warm())
gc.collect()
gc.freeze()  # or each worker copies all of it
forked = []
for line in sys.stdin:
    forked.append(os.fork())
    if not forked[-1]:
        asyncio.run(child(*json.loads(line)))
        os._exit(0)
print(*{os.waitpid(pid, 0)[1] for pid in forked} - {0, signal.SIGKILL})
"""


class Forker:
    """A process that has loaded everything and used nothing: it forks workers, which are cold."""

    def __init__(self) -> None:
        self._process = start(FORKER)
        nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true"}
        fake = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "fake")
        self._send({**nowhere, **fake, "AWS_DEFAULT_REGION": "eu-west-1"})

    def _send(self, words: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def worker(self) -> Worker:
        """Fork a worker with this process's environment."""
        with TemporaryDirectory(prefix="s1crets-") as folder, socket.socket(socket.AF_UNIX) as door:
            door.bind(f"{folder}/door")
            door.listen()
            door.settimeout(LIMIT)
            self._send([f"{folder}/door", unmeasured()])
            return Worker(door.accept()[0])

    def close(self) -> None:
        out, err = self._process.communicate(timeout=LIMIT)
        assert (self._process.returncode, out, err) == (0, "\n", "")


class Worker:
    """A process that makes the calls it is sent, with a store of its own per `cache_args`."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(LIMIT)
        self._connection, self._file = connection, connection.makefile("rw")
        self._pid = self.end()

    def begin(self, *call: Any) -> None:
        self._file.write(json.dumps(call) + "\n")
        self._file.flush()

    def end(self) -> Any:
        return json.loads(self._file.readline())

    def do(self, *call: Any) -> Any:
        self.begin(*call)
        return self.end()

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Let it end; what it says on stderr fails the last test."""
        with self._connection, self._file:
            self._connection.shutdown(socket.SHUT_WR)
            assert self._file.read() == ""


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    forker = Forker()
    yield forker
    forker.close()


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy."""
    loops = [
        subprocess.Popen([sys.executable, "-S", "-E", "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@pytest.fixture(params=["redis", "cluster", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return `cache_args` of a place that processes share."""
    if request.param == "disk":
        folders = {"key_cache_dir": str(tmp_path / "k"), "path_cache_dir": str(tmp_path / "p")}
        return {"cache_on_disk": True, "cache_key": KEY, **folders}
    fixture = request.getfixturevalue("redis" if request.param == "redis" else "deployment_of")
    url = fixture.url if request.param == "redis" else fixture(request.param).url
    return {"backend": url, "cache_key": KEY, "namespace": uuid.uuid4().hex}


@pytest.mark.parametrize("load", [nullcontext, busy_cores])
def test_cold_processes_fetch_each_name_once(
    scripted: Wire, forker: Forker, place: Any, load: Any
) -> None:
    """Or nearly: four that want the same 200 names at once request at most 220."""
    scripted.answers = {
        "GetParameter": lambda asked: parameter(asked.body["Name"], asked.body["Name"]),
        "GetParameters": lambda asked: {
            "Parameters": [{"Name": name, "Value": name} for name in asked.body["Names"]]
        },
    }
    with load():
        workers = [forker.worker() for _ in range(4)]
        for verb in ("gather", "get_many"):
            names = [f"/{verb}{name}" for name in NAMES]
            before = len(scripted.asked)
            for worker in workers:
                worker.begin(place, verb, names)
            for worker in workers:
                found = worker.end()
                assert (list(found.values()) if verb == "get_many" else found) == names
            bodies = [asked.body for asked in scripted.asked[before:]]
            requested = [
                name
                for body in bodies
                for name in body.get("Names") or filter(None, [body.get("Name")])
            ]

            assert set(requested) == set(names)
            assert len(requested) <= 220
        for worker in workers:
            worker.close()


def test_an_update_is_seen_by_all(
    s1crets_aws: LoopbackAws, redis: RedisServer, forker: Forker
) -> None:
    """At once; one process requests the new value for all."""
    s1crets_aws.seed({"aws.ps": {"/p/a": "old", "/p/b": "other"}})
    args = {"backend": redis.url, "cache_key": KEY}
    workers = [forker.worker() for _ in range(3)]
    for worker in workers:
        assert worker.do(args, "get", "/p/a") == "old"
        assert worker.do(args, "get_by_path", "/p") == {"/p/a": "old", "/p/b": "other"}
    workers[0].do(args, "update", "/p/a", "new")
    before = len(s1crets_aws.requests)
    for worker in reversed(workers):
        assert worker.do(args, "get", "/p/a") == "new"
        assert worker.do(args, "get_by_path", "/p") == {"/p/a": "new", "/p/b": "other"}
        worker.close()

    operations = [asked.operation for asked in s1crets_aws.requests[before:]]
    assert operations == ["GetParameter", "GetParametersByPath"]


@pytest.mark.parametrize("deployment", FORMS, indirect=True)
def test_a_second_process_requests_nothing(
    scripted: Wire, forker: Forker, deployment: Deployment
) -> None:
    """Of what the first has read, for every form of URL."""
    scripted.answers = {
        "GetParameter": lambda asked: parameter(asked.body["Name"], "v"),
        "GetParametersByPath": {"Parameters": [{"Name": "/p/a", "Value": "v"}]},
    }
    namespace = uuid.uuid4().hex
    args = {"backend": deployment.url, "cache_key": KEY, "namespace": namespace}
    for _ in range(2):
        worker = forker.worker()
        assert worker.do(args, "get", "/a") == "v"
        assert worker.do(args, "get_by_path", "/p") == {"/p/a": "v"}
        worker.close()

    assert [asked.operation for asked in scripted.asked] == ["GetParameter", "GetParametersByPath"]


@pytest.mark.parametrize("deployment", ["server", "cluster"], indirect=True)
def test_a_process_that_is_killed_leaves_no_lock_for_long(
    scripted: Wire, forker: Forker, deployment: Deployment
) -> None:
    """While it lives, others wait for what it fetches; then one of them fetches it."""
    begun, goes = threading.Event(), threading.Event()

    def answer(asked: Asked) -> Any:
        if not begun.is_set():
            begun.set()
            goes.wait(LIMIT)
        return parameter(asked.body["Name"], "v")

    scripted.answers = {"GetParameter": answer}
    args = {"backend": deployment.url, "namespace": uuid.uuid4().hex}
    one, other = forker.worker(), forker.worker()
    one.begin(args, "get", "/a")
    begun.wait(LIMIT)
    other.begin(args, "get", "/a")
    one.kill()
    assert other.end() == "v"
    goes.set()
    other.close()

    assert scripted.count("GetParameter") == 2


def test_children_have_connections_of_their_own(scripted: Wire, redis: RedisServer) -> None:
    """A forked child does not get the answers to its parent's requests."""
    scripted.answers = {
        "GetParameter": lambda asked: parameter(asked.body["Name"], asked.body["Name"]),
        "GetParameters": lambda asked: {
            "Parameters": [{"Name": name, "Value": name} for name in asked.body["Names"]]
        },
    }
    script = f"""
    import asyncio, os
    from aiocache import RedisCache
    from s1crets.providers.aws import AsyncParameterStore, ParameterStore
    args = {{"backend": lambda: RedisCache(port={redis.port})}}
    store, ps = AsyncParameterStore(cache_args=args), ParameterStore(cache_args=args)
    names = [f"/{{i}}" for i in range(50)]
    async def main():
        await store.get_many(names)
        ps.get("/5")
        children = []
        for _ in range(2):
            pid = os.fork()
            if not pid:
                for name in names:
                    assert ps.get(name) == name
                assert not ps.stats.requests.get("GetParameters")
                os._exit(0)
            children.append(pid)
        for name in names:
            assert await store.get(name) == name
            await asyncio.sleep(0.005)
        codes = [(await asyncio.to_thread(os.waitpid, pid, 0))[1] for pid in children]
        assert list(await store.get_many(names))
        print(codes, store.stats.requests)
    asyncio.run(main())
    """

    assert check(script, measured=True) == "[0, 0] {'GetParameters': 5}\n"
