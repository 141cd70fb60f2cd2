"""Providers of other packages: how one is written, found, loaded, and what it promises."""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import os
import subprocess
import sys
import traceback
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from _support.command import run, told

import s1crets
from s1crets import aio, providers
from s1crets.providers.aws import ParameterStore
from s1crets.providers.files import Files
from s1crets.providers.simple import (
    AsyncSimpleProvider,
    Concealed,
    Entry,
    Fetched,
    SimpleProvider,
    _reserved_names,
    in_thread,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class AsyncDict(AsyncSimpleProvider):
    """The smallest provider that there is."""

    service = "a dict"
    values: dict[str, Any]

    async def fetch(self, name: str) -> Any:
        return self.values.get(name)

    async def names(self, path: str) -> Iterable[str]:  # noqa: ARG002  # the hook's
        return self.values


class Dict(SimpleProvider[AsyncDict]):
    async_class = AsyncDict


CANARY = "canary-3d0e"


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what `AsyncDict` has."""
    values: dict[str, Any] = {}
    monkeypatch.setattr(AsyncDict, "values", values, raising=False)
    return values


class TestWhatIsWritten:
    """What a package's class says, and what comes of it."""

    @pytest.mark.parametrize(
        ("raised", "kind"),
        [
            (OSError(5, CANARY), s1crets.UnavailableError),
            (ConnectionResetError(CANARY), s1crets.UnavailableError),
            (TimeoutError(CANARY), s1crets.UnavailableError),
            (PermissionError(CANARY), s1crets.AccessDeniedError),
            (s1crets.ThrottledError("slower"), s1crets.ThrottledError),
            (ZeroDivisionError(), ZeroDivisionError),
        ],
        ids=lambda one: getattr(one, "__name__", None) or type(one).__name__,
    )
    async def test_what_goes_wrong(self, raised: Exception, kind: type[Exception]) -> None:
        """The builtin errors of I/O become s1crets', without their words; a bug stays one."""

        class Broken(AsyncDict):
            async def fetch(self, name: str) -> str:  # noqa: ARG002  # the hook's
                raise raised

            async def names(self, path: str) -> list[str]:  # noqa: ARG002  # the hook's
                return ["a"]

        async with Broken() as store:
            with pytest.raises(kind) as caught:
                await store.get("a")
            if isinstance(raised, OSError):
                assert str(caught.value).startswith("a dict: fetch 'a' ")
            with pytest.raises((s1crets.BatchError, ZeroDivisionError)):
                await store.get_by_path("/")

        assert CANARY not in "".join(traceback.format_exception(caught.value))

    async def test_no_frame_of_a_store_shows_what_it_holds(self) -> None:
        """Also of the errors behind the one that it raises."""

        class Chatty(AsyncDict):
            async def fetch(self, name: str) -> str:
                secret = CANARY
                try:
                    raise ValueError(len(secret))  # noqa: TRY301  # one that is behind another
                except ValueError as error:
                    message = f"can't read {name}"
                    raise s1crets.BadResponseError(message) from error

        async with Chatty() as store:
            with pytest.raises(s1crets.BadResponseError, match="can't read a") as caught:
                await store.get("a")
        report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert isinstance(caught.value.__cause__, ValueError)
        assert CANARY not in "".join(report.format(chain=True))

    @pytest.mark.parametrize("mixes_in", [True, False])
    def test_names_that_s1crets_uses(self, *, mixes_in: bool) -> None:
        """A method of the same name would replace it, and fail somewhere inside."""
        names = set(_reserved_names())

        assert {"read", "answer", "key_of", "get_local", "_get", *vars(AsyncDict())} <= names
        for name in names:
            own: dict[str, Any] = {name: 5}
            bases = (type("Mixin", (), own), AsyncDict) if mixes_in else (AsyncDict,)
            message = f"^Vault.{name}: `{name}` is used by s1crets itself; choose another name$"
            with pytest.raises(TypeError, match=message):
                type("Vault", bases, {} if mixes_in else own)

    def test_names_that_are_free(self) -> None:
        """Verbs may be replaced, as may what the class has for itself."""
        own = dict.fromkeys(["get", "watch", "aclose", "registered_as", "_client", "lookup"], 5)

        assert type("Vault", (AsyncDict,), own)

    @pytest.mark.parametrize("first", [True, False])
    @pytest.mark.parametrize("name", ["_store", "_cache", "counters"])
    def test_attributes_that_s1crets_sets(self, name: str, *, first: bool) -> None:
        """Before or after `super().__init__`."""

        class Vault(AsyncDict):
            def __init__(self) -> None:
                if first:
                    setattr(self, name, {})
                super().__init__()
                setattr(self, name, {})

        with pytest.raises(TypeError, match=f"^Vault.{name}: `{name}` is used by s1crets itself"):
            Vault()
        AsyncDict().deadline = 5

    @pytest.mark.parametrize("hook", ["fetch", "names", "exists", "entries", "store", "disconnect"])
    def test_hooks_are_async(self, hook: str) -> None:
        """It says so when the class is written, not when it is called; a wrapper is fine."""
        with pytest.raises(TypeError, match=f"^Vault.{hook} must be an `async def`"):
            type("Vault", (AsyncDict,), {hook: lambda *_: None})

        @functools.wraps(AsyncDict.fetch)
        def wrapper(self: Any, name: str) -> Any:
            return AsyncDict.fetch(self, name)

        assert type("Vault", (AsyncDict,), {hook: wrapper})

    @pytest.mark.parametrize("hook", ["check", "identity"])
    def test_hooks_that_are_not_async(self, hook: str) -> None:
        """Nobody would await them: any name would pass, and identities would differ."""
        with pytest.raises(TypeError, match=f"^Vault.{hook} must be a `def`"):
            type("Vault", (AsyncDict,), {hook: AsyncDict.fetch})

    def test_a_service_is_needed(self) -> None:
        """At the latest when a provider is made: a base class may leave it to its subclasses."""

        class Base(AsyncSimpleProvider):
            fetch = AsyncDict.fetch
            names = AsyncDict.names

        class Named(Base):
            def __init__(self) -> None:
                self.service = "named"
                super().__init__()

        with pytest.raises(TypeError, match=r"^the class Base has no attribute `service`: set it"):
            Base()
        assert Named().service == "named"

    async def test_what_is_fetched_is_text_or_bytes(self, held: dict[str, Any]) -> None:
        """With a version, where there is one; anything else is told of, without the value."""
        held.update(a=b"\xff", b=Fetched("fake", 7), c={"k": CANARY}, d=5)
        async with AsyncDict() as store:
            assert await store.get("a") == b"\xff"
            assert await store.get("b") == "fake"
            with pytest.raises(s1crets.BadResponseError, match="'c' has the type dict") as caught:
                await store.get("c")

        assert CANARY not in str(caught.value)
        assert CANARY not in repr(Fetched(CANARY))

    async def test_a_version_tells_what_was_rotated(self, held: dict[str, Any]) -> None:
        """Another version with the same value is a change; without one, what is stored tells."""
        held.update(a=Fetched("fake", 1), b="fake")
        async with AsyncDict() as store:
            used = []

            async def fails_once(secret: str) -> str:
                used.append(secret)
                if len(used) == 1:
                    held.update(a=Fetched("fake", 2))
                    raise PermissionError
                return "in"

            assert await store.refresh_on(PermissionError, path="a")(fails_once)() == "in"
            used.clear()
            with pytest.raises(PermissionError):
                await store.refresh_on(PermissionError, path="b")(fails_once)()

    async def test_an_outage(self, held: dict[str, Any]) -> None:
        """With `stale_for`, an expired value is served; a refusal is one."""

        class Flaky(AsyncDict):
            fails: Exception | None = None

            async def fetch(self, name: str) -> Any:
                if self.fails:
                    raise self.fails
                return await super().fetch(name)

        held.update(a="fake", b="fake")
        args: Any = {"cache_ttl": 0.001, "stale_for": 600}
        async with Flaky(cache_args=args) as store:
            assert await store.get_many(["a", "b"]) == {"a": "fake", "b": "fake"}
            await anyio.sleep(0.01)
            store.fails = OSError()
            assert await store.get("a") == "fake"
            assert store.stats.stale == 1
            store.fails = PermissionError()
            with pytest.raises(s1crets.AccessDeniedError):
                await store.get("b")

    async def test_no_more_at_once_than_the_store_bears(self) -> None:
        """Whatever is asked for, and by whom."""
        now, most = 0, 0

        class Counting(AsyncDict):
            concurrency = 3

            async def fetch(self, name: str) -> str:
                nonlocal now, most
                now += 1
                most = max(most, now)
                await anyio.lowlevel.checkpoint()
                now -= 1
                return name

            async def names(self, path: str) -> Iterable[str]:  # noqa: ARG002  # the hook's
                return map(str, range(50))

        async with Counting() as store:
            await asyncio.gather(store.get_by_path("/"), store.get_many(map(str, range(50, 99))))

        assert most == 3

    async def test_what_has_just_gone_is_left_out(self, held: dict[str, Any]) -> None:
        """Between the listing and the reading."""
        held.update(a="fake", b=None)
        async with AsyncDict() as store:
            assert await store.get_by_path("/") == {"a": "fake"}

    async def test_what_a_store_can_do_besides(self) -> None:
        """Each hook is one of a verb."""
        seen: list[Any] = []

        class Full(AsyncDict):
            largest = 10

            def check(self, name: str) -> None:
                if name.startswith("/"):
                    raise s1crets.InvalidNameError("no slash")

            async def exists(self, path: str) -> bool:
                return path == "yes"

            async def entries(self, path: str) -> list[Entry]:
                return [Entry("b", "x", "1", None), Entry("a", "x", path, None)]

            async def store(self, name: str, value: Concealed, *, exists: bool | None) -> None:
                seen.append((name, value.reveal(), exists))
                assert CANARY not in repr(value)

            async def remove(self, name: str) -> None:
                seen.append(name)

            async def disconnect(self) -> None:
                seen.append("closed")

        async with Full() as store:
            assert await store.path_exists("yes") is True
            assert await store.path_exists("no") is False
            assert [one.name for one in await store.describe()] == ["a", "b"]
            assert [one.version for one in await store.describe("a/")] == ["a"]
            await store.create("a", "fake")
            await store.put("a", {"k": 1})
            await store.update("a", b"\xff")
            await store.delete("a")
            for call in (store.get, store.get_by_path, store.delete, store.describe):
                with pytest.raises(s1crets.InvalidNameError, match="no slash"):
                    await call("/a")
            with pytest.raises(s1crets.InvalidValueError, match="1 to 10"):
                await store.put("a", "x" * 11)

        assert seen == [
            ("a", "fake", False), ("a", '{"k": 1}', None), ("a", b"\xff", True), "a", "closed",
        ]  # fmt: skip

    def test_each_loop_that_ends_disconnects(self, held: dict[str, Any]) -> None:
        """A program that never closes its provider leaves nothing open. A new loop begins again."""
        seen: list[asyncio.AbstractEventLoop] = []

        class Connected(AsyncDict):
            async def disconnect(self) -> None:
                seen.append(asyncio.get_running_loop())

        held["a"] = "fake"
        store = Connected()
        asyncio.run(store.aclose())
        assert len(seen) == 1  # also if no secret was read
        seen.clear()
        for count in (1, 2):
            with asyncio.Runner() as runner:
                loop = runner.get_loop()
                assert runner.run(store.get("a", cached=False)) == "fake"
                runner.run(store.describe())
                assert loop not in seen
            assert seen[-1] is loop
            assert len(seen) == count

    def test_a_provider_that_is_garbage_is_not_kept(self, held: dict[str, Any]) -> None:
        """Although the loop that it was used on goes on."""
        held["a"] = "fake"
        with asyncio.Runner() as runner:
            store = AsyncDict()
            runner.run(store.get("a"))
            alive = weakref.ref(store)
            del store
            gc.collect()

            assert alive() is None

    async def test_what_it_can_not_do_by_default(self, held: dict[str, Any]) -> None:
        """It only reads, and tells names."""
        held["a"] = "fake"
        async with AsyncDict() as store:
            assert await store.describe() == [Entry("a", "secret", "", None)]
            for work in (store.delete("a"), store.create("b", "fake"), store.put("b", "fake")):
                with pytest.raises(s1crets.AccessDeniedError, match="a dict is read-only here"):
                    await work

    def test_its_options(self) -> None:
        """Those of every provider, and its own."""
        for options, kind, words in (
            ({"cache_ttl": 5}, TypeError, r"did you mean cache_args=\{'cache_ttl'"),
            ({"deadlin": 5}, TypeError, "did you mean deadline"),
            ({"deadline": "5"}, TypeError, "deadline must be int or float, not str"),
            ({"cache_args": 5}, TypeError, "cache_args must be a dict, not int"),
            ({"cache_args": {"refresh_ahead": 900}}, ValueError, "less than cache_ttl"),
        ):
            given: Any = options
            with pytest.raises(kind, match=words):
                Dict(**given)
        assert "Dict" in repr(Dict(deadline=None))
        nothing: Any = {"cache_args": None}
        assert Dict(**nothing).peek("a") is None

    @pytest.mark.filterwarnings("ignore::s1crets.InsecureCacheWarning")
    def test_a_cache_that_others_use_too(self, held: dict[str, Any], tmp_path: Path) -> None:
        """It takes something that tells whose entries are meant."""

        class AsyncNamed(AsyncDict):
            account = "one"

            def identity(self) -> str:
                return self.account

        class AsyncOther(AsyncNamed):
            pass

        class Other(SimpleProvider[AsyncOther]):
            async_class = AsyncOther

        class Named(SimpleProvider[AsyncNamed]):
            async_class = AsyncNamed

        keys, paths = str(tmp_path / "keys"), str(tmp_path / "paths")
        disk: Any = {"cache_on_disk": True, "key_cache_dir": keys, "path_cache_dir": paths}
        with pytest.raises(s1crets.ConfigurationError, match="give a namespace in cache_args"):
            Dict(cache_args=disk)

        def read(cls: Any, value: str, **args: Any) -> str:
            held["a"] = value
            with cls(cache_args={**disk, **args}) as store:
                return str(store.get("a"))

        assert read(Named, "one") == "one"
        assert read(Named, "two") == "one"
        assert read(Named, "three", namespace="n") == "three"
        assert read(Dict, "four", namespace="n") == "four"
        assert read(Other, "five") == "five"
        AsyncNamed.account = "two"
        assert read(Named, "six") == "six"

    async def test_what_blocks_goes_to_a_thread(self, caplog: pytest.LogCaptureFixture) -> None:
        """And what comes of it is not logged on its way back."""
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 0.0
        try:
            assert await in_thread("{}-{}".format, "canary", "3d0e") == CANARY
            with pytest.raises(ZeroDivisionError):
                await in_thread(divmod, 1, 0)
        finally:
            loop.set_debug(False)

        assert CANARY not in caplog.text


DEMO = """
from s1crets.providers.simple import AsyncSimpleProvider, SimpleProvider

VALUES = {"name": "fake", "db/password": "fake-2", "json": '{"k": ["fake-3"]}'}

class AsyncDict(AsyncSimpleProvider):
    service = "a demo"

    async def fetch(self, name):
        return VALUES.get(name)

    async def names(self, path):
        return VALUES

class Dict(SimpleProvider[AsyncDict]):
    async_class = AsyncDict
"""


def install(site: Path, package: str, code: str, **points: str) -> None:
    """Put a package into a folder of packages, as pip does."""
    info = site / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name.replace('__', '.')} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[s1crets.providers]", *lines, ""]))
    (site / f"{package}.py").write_text(code)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of packages, which this process and its children import from."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    monkeypatch.syspath_prepend(site)
    for name in ("demo_provider", "other", "broken", "poor"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return site


class TestInstalled:
    """A package with an entry point, found by the real machinery."""

    @pytest.fixture(autouse=True)
    def demo(self, site: Path) -> None:
        install(site, "demo_provider", DEMO, demo__dict="demo_provider:Dict")

    def test_in_another_process(self) -> None:
        """Both modules."""
        script = """
import asyncio, s1crets
print(s1crets.get("demo.dict", "name"), s1crets.get("demo.dict", "json", ("k", 0)))
print(s1crets.get_by_path("demo.dict", "db"), s1crets.path_exists("demo.dict", "db"))
print(asyncio.run(s1crets.aio.get_many("demo.dict", ["name"])))
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )

        assert done.stdout.splitlines() == [
            "fake fake-3", "{'db/password': 'fake-2'} True", "{'name': 'fake'}",
        ]  # fmt: skip

    async def test_in_this_process(self) -> None:
        """Looked for once, off the event loop; both flavours are one."""
        assert await aio.get("demo.dict", "name") == "fake"
        assert await aio.get("demo.dict", "name") == "fake"
        assert s1crets.get("demo.dict", "name") == "fake"
        assert providers.provider("demo.dict").stats.requests == {"fetch": 1}

    def test_the_command(self) -> None:
        """As with the providers that come with s1crets."""
        demo = ("--provider", "demo.dict")
        assert run("get", *demo, "name").stdout == b"fake\n"
        assert json.loads(run("get-by-path", *demo, "db").stdout) == {"db/password": "fake-2"}
        assert run("list", *demo).stdout.decode().split() == [
            "db/password", "secret", "json", "secret", "name", "secret",
        ]  # fmt: skip
        assert run("exists", *demo, "none").returncode == 1
        done = run("put", *demo, "name", "new")
        assert done.returncode == 4
        assert "a demo is read-only here" in told(done)

    def test_the_names(self) -> None:
        """Of all, without an import."""
        assert providers.provider_names() == ["aws.ps", "aws.sm", "files", "demo.dict"]
        assert "demo_provider" not in sys.modules
        done = run("get", "--provider", "demo.dct", "name")
        assert done.returncode == 2
        assert b"known are aws.ps, aws.sm, files, demo.dict" in done.stderr

    def test_our_own_names_are_ours(self, site: Path) -> None:
        """Whoever offers them."""
        install(site, "thief", "", files="demo_provider:Dict", aws__ps="demo_provider:Dict")

        assert providers.provider_class("files") is Files
        assert providers.provider_class("aws.ps") is ParameterStore
        assert providers.provider_names() == ["aws.ps", "aws.sm", "files", "demo.dict"]

    def test_a_name_that_two_packages_have(self, site: Path) -> None:
        """It is nobody's; the message has both."""
        install(site, "other", DEMO, demo__dict="other:Dict")
        both = r"demo_provider \(demo_provider:Dict\) and other \(other:Dict\): uninstall"
        with pytest.raises(s1crets.ConfigurationError, match=both):
            s1crets.get("demo.dict", "name")

    @pytest.mark.parametrize(
        ("point", "words"),
        [
            ("no_such_module:Dict", "can't be loaded .ModuleNotFoundError: No module named"),
            ("broken:Dict", "can't be loaded .RuntimeError: not today"),
            ("demo_provider:Dct", "can't be loaded .AttributeError"),
            ("demo_provider:AsyncDict", "it is not a blocking class: see s1crets.providers.simple"),
            ("demo_provider:VALUES", "it is not a blocking class"),
            ("demo_provider", "it is not a blocking class"),
        ],
    )
    def test_one_that_can_not_be_used(self, site: Path, point: str, words: str) -> None:
        """The message has the name, the package and the reason; the command's too."""
        install(site, "broken", "raise RuntimeError('not today')", my__own=point)
        with pytest.raises(s1crets.ConfigurationError, match=words) as caught:
            s1crets.get("my.own", "name")

        assert f"the provider 'my.own' comes from broken ({point}): " in str(caught.value)
        done = run("get", "--provider", "my.own", "name")
        assert done.returncode == 2
        assert str(caught.value) in told(done)

    def test_one_that_lacks_a_verb(self, site: Path) -> None:
        """The command says which."""
        code = (
            DEMO
            + """
from s1crets._sync import Facade, blocking, in_background

class Poor(Facade[AsyncDict]):
    def __init__(self):
        self._provider = in_background(AsyncDict())

    get = blocking(AsyncDict.get)
"""
        )
        install(site, "poor", code, my__poor="poor:Poor")
        poor = ("--provider", "my.poor")

        assert run("get", *poor, "name").stdout == b"fake\n"
        calls = {
            "describe": ["list"],
            "put": ["put", "a", "b"],
            "delete": ["delete", "--yes", "a"],
            "get_many": ["check", "--secret", "a"],
        }
        for verb, (command, *args) in calls.items():
            done = run(command, *poor, *args)
            assert done.returncode == 2
            assert told(done).endswith(f"the provider 'my.poor' can't do that: it has no `{verb}`")
