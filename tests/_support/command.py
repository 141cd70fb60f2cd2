"""The `s1crets` command, run in this process, or in its own where the process is the subject."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from _support.scripts import LIMIT, unmeasured
from click.testing import CliRunner

from s1crets.cli import main
from s1crets.providers.instrumentation import Counters, Stats

if TYPE_CHECKING:
    from collections.abc import Iterator

Done: TypeAlias = subprocess.CompletedProcess[bytes]

COMMAND = str(Path(sys.executable).parent / "s1crets")
PS = ("--provider", "aws.ps")


def run(*args: str, stdin: bytes = b"", **env: str) -> Done:
    """Run the command in this process; `exec` runs its program in a child."""
    environment = {"AWS_PROFILE": os.environ.get("AWS_PROFILE"), **env}
    with contained():
        result = CliRunner().invoke(
            main, args, input=stdin, env=environment, prog_name="s1crets", catch_exceptions=False
        )
    return Done(args, result.exit_code, result.stdout_bytes, result.stderr_bytes)


run_here = run  # the former name


def run_process(*args: str, stdin: bytes = b"", **env: str) -> Done:
    """Run the command in its own process, unmeasured. It never shows a traceback."""
    done = subprocess.run(
        [COMMAND, *args],
        input=stdin, capture_output=True, timeout=LIMIT, check=False, env={**unmeasured(), **env},
    )  # fmt: skip
    assert b"Traceback" not in done.stderr
    return done


@contextmanager
def contained() -> Iterator[None]:
    """Undo the command's changes to its process, which runs a program instead of becoming it."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ)}
    execve = os.execve

    def run_program(program: str, command: tuple[str, ...], environment: dict[str, str]) -> None:
        if not os.access(program, os.X_OK) or Path(program).is_dir():
            execve(program, command, environment)  # which raises
        done = subprocess.run(
            command, executable=program, env=unmeasured(environment),
            input=sys.stdin.buffer.read(), capture_output=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        sys.stdout.buffer.write(done.stdout)
        sys.stderr.buffer.write(done.stderr)
        sys.exit(done.returncode)

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "execve", run_program)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def error_of(done: Done) -> str:
    """Return the message of a failed run: a cause, perhaps a hint, and nothing on stdout."""
    assert done.stdout == b""
    cause, *hints = done.stderr.decode().splitlines()
    assert cause.startswith("s1crets: ")
    assert len(hints) <= 1, hints
    assert all(hint.startswith("  hint: ") for hint in hints)
    return "\n".join([cause, *hints])


told = error_of  # the former name


class FakeProvider:
    """A provider whose only verbs are `get` and `get_many`, which fail with `error`."""

    error: BaseException

    stats = Stats()

    def __init__(self, **options: Any) -> None:
        if options:
            raise TypeError("no options, please")
        self.awaited = self  # its own async class
        self.counters = Counters()

    def close(self) -> None: ...

    def get(self, *_: Any, **__: Any) -> Any:
        raise self.error

    get_many = get
