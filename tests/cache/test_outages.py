"""What is served while AWS can't be asked, and what never is."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import HANG_UP, Reply, Wire, parameter, refusal
from _support.world import PATH, A, B, World
from aiocache import SimpleMemoryCache

from s1crets.cache import DiskCache
from s1crets.cache.entry import CacheKey
from s1crets.errors import (
    AccessDeniedError,
    BadResponseError,
    CredentialsError,
    DeadlineExceededError,
    DecryptionError,
    S1cretsError,
    SecretNotFoundError,
    ThrottledError,
    UnavailableError,
)
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore

if TYPE_CHECKING:
    from pathlib import Path

    from s1crets.cache import CacheArgs

STALE: CacheArgs = {"cache_ttl": 100, "stale_for": 50, "jitter": 0}


@pytest.mark.parametrize("key", [A, PATH])
@pytest.mark.parametrize("error", [UnavailableError, ThrottledError, DeadlineExceededError])
async def test_in_an_outage_an_expired_value_is_served(
    place: Any, key: CacheKey, error: type[S1cretsError], caplog: pytest.LogCaptureFixture
) -> None:
    """Until `stale_for` after its expiry, however long the outage; with one warning a key."""
    world = World(**place(), **STALE)
    await world.get(key)
    world.fails = error("down")
    found = []
    for step in (99.9, 0.1, 25, 24.9):
        world.wait(step)
        found.append(await world.get(key))
    world.wait(0.2)
    with pytest.raises(error, match="down"):
        await world.get(key)

    assert found == ["v1"] * 4
    assert world.stale == 3
    (warning,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "down" in warning.getMessage()
    assert "'/" in warning.getMessage()


async def test_attempts_are_few_in_an_outage(place: Any) -> None:
    """Longer and longer apart, and not at the same times for all; until one succeeds."""
    world = World(**place(), cache_ttl=100, stale_for=10_000, jitter=0)
    attempts: dict[CacheKey, list[float]] = {}
    for key in (A, B):
        await world.get(key)
    world.wait(100)
    world.fails = UnavailableError("down")
    for second in range(120):
        world.wait(1)
        for key in (A, B):
            before = len(world.fetched)
            held = world.cache.peek(key) or await world.cache.read(key, cached=True)
            assert held.raw == ("v1" if key is A else "v2")
            if len(world.fetched) > before:
                attempts.setdefault(key, []).append(second)
    world.fails = None
    world.wait(31)

    pauses = [later - one for one, later in zip(attempts[A], attempts[A][1:], strict=False)]
    assert len(attempts[A]) < 20
    assert max(pauses[:2]) <= 3
    assert 10 <= max(pauses) <= 31
    assert attempts[A] != attempts[B]
    assert (await world.get(A)).startswith("v")
    assert world.fetched[-1] == A


async def test_many_expired_values_are_looked_up_together() -> None:
    """In an outage, as at any other time: the backend may be a server."""

    class Counting(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
        calls = 0

        async def _multi_get(self, keys: list[str], *args: Any, **options: Any) -> Any:
            self.calls += 1
            return await super()._multi_get(keys, *args, **options)

    backend = Counting()
    world = World(backend=backend, cache_ttl=100, stale_for=10_000, jitter=0)
    keys = [CacheKey.of_secret(f"/{number}") for number in range(10)]
    calls = {}
    for some in (keys[:1], keys):
        world.fails = None
        await world.cache.read_many(some, {}, cached=False)
        world.wait(100)
        world.fails = UnavailableError("down")
        await world.cache.read_many(some, {}, cached=True)
        before, world.stale = backend.calls, 0
        found: dict[CacheKey, Any] = {}
        await world.cache.read_many(some, found, cached=True)
        assert world.stale == len(found) == len(some)
        calls[len(some)] = backend.calls - before

    assert calls[10] == calls[1]
    await world.cache.aclose()


async def test_a_new_outage_is_warned_of_again(caplog: pytest.LogCaptureFixture) -> None:
    """Once more."""
    world = World(**STALE)
    for _ in range(2):
        world.fails = None
        await world.get()
        world.wait(101)
        world.fails = UnavailableError("down")
        await world.get()
        world.wait(40)

    assert caplog.text.count("serving an expired value") == 2


@pytest.mark.parametrize("error", [AccessDeniedError, DecryptionError, SecretNotFoundError])
@pytest.mark.parametrize("how", ["expired", "uncached", "refreshed"])
async def test_a_refusal_is_never_answered_with_a_stale_value(
    place: Any, error: type[S1cretsError], how: str
) -> None:
    """The entry is dropped, however AWS was asked; an outage does not bring it back."""
    world = World(**{**place(), **STALE, "refresh_ahead": 10})
    await world.get()
    world.fails = error("no")
    if how == "refreshed":
        world.wait(95)
        assert await world.get() == "v1"
    else:
        world.wait(50 if how == "uncached" else 100)
        with pytest.raises(error):
            await world.cache.read(A, cached=how == "expired")
    world.fails = UnavailableError("down")

    assert world.cache.peek(A) is None
    with pytest.raises(UnavailableError):
        await world.get()


async def test_a_refusal_of_a_missing_name_costs_no_write(tmp_path: Path) -> None:
    """Programs look for names that do not exist all day."""
    backend = DiskCache(tmp_path / "c")
    world = World(backend=backend)
    await world.get()
    before = await asyncio.to_thread(len, backend)
    world.fails = SecretNotFoundError("no")
    for _ in range(3):
        with pytest.raises(SecretNotFoundError):
            await world.get(CacheKey.of_secret("/missing"))

    assert await asyncio.to_thread(len, backend) == before
    await world.cache.aclose()


@pytest.mark.parametrize("error", [BadResponseError, CredentialsError])
async def test_other_errors_are_raised_and_drop_nothing(place: Any, error: Any) -> None:
    """Somebody has to look into them."""
    world = World(**place(), **STALE)
    await world.get()
    world.wait(100)
    world.fails = error("what")
    with pytest.raises(error):
        await world.get()
    world.fails = UnavailableError("down")

    assert await world.get() == "v1"


async def test_who_wants_no_cached_value_gets_no_stale_one(place: Any) -> None:
    """`cached=False` is an error in an outage."""
    world = World(**place(), **STALE)
    await world.get()
    world.fails = UnavailableError("down")
    with pytest.raises(UnavailableError):
        await world.cache.read(A, cached=False)


async def test_without_stale_for_an_outage_is_an_error(place: Any) -> None:
    """As soon as the entry has expired."""
    world = World(**place(), cache_ttl=100)
    await world.get()
    world.wait(100)
    world.fails = UnavailableError("down")
    with pytest.raises(UnavailableError):
        await world.get()


# Expires at once, but may be served for long: what is tested is AWS's failure, not time.
AT_ONCE: CacheArgs = {"cache_ttl": 1e-6, "stale_for": 1000, "jitter": 0}


def slow(_: Any) -> Any:
    time.sleep(0.5)
    return parameter("/a", "late")


@pytest.mark.parametrize(
    "fault",
    [
        HANG_UP,
        Reply(b"<html>", 503),
        refusal("InternalServerError", status=500),
        slow,
        refusal("ThrottlingException"),
    ],
    ids=["hang up", "html 503", "500", "timeout", "throttling"],
)
async def test_every_kind_of_outage_on_the_wire(scripted: Wire, fault: Any) -> None:
    """After all attempts; the facade too."""
    scripted.answers["GetParameter"] = [parameter("/a", "v"), fault]
    async with AsyncParameterStore(cache_args=AT_ONCE, retry=2, timeout=0.2) as ps:
        assert [await ps.get("/a"), await ps.get("/a")] == ["v", "v"]
        assert scripted.count("GetParameter") == 3
        assert ps.stats.stale == 1
    scripted.answers["GetParameter"] = [parameter("/a", "v"), fault]
    blocking = ParameterStore(cache_args=AT_ONCE, retry=1, timeout=0.2)
    assert await asyncio.to_thread(blocking.get, "/a") == "v"
    assert await asyncio.to_thread(blocking.get, "/a") == "v"
    await asyncio.to_thread(blocking.close)


async def test_the_deadline_ends_in_a_stale_value_too(scripted: Wire) -> None:
    """Of one, and of each of many; what was never read is an error."""
    hangs: list[bool] = []

    def answer(asked: Any) -> Any:
        if hangs:
            time.sleep(1)
        name = asked.body.get("Name")
        if name:
            return parameter(name, "v")
        return {"Parameters": [{"Name": name, "Value": "v"} for name in asked.body["Names"]]}

    scripted.answers = {"GetParameter": answer, "GetParameters": answer}
    async with AsyncParameterStore(cache_args=AT_ONCE) as ps:
        await ps.get_many(["/a", "/b"])
        ps.deadline = 0.3
        hangs.append(True)
        assert await ps.get("/a") == "v"
        found = await ps.get_many(["/a", "/b", "/c"], errors="return")
        assert [found["/a"], found["/b"]] == ["v", "v"]
        assert isinstance(found["/c"], DeadlineExceededError)
        fresh = await ps.get_many(["/b"], errors="return", cached=False)
        assert isinstance(fresh["/b"], DeadlineExceededError)
        with pytest.raises(DeadlineExceededError):
            await ps.get("/b", cached=False)
        assert list(await asyncio.gather(ps.get("/b"), ps.get("/b"))) == ["v", "v"]


@pytest.mark.parametrize(
    "code",
    ["AccessDeniedException", "ParameterNotFound", "KMSDisabledException"],
)
async def test_what_aws_refuses_is_forgotten(scripted: Wire, code: str) -> None:
    """Also where AWS is down right afterwards."""
    scripted.answers["GetParameter"] = [parameter("/a", "v"), refusal(code), HANG_UP]
    async with AsyncParameterStore(cache_args=AT_ONCE, retry=1) as ps:
        await ps.get("/a")
        with pytest.raises(S1cretsError):
            await ps.get("/a")
        with pytest.raises(UnavailableError):
            await ps.get("/a")


async def test_a_secret_that_was_deleted_is_forgotten(scripted: Wire) -> None:
    """Scheduled for deletion is gone."""
    deleted = refusal("InvalidRequestException", "it is marked for deletion")
    scripted.answers["GetSecretValue"] = [{"SecretString": "v"}, deleted, HANG_UP]
    async with AsyncSecretsManager(cache_args=AT_ONCE, retry=1) as sm:
        await sm.get("a")
        with pytest.raises(SecretNotFoundError):
            await sm.get("a")
        with pytest.raises(UnavailableError):
            await sm.get("a")


@pytest.mark.parametrize("how", ["path", "version", "arn"])
async def test_a_refusal_drops_every_entry_of_the_name(place: Any, how: str) -> None:
    """By path, version and ARN, also those that another provider has stored."""
    world, other = World(**place(), **STALE), World(**place(), **STALE)
    name = CacheKey.of_secret("/p/a")
    key = {
        "path": PATH,
        "version": CacheKey("/p/a:3", options=(("version", "3"),), secrets=("/p/a",)),
        "arn": CacheKey("arn:x:/p/a", secrets=("/p/a",)),
    }[how]
    await world.get(name)
    await other.get(key)
    await world.get(key)
    world.fails = AccessDeniedError("no")
    with pytest.raises(AccessDeniedError):
        await world.cache.read(name, cached=False)
    world.fails = UnavailableError("down")

    with pytest.raises(UnavailableError):
        await world.get(key)


async def test_a_refused_path_is_dropped(place: Any) -> None:
    """An outage does not bring it back."""
    world = World(**place(), **STALE)
    await world.get(PATH)
    world.fails = AccessDeniedError("no")
    with pytest.raises(AccessDeniedError):
        await world.cache.read(PATH, cached=False)
    world.fails = UnavailableError("down")

    with pytest.raises(UnavailableError):
        await world.get(PATH)


async def test_a_refusal_of_a_missing_name_keeps_paths(place: Any) -> None:
    """Programs look for names that do not exist all day."""
    world = World(**place(), **STALE)
    await world.get(PATH)
    world.fails = SecretNotFoundError("no")
    with pytest.raises(SecretNotFoundError):
        await world.get(CacheKey.of_secret("/p/missing"))

    assert await world.get(PATH) == "v1"
