"""As fast as the quota allows and no faster: in simulated time, and on the wire."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from wire import Asked, Wire, parameter, refusal

import s1crets
from s1crets.providers.aws import AsyncParameterStore
from s1crets.providers.aws.pacing import Pace

THROTTLED = refusal("ThrottlingException", "Rate exceeded")


class Bucket:
    """AWS's quota: one second's worth at once, then so many a second."""

    def __init__(self, rate: float, clock: Any = time.monotonic) -> None:
        self.rate, self.tokens, self.clock, self.then = rate, rate, clock, clock()
        self.lock = threading.Lock()

    def take(self) -> bool:
        with self.lock:
            now = self.clock()
            self.tokens = min(self.rate, self.tokens + (now - self.then) * self.rate)
            self.then = now
            enough = self.tokens >= 1
            self.tokens -= enough
            return enough


class World:
    """A clock that only sleeping moves, a service with a quota, and what came of requests."""

    def __init__(self, quota: float) -> None:
        self.now = 100.0
        self.quota = quota
        self.tokens = quota
        self.throttled = self.taken = 0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.tokens = min(self.quota, self.tokens + seconds * self.quota)

    def ask(self, pace: Pace) -> bool:
        sent = self.now
        if self.tokens < 1:
            self.throttled += 1
            pace.throttled(sent)
            return False
        self.tokens -= 1
        self.taken += 1
        pace.taken()
        return True


@pytest.mark.parametrize("quota", [2, 5, 40, 200, 3000])
async def test_it_comes_close_to_any_quota(quota: float) -> None:
    """Within 15% of the quota's own time, with less than 10% of requests throttled."""
    world = World(quota)
    pace = Pace(clock=world.clock, sleep=world.sleep)
    wanted = int(quota * 30)
    while world.taken < wanted:
        await pace.turn()
        world.ask(pace)
        await world.sleep(0.0001)

    assert world.now - 100 <= (wanted - quota) / quota * 1.15
    assert world.throttled <= 0.1 * wanted


async def test_it_follows_a_quota_that_shrinks_and_grows() -> None:
    """Others use the account too."""
    world = World(100)
    pace = Pace(clock=world.clock, sleep=world.sleep)
    speeds = []
    for quota in (100, 10, 100):
        world.quota = quota
        world.tokens = min(world.tokens, quota)
        for seconds in (60, 10):
            start, before = world.now, world.taken
            while world.now < start + seconds:
                await pace.turn()
                world.ask(pace)
                await world.sleep(0.0001)
        speeds.append((world.taken - before) / 10)

    assert speeds == pytest.approx([100, 10, 100], rel=0.2)


async def test_nothing_is_held_back_before_aws_throttles() -> None:
    """Nor a minute after it last did."""
    world = World(1e9)
    pace = Pace(clock=world.clock, sleep=world.sleep)
    for _ in range(1000):
        await pace.turn()
        world.ask(pace)
    assert world.now == 100

    pace.throttled(world.now)
    await pace.turn()
    assert world.now > 100
    await world.sleep(61)
    then = world.now
    for _ in range(1000):
        await pace.turn()
    assert world.now == then


async def test_answers_to_what_left_before_say_nothing_new() -> None:
    """A burst that is throttled slows down once, not once a request."""
    world = World(40)
    pace = Pace(clock=world.clock, sleep=world.sleep)
    for _ in range(50):
        pace.taken()
    await world.sleep(0.1)
    for _ in range(30):
        pace.throttled(100.0)

    assert pace.rate == pytest.approx(45)


async def test_a_burst_survives_a_quota_on_the_wire(scripted: Wire) -> None:
    """Five hundred single gets, fifty requests, at 20 a second: no error."""
    bucket = Bucket(20)

    def answer(asked: Asked) -> Any:
        if not bucket.take():
            return THROTTLED
        return {"Parameters": [{"Name": n, "Value": n} for n in asked.body["Names"]]}

    scripted.answers["GetParameters"] = answer
    names = [f"/{i}" for i in range(500)]
    async with AsyncParameterStore(cache_args={"cache_size": 2000}) as ps:
        assert await asyncio.gather(*map(ps.get, names)) == names
        stats = ps.stats
    assert stats.throttled == stats.retried == stats.requests["GetParameters"] - 50
    assert 0 < stats.throttled < 50


async def test_a_service_that_takes_nothing(scripted: Wire) -> None:
    """It is asked as often as `retry` says, and the error says what to do."""
    scripted.answers["GetParameter"] = THROTTLED
    async with AsyncParameterStore(retry=2) as ps:
        with pytest.raises(s1crets.ThrottledError, match="ask for less at once"):
            await ps.get("/a")
        assert ps.stats.requests == {"GetParameter": 2}
        assert (ps.stats.throttled, ps.stats.retried) == (2, 1)


async def test_while_the_service_takes_others_no_attempt_is_burnt(scripted: Wire) -> None:
    """One that is unlucky several times is still answered."""
    unlucky = [THROTTLED] * 4

    def answer(asked: Asked) -> Any:
        if asked.body["Name"] == "/unlucky" and unlucky:
            return unlucky.pop()
        return parameter(asked.body["Name"], "v")

    scripted.answers["GetParameter"] = answer

    async def others() -> None:
        for i in range(200):
            await ps.get(f"/{i}", cached=False)

    async with AsyncParameterStore(retry=2, max_connections=2) as ps:
        going = asyncio.ensure_future(others())
        await asyncio.sleep(0.05)
        assert await ps.get("/unlucky") == "v"
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)


async def test_the_deadline_bounds_the_wait(scripted: Wire) -> None:
    """What is held back is told so."""
    scripted.answers["GetParameter"] = THROTTLED
    async with AsyncParameterStore(retry=100, deadline=0.7) as ps:
        with pytest.raises(s1crets.DeadlineExceededError):
            await ps.get("/a")
        assert ps.stats.requests["GetParameter"] <= 3


async def test_pages_keep_the_pace_too(scripted: Wire) -> None:
    """A page that is throttled is asked for again; the others are not."""
    page = {"Parameters": [{"Name": "/p/a", "Value": "v"}], "NextToken": "1"}
    last = {"Parameters": [{"Name": "/p/b", "Value": "v"}]}
    scripted.answers["GetParametersByPath"] = [page, THROTTLED, last]
    async with AsyncParameterStore() as ps:
        assert await ps.get_by_path("/p") == {"/p/a": "v", "/p/b": "v"}
        assert ps.stats.requests == {"GetParametersByPath": 3}


async def test_quotas_of_other_operations_are_others(scripted: Wire) -> None:
    """Reads are not slowed down by a write that is throttled."""
    scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/a", "Type": "String"}]}
    scripted.answers["PutParameter"] = [THROTTLED, {"Version": 2}]
    scripted.answers["GetParameter"] = parameter("/a", "v")
    async with AsyncParameterStore() as ps:
        writing = asyncio.ensure_future(ps.update("/a", "v"))
        while not scripted.count("PutParameter"):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(ps.get("/a"), 0.3) == "v"
        await writing
