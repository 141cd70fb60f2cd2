"""update, put, delete and new-key: change secrets."""

from __future__ import annotations

import sys
from typing import Any

import click

from s1crets._redaction import Redacted, redact
from s1crets.cli._errors import reported
from s1crets.cli._options import provider_command, read_stdin
from s1crets.cli._output import readable, write_value


class _RedactingCommand(click.Command):
    """A command that does not repeat arguments it can't parse: they may be an unquoted value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line."""
        try:
            return super().parse_args(ctx, args)
        except (click.BadParameter, click.BadOptionUsage):
            raise  # these name the path or the option, not the value
        except click.UsageError:
            problem = "too many arguments, or no such option"
        message = f"{problem}: quote VALUE, put -- before it, or pass it on stdin"
        raise click.UsageError(message, ctx)


def _redacted(_context: click.Context, _argument: click.Parameter, value: str) -> Redacted:
    with reported():
        return redact(read_stdin() if value == "-" else value)


_value_argument = click.argument("value", callback=_redacted)


@provider_command(cls=_RedactingCommand)
@click.argument("path")
@_value_argument
def update(provider: Any, path: str, value: Redacted) -> None:
    """Store a new value of an existing secret.

    The secret keeps its encryption key. `-` reads VALUE from stdin, without a newline at its end:
    only this keeps the value out of the shell's history and out of `ps`.

    \b
    Examples:
      echo fake-new | s1crets update prod/token -
      s1crets update --provider aws.ps /prod/db/url - < url.txt
    """
    provider.update(path, value)


@provider_command("put", cls=_RedactingCommand)
@click.argument("path")
@_value_argument
def put(provider: Any, path: str, value: Redacted) -> None:
    """Store a value; create the secret if needed.

    A new parameter is a SecureString. In all other respects this works like `update`.

    \b
    Examples:
      echo fake-new | s1crets put prod/other-token -
    """
    provider.put(path, value)


@provider_command("delete")
@click.argument("path")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(provider: Any, path: str, *, yes: bool) -> None:
    """Delete a secret.

    Secrets Manager keeps it for 30 days, during which it can be restored; a parameter is gone.

    \b
    Examples:
      s1crets delete --yes prod/old-token
    """
    if not yes:
        click.confirm(f"Delete {readable(path, sys.stderr)}?", abort=True, err=True)
    provider.delete(path)


@click.command()
def new_key() -> None:
    """Print a new key for an encrypted cache.

    Use it as S1CRETS_CACHE_KEY, or as cache_key in Python.

    \b
    Examples:
      export S1CRETS_CACHE_KEY=$(s1crets new-key)
    """
    from s1crets.cache.encryption import new_key as make

    with reported():
        write_value(make())
