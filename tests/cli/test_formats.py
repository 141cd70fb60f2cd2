"""Formats of exported variables: each is read back by a real parser."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

import s1crets
from s1crets.cli.formats import FORMATS

OF_THE_SHELL = {"PATH", "PWD", "OLDPWD", "_", "SHLVL"}


def from_shell(text: str) -> dict[str, str]:
    """Let sh evaluate the text; return the environment of a program that it starts."""
    script = text + "env -0"
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": os.environ["PATH"]}, stdout=-1, check=True
    )
    pairs = (one.split("=", 1) for one in done.stdout.decode().strip("\0").split("\0"))
    return {name: value for name, value in pairs if name not in OF_THE_SHELL}


def from_docker(text: str) -> dict[str, str]:
    """Read an env-file by docker's rules: one variable per line, no quotes, comment lines."""
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
def test_the_parser_of_a_format_reads_the_same_variables(
    form: str, variables: dict[str, str]
) -> None:
    """With any values."""
    assert (READ[form](FORMATS[form](variables)) or {}) == variables


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
