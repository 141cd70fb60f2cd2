"""Caches by URL, on real servers of every form: what one process has read, others need not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from _support.deployments import FORMS, Deployment
from _support.wire import Wire, parameter

from s1crets.providers.aws import AsyncParameterStore

NAMES = [f"/fleet/{i}" for i in range(30)]


@pytest.fixture
def answering(scripted: Wire) -> Wire:
    """Return a server that has every parameter, whose value is its name."""

    def many(asked: Any) -> Any:
        return {"Parameters": [{"Name": name, "Value": name} for name in asked.body["Names"]]}

    scripted.answers = {
        "GetParameter": lambda asked: parameter(asked.body["Name"], asked.body["Name"]),
        "GetParameters": many,
        "GetParametersByPath": {"Parameters": [{"Name": "/p/a", "Value": "v"}]},
        "DescribeParameters": {"Parameters": [{"Name": "/fleet/1", "Type": "String"}]},
        "PutParameter": {"Version": 2},
    }
    return scripted


@pytest.mark.parametrize("key", [{}, {"cache_key": b"k" * 32}], ids=["plain", "encrypted"])
@pytest.mark.parametrize("deployment", FORMS, indirect=True)
async def test_what_one_has_read_another_need_not(
    answering: Wire, deployment: Deployment, caplog: pytest.LogCaptureFixture, key: Any
) -> None:
    """Secrets, many at once, and paths; updates are seen; nothing is warned about."""
    args: Any = {"backend": deployment.url, "namespace": "n", **key}
    async with AsyncParameterStore(cache_args=args) as one:
        assert list((await one.get_many(NAMES)).values()) == NAMES
        assert await one.get("/single") == "/single"
        assert await one.get_by_path("/p") == {"/p/a": "v"}
    before = len(answering.asked)
    async with AsyncParameterStore(cache_args=args) as two:
        assert list((await two.get_many(NAMES)).values()) == NAMES
        assert await asyncio.gather(*map(two.get, [*NAMES, "/single"])) == [*NAMES, "/single"]
        assert await two.get_by_path("/p") == {"/p/a": "v"}
        assert len(answering.asked) == before
        await two.update("/fleet/1", "new")
    answering.answers["GetParameter"] = parameter("/fleet/1", "new")
    async with AsyncParameterStore(cache_args=args) as three:
        assert await three.get("/fleet/1") == "new"

    assert caplog.text == ""
