"""Translation of botocore's errors to ours, in one context manager."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from traceback import walk_tb
from typing import TypeAlias

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
from s1crets.providers.aws._services import Service


@dataclass
class Request:
    """A request to AWS, as error messages describe it."""

    service: Service
    region: str  # as far as it is known
    operation: str  # AWS's name
    subject: str  # the name or path in question
    writes: bool = False  # whether it contains a secret's value, which AWS's message may repeat

    def message(self, problem: str, remedy: str = "") -> str:
        """Return a complete error message."""
        request = f"{self.service.title} ({self.region}): {self.operation} {self.subject!r}"
        return f"{request}: {problem}" + (f"; {remedy}" if remedy else "")


class Unresolved(Exception):  # noqa: N818  # it is translated for each request
    """A failure to resolve credentials or settings, without a secret.

    Attributes:
        problem: the source and what is wrong with it.
        remedy: what to do.
        kind: our class for it.
    """

    def __init__(
        self, problem: str, remedy: str, kind: type[S1cretsError] = CredentialsError
    ) -> None:
        super().__init__(problem, remedy, kind)
        self.problem = problem
        self.remedy = remedy
        self.kind = kind


_Meaning: TypeAlias = tuple[str, type[S1cretsError]]


def _table(*rows: tuple[_Meaning, str]) -> dict[str, _Meaning]:
    return {word: meaning for meaning, words in rows for word in words.split()}


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
_UNKNOWN = "see AWS's documentation of the operation", S1cretsError
_UNREACHABLE = "check whether the service can be reached from here", UnavailableError
_BAD_ENDPOINT = "correct the endpoint", ConfigurationError
_NO_TLS = (
    "check that the endpoint speaks TLS and that AWS_CA_BUNDLE has its certificate's issuer",
    UnavailableError,
)

CODES = _table(
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
    (("correct the name", InvalidNameError), "InvalidParameterException ValidationException"),
    (("correct the value", InvalidValueError), "ParameterPatternMismatchException"),
)
THROTTLES = frozenset(code for code, (_, kind) in CODES.items() if kind is ThrottledError)
EXPIRED = frozenset(code for code, meaning in CODES.items() if meaning is _EXPIRED)

# By the name of the first class in an error's MRO that is here; botocore is imported late.
_KINDS = _table(
    (("set AWS_PROFILE to a profile that exists", ConfigurationError), "ProfileNotFound"),
    (("correct the AWS config file", ConfigurationError), "ConfigParseError"),
    (("set the region to one of AWS's", ConfigurationError), "InvalidRegionError"),
    (_BAD_ENDPOINT, "InvalidEndpointConfigurationError"),
    (_FAULTY, "PaginationError RejectedResponse ResponseParserError"),
    (_NO_TLS, "SSLError"),
    (_UNREACHABLE, "HTTPClientError ConnectionError OSError"),
    (_UNKNOWN, "ClientError"),
    (("see the cause", S1cretsError), "BotoCoreError"),
    (("the connection was interrupted: try again", UnavailableError), "ClientPayloadError"),
)
_UNHANDLED = "HTTPClientError"  # itself, not a subclass: it wraps an error unknown to botocore


class RejectedResponse(Exception):  # noqa: N818  # never seen by a caller
    """A response that must not be used; the message says why, with nothing from the response."""


def malformed() -> RejectedResponse:
    """Return the error for a response that violates the API."""
    return RejectedResponse("the response does not match the API")


def foreign() -> RejectedResponse:
    """Return the error for a response about something that was not requested."""
    return RejectedResponse("the response is about another name than the requested one")


@contextmanager
def translated(request: Request) -> Iterator[None]:
    """Raise our error for an error of botocore's."""
    try:
        yield
    except Exception as theirs:  # noqa: BLE001  # it is raised again, translated
        ours = translation(request, theirs)
    else:
        return
    raise ours from ours.__cause__


def translation(request: Request, theirs: Exception) -> Exception:
    """Return our error for an error of botocore's, or a bug of ours as it is.

    The cause keeps its message but not its traceback: botocore's frames contain the secret. If the
    message too may contain it, as part of a request or response, there is no cause.
    """
    if isinstance(theirs, S1cretsError):
        return theirs
    if isinstance(theirs, Unresolved):
        return theirs.kind(request.message(theirs.problem, theirs.remedy))
    response = getattr(theirs, "response", None) or {}
    failure = response.get("Error", {})
    code, words = str(failure.get("Code", "")), str(failure.get("Message", "")).strip()
    # A number as the code means that the response was not AWS's; the message is all of its body.
    is_foreign = code.isdecimal()
    if code:
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        ours: Exception = refused(request, code, "" if is_foreign else words, status)
    else:
        ours = _from_client(request, theirs)
    if ours is not theirs:
        is_telling = isinstance(ours, BadResponseError) or type(theirs).__name__ == _UNHANDLED
        theirs.__cause__ = theirs.__context__ = None
        theirs = theirs.with_traceback(None)
        ours.__cause__ = None if request.writes or is_foreign or is_telling else theirs
    return ours


def refused(request: Request, code: str, words: str = "", status: int = 0) -> S1cretsError:
    """Return the error for AWS's refusal of a request or a name in a batch, with its message."""
    fallback = _DOWN if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _UNKNOWN
    remedy, kind = CODES.get(code, fallback)
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


def _from_client(request: Request, error: Exception) -> Exception:
    """Return our error for one that is not a response, or a bug of ours as it is."""
    bases = [base.__name__ for base in type(error).__mro__]
    meaning = next((_KINDS[base] for base in bases if base in _KINDS), None) or _by_origin(error)
    if meaning is None:
        return error
    remedy, kind = meaning
    words = type(error).__name__
    if isinstance(error, RejectedResponse):
        words = str(error)
    elif kind is BadResponseError and words != "PaginationError":
        words = f"the response does not match the API [{words}]"
    elif words == _UNHANDLED:  # aiohttp's HTTP errors contain bytes of the response
        words = f"{type(vars(error)['kwargs'].get('error')).__name__} [{words}]"
    elif not request.writes:
        words = f"{error} [{words}]"
    return kind(request.message(words, remedy))


def _by_origin(error: Exception) -> _Meaning | None:
    """Return the meaning of an error of a general class by the code that raised it."""
    modules = [frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__)]
    if "botocore.parsers" in modules:
        return _FAULTY  # the response contains other types than botocore expects
    if isinstance(error, ValueError) and "aiobotocore.endpoint" in modules:
        return _BAD_ENDPOINT
    return _FAULTY if modules[-1:] == ["aiobotocore.endpoint"] else None
