"""get, get-by-path and exists: read secrets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from s1crets.cli._errors import NO
from s1crets.cli._json import dump, source
from s1crets.cli._options import call, flag, parallel_option, provider_command
from s1crets.cli._output import report, write, write_value
from s1crets.cli._reader import NotAPathError, Reader, nothing_at, relative_name


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
