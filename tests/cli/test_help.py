"""Help: every command and option is documented, and the examples work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from _support.command import error_of, run, run_process

from s1crets import __version__
from s1crets.cli import main
from s1crets.cli.formats import FORMATS

if TYPE_CHECKING:
    from s1crets.testing import LoopbackAws

README = Path(__file__).parents[2].joinpath("README.md").read_text("utf-8")
README_SEED = json.loads(README.partition("echo '")[2].partition("' > secrets.json")[0])
COMMANDS = sorted(main.commands)


def examples() -> list[Any]:
    """Return the examples in all help texts."""
    found = []
    for name, command in [("s1crets", main), *main.commands.items()]:
        text = (command.help or "").partition("Examples:\n")[2]
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        assert lines, name
        found += [pytest.param(line, id=line[:60]) for line in lines if "COMMAND" not in line]
    return found


RECORDER = """#!/bin/sh
printf '%s\\0' "$@" > "$RECORD/args"
printf '%s' "$API_KEY" > "$RECORD/key"
cat > "$RECORD/stdin"
"""


def recorded(line: str, folder: Path) -> tuple[list[str], bytes, str]:
    """Let a shell run a line; return what it passes to `s1crets`: arguments, stdin and $API_KEY."""
    stub = folder / "bin" / "s1crets"
    stub.parent.mkdir()
    stub.write_text(RECORDER)
    stub.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{stub.parent}:{os.environ['PATH']}",
        "RECORD": str(folder),
    }
    subprocess.run(
        ["/bin/sh", "-c", line], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, timeout=60, check=True,
    )  # fmt: skip
    args = (folder / "args").read_text().split("\0")[:-1]
    return args, (folder / "stdin").read_bytes(), (folder / "key").read_text()


@pytest.mark.parametrize("line", examples())
def test_the_examples_work(
    s1crets_aws: LoopbackAws, asm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """A shell parses each one, and the command succeeds, with the secrets of the README."""
    s1crets_aws.seed(README_SEED)
    s1crets_aws.seed({"aws.ps": {"/staging/log-level": "DEBUG"}})  # the other one of `diff`
    asm.put_secret_value(SecretId="prod/api-key", SecretString="fake-2")
    if " restore " in line:
        asm.delete_secret(SecretId="prod/api-key")
    monkeypatch.chdir(tmp_path)
    Path("cache").mkdir(mode=0o700)
    Path(".env").write_text("A=fake")
    Path("settings.json").write_text('{"a": "fake"}')
    for name in ("key.txt", "level.txt"):
        Path(name).write_text("fake")
    args, stdin, key = recorded(line, tmp_path)
    done = run(*args, stdin=stdin, API_KEY=key)

    assert done.returncode == (1 if args[0] == "diff" else 0), done.stderr
    assert done.stderr == b""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    """With examples and all of its options."""
    text = run(name, "--help").stdout.decode()

    assert "Examples:" in text
    for option in main.commands[name].params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.opts[0] in text


def test_every_format_of_export_is_explained() -> None:
    """The list would not fit a terminal, so the help has them by hand."""
    (option,) = (one for one in main.commands["export"].params if one.name == "form")
    assert isinstance(option, click.Option)
    assert option.help

    assert set(re.findall(r"(?:^|[;,] )([a-z-]+)(?=[:;,])", option.help)) == set(FORMATS)


@pytest.mark.parametrize("args", [("--help",), ("help",), ("help", "exit-codes")], ids=str)
def test_exit_codes_and_variables_are_documented_once(args: tuple[str, ...]) -> None:
    """In the help of the command itself, and in a topic, which all other help texts name."""
    text = run(*args).stdout.decode()

    for line in ("1    `exists`: no", "3    not found", "4    access denied", "5    unreach"):
        assert line in text
    for name in ("S1CRETS_PROVIDER", "S1CRETS_CACHE_KEY", "NO_COLOR", "AWS_PROFILE"):
        assert f"  {name}" in text
    others = [run(name, "--help").stdout.decode() for name in COMMANDS]
    assert not any("not found\n" in other for other in others)
    assert sum("s1crets help exit-codes" in other for other in others) >= len(COMMANDS) - 2


def test_help_is_a_command_too() -> None:
    """With the same text as the option."""
    assert run("help").stdout == run("--help").stdout
    assert run("help", "get").stdout == run("get", "-h").stdout
    unknown = run("help", "nothing")
    assert unknown.returncode == 2
    assert error_of(unknown) == (
        "s1crets: there is no help on 'nothing'\n  hint: try s1crets --help"
    )


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("args", [("--help",), *((name, "--help") for name in COMMANDS)], ids=str)
def test_help_fits_the_terminal(args: tuple[str, ...], columns: int) -> None:
    """Also what is not wrapped: examples, exit codes."""
    lines = run(*args, COLUMNS=str(columns)).stdout.decode().splitlines()

    assert max(map(len, lines)) <= columns


def test_the_list_of_commands_is_complete() -> None:
    """Each command has its whole summary, on one line in 80 columns."""
    lines = run("--help").stdout.decode().partition("Commands:\n")[2].partition("\n\n")[0]
    summaries = dict(re.findall(r"^  (\S+)\s+(\S.*)$", lines, re.MULTILINE))

    assert summaries == {
        name: (command.short_help or command.help or "").partition("\n")[0]
        for name, command in main.commands.items()
    }


def test_help_does_not_import_the_sdk_or_the_cache() -> None:
    """They would make `--help` and shell completion slow."""
    done = run_process("--help", PYTHONPROFILEIMPORTTIME="1")
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}

    assert done.returncode == 0
    assert "click" in modules
    heavy = {"aiobotocore", "botocore", "aiohttp", "aiocache", "diskcache", "redis", "cryptography"}
    assert heavy & modules == set()


def test_the_command_is_also_a_module() -> None:
    """`python -m s1crets` is the same."""
    done = subprocess.run(
        [sys.executable, "-m", "s1crets", "--version"], stdout=-1, text=True, check=True
    )

    assert done.stdout == f"s1crets, version {__version__}\n"


CHAMBER = [
    "write", "read", "list", "list-services", "exec", "env", "export", "import", "history", "find",
    "delete",
]  # fmt: skip


def test_the_documentation_maps_each_command_of_chamber() -> None:
    """To commands and options that exist."""
    page = Path(__file__).parents[2].joinpath("docs/reference/command.md").read_text("utf-8")
    table = page.partition("## Coming from chamber")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)[^|]*\| (.*) \|$", table, re.MULTILINE)

    assert [theirs for theirs, _ in rows] == CHAMBER
    for _, ours in rows:
        (verb,) = set(re.findall(r"`s1crets ([\w-]+)", ours)) - {"get-by-path"}
        options = {name for one in main.commands[verb].params for name in one.opts}
        named = set(
            re.findall(r"`[^`]*?(--[\w-]+)", ours.replace("--path /service -- CMD", "--path"))
        )
        assert named - options <= {"--quiet", "--version", "--expand", "--by-value"}  # chamber's
