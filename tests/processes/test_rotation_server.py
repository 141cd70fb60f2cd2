"""A real Redis whose password is rotated under load: `refresh_on` and `watch` keep up with it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.retry import Retry

from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    SecretsManager,
)

if TYPE_CHECKING:
    from _support.servers import RedisServer

    from s1crets.testing import LoopbackAws

PATH = "/prod/redis"
DRIVER = DriverInfo()  # or every client of redis-py looks for the version of redis-py in a file
OLD, NEW, NEWER = ({"user": "app", "password": f"fake-{one}"} for one in ("old", "new", "newer"))


class Rotated:
    """A Redis with one user, and the secret in both stores that has its password."""

    def __init__(self, server: RedisServer, aws: LoopbackAws) -> None:
        self.server = server
        self.aws = aws
        self.asked = 0
        self.rotate(OLD)

    def rotate(self, to: dict[str, str]) -> None:
        """Do what a rotation does: the store first, then the server; old connections end."""
        self.aws.seed({"aws.ps": {PATH: to}, "aws.sm": {PATH[1:]: to}})
        user = ["ACL", "SETUSER", "app", "on", "resetpass", f">{to['password']}", "~*", "+@all"]
        assert self.server.command(*user) == b"+OK\r\n"
        self.server.command("CLIENT", "KILL", "USER", "app")

    def reads(self) -> int:
        """Return how often AWS was asked since this was last called."""
        before, self.asked = self.asked, len(self.aws.requests)
        return self.asked - before

    def options(self, secret: dict[str, str]) -> dict[str, Any]:
        once = Retry(NoBackoff(), 0)
        return {
            "port": self.server.port, "username": secret["user"], "retry": once,
            "password": secret["password"], "driver_info": DRIVER,
        }  # fmt: skip


@pytest.fixture
def rotated(s1crets_aws: LoopbackAws, request: pytest.FixtureRequest) -> Rotated:
    return Rotated(request.getfixturevalue("redis"), s1crets_aws)  # the name is the module's here


@pytest.mark.parametrize("cls", [AsyncParameterStore, AsyncSecretsManager])
async def test_awaited_calls_outlast_a_rotation(
    rotated: Rotated, cls: type[AsyncParameterStore | AsyncSecretsManager]
) -> None:
    """Fifty callers, two rotations: every call succeeds, the secret is read once for each."""
    path = PATH if cls is AsyncParameterStore else PATH[1:]
    async with cls() as store:

        @store.refresh_on(redis.AuthenticationError, path=path)
        async def count(secret: dict[str, str], name: str) -> int:
            async with redis.asyncio.Redis(**rotated.options(secret)) as client:
                found: int = await client.incr(name)
                return found

        async def burst() -> list[int]:
            return sorted(await asyncio.gather(*(count(name="calls") for _ in range(50))))

        assert await burst() == list(range(1, 51))
        assert rotated.reads() == 1
        rotated.rotate(NEW)
        assert await burst() == list(range(51, 101))
        assert rotated.reads() == 1
        assert await burst() == list(range(101, 151))
        assert rotated.reads() == 0
        assert await store.get(path) == NEW


@pytest.mark.parametrize("cls", [ParameterStore, SecretsManager])
def test_blocking_calls_outlast_a_rotation(
    rotated: Rotated, cls: type[ParameterStore | SecretsManager]
) -> None:
    """Eight threads: the same."""
    path = PATH if cls is ParameterStore else PATH[1:]
    with cls() as store, ThreadPoolExecutor(8) as pool:

        @store.refresh_on(redis.AuthenticationError, path=path)
        def count(secret: dict[str, str], name: str) -> Any:
            with redis.Redis(**rotated.options(secret)) as client:
                return client.incr(name)

        assert sorted(pool.map(count, ["calls"] * 40)) == list(range(1, 41))
        rotated.reads()
        rotated.rotate(NEW)
        assert sorted(pool.map(count, ["calls"] * 40)) == list(range(41, 81))
        assert rotated.reads() == 1


async def test_a_password_that_is_wrong_in_the_store_too(rotated: Rotated) -> None:
    """The server's own error is raised, and AWS is asked once."""
    async with AsyncParameterStore() as store:

        @store.refresh_on(redis.AuthenticationError, path=PATH)
        async def ping(secret: dict[str, str]) -> Any:
            async with redis.asyncio.Redis(**rotated.options(secret)) as client:
                return await client.ping()

        assert await ping()
        rotated.server.command("ACL", "SETUSER", "app", "resetpass", ">fake-unknown")
        rotated.reads()
        with pytest.raises(redis.AuthenticationError):
            await ping()
        assert rotated.reads() == 1


async def test_a_connection_is_made_anew_when_the_secret_changes(rotated: Rotated) -> None:
    """`watch` tells a pool's owner of each new password, which the server then takes."""
    seen = []
    async with AsyncParameterStore() as store:
        await store.get(PATH)
        changes = store.watch(PATH, interval=0.02)
        for to in (NEW, NEWER):
            rotated.rotate(to)
            secret = await anext(changes)
            async with redis.asyncio.Redis(**rotated.options(secret)) as client:
                assert await client.ping()
            seen.append(secret)

    assert seen == [NEW, NEWER]
