"""update, put, create, delete, restore, invalidate and new-key: change secrets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from s1crets._redaction import Redacted, redact
from s1crets.cli._errors import reported
from s1crets.cli._options import call, flag, provider_command, read_stdin
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
        message = f"{problem}; quote VALUE, put -- before it, or pass it on stdin"
        raise click.UsageError(message, ctx)


def _redacted(context: click.Context, _argument: click.Parameter, value: str) -> Redacted:
    with reported():
        return redact(read_stdin(raw=context.params["raw"]) if value == "-" else value)


def _tags(_context: click.Context, _option: click.Parameter, tags: tuple[str, ...]) -> Any:
    if wrong := [tag for tag in tags if "=" not in tag]:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE")
    return dict(tag.split("=", 1) for tag in tags) or None


def _writing_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument VALUE, and the settings of a secret."""
    for add in reversed(_SETTINGS):
        command = add(command)
    return command


_SETTINGS = (
    click.argument("value", callback=_redacted),
    click.option(
        "--raw",
        is_flag=True,
        is_eager=True,
        expose_value=True,
        help="Store stdin exactly, with a byte order mark, or the line ending of a single line.",
    ),
    click.option(
        "--type",
        type=click.Choice(["SecureString", "String", "StringList"]),
        help="The type of a new parameter; default: SecureString.",
    ),
    click.option(
        "--tier",
        type=click.Choice(["Standard", "Advanced", "Intelligent-Tiering"]),
        help="The tier of a parameter; Advanced takes up to 8 KB.",
    ),
    click.option("--kms-key", "kms_key_id", metavar="KEY", help="The KMS key that encrypts it."),
    click.option("--description", help="A description, which is not secret."),
    click.option(
        "--tag", "tags", metavar="NAME=VALUE", multiple=True, callback=_tags,
        help="A tag of a new secret; repeatable.",
    ),
    click.option(
        "--stage",
        "version_stages",
        metavar="STAGE",
        multiple=True,
        callback=lambda *args: args[-1] or None,
        help="A stage of the new version, instead of AWSCURRENT; repeatable.",
    ),
    click.option(
        "--client-request-token", metavar="TOKEN", help="The id of the new version."
    ),
)  # fmt: skip


@provider_command(cls=_RedactingCommand)
@click.argument("path")
@_writing_options
def update(provider: Any, path: str, value: Redacted, *, raw: bool, **settings: Any) -> None:  # noqa: ARG001  # read with the value
    """Store a new value of an existing secret.

    The secret keeps its encryption key and all settings that are not given. `-` reads VALUE from
    stdin: only this keeps the value out of the shell's history and out of `ps`. A single line loses
    its line ending, text of several lines keeps it.

    \b
    Examples:
      echo fake-new | s1crets update prod/api-key -
      s1crets update --provider aws.ps /prod/log-level - < level.txt
      s1crets update prod/api-key --stage AWSPENDING - < key.txt
    """
    call(provider, "update", path, value, **settings)


@provider_command("put", cls=_RedactingCommand)
@click.argument("path")
@_writing_options
def put(provider: Any, path: str, value: Redacted, *, raw: bool, **settings: Any) -> None:  # noqa: ARG001
    """Store a value; create the secret if needed.

    A new parameter is a SecureString, unless --type says otherwise. In all other respects this
    works like `update`.

    \b
    Examples:
      echo fake-new | s1crets put prod/other-key -
      s1crets put -p aws.ps /prod/hosts --type StringList fake-a,fake-b
      s1crets put prod/tagged --tag team=web --description "a demo" - < key.txt
    """
    call(provider, "put", path, value, **settings)


@provider_command("create", cls=_RedactingCommand)
@click.argument("path")
@_writing_options
def create(provider: Any, path: str, value: Redacted, *, raw: bool, **settings: Any) -> None:  # noqa: ARG001
    """Store a new secret; fail if there is one of this name.

    In all other respects this works like `put`.

    \b
    Examples:
      echo fake | s1crets create prod/new-key -
    """
    call(provider, "create", path, value, **settings)


@provider_command("delete")
@click.argument("path")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@flag("--force", help="Delete immediately: the secret can't be restored (Secrets Manager).")
@click.option(
    "--recovery-days",
    type=click.IntRange(7, 30),
    help="Days during which it can be restored; default: 30 (Secrets Manager).",
)
def delete(provider: Any, path: str, *, yes: bool, **options: Any) -> None:
    """Delete a secret.

    Secrets Manager keeps it for 30 days, during which it can be restored; a parameter is gone.

    \b
    Examples:
      s1crets delete --yes prod/api-key
    """
    if not yes:
        click.confirm(f"Delete {readable(path, sys.stderr)}?", abort=True, err=True)
    call(provider, "delete", path, **options)


@provider_command("restore")
@click.argument("path")
def restore(provider: Any, path: str) -> None:
    """Restore a deleted secret.

    Secrets Manager keeps deleted secrets for some time; Parameter Store does not.

    \b
    Examples:
      s1crets restore prod/api-key
    """
    call(provider, "restore", path)


@provider_command("invalidate")
@click.argument("path", required=False)
def invalidate(provider: Any, path: str | None) -> None:
    """Drop a secret, or all secrets, from a shared cache.

    \b
    Examples:
      s1crets invalidate prod/api-key --cache-dir cache
    """
    call(provider, "invalidate", path)


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
