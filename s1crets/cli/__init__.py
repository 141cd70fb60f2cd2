"""The `s1crets` command."""

from __future__ import annotations

import json
import os
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from s1crets import __version__
from s1crets._values import conceal
from s1crets.errors import (
    AccessDeniedError,
    CredentialsError,
    DeadlineExceededError,
    InsecureCacheWarning,
    S1cretsError,
    SecretNotFoundError,
    ThrottledError,
    UnavailableError,
)
from s1crets.providers import provider_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s1crets.cache import CacheArgs
    from s1crets.providers.aws.session import StsArgs

_EPILOG = """\b
Exit codes:
  0  done; `exists`: yes
  1  `exists`: no
  2  usage: a wrong option, setting, name, value or folder
  3  not found
  4  access denied
  5  unreachable: no answer, too slow, throttled
  6  no credentials, or none that AWS accepts
  7  anything else
  130  interrupted
"""
_CODES: dict[type[Exception], int] = {
    SecretNotFoundError: 3,
    AccessDeniedError: 4,
    UnavailableError: 5,
    DeadlineExceededError: 5,
    ThrottledError: 5,
    CredentialsError: 6,
    ValueError: 2,  # also InvalidNameError, InvalidValueError, ConfigurationError
}
_OTHER = 7
_INTERRUPTED = 130  # as a shell says it; click's own 1 would be the "no" of `exists`


@contextmanager
def _told() -> Iterator[None]:
    """Turn an error into one line on stderr and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except (S1cretsError, PermissionError, ValueError) as error:
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), _OTHER)
        words = " ".join(str(error).split())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains of it at exit
        sys.exit(_OTHER)
    except Exception as error:  # noqa: BLE001  # 1, which Python would exit with, is "no"
        code, words = _OTHER, f"unexpected {type(error).__name__}: please report what you did"
    else:
        return
    click.echo(f"s1crets: {words}", err=True)
    sys.exit(code)


def _not_empty(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Refuse what an unset variable of a script leaves: it would mean another account or region."""
    if text == "":
        raise click.BadParameter("it is empty")
    return text


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every command takes."""
    options = [
        click.option(
            "--provider",
            type=click.Choice(["aws.sm", "aws.ps"]),
            default="aws.sm",
            show_default=True,
            help="Secrets Manager or Parameter Store.",
        ),
        click.option(
            "--region", callback=_not_empty, help="AWS region; else botocore's chain decides."
        ),
        click.option("--role-arn", callback=_not_empty, help="A role to assume."),
        click.option("--profile", callback=_not_empty, help="A profile of the AWS config files."),
        click.option(
            "--cache-dir",
            type=click.Path(file_okay=False),
            callback=_not_empty,
            help="Keep what was read in this folder for 15 minutes: yours alone, and encrypted"
            " where S1CRETS_CACHE_KEY is set (see new-key).",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _open(
    provider: str,
    region: str | None,
    role_arn: str | None,
    profile: str | None,
    cache_dir: str | None,
) -> Any:
    if profile:
        os.environ["AWS_PROFILE"] = profile
    sts_args: StsArgs = {}
    cache_args: CacheArgs = {}
    if region:
        sts_args["aws_region"] = region
    if role_arn:
        sts_args["RoleArn"] = role_arn
    if cache_dir:
        cache_args["cache_on_disk"] = True
        cache_args["key_cache_dir"] = os.path.join(cache_dir, "keys")  # noqa: PTH118  # no pathlib
        cache_args["path_cache_dir"] = os.path.join(cache_dir, "paths")  # noqa: PTH118
    # Whoever names a folder has been told by --help.
    warnings.simplefilter("ignore", InsecureCacheWarning)
    return provider_class(provider)(sts_args=sts_args, cache_args=cache_args)


def _print(value: Any) -> None:
    """Write text as it is with a newline, JSON as JSON, and bytes raw."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape") + b"\n"
    elif not isinstance(value, bytes):
        text = json.dumps(value, ensure_ascii=False, indent=2, default=_as_text)
        value = text.encode("utf-8", "surrogatepass") + b"\n"
    sys.stdout.buffer.write(value)
    sys.stdout.buffer.flush()  # while an error can still be told


def _as_text(value: bytes) -> str:
    import base64

    return base64.b64encode(value).decode()


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="s1crets")
def main() -> None:
    """Read and write secrets in AWS Secrets Manager and Parameter Store."""


@main.command(epilog=_EPILOG)
@click.argument("path")
@click.argument("key", nargs=-1)
@_options
def get(path: str, key: tuple[str, ...], **options: Any) -> None:
    """Print a secret; with KEYs, what they lead to in its JSON (a number indexes an array)."""
    with _told():
        _print(_open(**options).get(path, keypath=key))


@main.command(epilog=_EPILOG)
@click.argument("path")
@_options
def get_by_path(path: str, **options: Any) -> None:
    """Print all secrets below PATH as one JSON object; binary ones in base64."""
    with _told():
        _print(_open(**options).get_by_path(path))


@main.command(epilog=_EPILOG)
@click.argument("path")
@_options
def exists(path: str, **options: Any) -> None:
    """Exit with 0 if there is such a path or secret, with 1 if not."""
    with _told():
        there = _open(**options).path_exists(path)
    sys.exit(0 if there else 1)


class _Secretive(click.Command):
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


@main.command(epilog=_EPILOG, cls=_Secretive)
@click.argument("path")
@click.argument("value")
@_options
def update(path: str, value: str, **options: Any) -> None:
    """Store VALUE as a secret's new value; `-` reads it from stdin.

    Only stdin keeps it out of the shell's history and of `ps`. One newline at its end is dropped.
    """
    hidden = conceal(_from_stdin() if value == "-" else value)
    del value
    with _told():
        _open(**options).update(path, hidden)


@main.command()
def new_key() -> None:
    """Print a new key for an encrypted cache: S1CRETS_CACHE_KEY, or cache_key in Python."""
    from s1crets.cache.sealing import new_key as make

    click.echo(make())


def _from_stdin() -> str | bytes:
    data = sys.stdin.buffer.read()
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        return data
