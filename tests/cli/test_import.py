"""`s1crets import`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import PS, error_of, run
from _support.wire import Wire, parameter, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
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
    """Return the parameters that another client sees under a path."""
    found = ssm.get_parameters_by_path(Path=top, WithDecryption=True)["Parameters"]
    return {one["Name"].removeprefix(top + "/"): one["Value"] for one in found}


def test_a_dotenv_file_is_stored_as_written(ssm: Any, top: str, tmp_path: Path) -> None:
    """Each variable becomes a parameter, without expansion; only changed ones are updated."""
    file = tmp_path / ".env"
    file.write_text(DOTENV)
    command = ["import", *PS, str(file), top]
    dry = run(*command, "--dry-run")
    assert dry.stdout.decode().splitlines() == [f"create\t{top}/{name}" for name in SETTINGS]
    assert stored(ssm, top) == {}
    done = run(*command)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [f"created\t{top}/{name}" for name in SETTINGS]
    assert stored(ssm, top) == SETTINGS
    file.write_text(DOTENV.replace("fake", "fake-new"))
    states = dict.fromkeys(SETTINGS, "unchanged")
    dry = run(*command, "--dry-run")
    assert dry.stdout.decode().splitlines() == [
        f"{state}\t{top}/{name}" for name, state in {**states, "PLAIN": "update"}.items()
    ]
    again = run(*command)
    assert again.stdout.decode().splitlines() == [
        f"{state}\t{top}/{name}" for name, state in {**states, "PLAIN": "updated"}.items()
    ]
    assert stored(ssm, top) == {**SETTINGS, "PLAIN": "fake-new"}


def test_a_json_file_is_stored_by_member(asm: Any, top: str, tmp_path: Path) -> None:
    """Text unchanged, objects and arrays as JSON; an equal value is left alone."""
    file = tmp_path / "settings.json"
    file.write_text('{"text": "fake ä", "object": {"a": ["ä"]}}')
    for verb in ("created", "unchanged"):
        done = run("import", str(file), top[1:])
        assert done.stdout.decode() == f"{verb}\t{top[1:]}/text\n{verb}\t{top[1:]}/object\n"
    assert asm.get_secret_value(SecretId=f"{top[1:]}/text")["SecretString"] == "fake ä"
    found = asm.get_secret_value(SecretId=f"{top[1:]}/object")["SecretString"]
    assert json.loads(found) == {"a": ["ä"]}


def test_stdin_is_a_file_too(ssm: Any, top: str) -> None:
    """`-` is dotenv unless `--format` says otherwise."""
    run("import", *PS, "--format", "json", "-", top + "/", stdin=b'{"a": "fake"}')
    run("import", *PS, "-", top, stdin=b"b=fake")

    assert stored(ssm, top) == {"a": "fake", "b": "fake"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", f'["{CANARY}"]', "not a JSON object"),
        ("a.json", f'{{"a": "{CANARY}"', "not a JSON object"),
        ("a.json", f'{{"{CANARY[:6]}": 5, "b": null}}', "canary (int), b (NoneType)"),
        ("a.json", "{}", "nothing to import"),
        ("a.json", '{"a\\nb": "y"}', "control characters"),
        ("a.json", '{"": "x"}', "has no name"),
        (".env", f"A=fine\nB {CANARY}", "line 2"),
        (".env", "A=fine\n'B", "line 2"),
        (".env", "A=", "has no value"),
        (".env", "# nothing", "nothing to import"),
        (".env", b"A=\xff", "it is not UTF-8"),
    ],
)
def test_an_invalid_file_is_rejected(
    scripted: Wire, tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    """Before AWS is called. The message does not show the content."""
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run("import", *PS, str(file), "/top")

    assert done.returncode == 2
    assert words in error_of(done)
    assert CANARY.encode() not in done.stderr
    assert scripted.asked == []


def test_a_file_that_cannot_be_read_is_rejected() -> None:
    """A missing file, and stdin that is not text."""
    missing = run("import", *PS, "/nothing/.env", "/top")
    binary = run("import", *PS, "-", "/top", stdin=b"A=\xff")

    assert (missing.returncode, binary.returncode) == (2, 2)
    assert "'/nothing/.env' can't be read: No such file" in error_of(missing)
    assert "stdin can't be read: it is not UTF-8" in error_of(binary)


def test_a_missing_dotenv_parser_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint names the extra that installs it."""
    monkeypatch.setitem(sys.modules, "dotenv.parser", None)
    done = run("import", "-", "top", stdin=b"A=b")

    assert done.returncode == 2
    assert "  hint: pip install 's1crets[dotenv]'" in error_of(done)


def test_failures_do_not_stop_an_import(scripted: Wire) -> None:
    """Each failure has a line and the rest is stored; the first one decides the exit code."""
    denied = refusal("AccessDeniedException")
    scripted.answers = {
        "GetParameters": {
            "Parameters": [{"Name": "/t/b", "Value": "old"}, {"Name": "/t/d", "Value": "same"}],
            "InvalidParameters": ["/t/c"],
        },
        "GetParameter": lambda asked: (
            denied if asked.body["Name"] == "/t/a" else parameter(asked.body["Name"], "v")
        ),
        "DescribeParameters": {"Parameters": [{"Name": "/t/b", "Type": "String"}]},
        "PutParameter": lambda asked: denied if asked.body["Name"] == "/t/b" else {"Version": 1},
    }
    data = f"a={CANARY}\nb={CANARY}\nc={CANARY}\nd=same".encode()
    done = run("import", *PS, "-", "/t", stdin=data)

    assert done.returncode == 4
    assert done.stdout == b"created\t/t/c\nunchanged\t/t/d\n"
    lines = done.stderr.decode().splitlines()
    assert [line.split(": ")[:2] for line in lines[:2]] == [
        ["s1crets", "/t/a"], ["s1crets", "/t/b"],
    ]  # fmt: skip
    assert all(line.startswith("  hint: ") for line in lines[2:])
    assert CANARY not in done.stderr.decode()
    assert [one["Name"] for one in scripted.bodies("PutParameter")] == ["/t/b", "/t/c"]


def test_a_terminal_shows_the_progress(
    top: str, tmp_path: Path, on_terminal: Callable[..., str]
) -> None:
    """On stderr, so stdout stays the list of names."""
    (tmp_path / ".env").write_text("A=fake\nB=fake")

    assert "100%" in on_terminal("stderr", "import", *PS, str(tmp_path / ".env"), top)
