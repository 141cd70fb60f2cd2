"""A provider and its cache: in memory, on disk, and in backends of the caller's own."""

from __future__ import annotations

import asyncio
import base64
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Wire, parameter
from aiocache import SimpleMemoryCache

from s1crets.cache import DiskCache, MemoryCache
from s1crets.errors import InsecureCacheWarning
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore

if TYPE_CHECKING:
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


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
