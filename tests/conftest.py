"""The fixtures that several files share: a real AWS on loopback, and providers that talk to it."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from blockbuster import blockbuster_ctx
from wire import Wire, wire

from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    SecretsManager,
)
from s1crets.testing import loopback_aws

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def _moto() -> Iterator[dict[str, str]]:
    with loopback_aws() as environment:
        yield environment


@pytest.fixture(autouse=True)
def environment(
    _moto: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Every test sees an AWS on loopback, and nothing of this machine's own settings."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    settings = {**_moto, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    settings["AWS_EC2_METADATA_DISABLED"] = "true"
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio, which is what aiobotocore is made for."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop() -> Iterator[None]:
    """Fail a test in which something blocks the event loop."""
    with blockbuster_ctx("s1crets") as blockbuster:
        # A disk cache is read where it is asked for: 5 µs, where a thread takes 130 µs.
        for name, function in blockbuster.functions.items():
            if name.startswith(("sqlite3.", "os.stat")):
                function.can_block_in("s1crets/cache/disk.py", "peek")
            # aiobotocore reads the credentials file where it looks for credentials: 0.1 ms, once.
            if name.startswith(("io.", "os.stat")):
                function.can_block_in("botocore/configloader.py", "raw_config_parse")
        yield


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
async def ps(anyio_backend: str) -> AsyncIterator[AsyncParameterStore]:
    """Yield a Parameter Store, closed at the end."""
    async with AsyncParameterStore() as provider:
        yield provider


@pytest.fixture
async def sm(anyio_backend: str) -> AsyncIterator[AsyncSecretsManager]:
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
