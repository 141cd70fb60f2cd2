"""Server on loopback that speaks HTTP and AWS's protocols, and breaks connections on demand.

HTTP/1.1 with keep-alive like AWS, and one thread per connection. Signature Version 4 is verified by
its specification ("Create a signed AWS API request" in the IAM User Guide), not as botocore signs:
an error in botocore's signer would otherwise be accepted here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import socket
import ssl
import struct
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from enum import Enum
from functools import lru_cache
from typing import IO, Any, TypeAlias
from urllib.parse import parse_qsl, quote

_HOST = "127.0.0.1"
ACCESS_KEY, SECRET_KEY = "fake-access-key", "fake-secret-key"  # of `environment`; not secrets
_JSON = "application/x-amz-json-1.1"
_PREFIXES = {"ssm": "AmazonSSM", "secretsmanager": "secretsmanager"}
_SERVICES = {prefix: service for service, prefix in _PREFIXES.items()}
INTERNAL_ERRORS = {  # each service's name of its internal error
    "ssm": "InternalServerError", "secretsmanager": "InternalServiceError", "sts": "InternalFailure"
}  # fmt: skip
_log = logging.getLogger("s1crets.testing")
_NAMES = ("Name", "Names", "Path", "SecretId", "SecretIdList", "ResourceId", "RoleArn")

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


class Headers(dict[str, str]):
    """HTTP headers; names are case-insensitive and stored in lower case."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        """Return a header's value, or the default."""
        return super().get(name.lower(), default)


@dataclass(frozen=True, repr=False)
class HttpRequest:
    """An HTTP request; the repr does not show it, as it may contain secrets."""

    method: str
    path: str
    headers: Headers
    body: bytes


@dataclass(frozen=True, repr=False)
class Response:
    """A response; the repr does not show it, as it may contain secrets.

    Attributes:
        body: bytes, or a value that is sent as JSON.
        status: the HTTP status.
        missing: number of bytes that are announced in addition to the body but never sent.
        then_close: whether the connection is closed afterwards, without announcing it.
        headers: headers in addition to the usual ones, or replacing them.
    """

    body: Any
    status: int = 200
    missing: int = 0
    then_close: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A request that was sent to AWS, without the values in it.

    Attributes:
        service: `"ssm"`, `"secretsmanager"` or `"sts"`.
        operation: AWS's name of it, such as `"GetParameters"`.
        names: the names, ARNs or path it was about.
    """

    service: str
    operation: str
    names: tuple[str, ...] = ()


@dataclass(repr=False)
class Call:
    """A request as AWS understands it; the repr does not show it, as it may contain secrets.

    Attributes:
        service: `"ssm"`, `"secretsmanager"`, `"sts"`, or another that it is signed for.
        operation: AWS's name of it, such as `"GetParameters"`. A request that is not an API call
            has no service (`""`), and its HTTP method and path here (`"GET /latest/meta-data"`).
        region: the region it is signed for.
        body: its arguments.
        headers: HTTP headers; names are case-insensitive.
    """

    service: str
    operation: str
    region: str
    body: dict[str, Any] = field(default_factory=dict)
    headers: Headers = field(default_factory=Headers)

    @property
    def action(self) -> str:
        """The operation as IAM names it: `"ssm:GetParameter"`."""
        return f"{self.service}:{self.operation}"

    @property
    def names(self) -> list[str]:
        """The names, ARNs or path that it is about."""
        found: list[str] = []
        for member in _NAMES:
            value = self.body.get(member, [])
            found += [value] if isinstance(value, str) else value
        for condition in (*self.body.get("ParameterFilters", []), *self.body.get("Filters", [])):
            if condition.get("Key") in {"Name", "name"}:
                found += condition.get("Values", [])
        return found

    @property
    def summary(self) -> Request:
        """The request without its values."""
        return Request(self.service, self.operation, tuple(self.names))


class Disconnect(Enum):
    """A way to end a connection without a response.

    Attributes:
        HANG_UP: it is closed (FIN).
        RESET: it is aborted (RST).
    """

    HANG_UP = "FIN"
    RESET = "RST"


Answer: TypeAlias = Response | Disconnect


class AwsError(Exception):
    """An error response of AWS.

    Attributes:
        code: AWS's name of the error, such as `"ThrottlingException"`.
        message: AWS's message.
        status: the HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status

    def response(self, service: str) -> Response:
        """Return the error in the form of the service's protocol."""
        if service != "sts":
            member = "Message" if service == "secretsmanager" else "message"
            return Response({"__type": self.code, member: self.message}, self.status)
        kind = "Sender" if self.status < 500 else "Receiver"  # noqa: PLR2004
        body = (
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
            f"<Type>{kind}</Type><Code>{self.code}</Code><Message>{self.message}</Message>"
            "</Error><RequestId>local</RequestId></ErrorResponse>"
        )
        return Response(body.encode(), self.status, headers={"Content-Type": "text/xml"})


class Server(ABC):
    """An AWS endpoint on one port of loopback; a subclass says what it responds.

    Attributes:
        region: the region of `environment`, and of requests that are not signed for another.
    """

    def __init__(self, region: str, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.region = region
        self._tls = tls
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._thread: threading.Thread | None = None
        self._bind(port)
        self._port: int = self._socket.getsockname()[1]
        self.up()

    @abstractmethod
    def _respond(self, call: Call, request: HttpRequest) -> Answer:
        """Return the response to a request, parsed and raw; called in the connection's thread."""

    def _answer(self, request: HttpRequest) -> Answer:
        """Return the response to a request, also if responding to it fails."""
        try:
            call = _parse(request, self.region)
        except ValueError:
            return AwsError("SerializationException", "The body is not a JSON object.").response("")
        try:
            return self._respond(call, request)
        except AwsError as error:
            return error.response(call.service)
        except Exception:  # noqa: BLE001  # it is logged
            _log.exception("the local AWS failed to respond to %s", call.action)
            code, message = INTERNAL_ERRORS.get(call.service, "InternalFailure"), "Internal error"
            return AwsError(code, message, 500).response(call.service)

    @property
    def url(self) -> str:
        """The endpoint of all services; it stays the same while the server is down."""
        return f"http{'s' if self._tls else ''}://{_HOST}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point every AWS client here; the credentials are not secrets."""
        return client_environment(self.url, self.region)

    @property
    def open_connections(self) -> int:
        """The number of connections that clients keep open."""
        return len(self._connections)

    def up(self) -> None:
        """Accept connections again."""
        if self._thread is None:
            self._listening = True
            self._socket.listen(1024)
            self._thread = threading.Thread(target=self._accept, daemon=True)
            self._thread.start()

    def down(self) -> None:
        """Break all connections off and refuse new ones; the port stays the same."""
        if self._thread is not None:
            self._listening = False
            _shut_down(self._socket)  # wakes the thread, except on macOS
            self._thread.join()
            self._thread = None
            self._socket.close()
            with self._lock:
                for connection in self._connections:
                    _shut_down(connection)
            self._bind(self._port)

    def close(self) -> None:
        """Stop for good."""
        self.down()
        self._socket.close()

    def _bind(self, port: int) -> None:
        """Reserve the port: connections are refused until the socket listens."""
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by connections: the end of a large response must not wait for an ACK (40 ms).
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            bound.bind((_HOST, port))
        except OSError as error:
            bound.close()
            raise OSError(error.errno, f"port {port} of {_HOST}: {error.strerror}") from None
        bound.settimeout(0.1)
        if self._tls:
            # The handshake is part of the first read, in the connection's thread.
            bound = self._tls.wrap_socket(bound, server_side=True, do_handshake_on_connect=False)
        self._socket = bound

    def _accept(self) -> None:
        while self._listening:
            with suppress(OSError):  # nothing came in time, or the client is gone already
                connection, _ = self._socket.accept()
                with self._lock:
                    self._connections.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            last: Answer | None = None
            try:
                with suppress(ConnectionError, ssl.SSLError):  # the client is gone
                    if not stream.peek(1)[:1].isupper():  # not HTTP: a TLS handshake, say
                        _send(connection, Response({}, 400))
                        return
                    while request := _read(stream):
                        last = self._answer(request)
                        _send(connection, last)
                        if isinstance(last, Disconnect) or last.missing or last.then_close:
                            break
            finally:
                with self._lock:
                    self._connections.discard(connection)
                if last is not Disconnect.RESET:
                    _shut_down(connection)


def _parse(request: HttpRequest, region: str) -> Call:
    """Return the request as AWS understands it; `region` is that of unsigned requests."""
    headers = request.headers
    prefix, _, operation = headers.get("X-Amz-Target").partition(".")
    scope = headers.get("Authorization").partition("Credential=")[2].split("/")  # key, date, region
    region, service = scope[2:4] if len(scope) > 3 else (region, "")  # noqa: PLR2004
    if operation:
        service = _SERVICES.get(prefix, service)
        arguments = json.loads(request.body)
        if not isinstance(arguments, dict):
            raise ValueError("the body is not a JSON object")
        return Call(service, operation, region, arguments, headers)
    if headers.get("Content-Type").startswith("application/x-www-form-urlencoded"):
        body: dict[str, Any] = dict(parse_qsl(request.body.decode()))
        service = service or "sts"  # AssumeRoleWithWebIdentity is not signed
        return Call(service, body.get("Action", ""), region, body, headers)
    return Call("", f"{request.method} {request.path}", region, {}, headers)


def signed(service: str, operation: str, region: str, body: dict[str, Any]) -> Call:
    """Return a call of Parameter Store or Secrets Manager as a client sends it."""
    scope = f"local/20260101/{region}/{service}/aws4_request"
    headers = {
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}",
        "content-type": _JSON,
        "x-amz-target": f"{_PREFIXES[service]}.{operation}",
    }
    return Call(service, operation, region, body, Headers(headers))


def client_environment(url: str, region: str) -> dict[str, str]:
    """Return the environment variables that point every AWS client to an endpoint."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _read(stream: IO[bytes]) -> HttpRequest | None:
    """Return the next request, or None after the last one."""
    first = stream.readline().decode("latin-1").split()
    if len(first) != 3:  # noqa: PLR2004  # method, path, version
        return None
    headers = Headers()
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    size = int(headers.get("Content-Length", "0"))
    body = stream.read(size)
    return HttpRequest(first[0], first[1], headers, body) if len(body) == size else None


def _send(connection: socket.socket, response: Answer) -> None:
    if response is Disconnect.RESET:  # sent when the socket is closed
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(response, Disconnect):
        return
    body = response.body
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {
        "content-type": _JSON,
        "date": formatdate(usegmt=True),
        "x-amzn-requestid": str(uuid.uuid4()),
        **{name.lower(): value for name, value in response.headers.items()},
        "content-length": str(len(body) + response.missing),
    }
    lines = [f"HTTP/1.1 {response.status} ", *(f"{name}: {headers[name]}" for name in headers)]
    connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # it is not connected any more, or macOS: it listens
        connection.shutdown(socket.SHUT_RDWR)


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
