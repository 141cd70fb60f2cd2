"""get, get-by-path and exists; Reader, with which other commands read secrets as stored."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import click

from s1crets._json import dump, source
from s1crets.cli._errors import NO
from s1crets.cli._options import call, flag, parallel_option, provider_command
from s1crets.cli._output import report, write, write_value
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


def _reading_options(command: Callable[..., None]) -> Any:
    """Add the options of reading verbs."""
    max_age = click.option(
        "--max-age",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Do not use what --cache-dir has for longer; 0: read past the cache.",
    )
    encrypted = flag("--no-decrypt", "decrypt", value=False, help="Print SecureStrings encrypted.")
    return max_age(encrypted(command))


@provider_command()
@click.argument("path")
@click.argument("key", nargs=-1)
@click.option("--raw", is_flag=True, help="Print the text without a newline at its end.")
@click.option("--version-id", help="The version with this id.")
@click.option("--stage", "version_stage", help="The version with this stage, such as AWSPREVIOUS.")
@click.option("--default", metavar="TEXT", help="Print this if there is no such secret or KEY.")
@_reading_options
def get(
    provider: Any,
    path: str,
    key: tuple[str, ...],
    *,
    raw: bool,
    default: str | None,
    **options: Any,
) -> None:
    """Print a secret.

    Text and JSON are printed exactly as stored, and followed by a newline; binary secrets as raw
    bytes. Each KEY selects an item of the JSON; in an array, by number. A version or a label of a
    parameter is part of PATH. On a terminal, control characters are escaped.

    \b
    Examples:
      s1crets get prod/api-key
      s1crets get prod/payments token
      s1crets get prod/api-key --stage AWSPREVIOUS
      s1crets get -p aws.ps /prod/log-level:1
      s1crets get --provider aws.ps /prod/db user
    """
    selected = {"keypath": key} if key else {"raw": True}
    value = call(provider, "get", path, **selected, default=default, **options)
    if raw and isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    write_value(value)


@provider_command()
@click.argument("path")
@click.option("--relative", is_flag=True, help="Names without PATH, as `import` reads them.")
@click.option("--label", help="The versions with this label, and no other parameters.")
@flag("--no-recursive", "recursive", value=False, help="Only the level below PATH.")
@parallel_option
@click.option(
    "--skip-unreadable",
    is_flag=True,
    help="Leave out secrets that are missing or denied, and list them on stderr.",
)
@_reading_options
def get_by_path(
    provider: Any, path: str, *, relative: bool, skip_unreadable: bool, **options: Any
) -> None:
    """Print all secrets under PATH as one JSON object.

    The keys are full names. JSON is embedded as stored, binary secrets are base64-encoded.
    If there are no secrets under PATH, the object is empty.

    \b
    Examples:
      s1crets get-by-path --provider aws.ps /prod
      s1crets get-by-path prod --relative > settings.json
    """
    reader = Reader(provider, skip=skip_unreadable)
    found = reader.path(path, **options)
    if not found:
        problem = nothing_at(provider, path, "s1crets get")
        if isinstance(problem, NotAPathError):
            report(str(problem))
    reader.report_skipped()
    if relative:
        found = {relative_name(name, path): value for name, value in found.items()}
    lines = ",".join(f"\n  {dump(name)}: {source(value)}" for name, value in found.items())
    write(f"{{{lines}{lines and chr(10)}}}\n".encode("utf-8", "surrogatepass"))


@provider_command()
@click.argument("path")
def exists(provider: Any, path: str) -> None:
    """Exit with 0 if a path or secret exists, otherwise with 1.

    Nothing is decrypted or printed.

    \b
    Examples:
      s1crets exists prod/api-key
      s1crets exists --provider aws.ps /prod && echo there
    """
    sys.exit(0 if provider.path_exists(path) else NO)
