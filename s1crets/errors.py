"""The errors that s1crets raises.

Each one is an `S1cretsError` and also the builtin that a caller would catch without importing
anything from here. A message says what was asked for, of which service and region, what went
wrong and what to do about it; it never has a secret's value in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AccessDeniedError",
    "BadResponseError",
    "BatchError",
    "ConfigurationError",
    "CredentialsError",
    "DeadlineExceededError",
    "DecryptionError",
    "InsecureCacheWarning",
    "InvalidNameError",
    "InvalidValueError",
    "NotPrivateError",
    "S1cretsError",
    "SecretExistsError",
    "SecretNotFoundError",
    "ThrottledError",
    "UnavailableError",
]


class S1cretsError(Exception):
    """Anything that s1crets has to report; also what AWS refused for a reason of its own."""

    def __str__(self) -> str:
        """Return the message, also where the builtin (`KeyError`) would show its repr."""
        return str(self.args[0]) if self.args else ""


class SecretNotFoundError(S1cretsError, KeyError):
    """No such parameter, secret, version or key; or the secret is scheduled for deletion."""


class SecretExistsError(S1cretsError, FileExistsError):
    """There is one of that name already; or one that is scheduled for deletion has it."""


class AccessDeniedError(S1cretsError, PermissionError):
    """The credentials are good, but may not do this.

    Attributes:
        action: what the caller's IAM policy does not allow, as `ssm:GetParameter`.
    """

    action: str = ""


class ThrottledError(S1cretsError):
    """AWS still said "too many requests" after all attempts."""


class UnavailableError(S1cretsError, ConnectionError):
    """AWS could not be reached, hung up, timed out or failed, after all attempts."""


class DeadlineExceededError(S1cretsError, TimeoutError):
    """The call took longer than the provider's `deadline`."""


class CredentialsError(S1cretsError):
    """There are no credentials, or AWS does not accept them."""


class DecryptionError(S1cretsError):
    """The key that the secret is encrypted with can't be used."""


class BadResponseError(S1cretsError):
    """The answer was not what AWS's API promises."""


class InvalidNameError(S1cretsError, ValueError):
    """That can't be the name of a parameter or a secret."""


class InvalidValueError(S1cretsError, ValueError):
    """That can't be the value of a parameter or a secret; the message does not repeat it."""


class ConfigurationError(S1cretsError, ValueError):
    """The region, the profile or another setting is missing or makes no sense."""


class NotPrivateError(ConfigurationError, PermissionError):
    """Others than the owner can get into a cache folder, or read a file with a key."""


class BatchError(S1cretsError):
    """Some names of a batch could not be read.

    Attributes:
        values: what was read, a value a name.
        errors: what went wrong, an error a name.
    """

    def __init__(
        self, message: str, values: Mapping[str, Any], errors: Mapping[str, S1cretsError]
    ) -> None:
        super().__init__(message)
        self.values = values
        self.errors = errors

    def __copy__(self) -> BatchError:
        """Return another of the same, for another waiter."""
        return type(self)(str(self), dict(self.values), dict(self.errors))

    def __reduce__(self) -> tuple[type[S1cretsError], tuple[str]]:
        """Pickle the message alone: the values are secrets."""
        return S1cretsError, (str(self),)


class InsecureCacheWarning(UserWarning):
    """Secrets are kept on disk unencrypted."""
