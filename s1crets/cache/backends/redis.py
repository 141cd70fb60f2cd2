"""RedisBackend: an aiocache backend on redis-py's own clients, for a server, cluster or Sentinel.

In a cluster, keys with the same hash tag are in one slot, and so on one node; keys of several slots
take one command per slot. Every node has one connection, since redis-py sends ASKING, which
announces a redirected command, on any connection of the node.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from redis import exceptions
from redis._parsers import _AsyncRESP2Parser, _AsyncRESP3Parser
from redis.asyncio import Connection, ConnectionPool, Redis, RedisCluster, SSLConnection
from redis.asyncio import UnixDomainSocketConnection as SocketConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo

from s1crets._redaction import Redacted
from s1crets.cache.backends.base import (
    LARGEST_ROW,
    CacheFactory,
    MultiWriter,
    OversizedError,
    pausing,
)

if TYPE_CHECKING:
    from aiocache.base import BaseCache

    from s1crets.cache.backends.server_url import Address

_CONNECTIONS = 8  # per event loop
_CONNECTING = 2  # at a time: a handshake is work for the event loop
_READ = 2**16  # bytes that are read at once
_REPLICATION = 100  # milliseconds that replicas may take
_SENTINEL = 0.5  # seconds that a Sentinel may take, before the next one is asked

_IF_EQUAL = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call({}) else return 0 end"
_RELEASE = _IF_EQUAL.format("'del', KEYS[1]")
_REPLACE = _IF_EQUAL.format("'set', KEYS[1], unpack(ARGV, 2)")


@cache
def driver_info() -> DriverInfo:
    """Return what connections say about redis-py; or each would read its version from a file."""
    return DriverInfo()


class RedisServer(CacheFactory):
    """The address of a server, cluster or Sentinel; called, it returns a cache for a loop.

    Args:
        address: where it is.
        replicated_prefix: see `RedisBackend`.
    """

    def __init__(self, address: Address, replicated_prefix: str) -> None:
        self.title = address.title
        calls = address.options.get("max_connections", _CONNECTIONS)
        self.calls = 1 if address.form == "cluster" else calls
        self._address = address
        self._replicated_prefix = replicated_prefix

    def explain(self, error: BaseException) -> str:
        """Return what an error means; the first known one of its causes."""
        chain = [error]
        while cause := chain[-1].__cause__ or chain[-1].__context__:
            chain.append(cause)
        if words := next(filter(None, map(_meaning, reversed(chain))), ""):
            return words
        if isinstance(error, (TimeoutError, exceptions.TimeoutError)) and self._address.is_tls:
            return "it does not answer in time: does it use TLS?"
        return ""

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """TLS as redis-py sets it up, once for all loops: to load certificates takes 50 ms."""
        options = {k: v for k, v in _revealed(self._address) if k.startswith("ssl_")}
        return SSLConnection(**options).ssl_context.get()

    def __call__(self) -> BaseCache:
        """Return a cache for one event loop. Blocks: certificates are read from files."""
        address = self._address
        options: dict[str, Any] = {
            "protocol": 2,  # since servers before version 6 have no other
            # An operation is limited as a whole, without the time in which this process got no CPU.
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "driver_info": driver_info(),
            **{k: v for k, v in _revealed(address) if not k.startswith("ssl_")},
        }
        options.pop("max_connections", None)
        context = self._tls if address.is_tls else None
        base = _BASES.get(address.form, SSLConnection if context else Connection)
        connection = _connection_class(base, context, options["protocol"])
        if address.form == "cluster":
            client: Any = _cluster(address, connection, options)
            return RedisBackend(client, self.calls, self._replicated_prefix)
        if address.form == "sentinel":
            client = _primary(address, connection, options)
        else:
            place: dict[str, Any] = {"path": address.path}
            if address.form == "server":
                place = dict(zip(("host", "port"), address.hosts[0], strict=True))
            pool = ConnectionPool(connection_class=connection, retry=_once(), **place, **options)
            client = Redis.from_pool(pool)
        return RedisBackend(client, self.calls, self._replicated_prefix)


_BASES: Mapping[str, Any] = {"socket": SocketConnection, "sentinel": SentinelManagedConnection}


def _revealed(address: Address) -> Iterator[tuple[str, Any]]:
    for name, value in address.options.items():
        yield name, value.reveal() if isinstance(value, Redacted) else value


def _cluster(address: Address, connection: type, options: dict[str, Any]) -> RedisCluster:
    nodes = [ClusterNode(*host) for host in address.hosts]
    client = RedisCluster(
        startup_nodes=nodes, retry=Retry(NoBackoff(), 3), require_full_coverage=False, **options
    )
    client.connection_kwargs["connection_class"] = connection
    for node in client.startup_nodes:
        node.connection_class = connection
    return client


def _primary(address: Address, connection: type, options: dict[str, Any]) -> Redis:
    """Return a client of the primary that Sentinel names."""
    limits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), _SENTINEL)
    own = {**limits, "driver_info": options["driver_info"], "retry": Retry(NoBackoff(), 0)}
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        address.hosts, sentinel_kwargs={"protocol": 2, **own}
    )
    client: Redis = sentinel.master_for(
        address.path, connection_class=connection, retry=_once(), **options
    )
    return client


def _once() -> Retry:
    """A server closes idle connections. A server that does not answer is not asked twice."""
    return Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,))


class _Bounded:
    """Reads what has arrived at once, but no row that is too long: its length comes before it.

    redis-py's own parser reads each line and each row from the stream, which takes longer than the
    rest of an MGET. Nothing is parsed again: a connection is closed if it was not read to the end.
    """

    _buffer: bytes
    _pos: int
    _stream: Any

    def on_connect(self, connection: Any) -> None:
        self._buffer, self._pos = b"", 0
        super().on_connect(connection)  # type: ignore[misc]

    def _clear(self) -> None:
        self._buffer, self._pos = self._buffer[self._pos :], 0

    async def _readline(self) -> bytes:
        while (end := self._buffer.find(b"\r\n", self._pos)) < 0:
            self._clear()
            if len(self._buffer) > _READ:
                raise OversizedError("a line is too long")
            self._buffer += await self._stream.read(_READ) or _no_more()
        line, self._pos = self._buffer[self._pos : end], end + 2
        return line

    async def _read(self, length: int) -> bytes:
        if length > LARGEST_ROW:
            raise OversizedError(f"a row has {length} bytes")
        missing = self._pos + length + 2 - len(self._buffer)
        if missing > 0:
            self._clear()
            try:
                self._buffer += await self._stream.readexactly(missing)
            except asyncio.IncompleteReadError:
                _no_more()
        row = self._buffer[self._pos : self._pos + length]
        self._pos += length + 2
        return row


def _no_more() -> NoReturn:
    raise exceptions.ConnectionError("Connection closed by server.")  # as redis-py says it


class _Resp2Parser(_Bounded, _AsyncRESP2Parser):
    """RESP2, bounded."""


class _Resp3Parser(_Bounded, _AsyncRESP3Parser):
    """RESP3, bounded."""


def _connection_class(base: Any, context: ssl.SSLContext | None, protocol: int) -> Any:
    """Return a class of connections for one event loop."""
    parser = _Resp3Parser if protocol == 3 else _Resp2Parser  # noqa: PLR2004
    connecting = asyncio.Semaphore(_CONNECTING)

    class BoundedConnection(base):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs, parser_class=parser)
            if context is not None:
                self.ssl_context.context = context

        async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
            async with AsyncExitStack() as stack:
                if context is not None and not self.is_connected:
                    # A handshake says nothing about how long operations take.
                    stack.enter_context(pausing.get()())
                    await stack.enter_async_context(connecting)
                await super().connect_check_health(*args, **kwargs)

    return BoundedConnection


class _Calls(asyncio.Semaphore):
    """Operations wait for their turn, and after one that was cancelled a cluster is found again.

    redis-py looks for the nodes after an error; but a node that does not answer leads to none.
    """

    def __init__(self, value: int, cluster: RedisCluster | None) -> None:
        super().__init__(value)
        self._cluster = cluster
        self._is_suspect = False

    async def __aenter__(self) -> None:
        await super().__aenter__()
        if self._is_suspect and self._cluster is not None:
            self._is_suspect = False
            try:
                await self._cluster.aclose()
            except BaseException:
                self.release()
                raise

    async def __aexit__(self, *raised: object) -> None:
        self._is_suspect = self._is_suspect or raised[0] is asyncio.CancelledError
        self.release()


class RedisBackend(MultiWriter):
    """Implements the operations behind aiocache's public methods, on a client of redis-py.

    Args:
        client: a `Redis` or `RedisCluster` of the loop that uses the cache; closed with it.
        calls: operations at a time; the others wait.
        replicated_prefix: rows whose keys start with it are written to the replicas too before
            `multi_set` returns, if these are not too slow: a failover must not undo an update.
    """

    NAME = "redis"

    def __init__(self, client: Any, calls: int, replicated_prefix: str = "") -> None:
        super().__init__(timeout=0)
        self.client = client
        self._cluster = client if isinstance(client, RedisCluster) else None
        self._calls = _Calls(calls, self._cluster)
        self._replicated_prefix = replicated_prefix

    def _by_slot(self, keys: Iterable[str]) -> Iterator[list[str]]:
        """Return keys in groups that one command may have."""
        if self._cluster is None:
            if group := list(keys):  # no command has no keys
                yield group
            return
        slots: dict[int, list[str]] = {}
        for key in keys:
            slots.setdefault(self._cluster.keyslot(key), []).append(key)
        yield from slots.values()

    async def _get(self, key: str, encoding: str | None = "utf-8", _conn: object = None) -> Any:
        async with self._calls:
            return _decoded(await self.client.get(key), encoding)

    async def _gets(self, key: str, encoding: str | None = "utf-8", _conn: object = None) -> Any:
        return await self._get(key, encoding)

    async def _multi_get(
        self, keys: Sequence[str], encoding: str | None = "utf-8", _conn: object = None
    ) -> list[Any]:
        found: dict[str, Any] = {}
        async with self._calls:
            for group in self._by_slot(keys):
                found.update(zip(group, await self.client.mget(group), strict=True))
        return [_decoded(found[key], encoding) for key in keys]

    async def _set(
        self,
        key: str,
        value: Any,
        ttl: float | None = None,
        _cas_token: Any = None,
        _conn: object = None,
    ) -> Any:
        _check_size(value)
        if _cas_token is not None:
            args = [word for item in _expiry(ttl).items() for word in item]
            return await self._raw("eval", _REPLACE, 1, key, _cas_token, value, *args)
        async with self._calls:
            return await self.client.set(key, value, **_expiry(ttl))

    async def _multi_set(
        self, pairs: Iterable[tuple[str, Any]], ttl: float | None = None, _conn: object = None
    ) -> bool:
        given = dict(pairs)
        values = {key: value for key, value in given.items() if len(value) <= LARGEST_ROW}
        async with self._calls:
            for group in self._by_slot(values):
                await self._set_group({key: values[key] for key in group}, _expiry(ttl))
        for value in given.values():
            _check_size(value)  # the others are stored
        return True

    async def _set_group(self, values: Mapping[str, Any], expiry: dict[str, int]) -> None:
        """Store values that are in one slot."""
        key = next(iter(values))
        prefix = self._replicated_prefix
        replicas = await self._replicas(key) if prefix and key.startswith(prefix) else 0
        pipe = self.client.pipeline(transaction=False)
        for name, value in values.items():
            pipe.set(name, value, **expiry)
        if replicas and not self._cluster:
            pipe.wait(replicas, _REPLICATION)
        for result in (await pipe.execute(raise_on_error=False))[: len(values)]:
            if isinstance(result, Exception):
                raise result
        if replicas and self._cluster:
            with suppress(exceptions.ResponseError):
                # The node's only connection is the one that the values were written on.
                await self._cluster.wait(replicas, _REPLICATION, target_nodes=self._node(key))

    async def _replicas(self, key: str) -> int:
        """Return how many replicas a key has; 0 if the server does not tell."""
        where = {"target_nodes": self._node(key)} if self._cluster else {}
        try:
            info = await self.client.info("replication", **where)
        except exceptions.ResponseError:
            return 0
        return int(info.get("connected_slaves", 0))

    def _node(self, key: str) -> Any:
        assert self._cluster is not None
        return self._cluster.get_node_from_key(key)

    async def _add(
        self, key: str, value: Any, ttl: float | None = None, _conn: object = None
    ) -> bool:
        async with self._calls:
            stored = await self.client.set(key, value, nx=True, **_expiry(ttl))
        if not stored:  # the error is worded as aiocache's own
            raise ValueError(f"Key {key} already exists, use .set to update the value")
        return True

    async def _multi_add(self, values: Mapping[str, Any], ttl: float | None) -> Collection[str]:
        added: dict[str, Any] = {}
        async with self._calls:
            for group in self._by_slot(values):
                pipe = self.client.pipeline(transaction=False)
                for key in group:
                    pipe.set(key, values[key], nx=True, **_expiry(ttl))
                added.update(zip(group, await pipe.execute(), strict=True))
        return [key for key, stored in added.items() if not stored]

    async def _multi_delete(self, keys: Collection[str]) -> None:
        async with self._calls:
            for group in self._by_slot(keys):
                await self.client.delete(*group)

    async def _exists(self, key: str, _conn: object = None) -> bool:
        async with self._calls:
            return bool(await self.client.exists(key))

    async def _increment(self, key: str, delta: int, _conn: object = None) -> int:
        try:
            async with self._calls:
                number: int = await self.client.incrby(key, delta)
        except exceptions.ResponseError:
            raise TypeError("Value is not an integer") from None
        return number

    async def _expire(self, key: str, ttl: float, _conn: object = None) -> bool:
        async with self._calls:
            if ttl == 0:
                return bool(await self.client.persist(key))
            return bool(await self.client.pexpire(key, math.ceil(ttl * 1000)))

    async def _delete(self, key: str, _conn: object = None) -> int:
        async with self._calls:
            deleted: int = await self.client.delete(key)
        return deleted

    async def _clear(self, namespace: str | None = None, _conn: object = None) -> bool:
        """Delete all keys that start with a namespace, or the database."""
        async with self._calls:
            if not namespace:
                return bool(await self.client.flushdb())
            pattern = re.sub(r"([*?\[\]\\])", r"\\\1", namespace) + "*"
            found = [key async for key in self.client.scan_iter(pattern, count=1000)]
            for group in self._by_slot(found):
                await self.client.delete(*group)
        return True

    async def _raw(
        self,
        command: str,
        *args: Any,
        encoding: str | None = "utf-8",
        _conn: object = None,
        **kwargs: Any,
    ) -> Any:
        """Call a method of the client."""
        async with self._calls:
            value = await getattr(self.client, command)(*args, **kwargs)
        if command in ("keys", "mget"):
            return [_decoded(one, encoding) for one in value]
        return _decoded(value, encoding) if command == "get" else value

    async def _redlock_release(self, key: str, value: Any) -> Any:
        return await self._raw("eval", _RELEASE, 1, key, value)

    async def _close(self, *_: Any, _conn: object = None, **__: Any) -> None:
        await self.client.aclose()
        sentinel = getattr(getattr(self.client, "connection_pool", None), "sentinel_manager", None)
        if sentinel is not None:
            await sentinel.aclose()


def _check_size(value: Any) -> None:
    if len(value) > LARGEST_ROW:
        raise OversizedError(f"the value is longer than {LARGEST_ROW} bytes")


def _decoded(value: Any, encoding: str | None) -> Any:
    return value.decode(encoding) if encoding and value is not None else value


def _expiry(ttl: float | None) -> dict[str, int]:
    """Return a life in seconds as arguments of SET."""
    if not ttl:
        return {}
    return {"px": max(1, round(ttl * 1000))} if isinstance(ttl, float) else {"ex": ttl}


def _meaning(error: BaseException) -> str:
    """Return what one error means, without its text, which may have values; "" if unknown."""
    text = str(error)
    if isinstance(error, exceptions.NoPermissionError):
        denied = re.search(r"permissions? to (?:run|execute) the '([a-z|]+)' command", text)
        what = f"run {denied[1].upper()}" if denied else "access s1crets' keys (s1crets:*)"
        return f"the user lacks the permission to {what}"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_HOST:
            return "the server's certificate is for another host"
        return "the server's certificate is not trusted: is ssl_ca_certs the right CA?"
    for kind, part, words in _MEANINGS:
        if isinstance(error, kind) and part in text:
            return words
    return ""


_OTHER_HOST = (62, 64)  # OpenSSL's codes for a name or an address that is not in a certificate
_MEANINGS: Sequence[tuple[type[BaseException], str, str]] = [
    (
        *(exceptions.AuthenticationError, ""),
        "the server rejects the user or the password, or needs one",
    ),
    (exceptions.MovedError, "", "the server belongs to a cluster: the scheme is redis+cluster"),
    (exceptions.OutOfMemoryError, "", "the server has no memory left"),
    (exceptions.ReadOnlyError, "", "the server is a replica"),
    (exceptions.BusyLoadingError, "", "the server is starting"),
    (OversizedError, "", f"a row is longer than {LARGEST_ROW // 2**20} MiB"),
    (MasterNotFoundError, "", "no Sentinel can be reached that knows the service"),
    (exceptions.ResponseError, "DB index is out", "the server has no such database"),
    (
        *(exceptions.ResponseError, "cluster support disabled"),
        "the server is no cluster: the scheme is redis, or rediss",
    ),
    (exceptions.ConnectionError, "max number of clients", "the server has no connection left"),
    (
        *(exceptions.ConnectionError, "closed by server"),
        "the server closes connections: it restarts, or demands TLS, as of rediss://",
    ),
    (ssl.SSLError, "", "the TLS handshake fails: does the server use TLS?"),
    (socket.gaierror, "", "its host is not known"),
    (ConnectionRefusedError, "", "nobody listens on its port"),
    (FileNotFoundError, "", "a file or socket that its URL names does not exist"),
]
