"""`s1crets update`, `put`, `delete` and `new-key`."""

from __future__ import annotations

import base64
import io
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import PS, contained, error_of, run
from _support.wire import refusal

from s1crets.cli import main

if TYPE_CHECKING:
    from _support.wire import Wire

CANARY = "canary-3d51"


@pytest.mark.parametrize(
    ("stdin", "stored"),
    [(b"fake\n", "fake"), (b"fake\n\n", "fake\n"), (b"fake", "fake"), (b'{"a": 1}\n', '{"a": 1}')],
)
def test_update_reads_the_value_from_stdin(asm: Any, top: str, stdin: bytes, stored: str) -> None:
    """`-` keeps the value out of the shell's history; one newline at its end is dropped."""
    asm.create_secret(Name=top, SecretString="old")
    done = run("update", top, "-", stdin=stdin)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert asm.get_secret_value(SecretId=top)["SecretString"] == stored


def test_update_stores_stdin_that_is_not_text_as_bytes(asm: Any, top: str) -> None:
    """All bytes are kept, also a newline at the end."""
    asm.create_secret(Name=top, SecretBinary=b"old")
    run("update", top, "-", stdin=b"\xff\x00\n")

    assert asm.get_secret_value(SecretId=top)["SecretBinary"] == b"\xff\x00\n"


@pytest.mark.parametrize("command", ["put", "update", "import"])
@pytest.mark.parametrize(
    ("stdin", "problem"), [(None, "it is closed"), (os.O_WRONLY, "Bad file descriptor")]
)
def test_stdin_that_can_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    stdin: int | None,
    problem: str,
) -> None:
    """Closed with `<&-`, or a file that was opened for writing."""
    arguments = ["-", "/a"] if command == "import" else ["/a", "-"]
    file = None if stdin is None else os.fdopen(os.open(os.devnull, stdin))
    monkeypatch.setattr(sys, "stdin", file)
    with contained(), pytest.raises(SystemExit) as exited:
        main([command, *PS, *arguments])
    if file:
        file.close()

    assert exited.value.code == 2
    assert capsys.readouterr() == ("", f"s1crets: stdin can't be read: {problem}\n")


def test_ctrl_c_while_stdin_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell's exit code, not click's 1, which is the "no" of `exists`."""

    class Interrupted(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted()))
    with contained(), pytest.raises(SystemExit) as exited:
        main(["put", *PS, "/a", "-"])

    assert exited.value.code == 130


def test_update_takes_the_value_as_an_argument(ssm: Any, top: str) -> None:
    """For settings that are not secret."""
    ssm.put_parameter(Name=top, Value="old", Type="String")
    done = run("update", *PS, top, "new")

    assert done.returncode == 0
    assert ssm.get_parameter(Name=top)["Parameter"]["Value"] == "new"


def test_put_creates_and_updates(ssm: Any, top: str) -> None:
    """A new parameter is a SecureString."""
    for value in ("fake-1", "fake-2"):
        done = run("put", *PS, top, "-", stdin=value.encode())
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        found = ssm.get_parameter(Name=top, WithDecryption=True)["Parameter"]
        assert (found["Value"], found["Type"]) == (value, "SecureString")


def test_a_value_that_aws_rejects_is_not_shown(scripted: Wire) -> None:
    """AWS's message may repeat the value; the command's does not."""
    scripted.answers["PutSecretValue"] = refusal("ValidationException", f"'{CANARY}' is wrong")
    done = run("update", "name", "-", stdin=CANARY.encode())

    assert done.returncode == 2
    assert CANARY not in error_of(done)


@pytest.mark.parametrize(
    "args",
    [
        ("name", "fake", CANARY),
        ("name", "--", "fake", CANARY),
        ("name", f"--{CANARY}"),
        ("name", f"-{CANARY}"),
        ("name", "value", "--region"),
        ("name", CANARY, "--provider", "x"),
        (CANARY + "\n", CANARY),
        ("name", "value", f"--help={CANARY}"),
    ],
)
@pytest.mark.parametrize("verb", ["put", "update"])
def test_a_wrong_command_line_is_not_repeated(verb: str, args: tuple[str, ...]) -> None:
    """It may contain the value: unquoted, or starting with a dash."""
    done = run(verb, *args)
    words = (done.stdout + done.stderr).decode()

    assert done.returncode == 2
    assert CANARY not in words.replace(f"{CANARY}\\n", "")  # this is the name


def test_delete_asks_for_confirmation(ssm: Any, top: str) -> None:
    """Without a yes, nothing is deleted; `--yes` does not ask."""
    ssm.put_parameter(Name=top, Value="fake", Type="String")
    command = ["delete", *PS, top]

    assert run(*command, stdin=b"n\n").returncode == 1
    assert run(*command).returncode == 1
    assert ssm.get_parameter(Name=top)["Parameter"]["Value"] == "fake"
    asked = run(*command, stdin=b"y\n")
    assert (asked.returncode, asked.stdout) == (0, b"")
    assert f"Delete {top}?".encode() in asked.stderr
    assert run("exists", *PS, top).returncode == 1
    assert run(*command, "--yes").returncode == 3


def test_new_key_prints_another_key_each_time() -> None:
    """32 bytes in base64, as S1CRETS_CACHE_KEY expects them."""
    keys = {run("new-key").stdout for _ in range(2)}

    assert [len(base64.b64decode(key, validate=False)) for key in keys] == [32, 32]
