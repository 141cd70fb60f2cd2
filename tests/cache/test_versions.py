"""What is newer stays: after an update, an invalidation, and between answers that overlap."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from _support.servers import RedisServer, redis_server
from _support.wire import Wire, parameter
from aiocache import SimpleMemoryCache

from s1crets.cache import Derived, SecretCache
from s1crets.cache.disk import DiskCache
from s1crets.cache.entry import CachedValue
from s1crets.cache.memory import MemoryCache
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from s1crets.cache import Key

PATH = Derived("/p", ("path", True))


class Service:
    """A service whose answers a test holds back; caches of several processes in front of it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: asyncio.Queue[asyncio.Future[CachedValue]] = asyncio.Queue()

    def hint(self) -> str:
        return "me"

    async def ask(self) -> tuple[str, bool]:
        return "me", True

    def clock(self) -> float:
        self.now += 0.001
        return self.now

    def cache(self, **args: Any) -> SecretCache:
        return SecretCache(args, self.load, self, timer=self.clock, clock=self.clock)  # type: ignore[arg-type]

    async def load(self, key: Key) -> CachedValue:  # noqa: ARG002
        answer: asyncio.Future[CachedValue] = asyncio.get_running_loop().create_future()
        await self.asked.put(answer)
        return await answer

    async def read(self, cache: SecretCache, key: Key) -> tuple[Any, asyncio.Future[CachedValue]]:
        """Begin to read, and return what will be read and what AWS is to answer."""
        reading = asyncio.ensure_future(cache.read(key, cached=False))
        return reading, await self.asked.get()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=["memory", "shared", "foreign", "disk", "redis", "redis and memory"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """Yield a service and two caches in front of it, which share what they hold if they can."""
    service = Service()
    if request.param == "memory":
        one = service.cache(jitter=0)
        yield service, one, one
        return
    backend = {
        "shared": lambda: MemoryCache(timer=lambda: 0.0),
        "foreign": SimpleMemoryCache,
        "disk": lambda: DiskCache(tmp_path / "disk"),
        "redis": lambda: request.getfixturevalue("redis").cache(),
        "redis and memory": lambda: request.getfixturevalue("redis").cache(),
    }[request.param]()
    if request.param == "redis and memory":  # what others do is seen later, but not one's own
        one = service.cache(backend=backend, jitter=0, local_ttl=60)
        caches = [one, one]
    else:
        caches = [service.cache(backend=backend, jitter=0) for _ in "ab"]
    yield service, *caches
    for cache in caches:
        await cache.close()


async def now(cache: SecretCache, key: Key) -> Any:
    held = await cache._tier(key).get(key)
    return held and held.raw


@pytest.mark.parametrize("key", ["/a", PATH])
@pytest.mark.parametrize("how", ["drop", "clear"])
async def test_what_is_in_flight_does_not_come_back(pair: Any, key: Key, how: str) -> None:
    """Whoever asked for it before another dropped it, also in another process."""
    service, one, other = pair
    await other.read_many([], {}, cached=True)
    reading, answer = await service.read(one, key)
    await (other.drop("/a") if how == "drop" else other.clear())
    answer.set_result(CachedValue("old", 1))
    assert (await reading).raw == "old"
    assert await now(one, key) is None

    reading, answer = await service.read(one, key)
    answer.set_result(CachedValue("new", 2))
    await reading
    assert await now(other, key) == "new"


@pytest.mark.parametrize(
    ("first", "second", "stays"),
    [
        (CachedValue("new", 8), CachedValue("old", 7), "new"),
        (CachedValue("old", 7), CachedValue("new", 8), "new"),
        (CachedValue("same", 7), CachedValue("same", 7), "same"),
    ],
)
async def test_of_answers_that_overlap_the_newer_stays(
    pair: Any, first: CachedValue, second: CachedValue, stays: str
) -> None:
    """In whichever order they come."""
    service, one, other = pair
    late, late_answer = await service.read(one, "/a")
    soon, soon_answer = await service.read(other, "/a")
    soon_answer.set_result(CachedValue(first.raw, first.version))
    await soon
    late_answer.set_result(CachedValue(second.raw, second.version))
    await late

    assert await now(one, "/a") == stays


async def test_without_versions_what_was_asked_for_later_stays(pair: Any) -> None:
    """As with paths."""
    service, one, other = pair
    late, late_answer = await service.read(one, PATH)
    soon, soon_answer = await service.read(other, PATH)
    soon_answer.set_result(CachedValue({"/p/a": "new"}))
    await soon
    late_answer.set_result(CachedValue({"/p/a": "old"}))
    await late

    assert await now(one, PATH) == {"/p/a": "new"}


async def test_what_was_made_anew_replaces_what_was_there(pair: Any) -> None:
    """A parameter that was deleted and created begins with version 1 again."""
    service, one, other = pair
    for cache, version in ((one, 7), (other, 1)):
        reading, answer = await service.read(cache, "/a")
        answer.set_result(CachedValue(f"v{version}", version))
        await reading

    assert await now(one, "/a") == "v1"


async def test_a_mark_from_the_future_is_not_minded(tmp_path: Path) -> None:
    """When the clock was set back, what is read is stored all the same."""
    service = Service()
    cache = service.cache(backend=MemoryCache(timer=lambda: 0.0))
    await cache.read_many([], {}, cached=True)
    await cache.drop("/a")
    service.now -= 500
    reading, answer = await service.read(cache, "/a")
    answer.set_result(CachedValue("v", 1))
    await reading

    assert await now(cache, "/a") == "v"


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
@pytest.mark.parametrize("kind", [AsyncParameterStore, AsyncSecretsManager])
async def test_another_providers_update_on_the_wire(
    scripted: Wire, tmp_path: Path, kind: Any
) -> None:
    """Its folder is shared: what the other had in flight is not stored any more."""
    go = threading.Event()
    value = ["old"]

    def read(_: Any) -> Any:
        found = value[0]
        go.wait(30)
        return {**parameter("/a", found), "SecretString": found}

    scripted.answers = {
        "GetParameter": read,
        "GetSecretValue": read,
        "DescribeParameters": {"Parameters": [{"Name": "/a", "Type": "SecureString"}]},
        "PutParameter": {"Version": 2},
        "PutSecretValue": {"VersionId": "v2"},
    }
    args = {
        "cache_on_disk": True,
        "key_cache_dir": tmp_path / "keys",
        "path_cache_dir": tmp_path / "paths",
    }
    async with kind(cache_args=args) as one, kind(cache_args=args) as other:
        reading = asyncio.ensure_future(one.get("/a"))
        while not scripted.count("GetParameter") + scripted.count("GetSecretValue"):
            await asyncio.sleep(0.01)
        await other.update("/a", "new")
        value[0] = "new"
        go.set()
        assert await reading == "old"
        assert [await one.get("/a"), await other.get("/a")] == ["new", "new"]


async def test_versions_come_from_aws(ssm: Any, asm: Any, top: str) -> None:
    """Parameter Store's number, in single reads and batches; when a secret's version was made."""
    for i in range(3):
        ssm.put_parameter(Name=top, Value=f"v{i}", Type="String", Overwrite=True)
    ssm.put_parameter(Name=f"{top}/b", Value="v", Type="String")
    made = asm.create_secret(Name=top, SecretString="v")
    created = asm.get_secret_value(SecretId=made["ARN"])["CreatedDate"].timestamp()
    async with AsyncParameterStore() as ps, AsyncSecretsManager() as sm:
        for wanted in ([top], [top, f"{top}/b"]):
            await ps.get_many(wanted, cached=False)
            held = ps._cache.peek(top)
            assert held is not None
            assert held.version == 3
        await sm.get(top)
        held = sm._cache.peek(top)
        assert held is not None
        assert held.version == created


async def test_steps_of_the_wall_clock() -> None:
    """Memory does not mind them; elsewhere what comes from the future is a miss."""
    times = {"wall": 1e6, "monotonic": 0.0}
    service = Service()

    def cache(**args: Any) -> SecretCache:
        return SecretCache(
            {"cache_ttl": 100, "stale_for": 100, "jitter": 0, **args},  # type: ignore[typeddict-item]
            service.load,
            service,
            timer=lambda: times["monotonic"],
            clock=lambda: times["wall"],
        )

    inside, outside = cache(), cache(backend=SimpleMemoryCache())
    for one in (inside, outside):
        reading, answer = await service.read(one, "/a")
        answer.set_result(CachedValue("v", 1))
        await reading
    for step, there, elsewhere in ((-3600, "v", None), (0, "v", "v"), (3600, "v", None)):
        times["wall"] = 1e6 + step
        assert await now(inside, "/a") == there
        assert await now(outside, "/a") == elsewhere
        held = await outside._keys.stale("/a")
        assert (held and held.raw) == elsewhere
    times["monotonic"] = 100
    assert await now(inside, "/a") is None


class Deaf(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache that after a while takes nothing any more, as on a disk that is full."""

    deaf = False

    async def _set(self, *args: Any, **kwargs: Any) -> Any:
        if self.deaf:
            raise OSError("full")
        return await super()._set(*args, **kwargs)

    async def _clear(self, *args: Any, **kwargs: Any) -> Any:
        if self.deaf:
            raise OSError("full")
        return await super()._clear(*args, **kwargs)


@pytest.mark.parametrize("how", ["drop", "clear", "many"])
async def test_a_store_that_can_not_be_told_is_not_believed(how: str) -> None:
    """What was forgotten is not there any more for the one that has forgotten it."""
    backend, service = Deaf(), Service()
    cache = service.cache(backend=backend, cache_ttl=10_000, stale_for=100, jitter=0)
    for key in ("/a", PATH, "/b"):
        reading, answer = await service.read(cache, key)
        answer.set_result(CachedValue("old", 1))
        await reading
    backend.deaf = True
    if how == "clear":
        await cache.clear()
    else:
        await cache.drop(*(["/a"] if how == "drop" else [f"/{i}" for i in range(1001)]))

    found = {}
    for key in (PATH, "/b", "/a"):
        service.now += 10  # the store is asked again
        found[key] = await now(cache, key)
    service.now += 10

    assert found == {PATH: None, "/b": "old" if how == "drop" else None, "/a": None}
    assert await cache._keys.stale("/a") is None


@pytest.mark.parametrize("form", ["arn", "partial arn"])
async def test_an_update_by_arn_is_seen_under_the_name(asm: Any, top: str, form: str) -> None:
    """And under the ARN."""
    arn = asm.create_secret(Name=top, SecretString="old")["ARN"]
    async with AsyncSecretsManager() as sm:
        for name in (top, arn):
            assert await sm.get(name) == "old"
        await sm.update(arn if form == "arn" else arn[:-7], "new")
        assert [await sm.get(top), await sm.get(arn)] == ["new", "new"]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("/a", "/a:3"),
        ("/a", "/a"),
        ("/a", "arn:aws:ssm:eu-west-1:1:parameter/a"),
        ("a", "arn:aws:ssm:eu-west-1:1:parameter/a:label"),
        ("a", "a"),
    ],
)
async def test_to_invalidate_a_parameter_by_another_name(
    scripted: Wire, name: str, form: str
) -> None:
    """Is to invalidate it."""
    scripted.answers["GetParameter"] = parameter(name, "v")
    async with AsyncParameterStore() as ps:
        await ps.get(name)
        await ps.invalidate(form)
        assert ps.peek(name) is None


async def test_an_invalidation_of_all_that_is_cancelled_at_once(pair: Any) -> None:
    """It is done all the same."""
    service, one, _ = pair
    reading, answer = await service.read(one, "/a")
    answer.set_result(CachedValue("old"))
    await reading
    forgetting = asyncio.ensure_future(one.clear())
    await asyncio.sleep(0)
    forgetting.cancel()
    await asyncio.wait([forgetting])
    while one._dropping:
        await asyncio.sleep(0.01)
    reading = asyncio.ensure_future(one.read("/a", cached=True))
    answer = await asyncio.wait_for(service.asked.get(), 5)
    answer.set_result(CachedValue("new"))

    assert (await reading).raw == "new"


async def test_what_is_cancelled_is_forgotten_to_the_end(pair: Any) -> None:
    """Keys and paths."""
    service, one, other = pair
    for key in ("/a", PATH):
        reading, answer = await service.read(one, key)
        answer.set_result(CachedValue("old", 1))
        await reading
    dropping = asyncio.ensure_future(one.drop("/a"))
    await asyncio.sleep(0)
    dropping.cancel()
    while one._dropping:
        await asyncio.sleep(0.01)
    assert dropping.cancelled()
    assert [await now(cache, key) for cache in (one, other) for key in ("/a", PATH)] == [None] * 4


@pytest.mark.parametrize("key", ["/a", PATH])
async def test_keys_of_two_rings_in_another_order(key: Key) -> None:
    """While a key is replaced, some processes write with the old one, and some with the new."""
    service, backend = Service(), SimpleMemoryCache()
    old, new = b"o" * 32, b"n" * 32
    one = service.cache(backend=backend, cache_key=[old, new], jitter=0)
    other = service.cache(backend=backend, cache_key=[new, old], jitter=0)
    await other.read_many([], {}, cached=True)
    reading, answer = await service.read(one, key)
    await other.drop("/a")
    answer.set_result(CachedValue("old", 1))
    await reading

    assert [await now(one, key), await now(other, key)] == [None, None]


async def test_what_is_stored_last_is_evicted_last(tmp_path: Path) -> None:
    """Also what replaces something: a mark of what was forgotten, or a key in use."""
    cache = DiskCache(tmp_path / "c", size=2)
    for key in ("a", "b", "a", "c"):
        await cache.set(key, "v", ttl=99)
    assert [cache.peek(key) for key in "abc"] == ["v", None, "v"]
    await cache.close()
