"""A provider and its cache: in memory, on disk, and in backends of the caller's own."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.world import A, Clock, World
from aiocache import SimpleMemoryCache

from s1crets.cache import MemoryCache
from s1crets.cache.entry import CacheKey
from s1crets.errors import InsecureCacheWarning
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore

if TYPE_CHECKING:
    from _support.wire import Wire

    from s1crets.cache import CacheArgs


@pytest.fixture
def clock() -> Clock:
    return Clock()


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


async def test_foreign_content_is_a_miss(ssm: Any, top: str) -> None:
    """A shared backend may have anything under a key of s1crets."""
    ssm.put_parameter(Name=top, Value="v", Type="SecureString")
    backend = SimpleMemoryCache()
    async with AsyncParameterStore(cache_args={"backend": backend}) as ps:
        await ps.get(top)
        (row,) = (row for row in backend._cache if row.startswith("s1crets:plain:"))
        whole = base64.b64decode(str(backend._cache[row]))
        head = whole[: whole.index(b"tv")]
        bodies = (b"x", b"b*", b"m[]", b"m{", b'm{"a": 1}', b'm{"a": "mx"}', b"\xff")
        broken = [base64.b64encode(head + body).decode() for body in bodies]
        for foreign in ("", "tv", 5, b"\xff", base64.b64encode(head[:20]).decode(), *broken):
            backend._cache[row] = foreign
            assert await ps.get(top) == "v"
    assert ps.stats.requests == {"GetParameter": 13}


async def test_decoded_entries_are_bounded() -> None:
    """Though the store behind them holds more."""
    world = World(backend=MemoryCache(size=9999))
    keys = [CacheKey.of_secret(f"/{i}") for i in range(1500)]
    await world.cache.read_many(keys, {}, cached=True)
    assert all(world.cache.peek(key) for key in keys)
    tier: Any = world.cache._keys

    assert len(world.fetched) == 1500
    assert max(len(tier._seen), len(tier._rows)) <= 1000


async def test_a_readers_own_time_to_live_counts_too() -> None:
    """However long whoever stored the entry would keep it."""
    backend = SimpleMemoryCache()
    patient, hasty = (World(backend=backend, cache_ttl=ttl, jitter=0) for ttl in (900, 10))
    await patient.get()
    for world in (patient, hasty):
        world.wait(10)
    assert await patient.get() == "v1"
    assert patient.fetched == [A]
    await hasty.get()
    assert hasty.fetched == [A]


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
