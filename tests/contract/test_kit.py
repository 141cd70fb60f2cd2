"""Local AWS: it is as strict as AWS where moto is not, it is seeded, starts and stops."""

from __future__ import annotations

import http.client
import sys
import threading
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from _support.boto import ARN, client, code_of
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws
from moto.server import ThreadedMotoServer

import s1crets
from s1crets import providers
from s1crets.testing import Asked, LocalAws, LoopbackAws, Request, local_aws, loopback_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager


@pytest.fixture(scope="module")
def _bare_moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bare(_bare_moto: str, environment: object) -> Callable[[str], Any]:
    """Return a function that makes clients of the same account that call moto directly."""
    return partial(client, endpoint_url=_bare_moto)


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
    """Prepare nothing."""


PARTIAL = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-abcdef"
LAX: dict[str, tuple[str, Callable[[Any], Any], str, Callable[[Any, Any], None]]] = {
    "21 ids": (
        "secretsmanager",
        lambda c: c.batch_get_secret_value(SecretIdList=[f"n{i}" for i in range(21)]),
        "ValidationException",
        nothing,
    ),
    "a batch without names": (
        "secretsmanager",
        lambda c: c.batch_get_secret_value(),
        "InvalidParameterException",
        nothing,
    ),
    "a batch with an invalid name": (
        "secretsmanager",
        lambda c: c.batch_get_secret_value(SecretIdList=["a b", "c"]),
        "ValidationException",
        nothing,
    ),
    "a secret name with a space": (
        "secretsmanager",
        lambda c: c.create_secret(Name="a b", SecretString="fake"),
        "ValidationException",
        nothing,
    ),
    "text of 64 KB and a byte": (
        "secretsmanager",
        lambda c: c.create_secret(Name="a", SecretString="ü" * 32768 + "x"),
        "ValidationException",
        nothing,
    ),
    "bytes of 64 KB and a byte": (
        "secretsmanager",
        lambda c: c.create_secret(Name="a", SecretBinary=b"x" * 65537),
        "ValidationException",
        nothing,
    ),
    "a new value of a deleted secret": (
        "secretsmanager",
        lambda c: c.put_secret_value(SecretId="gone", SecretString="fake"),
        "InvalidRequestException",
        deleted,
    ),
    "a partial ARN that looks complete": (
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
    "an invalid name of two": (
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
    "a page of 51 parameters": (
        "ssm",
        lambda c: c.describe_parameters(MaxResults=51),
        "ValidationException",
        nothing,
    ),
    "a path with a space": (
        "ssm",
        lambda c: c.get_parameters_by_path(Path="/a b"),
        "ValidationException",
        nothing,
    ),
    "an ARN as a new name": ("ssm", lambda c: put(c, f"{ARN}/a"), "ValidationException", nothing),
    "a space in a new name": ("ssm", lambda c: put(c, "/a b"), "ValidationException", nothing),
    "a new path without a slash": ("ssm", lambda c: put(c, "a/b"), "ValidationException", nothing),
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
    "a value that violates the pattern": (
        "ssm",
        lambda c: put(c, AllowedPattern="^[0-9]+$"),
        "ParameterPatternMismatchException",
        nothing,
    ),
}


class TestStrictness:
    """It refuses and returns what AWS does; moto alone does not."""

    @pytest.mark.parametrize("case", LAX)
    def test_what_aws_refuses_is_refused(
        self, case: str, ssm: Any, asm: Any, bare: Callable[[str], Any]
    ) -> None:
        """With AWS's error code, before anything is stored; moto accepts it."""
        service, call, code, prepare = LAX[case]
        prepare(ssm, asm)

        assert code_of(lambda: call(client(service))) == code
        call(bare(service))

    def test_what_moto_refuses_stays_refused(self, ssm: Any, asm: Any) -> None:
        """Eleven names; tags with Overwrite; a deleted secret."""
        deleted(ssm, asm)
        eleven = [f"/{i}" for i in range(11)]
        tags = [{"Key": "k", "Value": "v"}]

        assert code_of(lambda: ssm.get_parameters(Names=eleven)) == "ValidationException"
        assert code_of(lambda: put_again(ssm, Tags=tags)) == "ValidationException"
        gone = code_of(lambda: asm.get_secret_value(SecretId="gone"))
        assert gone == "InvalidRequestException"

    def test_the_name_of_a_deleted_secret_is_taken(
        self, asm: Any, bare: Callable[[str], Any]
    ) -> None:
        """`InvalidRequestException`; moto returns the code of a name that is in use."""
        deleted(None, asm)

        def create(asm: Any) -> str:
            return code_of(lambda: asm.create_secret(Name="gone", SecretString="fake"))

        assert create(asm) == "InvalidRequestException"
        assert create(bare("secretsmanager")) == "ResourceExistsException"

    def test_not_found_is_a_400(self, asm: Any) -> None:
        """As everywhere in AWS's JSON protocol; moto's Secrets Manager returns 404."""
        with pytest.raises(ClientError) as caught:
            asm.get_secret_value(SecretId="nothing")

        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400

    def test_pages_of_a_listing_have_the_requested_size(
        self, s1crets_aws: LocalAws, ssm: Any
    ) -> None:
        """Ten parameters by default, fifty at most; moto's have ten, whatever is requested."""
        names = [f"/a/{number:02}" for number in range(61)]
        s1crets_aws.seed({"aws.ps": dict.fromkeys(names, "fake")})
        for size in (None, 3, 20, 25, 50):
            pages = ssm.get_paginator("describe_parameters").paginate(
                **({"MaxResults": size} if size else {})
            )
            found = [[one["Name"] for one in page["Parameters"]] for page in pages]
            length = size or 10
            assert found == [names[i : i + length] for i in range(0, 61, length)]

    def test_an_overwrite_drops_omitted_attributes(
        self, ssm: Any, bare: Callable[[str], Any]
    ) -> None:
        """Description, AllowedPattern and KeyId, but not Type; moto keeps all."""
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

    async def test_update_keeps_the_attributes(self, ps: AsyncParameterStore, ssm: Any) -> None:
        """The library sends all of them again, so only the value changes."""
        given = {"Description": "d", "AllowedPattern": "fake", "KeyId": "alias/mine"}
        put(ssm, **given, Type="SecureString", Tier="Advanced")

        await ps.update("/a", "fake-new")

        (described,) = ssm.describe_parameters()["Parameters"]
        expected = {**given, "Type": "SecureString", "Tier": "Advanced", "Version": 2}
        assert {name: described[name] for name in expected} == expected
        assert await ps.get("/a") == "fake-new"

    def test_intelligent_tiering_selects_a_tier(self, ssm: Any) -> None:
        """A value above 4 KB makes a parameter advanced, and it stays so."""
        sizes = {"fake": "Standard", "x" * 4097: "Advanced", "fake-2": "Advanced"}
        found = [put_again(ssm, value=value, Tier="Intelligent-Tiering")["Tier"] for value in sizes]

        assert found == list(sizes.values())

    def test_spaces_around_a_name_are_ignored(self, ssm: Any) -> None:
        """AWS removes them, while it refuses spaces inside."""
        put(ssm, " /a ")

        assert ssm.get_parameter(Name=" /a")["Parameter"]["Name"] == "/a"

    def test_selectors_are_returned(self, ssm: Any, bare: Callable[[str], Any]) -> None:
        """The requested version or label, of a name or an ARN; moto returns none."""
        for value in ("one", "two"):
            put_again(ssm, value=value)
        put(ssm, "b")
        ssm.label_parameter_version(Name="/a", ParameterVersion=1, Labels=["old"])
        names = ["/a:1", "/a:old", f"{ARN}/a:2", "b", "/a:7", "/b:none"]

        def read(ssm: Any) -> list[Any]:
            response = ssm.get_parameters(Names=names)
            assert sorted(response["InvalidParameters"]) == ["/a:7", "/b:none"]
            return sorted((one["Value"], one.get("Selector")) for one in response["Parameters"])

        selected = [("fake", None), ("one", ":1"), ("one", ":old"), ("two", ":2")]
        assert read(ssm) == selected
        assert {selector for _, selector in read(bare("ssm"))} == {None}
        one = ssm.get_parameter(Name="/a:old")["Parameter"]
        assert (one["Name"], one["Selector"]) == ("/a", ":old")

    async def test_the_library_matches_selectors_and_arns(self, ps: AsyncParameterStore) -> None:
        """In a batch, where AWS returns other names than those requested."""
        ssm = client("ssm")
        for value in ("one", "two"):
            put_again(ssm, value=value)
        expected = {"/a:1": "one", "/a:2": "two", f"{ARN}/a": "two", f"{ARN}/a:1": "one"}

        assert await ps.get_many(expected) == expected

    def test_a_value_that_is_not_decrypted_is_encrypted(
        self, ssm: Any, bare: Callable[[str], Any]
    ) -> None:
        """Also under a path; moto returns text that contains the value."""
        put(ssm, "/a/b", "fake-secret", Type="SecureString")
        put(ssm, "/a/c", "fake-plain")

        def values(ssm: Any) -> list[str]:
            found = ssm.get_parameters_by_path(Path="/a")["Parameters"]
            return [parameter["Value"] for parameter in found]

        secret, plain = values(ssm)
        assert "fake" not in secret
        assert plain == "fake-plain"
        assert ssm.get_parameter(Name="/a/b")["Parameter"]["Value"] == secret
        assert "fake-secret" in values(bare("ssm"))[0]

    def test_a_batch_returns_an_error_for_each_unreadable_secret(
        self, s1crets_aws: LocalAws, asm: Any, bare: Callable[[str], Any]
    ) -> None:
        """Missing, deleted, without a value, denied; the others are read.

        moto fails the whole request if a secret has no value.
        """
        deleted(None, asm)
        s1crets_aws.seed({"aws.sm": {"good": "fake", "denied": "fake"}})
        asm.create_secret(Name="empty")
        s1crets_aws.deny("GetSecretValue", "denied")
        names = ["good", "nothing", "gone", "empty", "denied"]

        response = asm.batch_get_secret_value(SecretIdList=names)

        assert [secret["Name"] for secret in response["SecretValues"]] == ["good"]
        codes = {error["SecretId"]: error["ErrorCode"] for error in response["Errors"]}
        assert codes == {
            "nothing": "ResourceNotFoundException",
            "gone": "InvalidRequestException",
            "empty": "ResourceNotFoundException",
            "denied": "AccessDeniedException",
        }
        whole = code_of(lambda: bare("secretsmanager").batch_get_secret_value(SecretIdList=names))
        assert whole == "ResourceNotFoundException"

    def test_a_batch_may_have_a_filter(self, asm: Any) -> None:
        """By a name's prefix, case-sensitive."""
        for name in ("app/a", "App/b"):
            asm.create_secret(Name=name, SecretString="fake")
        filters = [{"Key": "name", "Values": ["app/"]}]

        batch = asm.batch_get_secret_value(Filters=filters)["SecretValues"]
        listing = asm.list_secrets(Filters=filters)["SecretList"]
        assert [secret["Name"] for secret in batch + listing] == ["app/a", "app/a"]

    def test_other_services_are_forwarded_to_moto(self, s1crets_aws: LocalAws) -> None:
        """Their requests are not recorded."""
        sts = client("sts")

        assert sts.get_caller_identity()["Account"] == s1crets_aws.account
        client("kms").create_key()
        client("iam").list_users()
        assert urllib.request.urlopen(s1crets_aws.url).status == 200  # noqa: S310
        assert [one.operation for one in s1crets_aws.requests] == ["GetCallerIdentity"]


class TestSeeds:
    """Initial values."""

    async def test_from_a_dict(
        self, s1crets_aws: LocalAws, ps: AsyncParameterStore, sm: AsyncSecretsManager
    ) -> None:
        """Text, JSON and bytes; existing values are overwritten; large parameters are advanced."""
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
        """A path of a JSON file, also as the initial seed."""
        file = tmp_path / "seed.json"
        file.write_text('{"aws.ps": {"/a": {"k": 1}}, "aws.sm": {"b": {"$base64": "AA=="}}}')

        with local_aws(seed=kind(file)) as aws:
            ssm = client("ssm", endpoint_url=aws.url)
            found = ssm.get_parameter(Name="/a", WithDecryption=True)["Parameter"]["Value"]
            asm = client("secretsmanager", endpoint_url=aws.url)
            binary = asm.get_secret_value(SecretId="b")["SecretBinary"]

        assert (found, binary) == ('{"k": 1}', b"\x00")

    @pytest.mark.parametrize(
        ("seed", "error", "message"),
        [
            ({"aws.s3": {}}, s1crets.ConfigurationError, "known are 'aws.ps', 'aws.sm'"),
            ({"aws.ps": ["/a"]}, TypeError, "a dict of names and values"),
            ({"aws.ps": {"/a": 12345678}}, TypeError, "these are str and int"),
            ({"aws.ps": {7: "fake-hidden"}}, TypeError, "these are int and str"),
            ({"aws.ps": {"/a": b"fake-hidden"}}, ValueError, "does not store bytes"),
            ({"aws.ps": {"/a b": "fake-hidden"}}, ValueError, "ValidationException"),
            ({"aws.ps": {"/a": ""}}, ValueError, "ValidationException"),
            ({"aws.ps": {"/a": "fake-hidden" * 999}}, s1crets.InvalidValueError, "8192"),
            ({"aws.sm": {"a": {"$base64": "fake-hidden"}}}, ValueError, "not valid base64"),
            ({"aws.sm": {"a": {"$base64": 12345678}}}, ValueError, "not valid base64"),
        ],
    )
    def test_an_invalid_seed_is_refused(
        self, seed: Any, error: type[Exception], message: str, s1crets_aws: LocalAws
    ) -> None:
        """With the name and the reason, without the value."""
        with pytest.raises(error, match=message) as caught:
            s1crets_aws.seed(seed)
        assert "fake-hidden" not in str(caught.value)
        assert "12345678" not in str(caught.value)

    def test_an_invalid_file_is_refused(self, s1crets_aws: LocalAws, tmp_path: Path) -> None:
        """With its path, without its content."""
        file = tmp_path / "seed.json"
        file.write_text("fake-hidden")

        with pytest.raises(s1crets.ConfigurationError, match=r"seed\.json") as caught:
            s1crets_aws.seed(file)
        assert "fake-hidden" not in repr(caught.value)
        with pytest.raises(FileNotFoundError):
            s1crets_aws.seed(tmp_path / "nothing.json")

    async def test_seeds_are_not_requests(self, s1crets_aws: LocalAws) -> None:
        """They are stored while all requests are refused, and are not recorded."""
        s1crets_aws.throttle()
        s1crets_aws.deny()
        s1crets_aws.seed({"aws.ps": {"/a": "v"}})

        assert s1crets_aws.requests == ()


class TestLife:
    """It starts and stops, and several instances are independent."""

    def test_it_starts_and_stops(self) -> None:
        """In between it serves every AWS client."""
        with local_aws("eu-south-1") as aws:
            assert aws.environment["AWS_DEFAULT_REGION"] == aws.region == "eu-south-1"
            ssm = client("ssm", endpoint_url=aws.url, region_name=aws.region)
            put(ssm)
        with pytest.raises(EndpointConnectionError):
            ssm.get_parameter(Name="/a")

    def test_former_names(self) -> None:
        """They are aliases."""
        assert (LoopbackAws, loopback_aws, Asked) == (LocalAws, local_aws, Request)

    @pytest.mark.parametrize("name", ["/a", "/missing"])
    def test_no_header_is_sent_twice(self, s1crets_aws: LocalAws, name: str) -> None:
        """In Python's development mode, aiohttp refuses some headers that are."""
        s1crets_aws.seed({"aws.ps": {"/a": "fake"}})
        headers = {"X-Amz-Target": "AmazonSSM.GetParameter", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(s1crets_aws.url.removeprefix("http://"))
        connection.request("POST", "/", f'{{"Name": "{name}"}}', headers)
        with connection.getresponse() as response:
            names = [name.lower() for name in response.headers]
        connection.close()

        assert {"content-type", "x-amzn-requestid"} < set(names)
        assert sorted(names) == sorted(set(names))

    def test_several_share_nothing(self, s1crets_aws: LocalAws, ssm: Any) -> None:
        """Each has an account of its own, which the next one uses after it has stopped."""
        put(ssm)
        accounts = []
        for _ in range(2):
            with local_aws() as aws:
                accounts.append(aws.account)
                other = client("ssm", endpoint_url=aws.url)
                assert other.describe_parameters()["Parameters"] == []
                put(other, "/b")
                arn = other.get_parameter(Name="/b")["Parameter"]["ARN"]
                assert arn == f"arn:aws:ssm:eu-west-1:{aws.account}:parameter/b"

        assert accounts[0] == accounts[1] != s1crets_aws.account
        assert [found["Name"] for found in ssm.describe_parameters()["Parameters"]] == ["/a"]

    def test_regions_share_nothing(self, s1crets_aws: LocalAws) -> None:
        """A seed is stored in the default region."""
        s1crets_aws.seed({"aws.ps": {"/a": "v"}})
        elsewhere = client("ssm", region_name="us-east-1")

        assert code_of(lambda: elsewhere.get_parameter(Name="/a")) == "ParameterNotFound"

    def test_reset(self, s1crets_aws: LocalAws, ssm: Any, asm: Any) -> None:
        """It deletes stored values and recorded requests, and ends faults."""
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

    def test_requests_contain_names_but_no_values(
        self, s1crets_aws: LocalAws, ssm: Any, asm: Any
    ) -> None:
        """The service, the operation and the names."""
        put(ssm, "/a", "fake-hidden")
        ssm.get_parameters(Names=["/a", "/b"])
        ssm.get_parameters_by_path(Path="/a")
        ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": ["/a"]}])
        asm.create_secret(Name="a", SecretString="fake-hidden")
        asm.batch_get_secret_value(SecretIdList=["a", "b"])
        asm.list_secrets(Filters=[{"Key": "tag-key", "Values": ["k"]}])

        assert s1crets_aws.requests == (
            Request("ssm", "PutParameter", ("/a",)),
            Request("ssm", "GetParameters", ("/a", "/b")),
            Request("ssm", "GetParametersByPath", ("/a",)),
            Request("ssm", "DescribeParameters", ("/a",)),
            Request("secretsmanager", "CreateSecret", ("a",)),
            Request("secretsmanager", "BatchGetSecretValue", ("a", "b")),
            Request("secretsmanager", "ListSecrets"),
        )
        assert "fake-hidden" not in repr(s1crets_aws.requests)

    def test_concurrent_requests(self, ssm: Any) -> None:
        """Moto takes no locks, so it is called by one thread at a time: no write is lost."""
        names = [f"/t/{i}" for i in range(8)]

        def write(name: str) -> None:
            for _ in range(5):
                put_again(ssm, name=name, value=name)
                ssm.get_parameters_by_path(Path="/t")

        threads = [threading.Thread(target=write, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        found = ssm.get_parameters_by_path(Path="/t")["Parameters"]
        assert {one["Name"]: (one["Value"], one["Version"]) for one in found} == {
            name: (name, 5) for name in names
        }

    @pytest.mark.parametrize("name", ["aws.ps", "aws.sm"])
    def test_under_mock_aws_the_error_points_to_the_kit(
        self, name: str, s1crets_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Moto's `mock_aws` does not reach aiobotocore. With an endpoint, it is the endpoint's."""
        s1crets_aws.credentials["FOOBARKEY"] = "FOOBARSECRET"
        with mock_aws():
            with pytest.raises(KeyError):
                s1crets.get(name, "none")
            monkeypatch.delenv("AWS_ENDPOINT_URL")
            providers.reset()
            with pytest.raises(s1crets.ConfigurationError, match=r"s1crets_aws, or local_aws"):
                s1crets.get(name, "none")
        del s1crets_aws.credentials["FOOBARKEY"]

    def test_without_moto_the_error_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The extra is not part of a plain install."""
        monkeypatch.setitem(sys.modules, "moto.backends", None)
        with pytest.raises(s1crets.ConfigurationError, match=r"s1crets\[testing\]"), local_aws():
            pass
