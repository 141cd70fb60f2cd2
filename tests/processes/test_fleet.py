"""Processes share a cache on a real Redis server: what one has fetched, the others need not."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from _support.scripts import LIMIT, check, start
from _support.wire import Wire, parameter

if TYPE_CHECKING:
    from _support.servers import RedisServer

    from s1crets.testing import LoopbackAws

NAMES = [f"/fleet/{i}" for i in range(100)]
KEY = base64.b64encode(b"k" * 32).decode()
WORKER = """
import asyncio, json, sys
from aiocache import RedisCache
import s1crets.cache.secret_cache, s1crets.cache.shared_tier
from s1crets.cache.backends.aiocache_adapter import TimeBudget
from s1crets.providers.aws import AsyncParameterStore

# On a busy machine others may get no CPU for long: waits that end early are not what is tested.
s1crets.cache.secret_cache._LOCK_WAIT = s1crets.cache.shared_tier._LOCK_TTL = TimeBudget.LIMIT = 50

def cache(port):
    return lambda: RedisCache(port=port)

async def main():
    backend = cache(int(sys.argv[1]))
    plain = AsyncParameterStore(cache_args={"backend": backend})
    sealed = AsyncParameterStore(cache_args={"backend": backend, "cache_key": sys.argv[2]})
    async with plain, sealed:
        while line := await asyncio.to_thread(sys.stdin.readline):
            store, verb, *arguments = json.loads(line)
            ps = {"plain": plain, "sealed": sealed}[store]
            if verb == "gather":
                found = await asyncio.gather(*map(ps.get, *arguments))
            else:
                found = await getattr(ps, verb)(*arguments)
            print(json.dumps(found), flush=True)

asyncio.run(main())
"""


class Worker:
    """A process with two stores, which makes the calls that it is sent."""

    def __init__(self, redis: RedisServer) -> None:
        self._process = start(WORKER, str(redis.port), KEY)

    def begin(self, *call: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()

    def end(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def do(self, *call: Any) -> Any:
        self.begin(*call)
        return self.end()

    def close(self) -> None:
        out, err = self._process.communicate(timeout=LIMIT)
        assert (self._process.returncode, out, err) == (0, "", "")


def test_four_processes(s1crets_aws: LoopbackAws, redis: RedisServer) -> None:
    """They want the same names at once, and each is requested once; an update is seen by all."""
    s1crets_aws.seed({"aws.ps": {name: name for name in NAMES}})
    workers = [Worker(redis) for _ in range(4)]
    for store, verb in (("plain", "get_many"), ("sealed", "gather")):
        asked_for_once(s1crets_aws, workers, store, verb)
        seen_by_all(s1crets_aws, workers, store)
    for worker in workers:
        worker.close()


def asked_for_once(aws: LoopbackAws, workers: list[Worker], store: str, verb: str) -> None:
    """Check that every name is requested once in all."""
    before = len(aws.requests)
    for worker in workers:
        worker.begin(store, verb, NAMES)
    for worker in workers:
        found = worker.end()
        assert (list(found.values()) if verb == "get_many" else found) == NAMES
    names = [name for asked in aws.requests[before:] for name in asked.names]

    assert sorted(names) == sorted(NAMES)


def seen_by_all(aws: LoopbackAws, workers: list[Worker], store: str) -> None:
    """Check that an update in a process is seen at once, and that one process requests it."""
    aws.seed({"aws.ps": {"/p/a": "old", "/p/b": "other"}})
    for worker in workers:
        worker.do(store, "invalidate", "/p/a")
    for worker in workers:
        assert worker.do(store, "get", "/p/a") == "old"
        assert worker.do(store, "get_by_path", "/p") == {"/p/a": "old", "/p/b": "other"}
    workers[0].do(store, "update", "/p/a", "new")
    before = len(aws.requests)
    for worker in reversed(workers):
        assert worker.do(store, "get", "/p/a") == "new"
        assert worker.do(store, "get_by_path", "/p") == {"/p/a": "new", "/p/b": "other"}

    operations = [asked.operation for asked in aws.requests[before:]]
    assert operations == ["GetParameter", "GetParametersByPath"]


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
