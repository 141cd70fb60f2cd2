"""update, put, delete, new-key."""

from __future__ import annotations

from typing import Any

import click

from s1crets._redaction import redact
from s1crets.cli.shared import EPILOG, from_stdin, open_store, store_options, told


class Secretive(click.Command):
    """Does not repeat what it can't parse: it may be a value that was not quoted."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line."""
        try:
            return super().parse_args(ctx, args)
        except (click.BadParameter, click.BadOptionUsage):
            raise  # about the path, or an option by its name
        except click.UsageError:
            problem = "too many arguments, or no such option"
        message = f"{problem}: quote VALUE, put -- before it, or give it on stdin"
        raise click.UsageError(message, ctx)


@click.command(epilog=EPILOG, cls=Secretive)
@click.argument("path")
@click.argument("value")
@store_options
def update(path: str, value: str, **options: Any) -> None:
    """Store VALUE as a secret's new value; `-` reads it from stdin.

    The secret must be there, and keeps the key that encrypts it. Only stdin keeps the value out of
    the shell's history and of `ps`. One newline at its end is dropped.

    \b
    Examples:
      echo fake-new | s1crets update prod/token -
      s1crets update --provider aws.ps /prod/db/url - < url.txt
    """
    hidden = redact(from_stdin() if value == "-" else value)
    del value
    with told():
        open_store(**options).update(path, hidden)


@click.command(epilog=EPILOG, cls=Secretive)
@click.argument("path")
@click.argument("value")
@store_options
def put(path: str, value: str, **options: Any) -> None:
    """Store VALUE as a secret's value, be it there or not; `-` reads it from stdin.

    A new parameter is a SecureString. Otherwise as `update`.

    \b
    Examples:
      echo fake-new | s1crets put prod/other-token -
    """
    hidden = redact(from_stdin() if value == "-" else value)
    del value
    with told():
        open_store("put", **options).put(path, hidden)


@click.command(epilog=EPILOG)
@click.argument("path")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_options
def delete(path: str, *, yes: bool, **options: Any) -> None:
    """Delete a secret.

    Secrets Manager keeps it for another 30 days, in which it can be restored; a parameter is gone.

    \b
    Examples:
      s1crets delete --yes prod/old-token
    """
    if not yes:
        click.confirm(f"Delete {path}?", abort=True, err=True)
    with told():
        open_store("delete", **options).delete(path)


@click.command()
def new_key() -> None:
    """Print a new key for an encrypted cache: S1CRETS_CACHE_KEY, or cache_key in Python.

    \b
    Examples:
      export S1CRETS_CACHE_KEY=$(s1crets new-key)
    """
    from s1crets.cache.sealing import new_key as make

    with told():
        click.echo(make())
