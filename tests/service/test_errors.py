"""All errors of botocore are translated to ours, and none shows a secret."""

from __future__ import annotations

import functools
import json
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
    ("ParameterLimitExceeded", 400, s1crets.QuotaExceededError, s1crets.S1cretsError),
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


OPERATIONS = {
    "ssm": "DeleteParameter DescribeParameters GetParameter GetParameterHistory GetParameters"
    " GetParametersByPath PutParameter",
    "secretsmanager": "BatchGetSecretValue CreateSecret DeleteSecret DescribeSecret GetSecretValue"
    " ListSecretVersionIds ListSecrets PutSecretValue RestoreSecret UpdateSecret",
    "sts": "AssumeRole AssumeRoleWithWebIdentity GetCallerIdentity",
}
CLASSES = {
    s1crets.BadResponseError: "InvalidNextToken InvalidNextTokenException",
    s1crets.ConfigurationError: "HierarchyTypeMismatchException IncompatiblePolicyException"
    " InvalidAllowedPatternException InvalidPolicyAttributeException InvalidPolicyTypeException"
    " MalformedPolicyDocument MalformedPolicyDocumentException PackedPolicyTooLarge"
    " PreconditionNotMetException RegionDisabledException UnsupportedParameterType",
    s1crets.CredentialsError: "ExpiredTokenException IDPCommunicationError IDPRejectedClaim"
    " InvalidIdentityToken",
    s1crets.DecryptionError: "DecryptionFailure EncryptionFailure InvalidKeyId",
    s1crets.InvalidNameError: "HierarchyLevelLimitExceededException InvalidFilterKey"
    " InvalidFilterOption InvalidFilterValue InvalidParameterException",
    s1crets.InvalidValueError: "ParameterPatternMismatchException",
    s1crets.QuotaExceededError: "LimitExceededException ParameterLimitExceeded"
    " ParameterMaxVersionLimitExceeded PoliciesLimitExceededException",
    s1crets.S1cretsError: "InvalidRequestException",
    s1crets.SecretExistsError: "ParameterAlreadyExists ResourceExistsException",
    s1crets.SecretNotFoundError: "ParameterNotFound ParameterVersionNotFound"
    " ResourceNotFoundException",
    s1crets.ThrottledError: "TooManyUpdates",
    s1crets.UnavailableError: "InternalServerError InternalServiceError",
}


def modelled_codes() -> set[str]:
    """Return the codes of all errors that botocore's models list for our operations."""
    from botocore.session import Session

    found = set()
    for service, operations in OPERATIONS.items():
        model: Any = Session().get_service_model(service)  # pyright misreads its cached properties
        for operation in operations.split():
            for shape in model.operation_model(operation).error_shapes:
                found.add(shape.metadata.get("error", {}).get("code", shape.name))
    return found


async def test_every_error_that_botocore_lists_has_a_class(scripted: Wire) -> None:
    """A code that a new version of botocore adds is missing here, and has to be classified."""
    expected = {code: kind for kind, codes in CLASSES.items() for code in codes.split()}
    found = {}
    async with AsyncParameterStore(retry=1) as ps:
        for code in expected:
            scripted.answers["GetParameter"] = refusal(code, "words of AWS's")
            with pytest.raises(s1crets.S1cretsError) as caught:
                await ps.get("/a", cached=False)
            found[code] = type(caught.value)
            # InvalidRequestException has no meaning of its own.
            is_unknown = "AWS's documentation" in str(caught.value)
            assert is_unknown is (code == "InvalidRequestException")

    assert modelled_codes() == set(expected)
    assert found == expected


NESTED = 'Parameter value: can\'t nest another parameter. Do not use "{{}}" in the value.'
TOO_LONG = "Standard tier parameters support a maximum parameter value of 4096 characters."
PREFIX = 'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it'
OTHER_ACCOUNT = (
    "You can't access a secret from a different AWS account if you encrypt the secret with the"
    " default KMS service key."
)
NOT_ASSOCIATED = "You provided a VersionStage that is not associated to the provided VersionId."
RESERVED = "No access to reserved parameter name: awsthing."
TEXTS: list[tuple[str, str, type[Exception], str]] = [
    ("ValidationException", NESTED, s1crets.InvalidValueError, "correct the value"),
    ("ValidationException", TOO_LONG, s1crets.InvalidValueError, "correct the value"),
    ("ValidationException", PREFIX, s1crets.InvalidNameError, "correct the name"),
    ("ValidationException", "Parameter name must be a fully qualified name.",
     s1crets.InvalidNameError, "correct the name"),
    ("ValidationException", "You can't downgrade a parameter from the advanced-parameter tier",
     s1crets.ConfigurationError, "correct the setting"),
    ("ValidationException", "1 validation error detected: Value at 'value' failed to satisfy",
     s1crets.InvalidValueError, "correct the value"),
    ("ValidationException", "1 validation error detected: Value 'x y' at 'keyId' failed to satisfy",
     s1crets.ConfigurationError, "correct the setting"),
    ("ValidationException", "1 validation error detected: Value 'x' at 'name' failed to satisfy",
     s1crets.InvalidNameError, "correct the name"),
    ("InvalidParameterException", "Invalid name. Must be a valid name containing alphanumeric",
     s1crets.InvalidNameError, "correct the name"),
    ("InvalidParameterException", "something else", s1crets.InvalidValueError, "or the setting"),
    ("HierarchyLevelLimitExceededException", "no", s1crets.InvalidNameError, "15 levels"),
    ("ParameterPatternMismatchException", "no", s1crets.InvalidValueError, "correct the value"),
    ("AccessDeniedException", RESERVED, s1crets.InvalidNameError, "correct the name"),
    ("ParameterMaxVersionLimitExceeded", "Version 1, the oldest version, has a label.",
     s1crets.QuotaExceededError, "quota"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "kind", "remedy"), TEXTS)
async def test_a_write_is_classified_by_the_text_of_aws(
    scripted: Wire, code: str, text: str, kind: type[Exception], remedy: str
) -> None:
    """One code stands for invalid names, values and settings. The text is kept."""
    scripted.answers["PutParameter"] = scripted.answers["CreateSecret"] = refusal(code, text)
    async with AsyncParameterStore(retry=1) as ps, AsyncSecretsManager(retry=1) as sm:
        for store in (ps, sm):
            with pytest.raises(kind, match=remedy) as caught:
                await store.create("thing", "fake")
            assert type(caught.value) is kind
            assert text.replace("Value 'x y' at", "Value at").replace(
                "Value 'x' at", "Value at"
            ) in str(caught.value)


@pytest.mark.parametrize("code", ["LimitExceededException", "ParameterLimitExceeded"])
async def test_an_exceeded_quota_is_sent_once(scripted: Wire, code: str) -> None:
    """It is not throttling, although botocore retries one of the codes."""
    scripted.answers["CreateSecret"] = refusal(code, "Delete some secrets.")
    async with AsyncSecretsManager(retry=3) as sm:
        with pytest.raises(s1crets.QuotaExceededError, match=r"Delete some secrets\."):
            await sm.create("a", "fake")
        assert sm.stats.throttled == 0

    assert scripted.count("CreateSecret") == 1


@pytest.mark.parametrize("code", ["InvalidRequestException", "InvalidParameterException"])
async def test_a_stage_of_another_version_is_not_found(scripted: Wire, code: str) -> None:
    """So `default` applies."""
    scripted.answers["GetSecretValue"] = refusal(code, NOT_ASSOCIATED)
    async with AsyncSecretsManager() as sm:
        version = {"version_id": "1" * 32, "version_stage": "AWSPREVIOUS"}
        assert await sm.get("a", default="fallback", **version) == "fallback"  # type: ignore[arg-type]
        with pytest.raises(KeyError, match="no such version or stage"):
            await sm.get("a", **version)  # type: ignore[arg-type]


async def test_a_secret_of_another_account_needs_a_key_of_its_own(scripted: Wire) -> None:
    """Under the default key it is a DecryptionError, alone and in a batch."""
    code = "InvalidRequestException"
    scripted.answers["GetSecretValue"] = refusal(code, OTHER_ACCOUNT)
    failures = [{"SecretId": name, "ErrorCode": code, "Message": OTHER_ACCOUNT} for name in "ab"]
    scripted.answers["BatchGetSecretValue"] = {"SecretValues": [], "Errors": failures}
    async with AsyncSecretsManager() as sm:
        with pytest.raises(s1crets.DecryptionError, match=r"customer managed .* kms:Decrypt"):
            await sm.get("a")
        found = await sm.get_many(["a", "b"], errors="return")

    assert [type(one) for one in found.values()] == [s1crets.DecryptionError] * 2


NOT_ALLOWED = "User: arn:aws:iam::1:user/u is not authorized to perform: "


@pytest.mark.parametrize(
    ("words", "on_read", "on_write"),
    [
        (f"{NOT_ALLOWED}kms:Describe on it", "kms:Describe", "kms:Describe"),
        (f"{NOT_ALLOWED}ssm:Put on arn:kms", "ssm:Put", "ssm:Put"),
        ("KMS refused kms:GenerateDataKey", "kms:GenerateDataKey", "kms:GenerateDataKey"),
        ("Access to KMS is not allowed", "kms:Decrypt", "kms:GenerateDataKey"),
        ("The ciphertext refers to a key that", "kms:Decrypt", "kms:GenerateDataKey"),
        ("no", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"),
    ],
)
async def test_the_action_that_was_denied(
    scripted: Wire, words: str, on_read: str, on_write: str
) -> None:
    """AWS's message names it, or the key service; otherwise it is the operation's."""
    denied = refusal("AccessDeniedException", words)
    scripted.answers["GetSecretValue"] = scripted.answers["PutSecretValue"] = denied
    async with AsyncSecretsManager() as sm:
        with pytest.raises(s1crets.AccessDeniedError, match=f"; allow {on_read} in") as read:
            await sm.get("a")
        with pytest.raises(s1crets.AccessDeniedError, match=f"; allow {on_write} in") as write:
            await sm.update("a", "fake")

    assert (read.value.action, write.value.action) == (on_read, on_write)


async def test_a_key_that_can_not_be_used_names_the_action(scripted: Wire) -> None:
    """Of the operation: parameters are encrypted by KMS itself, secrets with a data key."""
    scripted.answers = dict.fromkeys(
        ("GetParameter", "PutParameter", "CreateSecret"), refusal("KMSAccessDeniedException")
    )
    async with AsyncParameterStore() as ps, AsyncSecretsManager() as sm:
        calls: list[tuple[Awaitable[Any], str]] = [
            (ps.get("/a"), "kms:Decrypt"),
            (ps.create("/a", "fake"), "kms:Encrypt"),
            (sm.create("a", "fake"), "kms:GenerateDataKey"),
        ]
        for call, action in calls:
            with pytest.raises(s1crets.DecryptionError, match=f"may use it: {action}$"):
                await call


@pytest.mark.parametrize("code", ["ParameterNotFound", "ValidationException"])
@pytest.mark.parametrize("name", ["prod/x", "prod/x:3"])
async def test_a_parameter_without_its_slash(scripted: Wire, code: str, name: str) -> None:
    """The error suggests the name with a slash."""
    scripted.answers["GetParameter"] = refusal(code)
    async with AsyncParameterStore() as ps:
        with pytest.raises(s1crets.S1cretsError, match=f"did you mean '/{name}'"):
            await ps.get(name)
        for other in ("x", "/prod/x"):
            with pytest.raises(s1crets.S1cretsError, match=r"check the name,|correct the name$"):
                await ps.get(other)
        with pytest.raises(s1crets.InvalidNameError, match="did you mean '/prod'"):
            await ps.get_by_path("prod")


async def test_a_secret_with_a_slash(scripted: Wire) -> None:
    """The error suggests the name without it, and Parameter Store."""
    scripted.answers["GetSecretValue"] = refusal("ResourceNotFoundException")
    async with AsyncSecretsManager() as sm:
        with pytest.raises(KeyError, match=r"did you mean 'prod/x', or a parameter \(aws\.ps\)"):
            await sm.get("/prod/x")
        with pytest.raises(KeyError, match="check the name, the region"):
            await sm.get("prod/x")


@pytest.mark.parametrize(
    ("keypath", "words"),
    [
        ("db.hosts.0", "did you mean the keys 'db' / 'hosts' / '0'"),
        (("db", "hosts.0"), "did you mean the keys 'db' / 'hosts' / '0'"),
        (("db.hosts", 1), "did you mean the keys 'db' / 'hosts' / 1"),
        ("db.none", "not this key in it$"),
        (5, "not this key in it$"),
    ],
)
async def test_dots_do_not_separate_keys(scripted: Wire, keypath: Any, words: str) -> None:
    """If they would lead to a value, the error says how to write it."""
    scripted.answers["GetParameter"] = parameter("/a", f'{{"db": {{"hosts": ["{CANARY}", "b"]}}}}')
    async with AsyncParameterStore() as ps:
        with pytest.raises(KeyError, match=words) as caught:
            await ps.get("/a", keypath=keypath)

    assert CANARY not in str(caught.value)


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


MARKED = '["canary-7f3a \u00e4", "two\nlines"]'  # a value that JSON escapes


@pytest.mark.parametrize(
    ("value", "said", "shown_as"),
    [
        ("fake-value", "the value fake-value is wrong", "the value *** is wrong"),
        ("fake-value", "Value 'fake-value' at 'value' is wrong", "Value at 'value' is wrong"),
        ("it's 'at' x", "Value 'it's 'at' x' at 'value' is wrong", "Value at 'value' is wrong"),
        ("fake-value", "it begins with fake-val... indeed", "it begins with ***... indeed"),
        ("f" * 9000, "it is " + "f" * 9000 + ": too long", "it is ***: too long"),
        ("f" * 9000, "it is " + "f" * 50 + "...", "it is ***..."),
        ("fake-value/fake-other", "it is fake-value\\/fake-other!", "it is ***!"),
        ("pw", "not pw, but pwd or a pw.", "not ***, but pwd or a ***."),
        ("a(b", "not a(b", "not ***"),
        (MARKED, f"it is {json.dumps(MARKED)}", 'it is "***"'),
        (MARKED, f"it is {json.dumps(MARKED, ensure_ascii=False)}", 'it is "***"'),
        (b"fake-value", "it is ZmFrZS12YWx1ZQ== or fake-value", "it is *** or ***"),
        (b"\xff\xfe", "it is //4=", "it is ***"),
        ("fake-value", "Secret value is wrong" + "." * 2000, "Secret value is wrong" + "." * 979),
    ],
)
async def test_only_the_value_is_removed_from_the_text_of_aws(
    scripted: Wire, value: Any, said: str, shown_as: str
) -> None:
    """In any form in which AWS may repeat it; the rest of the text says why."""
    scripted.answers["PutSecretValue"] = refusal("InvalidParameterException", said)
    async with AsyncSecretsManager(retry=1) as sm:
        with pytest.raises(ValueError, match="InvalidParameterException") as caught:
            await sm.update("a", value)

    assert f": {shown_as} [InvalidParameterException]; " in str(caught.value)
    assert caught.value.__cause__ is None


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
