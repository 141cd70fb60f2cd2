"""A server of HTTP/1.1 on loopback, which keeps connections open as AWS does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Any

from s1crets.testing._calls import Incoming, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

_HOST = "127.0.0.1"
_OWN = {"content-length", "date", "server"}  # twice, aiohttp refuses them under `python -X dev`


class Server:
    """Answers requests on one port of loopback, a thread a connection.

    Args:
        reply: called in the connection's thread, with each request.
    """

    def __init__(self, reply: Callable[[Incoming], Reply]) -> None:
        self._reply = reply
        self._http: _Http | None = None
        self._lock = threading.Lock()
        self._serve(0)

    @property
    def url(self) -> str:
        """Where it listens, or did before it went down."""
        return f"http://{_HOST}:{self._port}"

    def down(self) -> None:
        """Break all connections off and refuse new ones; the port stays reserved."""
        with self._lock:
            if self._http is not None:
                self._http.stop()
                self._http = None
                self._reserve()

    def up(self) -> None:
        """Listen again, on the same port."""
        with self._lock:
            if self._http is None:
                self._release()
                self._serve(self._port)

    def close(self) -> None:
        """Stop for good."""
        self.down()
        with self._lock:
            self._release()

    def _reserve(self) -> None:
        """Keep the port from others, without listening."""
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((_HOST, self._port))
        self._release = holder.close

    def _serve(self, port: int) -> None:
        self._http = _Http((_HOST, port), _Handler)
        self._http.reply = self._reply
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.1,), daemon=True).start()


class _Http(ThreadingTCPServer):  # http.server's looks its own name up in DNS
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024
    reply: Callable[[Incoming], Reply]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Stop listening and break off what is connected, at once: it waits for nothing."""
        _break_off(self.socket)  # the thread that polls it would keep it listening
        self.server_close()
        threading.Thread(target=self.shutdown, daemon=True).start()
        with self._lock:
            self._stopped = True
            for connection in self._open:
                _break_off(connection)

    def opened(self, connection: socket.socket) -> None:
        """Remember a connection; one that was accepted in the last moment is broken off."""
        with self._lock:
            self._open.add(connection)
            if self._stopped:
                _break_off(connection)

    def ended(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.discard(connection)


def _break_off(connection: socket.socket) -> None:
    with suppress(OSError):  # the client has hung up itself, or macOS: it does not listen any more
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer would wait 40 ms for the client's kernel
    wbufsize = -1

    def setup(self) -> None:
        self._server: _Http = self.server  # type: ignore[assignment]
        self._server.opened(self.request)
        super().setup()

    def finish(self) -> None:
        self._server.ended(self.request)
        super().finish()

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that has hung up is no news
            super().handle()

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.title(): value for name, value in self.headers.items()}
        reply = self._server.reply(Incoming(self.command, self.path, headers, body))
        self.send_response(reply.status)
        for name, value in reply.headers:
            if name.lower() not in _OWN:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = _any  # noqa: N815  # as http.server calls them

    def log_message(self, *_: Any) -> None:
        """Be quiet."""
