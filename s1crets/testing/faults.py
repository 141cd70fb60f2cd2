"""Faults and scripted responses of the local AWS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias, TypeVar

from s1crets.testing._aws_rules import parameter_name, secret_name
from s1crets.testing._server import (
    INTERNAL_ERRORS,
    Answer,
    AwsError,
    Call,
    Disconnect,
    Response,
)

Scripted: TypeAlias = (
    Mapping[str, Any] | bytes | Response | AwsError | Disconnect | list[Any] | Callable[[Call], Any]
)
"""A response of a test's own: see `s1crets.testing.ScriptedAws`."""
_Number = TypeVar("_Number", int, float, int | None)

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
_LISTS = {  # the member of a listing's response that has the items
    "DescribeParameters": "Parameters", "GetParametersByPath": "Parameters",
    "ListSecrets": "SecretList",
}  # fmt: skip
_AFTER_EMPTY = "after-an-empty-page:"
_popping = threading.Lock()


def actions(pattern: str) -> frozenset[str]:
    """Return the IAM actions that a pattern (`"ssm:Get*"`, `"GetParameter"`) matches.

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
class _Fault:
    """A response that some calls get instead of their own."""

    actions: frozenset[str]  # the IAM actions of these calls
    response: Scripted
    left: int | None = None  # number of calls that are still affected; None: all until it is healed
    spared: Callable[[], bool] = bool  # returns whether a call is not affected

    def take(self, call: Call) -> bool:
        """Return whether a call is affected, and count it."""
        if call.action not in self.actions or self.left == 0 or self.spared():
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Faults:
    """Everything that goes wrong at the moment; of several responses to a call, the first counts.

    Faults last until `heal` or, with `times`, for that many requests. Operations are named as in
    IAM (`"ssm:GetParameter"`) or without the service (`"GetParameter"`), and may contain `*`; an
    unknown operation is a `ValueError`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counting = threading.Lock()
        self._healed = threading.Event()
        self._end_faults()

    def throttle(
        self, operation: str = "*", *, times: int | None = None, rate: float | None = None
    ) -> None:
        """Respond with "Rate exceeded" (`ThrottlingException`).

        To all requests, to the next `times`, or to those above `rate` requests per second.
        """
        if times is not None and rate is not None:
            raise ValueError("throttle accepts times or rate, not both")
        spared = _token_bucket(_above_0("rate", rate), self._clock) if rate is not None else bool
        fault = _Fault(actions(operation), _throttled, _above_0("times", times), spared)
        self._faults.append(fault)

    def deny(self, operation: str = "*", resource: str = "*") -> None:
        """Deny an action: `AccessDeniedException`, with IAM's message.

        `resource` is a name or an ARN, and may contain `*`. `GetParameters` is denied if one of its
        names is; `GetParametersByPath` is authorized on the path, not on the parameters under it;
        `BatchGetSecretValue`, `ListSecrets` and `DescribeParameters` only on `*`. A secret that may
        not be read (`GetSecretValue`) is an error of its own in a batch.
        """
        self._denials.append((actions(operation), resource))

    def delay(self, seconds: float, operation: str = "*") -> None:
        """Respond later; `heal` lets delayed requests continue immediately."""
        self._delays.append((actions(operation), _above_0("seconds", seconds)))

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
            raise ValueError(f"status must be an HTTP error, from 400 to 599, not {status}")
        text = "The request failed, because the test asked for it."
        self.respond(
            operation, lambda call: AwsError(code or INTERNAL_ERRORS[call.service], text, status),
            times=times,
        )  # fmt: skip

    def respond(self, operation: str, response: Scripted, *, times: int | None = None) -> None:
        """Respond as a test says (see `ScriptedAws`): to all requests, or to the next `times`."""
        self._faults.append(_Fault(actions(operation), response, _above_0("times", times)))

    def empty_pages(self) -> None:
        """Let an empty page precede each page of a listing, as AWS sometimes does."""
        self._has_empty_pages = True

    def _end_faults(self) -> None:
        self._faults: list[_Fault] = []
        self._delays: list[tuple[frozenset[str], float]] = []
        self._denials: list[tuple[frozenset[str], str]] = []
        self._has_empty_pages = False
        self._healed.set()  # delayed requests continue
        self._healed = threading.Event()

    def _faulty(self, call: Call) -> Answer | None:
        """Delay a call; return the response that a fault gives it, or None."""
        healed = self._healed
        if seconds := sum(delay for actions, delay in self._delays if call.action in actions):
            healed.wait(seconds)
        with self._counting:
            fault = next((fault for fault in self._faults if fault.take(call)), None)
        return resolve(fault.response, call) if fault else None

    def _denied(
        self, call: Call, account: str, backend: Any, action: str, name: str
    ) -> AwsError | None:
        """Return AWS's error for an action on a resource, or None if it is allowed."""
        resources = [resource for actions, resource in self._denials if action in actions]
        if not resources:
            return None
        names = _mentions(call, name, account, backend)
        if not any(fnmatchcase(one, resource) for one in names for resource in resources):
            return None
        message = (
            f"User: arn:aws:iam::{account}:user/s1crets is not authorized to perform: {action} on"
            f" resource: {names[0]} because no identity-based policy allows the {action} action"
        )
        if call.service == "sts":
            return AwsError("AccessDenied", message, 403)
        return AwsError("AccessDeniedException", message)

    def _empty_page(self, call: Call) -> dict[str, Any] | None:
        """Return the empty page that precedes a page of a listing, or None if it is not due."""
        member = _LISTS.get(call.operation)
        token = call.body.get("NextToken", "")
        if member and token.startswith(_AFTER_EMPTY):
            call.body["NextToken"] = token.removeprefix(_AFTER_EMPTY)
        elif member and self._has_empty_pages:
            return {member: [], "NextToken": _AFTER_EMPTY + (token or "0")}
        return None


def resolve(scripted: Scripted, call: Call) -> Answer:
    """Return the response that was scripted for a call."""
    answer: Any = scripted
    if isinstance(answer, list):
        with _popping:
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
    if callable(answer):
        answer = answer(call)
    if isinstance(answer, AwsError):
        return answer.response(call.service)
    return answer if isinstance(answer, (Response, Disconnect)) else Response(answer)


def _mentions(call: Call, name: str, account: str, backend: Any) -> list[str]:
    """Return the names under which a policy may mention a resource; its ARN comes first."""
    if name == "*":
        return ["*"]
    if call.service == "ssm":
        plain = parameter_name(name)[0]
        bare = plain.strip("/")
        return [f"arn:aws:ssm:{call.region}:{account}:parameter/{bare}", plain, f"/{bare}"]
    secret = backend.secrets.get(name) if call.service == "secretsmanager" else None
    return [secret.arn, secret.name, name] if secret else [name, secret_name(name)]


def _throttled(call: Call) -> AwsError:
    code = "Throttling" if call.service == "sts" else "ThrottlingException"
    return AwsError(code, "Rate exceeded")


def _token_bucket(rate: float, clock: Callable[[], float]) -> Callable[[], bool]:
    """Return a function that returns whether a request may pass now, at `rate` per second."""
    size = tokens = max(rate, 1.0)  # after a pause, as many pass at once
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


def _above_0(name: str, number: _Number) -> _Number:
    if number is not None and not number > 0:
        raise ValueError(f"{name} must be more than 0, not {number}")
    return number
