"""Local AWS: Parameter Store, Secrets Manager and STS of a test's own, with faults on demand."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from s1crets.testing import faults, seeds
from s1crets.testing._moto import SERVICES, Moto
from s1crets.testing._protocol import AwsError, Request, parse
from s1crets.testing._server import Response, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s1crets.testing._protocol import Call
    from s1crets.testing._server import Disconnect, HttpRequest
    from s1crets.testing.scripted import Scripted
    from s1crets.testing.seeds import Seed

T = TypeVar("T", int, float, int | None)


class LocalAws(Server):
    """A Parameter Store, a Secrets Manager and an STS of a test's own.

    `local_aws` starts one. Faults last until `heal`, `reset` or, with `times`, for that many
    requests. Operations are named as in IAM (`"ssm:GetParameter"`) or without the service
    (`"GetParameter"`), and may contain `*`; an unknown operation is a `ValueError`.

    Attributes:
        account: `123456789012`, or a later number if several run in one process.
    """

    def __init__(self, region: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._moto = Moto()
        self._storage = threading.Lock()  # moto takes none
        self.account = self._moto.account
        self._faults = faults.Faults()
        self._requests: list[Request] = []
        super().__init__(region)

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
            seeds.store(self._moto, self.region, seed)

    def throttle(
        self, operation: str = "*", *, times: int | None = None, rate: float | None = None
    ) -> None:
        """Respond with "Rate exceeded" (`ThrottlingException`).

        To all requests, to the next `times`, or to those above `rate` requests per second.
        """
        if times is not None and rate is not None:
            raise ValueError("throttle accepts times or rate, not both")
        fault = faults.Fault(faults.actions(operation), faults.throttled, _above_0("times", times))
        if rate is not None:
            fault.spared = faults.token_bucket(_above_0("rate", rate), self._clock)
        self._faults.faults.append(fault)

    def deny(self, operation: str = "*", resource: str = "*") -> None:
        """Deny an action: `AccessDeniedException`, with IAM's message.

        `resource` is a name or an ARN, and may contain `*`. `GetParameters` is denied if one of its
        names is; `GetParametersByPath` is authorized on the path, not on the parameters under it;
        `BatchGetSecretValue`, `ListSecrets` and `DescribeParameters` only on `*`. A secret that may
        not be read (`GetSecretValue`) is an error of its own in a batch.
        """
        self._faults.denials.append((faults.actions(operation), resource))

    def delay(self, seconds: float, operation: str = "*") -> None:
        """Respond later; `heal` lets delayed requests continue immediately."""
        self._faults.delays.append((faults.actions(operation), _above_0("seconds", seconds)))

    def fail(
        self,
        operation: str = "*",
        *,
        status: int = 500,
        code: str | None = None,
        times: int | None = None,
    ) -> None:
        """Respond with an error: to all requests, or to the next `times`.

        `status` is the HTTP status, from 400 to 599; `code` is AWS's error code, such as
        `"InvalidKeyId"`, and by default the service's internal error.
        """
        if not 400 <= status <= 599:  # noqa: PLR2004
            message = f"status must be an HTTP error, from 400 to 599, not {status}"
            raise ValueError(message)
        self.respond(operation, faults.failed(code, status), times=times)

    def respond(self, operation: str, response: Scripted, *, times: int | None = None) -> None:
        """Respond as a test says (see `ScriptedAws`): to all requests, or to the next `times`."""
        fault = faults.Fault(faults.actions(operation), response, _above_0("times", times))
        self._faults.faults.append(fault)

    def empty_pages(self) -> None:
        """Let an empty page precede each page of a listing, as AWS sometimes does."""
        self._faults.empty_pages = True

    def heal(self) -> None:
        """End all faults; stored values stay."""
        self._faults.heal()
        self.up()

    def reset(self) -> None:
        """End all faults, and delete stored values and recorded requests."""
        self.heal()
        with self._storage:
            self._moto.reset()
            self._requests.clear()

    def close(self) -> None:
        """Stop for good; `local_aws` calls it."""
        self._faults.heal()
        super().close()
        self._moto.close()

    def _respond(self, request: HttpRequest) -> Response | Disconnect:
        call = parse(request, self.region)
        if call.service not in SERVICES:
            with self._storage:
                return self._moto.forward(request)
        self._requests.append(call.summary)
        if faulty := self._faults.respond(call):
            return faulty
        with self._storage:
            try:
                return self._execute(call)
            except AwsError as error:
                return error.response(call.service)

    def _execute(self, call: Call) -> Response:
        backend = self._moto.backend(call.service, call.region)
        self._faults.authorize(call, self.account, backend)
        page = self._faults.empty_page(call)
        if page is not None:
            return Response(page)
        read = "secretsmanager:GetSecretValue"
        return self._moto.execute(
            call, lambda name: self._faults.denied(call, read, name, self.account, backend)
        )


@contextmanager
def local_aws(
    region: str = "eu-west-1",
    *,
    seed: Seed | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[LocalAws]:
    """Run a local AWS on a free port of loopback; several at once share nothing.

    Args:
        region: the region of seeds, and in `environment`.
        seed: initial values: see `LocalAws.seed`.
        clock: monotonic seconds, for `throttle(rate=…)`.

    Yields:
        The AWS. Its `environment` is for `os.environ`, or for that of another process.

    Raises:
        ConfigurationError: the extra `testing` is not installed.
    """
    aws = LocalAws(region, clock)
    try:
        if seed is not None:
            aws.seed(seed)
        yield aws
    finally:
        aws.close()


def _above_0(name: str, number: T) -> T:
    if number is not None and not number > 0:
        message = f"{name} must be more than 0, not {number}"
        raise ValueError(message)
    return number
