"""AWS's protocols: a request as AWS understands it, and AWS's form of errors."""

from __future__ import annotations

import json
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from s1crets.testing._server import Headers, HttpRequest, Response

_PREFIXES = {"ssm": "AmazonSSM", "secretsmanager": "secretsmanager"}
_SERVICES = {prefix: service for service, prefix in _PREFIXES.items()}
_NAMES = ("Name", "Names", "Path", "SecretId", "SecretIdList", "ResourceId", "RoleArn")


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
        service: `"ssm"`, `"secretsmanager"`, `"sts"`, or the service it is signed for; `""` for a
            request that is not an API call.
        operation: AWS's name of it, such as `"GetParameters"`; the HTTP method and path
            (`"GET /latest/meta-data"`) of a request that is not an API call.
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
            return Response({"__type": self.code, "message": self.message}, self.status)
        kind = "Sender" if self.status < 500 else "Receiver"  # noqa: PLR2004
        body = (
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
            f"<Type>{kind}</Type><Code>{self.code}</Code><Message>{self.message}</Message>"
            "</Error><RequestId>local</RequestId></ErrorResponse>"
        )
        return Response(body.encode(), self.status, headers={"Content-Type": "text/xml"})


def parse(request: HttpRequest, region: str) -> Call:
    """Return the request as AWS would understand it.

    Args:
        request: the HTTP request.
        region: the region of requests that are not signed.
    """
    headers = request.headers
    prefix, _, operation = headers.get("X-Amz-Target").partition(".")
    scope = headers.get("Authorization").partition("Credential=")[2].split("/")  # key, date, region
    region, service = scope[2:4] if len(scope) > 3 else (region, "")  # noqa: PLR2004
    if operation:
        service = _SERVICES.get(prefix, service)
        return Call(service, operation, region, json.loads(request.body), headers)
    if headers.get("Content-Type").startswith("application/x-www-form-urlencoded"):
        body: dict[str, Any] = dict(urllib.parse.parse_qsl(request.body.decode()))
        service = service or "sts"  # AssumeRoleWithWebIdentity is not signed
        return Call(service, body.get("Action", ""), region, body, headers)
    return Call("", f"{request.method} {request.path}", region, {}, headers)


def signed(service: str, operation: str, region: str, body: dict[str, Any]) -> Call:
    """Return a call of Parameter Store or Secrets Manager as a client sends it."""
    scope = f"local/20260101/{region}/{service}/aws4_request"
    headers = {
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}",
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": f"{_PREFIXES[service]}.{operation}",
    }
    return Call(service, operation, region, body, Headers(headers))
