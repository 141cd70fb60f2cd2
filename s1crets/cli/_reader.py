"""Reader: reads secrets as stored, and can skip those that are missing or may not be read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from s1crets.cli._options import call
from s1crets.cli._output import report
from s1crets.errors import (
    AccessDeniedError,
    BatchError,
    DecryptionError,
    InvalidNameError,
    InvalidValueError,
    S1cretsError,
    SecretNotFoundError,
)

_UNREADABLE = (AccessDeniedError, DecryptionError, InvalidValueError, SecretNotFoundError)


def relative_name(name: str, path: str) -> str:
    """Return a name without the path that it is under; "" for the path itself."""
    return name.removeprefix(path.rstrip("/")).lstrip("/")


def secrets_at(provider: Any, path: str, **options: Any) -> dict[str, Any]:
    """Return the secrets under a path, or the secret of this name, by full name and as stored."""
    found: dict[str, Any] = {}
    try:
        found = call(provider, "get_by_path", path, raw=True, **options)
    except InvalidNameError:  # the name of a parameter may not be a valid path
        if not path:
            raise
    if found:
        return found
    name = path.rstrip("/") or path
    try:
        return {name: provider.get(name, raw=True, cached=options.get("cached", True))}
    except SecretNotFoundError as error:
        message = f"there is no secret of that name, and {nothing_under(provider, name)}"
        raise SecretNotFoundError(message) from error


class NotAPathError(SecretNotFoundError):
    """There is nothing under a path, since it is the name of a secret."""


def nothing_at(provider: Any, path: str, instead: str = "--secret") -> SecretNotFoundError:
    """Return the error that nothing is under a path; `instead` is for the name of a secret."""
    with suppress(S1cretsError):
        if provider.path_exists(path):
            return NotAPathError(f"{path!r} is the name of a secret, not a path; use {instead}")
    return SecretNotFoundError(nothing_under(provider, path))


def nothing_under(provider: Any, prefix: str) -> str:
    """Return the message that there are no secrets under a path, with a hint."""
    if not prefix:
        return f"no secrets{region(provider)}; check the provider, the region and the account"
    has_slash = prefix[0] == "/"
    other = prefix.lstrip("/") if has_slash else f"/{prefix}"
    service = "Secrets Manager rarely" if has_slash else "Parameter Store"
    return (
        f"no secrets under {prefix!r}{region(provider)}; names are case-sensitive, and those of"
        f" {service} begin with /: is it {other!r}?"
    )


def region(provider: Any) -> str:
    """Return where the secrets are, for a message."""
    name = provider.awaited.counters.region
    return f" in {name}" if name else ""


class Reader:
    """Reads secrets of a provider as they are stored.

    Args:
        provider: where they are read.
        skip: whether secrets that can't be read are left out; otherwise they are errors.
    """

    def __init__(self, provider: Any, *, skip: bool) -> None:
        self._provider = provider
        self._skip = skip
        self._skipped: dict[str, S1cretsError] = {}

    def secrets(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the secrets of these names."""
        on_error = "return" if self._skip else "raise"
        found = self._provider.get_many(names, raw=True, errors=on_error) if names else {}
        return {name: one for name, one in found.items() if not self.skips(name, one)}

    def path(self, path: str, **options: Any) -> dict[str, Any]:
        """Return the secrets under a path by full name; options are those of `get_by_path`."""
        try:
            found: dict[str, Any] = call(self._provider, "get_by_path", path, raw=True, **options)
        except (BatchError, *_UNREADABLE) as error:
            changed = [name for name in options if options[name] is not None]
            if not self._skip or changed not in ([], ["parallel"]):
                raise
            names = self._names(path, error)
        else:
            return found
        return self.secrets(names)

    def _names(self, path: str, error: S1cretsError) -> list[str]:
        """Return the names under a path that could not be read in one go."""
        if isinstance(error, BatchError):
            return sorted([*error.values, *error.errors])
        return [metadata.name for metadata in self._provider.describe(path)]

    def skips(self, name: str, outcome: Any) -> bool:
        """Return whether a secret is left out; raise its error if it can't be."""
        if not isinstance(outcome, S1cretsError):
            return False
        if not self._skip or not isinstance(outcome, _UNREADABLE):
            raise outcome
        self._skipped[name] = outcome
        return True

    def report_skipped(self) -> None:
        """List what was left out, on stderr."""
        report(*(f"skipped {name!r}: {error}" for name, error in self._skipped.items()))
