"""What every command has: options, errors on one line, exit codes."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from s1crets.errors import (
    AccessDeniedError,
    BatchError,
    ConfigurationError,
    CredentialsError,
    DeadlineExceededError,
    InsecureCacheWarning,
    S1cretsError,
    SecretNotFoundError,
    ThrottledError,
    UnavailableError,
)
from s1crets.providers import is_provider, provider_class, provider_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s1crets.cache import CacheArgs
    from s1crets.providers.aws.session import StsArgs

EPILOG = """\b
Exit codes:
  0    done; `exists`, `check`: yes; `diff`: equal
  1    `exists`: no; `diff`: different
  2    usage: a wrong option, setting, name, value or folder
  3    not found
  4    access denied
  5    unreachable: no answer, too slow, throttled
  6    no credentials, or none that AWS accepts
  7    anything else
  130  interrupted

\b
Environment:
  AWS_PROFILE, AWS_ACCESS_KEY_ID, …    credentials, as for every AWS tool
  AWS_DEFAULT_REGION, AWS_REGION       the region, without --region
  AWS_ENDPOINT_URL                     another endpoint than AWS's own
  S1CRETS_CACHE_KEY                    encrypts what --cache-dir keeps
  S1CRETS_FILES                        the folder of `--provider files`, else /run/secrets
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
NO, USAGE, NOT_FOUND, DENIED, OTHER = 1, 2, 3, 4, 7
INTERRUPTED = 130  # as a shell says it; click's own 1 would be the "no" of `exists`


def code_of(error: BaseException) -> int:
    """Return the exit code for an error; of several what is denied or not there counts most."""
    if isinstance(error, BatchError):
        codes = [code_of(one) for one in error.errors.values()]
        return next(code for code in (DENIED, NOT_FOUND, *codes) if code in codes)
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), OTHER)


@contextmanager
def told() -> Iterator[None]:
    """Turn an error into a line on stderr, or one for each name, and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (S1cretsError, PermissionError, ValueError) as error:
        several = error.errors.values() if isinstance(error, BatchError) else [error]
        code, lines = code_of(error), [" ".join(str(one).split()) for one in several]
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains of it at exit
        if isinstance(error, BrokenPipeError):
            sys.exit(OTHER)
        code, lines = OTHER, [f"{error.strerror or 'it failed'} [{type(error).__name__}]"]
    except Exception as error:  # noqa: BLE001  # 1, which Python would exit with, is "no"
        code, lines = OTHER, [f"unexpected {type(error).__name__}: please report what you did"]
    else:
        return
    for line in lines:
        click.echo(f"s1crets: {line}", err=True)
    sys.exit(code)


def not_empty(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Refuse what an unset variable of a script leaves: it would mean another account or region."""
    if text == "":
        raise click.BadParameter("it is empty")
    return text


class _ProviderName(click.ParamType):  # type: ignore[type-arg]  # of newer clicks only
    """The name of a provider, one of another package's too."""

    name = "provider"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse a name that nobody has."""
        if not is_provider(value):
            known = ", ".join(provider_names())
            self.fail(f"there is no provider {value!r}; known are {known}", param, ctx)
        return str(value)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[Any]:
        """Return the names that begin like that."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(one) for one in provider_names() if one.startswith(incomplete)]


def store_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which store is meant."""
    options = [
        click.option(
            "--provider",
            type=_ProviderName(),
            default="aws.sm",
            show_default=True,
            help="aws.sm: Secrets Manager; aws.ps: Parameter Store; files: a folder of them; or"
            " what another package adds.",
        ),
        click.option(
            "--region", callback=not_empty, help="AWS region; else botocore's chain decides."
        ),
        click.option("--role-arn", callback=not_empty, help="A role to assume."),
        click.option("--profile", callback=not_empty, help="A profile of the AWS config files."),
        click.option(
            "--cache-dir",
            type=click.Path(file_okay=False),
            callback=not_empty,
            help="Keep what was read in this folder for 15 minutes: yours alone, and encrypted"
            " where S1CRETS_CACHE_KEY is set (see new-key).",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def open_store(
    *verbs: str,
    provider: str,
    region: str | None,
    role_arn: str | None,
    profile: str | None,
    cache_dir: str | None,
) -> Any:
    """Return the store that the options mean.

    Args:
        verbs: what it has to have, besides what every provider has.
        provider: its name.
        region: for AWS.
        role_arn: for AWS.
        profile: for AWS.
        cache_dir: where it keeps what was read.

    Raises:
        ConfigurationError: it has no such verb, or does not take such options.
    """
    cls = provider_class(provider)
    lacking = [verb for verb in verbs if not hasattr(cls, verb)]
    if lacking:
        message = f"the provider {provider!r} can't do that: it has no `{lacking[0]}`"
        raise ConfigurationError(message)
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
    args = {"sts_args": sts_args, "cache_args": cache_args}
    try:
        return cls(**{name: one for name, one in args.items() if one})
    except TypeError as error:
        given = {"--region": region, "--role-arn": role_arn, "--cache-dir": cache_dir}
        flags = " or ".join(flag for flag, value in given.items() if value)
        message = f"the provider {provider!r} does not take {flags or 'these options'}: {error}"
        raise ConfigurationError(message) from None


def write(data: bytes) -> None:
    """Write to stdout, while an error can still be told."""
    if sys.stdout is None:  # the caller has closed it
        raise OSError(errno.EBADF, "stdout is closed")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def from_stdin() -> str | bytes:
    """Return what is on stdin, without the newline at its end; bytes, if it is no text."""
    data = sys.stdin.buffer.read()
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        return data
