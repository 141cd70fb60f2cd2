"""Which resource an action is authorized on, and how AWS says no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s1crets.testing import _parameters, _secrets
from s1crets.testing._calls import Refused

if TYPE_CHECKING:
    from s1crets.testing._calls import Call
    from s1crets.testing._faults import Faults

_OF_THE_ACCOUNT = {"BatchGetSecretValue", "DescribeParameters", "ListSecrets"}


class Policy:
    """What the caller may do: all that nobody has denied.

    Args:
        account: whose resources these are.
        faults: has what is denied.
    """

    def __init__(self, account: str, faults: Faults) -> None:
        self._account = account
        self._faults = faults

    def check(self, call: Call, backend: Any) -> None:
        """Raise AWS's refusal of a call that is denied on one of its resources.

        Raises:
            Refused: it is.
        """
        names = ["*"] if call.operation in _OF_THE_ACCOUNT else call.names or ["*"]
        for name in names:
            refused = self.denied(call, call.operation, name, backend)
            if refused:
                raise refused

    def denied(self, call: Call, operation: str, name: str, backend: Any) -> Refused | None:
        """Return AWS's refusal of an operation on one resource, or None if it is allowed."""
        action = f"{call.service}:{operation}"
        if not any(action in one.actions for one in self._faults.denials):
            return None
        arn, *aliases = self._aliases(call, name, backend)
        if not any(one.denies(action, (arn, *aliases)) for one in self._faults.denials):
            return None
        user = f"arn:aws:iam::{self._account}:user/s1crets"
        words = (
            f"User: {user} is not authorized to perform: {action} on resource: {arn} because no"
            f" identity-based policy allows the {action} action"
        )
        if call.service == "sts":
            return Refused("AccessDenied", words, 403)
        return Refused("AccessDeniedException", words)

    def _aliases(self, call: Call, name: str, backend: Any) -> list[str]:
        """Return what a resource is called: as AWS tells it, and otherwise."""
        if name == "*":
            return ["*"]
        if call.service == "ssm":
            plain = _parameters.plain(name)
            bare = plain.strip("/")
            arn = f"arn:aws:ssm:{call.region}:{self._account}:parameter/{bare}"
            return [arn, plain, f"/{bare}"]
        secret = backend.secrets.get(name) if call.service == "secretsmanager" else None
        return [secret.arn, secret.name, name] if secret else [name, _secrets.plain(name)]
