"""Servers that reject, are too slow, or hold what does not belong there: one warning that says why.

All of it on real servers. Values come from the service meanwhile.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from _support.deployments import (
    Authority,
    RedisCluster,
    SentinelGroup,
    TlsProxy,
    installed,
    started,
)
from _support.memcached import LARGEST, InstalledMemcached, MemcachedServer
from _support.servers import LoopServer, RedisServer, free_port, time_budget
from _support.world import PATH, WORLDS, A, World
from redis import exceptions

from s1crets._redaction import redact
from s1crets.cache.backends.base import OversizedError
from s1crets.cache.backends.redis import _Calls
from s1crets.cache.backends.server_url import cache_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

FAILS = "continuing without it"
OVERSIZED = 9 * 2**20
TIERS = 2  # one for secrets under their own names, one for what is derived from them


@pytest.fixture(autouse=True)
async def worlds(anyio_backend: object) -> AsyncIterator[None]:
    """Close the caches of a test."""
    yield
    while WORLDS:
        await WORLDS.pop().cache.aclose()


@pytest.fixture
def proxy(redis: RedisServer, authority: Authority) -> Iterator[TlsProxy]:
    """Yield TLS in front of the Redis server."""
    proxy = TlsProxy(redis.port, authority)
    yield proxy
    proxy.stop()


@pytest.fixture
def users(redis: RedisServer) -> RedisServer:
    """Return a server with a user that lacks a command, one that lacks keys, and a password."""
    redis.command("ACL", "SETUSER", "command", "on", ">fake", "~*", "+@all", "-mget")
    redis.command("ACL", "SETUSER", "keys", "on", ">fake", "~other:*", "+@all")
    redis.command("ACL", "SETUSER", "default", ">fake")
    return redis


async def warning_of(url: str, caplog: pytest.LogCaptureFixture) -> str:
    """Return what the only warning says, of a cache that can't be used."""
    world = World(backend=url)
    assert [await world.get(), await world.get()] == ["v1", "v2"]
    await world.cache.invalidate(["/a"])
    await world.cache.aclose()

    assert caplog.text.count(FAILS) == 1
    assert "canary" not in caplog.text
    return caplog.text


@pytest.mark.parametrize(
    ("user", "path", "words"),
    [
        ("", "", "the server rejects the user or the password, or needs one"),
        ("default:canary@", "", "the server rejects the user or the password"),
        ("nobody:canary@", "", "the server rejects the user or the password"),
        ("command:fake@", "", "the user lacks the permission to run MGET"),
        ("keys:fake@", "", "the user lacks the permission to access s1crets' keys"),
        ("default:fake@", "/99", "the server has no such database"),
    ],
)
async def test_users_and_permissions(
    users: RedisServer, caplog: pytest.LogCaptureFixture, user: str, path: str, words: str
) -> None:
    """The warning says which of them is missing."""
    text = await warning_of(f"redis://{user}localhost:{users.port}{path}", caplog)

    assert f"the cache redis://localhost:{users.port}{path} fails" in text
    assert words in text


async def test_a_ca_that_is_not_the_servers(
    proxy: TlsProxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names the parameter."""
    url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={Authority(tmp_path).ca}"

    assert "not trusted: is ssl_ca_certs the right CA?" in await warning_of(url, caplog)


async def test_a_certificate_for_another_host(
    redis: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Hosts are checked."""
    other = Authority(tmp_path, "other.example")
    proxy = TlsProxy(redis.port, other)
    try:
        url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={other.ca}"
        assert "certificate is for another host" in await warning_of(url, caplog)
        unchecked = World(backend=f"{url}&ssl_check_hostname=no")
        assert [await unchecked.get(), await unchecked.get()] == ["v1", "v1"]
        await unchecked.cache.aclose()
    finally:
        proxy.stop()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://localhost:{closed}", "nobody listens on its port"),
        ("memcached://localhost:{closed}", "nobody listens on its port"),
        ("redis+cluster://localhost:{closed}", "nobody listens on its port"),
        ("redis+sentinel://localhost:{closed},localhost:{closed}/s", "no Sentinel can be reached"),
        ("redis://host.invalid", "its host is not known"),
        ("memcached://host.invalid", "its host is not known"),
        ("unix:///nowhere/socket", "a file or socket that its URL names does not exist"),
        ("rediss://localhost:{tls}?ssl_ca_certs=/nowhere", "a file or socket that its URL names"),
        ("redis://localhost:{tls}", "it restarts, or demands TLS, as of rediss://"),
        ("redis+cluster://localhost:{redis}", "the server is no cluster"),
    ],
)
async def test_wrong_addresses(
    redis: RedisServer, proxy: TlsProxy, caplog: pytest.LogCaptureFixture, url: str, words: str
) -> None:
    """The warning says what is there instead."""
    ports = {"closed": free_port(), "tls": proxy.port, "redis": redis.port}

    assert words in await warning_of(url.format(**ports), caplog)


async def test_a_server_without_tls(
    redis: RedisServer, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits for more; so the handshake has a time limit."""
    url = f"rediss://localhost:{redis.port}?socket_connect_timeout=0.1&ssl_ca_certs={authority.ca}"

    assert "it does not answer in time: does it use TLS?" in await warning_of(url, caplog)


async def test_a_node_of_a_cluster_as_a_server(
    deployment_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names the scheme."""
    nodes = deployment_of("cluster").servers.nodes
    urls = [f"redis://localhost:{node.port}" for node in nodes]
    server = cache_server(redact(urls[0]))
    texts = []
    for url in urls:
        cache: Any = await asyncio.to_thread(cache_server(redact(url)))
        try:
            await cache.get("a")
        except Exception as error:  # noqa: BLE001
            texts.append(server.explain(error))
        await cache.close()

    assert texts == ["the server belongs to a cluster: the scheme is redis+cluster"] * 2


async def test_a_slow_handshake_is_not_a_slow_server(
    proxy: TlsProxy, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Its time does not count, nor that of handshakes that wait for each other."""
    proxy.delay = 0.7
    world = World(backend=f"rediss://localhost:{proxy.port}?ssl_ca_certs={authority.ca}")
    with time_budget(0.5):
        assert [await world.get(), await world.get()] == ["v1", "v1"]

    assert caplog.text == ""


async def test_connections_are_opened_on_demand(
    proxy: TlsProxy, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """One for one caller, and few for many; certificates are loaded once for all loops."""
    ca = authority.folder / "copy.pem"
    ca.write_bytes(authority.ca.read_bytes())
    server = cache_server(redact(f"rediss://localhost:{proxy.port}?ssl_ca_certs={ca}"))
    one: Any = await asyncio.to_thread(server)
    await one.set("a", "v")
    assert proxy.handshakes == 1
    await asyncio.gather(*(one.get("a") for _ in range(200)))
    assert proxy.handshakes <= 8
    await one.close()
    ca.unlink()
    other: Any = await asyncio.to_thread(server)
    assert await other.get("a") == "v"
    await other.close()


@pytest.fixture(params=["server", "resp3", "cluster", "sentinel", "memcached", "installed"])
def roomy_url(request: pytest.FixtureRequest, patient: None) -> Iterator[str]:
    """Yield the URL of a server that takes rows of any size."""
    if request.param in ("memcached", "installed"):
        server: Any = MemcachedServer()
        if request.param == "memcached":
            server.largest = 2**30
        else:
            server.stop()
            server = InstalledMemcached(installed("memcached"), "-m", "300", "-I", "100m")
        yield server.url
        server.stop()
        return
    form = request.param.replace("resp3", "server")
    deployment = request.getfixturevalue("deployment_of")(form)
    yield deployment.url + ("?protocol=3" if request.param == "resp3" else "")
    deployment.reset()


async def test_an_oversized_row_is_not_read(
    roomy_url: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a miss, and is replaced; other rows of the same call are hits."""
    world = World(backend=roomy_url, jitter=0)
    assert [await world.get(A), await world.get(PATH)] == ["v1", "v2"]
    tier: Any = world.cache._keys
    row, *tombstones = tier._rows_of(A, tier._scope).names
    before = await tier.backend.get_many(tombstones)
    client = (await tier.backend._cache_here()).client
    if "memcached" in roomy_url:
        await client.set(row.encode(), bytes(OVERSIZED))
    else:
        await client.setrange(row, OVERSIZED, "x")
    tracemalloc.start()
    try:
        assert await tier.backend.get_many([row, *tombstones]) == [None, *before]
        assert "[memcached]" in request.node.name or (  # that server is in this process
            tracemalloc.get_traced_memory()[1] < 5 * 2**20
        )
    finally:
        tracemalloc.stop()
    assert [await world.get(A), await world.get(A), await world.get(PATH)] == ["v3", "v3", "v2"]
    assert tier.backend.is_available
    assert caplog.text.count(FAILS) == 1
    assert "8 MiB" in caplog.text


class Answering(LoopServer):
    """A server that answers the first GET with some bytes, and closes the connection."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        super().__init__()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while b"GET" not in (data := await reader.read(65536)) and data:
                writer.write(b"+OK\r\n" * data.count(b"SETINFO"))
            writer.write(self._answer)
        writer.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"+" + b"x" * 2**18, OversizedError),
        (b"$9\r\nx", exceptions.ConnectionError),
        (b"$9", exceptions.ConnectionError),
    ],
    ids=["a line without an end", "part of a row", "part of a line"],
)
async def test_responses_that_are_not_complete(answer: bytes, error: type[Exception]) -> None:
    """They are read to no end, and are never taken for something else."""
    server = Answering(answer)
    try:
        cache: Any = await asyncio.to_thread(
            cache_server(redact(f"redis://127.0.0.1:{server.port}"))
        )
        with pytest.raises(error):
            await cache.get("a")
        await cache.close()
    finally:
        server.stop()


@pytest.mark.parametrize("form", ["server", "memcached"])
async def test_a_value_that_is_too_large_is_not_stored(
    deployment_of: Any, patient: None, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    """Others are, as before; one warning."""
    world = World(backend=deployment_of(form).url)
    assert [await world.get(A), await world.get(A)] == ["v1", "v1"]
    tier: Any = world.cache._keys
    assert not await tier.backend.set_many({"s1crets:a": "x" * (9 * LARGEST), "s1crets:b": "y"}, 9)
    assert await tier.backend.get_many(["s1crets:a", "s1crets:b"]) == [None, "y"]
    assert await world.get(A) == "v1"
    assert caplog.text.count(FAILS) == 1
    assert "OversizedError" in caplog.text


@pytest.mark.usefixtures("patient")
class TestReplicas:
    """An update is on the replicas too before it is complete: a failover does not undo it."""

    async def heard(self, server: RedisServer, url: str) -> bytes:
        """Return what a server is sent during an invalidation."""
        world = World(backend=url)
        await world.get()
        with server.overheard() as heard:
            await world.cache.invalidate(["/a"])
            await world.get()
        await world.cache.aclose()
        return bytes(heard).upper()

    async def test_of_a_primary(self, tmp_path: Path) -> None:
        """Named by Sentinel, or by the URL."""
        with started(SentinelGroup(tmp_path)) as group:
            for url in (group.url, group.primary.url):
                heard = await self.heard(group.primary, url)
                assert heard.count(b'"WAIT" "1"') == TIERS

    async def test_of_a_cluster(self, tmp_path: Path) -> None:
        """Of the node that has the row."""
        with started(RedisCluster(tmp_path, primaries=1, replicas=True)) as cluster:
            heard = await self.heard(cluster.nodes[0], cluster.url)
            assert heard.count(b'"WAIT" "1"') == TIERS

    async def test_where_there_are_none(self, redis: RedisServer) -> None:
        """Nobody waits; nor where the server does not tell."""
        assert b'"WAIT"' not in await self.heard(redis, redis.url)
        redis.command("ACL", "SETUSER", "default", "-info")
        assert b'"WAIT"' not in await self.heard(redis, redis.url)


@pytest.mark.usefixtures("patient")
class TestMemcached:
    """Its client, on a server of the tests' own."""

    @pytest.fixture
    def server(self) -> Iterator[MemcachedServer]:
        server = MemcachedServer()
        yield server
        server.stop()

    async def test_a_server_that_was_restarted(
        self, server: MemcachedServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Connections that it has closed are opened again, one at a time or many."""
        world = World(backend=server.url)
        assert await world.get() == "v1"
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        await asyncio.sleep(0.05)  # the loop sees the end of its connections
        assert [await world.get(), await world.get()] == ["v2", "v2"]
        assert caplog.text == ""

    async def test_a_server_that_ends_during_a_command(
        self, server: MemcachedServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It fails; nothing waits forever, and nothing spins."""
        world = World(backend=server.url)
        server.silent = True
        reading = asyncio.ensure_future(world.get())
        await asyncio.sleep(0.1)
        assert not reading.done()
        await asyncio.to_thread(server.stop)
        assert await asyncio.wait_for(reading, 60) == "v1"
        await asyncio.to_thread(server.start)
        assert caplog.text.count(FAILS) == 1

    async def test_a_response_that_nobody_waited_for(self, server: MemcachedServer) -> None:
        """It is not taken for the next one's."""
        cache: Any = await asyncio.to_thread(cache_server(redact(server.url)))
        await cache.multi_set([("a", "1"), ("b", "2")])
        for command in (partial(cache.get, "a"), partial(cache.delete, "c")):
            server.silent = True
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(command(), 0.05)
            server.silent = False
            found = await asyncio.gather(*(cache.get("b") for _ in range(8)))
            assert found == ["2"] * 8
        await cache.close()

    async def test_a_life_of_more_than_thirty_days(self, server: MemcachedServer) -> None:
        """Memcached would take it for a date in 1970."""
        cache: Any = await asyncio.to_thread(cache_server(redact(server.url)))
        for ttl in (None, 0.5, 10**8):
            await cache.set("a", "1", ttl=ttl)
            assert await cache.get("a") == "1"
        await cache.close()


async def test_a_cluster_that_can_not_be_closed() -> None:
    """After a cancelled operation its nodes are looked for again; an error keeps nobody waiting."""

    class Cluster:
        async def aclose(self) -> None:
            raise OSError

    calls = _Calls(1, Cluster())  # type: ignore[arg-type]
    with suppress(asyncio.CancelledError):
        async with calls:
            raise asyncio.CancelledError
    with pytest.raises(OSError):  # noqa: PT011
        await calls.__aenter__()
    assert not calls.locked()
