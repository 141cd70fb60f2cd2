"""get, get-by-path, exists."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from s1crets.cli.shared import EPILOG, NO, open_store, store_options, told, write


@click.command(epilog=EPILOG)
@click.argument("path")
@click.argument("key", nargs=-1)
@store_options
def get(path: str, key: tuple[str, ...], **options: Any) -> None:
    """Print a secret.

    With KEYs, what they lead to in its JSON; a number indexes an array. Text is printed as it is,
    with a newline; objects and arrays as JSON; a binary secret as its bytes.

    \b
    Examples:
      s1crets get prod/token
      s1crets get prod/db password
      s1crets get --provider aws.ps /prod/db/hosts 0
    """
    with told():
        write(printed(open_store(**options).get(path, keypath=key)))


@click.command(epilog=EPILOG)
@click.argument("path")
@store_options
def get_by_path(path: str, **options: Any) -> None:
    """Print all secrets below PATH as one JSON object.

    Its keys are full names. Binary secrets are in base64. Nothing below PATH is an empty object.

    \b
    Examples:
      s1crets get-by-path --provider aws.ps /prod/db
      s1crets get-by-path prod
    """
    with told():
        write(printed(open_store(**options).get_by_path(path)))


@click.command(epilog=EPILOG)
@click.argument("path")
@store_options
def exists(path: str, **options: Any) -> None:
    """Exit with 0 if there is such a path or secret, with 1 if not.

    Nothing is decrypted, and nothing is printed.

    \b
    Examples:
      s1crets exists prod/token
      s1crets exists --provider aws.ps /prod/db && echo there
    """
    with told():
        there = open_store(**options).path_exists(path)
    sys.exit(0 if there else NO)


def printed(value: Any) -> bytes:
    """Return text as it is with a newline, JSON as JSON, and bytes raw."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape") + b"\n"
    if isinstance(value, bytes):
        return value
    text = json.dumps(value, ensure_ascii=False, indent=2, default=_as_text)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _as_text(value: bytes) -> str:
    import base64

    return base64.b64encode(value).decode()
