"""Output: tables on terminals, lines and JSON elsewhere, and a stdout that can't be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import COMMAND, PS, contained
from hypothesis import given
from hypothesis import strategies as st

from s1crets.cli import main
from s1crets.cli._output import as_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import TextIOWrapper


def test_rows_are_a_table_on_a_terminal(
    ssm: Any, top: str, on_terminal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header is bold, unless NO_COLOR is set."""
    ssm.put_parameter(Name=f"{top}/a", Value="fake", Type="String")
    header, row = on_terminal("stdout", "list", *PS, top).splitlines()
    assert header.startswith("\033[1mname ")
    assert row.startswith(f"{top}/a  String")
    monkeypatch.setenv("NO_COLOR", "1")
    assert on_terminal("stdout", "list", *PS, top).startswith("name ")


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(st.text("ab 漢é\u0301", max_size=6), min_size=width, max_size=width),
            min_size=1,
        )
    )
)
def test_a_table_has_every_cell(rows: list[list[str]]) -> None:
    """Each row is one line, with its cells in order."""
    header, *others = rows
    lines = as_table(header, others).splitlines()

    assert [line.split() for line in lines] == [" ".join(row).split() for row in rows]


def test_columns_are_aligned_on_a_terminal() -> None:
    """Wide characters take two places, combining characters none."""
    table = as_table(("a", "b"), (("漢字", "x"), ("abcd", "y"), ("é\u0301", "z")))

    assert table == "a     b\n漢字  x\nabcd  y\né\u0301     z\n"


@pytest.fixture
def no_reader() -> TextIOWrapper:
    """Return a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


FULL = b"s1crets: can't write to stdout: No space left on device\n"
CLOSED = b"s1crets: can't write to stdout: it is closed\n"


def test_a_process_whose_reader_is_gone_is_silent(asm: Any, top: str, no_reader: Any) -> None:
    """As in `s1crets get … | head`, also when the interpreter exits."""
    asm.create_secret(Name=top, SecretString="fake")
    with no_reader:
        done = subprocess.run(
            [COMMAND, "get", top], stdout=no_reader, stderr=-1, check=False, timeout=60
        )

    assert (done.returncode, done.stderr) == (7, b"")


@pytest.mark.parametrize(("stdout", "stderr"), [("> /dev/full", FULL), (">&-", CLOSED)])
def test_a_process_that_cannot_write_says_so_once(
    asm: Any, top: str, stdout: str, stderr: bytes
) -> None:
    """Exit code 7, since 1 would be a "no", and nothing more when the interpreter exits."""
    asm.create_secret(Name=top, SecretString="fake")
    command = ["/bin/sh", "-c", f"{COMMAND} get {top} {stdout}"]
    done = subprocess.run(command, stderr=-1, check=False, timeout=60)

    assert done.returncode == 7
    assert done.stderr == stderr


@pytest.mark.parametrize("command", ["new-key", "completion bash"])
@pytest.mark.parametrize(
    ("stdout", "stderr"), [("/dev/full", FULL), ("closed", CLOSED), ("no reader", b"")]
)
def test_commands_without_a_provider_report_it_too(
    command: str, stdout: str, stderr: bytes, no_reader: TextIOWrapper, capfdbinary: Any
) -> None:
    """With the same messages and the same exit code."""
    with Path("/dev/full").open("w") as full, no_reader, contained():
        file = {"/dev/full": full, "closed": None, "no reader": no_reader}[stdout]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", file)
            with pytest.raises(SystemExit) as exited:
                main(command.split(), "s1crets")

    assert exited.value.code == 7
    assert capfdbinary.readouterr().err == stderr
