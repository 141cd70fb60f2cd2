"""Faults of the local AWS: errors, throttling, delays, denied actions, empty pages."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from s1crets.testing import _aws_rules
from s1crets.testing._protocol import AwsError
from s1crets.testing.scripted import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from s1crets.testing._protocol import Call
    from s1crets.testing._server import Disconnect, Response
    from s1crets.testing.scripted import Scripted

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
_ACTIONS = [f"{service}:{one}" for service, names in _OPERATIONS.items() for one in names.split()]
_ACCOUNT_WIDE = {"BatchGetSecretValue", "DescribeParameters", "ListSecrets"}
_INTERNAL = {
    "ssm": "InternalServerError",
    "secretsmanager": "InternalServiceError",
    "sts": "InternalFailure",
}
_LISTS = {
    "DescribeParameters": "Parameters",
    "GetParametersByPath": "Parameters",
    "ListSecrets": "SecretList",
}
_AFTER_EMPTY = "after-an-empty-page:"


def actions(pattern: str) -> frozenset[str]:
    """Return the IAM actions that a pattern matches.

    Args:
        pattern: an action (`"ssm:GetParameter"`) or an operation (`"GetParameter"`); may contain
            `*`, as in an IAM policy.

    Raises:
        ValueError: it matches no action that the local AWS knows.
    """
    wanted = pattern if ":" in pattern else f"*:{pattern}"
    found = frozenset(action for action in _ACTIONS if fnmatchcase(action, wanted))
    if not found:
        message = f"{pattern!r} is not an operation of Parameter Store, Secrets Manager or STS"
        raise ValueError(message)
    return found


@dataclass
class Fault:
    """A response that some calls get instead of their own.

    Attributes:
        actions: the IAM actions of these calls.
        response: the response.
        left: number of calls that are still affected; None for all until it is healed.
        spared: returns whether a call is not affected.
    """

    actions: frozenset[str]
    response: Scripted
    left: int | None = None
    spared: Callable[[], bool] = bool

    def take(self, call: Call) -> bool:
        """Return whether a call is affected, and count it."""
        if call.action not in self.actions or self.left == 0 or self.spared():
            return False
        if self.left is not None:
            self.left -= 1
        return True


def token_bucket(rate: float, clock: Callable[[], float]) -> Callable[[], bool]:
    """Return a function that returns whether another request may pass now.

    Args:
        rate: requests per second; after a pause, as many pass at once.
        clock: monotonic seconds.
    """
    size = tokens = max(rate, 1.0)
    filled = clock()

    def take() -> bool:
        nonlocal tokens, filled
        now = clock()
        tokens = min(size, tokens + (now - filled) * rate)
        filled = now
        passes = tokens >= 1
        tokens -= passes
        return passes

    return take


class Faults:
    """Everything that goes wrong at the moment.

    Attributes:
        faults: responses; of several that affect a call, the first decides.
        delays: actions, and the seconds that they are delayed.
        denials: actions, and a pattern of the resources that they are denied on.
        empty_pages: whether an empty page precedes each page of a listing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._healed = threading.Event()
        self.heal()

    def heal(self) -> None:
        """End all faults; delayed requests continue immediately."""
        self.faults: list[Fault] = []
        self.delays: list[tuple[frozenset[str], float]] = []
        self.denials: list[tuple[frozenset[str], str]] = []
        self.empty_pages = False
        self._healed.set()
        self._healed = threading.Event()

    def respond(self, call: Call) -> Response | Disconnect | None:
        """Delay a call; return the response that a fault gives it, or None."""
        healed = self._healed
        if seconds := sum(delay for actions, delay in self.delays if call.action in actions):
            healed.wait(seconds)
        with self._lock:
            fault = next((fault for fault in self.faults if fault.take(call)), None)
        return resolve(fault.response, call) if fault else None

    def authorize(self, call: Call, account: str, backend: Any) -> None:
        """Check that a call is not denied on any of its resources.

        Raises:
            AwsError: it is.
        """
        names = ["*"] if call.operation in _ACCOUNT_WIDE else call.names or ["*"]
        for name in names:
            if error := self.denied(call, call.action, name, account, backend):
                raise error

    def denied(
        self, call: Call, action: str, name: str, account: str, backend: Any
    ) -> AwsError | None:
        """Return AWS's error for an action on a resource, or None if it is allowed."""
        resources = [resource for actions, resource in self.denials if action in actions]
        if not resources:
            return None
        names = _aws_rules.aliases(call, name, account, backend)
        if not any(fnmatchcase(one, resource) for one in names for resource in resources):
            return None
        message = (
            f"User: arn:aws:iam::{account}:user/s1crets is not authorized to perform: {action} on"
            f" resource: {names[0]} because no identity-based policy allows the {action} action"
        )
        if call.service == "sts":
            return AwsError("AccessDenied", message, 403)
        return AwsError("AccessDeniedException", message)

    def empty_page(self, call: Call) -> dict[str, Any] | None:
        """Return the empty page that precedes a page of a listing, or None if it is not due."""
        member = _LISTS.get(call.operation)
        token = call.body.get("NextToken", "")
        if member and token.startswith(_AFTER_EMPTY):
            call.body["NextToken"] = token.removeprefix(_AFTER_EMPTY)
        elif member and self.empty_pages:
            return {member: [], "NextToken": _AFTER_EMPTY + (token or "0")}
        return None


def throttled(call: Call) -> AwsError:
    """Return AWS's error for a request above the rate limit."""
    code = "Throttling" if call.service == "sts" else "ThrottlingException"
    return AwsError(code, "Rate exceeded")


def failed(code: str | None, status: int) -> Callable[[Call], AwsError]:
    """Return a function that returns a service's error, its internal error by default."""
    message = "The request failed, because the test asked for it."
    return lambda call: AwsError(code or _INTERNAL[call.service], message, status)
