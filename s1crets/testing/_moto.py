"""moto, as the store behind: asked through WSGI, in this process."""

from __future__ import annotations

import io
import threading
import urllib.parse
from typing import Any

from s1crets.errors import ConfigurationError
from s1crets.testing._calls import Incoming, Reply

SERVICES = ("ssm", "secretsmanager", "sts")
_FIRST_ACCOUNT = 123456789012
_accounts: set[int] = set()
_lock = threading.Lock()


class Moto:
    """What one account of moto's holds: two of these share nothing.

    Raises:
        ConfigurationError: moto is not installed.
    """

    def __init__(self) -> None:
        try:
            from moto.backends import get_backend
            from moto.moto_server.werkzeug_app import (
                DomainDispatcherApplication,
                create_backend_app,
            )
        except ImportError as error:
            message = "an AWS on loopback needs the extra `testing`: pip install 's1crets[testing]'"
            raise ConfigurationError(message) from error
        # The dispatcher lists a folder for each request, so what is asked most goes past it.
        create: Any = create_backend_app
        self._apps = {service: create(service) for service in SERVICES}
        self._others = DomainDispatcherApplication(create)
        self._backend: Any = get_backend
        with _lock:
            self._number = next(
                number for number in range(_FIRST_ACCOUNT, 10**12) if number not in _accounts
            )
            _accounts.add(self._number)
        self.account = str(self._number)
        self._warm()

    def close(self) -> None:
        """Forget what is stored, and leave the account to the next one."""
        self.reset()
        with _lock:
            _accounts.discard(self._number)

    def reset(self) -> None:
        """Forget what is stored."""
        for service in SERVICES:
            for backend in list(self._backend(service)[self.account].values()):
                backend.reset()

    def backend(self, service: str, region: str) -> Any:
        """Return what a service holds in a region."""
        return self._backend(service)[self.account][region]

    def reply(self, incoming: Incoming, service: str = "") -> Reply:
        """Return moto's answer; not for two threads at once, as moto takes no locks.

        Args:
            incoming: what came.
            service: whom it is for, if it is one of `SERVICES`.
        """
        from werkzeug.test import run_wsgi_app

        app = self._apps.get(service, self._others)
        chunks, status, headers = run_wsgi_app(app, self._environ(incoming), buffered=True)
        return Reply(int(status.split()[0]), list(headers), b"".join(chunks))

    def _warm(self) -> None:
        """Let moto read its files now: a seed is stored in the caller's thread, maybe a loop's."""
        for service, target in (
            ("ssm", "AmazonSSM.GetParameter"),
            ("secretsmanager", "x.ListSecrets"),
        ):
            scope = f"Credential=loopback/20260101/us-east-1/{service}/aws4_request"
            headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}", "X-Amz-Target": target}
            self.reply(Incoming("POST", "/", headers, b'{"Name": "/a"}'), service)

    def _environ(self, incoming: Incoming) -> dict[str, Any]:
        path, _, query = incoming.path.partition("?")
        headers = {
            f"HTTP_{name.upper().replace('-', '_')}": value
            for name, value in incoming.headers.items()
        }
        return {
            **headers,
            "HTTP_X_MOTO_ACCOUNT_ID": self.account,
            "CONTENT_LENGTH": str(len(incoming.body)),
            "CONTENT_TYPE": incoming.headers.get("Content-Type", ""),
            "PATH_INFO": urllib.parse.unquote(path),
            "QUERY_STRING": query,
            "REMOTE_ADDR": "127.0.0.1",
            "REQUEST_METHOD": incoming.method,
            "SCRIPT_NAME": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.errors": io.StringIO(),
            "wsgi.input": io.BytesIO(incoming.body),
            "wsgi.multiprocess": False,
            "wsgi.multithread": True,
            "wsgi.run_once": False,
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
        }
