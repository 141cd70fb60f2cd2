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
    from collections.abc import Awaitable, Callable

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
        """Do a whole rotation at once; old connections end."""
        self.change_store(to)
        self.change_server(to)

    def change_store(self, to: dict[str, str]) -> None:
        self.aws.seed({"aws.ps": {PATH: to}, "aws.sm": {PATH[1:]: to}})

    def change_server(self, to: dict[str, str], *, forgets: bool = True) -> None:
        """Let the server take a password, and no other one unless it does not forget them."""
        passwords = ["resetpass"] * forgets + [f">{to['password']}"]
        user = ["ACL", "SETUSER", "app", "on", *passwords, "~*", "+@all"]
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


def pinging(store: AsyncParameterStore, rotated: Rotated) -> Callable[[], Awaitable[Any]]:
    """Return a call of the server with the password in the store."""

    @store.refresh_on(redis.AuthenticationError, path=PATH)
    async def ping(secret: dict[str, str]) -> Any:
        async with redis.asyncio.Redis(**rotated.options(secret)) as client:
            return await client.ping()

    return ping


async def test_a_password_that_is_wrong_in_the_store_too(rotated: Rotated) -> None:
    """The server's own error is raised, and AWS is asked once."""
    async with AsyncParameterStore() as store:
        ping = pinging(store, rotated)
        assert await ping()
        rotated.server.command("ACL", "SETUSER", "app", "resetpass", ">fake-unknown")
        rotated.reads()
        with pytest.raises(redis.AuthenticationError):
            await ping()
        assert rotated.reads() == 1


async def test_the_server_is_changed_before_the_store(rotated: Rotated) -> None:
    """In between calls fail, with one read a second; a call that is repeated later succeeds."""
    async with AsyncParameterStore() as store:
        ping = pinging(store, rotated)
        assert await ping()
        rotated.reads()
        rotated.change_server(NEW)
        failed = await asyncio.gather(*(ping() for _ in range(20)), return_exceptions=True)
        assert {type(one) for one in failed} == {redis.AuthenticationError}
        assert rotated.reads() == 1
        rotated.change_store(NEW)
        with pytest.raises(redis.AuthenticationError):
            await ping()  # the read of those that failed is shared for a second
        assert rotated.reads() == 0
        store.rotation.forget()  # as if it had passed
        assert all(await asyncio.gather(*(ping() for _ in range(20))))
        assert rotated.reads() == 1


async def test_both_passwords_are_valid_for_a_while(rotated: Rotated) -> None:
    """No call fails, whether it uses the old one or the new one."""
    async with AsyncParameterStore() as store:
        ping = pinging(store, rotated)
        assert await ping()
        rotated.change_server(NEW, forgets=False)
        assert await ping()
        rotated.change_store(NEW)
        assert await ping()
        rotated.change_server(NEW)  # the old one is removed
        assert await ping()
        assert await store.get(PATH) == NEW


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
