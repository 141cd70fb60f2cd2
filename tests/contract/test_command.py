"""`python -m s1crets.testing`: a local AWS for a shell or CI."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from s1crets.providers.aws import ParameterStore
from s1crets.testing.__main__ import main

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "without-aws.md"
SEED = '{"aws.ps": {"/a": "fake"}}'
SAVE = """
import json, os, sys, boto3
with open(sys.argv[1], "w") as file:
    found = boto3.client("ssm").get_parameter(Name="/a")["Parameter"]
    json.dump([dict(os.environ), found["Name"]], file)
sys.exit(7)
"""


@pytest.fixture
def seed(tmp_path: Path) -> str:
    """Return the path of a seed."""
    file = tmp_path / "seed.json"
    file.write_text(SEED)
    return str(file)


def run(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, arguments)


def test_a_command_runs_with_the_environment(
    seed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit code is returned; the machine's settings are hidden from it, and unchanged here."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "fake-token")
    before, file = dict(os.environ), tmp_path / "saved.json"
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    done = run(
        "--seed", seed, "--region", "eu-south-1", "--", sys.executable, "-c", SAVE, str(file)
    )

    assert done.exit_code == 7, done.output
    environment, name = json.loads(file.read_text())
    assert name == "/a"
    assert environment["AWS_DEFAULT_REGION"] == "eu-south-1"
    assert {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"}.isdisjoint(environment)
    assert environment["AWS_CONFIG_FILE"] == os.devnull
    assert dict(os.environ) == before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_signals_are_the_commands() -> None:
    """Ctrl-C reaches both, and the command decides; SIGTERM is passed on to it."""
    script = "import os, signal; os.kill(os.getppid(), signal.{}); {}"
    interrupted = script.format("SIGINT", "raise SystemExit(3)")
    terminated = script.format("SIGTERM", "signal.pause()")

    assert run("--", sys.executable, "-c", interrupted).exit_code == 3
    assert run("--", sys.executable, "-c", terminated).exit_code == 128 + signal.SIGTERM


def test_without_a_command(seed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints lines for a shell, and serves until Ctrl-C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    monkeypatch.setenv("AWS_SESSION_TOKEN", "fake-token")
    command = [sys.executable, "-m", "s1crets.testing", "--seed", seed, "--port", port]
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(process.kill)
        lines: list[str] = []
        assert process.stdout is not None
        while not lines or not lines[-1].startswith("export AWS_EC2_METADATA_DISABLED="):
            lines.append(process.stdout.readline())
            assert lines[-1], "it ended early"
        guide = GUIDE.read_text("utf-8")
        exported = re.findall(r"^export (\w+)=", "".join(lines), re.MULTILINE)
        assert re.findall("until grep -qs (\\w+) local-aws.env", guide) == exported[-1:]
        unset = " ".join(re.findall("^unset (.+)$", guide, re.MULTILINE)).split()
        assert sorted(unset) == sorted(exported)
        for line in lines:
            if found := re.fullmatch(r"export (\w+)=(\S+)\n", line):
                monkeypatch.setenv(*found.groups())
            else:
                monkeypatch.delenv(line.removeprefix("unset ").strip())

        with ParameterStore() as ps:
            assert ps.get("/a") == "fake"
        assert os.environ["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{port}"
        assert "AWS_SESSION_TOKEN" not in os.environ
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_what_can_go_wrong(seed: str, tmp_path: Path) -> None:
    """One line, without a traceback or a value."""
    bad = tmp_path / "bad.json"
    bad.write_text('{"aws.ps": {"/a b": "fake-hidden"}}')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        cases: dict[tuple[str, ...], tuple[int, str]] = {
            ("--seed", str(bad)): (1, "'/a b' can't be stored"),
            ("--seed", str(tmp_path / "none")): (1, "No such file"),
            ("--port", port): (1, "in use"),
            ("--port", "70000"): (2, "70000 is not in the range"),
            ("--region", "eu-nowhere-1", "--seed", seed): (1, "valid region"),
            ("--", str(tmp_path / "none")): (127, "can't be run: No such file"),
        }
        for arguments, (code, message) in cases.items():
            done = run(*arguments)
            assert (done.exit_code, message in done.stderr) == (code, True), done.stderr
            assert "fake-hidden" not in done.output


def test_help() -> None:
    """It shows the command's form."""
    done: Any = run("--help")

    assert done.exit_code == 0
    assert "[-- CMD [ARG]…]" in done.output
