"""The AWS on loopback: where moto is lax and it is not, what may go wrong, what it holds."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from moto.server import ThreadedMotoServer

import s1crets
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore
from s1crets.testing import Asked, LoopbackAws, loopback_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ONCE = Config(retries={"total_max_attempts": 1, "mode": "standard"})
ARN = "arn:aws:ssm:eu-west-1:123456789012:parameter"


@pytest.fixture(scope="module")
def _bare_moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bare(_bare_moto: str, environment: object) -> Callable[[str], Any]:
    """Return clients of the same store that ask moto alone: another door to the same account."""
    return partial(boto3.client, endpoint_url=_bare_moto, config=ONCE)


def client(service: str) -> Any:
    return boto3.client(service, config=ONCE)


def code_of(ask: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        ask()
    return str(caught.value.response["Error"]["Code"])


def put(ssm: Any, name: str = "/a", value: str = "fake", **more: Any) -> Any:
    return ssm.put_parameter(Name=name, Value=value, **{"Type": "String", **more})


def put_again(ssm: Any, **more: Any) -> Any:
    return put(ssm, Overwrite=True, **more)


def advanced(ssm: Any, _: Any) -> None:
    put(ssm, Tier="Advanced")


def deleted(_: Any, asm: Any) -> None:
    asm.create_secret(Name="gone", SecretString="fake")
    asm.delete_secret(SecretId="gone")


def like_an_arn(_: Any, asm: Any) -> None:
    asm.create_secret(Name="db-abcdef", SecretString="fake")


def nothing(*_: Any) -> None:
    """Store nothing."""


PARTIAL = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-abcdef"
LAX: dict[str, tuple[str, Callable[[Any], Any], str, Callable[[Any, Any], None]]] = {
    "21 ids": (
        "secretsmanager",
        lambda c: c.batch_get_secret_value(SecretIdList=[f"n{i}" for i in range(21)]),
        "ValidationException",
        nothing,
    ),
    "a batch of nothing": (
        "secretsmanager",
        lambda c: c.batch_get_secret_value(),
        "InvalidParameterException",
        nothing,
    ),
    "a batch with a bad name": (
        "secretsmanager",
        lambda c: c.batch_get_secret_value(SecretIdList=["a b", "c"]),
        "ValidationException",
        nothing,
    ),
    "a secret's name with a space": (
        "secretsmanager",
        lambda c: c.create_secret(Name="a b", SecretString="fake"),
        "ValidationException",
        nothing,
    ),
    "a text of 64 KB and a byte": (
        "secretsmanager",
        lambda c: c.create_secret(Name="a", SecretString="ü" * 32768 + "x"),
        "ValidationException",
        nothing,
    ),
    "bytes of 64 KB and one": (
        "secretsmanager",
        lambda c: c.create_secret(Name="a", SecretBinary=b"x" * 65537),
        "ValidationException",
        nothing,
    ),
    "a new value of what is scheduled for deletion": (
        "secretsmanager",
        lambda c: c.put_secret_value(SecretId="gone", SecretString="fake"),
        "InvalidRequestException",
        deleted,
    ),
    "a partial ARN that looks whole": (
        "secretsmanager",
        lambda c: c.get_secret_value(SecretId=PARTIAL),
        "ResourceNotFoundException",
        like_an_arn,
    ),
    "a name twice": (
        "ssm",
        lambda c: c.get_parameters(Names=["/a", "/a"]),
        "ValidationException",
        nothing,
    ),
    "one bad name of two": (
        "ssm",
        lambda c: c.get_parameters(Names=["/a b", "/c"]),
        "ValidationException",
        nothing,
    ),
    "a path without a slash": (
        "ssm",
        lambda c: c.get_parameters_by_path(Path="a"),
        "ValidationException",
        nothing,
    ),
    "a path with a space": (
        "ssm",
        lambda c: c.get_parameters_by_path(Path="/a b"),
        "ValidationException",
        nothing,
    ),
    "an ARN to put": ("ssm", lambda c: put(c, f"{ARN}/a"), "ValidationException", nothing),
    "a space to put": ("ssm", lambda c: put(c, "/a b"), "ValidationException", nothing),
    "a path without its slash": ("ssm", lambda c: put(c, "a/b"), "ValidationException", nothing),
    "sixteen levels": (
        "ssm",
        lambda c: put(c, "/a" * 16),
        "HierarchyLevelLimitExceededException",
        nothing,
    ),
    "4 KB and a byte": ("ssm", lambda c: put(c, value="x" * 4097), "ValidationException", nothing),
    "8 KB and a byte": (
        "ssm",
        lambda c: put(c, value="x" * 8193, Tier="Advanced"),
        "ValidationException",
        nothing,
    ),
    "a downgrade": (
        "ssm",
        lambda c: put_again(c, Tier="Standard"),
        "ValidationException",
        advanced,
    ),
    "a downgrade by omission": ("ssm", put_again, "ValidationException", advanced),
    "not the pattern": (
        "ssm",
        lambda c: put(c, AllowedPattern="^[0-9]+$"),
        "ParameterPatternMismatchException",
        nothing,
    ),
}


class TestStrictness:
    """It refuses and tells what AWS does; moto alone does not."""

    @pytest.mark.parametrize("case", LAX)
    def test_what_aws_refuses_is_refused(
        self, case: str, ssm: Any, asm: Any, bare: Callable[[str], Any]
    ) -> None:
        """With AWS's code, before anything is stored; moto by itself takes it."""
        service, ask, code, prepare = LAX[case]
        prepare(ssm, asm)

        assert code_of(lambda: ask(client(service))) == code
        ask(bare(service))

    def test_what_moto_refuses_stays_refused(self, ssm: Any, asm: Any) -> None:
        """Eleven names; tags beside Overwrite; what is scheduled for deletion."""
        deleted(ssm, asm)
        eleven = [f"/{i}" for i in range(11)]
        tags = [{"Key": "k", "Value": "v"}]

        assert code_of(lambda: ssm.get_parameters(Names=eleven)) == "ValidationException"
        assert code_of(lambda: put_again(ssm, Tags=tags)) == "ValidationException"
        gone = code_of(lambda: asm.get_secret_value(SecretId="gone"))
        assert gone == "InvalidRequestException"

    def test_a_name_that_is_scheduled_for_deletion_is_taken(
        self, asm: Any, bare: Callable[[str], Any]
    ) -> None:
        """`InvalidRequestException`; moto has the code of a name that is in use."""
        deleted(None, asm)

        def create(asm: Any) -> str:
            return code_of(lambda: asm.create_secret(Name="gone", SecretString="fake"))

        assert create(asm) == "InvalidRequestException"
        assert create(bare("secretsmanager")) == "ResourceExistsException"

    def test_not_found_is_a_400(self, asm: Any) -> None:
        """As in all of AWS's JSON protocol; moto's Secrets Manager has 404."""
        with pytest.raises(ClientError) as caught:
            asm.get_secret_value(SecretId="nothing")

        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400

    def test_an_overwrite_forgets_what_it_is_not_given(
        self, ssm: Any, bare: Callable[[str], Any]
    ) -> None:
        """Description, AllowedPattern and KeyId; Type stays. moto keeps all."""
        attributes = {"Description": "d", "AllowedPattern": "fake", "KeyId": "alias/mine"}

        def left(ssm: Any) -> dict[str, Any]:
            ssm.put_parameter(Name="/a", Value="fake-2", Overwrite=True)
            (described,) = ssm.describe_parameters()["Parameters"]
            return {name: described.get(name) for name in ("Type", *attributes)}

        put(ssm, **attributes, Type="SecureString")
        assert left(bare("ssm")) == {"Type": "SecureString", **attributes}
        assert left(ssm) == {
            "Type": "SecureString",
            "Description": None,
            "AllowedPattern": None,
            "KeyId": "alias/aws/ssm",
        }

    async def test_update_keeps_what_an_overwrite_forgets(
        self, ps: AsyncParameterStore, ssm: Any
    ) -> None:
        """The library sends everything again, so nothing changes but the value."""
        given = {"Description": "d", "AllowedPattern": "fake", "KeyId": "alias/mine"}
        put(ssm, **given, Type="SecureString", Tier="Advanced")

        await ps.update("/a", "fake-new")

        (described,) = ssm.describe_parameters()["Parameters"]
        expected = {**given, "Type": "SecureString", "Tier": "Advanced", "Version": 2}
        assert {name: described[name] for name in expected} == expected
        assert await ps.get("/a") == "fake-new"

    def test_intelligent_tiering_ends_in_one_of_the_two(self, ssm: Any) -> None:
        """What is larger than 4 KB is advanced, and stays it."""
        sizes = {"fake": "Standard", "x" * 4097: "Advanced", "fake-2": "Advanced"}
        found = [put_again(ssm, value=value, Tier="Intelligent-Tiering")["Tier"] for value in sizes]

        assert found == list(sizes.values())

    def test_spaces_at_the_ends_of_a_name_are_dropped(self, ssm: Any) -> None:
        """AWS removes them, where it refuses those inside."""
        put(ssm, " /a ")

        assert ssm.get_parameter(Name=" /a")["Parameter"]["Name"] == "/a"

    def test_selectors_are_in_the_answer(self, ssm: Any, bare: Callable[[str], Any]) -> None:
        """The version or label that was asked for, of a name or an ARN; moto has none."""
        for value in ("one", "two"):
            put_again(ssm, value=value)
        put(ssm, "b")
        ssm.label_parameter_version(Name="/a", ParameterVersion=1, Labels=["old"])
        names = ["/a:1", "/a:old", f"{ARN}/a:2", "b", "/a:7", "/b:none"]

        def asked(ssm: Any) -> list[Any]:
            answer = ssm.get_parameters(Names=names)
            assert sorted(answer["InvalidParameters"]) == ["/a:7", "/b:none"]
            return sorted((one["Value"], one.get("Selector")) for one in answer["Parameters"])

        selected = [("fake", None), ("one", ":1"), ("one", ":old"), ("two", ":2")]
        assert asked(ssm) == selected
        assert {selector for _, selector in asked(bare("ssm"))} == {None}
        one = ssm.get_parameter(Name="/a:old")["Parameter"]
        assert (one["Name"], one["Selector"]) == ("/a", ":old")

    async def test_the_library_finds_selectors_and_arns(self, ps: AsyncParameterStore) -> None:
        """A batch of names that the answer has under other names, in one request."""
        ssm = client("ssm")
        for value in ("one", "two"):
            put_again(ssm, value=value)
        expected = {"/a:1": "one", "/a:2": "two", f"{ARN}/a": "two", f"{ARN}/a:1": "one"}

        assert await ps.get_many(expected) == expected

    def test_what_is_not_decrypted_is_not_readable(
        self, ssm: Any, bare: Callable[[str], Any]
    ) -> None:
        """Also below a path; moto shows the value in it."""
        put(ssm, "/a/b", "fake-secret", Type="SecureString")
        put(ssm, "/a/c", "fake-plain")

        def values(ssm: Any) -> list[str]:
            below = ssm.get_parameters_by_path(Path="/a")["Parameters"]
            return [one["Value"] for one in below]

        secret, plain = values(ssm)
        assert "fake" not in secret
        assert plain == "fake-plain"
        assert ssm.get_parameter(Name="/a/b")["Parameter"]["Value"] == secret
        assert "fake-secret" in values(bare("ssm"))[0]

    def test_a_batch_has_an_error_for_each_that_can_not_be_read(
        self, s1crets_aws: LoopbackAws, asm: Any, bare: Callable[[str], Any]
    ) -> None:
        """Not there, scheduled for deletion, without a value, not allowed: the others are read.

        moto fails the whole request where one secret has no value.
        """
        deleted(None, asm)
        s1crets_aws.seed({"aws.sm": {"good": "fake", "denied": "fake"}})
        asm.create_secret(Name="empty")
        s1crets_aws.deny("GetSecretValue", "denied")
        names = ["good", "nothing", "gone", "empty", "denied"]

        answer = asm.batch_get_secret_value(SecretIdList=names)

        assert [one["Name"] for one in answer["SecretValues"]] == ["good"]
        codes = {one["SecretId"]: one["ErrorCode"] for one in answer["Errors"]}
        assert codes == {
            "nothing": "ResourceNotFoundException",
            "gone": "InvalidRequestException",
            "empty": "ResourceNotFoundException",
            "denied": "AccessDeniedException",
        }
        whole = code_of(lambda: bare("secretsmanager").batch_get_secret_value(SecretIdList=names))
        assert whole == "ResourceNotFoundException"

    def test_a_batch_by_filter_is_answered_too(self, asm: Any) -> None:
        """By the beginning of a name, in its case."""
        for name in ("app/a", "App/b"):
            asm.create_secret(Name=name, SecretString="fake")
        filters = [{"Key": "name", "Values": ["app/"]}]

        assert [
            one["Name"] for one in asm.batch_get_secret_value(Filters=filters)["SecretValues"]
        ] == ["app/a"]
        assert [one["Name"] for one in asm.list_secrets(Filters=filters)["SecretList"]] == ["app/a"]

    async def test_empty_pages_are_read_past(
        self, s1crets_aws: LoopbackAws, ps: AsyncParameterStore, sm: AsyncSecretsManager
    ) -> None:
        """Each page of a listing may be preceded by an empty one with a token."""
        names = [f"/t/{i}" for i in range(12)]
        s1crets_aws.seed({"aws.ps": dict.fromkeys(names, "v"), "aws.sm": {"t/a": "v"}})
        s1crets_aws.empty_pages()

        assert sorted(await ps.get_by_path("/t")) == sorted(names)
        assert await ps.path_exists("/t")
        assert await sm.get_by_path("t") == {"t/a": "v"}
        await ps.update("/t/3", "new")
        assert ps.stats.requests["GetParametersByPath"] >= 4

    def test_other_services_are_moto(self, s1crets_aws: LoopbackAws) -> None:
        """What it does not know it passes on, and does not count."""
        sts = client("sts")

        assert sts.get_caller_identity()["Account"] == s1crets_aws.account
        client("kms").create_key()
        client("iam").list_users()
        assert urllib.request.urlopen(s1crets_aws.url).status == 200  # noqa: S310
        assert [one.operation for one in s1crets_aws.requests] == ["GetCallerIdentity"]


class TestFaults:
    """Throttled, denied, late, broken: what the wire says, and what the library makes of it."""

    async def test_throttling_for_some_requests(self, s1crets_aws: LoopbackAws) -> None:
        """The next ones get through, and the library waits for that."""
        s1crets_aws.seed({"aws.ps": {"/a": "v"}})
        s1crets_aws.throttle("ssm:GetParameter", times=2)

        async with AsyncParameterStore(retry=3) as ps:
            assert await ps.get("/a") == "v"

            assert ps.stats.throttled == 2
        assert s1crets_aws.requests == (Asked("ssm", "GetParameter", ("/a",)),) * 3

    async def test_throttling_until_it_is_healed(self, s1crets_aws: LoopbackAws, asm: Any) -> None:
        """Of every operation, with the code of each service."""
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

    def test_a_quota_lets_so_many_pass(self) -> None:
        """A bucket that a clock fills; the clock is the test's."""
        now = [0.0]
        with loopback_aws(clock=lambda: now[0]) as aws:
            aws.throttle("GetParameter*", rate=2)
            ssm = boto3.client("ssm", endpoint_url=aws.url, config=ONCE)

            def passed() -> list[bool]:
                codes = [code_of(lambda: ssm.get_parameter(Name="/a")) for _ in range(3)]
                return [code == "ParameterNotFound" for code in codes]

            assert passed() == [True, True, False]
            assert passed() == [False] * 3
            now[0] += 0.5
            assert passed() == [True, False, False]
            now[0] += 3600
            assert passed() == [True, True, False]

    async def test_denied_on_a_name(self, s1crets_aws: LoopbackAws) -> None:
        """By name or ARN, and in IAM's words; what else there is stays readable."""
        s1crets_aws.seed({"aws.ps": {"/app/a": "v", "/other": "v"}, "aws.sm": {"app/a": "v"}})
        s1crets_aws.deny("ssm:GetParameter*", "/app/*")
        s1crets_aws.deny("secretsmanager:*", "arn:aws:secretsmanager:*:secret:app/a-*")

        async with AsyncParameterStore() as ps, AsyncSecretsManager() as sm:
            words = (
                "arn:aws:iam::123456789012:user/s1crets is not authorized to perform:"
                f" ssm:GetParameter on resource: {ARN}/app/a because"
            )
            with pytest.raises(s1crets.AccessDeniedError, match=words):
                await ps.get("/app/a")
            with pytest.raises(PermissionError):
                await sm.get("app/a")
            assert await ps.get("/other") == "v"

    async def test_one_denied_name_fails_a_batch_of_parameters(
        self, s1crets_aws: LoopbackAws
    ) -> None:
        """The library asks for them one by one then, and has what is allowed."""
        s1crets_aws.seed({"aws.ps": {"/app/a": "fake-a", "/app/b": "fake-b"}})
        s1crets_aws.deny("GetParameter*", "/app/b")

        async with AsyncParameterStore() as ps:
            found = await ps.get_many(["/app/a", "/app/b"], errors="return")

        assert found["/app/a"] == "fake-a"
        assert isinstance(found["/app/b"], s1crets.AccessDeniedError)
        assert [one.operation for one in s1crets_aws.requests] == [
            "GetParameters",
            "GetParameter",
            "GetParameter",
        ]

    async def test_a_path_is_authorized_on_itself(self, s1crets_aws: LoopbackAws) -> None:
        """What is denied below it is read all the same, as on AWS."""
        s1crets_aws.seed({"aws.ps": {"/app/a": "v"}})

        async with AsyncParameterStore(cache_args={"cache_ttl": 0}) as ps:
            s1crets_aws.deny("ssm:*", "/app/*")
            assert await ps.get_by_path("/app") == {"/app/a": "v"}
            s1crets_aws.deny("ssm:*", "/app")
            with pytest.raises(PermissionError, match=f"{ARN}/app because"):
                await ps.get_by_path("/app")

    async def test_a_batch_of_secrets_needs_a_permission_of_its_own(
        self, s1crets_aws: LoopbackAws
    ) -> None:
        """On `*`: no resource covers it. Without it the library reads each alone."""
        s1crets_aws.seed({"aws.sm": {"a": "fake-a", "b": "fake-b"}})

        async with AsyncSecretsManager(cache_args={"cache_ttl": 0}) as sm:
            s1crets_aws.deny("BatchGetSecretValue", "a")
            await sm.get_many(["a", "b"])
            assert sm.stats.requests == {"BatchGetSecretValue": 1}
            s1crets_aws.deny("BatchGetSecretValue")
            assert await sm.get_many(["a", "b"]) == {"a": "fake-a", "b": "fake-b"}
            assert sm.stats.requests == {"BatchGetSecretValue": 2, "GetSecretValue": 2}

    def test_a_role_that_may_not_be_assumed(self, s1crets_aws: LoopbackAws) -> None:
        """STS has its own form of errors."""
        role = "arn:aws:iam::123456789012:role/reader"
        s1crets_aws.deny("sts:AssumeRole", role)

        with ParameterStore(sts_args={"RoleArn": role}) as ps:
            with pytest.raises(s1crets.CredentialsError, match="sts:AssumeRole on resource"):
                ps.get("/a")
            s1crets_aws.heal()
            s1crets_aws.seed({"aws.ps": {"/a": "v"}})
            assert ps.get("/a") == "v"
        assert s1crets_aws.requests[0] == Asked("sts", "AssumeRole", (role,))

    def test_delayed_answers_come_at_once_when_it_is_healed(self, s1crets_aws: LoopbackAws) -> None:
        """So no test waits for a delay that it has put on."""
        s1crets_aws.seed({"aws.ps": {"/a": "v", "/b": "v"}})
        s1crets_aws.delay(3600, "GetParameter")
        found: list[Any] = []

        with ParameterStore(timeout=60) as ps:
            reading = threading.Thread(target=lambda: found.append(ps.get("/a")))
            reading.start()
            while not s1crets_aws.requests:  # it has come, and waits
                reading.join(0.001)
            assert not found
            s1crets_aws.heal()
            reading.join(30)

        assert found == ["v"]

    async def test_a_delay_beyond_the_timeout(self, s1crets_aws: LoopbackAws) -> None:
        """The library gives up; other operations are not delayed."""
        s1crets_aws.seed({"aws.ps": {"/a": "v"}})
        s1crets_aws.delay(3600, "ssm:GetParameter")

        async with AsyncParameterStore(timeout=0.2, retry=1) as ps:
            with pytest.raises(s1crets.UnavailableError):
                await ps.get("/a")
        assert client("ssm").describe_parameters()["Parameters"]

    async def test_failing_with_a_status_or_a_code(
        self, s1crets_aws: LoopbackAws, ps: AsyncParameterStore
    ) -> None:
        """An internal error is tried again; a key that can't be used is not."""
        s1crets_aws.seed({"aws.ps": {"/a": "v", "/b": "v"}})
        s1crets_aws.fail("GetParameter", status=503, times=1)
        assert await ps.get("/a") == "v"
        assert ps.stats.retried == 1

        s1crets_aws.fail("GetParameter", status=400, code="InvalidKeyId")
        with pytest.raises(s1crets.DecryptionError):
            await ps.get("/b")

    def test_each_service_has_its_internal_error(self, s1crets_aws: LoopbackAws) -> None:
        """As AWS calls them."""
        s1crets_aws.fail()

        codes = {
            "InternalServerError": lambda: client("ssm").get_parameter(Name="/a"),
            "InternalServiceError": lambda: client("secretsmanager").list_secrets(),
            "InternalFailure": lambda: client("sts").get_caller_identity(),
        }
        assert list(codes) == [code_of(ask) for ask in codes.values()]

    async def test_down_and_up_on_the_same_port(self, s1crets_aws: LoopbackAws) -> None:
        """Connections that were open are broken off; a cache that may go on does."""
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
        ],
    )
    def test_a_fault_that_could_not_happen_is_refused(
        self, wrong: Callable[[LoopbackAws], None], s1crets_aws: LoopbackAws
    ) -> None:
        """A test that misspells an operation would prove nothing."""
        with pytest.raises(ValueError, match=r"operation|not both|more than 0|status"):
            wrong(s1crets_aws)


class TestSeeds:
    """What it holds at first."""

    async def test_from_a_dict(
        self, s1crets_aws: LoopbackAws, ps: AsyncParameterStore, sm: AsyncSecretsManager
    ) -> None:
        """Text, JSON and bytes; what was there is overwritten; large parameters are advanced."""
        large = "x" * 8192
        s1crets_aws.seed({"aws.ps": {"/a": "old"}, "aws.sm": {"a": "old"}})
        s1crets_aws.seed(
            {
                "aws.ps": {"/a": "12", "/b": {"k": ["ü"]}, "/c": large},
                "aws.sm": {"a": "t", "b": [1], "c": b"\x00", "d": {"$base64": "AAE="}},
            }
        )

        assert await ps.get_many(["/a", "/b", "/c"]) == {
            "/a": "12",
            "/b": {"k": ["ü"]},
            "/c": large,
        }
        found = await sm.get_many(["a", "b", "c", "d"])
        assert found == {"a": "t", "b": [1], "c": b"\x00", "d": b"\x00\x01"}
        assert {one["Type"] for one in client("ssm").describe_parameters()["Parameters"]} == {
            "SecureString"
        }

    @pytest.mark.parametrize("kind", [str, lambda path: path])
    def test_from_a_file(self, kind: Callable[[Path], Any], tmp_path: Path) -> None:
        """Of JSON, by its path, at the start."""
        file = tmp_path / "seed.json"
        file.write_text('{"aws.ps": {"/a": {"k": 1}}, "aws.sm": {"b": {"$base64": "AA=="}}}')

        with loopback_aws(seed=kind(file)) as aws:
            ssm = boto3.client("ssm", endpoint_url=aws.url)
            found = ssm.get_parameter(Name="/a", WithDecryption=True)["Parameter"]["Value"]
            asm = boto3.client("secretsmanager", endpoint_url=aws.url)
            binary = asm.get_secret_value(SecretId="b")["SecretBinary"]

        assert (found, binary) == ('{"k": 1}', b"\x00")

    @pytest.mark.parametrize(
        ("seed", "error", "words"),
        [
            ({"aws.s3": {}}, s1crets.ConfigurationError, "known are 'aws.ps', 'aws.sm'"),
            ({"aws.ps": ["/a"]}, TypeError, "a dict of names and values"),
            ({"aws.ps": {"/a": 12345678}}, TypeError, "these are str and int"),
            ({"aws.ps": {7: "fake-hidden"}}, TypeError, "these are int and str"),
            ({"aws.ps": {"/a": b"fake-hidden"}}, ValueError, "takes no bytes"),
            ({"aws.ps": {"/a b": "fake-hidden"}}, ValueError, "ValidationException"),
            ({"aws.ps": {"/a": ""}}, ValueError, "ValidationException"),
            ({"aws.ps": {"/a": "fake-hidden" * 999}}, s1crets.InvalidValueError, "8192"),
            ({"aws.sm": {"a": {"$base64": "fake-hidden"}}}, ValueError, "no base64"),
            ({"aws.sm": {"a": {"$base64": 12345678}}}, ValueError, "no base64"),
        ],
    )
    def test_a_seed_that_is_none(
        self, seed: Any, error: type[Exception], words: str, s1crets_aws: LoopbackAws
    ) -> None:
        """It is refused with its name and the reason, without its value."""
        with pytest.raises(error, match=words) as caught:
            s1crets_aws.seed(seed)
        assert "fake-hidden" not in str(caught.value)
        assert "12345678" not in str(caught.value)

    def test_a_file_that_is_none(self, s1crets_aws: LoopbackAws, tmp_path: Path) -> None:
        """Its path is told, not what is in it."""
        file = tmp_path / "seed.json"
        file.write_text("fake-hidden")

        with pytest.raises(s1crets.ConfigurationError, match=r"seed\.json") as caught:
            s1crets_aws.seed(file)
        assert "fake-hidden" not in repr(caught.value)
        with pytest.raises(FileNotFoundError):
            s1crets_aws.seed(tmp_path / "nothing.json")

    async def test_seeding_is_not_asking(self, s1crets_aws: LoopbackAws) -> None:
        """It works while everything is refused, and is not among the requests."""
        s1crets_aws.throttle()
        s1crets_aws.deny()
        s1crets_aws.seed({"aws.ps": {"/a": "v"}})

        assert s1crets_aws.requests == ()


class TestLife:
    """It comes, is told apart from others, and goes."""

    def test_it_comes_and_goes(self) -> None:
        """It serves every AWS client, and is gone afterwards."""
        with loopback_aws("eu-south-1") as aws:
            assert aws.environment["AWS_DEFAULT_REGION"] == aws.region == "eu-south-1"
            ssm = boto3.client("ssm", endpoint_url=aws.url, region_name=aws.region, config=ONCE)
            put(ssm)
        with pytest.raises(EndpointConnectionError):
            ssm.get_parameter(Name="/a")

    def test_in_pythons_development_mode(self, s1crets_aws: LoopbackAws) -> None:
        """Aiohttp refuses headers that come twice then."""
        s1crets_aws.seed({"aws.ps": {"/a": "fake"}})
        script = """
import s1crets
print(s1crets.get("aws.ps", "/a"), s1crets.get("aws.ps", "/nope", default="none"))
s1crets.update("aws.ps", "/a", "fake-new")
"""
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", script],
            stdout=-1,
            text=True,
            check=True,
            timeout=60,
        )

        assert done.stdout == "fake none\n"

    def test_several_share_nothing(self, s1crets_aws: LoopbackAws, ssm: Any) -> None:
        """Each has an account of its own; the next one gets that of one that has gone, empty."""
        put(ssm)
        accounts = []
        for _ in range(2):
            with loopback_aws() as aws:
                accounts.append(aws.account)
                other = boto3.client("ssm", endpoint_url=aws.url)
                assert other.describe_parameters()["Parameters"] == []
                arn = put(other, "/b") and other.get_parameter(Name="/b")["Parameter"]["ARN"]
                assert arn == f"arn:aws:ssm:eu-west-1:{aws.account}:parameter/b"

        assert accounts[0] == accounts[1] != s1crets_aws.account
        assert [one["Name"] for one in ssm.describe_parameters()["Parameters"]] == ["/a"]

    def test_regions_share_nothing(self, s1crets_aws: LoopbackAws) -> None:
        """A seed is in the AWS's own."""
        s1crets_aws.seed({"aws.ps": {"/a": "v"}})
        elsewhere = boto3.client("ssm", region_name="us-east-1", config=ONCE)

        assert code_of(lambda: elsewhere.get_parameter(Name="/a")) == "ParameterNotFound"

    def test_reset_forgets_all(self, s1crets_aws: LoopbackAws, ssm: Any, asm: Any) -> None:
        """What is stored, what was asked, and what goes wrong."""
        s1crets_aws.seed({"aws.ps": {"/a": "v"}, "aws.sm": {"a": "v"}})
        ssm.describe_parameters()
        s1crets_aws.fail()
        s1crets_aws.empty_pages()
        s1crets_aws.down()

        s1crets_aws.reset()

        assert s1crets_aws.requests == ()
        assert ssm.describe_parameters()["Parameters"] == []
        assert asm.list_secrets()["SecretList"] == []
        assert len(s1crets_aws.requests) == 2

    def test_requests_tell_names_and_no_values(
        self, s1crets_aws: LoopbackAws, ssm: Any, asm: Any
    ) -> None:
        """The service, the operation and what it was about."""
        put(ssm, "/a", "fake-hidden")
        ssm.get_parameters(Names=["/a", "/b"])
        ssm.get_parameters_by_path(Path="/a")
        filters = [{"Key": "Name", "Values": ["/a"]}]
        ssm.describe_parameters(ParameterFilters=filters)
        asm.create_secret(Name="a", SecretString="fake-hidden")
        asm.batch_get_secret_value(SecretIdList=["a", "b"])
        asm.list_secrets(Filters=[{"Key": "tag-key", "Values": ["k"]}])

        assert s1crets_aws.requests == (
            Asked("ssm", "PutParameter", ("/a",)),
            Asked("ssm", "GetParameters", ("/a", "/b")),
            Asked("ssm", "GetParametersByPath", ("/a",)),
            Asked("ssm", "DescribeParameters", ("/a",)),
            Asked("secretsmanager", "CreateSecret", ("a",)),
            Asked("secretsmanager", "BatchGetSecretValue", ("a", "b")),
            Asked("secretsmanager", "ListSecrets"),
        )
        assert "fake-hidden" not in repr(s1crets_aws.requests)

    def test_many_threads_at_once(self) -> None:
        """It asks moto, which takes no locks, by one at a time: nothing is lost or mixed up."""
        names = [f"/t/{i}" for i in range(20)]

        def write(name: str) -> None:
            ssm = boto3.Session().client("ssm")
            for _ in range(5):
                put_again(ssm, name=name, value=name)
                ssm.get_parameters_by_path(Path="/t")

        threads = [threading.Thread(target=write, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        with ParameterStore() as ps:
            assert ps.get_by_path("/t") == {name: name for name in sorted(names)}
        versions = [one["Version"] for one in client("ssm").describe_parameters()["Parameters"]]
        assert set(versions) == {5}

    def test_a_connection_of_the_last_moment_is_broken_off(self) -> None:
        """One that was accepted while it went down, and whose thread begins only then."""
        from s1crets.testing._http import _Handler, _Http

        http = _Http(("127.0.0.1", 0), _Handler)
        threading.Thread(target=http.serve_forever, daemon=True).start()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            http.stop()
            http.opened(ours)

            assert theirs.recv(1) == b""

    def test_without_moto_it_says_what_to_install(self) -> None:
        """The extra is not part of a plain install."""
        script = """
import sys
sys.modules["moto.backends"] = None
from s1crets.testing import loopback_aws
try:
    with loopback_aws():
        pass
except ValueError as error:
    assert "s1crets[testing]" in str(error)
else:
    raise AssertionError
"""
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
