"""`s1crets import`, `put` and `delete`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import COMMAND, run, told
from _support.wire import Wire, parameter, refusal

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-6e19"
DOTENV = """
# a comment
PLAIN=fake
QUOTED='two words'   # another
export MANY="line
line"
DOLLARS="${HOME}"
"""
SETTINGS = {"PLAIN": "fake", "QUOTED": "two words", "MANY": "line\nline", "DOLLARS": "${HOME}"}


def stored(ssm: Any, top: str) -> dict[str, str]:
    """Return what another client sees."""
    found = ssm.get_parameters_by_path(Path=top, WithDecryption=True)["Parameters"]
    return {one["Name"].removeprefix(top + "/"): one["Value"] for one in found}


def test_a_dotenv_file(ssm: Any, top: str, tmp_path: Path) -> None:
    """Each setting is a parameter of its own, as written: nothing is expanded."""
    file = tmp_path / ".env"
    file.write_text(DOTENV)
    command = ["import", "--provider", "aws.ps", str(file), top]
    dry = run(*command, "--dry-run")
    assert dry.stdout.decode().splitlines() == [f"create\t{top}/{name}" for name in SETTINGS]
    assert stored(ssm, top) == {}
    done = run(*command)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [f"created\t{top}/{name}" for name in SETTINGS]
    assert stored(ssm, top) == SETTINGS
    file.write_text(DOTENV.replace("fake", "fake-new"))
    again = run(*command)
    assert again.stdout.decode().splitlines() == [
        f"{'updated' if name == 'PLAIN' else 'unchanged'}\t{top}/{name}" for name in SETTINGS
    ]
    assert stored(ssm, top) == {**SETTINGS, "PLAIN": "fake-new"}


def test_a_json_file(asm: Any, top: str, tmp_path: Path) -> None:
    """Text is stored as it is, objects and arrays as JSON; the same value is left alone."""
    file = tmp_path / "settings.json"
    file.write_text('{"text": "fake ä", "object": {"a": ["ä"]}}')
    for verb in ("created", "unchanged"):
        done = run("import", str(file), top[1:])
        assert done.stdout.decode() == f"{verb}\t{top[1:]}/text\n{verb}\t{top[1:]}/object\n"
    assert asm.get_secret_value(SecretId=f"{top[1:]}/text")["SecretString"] == "fake ä"
    found = asm.get_secret_value(SecretId=f"{top[1:]}/object")["SecretString"]
    assert json.loads(found) == {"a": ["ä"]}


def test_from_stdin(ssm: Any, top: str) -> None:
    """With the format that was said."""
    data = b'{"a": "fake"}'
    run("import", "--provider", "aws.ps", "--format", "json", "-", top + "/", stdin=data)
    run("import", "--provider", "aws.ps", "-", top, stdin=b"b=fake")

    assert stored(ssm, top) == {"a": "fake", "b": "fake"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", f'["{CANARY}"]', "not a JSON object"),
        ("a.json", f'{{"a": "{CANARY}"', "not a JSON object"),
        ("a.json", f'{{"{CANARY[:6]}": 5, "b": null}}', "canary (int), b (NoneType)"),
        ("a.json", "{}", "nothing to import"),
        ("a.json", '{"a\\nb": "y"}', "can't be a name"),
        ("a.json", '{"": "x"}', "has no name"),
        (".env", f"A=fine\nB {CANARY}", "line 2"),
        (".env", "A=fine\n'B", "line 2"),
        (".env", "A=", "has no value"),
        (".env", "# nothing", "nothing to import"),
        (".env", b"A=\xff", "it is not UTF-8"),
    ],
)
def test_a_file_that_cant_be_imported(
    scripted: Wire, tmp_path: Path, name: str, content: Any, words: str
) -> None:
    """Is told before anything is asked or written, without its content."""
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run("import", "--provider", "aws.ps", str(file), "/top")

    assert done.returncode == 2
    assert words in told(done)
    assert CANARY.encode() not in done.stderr
    assert scripted.asked == []


def test_stdin_that_is_no_text(scripted: Wire) -> None:
    """The same."""
    done = run("import", "--provider", "aws.ps", "-", "/top", stdin=b"A=\xff")

    assert done.returncode == 2
    assert "not UTF-8" in told(done)


def test_a_file_that_is_not_there() -> None:
    """Exit code 2."""
    assert "No such file" in told(run("import", "/nothing/.env", "/top"))


def test_a_missing_parser_is_told() -> None:
    """With the extra that brings it."""
    script = (
        "import sys; sys.modules['dotenv.parser'] = None; import s1crets.cli; s1crets.cli.main()"
    )
    command = [sys.executable, "-c", script, "import", "-", "top"]
    done = subprocess.run(command, input=b"A=b", capture_output=True, timeout=60, check=False)

    assert done.returncode == 2
    assert b"s1crets[dotenv]" in done.stderr


def test_what_fails_is_listed_and_the_rest_is_done(scripted: Wire) -> None:
    """One line each, and the exit code of the first."""
    denied = refusal("AccessDeniedException")
    scripted.answers = {
        "GetParameters": {
            "Parameters": [{"Name": "/t/b", "Value": "old"}, {"Name": "/t/d", "Value": "same"}],
            "InvalidParameters": ["/t/c"],
        },
        "GetParameter": lambda asked: (
            denied if asked.body["Name"] == "/t/a" else parameter("x", "v")
        ),
        "DescribeParameters": {"Parameters": [{"Name": "/t/b", "Type": "String"}]},
        "PutParameter": lambda asked: denied if asked.body["Name"] == "/t/b" else {"Version": 1},
    }
    data = f"a={CANARY}\nb={CANARY}\nc={CANARY}\nd=same".encode()
    done = run("import", "--provider", "aws.ps", "-", "/t", stdin=data)

    assert done.returncode == 4
    assert done.stdout == b"created\t/t/c\nunchanged\t/t/d\n"
    lines = done.stderr.decode().splitlines()
    assert [line.split(": ")[1] for line in lines] == ["/t/a", "/t/b"]
    assert CANARY not in done.stderr.decode()
    assert [one["Name"] for one in scripted.bodies("PutParameter")] == ["/t/b", "/t/c"]


def test_a_terminal_sees_the_progress(ssm: Any, top: str) -> None:
    """On stderr, where that is one."""
    ours, theirs = pty.openpty()
    command = [COMMAND, "import", "--provider", "aws.ps", "-", top]
    done = subprocess.run(
        command, input=b"A=fake\nB=fake", stdout=-1, stderr=theirs, timeout=60, check=True
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)

    assert done.stdout.decode() == f"created\t{top}/A\ncreated\t{top}/B\n"
    assert "100%" in shown


def test_put(ssm: Any, top: str) -> None:
    """Creates, and updates."""
    for value in ("fake-1", "fake-2"):
        done = run("put", "--provider", "aws.ps", top, "-", stdin=value.encode())
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        found = ssm.get_parameter(Name=top, WithDecryption=True)["Parameter"]
        assert (found["Value"], found["Type"]) == (value, "SecureString")


def test_delete_asks(ssm: Any, top: str) -> None:
    """Unless it is told not to."""
    ssm.put_parameter(Name=top, Value="fake", Type="String")
    command = ["delete", "--provider", "aws.ps", top]
    assert run(*command, stdin=b"n\n").returncode == 1
    assert run(*command).returncode == 1
    assert run("exists", "--provider", "aws.ps", top).returncode == 0
    assert run(*command, stdin=b"y\n").returncode == 0
    assert run("exists", "--provider", "aws.ps", top).returncode == 1
    assert run(*command, "--yes").returncode == 3
