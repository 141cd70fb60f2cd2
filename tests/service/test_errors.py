"""All errors of botocore are translated to ours, and none shows a secret."""

from __future__ import annotations

import functools
import logging
import pickle
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from _support.clients import clients_of
from _support.wire import HANG_UP, Reply, Wire, parameter, refusal

import s1crets
from s1crets import providers
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CANARY = "canary-7f3a"

REFUSALS = [
    ("AccessDeniedException", 400, s1crets.AccessDeniedError, PermissionError),
    ("ThrottlingException", 400, s1crets.ThrottledError, s1crets.S1cretsError),
    ("TooManyRequestsException", 429, s1crets.ThrottledError, s1crets.S1cretsError),
    ("InternalServerError", 500, s1crets.UnavailableError, ConnectionError),
    ("SomethingNew", 503, s1crets.UnavailableError, ConnectionError),
    ("SomethingNew", 400, s1crets.S1cretsError, Exception),
    ("UnrecognizedClientException", 400, s1crets.CredentialsError, s1crets.S1cretsError),
    ("InvalidSignatureException", 400, s1crets.CredentialsError, s1crets.S1cretsError),
    ("InvalidKeyId", 400, s1crets.DecryptionError, s1crets.S1cretsError),
    ("DecryptionFailure", 400, s1crets.DecryptionError, s1crets.S1cretsError),
    ("ValidationException", 400, s1crets.InvalidNameError, ValueError),
    ("ParameterNotFound", 400, s1crets.SecretNotFoundError, KeyError),
]


@pytest.mark.parametrize(("code", "status", "ours", "builtin"), REFUSALS)
async def test_refusals_of_aws(
    scripted: Wire, code: str, status: int, ours: type[Exception], builtin: type[Exception]
) -> None:
    """It is of our class and the builtin one, and names the request, the problem and a remedy."""
    scripted.answers["GetParameter"] = refusal(code, "words of AWS's", status)
    async with AsyncParameterStore(retry=1) as ps:
        with pytest.raises(ours) as caught:
            await ps.get("/a")

    assert type(caught.value) is ours
    assert isinstance(caught.value, builtin)
    for part in ("Parameter Store (eu-west-1): GetParameter '/a'", "words of AWS's", code, "; "):
        assert part in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args  # noqa: S301


async def test_the_action_that_was_denied(ps: AsyncParameterStore, scripted: Wire) -> None:
    """AWS's message names it, or the key service; otherwise it is the operation's."""
    words = ["not authorized to perform: kms:Describe on it", "KMS says no", "no"]
    scripted.answers["GetParameter"] = [refusal("AccessDeniedException", word) for word in words]
    actions = []
    for _ in words:
        with pytest.raises(s1crets.AccessDeniedError) as caught:
            await ps.get("/a")
        actions.append(caught.value.action)

    assert actions == ["kms:Describe", "kms:Decrypt", "ssm:GetParameter"]


async def test_an_unreachable_service(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """It is a ConnectionError."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    async with AsyncParameterStore(retry=1) as ps:
        with pytest.raises(ConnectionError, match="can be reached from here"):
            await ps.get("/a")


async def test_a_service_that_does_not_answer(scripted: Wire) -> None:
    """`timeout` bounds one attempt."""
    go = threading.Event()

    def slow(_: Any) -> Any:
        go.wait(30)
        return HANG_UP

    scripted.answers["GetParameter"] = slow
    async with AsyncParameterStore(retry=1, timeout=0.2) as ps:
        with pytest.raises(ConnectionError, match=r"[Tt]imeout"):
            await ps.get("/a")
    go.set()


async def test_an_endpoint_that_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a ConfigurationError."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "no url at all")
    async with AsyncParameterStore(retry=1) as ps:
        with pytest.raises(s1crets.ConfigurationError, match="correct the endpoint"):
            await ps.get("/a")


@pytest.mark.parametrize("region", ["eu west 1", "x" * 80])
async def test_a_region_that_is_invalid(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a ConfigurationError."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    async with AsyncParameterStore(retry=1, sts_args={"aws_region": region}) as ps:
        with pytest.raises(s1crets.ConfigurationError):
            await ps.get("/a")


async def test_a_bug_is_not_translated(ps: AsyncParameterStore, scripted: Wire) -> None:
    """Errors that are not botocore's are not translated."""

    def bug(_: Any) -> None:
        raise ZeroDivisionError

    scripted.answers["GetParameter"] = parameter("/a", "v")
    with pytest.raises(ZeroDivisionError):
        await clients_of(ps).call("GetParameter", "/a", bug, {"Name": "/a"})


def shown(error: BaseException) -> str:
    """Return everything that tools show of an error: messages, causes, locals of frames."""
    parts = []
    seen = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        parts += [str(one), repr(one), *map(repr, one.args)]
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename != __file__:
                parts += [repr(value) for value in frame.f_locals.values()]
        todo += [one.__cause__, one.__context__]
    return "\n".join(parts)


LEAKS = {
    "refused": refusal("ValidationException", f"Value '{CANARY}' at 'value' is wrong"),
    "pattern": refusal("ParameterPatternMismatchException", CANARY),
    "denied": refusal("AccessDeniedException", CANARY),
    "failed": refusal("InternalServerError", CANARY, 500),
    "hung up": HANG_UP,
    "malformed": {"Value": CANARY},
    "html": Reply(CANARY.encode()),
}


@pytest.mark.parametrize("kind", LEAKS)
async def test_an_update_that_fails_shows_no_value(scripted: Wire, kind: str) -> None:
    """Not in the message, its causes, nor in the locals of any frame of its traceback."""
    scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/a", "Type": "String"}]}
    scripted.answers["PutParameter"] = scripted.answers["PutSecretValue"] = LEAKS[kind]
    async with AsyncParameterStore(retry=1) as ps, AsyncSecretsManager(retry=1) as sm:
        for store in (ps, sm):
            with pytest.raises(s1crets.S1cretsError) as caught:
                await store.update("/a", {"password": CANARY})
            assert CANARY not in shown(caught.value)


@pytest.mark.parametrize("call", ["facade", "module"])
def test_a_blocking_update_that_fails_shows_no_value(
    scripted: Wire, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frames of the facade don't show it either."""
    scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/a", "Type": "String"}]}
    scripted.answers["PutParameter"] = refusal("ValidationException", CANARY)
    with ParameterStore(retry=1) as ps:
        monkeypatch.setitem(providers._providers, "aws.ps", ps)
        module: Callable[[str, str], None] = functools.partial(s1crets.update, "aws.ps")
        update = module if call == "module" else ps.update
        with pytest.raises(s1crets.S1cretsError) as caught:
            update("/a", CANARY)
    assert CANARY not in shown(caught.value)


async def test_reads_that_fail_show_no_value(scripted: Wire) -> None:
    """A malformed response, a missing key and a batch show no value that was read."""
    scripted.answers["GetParameter"] = [
        {"Parameter": {"Name": 5, "Value": CANARY}},
        parameter("/b", f'{{"a": "{CANARY}"}}'),
        refusal("AccessDeniedException"),
    ]
    scripted.answers["GetParametersByPath"] = [
        {"Parameters": [{"Name": "/a/b", "Value": CANARY}], "NextToken": "1"},
        refusal("AccessDeniedException"),
    ]
    async with AsyncParameterStore(retry=1) as ps:
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: ps.get("/a"),
            lambda: ps.get("/b", keypath=("a", "x")),
            lambda: ps.get_by_path("/a"),
            lambda: ps.get_many(["/b", "/c"]),
        ]
        for call in calls:
            with pytest.raises(s1crets.S1cretsError) as caught:
                await call()
            assert CANARY not in shown(caught.value)
        assert CANARY not in f"{ps!r} {ps.stats!r}"


async def test_a_partially_read_path_shows_no_value(scripted: Wire) -> None:
    """The values that were read are in `.values` and nowhere else."""
    names = ["/a", "/a/b"]
    scripted.answers["ListSecrets"] = {"SecretList": [{"Name": name} for name in names]}
    scripted.answers["BatchGetSecretValue"] = {
        "SecretValues": [{"Name": "/a", "SecretString": CANARY}],
        "Errors": [{"SecretId": "/a/b", "ErrorCode": "AccessDeniedException"}],
    }
    async with AsyncSecretsManager() as sm:
        with pytest.raises(s1crets.BatchError) as caught:
            await sm.get_by_path("/a")
    assert caught.value.values == {"/a": CANARY}
    assert CANARY not in shown(caught.value)


async def test_a_batch_error_is_pickled_without_values(scripted: Wire) -> None:
    """The message survives."""
    error = s1crets.BatchError("words", {"a": CANARY}, {})

    assert CANARY.encode() not in pickle.dumps(error)
    assert str(pickle.loads(pickle.dumps(error))) == "words"  # noqa: S301


async def test_nothing_is_logged_at_debug(scripted: Wire, caplog: pytest.LogCaptureFixture) -> None:
    """Not even by botocore, which logs bodies and headers; calls of others are still logged."""
    import boto3

    scripted.answers["GetParameter"] = parameter("/a", CANARY)
    scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/a", "Type": "String"}]}
    scripted.answers["PutParameter"] = {"Version": 1}
    scripted.answers["AssumeRole"] = assumed_with_canary()
    caplog.set_level(logging.DEBUG)
    role: Any = {"RoleArn": "arn:aws:iam::123456789012:role/r"}
    async with AsyncParameterStore(sts_args=role) as ps:
        await ps.get("/a")
        await ps.update("/a", CANARY)

    assert CANARY not in caplog.text
    boto3.client("ssm").get_parameter(Name="/a")
    assert CANARY in caplog.text


def assumed_with_canary() -> Reply:
    from _support.wire import assumed

    body = assumed().body.replace(b"fake-token", CANARY.encode())
    return Reply(body.replace(b"fake-secret", CANARY.encode()))


def test_only_a_message_is_needed() -> None:
    """An error without one has an empty text."""
    assert str(s1crets.S1cretsError()) == ""
