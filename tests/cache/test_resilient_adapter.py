"""AiocacheBackend: a cache that fails or hangs is a miss, a warning, and then left alone."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Wire, parameter
from _support.world import PATH, A, Clock, World, lock
from aiocache import SimpleMemoryCache
from aiocache.base import BaseCache

from s1crets.cache import DiskCache, MemoryCache
from s1crets.cache.backends.resilient_adapter import AiocacheBackend, TimeBudget
from s1crets.errors import NotPrivateError
from s1crets.providers.aws import AsyncParameterStore

if TYPE_CHECKING:
    from pathlib import Path

    from _support.servers import RedisServer

WARNING = "continuing without it"


class Broken(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache on a server that has gone."""

    calls = 0

    async def _get(self, *_: Any, **__: Any) -> Any:
        self.calls += 1
        raise ConnectionError("canary")

    _set = _add = _delete = _clear = _multi_get = _multi_set = _close = _get


class Hanging(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache on a server that does not answer."""

    calls = 0

    async def _get(self, *_: Any, **__: Any) -> Any:
        self.calls += 1
        await asyncio.sleep(3600)

    _set = _add = _delete = _clear = _multi_get = _multi_set = _get


class Minimal(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache that can't add."""

    async def _add(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


class Odd(Minimal):
    """A cache that answers with something else."""

    async def _multi_get(self, *_: Any, **__: Any) -> Any:
        return ["something"] * 9


class Bound(BaseCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache with connections, which belong to an event loop."""

    NAME = "bound"

    def __init__(self) -> None:
        super().__init__(timeout=0)
        self.rows: dict[str, str] = {}
        self.closed = False

    async def _multi_get(self, keys: list[str], encoding: str, _conn: Any = None) -> Any:  # noqa: ARG002
        return [self.rows.get(key) for key in keys]

    async def _multi_set(self, pairs: Any, ttl: Any, _conn: Any = None) -> bool:  # noqa: ARG002
        self.rows.update(pairs)
        return True

    async def _add(self, key: str, value: str, ttl: Any, _conn: Any = None) -> bool:  # noqa: ARG002
        if key in self.rows:
            raise ValueError(key)
        self.rows[key] = value
        return True

    async def _delete(self, key: str, _conn: Any = None) -> int:
        return int(self.rows.pop(key, None) is not None)

    async def _close(self, *_: Any, **__: Any) -> None:
        self.closed = True


async def test_a_failing_backend_is_a_miss(caplog: pytest.LogCaptureFixture) -> None:
    """Values come from the service; one warning, which does not repeat the server's words."""
    backend = Broken()
    world = World(backend=backend)
    assert [await world.get() for _ in range(3)] == ["v1", "v2", "v3"]
    await world.cache.invalidate(["/a"])
    await world.cache.invalidate(None)

    assert caplog.text.count(WARNING) == 1
    assert "canary" not in caplog.text
    assert backend.calls == 1  # then the circuit is open
    await world.cache.aclose()


async def test_a_failed_backend_is_tried_again_after_a_rest() -> None:
    """The circuit breaker lets the next call through."""
    backend = Broken()
    world = World(backend=backend)
    await world.get()
    world.wait(4.9)
    await world.get()
    assert backend.calls == 1
    world.wait(0.1)
    await world.get()
    assert backend.calls == 2


async def test_a_hanging_backend_costs_its_time_limit_once() -> None:
    """And then it is left alone."""
    backend = Hanging(timeout=None)
    world = World(backend=backend)
    assert [await world.get() for _ in range(20)] == [f"v{i}" for i in range(1, 21)]

    assert backend.calls == 1


@pytest.mark.parametrize("cache", [Odd, Minimal])
async def test_other_answers_are_a_miss_too(cache: type[SimpleMemoryCache]) -> None:
    """A wrong number of rows; a cache without `add`, which stores nothing."""
    world = World(backend=cache())

    assert [await world.get(), await world.get()] == ["v1", "v2"]


async def test_rows_that_the_serializer_can_not_read_are_deleted() -> None:
    """They spoil no other row of the same call."""
    from aiocache.serializers import JsonSerializer

    cache = SimpleMemoryCache(serializer=JsonSerializer())
    backend = AiocacheBackend(cache, "test", [])
    await backend.set_many({"a": "x", "b": "y"}, 9)
    cache._cache["a"] = "{broken"

    assert await backend.get_many(["a", "b", "c"]) == [None, "y", None]
    assert "a" not in cache._cache


async def test_a_failure_while_rows_are_read_singly() -> None:
    """It is a failure of the whole call."""

    class Dying(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
        async def _multi_get(self, *_: Any, **__: Any) -> Any:
            raise ValueError

        async def _get(self, *_: Any, **__: Any) -> Any:
            raise ConnectionError

    backend = AiocacheBackend(Dying(), "test", [])

    assert await backend.get_many(["a", "b"]) == [None, None]
    assert await backend.get_many(["a"]) is None
    assert not await backend.set_many({"a": "x"}, 9)


async def test_locks_are_added_rows() -> None:
    """Whoever adds the row first has the lock; another process can't tell without `add`."""
    backend = AiocacheBackend(SimpleMemoryCache(), "test", [])
    assert await backend.lock_many(["a", "b"], "me", 9) == {"a": True, "b": True}
    assert await backend.lock_many(["a"], "me", 9) == {"a": False}
    await backend.unlock_many(["a"], "me")
    assert await backend.lock_many(["a"], "me", 9) == {"a": True}
    minimal = AiocacheBackend(Minimal(), "test", [])
    assert await minimal.lock_many(["a"], "me", 9) == {"a": None}


async def test_a_callers_cache_works_on_the_loop_that_uses_it_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Elsewhere it is a miss, and a warning that says what to pass. It is not closed."""
    cache = Bound()
    backend = AiocacheBackend(cache, "test", [])
    await backend.set_many({"a": "x"}, 9)
    assert await backend.get_many(["a"]) == ["x"]
    assert await asyncio.to_thread(asyncio.run, backend.get_many(["a"])) is None
    assert "pass a function" in caplog.text
    await backend.aclose()
    assert not cache.closed


async def test_a_factory_is_called_once_per_loop() -> None:
    """Its caches are closed with the provider, or with their loop."""
    made: list[Bound] = []

    def factory() -> Bound:
        made.append(Bound())
        return made[-1]

    backend = AiocacheBackend(factory, "test", [])
    await asyncio.gather(*(backend.get_many(["a"]) for _ in range(5)))
    await asyncio.to_thread(asyncio.run, backend.get_many(["a"]))
    assert [cache.closed for cache in made] == [False, True]
    await backend.aclose()
    assert [cache.closed for cache in made] == [True, True]
    await backend.get_many(["a"])
    assert len(made) == 3
    await backend.aclose()


async def test_a_factory_that_fails_is_a_miss(caplog: pytest.LogCaptureFixture) -> None:
    """As a cache that fails."""

    def factory() -> Any:
        raise RuntimeError("canary")

    world = World(backend=factory)

    assert [await world.get(), await world.get()] == ["v1", "v2"]
    assert caplog.text.count(WARNING) == 1
    await world.cache.aclose()


async def test_a_factory_of_something_else_is_a_miss(caplog: pytest.LogCaptureFixture) -> None:
    """With the same warning."""
    world = World(backend=lambda: 5)

    assert [await world.get(), await world.get()] == ["v1", "v2"]
    assert caplog.text.count(WARNING) == 1
    await world.cache.aclose()


async def test_a_cache_that_fails_to_close() -> None:
    """There is nothing more to do."""

    class Stuck(Bound):
        async def _close(self, *_: Any, **__: Any) -> None:
            raise ConnectionError

    backend = AiocacheBackend(Stuck, "test", [])
    await backend.get_many(["a"])
    await backend.aclose()


async def test_connections_of_a_factorys_redis_are_closed(redis: RedisServer) -> None:
    """Aiocache's own `close` leaves them open."""
    before = redis.clients
    backend = AiocacheBackend(redis.aiocache, "test", [])
    assert await backend.set_many({"a": "x"}, 9)
    assert redis.clients > before
    await backend.aclose()
    for _ in range(1000):
        if redis.clients <= before:
            return
        await asyncio.sleep(0.01)
    pytest.fail("a connection is open")


class TestOnDisk:
    """A disk cache raises; the adapter turns that into misses."""

    async def test_a_locked_file_is_a_miss(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Hits go on; a write that can't be made is not repeated for a while."""
        clock = Clock()
        cache = DiskCache(tmp_path / "c", timer=clock)
        backend = AiocacheBackend(cache, "test", [], clock)
        assert await backend.set_many({"k": "v"}, 99)
        foreign = sqlite3.connect(tmp_path / "c" / "cache.db", isolation_level=None)
        foreign.execute("BEGIN EXCLUSIVE")
        try:
            assert backend.peek_many(["k"]) == ["v"]
            assert not await backend.set_many({"k": "w"}, 99)
        finally:
            foreign.execute("ROLLBACK")
            foreign.close()
        assert not await backend.set_many({"k": "w"}, 99)
        clock.now += 5
        assert await backend.set_many({"k": "w"}, 99)
        assert caplog.text.count(WARNING) == 1
        await backend.aclose()

    @pytest.mark.parametrize("damage", ["directory", "not a folder"])
    async def test_an_unusable_folder_is_a_miss(
        self, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The warning names it."""
        folder = tmp_path / "file" / "c" if damage == "not a folder" else tmp_path / "c"
        if damage == "not a folder":
            (tmp_path / "file").write_text("")
        else:
            (folder / "cache.db").mkdir(parents=True)
            folder.chmod(0o700)
        backend = AiocacheBackend(DiskCache(folder), str(folder), [])
        await asyncio.to_thread(backend.open)
        assert await backend.get_many(["k"]) is None
        assert backend.peek_many(["k"]) == [None]
        assert not await backend.set_many({"k": "v"}, 9)
        assert caplog.text.count(WARNING) == 1
        assert str(folder) in caplog.text
        await backend.aclose()

    async def test_a_folder_open_to_others_is_an_error(self, tmp_path: Path) -> None:
        """Not a miss: somebody has to know."""
        (tmp_path / "c").mkdir(mode=0o755)
        backend = AiocacheBackend(DiskCache(tmp_path / "c"), "test", [])
        with pytest.raises(NotPrivateError):
            await asyncio.to_thread(backend.open)
        with pytest.raises(NotPrivateError):
            await backend.get_many(["k"])

    async def test_a_read_only_disk_is_still_read(self, tmp_path: Path) -> None:
        """Failed writes do not stop reads."""
        cache = DiskCache(tmp_path / "c")
        backend = AiocacheBackend(cache, "test", [])
        await backend.set_many({"k": "v"}, 99)
        with sqlite3.connect(tmp_path / "c" / "cache.db") as db:
            db.execute(
                "CREATE TRIGGER full BEFORE INSERT ON Cache"
                " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
        db.close()
        assert not await backend.set_many({"l": "v"}, 99)
        assert backend.peek_many(["k", "l"]) == ["v", None]
        await backend.aclose()


class TestTimeBudget:
    """Slow operations share a budget that recovers with time."""

    async def test_quick_operations_cost_nothing(self) -> None:
        """Up to a tenth of a second."""
        clock = Clock()
        budget = TimeBudget(clock)
        assert all(lasts(budget, clock, 0.09) for _ in range(100))

    async def test_slow_operations_use_it_up(self) -> None:
        """Four of 0.3 seconds."""
        clock = Clock()
        budget = TimeBudget(clock)
        assert [lasts(budget, clock, 0.3) for _ in range(5)][-1] is False
        budget.reset()
        assert lasts(budget, clock, 0.3)

    async def test_time_without_cpu_costs_nothing(self) -> None:
        """It does not count, so a clock that stands still goes back."""
        clock = Clock()
        budget = TimeBudget(clock)
        for _ in range(10):
            assert lasts(budget, clock, 0.01)
            clock.now -= 1
        assert lasts(budget, clock, 0.3)

    async def test_waiting_together_is_counted_once(self) -> None:
        """Several callers that wait for the same second have waited a second."""
        clock = Clock()
        budget = TimeBudget(clock)
        operations = [budget.begin(asyncio.timeout(None)) for _ in range(10)]
        clock.now += 0.9
        assert all(budget.end(operation) for operation in operations)

    async def test_opening_connections_costs_nothing(self) -> None:
        """It may take longer than operations; several connections may be opened at once."""
        clock = Clock()
        budget = TimeBudget(clock)
        operation = budget.begin(asyncio.timeout(None))
        before = operation.ticks
        with operation.paused(), operation.paused():
            assert operation.ticks > before
            clock.now += 2
        assert operation.ticks == before
        assert budget.end(operation)


def lasts(budget: TimeBudget, clock: Clock, seconds: float) -> bool:
    """Spend the time of an operation; return whether there is some left."""
    operation = budget.begin(asyncio.timeout(None))
    clock.now += seconds
    return budget.end(operation)


async def test_a_process_without_cpu_does_not_look_like_a_slow_cache(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it could not notice in time counts as if it had come in time."""
    monkeypatch.setattr(TimeBudget, "LIMIT", 0.2)

    class Prompt(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
        async def _multi_get(self, keys: list[str], *_: Any, **__: Any) -> Any:
            await asyncio.sleep(0.01)
            return ["v"] * len(keys)

    backend = AiocacheBackend(Prompt(timeout=0.3), "it", [])
    reading = asyncio.ensure_future(backend.get_many(["a"]))
    await asyncio.sleep(0)
    time.sleep(0.5)  # noqa: ASYNC251  # as if others had the CPU

    assert await reading == ["v"]
    assert backend.is_available
    assert caplog.text == ""


async def test_calls_that_wait_for_their_turn_are_not_made_after_a_failure() -> None:
    """Eight are made at a time; the others find out that the cache fails before they are made."""
    begun = []
    fails = asyncio.Event()

    class Failing(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
        async def _multi_get(self, keys: list[str], *_: Any, **__: Any) -> Any:
            begun.extend(keys)
            await fails.wait()
            raise ConnectionError

    backend = AiocacheBackend(Failing(), "test", [])
    reading = [asyncio.ensure_future(backend.get_many([str(i)])) for i in range(20)]
    while len(begun) < 8:
        await asyncio.sleep(0)
    fails.set()

    assert await asyncio.gather(*reading) == [None] * 20
    assert await backend.get_many(["20"]) is None
    assert begun == list("01234567")


async def test_fetches_of_a_lock_holder_that_dies_are_taken_over() -> None:
    """Its row expires; until then others wait, with a limit."""
    backend = MemoryCache()
    first, second = World(backend=backend), World(backend=backend)
    for world in (first, second):
        await world.cache.read_many([], {}, cached=True)
    assert await lock(first.cache._keys, A)
    assert await lock(second.cache._keys, A) is False
    await first.cache._keys.unlock([A])
    assert await lock(second.cache._keys, A)
    await second.cache._keys.unlock([A])


async def test_a_lock_holder_stores_what_others_wait_for() -> None:
    """They get it without a request of their own."""
    backend = MemoryCache()
    first, second = World(backend=backend), World(backend=backend)
    for world in (first, second):
        await world.cache.read_many([], {}, cached=True)
    assert await lock(first.cache._keys, A)
    waiting = asyncio.ensure_future(second.get())
    await asyncio.sleep(0.02)
    await first.cache.read(A, cached=False)
    await first.cache._keys.unlock([A])
    assert await waiting == "v1"
    assert second.fetched == []
    assert await second.get(PATH) == "v1"


async def test_a_cancelled_look_up_shows_no_frames(scripted: Wire) -> None:
    """They contain what the cache has returned."""

    class Stuck(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
        stuck = False

        async def _multi_get(self, keys: list[str], *args: Any, **kwargs: Any) -> Any:
            if self.stuck:
                await asyncio.Event().wait()
            return await super()._multi_get(keys, *args, **kwargs)

    cache = Stuck()
    scripted.answers["GetParameter"] = parameter("/a", "v")
    async with AsyncParameterStore(cache_args={"backend": cache, "namespace": "n"}) as ps:
        assert await ps.get("/a") == "v"
        cache.stuck = True
        reading = asyncio.ensure_future(ps.get("/a"))
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await reading

    assert not any(
        "cache/" in str(entry.path).partition("s1crets/")[2] for entry in caught.traceback
    )
