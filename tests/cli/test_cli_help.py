"""What the command says of itself: help, examples that run, completion."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from _support.command import COMMAND, run

from s1crets import __version__
from s1crets.cli import main

COMMANDS = sorted(main.commands)
BIN = str(Path(COMMAND).parent)


def examples() -> list[Any]:
    """Return each example of a help text."""
    found = []
    for name, command in [("s1crets", main), *main.commands.items()]:
        text = (command.help or "").partition("Examples:\n")[2]
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        assert lines, name
        found += [pytest.param(line, id=line[:60]) for line in lines if "COMMAND" not in line]
    return found


@pytest.mark.parametrize("line", examples())
def test_the_examples_run(ssm: Any, asm: Any, tmp_path: Path, line: str) -> None:
    """Each of every help text, in a shell, where there is what they read."""
    secrets = {"prod/token": "fake", "prod/db": '{"password": "fake"}', "staging/token": "fake",
               "prod/old-token": "fake"}  # fmt: skip
    for name, value in secrets.items():
        asm.create_secret(Name=name, SecretString=value)
    parameters = {"/prod/db/url": "fake", "/prod/db/hosts": '["a"]', "/staging/db/url": "fake"}
    for name, value in parameters.items():
        ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
    (tmp_path / ".env").write_text("A=fake")
    (tmp_path / "settings.json").write_text('{"a": "fake"}')
    (tmp_path / "url.txt").write_text("fake")
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True,
            timeout=60, check=False,
        )  # fmt: skip
    finally:
        for name in [*secrets, "prod/other-token", "prod/app/a"]:
            asm.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

    assert done.returncode == (1 if " diff " in line else 0), done.stderr
    assert b"Error" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    """With what it does, all its options, and examples."""
    command = main.commands[name]
    text = run(name, "--help").stdout.decode()

    assert "Examples:" in text
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.opts[0] in text


def test_the_list_of_commands() -> None:
    """Each has a line of its own, which is whole."""
    lines = run("--help").stdout.decode().partition("Commands:\n")[2].splitlines()
    told = dict(re.findall(r"^  (\S+)\s+(\S.*)$", "\n".join(lines), re.MULTILINE))

    assert set(COMMANDS) <= set(told)


def test_as_a_module() -> None:
    """`python -m s1crets` is the same."""
    done = subprocess.run(
        [sys.executable, "-m", "s1crets", "--version"], stdout=-1, text=True, check=True
    )

    assert done.stdout == f"s1crets, version {__version__}\n"


COMPLETED = {
    "s1crets ex": {"exec", "export", "exists"},
    "s1crets export --format d": {"dotenv", "docker"},
    "s1crets get --provider aws.p": {"aws.ps"},
    "s1crets list --out": {"--output"},
}


BASH = shutil.which("bash") or ""


@pytest.mark.skipif(not BASH, reason="there is no bash here")
@pytest.mark.parametrize("line", COMPLETED)
def test_completion(line: str) -> None:
    """In a real bash, from the script that the command prints."""
    words = line.split()
    script = f"""
    eval "$(s1crets completion bash)"
    COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
    _s1crets_completion s1crets
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        [BASH, "-c", script], env=environment, stdout=-1, text=True, timeout=60, check=True
    )

    assert set(done.stdout.split()) == COMPLETED[line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell: str) -> None:
    """It calls the command with a variable that asks for completions."""
    done = run("completion", shell)

    assert done.returncode == 0
    assert b"_S1CRETS_COMPLETE" in done.stdout
