"""Translation of botocore's errors and AWS's error codes to our exceptions."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import walk_tb
from typing import TypeAlias

from s1crets._redaction import Redacted
from s1crets.errors import (
    AccessDeniedError,
    BadResponseError,
    ConfigurationError,
    CredentialsError,
    DecryptionError,
    InvalidNameError,
    InvalidValueError,
    QuotaExceededError,
    S1cretsError,
    SecretExistsError,
    SecretNotFoundError,
    ThrottledError,
    UnavailableError,
)
from s1crets.providers.aws._services import PARAMETER_STORE, SECRETS_MANAGER, Service


@dataclass
class Request:
    """A request to AWS, as error messages describe it."""

    service: Service
    region: str  # as far as it is known
    operation: str  # AWS's name
    subject: str  # the name or path in question
    values: Collection[Redacted] = ()  # values in it, which AWS's message may repeat

    def message(self, problem: str, remedy: str = "") -> str:
        """Return a complete error message."""
        request = f"{self.service.title} ({self.region}): {self.operation} {self.subject!r}"
        return f"{request}: {problem}" + (f"; {remedy}" if remedy else "")


@dataclass(eq=False)
class Unresolved(Exception):  # noqa: N818  # it is translated for each request
    """A failure to resolve credentials or settings, without a secret."""

    problem: str  # the source, and what is wrong with it
    remedy: str
    kind: type[S1cretsError] = CredentialsError


_Meaning: TypeAlias = tuple[str, type[S1cretsError]]


def _table(*rows: tuple[_Meaning, str]) -> dict[str, _Meaning]:
    return {word: meaning for meaning, words in rows for word in words.split()}


_NOT_FOUND = "check the name, the region and the account", SecretNotFoundError
_NO_VERSION = (
    "the secret is there, but has no such version or stage: check the version",
    SecretNotFoundError,
)
_EXISTS = "use another name, or update it; put does either", SecretExistsError
_DENIED = "allow {action} in the caller's IAM policy", AccessDeniedError
_KMS = (
    "check that the KMS key is enabled and that the caller may use it: {action}",
    DecryptionError,
)
_FOREIGN_KEY = (
    "encrypt the secret with a customer managed KMS key whose policy allows {action} to the caller",
    DecryptionError,
)
_SLOW_DOWN = "send fewer requests at a time, or have the quota raised", ThrottledError
_QUOTA = "delete what is not needed, or have the account's quota raised", QuotaExceededError
_NAME = "correct the name", InvalidNameError
_LEVELS = "a name can have at most 15 levels: shorten it", InvalidNameError
_VALUE = "correct the value", InvalidValueError
_SETTING = "correct the setting that the message names", ConfigurationError
_ROLE = "correct the items of sts_args", ConfigurationError
_CREDENTIALS = "check that the credentials' keys and token belong together", CredentialsError
_EXPIRED = "renew the credentials: log in again, or get a new session token", CredentialsError
_IDENTITY = "check the web identity token and the role's trust policy", CredentialsError
_CLOCK = "correct the clock of this machine", CredentialsError
_REGION = "activate the region in the account's settings", ConfigurationError
_DOWN = "AWS may have an outage: try again later", UnavailableError
_PAGES = "AWS does not accept its own token for the next page: try again", BadResponseError
_FAULTY = "check the endpoint, and whether a proxy changes responses", BadResponseError
_UNKNOWN = "see AWS's documentation of the operation", S1cretsError
_UNREACHABLE = "check whether the service can be reached from here", UnavailableError
_BAD_ENDPOINT = "correct the endpoint", ConfigurationError
_NO_TLS = (
    "check that the endpoint speaks TLS and that AWS_CA_BUNDLE has its certificate's issuer",
    UnavailableError,
)

CODES = _table(
    (_NOT_FOUND, "ParameterNotFound ResourceNotFoundException"),
    (_NO_VERSION, "ParameterVersionNotFound"),
    (_EXISTS, "ParameterAlreadyExists ResourceExistsException"),
    (_DENIED, "AccessDenied AccessDeniedException UnauthorizedOperation"),
    (_KMS, "DecryptionFailure EncryptionFailure InvalidKeyId KMSAccessDeniedException"),
    (_KMS, "KMSDisabledException KMSInvalidStateException KMSNotFoundException"),
    (_SLOW_DOWN, "RequestLimitExceeded RequestThrottled Throttling"),
    (_SLOW_DOWN, "ThrottlingException ThrottledException TooManyRequestsException"),
    (_SLOW_DOWN, "TooManyUpdates"),
    (_QUOTA, "LimitExceededException ParameterLimitExceeded ParameterMaxVersionLimitExceeded"),
    (_QUOTA, "PoliciesLimitExceededException"),
    (_CREDENTIALS, "AuthFailure IncompleteSignature IncompleteSignatureException"),
    (_CREDENTIALS, "InvalidAccessKeyId InvalidClientTokenId InvalidSignatureException"),
    (_CREDENTIALS, "MissingAuthenticationToken MissingAuthenticationTokenException"),
    (_CREDENTIALS, "SignatureDoesNotMatch UnrecognizedClientException"),
    (_EXPIRED, "ExpiredToken ExpiredTokenException"),
    (_IDENTITY, "IDPCommunicationError IDPRejectedClaim InvalidIdentityToken"),
    (_CLOCK, "RequestExpired RequestTimeTooSkewed"),
    (_REGION, "OptInRequired RegionDisabledException"),
    (_ROLE, "MalformedPolicyDocument PackedPolicyTooLarge ValidationError"),
    (_DOWN, "InternalFailure InternalServerError InternalServiceError ServiceUnavailable"),
    (_PAGES, "InvalidNextToken InvalidNextTokenException"),
    (_NAME, "InvalidFilterKey InvalidFilterOption InvalidFilterValue"),
    (_NAME, "InvalidParameterException ValidationException"),
    (_LEVELS, "HierarchyLevelLimitExceededException"),
    (_VALUE, "ParameterPatternMismatchException"),
    (_SETTING, "HierarchyTypeMismatchException IncompatiblePolicyException"),
    (_SETTING, "InvalidAllowedPatternException InvalidPolicyAttributeException"),
    (_SETTING, "InvalidPolicyTypeException MalformedPolicyDocumentException"),
    (_SETTING, "PreconditionNotMetException UnsupportedParameterType"),
    (_UNKNOWN, "InvalidRequestException"),
)
THROTTLES = frozenset(code for code, (_, kind) in CODES.items() if kind is ThrottledError)
EXPIRED = frozenset(code for code, meaning in CODES.items() if meaning is _EXPIRED)
QUOTAS = frozenset(code for code, meaning in CODES.items() if meaning is _QUOTA)

_KMS_ACTIONS = {
    **dict.fromkeys(("CreateSecret", "PutSecretValue", "UpdateSecret"), "kms:GenerateDataKey"),
    "PutParameter": "kms:Encrypt",  # kms:GenerateDataKey in the advanced tier
}
_PART = 8  # characters of a part of a value that AWS's message must not contain
_SERVER_ERROR = 500  # the lowest HTTP status of the service's own failures
_LONGEST_TEXT = 1000  # characters that are shown of a message

_ARGUMENT = "^(InvalidParameter|InvalidRequest|Validation)Exception .*"
# Codes that say too little: AWS's text decides. The first pattern that "CODE OPERATION: TEXT"
# matches counts. They are compiled when they are needed, which takes 3 ms.
_TEXTS = (
    (
        "^InvalidRequestException CreateSecret: .*delet",
        ("restore that secret, wait until it is gone, or use another name", SecretExistsError),
    ),
    (
        "^InvalidRequestException .*delet",
        ("it is scheduled for deletion: restore it, or use another secret", SecretNotFoundError),
    ),
    ("^ResourceNotFoundException .*(staging label|versionid)", _NO_VERSION),
    (_ARGUMENT + "versionstage.* not associated", _NO_VERSION),
    ("different aws account.*default kms", _FOREIGN_KEY),
    (r"^\w*signature\w* \w+: signature (expired|not yet current)", _CLOCK),
    ("reserved parameter name", _NAME),
    (_ARGUMENT + "(at '(value|secretstring|secretbinary)'|parameter value|secret value)", _VALUE),
    (
        _ARGUMENT + "(downgrade a parameter"
        "|at '(allowedpattern|datatype|description|keyid|kmskeyid|policies|tags|tier|type))",
        _SETTING,
    ),
)

# By the name of the first class in an error's MRO that is here; botocore is imported late.
_KINDS = _table(
    (("set AWS_PROFILE to a profile that exists", ConfigurationError), "ProfileNotFound"),
    (("correct the AWS config file", ConfigurationError), "ConfigParseError"),
    (("set the region to one that AWS has", ConfigurationError), "InvalidRegionError"),
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
        ours.__cause__ = None if request.values or is_foreign or is_telling else theirs
    return ours


def refused(request: Request, code: str, words: str = "", status: int = 0) -> S1cretsError:
    """Return the error for AWS's refusal of a request or a name in a batch, with its message."""
    fallback = _DOWN if status >= _SERVER_ERROR else _UNKNOWN
    words = _without(request.values, words)
    described = f"{code} {request.operation}: {words}"
    flags = re.IGNORECASE | re.DOTALL
    matching = (meaning for text, meaning in _TEXTS if re.search(text, described, flags))
    meaning = next(matching, CODES.get(code, fallback))
    if meaning == _NAME and request.values and not re.search(r"\bname\b", words, re.IGNORECASE):
        meaning = "correct the name, the value or the setting in question", InvalidValueError
    remedy, kind = meaning
    if meaning in (_NAME, _NOT_FOUND):
        remedy = _other_name(request) or remedy
    action = _action(request, words, is_of_kms=kind is DecryptionError)
    error = kind(request.message(f"{words} [{code}]".strip(), remedy.replace("{action}", action)))
    if isinstance(error, AccessDeniedError):
        error.action = action
    return error


def _action(request: Request, words: str, *, is_of_kms: bool) -> str:
    """Return the IAM action that was denied: the one that AWS names, or the operation's."""
    named = re.search(r"perform: ([a-z0-9-]+:[A-Za-z]+)|\b(kms:[A-Z][A-Za-z]+)", words)
    if named:
        return named.group(1) or named.group(2)
    if is_of_kms or re.search(r"\bkms\b|ciphertext", words, re.IGNORECASE):
        return _KMS_ACTIONS.get(request.operation, "kms:Decrypt")
    return f"{request.service.iam_prefix}:{request.operation}"


def _other_name(request: Request) -> str:
    """Return the remedy if the caller has probably left out a slash, or taken the wrong service."""
    name = request.subject
    if request.service is PARAMETER_STORE and re.match(r"[\w.-]+/", name):
        return (
            f"the name of a parameter with a / in it begins with one: did you mean {'/' + name!r}?"
        )
    if request.service is SECRETS_MANAGER and re.match(r"/[^/]", name):
        return f"check the name: did you mean {name[1:]!r}, or a parameter (aws.ps)?"
    return ""


def _without(values: Collection[Redacted], text: str) -> str:
    """Return AWS's text with *** in place of values and parts of values, except for short parts."""
    for value in values:
        text = re.sub(r"value '.*' at '", "Value at '", text, flags=re.IGNORECASE | re.DOTALL)
        forms = sorted(_forms(value.reveal()), key=len, reverse=True)
        for form in forms:
            is_short = len(form) < _PART  # may be a part of a word
            pattern = rf"(?<!\w){re.escape(form)}(?!\w)" if is_short else re.escape(form)
            text = re.sub(pattern, "***", text)
        parts = {form[i : i + _PART] for form in forms for i in range(len(form) - _PART + 1)}
        text = _without_parts(text[:_LONGEST_TEXT], parts)
    return text


def _forms(value: str | bytes) -> set[str]:
    """Return a value in the forms in which AWS may repeat it."""
    if isinstance(value, bytes):
        return {value.decode(errors="replace"), base64.b64encode(value).decode()}
    return {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}


def _without_parts(text: str, parts: Collection[str]) -> str:
    hidden: set[int] = set()
    for start in range(len(text)):
        if text[start : start + _PART] in parts:
            hidden.update(range(start, start + _PART))
    marked = "".join("\0" if i in hidden else char for i, char in enumerate(text))
    # What is between two parts is another form of what is between them in the value.
    return re.sub(rf"\0+(.{{1,{_PART}}}?\0+)*", "***", marked)


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
    else:
        words = _without(request.values, f"{error} [{words}]")
    return kind(request.message(words, remedy))


def _by_origin(error: Exception) -> _Meaning | None:
    """Return the meaning of an error of a general class by the code that raised it."""
    modules = [frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__)]
    if "botocore.parsers" in modules:
        return _FAULTY  # the response contains other types than botocore expects
    if isinstance(error, ValueError) and "aiobotocore.endpoint" in modules:
        return _BAD_ENDPOINT
    return _FAULTY if modules[-1:] == ["aiobotocore.endpoint"] else None
