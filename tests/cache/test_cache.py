"""The contract of a cache backend, which every backend passes; and what each has besides."""

from __future__ import annotations

import asyncio
import base64
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Wire, parameter
from aiocache import SimpleMemoryCache

from s1crets.cache.disk import DiskCache
from s1crets.cache.memory import MemoryCache
from s1crets.errors import InsecureCacheWarning
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from s1crets.cache import CacheArgs


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "disk"])
async def cache(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Any:
    """Yield each backend that there is: a new one is a line here."""
    makers: dict[str, Callable[[], Any]] = {
        "memory": lambda: MemoryCache(size=3, timer=clock),
        "disk": lambda: DiskCache(tmp_path / "cache", size=3, clock=clock),
    }
    async with makers[request.param]() as backend:
        yield backend


async def size(cache: Any) -> int:
    return await asyncio.to_thread(len, cache)


class TestContract:
    """What `SecretCache` relies on."""

    async def test_what_is_set_is_got(self, cache: Any) -> None:
        """Through aiocache's own methods, and without waiting."""
        await cache.set("k", "välue", ttl=10)

        assert await cache.get("k") == "välue"
        assert cache.peek("k") == "välue"

    async def test_a_key_that_is_not_there(self, cache: Any) -> None:
        """None, or the default."""
        assert await cache.get("k") is None
        assert await cache.get("k", default="d") == "d"
        assert cache.peek("k") is None

    async def test_an_entry_expires_by_the_clock(self, cache: Any, clock: Clock) -> None:
        """At its time to live, exactly, without a timer."""
        await cache.set("k", "v", ttl=10)
        clock.now += 9.9
        assert cache.peek("k") == "v"
        clock.now += 0.1
        assert cache.peek("k") is None
        assert await cache.get("k") is None

    async def test_without_a_ttl_it_stays(self, cache: Any, clock: Clock) -> None:
        """As aiocache has it."""
        await cache.set("k", "v")
        clock.now += 1e9

        assert cache.peek("k") == "v"

    async def test_the_last_value_counts(self, cache: Any, clock: Clock) -> None:
        """And its time to live."""
        await cache.set("k", "old", ttl=1)
        await cache.set("k", "new", ttl=10)
        clock.now += 5

        assert cache.peek("k") == "new"

    async def test_it_is_bounded(self, cache: Any) -> None:
        """The oldest goes first."""
        for key in "abcd":
            await cache.set(key, key, ttl=10)

        assert [cache.peek(key) for key in "abcd"] == [None, "b", "c", "d"]
        assert await size(cache) == 3

    async def test_delete(self, cache: Any) -> None:
        """One key; how many were there is returned."""
        await cache.set("k", "v", ttl=10)

        assert await cache.delete("k") == 1
        assert await cache.delete("k") == 0
        assert cache.peek("k") is None

    async def test_clear(self, cache: Any) -> None:
        """All, or those of a namespace."""
        for key in ("x:a", "x:b", "y:a"):
            await cache.set(key, "v", ttl=10)

        await cache.clear(namespace="x:")
        assert [cache.peek(key) for key in ("x:a", "x:b", "y:a")] == [None, None, "v"]
        await cache.clear()
        assert await size(cache) == 0

    async def test_what_is_not_wanted_any_more_is_not_stored(self, cache: Any) -> None:
        """It is asked at the last moment."""
        assert not await cache.set("k", "v", ttl=10, _cas_token=lambda _key, _there: False)
        assert await cache.set("l", "v", ttl=10, _cas_token=lambda _key, there: there is None)

        assert cache.peek("k") is None
        assert cache.peek("l") == "v"

    async def test_fill_stops_where_it_is_full(self, cache: Any) -> None:
        """It pushes nothing out."""
        await cache.set("k", "v", ttl=10)
        await cache.fill(dict.fromkeys("abcd", "w"), 10, lambda *_: True, room_only=True)

        assert cache.peek("k") == "v"
        assert await size(cache) == 3

    async def test_fill_of_what_is_not_wanted_any_more(self, cache: Any) -> None:
        """Nothing is stored."""
        await cache.fill({"a": "w"}, 10, lambda *_: False, room_only=False)

        assert await size(cache) == 0

    async def test_many_threads_and_loops(self, cache: Any) -> None:
        """Each sees whole values."""
        failures: list[BaseException] = []

        def work(name: str) -> None:
            async def main() -> None:
                for i in range(20):
                    await cache.set(f"{name}", f"{name}{i}", ttl=100)
                    assert (cache.peek(name) or name).startswith(name)
                    await cache.delete(f"{name}")

            try:
                asyncio.run(main())
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcdef"]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0.01)
        for failure in failures:
            raise failure


async def test_memory_drops_what_is_least_recently_used(clock: Clock) -> None:
    """A read counts as use."""
    cache = MemoryCache(size=2, timer=clock)
    await cache.set("a", 1, ttl=10)
    await cache.set("b", 2, ttl=10)
    cache.peek("a")
    await cache.set("c", 3, ttl=10)

    assert [cache.peek(key) for key in "abc"] == [1, None, 3]


def test_memory_returns_what_another_thread_has_just_dropped() -> None:
    """What was read is good."""

    def slow_clock() -> float:
        if slow:
            with ThreadPoolExecutor(1) as other:
                other.submit(asyncio.run, cache.clear()).result()
        return 0.0

    slow: list[bool] = []
    cache = MemoryCache(timer=slow_clock)
    asyncio.run(cache.set("k", "v", ttl=1))
    slow.append(True)

    assert cache.peek("k") == "v"
    assert len(cache) == 0


def test_memory_does_not_forget_what_was_set_meanwhile() -> None:
    """Between a reader's look at an expired entry and its forgetting, another thread may store."""

    def slow_clock() -> float:
        if slow:
            slow.clear()
            with ThreadPoolExecutor(1) as other:
                other.submit(asyncio.run, cache.set("k", "new", ttl=9)).result()
            return 2.0
        return 0.0

    slow: list[bool] = []
    cache = MemoryCache(timer=slow_clock)
    asyncio.run(cache.set("k", "old", ttl=1))
    slow.append(True)

    assert cache.peek("k") is None
    assert cache.peek("k") == "new"


async def test_memory_forgets_what_has_expired(clock: Clock) -> None:
    """A secret does not stay in memory after its time, once somebody has asked."""
    cache = MemoryCache(size=2, timer=clock)
    await cache.set("a", 1, ttl=10)
    clock.now += 10
    assert cache.peek("a") is None

    assert len(cache) == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
async def test_the_disk_is_private_under_any_umask(folder: Path, umask: int) -> None:
    """Folders 0700, also those between; files 0600."""
    before = os.umask(umask)
    try:
        async with DiskCache(folder) as cache:
            await cache.set("k", "v", ttl=10)

            assert {mode(path) for path in (folder, folder.parent)} == {0o700}
            assert {mode(path) for path in folder.iterdir()} == {0o600}
    finally:
        os.umask(before)


@pytest.mark.parametrize("kind", ["link", "group", "other user's"])
async def test_a_folder_that_others_can_get_into_is_refused(folder: Path, kind: str) -> None:
    """The error names the folder and what is wrong with it."""
    if kind == "link":
        folder.parent.mkdir()
        (folder.parent / "real").mkdir(mode=0o700)
        folder.symlink_to(folder.parent / "real")
    else:
        folder.mkdir(parents=True, mode=0o700)
        folder.chmod(0o750 if kind == "group" else 0o700)
        if kind == "other user's":
            if os.geteuid():
                pytest.skip("only root can give a folder away")
            os.chown(folder, 4321, -1)
    words = {"link": "symbolic link", "group": "0750", "other user's": "user 4321"}

    with pytest.raises(PermissionError, match=words[kind]) as caught:
        await DiskCache(folder).get("k")
    assert str(folder) in str(caught.value)


async def test_rows_that_somebody_else_wrote_are_a_miss(folder: Path, tmp_path: Path) -> None:
    """No pickle is loaded, no file is read or deleted, whatever a row says (CVE-2025-69872)."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    async with DiskCache(folder) as cache:
        for key in ("pickle", "file", "number"):
            await cache.set(key, "v", ttl=100)
        evil = b"cos\nsystem\n(S'touch %s'\ntR." % bytes(tmp_path / "pwned")
        with sqlite3.connect(folder / "cache.db") as db:
            db.execute("UPDATE Cache SET mode = 4, value = ? WHERE key = 'pickle'", (evil,))
            db.execute("UPDATE Cache SET mode = 2, filename = ? WHERE key = 'file'", (str(victim),))
            db.execute("UPDATE Cache SET value = 5 WHERE key = 'number'")
        db.close()

        assert [cache.peek(key) for key in ("pickle", "file", "number")] == [None] * 3
        for key in ("pickle", "file", "number"):
            await cache.delete(key)
    assert victim.read_text() == "mine"
    assert not (tmp_path / "pwned").exists()


async def test_keys_that_somebody_else_wrote_are_passed_by(folder: Path) -> None:
    """A pickled key is not loaded when all are looked through, and nothing waits for it to go."""
    async with DiskCache(folder) as cache:
        await cache.set("k", "v", ttl=100)
        with sqlite3.connect(folder / "cache.db") as db:
            db.execute("UPDATE Cache SET raw = 0, key = ?", (b"cos\nsystem\n.",))
        db.close()

        await cache.set("l", "v", ttl=100)
        assert await cache.clear()
        assert cache.peek("l") is None
        cache.size = 0
        assert await cache.set("l", "v", ttl=100)


async def test_a_row_that_is_cut_short_is_a_miss(folder: Path) -> None:
    """Whatever is left of it."""
    async with DiskCache(folder) as cache:
        await cache.set("k", "v", ttl=100)
        with sqlite3.connect(folder / "cache.db") as db:
            db.execute("UPDATE Cache SET value = ?", (b"12345",))
        db.close()

        assert cache.peek("k") is None


async def test_a_step_of_the_wall_clock_does_not_lengthen_a_life(
    folder: Path, clock: Clock
) -> None:
    """What comes from the future is a miss: its age is not known."""
    async with DiskCache(folder, clock=clock) as cache:
        await cache.set("k", "v", ttl=5)
        clock.now -= 3600
        assert cache.peek("k") is None
        clock.now += 3600
        assert cache.peek("k") == "v"


async def test_an_expired_secret_is_not_readable_in_the_file(folder: Path) -> None:
    """What is deleted is overwritten."""
    async with DiskCache(folder) as cache:
        await cache.set("k", "canary" * 9, ttl=100)
        await cache.delete("k")
    files = b"".join(path.read_bytes() for path in folder.glob("cache.db"))

    assert b"canary" not in files


@pytest.mark.parametrize("damage", ["directory", "not a folder"])
async def test_a_disk_that_fails_is_a_miss_and_one_warning(
    folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost but speed."""
    if damage == "not a folder":
        folder.parent.mkdir(parents=True)
        folder.parent.chmod(0o700)
        (folder.parent / "file").write_text("")
        folder = folder.parent / "file" / "cache"
    else:
        folder.mkdir(parents=True)
        folder.chmod(0o700)
        (folder / "cache.db").mkdir()
    cache = DiskCache(folder)

    assert not await cache.set("k", "v", ttl=10)
    assert await cache.get("k") is None
    assert not await cache.delete("k")
    assert len(cache) == 0
    assert caplog.text.count("going on without it") == 1
    await cache.close()


async def test_a_file_that_others_lock_is_passed_by(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Opened or not, within the busy limit; an hour's lock costs nobody an hour."""
    timer = Clock()
    async with DiskCache(folder, timer=timer) as cache, DiskCache(folder, timer=timer) as late:
        await cache.set("k", "v", ttl=100)
        foreign = sqlite3.connect(folder / "cache.db", isolation_level=None)
        foreign.execute("BEGIN EXCLUSIVE")
        try:
            assert cache.peek("k") == "v"
            assert not await asyncio.wait_for(cache.set("k", "w", ttl=100), 5)
            assert await asyncio.wait_for(late.get("k"), 5) is None
        finally:
            foreign.execute("ROLLBACK")
            foreign.close()
        assert not await cache.set("k", "w", ttl=100)
        timer.now += 5
        assert await cache.set("k", "w", ttl=100)
        assert await late.get("k") == "w"
    assert caplog.text.count("going on without it") == 2


async def test_a_read_that_fails_is_a_miss(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As when the table is gone."""
    async with DiskCache(folder) as cache:
        await cache.set("k", "v", ttl=100)
        with sqlite3.connect(folder / "cache.db") as db:
            db.execute("DROP TABLE Cache")
        db.close()

        assert cache.peek("k") is None
    assert "can't be read" in caplog.text


def on_disk(path: Path, **more: Any) -> Any:
    return {
        "cache_on_disk": True,
        "key_cache_dir": path / "keys",
        "path_cache_dir": path / "paths",
        **more,
    }


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
class TestOnDisk:
    """A provider with its cache on disk."""

    async def test_it_persists_between_providers(self, ssm: Any, top: str, tmp_path: Path) -> None:
        """As between the runs of a script."""
        ssm.put_parameter(Name=f"{top}/a", Value='{"x": 1}', Type="SecureString")
        async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as first:
            await first.get(f"{top}/a")
            await first.get_by_path(top)
            assert await first.path_exists(top)
            assert first.peek(f"{top}/a") == {"x": 1}
        async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as second:
            assert await second.get(f"{top}/a") == {"x": 1}
            assert await second.get_by_path(top) == {f"{top}/a": {"x": 1}}
            assert await second.path_exists(top)
            assert second.stats.requests == {}
            await second.update(f"{top}/a", "new")
        async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as another:
            await another.invalidate("/nothing-was-read-yet")
        async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as third:
            assert await third.get(f"{top}/a") == "new"
            assert await third.get_by_path(top) == {f"{top}/a": "new"}
            await third.invalidate()
            assert third.peek(f"{top}/a") is None

    async def test_bytes_persist_too(self, asm: Any, top: str, tmp_path: Path) -> None:
        """And a path that has some."""
        asm.create_secret(Name=f"{top}/a", SecretBinary=b"\x00")
        requests = []
        for _ in range(2):
            async with AsyncSecretsManager(cache_args=on_disk(tmp_path)) as sm:
                assert await sm.get(f"{top}/a") == b"\x00"
                assert await sm.get_by_path(top) == {f"{top}/a": b"\x00"}
                requests.append(dict(sm.stats.requests))
        assert requests == [{"GetSecretValue": 2, "ListSecrets": 1}, {}]

    async def test_the_first_gets_of_all_leave_together(
        self, scripted: Wire, tmp_path: Path
    ) -> None:
        """They wait for one opening of the files, not each for its own."""
        scripted.answers["GetParameters"] = lambda asked: {
            "Parameters": [{"Name": name, "Value": name} for name in asked.body["Names"]]
        }
        names = [f"/{i}" for i in range(100)]
        async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as ps:
            assert await asyncio.gather(*map(ps.get, names)) == names
            assert ps.stats.requests == {"GetParameters": 10}

    def test_another_process_reads_it(self, ssm: Any, top: str, tmp_path: Path) -> None:
        """And neither asks AWS nor imports aiobotocore or anyio's event loop for it."""
        ssm.put_parameter(Name=top, Value="v", Type="SecureString")
        with ParameterStore(cache_args=on_disk(tmp_path)) as ps:
            ps.get(top)
        script = f"""
import sys, warnings, threading
warnings.simplefilter("ignore")
from s1crets.providers.aws import ParameterStore
ps = ParameterStore(cache_args={{"cache_on_disk": True,
    "key_cache_dir": {str(tmp_path / "keys")!r}, "path_cache_dir": {str(tmp_path / "paths")!r}}})
assert ps.peek({top!r}) == "v"
assert ps.get({top!r}) == "v"
assert ps.stats.requests == {{}}
assert "aiobotocore" not in sys.modules and "botocore" not in sys.modules
assert threading.active_count() == 1
"""
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60)

    @pytest.mark.parametrize(
        "other",
        [
            {"env": {"AWS_DEFAULT_REGION": "eu-central-1"}},
            {"env": {"AWS_ACCESS_KEY_ID": "another"}},
            {"env": {"AWS_PROFILE": "another"}},
            {"env": {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}},
            {"sts_args": {"aws_region": "eu-central-1"}},
            {"sts_args": {"RoleArn": "arn:aws:iam::1:role/r"}},
            {"cache_args": {"namespace": "mine"}},
            {"config": "[default]\nregion = eu-north-1\n"},
        ],
        ids=str,
    )
    def test_another_identity_sees_nothing(
        self,
        ssm: Any,
        top: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        other: Any,
    ) -> None:
        """Service, region, endpoint, account or role."""
        ssm.put_parameter(Name=top, Value="v", Type="SecureString")
        with ParameterStore(cache_args=on_disk(tmp_path)) as ps:
            ps.get(top)
            assert ps.peek(top) == "v"
        for name, value in other.get("env", {}).items():
            monkeypatch.setenv(name, value)
        if "config" in other:
            config = Path.home() / ".aws" / "config"
            config.parent.mkdir()
            config.write_text(other["config"])
        stranger = ParameterStore(
            cache_args=on_disk(tmp_path, **other.get("cache_args", {})),
            sts_args=other.get("sts_args", {}),
        )
        assert stranger.peek(top) is None

    async def test_another_service_sees_nothing(self, ssm: Any, top: str, tmp_path: Path) -> None:
        """Even under the same name."""
        ssm.put_parameter(Name=top, Value="v", Type="SecureString")
        async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as ps:
            await ps.get(top)
        async with AsyncSecretsManager(cache_args=on_disk(tmp_path)) as sm:
            assert await sm.get(top, default=None) is None

    def test_the_default_folders_are_below_the_users_cache(
        self, ssm: Any, top: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Wherever the platform has that."""
        ssm.put_parameter(Name=top, Value="v", Type="SecureString")
        with ParameterStore(cache_args={"cache_on_disk": True}) as ps:
            ps.get(top)
        monkeypatch.setattr(sys, "platform", "darwin")
        with ParameterStore(cache_args={"cache_on_disk": True}) as ps:
            ps.get(top)

        assert (Path(environment["XDG_CACHE_HOME"]) / "s1crets" / "keys" / "cache.db").exists()
        assert (Path.home() / "Library" / "Caches" / "s1crets" / "paths").exists()


def test_an_unencrypted_disk_is_warned_of(tmp_path: Path) -> None:
    """It names the folder and a remedy, and the line that made the provider."""
    with pytest.warns(InsecureCacheWarning, match=str(tmp_path)) as caught:
        ParameterStore(cache_args=on_disk(tmp_path))

    assert caught[0].filename == __file__


async def test_a_backend_of_the_callers_own(ssm: Any, top: str, clock: Clock) -> None:
    """Any aiocache cache; two providers share it, and one's update is seen by the other."""
    ssm.put_parameter(Name=top, Value="v", Type="SecureString")
    ssm.put_parameter(Name=f"{top}/a", Value="below", Type="String")
    for backend in (SimpleMemoryCache(), MemoryCache(timer=clock)):
        async with (
            AsyncParameterStore(cache_args={"backend": backend}) as one,
            AsyncParameterStore(cache_args={"backend": backend}) as other,
            AsyncParameterStore(cache_args={"backend": backend, "namespace": "x"}) as stranger,
        ):
            await one.get(top)
            assert await one.get_by_path(top) == {f"{top}/a": "below"}
            assert await other.get(top) == "v"
            assert other.stats.requests == {}
            await stranger.get(top)
            assert stranger.stats.requests == {"GetParameter": 1}
            await other.update(top, "v")
            await one.get(top)
            assert one.stats.requests["GetParameter"] == 2


async def test_a_foreign_backend_does_not_keep_what_was_updated_meanwhile(scripted: Wire) -> None:
    """It can't ask at the last moment, so it is asked afterwards."""
    go = threading.Event()

    def slow(_: Any) -> Any:
        go.wait(30)
        return parameter("/a", "old")

    scripted.answers["GetParameter"] = slow
    async with AsyncParameterStore(cache_args={"backend": SimpleMemoryCache()}) as ps:
        reading = asyncio.ensure_future(ps.get("/a"))
        while not scripted.count("GetParameter"):
            await asyncio.sleep(0.01)
        await ps.invalidate("/a")
        go.set()
        assert await reading == "old"
        scripted.answers["GetParameter"] = parameter("/a", "new")
        assert await ps.get("/a") == "new"


async def test_time_to_live(ssm: Any, top: str, clock: Clock) -> None:
    """A hit before it, a request after it; the clock is injected, no test waits."""
    ssm.put_parameter(Name=top, Value="v", Type="SecureString")
    backend = MemoryCache(timer=clock)
    args: CacheArgs = {"backend": backend, "cache_ttl": 60, "jitter": 0}
    async with AsyncParameterStore(cache_args=args) as ps:
        for step, requests in ((0, 1), (59, 1), (1, 2)):
            clock.now += step
            await ps.get(top)
            assert ps.stats.requests["GetParameter"] == requests


async def test_no_caching(ssm: Any, top: str) -> None:
    """`cache_ttl=0` asks every time."""
    ssm.put_parameter(Name=f"{top}/a", Value="v", Type="SecureString")
    async with AsyncParameterStore(cache_args={"cache_ttl": 0}) as ps:
        for _ in range(2):
            await ps.get(f"{top}/a")
            await ps.get_by_path(top)
        assert ps.stats.requests == {"GetParameter": 2, "GetParametersByPath": 2}


async def test_the_cache_is_bounded(ssm: Any, top: str) -> None:
    """`cache_size` entries; the least recently used go first."""
    for i in range(4):
        ssm.put_parameter(Name=f"{top}/{i}", Value="v", Type="SecureString")
    async with AsyncParameterStore(cache_args={"cache_size": 2}) as ps:
        for i in range(4):
            await ps.get(f"{top}/{i}")
        assert [ps.peek(f"{top}/{i}") for i in range(4)] == [None, None, "v", "v"]


async def test_what_s1crets_did_not_write_is_a_miss(ssm: Any, top: str) -> None:
    """A shared backend may have anything under a key of ours."""
    ssm.put_parameter(Name=top, Value="v", Type="SecureString")
    backend = SimpleMemoryCache()
    async with AsyncParameterStore(cache_args={"backend": backend}) as ps:
        await ps.get(top)
        (row,) = (row for row in backend._cache if row.endswith(top))
        head = base64.b64decode(str(backend._cache[row]))[:24]
        bodies = (b"x", b"b*", b"m[]", b"m{", b'm{"a": 1}', b'm{"a": "mx"}', b"\xff")
        broken = [base64.b64encode(head + body).decode() for body in bodies]
        for foreign in ("", "tv", 5, b"\xff", base64.b64encode(head[:20]).decode(), *broken):
            backend._cache[row] = foreign
            assert await ps.get(top) == "v"
    assert ps.stats.requests == {"GetParameter": 13}


class Broken(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache that fails, as one on a server that has gone."""

    async def _get(self, *_: Any, **__: Any) -> Any:
        raise ConnectionError("canary")

    _set = _delete = _clear = _multi_get = _close = _get


async def test_a_backend_that_fails_is_passed_by(
    scripted: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    """Values come from AWS; one warning."""
    scripted.answers["GetParameter"] = parameter("/a", "v")
    async with AsyncParameterStore(cache_args={"backend": Broken()}) as ps:
        for _ in range(3):
            assert await ps.get("/a") == "v"
        await ps.invalidate("/a")
        await ps.invalidate()
        assert ps.stats.requests == {"GetParameter": 3}
    assert caplog.text.count("going on without it") == 1
    assert "canary" not in caplog.text


class Slow(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache that tells when it is written to, and waits."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.go = asyncio.Event(), asyncio.Event()

    async def _set(self, *args: Any, **kwargs: Any) -> Any:
        if args[0].endswith(":/a") and not self.writing.is_set():
            self.writing.set()
            await self.go.wait()
        return await super()._set(*args, **kwargs)


async def test_what_is_updated_while_it_is_stored_elsewhere_goes(scripted: Wire) -> None:
    """A store that can't ask at the last moment is asked to forget it afterwards."""
    scripted.answers["GetParameter"] = [parameter("/a", "old"), parameter("/a", "new")]
    backend = Slow()
    async with AsyncParameterStore(cache_args={"backend": backend}) as ps:
        reading = asyncio.ensure_future(ps.get("/a"))
        await backend.writing.wait()
        await ps.invalidate("/a")
        backend.go.set()
        assert await reading == "old"
        assert await ps.get("/a") == "new"


async def test_what_is_kept_decoded_is_bounded(scripted: Wire) -> None:
    """Though the store behind it holds more."""
    scripted.answers["GetParameters"] = lambda asked: {
        "Parameters": [{"Name": name, "Value": name} for name in asked.body["Names"]]
    }
    names = [f"/{i}" for i in range(1500)]
    async with AsyncParameterStore(cache_args={"backend": MemoryCache(size=9999)}) as ps:
        for _ in "ab":
            assert list(await ps.get_many(names)) == names
        assert all(ps.peek(name) == name for name in names)
        assert ps.stats.requests == {"GetParameters": 150}
        tier: Any = ps._cache._keys
        assert len(tier._seen) <= 1000


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
async def test_a_readers_own_time_to_live_counts_too(scripted: Wire, clock: Clock) -> None:
    """However long the one that has stored it would keep it."""
    from _support.world import World

    backend = SimpleMemoryCache()
    patient, hasty = (World(backend=backend, cache_ttl=ttl, jitter=0) for ttl in (900, 10))
    await patient.get()
    for world in (patient, hasty):
        world.now += 10
    assert await patient.get() == "v1"
    assert patient.loads == ["/a"]
    await hasty.get()
    assert hasty.loads == ["/a"]


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
async def test_a_closed_cache_has_no_database_open(ssm: Any, top: str, tmp_path: Path) -> None:
    """In whichever thread it was used."""

    def opened() -> list[str]:
        links = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()]
        return [link for link in links if str(tmp_path) in link and "claims" not in link]

    if not Path("/proc/self/fd").exists():
        pytest.skip("only Linux tells")
    ssm.put_parameter(Name=top, Value="v", Type="SecureString")
    async with AsyncParameterStore(cache_args=on_disk(tmp_path)) as ps:
        await ps.get(top)
        await ps.get(top)
        assert await asyncio.to_thread(opened)
    assert await asyncio.to_thread(opened) == []


class Hanging(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache on a server that does not answer."""

    async def _get(self, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(3600)

    _set = _delete = _clear = _multi_get = _get


async def test_a_backend_that_hangs_costs_a_second_now_and_then(scripted: Wire) -> None:
    """And then it is left alone for a while."""
    scripted.answers["GetParameter"] = parameter("/a", "v")
    backend = Hanging(timeout=0)
    async with AsyncParameterStore(cache_args={"backend": backend}, deadline=15) as ps:
        for _ in range(20):
            assert await ps.get("/a") == "v"
        await ps.invalidate("/a")


class Odd(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache that answers with something else."""

    async def _multi_get(self, *_: Any, **__: Any) -> Any:
        return ["one"]


async def test_a_backend_that_answers_with_something_else(scripted: Wire) -> None:
    """Is a miss."""
    scripted.answers["GetParameter"] = parameter("/a", "v")
    async with AsyncParameterStore(cache_args={"backend": Odd()}) as ps:
        assert [await ps.get("/a"), await ps.get("/a")] == ["v", "v"]


class Keeping(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no type hints
    """A cache that can't forget what begins with something, as memcached."""

    async def _clear(self, *_: Any, **__: Any) -> Any:
        return False


async def test_a_backend_that_does_not_clear(ssm: Any, top: str) -> None:
    """A mark says from when on what it has counts, for everybody."""
    ssm.put_parameter(Name=f"{top}/a", Value="old", Type="String")
    backend = Keeping()
    async with (
        AsyncParameterStore(cache_args={"backend": backend}) as one,
        AsyncParameterStore(cache_args={"backend": backend}) as other,
    ):
        assert await other.get_by_path(top) == {f"{top}/a": "old"}
        await one.update(f"{top}/a", "new")
        assert await other.get_by_path(top) == {f"{top}/a": "new"}
        assert await one.get_by_path(top) == {f"{top}/a": "new"}
