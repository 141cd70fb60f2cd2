"""Redis as it is deployed, on loopback: behind TLS, as a cluster, with Sentinel; and Memcached."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.memcached import InstalledMemcached, MemcachedServer
from _support.servers import LoopServer, RedisServer, free_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SLOTS = 16384
USER = "on >fake/p@ss: ~s1crets:* +get +mget +set +del +info +wait"
PASSWORD = "fake%2Fp%40ss%3A"
_STARTS = 60.0  # seconds that servers may take until they agree


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait until servers agree."""
    until = time.monotonic() + _STARTS
    while not is_so():
        assert time.monotonic() < until, "the servers do not agree"
        time.sleep(0.02)


@dataclass
class Authority:
    """A certificate authority of the tests, and a certificate of it for a host."""

    folder: Path
    host: str = "localhost"

    def __post_init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests of s1crets")])
        ca = self._certificate(name, name, key.public_key(), key, is_ca=True)
        own = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.host)])
        certificate = self._certificate(subject, name, own.public_key(), key, is_ca=False)
        pem = serialization.Encoding.PEM
        self.ca.write_bytes(ca.public_bytes(pem))
        self.certificate.write_bytes(certificate.public_bytes(pem))
        form = serialization.PrivateFormat.PKCS8
        self.key.write_bytes(own.private_bytes(pem, form, serialization.NoEncryption()))

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"

    def _certificate(
        self, subject: x509.Name, issuer: x509.Name, key: Any, signer: Any, *, is_ca: bool
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        names: list[x509.GeneralName] = [x509.DNSName(self.host)]
        if self.host == "localhost":  # redis-py looks up the addresses of a cluster's nodes
            names.append(x509.IPAddress(IPv4Address("127.0.0.1")))
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=is_ca, crl_sign=is_ca,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        identifier = x509.SubjectKeyIdentifier.from_public_key(key)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = (
            x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(authority, critical=False)
        )
        if not is_ca:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256())


class TlsProxy(LoopServer):
    """Ends TLS in front of a server that has none.

    Attributes:
        handshakes: how many connections it has taken.
        delay: seconds before each handshake.
    """

    def __init__(self, target: int, authority: Authority) -> None:
        self.handshakes, self.delay = 0, 0.0
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(authority.certificate, authority.key)
        super().__init__()

    async def listen(self) -> list[asyncio.Server]:
        inner = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self._inner = inner.sockets[0].getsockname()[1]
        return [inner, *await super().listen()]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.delay)
        self.handshakes += 1
        await _connect(reader, writer, self._inner)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _connect(reader, writer, self._target)


async def _connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
    """Pass on what two sides say, until one of them ends."""
    with suppress(OSError, asyncio.CancelledError):
        there = await asyncio.open_connection("127.0.0.1", target)
        ways = [_pump(reader, there[1]), _pump(there[0], writer)]
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            there[1].close()
    writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@dataclass
class RedisCluster:
    """A cluster of primaries, each with a replica if wanted, each behind TLS if wanted."""

    folder: Path
    primaries: int = 3
    replicas: bool = False
    timeout: int = 60_000  # milliseconds after which a node counts as failed
    authority: Authority | None = None
    nodes: list[RedisServer] = field(default_factory=list)
    proxies: list[TlsProxy] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The URL of a node."""
        if self.authority:
            return f"rediss+cluster://localhost:{self.proxies[0].port}?ssl_ca_certs={self.authority.ca}"
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    def start(self) -> None:
        """Start the nodes, and wait until they are a cluster."""
        for number in range(self.primaries * (1 + self.replicas)):
            folder, port = self.folder / str(number), free_port()
            folder.mkdir()
            settings = {
                "cluster-enabled": "yes", "cluster-node-timeout": str(self.timeout),
                "cluster-port": str(free_port()), "cluster-config-file": "nodes.conf",
                "cluster-replica-validity-factor": "0", "repl-diskless-sync-delay": "0",
            }  # fmt: skip
            if self.authority:
                self.proxies.append(TlsProxy(port, self.authority))
                settings["cluster-announce-port"] = str(self.proxies[-1].port)
            self.nodes.append(RedisServer(folder, port, settings))
            self.nodes[-1].start()
        first, bus = self.nodes[0], self.nodes[0].settings["cluster-port"]
        for number, node in enumerate(self.nodes[: self.primaries]):
            begin, end = (SLOTS * n // self.primaries for n in (number, number + 1))
            ok(node, "CLUSTER", "ADDSLOTSRANGE", str(begin), str(end - 1))
            ok(node, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        announced = first.settings.get("cluster-announce-port", str(first.port))
        for node in self.nodes[1:]:
            ok(node, "CLUSTER", "MEET", "127.0.0.1", announced, bus)
        wait_until(lambda: all(self._knows_all(node) for node in self.nodes))
        for primary, replica in zip(self.nodes, self.nodes[self.primaries :], strict=False):
            ok(replica, "CLUSTER", "REPLICATE", identifier(primary))
        wait_until(lambda: all(map(self._is_ready, self.nodes)))

    def _knows_all(self, node: RedisServer) -> bool:
        return f"cluster_known_nodes:{len(self.nodes)}".encode() in node.command("CLUSTER", "INFO")

    def _is_ready(self, node: RedisServer) -> bool:
        if b"cluster_state:ok" not in node.command("CLUSTER", "INFO"):
            return False
        about = node.command("INFO", "replication")
        return b"master_link_status:up" in about or b"role:master" in about

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        for proxy in self.proxies:
            proxy.stop()

    def reset(self) -> None:
        for node in self.nodes:
            if b"role:master" in node.command("INFO", "replication"):
                ok(node, "FLUSHALL")

    def primary_of(self, slot: int) -> Any:
        """Return the node that has a slot, according to itself."""
        for node in self.nodes:
            if node.process and b"role:master" in node.command("INFO", "replication"):
                own = node.command("CLUSTER", "NODES").decode()
                line = next(line for line in own.splitlines() if "myself" in line)
                for part in line.split()[8:]:
                    first, _, last = part.partition("-")
                    if first.isdecimal() and int(first) <= slot <= int(last or first):
                        return node
        return None


def ok(server: RedisServer, *words: str) -> None:
    """Send a command that must succeed."""
    answer = server.command(*words)
    assert answer.startswith(b"+OK"), answer


def installed(program: str) -> str:
    """Return the path of a program; skip the test where it is not installed."""
    if path := shutil.which(program):
        return path
    pytest.skip(f"{program} is not installed")


def identifier(node: RedisServer) -> str:
    """Return a node's name in its cluster."""
    return node.command("CLUSTER", "MYID").decode().split("\r\n")[1]


@dataclass
class SentinelGroup:
    """A primary, its replica, and a Sentinel that watches them."""

    folder: Path
    timeout: int = 60_000  # milliseconds after which the primary counts as failed
    primary: RedisServer = field(init=False)
    replica: RedisServer = field(init=False)
    sentinel: RedisServer = field(init=False)

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/mymaster"

    def start(self) -> None:
        """Start them, and wait until the Sentinel knows both."""
        folders = [self.folder / name for name in ("primary", "replica", "sentinel")]
        for folder in folders:
            folder.mkdir()
        self.primary = RedisServer(folders[0], free_port(), {"repl-diskless-sync-delay": "0"})
        self.primary.start()
        of = {"replicaof": f"127.0.0.1 {self.primary.port}", "repl-diskless-sync-delay": "0"}
        self.replica = RedisServer(folders[1], free_port(), of)
        self.replica.start()
        wait_until(lambda: b"link_status:up" in self.replica.command("INFO", "replication"))
        file, port = folders[2] / "sentinel.conf", free_port()
        file.write_text(
            f"port {port}\nsentinel monitor mymaster 127.0.0.1 {self.primary.port} 1\n"
            f"sentinel down-after-milliseconds mymaster {self.timeout}\n"
            "sentinel failover-timeout mymaster 2000\n"
        )
        self.sentinel = RedisServer(folders[2], port, mode=(str(file), "--sentinel"))
        self.sentinel.start()
        wait_until(lambda: b"num-slaves\r\n$1\r\n1" in self._about())

    def reset(self) -> None:
        for server in (self.primary, self.replica):
            if b"role:master" in server.command("INFO", "replication"):
                ok(server, "FLUSHALL")

    def names(self, server: RedisServer) -> bool:
        """Return whether the Sentinel names a server as the primary, and has no doubt."""
        about = self._about()
        return b"\r\n%d\r\n" % server.port in about and b"_down" not in about

    def _about(self) -> bytes:
        return self.sentinel.command("SENTINEL", "MASTER", "mymaster")

    def stop(self) -> None:
        for server in (self.sentinel, self.replica, self.primary):
            server.stop()


@dataclass
class Deployment:
    """Servers behind a URL, and what makes them empty."""

    url: str
    reset: Callable[[], None]
    servers: Any = None


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def started(thing: Any) -> Iterator[Any]:
    """Start servers, and end them."""
    try:
        thing.start()
        yield thing
    finally:
        thing.stop()


@pytest.fixture(scope="session")
def deployment_of(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Deployment]]:
    """Yield what returns the servers of a form; they are started when a test first wants them."""
    with ExitStack() as stack:
        makers = Deployments(stack, request, tmp_path_factory.mktemp("deployments"))
        yield makers.make


class Deployments:
    """The forms of servers that a URL may lead to."""

    def __init__(self, stack: ExitStack, request: pytest.FixtureRequest, folder: Path) -> None:
        self._stack, self._request, self._folder = stack, request, folder
        self._made: dict[str, Deployment] = {}

    def make(self, form: str) -> Deployment:
        """Return the servers of a form, which are started when they are first wanted."""
        if form not in self._made:
            self._made[form] = getattr(self, form.replace(" ", "_"))()
        return self._made[form]

    @property
    def _authority(self) -> Authority:
        authority: Authority = self._request.getfixturevalue("authority")
        return authority

    @property
    def _redis(self) -> RedisServer:
        redis: RedisServer = self._request.getfixturevalue("_redis")
        return redis

    def _sub(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder

    def server(self) -> Deployment:
        return Deployment(f"{self._redis.url}/3", self._redis.reset)

    def socket(self) -> Deployment:
        return Deployment(self._redis.socket_url, self._redis.reset)

    def user(self) -> Deployment:
        """A user with the permissions that README names."""
        users = self._sub("users") / "acl"
        users.write_text(f"user default on nopass ~* +@all\nuser app {USER}\n")
        server = RedisServer(users.parent, free_port(), {"aclfile": str(users)})
        redis = self._stack.enter_context(started(server))
        return Deployment(f"redis://app:{PASSWORD}@127.0.0.1:{redis.port}", redis.reset)

    def cluster_user(self) -> Deployment:
        """The same in a cluster."""
        cluster = self.make("cluster").servers
        for node in cluster.nodes:
            words = [*USER.split(), "+command", "+cluster|slots"]
            ok(node, "ACL", "SETUSER", "app", *words)
            node.changed = False
        url = cluster.url.replace("//", f"//app:{PASSWORD}@")
        return Deployment(url, cluster.reset)

    def tls(self) -> Deployment:
        proxy = TlsProxy(self._redis.port, self._authority)
        self._stack.callback(proxy.stop)
        url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={self._authority.ca}"
        return Deployment(url, self._redis.reset)

    def installed_tls(self) -> Deployment:
        program = installed("redis-server")
        port, own = free_port(), self._authority
        settings = {
            "tls-port": str(port), "tls-cert-file": str(own.certificate),
            "tls-key-file": str(own.key), "tls-ca-cert-file": str(own.ca), "tls-auth-clients": "no",
        }  # fmt: skip
        server = RedisServer(self._sub("tls"), free_port(), settings, program)
        redis = self._stack.enter_context(started(server))
        return Deployment(f"rediss://localhost:{port}?ssl_ca_certs={own.ca}", redis.reset)

    def cluster(self) -> Deployment:
        cluster = self._stack.enter_context(started(RedisCluster(self._sub("cluster"))))
        return Deployment(cluster.url, cluster.reset, cluster)

    def tls_cluster(self) -> Deployment:
        servers = RedisCluster(self._sub("tls-cluster"), primaries=2, authority=self._authority)
        cluster = self._stack.enter_context(started(servers))
        return Deployment(cluster.url, cluster.reset)

    def sentinel(self) -> Deployment:
        group = self._stack.enter_context(started(SentinelGroup(self._sub("sentinel"))))
        return Deployment(group.url, group.reset)

    def memcached(self) -> Deployment:
        server = MemcachedServer()
        self._stack.callback(server.stop)
        return Deployment(server.url, server.reset)

    def installed_memcached(self) -> Deployment:
        server = InstalledMemcached(installed("memcached"))
        self._stack.callback(server.stop)
        return Deployment(server.url, server.reset)


FORMS = [name.replace("_", " ") for name in vars(Deployments) if name[0] != "_" and name != "make"]
"""The forms of servers that a URL may lead to."""


@pytest.fixture
def deployment(
    request: pytest.FixtureRequest, deployment_of: Callable[[str], Deployment], patient: None
) -> Iterator[Deployment]:
    """Yield the servers of the form that the test is parametrised with, empty."""
    deployment = deployment_of(request.param)
    yield deployment
    deployment.reset()
