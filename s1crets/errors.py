"""Exceptions and warnings of s1crets.

Each exception is an `S1cretsError`, and a subclass of the builtin that a caller would catch without
importing anything from here. A message says what was requested from which service and region, what
is wrong and what to do about it. It never contains a secret's value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "AccessDeniedError",
    "BadResponseError",
    "BatchError",
    "ConfigurationError",
    "CredentialsError",
    "CredentialsTimeoutError",
    "DeadlineExceededError",
    "DecryptionError",
    "InsecureCacheWarning",
    "InvalidNameError",
    "InvalidValueError",
    "NotPrivateError",
    "QuotaExceededError",
    "S1cretsError",
    "SecretExistsError",
    "SecretNotFoundError",
    "ThrottledError",
    "UnavailableError",
]


class S1cretsError(Exception):
    """Base class; raised itself for a refusal of AWS that no subclass describes."""

    def __str__(self) -> str:
        """Return the message, also where the builtin (`KeyError`) would show its repr."""
        return str(self.args[0]) if self.args else ""


class SecretNotFoundError(S1cretsError, KeyError):
    """No such parameter, secret, version or key, or the secret is scheduled for deletion."""


class SecretExistsError(S1cretsError, FileExistsError):
    """A secret of this name exists, or is scheduled for deletion."""


class AccessDeniedError(S1cretsError, PermissionError):
    """The credentials are valid, but the action is not allowed.

    Attributes:
        action: the IAM action that is not allowed, such as `ssm:GetParameter`.
    """

    action: str = ""


class ThrottledError(S1cretsError):
    """AWS still throttled the request after all attempts."""


class QuotaExceededError(S1cretsError):
    """A quota of the account is used up, such as that of parameters. It is not retried."""


class UnavailableError(S1cretsError, ConnectionError):
    """AWS was unreachable, timed out or failed, after all attempts."""


class DeadlineExceededError(S1cretsError, TimeoutError):
    """The call took longer than the provider's `deadline`."""


class CredentialsError(S1cretsError):
    """No credentials, or credentials that AWS does not accept."""


class CredentialsTimeoutError(CredentialsError, TimeoutError):
    """The source of the credentials did not answer within the provider's `deadline`."""


class DecryptionError(S1cretsError):
    """The KMS key of the secret can't be used."""


class BadResponseError(S1cretsError):
    """A response that does not conform to AWS's API."""


class InvalidNameError(S1cretsError, ValueError):
    """Not a valid name of a parameter or a secret."""


class InvalidValueError(S1cretsError, ValueError):
    """Not a valid value of a parameter or a secret; the message does not repeat it."""


class ConfigurationError(S1cretsError, ValueError):
    """The region, the profile or another setting is missing or not valid."""


class NotPrivateError(ConfigurationError, PermissionError):
    """Users other than the owner can access a cache folder, or a file with a key."""


class BatchError(S1cretsError):
    """Some names of a batch could not be read.

    Attributes:
        values: what was read, one value per name.
        errors: what failed, one error per name.
    """

    def __init__(
        self, message: str, values: Mapping[str, Any], errors: Mapping[str, S1cretsError]
    ) -> None:
        super().__init__(message)
        self.values = values
        self.errors = errors

    def __copy__(self) -> BatchError:
        """Return a copy for another waiter."""
        return type(self)(str(self), dict(self.values), dict(self.errors))

    def __reduce__(self) -> tuple[type[S1cretsError], tuple[str]]:
        """Pickle the message alone: the values are secrets."""
        return S1cretsError, (str(self),)


class InsecureCacheWarning(UserWarning):
    """Secrets are kept on disk unencrypted."""
