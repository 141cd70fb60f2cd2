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

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from s1crets.providers.async_provider import live_providers
from s1crets.testing import seeds
from s1crets.testing._moto import SERVICES, Moto
from s1crets.testing._server import (
    ACCESS_KEY,
    SECRET_KEY,
    Answer,
    AwsError,
    Call,
    HttpRequest,
    Request,
    Response,
    Server,
)
from s1crets.testing._signatures import Credentials, issued, verify
from s1crets.testing.faults import Faults, Scripted, resolve

if TYPE_CHECKING:
    import ssl

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
        self._moto = Moto()
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

    def seed(self, seed: seeds.Seed) -> None:
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
            seeds.store(self._moto, self.region, seed)

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
        if call.service not in SERVICES:
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
    seed: seeds.Seed | None = None,
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
