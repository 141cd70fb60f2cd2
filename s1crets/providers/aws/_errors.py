"""Translation of botocore's errors to ours, in one context manager."""

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

    from s1crets.providers.aws._services import Service


@dataclass(frozen=True)
class Request:
    """A request to AWS, as error messages describe it.

    Attributes:
        service: the service.
        region: its region.
        operation: AWS's name of the operation.
        subject: the name or path in question.
        writes: whether the request contains a secret's value, which AWS's message may repeat.
    """

    service: Service
    region: str
    operation: str
    subject: str
    writes: bool = False

    def message(self, problem: str, remedy: str) -> str:
        """Return a complete error message."""
        request = f"{self.service.title} ({self.region}): {self.operation} {self.subject!r}"
        return f"{request}: {problem}; {remedy}"


_NOT_FOUND = "check the name, the region and the account", SecretNotFoundError
_EXISTS = "take another name, or update it; put does either", SecretExistsError
_DENIED = "allow the operation in the caller's IAM policy", AccessDeniedError
_KMS = "check that the KMS key is enabled and that the caller may use it", DecryptionError
_SLOW_DOWN = "ask for less at once, or have the quota raised", ThrottledError
_CREDENTIALS = "check that the credentials' keys and token belong together", CredentialsError
_EXPIRED = "renew the credentials: log in again, or get a new session token", CredentialsError
_CLOCK = "set the clock of this machine right", CredentialsError
_DOWN = "AWS may have an outage: try again later", UnavailableError
_FAULTY = "check the endpoint, and whether a proxy changes responses", BadResponseError
_BAD_NAME = "correct the name", InvalidNameError
_BAD_VALUE = "correct the value", InvalidValueError
_UNKNOWN = "see AWS's documentation of the operation", S1cretsError
_UNREACHABLE = "check whether the service can be reached from here", UnavailableError
_LOG_IN = "log in again: aws sso login", CredentialsError

_CODES: dict[str, tuple[str, type[S1cretsError]]] = {
    code: meaning
    for meaning, codes in (
        (_NOT_FOUND, "ParameterNotFound ParameterVersionNotFound ResourceNotFoundException"),
        (_EXISTS, "ParameterAlreadyExists ResourceExistsException"),
        (_DENIED, "AccessDenied AccessDeniedException UnauthorizedOperation"),
        (_KMS, "DecryptionFailure EncryptionFailure InvalidKeyId KMSAccessDeniedException"),
        (_KMS, "KMSDisabledException KMSInvalidStateException KMSNotFoundException"),
        (_SLOW_DOWN, "LimitExceededException RequestLimitExceeded RequestThrottled Throttling"),
        (_SLOW_DOWN, "ThrottlingException ThrottledException TooManyRequestsException"),
        (_SLOW_DOWN, "TooManyUpdates"),
        (_CREDENTIALS, "AuthFailure IncompleteSignature IncompleteSignatureException"),
        (_CREDENTIALS, "InvalidAccessKeyId InvalidClientTokenId InvalidSignatureException"),
        (_CREDENTIALS, "MissingAuthenticationToken MissingAuthenticationTokenException"),
        (_CREDENTIALS, "SignatureDoesNotMatch UnrecognizedClientException"),
        (_EXPIRED, "ExpiredToken ExpiredTokenException"),
        (_CLOCK, "RequestExpired RequestTimeTooSkewed"),
        (_DOWN, "InternalFailure InternalServerError InternalServiceError ServiceUnavailable"),
        (_BAD_NAME, "InvalidParameterException ValidationException"),
        (_BAD_VALUE, "ParameterPatternMismatchException"),
    )
    for code in codes.split()
}
THROTTLES = frozenset(code for code, (_, kind) in _CODES.items() if kind is ThrottledError)
EXPIRED = frozenset(code for code, meaning in _CODES.items() if meaning is _EXPIRED)

# By the name of the first class in an error's MRO that is here; botocore is imported late.
_KINDS: dict[str, tuple[str, type[S1cretsError]]] = {
    "NoCredentialsError": (
        "set AWS_PROFILE or AWS_ACCESS_KEY_ID, or check that the metadata service can be reached",
        CredentialsError,
    ),
    "PartialCredentialsError": ("set all of the credentials", CredentialsError),
    "CredentialRetrievalError": (
        "check whether that source of credentials answers, and its message",
        CredentialsError,
    ),
    "MetadataRetrievalError": ("check whether the metadata service answers", CredentialsError),
    "SSOError": _LOG_IN,
    "TokenRetrievalError": _LOG_IN,
    "UnauthorizedSSOTokenError": _LOG_IN,
    "ProfileNotFound": ("set AWS_PROFILE to a profile that exists", ConfigurationError),
    "ConfigParseError": ("correct the AWS config file", ConfigurationError),
    "InvalidRegionError": ("set the region to one of AWS's", ConfigurationError),
    "InvalidEndpointConfigurationError": ("correct the endpoint", ConfigurationError),
    "PaginationError": _FAULTY,
    "ResponseParserError": _FAULTY,
    "SSLError": (
        "check that the endpoint speaks TLS and that AWS_CA_BUNDLE has its certificate's issuer",
        UnavailableError,
    ),
    "HTTPClientError": _UNREACHABLE,
    "ConnectionError": _UNREACHABLE,
    "ClientError": _UNKNOWN,
    "BotoCoreError": ("see the cause", S1cretsError),
    "ClientPayloadError": ("the connection was interrupted: try again", UnavailableError),
    "OSError": _UNREACHABLE,
}
_UNHANDLED = "HTTPClientError"  # itself, not a subclass: it wraps an error unknown to botocore


def code_of(error: BaseException | None) -> str:
    """Return AWS's error code, or "" if the error does not come from AWS."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


@contextmanager
def translated(request: Request) -> Iterator[None]:
    """Raise our error for an error of botocore's.

    The cause keeps its message but not its traceback: botocore's frames contain the secret.
    """
    try:
        yield
    except S1cretsError:
        raise
    except Exception as theirs:  # noqa: BLE001  # it is raised again, translated
        ours = _from_service(request, theirs) if code_of(theirs) else _from_client(request, theirs)
        cause = None if request.writes or _may_contain_response(theirs, ours) else _bare(theirs)
    else:
        return
    raise ours from cause


def _may_contain_response(theirs: Exception, ours: BaseException) -> bool:
    """Return whether botocore's message may contain the response: secrets, or STS's keys."""
    return (
        isinstance(ours, BadResponseError)
        or code_of(theirs).isdecimal()
        or type(theirs).__name__ == _UNHANDLED
    )


def _bare(error: BaseException) -> BaseException:
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _from_service(request: Request, error: Any) -> S1cretsError:
    # A number as the code means that the response was not AWS's; the message is all of its body.
    is_from_aws = not code_of(error).isdecimal()
    words = str(error.response["Error"].get("Message", "")).strip() if is_from_aws else ""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return refused(request, code_of(error), words, status)


def refused(request: Request, code: str, words: str = "", status: int = 0) -> S1cretsError:
    """Return the error for a refusal by AWS, of a whole request or of one name in a batch.

    Args:
        request: the request.
        code: AWS's error code.
        words: AWS's message.
        status: the HTTP status, or 0.
    """
    fallback = _DOWN if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _UNKNOWN
    remedy, kind = _CODES.get(code, fallback)
    if code == "InvalidRequestException" and re.search(r"delet", words):
        words = "it is scheduled for deletion"
        remedy, kind = "restore it, or take another", SecretNotFoundError
        if request.operation == "CreateSecret":
            words = "a secret with this name is scheduled for deletion"
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
        words = ""  # AWS's validation errors repeat the value
    error = kind(request.message(f"{words} [{code}]".strip(), remedy))
    if isinstance(error, AccessDeniedError):
        error.action = action
    return error


def _action(request: Request, words: str) -> str:
    """Return the IAM action that was denied: the one that AWS names, or the operation's."""
    named = re.search(r"perform: ([a-z0-9-]+:[A-Za-z]+)", words)
    if named:
        return named.group(1)
    if "KMS" in words:
        return "kms:Decrypt"
    return f"{request.service.iam_prefix}:{request.operation}"


def _from_client(request: Request, error: Exception) -> S1cretsError | Any:
    for base in type(error).__mro__:
        if base.__name__ in _KINDS:
            remedy, kind = _KINDS[base.__name__]
            break
    else:
        modules = [frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__)]
        is_parsing = "botocore.parsers" in modules
        if isinstance(error, ValueError) and "aiobotocore.endpoint" in modules and not is_parsing:
            remedy, kind = _KINDS["InvalidEndpointConfigurationError"]
        elif is_parsing or modules[-1:] == ["aiobotocore.endpoint"]:
            # The response contains other types than botocore expects.
            remedy, kind = _FAULTY
        else:
            return error  # a bug of ours
    words = type(error).__name__
    if kind is BadResponseError and words != "PaginationError":
        words = f"the response does not match the API [{words}]"
    elif words == _UNHANDLED:  # aiohttp's HTTP errors contain bytes of the response
        words = f"{type(vars(error)['kwargs'].get('error')).__name__} [{words}]"
    elif not request.writes:
        words = f"{error} [{words}]"
    return kind(request.message(words, remedy))
