"""copy: secrets to another path, service, region or account."""

from __future__ import annotations

import inspect
from typing import Any

import click

from s1crets._redaction import redact
from s1crets.cli._options import (
    parallel_option,
    provider_command,
    target_options,
    target_provider,
)
from s1crets.cli._output import report
from s1crets.cli._reader import relative_name, secrets_at
from s1crets.cli._store_all import store_all
from s1crets.errors import AccessDeniedError

_TYPES = ("String", "StringList")  # of parameters that are not created as SecureString anyway


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
        store_all(
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
