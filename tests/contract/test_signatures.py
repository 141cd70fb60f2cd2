"""Local AWS: it verifies signatures, and refuses bad ones with AWS's errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from _support.boto import client
from botocore.exceptions import ClientError

import s1crets
from s1crets.providers.aws import ParameterStore
from s1crets.testing import AwsError, LocalAws, local_aws
from s1crets.testing._server import Credentials, Headers, HttpRequest, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROLE = "arn:aws:iam::123456789012:role/r"
# From AWS's Signature Version 4 test suite. The access key is AWS's example.
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
VECTORS: dict[str, tuple[str, str, dict[str, str], bytes, str, str]] = {
    "get-vanilla": (
        "GET", "/", {}, b"", "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-vanilla-query-order-key-case": (
        "GET", "/?Param2=value2&Param1=value1", {}, b"", "host;x-amz-date",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-header-value-trim": (
        "GET", "/", {"My-Header1": " value1", "My-Header2": ' "a   b   c"'}, b"",
        "host;my-header1;my-header2;x-amz-date",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "post-x-www-form-urlencoded": (
        "POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, b"Param1=value1",
        "content-type;host;x-amz-date",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
}  # fmt: skip


def signed(
    signature: str, headers: str = "host;x-amz-date", scope: str = "20150830/us-east-1/service"
) -> str:
    """Return a header `Authorization`."""
    credential = f"{KEY}/{scope}/aws4_request"
    return (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={headers}, Signature={signature}"
    )


def request(
    authorization: str,
    headers: Mapping[str, str] = MappingProxyType({}),
    method: str = "GET",
    path: str = "/",
    body: bytes = b"",
) -> HttpRequest:
    """Return a request of the test suite."""
    sent = {"Host": "example.amazonaws.com", "X-Amz-Date": "20150830T123600Z", **headers}
    if authorization:
        sent["Authorization"] = authorization
    return HttpRequest(method, path, Headers({k.lower(): v for k, v in sent.items()}), body)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_of_aws(name: str) -> None:
    """The signatures of AWS's test suite are valid, and no others."""
    method, path, headers, body, names, signature = VECTORS[name]
    known, authorization = {KEY: Credentials(SECRET)}, signed(signature, names)
    verify(request(authorization, headers, method, path, body), "service", known, NOW)

    with pytest.raises(AwsError, match="does not match the signature you provided"):
        verify(request(authorization, headers, method, path, body + b"x"), "service", known, NOW)


GOOD = VECTORS["get-vanilla"][-1]


@pytest.mark.parametrize(
    ("authorization", "changes", "code", "message"),
    [
        ("", {}, "MissingAuthenticationTokenException", "Missing"),
        ("Basic eA==", {}, "IncompleteSignatureException", "Unsupported AWS 'algorithm': 'Basic'"),
        ("AWS4-HMAC-SHA256 x", {}, "IncompleteSignatureException", "'Signature' parameter"),
        (signed(GOOD, scope="us-east-1"), {}, "IncompleteSignatureException", "5 slash-delimited"),
        (signed(GOOD), {"X-Amz-Date": "now"}, "IncompleteSignatureException", "X-Amz-Date"),
        (signed(GOOD).replace(KEY, "x"), {}, "UnrecognizedClientException", "token included"),
        (signed(GOOD), {"X-Amz-Security-Token": "x"}, "UnrecognizedClientException", "invalid"),
        (signed("0" * 64), {}, "InvalidSignatureException", "does not match the signature"),
        (signed("ü"), {}, "InvalidSignatureException", "does not match the signature"),
        (signed(GOOD, "x-amz-date"), {}, "InvalidSignatureException", "'host' must be"),
        (signed(GOOD), {"X-Amz-Target": "x"}, "InvalidSignatureException", "'x-amz-target' must"),
        (
            signed(GOOD, scope="20150831/us-east-1/service"), {},
            "InvalidSignatureException", "Date in Credential scope",
        ),
        (
            signed(GOOD, scope="20150830/us-east-1/other"), {},
            "InvalidSignatureException", "correct service: 'service'",
        ),
        (
            signed(GOOD).replace("aws4_request", "x"), {},
            "InvalidSignatureException", "valid terminator",
        ),
    ],
)  # fmt: skip
def test_bad_requests(authorization: str, changes: dict[str, str], code: str, message: str) -> None:
    """Each has AWS's error code."""
    with pytest.raises(AwsError) as caught:
        verify(request(authorization, changes), "service", {KEY: Credentials(SECRET)}, NOW)

    assert (caught.value.code, caught.value.status) == (code, 400)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("service", "minutes", "code"),
    [("service", 5, "InvalidSignatureException"), ("sts", 15, "SignatureDoesNotMatch")],
)
def test_a_wrong_clock(service: str, minutes: int, code: str) -> None:
    """The message has the server's time; the services differ in how much they tolerate."""
    sent = request(signed("0" * 64, scope=f"20150830/us-east-1/{service}"))
    limit, second = timedelta(minutes=minutes), timedelta(seconds=1)
    mismatch, late, early = "The request signature", "Signature expired", "Signature not yet"
    cases = {limit: mismatch, -limit: mismatch, limit + second: late, -limit - second: early}
    for offset, message in cases.items():
        with pytest.raises(AwsError, match=message) as caught:
            verify(sent, service, {KEY: Credentials(SECRET)}, NOW + offset)
        assert caught.value.code == code
        server = f"({NOW + offset:%Y%m%dT%H%M%SZ}"
        assert (server in caught.value.message) == (message != mismatch)


def test_expired_credentials() -> None:
    """Temporary credentials end."""
    known = {KEY: Credentials(SECRET, "fake-token", NOW)}
    with pytest.raises(AwsError) as caught:
        verify(request(signed(GOOD), {"X-Amz-Security-Token": "fake-token"}), "sts", known, NOW)

    assert (caught.value.code, caught.value.status) == ("ExpiredToken", 403)


class TestLocalAws:
    """Requests of clients."""

    @pytest.mark.parametrize(
        ("service", "codes"),
        [
            ("ssm", ("InvalidSignatureException", "UnrecognizedClientException")),
            ("secretsmanager", ("InvalidSignatureException", "UnrecognizedClientException")),
            ("sts", ("SignatureDoesNotMatch", "InvalidClientTokenId")),
        ],
    )
    def test_wrong_credentials(
        self, service: str, codes: tuple[str, str], environment: dict[str, str]
    ) -> None:
        """A wrong secret key, an unknown access key; the value is not returned."""
        key = environment["AWS_ACCESS_KEY_ID"]
        wrong = [(key, "fake-wrong"), ("fake-unknown", environment["AWS_SECRET_ACCESS_KEY"])]
        found = []
        for access, secret in wrong:
            api = client(service, aws_access_key_id=access, aws_secret_access_key=secret)
            call = {
                "ssm": lambda api=api: api.describe_parameters(),
                "secretsmanager": lambda api=api: api.list_secrets(),
                "sts": lambda api=api: api.get_caller_identity(),
            }[service]
            found.append(response_of(call))

        assert tuple(one["Error"]["Code"] for one in found) == codes
        status = 403 if service == "sts" else 400
        assert {one["ResponseMetadata"]["HTTPStatusCode"] for one in found} == {status}

    def test_credentials_of_a_test(self, s1crets_aws: LocalAws) -> None:
        """Those that it adds are accepted."""
        with local_aws() as aws:
            aws.credentials["fake-mine"] = "fake-secret"
            keys = {"aws_access_key_id": "fake-mine", "aws_secret_access_key": "fake-secret"}
            assert (
                client("ssm", endpoint_url=aws.url, **keys).describe_parameters()["Parameters"]
                == []
            )
            other = client("ssm", **keys)
            assert response_of(other.describe_parameters)["Error"]["Code"] == (
                "UnrecognizedClientException"
            )
        assert len(s1crets_aws.requests) == 1

    def test_an_assumed_role(self, s1crets_aws: LocalAws) -> None:
        """Credentials that `AssumeRole` returned are valid, but only with their token."""
        s1crets_aws.seed({"aws.ps": {"/a": "fake"}})
        sts = client("sts")
        given = sts.assume_role(RoleArn=ROLE, RoleSessionName="ss")["Credentials"]
        keys = {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
        }
        for token, code in ((given["SessionToken"], ""), ("fake", "UnrecognizedClientException")):
            ssm = client("ssm", **keys, aws_session_token=token)
            if code:
                assert response_of(ssm.describe_parameters)["Error"]["Code"] == code
            else:
                assert len(ssm.describe_parameters()["Parameters"]) == 1
        with ParameterStore(sts_args={"RoleArn": ROLE}) as ps:
            assert ps.get("/a") == "fake"

    def test_a_web_identity_is_not_signed(self) -> None:
        """The token in it is what proves the identity."""
        given = client("sts").assume_role_with_web_identity(
            RoleArn=ROLE, RoleSessionName="ss", WebIdentityToken="fake-token"
        )
        assert given["Credentials"]["SessionToken"]

    def test_the_library_says_what_is_wrong(
        self, s1crets_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A `CredentialsError`; no value is cached."""
        s1crets_aws.seed({"aws.ps": {"/a": "fake"}})
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-wrong")
        with ParameterStore() as ps, pytest.raises(s1crets.CredentialsError, match="signature"):
            ps.get("/a")


def response_of(call: Callable[[], Any]) -> dict[str, Any]:
    """Return the response that a call fails with."""
    with pytest.raises(ClientError) as caught:
        call()
    return dict(caught.value.response)
