"""The kit's scripted AWS, under the names that the tests use."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from s1crets.testing import AwsError, Disconnect, Response, ScriptedAws
from s1crets.testing import Call as Asked
from s1crets.testing import Response as Reply

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

__all__ = [
    "HANG_UP",
    "RESET",
    "Asked",
    "Reply",
    "Wire",
    "assumed",
    "caller",
    "parameter",
    "refusal",
    "wire",
]

HANG_UP, RESET = Disconnect.HANG_UP, Disconnect.RESET


class Wire(ScriptedAws):
    """A scripted AWS with shortcuts to the calls that it received."""

    @property
    def answers(self) -> dict[str, Any]:
        return self.responses

    @answers.setter
    def answers(self, answers: dict[str, Any]) -> None:
        self.responses = answers

    @property
    def asked(self) -> list[Asked]:
        return self.calls

    def count(self, operation: str) -> int:
        return len(self.bodies(operation))

    def count_of(self, name: str) -> int:
        return sum(call.body.get("Name") == name for call in list(self.calls))

    def wait_for(self, name: str, times: int = 1) -> None:
        """Wait until a name was asked for so many times."""
        while self.count_of(name) < times:
            time.sleep(0.005)

    def bodies(self, operation: str) -> list[dict[str, Any]]:
        return [call.body for call in list(self.calls) if call.operation == operation]


@contextmanager
def wire(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    """Run a scripted AWS on a port of loopback, or on a free port."""
    server = Wire("eu-west-1", port, tls)
    try:
        yield server
    finally:
        server.close()


def refusal(code: str, message: str = "no", status: int = 400) -> Response:
    """Return AWS's error in the JSON protocol."""
    return AwsError(code, message, status).response("ssm")


def parameter(name: str, value: Any, **more: Any) -> dict[str, Any]:
    """Return a response of `GetParameter`."""
    return {"Parameter": {"Name": name, "Type": "SecureString", "Value": value, **more}}


def assumed(key: str = "fake-key", expires: str = "2099-01-01T00:00:00Z") -> Response:
    """Return a response of `AssumeRole`."""
    xml = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <AssumeRoleResult><Credentials><AccessKeyId>{key}</AccessKeyId>
      <SecretAccessKey>fake-secret</SecretAccessKey><SessionToken>fake-token</SessionToken>
      <Expiration>{expires}</Expiration></Credentials>
      <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn>
      <AssumedRoleId>X:s</AssumedRoleId></AssumedRoleUser></AssumeRoleResult>
      <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"""
    return Response(xml.encode())


def caller(arn: str) -> Response:
    """Return an answer of `GetCallerIdentity`."""
    return Response(
        f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
        <GetCallerIdentityResult><Arn>{arn}</Arn><UserId>U</UserId><Account>1</Account>
        </GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
        </GetCallerIdentityResponse>""".encode()
    )
