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


BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "sh"]
RUNNER = """
import ast, asyncio, inspect, pathlib, sys
code = compile(pathlib.Path(sys.argv[1]).read_text(), sys.argv[1], "exec",
               flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
names = {"__name__": "__main__"}
result = eval(code, names)
if inspect.iscoroutine(result):
    asyncio.run(result)
app = names.get("app")
if type(app).__name__ == "FastAPI":
    from fastapi.testclient import TestClient
    with TestClient(app) as client:
        for route in app.routes:
            if route.name in names:
                assert client.get(route.path).is_success, route.path
if type(app).__name__ == "Application":
    import aiohttp.test_utils
    async def serve():
        server = aiohttp.test_utils.TestServer(app)
        async with aiohttp.test_utils.TestClient(server) as client:
            for route in app.router.routes():
                if route.method == "GET":
                    assert (await client.get(route.resource.canonical)).ok
    asyncio.run(serve())
"""


def titled(block: str) -> str:
    """Return what a block is called in the list of tests."""
    return block.strip().splitlines()[0][:50]


def test_every_block_is_of_a_language_that_is_run() -> None:
    """A block without a language would be run by nobody."""
    assert (ROOT / "README.md").read_text().count("```") == 2 * len(BLOCKS)
    assert {language for language, _ in BLOCKS} <= {"python", "sh", "json"}
    assert PYTHON
    assert SHELL
