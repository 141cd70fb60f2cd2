"""Python programs that run as processes of their own, where a process is what is tested."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT = 300.0  # seconds; a program that runs longer hangs, also on a busy machine
# aiocache imports redis where it is installed, and aiobotocore httpx2: that takes longer than all
# of s1crets.
_PLAIN_INSTALL = "import sys; sys.modules['redis'] = sys.modules['httpx2'] = None\n"
_QUIET = "import warnings; warnings.simplefilter('ignore')\n"  # Python's own about fork and threads


def _command(script: str, arguments: tuple[str, ...]) -> list[str]:
    head = _QUIET + ("" if "RedisCache" in script else _PLAIN_INSTALL)
    return [sys.executable, "-c", head + textwrap.dedent(script), *arguments]


def unmeasured(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment without coverage, which doubles what a short program takes."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}


def run(script: str, *arguments: str, measured: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; `measured` where no other test covers what it runs."""
    return subprocess.run(
        _command(script, arguments), env=None if measured else unmeasured(),
        capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip


def start(script: str, *arguments: str, measured: bool = False) -> subprocess.Popen[str]:
    """Start a program, and return while it runs."""
    return subprocess.Popen(
        _command(script, arguments), env=None if measured else unmeasured(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def check(script: str, *arguments: str, measured: bool = False) -> str:
    """Run a program that must succeed and say nothing on stderr; return its stdout."""
    done = run(script, *arguments, measured=measured)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
