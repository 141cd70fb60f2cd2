"""get, get-by-path and exists: read secrets."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import click

from s1crets.cli._errors import NO
from s1crets.cli._json import dump, source
from s1crets.cli._options import provider_command
from s1crets.cli._output import report, write, write_value
from s1crets.errors import S1cretsError


@provider_command()
@click.argument("path")
@click.argument("key", nargs=-1)
def get(provider: Any, path: str, key: tuple[str, ...]) -> None:
    """Print a secret.

    Text and JSON are printed exactly as stored, and followed by a newline; binary secrets as raw
    bytes. Each KEY selects an item of the JSON; in an array, by number. On a terminal, control
    characters are escaped.

    \b
    Examples:
      s1crets get prod/token
      s1crets get prod/db password
      s1crets get --provider aws.ps /prod/db/hosts 0
    """
    if key or not hasattr(provider, "get_many"):  # a provider of another package may lack it
        write_value(provider.get(path, keypath=key))
    else:
        write_value(provider.get_many([path], raw=True)[path])


@provider_command()
@click.argument("path")
def get_by_path(provider: Any, path: str) -> None:
    """Print all secrets under PATH as one JSON object.

    The keys are full names. JSON is embedded as stored, binary secrets are base64-encoded.
    If there are no secrets under PATH, the object is empty.

    \b
    Examples:
      s1crets get-by-path --provider aws.ps /prod/db
      s1crets get-by-path prod
    """
    found = provider.get_by_path(path, raw=True).items()
    if not found:
        with suppress(S1cretsError):
            if provider.path_exists(path):
                report(f"{path!r} is the name of a secret, not a path; use s1crets get")
    lines = ",".join(f"\n  {dump(name)}: {source(value)}" for name, value in found)
    write(f"{{{lines}{lines and chr(10)}}}\n".encode("utf-8", "surrogatepass"))


@provider_command()
@click.argument("path")
def exists(provider: Any, path: str) -> None:
    """Exit with 0 if a path or secret exists, otherwise with 1.

    Nothing is decrypted or printed.

    \b
    Examples:
      s1crets exists prod/token
      s1crets exists --provider aws.ps /prod/db && echo there
    """
    sys.exit(0 if provider.path_exists(path) else NO)
