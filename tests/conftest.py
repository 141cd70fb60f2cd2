"""The fixtures that several files share: a real AWS on loopback, and providers that talk to it."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from _support.leftovers import left_on
from _support.wire import Wire, wire
from blockbuster import blockbuster_ctx

from s1crets import _sync, providers
from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    SecretsManager,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from s1crets.testing import LoopbackAws

pytest_plugins = ["_support.servers"]  # the fixture `redis`


@pytest.fixture(autouse=True)
def environment(
    s1crets_aws: LoopbackAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Every test sees an AWS on loopback, and nothing of this machine's own settings."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):  # HOME has its own
        monkeypatch.delenv(name)
    settings = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return {**s1crets_aws.environment, **settings}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run on asyncio, which aiobotocore is made for; on uvloop if S1CRETS_TEST_LOOP is `uvloop`."""
    return "asyncio", {"use_uvloop": os.environ.get("S1CRETS_TEST_LOOP") == "uvloop"}


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop() -> Iterator[None]:
    """Fail a test in which something blocks the event loop."""
    with blockbuster_ctx("s1crets") as blockbuster:
        # A disk cache is read where it is asked for: 5 µs, where a thread takes 130 µs.
        for name, function in blockbuster.functions.items():
            if name.startswith(("sqlite3.", "os.stat")):
                function.can_block_in("s1crets/cache/backends/_sqlite.py", "read")
            # aiobotocore reads the credentials file where it looks for credentials: 0.1 ms, once.
            if name.startswith(("threading.", "lock")):  # coverage's own
                function.can_block_in("coverage/collector.py", "lock_data")
            if name.startswith(("io.", "os.stat")):
                function.can_block_in("botocore/configloader.py", "raw_config_parse")
        yield


@pytest.fixture(autouse=True)
async def _nothing_is_left_on_the_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Fail a test after which one of its tasks runs on, or a connection of its loop is open."""
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    before = {current, *left_on(loop)}
    yield
    # What was closed takes some turns of the loop to go.
    own = {*before, asyncio.current_task()}
    until = time.monotonic() + 3
    while (left := [one for one in left_on(loop) if one not in own]) and time.monotonic() < until:
        await asyncio.sleep(0.01)
    assert not left


@pytest.fixture(autouse=True)
def _nothing_is_left_on_the_portal(environment: dict[str, str]) -> Iterator[None]:
    """Fail a test after which the facades' thread has something to do, or open connections."""
    yield
    providers.reset()
    loop = _sync._portal._loop
    until = time.monotonic() + 3
    while loop and (left := left_on(loop)):
        assert time.monotonic() < until, left
        time.sleep(0.01)


@pytest.fixture
def ssm(environment: dict[str, str]) -> Any:
    """Another client of the same Parameter Store."""
    return boto3.client("ssm")


@pytest.fixture
def asm(environment: dict[str, str]) -> Any:
    """Another client of the same Secrets Manager."""
    return boto3.client("secretsmanager")


@pytest.fixture
def top() -> str:
    """Return a path that no other test uses."""
    return f"/t{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def ps(anyio_backend: object) -> AsyncIterator[AsyncParameterStore]:
    """Yield a Parameter Store, closed at the end."""
    async with AsyncParameterStore() as provider:
        yield provider


@pytest.fixture
async def sm(anyio_backend: object) -> AsyncIterator[AsyncSecretsManager]:
    """Yield a Secrets Manager, closed at the end."""
    async with AsyncSecretsManager() as provider:
        yield provider


@pytest.fixture
def blocking_ps() -> Iterator[ParameterStore]:
    """Yield a blocking Parameter Store, closed at the end."""
    with ParameterStore() as provider:
        yield provider


@pytest.fixture
def blocking_sm() -> Iterator[SecretsManager]:
    """Yield a blocking Secrets Manager, closed at the end."""
    with SecretsManager() as provider:
        yield provider


@pytest.fixture
def scripted(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Yield a server that answers as the test says, and point everything at it."""
    with wire() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server
