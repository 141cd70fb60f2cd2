"""README and site: every block of Python and shell runs, and prints what the page shows."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from typing import TYPE_CHECKING

import click
import pytest
import yaml
from _support.documents import DOCS, NOT_RUN, ROOT, RUN, Reader, blocks, matches, pages, transcript

from s1crets.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from _support.servers import RedisServer

    from s1crets.testing import LocalAws

PAGES = pages()
WITH_CODE = [page for page in PAGES if RUN & {one.language for one in blocks(page.read_text())}]


def titled(page: Path) -> str:
    """Return the path of a page in the repository, as the name of a test."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITH_CODE, ids=titled)
def test_a_page_does_what_it_says(
    s1crets_aws: LocalAws,
    redis: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    page: Path,
) -> None:
    """From top to bottom, in a folder with secrets.json, and a local AWS with these secrets."""
    folder = tmp_path / "reader"
    folder.mkdir()
    shutil.copy(DOCS / "secrets.json", folder)
    s1crets_aws.seed(str(DOCS / "secrets.json"))
    with Reader(folder, monkeypatch, s1crets_aws, redis.port) as reader:
        reader.read(page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=titled)
def test_every_block_has_a_language(page: Path) -> None:
    """Otherwise nobody would run it. What is a file can be read."""
    for block in blocks(page.read_text()):
        assert block.language in RUN | NOT_RUN, f"line {block.line}"
        if block.language == "json":
            json.loads(block.code)
        elif block.language == "yaml":
            list(yaml.safe_load_all(block.code))
        elif block.language == "toml":
            tomllib.loads(block.code)


@pytest.mark.parametrize("page", PAGES, ids=titled)
def test_outputs_are_complete(page: Path) -> None:
    """Three dots in an output would look as if they were part of it; pytest's progress has dots."""
    for block in blocks(page.read_text()):
        shown = [block.output or ""]
        if block.language == "console":
            shown = [output for _, output in transcript(block.code)]
        for output in shown:
            assert "..." not in re.sub(r"^[.s]+ +\[ *\d+%\]$", "", output, flags=re.MULTILINE), (
                f"line {block.line}"
            )


@pytest.mark.parametrize("page", PAGES, ids=titled)
def test_commands_that_are_not_run_have_valid_options(page: Path) -> None:
    """Those in `bash` blocks: click accepts them."""
    for block in blocks(page.read_text()):
        if block.language == "bash":
            for line in block.code.replace("\\\n", " ").splitlines():
                if line.startswith("s1crets "):
                    words = shlex.split(re.split("[|>]", line)[0], comments=True)
                    accept(words[1:])


def accept(words: list[str]) -> None:
    """Let click parse a command line."""
    with main.make_context("s1crets", list(words)) as context:
        name, command, rest = main.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert command
        command.make_context(name, rest, parent=context)


def test_what_is_wrong_is_found() -> None:
    """The checks of this file can fail."""
    page = "```python\nprint(1)\n```\n\n```text\n1\n```\nor\n```text\n2\n```\n"

    assert [(one.language, one.output) for one in blocks(page)] == [
        ("python", "1\n"),
        ("text", None),
    ]
    assert list(transcript("$ a \\\n  b\nc\n$ d\n")) == [("a \\\n  b", "c\n"), ("d", "")]
    assert not matches("a\n", "a\nb\n")
    assert matches("1 passed in 0.01s\n", "1 passed in 12.34s\n")
    assert not matches("1 passed in 0.01s\n", "2 passed in 0.01s\n")
    assert matches("2026-11-26T10:00:00Z a\n", "2027-01-01T01:02:03Z a\n")
    with pytest.raises(click.NoSuchOption):
        accept(["get", "--no-such-option", "x"])
