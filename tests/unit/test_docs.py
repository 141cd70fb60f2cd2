"""The documentation: every public name has some, and every block of code in the README runs."""

from __future__ import annotations

import asyncio
import base64
import gc
import re
import runpy
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pdoc.doc
import pdoc.extract
import pdoc.render
import pytest
import uvicorn
from _support.command import run
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastapi import FastAPI

from s1crets import providers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _support.servers import RedisServer

    from s1crets.testing import LoopbackAws

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
MODULES = re.findall(r"^API = (.*?[^\\])$", MAKEFILE, re.MULTILINE | re.DOTALL)[0].split()
MODULES = [one for one in MODULES if one != "\\"]
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
        if re.search(r"\b_", one.qualname) or one.docstring:
            continue
        home, of = one.taken_from
        owner = pdoc.doc.Module(pdoc.extract.load_module(home)).get(of.rpartition(".")[0])
        attributes = (owner.docstring if owner else "").partition("Attributes:")[2]
        if not re.search(rf"^\s+{one.name}:", attributes, re.MULTILINE):
            bare.append(one.qualname)
    assert bare == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pdoc's templates
def test_the_reference_is_written(tmp_path: Path) -> None:
    """As `make docs` does, with this Python: one page per module."""
    pdoc.render.configure(docformat="google", show_source=False)  # highlighting takes longest
    pdoc.pdoc(*MODULES, output_directory=tmp_path)

    for name in PUBLIC:
        assert (tmp_path / (name.replace(".", "/") + ".html")).stat().st_size > 1000


README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "sh"]
LINES = [line for code in SHELL for line in code.splitlines() if line.startswith("s1crets ")]
TOKENS = {f"/prod/tenants/{i}/token": f"fake-{i}" for i in range(100)}
PARAMETERS = {"/prod/db": {"password": "fake"}, "/prod/db/url": "fake://db", **TOKENS}
KEY = base64.b64encode(bytes(32)).decode()
SECRETS = {"prod/db": {"password": "fake"}, "prod/api-key": "fake", "prod/signing-key": "fake"}


def titled(code: str) -> str:
    """Return what a block is called in the list of tests."""
    imported = re.findall(r"^from (s1crets\S*) import (.*)$", code, re.MULTILINE)
    return " ".join(imported[0] if imported else code.split()[:4])


def test_every_block_is_of_a_language_that_is_run() -> None:
    """A block without a language would be run by nobody."""
    assert README.count("```") == 2 * len(BLOCKS)
    assert {language for language, _ in BLOCKS} == {"python", "sh", "json"}
    assert len(PYTHON) >= 10
    assert len(LINES) >= 5


@pytest.fixture
def prod(s1crets_aws: LoopbackAws) -> LoopbackAws:
    """Return an AWS that has what README reads."""
    s1crets_aws.seed({"aws.ps": PARAMETERS, "aws.sm": SECRETS})
    return s1crets_aws


@pytest.mark.parametrize("code", [pytest.param(code, id=titled(code)) for code in PYTHON])
def test_the_python_runs(
    prod: LoopbackAws,
    redis: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
) -> None:
    """The apps in it answer requests, and the tests in it pass."""
    file = tmp_path / "example.py"
    file.write_text(code)
    (tmp_path / "db_password").write_text("fake\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S1CRETS_FILES", str(tmp_path))
    monkeypatch.setenv("S1CRETS_CACHE_KEY", KEY)
    monkeypatch.setenv("REDIS_PORT", str(redis.port))
    names = runpy.run_path(str(file), run_name="__main__")
    app = names.get("app")
    if isinstance(app, FastAPI):
        asyncio.run(serve_fastapi(app))
    elif isinstance(app, web.Application):
        asyncio.run(serve_aiohttp(app))
    tests = [test for name, test in names.items() if name.startswith("test_")]
    for test in tests:
        providers.reset()  # as the fixture `s1crets_aws` does
        test(prod)
    asks_aws = not ("files" in code or "Simple" in code or "RoleArn" in code)
    assert bool(prod.requests) is asks_aws
    names.clear()  # its providers close their connections when they are collected
    gc.collect()


async def ask(url: Any) -> None:
    async with aiohttp.ClientSession() as client, client.get(url, raise_for_status=True) as answer:
        assert await answer.text()


async def serve_fastapi(app: FastAPI) -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
        assert not serving.done()
    await ask(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/")
    server.should_exit = True
    await serving


async def serve_aiohttp(app: web.Application) -> None:
    async with TestServer(app) as server:
        await ask(server.make_url("/"))


@pytest.mark.parametrize("line", LINES)
def test_the_commands_run(prod: LoopbackAws, line: str) -> None:
    """Each of the lines that call `s1crets`."""
    done = run(*shlex.split(line, comments=True)[1:])

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


def test_what_make_and_pip_are_told_to_do_is_there() -> None:
    """Every target is one of the Makefile's, every extra one of the project's."""
    shell = "\n".join(SHELL)
    targets = re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"# extras: (.*)", shell)

    assert {"demo", "test"} <= set(re.findall(r"^make (\w+)", shell, re.MULTILINE)) <= set(targets)
    assert set(named[0].split(", ")) == project["optional-dependencies"].keys() - {"all"}
