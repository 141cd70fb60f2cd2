"""Faults on demand: what AWS responds then, and how the library reacts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from _support.boto import ARN, client, code_of

import s1crets
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore
from s1crets.testing import Disconnect, LocalAws, Request, local_aws

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_throttled_for_some_requests(s1crets_aws: LocalAws) -> None:
    """The library retries until the next request passes."""
    s1crets_aws.seed({"aws.ps": {"/a": "v"}})
    s1crets_aws.throttle("ssm:GetParameter", times=2)

    async with AsyncParameterStore(retry=3) as ps:
        assert await ps.get("/a") == "v"

        assert ps.stats.throttled == 2
    assert s1crets_aws.requests == (Request("ssm", "GetParameter", ("/a",)),) * 3


async def test_throttled_until_healed(s1crets_aws: LocalAws, asm: Any) -> None:
    """Every operation, with the error code of its service."""
    s1crets_aws.throttle()

    with pytest.raises(s1crets.ThrottledError, match="Rate exceeded"):
        async with AsyncSecretsManager(retry=1) as sm:
            await sm.get("a")
    sts = client("sts")
    assert code_of(lambda: sts.assume_role(RoleArn=f"{ARN}/r", RoleSessionName="ss")) == (
        "Throttling"
    )
    s1crets_aws.heal()
    assert asm.list_secrets()["SecretList"] == []


def test_throttled_above_a_rate() -> None:
    """A token bucket, filled by the injected clock."""
    now = [0.0]
    with local_aws(clock=lambda: now[0]) as aws:
        aws.throttle("GetParameter*", rate=2)
        ssm = client("ssm", endpoint_url=aws.url)

        def passed() -> list[bool]:
            codes = [code_of(lambda: ssm.get_parameter(Name="/a")) for _ in range(3)]
            return [code == "ParameterNotFound" for code in codes]

        assert passed() == [True, True, False]
        assert passed() == [False] * 3
        now[0] += 0.5
        assert passed() == [True, False, False]
        now[0] += 3600
        assert passed() == [True, True, False]


async def test_denied_on_a_name(s1crets_aws: LocalAws) -> None:
    """By name or ARN, with IAM's message; other names stay readable."""
    s1crets_aws.seed({"aws.ps": {"/app/a": "v", "/other": "v"}, "aws.sm": {"app/a": "v"}})
    s1crets_aws.deny("ssm:GetParameter*", "/app/*")
    s1crets_aws.deny("secretsmanager:*", "arn:aws:secretsmanager:*:secret:app/a-*")

    async with AsyncParameterStore() as ps, AsyncSecretsManager() as sm:
        message = (
            "arn:aws:iam::123456789012:user/s1crets is not authorized to perform:"
            f" ssm:GetParameter on resource: {ARN}/app/a because"
        )
        with pytest.raises(s1crets.AccessDeniedError, match=message):
            await ps.get("/app/a")
        with pytest.raises(PermissionError):
            await sm.get("app/a")
        assert await ps.get("/other") == "v"


async def test_one_denied_name_fails_a_batch_of_parameters(s1crets_aws: LocalAws) -> None:
    """The library then reads them individually, and gets the allowed values."""
    s1crets_aws.seed({"aws.ps": {"/app/a": "fake-a", "/app/b": "fake-b"}})
    s1crets_aws.deny("GetParameter*", "/app/b")

    async with AsyncParameterStore() as ps:
        found = await ps.get_many(["/app/a", "/app/b"], errors="return")

    assert found["/app/a"] == "fake-a"
    assert isinstance(found["/app/b"], s1crets.AccessDeniedError)
    assert [request.operation for request in s1crets_aws.requests] == [
        "GetParameters",
        "GetParameter",
        "GetParameter",
    ]


async def test_a_path_is_authorized_on_the_path(s1crets_aws: LocalAws) -> None:
    """Parameters under it are read even if they are denied, as on AWS."""
    s1crets_aws.seed({"aws.ps": {"/app/a": "v"}})

    async with AsyncParameterStore(cache_args={"cache_ttl": 0}) as ps:
        s1crets_aws.deny("ssm:*", "/app/*")
        assert await ps.get_by_path("/app") == {"/app/a": "v"}
        s1crets_aws.deny("ssm:*", "/app")
        with pytest.raises(PermissionError, match=f"{ARN}/app because"):
            await ps.get_by_path("/app")


async def test_a_batch_of_secrets_needs_its_own_permission(s1crets_aws: LocalAws) -> None:
    """On `*`, not on a resource. Without it the library reads each secret individually."""
    s1crets_aws.seed({"aws.sm": {"a": "fake-a", "b": "fake-b"}})

    async with AsyncSecretsManager(cache_args={"cache_ttl": 0}) as sm:
        s1crets_aws.deny("BatchGetSecretValue", "a")
        await sm.get_many(["a", "b"])
        assert sm.stats.requests == {"BatchGetSecretValue": 1}
        s1crets_aws.deny("BatchGetSecretValue")
        assert await sm.get_many(["a", "b"]) == {"a": "fake-a", "b": "fake-b"}
        assert sm.stats.requests == {"BatchGetSecretValue": 2, "GetSecretValue": 2}


def test_a_role_is_denied(s1crets_aws: LocalAws) -> None:
    """STS has an error format of its own. Healing ends the pause of five seconds that follows."""
    role = "arn:aws:iam::123456789012:role/reader"
    s1crets_aws.deny("sts:AssumeRole", role)

    denied = pytest.raises(s1crets.CredentialsError, match="sts:AssumeRole on resource")
    with ParameterStore(sts_args={"RoleArn": role}) as ps, denied:
        ps.get("/a")
    s1crets_aws.heal()
    s1crets_aws.seed({"aws.ps": {"/a": "v"}})
    with ParameterStore(sts_args={"RoleArn": role}) as ps:
        assert ps.get("/a") == "v"
    assert s1crets_aws.requests[0] == Request("sts", "AssumeRole", (role,))


def test_healing_ends_delays(s1crets_aws: LocalAws) -> None:
    """So no test waits for its own delay."""
    s1crets_aws.seed({"aws.ps": {"/a": "v", "/b": "v"}})
    s1crets_aws.delay(3600, "GetParameter")
    found: list[Any] = []

    with ParameterStore(timeout=60) as ps:
        reading = threading.Thread(target=lambda: found.append(ps.get("/a")))
        reading.start()
        while not s1crets_aws.requests:  # it is delayed now
            reading.join(0.001)
        assert not found
        s1crets_aws.heal()
        reading.join(30)

    assert found == ["v"]


async def test_a_delay_beyond_the_timeout(s1crets_aws: LocalAws) -> None:
    """The library gives up; other operations are not delayed."""
    s1crets_aws.seed({"aws.ps": {"/a": "v"}})
    s1crets_aws.delay(3600, "ssm:GetParameter")

    async with AsyncParameterStore(timeout=0.2, retry=1) as ps:
        with pytest.raises(s1crets.UnavailableError):
            await ps.get("/a")
    assert client("ssm").describe_parameters()["Parameters"]


async def test_failing_with_a_status_or_a_code(
    s1crets_aws: LocalAws, ps: AsyncParameterStore
) -> None:
    """The library retries an internal error, but not an unusable key."""
    s1crets_aws.seed({"aws.ps": {"/a": "v", "/b": "v"}})
    s1crets_aws.fail("GetParameter", status=503, times=1)
    assert await ps.get("/a") == "v"
    assert ps.stats.retried == 1

    s1crets_aws.fail("GetParameter", status=400, code="InvalidKeyId")
    with pytest.raises(s1crets.DecryptionError):
        await ps.get("/b")


def test_failing_with_the_internal_error_of_each_service(s1crets_aws: LocalAws) -> None:
    """Their names differ."""
    s1crets_aws.fail()

    codes = {
        "InternalServerError": lambda: client("ssm").get_parameter(Name="/a"),
        "InternalServiceError": lambda: client("secretsmanager").list_secrets(),
        "InternalFailure": lambda: client("sts").get_caller_identity(),
    }
    assert list(codes) == [code_of(call) for call in codes.values()]


async def test_down_and_up_on_the_same_port(s1crets_aws: LocalAws) -> None:
    """Open connections are broken off; a cache may serve stale values meanwhile."""
    s1crets_aws.seed({"aws.ps": {"/a": "v", "/b": "v"}})
    url = s1crets_aws.url
    args: Any = {"cache_args": {"cache_ttl": 0.001, "stale_for": 3600}, "retry": 1}

    async with AsyncParameterStore(**args) as ps:
        await ps.get("/a")
        s1crets_aws.down()
        s1crets_aws.down()
        with pytest.raises(s1crets.UnavailableError):
            await ps.get("/b")
        assert await ps.get("/a") == "v"
        s1crets_aws.heal()
        assert await ps.get("/b") == "v"
    assert s1crets_aws.url == url


@pytest.mark.parametrize(
    "wrong",
    [
        lambda aws: aws.throttle("ssm:GetParamter"),
        lambda aws: aws.deny("s3:*"),
        lambda aws: aws.throttle(times=1, rate=1),
        lambda aws: aws.throttle(times=0),
        lambda aws: aws.throttle(rate=0),
        lambda aws: aws.delay(-1),
        lambda aws: aws.delay(float("nan")),
        lambda aws: aws.fail(status=200),
        lambda aws: aws.respond("GetParamter", {}),
    ],
)
def test_an_impossible_fault_is_refused(
    wrong: Callable[[LocalAws], None], s1crets_aws: LocalAws
) -> None:
    """A test with a misspelled operation would prove nothing."""
    with pytest.raises(ValueError, match=r"operation|not both|more than 0|status"):
        wrong(s1crets_aws)


async def test_responding_as_the_test_says(s1crets_aws: LocalAws, ps: AsyncParameterStore) -> None:
    """A number of times; then with the stored value again."""
    s1crets_aws.seed({"aws.ps": {"/a": "stored"}})
    scripted = {"Parameter": {"Name": "/a", "Type": "String", "Value": "scripted"}}
    s1crets_aws.respond("ssm:GetParameter", [Disconnect.HANG_UP, scripted], times=2)

    assert await ps.get("/a") == "scripted"
    assert await ps.get("/a", cached=False) == "stored"
    assert [request.operation for request in s1crets_aws.requests] == ["GetParameter"] * 3


async def test_empty_pages(
    s1crets_aws: LocalAws, ps: AsyncParameterStore, sm: AsyncSecretsManager
) -> None:
    """Each page of a listing is preceded by an empty page with a token; the library goes on."""
    names = [f"/t/{i}" for i in range(12)]
    s1crets_aws.seed({"aws.ps": dict.fromkeys(names, "v"), "aws.sm": {"t/a": "v"}})
    s1crets_aws.empty_pages()

    assert sorted(await ps.get_by_path("/t")) == sorted(names)
    assert await ps.path_exists("/t")
    assert await sm.get_by_path("t") == {"t/a": "v"}
    await ps.update("/t/3", "new")
    assert ps.stats.requests["GetParametersByPath"] >= 4


async def test_after_an_outage_the_next_call_sends_a_request(s1crets_aws: LocalAws) -> None:
    """It gets no expired value any more."""
    s1crets_aws.seed({"aws.ps": {"/a": "fake-1"}})
    args: Any = {"cache_ttl": 1e-6, "stale_for": 1000}
    async with AsyncParameterStore(cache_args=args) as ps:
        await ps.get("/a")
        s1crets_aws.fail("GetParameter")
        assert [await ps.get("/a") for _ in range(5)] == ["fake-1"] * 5
        s1crets_aws.heal()
        s1crets_aws.seed({"aws.ps": {"/a": "fake-2"}})
        assert await ps.get("/a") == "fake-2"
