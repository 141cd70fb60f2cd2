"""moto as the storage behind the local AWS: called through WSGI, in this process."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from s1crets.errors import ConfigurationError
from s1crets.testing import _aws_rules
from s1crets.testing._server import AwsError, Call, HttpRequest, Response, signed

SERVICES = ("ssm", "secretsmanager", "sts")
_FIRST_ACCOUNT = 123456789012
_OK, _NOT_FOUND = 200, 404
_accounts: set[str] = set()
_lock = threading.Lock()


class Moto:
    """One of moto's accounts; two share nothing. Not for two threads: moto takes no locks."""

    def __init__(self) -> None:
        try:
            from moto.backends import get_backend
            from moto.moto_server import werkzeug_app
        except ImportError as error:
            message = "a local AWS needs the extra `testing`: pip install 's1crets[testing]'"
            raise ConfigurationError(message) from error
        # The dispatcher lists a folder for each request, so frequent requests bypass it.
        create: Any = werkzeug_app.create_backend_app
        self._apps = {service: create(service) for service in SERVICES}
        self._others = werkzeug_app.DomainDispatcherApplication(create)
        self._get_backend: Any = get_backend
        with _lock:
            numbers = map(str, itertools.count(_FIRST_ACCOUNT))
            self.account = next(number for number in numbers if number not in _accounts)
            _accounts.add(self.account)
        # moto reads its files now: a later seed may be stored by a coroutine, which must not block.
        self._ask(signed("ssm", "GetParameter", "us-east-1", {"Name": "/a"}))
        self._ask(signed("secretsmanager", "ListSecrets", "us-east-1", {}))

    def close(self) -> None:
        """Delete everything that is stored, and release the account."""
        self.reset()
        with _lock:
            _accounts.discard(self.account)

    def reset(self) -> None:
        """Delete everything that is stored."""
        for service in SERVICES:
            for backend in list(self._get_backend(service)[self.account].values()):
                backend.reset()

    def backend(self, service: str, region: str) -> Any:
        """Return moto's model of a service in a region; none for STS."""
        return None if service == "sts" else self._get_backend(service)[self.account][region]

    def execute(self, call: Call, denied: Callable[[str], AwsError | None]) -> Response:
        """Return the response to a call, or raise an error, by AWS's rules where moto's differ.

        `denied` returns the error if reading one secret of a batch is denied.
        """
        if call.service == "sts":
            return self._ask(call)
        backend = self.backend(call.service, call.region)
        _aws_rules.check(call, backend)
        if call.operation == "BatchGetSecretValue":
            found = _aws_rules.read_batch(call, backend, denied)
            if found is not None:
                return Response(found)
        response = self._ask(call)
        if response.status == _OK and call.operation in _aws_rules.PARAMETER_READS:
            return Response(_aws_rules.corrected(call, backend, json.loads(response.body)))
        return replace(response, status=400) if response.status == _NOT_FOUND else response

    def forward(self, request: HttpRequest, service: str = "") -> Response:
        """Return moto's response to any request; `service` is its service, if known."""
        from werkzeug.test import create_environ, run_wsgi_app

        own = {"content-length": str(len(request.body)), "x-moto-account-id": self.account}
        headers = {**request.headers, **own}
        environ = create_environ(
            request.path, "http://127.0.0.1",
            method=request.method, headers=headers, data=request.body,
        )  # fmt: skip
        app = self._apps.get(service, self._others)
        chunks, status, found = run_wsgi_app(app, environ, buffered=True)
        return Response(b"".join(chunks), int(status.split()[0]), headers=dict(found))

    def _ask(self, call: Call) -> Response:
        if call.service == "sts":
            headers, text = call.headers, urlencode(call.body)
        else:  # a request without a signature or content type is fine with us, but not with moto
            headers = signed(call.service, call.operation, call.region, {}).headers
            text = json.dumps(call.body)
        return self.forward(HttpRequest("POST", "/", headers, text.encode()), call.service)
