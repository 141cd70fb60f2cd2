"""The `s1crets` command, run as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "s1crets")


def run(*args: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command; whatever it does, it shows no traceback."""
    done = subprocess.run(
        [COMMAND, *args],
        input=stdin, capture_output=True, timeout=60, check=False, env={**os.environ, **env},
    )  # fmt: skip
    assert b"Traceback" not in done.stderr
    return done


def told(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return what a failed run said: one line on stderr, and nothing on stdout."""
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("s1crets: ")
    return lines[0]
