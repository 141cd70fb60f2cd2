"""`max_age`: entries and fetches that are older do not answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from _support.world import PATH, A, B, World, text_of

from s1crets.cache.options import check_cache_args
from s1crets.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from s1crets.cache.entry import CacheKey


async def young(world: World, max_age: float, key: CacheKey = A) -> Any:
    """Return a value that is at most that old."""
    held = world.cache.peek_younger(key, max_age)
    return text_of(held or await world.cache.read(key, cached=True, max_age=max_age))


@pytest.mark.parametrize("key", [A, PATH], ids=["name", "path"])
async def test_an_older_entry_does_not_count(
    place: Callable[[], dict[str, Any]], key: CacheKey
) -> None:
    """It is fetched again, and the new value is stored for all."""
    world = World(**place())
    await world.get(key)
    world.wait(4)

    assert await young(world, 5, key) == "v1"
    assert await young(world, 4, key) == "v1"
    assert await young(world, 3, key) == "v2"
    assert await young(world, 3, key) == "v2"
    assert await world.get(key) == "v2"


async def test_another_process_has_read_it(place: Callable[[], dict[str, Any]]) -> None:
    """The age counts from the time at which the other one stored it."""
    one, other = World(**place()), World(**place())
    await one.get()
    one.wait(4)
    other.wait(4)
    is_shared = "backend" in place()

    assert await young(other, 5) == "v1"
    assert len(other.fetched) == (0 if is_shared else 1)
    assert await young(other, 3) == "v1"  # the first that this process has fetched
    assert len(other.fetched) == 1


async def test_callers_share_a_fetch(place: Callable[[], dict[str, Any]]) -> None:
    """Those that find the same entry too old, of one name and of many."""
    world = World(**place())
    await world.get()
    world.wait(4)
    reads = [world.cache.read(A, cached=True, max_age=1) for _ in range(20)]
    found: dict[CacheKey, Any] = {}
    many = world.cache.read_many([A, B], found, cached=True, max_age=1)
    values = await asyncio.gather(*reads, many)

    assert {text_of(one) for one in values[:-1]} == {found[A].raw}
    assert sorted(key.name for key in world.fetched) == ["/a", "/a", "/b"]


async def test_a_fetch_that_began_earlier_does_not_answer() -> None:
    """What it returns may be older than what the caller wants."""
    world = World()
    going = asyncio.Event()
    fetch = world.fetch

    async def slow(key: CacheKey) -> Any:
        found = await fetch(key)
        await going.wait()
        return found

    world.fetch = slow  # type: ignore[method-assign]
    first = asyncio.ensure_future(world.cache.read(A, cached=True, max_age=0))
    await asyncio.sleep(0)
    while not world.fetched:
        await asyncio.sleep(0)
    world.wait(1)
    second = asyncio.ensure_future(world.cache.read(A, cached=True, max_age=0))
    await asyncio.sleep(0)
    going.set()

    assert [text_of(one) for one in await asyncio.gather(first, second)] == ["v1", "v2"]


async def test_what_is_too_old_does_not_count_at_a_deadline() -> None:
    """A caller has joined an earlier fetch, and is cancelled during the one that follows."""
    world = World()
    going = asyncio.Event()
    fetch = world.fetch

    async def slow(key: CacheKey) -> Any:
        found = await fetch(key)
        await (going if len(world.fetched) == 1 else asyncio.Event()).wait()
        return found

    world.fetch = slow  # type: ignore[method-assign]
    first = asyncio.ensure_future(world.cache.read(A, cached=True, max_age=0))
    while not world.fetched:
        await asyncio.sleep(0)
    world.wait(1)
    found: dict[CacheKey, Any] = {}
    second = asyncio.ensure_future(world.cache.read_many([A], found, cached=True, max_age=0))
    await asyncio.sleep(0)
    going.set()
    assert text_of(await first) == "v1"
    while len(world.fetched) < 2:
        await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)

    assert found == {}


async def test_in_an_outage(place: Callable[[], dict[str, Any]]) -> None:
    """An expired value is served if it is young enough, and not if it is older."""
    world = World(**place(), cache_ttl=2, jitter=0, stale_for=100)
    await world.get()
    world.wait(4)
    world.fails = UnavailableError("down")

    assert await young(world, 5) == "v1"
    with pytest.raises(UnavailableError):
        await young(world, 3)
    late = UnavailableError("too late")
    assert text_of(await world.cache.stale_or_raise(A, late, 5)) == "v1"
    with pytest.raises(UnavailableError, match="too late"):
        await world.cache.stale_or_raise(A, late, 3)


async def test_without_caching_nothing_is_young() -> None:
    """Every read is a fetch."""
    world = World(cache_ttl=0)

    assert [await young(world, 100) for _ in range(2)] == ["v1", "v2"]


async def test_entries_that_do_not_expire(place: Callable[[], dict[str, Any]]) -> None:
    """`cache_ttl=None`: they count until they are invalidated, whatever the others' limits are."""
    check_cache_args({"cache_ttl": None})
    with pytest.raises(TypeError, match="missing_ttl must be int or float, not NoneType"):
        check_cache_args({"missing_ttl": None})
    world, other = World(**place(), cache_ttl=None), World(**place(), cache_ttl=50)
    assert [await world.get(), await world.get(PATH)] == ["v1", "v2"]
    world.wait(10**8)
    other.wait(10**8)
    local = 5 if "local_ttl" in place() else 0

    assert [await world.get(), await world.get(PATH)] == ["v1", "v2"]
    if "backend" in place():
        assert await other.get() == "v1"  # which `cache_ttl` of its own rejects
        assert len(other.fetched) == 1
        world.wait(local)
    await world.cache.invalidate(["/a"])

    assert await world.get() == "v3"
