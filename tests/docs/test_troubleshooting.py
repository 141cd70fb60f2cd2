"""Troubleshooting: every message has an entry, and every entry is a message."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
from _support.documents import DOCS, ROOT

from s1crets import errors

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (DOCS / "troubleshooting.md").read_text()
MODULES = [path for path in sorted((ROOT / "s1crets").rglob("*.py")) if "testing" not in path.parts]
RAISE = {*errors.__all__, "Unresolved", "SecretSettingsError", "BadParameter", "UsageError"}
"""What is called with the message of an error. Those of Python, for arguments, have one entry."""
REPORT = {"report", "warn", "warning", "error", "log"}
GAP = "\0"
"""Stands in a message for what differs from one time to the next."""


def quoted(page: str) -> list[list[str]]:
    """Return the parts of each message that an entry, or an item in its list, begins with."""
    heads = re.findall(r"^\*\*.*|^  - [^:\n]*", page, re.MULTILINE)
    messages = [
        message
        for head in heads
        for message in re.findall(r"\*\*`(.+?)`\*\*" if head[0] == "*" else r"`(.+?)`", head)
    ]
    varying = r"…|'/[^']*'|\d[\d.]*|ssm:\w+"  # an example of what differs
    return [[part.strip() for part in re.split(varying, one)] for one in messages]


def text_of(node: ast.AST) -> str:
    """Return the text of a literal."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or GAP for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def messages(source: str) -> set[str]:
    """Return the messages of errors, warnings and log records that begin in this source."""
    found: set[str] = set()
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    for scope in [one for one in ast.walk(ast.parse(source)) if isinstance(one, functions)]:
        variables = {
            target.id: text_of(one.value)
            for one in ast.walk(scope)
            if isinstance(one, ast.Assign)
            for target in one.targets
            if isinstance(target, ast.Name)
        }
        for call in [one for one in ast.walk(scope) if isinstance(one, ast.Call)]:
            name = getattr(call.func, "id", "") or getattr(call.func, "attr", "")
            if name in RAISE | REPORT:
                texts = [text_of(a) or variables.get(getattr(a, "id", ""), "") for a in call.args]
                found.add(next(filter(None, texts), ""))
    for pair in [one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.Tuple)]:
        if len(pair.elts) == 2 and getattr(pair.elts[1], "id", "") in RAISE:
            found.add(text_of(pair.elts[0]))
    words = r"(?s)(?!\0+[;:,]? ).*[a-z]+ [a-z]+"  # not the end of a message that began elsewhere
    return {message for message in found if re.match(words, message)}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_message_has_an_entry(module: Path) -> None:
    """An entry begins with a part of it, so that a reader who searches for the message finds it."""
    entries = quoted(PAGE)

    assert [
        message
        for message in sorted(messages(module.read_text()))
        if not any(all(part in message for part in parts) for parts in entries)
    ] == []


def test_every_entry_is_a_message() -> None:
    """Of s1crets itself, and of nothing that it has said in former versions."""
    sources = "\n".join(path.read_text() for path in MODULES)
    said = re.sub(r'"\s*\n\s*r?f?"', "", sources)  # literals over several lines
    entries = quoted(PAGE)
    assert len(entries) > 100

    assert [parts for parts in entries if not all(part in said for part in parts)] == []


def test_no_entry_is_for_everything() -> None:
    """One with a single word would answer for messages that are about something else."""
    assert [parts for parts in quoted(PAGE) if not re.search(r"\w\W+\w", "".join(parts))] == []


def test_what_is_wrong_is_found() -> None:
    """The checks of this file can fail."""
    source = """
def f(x):
    problem = f"it is {x} wrong"
    _log.warning("no use of %s", x)
    raise InvalidNameError(problem)
_ROW = "correct the name", InvalidNameError
"""
    assert messages(source) == {"no use of %s", f"it is {GAP} wrong", "correct the name"}
    assert quoted("**`a … b`**, **`c`** (`X`)\n: `d`\n\n  - `e`: `f`\n") == [
        ["a", "b"],
        ["c"],
        ["e"],
    ]
