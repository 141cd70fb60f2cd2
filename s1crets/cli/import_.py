"""import: store the settings of a file as secrets."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import click

from s1crets._redaction import Redacted, redact
from s1crets.cli._json import members, parse
from s1crets.cli._options import provider_command, read_file
from s1crets.cli._store_all import store_all
from s1crets.cli.formats import HELPER, from_dotenv
from s1crets.errors import ConfigurationError


@provider_command("get_many", "create", name="import", has_output=True)
@click.argument("file")
@click.argument("path")
@click.option(
    "--format",
    "form",
    type=click.Choice(["dotenv", "json"]),
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
    settings = (_parse_json if form == "json" else _parse_dotenv)(text)
    if skip_empty:
        settings = {name: value for name, value in settings.items() if value.reveal()}
    wanted = _named(path, settings)
    store_all(provider, wanted, label="import", output=output, dry_run=dry_run)


def _parse_json(text: Redacted) -> dict[str, Redacted]:
    try:
        found = redact(members(text.reveal()))
    except (ValueError, RecursionError):
        found = redact(None)
    if found.reveal() is None:
        raise ConfigurationError("the input is not a JSON object")
    settings: dict[str, Redacted] = {}
    wrong = []
    for name, stored in found.reveal():
        problem = "it occurs twice" if name in settings else ""
        try:
            value = parse(stored)
        except ValueError as error:
            value, problem = None, str(error)
        if problem:
            wrong.append(f"{name} ({problem})")
        settings[name] = redact(
            "" if value is None else value if isinstance(value, str) else stored
        )
    if wrong:
        raise ConfigurationError(f"not JSON that can be imported: {', '.join(wrong)}")
    return settings


def _parse_dotenv(text: Redacted) -> dict[str, Redacted]:
    try:
        from dotenv.parser import parse_stream
    except ImportError as error:
        message = "a dotenv file needs python-dotenv; pip install 's1crets[dotenv]'"
        raise ConfigurationError(message) from error
    settings: dict[str, Redacted] = {}
    for binding in parse_stream(io.StringIO(text.reveal())):
        line, name, value = binding.original.line, binding.key, binding.value
        if binding.error or (name is not None and value is None):
            raise ConfigurationError(f"line {line} of the input is not NAME=value")
        if name is not None and value is not None:
            helper = name in settings and settings[name].reveal() == HELPER
            if name in settings and not helper:
                raise ConfigurationError(f"line {line} of the input sets {name} again")
            settings[name] = redact(from_dotenv(value, name if helper else None))
    return settings


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
