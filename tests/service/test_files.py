"""The provider `files`: reading, writing and refusals, on real files."""

from __future__ import annotations

import errno
import json
import os
import resource
import secrets
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import pytest
from _support.command import run, told
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import s1crets
from s1crets import aio
from s1crets.providers.files import AsyncFiles, Files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CANARY = "canary-f11e"
INSECURE = "ignore::s1crets.InsecureCacheWarning"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that `S1CRETS_FILES` names; the folder next to it is off limits."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text(CANARY)
    monkeypatch.setenv("S1CRETS_FILES", str(folder))
    return folder


@pytest.fixture
def files(folder: Path) -> Iterator[Files]:
    with Files(deadline=30) as files:  # so that an error can't hang a test
        yield files


@pytest.fixture
def unprivileged(folder: Path) -> Iterator[None]:
    """Drop root's privileges, if the tests run as root."""
    if os.geteuid():
        yield
        return
    for path in (folder, *folder.parents):
        path.chmod(path.stat().st_mode | 0o711)
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    yield
    os.seteuid(0)


class Before(Protocol):
    """See the fixture `before`."""

    def __call__(
        self, function: str, *args: object, call: int = 1
    ) -> Callable[[Callable[[], object]], object]: ...


@pytest.fixture
def before() -> Iterator[Before]:
    """Let another process's change happen at the worst moment: just before a system call.

    `@before("open", b"a")` calls what it decorates just before the first `os.open(b"a", ...)`.
    """
    with pytest.MonkeyPatch.context() as patch:

        def before(
            function: str, *args: object, call: int = 1
        ) -> Callable[[Callable[[], object]], object]:
            original = getattr(os, function)
            calls = iter(range(1, 10**6))

            def install(change: Callable[[], object]) -> None:
                def changed(*given: Any, **options: Any) -> Any:
                    if given[: len(args)] == args and next(calls) == call:
                        change()
                    return original(*given, **options)

                patch.setattr(os, function, changed)

            return install

        yield before


class TestFolder:
    """The folder that has the files."""

    def test_the_default_is_dockers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also if the environment variable is empty."""
        monkeypatch.delenv("S1CRETS_FILES", raising=False)
        assert repr(Files()) == "<Files in '/run/secrets'>"
        monkeypatch.setenv("S1CRETS_FILES", "")
        assert repr(Files().awaited) == "<AsyncFiles in '/run/secrets'>"

    def test_the_constructor_overrides_the_environment(self, folder: Path, tmp_path: Path) -> None:
        """It takes `Path` and text."""
        (folder / "a").write_text("fake-1")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "a").write_text("fake-2")

        assert s1crets.get("files", "a") == "fake-1"
        for other in (tmp_path / "other", f"{tmp_path}/other/"):
            assert Files(folder=other).get("a") == "fake-2"

    async def test_the_module_level_functions_use_it(self, folder: Path) -> None:
        """Those of `s1crets.aio` too."""
        (folder / "a").write_text('{"k": "fake"}')

        assert await aio.get("files", "a", "k") == "fake"
        assert await aio.get_by_path("files", "/") == {"a": {"k": "fake"}}

    def test_a_relative_path_is_resolved_once(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process may change its working directory later."""
        (folder / "a").write_text("fake")
        monkeypatch.chdir(tmp_path)
        files = Files(folder="secrets")
        monkeypatch.chdir("/")

        assert files.get("a") == "fake"

    def test_a_missing_folder_has_no_secrets(self, tmp_path: Path) -> None:
        """The message gives the reason; a write does not create the folder."""
        files = Files(folder=tmp_path / "none")

        assert files.get("a", default=None) is None
        assert files.get_by_path("/") == {}
        assert files.path_exists("a") is False
        for call in (files.get, lambda name: files.put(name, "fake")):
            with pytest.raises(s1crets.SecretNotFoundError, match="no such folder; S1CRETS_FILES"):
                call("a")
        (tmp_path / "none").write_text("no folder")
        with pytest.raises(s1crets.SecretNotFoundError, match="Not a directory"):
            files.get("a")

    @pytest.mark.parametrize("folder", [5, ["a"]])
    def test_a_folder_of_another_type(self, folder: Any) -> None:
        """It is a `TypeError`."""
        with pytest.raises(TypeError, match=r"folder must be a path, not (int|list)"):
            Files(folder=folder)

    @pytest.mark.parametrize("folder", ["", "a\0b"])
    def test_a_folder_that_is_not_a_path(self, folder: str) -> None:
        """Empty text, for example from an unset variable in a script, is refused."""
        with pytest.raises(s1crets.ConfigurationError, match="folder must be a path, not empty"):
            AsyncFiles(folder=folder)

    def test_an_unknown_option(self) -> None:
        """The message lists the known options."""
        options: Any = {"xyz": "x"}
        with pytest.raises(TypeError, match=r"no option 'xyz': known are folder, cache_args, dead"):
            Files(**options)


class TestValues:
    """How a file's content becomes a value."""

    @pytest.mark.parametrize(
        ("data", "value"),
        [
            (b"fake", "fake"),
            (b"fake\n", "fake"),  # written by `echo`
            (b"fake\n\n", "fake\n"),
            (b" fake \r\n", " fake \r"),
            (b"", ""),
            (b"\n", ""),
            (b'{"k": 1}\n', {"k": 1}),
            ("ä".encode(), "ä"),
            (b"\xff\n", b"\xff\n"),
            ("ä".encode("latin-1"), "ä".encode("latin-1")),
        ],
    )
    def test_utf8_is_text(self, folder: Path, files: Files, data: bytes, value: Any) -> None:
        """Without a single newline at its end; everything else is bytes, unchanged."""
        (folder / "a").write_bytes(data)

        assert files.get("a") == value

    @pytest.mark.parametrize("value", ["fake", "fake\n", "\n\n", b"\xff", b"\xff\n"])
    def test_a_written_value_is_read_unchanged(self, files: Files, value: Any) -> None:
        """Also if it ends with a newline."""
        files.put("a", value)

        assert files.get("a") == value

    def test_a_value_has_at_most_a_mebibyte(self, folder: Path, files: Files) -> None:
        """Both for reading and for writing."""
        (folder / "a").write_bytes(b"x" * 2**20 + b"\n")
        assert len(files.get("a")) == 2**20
        (folder / "a").write_bytes(CANARY.encode() * 2**17)
        for call in (files.get, lambda name: files.put(name, CANARY * 2**17)):
            with pytest.raises(s1crets.InvalidValueError, match=r"1,048,57\d") as caught:
                call("a")
            assert CANARY not in str(caught.value)

    @pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="it takes Linux's /proc")
    def test_an_io_error_is_an_outage(self) -> None:
        """For example of a network file system."""
        with pytest.raises(s1crets.UnavailableError, match="Input/output error"):
            Files(folder="/proc/self").get("mem")


REFUSED = ["../outside/file", "..", "/a", "a/../b", "a//b", "./a", "a/", "..data/a", "x" * 256,
           "a/" + "ä" * 128]  # fmt: skip


class TestNames:
    """Valid and invalid names."""

    @pytest.mark.parametrize("name", REFUSED, ids=lambda name: name[:20])
    def test_an_invalid_name_is_refused(self, files: Files, name: str) -> None:
        """By every verb, before anything is opened."""
        calls = (files.get, files.peek, files.delete, lambda one: files.put(one, "fake"))
        for call in calls:
            with pytest.raises(s1crets.InvalidNameError, match="can't be a name of files in"):
                call(name)

        assert files.stats.requests == {}

    def test_a_name_may_contain_folders(self, folder: Path, files: Files) -> None:
        """Hidden files count as files, folders do not."""
        (folder / "db" / "x").mkdir(parents=True)
        (folder / "db" / "x" / "password").write_text("fake")
        (folder / ".dockerconfigjson").write_text('{"auths": {}}')

        assert files.get("db/x/password") == "fake"
        assert files.get(".dockerconfigjson") == {"auths": {}}
        for name in ("db", "db/x"):
            with pytest.raises(s1crets.SecretNotFoundError, match="it is a folder"):
                files.get(name)
        with pytest.raises(s1crets.SecretNotFoundError):
            files.get("db/x/password/more")


LINKS = {
    "absolute": "{outside}/file",
    "relative": "../outside/file",
    "a folder": "../outside",
    "the root": "/",
    "up and down": "db/../../outside/file",
    "by way of another": "relative",
    "beside, named alike": "{folder}-other",
}


class TestSymlinks:
    """Symlinks are followed as long as they stay in the folder."""

    @pytest.mark.parametrize(
        "target", ["../a", "a", "{folder}/a", "./db/../a", "link/..//a", "{real}/a"]
    )
    def test_inside(self, folder: Path, tmp_path: Path, target: str) -> None:
        """By any route; the folder itself may be a symlink too."""
        (tmp_path / "named").symlink_to(folder)
        (folder / "db").mkdir()
        (folder / "db" / "a").write_text("fake")
        (folder / "a").write_text("fake")
        (folder / "link").symlink_to("db")
        name = "db/b" if target.startswith("..") else "b"
        (folder / name).symlink_to(target.format(folder=tmp_path / "named", real=folder))

        (folder / "db" / "far").symlink_to(folder / "a")

        assert Files(folder=tmp_path / "named").get(name) == "fake"
        assert Files(folder=tmp_path / "named").get("db/far") == "fake"

    @pytest.mark.parametrize("kind", LINKS)
    def test_outside(self, folder: Path, files: Files, tmp_path: Path, kind: str) -> None:
        """They are refused, and a listing reports them."""
        (folder / "db").mkdir()
        (tmp_path / "secrets-other").write_text(CANARY)
        for link, target in LINKS.items():
            (folder / link).symlink_to(target.format(outside=tmp_path / "outside", folder=folder))

        names = {"a folder": "a folder/file", "the root": f"the root{tmp_path}/outside/file"}
        with pytest.raises(s1crets.AccessDeniedError, match="leads out of the folder"):
            files.get(names.get(kind, kind))
        with pytest.raises(s1crets.BatchError) as caught:
            files.get_by_path("/")
        assert isinstance(caught.value.errors[kind], s1crets.AccessDeniedError)
        with pytest.raises(s1crets.AccessDeniedError):
            files.get_by_path(kind)

    def test_loops(self, folder: Path, files: Files) -> None:
        """A loop is an error, or is listed once."""
        (folder / "a").symlink_to("b")
        (folder / "b").symlink_to("a")
        (folder / "up").symlink_to(".")
        (folder / "c").write_text("fake")
        with pytest.raises(s1crets.AccessDeniedError, match="too many levels of symlinks"):
            files.get("a")
        (folder / "a").unlink()

        assert files.get("up/up/up/c") == "fake"
        assert files.get_by_path("/") == {"c": "fake"}  # `b` leads nowhere

    def test_at_most_forty(self, folder: Path, files: Files) -> None:
        """The same as Linux follows."""
        (folder / "0").write_text("fake")
        for number in range(1, 42):
            (folder / str(number)).symlink_to(str(number - 1))

        assert files.get("40") == "fake"
        with pytest.raises(s1crets.AccessDeniedError, match="too many levels of symlinks"):
            files.get("41")

    def test_dangling(self, folder: Path, files: Files) -> None:
        """The secret does not exist."""
        (folder / "a").symlink_to("none")
        with pytest.raises(s1crets.SecretNotFoundError, match="no such file"):
            files.get("a")


class TestSpecialFiles:
    """Only regular files are opened: others may block, or act on a device."""

    def test_fifos_and_sockets(self, folder: Path, files: Files) -> None:
        """They are refused, and not listed."""
        os.mkfifo(folder / "fifo")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(folder / "socket"))
            for name in ("fifo", "socket"):
                with pytest.raises(s1crets.AccessDeniedError, match="not a regular file"):
                    files.get(name)
                with pytest.raises(s1crets.AccessDeniedError, match="not a regular file"):
                    files.put(name, "fake")

        assert files.get_by_path("/") == {}

    @pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="there is no /dev/null")
    def test_devices(self) -> None:
        """They are refused."""
        with pytest.raises(s1crets.AccessDeniedError, match="not a regular file"):
            Files(folder="/dev").get("null")


class TestSwapped:
    """Somebody replaces a file between the check and the opening."""

    def test_by_a_fifo(self, folder: Path, files: Files, before: Before) -> None:
        """The opened file is checked again; opening it does not block."""
        (folder / "a").write_text("fake")
        os.mkfifo(folder / "fifo")
        before("open", b"a")(lambda: (folder / "fifo").rename(folder / "a"))
        with pytest.raises(s1crets.AccessDeniedError, match="not a regular file"):
            files.get("a")

    @pytest.mark.parametrize("part", ["db", "file"])
    def test_by_a_symlink(
        self, folder: Path, files: Files, tmp_path: Path, before: Before, part: str
    ) -> None:
        """A symlink that was not there when the name was checked is not followed."""
        (folder / "db").mkdir()
        (folder / "db" / "file").write_text("fake")
        name = {"db": folder / "db", "file": folder / "db" / "file"}[part]
        target = {"db": tmp_path / "outside", "file": tmp_path / "outside" / "file"}[part]

        @before("open", part.encode())
        def _swap() -> None:
            name.rename(tmp_path / "old")
            name.symlink_to(target)

        with pytest.raises(s1crets.S1cretsError):
            files.get("db/file")

    def test_by_a_longer_file(self, folder: Path, files: Files, before: Before) -> None:
        """The limit applies to the content that is read, not to the size that was checked."""
        (folder / "a").write_text("fake")
        (folder / "long").write_bytes(b"x" * (2**20 + 2))
        before("open", b"a")(lambda: (folder / "long").rename(folder / "a"))
        with pytest.raises(s1crets.InvalidValueError):
            files.get("a")


class TestListings:
    """`get_by_path`, `path_exists`, `describe`."""

    def test_a_path_lists_everything_under_it(self, folder: Path, files: Files) -> None:
        """In order; `/` means everything; files without a valid name are left out."""
        (folder / "db" / "x").mkdir(parents=True)
        (folder / "empty").mkdir()
        for name in ("db/x/a", "db/b", "dbx", "line\nbreak"):
            (folder / name).write_text(f"fake-{name[-1]}")
        (folder / os.fsdecode(b"\xff")).write_text("no UTF-8")

        assert list(files.get_by_path("/")) == ["db/b", "db/x/a", "dbx"]
        assert files.get_by_path("db") == {"db/b": "fake-b", "db/x/a": "fake-a"}
        assert files.get_by_path("dbx") == {"dbx": "fake-x"}
        for path in ("db", "db/x/", "dbx", "/"):
            assert files.path_exists(path) is True
        for path in ("empty", "d", "db/b/c"):
            assert files.path_exists(path) is False

    def test_describe(self, folder: Path, files: Files, tmp_path: Path) -> None:
        """It returns modification times, except for symlinks that lead outside."""
        (folder / "a").write_text("fake")
        (folder / "b").symlink_to(tmp_path / "outside" / "file")
        os.utime(folder / "a", ns=(5 * 10**9, 5 * 10**9))
        a, b = files.describe()

        assert (a.name, a.type, a.version) == ("a", "file", "5000000000")
        assert a.changed is not None
        assert a.changed.isoformat() == "1970-01-01T00:00:05+00:00"
        assert (b.name, b.version, b.changed) == ("b", "", None)
        assert files.describe("a") == [a]

    def test_too_many_files(self, folder: Path, files: Files) -> None:
        """More than 10,000 are an error: the folder is probably not for secrets."""
        (folder / "0").mkdir()
        for number in range(100):
            (folder / "0" / str(number)).touch()
        for number in range(1, 100):
            (folder / str(number)).symlink_to("0")  # the same files under more names
        with pytest.raises(s1crets.ConfigurationError, match="more than 10,000 files"):
            files.get_by_path("/")

    @pytest.mark.usefixtures("unprivileged")
    def test_missing_permissions(self, folder: Path, files: Files) -> None:
        """Access is denied, also in a listing. Other files can still be read."""
        for name in ("a", "b", "c/d"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("fake")
        (folder / "a").chmod(0)
        for call in (files.get, lambda _: files.get_by_path("/")):
            with pytest.raises((s1crets.AccessDeniedError, s1crets.BatchError)) as caught:
                call("a")
            assert "'a' can't be read: Permission denied" in str(caught.value)
        (folder / "c").chmod(0o300)  # it can be entered, but not listed
        assert files.get("c/d") == "fake"
        with pytest.raises(s1crets.AccessDeniedError, match="the folder 'c' can't be listed"):
            files.get_by_path("/")
        with pytest.raises(s1crets.AccessDeniedError, match=r"c.*can't be listed"):
            files.get_by_path("c")
        (folder / "c").chmod(0o700)
        folder.chmod(0)
        for verb in (files.path_exists, files.get):
            with pytest.raises(s1crets.AccessDeniedError):
                verb("b")
        folder.chmod(0o500)
        with pytest.raises(
            s1crets.AccessDeniedError, match="change mounted secrets at their source"
        ):
            files.put("b", "new")
        folder.chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it takes Linux's /proc")
def test_no_descriptor_stays_open(folder: Path, files: Files, tmp_path: Path) -> None:
    """After success and after errors."""

    def opened() -> list[str]:
        paths = []
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # it has just been closed
                paths.append(str(link.readlink()))
        return [path for path in paths if path.startswith(str(tmp_path))]

    (folder / "db").mkdir()
    (folder / "up").symlink_to("db/../db")
    (folder / "absolute").symlink_to(folder / "db")
    (folder / "out").symlink_to("../outside")
    for name in ("db/a", "up/a", "absolute/a", "out/file", "none", "db", "db/a/b"):
        for call in (lambda name: files.put(name, "fake"), files.get, files.get_by_path):
            with suppress(s1crets.S1cretsError):
                call(name)
    with suppress(s1crets.S1cretsError):
        files.delete("db/a")

    assert opened() == []


class Mounted:
    """A folder that Kubernetes mounts and updates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._generation = 0

    def write(self, **values: str) -> None:
        """Do what Kubernetes' atomic writer does: new folder, rename, removal of the old folder."""
        self._generation += 1
        new = self.folder / f"..2026_{self._generation}"
        old = self.folder / f"..2026_{self._generation - 1}"
        for name, value in values.items():
            path = new / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value)
        (self.folder / "..data_tmp").symlink_to(new.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        for name in {name.partition("__")[0] for name in values}:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        if old.exists():
            for path in sorted(old.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            old.rmdir()


class TestKubernetes:
    """Names are symlinks to symlinks to hidden folders."""

    def test_only_the_intended_names_are_listed(self, folder: Path, files: Files) -> None:
        """And all of them can be read."""
        Mounted(folder).write(a="fake-a", db__password="fake-p")

        assert files.get("a") == "fake-a"
        assert files.get_by_path("/") == {"a": "fake-a", "db/password": "fake-p"}
        assert files.get_by_path("db") == {"db/password": "fake-p"}

    async def test_watch_yields_every_change(self, folder: Path) -> None:
        """With a cache too."""
        mounted = Mounted(folder)
        mounted.write(a="fake-1")
        async with AsyncFiles(cache_args={"cache_ttl": 600}) as files:
            assert await files.get("a") == "fake-1"
            seen = []
            await anyio.to_thread.run_sync(lambda: mounted.write(a="fake-2"))
            async for value in files.watch("a", interval=0.01):
                seen.append(value)
                if len(seen) == 2:
                    break
                await anyio.to_thread.run_sync(lambda: mounted.write(a="fake-3"))

        assert seen == ["fake-2", "fake-3"]

    def test_an_update_during_a_read(self, folder: Path, files: Files, before: Before) -> None:
        """The old file is gone when it is to be opened: the new file is read."""
        mounted = Mounted(folder)
        mounted.write(a="fake-1")
        before("open", b"a")(lambda: mounted.write(a="fake-2"))

        assert files.get("a") == "fake-2"

    def test_a_second_update_during_a_read(
        self, folder: Path, files: Files, before: Before
    ) -> None:
        """It is tried three times in all."""
        mounted = Mounted(folder)
        mounted.write(a="fake")
        before("open", b"a", call=1)(lambda: mounted.write(a="fake"))
        before("open", b"a", call=2)(lambda: mounted.write(a="fake"))
        assert files.get("a") == "fake"

        before("open", b"a", call=1)(lambda: mounted.write(a="fake"))
        before("open", b"a", call=2)(lambda: mounted.write(a="fake"))
        before("open", b"a", call=3)(lambda: mounted.write(a="fake"))
        with pytest.raises(s1crets.SecretNotFoundError):
            files.get("a")

    def test_an_update_during_a_listing(self, folder: Path, files: Files, before: Before) -> None:
        """A folder is emptied just before it is listed: the listing is complete nevertheless."""
        mounted = Mounted(folder)
        mounted.write(db__x="fake")
        before("listdir", call=2)(lambda: mounted.write(db__x="fake"))

        assert files.get_by_path("/") == {"db/x": "fake"}

    def test_mounted_files_are_not_written(self, folder: Path, files: Files) -> None:
        """The change would not last."""
        Mounted(folder).write(a="fake")
        calls: list[Any] = [lambda: files.update("a", "new"), lambda: files.delete("a")]
        for call in calls:
            with pytest.raises(s1crets.AccessDeniedError, match="that Kubernetes mounts"):
                call()

        assert files.get("a") == "fake"


class TestWriting:
    """Writes are atomic."""

    def test_a_new_file_is_private(self, folder: Path, files: Files) -> None:
        """And so are the folders that it needs."""
        files.create("db/x/a", {"k": 1})

        assert json.loads((folder / "db/x/a").read_text()) == {"k": 1}
        assert stat.S_IMODE((folder / "db/x/a").stat().st_mode) == 0o600
        assert stat.S_IMODE((folder / "db/x").stat().st_mode) == 0o700
        with pytest.raises(s1crets.SecretExistsError, match="exists already"):
            files.create("db/x/a", "other")
        assert files.get("db/x/a") == {"k": 1}

    def test_an_update_replaces_the_file(self, folder: Path, files: Files) -> None:
        """Who has opened the old file can read all of it; nothing else is left in the folder."""
        (folder / "a").write_text("old")
        with (folder / "a").open() as old:
            files.update("a", "new")
            assert old.read() == "old"

        assert (folder / "a").read_text() == "new"
        assert [path.name for path in folder.iterdir()] == ["a"]

    def test_an_update_survives_a_crash(self, folder: Path, files: Files, before: Before) -> None:
        """The new content is complete and on the disk before it replaces the old."""
        (folder / "a").write_text("old")
        seen: list[list[str]] = []

        def look() -> None:
            seen.append(sorted(path.read_text() for path in folder.iterdir()))

        before("fsync")(look)
        before("rename")(look)
        files.update("a", "new")

        assert seen == [["new", "old"], ["new", "old"]]

    def test_a_draft_is_never_listed(self, folder: Path, files: Files, before: Before) -> None:
        """Nobody sees a file that is being written."""
        seen = []
        before("fsync")(lambda: seen.append(Files(folder=folder).get_by_path("/")))
        files.put("a", "fake")

        assert seen == [{}]

    def test_a_draft_is_a_new_file(
        self, folder: Path, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Even if somebody guesses its name, and puts a symlink there."""
        monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
        (folder / "..s1crets-guessed").symlink_to(tmp_path / "outside" / "file")
        with pytest.raises(s1crets.SecretExistsError):
            files.put("a", "fake")

        assert (tmp_path / "outside" / "file").read_text() == CANARY

    def test_update_and_delete_need_an_existing_file(self, folder: Path, files: Files) -> None:
        """Only `put` and `create` create a file."""
        calls: list[Any] = [lambda: files.update("a/b", "fake"), lambda: files.delete("a")]
        for call in calls:
            with pytest.raises(s1crets.SecretNotFoundError):
                call()
        assert list(folder.iterdir()) == []
        files.put("a/b", "fake")
        with pytest.raises(s1crets.SecretNotFoundError):
            files.update("a/c", "fake")
        files.delete("a/b")
        with pytest.raises(s1crets.SecretNotFoundError):
            files.delete("a/b")

    def test_files_and_folders_do_not_replace_each_other(self, folder: Path, files: Files) -> None:
        """The error says that the name is invalid."""
        (folder / "a").write_text("fake")
        (folder / "db").mkdir()
        for name in ("db", "a/b", "a/b/c"):
            with pytest.raises(s1crets.InvalidNameError, match=f"'{name}' can't be changed: it"):
                files.put(name, "fake")

        assert (folder / "a").read_text() == "fake"

    def test_symlinks_that_lead_outside(self, folder: Path, files: Files, tmp_path: Path) -> None:
        """Nothing is written or deleted there."""
        (folder / "out").symlink_to(tmp_path / "outside")
        (folder / "file").symlink_to(tmp_path / "outside" / "file")
        for name in ("out/file", "out/new", "out/new/x", "file"):
            for call in (lambda name: files.put(name, "new"), files.delete):
                with pytest.raises(s1crets.AccessDeniedError):
                    call(name)

        assert [path.name for path in (tmp_path / "outside").iterdir()] == ["file"]
        assert (tmp_path / "outside" / "file").read_text() == CANARY

    def test_a_full_disk(self, folder: Path, files: Files) -> None:
        """The old value stays, and nothing of the new value is left."""
        (folder / "a").write_text("old")
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        files.get("a")
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, most))
        try:
            with pytest.raises(s1crets.UnavailableError, match=os.strerror(errno.EFBIG)) as caught:
                files.update("a", CANARY)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

        assert CANARY not in str(caught.value)
        assert [path.name for path in folder.iterdir()] == ["a"]
        assert files.get("a") == "old"

    def test_only_one_creator_succeeds(self, folder: Path, files: Files, before: Before) -> None:
        """A file that appears while another is being written is not replaced."""
        before("fsync")(lambda: Files(folder=folder).create("a", "first"))
        with pytest.raises(s1crets.SecretExistsError):
            files.create("a", "second")

        assert files.get("a") == "first"


class TestCaching:
    """Caches are off by default."""

    def test_a_change_is_seen_immediately(self, folder: Path, files: Files) -> None:
        """Nothing is cached."""
        (folder / "a").write_text("old")
        assert files.get("a") == "old"
        (folder / "a").write_text("new")

        assert files.get("a") == "new"
        assert files.peek("a") is None

    def test_in_memory(self, folder: Path) -> None:
        """A `cache_ttl` turns the cache on."""
        (folder / "a").write_text("old")
        with Files(cache_args={"cache_ttl": 600}) as files:
            files.get("a")
            (folder / "a").unlink()
            assert files.get("a") == "old"

    @pytest.mark.filterwarnings(INSECURE)
    @pytest.mark.parametrize("key", [None, b"k" * 32])
    def test_on_disk(self, folder: Path, tmp_path: Path, key: Any) -> None:
        """Entries are encrypted with a key, and belong to their folder."""
        (folder / "a").write_text(CANARY)
        (tmp_path / "outside" / "a").write_text("fake-2")
        keys, paths = tmp_path / "keys", tmp_path / "paths"
        args: Any = {"cache_ttl": 600, "cache_on_disk": True}
        args |= {"key_cache_dir": keys, "path_cache_dir": paths}
        args |= {"cache_key": key} if key else {}
        with Files(cache_args=args) as files:
            assert files.get("a") == CANARY
        (folder / "a").unlink()

        with Files(cache_args=args) as files:
            assert files.get("a") == CANARY
        with Files(folder=tmp_path / "outside", cache_args=args) as files:
            assert files.get("a") == "fake-2"
        stored = b"".join(path.read_bytes() for path in keys.iterdir())
        assert (b"s1crets:plain" in stored) is (key is None)

    async def test_a_file_without_modification_time(self, folder: Path) -> None:
        """As in reproducible images: whether it has changed is decided by its content."""
        (folder / "a").write_text("fake")
        os.utime(folder / "a", ns=(0, 0))
        async with AsyncFiles() as files:
            calls = []

            @files.refresh_on(PermissionError, path="a")
            async def login(secret: str) -> None:
                calls.append(secret)
                raise PermissionError

            with pytest.raises(PermissionError):
                await login()

        assert calls == ["fake"]

    async def test_eight_files_are_read_at_a_time(self, folder: Path, before: Before) -> None:
        """However many are requested."""
        names = [f"a{number}" for number in range(24)]
        reading, meeting = [0], threading.Barrier(AsyncFiles.concurrency)

        def meet() -> None:
            reading[0] += 1
            meeting.wait(timeout=60)  # so exactly this many read at the same time
            reading[0] -= 1
            assert reading[0] <= AsyncFiles.concurrency

        for name in names:
            (folder / name).write_text("fake")
            before("open", name.encode())(meet)
        async with AsyncFiles() as files:
            assert len(await files.get_many(names)) == 24


PARTS = st.sampled_from(
    ["a", "db", "..", ".", "", "out", "file", "loop", "abs", "..data", "new", "\0", "ä", "x" * 300]
) | st.text(max_size=4)


@given(st.lists(PARTS, min_size=1, max_size=5).map("/".join))
@example("out/file")
@example("abs")
@example("loop/../../outside/file")
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_no_name_leads_outside(folder: Path, files: Files, tmp_path: Path, name: str) -> None:
    """Nothing outside is read, written or deleted, and every error is a `S1cretsError`."""
    outside = tmp_path / "outside"
    for link, target in {"out": outside, "abs": outside / "file", "loop": Path()}.items():
        if not (folder / link).is_symlink():
            (folder / link).symlink_to(target)
    for call in (
        files.get, files.get_by_path, files.path_exists, files.delete,
        lambda one: files.put(one, "fake"), lambda one: files.create(one, "fake"),
        files.get, files.delete,
    ):  # fmt: skip
        try:
            found = call(name)
        except s1crets.S1cretsError:
            continue
        assert CANARY not in str(found)

    assert [one.name for one in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == CANARY
    assert sorted(one.name for one in tmp_path.iterdir()) == ["home", "outside", "secrets"]


FILES = ("--provider", "files")


class TestCommand:
    """`--provider files`."""

    def test_reading(self, folder: Path) -> None:
        """With get, get-by-path, exists, exec, export."""
        (folder / "db").mkdir()
        (folder / "db" / "password").write_text("fake\n")
        (folder / "config").write_text('{"hosts": ["a", "b"]}')
        script = [sys.executable, "-c", "import os; print(os.environ['PASSWORD'])"]

        assert run("get", *FILES, "db/password").stdout == b"fake\n"
        assert run("get", *FILES, "config", "hosts", "1").stdout == b"b\n"
        assert json.loads(run("get-by-path", *FILES, "db").stdout) == {"db/password": "fake"}
        assert run("exists", *FILES, "db").returncode == 0
        assert run("exists", *FILES, "none").returncode == 1
        assert run("exec", *FILES, "--path", "db", "--", *script).stdout == b"fake\n"
        done = run("export", *FILES, "--secret", "db/password", "--format", "dotenv")
        assert done.stdout == b"PASSWORD=fake\n"

    def test_inspecting(self, folder: Path) -> None:
        """With list, check, diff."""
        for name in ("a/x", "b/x"):
            (folder / name).parent.mkdir()
            (folder / name).write_text("fake")

        listed = run("list", *FILES).stdout.decode().splitlines()
        assert [line.split("\t")[:2] for line in listed] == [["a/x", "file"], ["b/x", "file"]]
        assert run("check", *FILES, "--path", "a", "--secret", "b/x").returncode == 0
        assert run("check", *FILES, "--secret", "none").returncode == 3
        assert run("diff", *FILES, "a", "b").returncode == 0

    def test_writing(self, folder: Path, tmp_path: Path) -> None:
        """With put, update, import, delete."""
        (tmp_path / ".env").write_text("A=fake-1\nB=fake-2")

        assert run("put", *FILES, "db/password", "-", stdin=b"fake\n").returncode == 0
        assert (folder / "db" / "password").read_text() == "fake"
        assert run("update", *FILES, "db/password", "-", stdin=b"new\n").returncode == 0
        assert run("import", *FILES, str(tmp_path / ".env"), "app").returncode == 0
        assert s1crets.get_by_path("files", "/") == {
            "app/A": "fake-1", "app/B": "fake-2", "db/password": "new",
        }  # fmt: skip
        assert run("delete", *FILES, "--yes", "app/A").returncode == 0
        assert not (folder / "app" / "A").exists()

    @pytest.mark.usefixtures("folder")
    def test_errors(self) -> None:
        """An error is a single line and an exit code."""
        for args, code, words in (
            (["get", "none"], 3, "no such file"),
            (["get", "../outside/file"], 2, "no part may begin with two dots"),
            (["get", "--region", "eu-west-1", "a"], 2, "has no option 'region'"),
            (["update", "none", "fake"], 3, "no such file"),
        ):
            done = run(args[0], *FILES, *args[1:])
            assert done.returncode == code
            assert words in told(done)


def test_it_starts_quickly(folder: Path) -> None:
    """Neither AWS's classes nor other packages' metadata are imported."""
    (folder / "a").write_text("fake")
    heavy = ("s1crets.providers.aws", "botocore", "diskcache", "email.parser")
    script = "import s1crets, sys; s1crets.get('files', 'a');"
    script += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


async def test_a_file_from_a_year_that_python_does_not_support() -> None:
    """It is listed without a time. Few file systems support such years; /dev/shm does."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder, "a")
        path.write_text("fake")
        os.utime(path, (10**12, 10**12))
        files = AsyncFiles(folder=folder)

        assert await files.get_by_path("/") == {"a": "fake"}
        assert [entry.changed for entry in await files.describe()] == [None]
