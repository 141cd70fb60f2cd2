"""The contract that every cache backend fulfils, and the promises of single backends.

A new backend is one row of `BACKENDS`. The contract covers what aiocache's own acceptance tests
check of its backends, as far as it is not particular to a server.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diskcache
import pytest
from aiocache import Cache, cached, cached_stampede, multi_cached
from aiocache.factory import CacheHandler
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock
from aiocache.plugins import BasePlugin, HitMissRatioPlugin, TimingPlugin
from aiocache.serializers import (
    BaseSerializer,
    JsonSerializer,
    NullSerializer,
    PickleSerializer,
    StringSerializer,
)

from s1crets.cache.backends._sqlite import FAILURES, FetchLocks
from s1crets.cache.backends.base import KernelLocks, SyncReadable
from s1crets.cache.backends.disk import DiskCache
from s1crets.cache.backends.memory import MemoryCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterator


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


BACKENDS: dict[str, Callable[[Path, Clock], tuple[type[Any], dict[str, Any]]]] = {
    "memory": lambda _, clock: (MemoryCache, {"timer": clock}),
    "disk": lambda path, clock: (DiskCache, {"folder": path / "cache", "clock": clock}),
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=BACKENDS)
def kind(
    request: pytest.FixtureRequest, clock: Clock, tmp_path: Path
) -> tuple[type[Any], dict[str, Any]]:
    """Return a backend's class and the options with which a test makes it."""
    return BACKENDS[request.param](tmp_path, clock)


@pytest.fixture
async def make(kind: tuple[type[Any], dict[str, Any]]) -> AsyncIterator[Callable[..., Any]]:
    """Yield a function that makes a cache, which is closed at the end."""
    made: list[Any] = []

    def make_one(**options: Any) -> Any:
        cls, always = kind
        made.append(cls(**always, **options))
        return made[-1]

    yield make_one
    for cache in made:
        await cache.close()


@pytest.fixture
def cache(make: Callable[..., Any]) -> Any:
    """Return a cache with aiocache's default options."""
    return make()


class Name(StrEnum):
    """Keys as aiocache allows them."""

    KEY = "enum-key"


class TestContract:
    """Reading and writing through aiocache's public methods."""

    async def test_a_stored_value_is_returned(self, cache: Any) -> None:
        """By `get`, and by `peek` without waiting."""
        assert await cache.set("k", "välue\ud800", ttl=10) is True

        assert await cache.get("k") == "välue\ud800"
        assert cache.peek("k") == "välue\ud800"
        assert await cache.exists("k") is True

    async def test_a_missing_key(self, cache: Any) -> None:
        """None, or the default."""
        assert await cache.get("k") is None
        assert await cache.get("k", default=1) == 1
        assert cache.peek("k") is None
        assert await cache.exists("k") is False
        assert await cache.delete("k") == 0
        assert await cache.expire("k", 1) is False

    async def test_several_keys(self, cache: Any) -> None:
        """In the order of the keys, None for a missing key."""
        assert await cache.multi_set([("a", "1"), ["b", "2"]]) is True

        assert await cache.multi_get(["b", "x", "a", "b"]) == ["2", None, "1", "2"]
        assert list(cache.peek_many(["b", "x", "a"])) == ["2", None, "1"]
        assert await cache.multi_get([]) == []
        assert list(cache.peek_many([])) == []

    async def test_very_many_keys(self, cache: Any) -> None:
        """More than a database takes in one statement."""
        names = [f"k{i}" for i in range(120)]
        await cache.multi_set([(name, name) for name in names])

        assert await cache.multi_get([*names, "x"]) == [*names, None]

    async def test_an_enum_is_a_key(self, cache: Any) -> None:
        """As in aiocache: its value is the name."""
        await cache.set(Name.KEY, "v")

        assert await cache.get(Name.KEY) == "v"
        assert await cache.get("enum-key") == "v"

    async def test_an_entry_expires_by_the_clock(self, cache: Any, clock: Clock) -> None:
        """Exactly at its time to live, without a timer."""
        await cache.set("k", "v", ttl=10)
        await cache.multi_set([("l", "v")], ttl=0.5)
        clock.now += 0.5
        assert await cache.multi_get(["k", "l"]) == ["v", None]
        clock.now += 9.4
        assert cache.peek("k") == "v"
        clock.now += 0.1
        assert cache.peek("k") is None
        assert list(cache.peek_many(["k"])) == [None]
        assert await cache.get("k") is None
        assert await cache.exists("k") is False
        assert await cache.expire("k", 5) is False
        assert await cache.delete("k") == 0

    @pytest.mark.parametrize("ttl", [None, 0])
    async def test_no_time_to_live(self, cache: Any, clock: Clock, ttl: float | None) -> None:
        """None and 0 mean that an entry does not expire, as in aiocache."""
        await cache.set("k", "v", ttl=ttl)
        clock.now += 1e9

        assert await cache.get("k") == "v"

    async def test_the_default_time_to_live(self, make: Any, clock: Clock) -> None:
        """Is the cache's option; a call may say another."""
        cache = make(ttl=5)
        await cache.set("k", "v")
        await cache.set("l", "v", ttl=None)
        clock.now += 5

        assert await cache.multi_get(["k", "l"]) == [None, "v"]

    async def test_the_last_value_counts(self, cache: Any, clock: Clock) -> None:
        """With its time to live."""
        await cache.set("k", "old", ttl=1)
        await cache.set("k", "new", ttl=10)
        clock.now += 5

        assert cache.peek("k") == "new"

    async def test_add(self, cache: Any, clock: Clock) -> None:
        """Only what does not exist, or has expired."""
        assert await cache.add("k", "v", ttl=1) is True
        with pytest.raises(ValueError, match="k already exists"):
            await cache.add("k", "w")
        assert await cache.get("k") == "v"
        clock.now += 1
        assert await cache.add("k", "w") is True
        assert await cache.get("k") == "w"

    async def test_several_keys_are_added_or_deleted_at_once(self, cache: Any) -> None:
        """Those that exist stay as they are, and are returned."""
        await cache.set("a", "old")
        assert await cache.multi_add([("a", "new"), ("b", "new")], ttl=9) == {"a"}
        assert await cache.multi_get(["a", "b"]) == ["old", "new"]
        await cache.multi_delete(["a", "b", "c"])
        assert await cache.multi_get(["a", "b"]) == [None, None]

    async def test_increment(self, cache: Any) -> None:
        """A missing key starts at 0; the delta may be negative."""
        assert await cache.increment("new") == 1
        assert await cache.increment("down", delta=-2) == -2
        await cache.set("k", 2)
        assert await cache.increment("k", delta=2) == 4
        assert await cache.increment("k") == 5
        assert await cache.increment("k", delta=-3) == 2
        assert int(await cache.get("k")) == 2

    async def test_an_increment_keeps_the_time_to_live(self, cache: Any, clock: Clock) -> None:
        """An expired number starts again, without one."""
        await cache.set("k", 2, ttl=10)
        await cache.increment("k")
        clock.now += 10
        assert await cache.get("k") is None
        assert await cache.increment("k") == 1
        clock.now += 1e9
        assert int(await cache.get("k")) == 1

    async def test_an_increment_of_text(self, cache: Any) -> None:
        """Is a TypeError that does not contain the value."""
        await cache.set("k", "hunter2")
        with pytest.raises(TypeError, match="not an integer") as caught:
            await cache.increment("k")

        assert caught.value.__context__ is None
        assert await cache.get("k") == "hunter2"

    async def test_expire(self, cache: Any, clock: Clock) -> None:
        """Sets the time to live; 0 removes it."""
        await cache.multi_set([("a", "v"), ("b", "v")], ttl=1)
        assert await cache.expire("a", 5) is True
        assert await cache.expire("b", 0) is True
        clock.now += 4.9
        assert await cache.multi_get(["a", "b"]) == ["v", "v"]
        clock.now += 0.1
        assert await cache.multi_get(["a", "b"]) == [None, "v"]

    async def test_delete(self, cache: Any) -> None:
        """One key; the number of deleted keys is returned."""
        await cache.multi_set([("k", "v"), ("l", "v")])

        assert await cache.delete("k") == 1
        assert await cache.delete("k") == 0
        assert await cache.multi_get(["k", "l"]) == [None, "v"]

    async def test_clear(self, cache: Any) -> None:
        """All, or a namespace."""
        await cache.multi_set([(key, "v") for key in ("x:a", "x:b", "y:a")])

        assert await cache.clear(namespace="x:") is True
        assert [cache.peek(key) for key in ("x:a", "x:b", "y:a")] == [None, None, "v"]
        assert await cache.clear() is True
        assert cache.peek("y:a") is None

    async def test_raw(self, cache: Any, clock: Clock) -> None:
        """Methods of dict, on the values that have not expired."""
        await cache.set("old", "v", ttl=1)
        await cache.set("other", "v", ttl=5)
        clock.now += 1

        assert await cache.raw("setdefault", "key", "value") == "value"
        assert await cache.raw("get", "key") == "value"
        assert sorted(await cache.raw("keys")) == ["key", "other"]
        assert await cache.raw("pop", "key") == "value"
        await cache.raw("update", {"other": "w"})
        clock.now += 1e9
        assert list(await cache.raw("items")) == [("other", "w")]
        assert await cache.get("other") == "w"

    async def test_it_is_bounded(self, make: Any) -> None:
        """The oldest entry is evicted first; an updated entry is a new one."""
        cache = make(size=3)
        for key in "aba":
            await cache.set(key, key, ttl=10)
        await cache.multi_set([("c", "c"), ("d", "d")])

        assert [cache.peek(key) for key in "abcd"] == ["a", None, "c", "d"]
        assert await asyncio.to_thread(len, cache) == 3

    async def test_purge(self, cache: Any) -> None:
        """All keys with a prefix."""
        await cache.multi_set([(key, "v") for key in ("x:a", "x:b", "y:a")])
        await cache.purge("x:")

        assert await cache.multi_get(["x:a", "x:b", "y:a"]) == [None, None, "v"]

    async def test_it_can_be_used_after_it_was_closed(self, cache: Any) -> None:
        """Closing frees resources, nothing else."""
        async with cache:
            await cache.set("k", "v")
        assert await cache.set("l", "w") is True

        assert await cache.multi_get(["k", "l"]) == ["v", "w"]

    async def test_opening_twice(self, cache: Any) -> None:
        """Is opening once."""
        for _ in "ab":
            await asyncio.to_thread(cache.open)

        assert cache.peek("k") is None

    async def test_it_is_declared_readable_without_waiting(self, cache: Any) -> None:
        """By its type."""
        assert cache.NAME.startswith("s1crets-")
        assert isinstance(cache, SyncReadable)

    async def test_several_keys_are_read_in_the_same_instant(self, cache: Any) -> None:
        """While another thread writes both, they are of the same write."""

        async def write() -> None:
            for i in range(50):
                await cache.multi_set([("a", str(i)), ("b", str(i))])

        await cache.get("a")
        writing = asyncio.create_task(asyncio.to_thread(asyncio.run, write()))
        while not writing.done():
            first, second = cache.peek_many(["a", "b"])
            assert first == second
            await asyncio.sleep(0)
        await writing

    async def test_many_threads_and_loops(self, cache: Any) -> None:
        """Each sees whole values, and no increment is lost."""

        async def work(name: str) -> None:
            for i in range(10):
                await cache.set(name, f"{name}{i}", ttl=100)
                assert (cache.peek(name) or name).startswith(name)
                await cache.delete(name)
                await cache.increment("n")

        await asyncio.gather(*(asyncio.to_thread(asyncio.run, work(name)) for name in "abcdef"))
        assert int(await cache.get("n")) == 60

    async def test_many_writes_at_once(self, cache: Any) -> None:
        """All are made; no increment is lost, and a key is added once."""
        await asyncio.gather(*(cache.increment("n") for _ in range(50)))
        added = await asyncio.gather(
            *(cache.add("k", str(i)) for i in range(5)), return_exceptions=True
        )

        assert int(await cache.get("n")) == 50
        assert added.count(True) == 1


class TestOptions:
    """aiocache's options take effect."""

    async def test_an_unknown_option(self, make: Any) -> None:
        """Is rejected."""
        with pytest.raises(TypeError):
            make(unknown=1)

    async def test_a_namespace(self, make: Any) -> None:
        """Keys are prefixed; a call may name another."""
        one, other = make(namespace="one:"), make(namespace="other:")
        await one.set("k", "v", namespace="x:")
        await one.set("k", "1")
        await other.set("k", "2")

        assert one.namespace == "one:"
        assert await one.get("k") == "1"
        assert await one.get("k", namespace="x:") == "v"
        assert one.peek(one.build_key("k", namespace="one:")) == "1"
        await one.clear(namespace="x:")
        assert await one.exists("k", namespace="x:") is False
        assert await other.get("k") == "2"

    async def test_a_key_builder(self, make: Any) -> None:
        """Builds the keys that are stored."""
        cache = make(key_builder=lambda key, namespace=None: f"<{namespace}{key}>")
        await cache.set("k", "v", namespace="n")

        assert cache.peek("<nk>") == "v"
        assert await cache.get("k", namespace="n") == "v"

    @pytest.mark.parametrize("value", [1, 2.0, "hi", True, ["1", 1], {"key": "value"}], ids=str)
    @pytest.mark.parametrize(
        "serializer", [StringSerializer(), JsonSerializer(), PickleSerializer()], ids=type
    )
    async def test_a_serializer(self, make: Any, serializer: Any, value: Any) -> None:
        """In every method that stores; the values come back as the serializer restores them."""
        cache = make(serializer=serializer)
        restored = serializer.loads(serializer.dumps(value))
        await cache.set("set", value)
        await cache.add("added", value)
        await cache.multi_set([("several", value)])

        assert await cache.get("set") == restored
        assert await cache.multi_get(["added", "several"]) == [restored, restored]

    async def test_functions_instead_of_the_serializer(self, cache: Any) -> None:
        """For one call."""
        await cache.set("k", "value", dumps_fn=lambda _: "v4lu3")

        assert await cache.get("k") == "v4lu3"
        assert await cache.get("k", loads_fn=lambda _: "value") == "value"

    async def test_a_serializer_of_the_callers_own(self, make: Any) -> None:
        """Any class with `dumps` and `loads`; the serializer can be replaced."""

        class Reversing(BaseSerializer):  # type: ignore[misc]  # aiocache has no type hints
            def dumps(self, value: str) -> str:
                return value[::-1]

            def loads(self, value: str | None) -> str | None:
                return value and value[::-1]

        cache = make()
        cache.serializer = Reversing()
        await cache.set("k", "abc")

        assert await cache.get("k") == "abc"
        assert cache.peek("k") == "cba"

    async def test_none_is_a_miss(self, make: Any) -> None:
        """As in aiocache: what a serializer restores as None is not found."""
        cache = make(serializer=JsonSerializer())
        await cache.set("k", None)

        assert await cache.get("k", default="d") == "d"

    async def test_plugins(self, make: Any) -> None:
        """Are called before and after every command."""
        calls: list[str] = []

        class Recorder(BasePlugin):  # type: ignore[misc]  # aiocache has no type hints
            def __getattribute__(self, name: str) -> Any:
                calls.append(name)
                return super().__getattribute__(name)

        cache = make(plugins=[Recorder()])
        await cache.set("k", 1)
        await cache.get("k")
        await cache.increment("k")
        await cache.raw("keys")

        commands = ("set", "get", "increment", "raw")
        assert calls == [when + name for name in commands for when in ("pre_", "post_")]

    async def test_plugins_of_aiocache(self, cache: Any) -> None:
        """Measure hits and times."""
        cache.plugins = [HitMissRatioPlugin(), TimingPlugin()]
        await cache.multi_set([("a", 1), ("b", 2)])
        await cache.multi_get(["a", "x"])
        for key in "abcd":
            await cache.get(key)

        assert cache.hit_miss_ratio == {"total": 6, "hits": 3, "hit_ratio": 0.5}
        assert cache.profiling["get_total"] == 4
        assert {"get_max", "get_min", "get_avg", "multi_set_max"} <= cache.profiling.keys()

    async def test_timeouts(self, make: Any) -> None:
        """Of the cache and of a call; 0 and None turn them off."""

        class Hanging(BasePlugin):  # type: ignore[misc]  # aiocache has no type hints
            async def pre_get(self, *_: Any, **__: Any) -> None:
                await asyncio.sleep(0.1 if patient else 3600)

        patient = False
        cache = make(plugins=[Hanging()], timeout=0.001)
        with pytest.raises(asyncio.TimeoutError):
            await cache.get("k")
        patient = True
        assert await cache.get("k", timeout=None) is None
        cache.timeout = 0
        assert await cache.get("k") is None
        with pytest.raises(asyncio.TimeoutError):
            await cache.get("k", timeout=0.001)

    async def test_no_timeout_by_default(self, cache: Any) -> None:
        """A memory does not wait, and a disk has limits of its own."""
        assert cache.timeout is None

    async def test_aiocache_disable(self, cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment variable turns the public methods off."""
        await cache.set("k", "v")
        monkeypatch.setenv("AIOCACHE_DISABLE", "1")
        assert await cache.get("k") is None
        assert await cache.multi_get(["k"]) == []
        assert await cache.set("k", "w") is True
        assert await cache.delete("k") == 0
        monkeypatch.delenv("AIOCACHE_DISABLE")
        assert await cache.get("k") == "v"

    async def test_a_connection(self, cache: Any) -> None:
        """Has the commands of the cache."""
        async with cache.get_connection() as connection:
            assert await connection.set("k", "v") is True
            assert await connection.get("k") == "v"


class TestLocks:
    """aiocache's locks."""

    async def test_acquire_and_release(self, cache: Any) -> None:
        """The lock is an entry beside the locked one."""
        async with RedLock(cache, "k", 20) as _:
            token = await cache.get("k-lock")
            assert token
        assert await cache.get("k-lock") is None

    async def test_a_lock_in_a_namespace(self, make: Any) -> None:
        """Is there, too."""
        cache = make(namespace="n:")
        async with RedLock(cache, "k", 20):
            assert cache.peek("n:k-lock")
        assert cache.peek("n:k-lock") is None

    async def test_nobody_else_releases_it(self, cache: Any, clock: Clock) -> None:
        """Neither a lock that was not acquired nor another token, nor after the lease."""
        lock, other = RedLock(cache, "k", 0.5), RedLock(cache, "k", 0.5)
        await other.__aexit__(None, None, None)
        await lock.__aenter__()
        await other.__aexit__(None, None, None)
        assert await cache.exists("k-lock")
        clock.now += 0.5
        await lock.__aexit__(None, None, None)
        await other.__aenter__()
        await lock.__aexit__(None, None, None)
        assert await cache.exists("k-lock")
        await other.__aexit__(None, None, None)
        assert not await cache.exists("k-lock")

    async def test_one_of_many_computes(self, cache: Any) -> None:
        """The others wait for it."""
        computed = []

        async def work() -> Any:
            assert await cache.get("k") is None
            async with RedLock(cache, "k", lease=30):
                if await cache.get("k") is None:
                    computed.append("value")
                    await asyncio.sleep(0.01)
                    await cache.set("k", "value")
                return await cache.get("k")

        assert await asyncio.gather(*(work() for _ in range(4))) == ["value"] * 4
        assert computed == ["value"]

    async def test_after_the_lease_everybody_computes(self, cache: Any) -> None:
        """A lock that is not released blocks nobody forever."""
        async with RedLock(cache, "k", lease=30), RedLock(cache, "k", lease=0.01):
            await cache.set("k", "value")
        assert await cache.get("k") == "value"

    async def test_a_failure_releases_it(self, cache: Any) -> None:
        """And is raised."""
        with pytest.raises(ZeroDivisionError):
            async with RedLock(cache, "k", lease=30):
                raise ZeroDivisionError
        assert not await cache.exists("k-lock")

    async def test_check_and_set(self, cache: Any, clock: Clock) -> None:
        """An unchanged value is replaced, with a time to live."""
        await cache.set("k", "old")
        async with OptimisticLock(cache, "k") as lock:
            assert lock._token == await cache._gets("k") == "old"
            assert await lock.cas("new", ttl=5)
        assert await cache.get("k") == "new"
        clock.now += 5
        assert await cache.get("k") is None

    async def test_a_conflict(self, cache: Any, clock: Clock) -> None:
        """Whether the value was changed or has expired."""
        await cache.set("k", "old", ttl=5)
        async with OptimisticLock(cache, "k") as lock:
            await cache.set("k", "other", ttl=5)
            with pytest.raises(OptimisticLockError):
                await lock.cas("new")
        async with OptimisticLock(cache, "k") as lock:
            clock.now += 5
            with pytest.raises(OptimisticLockError):
                await lock.cas("new")
        assert await cache.get("k") is None

    async def test_a_key_that_did_not_exist(self, cache: Any) -> None:
        """Never is a conflict, as in aiocache."""
        async with OptimisticLock(cache, "k") as lock:
            await cache.set("k", "other")
            await lock.cas("new")
        assert await cache.get("k") == "new"

    async def test_check_and_set_of_bytes(self, make: Any) -> None:
        """The token of a value that is not text is the value itself."""
        cache = make(serializer=PickleSerializer())
        await cache.set("k", {"a": 1})
        async with OptimisticLock(cache, "k") as lock:
            await cache.set("k", {"a": 2})
            with pytest.raises(OptimisticLockError):
                await lock.cas({"a": 3})
        async with OptimisticLock(cache, "k") as lock:
            await lock.cas({"a": 3})
        assert await cache.get("k") == {"a": 3}


class TestAiocache:
    """aiocache's decorators and factories make the backends from their options."""

    async def test_cached(self, kind: tuple[type[Any], dict[str, Any]], clock: Clock) -> None:
        """The result is stored for its time to live."""
        cls, options = kind
        calls: list[int] = []

        @cached(cache=cls, ttl=10, key="k", **options)  # type: ignore[untyped-decorator]
        async def decorated() -> str:
            calls.append(1)
            return f"v{len(calls)}"

        work: Any = decorated
        assert [await work(), await work(), await work.cache.get("k")] == ["v1"] * 3
        clock.now += 10
        assert await work() == "v2"
        await work.cache.close()

    async def test_cached_stampede(self, kind: tuple[type[Any], dict[str, Any]]) -> None:
        """One of many callers computes."""
        cls, options = kind
        calls: list[int] = []

        @cached_stampede(cache=cls, lease=30, key="k", **options)  # type: ignore[untyped-decorator]
        async def work() -> str:
            calls.append(1)
            await asyncio.sleep(0.01)
            return "v"

        assert await asyncio.gather(*(work() for _ in range(3))) == ["v"] * 3
        assert len(calls) == 1
        await cls(**options).close()

    async def test_multi_cached(self, kind: tuple[type[Any], dict[str, Any]]) -> None:
        """Only what is missing is computed."""
        cls, options = kind
        asked: list[list[str]] = []

        @multi_cached("keys", cache=cls, **options)  # type: ignore[untyped-decorator]
        async def decorated(keys: list[str]) -> dict[str, str]:
            asked.append(list(keys))
            return dict.fromkeys(keys, "v")

        work: Any = decorated
        await work(keys=["a", "b"])
        assert await work(keys=["a", "b", "c"]) == dict.fromkeys("abc", "v")
        assert asked == [["a", "b"], ["c"]]
        await work.cache.close()

    async def test_the_factories(self, kind: tuple[type[Any], dict[str, Any]]) -> None:
        """By class, and by the name of the class in a configuration."""
        cls, options = kind
        made = Cache(cls, namespace="n:", **options)
        assert type(made) is cls
        assert made.namespace == "n:"
        handler = CacheHandler()
        handler.set_config(
            {
                "default": {
                    "cache": f"{cls.__module__}.{cls.__name__}",
                    "serializer": {"class": "aiocache.serializers.JsonSerializer"},
                    "plugins": [{"class": "aiocache.plugins.TimingPlugin"}],
                    "size": 5,
                }
            }
        )
        configured = handler.create("default", **options)
        assert (type(configured), configured.size) == (cls, 5)
        assert await configured.set("k", [1])
        assert await configured.get("k") == [1]
        await configured.close()


class TestMemory:
    """Memory, with what a tier of s1crets needs of it."""

    @pytest.mark.parametrize(
        "value",
        [1, 2.0, ["1", 1], {"key": "value"}, object()],
        ids=lambda value: type(value).__name__,
    )
    async def test_values_are_stored_as_they_are(self, value: Any) -> None:
        """The default serializer does nothing."""
        cache = MemoryCache()
        await cache.set("a", value)
        await cache.add("b", value)

        assert await cache.get("a") is value
        assert (await cache.multi_get(["b"]))[0] is value

    async def test_none_is_a_miss(self) -> None:
        """As in aiocache's memory; the key exists."""
        cache = MemoryCache()
        await cache.set("k", None)

        assert await cache.get("k", default="d") == "d"
        assert await cache.exists("k")

    async def test_an_entry_in_use_is_not_evicted(self, clock: Clock) -> None:
        """The least recently used one is evicted first."""
        cache = MemoryCache(size=2, timer=clock)
        for read in (lambda: cache.peek("a"), lambda: cache.peek_many(["a"])):
            await cache.multi_set([("a", 1), ("b", 2)], ttl=10)
            read()
            await cache.set("c", 3, ttl=10)

            assert [cache.peek(key) for key in "abc"] == [1, None, 3]

    async def test_expired_entries_are_removed_when_they_are_read(self, clock: Clock) -> None:
        """A secret does not stay in memory after its time."""
        cache = MemoryCache(timer=clock)
        await cache.multi_set([("a", 1), ("b", 1)], ttl=10)
        clock.now += 10

        assert cache.peek("a") is None
        assert list(cache.peek_many(["b"])) == [None]
        assert len(cache) == 0

    async def test_a_hit_near_its_expiry_is_due(self, clock: Clock) -> None:
        """From `refresh_ahead` seconds before, each hit is reported."""
        due: list[Hashable] = []
        cache = MemoryCache(refresh_ahead=3, on_due=due.append, timer=clock)
        await cache.set("k", "v", ttl=10)
        clock.now += 6.9
        assert (cache.peek("k"), due) == ("v", [])
        clock.now += 0.1
        assert (cache.peek("k"), due) == ("v", ["k"])
        assert (cache.peek_many(["k"]), due) == (["v"], ["k", "k"])
        clock.now += 3
        assert (cache.peek("k"), due) == (None, ["k", "k"])

    async def test_stale_entries(self, clock: Clock) -> None:
        """Are kept for `stale_for` seconds, for `peek_stale` alone."""
        cache = MemoryCache(refresh_ahead=1, stale_for=5, timer=clock)
        await cache.set("k", "v", ttl=10)
        assert cache.peek_stale("k") == "v"
        clock.now += 10
        assert cache.peek("k") is None
        assert await cache.get("k") is None
        assert not await cache.exists("k")
        assert cache.peek_stale("k") == "v"
        clock.now += 5
        assert cache.peek_stale("k") is None
        assert cache.peek_stale("x") is None

    async def test_a_guard_sees_stale_entries(self, clock: Clock) -> None:
        """They may be newer than what is to be stored."""
        cache = MemoryCache(stale_for=5, timer=clock)
        await cache.set("k", "v", ttl=10)
        clock.now += 10

        assert not await cache.set("k", "w", _cas_token=lambda _key, there: there != "v")
        assert await cache.add("k", "w")

    async def test_full(self) -> None:
        """Whether another entry evicts one."""
        cache = MemoryCache(size=2)
        await cache.set("a", 1)
        assert not cache.full
        await cache.set("b", 1)
        assert cache.full

    async def test_delete_where(self) -> None:
        """By key and value; keys need not be text."""
        cache = MemoryCache()
        await cache.multi_set([(("a", 1), "v"), (("a", 2), "w"), (("b", 1), "v")])

        assert await cache.delete_where(lambda key, value: key[0] == "a" and value == "v") == 1
        assert await cache.multi_get([("a", 1), ("a", 2), ("b", 1)]) == [None, "w", "v"]

    @pytest.mark.parametrize("many", [False, True])
    def test_an_entry_that_another_thread_has_just_removed(self, *, many: bool) -> None:
        """The value that was read is valid."""

        def slow_clock() -> float:
            if slow:
                with ThreadPoolExecutor(1) as other:
                    other.submit(asyncio.run, cache.clear()).result()
            return 0.0

        slow: list[bool] = []
        cache = MemoryCache(timer=slow_clock)
        asyncio.run(cache.set("k", "v", ttl=1))
        slow.append(True)

        assert (cache.peek_many(["k"])[0] if many else cache.peek("k")) == "v"
        assert len(cache) == 0

    def test_an_entry_that_another_thread_has_just_replaced(self) -> None:
        """A reader that saw the expired entry does not remove the new one."""

        def slow_clock() -> float:
            if slow:
                slow.clear()
                with ThreadPoolExecutor(1) as other:
                    other.submit(asyncio.run, cache.set("k", "new", ttl=9)).result()
                return 2.0
            return 0.0

        slow: list[bool] = []
        cache = MemoryCache(timer=slow_clock)
        asyncio.run(cache.set("k", "old", ttl=1))
        slow.append(True)

        assert cache.peek("k") is None
        assert cache.peek("k") == "new"

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_fork_while_another_thread_writes(self) -> None:
        """The child does not wait for a lock that nobody releases there."""
        cache = MemoryCache()
        asyncio.run(cache.set("k", "v"))
        locked, go = threading.Event(), threading.Event()

        def hold() -> None:
            with cache._lock:
                locked.set()
                go.wait(30)

        writer = threading.Thread(target=hold)
        writer.start()
        locked.wait(30)
        child = os.fork()
        if not child:
            worker = threading.Thread(target=asyncio.run, args=(cache.set("k", "w"),))
            worker.daemon = True
            worker.start()
            worker.join(30)
            os._exit(worker.is_alive() or cache.peek("k") != "w")
        go.set()
        writer.join()
        assert os.waitpid(child, 0)[1] == 0
        assert cache.peek("k") == "v"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


def alter(folder: Path, statement: str, *values: Any) -> None:
    """Write to the database as another program could."""
    with sqlite3.connect(folder / "cache.db") as db:
        db.execute(statement, values)
    db.close()


class TestPrivacy:
    """Nobody but the owner reads what is on disk, and nothing on disk is trusted."""

    @pytest.mark.parametrize("umask", [0, 0o022, 0o077])
    async def test_any_umask(self, folder: Path, umask: int) -> None:
        """Folders 0700, also those between; files 0600."""
        before = os.umask(umask)
        try:
            async with DiskCache(folder) as cache:
                await cache.set("k", "v", ttl=10)

                assert {mode(path) for path in (folder, folder.parent)} == {0o700}
                assert {mode(path) for path in folder.iterdir()} == {0o600}
        finally:
            os.umask(before)

    @pytest.mark.parametrize("kind", ["link", "group", "other user's"])
    async def test_a_folder_that_others_can_access(self, folder: Path, kind: str) -> None:
        """Is refused; the error names the folder and the problem."""
        if kind == "link":
            folder.parent.mkdir()
            (folder.parent / "real").mkdir(mode=0o700)
            folder.symlink_to(folder.parent / "real")
        else:
            folder.mkdir(parents=True, mode=0o700)
            folder.chmod(0o750 if kind == "group" else 0o700)
            if kind == "other user's":
                if os.geteuid():
                    pytest.skip("only root can give a folder away")
                os.chown(folder, 4321, -1)
        words = {"link": "symbolic link", "group": "0750", "other user's": "user 4321"}

        with pytest.raises(PermissionError, match=words[kind]) as caught:
            await DiskCache(folder).get("k")
        assert str(folder) in str(caught.value)

    async def test_a_folder_that_was_opened_to_others_meanwhile(self, folder: Path) -> None:
        """Is refused when the file is created again."""
        async with DiskCache(folder) as cache:
            await cache.set("k", "v")
            for path in folder.glob("cache.db*"):
                path.unlink()
            folder.chmod(0o755)
            with pytest.raises(PermissionError, match="0755"):
                await cache.set("k", "v")
            folder.chmod(0o700)
            assert await cache.set("k", "v")

    async def test_a_database_that_is_a_link(self, folder: Path, tmp_path: Path) -> None:
        """Is refused, and not followed."""
        folder.parent.mkdir()
        folder.mkdir(mode=0o700)
        (folder / "cache.db").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(PermissionError, match="symbolic link"):
            await DiskCache(folder).get("k")

        assert not (tmp_path / "elsewhere").exists()

    async def test_foreign_rows(self, folder: Path, tmp_path: Path) -> None:
        """No pickle is loaded, no file is read or deleted, whatever a row says (CVE-2025-69872)."""
        victim = tmp_path / "victim"
        victim.write_text("mine")
        rows = ("pickle", "file", "number", "text", "short")
        async with DiskCache(folder) as cache:
            await cache.multi_set([(row, "v") for row in rows], ttl=100)
            evil = b"cos\nsystem\n(S'touch %s'\ntR." % bytes(tmp_path / "pwned")
            alter(folder, "UPDATE Cache SET mode = 4, value = ? WHERE key = 'pickle'", evil)
            alter(folder, "UPDATE Cache SET mode = 2, filename = ? WHERE key = 'file'", str(victim))
            alter(folder, "UPDATE Cache SET value = 5 WHERE key = 'number'")
            alter(folder, "UPDATE Cache SET value = 'text' WHERE key = 'text'")
            alter(folder, "UPDATE Cache SET value = ? WHERE key = 'short'", b"12345")

            assert [cache.peek(row) for row in rows] == [None] * 5
            assert await cache.multi_get(rows) == [None] * 5
            assert list(await cache.raw("keys")) == []
            assert [await cache.increment(row) for row in rows] == [1] * 5
            for row in rows:
                await cache.delete(row)
        assert victim.read_text() == "mine"
        assert not (tmp_path / "pwned").exists()

    async def test_foreign_keys(self, folder: Path) -> None:
        """A pickled key is never loaded."""
        async with DiskCache(folder) as cache:
            await cache.set("k", "v", ttl=100)
            alter(folder, "UPDATE Cache SET raw = 0, key = ?", b"cos\nsystem\n.")

            await cache.set("l", "v", ttl=100)
            assert list(await cache.raw("keys")) == ["l"]
            assert await cache.clear(namespace="l")
            assert cache.peek("l") is None
            cache.size = 0
            assert await cache.set("l", "v", ttl=100)
            assert await asyncio.to_thread(len, cache) == 0

    async def test_a_deleted_secret_is_overwritten(self, folder: Path) -> None:
        """Also in the journal, after a purge."""
        canary = b"canary" * 9
        async with DiskCache(folder) as cache:
            await cache.multi_set([("x:k", canary.decode()), ("x:l", canary.decode()), ("y", "v")])
            await cache.delete("x:k")
            await cache.purge("x:")

            files = b"".join(path.read_bytes() for path in folder.iterdir())
            assert canary not in files
            assert await cache.get("y") == "v"

    async def test_values_must_be_serialized(self, folder: Path) -> None:
        """Objects are rejected; the error does not contain them."""
        async with DiskCache(folder, serializer=NullSerializer()) as cache:
            assert await cache.set("k", 5)
            assert await cache.get("k") == "5"
            with pytest.raises(TypeError, match="not dict") as caught:
                await cache.set("k", {"password": "hunter2"})
        assert "hunter2" not in str(caught.value)

    async def test_bytes_are_not_text(self, folder: Path) -> None:
        """A look-up of text is a miss."""
        async with DiskCache(folder, serializer=PickleSerializer()) as cache:
            await cache.set("k", "v")

            assert await cache.get("k") == "v"
            assert cache.peek("k") is None


class TestExpiry:
    """Entries on disk outlive their process, so they expire by the wall clock."""

    async def test_a_step_back_of_the_clock(self, folder: Path, clock: Clock) -> None:
        """Does not lengthen a life: an entry from the future is a miss."""
        async with DiskCache(folder, clock=clock) as cache:
            await cache.set("k", "v", ttl=5)
            clock.now -= 3600
            assert cache.peek("k") is None
            clock.now += 3600
            assert cache.peek("k") == "v"

    async def test_expired_rows_are_deleted_by_later_writes(self, folder: Path) -> None:
        """Whether or not anybody asks for them again."""
        async with DiskCache(folder) as cache:
            await cache.multi_set([("a", "v"), ("b", "v")], ttl=-1)
            await cache.set("c", "v", ttl=100)

            assert await asyncio.to_thread(len, cache) == 1

    async def test_unbounded_entries(self, folder: Path) -> None:
        """Keys with the prefix neither count nor are they evicted."""
        async with DiskCache(folder, size=2, unbounded_prefix="t:") as cache:
            await cache.multi_set([(f"t:{i}", "v") for i in range(5)])
            for key in "abc":
                await cache.set(key, "v")

            assert await cache.multi_get([*"abc", "t:0", "t:4"]) == [None, "v", "v", "v", "v"]
            assert await asyncio.to_thread(len, cache) == 2

    async def test_unbounded_entries_that_may_be_lost(self, folder: Path) -> None:
        """The oldest of them are evicted when there are ten times as many as others."""
        async with DiskCache(folder, size=1, unbounded_prefix="t:", evictable="c") as cache:
            keys = [f"t:{i}" for i in range(30)]
            await cache.multi_set([(key, f"{'rc'[int(key[2:]) % 2]}v") for key in keys[:16]])
            await cache.multi_set([(key, "cv") for key in keys[16:]])

            found = [key for key in keys if await cache.exists(key)]
            assert found == ["t:0", "t:2", "t:4", "t:6", "t:8", "t:10", "t:12", "t:14", *keys[28:]]

    async def test_another_cache_of_the_folder_sees_everything(self, folder: Path) -> None:
        """As another process, or a later one."""
        async with DiskCache(folder) as one, DiskCache(folder) as other:
            await one.set("k", "v")
            assert await other.get("k") == "v"
            await other.delete("k")
            assert one.peek("k") is None


def truncate(database: Path) -> None:
    with database.open("r+b") as file:
        file.truncate(5000)


def overwrite(database: Path) -> None:
    data = bytearray(database.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    database.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "garbage": lambda database: database.write_bytes(os.urandom(9999)),
    "a text": lambda database: database.write_text("not a database at all, but a text" * 9),
    "truncated": truncate,
    "overwritten": overwrite,
}
FILLING = [(f"k{i}", "v" * 400) for i in range(50)]


class TestRepair:
    """A damaged or removed file is replaced within the call; everything else is raised."""

    @pytest.mark.parametrize("damage", DAMAGES)
    @pytest.mark.parametrize("call", ["get", "set"])
    async def test_a_damaged_file(
        self, folder: Path, damage: str, call: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Is moved aside; a warning says so, and each cache does it again."""
        for _ in "ab":
            async with DiskCache(folder) as cache:
                await cache.multi_set(FILLING)
            await asyncio.to_thread(DAMAGES[damage], folder / "cache.db")
            caplog.clear()
            async with DiskCache(folder) as cache:
                if call == "get":
                    assert await cache.multi_get(["k1", "k49"]) == [None, None]
                assert await cache.set("k", "v")
                assert await cache.get("k") == "v"
            assert caplog.text.count("continuing with a new file") == 1
            assert (folder / "cache.db.corrupt").exists()
        assert sorted(path.name for path in folder.iterdir()) == [
            "cache.db",
            "cache.db.corrupt",
            "claims",
        ]

    @pytest.mark.parametrize("damage", ["truncated", "overwritten"])
    async def test_a_file_that_is_damaged_while_it_is_open(self, folder: Path, damage: str) -> None:
        """The process survives, and so does its cache."""
        async with DiskCache(folder) as cache:
            await cache.multi_set(FILLING)
            await cache.get("k1")
            await asyncio.to_thread(DAMAGES[damage], folder / "cache.db")
            found = {await cache.get(key) for key, _ in FILLING}
            assert found <= {None, "v" * 400}
            assert await cache.set("k", "v")
            assert await cache.get("k") == "v"

    async def test_a_file_that_stays_damaged(self, folder: Path) -> None:
        """It is replaced once; then the error is raised."""
        cache = DiskCache(folder)
        for _ in "ab":
            await cache.set("k", "v", ttl=9)
            await cache.close()
            await asyncio.to_thread((folder / "cache.db").write_bytes, b"garbage" * 999)
        with pytest.raises(sqlite3.DatabaseError):
            await cache.get("k")
        with pytest.raises(sqlite3.DatabaseError):
            await cache.set("k", "v", ttl=9)

    async def test_a_damage_that_another_process_has_repaired(self, folder: Path) -> None:
        """The new file is left alone."""
        timer = Clock()
        async with DiskCache(folder, timer=timer) as one, DiskCache(folder, timer=timer) as other:
            await one.multi_set(FILLING)
            await one.close()
            assert await other.get("k1")
            await asyncio.to_thread(overwrite, folder / "cache.db")
            assert await one.multi_get([key for key, _ in FILLING]) == [None] * 50
            assert await one.set("k", "v")
            found = await other.multi_get(["k", *(key for key, _ in FILLING)])
            assert found == ["v", *[None] * 50]
            assert await one.get("k") == "v"

    async def test_an_empty_file(self, folder: Path) -> None:
        """Is filled as a new one."""
        async with DiskCache(folder) as cache:
            await cache.set("k", "v")
        (folder / "cache.db").write_bytes(b"")
        async with DiskCache(folder) as cache:
            assert await cache.get("k") is None
            assert await cache.set("k", "v")

    @pytest.mark.parametrize("what", ["file", "folder", "replaced"])
    async def test_a_file_that_is_removed_while_it_is_open(
        self, folder: Path, what: str, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A reader notices within 0.1 s; the new file is as private as the first."""
        async with DiskCache(folder, timer=clock) as cache:
            await cache.set("k", "v")
            assert await cache.get("k") == "v"
            if what == "folder":
                await asyncio.to_thread(shutil.rmtree, folder)
            else:
                for path in folder.glob("cache.db*"):
                    path.unlink()
            if what == "replaced":
                async with DiskCache(folder) as other:
                    await other.set("x", "y")
            clock.now += 0.11
            assert cache.peek("k") is None
            assert await cache.multi_get(["k", "x"]) == [None, "y" if what == "replaced" else None]
            assert await cache.set("k", "v")
            assert await cache.get("k") == "v"
            assert caplog.text.count("continuing with a new file") == 1
            assert {mode(path) for path in folder.iterdir()} == {0o600}

    async def test_a_write_notices_at_once(self, folder: Path, clock: Clock) -> None:
        """That the file was removed: it goes to the new one."""
        async with DiskCache(folder, timer=clock) as cache:
            await cache.set("k", "v")
            (folder / "cache.db").unlink()
            assert await cache.set("k", "w")
            async with DiskCache(folder) as other:
                assert await other.get("k") == "w"

    async def test_a_removed_folder_can_be_closed(self, folder: Path) -> None:
        """Without an error."""
        cache = DiskCache(folder)
        await cache.set("k", "v")
        await cache.get("k")
        await asyncio.to_thread(shutil.rmtree, folder)
        await cache.aclose()

    async def test_a_folder_that_can_not_be_created(
        self, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Below a link to nowhere: it is tried a few times, not forever."""
        folder.parent.symlink_to(tmp_path / "nowhere")
        cache = DiskCache(folder)
        with pytest.raises(OSError, match="cache"):
            await cache.get("k")
        with pytest.raises(OSError, match="cache"):
            await cache.set("k", "v")
        assert cache.peek("k") is None
        assert len(cache) == 0
        assert caplog.text == ""
        await cache.close()

    async def test_a_directory_in_place_of_the_file(self, folder: Path) -> None:
        """Can't be opened."""
        folder.mkdir(parents=True)
        folder.chmod(0o700)
        (folder / "cache.db").mkdir()
        cache = DiskCache(folder)
        for call in (cache.get("k"), cache.set("k", "v"), cache.delete("k"), cache.clear()):
            with pytest.raises(FAILURES):
                await call

    async def test_a_read_that_fails(self, folder: Path) -> None:
        """Is raised, also by `peek`."""
        async with DiskCache(folder) as cache:
            await cache.set("k", "v")
            alter(folder, "DROP TABLE Cache")
            with pytest.raises(sqlite3.OperationalError):
                cache.peek("k")
            with pytest.raises(sqlite3.OperationalError):
                await cache.multi_get([key for key, _ in FILLING] * 2)

    async def test_a_write_that_fails_changes_nothing(self, folder: Path) -> None:
        """One transaction for several keys."""
        async with DiskCache(folder) as cache:
            with pytest.raises(sqlite3.Error):
                await cache.multi_set([("a", "v"), (object(), "v")])
            assert await cache.get("a") is None
            assert await cache.set("a", "v")


HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA locking_mode = EXCLUSIVE")
db.execute("BEGIN EXCLUSIVE")
db.execute("UPDATE Settings SET value = value")
print("locked", flush=True)
sys.stdin.read()
"""


class TestForeignLocks:
    """Others may lock the file for as long as they like: that is an error, soon."""

    @pytest.fixture
    def foreign(self, folder: Path) -> Iterator[sqlite3.Connection]:
        """Yield a connection that locks the file against writers."""
        asyncio.run(self._filled(folder))
        connection = sqlite3.connect(
            folder / "cache.db", isolation_level=None, check_same_thread=False
        )
        connection.execute("BEGIN EXCLUSIVE")
        yield connection
        connection.close()

    @staticmethod
    async def _filled(folder: Path) -> None:
        async with DiskCache(folder) as cache:
            await cache.set("k", "v")

    def test_against_writers(self, folder: Path, foreign: sqlite3.Connection) -> None:
        """An open file can be read; writing and opening fail, and work again afterwards."""

        async def main() -> None:
            foreign.execute("ROLLBACK")
            async with DiskCache(folder) as cache, DiskCache(folder) as late:
                assert await cache.get("k") == "v"
                foreign.execute("BEGIN EXCLUSIVE")
                assert cache.peek("k") == "v"
                with pytest.raises(diskcache.Timeout):
                    await asyncio.wait_for(cache.set("k", "w"), 30)
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    await asyncio.wait_for(late.get("k"), 30)
                foreign.execute("ROLLBACK")
                assert await cache.set("k", "w")
                assert await late.get("k") == "w"

        asyncio.run(main())

    def test_a_short_lock_is_waited_for(self, folder: Path, foreign: sqlite3.Connection) -> None:
        """A writer tries several times."""
        tries: list[int] = []

        async def main() -> None:
            foreign.execute("ROLLBACK")
            async with DiskCache(folder) as cache:
                await cache.get("k")
                transact = cache._database._cache.transact

                def released_at_the_second_try() -> Any:
                    tries.append(1)
                    if len(tries) == 2:
                        foreign.execute("ROLLBACK")
                    return transact()

                cache._database._cache.transact = released_at_the_second_try
                foreign.execute("BEGIN EXCLUSIVE")
                assert await cache.set("k", "w")

        asyncio.run(main())
        assert len(tries) == 2

    def test_against_readers(self, folder: Path, foreign: sqlite3.Connection) -> None:
        """Another process has the file for itself: opening fails within its limit."""
        foreign.execute("ROLLBACK")
        foreign.close()
        command = [sys.executable, "-c", HOLDER, str(folder / "cache.db")]
        with subprocess.Popen(command, stdin=-1, stdout=-1) as holder:
            assert holder.stdout
            assert holder.stdout.readline() == b"locked\n"
            cache = DiskCache(folder)
            for call in (cache.get, cache.exists, cache.delete):
                with pytest.raises(FAILURES):
                    asyncio.run(asyncio.wait_for(call("k"), 30))
            assert cache.peek("k") is None
            holder.communicate()
        assert asyncio.run(cache.get("k")) == "v"
        asyncio.run(cache.close())


class TestKernelLocks:
    """Fetch locks that a dead process does not hold."""

    async def test_one_process_and_one_cache_has_a_lock(self, folder: Path) -> None:
        """Also among the caches of a process; and it is freed when the process dies."""
        async with DiskCache(folder) as one, DiskCache(folder) as other:
            assert issubclass(DiskCache, KernelLocks)
            await asyncio.to_thread(one.open)
            await asyncio.to_thread(other.open)
            script = f"""
import sys
from s1crets.cache.backends.disk import DiskCache
cache = DiskCache({str(folder)!r})
cache.open()
print(cache.acquire_lock("a"), cache.acquire_lock("b"), flush=True)
sys.stdin.read()
"""
            assert one.acquire_lock("a")
            assert not one.acquire_lock("a")
            assert not other.acquire_lock("a")
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", script, stdin=-1, stdout=-1
            )
            assert child.stdout
            assert await child.stdout.readline() == b"False True\n"
            assert not one.acquire_lock("b")
            child.kill()
            await child.wait()
            assert one.acquire_lock("b")
            one.release_lock("b")
            one.release_lock("a")
            assert other.acquire_lock("a")
            other.release_lock("a")

    def test_a_cache_that_is_garbage(self, folder: Path) -> None:
        """Has no locks any more."""
        for _ in "ab":
            cache = DiskCache(folder)
            cache.open()
            assert cache.acquire_lock("a")
            del cache
            gc.collect()

    async def test_before_the_file_is_open(self, folder: Path) -> None:
        """Nothing is locked, and nobody waits."""
        cache = DiskCache(folder)

        assert cache.acquire_lock("a")
        assert cache.acquire_lock("a")
        cache.release_lock("a")

    def test_where_files_can_not_be_locked(self, tmp_path: Path) -> None:
        """Everybody fetches, as in some network file systems; here it is a directory."""
        locks = FetchLocks(os.open(tmp_path, os.O_RDONLY))

        assert locks.acquire("a")
        locks.release("a")
        assert locks.acquire("a")

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_child_has_no_locks_of_its_parent(self, folder: Path) -> None:
        """They belong to the process that took them."""
        cache = DiskCache(folder)
        cache.open()
        assert cache.acquire_lock("a")
        child = os.fork()
        if not child:
            os._exit(cache.acquire_lock("a") or not cache.acquire_lock("b"))
        assert os.waitpid(child, 0)[1] == 0


def run(script: str, *args: str) -> str:
    """Run a script that must succeed; return what it wrote to stderr.

    Its coverage is not measured: coverage's own file and locks suffer from the same mistreatment.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", script, *args],
        env=env,
        check=False,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


NURSERY = """
import asyncio, os, pathlib, random, signal, sys, time
from s1crets.cache.backends._sqlite import FAILURES
from s1crets.cache.backends.disk import DiskCache
folder = pathlib.Path(sys.argv[1])

def fork(work):
    child = os.fork()
    if not child:
        try:
            asyncio.run(work())
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    return child

async def persist(call, *args):
    while True:
        try:
            return await call(*args)
        except FAILURES:  # others had the lock for 135 ms, which a busy machine can bring about
            pass
"""
DYING = (
    NURSERY
    + """
reader, writer = os.pipe()

async def write():
    cache = DiskCache(folder)
    i = 0
    while True:
        i += 1
        await cache.multi_set([(f"k{i % 50}", "v" * 500) for i in range(i, i + 5)], ttl=99)
        if i == 1:
            os.write(writer, b"x")

for _ in range(20):
    child = fork(write)
    os.read(reader, 1)
    time.sleep(random.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

async def read():
    cache = DiskCache(folder)
    found = await cache.multi_get([f"k{i}" for i in range(50)])
    assert set(found) <= {"v" * 500, None}, found
    assert found.count(None) < 50
    assert await cache.set("k", "v", ttl=9)

asyncio.run(read())
"""
)
COUNTING = (
    NURSERY
    + """
async def count():
    cache, added = DiskCache(folder), 0
    for i in range(20):
        await persist(cache.increment, "n")
        try:
            await persist(cache.add, f"k{i}", "v")
            added += 1
        except ValueError:
            pass
    await persist(cache.increment, "added", added)

children = [fork(count) for _ in range(4)]
assert not any([os.waitpid(child, 0)[1] for child in children])
found = asyncio.run(DiskCache(folder).multi_get(["n", "added"]))
assert found == ["80", "20"], found
"""
)
FORKING = (
    NURSERY
    + """
import faulthandler, threading

cache = DiskCache(folder)
asyncio.run(cache.set("k", "v"))

def read():
    while going:
        cache.peek("k")

def write():
    i = 0
    while going:
        i += 1
        asyncio.run(persist(cache.set, f"{i % 50}", "v"))

async def work():
    assert await persist(cache.get, "k") == "v"
    assert await persist(cache.set, "child", "v")
    assert cache.peek("child") == "v"

going = [True]
threads = [threading.Thread(target=work_, daemon=True) for work_ in (read, read, write)]
for thread in threads:
    thread.start()
for i in range(30):
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(60, exit=True)
        asyncio.run(work())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
going.clear()
for thread in threads:
    thread.join()
"""
)
FAILING = (
    NURSERY
    + """
import ctypes, resource

async def fill():
    async with DiskCache(folder) as cache:
        await cache.set("k", "v")

async def main():
    if os.geteuid() == 0:  # root may write everywhere, but for this capability of each thread
        libc = ctypes.CDLL(None)
        header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        libc.capget(header, sets)
        sets[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
        assert libc.capset(header, sets) == 0
    if sys.argv[2] == "read-only":
        for path in folder.iterdir():
            path.chmod(0o400)
        folder.chmod(0o500)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    cache = DiskCache(folder)
    try:
        await cache.set("l", "v" * 9999)
    except FAILURES:
        await cache.close()
    else:
        raise AssertionError("it was written")

assert not os.waitpid(fork(fill), 0)[1]
asyncio.run(main())
"""
)
THREADLESS = (
    NURSERY
    + """
import threading
def fail(*args, **kwargs):
    raise RuntimeError("can't start new thread")
threading.Thread.start = fail
async def main():
    cache = DiskCache(folder)
    for call in (cache.set("k", "v"), cache.get("k")):
        try:
            await asyncio.wait_for(call, 30)
        except RuntimeError as error:
            print(error, file=sys.stderr)
asyncio.run(main())
"""
)


class TestProcesses:
    """Processes that share a folder, fork and die."""

    def test_writers_that_are_killed(self, folder: Path) -> None:
        """Twenty times, at any moment: no error, nothing unreadable, what was stored is there."""
        assert run(DYING, str(folder)) == ""

    def test_counting_together(self, folder: Path) -> None:
        """No increment is lost, and no key is added twice."""
        assert run(COUNTING, str(folder)) == ""

    def test_forks_while_other_threads_read_and_write(self, folder: Path) -> None:
        """No child is forked while a thread is inside SQLite, whose mutexes would stay locked."""
        quiet = "import warnings; warnings.simplefilter('ignore')\n"
        assert run(quiet + FORKING, str(folder)) == ""

    @pytest.mark.parametrize("problem", ["read-only", "full"])
    def test_a_disk_that_takes_nothing(self, folder: Path, problem: str) -> None:
        """Is an error that a caller can catch."""
        assert run(FAILING, str(folder), problem) == ""

    def test_where_no_thread_can_be_started(self, folder: Path) -> None:
        """Nobody waits: the call fails."""
        assert run(THREADLESS, str(folder)) == "can't start new thread\n" * 2


async def test_a_closed_cache_has_no_file_open(folder: Path) -> None:
    """In whichever thread it was used; the file of the locks stays until the cache is garbage."""

    def opened() -> list[str]:
        links = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()]
        return [link for link in links if str(folder) in link and "claims" not in link]

    if not Path("/proc/self/fd").exists():
        pytest.skip("only Linux tells")
    async with DiskCache(folder) as cache:
        await cache.set("k", "v")
        await cache.get("k")
        assert await asyncio.to_thread(opened)
    assert await asyncio.to_thread(opened) == []


async def test_caches_that_open_a_file_together(folder: Path) -> None:
    """From many threads: each uses the same file."""
    async with DiskCache(folder) as cache:
        await asyncio.gather(*(asyncio.to_thread(cache.open) for _ in range(8)))
        assert await asyncio.gather(*(cache.get("k") for _ in range(8))) == [None] * 8
        assert await cache.set("k", "v")
        assert await asyncio.gather(*(cache.get("k") for _ in range(8))) == ["v"] * 8


async def test_memory_sets_values_that_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function decides in the last moment, with the key and the value there, even if expired."""
    now, asked = [100.0], []
    cache = MemoryCache(timer=lambda: now[0])

    def is_wanted(key: Any, there: Any) -> bool:
        asked.append((key, there))
        return bool(there != "kept")

    await cache.multi_set([("k", "kept"), ("l", "old")], ttl=10)
    now[0] += 20
    await cache.multi_set_if([("k", "v", 10), ("l", "new", 10), ("m", "new", 10)], is_wanted)

    assert asked == [("k", "kept"), ("l", "old"), ("m", None)]
    assert cache.peek_many(["k", "l", "m"]) == [None, "new", "new"]
    monkeypatch.setenv("AIOCACHE_DISABLE", "1")
    await cache.multi_set_if([("n", "v", 10)], is_wanted)
    assert cache.peek("n") is None
