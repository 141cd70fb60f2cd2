"""A cache on a real Redis server, shared by machines: fast when it works, and never needed."""

from __future__ import annotations

import asyncio
import base64
import gc
import itertools
import logging
import signal
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from _support.scripts import LIMIT, check
from _support.servers import DRIVER, free_port
from _support.wire import Wire, assumed, parameter
from _support.world import PATH, WORLDS, A, B, Clock, World, lock, text_of
from aiocache import RedisCache, SimpleMemoryCache

import s1crets.cache.secret_cache
from s1crets.cache.backends import resilient_adapter
from s1crets.cache.backends.resilient_adapter import AiocacheBackend
from s1crets.cache.entry import CacheKey
from s1crets.errors import AccessDeniedError
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from _support.servers import RedisServer

    from s1crets.cache.entry import Fetched
    from s1crets.testing import LoopbackAws

NAMES = [f"/fleet/{i}" for i in range(200)]
KEY = b"k" * 32
FAILS = "continuing without it"


@pytest.fixture
def backend(redis: RedisServer) -> Callable[[], Any]:
    """Return what makes caches on the server, all with the same rows."""
    return partial(redis.cache, namespace="n")


@pytest.fixture
async def world() -> AsyncIterator[Callable[..., World]]:
    """Yield what makes worlds, which stand for machines."""
    yield partial(World, jitter=0)
    while WORLDS:
        await WORLDS.pop().cache.aclose()


CANARIES = (
    "canary-value",
    "canary-name",
    "eu-canary-1",
    "canary-role",
    "canary-binary",
    "123456789012",
)


async def read_all_kinds(redis: RedisServer, **more: Any) -> None:
    sts: Any = {"aws_region": "eu-canary-1"}
    args: Any = {"backend": redis.cache, **more}
    async with AsyncParameterStore(cache_args=args, sts_args=sts) as ps:
        await ps.get("/canary-name/a")
        await ps.get_by_path("/canary-name")
        await ps.get("/canary-name/a:1")
        await ps.path_exists("/canary-name")
        await ps.invalidate("/canary-name/b")
        await ps.get("/canary-name/a", cached=False)
    role: Any = {**sts, "RoleArn": "arn:aws:iam::123456789012:role/canary-role"}
    async with AsyncSecretsManager(cache_args=args, sts_args=role) as sm:
        await sm.get("canary-name")


async def test_redis_is_told_nothing_where_there_is_a_key(
    scripted: Wire, redis: RedisServer
) -> None:
    """No value, name, region or role is in any key, value or command; without a key there was."""
    scripted.answers = {
        "GetParameter": parameter("/canary-name/a", '{"k": "canary-value"}', Version=1),
        "GetParametersByPath": {
            "Parameters": [{"Name": "/canary-name/b", "Value": "canary-value"}]
        },
        "GetSecretValue": {
            "SecretBinary": base64.b64encode(b"canary-binary" * 30).decode(),
            "Name": "canary-name",
        },
        "AssumeRole": assumed(),
    }
    with redis.overheard() as plain:
        await read_all_kinds(redis)
    with redis.overheard() as sealed:
        await read_all_kinds(redis, cache_key=KEY)

    assert any(form in plain for form in in_base64("canary-value"))
    assert len(sealed) > 10_000
    for canary in CANARIES:
        assert canary.encode() not in sealed
        assert not any(form in sealed for form in in_base64(canary))


def in_base64(text: str) -> list[bytes]:
    """Return what is seen of a text in base64, wherever in it the text begins."""
    return [base64.b64encode(b"x" * shift + text.encode())[4:-4] for shift in range(3)]


async def test_no_value_is_logged(
    scripted: Wire, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even by asyncio, which shows the results of tasks that took long."""
    scripted.answers["GetParameter"] = parameter("/a", "canary-value")
    asyncio.get_running_loop().set_debug(True)
    asyncio.get_running_loop().slow_callback_duration = 0
    with caplog.at_level(logging.DEBUG):
        async with AsyncParameterStore(cache_args={"backend": redis.cache}) as ps:
            for _ in range(3):
                await ps.get("/a")
    asyncio.get_running_loop().set_debug(False)

    assert "Executing" in caplog.text
    assert "canary" not in caplog.text
    assert not any(form.decode() in caplog.text for form in in_base64("canary-value"))


@pytest.fixture
def answering(scripted: Wire) -> Wire:
    """Return a server that has every parameter, whose value is its name."""

    def many(asked: Any) -> Any:
        return {"Parameters": [{"Name": name, "Value": name} for name in asked.body["Names"]]}

    scripted.answers = {
        "GetParameter": lambda asked: parameter(asked.body["Name"], asked.body["Name"]),
        "GetParameters": many,
        "DescribeParameters": {"Parameters": [{"Name": "/a", "Type": "String"}]},
        "PutParameter": {"Version": 2},
    }
    return scripted


@pytest.fixture
def use(
    answering: Wire, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Return what makes single and concurrent calls with a cache that is of no use."""
    # Or a busy machine comes back to the cache in the middle of a batch.
    monkeypatch.setattr(resilient_adapter, "_REST", 100 * LIMIT)

    async def use(backend: Any) -> None:
        async with AsyncParameterStore(cache_args={"backend": backend}) as ps:
            for _ in range(2):
                before = len(answering.asked)
                assert await ps.get("/a") == "/a"
                assert await asyncio.gather(*map(ps.get, NAMES)) == NAMES
                assert list((await ps.get_many(NAMES)).values()) == NAMES
                asked = [one.operation for one in answering.asked[before:]]
                assert (asked.count("GetParameter"), asked.count("GetParameters")) == (1, 40)
                await ps.update("/a", "v")
                await ps.invalidate()

    return use


def mute() -> socket.socket:
    """Return a server that takes connections, and never answers."""
    return socket.create_server(("127.0.0.1", 0), backlog=1000)


async def test_nobody_listens(use: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Values come from AWS, in requests of ten; one warning."""
    await use(partial(RedisCache, port=free_port(), connection_pool_kwargs=DRIVER))

    assert caplog.text.count(FAILS) == 1


async def test_somebody_listens_and_never_answers(
    use: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The first call waits for a while, and all concurrent calls wait together."""
    with mute() as server:
        port = server.getsockname()[1]
        backend = partial(RedisCache, port=port, connection_pool_kwargs=DRIVER)
        await asyncio.wait_for(use(backend), LIMIT)

    assert caplog.text.count(FAILS) == 1


async def test_a_server_that_freezes(answering: Wire, redis: RedisServer) -> None:
    """Also in the middle of a large answer: nothing hangs, and nothing is left on the loop."""
    big = "x" * 50_000
    answering.answers["GetParameters"] = lambda asked: {
        "Parameters": [{"Name": name, "Value": big} for name in asked.body["Names"]]
    }
    async with AsyncParameterStore(cache_args={"backend": redis.cache}) as ps:
        await ps.get("/a")
        with redis.frozen():
            found = await asyncio.wait_for(ps.get_many(NAMES), LIMIT)
            assert set(found.values()) == {big}
            await asyncio.wait_for(ps.update("/a", "v"), LIMIT)


async def test_a_server_that_freezes_while_it_is_written_to(
    redis: RedisServer, backend: Any, world: Any
) -> None:
    """What was fetched is returned; when the server goes on, so does the cache."""

    class Freezing(World):
        async def fetch(self, key: CacheKey) -> Fetched:
            if key == A:
                redis.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
            return await super().fetch(key)

    machine = Freezing(backend=backend, jitter=0)
    await machine.get(B)
    with redis.frozen():
        assert await asyncio.wait_for(machine.get(A), LIMIT) == "v2"
    machine.wait(5)
    assert await machine.get(B) == "v1"


async def test_a_server_that_is_full(
    answering: Wire, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Values come from AWS; one warning."""
    redis.config(maxmemory="1", maxmemory_policy="noeviction")
    async with AsyncParameterStore(cache_args={"backend": redis.cache}) as ps:
        for _ in range(2):
            assert await asyncio.gather(*map(ps.get, NAMES)) == NAMES
            await ps.update("/a", "v")

    assert caplog.text.count(f"(OutOfMemoryError); {FAILS}") == 1


async def test_a_full_server_is_told_of_an_update_when_it_has_room(
    redis: RedisServer, backend: Any, world: Any
) -> None:
    """Others see the update then."""
    one, other = world(backend=backend), world(backend=backend)
    assert [await one.get(), await other.get()] == ["v1", "v1"]
    redis.config(maxmemory="1", maxmemory_policy="noeviction")
    await one.cache.invalidate(["/a"])
    redis.config(maxmemory="0")
    one.wait(5)
    assert await one.get() == "v2"

    assert await other.get() == "v2"


async def test_it_is_used_again(
    redis: RedisServer, backend: Any, world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """After some seconds, by a clock that is injected; it may have lost its entries."""
    machine = world(backend=backend)
    assert [await machine.get(), await machine.get()] == ["v1", "v1"]
    redis.stop()
    assert [await machine.get(), await machine.get()] == ["v2", "v3"]
    redis.start()
    assert await machine.get() == "v4"
    machine.wait(4.9)
    assert await machine.get() == "v5"
    machine.wait(0.1)
    assert [await machine.get(), await machine.get()] == ["v6", "v6"]

    assert caplog.text.count(FAILS) == 1


async def test_a_server_that_was_restarted(
    answering: Wire, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections that it has closed are not a failure."""
    async with AsyncParameterStore(cache_args={"backend": redis.cache}) as ps:
        await ps.get("/a")
        await asyncio.to_thread(redis.stop)
        await asyncio.to_thread(redis.start)
        await asyncio.sleep(0.05)  # the loop sees the end of its connections
        for _ in range(3):
            await ps.get("/a")

    assert answering.count("GetParameter") == 2
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("row", "garbage"),
    [*itertools.product(["entry", "tombstone"], [b"\xff\xfe", b"{", b'"AAAA"']), ("entry", None)],
)
async def test_rows_of_somebody_else(
    backend: Any, world: Any, row: str, garbage: bytes | None
) -> None:
    """Cost a fetch, and are replaced; other entries are used as before."""
    machine = world(backend=backend)
    assert [await machine.get(A), await machine.get(B)] == ["v1", "v2"]
    client = backend().client
    rows = await client.keys("*:tombstone:*" if row == "tombstone" else "*:plain:*")
    for name in rows:
        await client.delete(name)
        await (client.set(name, garbage) if garbage else client.rpush(name, "x"))
    found = [[await machine.get(key) for _ in range(3)] for key in (A, B)]
    await client.aclose()

    assert len(rows) >= 2
    assert found == [["v3"] * 3, ["v4"] * 3]


async def test_what_redis_refuses(
    use: Any, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """As if an administrator had forbidden a command."""
    redis.command("ACL", "SETUSER", "default", "-mget", "-scan", "-del")
    await use(redis.cache)

    assert caplog.text.count(f"(NoPermissionError); {FAILS}") == 1


async def test_namespaces_that_a_cache_leaves_out(
    s1crets_aws: LoopbackAws, redis: RedisServer
) -> None:
    """Whose an entry is stands in the rest of its key too."""
    s1crets_aws.seed({"aws.ps": {"/a": "fake-parameter"}, "aws.sm": {"/a": "fake-secret"}})

    def bare() -> Any:
        return redis.aiocache(key_builder=lambda key, namespace: f"app:{key}")  # noqa: ARG005

    async with (
        AsyncParameterStore(cache_args={"backend": bare}) as ps,
        AsyncSecretsManager(cache_args={"backend": bare}) as sm,
    ):
        assert [await ps.get("/a"), await sm.get("/a")] == ["fake-parameter", "fake-secret"]


async def test_a_busy_process_does_not_look_like_a_slow_cache() -> None:
    """Thousands of names at once are work for this process."""

    class Working(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
        async def _multi_get(self, *args: Any, **kwargs: Any) -> Any:
            until = time.thread_time() + 0.3
            while time.thread_time() < until:
                pass
            return await super()._multi_get(*args, **kwargs)

    backend = AiocacheBackend(Working(), "busy", [], timer=time.thread_time)

    assert [await backend.get_many(["a"]) for _ in range(5)] == [[None]] * 5
    assert backend.is_available


class Worse(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache with a row that makes no sense, which then fails altogether."""

    async def _multi_get(self, *_: Any, **__: Any) -> Any:
        raise UnicodeDecodeError("utf-8", b"", 0, 1, "canary")

    async def _get(self, *_: Any, **__: Any) -> Any:
        raise ConnectionError


async def test_a_cache_that_fails_during_its_repair(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Is a cache that fails."""
    machine = world(backend=Worse())
    assert [await machine.get(), await machine.get()] == ["v1", "v2"]

    assert caplog.text.count(f"(UnicodeDecodeError); {FAILS}") == 1
    assert "canary" not in caplog.text


class Slow(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache whose operations take some seconds of a test's clock."""

    takes = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.clock = Clock()

    async def multi_get(self, *args: Any, **kwargs: Any) -> Any:
        return await self._slowly(super().multi_get(*args, **kwargs))

    async def get(self, *args: Any, **kwargs: Any) -> Any:
        return await self._slowly(super().get(*args, **kwargs))

    async def multi_set(self, *args: Any, **kwargs: Any) -> Any:
        return await self._slowly(super().multi_set(*args, **kwargs))

    async def add(self, *args: Any, **kwargs: Any) -> Any:
        return await self._slowly(super().add(*args, **kwargs))

    async def delete(self, *args: Any, **kwargs: Any) -> Any:
        return await self._slowly(super().delete(*args, **kwargs))

    async def _slowly(self, work: Any) -> Any:
        self.calls += 1
        ends = self.clock.now + self.takes
        await asyncio.sleep(0)  # calls that begin together end together
        self.clock.now = max(self.clock.now, ends)
        return await work


@pytest.mark.parametrize("takes", [0.09, 0.3, 0.9])
async def test_one_call_waits_for_one_budget_however_many_operations_it_takes(
    world: Any, takes: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The first one too; then a slow cache is left alone, and is asked again later."""
    backend = Slow()
    machine = world(backend=backend, cache_ttl=10_000)
    backend.clock, backend.takes = machine.clock, takes
    before = machine.clock.now
    assert await machine.get() == "v1"

    assert machine.clock.now - before <= 1.9
    assert caplog.text.count(FAILS) == (takes > 0.1)
    if takes > 0.1:
        calls = backend.calls
        assert await machine.get() == "v2"
        assert backend.calls == calls
    backend.takes = 0.0
    machine.wait(5)
    await machine.get()
    fetched = len(machine.fetched)
    await machine.get()
    assert len(machine.fetched) == fetched


async def test_slow_operations_now_and_then_are_not_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The time budget recovers."""
    cache = Slow()
    cache.takes = 0.5
    backend = AiocacheBackend(cache, "it", [], cache.clock)
    for _ in range(10):
        assert await backend.get_many(["a"]) == [None]
        cache.clock.now += 2.5
    assert caplog.text == ""
    assert [await backend.get_many(["a"]) for _ in range(3)] == [[None]] * 3
    assert not backend.is_available
    assert await backend.get_many(["a"]) is None


async def test_many_loops_at_once_and_one_after_the_other(
    answering: Wire, redis: RedisServer
) -> None:
    """Threads, the facade, loops that have ended: each has connections of its own."""
    backend = partial(redis.cache, namespace="n")
    ps = AsyncParameterStore(cache_args={"backend": backend})
    facade = ParameterStore(cache_args={"backend": backend})
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(3):
                assert asyncio.run(ps.get(f"/{i}")) == f"/{i}"
                assert facade.get(f"/{number}/{i}") == f"/{number}/{i}"
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert await ps.get_many(NAMES) == {name: name for name in NAMES}
    for thread in threads:
        await asyncio.to_thread(thread.join)
    before = len(answering.asked)
    assert await ps.get_many(["/0", "/3/2"]) == {"/0": "/0", "/3/2": "/3/2"}
    await asyncio.to_thread(facade.close)
    await ps.aclose()

    assert failures == []
    assert len(answering.asked) == before
    await until(lambda: redis.clients == 0)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not await asyncio.to_thread(is_so):
            await asyncio.sleep(0.01)


async def test_a_loop_that_was_left_open(answering: Wire, redis: RedisServer) -> None:
    """It is closed with the provider, from another one; and one that is closed is forgotten."""
    ps = AsyncParameterStore(cache_args={"backend": partial(redis.cache, namespace="n")})

    def elsewhere() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        asyncio.run_coroutine_threadsafe(ps.get("/a"), loop).result()
        return loop, thread

    loop, thread = await asyncio.to_thread(elsewhere)
    assert redis.clients >= 1
    await ps.aclose()
    await until(lambda: redis.clients == 0)
    loop.call_soon_threadsafe(loop.stop)
    await asyncio.to_thread(thread.join)
    loop.close()
    await ps.get("/a")
    await ps.aclose()


def test_a_loop_that_was_closed_with_all_that_is_on_it(answering: Wire, redis: RedisServer) -> None:
    """Another loop works, and nothing is written to stderr."""
    script = f"""
    import asyncio
    from aiocache import RedisCache
    from s1crets.providers.aws import AsyncParameterStore
    ps = AsyncParameterStore(cache_args={{"backend": lambda: RedisCache(port={redis.port})}})
    for _ in range(3):
        loop = asyncio.new_event_loop()
        print(loop.run_until_complete(ps.get("/a")))
        loop.close()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(ps.get("/a"))
    loop.run_until_complete(ps.aclose())
    """

    assert check(script, measured=True) == "/a\n" * 3
    assert answering.count("GetParameter") == 1


async def test_the_callers_cache_is_the_callers_to_close(
    answering: Wire, redis: RedisServer
) -> None:
    """What a provider closes is its own; another provider, and the caller, go on."""
    backend = redis.cache()
    await backend.set("mine", "v")
    async with AsyncParameterStore(cache_args={"backend": backend}) as one:
        async with AsyncParameterStore(cache_args={"backend": backend}) as other:
            await asyncio.gather(one.get("/a"), other.get("/a"))
        assert await one.get("/a") == "/a"
    assert await backend.get("mine") == "v"
    await backend.client.aclose()


async def test_a_provider_that_is_garbage_leaves_no_connection(
    answering: Wire, redis: RedisServer
) -> None:
    """Its own go with it."""
    await AsyncParameterStore(cache_args={"backend": redis.cache}).get("/a")
    assert redis.clients >= 1
    gc.collect()

    await until(lambda: redis.clients == 0)


async def test_connections_are_few(answering: Wire, redis: RedisServer) -> None:
    """However many callers there are."""
    async with AsyncParameterStore(cache_args={"backend": redis.cache}) as ps:
        found = await asyncio.gather(*map(ps.get, NAMES), ps.get("/a:1"), ps.path_exists("/a"))
        assert found[:200] == NAMES
        await asyncio.gather(*map(ps.invalidate, NAMES[:30]))
        assert redis.clients <= 8


@pytest.mark.parametrize("secrets", [["/a"], None])
async def test_an_invalidation_leaves_the_rows_of_others(
    redis: RedisServer, world: Any, secrets: Any
) -> None:
    """And looks through none of them."""
    client = redis.cache().client
    await client.mset({f"other:{i}": "x" for i in range(3)})
    machine = world(backend=partial(redis.cache, namespace="a[b]*?\\"))
    await machine.get(A)
    with redis.overheard() as heard:
        await machine.cache.invalidate(secrets)
    left = await client.keys("other:*")
    await client.aclose()

    assert len(left) == 3
    assert not [verb for verb in (b'"KEYS"', b'"SCAN"', b'"FLUSH') if verb in heard.upper()]
    assert await machine.get(A) == "v2"


class Unable(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache that can't add a row only if it is not there."""

    async def _add(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


class Silent(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache that fails where it is to add something."""

    async def _add(self, *_: Any, **__: Any) -> Any:
        raise ConnectionError


@pytest.mark.parametrize("kind", [Unable, Silent])
async def test_where_nothing_can_be_locked_everybody_fetches(
    world: Any, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Values are returned; where adding is just not possible, there is no warning."""
    machine = world(backend=kind())
    found = await asyncio.gather(*map(machine.get, (A, B, CacheKey.of_secret("/c"))))

    assert sorted(found) == ["v1", "v2", "v3"]
    assert caplog.text.count(FAILS) == (kind is Silent)


async def test_a_lock_that_is_not_released_is_not_waited_for(
    redis: RedisServer, backend: Any, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that has died holds a lock: it expires, and others fetch even before."""
    one, other = world(backend=backend), world(backend=backend)
    await one.get(B)
    await other.get(B)
    with redis.overheard() as heard:
        assert await lock(one.cache._keys, A)
    assert not await lock(other.cache._keys, A)
    monkeypatch.setattr(s1crets.cache.secret_cache, "_STOPPED", 0)

    assert await other.get(A) == "v1"
    assert b'"EX"' in heard.upper()
    assert b'"NX"' in heard.upper()


async def test_who_waits_for_another_does_not_wait_for_a_server_that_fails(
    redis: RedisServer, backend: Any, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fetches."""
    monkeypatch.setattr(s1crets.cache.secret_cache, "_STOPPED", 2 * LIMIT)
    one, other = world(backend=backend), world(backend=backend)
    await one.get(B)
    assert await lock(one.cache._keys, A)
    reading = asyncio.ensure_future(other.cache.read(A, cached=True))
    await asyncio.sleep(0.1)
    assert not reading.done()
    redis.stop()

    assert text_of(await asyncio.wait_for(reading, LIMIT)) == "v1"


class Gate(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache whose answers a test holds back."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.asked = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def multi_get(self, *args: Any, **kwargs: Any) -> Any:
        found = await super().multi_get(*args, **kwargs)
        self.asked.set()
        await self.go.wait()
        return found


class TestLocal:
    """A memory in front, for a while."""

    @pytest.fixture
    def pair(self, backend: Any, world: Any) -> tuple[World, World]:
        """Return two machines, the first of which has a memory in front."""
        one = world(backend=backend, local_ttl=10, cache_ttl=100)
        return one, world(backend=backend, cache_ttl=100)

    def wait(self, pair: tuple[World, World], seconds: float) -> None:
        for machine in pair:
            machine.wait(seconds)

    async def test_many_at_once(self, pair: tuple[World, World]) -> None:
        """The memory keeps what the backend had, and what was fetched."""
        one, other = pair
        assert await other.get(A) == "v1"
        for _ in range(2):
            found: Any = {}
            await one.cache.read_many([A, B], found, cached=True)
            assert [found[A].raw, found[B].raw] == ["v1", "v1"]
            assert all(map(one.cache.peek, [A, B]))

        assert one.fetched == [B]

    def test_it_needs_a_backend(self) -> None:
        """Memory and disk are local; 0 is like nothing."""
        with pytest.raises(ValueError, match="local_ttl needs a backend"):
            ParameterStore(cache_args={"local_ttl": 1})
        with pytest.raises(ValueError, match="local_ttl needs a backend"):
            ParameterStore(cache_args={"local_ttl": 1, "cache_on_disk": True})
        with pytest.raises(ValueError, match="from 0"):
            ParameterStore(cache_args={"local_ttl": -1, "backend": SimpleMemoryCache()})
        ParameterStore(cache_args={"local_ttl": 0})

    @pytest.mark.parametrize("key", [A, PATH])
    async def test_a_hit_asks_nobody(
        self, pair: tuple[World, World], redis: RedisServer, key: CacheKey
    ) -> None:
        """Whoever has fetched it, for `local_ttl` from then on."""
        one, other = pair
        await other.get(key)
        assert one.cache.peek(key) is None
        await one.get(key)
        with redis.overheard() as heard:
            for step in (0, 9.9):
                self.wait(pair, step)
                assert text_of(one.cache.peek(key)) == "v1"
                assert await one.get(key) == "v1"
        self.wait(pair, 0.1)
        assert one.cache.peek(key) is None
        assert await one.get(key) == "v1"

        assert b"GET" not in heard.upper()
        assert one.fetched == []

    @pytest.mark.parametrize("key", [A, PATH])
    async def test_an_update_of_another_is_seen_in_time(
        self, pair: tuple[World, World], key: CacheKey
    ) -> None:
        """After `local_ttl` at most; the machine's own updates at once."""
        one, other = pair
        await one.get(key)
        self.wait(pair, 5)
        await other.cache.invalidate(["/p/a", "/a"])
        assert await one.get(key) == "v1"
        self.wait(pair, 5)
        assert await one.get(key) == "v2"
        await one.cache.invalidate(["/p/a", "/a"])
        assert one.cache.peek(key) is None
        assert await one.get(key) == "v3"
        await one.cache.invalidate(None)
        assert one.cache.peek(key) is None

    async def test_no_entry_lives_longer_for_it(self, pair: tuple[World, World]) -> None:
        """The rest of its life counts too."""
        one, other = pair
        await other.get()
        self.wait(pair, 95)
        assert await one.get() == "v1"
        self.wait(pair, 5)
        assert one.cache.peek(A) is None

    async def test_an_entry_read_before_an_invalidation_does_not_come_back(
        self, world: Any
    ) -> None:
        """However late the answer is."""
        gate = Gate()
        one, other = world(backend=gate, local_ttl=10), world(backend=gate)
        await other.get(A)
        await one.get(B)
        gate.go.clear()
        gate.asked.clear()
        reading = asyncio.ensure_future(one.cache.read(A, cached=True))
        await gate.asked.wait()
        dropping = asyncio.ensure_future(one.cache.invalidate(["/a"]))
        await asyncio.sleep(0)
        gate.go.set()
        await dropping
        await reading

        assert text_of(one.cache.peek(A)) != "v1"

    async def test_a_fetch_that_takes_longer_than_it_would_be_kept_is_not_kept(
        self, backend: Any
    ) -> None:
        """An update may have come after AWS was asked; so it counts from then on."""

        class Slowly(World):
            takes = 10

            async def fetch(self, key: CacheKey) -> Fetched:
                self.wait(self.takes)
                return await super().fetch(key)

        one = Slowly(backend=backend, jitter=0, local_ttl=10, cache_ttl=100)
        await one.get(A)
        assert one.cache.peek(A) is None
        one.takes = 9
        await one.get(B)
        assert one.cache.peek(B) is not None
        one.wait(1)
        assert one.cache.peek(B) is None
        await one.cache.aclose()

    async def test_what_is_refused_goes_at_once(self, pair: tuple[World, World]) -> None:
        """From the memory and from the server."""
        one, other = pair
        await one.get()
        one.fails = AccessDeniedError("no")
        with pytest.raises(AccessDeniedError):
            await one.cache.read(A, cached=False)

        assert one.cache.peek(A) is None
        assert await other.get() == "v1"
        assert other.fetched == [A]

    async def test_refreshing_ahead_goes_on(self, backend: Any, world: Any) -> None:
        """A due hit is seen, though the memory would have kept the entry until its end."""
        machine = world(backend=backend, cache_ttl=100, refresh_ahead=20, local_ttl=90)
        found = []
        for step in (0, 79, 1, 1, 78, 1, 1):
            machine.wait(step)
            found.append((await machine.get(), len(machine.fetched)))

        assert found[:3] == [("v1", 1), ("v1", 1), ("v1", 2)]
        assert found[-1][1] >= 3

    async def test_a_server_that_fails_is_not_missed_for_a_while(
        self, pair: tuple[World, World], redis: RedisServer
    ) -> None:
        """Hits are hits; fetched values are kept in memory at least."""
        one, _ = pair
        await one.get()
        redis.stop()
        assert await one.get() == "v1"
        self.wait(pair, 10)
        assert await one.get() == "v2"
        assert one.cache.peek(A) is not None

    @pytest.mark.usefixtures("answering")
    async def test_the_facade_answers_in_the_callers_thread(self, redis: RedisServer) -> None:
        """As with a memory alone."""

        def work() -> None:
            args: Any = {"backend": redis.cache, "local_ttl": 60}
            with ParameterStore(cache_args=args) as ps:
                assert ps.peek("/a") is None
                ps.get("/a")
                assert ps.peek("/a") == "/a"

        await asyncio.to_thread(work)
