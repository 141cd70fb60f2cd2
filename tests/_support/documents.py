"""Pages of documentation: their blocks of code, which a reader would run, run in this process."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import gc
import importlib
import inspect
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from _support.command import run
from _support.scripts import unmeasured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from s1crets.testing import LocalAws

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RUN = {"python", "sh", "console"}
NOT_RUN = {"bash", "text", "json", "yaml", "toml", "ini", "dockerfile", "hcl"}
"""What needs an account, Docker or the like (`bash`), output (`text`), and files."""
_FENCE = re.compile(r"^(`{3,}|:{3,})(\{?[\w-]*\}?)[^\n]*\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w./-]+\.py)\n")
_VARYING = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ": "TIME",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "ID",
    r" in \d+\.\d\ds$": " in SECONDS",  # of pytest
}
_SHELL = re.compile(r"[|<>;&`*]|\$[({?\w]")  # what only a shell understands


@dataclass(frozen=True)
class Block:
    """A block of code, and the output that the page shows after it."""

    language: str
    code: str
    line: int
    output: str | None = None


def pages() -> list[Path]:
    """Return the README and every page of the site."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page; a block of text right after code is its output."""
    found: list[Block] = []
    end = -1
    for fence in _FENCE.finditer(text):
        _, language, code = fence.groups()
        if language.startswith("{"):
            continue
        block = Block(language, code, text.count("\n", 0, fence.start()) + 1)
        follows = bool(found) and not text[end : fence.start()].strip()
        if language == "text" and follows and found[-1].language in RUN:
            last = found.pop()
            block = Block(last.language, last.code, last.line, code)
        found.append(block)
        end = fence.end()
    return found


def transcript(code: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a `console` block with the output that follows each."""
    for entry in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        lines = entry.splitlines(keepends=True)
        length = 1
        while lines[length - 1].endswith("\\\n"):
            length += 1
        yield "".join(lines[:length]).strip(), "".join(lines[length:])


def matches(shown: str, actual: str) -> bool:
    """Return whether an output is as shown; a time stands for any time."""
    stripped = "\n".join(line.rstrip() for line in actual.rstrip().splitlines())
    return _without_times(shown.rstrip()) == _without_times(stripped)


def _without_times(output: str) -> str:
    """Return an output with the same times, durations and ids in every run."""
    for varying, same in _VARYING.items():
        output = re.sub(varying, same, output)
    return output


class Reader:
    """Somebody who runs the blocks of a page from top to bottom, in an empty folder."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, aws: LocalAws, redis_port: int
    ) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._aws = aws
        self._redis = f"127.0.0.1:{redis_port}"
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._files: dict[str, bool] = {}  # those of the page, and whether they were run
        self._stack = contextlib.ExitStack()
        self._server = contextlib.ExitStack()
        self._ask: Callable[[str, list[str]], str] | None = None

    def __enter__(self) -> Self:
        self._runner = self._stack.enter_context(asyncio.Runner())
        self._stack.enter_context(self._server)
        self._environment = dict(os.environ)
        self._monkeypatch.chdir(self._folder)
        self._monkeypatch.syspath_prepend(str(self._folder))
        self._monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        return self

    def __exit__(self, *_: object) -> None:
        self._names.clear()
        self._forget_modules()
        self._stack.close()
        os.environ.clear()
        os.environ.update(self._environment)
        gc.collect()

    def _forget_modules(self) -> None:
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(str(self._folder)):
                del sys.modules[name]

    def read(self, text: str) -> None:
        """Run all blocks; fail where one fails, or its output is another than shown."""
        text = text.replace("localhost:6379", self._redis)
        for block in blocks(text):
            if block.language in RUN or block.code.startswith("# pyproject.toml\n"):
                try:
                    self._read(block)
                except BaseException as error:
                    error.add_note(f"in the block at line {block.line}:\n{block.code}")
                    raise
        for name in [name for name, has_run in self._files.items() if not has_run]:
            self._load(Path(name).with_suffix("").as_posix().replace("/", "."))

    def _read(self, block: Block) -> None:
        if block.language == "toml":
            (self._folder / "pyproject.toml").write_text(block.code)
            return
        if block.language == "console":
            for command, output in transcript(block.code):
                compare(output, self._command(command))
            return
        if block.language == "python":
            actual = self._python(block.code)
        else:
            actual = "".join(map(self._command, lines_of(block.code)))
        if block.output is not None:
            compare(block.output, actual)

    # Python

    def _python(self, code: str) -> str:
        if name := _FILE.match(code):
            path = self._folder / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
            sys.modules.pop(path.stem, None)
            self._files[name[1]] = path.name.startswith(("test_", "conftest"))
            return ""
        source = self._folder / "example.py"  # for `inspect`, and tracebacks
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compiled = compile(code, str(source), "exec", flags=flags, dont_inherit=True)
        with captured() as output:
            result = eval(compiled, self._names)  # noqa: S307  # ours
            if inspect.iscoroutine(result):
                self._runner.run(result)
        return output.getvalue()

    def _load(self, module: str) -> ModuleType:
        self._files[module.replace(".", "/") + ".py"] = True
        importlib.invalidate_caches()
        return importlib.import_module(module)

    # The shell

    def _command(self, line: str) -> str:
        line = line.replace("\\\n", " ")
        if exported := re.fullmatch(r"export (\w+)=(?!\$)(\S+)", line):
            self._monkeypatch.setenv(exported[1], shlex.split(exported[2])[0])
            return ""
        if exported := re.fullmatch(r"export (\w+)=\$\((.*)\)", line):
            self._monkeypatch.setenv(exported[1], self._command(exported[2]).strip())
            return ""
        line = line.removesuffix(" &")
        if line.startswith("kill "):  # such a server
            return ""
        stdin = ""
        if piped := re.fullmatch(r"echo ('[^']*'|[\w-]+) \| (s1crets .*)", line):
            stdin, line = piped[1].strip("'") + "\n", piped[2]
        if last := re.fullmatch(r"(pytest [^|]*) \| tail -1", line):
            return self._command(last[1]).splitlines()[-1] + "\n"
        if _SHELL.search(quoted_removed(line)):
            return self._shell(line)
        return self._run(shlex.split(line, comments=True), stdin)

    def _run(self, words: list[str], stdin: str = "") -> str:
        if app := served(words):
            return self._serve(app)
        if words[:3] == ["python", "-m", "s1crets.testing"]:
            return self._local_aws(words[3:])
        program, *args = words
        if program == "s1crets":
            return self._s1crets(args, stdin)
        run = {
            "curl": self._curl, "pip": self._pip, "pytest": self._pytest, "python": self._script
        }.get(program)  # fmt: skip
        return run(args) if run else self._shell(shlex.join(words))

    def _s1crets(self, args: list[str], stdin: str) -> str:
        done = run(*args, stdin=stdin.encode())
        output = (done.stdout + done.stderr).decode()
        answers = {"check", "diff", "exists"}  # with their exit code
        assert done.returncode == 0 or "s1crets: " in output or answers & set(args), output
        return output

    def _script(self, args: list[str]) -> str:
        self._files[args[0]] = True
        self._monkeypatch.setattr(sys, "argv", args)
        with captured() as output, contextlib.suppress(SystemExit):
            runpy.run_path(args[0], run_name="__main__")
        return output.getvalue()

    def _shell(self, line: str) -> str:
        """Let a shell run a line: it takes half a second, so few lines should need one."""
        done = subprocess.run(
            ["/bin/bash", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=unmeasured(), timeout=60, check=False, text=True,
        )  # fmt: skip
        for name in self._files:
            self._files[name] |= name in line
        assert done.returncode == 0 or "s1crets: " in done.stdout, done.stdout
        return done.stdout

    def _local_aws(self, args: list[str]) -> str:
        """Seed the local AWS that there is, and run the command; a new shell starts afresh."""
        options, _, command = " ".join(args).partition("-- ")
        if command == "bash":
            self._aws.reset()
        if seed := re.search(r"--seed (\S+)", options):
            self._aws.seed(seed[1])
        return "" if command == "bash" else self._run(shlex.split(command))

    def _pip(self, args: list[str]) -> str:
        """Make the entry points of the page's package known, as `pip install -e .` does."""
        assert args == ["install", "-q", "-e", "."], args
        project = tomllib.loads((self._folder / "pyproject.toml").read_text())["project"]
        info = self._folder / f"{project['name']}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: 1.0\n")
        groups = [
            f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in points.items())
            for group, points in project["entry-points"].items()
        ]
        (info / "entry_points.txt").write_text("\n".join(groups))
        return ""

    def _pytest(self, args: list[str]) -> str:
        for name in self._files:
            self._files[name] = True
        self._forget_modules()  # in the reader's process they were never imported
        options = ["-p", "no:cacheprovider", "-p", "no:valkey", "--rootdir=.", "-c", "/dev/null"]
        options.append("--confcutdir=.")  # pytest looks at everything in it, which is not /tmp then
        options += ["-p", "no:unraisableexception"]  # it collects garbage five times, at the end
        options.append(f"--basetemp={self._folder.parent / 'tests'}")  # or old folders are deleted
        with captured() as output:
            code = pytest.main([*options, "-W", "ignore", "--capture=sys", *args])
        assert code == 0, output.getvalue()
        return output.getvalue()

    # Web apps

    def _serve(self, app: str) -> str:
        module, _, name = app.partition(":")
        loaded = self._load(module)
        found = getattr(loaded, name or "app", None) or loaded.create_app()  # as Flask does
        if inspect.isfunction(found):  # python -m aiohttp.web module:function
            found = found([])
        self._server.close()  # the former one
        self._ask = self._server.enter_context(client_of(found, self._runner))
        return ""

    def _curl(self, args: list[str]) -> str:
        assert self._ask, "no server is running"
        url = next(one for one in args if "localhost:8000" in one)
        path = "/" + url.removeprefix("http://").partition("/")[2]
        return self._ask(path, args)


def quoted_removed(code: str) -> str:
    """Return a command without what is in single quotes, which a shell leaves alone."""
    return re.sub(r"'[^']*'", "", code)


def lines_of(code: str) -> list[str]:
    """Return the commands of a `sh` block, without comments; quotes may span lines."""
    found: list[str] = []
    for line in code.replace("\\\n", " ").splitlines():
        if found and found[-1].count("'") % 2:
            found[-1] += "\n" + line
        elif line.strip() and not line.startswith("#"):
            found.append(line)
    return found


def compare(shown: str, actual: str) -> None:
    """Fail unless an output is as shown."""
    assert matches(shown, actual), f"the page shows:\n{shown}\nthe output is:\n{actual}"


@contextlib.contextmanager
def captured() -> Iterator[io.StringIO]:
    """Yield what is printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        yield output


def served(words: Sequence[str]) -> str:
    """Return the app, as `module:name`, that a command line serves."""
    line = " ".join(words)
    form = r"(?:uvicorn|gunicorn|python -m aiohttp\.web)\b.* (\w+:\w+)|flask --app (\w+) run.*"
    found = re.match(form, line)
    return (found[1] or found[2]) if found else ""


@contextlib.contextmanager
def client_of(app: Any, runner: asyncio.Runner) -> Iterator[Callable[[str, list[str]], str]]:
    """Yield a function that requests a path of an app, which lives meanwhile."""
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer
    from fastapi import FastAPI
    from starlette import testclient
    from werkzeug.test import Client

    if isinstance(app, FastAPI):
        with testclient.TestClient(app) as served:
            yield lambda path, args: served.request(method_of(args), path).text + "\n"
    elif isinstance(app, web.Application):

        async def start() -> TestClient[Any, Any]:
            client = TestClient(TestServer(app))
            await client.start_server()
            return client

        async def ask(path: str) -> str:
            async with client.get(path) as response:
                return await response.text() + "\n"

        client = runner.run(start())
        yield lambda path, _: runner.run(ask(path))
        runner.run(client.close())
    else:
        yield lambda path, _: Client(app).get(path).text + "\n"


def method_of(args: Sequence[str]) -> str:
    """Return the HTTP method that curl is told to use."""
    return args[args.index("-X") + 1] if "-X" in args else "GET"
