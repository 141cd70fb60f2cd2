"""Rate limits: as fast as the quota allows and no faster, in simulated time and on the wire."""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections import Counter
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from _support.clients import clients_of
from _support.wire import Asked, Wire, parameter, refusal

import s1crets
from s1crets.providers.aws import AsyncParameterStore
from s1crets.providers.aws._retry import RateLimiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

THROTTLED = refusal("ThrottlingException", "Rate exceeded")


class Bucket:
    """AWS's quota as a token bucket: `size` requests at once, or those of a second; then `rate`."""

    def __init__(self, rate: float, clock: Any = time.monotonic, size: float = 0) -> None:
        self.rate, self.clock, self.then = rate, clock, clock()
        self.tokens = self.size = size or rate
        self.lock = threading.Lock()

    def take(self) -> bool:
        with self.lock:
            now = self.clock()
            self.tokens = min(self.size, self.tokens + (now - self.then) * self.rate)
            self.then = now
            enough = self.tokens >= 1
            self.tokens -= enough
            return enough


class World:
    """A clock that only sleeping moves, a service with a quota, and counts of requests."""

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

    def ask(self, rate: RateLimiter) -> bool:
        sent = self.now
        if self.tokens < 1:
            self.throttled += 1
            rate.throttled(sent)
            return False
        self.tokens -= 1
        self.taken += 1
        rate.accepted(sent)
        return True


@pytest.mark.parametrize("quota", [2, 5, 40, 200, 3000])
async def test_it_comes_close_to_any_quota(quota: float) -> None:
    """It takes at most 15 % longer than the quota requires; less than 10 % are throttled."""
    world = World(quota)
    rate = RateLimiter(clock=world.clock, sleep=world.sleep)
    wanted = int(quota * 30)
    while world.taken < wanted:
        await rate.acquire()
        world.ask(rate)
        await world.sleep(0.0001)

    assert world.now - 100 <= (wanted - quota) / quota * 1.15
    assert world.throttled <= 0.1 * wanted


async def test_it_follows_a_quota_that_shrinks_and_grows() -> None:
    """Other clients use the account too."""
    world = World(100)
    rate = RateLimiter(clock=world.clock, sleep=world.sleep)
    speeds = []
    for quota in (100, 10, 100):
        world.quota = quota
        world.tokens = min(world.tokens, quota)
        for seconds in (60, 10):
            start, before = world.now, world.taken
            while world.now < start + seconds:
                await rate.acquire()
                world.ask(rate)
                await world.sleep(0.0001)
        speeds.append((world.taken - before) / 10)

    assert speeds == pytest.approx([100, 10, 100], rel=0.2)


async def test_nothing_is_held_back_before_aws_throttles() -> None:
    """Requests are not delayed a minute after the last throttling either."""
    world = World(1e9)
    rate = RateLimiter(clock=world.clock, sleep=world.sleep)
    for _ in range(1000):
        await rate.acquire()
        world.ask(rate)
    assert world.now == 100

    rate.throttled(world.now)
    await rate.acquire()
    assert world.now > 100
    await world.sleep(61)
    then = world.now
    for _ in range(1000):
        await rate.acquire()
    assert world.now == then


async def test_answers_to_what_left_before_say_nothing_new() -> None:
    """A throttled burst lowers the rate once, not once per request."""
    world = World(40)
    rate = RateLimiter(clock=world.clock, sleep=world.sleep)
    for _ in range(50):
        rate.accepted(100.0)
    await world.sleep(0.1)
    for _ in range(30):
        rate.throttled(100.0)

    assert rate.rate == pytest.approx(45)


class Simulated(asyncio.SelectorEventLoop):
    """An event loop on which waiting only moves the clock."""

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self.now = 100.0
        select = self._selector.select  # type: ignore[attr-defined]

        def pass_by(timeout: float | None) -> Any:
            self.now += timeout or 0
            return select(0)

        self._selector.select = pass_by  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.now


@pytest.mark.parametrize("trip", [0.005, 0.3])
@pytest.mark.parametrize("saved", [1, 10])
@pytest.mark.parametrize("quota", [2, 20, 200])
def test_a_burst_survives_any_quota(quota: float, saved: float, trip: float) -> None:
    """A request that is sent three times at most is taken; a long burst is about as fast as may be.

    Also where AWS takes ten seconds' worth at once, so that the first answers promise too much.
    """
    loop, random = Simulated(), Random(7)  # noqa: S311  # the same each time
    bucket = Bucket(quota, loop.time, size=quota * saved)
    wanted = int(min(1000, quota * (saved + 30)))
    free = asyncio.Semaphore(50)
    taken = 0

    async def ask(rate: RateLimiter) -> None:
        nonlocal taken
        async with free:
            for attempt in range(3):
                assert await rate.acquire(attempt)
                sent = loop.time()
                await asyncio.sleep(trip * random.uniform(0.3, 0.7))
                answer = bucket.take()
                await asyncio.sleep(trip * random.uniform(0.3, 0.7))
                if answer:
                    taken += 1
                    rate.accepted(sent)
                    return
                rate.throttled(sent)

    async def burst() -> None:
        rate = RateLimiter(clock=loop.time, sleep=asyncio.sleep)
        await asyncio.gather(*(ask(rate) for _ in range(wanted)))

    try:
        loop.run_until_complete(burst())
    finally:
        loop.close()
    assert taken == wanted
    shortest = max((wanted - bucket.size) / quota, wanted / 50 * trip)
    assert loop.now - 100 <= shortest * 1.3 + 10


@pytest.mark.parametrize(("retry", "outlasts"), [(3, False), (12, True)])
def test_more_attempts_outlast_a_longer_throttling(retry: int, *, outlasts: bool) -> None:
    """Requests in the queue give up as late as those that are sent again and again."""
    loop = Simulated()
    began, taken = loop.time(), 0

    async def ask(rate: RateLimiter) -> None:
        nonlocal taken
        for attempt in range(retry):
            if not await rate.acquire(attempt, retry):
                return
            if loop.time() > began + 12:
                taken += 1
                rate.accepted(loop.time())
                return
            rate.throttled(loop.time())

    async def burst() -> None:
        rate = RateLimiter(clock=loop.time, sleep=asyncio.sleep)
        await asyncio.gather(*(ask(rate) for _ in range(100)))

    try:
        loop.run_until_complete(burst())
    finally:
        loop.close()
    assert (taken == 100) is outlasts


async def test_what_aws_refused_goes_before_what_has_not_left() -> None:
    """Throttled requests precede new ones when the rate allows the next."""
    world = World(2)

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)
        await world.sleep(seconds)

    rate = RateLimiter(clock=world.clock, sleep=sleep)
    rate.throttled(world.now)
    order = []

    async def leave(refused: int) -> None:
        await rate.acquire(refused)
        order.append(refused)
        await asyncio.sleep(0)

    await asyncio.gather(*(leave(refused) for refused in [0, 0, 0, 0, 1, 1, 1]))

    assert order == [0, 1, 1, 1, 0, 0, 0]


@pytest.mark.usefixtures("read_path")
async def test_a_throttled_burst_on_the_wire(scripted: Wire) -> None:
    """A thousand concurrent reads are a hundred requests, and no error."""
    numbers = count(1)

    def answer(asked: Asked) -> Any:
        is_first_attempt = "attempt=1;" in asked.headers["amz-sdk-request"] + ";"
        if is_first_attempt and 40 < next(numbers) <= 50:
            return THROTTLED
        return {"Parameters": [{"Name": n, "Value": n} for n in asked.body["Names"]]}

    scripted.answers["GetParameters"] = answer
    names = [f"/{i}" for i in range(1000)]
    async with AsyncParameterStore(cache_args={"cache_size": 2000}, deadline=None) as ps:
        assert await asyncio.gather(*map(ps.get, names)) == names
        stats = ps.stats
    assert (stats.throttled, stats.retried) == (10, 10)
    assert stats.requests == {"GetParameters": 110}


@pytest.mark.usefixtures("read_path")
async def test_a_service_that_takes_nothing(scripted: Wire) -> None:
    """`retry` requests are sent, and the error has a remedy."""
    scripted.answers["GetParameter"] = THROTTLED
    async with AsyncParameterStore(retry=2) as ps:
        with pytest.raises(s1crets.ThrottledError, match="send fewer requests at a time"):
            await ps.get("/a")
        assert ps.stats.requests == {"GetParameter": 2}
        assert (ps.stats.throttled, ps.stats.retried) == (2, 1)


@pytest.mark.usefixtures("read_path")
async def test_no_request_is_sent_more_often_than_retry_says(scripted: Wire) -> None:
    """Not even while AWS accepts other requests."""

    def answer(asked: Asked) -> Any:
        return THROTTLED if asked.body["Name"] == "/unlucky" else parameter("/a", "v")

    scripted.answers["GetParameter"] = answer

    async def others() -> None:
        while True:
            await ps.get("/a", cached=False)

    async with AsyncParameterStore() as ps:
        going = asyncio.ensure_future(others())
        while scripted.count("GetParameter") < 50:
            await asyncio.sleep(0.01)
        with pytest.raises(s1crets.ThrottledError):
            await ps.get("/unlucky", decrypt=False)  # not in a batch with the others
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
    sent = [body["Name"] for body in scripted.bodies("GetParameter")]
    assert sent.count("/unlucky") == 3
    assert sent[sent.index("/unlucky") : -1].count("/a") > 0


@pytest.mark.usefixtures("read_path")
async def test_a_service_that_always_throttles(scripted: Wire) -> None:
    """Two hundred callers send few requests, and each gets a ThrottledError."""
    scripted.answers = dict.fromkeys(
        ("GetParameter", "GetParameters", "GetParametersByPath"), THROTTLED
    )

    async def all_of(call: Callable[[AsyncParameterStore, int], Awaitable[Any]]) -> int:
        async with AsyncParameterStore(deadline=None) as ps:
            calls = [call(ps, i) for i in range(200)]
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(one) for one in found} == {s1crets.ThrottledError}
            return sum(ps.stats.requests.values())

    batches, singles, pages = await asyncio.gather(
        all_of(lambda ps, i: ps.get(f"/{i}")),
        all_of(lambda ps, _: ps.get("/a", cached=False)),
        all_of(lambda ps, i: ps.get_by_path(f"/{i}")),
    )

    assert batches <= 3 * 20
    assert max(singles, pages) <= 3 * 200
    sent = Counter(asked.headers["amz-sdk-invocation-id"] for asked in scripted.asked)
    assert max(sent.values()) <= 3


@pytest.mark.usefixtures("read_path")
async def test_the_deadline_bounds_the_wait(scripted: Wire) -> None:
    """A delayed request fails at the deadline."""
    scripted.answers["GetParameter"] = [parameter("/first", "v"), THROTTLED]
    async with AsyncParameterStore(retry=100) as ps:
        await ps.get("/first")  # opens the client, however long that takes
        ps.deadline = 0.7
        with pytest.raises(s1crets.DeadlineExceededError):
            await ps.get("/a")
        assert ps.stats.requests["GetParameter"] <= 4


@pytest.mark.usefixtures("read_path")
async def test_pages_keep_the_pace_too(scripted: Wire) -> None:
    """A throttled page is requested again; the others are not."""
    page = {"Parameters": [{"Name": "/p/a", "Value": "v"}], "NextToken": "1"}
    last = {"Parameters": [{"Name": "/p/b", "Value": "v"}]}
    scripted.answers["GetParametersByPath"] = [page, THROTTLED, last]
    async with AsyncParameterStore() as ps:
        assert await ps.get_by_path("/p") == {"/p/a": "v", "/p/b": "v"}
        assert ps.stats.requests == {"GetParametersByPath": 3}


@pytest.mark.usefixtures("read_path")
async def test_quotas_of_other_operations_are_others(scripted: Wire) -> None:
    """A throttled write does not delay reads."""
    scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/a", "Type": "String"}]}
    scripted.answers["PutParameter"] = [THROTTLED, {"Version": 2}]
    scripted.answers["GetParameter"] = parameter("/a", "v")
    async with AsyncParameterStore() as ps:
        await ps.update("/a", "v")
        assert await ps.get("/a") == "v"
        limits = clients_of(ps).spec.limits
    assert limits["PutParameter"].rate is not None
    assert limits["Get"].rate is None
