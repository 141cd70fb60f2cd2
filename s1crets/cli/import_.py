"""import: store the settings of a file as secrets."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import click

from s1crets._redaction import Redacted, redact
from s1crets.cli._errors import exit_code, report
from s1crets.cli._options import provider_command, read_file
from s1crets.cli._output import write
from s1crets.errors import ConfigurationError, S1cretsError, SecretNotFoundError

_DONE = {"create": "created", "update": "updated"}


@provider_command("get_many", "create", name="import")
@click.argument("file")
@click.argument("path")
@click.option(
    "--format",
    "form",
    type=click.Choice(["dotenv", "json"]),
    help="The format of FILE; default: json if its name ends with .json, otherwise dotenv.",
)
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
def import_(provider: Any, file: str, path: str, form: str | None, *, dry_run: bool) -> None:
    """Store each setting of FILE as a secret under PATH.

    Missing secrets are created (parameters as SecureString), those with another value are updated,
    the others left alone. Names are printed, values never. `-` reads stdin. In JSON, text is stored
    unchanged, objects and arrays as JSON; numbers, booleans and null are rejected, since stores
    hold only text. Everything is validated before anything is written. If a write fails, the
    remaining ones are still attempted, and the exit code is that of the first failure.

    \b
    Examples:
      s1crets import --dry-run --provider aws.ps .env /prod/app
      s1crets import --provider aws.ps .env /prod/app
      s1crets import settings.json prod/app
    """
    form = form or ("json" if file.endswith(".json") else "dotenv")
    text = read_file(file)
    settings = _named(path, _parse_json(text) if form == "json" else _parse_dotenv(text))
    current = provider.get_many(settings, cached=False, errors="return")
    failures: dict[str, S1cretsError] = {}
    lines = []
    bar = click.progressbar(settings, label="import", file=sys.stderr)
    with bar if sys.stderr.isatty() else nullcontext(settings) as names:
        for name in names:
            try:
                verb = _verb(current[name], settings[name])
                if verb and not dry_run:
                    getattr(provider, verb)(name, settings[name])
            except S1cretsError as error:
                failures[name] = error
            else:
                done = verb if dry_run else _DONE.get(verb)
                lines.append(f"{done or 'unchanged'}\t{name}\n")
    write("".join(lines).encode())
    if failures:
        report(*(f"{name}: {error}" for name, error in failures.items()))
        sys.exit(exit_code(next(iter(failures.values()))))


def _verb(current: Any, wanted: Redacted) -> str:
    """Return the name of the method that stores the value, or "" if it is stored already."""
    if isinstance(current, SecretNotFoundError):
        return "create"
    if isinstance(current, S1cretsError):
        raise current
    from s1crets.cache.entry import decode  # it comes with aiocache, which --help does not need

    return "" if current in (wanted.reveal(), decode(wanted.reveal())) else "update"


def _parse_json(text: Redacted) -> dict[str, Redacted]:
    try:
        found = redact(json.loads(text.reveal()))
    except (ValueError, RecursionError):
        found = redact(None)
    if not isinstance(found.reveal(), dict):
        raise ConfigurationError("the input is not a JSON object")
    settings, wrong = {}, []
    for name, value in found.reveal().items():
        if not isinstance(value, (str, dict, list)):
            wrong.append(f"{name} ({type(value).__name__})")
        stored = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        settings[name] = redact(stored)
    if wrong:
        message = f"only text, objects and arrays can be imported, not {', '.join(wrong)}"
        raise ConfigurationError(message)
    return settings


def _parse_dotenv(text: Redacted) -> dict[str, Redacted]:
    try:
        from dotenv.parser import parse_stream
    except ImportError as error:
        message = "a dotenv file needs python-dotenv; pip install 's1crets[dotenv]'"
        raise ConfigurationError(message) from error
    settings = {}
    for binding in parse_stream(io.StringIO(text.reveal())):
        if binding.error or (binding.key is not None and binding.value is None):
            raise ConfigurationError(f"line {binding.original.line} of the input is not NAME=value")
        if binding.key is not None:
            settings[binding.key] = redact(binding.value)
    return settings


def _named(path: str, settings: Mapping[str, Redacted]) -> dict[str, Redacted]:
    """Return settings by the full names of their secrets, all of which are valid."""
    from s1crets.providers.store import check_name  # imports the cache, which --help does not need

    check_name(path)
    if not settings:
        raise ConfigurationError("there is nothing to import")
    named = {f"{path.rstrip('/')}/{name}": value for name, value in settings.items()}
    for name, value in named.items():
        check_name(name)
        if name.endswith("/"):
            raise ConfigurationError("a setting has no name, or its name ends with a slash")
        if not value.reveal():
            raise ConfigurationError(f"{name!r} has no value; a store does not accept empty values")
    return named
