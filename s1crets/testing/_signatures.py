"""Signatures: verification of requests by AWS's specification of Signature Version 4.

Written from the specification ("Create a signed AWS API request" in the IAM User Guide), not from
botocore: an error in botocore's signer would otherwise be accepted here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import parse_qsl, quote

from s1crets.testing._server import AwsError, HttpRequest

_ALGORITHM = "AWS4-HMAC-SHA256"
_TERMINATOR = "aws4_request"
_FIELDS = ("Credential", "Signature", "SignedHeaders")  # of the header `Authorization`
_TIME = "%Y%m%dT%H%M%SZ"
_SKEWS = {"sts": 15}  # minutes that a client's clock may differ
_SKEW = 5
_ISSUED = re.compile(
    r"<AccessKeyId>(?P<key>[^<]+)</AccessKeyId>\s*"
    r"<SecretAccessKey>(?P<secret>[^<]+)</SecretAccessKey>\s*"
    r"<SessionToken>(?P<token>[^<]+)</SessionToken>\s*<Expiration>(?P<expires>[^<]+)</Expiration>"
)
_CODES = {  # by the reason: the code in the JSON protocol, and that of STS
    "missing": ("MissingAuthenticationTokenException", "MissingAuthenticationToken"),
    "incomplete": ("IncompleteSignatureException", "IncompleteSignature"),
    "unknown": ("UnrecognizedClientException", "InvalidClientTokenId"),
    "expired": ("ExpiredTokenException", "ExpiredToken"),
    "signature": ("InvalidSignatureException", "SignatureDoesNotMatch"),
}
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS"
    " Secret Access Key and signing method. Consult the service documentation for details."
)


@dataclass(frozen=True, repr=False)
class Credentials:
    """Credentials that a server accepts; the repr does not show them."""

    secret: str
    token: str = ""  # of temporary credentials
    expires: datetime | None = None  # when temporary credentials end


def issued(body: bytes) -> dict[str, Credentials]:
    """Return the credentials in a response of STS, by access key."""
    return {
        found["key"]: Credentials(
            found["secret"], found["token"], datetime.fromisoformat(found["expires"])
        )
        for found in _ISSUED.finditer(body.decode())
    }


def refusal(service: str, reason: str, message: str) -> AwsError:
    """Return a service's error for a request that is not authenticated."""
    code, code_of_sts = _CODES[reason]
    return AwsError(code_of_sts, message, 403) if service == "sts" else AwsError(code, message)


def verify(
    request: HttpRequest, service: str, known: Mapping[str, Credentials], now: datetime
) -> None:
    """Raise AWS's error unless a request is signed with `known` credentials, by access key."""
    header = request.headers.get("Authorization")
    if not header:
        raise refusal(service, "missing", "Missing Authentication Token")
    fields, time = _parsed(header, service), request.headers.get("X-Amz-Date")
    try:
        sent = datetime.strptime(time, _TIME).replace(tzinfo=UTC)
    except ValueError:
        message = "Authorization header requires existence of a valid 'X-Amz-Date' header."
        raise refusal(service, "incomplete", message) from None
    key, scope = fields["Credential"].split("/", 1)
    credentials = known.get(key)
    if credentials is None or credentials.token != request.headers.get("X-Amz-Security-Token"):
        message = "The security token included in the request is invalid."
        raise refusal(service, "unknown", message)
    if credentials.expires and credentials.expires <= now:
        message = "The security token included in the request is expired"
        raise refusal(service, "expired", message)
    signed_headers = fields["SignedHeaders"].split(";")
    problems = (
        _wrong_scope(scope, service, time),
        _wrong_time(sent, now, _SKEWS.get(service, _SKEW)),
        _unsigned(request, signed_headers),
    )
    for problem in filter(None, problems):
        raise refusal(service, "signature", problem)
    signature = _signature(request, signed_headers, credentials.secret, scope, time)
    if not hmac.compare_digest(signature.encode(), fields["Signature"].encode()):
        raise refusal(service, "signature", _MISMATCH)


def _parsed(header: str, service: str) -> dict[str, str]:
    """Return the fields of the header `Authorization`."""
    algorithm, _, rest = header.partition(" ")
    if algorithm != _ALGORITHM:
        raise refusal(service, "incomplete", f"Unsupported AWS 'algorithm': '{algorithm}'.")
    pairs = (field.strip().partition("=") for field in rest.split(","))
    fields = {name: text for name, _, text in pairs}
    if missing := [name for name in _FIELDS if not fields.get(name)]:
        needed = (f"Authorization header requires '{name}' parameter." for name in missing)
        raise refusal(service, "incomplete", " ".join(needed))
    if fields["Credential"].count("/") != 4:  # noqa: PLR2004
        message = "Credential must have exactly 5 slash-delimited elements."
        raise refusal(service, "incomplete", message)
    return fields


def _wrong_scope(scope: str, service: str, time: str) -> str:
    """Return the problem with a credential scope: date, region, service, terminator."""
    date, _, scoped_to, terminator = scope.split("/")
    if date != time[:8]:
        return "Date in Credential scope does not match YYYYMMDD from the date of the request."
    if scoped_to != service:
        return f"Credential should be scoped to correct service: '{service}'."
    if terminator != _TERMINATOR:
        return f"Credential should be scoped with a valid terminator: '{_TERMINATOR}'."
    return ""


def _wrong_time(sent: datetime, now: datetime, minutes: int) -> str:
    """Return the problem with a client's time, with the server's."""
    server, skew = now.strftime(_TIME), timedelta(minutes=minutes)
    if sent < now - skew:
        limit = f"{now - skew:{_TIME}} ({server} - {minutes} min.)"
        return f"Signature expired: {sent:{_TIME}} is now earlier than {limit}"
    if sent > now + skew:
        limit = f"{now + skew:{_TIME}} ({server} + {minutes} min.)"
        return f"Signature not yet current: {sent:{_TIME}} is still later than {limit}"
    return ""


def _unsigned(request: HttpRequest, signed_headers: Iterable[str]) -> str:
    """Return the problem with headers that have to be signed."""
    required = ["host", *(name for name in request.headers if name.startswith("x-amz-"))]
    if missing := sorted(set(required).difference(signed_headers)):
        names = ", ".join(f"'{name}'" for name in missing)
        return f"{names} must be a 'SignedHeader' in the AWS Authorization."
    return ""


def _signature(
    request: HttpRequest, signed_headers: list[str], secret: str, scope: str, time: str
) -> str:
    path, _, query = request.path.partition("?")
    arguments = sorted(
        (quote(name, safe="~"), quote(value, safe="~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    canonical = [
        request.method,
        quote(path, safe="/~"),
        "&".join(f"{name}={value}" for name, value in arguments),
        *(f"{name}:{' '.join(request.headers.get(name).split())}" for name in signed_headers),
        "",
        ";".join(signed_headers),
        hashlib.sha256(request.body).hexdigest(),
    ]
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    text = f"{_ALGORITHM}\n{time}\n{scope}\n{digest}"
    return _hmac(_signing_key(secret, scope), text).hex()


@lru_cache(maxsize=64)
def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
