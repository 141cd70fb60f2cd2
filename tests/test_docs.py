"""The documentation: every public name has some, and every block of code in the README runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pdoc.doc
import pdoc.extract
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
MODULES = re.findall(r"^API = (.*)$", MAKEFILE, re.MULTILINE)[0].split()
PUBLIC = list(pdoc.extract.walk_specs(MODULES))


def members(module: pdoc.doc.Module) -> Iterator[pdoc.doc.Doc[object]]:
    """Yield what has an entry on a module's page, and is the module's own."""
    for one in module.members.values():
        if one.taken_from[0].startswith("s1crets") and not isinstance(one, pdoc.doc.Module):
            yield one
            if isinstance(one, pdoc.doc.Class):
                yield from (
                    inner
                    for inner in one.members.values()
                    if inner.taken_from[0].startswith("s1crets")
                )


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name: str) -> None:
    """By a docstring of its own, or among the attributes of its class."""
    module = pdoc.doc.Module(pdoc.extract.load_module(name))
    assert module.docstring
    bare = []
    for one in members(module):
        if one.name.startswith("_") or one.docstring:
            continue
        home, of = one.taken_from
        owner = pdoc.doc.Module(pdoc.extract.load_module(home)).get(of.rpartition(".")[0])
        attributes = (owner.docstring if owner else "").partition("Attributes:")[2]
        if not re.search(rf"^\s+{one.name}:", attributes, re.MULTILINE):
            bare.append(one.qualname)
    assert bare == []


def test_the_reference_is_written(tmp_path: Path) -> None:
    """`make docs`, with this Python: a page a module."""
    command = [sys.executable, "-m", "pdoc", "--docformat", "google", "-o", str(tmp_path)]
    done = subprocess.run([*command, *MODULES], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    for name in PUBLIC:
        assert (tmp_path / (name.replace(".", "/") + ".html")).stat().st_size > 1000
