"""What can go wrong with AWS, on demand."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from s1crets.testing._calls import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s1crets.testing._calls import Call

_OPERATIONS = {
    "ssm": (
        "AddTagsToResource DeleteParameter DeleteParameters DescribeParameters GetParameter"
        " GetParameterHistory GetParameters GetParametersByPath LabelParameterVersion"
        " ListTagsForResource PutParameter RemoveTagsFromResource UnlabelParameterVersion"
    ),
    "secretsmanager": (
        "BatchGetSecretValue CancelRotateSecret CreateSecret DeleteResourcePolicy DeleteSecret"
        " DescribeSecret GetRandomPassword GetResourcePolicy GetSecretValue ListSecretVersionIds"
        " ListSecrets PutResourcePolicy PutSecretValue RestoreSecret RotateSecret TagResource"
        " UntagResource UpdateSecret UpdateSecretVersionStage"
    ),
    "sts": "AssumeRole AssumeRoleWithWebIdentity GetCallerIdentity",
}
_KNOWN = [f"{service}:{one}" for service, all_ in _OPERATIONS.items() for one in all_.split()]
_INTERNAL = {
    "ssm": "InternalServerError",
    "secretsmanager": "InternalServiceError",
    "sts": "InternalFailure",
}


def actions(pattern: str) -> frozenset[str]:
    """Return the IAM actions that a pattern means.

    Args:
        pattern: an action (`"ssm:GetParameter"`), an operation (`"GetParameter"`), or one of them
            with `*` in it, as in an IAM policy.

    Raises:
        ValueError: it means none that this AWS knows.
    """
    wanted = pattern if ":" in pattern else f"*:{pattern}"
    found = frozenset(one for one in _KNOWN if fnmatchcase(one, wanted))
    if not found:
        message = f"{pattern!r} is no operation of Parameter Store, Secrets Manager or STS"
        raise ValueError(message)
    return found


@dataclass
class Fault:
    """Something that goes wrong with some operations.

    Attributes:
        actions: which, as IAM calls them.
        refused: what is answered, for a service.
        left: how many requests it still concerns; None for all until it is healed.
        allowed: says of a request that it may pass.
    """

    actions: frozenset[str]
    refused: Callable[[Call], Refused]
    left: int | None = None
    allowed: Callable[[], bool] = bool

    def strike(self, call: Call) -> Refused | None:
        """Return what a request is answered, or None for one that passes."""
        if f"{call.service}:{call.operation}" not in self.actions or self.left == 0:
            return None
        if self.allowed():
            return None
        if self.left is not None:
            self.left -= 1
        return self.refused(call)


@dataclass(frozen=True)
class Denial:
    """What a policy does not allow: actions, on resources."""

    actions: frozenset[str]
    resource: str

    def denies(self, action: str, aliases: Iterable[str]) -> bool:
        """Say whether it concerns an action on a resource, by any of its names."""
        return action in self.actions and any(fnmatchcase(one, self.resource) for one in aliases)


class Bucket:
    """Lets as many requests pass as a quota allows.

    Args:
        rate: requests a second; as many may come at once after a pause.
        clock: monotonic seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._most = self._held = max(rate, 1.0)
        self._filled = clock()

    def take(self) -> bool:
        """Say whether one more request may pass."""
        now = self._clock()
        self._held = min(self._most, self._held + (now - self._filled) * self._rate)
        self._filled = now
        passes = self._held >= 1
        self._held -= passes
        return passes


class Faults:
    """All that goes wrong at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._healed = threading.Event()
        self._faults: list[Fault] = []
        self._delays: list[tuple[frozenset[str], float]] = []
        self.denials: list[Denial] = []

    def heal(self) -> None:
        """Let everything go well again; requests that are held up go on at once."""
        with self._lock:
            self._healed.set()
            self._healed = threading.Event()
            self._faults, self._delays, self.denials = [], [], []

    def add(self, fault: Fault) -> None:
        """Let something go wrong, beside what does already."""
        with self._lock:
            self._faults.append(fault)

    def delay(self, actions: frozenset[str], seconds: float) -> None:
        """Hold requests up."""
        with self._lock:
            self._delays.append((actions, seconds))

    def deny(self, denial: Denial) -> None:
        """Take a permission away."""
        with self._lock:
            self.denials.append(denial)

    def strike(self, call: Call) -> None:
        """Hold a request up, and refuse it if it is its turn.

        Raises:
            Refused: what it is answered.
        """
        action = f"{call.service}:{call.operation}"
        with self._lock:
            seconds = sum(delay for actions, delay in self._delays if action in actions)
            healed = self._healed
        if seconds:
            healed.wait(seconds)
        with self._lock:
            for fault in self._faults:
                if refused := fault.strike(call):
                    raise refused


def throttled(call: Call) -> Refused:
    """Return AWS's answer to one request too many."""
    return Refused(
        "Throttling" if call.service == "sts" else "ThrottlingException", "Rate exceeded"
    )


def failing(code: str | None, status: int) -> Callable[[Call], Refused]:
    """Return what makes the answers of a service that fails."""

    def refused(call: Call) -> Refused:
        words = "The request failed, as the test wanted it to."
        return Refused(code or _INTERNAL[call.service], words, status)

    return refused
