"""One request to AWS: what is looked at of it, and how it is refused."""

from __future__ import annotations

import json
import urllib.parse
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_TARGETS = {"AmazonSSM": "ssm", "secretsmanager": "secretsmanager"}
_NAMES = ("Name", "Names", "Path", "SecretId", "SecretIdList", "ResourceId", "RoleArn")
_JSON = "application/x-amz-json-1.1"


@dataclass(frozen=True)
class Asked:
    """One request that AWS was sent, without the values in it.

    Attributes:
        service: `"ssm"`, `"secretsmanager"` or `"sts"`.
        operation: AWS's name of it, such as `"GetParameters"`.
        names: the names, ARNs or the path that it was about.
    """

    service: str
    operation: str
    names: tuple[str, ...] = ()


class Reply(NamedTuple):
    """What is sent back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, repr=False)
class Incoming:
    """A request as HTTP has it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(repr=False)
class Call:
    """A request as AWS understands it; the repr does not show its values.

    Attributes:
        service: which one, as IAM calls it.
        operation: AWS's name of it.
        region: where.
        body: its arguments, which may be put right before moto sees them.
    """

    service: str
    operation: str
    region: str
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """What it is about: names, ARNs, or a path."""
        found: list[str] = []
        for one in _NAMES:
            value = self.body.get(one, [])
            found += [value] if isinstance(value, str) else value
        for one in (*self.body.get("ParameterFilters", []), *self.body.get("Filters", [])):
            if one.get("Key") in {"Name", "name"}:
                found += one.get("Values", [])
        return found

    def asked(self) -> Asked:
        """Return what may be told of it."""
        return Asked(self.service, self.operation, tuple(self.names))


class Refused(Exception):  # noqa: N818  # what AWS says, no error of ours
    """AWS's answer is an error.

    Args:
        code: AWS's name of it.
        message: AWS's words, as far as they are known.
        status: of HTTP.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status

    def reply(self, service: str) -> Reply:
        """Return it in the form of the service's protocol."""
        if service != "sts":
            return answer({"__type": self.code, "message": self.message}, self.status)
        kind = "Sender" if self.status < 500 else "Receiver"  # noqa: PLR2004
        body = (
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
            f"<Type>{kind}</Type><Code>{self.code}</Code><Message>{self.message}</Message>"
            "</Error><RequestId>loopback</RequestId></ErrorResponse>"
        )
        return Reply(self.status, [("Content-Type", "text/xml")], body.encode())


def answer(body: Mapping[str, Any], status: int = 200) -> Reply:
    """Return a reply of JSON."""
    headers = [("Content-Type", _JSON), ("x-amzn-RequestId", str(uuid.uuid4()))]
    return Reply(status, headers, json.dumps(body).encode())


def parsed(incoming: Incoming, region: str) -> Call | None:
    """Return what AWS would understand, or None for a request of another service.

    Args:
        incoming: what came.
        region: where it is sent to, if its signature does not say.
    """
    prefix, _, operation = incoming.headers.get("X-Amz-Target", "").partition(".")
    signed_for, service = _scope(incoming.headers.get("Authorization", ""))
    region = signed_for or region
    if prefix in _TARGETS:
        return Call(_TARGETS[prefix], operation, region, json.loads(incoming.body))
    form = incoming.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
    if form and service in {"sts", ""}:  # a web identity's requests are not signed
        body = dict(urllib.parse.parse_qsl(incoming.body.decode()))
        return Call("sts", body.get("Action", ""), region, dict(body))
    return None


def _scope(authorization: str) -> tuple[str, str]:
    """Return the region and the service that a signature is for, or empty texts."""
    scope = authorization.partition("Credential=")[2].split("/")
    return (scope[2], scope[3]) if len(scope) > 3 else ("", "")  # noqa: PLR2004  # key, date, …
