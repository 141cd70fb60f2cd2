"""Caches on servers are complete aiocache backends: the verbs that aiocache's own tests check."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock

from s1crets._redaction import redact
from s1crets.cache.backends.server_url import cache_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from _support.deployments import Deployment

REDIS = ["server", "cluster", "sentinel"]
every = pytest.mark.parametrize("deployment", [*REDIS, "memcached"], indirect=True)
redis_only = pytest.mark.parametrize("deployment", REDIS, indirect=True)


@pytest.fixture
async def cache(deployment: Deployment) -> AsyncIterator[Any]:
    """Yield a cache on the servers."""
    cache: Any = await asyncio.to_thread(cache_server(redact(deployment.url), "r:"))
    yield cache
    await cache.close()


@every
async def test_one_key(cache: Any) -> None:
    """Stored, found, deleted."""
    assert await cache.set("k", "välue", ttl=10)
    assert await cache.get("k") == "välue"
    assert await cache.exists("k")
    assert await cache.delete("k") == 1
    assert await cache.delete("k") == 0
    assert await cache.get("k", default=1) == 1
    assert not await cache.exists("k")


@every
async def test_several_keys(cache: Any) -> None:
    """In the order of the keys, None for a missing key; in a cluster they are in several slots."""
    names = [f"k{i}" for i in range(20)]
    assert await cache.multi_set([(name, name) for name in names])
    assert await cache.multi_get(["x", *reversed(names)]) == [None, *reversed(names)]
    assert await cache.multi_set([("r:k", "1"), ("k1", "2")], ttl=9)
    assert await cache.multi_get(["r:k", "k1"]) == ["1", "2"]
    assert await cache.multi_get([]) == []
    assert await cache.multi_set([])


@every
async def test_add(cache: Any) -> None:
    """Only what does not exist."""
    assert await cache.add("k", "1", ttl=9)
    with pytest.raises(ValueError, match=r"Key b?'?k'? already exists, use .set to"):
        await cache.add("k", "2")
    assert await cache.get("k") == "1"


@every
async def test_increment(cache: Any) -> None:
    """A missing number is 0."""
    assert [await cache.increment("k"), await cache.increment("k", 2)] == [1, 3]


@every
async def test_clear(cache: Any) -> None:
    """Everything."""
    await cache.multi_set([("a", "1"), ("b", "2")])
    assert await cache.clear()
    assert await cache.multi_get(["a", "b"]) == [None, None]


@redis_only
async def test_clear_of_a_namespace(cache: Any) -> None:
    """The keys that start with it, whatever characters it has."""
    for start in ("a*", "a[", "a\\", "a?"):
        await cache.multi_set([(f"{start}:{i}", "v") for i in range(5)])
    await cache.clear(namespace="a*")
    await cache.clear(namespace="a[")
    await cache.clear(namespace="a\\")
    left = [f"{start}:1" for start in ("a*", "a[", "a\\", "a?")]
    assert await cache.multi_get(left) == [None, None, None, "v"]


@redis_only
async def test_times_to_live(cache: Any) -> None:
    """Seconds, or fractions of them; None and 0 mean that an entry does not expire."""
    lives = {}
    for ttl in (None, 0, 100, 100.5):
        await cache.set("k", "v", ttl=ttl)
        await cache.multi_set([("l", "v")], ttl=ttl)
        lives[ttl] = [await cache.raw("pttl", key) for key in ("k", "l")]
    assert lives[None] == lives[0] == [-1, -1]
    assert all(0 < life <= 100_000 for life in lives[100])
    assert all(100_000 < life <= 100_500 for life in lives[100.5])
    assert await cache.expire("k", 0)
    assert await cache.raw("pttl", "k") == -1
    assert await cache.expire("k", 0.5)
    assert await cache.raw("pttl", "k") <= 500
    assert not await cache.expire("x", 1)


@redis_only
async def test_a_text_is_not_a_number(cache: Any) -> None:
    """The error is aiocache's."""
    await cache.set("k", "v")
    with pytest.raises(TypeError, match="Value is not an integer"):
        await cache.increment("k")


@redis_only
async def test_raw(cache: Any) -> None:
    """The client's own methods; texts are decoded."""
    await cache.raw("set", "k", "v")
    assert await cache.raw("get", "k") == "v"
    assert await cache.raw("mget", ["k"]) == ["v"]
    assert await cache.raw("exists", "k") == 1


@redis_only
async def test_locks(cache: Any) -> None:
    """aiocache's: only the owner releases one; a value is replaced only if it is the one seen."""
    async with RedLock(cache, "k", lease=9):
        assert await cache.exists("k-lock")
    assert not await cache.exists("k-lock")
    await cache.set("k", "1")
    async with OptimisticLock(cache, "k") as lock:
        await lock.cas("2", ttl=9)
        assert await cache.get("k") == "2"
        with pytest.raises(OptimisticLockError):
            await lock.cas("3")
    assert await cache.get("k") == "2"


@redis_only
async def test_a_value_that_is_too_large(cache: Any) -> None:
    """It is an error, and not stored."""
    with pytest.raises(ValueError, match="longer than"):
        await cache.set("k", "x" * (9 * 2**20))
    assert await cache.get("k") is None


@pytest.mark.parametrize("deployment", ["server", "cluster"], indirect=True)
@pytest.mark.parametrize("parameters", ["protocol=3", "max_connections=2&client_name=x"])
async def test_parameters(deployment: Deployment, parameters: str) -> None:
    """They are redis-py's; callers that are more than there are connections wait."""
    cache: Any = await asyncio.to_thread(cache_server(redact(f"{deployment.url}?{parameters}")))
    await asyncio.gather(*(cache.set(f"{i}", "v") for i in range(20)))
    assert await cache.multi_get([f"{i}" for i in range(20)]) == ["v"] * 20
    await cache.close()


@redis_only
async def test_several_keys_are_added_or_deleted_at_once(cache: Any) -> None:
    """In a cluster too, where they are in several slots; which existed is known."""
    names = [f"k{i}" for i in range(20)]
    await cache.set("k3", "old")
    assert await cache.multi_add([(name, "new") for name in names], ttl=9) == {"k3"}
    assert await cache.multi_get(["k2", "k3"]) == ["new", "old"]
    await cache.multi_delete([*names, "missing"])
    assert await cache.multi_get(names) == [None] * 20
