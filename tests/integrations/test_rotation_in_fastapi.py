"""The example of a FastAPI app whose database password is rotated."""

from __future__ import annotations

import asyncio
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from s1crets.providers.aws import ParameterStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s1crets.testing import LocalAws

EXAMPLE = Path(__file__).parents[2] / "docs" / "rotation_in_fastapi.py"
ANSWER = {"user": "app", "result": "select 1 as app"}


@pytest.fixture
def example(s1crets_aws: LocalAws) -> dict[str, Any]:
    """The names of the example's module; another process writes its secret."""
    s1crets_aws.seed({"aws.ps": {"/prod/db": {"user": "app", "password": "fake-1"}}})
    return runpy.run_path(str(EXAMPLE))


@pytest.fixture
def writer() -> Iterator[ParameterStore]:
    """A provider with a cache of its own, as another process has."""
    with ParameterStore() as ps:
        yield ps


def test_no_request_fails(example: dict[str, Any], writer: ParameterStore) -> None:
    """The rejected password is read again, and the `Secret` of the next request is new too."""
    pool = example["pool"]
    with TestClient(example["app"]) as client:
        assert client.get("/").json() == ANSWER
        writer.update("/prod/db", {"user": "other", "password": "fake-2"})
        pool.accepted = "fake-2"
        first, second = client.get("/").json(), client.get("/").json()

    assert first == {"user": "app", "result": "select 1 as other"}
    assert second == {"user": "other", "result": "select 1 as other"}


@pytest.mark.parametrize("is_finished", [True, False])
def test_the_database_is_changed_before_aws(
    example: dict[str, Any], s1crets_aws: LocalAws, *, is_finished: bool
) -> None:
    """The request waits until the rotation is finished; the error of one that never is remains."""
    example["pool"].accepted = "fake-2"

    def pauses() -> Iterator[float]:
        yield 0
        if is_finished:
            s1crets_aws.seed({"aws.ps": {"/prod/db": rotated("fake-2")}})
        example["ps"].rotation.forget()  # as if a second had passed
        yield 0

    example["app"].state.pauses = pauses()
    with TestClient(example["app"], raise_server_exceptions=False) as client:
        assert client.get("/").status_code == (200 if is_finished else 500)


def test_the_pool_follows(example: dict[str, Any], writer: ParameterStore) -> None:
    """Before a query fails: `watch` reads past the cache."""
    example["app"].state.interval = 0.01

    async def run() -> None:
        async with example["lifetime"](example["app"]):
            assert example["pool"].password == "fake-1"
            await asyncio.to_thread(writer.update, "/prod/db", rotated("fake-2"))
            await followed(example, "fake-2")

    asyncio.run(run())


def test_the_pool_follows_a_secret_that_was_deleted(
    example: dict[str, Any], writer: ParameterStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It keeps its password meanwhile, and that is logged."""
    example["app"].state.interval = 0.01

    async def run() -> None:
        async with example["lifetime"](example["app"]):
            await asyncio.to_thread(writer.delete, "/prod/db")
            async with asyncio.timeout(30):
                while "the pool keeps its password" not in caplog.text:
                    await asyncio.sleep(0.01)
            assert example["pool"].password == "fake-1"
            await asyncio.to_thread(writer.put, "/prod/db", rotated("fake-2"))
            await followed(example, "fake-2")

    asyncio.run(run())


def rotated(password: str) -> dict[str, str]:
    """Return the secret with another password."""
    return {"user": "app", "password": password}


async def followed(example: dict[str, Any], password: str) -> None:
    """Wait until the pool has a password."""
    async with asyncio.timeout(30):
        while example["pool"].password != password:
            await asyncio.sleep(0.01)
