"""get_by_path(parallel=True): the same result with fewer round trips, and without a permission."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Asked, Wire, parameter, refusal

import s1crets
from s1crets import aio
from s1crets._circuit_breaker import Backoff
from s1crets.providers.aws import AsyncParameterStore
from s1crets.providers.files import Files
from s1crets.testing.faults import actions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s1crets.providers.aws import ParameterStore, SecretsManager
    from s1crets.testing import LocalAws

NAMES = [f"/p/{number}" for number in range(25)]
VALUES = {name: f"fake-{name}" for name in NAMES}
BY_PATH, LISTING, BATCHES = "GetParametersByPath", "DescribeParameters", "GetParameters"


def one(name: str) -> dict[str, Any]:
    found: dict[str, Any] = parameter(name, f"fake-{name}", Version=3)["Parameter"]
    return found


def listing(asked: Asked) -> dict[str, Any]:
    """Answer DescribeParameters: twenty names per page."""
    start = int(asked.body.get("NextToken", 0))
    found = {"Parameters": [{"Name": name, "Type": "String"} for name in NAMES[start : start + 20]]}
    return found | ({"NextToken": str(start + 20)} if start + 20 < len(NAMES) else {})


def batch(asked: Asked) -> dict[str, Any]:
    """Answer GetParameters, not in order."""
    return {"Parameters": [one(name) for name in reversed(asked.body["Names"])]}


def pages(asked: Asked) -> dict[str, Any]:
    """Answer GetParametersByPath: one page."""
    under = asked.body["Path"].rstrip("/") + "/"
    return {"Parameters": [one(name) for name in NAMES if name.startswith(under)]}


@pytest.fixture
def listed(scripted: Wire) -> Wire:
    """Return an AWS with 25 parameters."""
    scripted.answers = {
        LISTING: listing,
        BATCHES: batch,
        "GetParameter": lambda asked: {"Parameter": one(asked.body["Name"])},
        BY_PATH: pages,
    }
    return scripted


class TestRequests:
    """What is requested, and what becomes of it."""

    async def test_names_are_listed_and_read_in_batches(
        self, ps: AsyncParameterStore, listed: Wire
    ) -> None:
        """Fifty names per listing, ten per batch; the path is a filter."""
        assert await ps.get_by_path("/p", parallel=True) == VALUES

        assert ps.stats.requests == {LISTING: 2, BATCHES: 3}
        first, _ = listed.bodies(LISTING)
        assert first == {
            "ParameterFilters": [{"Key": "Path", "Option": "Recursive", "Values": ["/p"]}],
            "MaxResults": 50,
        }
        sent = listed.bodies(BATCHES)
        assert sorted(name for body in sent for name in body["Names"]) == sorted(NAMES)
        assert all(body["WithDecryption"] for body in sent)

    async def test_batches_are_concurrent(self, ps: AsyncParameterStore, listed: Wire) -> None:
        """Each is answered only when all of them have arrived."""
        arrived = threading.Barrier(3, timeout=60)

        def together(asked: Asked) -> dict[str, Any]:
            arrived.wait()
            return batch(asked)

        listed.answers[BATCHES] = together

        assert await ps.get_by_path("/p", parallel=True) == VALUES

    async def test_names_are_read_while_more_are_listed(
        self, ps: AsyncParameterStore, listed: Wire
    ) -> None:
        """The last page of names is answered only when a batch has arrived."""
        arrived = threading.Event()

        def late(asked: Asked) -> dict[str, Any]:
            found = listing(asked)
            assert "NextToken" in found or arrived.wait(60)
            return found

        def first(asked: Asked) -> dict[str, Any]:
            arrived.set()
            return batch(asked)

        listed.answers |= {LISTING: late, BATCHES: first}

        assert await ps.get_by_path("/p", parallel=True) == VALUES

    async def test_options_of_the_request(self, ps: AsyncParameterStore, listed: Wire) -> None:
        """One level is a filter too; / needs none, since it also has names without a slash."""
        await ps.get_by_path("/p", parallel=True, recursive=False, decrypt=False)
        await ps.get_by_path("/", parallel=True)
        filters = [body["ParameterFilters"] for body in listed.bodies(LISTING)[::2]]

        assert filters == [[{"Key": "Path", "Option": "OneLevel", "Values": ["/p"]}], []]
        assert {body["WithDecryption"] for body in listed.bodies(BATCHES)[:3]} == {False}

    @pytest.mark.usefixtures("listed")
    async def test_it_is_one_entry_with_and_without(self, ps: AsyncParameterStore) -> None:
        """Of the path, and of each secret in it; concurrent calls share a fetch."""
        ways = (ps.get_by_path("/p", parallel=how) for how in (True, False))
        assert list(await asyncio.gather(*ways)) == [VALUES] * 2
        assert [await ps.get_by_path("/p", parallel=how) for how in (True, False)] == [VALUES] * 2
        assert ps.peek("/p/7") == "fake-/p/7"
        assert ps.get_by_path_local("/p", parallel=True, relative=True)["7"] == "fake-/p/7"

        assert BY_PATH not in ps.stats.requests
        await ps.invalidate("/p/7")
        await ps.get_by_path("/p")
        assert ps.stats.requests[BY_PATH] == 1

    async def test_names_that_are_gone_or_elsewhere_are_left_out(
        self, ps: AsyncParameterStore, listed: Wire
    ) -> None:
        """Deleted between the listing and the batch, the path's own name, or outside of it."""
        names = ["/p", "/p/a", "/p/gone", "/q", "/p/b/c"]
        listed.answers[LISTING] = {"Parameters": [{"Name": name} for name in names]}

        def without_one(asked: Asked) -> dict[str, Any]:
            there = [name for name in asked.body["Names"] if name != "/p/gone"]
            return {"Parameters": [one(n) for n in there], "InvalidParameters": ["/p/gone"]}

        listed.answers[BATCHES] = without_one
        found = await ps.get_by_path("/p", parallel=True)
        one_level = await ps.get_by_path("/p", parallel=True, recursive=False)

        assert found == {name: f"fake-{name}" for name in ("/p/a", "/p/b/c")}
        assert one_level == {"/p/a": "fake-/p/a"}

    async def test_nothing_is_under_the_path(self, ps: AsyncParameterStore, listed: Wire) -> None:
        """One request shows that."""
        listed.answers[LISTING] = {"Parameters": []}

        assert await ps.get_by_path("/p", parallel=True) == {}
        assert ps.stats.requests == {LISTING: 1}

    async def test_what_a_batch_leaves_out_is_requested_singly(
        self, ps: AsyncParameterStore, listed: Wire
    ) -> None:
        """It may exist."""
        listed.answers[BATCHES] = {"Parameters": []}

        assert await ps.get_by_path("/p", parallel=True) == VALUES
        assert ps.stats.requests == {LISTING: 2, BATCHES: 3, "GetParameter": 25}


class TestPages:
    """Where pages of ten are read all the same."""

    @pytest.mark.parametrize(
        ("operation", "code"),
        [
            (LISTING, "AccessDeniedException"),
            (LISTING, "ThrottlingException"),
            (BATCHES, "AccessDeniedException"),
            (BATCHES, "InvalidKeyId"),
        ],
    )
    async def test_after_a_refusal(
        self,
        listed: Wire,
        caplog: pytest.LogCaptureFixture,
        operation: str,
        code: str,
    ) -> None:
        """The result is that of the pages. It is remembered, and logged once."""
        listed.answers[operation] = refusal(code)
        async with AsyncParameterStore(retry=1) as ps:
            for _ in range(3):
                assert await ps.get_by_path("/p", parallel=True, cached=False) == VALUES

            assert listed.count(BY_PATH) == 3
            requests = listed.count(LISTING)
            assert "GetParameter" not in ps.stats.requests
            ps.forget_failures()
            await ps.get_by_path("/p", parallel=True, cached=False)
            assert listed.count(LISTING) == requests * 2
        record, _ = caplog.records
        assert (record.name, record.levelno) == ("s1crets", logging.WARNING)
        assert "'/p'" in record.getMessage()
        assert code in record.getMessage()

    async def test_a_refused_listing_concerns_all_paths(
        self, ps: AsyncParameterStore, listed: Wire
    ) -> None:
        """Refused values only their own."""
        listed.answers[BATCHES] = refusal("AccessDeniedException")
        await ps.get_by_path("/p", parallel=True)
        listed.answers[BATCHES] = batch
        await ps.get_by_path("/p", parallel=True, recursive=False)
        assert listed.count(BATCHES) == 3
        await ps.get_by_path("/", parallel=True)
        assert listed.count(BATCHES) == 6
        listed.answers[LISTING] = refusal("AccessDeniedException")
        await ps.get_by_path("/", parallel=True, cached=False)
        before = listed.count(LISTING)
        await ps.get_by_path("/p/1", parallel=True)

        assert listed.count(LISTING) == before

    @pytest.mark.parametrize(
        ("operation", "code", "error"),
        [
            (LISTING, "InternalServerError", s1crets.UnavailableError),
            (BATCHES, "InternalServerError", s1crets.UnavailableError),
            (BATCHES, "ExpiredTokenException", s1crets.CredentialsError),
        ],
    )
    async def test_not_after_an_outage(
        self, listed: Wire, operation: str, code: str, error: Any
    ) -> None:
        """Pages would fail as well."""
        listed.answers[operation] = refusal(code, status=500 if "Server" in code else 400)
        async with AsyncParameterStore(retry=1) as ps:
            with pytest.raises(error, match=operation):
                await ps.get_by_path("/p", parallel=True)

            assert BY_PATH not in ps.stats.requests

    async def test_a_success_ends_it(
        self, ps: AsyncParameterStore, listed: Wire, caplog: pytest.LogCaptureFixture
    ) -> None:
        """After a minute, or more if it was refused repeatedly; then it starts with a minute."""
        now = 0.0
        ps._store.refused = Backoff(60, 3600, timer=lambda: now)  # type: ignore[attr-defined]
        for operation, fake in ((LISTING, listing), (BATCHES, batch)):
            for _ in range(2):
                listed.answers[operation] = refusal("AccessDeniedException")
                await ps.get_by_path("/p", parallel=True, cached=False)
                now += 61
                listed.answers[operation] = fake
                before = listed.count(BY_PATH)
                await ps.get_by_path("/p", parallel=True, cached=False)
                assert listed.count(BY_PATH) == before

        assert len(caplog.records) == 4

    async def test_it_is_tried_again_ever_more_rarely(
        self, ps: AsyncParameterStore, listed: Wire, caplog: pytest.LogCaptureFixture
    ) -> None:
        """After one minute, then after two; that is logged once."""
        now = 0.0
        ps._store.refused = Backoff(60, 3600, timer=lambda: now)  # type: ignore[attr-defined]
        listed.answers[LISTING] = refusal("AccessDeniedException")
        tried = []
        for moment in (0.0, 59.0, 61.0, 180.0, 182.0):
            now = moment
            await ps.get_by_path("/p", parallel=True, cached=False)
            tried.append(listed.count(LISTING))

        assert tried == [1, 1, 2, 2, 3]
        assert len(caplog.records) == 1

    async def test_the_error_is_that_of_the_pages(
        self, ps: AsyncParameterStore, listed: Wire
    ) -> None:
        """A value that can't be decrypted fails the path, with and without."""
        listed.answers.update(dict.fromkeys((BATCHES, BY_PATH), refusal("InvalidKeyId")))
        for parallel in (True, False):
            with pytest.raises(s1crets.DecryptionError, match=f"{BY_PATH} '/p'"):
                await ps.get_by_path("/p", parallel=parallel)

    @pytest.mark.parametrize("options", [{"label": "live"}, {"path": "/aws/service"}])
    async def test_of_what_aws_does_not_list(
        self, ps: AsyncParameterStore, listed: Wire, options: dict[str, Any]
    ) -> None:
        """Labelled versions and public parameters."""
        listed.answers[BY_PATH] = {"Parameters": []}
        await ps.get_by_path(**{"path": "/p", "parallel": True, **options})

        assert ps.stats.requests == {BY_PATH: 1}


class TestLocalAws:
    """With and without, on the same parameters."""

    @pytest.mark.parametrize(
        "options",
        [{}, {"recursive": False}, {"raw": True}, {"relative": True}, {"decrypt": False}],
        ids=str,
    )
    async def test_the_result_is_the_same(
        self, ps: AsyncParameterStore, ssm: Any, top: str, options: dict[str, Any]
    ) -> None:
        """All types, JSON, several levels; in every path, also / and the name of a parameter."""
        values = {"": "own", "/text": "fake", "/json": '{"a": [1]}', "/deep/er": "fake"}
        for name, value in values.items():
            ssm.put_parameter(Name=top + name, Value=value, Type="SecureString")
        ssm.put_parameter(Name=f"{top}/list", Value="a,b", Type="StringList")
        ssm.put_parameter(Name=f"{top}x", Value="fake", Type="String")
        for path in (top, f"{top}/deep", f"{top}/text", "/"):
            found = [
                await ps.get_by_path(path, parallel=how, cached=False, **options)
                for how in (True, False)
            ]
            assert found[0] == found[1]
            assert found[0] or path == f"{top}/text"

    async def test_needed_actions(
        self, ps: AsyncParameterStore, s1crets_aws: LocalAws, top: str
    ) -> None:
        """Those of docs/reference/permissions.md: not that for reading a path."""
        s1crets_aws.seed({"aws.ps": {f"{top}/{number}": "fake" for number in range(11)}})
        needed = {"ssm:DescribeParameters", "ssm:GetParameters", "ssm:GetParameter"}
        for action in actions("ssm:*") - needed:
            s1crets_aws.deny(action)

        assert len(await ps.get_by_path(top, parallel=True)) == 11

    @pytest.mark.parametrize("denied", ["DescribeParameters", "GetParameters", "GetParameter"])
    async def test_without_one_of_them(
        self, ps: AsyncParameterStore, s1crets_aws: LocalAws, top: str, denied: str
    ) -> None:
        """Reading a path is enough."""
        s1crets_aws.seed({"aws.ps": {f"{top}/{number}": "fake" for number in range(11)}})
        s1crets_aws.deny(f"ssm:{denied}")

        assert len(await ps.get_by_path(top, parallel=True)) == 11
        assert ps.stats.requests[BY_PATH] == 2

    def test_the_other_forms(
        self, ssm: Any, top: str, blocking_ps: ParameterStore, sm_and_files: list[Any]
    ) -> None:
        """Blocking and at module level; a `TypeError` of other providers names the argument."""
        ssm.put_parameter(Name=f"{top}/a", Value="fake", Type="String")
        reads: list[Callable[[], Any]] = [
            lambda: blocking_ps.get_by_path(top, parallel=True),
            lambda: s1crets.get_by_path("aws.ps", top, parallel=True),
            lambda: asyncio.run(in_loop(top)),
        ]
        for read in reads:
            assert read() == {f"{top}/a": "fake"}
        assert blocking_ps.stats.requests == {LISTING: 1, "GetParameter": 1}
        for provider in sm_and_files:
            with pytest.raises(TypeError, match="parallel"):
                provider.get_by_path("a", parallel=True)


async def in_loop(top: str) -> Any:
    return await aio.get_by_path("aws.ps", top, parallel=True, cached=False)


@pytest.fixture
def sm_and_files(tmp_path: Path, blocking_sm: SecretsManager) -> Any:
    with Files(folder=tmp_path) as files:
        yield [blocking_sm, files]
