"""Local AWS: behaviours that were recorded on AWS, and that moto alone does not have."""

from __future__ import annotations

import http.client
import json
import logging
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from _support.boto import client, code_of
from botocore.exceptions import ClientError

from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager
from s1crets.testing import AwsError, LocalAws, scripted_aws

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "a" * 32
REFERENCE = "/aws/reference/secretsmanager/"


def create(asm: Any, name: str = "s", value: str = "fake-1", **more: Any) -> str:
    """Create a secret; return the id of its version."""
    return str(asm.create_secret(Name=name, SecretString=value, **more)["VersionId"])


def put(asm: Any, value: str, *stages: str) -> str:
    """Store a new version; return its id."""
    wanted = {"VersionStages": list(stages)} if stages else {}
    return str(asm.put_secret_value(SecretId="s", SecretString=value, **wanted)["VersionId"])


def stages_of(asm: Any) -> dict[str, list[str]]:
    """Return the stages of all versions, by id."""
    return dict(asm.describe_secret(SecretId="s").get("VersionIdsToStages", {}))


def error_of(call: Callable[[], Any]) -> dict[str, Any]:
    """Return the response that a call fails with."""
    with pytest.raises(ClientError) as caught:
        call()
    return dict(caught.value.response)


class TestStages:
    """Which version a stage names."""

    @pytest.mark.parametrize("token", [None, TOKEN])
    async def test_a_promoted_version_is_current(
        self, token: str | None, asm: Any, sm: AsyncSecretsManager
    ) -> None:
        """For `GetSecretValue`, `BatchGetSecretValue` and the library; the old one is previous."""
        old = create(asm)
        more = {"ClientRequestToken": token} if token else {}
        new = asm.put_secret_value(
            SecretId="s", SecretString="fake-2", VersionStages=["AWSPENDING", "mine"], **more
        )["VersionId"]
        move = {"VersionStage": "AWSCURRENT", "MoveToVersionId": new}

        asm.update_secret_version_stage(SecretId="s", RemoveFromVersionId=old, **move)

        found = asm.get_secret_value(SecretId="s")
        assert (found["SecretString"], found["VersionId"]) == ("fake-2", new)
        assert found["VersionStages"] == ["AWSCURRENT", "AWSPENDING", "mine"]
        assert asm.batch_get_secret_value(SecretIdList=["s"])["SecretValues"][0] == {
            k: v for k, v in found.items() if k != "ResponseMetadata"
        }
        assert await sm.get("s") == "fake-2"
        assert await sm.get("s", version_stage="AWSPREVIOUS") == "fake-1"
        third = put(asm, "fake-3")
        assert stages_of(asm) == {
            new: ["AWSPENDING", "AWSPREVIOUS", "mine"], third: ["AWSCURRENT"],
        }  # fmt: skip

    def test_a_version_that_exists_is_not_written_again(self, asm: Any) -> None:
        """A repeated request changes nothing, not even stages; another value is refused."""
        create(asm)
        sent = {"SecretId": "s", "SecretString": "fake-2", "ClientRequestToken": TOKEN}
        first = asm.put_secret_value(**sent, VersionStages=["AWSPENDING"])
        again = asm.put_secret_value(**sent, VersionStages=["AWSCURRENT"])

        assert again["VersionStages"] == ["AWSPENDING"]
        assert {**again, "ResponseMetadata": 0} == {**first, "ResponseMetadata": 0}
        assert stages_of(asm)[TOKEN] == ["AWSPENDING"]
        for other in ({"SecretString": "fake-3"}, {"SecretBinary": b"fake-2"}):
            wrong = {"SecretId": "s", "ClientRequestToken": TOKEN, **other}
            assert code_of(partial(asm.put_secret_value, **wrong)) == "ResourceExistsException"

    def test_a_new_version_takes_stages_from_others(self, asm: Any) -> None:
        """Each stage belongs to one version; moto leaves the caller's own where they were."""
        first = create(asm)
        second = put(asm, "fake-2", "AWSCURRENT", "mine")
        assert stages_of(asm) == {first: ["AWSPREVIOUS"], second: ["AWSCURRENT", "mine"]}
        third = put(asm, "fake-3", "mine")

        assert stages_of(asm) == {
            first: ["AWSPREVIOUS"], second: ["AWSCURRENT"], third: ["mine"]
        }  # fmt: skip
        updated = asm.update_secret(SecretId="s", SecretString="fake-4")["VersionId"]
        assert stages_of(asm) == {
            second: ["AWSPREVIOUS"], third: ["mine"], updated: ["AWSCURRENT"]
        }  # fmt: skip

    def test_a_stage_is_removed(self, asm: Any) -> None:
        """AWSCURRENT can only be moved."""
        first = create(asm)
        second = put(asm, "fake-2", "mine")
        asm.update_secret_version_stage(
            SecretId="s", VersionStage="mine", RemoveFromVersionId=second
        )

        assert stages_of(asm) == {first: ["AWSCURRENT"]}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"MoveToVersionId": "new"}, "RemoveFromVersionId can't be empty"),
            ({"MoveToVersionId": "new", "RemoveFromVersionId": "new"}, "not found in version"),
            ({"RemoveFromVersionId": "old"}, "can only move staging label AWSCURRENT"),
            ({"MoveToVersionId": TOKEN, "RemoveFromVersionId": "old"}, "Not a valid version"),
        ],
    )
    def test_an_invalid_move_changes_nothing(
        self, arguments: dict[str, str], message: str, asm: Any
    ) -> None:
        """It is an `InvalidParameterException`; moto removes the stage first."""
        ids = {"old": create(asm)}
        ids["new"] = put(asm, "fake-2", "AWSPENDING")
        before = stages_of(asm)
        sent = {name: ids.get(value, value) for name, value in arguments.items()}

        error = error_of(
            lambda: asm.update_secret_version_stage(SecretId="s", VersionStage="AWSCURRENT", **sent)
        )["Error"]

        assert error["Code"] == "InvalidParameterException"
        assert message in error["Message"]
        assert stages_of(asm) == before

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"VersionStage": "none"}, "the specified secret value for staging label: none"),
            ({"VersionId": TOKEN}, f"the specified secret value for VersionId: {TOKEN}"),
        ],
    )
    def test_a_missing_version_is_named(
        self, arguments: dict[str, str], message: str, asm: Any
    ) -> None:
        """It is a `ResourceNotFoundException` that names what is missing."""
        create(asm)
        error = error_of(lambda: asm.get_secret_value(SecretId="s", **arguments))["Error"]

        assert error["Code"] == "ResourceNotFoundException"
        assert message in error["Message"]

    def test_a_version_without_the_stage(self, asm: Any) -> None:
        """A version that exists, but does not have the stage, is an `InvalidRequestException`."""
        version = create(asm)
        wanted = {"VersionId": version, "VersionStage": "AWSPREVIOUS"}

        assert code_of(lambda: asm.get_secret_value(SecretId="s", **wanted)) == (
            "InvalidRequestException"
        )

    def test_a_repeated_request_changes_nothing(self, asm: Any) -> None:
        """The same token and value return the existing version, with its times and stages."""
        sent = {"SecretId": "s", "SecretString": "fake-2", "ClientRequestToken": TOKEN}
        first = create(asm, ClientRequestToken=TOKEN[:-1] + "b")
        asm.put_secret_value(**sent)
        before = asm.list_secret_version_ids(SecretId="s")["Versions"]
        asm.put_secret_value(**sent)
        create(asm, ClientRequestToken=first)

        assert asm.list_secret_version_ids(SecretId="s")["Versions"] == before


class TestListings:
    """Listings and descriptions of secrets."""

    def test_versions(self, asm: Any) -> None:
        """Deprecated ones are left out, and there is no empty `NextToken`; ARN, key, times."""
        first = create(asm, KmsKeyId="alias/mine")
        asm.get_secret_value(SecretId="s")
        second, third = put(asm, "fake-2"), put(asm, "fake-3")
        listed = asm.list_secret_version_ids(SecretId="s")

        assert listed["ARN"] == asm.describe_secret(SecretId="s")["ARN"]
        assert "NextToken" not in listed
        assert [(one["VersionId"], one["VersionStages"]) for one in listed["Versions"]] == [
            (second, ["AWSPREVIOUS"]), (third, ["AWSCURRENT"]),
        ]  # fmt: skip
        everything = asm.list_secret_version_ids(SecretId="s", IncludeDeprecated=True)["Versions"]
        oldest = everything[0]
        assert (oldest["VersionId"], len(everything)) == (first, 3)
        assert "VersionStages" not in oldest
        assert oldest["KmsKeyIds"] == ["alias/mine"]
        assert "LastAccessedDate" in oldest
        assert "LastAccessedDate" not in everything[1]

    def test_versions_have_pages(self, asm: Any) -> None:
        """Of `MaxResults` versions."""
        versions = [create(asm), put(asm, "fake-2")]
        first = asm.list_secret_version_ids(SecretId="s", MaxResults=1)
        second = asm.list_secret_version_ids(SecretId="s", NextToken=first["NextToken"])

        pages = [*first["Versions"], *second["Versions"]]
        assert [one["VersionId"] for one in pages] == versions
        assert "NextToken" not in second

    def test_times_have_fractions(self, asm: Any) -> None:
        """Of creation and change; the last access is a day, and missing before the first."""
        create(asm)
        put(asm, "fake-2")
        new = asm.describe_secret(SecretId="s")
        assert "LastAccessedDate" not in new
        value = asm.get_secret_value(SecretId="s")
        described = asm.describe_secret(SecretId="s")
        (listed,) = asm.list_secrets()["SecretList"]

        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        assert described["LastAccessedDate"] == listed["LastAccessedDate"] == today
        times = [new["CreatedDate"], new["LastChangedDate"], value["CreatedDate"]]
        assert times[0] <= times[2] <= times[1]
        assert any(time.microsecond for time in times)  # all are whole once in 10**9 times

    def test_only_what_is_there_is_described(self, asm: Any) -> None:
        """A secret without a value has no versions; one without tags has no tags."""
        asm.create_secret(Name="s")
        described = asm.describe_secret(SecretId="s")

        assert set(described) - {"ResponseMetadata"} == {
            "ARN", "CreatedDate", "LastChangedDate", "Name"
        }  # fmt: skip
        assert "NextToken" not in asm.list_secrets()

    def test_a_batch_by_filter_has_pages(self, asm: Any) -> None:
        """A secret without a value is an error of its own."""
        create(asm, "a/1")
        asm.create_secret(Name="a/2")
        filters = {"Filters": [{"Key": "name", "Values": ["a/"]}]}
        first = asm.batch_get_secret_value(**filters, MaxResults=1)
        second = asm.batch_get_secret_value(**filters, NextToken=first["NextToken"])

        assert [one["Name"] for one in first["SecretValues"]] == ["a/1"]
        assert [one["SecretId"] for one in second["Errors"]] == ["a/2"]
        assert "NextToken" not in second


class TestRefusals:
    """Requests that AWS refuses."""

    @pytest.mark.parametrize(
        "operation", ["tag_resource", "untag_resource", "put_resource_policy", "rotate_secret"]
    )
    def test_a_deleted_secret_is_not_changed(self, operation: str, asm: Any) -> None:
        """Neither its tags nor its policy."""
        create(asm)
        asm.delete_secret(SecretId="s")
        arguments: dict[str, dict[str, Any]] = {
            "tag_resource": {"Tags": [{"Key": "k", "Value": "v"}]},
            "untag_resource": {"TagKeys": ["k"]},
            "put_resource_policy": {"ResourcePolicy": "{}"},
            "rotate_secret": {},
        }
        more = arguments[operation]
        error = error_of(lambda: getattr(asm, operation)(SecretId="s", **more))

        assert error["Error"]["Code"] == "InvalidRequestException"
        assert error["Message"] == error["Error"]["Message"]
        assert "was marked for deletion" in error["Message"]

    @pytest.mark.parametrize(
        ("arn", "code", "message"),
        [
            ({}, "InvalidRequestException", "No Lambda rotation function ARN"),
            (
                {"RotationLambdaARN": "arn:aws:lambda:eu-west-1:123456789012:function:none"},
                "AccessDeniedException",
                "cannot invoke the specified Lambda function",
            ),
        ],
    )
    def test_a_rotation_needs_a_function(
        self, arn: dict[str, str], code: str, message: str, asm: Any
    ) -> None:
        """One that exists; the secret does not change."""
        create(asm)
        before = asm.describe_secret(SecretId="s")
        error = error_of(lambda: asm.rotate_secret(SecretId="s", **arn))["Error"]

        assert error["Code"] == code
        assert message in error["Message"]
        after = asm.describe_secret(SecretId="s")
        assert {**after, "ResponseMetadata": 0} == {**before, "ResponseMetadata": 0}

    def test_both_kinds_of_values(self, asm: Any) -> None:
        """Text and bytes at once are an `InvalidParameterException`."""
        both = {"SecretString": "fake", "SecretBinary": b"fake"}
        create(asm)
        calls = [
            lambda: asm.create_secret(Name="t", **both),
            lambda: asm.put_secret_value(SecretId="s", **both),
            lambda: asm.update_secret(SecretId="s", **both),
        ]

        assert [code_of(call) for call in calls] == ["InvalidParameterException"] * 3

    def test_an_unknown_filter(self, asm: Any) -> None:
        """It is a `ValidationException`, for listings and batches."""
        filters = {"Filters": [{"Key": "none", "Values": ["a"]}]}

        assert code_of(lambda: asm.list_secrets(**filters)) == "ValidationException"
        assert code_of(lambda: asm.batch_get_secret_value(**filters)) == "ValidationException"

    @pytest.mark.parametrize("name", ["prod/db/url", "/prod//db", "/prod/", "/"])
    def test_names_of_parameters_are_paths(self, name: str, ssm: Any) -> None:
        """A path begins with a slash, and its levels are not empty."""
        calls = [
            lambda: ssm.get_parameter(Name=name),
            lambda: ssm.get_parameters(Names=["/good", name]),
            lambda: ssm.put_parameter(Name=name, Value="fake", Type="String"),
        ]

        assert [code_of(call) for call in calls] == ["ValidationException"] * 3

    async def test_the_library_refuses_them_too(self, ps: AsyncParameterStore) -> None:
        """With a default, and in a batch, where the other names are read."""
        client("ssm").put_parameter(Name="/good", Value="fake", Type="String")
        for name in ("prod/db/url", "/prod//db"):
            with pytest.raises(ValueError, match=name):
                await ps.get(name, default=None)
        found = await ps.get_many(["/good", "/prod//db"], errors="return")

        assert found["/good"] == "fake"
        assert isinstance(found["/prod//db"], ValueError)

    def test_paths(self, ssm: Any) -> None:
        """A slash at the end is allowed, an empty level is not."""
        ssm.put_parameter(Name="/a/b", Value="fake", Type="String")
        for path in ("/", "/a", "/a/"):
            listed = ssm.get_parameters_by_path(Path=path, Recursive=True)["Parameters"]
            assert [one["Name"] for one in listed] == ["/a/b"]

        assert code_of(lambda: ssm.get_parameters_by_path(Path="/a//b")) == "ValidationException"

    def test_a_name_of_one_level(self, ssm: Any) -> None:
        """It is the same with and without a slash, and returned as it was requested."""
        ssm.put_parameter(Name="a", Value="fake", Type="String")
        ssm.put_parameter(Name="/b", Value="fake", Type="String")

        for name in ("a", "/a", "b", "/b"):
            assert ssm.get_parameter(Name=name)["Parameter"]["Name"] == name
            assert ssm.get_parameters(Names=[name])["Parameters"][0]["Name"] == name

    @pytest.mark.parametrize(
        ("role", "session"),
        [
            ("arn:aws:iam::1:role/r-of-some-length", "ss"),
            ("arn:aws:s3:::123456789012:role/r", "ss"),
            ("arn:aws:iam::123456789012:role/r", "s s"),
        ],
    )
    def test_an_invalid_role(self, role: str, session: str) -> None:
        """It is a `ValidationError`, as is an invalid session name."""
        sts = client("sts")

        assert code_of(lambda: sts.assume_role(RoleArn=role, RoleSessionName=session)) == (
            "ValidationError"
        )


class TestReferences:
    """Secrets that are read as parameters."""

    def test_a_secret_is_a_parameter(self, ssm: Any, asm: Any) -> None:
        """Its name is the full reference; a selector is a stage or the id of a version."""
        old = create(asm, "p/s")
        asm.put_secret_value(SecretId="p/s", SecretBinary=b"fake-2")
        reference = f"{REFERENCE}p/s"
        names = [f"{reference}:{selector}" for selector in (old, "AWSPREVIOUS")]

        found = ssm.get_parameter(Name=reference, WithDecryption=True)["Parameter"]
        assert (found["Name"], found["Value"]) == (reference, "ZmFrZS0y")
        assert found["Type"] == "SecureString"
        assert json.loads(found["SourceResult"])["name"] == "p/s"
        for name in names:
            old_one = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
            assert (old_one["Name"], old_one["Value"]) == (reference, "fake-1")
            assert name == reference + old_one["Selector"]

    def test_a_missing_one_is_invalid_in_its_batch(self, ssm: Any, asm: Any) -> None:
        """The others are read: parameters and secrets; also if all are references."""
        create(asm)
        asm.create_secret(Name="empty")
        ssm.put_parameter(Name="/a", Value="fake", Type="String")
        missing = [f"{REFERENCE}none", f"{REFERENCE}empty", f"{REFERENCE}s:none"]

        for others in (["/a", "/none"], []):
            found = ssm.get_parameters(
                Names=[*others, f"{REFERENCE}s", *missing], WithDecryption=True
            )
            names = {one["Name"] for one in found["Parameters"]}
            assert names == {f"{REFERENCE}s", *others} - {"/none"}
            assert set(found["InvalidParameters"]) == {*missing, *others} - {"/a"}

    def test_a_missing_one_alone(self, ssm: Any) -> None:
        """It is a `ParameterNotFound` that names the reference; it needs decryption."""
        name = f"{REFERENCE}none"
        error = error_of(lambda: ssm.get_parameter(Name=name, WithDecryption=True))["Error"]

        assert (error["Code"], name in error["Message"]) == ("ParameterNotFound", True)
        assert code_of(lambda: ssm.get_parameter(Name=name)) == "ValidationException"


class TestFailures:
    """No request closes the connection without a response."""

    @pytest.mark.parametrize(
        ("service", "call", "code"),
        [
            ("secretsmanager", lambda c: c.list_secret_version_ids(SecretId="none"),
             "ResourceNotFoundException"),
            ("secretsmanager", lambda c: c.list_secrets(NextToken="bad"),
             "InvalidNextTokenException"),
            ("ssm", lambda c: c.describe_parameters(NextToken="bad"), "InvalidNextToken"),
            ("ssm", lambda c: c.get_parameters_by_path(Path="/", NextToken="bad"),
             "InvalidNextToken"),
        ],
    )  # fmt: skip
    def test_what_moto_fails_on_is_aws_error(
        self, service: str, call: Callable[[Any], Any], code: str
    ) -> None:
        """The error's text is also in `Message`, if AWS models it."""
        error = error_of(lambda: call(client(service)))

        assert error["Error"]["Code"] == code
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
        if code == "ResourceNotFoundException":
            assert error["Message"] == "Secrets Manager can't find the specified secret."

    @pytest.mark.parametrize(
        ("service", "operation", "code"),
        [
            ("ssm", "describe_parameters", "InvalidSignatureException"),
            ("secretsmanager", "list_secrets", "InvalidSignatureException"),
            ("sts", "get_caller_identity", "SignatureDoesNotMatch"),
        ],
    )
    def test_an_unknown_region(
        self, service: str, operation: str, code: str, s1crets_aws: LocalAws
    ) -> None:
        """A signature for it is invalid."""
        elsewhere = client(service, region_name="eu-nowhere-1", endpoint_url=s1crets_aws.url)

        assert code_of(getattr(elsewhere, operation)) == code

    def test_any_exception_is_an_internal_error(self, caplog: pytest.LogCaptureFixture) -> None:
        """And the connection stays open; the exception is logged."""

        def fail(call: Any) -> Any:
            if call.body["Name"] == "/aws-error":
                raise AwsError("ParameterNotFound", "no")
            raise LookupError("a mistake in a test")

        with scripted_aws() as aws, caplog.at_level(logging.ERROR):
            aws.responses["GetParameter"] = fail
            host = aws.url.removeprefix("http://")
            connection = http.client.HTTPConnection(host)
            statuses = []
            for body in ('{"Name": "/a"}', "[]", "no JSON", '{"Name": "/aws-error"}'):
                headers = {"X-Amz-Target": "AmazonSSM.GetParameter"}
                connection.request("POST", "/", body, headers)
                with connection.getresponse() as response:
                    statuses.append((response.status, json.load(response)["__type"]))
                assert aws.open_connections == 1
            connection.close()

        assert statuses == [
            (500, "InternalServerError"),
            (400, "SerializationException"),
            (400, "SerializationException"),
            (400, "ParameterNotFound"),
        ]
        assert "a mistake in a test" in caplog.text

    def test_moto_mistakes_are_internal_errors(self, asm: Any) -> None:
        """Whatever moto raises, such as a `KeyError` for a tag without a key."""
        create(asm)
        tags = [{"Value": "v"}]

        error = error_of(lambda: client("secretsmanager").tag_resource(SecretId="s", Tags=tags))
        assert error["Error"]["Code"] == "InternalServiceError"
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 500

    @pytest.mark.parametrize(
        ("operation", "code"),
        [
            ("CreateSecret", "InvalidRequestException"),
            ("RotateSecret", "InvalidParameterException"),
        ],
    )
    def test_a_request_token_is_required(
        self, operation: str, code: str, s1crets_aws: LocalAws
    ) -> None:
        """Clients add one on their own."""
        asm = client("secretsmanager")
        event = f"before-call.secrets-manager.{operation}"

        def remove(params: dict[str, Any], **_: Any) -> None:
            body = json.loads(params["body"])
            del body["ClientRequestToken"]
            params["body"] = json.dumps(body).encode()

        asm.meta.events.register(event, remove)
        call = {
            "CreateSecret": lambda: asm.create_secret(Name="s", SecretString="fake"),
            "RotateSecret": lambda: asm.rotate_secret(SecretId="s"),
        }[operation]

        assert code_of(call) == code
        assert len(s1crets_aws.requests) == 1
