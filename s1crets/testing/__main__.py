"""Local AWS for a shell or CI: `python -m s1crets.testing [--seed FILE] [--port N] [-- CMD…]`."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

import click

from s1crets.testing.aws import local_aws

_NO_FILES: dict[str, str] = dict.fromkeys(
    ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull
)
_NOT_FOUND, _SIGNALLED = 127, 128  # exit codes as a shell's


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--seed", metavar="FILE", help="A JSON file of initial values.")
@click.option(
    "--port", metavar="N", type=click.IntRange(0, 65535), default=0,
    help="The port on 127.0.0.1.  [default: a free one]",
)  # fmt: skip
@click.option("--region", metavar="NAME", default="eu-west-1", show_default=True)
@click.argument("command", metavar="[-- CMD [ARG]…]", nargs=-1, type=click.UNPROCESSED)
def main(seed: str | None, port: int, region: str, command: tuple[str, ...]) -> None:
    """Run a local Parameter Store, Secrets Manager and STS on loopback.

    With a command: run it with the environment variables that point AWS clients there, and exit
    with its exit code. Without: print these variables as export lines for a shell, and run until
    Ctrl-C. Settings of AWS in the environment and in ~/.aws are hidden.

    A seed is {"aws.ps": {"/prod/db": "fake"}, "aws.sm": {"prod/db": {"password": "fake"}}}.
    """
    with ExitStack() as stack:
        hidden = stack.enter_context(_settings_hidden())
        try:
            aws = stack.enter_context(local_aws(region, seed=seed, port=port))
        except (OSError, TypeError, ValueError) as error:
            raise click.ClickException(str(error)) from None
        settings = {**_NO_FILES, **aws.environment}
        if command:
            raise SystemExit(_run(command, {**os.environ, **settings}))
        click.echo("".join(f"unset {name}\n" for name in sorted(hidden)), nl=False)
        for name, value in settings.items():
            click.echo(f"export {name}={shlex.quote(value)}")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


@contextmanager
def _settings_hidden() -> Iterator[list[str]]:
    """Hide this machine's settings of AWS, and yield the names of the variables."""
    before = dict(os.environ)
    hidden = [name for name in before if name.startswith("AWS_")]
    for name in hidden:
        del os.environ[name]
    os.environ.update(_NO_FILES)  # moto reads the profile
    try:
        yield hidden
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(command: tuple[str, ...], environment: Mapping[str, str]) -> int:
    """Run a command, and return its exit code. Ctrl-C is the command's."""
    try:
        child = subprocess.Popen(command, env=environment)  # noqa: S603  # the user's own
    except OSError as error:
        click.echo(f"Error: {command[0]!r} can't be run: {error.strerror}", err=True)
        return _NOT_FOUND
    handlers = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: child.terminate()),
    }
    try:
        code = child.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return code if code >= 0 else _SIGNALLED - code


if __name__ == "__main__":
    main(prog_name="python -m s1crets.testing")
