"""The provider `files`: what it reads, writes and refuses, on real files."""

from __future__ import annotations

import errno
import json
import os
import resource
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from _support.command import run, told
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import s1crets
from s1crets import aio
from s1crets.providers.files import AsyncFiles, Files

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = "canary-f11e"
INSECURE = "ignore::s1crets.InsecureCacheWarning"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that `S1CRETS_FILES` names; beside it is what nobody may read."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text(CANARY)
    monkeypatch.setenv("S1CRETS_FILES", str(folder))
    return folder


@pytest.fixture
def files(folder: Path) -> Iterator[Files]:
    with Files() as files:
        yield files


@pytest.fixture
def unprivileged(folder: Path) -> Iterator[None]:
    """Take away what root may do, where the tests are root's."""
    if os.geteuid():
        yield
        return
    for one in (folder, *folder.parents):
        one.chmod(one.stat().st_mode | 0o711)
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    yield
    os.seteuid(0)


class TestWhereTheyAre:
    """The folder."""

    def test_by_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Docker's, also where the variable is empty."""
        monkeypatch.delenv("S1CRETS_FILES", raising=False)
        assert repr(Files()) == "<Files in '/run/secrets'>"
        monkeypatch.setenv("S1CRETS_FILES", "")
        assert repr(Files().awaited) == "<AsyncFiles in '/run/secrets'>"

    def test_from_the_environment_or_the_constructor(self, folder: Path, tmp_path: Path) -> None:
        """The constructor decides; paths of any kind."""
        (folder / "a").write_text("fake-1")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "a").write_text("fake-2")

        assert s1crets.get("files", "a") == "fake-1"
        for other in (tmp_path / "other", f"{tmp_path}/other/"):
            assert Files(folder=other).get("a") == "fake-2"

    async def test_awaited(self, folder: Path) -> None:
        """The same by the module."""
        (folder / "a").write_text('{"k": "fake"}')

        assert await aio.get("files", "a", "k") == "fake"
        assert await aio.get_by_path("files", "/") == {"a": {"k": "fake"}}

    def test_a_relative_one_is_where_it_was(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also when the process goes elsewhere."""
        (folder / "a").write_text("fake")
        monkeypatch.chdir(tmp_path)
        files = Files(folder="secrets")
        monkeypatch.chdir("/")

        assert files.get("a") == "fake"

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        """Nothing is found, and the message says why; it is not made by a write."""
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
    def test_one_of_another_type(self, folder: Any) -> None:
        """It is a type error."""
        with pytest.raises(TypeError, match="folder can't be"):
            Files(folder=folder)

    @pytest.mark.parametrize("folder", ["", "a\0b"])
    def test_one_that_is_no_path(self, folder: str) -> None:
        """As an unset variable of a script would be."""
        with pytest.raises(s1crets.ConfigurationError, match="folder can't be empty"):
            AsyncFiles(folder=folder)

    def test_an_unknown_option(self) -> None:
        """The message says which there are."""
        options: Any = {"xyz": "x"}
        with pytest.raises(TypeError, match=r"no option 'xyz': known are folder, cache_args, dead"):
            Files(**options)


class TestValues:
    """What comes of a file."""

    @pytest.mark.parametrize(
        ("data", "value"),
        [
            (b"fake", "fake"),
            (b"fake\n", "fake"),  # as `echo` leaves it
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
    def test_what_is_in_it(self, folder: Path, files: Files, data: bytes, value: Any) -> None:
        """Text without one newline at its end; what is not UTF-8 is bytes, all of them."""
        (folder / "a").write_bytes(data)

        assert files.get("a") == value

    @pytest.mark.parametrize("value", ["fake", "fake\n", "\n\n", b"\xff", b"\xff\n"])
    def test_what_is_written_is_read(self, files: Files, value: Any) -> None:
        """A newline that is part of a text stays one."""
        files.put("a", value)

        assert files.get("a") == value

    def test_one_that_is_too_long(self, folder: Path, files: Files) -> None:
        """A mebibyte is the most, to read and to write."""
        (folder / "a").write_bytes(b"x" * 2**20 + b"\n")
        assert len(files.get("a")) == 2**20
        (folder / "a").write_bytes(CANARY.encode() * 2**17)
        for call in (files.get, lambda name: files.put(name, CANARY * 2**17)):
            with pytest.raises(s1crets.InvalidValueError, match=r"1,048,57\d") as caught:
                call("a")
            assert CANARY not in str(caught.value)

    @pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="it takes Linux's /proc")
    def test_one_that_fails(self) -> None:
        """As on a network: it is an outage."""
        with pytest.raises(s1crets.UnavailableError, match="Input/output error"):
            Files(folder="/proc/self").get("mem")


REFUSED = ["../outside/file", "..", "/a", "a/../b", "a//b", "./a", "a/", "..data/a", "x" * 256,
           "a/" + "ä" * 128]  # fmt: skip


class TestNames:
    """What is no name."""

    @pytest.mark.parametrize("name", REFUSED, ids=lambda name: name[:20])
    def test_it_is_refused(self, files: Files, name: str) -> None:
        """By every verb, and nothing is touched."""
        calls = (files.get, files.peek, files.delete, lambda one: files.put(one, "fake"))
        for call in calls:
            with pytest.raises(s1crets.InvalidNameError, match="can't be a name of files in"):
                call(name)

        assert files.stats.requests == {}

    def test_a_name_has_folders(self, folder: Path, files: Files) -> None:
        """A hidden file is a file; a folder is none."""
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
    """They are followed as long as they stay in the folder."""

    @pytest.mark.parametrize(
        "target", ["../a", "a", "{folder}/a", "./db/../a", "link/..//a", "{real}/a"]
    )
    def test_inside(self, folder: Path, tmp_path: Path, target: str) -> None:
        """Whatever way they go; the folder itself may be one too."""
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
        """They are refused, and told of by a listing."""
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

    def test_in_circles(self, folder: Path, files: Files) -> None:
        """They end."""
        (folder / "a").symlink_to("b")
        (folder / "b").symlink_to("a")
        (folder / "up").symlink_to(".")
        (folder / "c").write_text("fake")
        with pytest.raises(s1crets.AccessDeniedError, match="round in circles"):
            files.get("a")
        (folder / "a").unlink()

        assert files.get("up/up/up/c") == "fake"
        assert files.get_by_path("/") == {"c": "fake"}  # `b` leads nowhere

    def test_nowhere(self, folder: Path, files: Files) -> None:
        """There is none."""
        (folder / "a").symlink_to("none")
        with pytest.raises(s1crets.SecretNotFoundError, match="no such file"):
            files.get("a")


class TestNoFiles:
    """What is no file is not even opened: that could wait for ever."""

    def test_fifos_and_sockets(self, folder: Path, files: Files) -> None:
        """They are refused, and not listed."""
        os.mkfifo(folder / "fifo")
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.path.relpath(folder / "socket"))
            for name in ("fifo", "socket"):
                with pytest.raises(s1crets.AccessDeniedError, match="it is no file"):
                    files.get(name)
                with pytest.raises(s1crets.AccessDeniedError, match="it is no file"):
                    files.put(name, "fake")

        assert files.get_by_path("/") == {}

    @pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="there is no /dev/null")
    def test_devices(self) -> None:
        """Neither."""
        with pytest.raises(s1crets.AccessDeniedError, match="it is no file"):
            Files(folder="/dev").get("null")


class TestListings:
    """`get_by_path`, `path_exists`, `describe`."""

    def test_all_below(self, folder: Path, files: Files) -> None:
        """In order; `/` means all; what can't be a name is left out."""
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

    def test_what_is_told_of_them(self, folder: Path, files: Files, tmp_path: Path) -> None:
        """When they were changed; of what leads outside nothing."""
        (folder / "a").write_text("fake")
        (folder / "b").symlink_to(tmp_path / "outside" / "file")
        os.utime(folder / "a", ns=(5 * 10**9, 5 * 10**9))
        a, b = files.describe()

        assert (a.name, a.type, a.version) == ("a", "file", "5000000000")
        assert a.changed is not None
        assert a.changed.isoformat() == "1970-01-01T00:00:05+00:00"
        assert (b.name, b.version, b.changed) == ("b", "", None)
        assert files.describe("a") == [a]

    def test_too_many(self, folder: Path, files: Files) -> None:
        """As in a folder that is none of secrets."""
        (folder / "a").write_text("fake")
        for number in range(10_000):
            os.link(folder / "a", folder / str(number))
        with pytest.raises(s1crets.ConfigurationError, match="more than 10,000 files"):
            files.get_by_path("/")

    @pytest.mark.usefixtures("unprivileged")
    def test_what_may_not_be_read(self, folder: Path, files: Files) -> None:
        """It is denied, in a listing too; the others come all the same."""
        for name in ("a", "b", "c/d"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("fake")
        (folder / "a").chmod(0)
        for call in (files.get, lambda _: files.get_by_path("/")):
            with pytest.raises((s1crets.AccessDeniedError, s1crets.BatchError)) as caught:
                call("a")
            assert "'a' can't be read: Permission denied" in str(caught.value)
        (folder / "c").chmod(0o300)  # it may be gone through, but not listed
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
        with pytest.raises(s1crets.AccessDeniedError, match="changed where it comes from"):
            files.put("b", "new")
        folder.chmod(0o700)


class Mounted:
    """A folder as Kubernetes mounts it, and changes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._generation = 0

    def write(self, **values: str) -> None:
        """Do what its atomic writer does: a new folder, one rename, the old folder removed."""
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
    """Symlinks to symlinks to hidden folders."""

    def test_what_is_mounted(self, folder: Path, files: Files) -> None:
        """Only the names that are meant."""
        Mounted(folder).write(a="fake-a", db__password="fake-p")

        assert files.get("a") == "fake-a"
        assert files.get_by_path("/") == {"a": "fake-a", "db/password": "fake-p"}
        assert files.get_by_path("db") == {"db/password": "fake-p"}

    async def test_a_change_is_watched(self, folder: Path) -> None:
        """Each is noticed."""
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

    def test_a_change_while_it_is_read(self, folder: Path, files: Files) -> None:
        """Nobody is told that there is none, or sees a listing that lacks some."""
        mounted, stop = Mounted(folder), threading.Event()
        mounted.write(a="fake", db__x="fake")

        def change() -> None:
            while not stop.wait(0.01):
                mounted.write(a="fake", db__x="fake")

        with ThreadPoolExecutor(1) as threads:
            changing = threads.submit(change)
            try:
                for _ in range(600):
                    assert files.get("a") == "fake"
                    assert set(files.get_by_path("/")) == {"a", "db/x"}
            finally:
                stop.set()
            changing.result()

    def test_it_is_not_written(self, folder: Path, files: Files) -> None:
        """It would not last."""
        Mounted(folder).write(a="fake")
        calls: list[Any] = [lambda: files.update("a", "new"), lambda: files.delete("a")]
        for call in calls:
            with pytest.raises(s1crets.AccessDeniedError, match="as in what Kubernetes mounts"):
                call()

        assert files.get("a") == "fake"


class TestWriting:
    """In development: whole files, or nothing."""

    def test_a_new_one(self, folder: Path, files: Files) -> None:
        """It is private, and so are the folders it needs."""
        files.create("db/x/a", {"k": 1})

        assert json.loads((folder / "db/x/a").read_text()) == {"k": 1}
        assert stat.S_IMODE((folder / "db/x/a").stat().st_mode) == 0o600
        assert stat.S_IMODE((folder / "db/x").stat().st_mode) == 0o700
        with pytest.raises(s1crets.SecretExistsError, match="is there already"):
            files.create("db/x/a", "other")

    def test_another_takes_its_place(self, folder: Path, files: Files) -> None:
        """Who has the old one open reads on; nothing else is left in the folder."""
        (folder / "a").write_text("old")
        with (folder / "a").open() as before:
            files.update("a", "new")
            assert before.read() == "old"

        assert (folder / "a").read_text() == "new"
        assert [one.name for one in folder.iterdir()] == ["a"]

    def test_what_is_not_there(self, folder: Path, files: Files) -> None:
        """`put` makes it, `update` and `delete` do not."""
        calls: list[Any] = [lambda: files.update("a/b", "fake"), lambda: files.delete("a")]
        for call in calls:
            with pytest.raises(s1crets.SecretNotFoundError):
                call()
        assert list(folder.iterdir()) == []
        files.put("a/b", "fake")
        files.delete("a/b")
        with pytest.raises(s1crets.SecretNotFoundError):
            files.delete("a/b")

    def test_in_the_way(self, folder: Path, files: Files) -> None:
        """A folder is no file, and a file no folder."""
        (folder / "a").write_text("fake")
        (folder / "db").mkdir()
        for name in ("db", "a/b", "a/b/c"):
            with pytest.raises(s1crets.InvalidNameError, match=f"'{name}' can't be changed: it"):
                files.put(name, "fake")

        assert (folder / "a").read_text() == "fake"

    def test_links_outside(self, folder: Path, files: Files, tmp_path: Path) -> None:
        """Nothing is written or deleted there."""
        (folder / "out").symlink_to(tmp_path / "outside")
        (folder / "file").symlink_to(tmp_path / "outside" / "file")
        for name in ("out/file", "out/new", "out/new/x", "file"):
            for call in (lambda name: files.put(name, "new"), files.delete):
                with pytest.raises(s1crets.AccessDeniedError):
                    call(name)

        assert [one.name for one in (tmp_path / "outside").iterdir()] == ["file"]
        assert (tmp_path / "outside" / "file").read_text() == CANARY

    def test_a_full_disk(self, folder: Path, files: Files) -> None:
        """The old value stays, and no half of the new one."""
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
        assert [one.name for one in folder.iterdir()] == ["a"]
        assert files.get("a") == "old"

    @pytest.mark.usefixtures("folder")
    def test_of_several_creators_one_wins(self) -> None:
        """The others are told that it is there."""

        def create(number: int) -> bool:
            try:
                Files().create("a", f"fake-{number}")
            except s1crets.SecretExistsError:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            won = list(threads.map(create, range(24)))

        assert sum(won) == 1
        assert s1crets.get("files", "a") == f"fake-{won.index(True)}"


class TestCaching:
    """None by default; what is asked for otherwise."""

    def test_what_is_changed_is_seen_at_once(self, folder: Path, files: Files) -> None:
        """Nothing is kept."""
        (folder / "a").write_text("old")
        assert files.get("a") == "old"
        (folder / "a").write_text("new")

        assert files.get("a") == "new"
        assert files.peek("a") is None

    def test_in_memory(self, folder: Path) -> None:
        """With a `cache_ttl`."""
        (folder / "a").write_text("old")
        with Files(cache_args={"cache_ttl": 600}) as files:
            files.get("a")
            (folder / "a").unlink()
            assert files.get("a") == "old"

    @pytest.mark.filterwarnings(INSECURE)
    @pytest.mark.parametrize("key", [None, b"k" * 32])
    def test_on_disk(self, folder: Path, tmp_path: Path, key: Any) -> None:
        """Shared by processes, sealed with a key; another folder's entries are never seen."""
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

    async def test_the_time_of_a_file_may_be_none(self, folder: Path) -> None:
        """As in reproducible images: what is in there tells whether it was changed."""
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

    async def test_many_are_read_by_few_threads(self, folder: Path) -> None:
        """Whatever is asked for at once."""
        names = [f"a{number}" for number in range(200)]
        for name in names:
            (folder / name).write_text("fake")
        async with AsyncFiles() as files:
            before, most = threading.active_count(), 0

            async def count() -> None:
                nonlocal most
                while True:
                    most = max(most, threading.active_count())
                    await anyio.lowlevel.checkpoint()

            async with anyio.create_task_group() as group:
                group.start_soon(count)
                assert len(await files.get_many(names)) == 200
                group.cancel_scope.cancel()

        assert most <= before + 8


PARTS = st.sampled_from(
    ["a", "db", "..", ".", "", "out", "file", "loop", "abs", "..data", "new", "\0", "ä", "x" * 300]
) | st.text(max_size=4)


@given(st.lists(PARTS, min_size=1, max_size=5).map("/".join))
@example("out/file")
@example("abs")
@example("loop/../../outside/file")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_name_leads_outside(folder: Path, files: Files, tmp_path: Path, name: str) -> None:
    """Nothing there is read, written or deleted, whatever the name is; errors are documented."""
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


class TestTheCommand:
    """`--provider files`."""

    def test_reading(self, folder: Path) -> None:
        """get, get-by-path, exists, exec, export."""
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

    def test_looking(self, folder: Path) -> None:
        """list, check, diff."""
        for name in ("a/x", "b/x"):
            (folder / name).parent.mkdir()
            (folder / name).write_text("fake")

        listed = run("list", *FILES).stdout.decode().splitlines()
        assert [line.split("\t")[:2] for line in listed] == [["a/x", "file"], ["b/x", "file"]]
        assert run("check", *FILES, "--path", "a", "--secret", "b/x").returncode == 0
        assert run("check", *FILES, "--secret", "none").returncode == 3
        assert run("diff", *FILES, "a", "b").returncode == 0

    def test_writing(self, folder: Path, tmp_path: Path) -> None:
        """put, update, import, delete."""
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
    def test_what_it_can_not_do(self) -> None:
        """One line, and the exit code."""
        for args, code, words in (
            (["get", "none"], 3, "no such file"),
            (["get", "../outside/file"], 2, "no part of it may begin with two dots"),
            (["get", "--region", "eu-west-1", "a"], 2, "has no option 'sts_args'"),
            (["update", "none", "fake"], 3, "no such file"),
        ):
            done = run(args[0], *FILES, *args[1:])
            assert done.returncode == code
            assert words in told(done)


def test_it_is_quick_to_start(folder: Path) -> None:
    """Neither AWS's classes nor other packages' metadata are looked at."""
    (folder / "a").write_text("fake")
    script = "import s1crets, sys; s1crets.get('files', 'a'); print([one for one in ("
    script += (
        "'s1crets.providers.aws', 'botocore', 'diskcache', 'email.parser') if one in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


async def test_a_file_from_a_year_that_python_does_not_know() -> None:
    """It is listed without it. Only some file systems know such years: memory does."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder, "a")
        path.write_text("fake")
        os.utime(path, (10**12, 10**12))
        files = AsyncFiles(folder=folder)

        assert await files.get_by_path("/") == {"a": "fake"}
        assert [entry.changed for entry in await files.describe()] == [None]
