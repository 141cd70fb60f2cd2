"""AWS for tests, on a port of loopback: one that stores values, and one that follows a script.

```python
from s1crets.testing import AwsError, Disconnect, scripted_aws

with scripted_aws() as aws:
    aws.responses["GetParameter"] = [
        Disconnect.HANG_UP,
        AwsError("InternalServerError", "no", 500),
        {"Parameter": {"Name": "/a", "Type": "String", "Value": "fake"}},
    ]
    ...  # a client whose environment is `aws.environment`
    assert [call.body["Name"] for call in aws.calls] == ["/a", "/a", "/a"]
```
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlencode

from s1crets.errors import ConfigurationError, InvalidValueError
from s1crets.providers.async_provider import live_providers
from s1crets.testing import _aws_rules
from s1crets.testing._server import (
    ACCESS_KEY,
    SECRET_KEY,
    Answer,
    AwsError,
    Call,
    Credentials,
    HttpRequest,
    Request,
    Response,
    Server,
    issued,
    refusal,
    signed,
    verify,
)
from s1crets.testing.faults import Faults, Scripted, resolve

if TYPE_CHECKING:
    import ssl

_SERVICES = ("ssm", "secretsmanager", "sts")
_FIRST_ACCOUNT = 123456789012
_OK, _INTERNAL = 200, 500
_NO_DECRYPTION = "WithDecryption flag must be True for retrieving a Secret Manager secret."
_accounts: set[str] = set()
_lock = threading.Lock()

Seed: TypeAlias = Mapping[str, Mapping[str, Any]] | str | PathLike[str]
_BINARY = "$base64"

_UNSIGNED = {"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"}
_ACCOUNT_WIDE = {"BatchGetSecretValue", "DescribeParameters", "ListSecrets"}


class LocalAws(Faults, Server):
    """A Parameter Store, a Secrets Manager and an STS of a test's own; `local_aws` starts one.

    Faults, which `Faults` documents, last until `heal` or `reset`.

    Attributes:
        account: `123456789012`, or a later number if several run in one process.
        credentials: the secret access keys that requests may be signed with, by access key: those
            of `environment`, and what a test adds. Temporary credentials that `AssumeRole` has
            returned are valid too. Any other signature is refused, as by AWS.
    """

    def __init__(self, region: str, port: int, clock: Callable[[], float]) -> None:
        self._moto = _Moto()
        self._storage = threading.Lock()  # moto takes none
        self.account = self._moto.account
        self.credentials = {ACCESS_KEY: SECRET_KEY}
        self._issued: dict[str, Credentials] = {}
        self._requests: list[Request] = []
        Faults.__init__(self, clock)
        with ExitStack() as stack:
            stack.callback(self._moto.close)
            Server.__init__(self, region, port)
            stack.pop_all()

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests since the start or the last `reset`, refused or not, without seeds."""
        return tuple(self._requests)

    def seed(self, seed: Seed) -> None:
        """Store values; existing ones are overwritten.

        Args:
            seed: `{"aws.ps": {name: value}, "aws.sm": {name: value}}`, or the path of a JSON file
                of that shape. A value is text, a dict or list (stored as JSON), or for Secrets
                Manager also bytes, which a file writes as `{"$base64": "…"}`. Parameters are
                SecureStrings, and in the advanced tier if they have to be.

        Raises:
            TypeError: the seed has another shape.
            ValueError: AWS would refuse a name or a value, or the file is not valid JSON.
            OSError: the file can't be read.
        """
        with self._storage:
            _store(self._moto, self.region, seed)

    def heal(self) -> None:
        """End all faults; stored values stay. This process sends what has failed again at once."""
        self._end_faults()
        self.up()
        for provider in live_providers():
            provider.forget_failures()

    def reset(self) -> None:
        """End all faults, and delete stored values and recorded requests."""
        self.heal()
        with self._storage:
            self._moto.reset()
            self._requests.clear()

    def close(self) -> None:
        """Stop for good; `local_aws` calls it."""
        self._end_faults()
        super().close()
        self._moto.close()

    def _respond(self, call: Call, request: HttpRequest) -> Answer:
        if call.service not in _SERVICES:
            with self._storage:
                return self._moto.forward(request)
        self._requests.append(call.summary)
        if faulty := self._faulty(call):
            return faulty
        if call.operation not in _UNSIGNED:
            own = {key: Credentials(secret) for key, secret in self.credentials.items()}
            verify(request, call.service, {**self._issued, **own}, datetime.now(UTC))
        with self._storage:
            response = self._execute(call)
        if call.service == "sts":
            self._issued.update(issued(response.body))
        return response

    def _execute(self, call: Call) -> Response:
        backend = self._moto.backend(call.service, call.region)
        denied = partial(self._denied, call, self.account, backend)
        for name in ["*"] if call.operation in _ACCOUNT_WIDE else call.names or ["*"]:
            if error := denied(call.action, name):
                raise error
        if page := self._empty_page(call):
            return Response(page)
        return self._moto.execute(call, partial(denied, "secretsmanager:GetSecretValue"))


@contextmanager
def local_aws(
    region: str = "eu-west-1",
    *,
    seed: Seed | None = None,
    port: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[LocalAws]:
    """Run a local AWS on a port of loopback; several at once share nothing.

    Args:
        region: the region of seeds, and in `environment`.
        seed: initial values: see `LocalAws.seed`.
        port: the port; a free one if 0.
        clock: monotonic seconds, for `throttle(rate=…)`.

    Yields:
        The AWS. Its `environment` is for `os.environ`, or for that of another process.

    Raises:
        ConfigurationError: the extra `testing` is not installed.
    """
    with closing(LocalAws(region, port, clock)) as aws:
        if seed is not None:
            aws.seed(seed)
        yield aws


class ScriptedAws(Server):
    """Server that responds to AWS requests as a test says; `scripted_aws` starts one.

    Attributes:
        responses: what to respond, by operation (`"GetParameter"`), or by HTTP method and path for
            requests that are not API calls (`"GET /latest/meta-data"`). A response is a dict (sent
            as JSON), bytes, a `Response`, an `AwsError` or a `Disconnect`; a function of the `Call`
            that returns one of these; or a list of these, used up in order, of which the last
            stays. Every other call gets an `UnknownOperationException`.
        calls: the calls so far, with their arguments.
    """

    def __init__(self, region: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.responses: dict[str, Scripted] = {}
        self.calls: list[Call] = []
        super().__init__(region, port, tls)

    def _respond(self, call: Call, request: HttpRequest) -> Answer:  # noqa: ARG002
        self.calls.append(call)
        unknown = AwsError("UnknownOperationException", f"no response for {call.operation}")
        return resolve(self.responses.get(call.operation, unknown), call)


@contextmanager
def scripted_aws(
    region: str = "eu-west-1", *, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[ScriptedAws]:
    """Run a scripted AWS on loopback.

    Args:
        region: the region in its `environment`.
        port: the port; a free one if 0.
        tls: server-side context, for https.
    """
    with closing(ScriptedAws(region, port, tls)) as aws:
        yield aws


class _Moto:
    """One of moto's accounts, called through WSGI in this process; two share nothing.

    Not for two threads: moto takes no locks.
    """

    def __init__(self) -> None:
        try:
            from moto.backends import get_backend
            from moto.moto_server import werkzeug_app
        except ImportError as error:
            message = "a local AWS needs the extra `testing`: pip install 's1crets[testing]'"
            raise ConfigurationError(message) from error
        # The dispatcher lists a folder for each request, so frequent requests bypass it.
        create: Any = werkzeug_app.create_backend_app
        self._apps = {service: create(service) for service in _SERVICES}
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
        for service in _SERVICES:
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


def _store(moto: _Moto, region: str, seed: Seed) -> None:
    """Store a seed's values: see `LocalAws.seed`."""
    for provider, values in _read(seed).items():
        if provider not in ("aws.ps", "aws.sm"):
            message = f"a seed can't contain {provider!r}: known are 'aws.ps', 'aws.sm'"
            raise ConfigurationError(message)
        for name, value in values.items():
            if problem := _refusal(moto, region, provider, name, value):
                raise InvalidValueError(f"{provider} {name!r} can't be stored: {problem}")


def _read(seed: Seed) -> Mapping[str, Mapping[str, Any]]:
    found: Any = seed
    if not hasattr(seed, "items"):
        path = Path(found)
        try:
            found = json.loads(path.read_bytes())
        except ValueError as error:  # it contains the text, and so the values
            message = f"{path} can't be read as a seed: not valid JSON [{type(error).__name__}]"
            raise ConfigurationError(message) from None
    if hasattr(found, "items") and all(hasattr(values, "items") for values in found.values()):
        return dict(found)
    message = "a seed is a dict of providers ('aws.ps', 'aws.sm'), each a dict of names and values"
    raise TypeError(message)


def _refusal(moto: _Moto, region: str, provider: str, name: str, value: Any) -> str:
    """Store a value; return the reason why AWS refuses it, or empty text."""
    try:
        moto.execute(_call(moto, region, provider, name, value), lambda _: None)
    except AwsError as error:
        return f"{error.message} [{error.code}]"
    return ""


def _call(moto: _Moto, region: str, provider: str, name: str, value: Any) -> Call:
    """Return the call that stores a value."""
    text = _text(provider, name, value)
    if provider == "aws.sm":
        member = "SecretString"
        if isinstance(text, bytes):
            member, text = "SecretBinary", base64.b64encode(text).decode()
        exists = name in moto.backend("secretsmanager", region).secrets
        operation, key = ("PutSecretValue", "SecretId") if exists else ("CreateSecret", "Name")
        token = str(uuid.uuid4())
        secret = {key: name, member: text, "ClientRequestToken": token}
        return signed("secretsmanager", operation, region, secret)
    if isinstance(text, bytes):
        message = f"aws.ps {name!r} can't be stored: Parameter Store does not store bytes"
        raise InvalidValueError(message)
    body = {"Name": name, "Value": text, "Type": "SecureString", "Overwrite": True}
    return signed("ssm", "PutParameter", region, {**body, "Tier": "Intelligent-Tiering"})


def _text(provider: str, name: str, value: Any) -> str | bytes:
    """Return a value as it is stored."""
    if isinstance(value, dict) and set(value) == {_BINARY}:
        try:
            return base64.b64decode(value[_BINARY], validate=True)
        except (TypeError, ValueError):
            message = f"{provider} {name!r} can't be stored: its {_BINARY} is not valid base64"
            raise InvalidValueError(message) from None
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(name, str) and isinstance(value, (str, bytes)):
        return value
    kinds = f"{type(name).__name__} and {type(value).__name__}"
    rule = "names are text, values text, bytes or JSON"
    raise TypeError(f"{provider} {name!r} can't be stored: {rule}; these are {kinds}")
