"""How long an entry lives, and what is refreshed before it has to be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import HANG_UP, Wire, parameter
from _support.world import PATH, World

from s1crets.cache.freshness import Flights, Refresher
from s1crets.errors import UnavailableError
from s1crets.providers.aws import AsyncParameterStore, ParameterStore

if TYPE_CHECKING:
    from pathlib import Path

    from s1crets.cache import CacheArgs, Key


@pytest.fixture(params=["memory", "disk"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return what makes a cache be there."""
    if request.param == "memory":
        return {}
    from s1crets.cache.memory import MemoryCache

    return {"backend": MemoryCache(timer=lambda: 0.0)}


@pytest.mark.parametrize("key", ["/a", PATH])
async def test_a_late_hit_is_answered_at_once_and_refreshes(
    where: dict[str, Any], key: Key
) -> None:
    """Once; the next hit has the new value, which lives as long as any."""
    world = World(**where, cache_ttl=100, refresh_ahead=20, jitter=0)
    found = []
    for step in (0, 79, 1, 1, 78, 1):
        world.now += step
        found.append((await world.get(key), len(world.loads)))

    assert found == [("v1", 1), ("v1", 1), ("v1", 2), ("v2", 2), ("v2", 2), ("v2", 3)]


async def test_many_late_hits_are_one_refresh(where: dict[str, Any]) -> None:
    """Whoever comes while it goes on gets what there is."""
    world = World(**where, cache_ttl=100, refresh_ahead=20, jitter=0)
    await world.get()
    world.now += 90
    assert await asyncio.gather(*(world.get() for _ in range(10))) == ["v1"] * 10

    assert len(world.loads) == 2


async def test_a_refresh_that_fails_is_not_seen(where: dict[str, Any]) -> None:
    """Nor repeated within a second; when the entry has expired, the error is the caller's."""
    world = World(**where, cache_ttl=100, refresh_ahead=20, jitter=0)
    await world.get()
    world.now += 90
    world.fails = UnavailableError("down")
    assert [await world.get() for _ in range(3)] == ["v1"] * 3
    refreshes = len(world.loads) - 1
    world.fails = None
    assert await world.get() == "v1"

    assert refreshes == 1


async def test_a_refresh_that_is_cancelled_may_be_repeated(where: dict[str, Any]) -> None:
    """As when its loop ends."""
    world = World(**where, cache_ttl=100, refresh_ahead=20, jitter=0)
    await world.get()
    world.now += 90
    world.fails = asyncio.CancelledError()
    assert await world.get() == "v1"
    world.fails = None
    assert [await world.get(), await world.get()] == ["v1", "v3"]


async def test_a_refresh_that_never_ran_is_taken_for_lost_in_the_end() -> None:
    """As when it was cancelled before its first step, or its loop was closed."""
    started: list[Any] = []
    world = World()
    refresher: Refresher[str] = Refresher(world.load, timer=world.clock)
    for step in (0, 59, 1):
        world.now += step
        refresher.start("/a", started.append)

    assert len(started) == 2


def test_a_fetch_whose_loop_was_closed_is_not_joined() -> None:
    """A new one is made; and who leaves the dead one does not take the new one along."""
    flights: Flights[str, str] = Flights()
    fetched = []

    async def hang(key: str) -> str:
        await asyncio.sleep(3600)
        raise AssertionError

    async def fetch(key: str) -> str:
        fetched.append(key)
        await asyncio.sleep(0.05)
        return "v"

    async def main() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{}, {}, {}]
        old = asyncio.ensure_future(flights.join([("k", "k")], hang, found[0]))
        await asyncio.sleep(0)
        await asyncio.to_thread(leave)
        new = asyncio.ensure_future(flights.join([("k", "k")], fetch, found[1]))
        await asyncio.sleep(0)
        old.cancel()
        await asyncio.gather(old, return_exceptions=True)
        await asyncio.gather(new, flights.join([("k", "k")], fetch, found[2]))
        return found

    def leave() -> None:
        first.cancel()
        dead.run_until_complete(asyncio.sleep(0.01))
        for task in asyncio.all_tasks(dead):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        dead.close()

    dead = asyncio.new_event_loop()
    first = dead.create_task(flights.join([("k", "k")], hang, {}))
    dead.run_until_complete(asyncio.sleep(0))

    assert asyncio.run(main()) == [{}, {"k": "v"}, {"k": "v"}]
    assert fetched == ["k"]


def test_a_late_hit_where_no_loop_runs() -> None:
    """Is a hit; one that is awaited refreshes."""
    world = World(cache_ttl=100, refresh_ahead=20, jitter=0)
    asyncio.run(world.get())
    world.now += 90
    held = world.cache.peek("/a")

    assert held is not None
    assert held.value() == "v1"
    assert asyncio.run(world.get()) == "v1"
    assert len(world.loads) == 2


async def test_jitter_spreads_expiries(where: dict[str, Any]) -> None:
    """What was stored together does not come back together; none lives longer than the TTL."""
    world = World(**where, cache_ttl=100, jitter=0.5)
    keys = [f"/{i}" for i in range(100)]
    for key in keys:
        await world.cache.read(key, cached=True)
    alive = []
    for _ in range(3):
        world.now += 33.4
        alive.append(sum(world.cache.peek(key) is not None for key in keys))
    if not where:
        assert alive[0] == 100
        assert 10 < alive[1] < 90
        assert alive[2] == 0


async def test_a_bug_in_a_load_is_raised_as_it_is() -> None:
    """To everybody who waits."""
    world = World()
    world.fails = ZeroDivisionError()
    found = await asyncio.gather(world.get(), world.get(), return_exceptions=True)

    assert [type(one) for one in found] == [ZeroDivisionError] * 2
    assert len(world.loads) == 1


LATE: CacheArgs = {"cache_ttl": 1000, "refresh_ahead": 999.9, "jitter": 0}


async def test_refresh_ahead_on_the_wire(scripted: Wire) -> None:
    """On the loop of the one that asks."""
    scripted.answers["GetParameter"] = [parameter("/a", "old"), parameter("/a", "new")]
    async with AsyncParameterStore(cache_args=LATE) as ps:
        assert await ps.get("/a") == "old"
        await asyncio.sleep(0.15)
        assert await ps.get("/a") == "old"
        while await ps.get("/a") == "old":
            await asyncio.sleep(0.01)
        assert scripted.count("GetParameter") >= 2


async def test_refresh_ahead_of_a_facade(scripted: Wire) -> None:
    """On the portal's thread; a late hit blocks no more than any, also within a running loop."""
    scripted.answers["GetParameter"] = [parameter("/a", "old"), parameter("/a", "new")]
    ps = ParameterStore(cache_args=LATE)
    assert await asyncio.to_thread(ps.get, "/a") == "old"
    await asyncio.sleep(0.15)
    while ps.get("/a") == "old":
        await asyncio.sleep(0.01)
    assert scripted.count("GetParameter") >= 2
    await asyncio.to_thread(ps.close)


async def test_an_outage_is_not_seen_while_the_entry_lives(scripted: Wire) -> None:
    """The refresh fails; the hit does not."""
    scripted.answers["GetParameter"] = [parameter("/a", "v"), HANG_UP]
    async with AsyncParameterStore(cache_args=LATE, retry=1) as ps:
        assert await ps.get("/a") == "v"
        await asyncio.sleep(0.15)
        while scripted.count("GetParameter") < 2:
            assert await ps.get("/a") == "v"
            await asyncio.sleep(0.01)
        assert await ps.get("/a") == "v"
