"""A disk that is damaged, full, locked, shared, or whose writers die: values come all the same."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.scripts import LIMIT, check
from _support.wire import Asked, Wire, parameter
from _support.world import lock

from s1crets._sync import start_afresh
from s1crets.cache import DiskCache
from s1crets.cache.backends.base import OversizedError
from s1crets.errors import NotPrivateError
from s1crets.providers.aws import AsyncParameterStore, ParameterStore

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = b"k" * 32


def on_disk(path: Path, **more: Any) -> Any:
    return {
        "cache_on_disk": True,
        "key_cache_dir": path / "keys",
        "path_cache_dir": path / "paths",
        "cache_key": KEY,
        **more,
    }


def values(asked: Asked) -> Any:
    """Answer for one name or for ten."""
    if "Name" in asked.body:
        return parameter(asked.body["Name"], "v" + asked.body["Name"])
    return {"Parameters": [{"Name": one, "Value": "v" + one} for one in asked.body["Names"]]}


@pytest.fixture
def server(scripted: Wire) -> Wire:
    scripted.answers = {"GetParameter": values, "GetParameters": values}
    return scripted


@pytest.fixture
async def folder(server: Wire, tmp_path: Path) -> Path:
    """Return where a cache is that has something in it."""
    async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as ps:
        await ps.get_many([f"/{i}" for i in range(50)])
    return tmp_path / "keys"


def overwrite(database: Path) -> None:
    data = bytearray(database.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    database.write_bytes(data)


# The backend's contract (test_backends.py) has all kinds of damage; here is what a provider does.
async def test_a_corrupt_file_is_moved_aside_once(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The value comes from AWS; one warning; from then on there is a new file."""
    database = folder / "cache.db"
    for _ in "ab":
        database.write_bytes(os.urandom(9999))
        async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as ps:
            assert await ps.get("/1") == "v/1"
            assert await ps.get("/2") == "v/2"
            assert await ps.get("/2") == "v/2"
            assert ps.stats.requests == {"GetParameter": 2}
        assert caplog.text.count("continuing with a new file") == 1
        assert (folder / "cache.db.corrupt").exists()
        caplog.clear()
    assert sorted(one.name for one in folder.iterdir()) == [
        "cache.db",
        "cache.db.corrupt",
        "claims",
    ]


async def test_a_file_that_is_damaged_while_it_is_open(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The process lives on, and so does its cache."""
    async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as ps:
        assert await ps.get("/1") == "v/1"
        overwrite(folder / "cache.db")
        for i in range(50):
            assert await ps.get(f"/{i}") == f"v/{i}"
        assert await ps.get("/1") == "v/1"
    assert caplog.text.count("continuing with a new file") <= 1


async def test_an_oversized_row_is_not_read(tmp_path: Path) -> None:
    """SQLite would notice that its content is damaged. It is a miss, replaced, and never stored."""
    cache = DiskCache(tmp_path)
    await cache.multi_set([("a", "v"), ("b", "v")])
    await cache.aclose()
    with closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as db:
        db.execute("UPDATE Cache SET value = zeroblob(9437184) WHERE key = 'a'")
    data = bytearray((tmp_path / "cache.db").read_bytes())
    data[2**20 : 8 * 2**20] = b"\xff" * (7 * 2**20)  # pages of the row
    (tmp_path / "cache.db").write_bytes(data)
    assert await cache.multi_get(["a", "b"]) == [None, "v"]
    assert cache.peek_many(["a", "b"]) == [None, "v"]
    with pytest.raises(OversizedError, match="a value of 9437184 bytes is larger than 8 MiB"):
        await cache.multi_set([("c", "x" * 9437184), ("b", "w")])
    assert await cache.multi_get(["b", "c"]) == ["w", None]
    await cache.aclose()


async def test_a_file_that_is_deleted_while_it_is_open(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it had is gone; a new one is made, private as the first."""
    async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as ps:
        await ps.get("/1")
        await asyncio.to_thread(shutil.rmtree, folder)
        await asyncio.sleep(0.11)
        assert await ps.get("/1") == "v/1"
        assert await ps.get("/1") == "v/1"
        assert ps.stats.requests == {"GetParameter": 1}
    assert caplog.text.count("continuing with a new file") == 1
    assert {one.stat().st_mode & 0o777 for one in folder.iterdir()} == {0o600}


def test_a_database_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """It leads who knows where."""
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "keys" / "cache.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="symbolic link"):
        ParameterStore(cache_args=on_disk(tmp_path)).get("/1")

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("depth", [0, 1])
def test_a_folder_that_others_can_replace_is_refused(
    server: Wire, tmp_path: Path, depth: int
) -> None:
    """Who can write to a folder above it can put another in its place, unless it is sticky."""
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    parent = (place, place.parent)[depth]
    parent.chmod(0o777)
    with ParameterStore(cache_args=on_disk(place)) as ps:
        with pytest.raises(NotPrivateError, match=f"is in {parent}, where others can rename"):
            ps.get("/1")
        assert not server.asked
        parent.chmod(0o1777)
        assert ps.get("/1") == "v/1"


HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA locking_mode = EXCLUSIVE")
db.execute("BEGIN EXCLUSIVE")
db.execute("UPDATE Settings SET value = value")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def locked(folder: Path) -> Iterator[None]:
    """Have another process lock the file, also against readers."""
    command = [sys.executable, "-c", HOLDER, str(folder / "cache.db")]
    with subprocess.Popen(command, stdin=-1, stdout=-1) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"locked\n"
        yield
        holder.communicate()


async def test_a_file_that_another_process_has_locked(
    locked: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Is left alone: diskcache alone would wait for a minute, and for each of the names."""
    async with asyncio.timeout(LIMIT), AsyncParameterStore(cache_args=on_disk(tmp_path)) as ps:
        for i in range(50):
            assert await ps.get(f"/{i}") == f"v/{i}"

    assert caplog.text.count("continuing without it") == 1


OPENING = """
import os, pathlib, sys, time
from s1crets.cache.backends._sqlite import Database

for i in range(50):
    database = Database(pathlib.Path(sys.argv[1], str(i)), time.monotonic)
    read, write = os.pipe()
    children = []
    for _ in range(4):
        children.append(os.fork())
        if not children[-1]:
            os.close(write)
            os.read(read, 1)
            database.open()
            os._exit(0)
    os.close(read)
    os.close(write)
    assert {os.waitpid(child, 0)[1] for child in children} == {0}
"""


def test_a_new_folder_that_processes_open_at_once(tmp_path: Path) -> None:
    """SQLite fails all of them but one without waiting; they try again."""
    check(OPENING, str(tmp_path))


async def test_an_open_file_that_another_process_locks(folder: Path, tmp_path: Path) -> None:
    """Against writers: hits go on, and what can't be stored is answered nevertheless."""
    async with asyncio.timeout(LIMIT), AsyncParameterStore(cache_args=on_disk(tmp_path)) as ps:
        await ps.get("/1")
        foreign = sqlite3.connect(folder / "cache.db", isolation_level=None)
        foreign.execute("BEGIN EXCLUSIVE")
        assert await ps.get("/1") == "v/1"
        found = await ps.get_many([f"/new{i}" for i in range(100)])
        assert len(found) == 100
        assert await ps.get("/2") == "v/2"
        assert "GetParameter" not in ps.stats.requests
        foreign.close()


FAILING = """
import asyncio, logging, pathlib, resource, tempfile
from s1crets.providers.aws import AsyncParameterStore
warned = []
logging.getLogger("s1crets.cache").addHandler(logging.Handler())
logging.getLogger("s1crets.cache").addFilter(lambda record: warned.append(record.getMessage()))
folder = pathlib.Path(tempfile.mkdtemp())
args = {"cache_on_disk": True, "key_cache_dir": folder / "keys", "path_cache_dir": folder / "paths",
        "cache_key": b"k" * 32}

async def main():
    async with AsyncParameterStore(cache_args=args) as ps:
        await ps.get("/1")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    async with AsyncParameterStore(cache_args=args) as ps:
        for i in range(1, 20):
            assert await ps.get(f"/{i}") == f"v/{i}"
        assert len(warned) == len(set(warned)) <= 2, warned  # of both folders, at most
        assert warned

asyncio.run(main())
"""


def test_a_full_disk(server: Wire) -> None:
    """Values come from AWS; one warning."""
    check(FAILING)


NURSERY = """
import asyncio, logging, os, pathlib, random, signal, sys, time
import s1crets.cache.backends.disk, aiobotocore.session
from s1crets.providers.aws import AsyncParameterStore
import s1crets.cache.secret_cache, s1crets.cache.backends._sqlite
# On a busy machine others may get no CPU for long: waits that end early are not what is tested.
s1crets.cache.backends._sqlite._BUSY = 50
folder = pathlib.Path(sys.argv[1])
args = {"cache_on_disk": True, "key_cache_dir": folder / "keys", "path_cache_dir": folder / "paths",
        "cache_key": b"k" * 32}

def fork(work):
    child = os.fork()
    if not child:
        try:
            asyncio.run(work())
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    return child
"""
RACING = (
    NURSERY
    + """
import aiobotocore.session
from s1crets.providers.aws import AsyncParameterStore

reader, writer = os.pipe()

async def work():
    os.close(writer)
    os.read(reader, 1)
    names = [f"/{i}" for i in range(40)]
    async with AsyncParameterStore(cache_args=args) as ps:
        found = await asyncio.gather(*map(ps.get, names[:20]))
        last = names[20:]
        random.shuffle(last)
        found += [await ps.get(name) for name in last]
    assert sorted(found) == sorted("v" + name for name in names), found

children = [fork(work) for _ in range(4)]
os.close(reader)
os.close(writer)  # now
sys.exit(max(os.waitpid(child, 0)[1] for child in children) and 1)
"""
)


def test_processes_fetch_together_what_none_has(server: Wire, tmp_path: Path) -> None:
    """Four processes want the same names, at once and one by one: each is asked for once."""
    for name in ("keys", "paths"):
        (tmp_path / name).mkdir(mode=0o700)
    assert check(RACING, str(tmp_path)) == ""
    names = [name for body in server.bodies("GetParameters") for name in body["Names"]]
    names += [body["Name"] for body in server.bodies("GetParameter")]

    assert sorted(names) == sorted(f"/{i}" for i in range(40))


async def test_a_refresh_by_another_process_is_not_repeated(server: Wire, tmp_path: Path) -> None:
    """A due hit is a hit; whoever holds the lock refreshes the entry."""
    due = {"cache_ttl": 1000, "refresh_ahead": 999.999, "jitter": 0}
    args = on_disk(tmp_path, **due)
    async with (
        AsyncParameterStore(cache_args=args) as ps,
        AsyncParameterStore(cache_args=args) as o,
    ):
        await o.get("/x")
        key, tier = o.key_of("/1"), o._cache._keys
        assert await lock(tier, key)
        await ps.get("/1", cached=False)
        await asyncio.sleep(0.01)
        assert await ps.get("/1") == "v/1"
        await asyncio.sleep(0.05)
        assert server.count_of("/1") == 1
        await tier.unlock([key])
        while server.count_of("/1") < 2:
            assert await ps.get("/1") == "v/1"
            await asyncio.sleep(0.01)


async def test_who_does_not_come_back_is_not_waited_for(
    server: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is stopped holds its locks; others go on in the end, and when it is freed."""
    from s1crets.cache import secret_cache

    async with (
        AsyncParameterStore(cache_args=on_disk(tmp_path)) as one,
        AsyncParameterStore(cache_args=on_disk(tmp_path)) as other,
    ):
        await asyncio.gather(one.get("/x"), other.get("/x"))
        monkeypatch.setattr(secret_cache, "_STOPPED", LIMIT)
        tier: Any = one._cache._keys
        assert await lock(tier, one.key_of("/1"))
        reading = asyncio.ensure_future(other.get("/1"))
        await asyncio.sleep(0.1)
        assert not reading.done()
        await tier.unlock([one.key_of("/1")])
        assert await reading == "v/1"
        assert await lock(tier, one.key_of("/2"))
        monkeypatch.setattr(secret_cache, "_STOPPED", 0.1)
        assert await other.get("/2") == "v/2"
        await tier.unlock([one.key_of("/2")])


async def test_a_folder_that_was_opened_to_others_meanwhile(folder: Path, tmp_path: Path) -> None:
    """Is refused when the file is made anew."""
    async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as ps:
        await ps.get("/1")
        for one in folder.glob("cache.db*"):
            one.unlink()
        folder.chmod(0o755)
        await asyncio.sleep(0.11)
        with pytest.raises(PermissionError, match="0755"):
            await ps.get("/1")
        folder.chmod(0o700)
        assert await ps.get("/1") == "v/1"


def test_the_kit_closes_a_provider_whose_folder_was_opened_to_others(
    server: Wire, tmp_path: Path
) -> None:
    """Otherwise no later test would start."""
    ps = ParameterStore(cache_args=on_disk(tmp_path))
    assert ps.get("/1") == "v/1"
    for folder in tmp_path.glob("*s"):
        shutil.rmtree(folder)
        folder.mkdir(mode=0o755)

    start_afresh()


def test_the_kit_empties_a_used_provider_once(server: Wire, tmp_path: Path) -> None:
    """A module may have many; one that was not used since costs the other tests nothing."""
    ps = ParameterStore(cache_args=on_disk(tmp_path))
    assert ps.get("/1") == "v/1"
    start_afresh()
    for folder in tmp_path.iterdir():
        shutil.rmtree(folder)
    start_afresh()

    assert list(tmp_path.iterdir()) == []
    assert ps.get("/1") == "v/1"


def test_a_relative_folder_stays_where_it_was(
    server: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the working directory becomes."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    with ParameterStore(cache_args=on_disk(Path("cache"))) as ps:
        monkeypatch.chdir(elsewhere)
        assert ps.get("/1") == "v/1"

    assert list(elsewhere.iterdir()) == []
    assert (tmp_path / "cache" / "keys" / "cache.db").exists()


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Take the permission to write below a folder; root writes without, so it is not root."""
    is_root = not os.geteuid()
    for one in [place, *place.rglob("*")]:
        one.chmod(0o500 if one.is_dir() else 0o400)
        if is_root:
            os.chown(one, 65534, 65534)
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for one in [place, *place.rglob("*")]:
            one.chmod(0o700 if one.is_dir() else 0o600)
            if is_root:
                os.chown(one, 0, 0)


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a folder that others than root can find, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_a_warm_cache_on_a_read_only_file_system(
    server: Wire,
    place: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is read, and what it does not have is fetched; one warning says that nothing is stored."""
    args = on_disk(place)
    certificates = str(shutil.copy(os.environ["AWS_CA_BUNDLE"], place))
    monkeypatch.setenv("AWS_CA_BUNDLE", certificates)
    with ParameterStore(cache_args=args) as ps:
        ps.get("/1")
    with read_only(place), ParameterStore(cache_args=args) as ps:
        assert ps.get("/1") == "v/1"
        assert ps.stats.requests == {}
        assert not caplog.messages
        assert ps.get("/2") == ps.get("/2") == "v/2"
        ps.invalidate("/1")
        assert ps.get("/1") == "v/1"
        assert ps.stats.requests["GetParameter"] == 3
    assert len(caplog.messages) == 1
    assert "is read-only: nothing is stored in it" in caplog.text


async def test_a_read_only_file_that_another_process_writes(place: Path) -> None:
    """With a journal and without: what is written is seen."""
    async with DiskCache(place / "keys") as writer, DiskCache(place / "keys") as reader:
        await writer.set("k", "v")
        with read_only(place):
            assert await reader.get("k") == "v"  # from the journal
            with pytest.raises(PermissionError, match="is read-only"):
                await reader.set("k", "w")
            with pytest.raises(PermissionError):
                await reader.purge("k")
        await writer.set("k", "w")
        await writer.aclose()
        with read_only(place):
            assert reader.peek("k") is None  # until it is opened again
            assert await reader.get("k") == "w"
            reader._database.after_fork()
            assert reader.peek("k") is None  # a child does not use its parent's connections
            assert await reader.get("k") == "w"
        await writer.set("k", "x")
        assert await reader.get("k") == "x"


async def test_a_damaged_file_that_cant_be_replaced(place: Path) -> None:
    """Is an error: the provider goes on without it."""
    async with DiskCache(place / "keys") as cache:
        await cache.set("k", "v")
    (place / "keys" / "cache.db").write_bytes(b"garbage" * 999)
    with read_only(place):
        async with DiskCache(place / "keys") as cache:
            with pytest.raises(PermissionError, match="damaged"):
                await cache.get("k")
