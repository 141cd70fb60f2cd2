"""Redis as it is deployed, on loopback: behind TLS, as a cluster, with Sentinel; and Memcached."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.servers import RedisServer, free_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SLOTS = 16384
_STARTS = 60.0  # seconds that servers may take until they agree


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait until servers agree."""
    until = time.monotonic() + _STARTS
    while not is_so():
        assert time.monotonic() < until, "the servers do not agree"
        time.sleep(0.02)


@dataclass
class Authority:
    """A certificate authority of the tests, and a certificate of it for `localhost`."""

    folder: Path

    def __post_init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests of s1crets")])
        ca = self._certificate(name, name, key.public_key(), key, is_ca=True)
        own = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
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
        names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
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


class TlsProxy:
    """Ends TLS in front of a server that has none, in a thread of its own.

    Attributes:
        port: where it listens.
        handshakes: how many connections it has taken.
        delay: seconds before each handshake.
    """

    def __init__(self, target: int, authority: Authority, port: int = 0) -> None:
        self.port, self.handshakes, self.delay = port, 0, 0.0
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(authority.certificate, authority.key)
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        run = self._loop.run_until_complete
        inner = run(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context))
        self._inner = inner.sockets[0].getsockname()[1]
        outer = run(asyncio.start_server(self._accept, "127.0.0.1", self.port))
        self.port = outer.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        outer.close()
        inner.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        run(asyncio.gather(*tasks, return_exceptions=True))
        run(asyncio.sleep(0))  # connections close
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.delay)
        self.handshakes += 1
        await _connect(reader, writer, self._inner)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _connect(reader, writer, self._target)

    def close(self) -> None:
        """End it and its connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


async def _connect(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int
) -> None:
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
                "cluster-enabled": "yes", "cluster-node-timeout": "1000",
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
            proxy.close()

    def primary_of(self, slot: int) -> RedisServer:
        """Return the node that has a slot, according to the cluster."""
        for node in self.nodes:
            if node.process and b"role:master" in node.command("INFO", "replication"):
                own = node.command("CLUSTER", "NODES").decode()
                line = next(line for line in own.splitlines() if "myself" in line)
                for part in line.split()[8:]:
                    first, _, last = part.partition("-")
                    if first.isdecimal() and int(first) <= slot <= int(last or first):
                        return node
        raise LookupError(slot)


def ok(server: RedisServer, *words: str) -> None:
    """Send a command that must succeed."""
    answer = server.command(*words)
    assert answer.startswith(b"+OK"), answer


def identifier(node: RedisServer) -> str:
    """Return a node's name in its cluster."""
    return node.command("CLUSTER", "MYID").decode().split("\r\n")[1]


@dataclass
class SentinelGroup:
    """A primary, its replica, and a Sentinel that watches them."""

    folder: Path
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
            "sentinel down-after-milliseconds mymaster 500\n"
            "sentinel failover-timeout mymaster 2000\n"
        )
        self.sentinel = RedisServer(folders[2], port, mode=(str(file), "--sentinel"))
        self.sentinel.start()
        wait_until(lambda: b"num-slaves\r\n$1\r\n1" in self._about())

    def _about(self) -> bytes:
        return self.sentinel.command("SENTINEL", "MASTER", "mymaster")

    def stop(self) -> None:
        for server in (self.sentinel, self.replica, self.primary):
            server.stop()
