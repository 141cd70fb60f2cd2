"""Help: every command and option is documented, and the examples work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from _support.command import run, run_process

from s1crets import __version__
from s1crets.cli import main

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
printf '%s' "$TOKEN" > "$RECORD/token"
cat > "$RECORD/stdin"
"""


def recorded(line: str, folder: Path) -> tuple[list[str], bytes, str]:
    """Let a shell run a line; return what it passes to `s1crets`: arguments, stdin and $TOKEN."""
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
    return args, (folder / "stdin").read_bytes(), (folder / "token").read_text()


@pytest.mark.parametrize("line", examples())
def test_the_examples_work(
    ssm: Any, asm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """A shell parses each one, and the command succeeds with what the shell passes to it."""
    secrets = ["prod/token", "prod/db", "staging/token", "prod/old-token"]
    for name in secrets:
        asm.create_secret(Name=name, SecretString='{"password": "fake"}')
    for name, value in {"db/url": "fake", "db/hosts": '["a"]'}.items():
        ssm.put_parameter(Name=f"/prod/{name}", Value=value, Type="SecureString")
        ssm.put_parameter(Name=f"/staging/{name}", Value="other", Type="SecureString")
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("A=fake")
    Path("settings.json").write_text('{"a": "fake"}')
    Path("url.txt").write_text("fake")
    args, stdin, token = recorded(line, tmp_path)
    done = run(*args, stdin=stdin, TOKEN=token)

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


@pytest.mark.parametrize("args", [[], *([name] for name in COMMANDS)], ids=str)
def test_exit_codes_are_documented(args: list[str]) -> None:
    """In the help of every command that calls a provider."""
    text = run(*args, "-h").stdout.decode()

    assert ("Exit codes:" in text) is (args not in (["completion"], ["new-key"]))
    if "Exit codes:" in text:
        for line in ("1    `exists`: no", "3    not found", "4    access denied", "5    unreach"):
            assert line in text


def test_the_list_of_commands_is_complete() -> None:
    """Each command is on one line, with a summary that is not cut off."""
    lines = run("--help").stdout.decode().partition("Commands:\n")[2].splitlines()
    summaries = dict(re.findall(r"^  (\S+)\s+(\S.*)$", "\n".join(lines), re.MULTILINE))

    assert set(COMMANDS) <= set(summaries)
    assert not any(summaries[name].endswith("...") for name in COMMANDS)


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
