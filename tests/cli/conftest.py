"""Shared fixtures of the command's tests."""

from __future__ import annotations

import os
import pty
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from _support.command import FakeProvider, contained

from s1crets.cli import _output, main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show no progress bars, which depend on the time that a test takes."""
    monkeypatch.setattr(_output, "DELAY", float("inf"))


@pytest.fixture
def bars(_no_bars: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show progress bars at once."""
    monkeypatch.setattr(_output, "DELAY", 0)


@pytest.fixture
def no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn colours off."""
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the command with a pseudo-terminal as stdout or stderr; return the text it shows."""

    def run_on_terminal(stream: str, *args: str, code: int = 0) -> str:
        ours, theirs = pty.openpty()
        try:
            with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch, contained():
                patch.setattr(sys, stream, terminal)
                with pytest.raises(SystemExit) as exited:
                    main(args, "s1crets")
            assert exited.value.code == code
            shown = b""
            with suppress(OSError):  # Linux' way to say that all has been read
                while chunk := os.read(ours, 65536):
                    shown += chunk
            return shown.decode().replace("\r\n", "\n")
        finally:
            os.close(ours)

    return run_on_terminal


@pytest.fixture
def fake_provider(monkeypatch: pytest.MonkeyPatch) -> type[FakeProvider]:
    """Let every provider's name stand for one that fails as the test says."""
    monkeypatch.setattr(FakeProvider, "error", RuntimeError(), raising=False)
    monkeypatch.setattr("s1crets.cli._options.provider_class", lambda _: FakeProvider)
    return FakeProvider


@pytest.fixture
def in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Return the arguments of `get` for a secret in a file.

    A process that reads it imports no SDK, and takes a quarter of the time.
    """
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "name").write_text("fake")
    monkeypatch.setenv("S1CRETS_FILES", str(folder))
    return ("name", "--provider", "files")
