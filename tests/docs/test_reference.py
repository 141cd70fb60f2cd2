"""The reference: every public name is documented and on a page, and tables are complete."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.documents import DOCS, ROOT, blocks, pages

import s1crets
from s1crets import errors
from s1crets.cli import main
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore
from s1crets.providers.simple import _reserved_names

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = [
    "s1crets", "s1crets.aio", "s1crets.errors", "s1crets.cache", "s1crets.cache.options",
    "s1crets.providers", "s1crets.providers.aws", "s1crets.providers.aws.options",
    "s1crets.providers.files", "s1crets.providers.simple", "s1crets.providers.store",
    "s1crets.providers.instrumentation", "s1crets.testing", "s1crets.testing.faults",
    "s1crets.integrations.fastapi", "s1crets.integrations.aiohttp",
    "s1crets.integrations.pydantic_settings", "s1crets.integrations.opentelemetry",
]  # fmt: skip
"""The modules that users import from."""
SOURCES = "\n".join(path.read_text() for path in (ROOT / "s1crets").rglob("*.py"))
REFERENCE = {path.stem: path.read_text() for path in (DOCS / "reference").glob("*.md")}
README = (ROOT / "README.md").read_text()
FORMER = {"Asked", "LoopbackAws", "loopback_aws", "Concealed", "Entry"}
"""Aliases for former names."""


def public(scope: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.stmt, str | None]]:
    """Yield the public names that a module or class defines, with their docstrings."""
    following = [*scope.body[1:], ast.Pass()]
    for statement, after in zip(scope.body, following, strict=True):
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = statement.name
            doc: object = ast.get_docstring(statement)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name, doc = statement.target.id, None
        else:
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            doc = doc or after.value.value
        if not name.startswith("_"):
            yield name, statement, str(doc) if doc else None


def undocumented(source: str) -> list[str]:
    """Return the public names without a docstring, and not among the attributes of their class."""
    module = ast.parse(source)
    bare = []
    for name, statement, doc in public(module):
        if isinstance(statement, ast.AnnAssign):
            continue
        bare += [] if doc else [name]
        if isinstance(statement, ast.ClassDef):
            attributes = (doc or "").partition("Attributes:")[2]
            bare += [
                f"{name}.{inner}"
                for inner, _, inner_doc in public(statement)
                if not inner_doc and not re.search(rf"^\s+{inner}:", attributes, re.MULTILINE)
            ]
    return bare


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_documented(name: str) -> None:
    """By a docstring of its own, or among the attributes of its class."""
    module = importlib.import_module(name)
    assert module.__doc__
    found = undocumented(Path(str(module.__file__)).read_text())
    overrides = {"service", "row", "default_ttl", "largest", "concurrency"}  # documented above

    assert [
        one
        for one in found
        if one.rpartition(".")[2] not in overrides and not inherits(module, one)
    ] == []


def inherits(module: Any, name: str) -> bool:
    """Return whether a method overrides a documented one."""
    cls, _, method = name.partition(".")
    bases = getattr(module, cls).__mro__[1:] if method else ()
    return any(getattr(vars(base).get(method), "__doc__", None) for base in bases)


def described() -> set[str]:
    """Return the full names that pages of the reference have autodoc directives for."""
    found = set()
    for text in REFERENCE.values():
        module = ""
        for kind, target in re.findall(
            r"^\.\. (currentmodule|auto\w+):: ([\w.]+)", text, re.MULTILINE
        ):
            if kind == "currentmodule":
                module = target
            elif kind == "automodule":
                found |= {f"{target}.{name}" for name in importlib.import_module(target).__all__}
            else:
                found.add(target if target.startswith("s1crets.") else f"{module}.{target}")
        found |= {
            f"{parent}.{name}"
            for name in re.findall(r"^```\{options\} (\w+)", text, re.MULTILINE)
            for parent in ("s1crets.cache.options", "s1crets.providers.aws.options")
        }
    return found


def test_every_exported_name_is_on_a_page() -> None:
    """The names in `__all__`, but for aliases, and the exceptions in `s1crets`."""
    own = [name for name in MODULES if hasattr(importlib.import_module(name), "__all__")]
    exported = {
        f"{name}.{one}"
        for name in own
        for one in importlib.import_module(name).__all__
        if one not in FORMER and not (name == "s1crets" and one in errors.__all__)
    }
    found = described()
    objects = {id(resolved(name)) for name in found}
    known = {"s1crets.__version__", "s1crets.aio", "s1crets.cache.CacheArgs"}
    known |= {f"s1crets.providers.simple.{one}" for one in ("SecretMetadata", "SimpleOptions")}

    missing = {name for name in exported - found - known if id(resolved(name)) not in objects}
    assert missing == set()


def resolved(name: str) -> Any:
    """Return the object of a full name."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError:
        return resolved(module)


def test_the_table_of_methods_is_complete() -> None:
    """It has every public method of the classes, and no other; `conf.py` hides the rest."""
    table = re.findall(r"^\| (`[^|]*) \|", REFERENCE["methods"], re.MULTILINE)
    shown = {name for cell in table for name in re.findall(r"`(\w+)", cell)}
    conf = (DOCS / "conf.py").read_text()
    hidden = set(re.findall(r"\w+", conf.partition('"exclude-members": ')[2].partition("}")[0]))
    classes = (AsyncParameterStore, AsyncSecretsManager, ParameterStore)
    names = {name for cls in classes for name in dir(cls) if not name.startswith("_")}

    assert shown == names - hidden - {"awaited"} - {"counters", "deadline", "rotation"}


def test_the_tree_of_errors_is_the_code_s() -> None:
    """With the builtin that each also is."""
    tree = dict(re.findall(r"[├└]── (\w+)(?: +also (\w+))?", REFERENCE["errors"]))
    classes = {
        name: getattr(errors, name)
        for name in errors.__all__
        if issubclass(getattr(errors, name), errors.S1cretsError)
    }
    builtins = {
        name: next((one.__name__ for one in cls.__bases__ if one.__module__ == "builtins"), "")
        for name, cls in classes.items()
    }

    assert tree == {**builtins, "S1cretsError": ""}


def test_every_environment_variable_is_on_the_page() -> None:
    """Those of s1crets itself, and no others."""
    used = set(re.findall(r"\bS1CRETS_[A-Z_]+\b", SOURCES)) - {"S1CRETS_NO_SUCH_VARIABLE"}
    shown = set(re.findall(r"\bS1CRETS_[A-Z_]+\b", REFERENCE["environment"]))

    assert shown == used


def test_what_make_and_pip_are_told_to_do_is_there() -> None:
    """Every target is one of the Makefile's, every extra one of the project's."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ].keys()
    code = "\n".join(
        one.code for page in pages() for one in blocks(page.read_text()) if one.language == "bash"
    )
    named = re.search(r"extras are (.*)\.$", README, re.MULTILINE)
    assert named

    assert {"demo", "test"} <= set(re.findall(r"^make (\w+)", code, re.MULTILINE)) <= targets
    assert set(re.findall(r"`(\w+)`", named[1])) == extras - {"all"}
    installed = re.findall(r"s1crets\[([\w,]+)\]", code)
    assert {one for group in installed for one in group.split(",")} <= extras


def test_the_readme_is_short() -> None:
    """At most 150 lines."""
    assert len(README.splitlines()) <= 150


def test_every_command_is_generated() -> None:
    """The page of the command names none by hand, so that none is forgotten."""
    assert "```{command}" in REFERENCE["command"]
    assert len(main.commands) > 10
    assert inspect.getdoc(s1crets)


def test_what_is_wrong_is_found() -> None:
    """The checks of this file can fail."""
    attributes = '    """A.\n\n    Attributes:\n        x: y\n    """\n'
    source = f"class A:\n{attributes}    x: int\n    z: int\ndef f(): ...\n"

    assert undocumented(source) == ["A.z", "f"]


def test_the_guide_lists_the_names_that_are_not_free() -> None:
    """Those without an underscore: all of them, and no other."""
    guide = (DOCS / "how-to" / "custom-provider.md").read_text()
    (listed,) = re.findall(r"^These are (.*?), and some", guide, re.MULTILINE | re.DOTALL)

    assert re.findall(r"`(\w+)`", listed) == [
        name for name in _reserved_names() if not name.startswith("_")
    ]
