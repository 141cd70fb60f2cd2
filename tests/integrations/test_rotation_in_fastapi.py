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


def test_the_pool_follows(example: dict[str, Any], writer: ParameterStore) -> None:
    """Before a query fails: `watch` reads past the cache."""
    example["app"].state.interval = 0.01

    async def run() -> None:
        async with example["lifetime"](example["app"]):
            assert example["pool"].password == "fake-1"
            await asyncio.to_thread(
                writer.update, "/prod/db", {"user": "app", "password": "fake-2"}
            )
            async with asyncio.timeout(30):
                while example["pool"].password != "fake-2":
                    await asyncio.sleep(0.01)

    asyncio.run(run())
