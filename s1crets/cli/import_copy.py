"""import and copy: store many secrets, from a file, or from another path, region or account."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

import click

from s1crets._json import content
from s1crets._redaction import Redacted, redact
from s1crets.cli._errors import exit_code
from s1crets.cli._options import (
    parallel_option,
    provider_command,
    read_file,
    target_options,
    target_provider,
)
from s1crets.cli._output import progress, report, show
from s1crets.cli.formats import PARSERS
from s1crets.cli.read import relative_name, secrets_at
from s1crets.errors import AccessDeniedError, ConfigurationError, S1cretsError, SecretNotFoundError

_TYPES = ("String", "StringList")  # of parameters that are not created as SecureString anyway
_DONE = {"create": "created", "update": "updated"}


@provider_command("get_many", "create", name="import", has_output=True)
@click.argument("file")
@click.argument("path")
@click.option(
    "--format",
    "form",
    type=click.Choice(PARSERS),
    help="The format of FILE; default: json if its name ends with .json, otherwise dotenv.",
)
@click.option("--skip-empty", is_flag=True, help="Leave out settings that are empty, or null.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
def import_(
    provider: Any,
    file: str,
    path: str,
    form: str | None,
    output: str | None,
    *,
    skip_empty: bool,
    dry_run: bool,
) -> None:
    """Store each setting of FILE as a secret under PATH.

    Missing secrets are created (parameters as SecureString), those with another value are updated,
    the others left alone. Names are printed, values never. `-` reads stdin. In JSON, text is stored
    unchanged, everything else as it is written; null, NaN and names that occur twice are rejected.
    Names are relative to PATH, as `get-by-path --relative` prints them. Everything is validated
    before anything is written. If a write fails, the remaining ones are still attempted, and the
    exit code is that of the first failure.

    \b
    Examples:
      s1crets import --dry-run --provider aws.ps .env /prod/app
      s1crets import --provider aws.ps .env /prod/app
      s1crets import settings.json prod/app
    """
    form = form or ("json" if file.endswith(".json") else "dotenv")
    text = read_file(file, "pass the name of a file, or - for stdin")
    settings = PARSERS[form](text)
    if skip_empty:
        settings = {name: value for name, value in settings.items() if value.reveal()}
    wanted = _named(path, settings)
    _store_all(provider, wanted, label="import", output=output, dry_run=dry_run)


def _named(path: str, settings: Mapping[str, Redacted]) -> dict[str, Redacted]:
    """Return settings by the full names of their secrets, all of which are valid."""
    from s1crets.providers.store import check_name  # imports the cache, which --help does not need

    check_name(path)
    if not settings:
        raise ConfigurationError("there is nothing to import")
    above = path.strip("/") + "/"
    if full := [name for name in settings if name.startswith(("/", above))]:
        message = f"names must be relative to {path!r}, unlike {full[0]!r}"
        raise ConfigurationError(f"{message}; get-by-path --relative and export print such names")
    named = {f"{path.rstrip('/')}/{name}": value for name, value in settings.items()}
    for name, value in named.items():
        check_name(name)
        if name.endswith("/"):
            raise ConfigurationError("a setting has no name, or its name ends with a slash")
        if not value.reveal():
            message = f"{name!r} has no value, and a store does not accept empty values"
            raise ConfigurationError(f"{message}; leave such settings out with --skip-empty")
    return named


@provider_command("get_many", has_output=True)
@click.argument("source", metavar="A")
@click.argument("target", metavar="B")
@target_options
@click.option("--overwrite", is_flag=True, help="Replace other values of existing secrets.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@parallel_option
def copy(
    provider: Any,
    source: str,
    target: str,
    *,
    output: str | None,
    overwrite: bool,
    dry_run: bool,
    parallel: bool | None,
    **_target: str | None,
) -> None:
    """Copy the secret A, or all secrets under A, to B.

    Names keep their part after A. Values are stored exactly as they are; existing secrets are left
    alone unless --overwrite is given. A new parameter gets the type and the description of the
    original parameter, and the default encryption key of its account. Names are printed, values
    never.

    \b
    Examples:
      s1crets copy --dry-run -p aws.ps /prod /copy
      s1crets copy -p aws.ps /prod prod-copy --to-provider aws.sm
      s1crets copy prod/api-key prod/api-key --to-region eu-south-1
    """
    values = secrets_at(provider, source, cached=False, parallel=parallel)
    names = {name: _renamed(name, source, target) for name in sorted(values)}
    wanted = {new: redact(values[name]) for name, new in names.items()}
    with target_provider("create", "update") as other:
        own = _settings(provider, other, source)
        _store_all(
            other,
            wanted,
            label="copy",
            output=output,
            dry_run=dry_run,
            overwrite=overwrite,
            settings={names[name]: settings for name, settings in own.items() if name in names},
        )


def _renamed(name: str, source: str, target: str) -> str:
    own = relative_name(name, source)
    return f"{target.rstrip('/')}/{own}" if own else target


def _settings(provider: Any, other: Any, source: str) -> dict[str, dict[str, str]]:
    """Return what else is copied, by name: what describes a secret here, and can be set there."""
    accepted = inspect.signature(other.create).parameters
    if "description" not in accepted:
        return {}
    try:
        described = provider.describe(source)
    except AccessDeniedError as error:
        report(f"types and descriptions are not copied: {error}")
        return {}
    own = {one.name: {"type": one.type, "description": one.description} for one in described}
    return {
        name: {
            setting: text
            for setting, text in settings.items()
            if text and setting in accepted and (setting != "type" or text in _TYPES)
        }
        for name, settings in own.items()
    }


def _store_all(
    provider: Any,
    wanted: Mapping[str, Redacted],
    *,
    label: str,
    output: str | None,
    dry_run: bool,
    overwrite: bool = True,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Store values, show a state and a name for each, and exit with the first failure's code.

    Args:
        provider: where they are stored.
        wanted: values by full name.
        label: of the progress bar.
        output: the form of the output.
        dry_run: only show what would be done.
        overwrite: whether other values of existing secrets are replaced.
        settings: arguments for the creation of secrets, by name.
    """
    current = provider.get_many(wanted, cached=False, raw=True, errors="return")
    failures: dict[str, S1cretsError] = {}
    rows = []
    for name in progress(wanted, label):
        try:
            state = _state(current[name], wanted[name], overwrite=overwrite)
            if state in _DONE and not dry_run:
                own = (settings or {}).get(name, {}) if state == "create" else {}
                getattr(provider, state)(name, wanted[name], **own)
                state = _DONE[state]
        except S1cretsError as error:
            failures[name] = error
        else:
            rows.append((state, name))
    show(("state", "name"), rows, output)
    if failures:
        report(*(f"{name}: {error}" for name, error in failures.items()))
        sys.exit(exit_code(next(iter(failures.values()))))


def _state(current: Any, wanted: Redacted, *, overwrite: bool) -> str:
    """Return the name of the method that stores the value, or why none does."""
    if isinstance(current, SecretNotFoundError):
        return "create"
    if isinstance(current, S1cretsError):
        raise current
    if content(current) == content(wanted.reveal()):
        return "unchanged"
    return "update" if overwrite else "kept"
