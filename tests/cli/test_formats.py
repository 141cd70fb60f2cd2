"""Formats of exported variables: each is read back by a real parser."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import javaproperties
import pytest
import yaml
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

import s1crets
from s1crets._redaction import redact
from s1crets.cli.formats import FORMATS, PARSERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OF_THE_SHELL = {"PATH", "PWD", "OLDPWD", "_", "SHLVL"}


def from_shell(text: str) -> dict[str, str]:
    """Let sh evaluate the text; return the environment of a program that it starts."""
    script = text + "env -0"
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": os.environ["PATH"]}, stdout=-1, check=True
    )
    pairs = (one.split("=", 1) for one in done.stdout.decode().strip("\0").split("\0"))
    return {name: value for name, value in pairs if name not in OF_THE_SHELL}


class Shell:
    """A shell process that sources files, and can run nothing else: its PATH is empty."""

    SCRIPT = """
        PATH=
        while read -r file; do
            (set -u; . "$file"; printf "%s\\0" "$VALUE")
            printf "end\\0"
        done
    """

    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self._process = process
        self.file = file

    @classmethod
    @contextmanager
    def started(cls, program: str, file: Path) -> Iterator[Self]:
        """Start a shell whose error messages are part of its output."""
        command = [program, "-c", cls.SCRIPT]
        with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=subprocess.STDOUT) as process:
            yield cls(process, file)
            assert process.stdin
            process.stdin.close()

    def read(self) -> list[str]:
        """Source the file; return what it sets VALUE to, and what else comes out."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{self.file}\n".encode())
        self._process.stdin.flush()
        output = b""
        while not output.endswith(b"end\0"):
            output += self._process.stdout.read(1)
        return output.decode().removesuffix("end\0").removesuffix("\0").split("\0")


@pytest.fixture(scope="module", params=["sh", "bash"])
def shell(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    """Return a shell, in a process for many values."""
    file = tmp_path_factory.mktemp("dotenv") / "a.env"
    with Shell.started(f"/bin/{request.param}", file) as started:
        yield started


def from_docker(text: str) -> dict[str, str]:
    """Read an env-file by docker's rules: one variable per line, no quotes, comment lines."""
    lines = [line.removesuffix("\r").lstrip(" \t") for line in text.split("\n")]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def from_github(text: str) -> dict[str, str]:
    """Read an environment file as the runner of GitHub Actions does (its FileCommandManager)."""
    lines = iter(text.split("\n"))
    found = {}
    for line in lines:
        name, delimiter = re.match(r"(\w*)(=|<<)?", line).groups()  # type: ignore[union-attr]
        if delimiter == "=":
            found[name] = line.partition("=")[2]
        elif delimiter == "<<":
            end = line.partition("<<")[2]
            found[name] = "\n".join(iter(lines.__next__, end))
        else:
            assert line == ""
    return found


HCL_ESCAPE = re.compile(r"\\u([0-9a-f]{4})|\\(.)|([$%])\3\{")


def from_tfvars(text: str) -> dict[str, str]:
    """Read variables by the grammar of HCL: quoted templates that contain no template."""

    def unescape(match: re.Match[str]) -> str:
        code, character, introducer = match.groups()
        named = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
        return chr(int(code, 16)) if code else named[character] if character else f"{introducer}{{"

    found = {}
    for line in text.split("\n")[:-1]:
        name, quoted = re.fullmatch(r'(\w+) = "((?:[^"\\]|\\.)*)"', line).groups()  # type: ignore[union-attr]
        assert not re.search(r"[$%]\{", HCL_ESCAPE.sub("_", quoted))
        found[name] = HCL_ESCAPE.sub(unescape, quoted)
    return found


def from_rows(dialect: str) -> Callable[[str], dict[str, str]]:
    """Return a reader of separated values."""
    return lambda text: dict(csv.reader(io.StringIO(text, newline=""), dialect))


READ: dict[str, Any] = {
    "dotenv": lambda text: dict(dotenv_values(stream=io.StringIO(text, newline=""))),
    "json": json.loads,
    "yaml": yaml.safe_load,
    "shell": from_shell,
    "docker": from_docker,
    "github": from_github,
    "tfvars": from_tfvars,
    "properties": lambda text: javaproperties.load(io.BytesIO(text.encode("ascii"))),
    "csv": from_rows("excel"),
    "tsv": from_rows("excel-tab"),
}
NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True).filter(
    lambda name: name not in {*OF_THE_SHELL, "IFS", "PS1", "PS2", "PS4", "PPID", "ENV"}
)
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    st.text("ab \\'\"$`{}#=\n\r\t!%&:-_é\u2028\x85\ufeff😀", max_size=12),
    st.sampled_from(
        [
            "${HOME}",
            "$HOME",
            "a\\",
            "\\'",
            "'\\",
            " a ",
            "a # b",
            "NO",
            "null",
            "1e3",
            "~",
            "%{if}",
            "$${a}",
            "$$$",
            "end_of_A",
            "a\nend_of_A\n",
            "end_of_A1\nend_of_A\n",
            "A<<end_of_A\n",
            "=",
            "\t",
            "a,b",
            'a"\tb',
            "\n",
            "\r\n",
        ]
    ),
)


@given(
    variables=st.dictionaries(NAMES | st.sampled_from(["NO", "Y", "NULL", "A"]), TEXTS, max_size=4)
)
@settings(max_examples=200, deadline=None)
def test_the_parser_of_a_format_reads_the_same_variables(variables: dict[str, str]) -> None:
    """With any values; to generate them takes longer than all formats."""
    for form in READ.keys() - {"docker", "shell"}:
        assert (READ[form](FORMATS[form](variables)) or {}) == variables, form


# Each character that python-dotenv or a shell treats in a way of its own, in all combinations.
HOSTILE = st.text("\\`'\"$ {}()#!~:-+rn\n\r\tVALUE=ä", max_size=10)
COMMANDS = st.sampled_from(
    ["$(echo x)", "`echo x`", "'`echo \\\\x`", "${VALUE}", "'`${VALUE}`", "it's $(echo \\`x)",
     "$'\\r'",
     "'${VALUE:-x}", "${S1CRETS_NO_SUCH_VARIABLE:-$}'", "~", "a\\", "'\\\\", "$$", "'$$", "'\r\n$x",
     "!!", "#", " #", "'#", "`", "'`"]
)  # fmt: skip


@given(value=HOSTILE | COMMANDS | TEXTS)
@settings(max_examples=300, deadline=None)
def test_a_dotenv_file_means_the_same_to_python_dotenv_and_to_a_shell(
    shell: Shell, value: str
) -> None:
    """Any value, read from a file; the shell executes nothing; `import` understands it too."""
    shell.file.write_bytes(FORMATS["dotenv"]({"VALUE": value}).encode())

    assert shell.read() == [value]
    assert dotenv_values(shell.file) == {"VALUE": value}
    imported = PARSERS["dotenv"](redact(shell.file.read_text()))
    assert {name: found.reveal() for name, found in imported.items()} == {"VALUE": value}


def test_a_dotenv_file_is_easy_to_read() -> None:
    """Quotes only where they are needed, single ones if possible."""
    variables = {"A": "https://fake:1", "B": "p`ss $w\nord", "C": "it's"}

    assert FORMATS["dotenv"](variables) == "A=https://fake:1\nB='p`ss $w\nord'\nC=\"it's\"\n"


@given(variables=st.dictionaries(NAMES, TEXTS, max_size=4))
@settings(max_examples=40, deadline=None)
def test_a_shell_evaluates_to_the_same_variables(variables: dict[str, str]) -> None:
    """With any values."""
    assert from_shell(FORMATS["shell"](variables)) == variables


@given(variables=st.dictionaries(NAMES, TEXTS, max_size=4))
@settings(max_examples=200, deadline=None)
def test_docker_reads_the_same_variables(variables: dict[str, str]) -> None:
    """With any values that have no line breaks; the others are rejected by name."""
    broken = [name for name, value in variables.items() if re.search("[\r\n]", value)]
    if broken:
        with pytest.raises(s1crets.InvalidValueError, match=broken[0]):
            FORMATS["docker"](variables)
    else:
        assert from_docker(FORMATS["docker"](variables)) == variables


def test_the_delimiter_of_github_does_not_occur_in_the_value() -> None:
    """A value can't end early and set a variable of its own."""
    value = "a\nend_of_A\nPATH=/evil\nend_of_A1"

    assert FORMATS["github"]({"A": value}) == f"A<<end_of_A2\n{value}\nend_of_A2\n"
    assert FORMATS["github"]({"A": "one line"}) == "A=one line\n"


def masked(text: str) -> list[str]:
    """Read commands as the runner of GitHub Actions does (its ActionCommand, TryParseV2)."""
    found = []
    for line in text.split("\n")[:-1]:
        command, data = re.fullmatch(r"::([\w-]+)::([^\r]+)", line).groups()  # type: ignore[union-attr]
        assert command == "add-mask"
        found.append(data.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%"))
    return found


@given(variables=st.dictionaries(NAMES, TEXTS | st.just("%0A %25\n 100 %"), max_size=4))
@settings(max_examples=200, deadline=None)
def test_github_masks_every_line_of_a_value(variables: dict[str, str]) -> None:
    """As the log shows them; the runner warns about blank ones."""
    lines = [line for value in variables.values() for line in re.split(r"[\r\n]", value)]

    assert masked(FORMATS["github-mask"](variables)) == [line for line in lines if line.strip()]


TERRAFORM = shutil.which("terraform")


@pytest.mark.skipif(not TERRAFORM, reason="terraform is not installed")
def test_terraform_reads_the_same_variables(tmp_path: Path) -> None:
    """The real one: every pair and triple of the characters that HCL treats in a way of its own."""
    parts = ["$", "%", "{", "}", "\\", '"', "\n", "\r", "~", "u0041", "#"]
    texts = map(
        "".join,
        itertools.chain(itertools.product(parts, repeat=2), itertools.product(parts[:6], repeat=3)),
    )
    variables = {f"A{number}": text for number, text in enumerate(texts)}
    declared = "".join(f'variable "{name}" {{ type = string }}\n' for name in variables)
    (tmp_path / "main.tf").write_text(declared)
    (tmp_path / "a.tfvars").write_text(FORMATS["tfvars"](variables))
    fields = ", ".join(f"{name} = var.{name}" for name in variables)
    command = [TERRAFORM or "", "console", "-var-file=a.tfvars"]
    expression = f"base64encode(jsonencode({{{fields}}}))\n"
    done = subprocess.run(
        command, input=expression, cwd=tmp_path, stdout=-1, text=True, timeout=60, check=True
    )

    assert json.loads(base64.b64decode(json.loads(done.stdout))) == variables
