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

    from s1crets.testing import LoopbackAws

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


def test_json_is_stored_as_it_is_written(asm: Any, top: str) -> None:
    """No digit changes. It is updated unless the content is the same, digit by digit."""
    texts = {"a": '{"x" : 1e400, "y":[12345678901234567890.10]}', "b": "[ ]", "c": "{}"}

    def imported(members: dict[str, str]) -> list[str]:
        data = " , ".join(f'"{name}" : {text}' for name, text in members.items())
        done = run("import", "--format", "json", "-", top[1:], stdin=f" {{ {data} }} ".encode())
        assert done.stderr == b""
        return [line.split("\t")[0] for line in done.stdout.decode().splitlines()]

    def secret(name: str) -> str:
        found: str = asm.get_secret_value(SecretId=f"{top[1:]}/{name}")["SecretString"]
        return found

    assert imported(texts) == ["created"] * 3
    assert {name: secret(name) for name in texts} == texts
    same = {"a": '{"y":[12345678901234567890.10],"x":1e400}', "b": "[]"}
    assert imported(same) == ["unchanged"] * 2
    for other in ("[1]", "[true]", "[1.0]", "[1.00]"):
        assert imported({"b": other}) == ["updated"]
        assert secret("b") == other


def test_an_exported_dotenv_file_can_be_imported(asm: Any, ssm: Any, top: str) -> None:
    """With the same values."""
    values = ["it's `$x`", "`", "'`${V1}`", "a\\\r\n'$", "${HOME}", ' "#x ', "\\`"]
    for number, value in enumerate(values):
        asm.create_secret(Name=f"{top}/V{number}", SecretString=value)
    exported = run("export", "--path", top, "--format", "dotenv").stdout
    done = run("import", *PS, "-", top, stdin=exported)

    assert (done.returncode, done.stderr) == (0, b"")
    assert stored(ssm, top) == {f"V{number}": value for number, value in enumerate(values)}


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
        ("a.json", f'{{"{CANARY[:6]}": 5, "b": null}}', "b' has no value"),
        ("a.json", '{"/prod/a": "x", "b": "y"}', "unlike '/prod/a'"),
        ("a.json", '{"a": NaN, "b": {"x": [-Infinity]}}', "a (NaN is not JSON), b (-Infinity is"),
        ("a.json", f'{{"a": "{CANARY}", "b": true, "a": "x"}}', "imported: a (it occurs twice)"),
        ("a.json", f'{{"a": [{{"{CANARY}": 1, "{CANARY}": 2}}]}}', "a (an object in it has a key"),
        ("a.json", "{}", "nothing to import"),
        ("a.json", '{"a\\nb": "y"}', "control characters"),
        ("a.json", '{"": "x"}', "has no name"),
        (".env", f"A=fine\nB {CANARY}", "line 2"),
        (".env", "A=fine\n'B", "line 2"),
        (".env", "A=", "has no value"),
        (".env", f"A={CANARY}\nB=x\nA={CANARY}", "line 3 of the input sets A again"),
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
    assert "or - for stdin" in error_of(missing)
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
    bars: None, top: str, tmp_path: Path, on_terminal: Callable[..., str]
) -> None:
    """On stderr, so stdout stays the list of names. The bar is gone at the end."""
    (tmp_path / ".env").write_text("A=fake\nB=fake")
    shown = on_terminal("stderr", "import", *PS, str(tmp_path / ".env"), top)

    assert "import  [" in shown
    assert "2/2" in shown
    assert shown.endswith("\r\033[K\033[?25h")


def test_numbers_and_booleans_are_stored_as_written(ssm: Any, top: str) -> None:
    """No digit changes."""
    text = b'{"a": 1.50, "b": true, "c": 12345678901234567890, "d": "", "e": null, "f": "x"}'
    done = run("import", *PS, "--format", "json", "--skip-empty", "-", top, stdin=text)

    assert done.returncode == 0, done.stderr
    assert stored(ssm, top) == {"a": "1.50", "b": "true", "c": "12345678901234567890", "f": "x"}


def test_empty_settings_can_be_left_out(ssm: Any, top: str) -> None:
    """Otherwise they are an error, whose hint names the option."""
    rejected = run("import", *PS, "-", top, stdin=b"A=\nB=x")
    assert rejected.returncode == 2
    assert "--skip-empty" in error_of(rejected)
    assert run("import", *PS, "-", top, "--skip-empty", stdin=b"A=\nB=x").returncode == 0
    assert stored(ssm, top) == {"B": "x"}


@pytest.mark.parametrize("provider", ["aws.ps", "aws.sm"])
def test_what_get_by_path_prints_can_be_imported(
    s1crets_aws: LoopbackAws, top: str, provider: str
) -> None:
    """With relative names; full ones are rejected, and the hint names the option."""
    path = top if provider == "aws.ps" else top[1:]
    values = {"url": "fake", "sub/token": '{"a": 1.0}'}
    s1crets_aws.seed({provider: {f"{path}/a/{name}": text for name, text in values.items()}})
    relative = run("-p", provider, "get-by-path", "--relative", f"{path}/a").stdout
    full = run("-p", provider, "get-by-path", f"{path}/a").stdout
    command = ("import", "-p", provider, "--format", "json", "-")
    done = run(*command, f"{path}/b", stdin=relative)
    assert (done.returncode, done.stderr) == (0, b"")
    rejected = run(*command, f"{path}/a", stdin=full)
    assert rejected.returncode == 2
    assert "get-by-path --relative" in error_of(rejected)
    found = json.loads(run("-p", provider, "get-by-path", "--relative", f"{path}/b").stdout)
    assert found == {"url": "fake", "sub/token": {"a": 1.0}}


def test_rows_are_json_on_request(top: str) -> None:
    """With the columns as keys."""
    done = run("import", *PS, "-o", "json", "--dry-run", "-", top, stdin=b"A=x")

    assert json.loads(done.stdout) == [{"state": "create", "name": f"{top}/A"}]
