"""Failover and resharding under load: no error, no value that is older than an update, one warning.

The servers are real, and so are the failures: a primary is killed, replaced, or gives slots away.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from _support.deployments import RedisCluster, SentinelGroup, identifier, ok, started, wait_until
from _support.scripts import LIMIT
from _support.world import WORLDS, A, World, text_of
from redis.crc import key_slot

from s1crets.cache.entry import CacheKey, Fetched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from _support.servers import RedisServer

FAILS = "continuing without it"
NAMES = [f"/{i}" for i in range(20)]
KEYS = [CacheKey.of_secret(name) for name in NAMES]


class Truth:
    """The values in the service, and those that reads must at least return."""

    def __init__(self) -> None:
        self.now = self.least = 0


class Machine(World):
    """A machine that reads and updates values that are numbers."""

    def __init__(self, truth: Truth, **args: Any) -> None:
        self.truth = truth
        super().__init__(**args)

    async def fetch(self, key: CacheKey) -> Fetched:
        self.fetched.append(key)
        return Fetched(str(self.truth.now), self.truth.now)

    async def check(self, key: CacheKey) -> None:
        """Read a key; what was updated before must be seen."""
        least = self.truth.least
        assert int(text_of(await self.cache.read(key, cached=True))) >= least

    async def update(self) -> None:
        self.truth.now += 1
        await self.cache.invalidate(NAMES)
        self.truth.least = self.truth.now


@pytest.fixture
async def machine() -> AsyncIterator[Callable[[str], Machine]]:
    """Yield what makes machines that use the cache of a URL; all see the same service."""
    yield partial(_machine, Truth())
    while WORLDS:
        await WORLDS.pop().cache.aclose()


def _machine(truth: Truth, url: str) -> Machine:
    return Machine(truth, backend=url, jitter=0)


async def under_load(machines: list[Machine], change: Callable[[], None]) -> None:
    """Read and update everywhere while the servers change, and a little longer."""
    changing = asyncio.ensure_future(asyncio.to_thread(change))

    async def load(machine: Machine) -> None:
        rounds = 0
        while not changing.done() or rounds < 20:
            await asyncio.gather(*map(machine.check, KEYS))
            if machine is machines[0]:
                await machine.update()
            rounds += 1

    async with asyncio.TaskGroup() as group:
        for machine in machines:
            group.create_task(load(machine))
    await changing


async def works_again(machines: list[Machine]) -> None:
    """Wait until what one has read the other need not, which a client may notice late."""
    reader, other = machines
    async with asyncio.timeout(LIMIT):
        while True:
            for machine in machines:
                machine.wait(5)
            await asyncio.gather(*map(reader.check, KEYS))
            other.fetched.clear()
            await asyncio.gather(*map(other.check, KEYS))
            if not other.fetched:
                break


@pytest.fixture
def cluster(tmp_path: Any, patient: None) -> Iterator[RedisCluster]:
    """Yield a cluster in which the failure of a node is noticed soon."""
    with started(RedisCluster(tmp_path, replicas=True, timeout=500)) as cluster:
        yield cluster


@pytest.fixture
def sentinel(tmp_path: Any, patient: None) -> Iterator[SentinelGroup]:
    """Yield a primary whose failure Sentinel notices soon."""
    with started(SentinelGroup(tmp_path, timeout=500)) as group:
        yield group


async def place_of(machine: Machine) -> int:
    """Return the slot of a machine's rows."""
    await machine.get(A)
    tier: Any = machine.cache._keys
    return key_slot(tier._rows_of(A, tier._scope).names[0].encode())


async def test_a_primary_of_a_cluster_is_replaced(
    cluster: RedisCluster, machine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As an administrator does it, and as a machine fails."""
    machines = [machine(cluster.url), machine(cluster.url)]
    slot = await place_of(machines[0])
    primary = cluster.primary_of(slot)
    replica = next(one for one in cluster.nodes if replicates(one, primary))

    def change() -> None:
        ok(replica, "CLUSTER", "FAILOVER")
        wait_until(lambda: cluster.primary_of(slot) is replica)

    await under_load(machines, change)
    await works_again(machines)

    wait_until(lambda: b"link_status:up" in primary.command("INFO", "replication"))

    def fail() -> None:
        replica.stop()
        wait_until(lambda: cluster.primary_of(slot) is primary)

    await under_load(machines, fail)
    await delivered(machines[0])
    await works_again(machines)
    assert caplog.text.count(FAILS) <= 2 * len(machines)  # one per change


async def test_a_primary_of_a_cluster_that_freezes(
    cluster: RedisCluster, machine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It neither answers nor hangs up; the replica that replaces it is found."""
    machines = [machine(cluster.url), machine(cluster.url)]
    slot = await place_of(machines[0])
    primary = cluster.primary_of(slot)
    replica = next(one for one in cluster.nodes if replicates(one, primary))
    with primary.frozen():
        await under_load(machines, lambda: wait_until(lambda: is_primary(replica)))
        await delivered(machines[0])
        await works_again(machines)

    assert caplog.text.count(FAILS) <= len(machines)


async def delivered(machine: Machine) -> None:
    """Wait until others know of a machine's updates, though it does not use the cache yet."""
    tiers: Any = machine.cache._keys, machine.cache._derived
    async with asyncio.timeout(LIMIT):
        while any(tier.invalidations.undelivered for tier in tiers):
            await asyncio.sleep(0.01)


def is_primary(node: RedisServer) -> bool:
    return b"role:master" in node.command("INFO", "replication")


def replicates(node: RedisServer, primary: RedisServer) -> bool:
    return f"master_port:{primary.port}".encode() in node.command("INFO", "replication")


async def test_a_slot_moves(
    cluster: RedisCluster, machine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Key by key, while all of them are used."""
    machines = [machine(cluster.url), machine(cluster.url)]
    slot = str(await place_of(machines[0]))

    def change() -> None:
        source = cluster.primary_of(int(slot))
        target = next(
            one for one in cluster.nodes if one is not source and b"master" in one.command("ROLE")
        )
        ok(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", identifier(source))
        ok(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", identifier(target))
        while keys := words(source.command("CLUSTER", "GETKEYSINSLOT", slot, "1")):
            answer = source.command("MIGRATE", "127.0.0.1", str(target.port), keys[0], "0", "5000")
            assert answer in (b"+OK\r\n", b"+NOKEY\r\n"), answer
        for node in (target, source):
            ok(node, "CLUSTER", "SETSLOT", slot, "NODE", identifier(target))

    await under_load(machines, change)
    await works_again(machines)
    assert caplog.text.count(FAILS) <= len(machines)


def words(answer: bytes) -> list[str]:
    """Return the texts of a short array."""
    return answer.decode().split("\r\n")[2::2]


async def test_a_primary_of_sentinel_is_replaced(
    sentinel: SentinelGroup, machine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is killed; Sentinel names its replica instead."""
    machines = [machine(sentinel.url), machine(sentinel.url)]
    await place_of(machines[0])

    def fail() -> None:
        sentinel.primary.stop()
        wait_until(lambda: is_primary(sentinel.replica))
        wait_until(lambda: sentinel.names(sentinel.replica))

    await under_load(machines, fail)
    await delivered(machines[0])
    await works_again(machines)
    assert caplog.text.count(FAILS) <= len(machines)
