"""`s1crets exec` and `export`: secrets as environment variables."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import COMMAND, PS, error_of, run, run_here, run_process

if TYPE_CHECKING:
    from s1crets.testing import LoopbackAws

PRINT = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
VALUES = {"db/url": "fake url", "db/api-key": "fäke\n$x `y`", "9": '{"a": [1, "ä"]}'}
VARIABLES = {"URL": "fake url", "API_KEY": "fäke\n$x `y`", "_9": '{"a": [1, "ä"]}'}


@pytest.fixture
def seeded(s1crets_aws: LoopbackAws, top: str) -> str:
    """Store the same values in both services; return their path in Parameter Store."""
    s1crets_aws.seed(
        {
            "aws.ps": {f"{top}/{name}": value for name, value in VALUES.items()},
            "aws.sm": {f"{top[1:]}/{name}": value for name, value in VALUES.items()},
        }
    )
    return top


class TestExport:
    """Variables for other programs."""

    @pytest.mark.parametrize("provider", ["aws.ps", "aws.sm"])
    def test_all_secrets_under_a_path_are_variables(self, seeded: str, provider: str) -> None:
        """Names are the last parts of the secrets' names; values are text or JSON."""
        path = seeded if provider == "aws.ps" else seeded[1:]
        done = run("export", "--provider", provider, "--path", path, "--format", "json")

        assert (done.returncode, done.stderr) == (0, b"")
        assert json.loads(done.stdout) == VARIABLES

    def test_single_secrets_with_a_prefix(self, seeded: str) -> None:
        """Only the named ones; the prefix is kept as it is."""
        names = ["--secret", f"{seeded}/db/url", "--secret", f"{seeded}/9"]
        done = run("export", *PS, *names, "--prefix", "App_", "--format", "json")

        assert json.loads(done.stdout) == {"App_URL": "fake url", "App_9": '{"a": [1, "ä"]}'}

    def test_docker_cannot_have_line_breaks(self, seeded: str) -> None:
        """The message names the variable, not the value."""
        done = run("export", *PS, "--path", seeded, "--format", "docker")

        assert done.returncode == 2
        assert "line breaks in values: API_KEY" in error_of(done)

    def test_the_format_is_required(self) -> None:
        """An unknown one is a usage error too."""
        assert run("export", "--path", "/a", "--format", "xml").returncode == 2
        assert run("export", "--path", "/a").returncode == 2

    def test_two_secrets_with_the_same_variable_name_are_an_error(
        self, s1crets_aws: LoopbackAws, top: str
    ) -> None:
        """The message lists all of them."""
        names = ("a/url", "b/URL", "c/x-y", "c/x.y", "z")
        s1crets_aws.seed({"aws.ps": {f"{top}/{name}": "fake" for name in names}})
        done = run("export", *PS, "--path", top, "--format", "json")

        assert done.returncode == 2
        words = error_of(done)
        assert f"URL ({top}/a/url, {top}/b/URL)" in words
        assert f"X_Y ({top}/c/x-y, {top}/c/x.y)" in words
        assert f"{top}/z" not in words

    @pytest.mark.parametrize("value", [b"\xff\x00", "fake\0value-2f"])
    def test_a_value_that_no_variable_can_hold_is_an_error(
        self, asm: Any, top: str, value: str | bytes
    ) -> None:
        """The message names the secret and does not show the value."""
        field = "SecretBinary" if isinstance(value, bytes) else "SecretString"
        asm.create_secret(Name=top, **{field: value})
        done = run("export", "--secret", top, "--format", "json")

        assert done.returncode == 2
        assert repr(top) in error_of(done)
        assert b"value-2f" not in done.stderr


class TestExec:
    """The program gets the secrets and replaces the command's process."""

    def test_the_program_inherits_the_environment(self, seeded: str) -> None:
        """The secrets are added, and override variables of the same name."""
        done = run_process(
            "exec", *PS, "--path", seeded, "--", *PRINT, OWN="kept", URL="replaced"
        )  # fmt: skip

        assert (done.returncode, done.stderr) == (0, b"")
        environment = json.loads(done.stdout)
        assert {name: environment[name] for name in VARIABLES} == VARIABLES
        assert environment["OWN"] == "kept"

    def test_a_pristine_environment_has_only_the_secrets(self, seeded: str) -> None:
        """The program is still found in PATH."""
        done = run_process("exec", *PS, "--path", f"{seeded}/db", "--pristine", "env", "-0")

        found = done.stdout.decode().strip("\0").split("\0")
        assert {one for one in found if not one.startswith("COVERAGE_")} == {
            "URL=fake url", "API_KEY=fäke\n$x `y`",
        }  # fmt: skip

    def test_strict_sets_only_requested_variables(self, seeded: str) -> None:
        """They are requested with a placeholder as their value."""
        done = run_process("exec", *PS, "--path", seeded, "--strict", "--", *PRINT, URL="s1crets")

        environment = json.loads(done.stdout)
        assert environment["URL"] == "fake url"
        assert "API_KEY" not in environment

    def test_strict_requires_a_secret_for_each_requested_variable(self, seeded: str) -> None:
        """The message names those without one."""
        command = ["exec", *PS, "--path", seeded, "--strict", "--", "/nothing"]
        done = run_here(*command, URL="s1crets", OTHER="s1crets", ANOTHER="s1crets")

        assert done.returncode == 3
        assert "no secrets for these variables: ANOTHER, OTHER" in error_of(done)
        assert run_here(*command, URL="s1crets").returncode == 127

    def test_the_exit_code_is_that_of_the_program(self, seeded: str) -> None:
        """Nothing is added to its output."""
        done = run_process("exec", *PS, "--path", seeded, "--", "sh", "-c", "echo done; exit 42")

        assert (done.returncode, done.stdout, done.stderr) == (42, b"done\n", b"")

    @pytest.mark.parametrize(
        ("program", "code"), [("/nothing", 127), ("no-such-command-7c", 127), ("/", 126)]
    )
    def test_a_program_that_cannot_be_run_is_an_error(
        self, seeded: str, program: str, code: int
    ) -> None:
        """With the exit codes that a shell uses."""
        done = run_here("exec", *PS, "--path", seeded, "--pristine", "--", program)

        assert done.returncode == code
        assert f"can't run {program!r}: " in error_of(done)

    def test_signals_and_streams_are_those_of_the_program(self, seeded: str) -> None:
        """It is the same process. Signals that Python ignores are not ignored in it."""
        script = "read line; echo $$ $line; grep SigIgn /proc/self/status; cat"
        command = [COMMAND, "exec", *PS, "--path", seeded, "--", "sh", "-c", script]
        with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write("line\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{process.pid} line\n"
            ignored = int(process.stdout.readline().removeprefix("SigIgn:"), 16)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == -signal.SIGTERM
        assert ignored & (1 << (signal.SIGPIPE - 1)) == 0

    def test_the_program_inherits_no_open_files(self, seeded: str) -> None:
        """Connections and files of the command are closed in it."""
        listing = "import os; print(len(os.listdir('/proc/self/fd')))"
        plain = subprocess.run([sys.executable, "-c", listing], stdout=-1, stdin=-3, check=True)
        done = run_process("exec", *PS, "--path", seeded, "--", sys.executable, "-c", listing)

        assert int(done.stdout) <= int(plain.stdout) + 1

    @pytest.mark.parametrize(
        ("args", "code", "words"),
        [
            ([], 2, "use --path or --secret"),
            (["--path", "/nothing"], 3, "no secrets under '/nothing'"),
            (["--secret", "/nothing"], 3, "GetParameter '/nothing'"),
            (["--path", "no-slash"], 2, "no-slash"),
            (["--secret", "/odd", "--prefix", "A="], 2, "'A=' can't start"),
            (["--secret", "/odd"], 2, "'/odd' can't be a variable: it contains a lone"),
        ],
    )
    def test_errors_are_reported_before_anything_is_run(
        self, s1crets_aws: LoopbackAws, args: list[str], code: int, words: str
    ) -> None:
        """With the usual exit codes."""
        s1crets_aws.seed({"aws.ps": {"/odd": '["\\ud800"]'}})
        done = run_here("exec", *PS, *args, "true")

        assert done.returncode == code
        assert words in error_of(done)
