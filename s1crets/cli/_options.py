"""Options that several commands share, the provider that they select, and input from files."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from s1crets._redaction import Redacted, redact
from s1crets.cli._errors import reported
from s1crets.errors import ConfigurationError, InsecureCacheWarning
from s1crets.providers import is_provider, provider_class, provider_names

EPILOG = """\b
Exit codes:
  0    success; `exists`, `check`: yes; `diff`: equal
  1    `exists`: no; `diff`: different
  2    usage: an invalid option, setting, name, value or folder
  3    not found
  4    access denied
  5    unreachable: no response, too slow, throttled
  6    no credentials, or AWS rejects them
  7    any other error
  130  interrupted

\b
Environment:
  AWS_PROFILE, AWS_ACCESS_KEY_ID, …    credentials, as for any AWS tool
  AWS_DEFAULT_REGION, AWS_REGION       the region, if --region is not given
  AWS_ENDPOINT_URL                     an endpoint other than AWS's own
  S1CRETS_CACHE_KEY                    encrypts the files in --cache-dir
  S1CRETS_FILES                        the folder of `--provider files`; default: /run/secrets
"""


def _not_empty(_context: click.Context, _option: click.Parameter, value: Any) -> Any:
    """Reject empty text: an unset variable of a script must not select another account."""
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise click.BadParameter("it is empty")
    return value


def _known(_context: click.Context, _option: click.Parameter, name: str) -> str:
    if not is_provider(name):
        message = f"there is no provider {name!r}; known are {', '.join(provider_names())}"
        raise click.BadParameter(message)
    return name


_text_option = functools.partial(click.Option, callback=_not_empty)
_PROVIDER_OPTIONS = [
    click.Option(
        ["--provider"],
        metavar="PROVIDER",
        default="aws.sm",
        show_default=True,
        callback=_known,
        shell_complete=lambda *args: [n for n in provider_names() if n.startswith(args[-1])],
        help="aws.sm: Secrets Manager; aws.ps: Parameter Store; files: a folder of files; or the"
        " name of a provider that another package adds.",
    ),
    _text_option(["--region"], help="AWS region; default: as configured for AWS tools."),
    _text_option(["--role-arn"], help="A role to assume."),
    _text_option(["--profile"], help="A profile of the AWS config files."),
    _text_option(
        ["--cache-dir"],
        type=click.Path(file_okay=False),
        help="Cache secrets in this folder for 15 minutes. Only you can read it; it is encrypted"
        " if S1CRETS_CACHE_KEY is set (see new-key).",
    ),
]


def provider_command(
    *verbs: str, name: str | None = None, cls: type[click.Command] = click.Command, **settings: Any
) -> Callable[[Callable[..., None]], click.Command]:
    """Declare a command that is called with the provider that its options select.

    The provider must have all `verbs`, which some providers lack, and is closed at the end.
    """

    def declare(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(**params: Any) -> None:
            chosen = {str(one.name): params.pop(str(one.name)) for one in _PROVIDER_OPTIONS}
            with reported(), _open(verbs, **chosen) as provider:
                function(provider, **params)

        command = click.command(name, cls, epilog=EPILOG, **settings)(run)
        command.params += _PROVIDER_OPTIONS
        return command

    return declare


def _open(verbs: tuple[str, ...], provider: str, profile: str | None, **options: Any) -> Any:
    """Return the selected provider; fail if it lacks a verb or does not accept an option."""
    cls = provider_class(provider)
    if lacking := [verb for verb in verbs if not hasattr(cls, verb)]:
        message = f"the provider {provider!r} can't do that: it has no `{lacking[0]}`"
        raise ConfigurationError(message)
    if profile:
        os.environ["AWS_PROFILE"] = profile
    sts_args = {"aws_region": options["region"], "RoleArn": options["role_arn"]}
    args = {"sts_args": {name: value for name, value in sts_args.items() if value}}
    if folder := options["cache_dir"]:
        folders = {f"{kind}_cache_dir": str(Path(folder, f"{kind}s")) for kind in ("key", "path")}
        args["cache_args"] = {"cache_on_disk": True, **folders}
    warnings.simplefilter("ignore", InsecureCacheWarning)  # the help of --cache-dir has said it
    try:
        return cls(**{name: value for name, value in args.items() if value})
    except TypeError as error:
        given = ", ".join("--" + name.replace("_", "-") for name in options if options[name])
        message = f"the provider {provider!r} does not accept {given or 'these options'}: {error}"
        raise ConfigurationError(message) from None


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select secrets: --path and --secret."""
    option = functools.partial(click.option, multiple=True, callback=_not_empty)
    path = option("--path", "paths", metavar="PATH", help="All secrets under PATH; repeatable.")
    secret = option("--secret", "secrets", metavar="NAME", help="The secret NAME; repeatable.")
    return path(secret(command))


def read_stdin() -> str | bytes:
    """Return stdin without the newline at its end, as bytes if it is not UTF-8."""
    if sys.stdin is None:  # closed before the command was started
        raise ConfigurationError("stdin can't be read: it is closed")
    try:
        data = sys.stdin.buffer.read()
    except OSError as error:
        raise ConfigurationError(f"stdin can't be read: {error.strerror}") from None
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        return data


def read_file(file: str) -> Redacted:
    """Return the text of a file, or of stdin if `file` is `-`; fail if it is not UTF-8."""
    problem: str | None = "it is not UTF-8"
    try:
        text = redact(read_stdin() if file == "-" else Path(file).read_text(encoding="utf-8-sig"))
        if not isinstance(text.reveal(), bytes):
            return text
    except UnicodeDecodeError:
        pass  # the error contains the text
    except OSError as error:
        problem = error.strerror
    raise ConfigurationError(f"{'stdin' if file == '-' else repr(file)} can't be read: {problem}")
