"""botocore's errors -> ours, in one context manager."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from s1crets.errors import (
    AccessDeniedError,
    BadResponseError,
    ConfigurationError,
    CredentialsError,
    DecryptionError,
    InvalidNameError,
    InvalidValueError,
    S1cretsError,
    SecretExistsError,
    SecretNotFoundError,
    ThrottledError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Request:
    """What was asked of AWS, as an error message tells it.

    Attributes:
        service: the service's name.
        region: where.
        operation: AWS's name of the operation.
        subject: the name or path that it is about.
        writes: whether a secret's value is in the request, so that AWS's words may repeat it.
    """

    service: str
    region: str
    operation: str
    subject: str
    writes: bool = False

    def told(self, problem: str, remedy: str) -> str:
        """Return a whole message."""
        asked = f"{self.service} ({self.region}): {self.operation} {self.subject!r}"
        return f"{asked}: {problem}; {remedy}"


_NOT_FOUND = "check the name, the region and the account", SecretNotFoundError
_EXISTS = "take another name, or update it; put does either", SecretExistsError
_DENIED = "allow the operation in the caller's IAM policy", AccessDeniedError
_KMS = "see that the KMS key is enabled and the caller may use it", DecryptionError
_SLOW_DOWN = "ask for less at once, or have the quota raised", ThrottledError
_CREDENTIALS = "see that the credentials' keys and token belong together", CredentialsError
_EXPIRED = "renew the credentials: log in again, or get a new session token", CredentialsError
_CLOCK = "set the clock of this machine right", CredentialsError
_DOWN = "AWS may be in trouble: try again later", UnavailableError
_FAULTY = "see whether a proxy stands between, and whether the endpoint is AWS's", BadResponseError
_BAD_NAME = "correct the name", InvalidNameError
_BAD_VALUE = "correct the value", InvalidValueError

_CODES: dict[str, tuple[str, type[S1cretsError]]] = {
    "ParameterNotFound": _NOT_FOUND,
    "ParameterVersionNotFound": _NOT_FOUND,
    "ResourceNotFoundException": _NOT_FOUND,
    "ParameterAlreadyExists": _EXISTS,
    "ResourceExistsException": _EXISTS,
    "AccessDenied": _DENIED,
    "AccessDeniedException": _DENIED,
    "UnauthorizedOperation": _DENIED,
    "DecryptionFailure": _KMS,
    "EncryptionFailure": _KMS,
    "InvalidKeyId": _KMS,
    "KMSAccessDeniedException": _KMS,
    "KMSDisabledException": _KMS,
    "KMSInvalidStateException": _KMS,
    "KMSNotFoundException": _KMS,
    "LimitExceededException": _SLOW_DOWN,
    "RequestLimitExceeded": _SLOW_DOWN,
    "RequestThrottled": _SLOW_DOWN,
    "Throttling": _SLOW_DOWN,
    "ThrottlingException": _SLOW_DOWN,
    "ThrottledException": _SLOW_DOWN,
    "TooManyRequestsException": _SLOW_DOWN,
    "TooManyUpdates": _SLOW_DOWN,
    "AuthFailure": _CREDENTIALS,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "IncompleteSignature": _CREDENTIALS,
    "IncompleteSignatureException": _CREDENTIALS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "InvalidSignatureException": _CREDENTIALS,
    "MissingAuthenticationToken": _CREDENTIALS,
    "MissingAuthenticationTokenException": _CREDENTIALS,
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "UnrecognizedClientException": _CREDENTIALS,
    "InternalFailure": _DOWN,
    "InternalServerError": _DOWN,
    "InternalServiceError": _DOWN,
    "ServiceUnavailable": _DOWN,
    "InvalidParameterException": _BAD_NAME,
    "ValidationException": _BAD_NAME,
    "ParameterPatternMismatchException": _BAD_VALUE,
}
THROTTLES = frozenset(code for code, (_, kind) in _CODES.items() if kind is ThrottledError)
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException"})

# The first class that an error is one of decides; names, as botocore is imported late.
_KINDS: dict[str, tuple[str, type[S1cretsError]]] = {
    "NoCredentialsError": (
        "set AWS_PROFILE or AWS_ACCESS_KEY_ID, or see that the metadata service can be reached",
        CredentialsError,
    ),
    "PartialCredentialsError": ("set all of the credentials", CredentialsError),
    "CredentialRetrievalError": (
        "see whether that source of credentials answers, and what it says",
        CredentialsError,
    ),
    "MetadataRetrievalError": ("see whether the metadata service answers", CredentialsError),
    "SSOError": ("log in again: aws sso login", CredentialsError),
    "TokenRetrievalError": ("log in again: aws sso login", CredentialsError),
    "UnauthorizedSSOTokenError": ("log in again: aws sso login", CredentialsError),
    "ProfileNotFound": ("set AWS_PROFILE to a profile that exists", ConfigurationError),
    "ConfigParseError": ("correct the AWS config file", ConfigurationError),
    "InvalidRegionError": ("set the region to one of AWS's", ConfigurationError),
    "InvalidEndpointConfigurationError": ("correct the endpoint", ConfigurationError),
    "PaginationError": _FAULTY,
    "ResponseParserError": _FAULTY,
    "SSLError": (
        "see that the endpoint speaks TLS, and that AWS_CA_BUNDLE has who signed its certificate",
        UnavailableError,
    ),
    "HTTPClientError": ("see whether the service can be reached from here", UnavailableError),
    "ConnectionError": ("see whether the service can be reached from here", UnavailableError),
    "ClientError": ("see AWS's documentation of the operation", S1cretsError),
    "BotoCoreError": ("see the cause", S1cretsError),
    "ClientPayloadError": ("the connection broke off: try again", UnavailableError),
    "OSError": ("see whether the service can be reached from here", UnavailableError),
}  # fmt: skip


def closed() -> UnavailableError:
    """Return the error of a call that is under way when its provider is closed."""
    return UnavailableError("the provider was closed while this call was under way; call again")


_PREFIXES = {"Parameter Store": "ssm", "Secrets Manager": "secretsmanager"}
_UNHANDLED = "HTTPClientError"  # itself, no subclass: around an error that botocore does not know


def code_of(error: BaseException | None) -> str:
    """Return AWS's error code, or an empty text where the error is none of AWS's."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


@contextmanager
def translated(request: Request) -> Iterator[None]:
    """Raise ours for what botocore raises.

    The cause keeps its words but not its traceback: botocore's frames have the secret in them.
    """
    try:
        yield
    except S1cretsError:
        raise
    except Exception as theirs:  # noqa: BLE001  # it is raised again as what it is known to be
        ours = _from_service(request, theirs) if code_of(theirs) else _from_client(request, theirs)
        cause = None if request.writes or _repeats(theirs, ours) else _bare(theirs)
    else:
        return
    raise ours from cause


def _repeats(theirs: Exception, ours: BaseException) -> bool:
    """Say whether botocore's words may have the answer in them, and so secrets, or STS's keys."""
    return (
        isinstance(ours, BadResponseError)
        or code_of(theirs).isdecimal()
        or type(theirs).__name__ == _UNHANDLED
    )


def _bare(error: BaseException) -> BaseException:
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _from_service(request: Request, error: Any) -> S1cretsError:
    # With a number for a code it was no answer of AWS's, and botocore has put all of it here.
    of_aws = not code_of(error).isdecimal()
    words = str(error.response["Error"].get("Message", "")).strip() if of_aws else ""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return refused(request, code_of(error), words, status)


def refused(request: Request, code: str, words: str = "", status: int = 0) -> S1cretsError:
    """Return the error for what AWS said no to: of a whole request, or of one name in a batch."""
    fallback = (
        _DOWN
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR
        else ("see AWS's documentation of the operation", S1cretsError)
    )
    remedy, kind = _CODES.get(code, fallback)
    if code == "InvalidRequestException" and re.search(r"delet", words):
        words = "it is scheduled for deletion"
        remedy, kind = "restore it, or take another", SecretNotFoundError
        if request.operation == "CreateSecret":
            words = "one of that name is scheduled for deletion"
            remedy, kind = "restore that, wait until it is gone, or take another", SecretExistsError
    elif code == "ResourceNotFoundException" and re.search(r"staging label|VersionId", words):
        remedy = "the secret is there, but has no such version or stage: " + _NOT_FOUND[0]
    elif kind is CredentialsError and re.match(r"Signature (expired|not yet current)", words):
        remedy = _CLOCK[0]
    if request.operation == "AssumeRole" and kind is AccessDeniedError:
        remedy = "allow sts:AssumeRole to the caller, and the caller in the role's trust policy"
        kind = CredentialsError
    action = _action(request, words)
    if request.writes and kind not in (SecretExistsError, SecretNotFoundError):
        words = ""  # a validation error of AWS's repeats the value
    error = kind(request.told(f"{words} [{code}]".strip(), remedy))
    if isinstance(error, AccessDeniedError):
        error.action = action
    return error


def _action(request: Request, words: str) -> str:
    """Return the IAM action that was denied: as AWS names it, or the one that was asked for."""
    named = re.search(r"perform: ([a-z0-9-]+:[A-Za-z]+)", words)
    if named:
        return named.group(1)
    if "KMS" in words:
        return "kms:Decrypt"
    return f"{_PREFIXES.get(request.service, 'sts')}:{request.operation}"


def _from_client(request: Request, error: Exception) -> S1cretsError | Any:
    for base in type(error).__mro__:
        if base.__name__ in _KINDS:
            remedy, kind = _KINDS[base.__name__]
            break
    else:
        way = [frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__)]
        parsing = "botocore.parsers" in way
        if isinstance(error, ValueError) and "aiobotocore.endpoint" in way and not parsing:
            remedy, kind = _KINDS["InvalidEndpointConfigurationError"]
        elif parsing or way[-1:] == ["aiobotocore.endpoint"]:
            # It fell over an answer that has other types than it expects.
            remedy, kind = _KINDS["ResponseParserError"]
        else:
            return error  # a bug of ours, to be seen as what it is
    words = type(error).__name__
    if kind is BadResponseError and words != "PaginationError":
        words = f"the answer is not what the API promises [{words}]"
    elif words == _UNHANDLED:  # aiohttp's errors of HTTP have the bytes in them
        words = f"{type(vars(error)['kwargs'].get('error')).__name__} [{words}]"
    elif not request.writes:
        words = f"{error} [{words}]"
    return kind(request.told(words, remedy))
