"""What a hit costs, side by side with the caches underneath. Ratios count: machines are noisy.

Run one case alone: `python benchmarks/hits.py "memory, text"`.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
import warnings
from typing import TYPE_CHECKING, Any

import boto3
import diskcache
from aiocache import SimpleMemoryCache

from s1crets.errors import InsecureCacheWarning
from s1crets.providers.aws import AsyncParameterStore, ParameterStore
from s1crets.testing import loopback_aws

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_CALLS, _ROUNDS = 20_000, 7
_JSON = '{"user": "u", "password": "fake", "host": "h", "port": 5432}'


def microseconds(call: Callable[[], Any]) -> float:
    """Return the median time of a call."""
    rounds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(_CALLS):
            call()
        rounds.append((time.perf_counter() - start) / _CALLS * 1e6)
    return statistics.median(rounds)


def awaited_microseconds(call: Callable[[], Awaitable[Any]]) -> float:
    """Return the median time of an awaited call."""

    async def main() -> float:
        rounds = []
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            for _ in range(_CALLS):
                await call()
            rounds.append((time.perf_counter() - start) / _CALLS * 1e6)
        return statistics.median(rounds)

    return asyncio.run(main())


def memory_text() -> tuple[float, float]:
    """Time the facade against a dict with a deadline."""
    store, table = ParameterStore(), {"/text": ("fake", time.monotonic() + 900)}
    assert store.get("/text") == "fake"

    def bare() -> str:
        text, deadline = table["/text"]
        assert deadline > time.monotonic()
        return text

    return microseconds(lambda: store.get("/text")), microseconds(bare)


def memory_json() -> tuple[float, float]:
    """Time a JSON of four fields against its text."""
    store = ParameterStore()
    assert store.get("/json")["port"] == 5432  # noqa: PLR2004  # as seeded
    store.get("/text")
    return microseconds(lambda: store.get("/json")), microseconds(lambda: store.get("/text"))


def awaited_text() -> tuple[float, float]:
    """Time the async class against aiocache's own memory cache."""
    store, peer = AsyncParameterStore(), SimpleMemoryCache()

    async def fill() -> None:
        assert await store.get("/text") == "fake"
        await peer.set("/text", "fake")

    asyncio.run(fill())
    return (
        awaited_microseconds(lambda: store.get("/text")),
        awaited_microseconds(lambda: peer.get("/text")),
    )


def disk_text() -> tuple[float, float]:
    """Time the disk cache against diskcache itself."""
    with tempfile.TemporaryDirectory() as folder:
        store = ParameterStore(
            cache_args={
                "cache_on_disk": True,
                "key_cache_dir": f"{folder}/keys",
                "path_cache_dir": f"{folder}/paths",
            }
        )
        assert store.get("/text") == "fake"
        with diskcache.Cache(f"{folder}/peer") as peer:
            peer.set("/text", "fake")
            return microseconds(lambda: store.get("/text")), microseconds(lambda: peer.get("/text"))


CASES = {
    "memory, text": (memory_text, "a dict with a deadline"),
    "memory, JSON of four fields": (memory_json, "the same as text"),
    "memory, text, awaited": (awaited_text, "aiocache's memory cache"),
    "disk, text": (disk_text, "diskcache itself"),
}


def main() -> None:
    """Run the cases that the command line names, or all."""
    warnings.simplefilter("ignore", InsecureCacheWarning)
    with loopback_aws() as environment:
        os.environ.update(environment)
        client = boto3.client("ssm")
        for name, text in (("/text", "fake"), ("/json", _JSON)):
            client.put_parameter(Name=name, Value=text, Type="String")
        for case in sys.argv[1:] or CASES:
            run, peer = CASES[case]
            ours, theirs = run()
            print(f"{case}: {ours:.2f} µs; {peer}: {theirs:.2f} µs; ratio {ours / theirs:.1f}")


if __name__ == "__main__":
    main()
