"""Event loops other than a running asyncio loop: trio, and loops that were stopped."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from _support.scripts import LIMIT
from _support.wire import Asked, Wire, assumed, parameter
from _support.world import A
from aiobotocore.session import get_session

from s1crets._runtime import LoopLocal, spawn_task
from s1crets.cache import secret_cache
from s1crets.cache.refresh import Refresher
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager
from s1crets.providers.files import AsyncFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from s1crets.cache.entry import CacheKey

Provider = AsyncParameterStore | AsyncSecretsManager


async def watched(provider: Provider) -> Any:
    return await anext(aiter(provider.watch("/a", interval=1)))


async def refreshed(provider: Provider) -> Any:
    @provider.refresh_on(OSError, path="/a")
    async def use(secret: str) -> str:
        return secret

    return await use()


VERBS: dict[str, Callable[[Provider], Coroutine[Any, Any, Any]]] = {
    "get": lambda provider: provider.get("/a"),
    "get past the cache": lambda provider: provider.get("/a", cached=False),
    "get_many": lambda provider: provider.get_many(["/a"]),
    "get_by_path": lambda provider: provider.get_by_path("/a"),
    "path_exists": lambda provider: provider.path_exists("/a"),
    "create": lambda provider: provider.create("/a", "fake"),
    "put": lambda provider: provider.put("/a", "fake"),
    "update": lambda provider: provider.update("/a", "fake"),
    "delete": lambda provider: provider.delete("/a"),
    "describe": lambda provider: provider.describe("/a"),
    "invalidate": lambda provider: provider.invalidate("/a"),
    "open": lambda provider: provider.__aenter__(),
    "close": lambda provider: provider.aclose(),
    "watch": watched,
    "refresh_on": refreshed,
}


@pytest.mark.parametrize("kind", [AsyncParameterStore, AsyncSecretsManager])
def test_without_asyncio_every_call_fails_at_once(scripted: Wire, kind: type[Provider]) -> None:
    """A hit too, as on trio, where a coroutine is run without a running asyncio loop."""
    scripted.answers |= {
        "GetParameter": parameter("/a", "fake"),
        "GetSecretValue": {"Name": "/a", "SecretString": "fake"},
    }
    cold, warm = kind(), kind()
    asyncio.run(warm.get("/a"))
    sent = len(scripted.asked)
    for provider in (cold, warm):
        for verb in VERBS.values():
            call = verb(provider)

            with pytest.raises(RuntimeError, match=f"{kind.__name__} requires asyncio.* trio"):
                call.send(None)
    assert len(scripted.asked) == sent


def test_a_loop_per_call_needs_one_client(scripted: Wire) -> None:
    """As on AWS Lambda; the process keeps the credentials even when the provider is closed."""
    session, created = get_session(), []
    session.register("creating-client-class.ssm", lambda **_: created.append("one"))
    scripted.answers |= {"AssumeRole": assumed(), "GetParameter": of_name, "GetParameters": of_name}
    role = "arn:aws:iam::123456789012:role/fake"
    uncached: Any = {"cache_ttl": 0}
    ps = AsyncParameterStore(session=session, sts_args={"RoleArn": role}, cache_args=uncached)

    async def invocation() -> int:
        # Many at once, since a lock that tasks wait for is bound to its loop.
        return len(await asyncio.gather(*(ps.get(f"/{number}") for number in range(50))))

    assert [asyncio.run(invocation()) for _ in range(3)] == [50] * 3
    assert created == ["one"]
    assert ps.stats.retried == 0  # as after a lock of another event loop
    assert scripted.count("AssumeRole") == 1
    asyncio.run(ps.aclose())
    assert asyncio.run(invocation()) == 50
    assert scripted.count("AssumeRole") == 1


def of_name(asked: Asked) -> Any:
    if "Name" in asked.body:
        return parameter(asked.body["Name"], "fake")
    return {"Parameters": [{"Name": one, "Value": "fake"} for one in asked.body["Names"]]}


class Stopped:
    """An event loop that is stopped in the middle of a task, and closed at the end."""

    def __enter__(self) -> asyncio.AbstractEventLoop:
        self.loop = asyncio.new_event_loop()
        return self.loop

    def __exit__(self, *_: object) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_a_fetch_on_a_stopped_loop_blocks_nobody(
    scripted: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Neither other loops nor, with a shared folder, other providers wait for its fetch lock."""
    folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
    on_disk = {"cache_on_disk": True, "cache_key": b"k" * 32, **folders}
    args: Any = {"memory": {}, "disk": on_disk}[place]
    answer = threading.Event()

    def slow(asked: Asked) -> Any:
        stop()
        answer.wait(LIMIT)
        return parameter(asked.body["Name"], "fake")

    scripted.answers["GetParameter"] = parameter("/warm", "fake")
    one, other = (AsyncParameterStore(cache_args=args) for _ in range(2))
    with Stopped() as loop:
        loop.run_until_complete(one.get("/warm"))

        def stop() -> None:
            loop.call_soon_threadsafe(loop.stop)

        scripted.answers["GetParameter"] = slow
        loop.create_task(one.get("/a"))
        loop.run_forever()
        scripted.answers["GetParameter"] = parameter("/a", "fake")
        monkeypatch.setattr(secret_cache, "_STOPPED", 9 * LIMIT)
        for provider in (one, other):
            assert asyncio.run(asyncio.wait_for(provider.get("/a"), LIMIT)) == "fake"
        answer.set()


def test_a_refresh_on_a_stopped_loop_is_started_again() -> None:
    """On another loop, at once; while its own loop runs, there is one."""
    started: list[str] = []

    async def fetch(key: CacheKey) -> None:
        started.append(key.name)
        await asyncio.Event().wait()

    refresher = Refresher(fetch)

    async def due_hit() -> None:
        for _ in range(2):
            refresher.start(A, spawn_task)
            await asyncio.sleep(0)

    with Stopped() as one, Stopped() as other:
        one.run_until_complete(due_hit())
        assert len(started) == 1
        other.run_until_complete(due_hit())
        assert len(started) == 2


async def test_a_lock_that_was_waited_for_in_vain_is_not_waited_for_again(
    scripted: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a minute: the process that has it may be stopped."""
    scripted.answers["GetParameter"] = of_name
    folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
    args: Any = {"cache_on_disk": True, "cache_key": b"k" * 32, **folders}
    async with (
        AsyncParameterStore(cache_args=args) as one,
        AsyncParameterStore(cache_args=args) as other,
    ):
        await one.get("/warm")
        await other.get("/warm")
        assert await one._cache._keys.lock([A])
        monkeypatch.setattr(secret_cache, "_STOPPED", 0.01)
        assert await other.get("/a") == "fake"
        await other.invalidate()
        monkeypatch.setattr(secret_cache, "_STOPPED", 2 * LIMIT)
        assert await asyncio.wait_for(other.get("/a"), LIMIT) == "fake"
        await one._cache._keys.unlock([A])


def test_values_of_closed_loops_are_dropped() -> None:
    """Also if they refer to their loop, as locks do once a task had to wait."""
    values = LoopLocal(asyncio.Lock)

    async def contend() -> None:
        assert values.here() is values.here()
        async with values.here():
            waiting = asyncio.ensure_future(values.here().acquire())
            await asyncio.sleep(0)
        await waiting

    for _ in range(5):
        asyncio.run(contend())

    assert len(values) == 1


def test_an_awaited_read_of_files_needs_asyncio_too(tmp_path: Path) -> None:
    """Of a provider whose `get` is the generic one."""
    reading = AsyncFiles(folder=tmp_path).get("a")
    with pytest.raises(RuntimeError, match="requires asyncio"):
        reading.send(None)
