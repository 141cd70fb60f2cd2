"""The express path: which requests take it, and that nobody can tell from the outcome."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from _support.clients import credentials_of, opened
from _support.wire import HANG_UP, Asked, Reply, Wire, parameter, refusal
from aiobotocore.endpoint import AioEndpoint
from aiobotocore.session import AioSession
from botocore.auth import AUTH_TYPE_MAPS, SigV4Auth

import s1crets
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

if TYPE_CHECKING:
    from collections.abc import Iterator

PARAMETER = {"Name": "/p/a", "Type": "String", "Value": "fake", "Version": 1}
SECRET = {"Name": "/p/a", "SecretString": "fake"}
READS: dict[str, Any] = {
    "GetParameter": lambda ps, _: ps.get("/p/a"),
    "GetParameters": lambda ps, _: ps.get_many(["/p/a", "/p/b"]),
    "GetParametersByPath": lambda ps, _: ps.get_by_path("/p"),
    "GetSecretValue": lambda _, sm: sm.get("/p/a"),
    "BatchGetSecretValue": lambda _, sm: sm.get_many(["/p/a", "/p/b"]),
}
OF_EACH_REQUEST = {"authorization", "x-amz-date", "amz-sdk-invocation-id"}


@contextmanager
def botocores() -> Iterator[list[str]]:
    """Yield the operations that botocore's own endpoint is asked for meanwhile."""
    found: list[str] = []

    def profile(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code is AioEndpoint._send_request.__code__:
            name = frame.f_locals["operation_model"].name
            if name not in found:  # a coroutine is entered again after each wait
                found.append(name)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(before)


@pytest.fixture
def whole(scripted: Wire, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Answer all reads, and switch the express path on."""
    monkeypatch.setenv("S1CRETS_EXPRESS", "1")
    both = [PARAMETER, {**PARAMETER, "Name": "/p/b"}]
    secrets = [SECRET, {**SECRET, "Name": "/p/b"}]
    scripted.answers.update(
        GetParameter=parameter("/p/a", "fake"),
        GetParameters={"Parameters": both},
        GetParametersByPath={"Parameters": both},
        GetSecretValue=SECRET,
        BatchGetSecretValue={"SecretValues": secrets},
        PutParameter={"Version": 2},
    )
    return scripted


@pytest.mark.parametrize("operation", READS)
async def test_a_request_is_the_same_on_both_paths(
    whole: Wire, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Body, headers, values and counts; only the express path does without botocore's endpoint."""
    outcomes = []
    for is_on in (True, False):
        monkeypatch.setenv("S1CRETS_EXPRESS", str(int(is_on)))
        async with AsyncParameterStore() as ps, AsyncSecretsManager() as sm:
            with botocores() as found:
                value = await READS[operation](ps, sm)
            assert found == ([] if is_on else [operation])
            outcomes.append((value, ps.stats, sm.stats))
    one, other = whole.asked

    def comparable(asked: Asked) -> dict[str, str]:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        return {k: v for k, v in headers.items() if k not in OF_EACH_REQUEST}

    assert outcomes[0] == outcomes[1]
    assert one.body == other.body
    assert comparable(one) == comparable(other)
    signed = [asked.headers["Authorization"].split("Signature=")[0] for asked in (one, other)]
    assert signed[0] == signed[1]


@pytest.mark.parametrize(
    ("answers", "sent", "error"),
    [
        ([refusal("InternalServerError", status=500)], 2, None),
        ([HANG_UP], 2, None),
        ([refusal("ThrottlingException")], 2, None),
        ([refusal("AccessDeniedException")], 1, s1crets.AccessDeniedError),
        ([Reply(b"", 302)], 1, s1crets.BadResponseError),
        ([Reply(b"[]")], 1, s1crets.BadResponseError),
        ([Reply(b'{"Parameter": 1}')], 1, s1crets.BadResponseError),
        ([Reply(b"<html>")], 1, s1crets.BadResponseError),
        ([HANG_UP] * 3, 3, s1crets.UnavailableError),
    ],
)
async def test_another_outcome_is_botocores_first_attempt(
    whole: Wire,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[Any],
    sent: int,
    error: type[Exception] | None,
) -> None:
    """It is sent and counted once, and retried as if botocore had sent it. So is the error."""
    outcomes = []
    for is_on in "10":
        monkeypatch.setenv("S1CRETS_EXPRESS", is_on)
        left = list(answers)
        whole.answers["GetParameter"] = lambda _, left=left: (
            left.pop(0) if left else parameter("/p/a", "fake")
        )
        before = whole.count("GetParameter")
        async with AsyncParameterStore() as ps:
            try:
                outcome: Any = await ps.get("/p/a")
            except s1crets.S1cretsError as failed:
                outcome = type(failed), str(failed), repr(failed.__cause__)
            outcomes.append((outcome, ps.stats, whole.count("GetParameter") - before))

    assert outcomes[0] == outcomes[1]
    assert outcomes[0][2] == outcomes[0][1].requests["GetParameter"] == sent
    assert (outcomes[0][0][0] if error else None) is error


async def test_an_endpoint_that_cannot_be_signed_for(
    whole: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Botocore finds that out itself: nothing was sent."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:99999")
    async with AsyncParameterStore() as ps:
        with pytest.raises(s1crets.ConfigurationError, match="endpoint"):
            await ps.get("/p/a")

    assert ps.stats.requests == {}


async def test_renewed_keys_sign_the_next_request(
    whole: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signer is kept as long as the keys are the same."""
    async with AsyncParameterStore() as ps:
        await ps.get("/p/a")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-renewed")
        credentials = credentials_of(ps)
        await credentials.renew(credentials.found)
        await ps.get("/p/a", cached=False)
    keys = [a.headers["Authorization"].split("Credential=")[1].split("/")[0] for a in whole.asked]

    assert keys[0] != keys[1] == "fake-renewed"


@pytest.mark.usefixtures("whole")
class TestSteppingAside:
    """botocore sends the request if somebody else has a part in it."""

    async def check(self, *, aside: bool, **options: Any) -> None:
        async with AsyncParameterStore(**options) as ps:
            with botocores() as found:
                assert await ps.get("/p/a") == "fake"
        assert found == (["GetParameter"] if aside else [])

    async def test_sessions_of_the_callers(self) -> None:
        """Their hooks may do anything."""
        await self.check(aside=True, session=AioSession())

    async def test_writes(self) -> None:
        """They are not sent again, so nothing is gained."""
        async with AsyncParameterStore() as ps:
            with botocores() as found:
                await ps.create("/p/a", "fake")

        assert found == ["PutParameter"]

    async def test_auth_schemes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A preferred one may be another than SigV4."""
        monkeypatch.setenv("AWS_AUTH_SCHEME_PREFERENCE", "sigv4,httpBearerAuth")
        await self.check(aside=True)

    async def test_signers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody may have registered another one for SigV4."""

        class Signer(SigV4Auth):  # type: ignore[misc]  # botocore has no types
            pass

        monkeypatch.setitem(AUTH_TYPE_MAPS, "v4", Signer)
        await self.check(aside=True)

    async def test_tracers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """They wrap a method to add headers, as aws_xray_sdk does."""
        original = AioEndpoint.prepare_request

        class Wrapper:
            def __get__(self, endpoint: Any, _: Any = None) -> Any:
                return self if endpoint is None else original.__get__(endpoint)

        monkeypatch.setattr(AioEndpoint, "prepare_request", Wrapper())
        await self.check(aside=True)

    @pytest.mark.parametrize("event", ["before-send", "request-created", "response-received"])
    async def test_listeners(self, event: str) -> None:
        """Also one that is added to a client in use. It hears of each attempt once."""
        heard = []

        class Mock:
            enabled = True

            def __call__(self, event_name: str, **_: Any) -> None:
                heard.append(event_name)

        mock = Mock()
        async with AsyncParameterStore() as ps:
            await ps.get("/p/a")
            events = (await opened(ps)).meta.events
            events.register(event, mock)
            await ps.get("/p/a", cached=False)
            assert heard == [f"{event}.ssm.GetParameter"]
            if event == "before-send":  # moto's own is not enabled outside of `mock_aws`
                mock.enabled = False
                with botocores() as found:
                    await ps.get("/p/a", cached=False)
                assert found == []
