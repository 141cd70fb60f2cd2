"""Shell completion."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from _support.command import COMMAND, run

COMPLETIONS = {
    "s1crets ex": {"exec", "export", "exists"},
    "s1crets export --format d": {"dotenv", "docker"},
    "s1crets get --provider aws.p": {"aws.ps"},
    "s1crets list --out": {"--output"},
    "s1crets --prov": {"--provider"},
    "s1crets -p aws.p": {"aws.ps"},
    "s1crets -p aws.ps co": {"completion", "copy"},
    "s1crets re": {"restore"},
    "s1crets hi": {"history"},
    "s1crets h": {"help", "history"},
    "s1crets cr": {"create"},
    "s1crets inv": {"invalidate"},
    "s1crets copy --to-": {"--to-profile", "--to-provider", "--to-region"},
    "s1crets copy a b --to-provider f": {"files"},
    "s1crets put --type S": {"SecureString", "String", "StringList"},
    "s1crets export --format t": {"tfvars", "tsv"},
    "s1crets exec --names r": {"relative"},
    "s1crets exec --on-collision ": {"error", "last"},
    "s1crets help ex": {"exec", "exists", "exit-codes", "export"},
}
BASH = shutil.which("bash") or ""


@pytest.mark.parametrize("line", COMPLETIONS)
def test_commands_options_and_values_are_completed(line: str) -> None:
    """The command answers the question that the script asks."""
    position = str(len(line.split(" ")) - 1)
    done = run(_S1CRETS_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=position)

    found = {answer.partition(",")[2] for answer in done.stdout.decode().splitlines()}
    assert found == COMPLETIONS[line]


@pytest.mark.skipif(not BASH, reason="bash is not installed")
def test_bash_completes_the_command() -> None:
    """A real bash runs the script that `completion` prints."""
    script = run("completion", "bash").stdout.decode()
    script += """
    COMP_WORDS=(s1crets export --format d); COMP_CWORD=3
    _s1crets_completion s1crets
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [BASH, "-c", script], env=environment, stdout=-1, text=True, timeout=60, check=True
    )

    assert set(done.stdout.split()) == {"dotenv", "docker"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell: str) -> None:
    """It calls the command with the variable that asks for completions."""
    done = run("completion", shell)

    assert done.returncode == 0
    assert f"_S1CRETS_COMPLETE={shell}_complete" in done.stdout.decode()
