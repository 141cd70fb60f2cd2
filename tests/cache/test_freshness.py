"""Freshness: time limits as a table, jitter, and refreshing ahead of expiry."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import HANG_UP, Wire, parameter
from _support.world import PATH, A, World
from aiocache import SimpleMemoryCache

from s1crets.cache import MemoryCache
from s1crets.cache.entry import CachedValue, CacheKey
from s1crets.cache.freshness import Freshness, OnError, State, is_outage, is_refusal
from s1crets.cache.refresh import Refresher
from s1crets.errors import (
    AccessDeniedError,
    BadResponseError,
    BatchError,
    CredentialsError,
    DeadlineExceededError,
    DecryptionError,
    S1cretsError,
    SecretNotFoundError,
    ThrottledError,
    UnavailableError,
)
from s1crets.providers.aws import AsyncParameterStore, ParameterStore

if TYPE_CHECKING:
    from s1crets.cache import CacheArgs


@pytest.mark.parametrize(
    ("limits", "age", "state"),
    [
        ({}, 0, State.FRESH),
        ({}, 99.9, State.FRESH),
        ({}, 100, State.GONE),
        ({}, -0.1, State.GONE),
        ({"refresh_ahead": 20}, 79.9, State.FRESH),
        ({"refresh_ahead": 20}, 80, State.DUE),
        ({"refresh_ahead": 20}, 99.9, State.DUE),
        ({"refresh_ahead": 20}, 100, State.GONE),
        ({"stale_for": 50}, 99.9, State.FRESH),
        ({"stale_for": 50}, 100, State.STALE),
        ({"stale_for": 50}, 149.9, State.STALE),
        ({"stale_for": 50}, 150, State.GONE),
        ({"ttl": 10}, 9.9, State.FRESH),
        ({"ttl": 10}, 10, State.GONE),
        ({"ttl": 1000}, 100, State.GONE),
    ],
)
def test_state(limits: dict[str, float], age: float, state: State) -> None:
    """An entry that was stored to live for 100 s; a reader's own ttl may be shorter."""
    freshness = Freshness(**{"ttl": 100, **limits})

    assert freshness.state(1000, 1100, 1000 + age) is state


def in_batch(*errors: type[S1cretsError]) -> BatchError:
    return BatchError("x", {}, {str(i): error("x") for i, error in enumerate(errors)})


@pytest.mark.parametrize(
    ("error", "reaction"),
    [
        (UnavailableError("x"), OnError.SERVE_STALE),
        (ThrottledError("x"), OnError.SERVE_STALE),
        (DeadlineExceededError("x"), OnError.SERVE_STALE),
        (AccessDeniedError("x"), OnError.DROP),
        (DecryptionError("x"), OnError.DROP),
        (SecretNotFoundError("x"), OnError.DROP),
        (BadResponseError("x"), OnError.RAISE),
        (CredentialsError("x"), OnError.RAISE),
        (in_batch(UnavailableError, ThrottledError), OnError.SERVE_STALE),
        (in_batch(UnavailableError, BadResponseError), OnError.RAISE),
        (in_batch(UnavailableError, AccessDeniedError), OnError.DROP),
    ],
)
def test_reaction_to_errors(error: S1cretsError, reaction: OnError) -> None:
    """Outages serve stale values, refusals drop them; a batch is refused if one name is."""
    assert Freshness(stale_for=10).on_error(error) is reaction
    without = OnError.RAISE if reaction is OnError.SERVE_STALE else reaction
    assert Freshness().on_error(error) is without
    assert (is_outage(error), is_refusal(error)) == (
        reaction is OnError.SERVE_STALE,
        reaction is OnError.DROP,
    )


@pytest.fixture(params=["memory", "shared"])
def where(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the `cache_args` of a cache in memory or in a backend."""
    return {} if request.param == "memory" else {"backend": MemoryCache(timer=lambda: 0.0)}


async def test_jitter_spreads_expiry(where: dict[str, Any]) -> None:
    """Over a part of the `cache_ttl` at most, so entries stored together expire one by one."""
    world = World(**where, cache_ttl=100, jitter=0.2)
    keys = [CacheKey.of_secret(f"/{number}") for number in range(50)]
    for key in keys:
        await world.get(key)
    alive = []
    for step in (79.9, 10.1, 10):
        world.wait(step)
        alive.append(sum(world.cache.peek(key) is not None for key in keys))

    assert alive[0] == 50
    assert 0 < alive[1] < 50
    assert alive[2] == 0


@pytest.mark.parametrize("key", [A, PATH])
async def test_a_due_hit_is_answered_at_once_and_refreshes(
    where: dict[str, Any], key: CacheKey
) -> None:
    """Once; the next hit has the new value, which lives as long as any."""
    world = World(**where, cache_ttl=100, refresh_ahead=20, jitter=0)
    found = []
    for step in (0, 79, 1, 1, 78, 1):
        world.wait(step)
        found.append((await world.get(key), len(world.fetched)))

    assert found == [("v1", 1), ("v1", 1), ("v1", 2), ("v2", 2), ("v2", 2), ("v2", 3)]


async def test_many_due_hits_start_one_refresh(where: dict[str, Any]) -> None:
    """All of them get the present value."""
    world = World(**where, cache_ttl=100, refresh_ahead=20, jitter=0)
    await world.get()
    world.wait(90)

    assert await asyncio.gather(*(world.get() for _ in range(10))) == ["v1"] * 10
    assert len(world.fetched) == 2


async def test_a_failed_refresh_is_invisible(where: dict[str, Any]) -> None:
    """It is not repeated within a second, and the entry is served until it expires."""
    world = World(**where, cache_ttl=100, refresh_ahead=20, jitter=0)
    await world.get()
    world.wait(90)
    world.fails = UnavailableError("down")
    assert [await world.get() for _ in range(3)] == ["v1"] * 3
    assert len(world.fetched) == 2
    world.wait(1)
    assert await world.get() == "v1"

    assert len(world.fetched) == 3


async def test_a_cancelled_refresh_may_be_repeated(where: dict[str, Any]) -> None:
    """It is cancelled when its loop ends."""
    world = World(**where, cache_ttl=100, refresh_ahead=20, jitter=0)
    await world.get()
    world.wait(90)
    world.fails = asyncio.CancelledError()
    assert await world.get() == "v1"
    world.fails = None

    assert [await world.get(), await world.get()] == ["v1", "v3"]


async def test_a_refresh_that_never_ran_counts_as_lost_after_a_minute() -> None:
    """It was cancelled before its first step, or its loop was closed."""
    started: list[Any] = []
    world = World()
    refresher = Refresher(world.fetch, timer=world.clock)
    for step in (0, 59, 1):
        world.wait(step)
        refresher.start(A, started.append)

    assert len(started) == 2


def test_a_due_hit_without_a_running_loop() -> None:
    """It is a hit; an awaited hit refreshes."""
    world = World(cache_ttl=100, refresh_ahead=20, jitter=0)
    asyncio.run(world.get())
    world.wait(90)
    held = world.cache.peek(A)

    assert held is not None
    assert held.value() == "v1"
    assert asyncio.run(world.get()) == "v1"
    assert len(world.fetched) == 2


async def test_jitter_spreads_expiries() -> None:
    """Entries stored together do not expire together, and none lives longer than the ttl."""
    world = World(cache_ttl=100, jitter=0.5)
    keys = [CacheKey.of_secret(f"/{i}") for i in range(100)]
    for key in keys:
        await world.cache.read(key, cached=True)
    alive = []
    for _ in range(3):
        world.wait(33.4)
        alive.append(sum(world.cache.peek(key) is not None for key in keys))

    assert alive[0] == 100
    assert 10 < alive[1] < 90
    assert alive[2] == 0


async def test_a_bug_in_a_fetch_is_raised_unchanged() -> None:
    """By every caller that waits."""
    world = World()
    world.fails = ZeroDivisionError()
    found = await asyncio.gather(world.get(), world.get(), return_exceptions=True)

    assert [type(error) for error in found] == [ZeroDivisionError] * 2
    assert len(world.fetched) == 1


DUE: CacheArgs = {"cache_ttl": 1000, "refresh_ahead": 999.999, "jitter": 0}


async def test_refresh_ahead_on_the_wire(scripted: Wire) -> None:
    """On the caller's loop."""
    scripted.answers["GetParameter"] = [parameter("/a", "old"), parameter("/a", "new")]
    async with AsyncParameterStore(cache_args=DUE) as ps:
        assert await ps.get("/a") == "old"
        while await ps.get("/a") == "old":
            await asyncio.sleep(0.01)
        assert scripted.count("GetParameter") >= 2


async def test_refresh_ahead_of_a_facade(scripted: Wire) -> None:
    """On the portal's thread; a due hit does not block, also within a running loop."""
    scripted.answers["GetParameter"] = [parameter("/a", "old"), parameter("/a", "new")]
    ps = ParameterStore(cache_args=DUE)
    assert await asyncio.to_thread(ps.get, "/a") == "old"
    while ps.get("/a") == "old":
        await asyncio.sleep(0.01)
    assert scripted.count("GetParameter") >= 2
    await asyncio.to_thread(ps.close)


async def test_an_outage_is_invisible_while_the_entry_lives(scripted: Wire) -> None:
    """The refresh fails; the hit does not."""
    scripted.answers["GetParameter"] = [parameter("/a", "v"), HANG_UP]
    async with AsyncParameterStore(cache_args=DUE, retry=1) as ps:
        assert await ps.get("/a") == "v"
        while scripted.count("GetParameter") < 2:
            assert await ps.get("/a") == "v"
            await asyncio.sleep(0.01)
        assert await ps.get("/a") == "v"


@pytest.mark.parametrize("is_tiered", [False, True])
async def test_entries_that_are_stored_together_do_not_expire_together(*, is_tiered: bool) -> None:
    """Each lives for a time of its own; a memory in front does not outlive the shared entry."""
    args: dict[str, Any] = {"backend": SimpleMemoryCache(), "local_ttl": 100} if is_tiered else {}
    world = World(**args, cache_ttl=100, jitter=1)
    keys = [CacheKey.of_secret(f"/{i}") for i in range(10)]
    await world.cache.read_many(keys, {}, cached=True)
    tier: Any = world.cache._keys
    left = []
    for _ in range(100):
        left.append(sum(world.cache.peek(key) is not None for key in keys))
        for key in keys if is_tiered else []:
            if world.cache.peek(key) is not None:
                assert isinstance(await tier._shared.look_up(key), CachedValue)
        world.wait(1)

    assert len(set(left)) > 2
