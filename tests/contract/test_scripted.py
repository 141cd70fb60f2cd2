"""Scripted AWS, and the HTTP server that it and the local AWS run on."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from _support.boto import client, code_of

from s1crets.testing import AwsError, Call, Disconnect, Response, ScriptedAws, scripted_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HUNG_UP = (http.client.RemoteDisconnected, http.client.IncompleteRead)


@pytest.fixture
def aws() -> Iterator[ScriptedAws]:
    with scripted_aws() as aws:
        yield aws


@pytest.fixture
def connection(aws: ScriptedAws) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(aws.url.removeprefix("http://"), timeout=30)
    yield connection
    connection.close()


def ask(
    connection: http.client.HTTPConnection, operation: str = "GetParameter", **body: Any
) -> tuple[int, bytes]:
    """Send a call of Parameter Store; return status and body."""
    headers = {"X-Amz-Target": f"AmazonSSM.{operation}", "X-Mixed-Case": "Kept"}
    connection.request("POST", "/", json.dumps(body), headers)
    with connection.getresponse() as response:
        return response.status, response.read()


class TestResponses:
    """A response may have many forms."""

    def test_the_environment_points_clients_at_it(
        self, aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of every service; the calls are recorded with their arguments."""
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        aws.responses["GetSecretValue"] = {"SecretString": "fake"}

        found = boto3.client("secretsmanager").get_secret_value(SecretId="a")["SecretString"]
        (call,) = aws.calls
        assert (found, call.action) == ("fake", "secretsmanager:GetSecretValue")
        assert (call.body, call.region) == ({"SecretId": "a"}, "eu-west-1")

    @pytest.mark.parametrize(
        ("scripted", "expected"),
        [
            ({"a": 1}, (200, b'{"a": 1}')),
            (b"<html>", (200, b"<html>")),
            (Response({}, 503), (503, b"{}")),
            (Response(b"", 307, headers={"Location": "/"}), (307, b"")),
            (AwsError("Code", "words"), (400, b'{"__type": "Code", "message": "words"}')),
            (lambda call: {"names": call.names}, (200, b'{"names": ["/a"]}')),
            (lambda call: AwsError(call.operation, "", 500), (500, b"{")),
        ],
    )
    def test_a_value_a_response_an_error_or_a_function(
        self, aws: ScriptedAws, connection: Any, scripted: Any, expected: tuple[int, bytes]
    ) -> None:
        """Dicts are sent as JSON, bytes as they are."""
        aws.responses["GetParameter"] = scripted

        status, body = ask(connection, Name="/a")
        assert status == expected[0]
        assert body.startswith(expected[1])

    def test_a_list_is_used_up(self, aws: ScriptedAws, connection: Any) -> None:
        """The last response stays."""
        aws.responses["GetParameter"] = [b"1", lambda _: b"2", b"3"]

        assert [ask(connection)[1] for _ in range(4)] == [b"1", b"2", b"3", b"3"]

    def test_anything_else_is_an_unknown_operation(self, aws: ScriptedAws, connection: Any) -> None:
        """The message names the operation; the call is recorded."""
        status, body = ask(connection, "PutParameter", Name="/a")

        assert (status, json.loads(body)["__type"]) == (400, "UnknownOperationException")
        assert b"PutParameter" in body
        assert [call.operation for call in aws.calls] == ["PutParameter"]

    def test_sts_speaks_the_query_protocol(self, aws: ScriptedAws) -> None:
        """Its arguments are form fields, and its errors XML."""
        aws.responses["AssumeRole"] = AwsError("AccessDenied", "no", 403)
        sts = client("sts", endpoint_url=aws.url)

        role = "arn:aws:iam::123456789012:role/r"
        assert code_of(lambda: sts.assume_role(RoleArn=role, RoleSessionName="ss")) == (
            "AccessDenied"
        )
        assert aws.calls[0].body["RoleArn"] == role

    def test_other_services_are_scripted_too(self, aws: ScriptedAws) -> None:
        """Their calls are parsed alike."""
        aws.responses["GetItem"] = {"Item": {"Value": {"S": "fake"}}}
        key = {"Name": {"S": "/a"}}
        found = client("dynamodb", endpoint_url=aws.url).get_item(TableName="t", Key=key)

        assert found["Item"] == {"Value": {"S": "fake"}}
        assert aws.calls[0].action == "dynamodb:GetItem"
        assert aws.calls[0].body["Key"] == key

    @pytest.mark.parametrize("method", ["GET", "PUT"])
    def test_other_requests_have_a_method_and_a_path(
        self, aws: ScriptedAws, connection: Any, method: str
    ) -> None:
        """The metadata service, for example."""
        aws.responses[f"{method} /latest/api/token"] = b"fake"
        connection.request(method, "/latest/api/token")

        with connection.getresponse() as response:
            assert response.read() == b"fake"

    def test_headers_are_case_insensitive(self, aws: ScriptedAws, connection: Any) -> None:
        """As in HTTP."""
        ask(connection)

        headers = aws.calls[0].headers
        assert headers["X-MIXED-case"] == headers.get("x-mixed-case") == "Kept"
        assert headers.get("missing", "none") == "none"

    def test_no_repr_shows_a_value(self) -> None:
        """Neither of a call nor of a response."""
        hidden = {"Value": "fake-hidden"}

        shown = repr([Call("ssm", "PutParameter", "eu-west-1", hidden), Response(hidden)])
        assert "fake-hidden" not in shown


class TestConnections:
    """They stay open, or end as the test says."""

    def test_a_connection_serves_many_requests(self, aws: ScriptedAws, connection: Any) -> None:
        """As on AWS."""
        aws.responses["GetParameter"] = {}
        ask(connection)
        port = connection.sock.getsockname()
        ask(connection)

        assert connection.sock.getsockname() == port
        assert aws.open_connections == 1

    @pytest.mark.parametrize(
        ("scripted", "error"),
        [
            (Disconnect.HANG_UP, HUNG_UP),
            (Disconnect.RESET, ConnectionResetError),
            (Response({}, missing=3), HUNG_UP),
        ],
    )
    def test_a_response_that_does_not_arrive(
        self, aws: ScriptedAws, connection: Any, scripted: Any, error: type[Exception]
    ) -> None:
        """The connection is closed or reset, or the body is incomplete."""
        aws.responses["GetParameter"] = scripted

        with pytest.raises(error):
            ask(connection)

    def test_a_response_that_closes_the_connection(self, aws: ScriptedAws, connection: Any) -> None:
        """It is complete, and the next request finds the connection closed."""
        aws.responses["GetParameter"] = Response({}, then_close=True)

        assert ask(connection) == (200, b"{}")
        assert connection.sock.recv(1) == b""

    @pytest.mark.parametrize(
        ("sent", "expected"),
        [
            (b"\x16\x03\x01\x02\x00\x01\x00", b"HTTP/1.1 400 "),  # a TLS handshake
            (b"NONSENSE\r\n\r\n", b""),
            (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf", b""),
        ],
    )
    def test_a_broken_request(self, aws: ScriptedAws, sent: bytes, expected: bytes) -> None:
        """Its connection is closed, and it is not recorded."""
        address = ("127.0.0.1", int(aws.url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert connection.makefile("rb").read().startswith(expected)
        assert aws.calls == []

    def test_a_client_that_does_not_wait(self, aws: ScriptedAws, connection: Any) -> None:
        """It does not disturb the next client."""
        aws.responses["GET /"] = [b"x" * 10_000_000, b"fake"]  # more than a socket's buffer
        with socket.create_connection(("127.0.0.1", int(aws.url.rpartition(":")[2]))) as impatient:
            impatient.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert impatient.recv(1) == b"H"
        while aws.open_connections:
            time.sleep(0.01)

        connection.request("GET", "/")
        with connection.getresponse() as response:
            assert response.read() == b"fake"

    def test_a_fixed_port(self) -> None:
        """It can be used again immediately."""
        urls = []
        port = 0
        for _ in range(2):
            with scripted_aws(port=port) as aws:
                urls.append(aws.url)
                port = int(aws.url.rpartition(":")[2])
                connection = http.client.HTTPConnection("127.0.0.1", port)
                assert ask(connection)[0] == 400
            with pytest.raises((OSError, http.client.HTTPException)):
                ask(connection)
            connection.close()

        assert urls[0] == urls[1]

    def test_tls(self, anonymous: Callable[[int], ssl.SSLContext]) -> None:
        """With the context that the test gives."""
        server, mine = anonymous(ssl.PROTOCOL_TLS_SERVER), anonymous(ssl.PROTOCOL_TLS_CLIENT)
        with scripted_aws(tls=server) as aws:
            aws.responses["GetParameter"] = [{}, Disconnect.RESET]
            address = aws.url.removeprefix("https://")
            connection = http.client.HTTPSConnection(address, context=mine, timeout=30)
            assert ask(connection) == (200, b"{}")
            with pytest.raises((OSError, http.client.HTTPException)):
                ask(connection)
            connection.close()


@pytest.fixture
def anonymous() -> Callable[[int], ssl.SSLContext]:
    """Return a function that makes TLS contexts without certificates."""

    def context(protocol: int) -> ssl.SSLContext:
        made = ssl.SSLContext(protocol)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers("aNULL:@SECLEVEL=0")
        return made

    return context
