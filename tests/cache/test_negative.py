"""`missing_ttl`: "not found" is remembered, and forgotten as soon as the secret may exist."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from _support.world import PATH, A, B, World

from s1crets.cache.entry import EXISTS, CacheKey
from s1crets.errors import (
    AccessDeniedError,
    S1cretsError,
    SecretNotFoundError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

THERE = CacheKey("/a", EXISTS)
VERSION = CacheKey("/a:1", secrets=("/a",))
ABSENT = SecretNotFoundError("there is no /a")


def worlds(make: Callable[[], dict[str, Any]], **args: Any) -> tuple[World, World]:
    """Return two caches that share entries where that is possible, and their clock."""
    one, other = (World(**make(), missing_ttl=10, **args) for _ in range(2))
    other.clock.now = one.clock.now
    one.fails = other.fails = ABSENT
    return one, other


async def missing(world: World, key: CacheKey = A) -> int:
    """Read a key that is not there; return how often the service was asked until now."""
    with pytest.raises(SecretNotFoundError, match="there is no /a"):
        await world.get(key)
    return len(world.fetched)


@pytest.mark.parametrize("key", [A, THERE, VERSION], ids=["name", "exists", "version"])
async def test_a_missing_secret_is_requested_once(
    place: Callable[[], dict[str, Any]], key: CacheKey
) -> None:
    """For `missing_ttl` seconds; each caller gets an error of its own."""
    world, _ = worlds(place)

    assert [await missing(world, key) for _ in range(3)] == [1, 1, 1]

    world.wait(11)

    assert [await missing(world, key) for _ in range(3)] == [2, 2, 2]


async def test_by_default_nothing_is_remembered() -> None:
    """A secret is found as soon as it exists."""
    world = World()
    world.fails = ABSENT

    assert [await missing(world) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("kind", [AccessDeniedError, UnavailableError])
async def test_no_other_error_is_remembered(
    place: Callable[[], dict[str, Any]], kind: type[S1cretsError]
) -> None:
    """A permission may be granted, and an outage may end, at any moment."""
    world, _ = worlds(place)
    world.fails = kind("no")
    for _ in range(2):
        with pytest.raises(kind):
            await world.get(A)

    assert len(world.fetched) == 2


@pytest.mark.parametrize("key", [A, THERE, VERSION], ids=["name", "exists", "version"])
@pytest.mark.parametrize("names", [["/a"], None], ids=["write", "everything"])
async def test_an_invalidation_forgets_it(
    place: Callable[[], dict[str, Any]], key: CacheKey, names: list[str] | None
) -> None:
    """A write to the name, through any provider that shares the cache, or `invalidate`."""
    world, other = worlds(place)
    await missing(world, key)
    writer = other if "backend" in place() else world
    await writer.cache.read_many([], {}, cached=True)  # opens it
    await writer.cache.invalidate(names)
    world.fails = None
    if "local_ttl" in place():
        world.wait(6)  # when updates by other processes are seen

    assert await world.get(key) == "v2"


async def test_a_fetch_from_before_a_write_does_not_remember(
    place: Callable[[], dict[str, Any]],
) -> None:
    """It asked before the secret was written, and its answer arrives after that."""
    world, other = worlds(place)
    asked, answered = asyncio.Event(), asyncio.Event()

    async def fetch(key: CacheKey) -> Any:
        world.fetched.append(key)
        asked.set()
        await answered.wait()
        raise ABSENT

    fetch_at_once, world.fetch = world.fetch, fetch  # type: ignore[method-assign]
    await other.cache.read_many([], {}, cached=True)
    reading = asyncio.ensure_future(world.cache.read(A, cached=True))
    await asked.wait()
    writer = other if "backend" in place() else world
    await writer.cache.invalidate(["/a"])
    answered.set()
    with pytest.raises(SecretNotFoundError):
        await reading
    world.fetch, world.fails = fetch_at_once, None  # type: ignore[method-assign]

    assert await world.get(A) == "v2"


async def test_a_value_replaces_it(place: Callable[[], dict[str, Any]]) -> None:
    """A read past the caches finds a secret that somebody else has created."""
    world, _ = worlds(place, cache_ttl=5, jitter=0)
    await missing(world)
    world.fails = None
    await world.cache.read(A, cached=False)
    world.wait(6)  # the value has expired, and what it replaced would not

    assert await world.get(A) == "v3"


async def test_a_value_that_is_cached_answers(place: Callable[[], dict[str, Any]]) -> None:
    """What is missing now was there a moment ago: the refusal drops it and is remembered."""
    world, _ = worlds(place)
    world.fails = None
    await world.get(A)
    await world.get(B)
    world.fails = ABSENT
    with pytest.raises(SecretNotFoundError):
        await world.cache.read(A, cached=False)

    assert await missing(world) == 3
    assert await world.get(B) == "v2"


async def test_missing_names_push_no_secrets_out(place: Callable[[], dict[str, Any]]) -> None:
    """Whoever asks for many names that do not exist does no harm."""
    world, _ = worlds(place, cache_size=3)
    world.fails = None
    await world.get(A)
    world.fails = ABSENT
    for number in range(10):
        await missing(world, CacheKey.of_secret(f"/a/{number}"))

    assert await world.get(A) == "v1"


async def test_an_expired_one_is_not_served_in_an_outage(
    place: Callable[[], dict[str, Any]],
) -> None:
    """Whether the secret exists by now is unknown: the error says so."""
    world, _ = worlds(place, stale_for=1000)
    await missing(world)
    world.wait(11)
    world.fails = UnavailableError("down")

    with pytest.raises(UnavailableError):
        await world.get(A)


async def test_it_has_no_age(place: Callable[[], dict[str, Any]]) -> None:
    """A read with a `max_age` requests the secret."""
    world, _ = worlds(place)
    await missing(world)
    world.fails = None

    assert (await world.cache.read(A, cached=True, max_age=100)).raw == "v2"


async def test_it_is_remembered_without_a_cache_of_values() -> None:
    """As for files, which are always read."""
    world = World(missing_ttl=10, cache_ttl=0)
    world.fails = ABSENT

    assert [await missing(world) for _ in range(2)] == [1, 1]

    world.fails = None
    await world.cache.invalidate(["/a"])

    assert [await world.get(A), await world.get(A)] == ["v2", "v3"]


async def test_a_path_without_secrets_is_not_missing() -> None:
    """It is empty, which is a value."""
    world = World(missing_ttl=10)

    assert await world.get(PATH) == "v1"
