"""`s1crets exec` and `s1crets export`: secrets as environment variables."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from _support.command import COMMAND, run, told
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

import s1crets
from s1crets.cli.formats import FORMATS

if TYPE_CHECKING:
    from s1crets.testing import LoopbackAws

PRINT = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]


@pytest.fixture
def seeded(ssm: Any, asm: Any, top: str) -> str:
    """Store what the tests read, in both stores."""
    values = {"db/url": "fake url", "db/api-key": "fäke\n$x `y`", "9": '{"a": [1, "ä"]}'}
    for name, value in values.items():
        ssm.put_parameter(Name=f"{top}/{name}", Value=value, Type="SecureString")
        asm.create_secret(Name=f"{top[1:]}/{name}", SecretString=value)
    return top


VARIABLES = {"URL": "fake url", "API_KEY": "fäke\n$x `y`", "_9": '{"a": [1, "ä"]}'}


class TestExec:
    """The command gets the secrets, and takes the place of ours."""

    @pytest.mark.parametrize("provider", ["aws.ps", "aws.sm"])
    def test_all_below_a_path(self, seeded: str, provider: str) -> None:
        """Besides what the environment has."""
        path = seeded if provider == "aws.ps" else seeded[1:]
        done = run("exec", "--provider", provider, "--path", path, "--", *PRINT, OWN="kept")

        assert (done.returncode, done.stderr) == (0, b"")
        environment = json.loads(done.stdout)
        assert {name: environment[name] for name in VARIABLES} == VARIABLES
        assert environment["OWN"] == "kept"

    def test_single_ones_with_a_prefix(self, seeded: str) -> None:
        """And not the others."""
        names = ["--secret", f"{seeded}/db/url", "--secret", f"{seeded}/9"]
        done = run("exec", "--provider", "aws.ps", *names, "--prefix", "App_", "--", *PRINT)
        environment = json.loads(done.stdout)

        assert environment["App_URL"] == "fake url"
        assert environment["App_9"] == '{"a": [1, "ä"]}'
        assert "App_API_KEY" not in environment

    def test_pristine(self, seeded: str) -> None:
        """These variables and no others; the program is still found."""
        done = run(
            "exec", "--provider", "aws.ps", "--path", f"{seeded}/db", "--pristine", "env", "-0"
        )

        found = done.stdout.decode().strip("\0").split("\0")
        assert {one for one in found if not one.startswith("COVERAGE_")} == {
            "URL=fake url", "API_KEY=fäke\n$x `y`",
        }  # fmt: skip

    def test_strict(self, seeded: str) -> None:
        """Only those that are asked for by the placeholder; and all of them."""
        command = ["exec", "--provider", "aws.ps", "--path", seeded, "--strict", "--", *PRINT]
        environment = json.loads(run(*command, URL="s1crets").stdout)
        assert environment["URL"] == "fake url"
        assert "API_KEY" not in environment
        # What comes before a command that takes the process's place is seen by coverage here only.
        assert run(*command[:-3], "/nothing", URL="s1crets").returncode == 127
        done = run(*command, URL="s1crets", OTHER="s1crets", ANOTHER="s1crets")
        assert done.returncode == 3
        assert "no secrets for these variables: ANOTHER, OTHER" in told(done)

    def test_two_secrets_of_one_name(self, ssm: Any, top: str) -> None:
        """Are an error that lists them."""
        for name in ("a/url", "b/URL", "c/x-y", "c/x.y", "z"):
            ssm.put_parameter(Name=f"{top}/{name}", Value="v", Type="String")
        done = run("exec", "--provider", "aws.ps", "--path", top, "--", "true")

        assert done.returncode == 2
        words = told(done)
        assert f"URL ({top}/a/url, {top}/b/URL)" in words
        assert f"X_Y ({top}/c/x-y, {top}/c/x.y)" in words
        assert f"{top}/z" not in words

    @pytest.mark.parametrize(
        ("command", "code"), [(["sh", "-c", "exit 42"], 42), (["false"], 1), (["/nothing"], 127),
                              (["no-such-command-7c"], 127), (["/"], 126)]
    )  # fmt: skip
    def test_exit_codes_are_the_commands_own(
        self, seeded: str, command: list[str], code: int
    ) -> None:
        """And as a shell says it, where it can't be run."""
        done = run("exec", "--provider", "aws.ps", "--path", seeded, "--", *command)

        assert done.returncode == code
        assert (b"can't be run" in done.stderr) is (code > 100)

    def test_signals_and_streams_are_the_commands_own(self, seeded: str) -> None:
        """It is the same process; what Python ignores is not ignored in it."""
        script = (
            "import os, sys; print(os.getpid(), sys.stdin.readline(), flush=True); sys.stdin.read()"
        )
        command = [COMMAND, "exec", "--provider", "aws.ps", "--path", seeded, "--"]
        with subprocess.Popen(
            [*command, sys.executable, "-c", script], stdin=-1, stdout=-1, text=True
        ) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write("line\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{process.pid} line\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == -signal.SIGTERM
        status = run(
            "exec", "--provider", "aws.ps", "--path", seeded, "grep", "SigIgn", "/proc/self/status"
        )
        assert int(status.stdout.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0

    def test_nothing_is_left_open(self, seeded: str) -> None:
        """No connection and no file of ours goes on in the command."""
        listing = "import os; print(len(os.listdir('/proc/self/fd')))"
        plain = subprocess.run([sys.executable, "-c", listing], stdout=-1, stdin=-3, check=True)
        done = run(
            "exec", "--provider", "aws.ps", "--path", seeded, "--", sys.executable, "-c", listing
        )

        assert int(done.stdout) <= int(plain.stdout) + 1

    @pytest.mark.parametrize(
        ("args", "code", "words"),
        [
            (["true"], 2, "--path or --secret"),
            (["--path", "/nothing", "true"], 3, "nothing below '/nothing'"),
            (["--secret", "/nothing", "true"], 3, "GetParameter '/nothing'"),
            (["--path", "no-slash", "true"], 2, "no-slash"),
            (["--secret", "/odd", "--prefix", "A=", "true"], 2, "'A=' can't begin"),
            (["--secret", "/odd", "true"], 2, "'/odd' can't be a variable: it has a lone"),
        ],
    )
    def test_what_cant_be_done(
        self, s1crets_aws: LoopbackAws, args: list[str], code: int, words: str
    ) -> None:
        """Is told before anything is run."""
        s1crets_aws.seed({"aws.ps": {"/odd": '["\\ud800"]'}})
        done = run("exec", "--provider", "aws.ps", *args)

        assert done.returncode == code
        assert words in told(done)

    def test_all_that_is_missing_is_named(self, s1crets_aws: LoopbackAws, seeded: str) -> None:
        """A line each; where one is denied that is the exit code."""
        command = [
            "exec",
            "--provider",
            "aws.ps",
            "--secret",
            "/no",
            "--secret",
            f"{seeded}/db/url",
        ]
        s1crets_aws.deny("ssm:GetParameter*", f"{seeded}/db/url")
        done = run(*command, "true")

        assert done.returncode == 4
        first, second = sorted(done.stderr.decode().splitlines())
        assert "'/no'" in first
        assert f"'{seeded}/db/url'" in second

    @pytest.mark.parametrize("option", ["--path", "--secret"])
    def test_an_empty_name_is_a_usage_error(self, option: str) -> None:
        """It is what an unset variable of a script leaves."""
        done = run("exec", option, "", "--", "true")

        assert done.returncode == 2
        assert b"it is empty" in done.stderr

    @pytest.mark.parametrize("value", [b"\xff\x00", "fake\0value-2f"])
    def test_what_no_variable_can_hold(self, asm: Any, top: str, value: Any) -> None:
        """Is an error that names the secret, and does not show it."""
        field = "SecretBinary" if isinstance(value, bytes) else "SecretString"
        asm.create_secret(Name=top, **{field: value})
        done = run("exec", "--secret", top, "--", "true")

        assert done.returncode == 2
        assert repr(top) in told(done)
        assert b"value-2f" not in done.stderr


class TestExport:
    """The same variables, for other programs."""

    @pytest.mark.parametrize("form", FORMATS)
    def test_every_format(self, seeded: str, form: str) -> None:
        """Has the names and values that exec sets."""
        done = run("export", "--provider", "aws.ps", "--path", seeded, "--format", form)
        if form == "docker":
            assert done.returncode == 2
            assert "line breaks in values: API_KEY" in told(done)
        else:
            assert READ[form](done.stdout.decode()) == VARIABLES

    def test_formats_that_are_none(self) -> None:
        """Are a usage error, and so is none at all."""
        assert run("export", "--path", "/a", "--format", "xml").returncode == 2
        assert run("export", "--path", "/a").returncode == 2


OF_THE_SHELL = {"PATH", "PWD", "OLDPWD", "_", "SHLVL"}


def from_shell(text: str) -> dict[str, str]:
    """Let sh evaluate what was exported, and return what a program gets then."""
    script = text + "env -0"
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": os.environ["PATH"]}, stdout=-1, check=True
    )
    pairs = (one.split("=", 1) for one in done.stdout.decode().strip("\0").split("\0"))
    return {name: value for name, value in pairs if name not in OF_THE_SHELL}


def from_docker(text: str) -> dict[str, str]:
    """Read an env-file by docker's rules: lines, no quotes, comments begin a line."""
    lines = [line.removesuffix("\r").lstrip(" \t") for line in text.split("\n")]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


READ: dict[str, Any] = {
    "dotenv": lambda text: dict(dotenv_values(stream=io.StringIO(text, newline=""))),
    "json": json.loads,
    "yaml": yaml.safe_load,
    "shell": from_shell,
    "docker": from_docker,
}
NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True).filter(
    lambda name: name not in {*OF_THE_SHELL, "IFS", "PS1", "PS2", "PS4", "PPID", "ENV"}
)
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    st.text("ab \\'\"$`{}#=\n\r\t!%&:-_é\u2028\x85\ufeff😀", max_size=12),
    st.sampled_from(
        ["${HOME}", "$HOME", "a\\", "\\'", "'\\", " a ", "a # b", "NO", "null", "1e3", "~"]
    ),
)


@pytest.mark.parametrize("form", ["dotenv", "json", "yaml"])
@given(variables=st.dictionaries(NAMES | st.sampled_from(["NO", "Y", "NULL"]), TEXTS, max_size=4))
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_read(form: str, variables: dict[str, str]) -> None:
    """By the real parser, whatever the values are."""
    assert (READ[form](FORMATS[form](variables)) or {}) == variables


@given(variables=st.dictionaries(NAMES, TEXTS, max_size=4))
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_evaluated(variables: dict[str, str]) -> None:
    """By a real shell, whatever the values are."""
    assert from_shell(FORMATS["shell"](variables)) == variables


@given(variables=st.dictionaries(NAMES, TEXTS, max_size=4))
@settings(max_examples=200, deadline=None)
def test_what_docker_reads(variables: dict[str, str]) -> None:
    """Whatever has no line breaks; what has them is refused by its name."""
    broken = [name for name, value in variables.items() if re.search("[\r\n]", value)]
    if broken:
        with pytest.raises(s1crets.InvalidValueError, match=broken[0]):
            FORMATS["docker"](variables)
    else:
        assert from_docker(FORMATS["docker"](variables)) == variables
