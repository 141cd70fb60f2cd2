"""A loopback server that answers as a test says: faults, delays, and what moto is lax about."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
import urllib.parse
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator


HANG_UP = object()
"""An answer: close the connection without one."""
RESET = object()
"""An answer: break the connection off (RST)."""


@dataclass
class Reply:
    """One answer: a status, and JSON or bytes.

    Attributes:
        missing: bytes that are promised beside the body and do not come.
        then_close: whether the connection is closed afterwards, unannounced.
    """

    body: Any
    status: int = 200
    missing: int = 0
    then_close: bool = False


@dataclass
class Asked:
    """One request that came."""

    operation: str
    body: dict[str, Any]
    headers: dict[str, str]


def refusal(code: str, message: str = "no", status: int = 400) -> Reply:
    """Return AWS's form of an error."""
    return Reply({"__type": code, "message": message}, status)


@dataclass(repr=False)
class Wire:
    """The server's state: what it answers to each operation, and what it was asked.

    An answer is a dict, a `Reply`, `HANG_UP`, or a function of the request that returns one. A list
    of answers is used up one by one; the last one stays.
    """

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    connections: set[socket.socket] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def open_connections(self) -> int:
        return len(self.connections)

    def count(self, operation: str) -> int:
        return sum(one.operation == operation for one in self.asked)

    def count_of(self, name: str) -> int:
        return sum(one.body.get("Name") == name for one in list(self.asked))

    def wait_for(self, name: str, times: int = 1) -> None:
        """Wait until a name was asked for so many times."""
        while self.count_of(name) < times:
            time.sleep(0.005)

    def bodies(self, operation: str) -> list[dict[str, Any]]:
        return [one.body for one in self.asked if one.operation == operation]

    def answer(self, asked: Asked) -> Any:
        with self.lock:
            self.asked.append(asked)
            found = self.answers.get(asked.operation, refusal("UnknownOperationException"))
            if isinstance(found, list):
                found = found.pop(0) if len(found) > 1 else found[0]
        call: Callable[[Asked], Any] | None = found if callable(found) else None
        return call(asked) if call else found


@contextmanager
def wire(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    """Run a server on a port of loopback, or a free one."""
    state = Wire()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            with state.lock:
                state.connections.add(self.request)
            super().setup()

        def finish(self) -> None:
            with state.lock:
                state.connections.discard(self.request)
            super().finish()

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            target = self.headers.get("X-Amz-Target")
            if target:
                asked = Asked(target.split(".")[-1], json.loads(text), dict(self.headers))
            else:  # STS speaks the query protocol
                form = dict(urllib.parse.parse_qsl(text))
                asked = Asked(form["Action"], form, dict(self.headers))
            self.reply(state.answer(asked))

        def do_PUT(self) -> None:
            self.reply(state.answer(Asked(f"PUT {self.path}", {}, dict(self.headers))))

        def do_GET(self) -> None:
            self.reply(state.answer(Asked(f"GET {self.path}", {}, dict(self.headers))))

        def reply(self, answer: Any) -> None:
            if answer is HANG_UP:
                self.close_connection = True
                return
            if answer is RESET:
                self.close_connection = True
                at_once = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                with state.lock:
                    state.connections.discard(self.request)
                os.close(self.connection.detach())
                return
            answer = answer if isinstance(answer, Reply) else Reply(answer)
            body = (
                answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            )
            try:
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(body) + answer.missing))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection |= bool(answer.missing) or answer.then_close
            except ConnectionError:
                self.close_connection = True  # the caller has gone: a test of cancellation

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Be quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1024

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Be quiet: callers that hang up are what is tested."""

    server = Server(("127.0.0.1", port), Handler)
    state.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        with state.lock:
            left = list(state.connections)
        for connection in left:
            with suppress(OSError):  # it has just been closed
                connection.shutdown(socket.SHUT_RDWR)


def parameter(name: str, value: Any, **more: Any) -> dict[str, Any]:
    """Return an answer of `GetParameter`."""
    return {"Parameter": {"Name": name, "Type": "SecureString", "Value": value, **more}}


def assumed(key: str = "fake-key", expires: str = "2099-01-01T00:00:00Z") -> Reply:
    """Return an answer of `AssumeRole`."""
    xml = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <AssumeRoleResult><Credentials><AccessKeyId>{key}</AccessKeyId>
      <SecretAccessKey>fake-secret</SecretAccessKey><SessionToken>fake-token</SessionToken>
      <Expiration>{expires}</Expiration></Credentials>
      <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn>
      <AssumedRoleId>X:s</AssumedRoleId></AssumedRoleUser></AssumeRoleResult>
      <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"""
    return Reply(xml.encode())
