"""The maintainer documents: everything that they name exists, and the module map is complete."""

from __future__ import annotations

import importlib
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import refusal

if TYPE_CHECKING:
    from _support.wire import Wire

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "s1crets"
DOCUMENTS = ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"]
MAKEFILE = (ROOT / "Makefile").read_text()
FILES = [
    path for folder in ("s1crets", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")
]
SOURCES = "\n".join(path.read_text() for path in FILES if path != Path(__file__))


def spans(text: str) -> list[str]:
    """Return what stands in backticks, the targets of links, and paths in blocks."""
    prose, *blocks = re.split(r"^```\w*$", text, flags=re.MULTILINE)
    prose += "".join(blocks[1::2])
    drawn = re.findall(r"[\w/]+/\w+\.py", "".join(blocks[::2]))
    return [*re.findall(r"`([^`\n]+)`", prose), *links(text), *drawn]


def links(text: str) -> list[str]:
    """Return the targets of relative links and images."""
    return re.findall(r"\]\((?!https?:|#)([^)#]+)", text)


def alternatives(path: str) -> list[str]:
    """Return all paths that one with braces stands for."""
    parts = [part.split(",") for part in re.split(r"[{}]", path)]
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def missing_paths(text: str) -> list[str]:
    """Return the paths, and the tests (`file::name`), that do not exist."""
    missing = []
    for span in spans(text):
        path, *names = span.split("::")
        if not re.fullmatch(r"[\w.{},/-]+(\.(py|md|toml|txt|svg)|/)|\.ci/run", path):
            continue
        for wanted in alternatives(path):
            found = [base / wanted for base in (ROOT, PACKAGE) if (base / wanted).exists()]
            code = found[0].read_text() if found and names else ""
            defined = (re.search(rf"(def|class) {re.escape(name)}\b", code) for name in names)
            if not found or not all(defined):
                missing.append(span)
    return missing


def missing_modules(text: str) -> list[str]:
    """Return the dotted names in s1crets that can't be resolved."""
    names = {
        name for span in spans(text) for name in re.findall(r"\bs1crets(?:\.[A-Za-z_]\w*)+", span)
    }
    return sorted(name for name in names if not resolves(name))


def resolves(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of a module."""
    module, _, attribute = name.rpartition(".")
    try:
        return bool(importlib.import_module(name))
    except ModuleNotFoundError:
        return bool(module) and hasattr(importlib.import_module(module), attribute)


def missing_names(text: str) -> list[str]:
    """Return the identifiers of code that no source has."""
    names = [
        name
        for span in spans(text)
        if re.fullmatch(r"[\w.]+", span) and not re.search(r"\.(py|md|toml|txt)$", span)
        for name in re.findall(r"[A-Za-z_]\w{2,}", span)
    ]
    return sorted({name for name in names if not re.search(rf"\b{name}\b", SOURCES)})


def missing_targets(text: str) -> list[str]:
    """Return the targets of `make` that the Makefile does not have."""
    wanted = set(re.findall(r"`make ([a-z]+)", text))
    return sorted(wanted - set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE)))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_everything_that_is_named_exists(document: str) -> None:
    """Paths, tests, modules, identifiers and targets of make."""
    text = (ROOT / document).read_text()

    assert missing_paths(text) == []
    assert missing_modules(text) == []
    assert missing_names(text) == []
    assert missing_targets(text) == []


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document: str) -> None:
    """Of the other documents too; these also have names that exist no more, or elsewhere."""
    assert [
        link for link in links((ROOT / document).read_text()) if not (ROOT / link).exists()
    ] == []


def test_every_module_is_in_the_map() -> None:
    """Once, and no other."""
    rows = re.findall(
        r"^\| `([\w/]+\.py)` \| \S", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE
    )
    modules = [str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")]

    assert sorted(rows) == sorted(modules)


def test_what_does_not_exist_is_found() -> None:
    """The checks of this file can fail."""
    assert missing_paths("`tests/nowhere.py`, `cache/{entry,locks}.py`, `cache/`") == [
        "tests/nowhere.py",
        "cache/{entry,locks}.py",
    ]
    assert missing_paths("`errors.py::BatchError`, `errors.py::NoError`") == ["errors.py::NoError"]
    assert missing_paths(
        "[a](LICENSE.md) [b](README.md#install) [c](https://example.com/x.md)"
    ) == ["LICENSE.md"]
    assert missing_modules("`s1crets.cache.DiskCache`, `s1crets.cache.nothing`") == [
        "s1crets.cache.nothing"
    ]
    assert missing_names("`CachedValue`, `HeldValue.thawed`") == ["HeldValue", "thawed"]
    assert missing_targets("`make test`, `make coffee`") == ["coffee"]


async def test_an_added_service_is_one_module_and_one_row(scripted: Wire) -> None:
    """The one in CONTRIBUTING.md, as it stands there."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code[0], names)  # noqa: S102  # it is ours
    url = "GET /2015-03-31/functions/{}/configuration"
    scripted.answers[url.format("db")] = {"Environment": {"Variables": {"user": "fake"}}}
    scripted.answers[url.format("no")] = refusal("ResourceNotFoundException")

    async with names["AsyncFunctions"]() as provider:
        assert await provider.get("db", keypath="user") == "fake"
        assert await provider.get_many(["db", "db"]) == {"db": {"user": "fake"}}
        assert await provider.get("no", default=None) is None
        assert await provider.path_exists("db")
        with pytest.raises(ValueError, match="Lambda: put is not supported"):
            await provider.put("db", "fake")
        assert provider.stats.requests == {"GetFunctionConfiguration": 3}
