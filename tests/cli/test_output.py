"""Output: tables on terminals, lines and JSON elsewhere, and a stdout that can't be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import COMMAND, PS, contained, run
from _support.wire import Wire, refusal
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


# The start of an escape sequence, in seven and in eight bits, a bell, a character that reverses
# the direction of the text, a line separator, an invisible tag.
HOSTILE = "a\x1b[31m\x9b2J\x07\u202eb\u2028\U000e0041\r"
ESCAPED = "a\\u001b[31m\\u009b2J\\u0007\\u202eb\\u2028\\udb40\\udc41\\u000d"
HOSTILE_JSON = json.dumps(HOSTILE, ensure_ascii=False)[1:-1]
HOSTILE_NAME = f"/p/{HOSTILE}/n"


@pytest.fixture
def hostile(scripted: Wire) -> Wire:
    """An AWS whose names, values and errors have control characters."""
    found = {"Name": HOSTILE_NAME, "Value": f"{HOSTILE}\n\t[", "Type": HOSTILE}
    scripted.answers = {
        "DescribeParameters": {"Parameters": [found]},
        "GetParametersByPath": lambda asked: {
            "Parameters": [found] if asked.body["Path"] == "/p" else []
        },
        "GetParameter": lambda asked: (
            {"Parameter": {**found, "Name": asked.body["Name"]}}
            if asked.body["Name"] == "/x"
            else refusal("InternalServerError", f"no {HOSTILE}", 500)
        ),
        "GetSecretValue": {"Name": "x", "SecretBinary": "/wD+Gw=="},
    }
    return scripted


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("list", 0, ESCAPED),
        ("list --output text", 0, ESCAPED),
        ("list --output json", 0, ESCAPED.replace("\\u000d", "\\r")),
        ("get /x", 0, f"{ESCAPED}\n\t["),
        ("get-by-path /p", 0, ESCAPED.replace("\\u000d", "\\r")),
        ("export --secret /x --format dotenv", 0, ESCAPED.removesuffix("\\u000d")),
        ("check --secret /nope", 5, "error"),
        ("diff /p /x --show", 1, ESCAPED),
    ],
)
@pytest.mark.usefixtures("no_colour")
def test_nothing_on_a_terminal_is_an_instruction_to_it(
    hostile: Wire,
    on_terminal: Callable[..., str],
    command: str,
    code: int,
    words: str,
) -> None:
    """Control and bidirectional characters of names and values are escaped; JSON stays valid."""
    shown = on_terminal("stdout", *command.split(), *PS, code=code)

    assert words in shown
    assert [c for c in shown if not c.isprintable() and c not in "\n\t"] == []
    if "json" in command or "by-path" in command:
        assert HOSTILE_JSON in json.dumps(json.loads(shown), ensure_ascii=False)


def test_binary_secrets_are_escaped_on_a_terminal(
    hostile: Wire, on_terminal: Callable[..., str]
) -> None:
    """Bytes that are not UTF-8 too."""
    assert on_terminal("stdout", "get", "x") == "\\xff\\u0000\\xfe\\u001b"
    assert hostile.count("GetSecretValue") == 1


@pytest.mark.parametrize("command", ["list", "list --output table", "get /x", "get-by-path /p"])
def test_output_to_a_pipe_is_not_modified(hostile: Wire, command: str) -> None:
    """Programs get what AWS sent."""
    output = run(*command.split(), *PS).stdout.decode()

    assert (HOSTILE_JSON if "by-path" in command else HOSTILE) in output
    assert hostile.calls


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("get /nope", 5, "/nope"),
        (f"list --{HOSTILE}", 2, "no such option"),
        (f"list a {HOSTILE}", 2, ESCAPED.partition("\\u2028")[0]),
        (f"check ./{HOSTILE}", 2, "can't be read"),
        (f"exec --secret /x -- ./{HOSTILE}", 127, "can't run"),
    ],
)
def test_errors_on_a_terminal_are_readable(
    hostile: Wire, on_terminal: Callable[..., str], command: str, code: int, words: str
) -> None:
    """AWS's messages, and arguments, which a shell may have made from names of files."""
    verb, *args = command.split(" ")
    shown = on_terminal("stderr", verb, *PS, *args, code=code)

    assert words in shown
    assert [c for c in shown if not c.isprintable() and c != "\n"] == []
    assert hostile


def test_warnings_on_a_terminal_are_readable(
    hostile: Wire, on_terminal: Callable[..., str], tmp_path: Path
) -> None:
    """As errors are: such as one that names the folder of a damaged cache."""
    folder = tmp_path / HOSTILE
    (folder / "keys").mkdir(parents=True, mode=0o700)
    (folder / "keys" / "cache.db").write_bytes(b"garbage" * 1000)
    folder.chmod(0o700)
    shown = on_terminal("stderr", "get", *PS, "/x", "--cache-dir", str(folder))

    assert shown.startswith("s1crets: the disk cache in ")
    assert "\\u001b[31m" in shown
    assert [c for c in shown if not c.isprintable() and c != "\n"] == []
    assert hostile


@pytest.fixture
def no_reader() -> TextIOWrapper:
    """Return a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


FULL = b"s1crets: can't write to stdout: No space left on device\n"
CLOSED = b"s1crets: can't write to stdout: it is closed\n"


def test_a_process_whose_reader_is_gone_is_silent(
    in_a_file: tuple[str, ...], no_reader: Any
) -> None:
    """As in `s1crets get … | head`, also when the interpreter exits."""
    with no_reader:
        done = subprocess.run(
            [COMMAND, "get", *in_a_file], stdout=no_reader, stderr=-1, check=False, timeout=60
        )

    assert (done.returncode, done.stderr) == (7, b"")


@pytest.mark.parametrize(("stdout", "stderr"), [("> /dev/full", FULL), (">&-", CLOSED)])
def test_a_process_that_cannot_write_says_so_once(
    in_a_file: tuple[str, ...], stdout: str, stderr: bytes
) -> None:
    """Exit code 7, since 1 would be a "no", and nothing more when the interpreter exits."""
    command = ["/bin/sh", "-c", f"{COMMAND} get {' '.join(in_a_file)} {stdout}"]
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
