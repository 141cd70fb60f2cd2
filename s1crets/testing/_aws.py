"""The AWS that tests talk to: what they may do with it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from s1crets.testing import _faults, _seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s1crets.testing._calls import Asked
    from s1crets.testing._seeds import Seed


class LoopbackAws:
    """A Parameter Store, a Secrets Manager and an STS of a test's own.

    `loopback_aws` makes one. What goes wrong does so until `heal`, `reset` or, with `times`, for
    that many requests. Operations are named as in IAM (`"ssm:GetParameter"`) or without the service
    (`"GetParameter"`), and may have `*` in them; one that there is not is a `ValueError`.

    Attributes:
        region: where everything is stored that a request does not ask for elsewhere.
        account: whose: `123456789012`, or a later number if several run in one process.
    """

    def __init__(self, region: str, clock: Callable[[], float]) -> None:
        # Here, as the plugin is imported in every run of pytest.
        from s1crets.testing._http import Server
        from s1crets.testing._moto import Moto
        from s1crets.testing._strict import Strict

        self.region = region
        self._clock = clock
        self._moto = Moto()
        self.account = self._moto.account
        self._faults = _faults.Faults()
        self._strict = Strict(self._moto, self._faults, region)
        self._server = Server(self._strict.reply)

    @property
    def url(self) -> str:
        """The endpoint of all services."""
        return self._server.url

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point every AWS client here; the credentials are no secrets."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "fake-access-key",
            "AWS_SECRET_ACCESS_KEY": "fake-secret-key",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def requests(self) -> tuple[Asked, ...]:
        """What was asked since the start or the last `reset`, refused or not; seeds are not."""
        return tuple(self._strict.asked)

    def seed(self, seed: Seed) -> None:
        """Store values, over those that there are.

        Args:
            seed: `{"aws.ps": {name: value}, "aws.sm": {name: value}}`, or the path of a JSON file
                of that shape. A value is text, a dict or list (stored as JSON), or for Secrets
                Manager also bytes, which a file writes as `{"$base64": "…"}`. Parameters are
                SecureStrings, and advanced ones if they need to be.

        Raises:
            TypeError: it is of another shape.
            ValueError: AWS would not take a name or a value; or the file is no JSON.
            OSError: the file can't be read.
        """
        _seeds.store(self._strict, seed)

    def throttle(
        self, operation: str = "*", *, times: int | None = None, rate: float | None = None
    ) -> None:
        """Answer "Rate exceeded" (`ThrottlingException`).

        Args:
            operation: which one.
            times: how many requests are throttled; without it and `rate`, all of them.
            rate: requests a second that are not: those that come faster are throttled.
        """
        if times is not None and rate is not None:
            raise ValueError("throttle takes times or rate, not both")
        fault = _faults.Fault(_faults.actions(operation), _faults.throttled, _positive(times))
        if rate is not None:
            fault.allowed = _faults.Bucket(_above("rate", rate), self._clock).take
        self._faults.add(fault)

    def deny(self, operation: str = "*", resource: str = "*") -> None:
        """Take a permission away: `AccessDeniedException`, as IAM words it.

        `GetParameters` is denied if one of its names is; `GetParametersByPath` is authorized on
        the path, not on what is below; `BatchGetSecretValue`, `ListSecrets` and
        `DescribeParameters` on `*` alone. A secret that may not be read (`GetSecretValue`) is an
        error of its own in a batch.

        Args:
            operation: which one.
            resource: the name or ARN of what it is denied on; may have `*` in it.
        """
        self._faults.deny(_faults.Denial(_faults.actions(operation), resource))

    def delay(self, seconds: float, operation: str = "*") -> None:
        """Answer later; `heal` lets what is held up go on at once.

        Args:
            seconds: how much later.
            operation: which one.
        """
        self._faults.delay(_faults.actions(operation), _above("seconds", seconds))

    def fail(
        self,
        operation: str = "*",
        *,
        status: int = 500,
        code: str | None = None,
        times: int | None = None,
    ) -> None:
        """Answer with an error.

        Args:
            operation: which one.
            status: of HTTP, from 400 to 599.
            code: AWS's, such as `"InvalidKeyId"`; the service's internal error if not given.
            times: how many requests fail; all of them if not given.
        """
        if not 400 <= status <= 599:  # noqa: PLR2004
            message = f"status must be an error of HTTP, from 400 to 599, not {status}"
            raise ValueError(message)
        failing = _faults.failing(code, status)
        self._faults.add(_faults.Fault(_faults.actions(operation), failing, _positive(times)))

    def empty_pages(self) -> None:
        """Let an empty page precede each page of a listing, as AWS does now and then."""
        self._strict.empty_pages = True

    def down(self) -> None:
        """Break connections off and refuse new ones, on a port that stays the same."""
        self._server.down()

    def heal(self) -> None:
        """Let everything go well again; what is stored stays."""
        self._faults.heal()
        self._strict.empty_pages = False
        self._server.up()

    def reset(self) -> None:
        """Heal, and forget what is stored and what was asked."""
        self.heal()
        self._strict.reset()

    def close(self) -> None:
        """Stop for good; `loopback_aws` does it."""
        self._faults.heal()
        self._server.close()
        self._moto.close()


@contextmanager
def loopback_aws(
    region: str = "eu-west-1",
    *,
    seed: Seed | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[LoopbackAws]:
    """Run an AWS on a free port of loopback; several at once share nothing.

    Args:
        region: where values are seeded, and what `environment` says.
        seed: what it holds at first: see `LoopbackAws.seed`.
        clock: monotonic seconds, which `throttle(rate=…)` goes by.

    Yields:
        The AWS. Its `environment` is for `os.environ`, or that of another process.

    Raises:
        ConfigurationError: the extra `testing` is not installed.
    """
    aws = LoopbackAws(region, clock)
    try:
        if seed is not None:
            aws.seed(seed)
        yield aws
    finally:
        aws.close()


def _above(name: str, number: float) -> float:
    if not number > 0:
        message = f"{name} must be more than 0, not {number}"
        raise ValueError(message)
    return number


def _positive(times: int | None) -> int | None:
    return None if times is None else int(_above("times", times))
