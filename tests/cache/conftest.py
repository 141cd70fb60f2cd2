"""Fixtures for caches: the places where entries can be stored."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from _support.world import WORLDS
from aiocache import SimpleMemoryCache

from s1crets.cache import DiskCache, MemoryCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

KEY = b"k" * 32
SERVERS = ["tls", "cluster", "sentinel", "memcached"]
TIERS = ["memory", "encrypted", "disk", "redis", "redis and memory"]
PLACES = [*TIERS, "shared", "foreign", "aiocache redis", *SERVERS]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Test the ordering rule in every place; what tiers do, in one place for each kind of tier."""
    if "place" in metafunc.fixturenames:
        everywhere = metafunc.definition.path.stem == "test_ordering"
        metafunc.parametrize("place", PLACES if everywhere else TIERS, indirect=True)


@pytest.fixture
async def place(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Callable[[], dict[str, Any]]]:
    """Yield a function that returns `cache_args`; its calls share entries where that is possible.

    A new backend is a line here.
    """
    redis: Any = request.getfixturevalue("redis") if "redis" in request.param else None
    deployment: Any = None
    if request.param in SERVERS:
        deployment = request.getfixturevalue("deployment_of")(request.param)
        request.getfixturevalue("patient")
    memory, foreign = MemoryCache(timer=lambda: 0.0), SimpleMemoryCache()
    namespace = uuid.uuid4().hex

    def make() -> dict[str, Any]:
        makers: dict[str, Callable[[], dict[str, Any]]] = {
            "memory": dict,
            "shared": lambda: {"backend": memory},
            "encrypted": lambda: {"backend": memory, "cache_key": KEY},
            "foreign": lambda: {"backend": foreign},
            "disk": lambda: {"backend": DiskCache(tmp_path / "disk")},
            "redis": lambda: {"backend": on_redis(), "cache_key": KEY},
            "aiocache redis": lambda: {"backend": partial(redis.aiocache, namespace=namespace)},
            "redis and memory": lambda: {"backend": on_redis(), "local_ttl": 5},
        }
        if deployment:
            return {"backend": deployment.url, "cache_key": KEY}
        return makers[request.param]()

    def on_redis() -> Any:
        return partial(redis.cache, namespace=namespace)

    yield make
    while WORLDS:
        await WORLDS.pop().cache.aclose()
    if deployment:
        deployment.reset()
