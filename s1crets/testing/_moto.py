"""moto as the storage behind the local AWS: called through WSGI, in this process."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from s1crets.errors import ConfigurationError
from s1crets.testing import _aws_rules
from s1crets.testing._server import AwsError, Call, HttpRequest, Response, signed
from s1crets.testing._signatures import refusal

SERVICES = ("ssm", "secretsmanager", "sts")
_FIRST_ACCOUNT = 123456789012
_OK, _INTERNAL = 200, 500
_NO_DECRYPTION = "WithDecryption flag must be True for retrieving a Secret Manager secret."
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
        if region not in self._get_backend("ssm")[self.account]:
            raise refusal(service, "signature", "Credential should be scoped to a valid region. ")
        return None if service == "sts" else self._get_backend(service)[self.account][region]

    def execute(self, call: Call, denied: Callable[[str], AwsError | None]) -> Response:
        """Return the response to a call, or raise an error, by AWS's rules where moto's differ.

        `denied` returns the error if reading one secret of a batch is denied.
        """
        if call.service == "sts":
            _aws_rules.check_role(call)
            return self._ask(call)
        backend = self.backend(call.service, call.region)
        if call.service == "secretsmanager":
            _aws_rules.check_secrets(call, backend)
            response = _aws_rules.secrets_response(call, backend, denied)
            if response is None:
                before = _aws_rules.secret_stages(call, backend)
                response = _aws_rules.corrected_secrets(call, backend, self._json(call), before)
        else:
            _aws_rules.check_parameters(call, backend)
            if call.operation == "DescribeParameters":
                response = _aws_rules.described_parameters(call, self._json)
            else:
                is_read = call.operation in _aws_rules.PARAMETER_READS
                response = self._parameters(call, backend) if is_read else self._json(call)
        return Response({name: value for name, value in response.items() if value is not None})

    def _parameters(self, call: Call, backend: Any) -> dict[str, Any]:
        """Return the response to a request that reads parameters, and secrets as parameters."""
        names = [name for name in call.names if name.startswith(_aws_rules.REFERENCE)]
        if not names:
            return _aws_rules.corrected_parameters(call, backend, self._json(call))
        if not call.body.get("WithDecryption"):
            raise _aws_rules.invalid(_NO_DECRYPTION)
        secrets = self.backend("secretsmanager", call.region)
        read = {name: _aws_rules.referenced(name, secrets) for name in names}
        found = list(filter(None, read.values()))
        if call.operation == "GetParameter":
            if not found:
                message = f"when referencing Secrets Manager: Secret {names[0]} not found."
                raise AwsError("ParameterNotFound", f"An error occurred {message}")
            return {"Parameter": found[0]}
        call.body["Names"] = [name for name in call.names if name not in read]
        others: dict[str, Any] = {"Parameters": [], "InvalidParameters": []}
        if call.body["Names"]:
            others = _aws_rules.corrected_parameters(call, backend, self._json(call))
        others["Parameters"] += found
        others["InvalidParameters"] += [name for name in names if read[name] is None]
        return others

    def _json(self, call: Call) -> dict[str, Any]:
        """Return moto's response to a call, or raise its error."""
        response = self._ask(call)
        body: dict[str, Any] = json.loads(response.body or b"{}")
        if response.status == _OK:
            return body
        status = 400 if response.status < _INTERNAL else response.status
        raise AwsError(body["__type"].rpartition("#")[2], body.get("message", ""), status)

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
