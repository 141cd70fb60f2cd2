"""The `s1crets` command, run in this process, or in its own where the process is the subject."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import pytest
from _support.scripts import unmeasured
from click.testing import CliRunner

from s1crets.cli import main
from s1crets.providers.instrumentation import Counters, Stats

if TYPE_CHECKING:
    from collections.abc import Iterator

Done: TypeAlias = subprocess.CompletedProcess[bytes]

COMMAND = str(Path(sys.executable).parent / "s1crets")
PS = ("--provider", "aws.ps")


def run(*args: str, stdin: bytes = b"", **env: str) -> Done:
    """Run the command in this process, except `exec`, which would replace it."""
    runner = run_process if args[:1] == ("exec",) else run_here
    return runner(*args, stdin=stdin, **env)


def run_here(*args: str, stdin: bytes = b"", **env: str) -> Done:
    """Run the command in this process. An `exec` must fail before it runs a program."""
    environment = {"AWS_PROFILE": os.environ.get("AWS_PROFILE"), **env}
    with contained():
        result = CliRunner().invoke(
            main, args, input=stdin, env=environment, prog_name="s1crets", catch_exceptions=False
        )
    return Done(args, result.exit_code, result.stdout_bytes, result.stderr_bytes)


def run_process(*args: str, stdin: bytes = b"", **env: str) -> Done:
    """Run the command in its own process, unmeasured. It never shows a traceback."""
    done = subprocess.run(
        [COMMAND, *args],
        input=stdin, capture_output=True, timeout=60, check=False, env={**unmeasured(), **env},
    )  # fmt: skip
    assert b"Traceback" not in done.stderr
    return done


@contextmanager
def contained() -> Iterator[None]:
    """Undo the command's changes to its process, and keep it from replacing this one."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ)}
    execve = os.execve

    def failing_execve(program: str, *args: Any) -> None:
        if os.access(program, os.X_OK) and not Path(program).is_dir():
            pytest.fail("`exec` of a program needs a process of its own: use `run_process`")
        execve(program, *args)

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "execve", failing_execve)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def get(self, *_: Any, **__: Any) -> Any:
        raise self.error

    get_many = get
