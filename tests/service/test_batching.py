"""Concurrent reads are batched, and the callers see no difference."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import HANG_UP, Asked, Wire, parameter, refusal

import s1crets
from s1crets.cache import DiskCache
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s1crets.cache import CacheArgs

NAMES = [f"/n/{i}" for i in range(25)]
ARN = "arn:aws:ssm:eu-west-1:123456789012:parameter/n/1"


def single(asked: Asked) -> Any:
    """Answer GetParameter; the value is made of the name."""
    return parameter(asked.body["Name"], f"v{asked.body['Name']}")


def many(asked: Asked) -> Any:
    """Answer GetParameters, not in order; names that end with `x` don't exist."""
    found = [name for name in reversed(asked.body["Names"]) if not name.endswith("x")]
    return {
        "Parameters": [{"Name": name, "Value": f"v{name}"} for name in found],
        "InvalidParameters": [name for name in asked.body["Names"] if name.endswith("x")],
    }


@pytest.fixture
def ssm_wire(scripted: Wire) -> Wire:
    scripted.answers.update(GetParameter=single, GetParameters=many)
    return scripted


@pytest.mark.parametrize("how", ["gets", "get_many"])
async def test_names_of_one_tick_are_sent_together(
    ps: AsyncParameterStore, ssm_wire: Wire, how: str
) -> None:
    """There are ten names per request; each caller gets its own value."""
    if how == "gets":
        found = await asyncio.gather(*map(ps.get, NAMES))
    else:
        found = list((await ps.get_many(NAMES)).values())

    assert found == [f"v{name}" for name in NAMES]
    assert sorted(len(body["Names"]) for body in ssm_wire.bodies("GetParameters")) == [5, 10, 10]
    assert ps.stats.requests == {"GetParameters": 3}
    assert (ps.stats.hits, ps.stats.misses) == (0, 25)
    await ps.get_many(NAMES)
    assert (ps.stats.hits, ps.stats.misses) == (25, 25)


async def test_get_many_takes_two_tasks_for_each_request(
    ps: AsyncParameterStore, ssm_wire: Wire
) -> None:
    """It takes none for each name: one reads the names of a request, one sends it."""
    tasks: list[str] = []

    def start(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        if coroutine.cr_frame.f_globals["__name__"].startswith("s1crets."):
            tasks.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    await ps.get("/n/first")
    asyncio.get_running_loop().set_task_factory(start)
    try:
        found = await ps.get_many(f"/n/{number}" for number in range(200))
    finally:
        asyncio.get_running_loop().set_task_factory(None)

    assert len(found) == 200
    assert len(tasks) == 2 * ssm_wire.count("GetParameters") == 40, sorted(set(tasks))


async def test_a_single_name_is_a_single_request(ps: AsyncParameterStore, ssm_wire: Wire) -> None:
    """It needs no permission for batches."""
    await ps.get("/n/1")
    await ps.get_many(["/n/2"])

    assert ps.stats.requests == {"GetParameter": 2}


async def test_decryption_is_kept_apart(ps: AsyncParameterStore, ssm_wire: Wire) -> None:
    """It applies to a whole request."""
    await asyncio.gather(
        *(ps.get(name, decrypt=decrypt) for name in NAMES[:4] for decrypt in (True, False))
    )

    sent = {body["WithDecryption"]: body["Names"] for body in ssm_wire.bodies("GetParameters")}
    assert sent == {True: NAMES[:4], False: NAMES[:4]}


async def test_a_missing_name_has_its_own_error(ps: AsyncParameterStore, ssm_wire: Wire) -> None:
    """The error has its own name in the message, as of a single request."""
    found = await ps.get_many(["/a", "/x", "/b"], errors="return")
    assert (found["/a"], found["/b"]) == ("v/a", "v/b")
    assert isinstance(found["/x"], s1crets.SecretNotFoundError)
    assert "'/x'" in str(found["/x"])

    with pytest.raises(s1crets.BatchError) as caught:
        await ps.get_many(["/c", "/x"])
    assert caught.value.values == {"/c": "v/c"}
    assert set(caught.value.errors) == {"/x"}


async def test_selectors_and_arns_are_found_by_what_aws_calls_them(
    ps: AsyncParameterStore, ssm_wire: Wire
) -> None:
    """The response has the parameter's own name and, separately, the selector or the ARN."""
    ssm_wire.answers["GetParameters"] = {
        "Parameters": [
            {"Name": "/n/1", "ARN": ARN, "Value": "by arn"},
            {"Name": "/n/1", "Selector": ":3", "ARN": f"{ARN}:3", "Value": "by version"},
            {"Name": "/n/1", "Selector": ":live", "ARN": ARN, "Value": "by label"},
        ],
        "InvalidParameters": ["/n/1:9"],
    }
    ssm_wire.answers["GetParameter"] = refusal("ParameterVersionNotFound")
    names = [ARN, "/n/1:3", "/n/1:live", "/n/1:9"]
    found = await ps.get_many(names, errors="return")

    assert [found[name] for name in names[:3]] == ["by arn", "by version", "by label"]
    assert isinstance(found["/n/1:9"], s1crets.SecretNotFoundError)
    assert ssm_wire.count("GetParameters") == 1


async def test_selectors_do_not_mix_with_plain_names(
    ps: AsyncParameterStore, ssm_wire: Wire
) -> None:
    """`/a` and `/a:1` could not be told apart in a response."""
    await ps.get_many(["/a", "/b", "/a:1", "/b:1"], errors="return")

    sent = [sorted(body["Names"]) for body in ssm_wire.bodies("GetParameters")]
    assert sorted(sent) == [["/a", "/b"], ["/a:1", "/b:1"]]


async def test_names_that_a_response_leaves_out_are_requested_singly(
    ps: AsyncParameterStore, ssm_wire: Wire
) -> None:
    """It may exist nevertheless."""
    ssm_wire.answers["GetParameters"] = {"Parameters": [{"Name": "/a", "Value": "v/a"}]}

    assert await ps.get_many(["/a", "/b"]) == {"/a": "v/a", "/b": "v/b"}
    assert ps.stats.requests == {"GetParameters": 1, "GetParameter": 1}


@pytest.mark.parametrize("code", ["ValidationException", "InvalidKeyId", "SomethingNew"])
async def test_one_bad_name_fails_only_itself(
    ps: AsyncParameterStore, ssm_wire: Wire, code: str
) -> None:
    """AWS refuses the whole request for it, so its names are requested singly."""

    def refuse(asked: Asked) -> Any:
        return refusal(code) if asked.body["Name"] == "/b d" else single(asked)

    ssm_wire.answers.update(GetParameters=refusal(code), GetParameter=refuse)
    found = await ps.get_many(["/a", "/b d", "/c"], errors="return")

    assert (found["/a"], found["/c"]) == ("v/a", "v/c")
    assert isinstance(found["/b d"], s1crets.S1cretsError)
    ssm_wire.answers["GetParameters"] = many
    await ps.get_many(["/d", "/e"])
    assert ssm_wire.count("GetParameters") == 2


async def test_a_denied_batch_operation_is_not_tried_again(
    ps: AsyncParameterStore, ssm_wire: Wire
) -> None:
    """Single reads have a permission of their own."""
    ssm_wire.answers["GetParameters"] = refusal("AccessDeniedException")

    assert await ps.get_many(["/a", "/b"]) == {"/a": "v/a", "/b": "v/b"}
    assert await ps.get_many(["/c", "/d"]) == {"/c": "v/c", "/d": "v/d"}
    assert ps.stats.requests == {"GetParameters": 1, "GetParameter": 4}


@pytest.mark.parametrize(
    ("alone", "error"),
    [
        (refusal("AccessDeniedException"), PermissionError),
        ({"Parameter": "none"}, s1crets.BadResponseError),  # it may be the denied one
    ],
)
async def test_batches_go_on_if_one_name_is_denied(
    ps: AsyncParameterStore, ssm_wire: Wire, alone: Any, error: type[Exception]
) -> None:
    """A batch with a denied name is denied as a whole."""

    def refuse(asked: Asked) -> Any:
        return alone if asked.body["Name"] == "/b" else single(asked)

    ssm_wire.answers.update(GetParameters=refusal("AccessDeniedException"), GetParameter=refuse)
    found = await ps.get_many(["/a", "/b"], errors="return")
    assert found["/a"] == "v/a"
    assert isinstance(found["/b"], error)

    ssm_wire.answers["GetParameters"] = many
    await ps.get_many(["/c", "/d"])
    assert ssm_wire.count("GetParameters") == 2


ALL: dict[str, tuple[Any, type[Exception]]] = {
    "hung up": (HANG_UP, ConnectionError),
    "failed": (refusal("InternalServerError", status=500), ConnectionError),
    "bad credentials": (refusal("UnrecognizedClientException"), s1crets.CredentialsError),
    "malformed": ({"Parameters": "none"}, s1crets.BadResponseError),
    "no text": ({"Parameters": [{"Name": "/a"}]}, s1crets.BadResponseError),
}


@pytest.mark.parametrize("kind", ALL)
async def test_an_error_of_the_whole_request_is_copied_for_each_name(
    ssm_wire: Wire, kind: str
) -> None:
    """No single requests follow; each name has its own error object; nothing is cached."""
    ssm_wire.answers["GetParameters"], error = ALL[kind]
    async with AsyncParameterStore(retry=1) as ps:
        found = await ps.get_many(["/a", "/b", "/c"], errors="return")
        assert len({id(one) for one in found.values()}) == 3
        for name, one in found.items():
            assert isinstance(one, error)
            assert repr(name) in str(one)
        assert ps.stats.requests == {"GetParameters": 1}
        ssm_wire.answers["GetParameters"] = many
        assert await ps.get_many(["/a", "/b"]) == {"/a": "v/a", "/b": "v/b"}


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize("is_denied_again", [False, True])
async def test_names_of_a_refused_batch_do_not_wait_for_each_other(
    ssm_wire: Wire, tmp_path: Path, place: str, *, is_denied_again: bool
) -> None:
    """A slow one holds back neither other callers nor what they store; nor do later requests."""
    go = threading.Event()
    ssm_wire.answers["GetParameters"] = refusal("AccessDeniedException")
    cache_args: CacheArgs = {"namespace": "n"}
    if place == "disk":
        cache_args["backend"] = DiskCache(tmp_path / "c")
    async with AsyncParameterStore(cache_args=cache_args) as ps:
        await ps.get("/warm")
        if is_denied_again:  # from then on there are no batches
            await ps.get_many(["/c", "/d"])
        ssm_wire.answers["GetParameter"] = lambda asked: (
            (go.wait(30) if asked.body["Name"] == "/slow" else True) and single(asked)
        )
        slow = asyncio.ensure_future(ps.get("/slow"))
        assert await ps.get_many(["/a", "/b"]) == {"/a": "v/a", "/b": "v/b"}
        assert ps.peek("/a") == "v/a"
        assert not slow.done()
        go.set()
        assert await slow == "v/slow"


async def test_uncached_reads_of_the_same_name_share_a_request(
    ps: AsyncParameterStore, ssm_wire: Wire
) -> None:
    """AWS takes no duplicates in a request, which was sent after both calls and answers both."""
    found = await asyncio.gather(*(ps.get(n, cached=False) for n in ("/a", "/a", "/b", "/b", "/a")))

    assert found == ["v/a", "v/a", "v/b", "v/b", "v/a"]
    assert [body["Names"] for body in ssm_wire.bodies("GetParameters")] == [["/a", "/b"]]
    assert ps.stats.requests == {"GetParameters": 1}


async def test_names_accumulate_while_requests_are_under_way(ssm_wire: Wire) -> None:
    """With one connection, names that arrive meanwhile are sent together afterwards."""
    go = threading.Event()

    def slow(asked: Asked) -> Any:
        go.wait(30)
        return single(asked)

    ssm_wire.answers["GetParameter"] = slow
    async with AsyncParameterStore(max_connections=1) as ps:
        reading = [asyncio.ensure_future(ps.get("/first"))]
        while not ssm_wire.count("GetParameter"):
            await asyncio.sleep(0.01)
        for name in NAMES[:5]:
            reading.append(asyncio.ensure_future(ps.get(name)))
            await asyncio.sleep(0.01)
        go.set()
        await asyncio.gather(*reading)
    assert [body["Names"] for body in ssm_wire.bodies("GetParameters")] == [NAMES[:5]]


class TestCancellation:
    """Cancelled callers of a batch."""

    async def start(self, ps: AsyncParameterStore, wire: Wire) -> tuple[list[Any], threading.Event]:
        go = threading.Event()

        def slow(asked: Asked) -> Any:
            go.wait(30)
            return many(asked)

        wire.answers["GetParameters"] = slow
        reading = [asyncio.ensure_future(ps.get(name)) for name in NAMES[:3]]
        while not wire.count("GetParameters"):
            await asyncio.sleep(0.01)
        return reading, go

    async def test_the_others_get_their_values(
        self, ps: AsyncParameterStore, ssm_wire: Wire
    ) -> None:
        """Their request goes on."""
        reading, go = await self.start(ps, ssm_wire)
        reading[1].cancel()
        go.set()
        found = await asyncio.gather(*reading, return_exceptions=True)

        assert [found[0], found[2]] == ["v/n/0", "v/n/2"]
        assert isinstance(found[1], asyncio.CancelledError)

    async def test_a_request_without_callers_is_cancelled(
        self, ps: AsyncParameterStore, ssm_wire: Wire
    ) -> None:
        """Its task is gone, and the next call works."""
        before = asyncio.all_tasks()
        reading, go = await self.start(ps, ssm_wire)
        for one in reading:
            one.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        for _ in range(20):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
        go.set()
        assert await ps.get("/n/1") == "v/n/1"

    @pytest.mark.parametrize("cancelled", [1, 2])
    async def test_callers_that_are_cancelled_before_the_request(
        self, ssm_wire: Wire, cancelled: int
    ) -> None:
        """Their names cause no request; with others that are wanted they share one."""
        go = threading.Event()
        ssm_wire.answers["GetParameter"] = lambda asked: go.wait(30) and single(asked)
        async with AsyncParameterStore(max_connections=1) as ps:
            first = asyncio.ensure_future(ps.get("/first"))
            while not ssm_wire.count("GetParameter"):
                await asyncio.sleep(0.01)
            waiting = [asyncio.ensure_future(ps.get(name)) for name in NAMES[:2]]
            await asyncio.sleep(0.01)
            for one in waiting[:cancelled]:
                one.cancel()
            await asyncio.sleep(0.01)
            go.set()
            await asyncio.gather(first, *waiting, return_exceptions=True)
        assert [body["Name"] for body in ssm_wire.bodies("GetParameter")] == ["/first"]
        batches = [body["Names"] for body in ssm_wire.bodies("GetParameters")]
        assert batches == ([] if cancelled == 2 else [list(NAMES[:2])])


class TestSecrets:
    """Secrets Manager, with twenty names per request."""

    @staticmethod
    def answer(**errors: str) -> Callable[[Asked], Any]:
        def batch(asked: Asked) -> Any:
            ids = asked.body["SecretIdList"]
            return {
                "SecretValues": [
                    {"Name": one.removeprefix("arn:"), "ARN": one, "SecretString": f"v{one}"}
                    for one in reversed(ids)
                    if one not in errors
                ],
                "Errors": [
                    {"SecretId": one, "ErrorCode": errors[one], "Message": "was deleted"}
                    for one in ids
                    if one in errors
                ],
            }

        return batch

    async def test_twenty_a_request(self, sm: AsyncSecretsManager, scripted: Wire) -> None:
        """ARNs are found by the ARN."""
        names = ["arn:x", *(f"n{i}" for i in range(40))]
        scripted.answers["BatchGetSecretValue"] = self.answer()
        scripted.answers["GetSecretValue"] = lambda asked: {
            "SecretString": f"v{asked.body['SecretId']}"
        }

        assert await sm.get_many(names) == {name: f"v{name}" for name in names}
        assert sm.stats.requests == {"BatchGetSecretValue": 2, "GetSecretValue": 1}
        sizes = {len(body["SecretIdList"]) for body in scripted.bodies("BatchGetSecretValue")}
        assert sizes == {20}

    async def test_errors_of_single_secrets(self, sm: AsyncSecretsManager, scripted: Wire) -> None:
        """They are the same as those of single requests."""
        scripted.answers["BatchGetSecretValue"] = self.answer(
            gone="ResourceNotFoundException",
            deleted="InvalidRequestException",
            denied="AccessDeniedException",
            locked="DecryptionFailure",
        )
        found = await sm.get_many(["a", "gone", "deleted", "denied", "locked"], errors="return")

        assert found.pop("a") == "va"
        assert {name: type(one) for name, one in found.items()} == {
            "gone": s1crets.SecretNotFoundError,
            "deleted": s1crets.SecretNotFoundError,
            "denied": s1crets.AccessDeniedError,
            "locked": s1crets.DecryptionError,
        }
        assert all(repr(name) in str(one) for name, one in found.items())
        assert sm.stats.requests == {"BatchGetSecretValue": 1}

    async def test_where_the_batch_is_denied(self, sm: AsyncSecretsManager, scripted: Wire) -> None:
        """It needs a permission on all secrets, which few callers have, so it is tried once."""
        scripted.answers["BatchGetSecretValue"] = refusal("AccessDeniedException")
        scripted.answers["GetSecretValue"] = {"SecretString": "v"}
        for names in (["a", "b"], ["c", "d"]):
            assert await sm.get_many(names) == dict.fromkeys(names, "v")

        assert sm.stats.requests == {"BatchGetSecretValue": 1, "GetSecretValue": 4}

    async def test_a_malformed_answer(self, sm: AsyncSecretsManager, scripted: Wire) -> None:
        """Each name gets a BadResponseError."""
        scripted.answers["BatchGetSecretValue"] = {"SecretValues": [{"Name": "a"}]}
        found = await sm.get_many(["a", "b"], errors="return")

        assert [type(one) for one in found.values()] == [s1crets.BadResponseError] * 2

    async def test_versions_are_asked_for_alone(
        self, sm: AsyncSecretsManager, scripted: Wire
    ) -> None:
        """Batches don't support versions."""
        scripted.answers["GetSecretValue"] = lambda asked: {
            "SecretString": asked.body.get("VersionStage", "current")
        }
        stages = ["AWSPREVIOUS", "AWSPENDING"]
        found = await asyncio.gather(*(sm.get("a", version_stage=stage) for stage in stages))

        assert found == stages
        assert sm.stats.requests == {"GetSecretValue": 2}

    async def test_a_path_is_read_in_batches(
        self, sm: AsyncSecretsManager, asm: Any, top: str
    ) -> None:
        """Text, JSON and binary secrets are read from moto."""
        for i in range(21):
            asm.create_secret(Name=f"{top}/{i}", SecretString=f'{{"i": {i}}}')
        asm.create_secret(Name=f"{top}/b", SecretBinary=b"\x00")
        found = await sm.get_by_path(top)

        assert found == {**{f"{top}/{i}": {"i": i} for i in range(21)}, f"{top}/b": b"\x00"}
        assert sm.stats.requests == {"ListSecrets": 1, "BatchGetSecretValue": 2}
        assert await sm.get(f"{top}/3") == {"i": 3}
        assert sm.stats.requests == {"ListSecrets": 1, "BatchGetSecretValue": 2}


async def test_references_among_many(ps: AsyncParameterStore, asm: Any, ssm: Any, top: str) -> None:
    """They are resolved one by one; each has its own error."""
    asm.create_secret(Name=f"{top}-s", SecretString='{"a": "deep"}')
    ssm.put_parameter(Name=top, Value="v", Type="String")
    reference = f"/aws/reference/secretsmanager/{top}-s/a"
    found = await ps.get_many([reference, top, reference + "/x"], errors="return")

    assert (found[reference], found[top]) == ("deep", "v")
    assert isinstance(found[reference + "/x"], KeyError)
    with pytest.raises(s1crets.BatchError) as caught:
        await ps.get_many([reference, top, reference + "/x"])
    assert caught.value.values == {reference: "deep", top: "v"}
    assert set(caught.value.errors) == {reference + "/x"}


@pytest.mark.parametrize("count", [1, 2])
async def test_errors_keep_their_cause(ps: AsyncParameterStore, scripted: Wire, count: int) -> None:
    """Each name's own error refers to botocore's, also of a request for several names."""
    scripted.answers.update(GetParameter=HANG_UP, GetParameters=HANG_UP)
    errors = await ps.get_many(NAMES[:count], errors="return")

    for name, error in errors.items():
        assert isinstance(error, s1crets.UnavailableError)
        assert repr(name) in str(error)
        assert type(error.__cause__).__module__.startswith(("botocore", "aiobotocore"))
