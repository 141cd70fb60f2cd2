"""SingleFlight: one fetch for all who want the same at the same time."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from s1crets._coalescing import SingleFlight
from s1crets.errors import S1cretsError, SecretNotFoundError, UnavailableError


async def test_callers_share_a_fetch() -> None:
    """And a caller after it starts a new one."""
    fetched: list[str] = []

    async def fetch(key: str) -> int:
        fetched.append(key)
        await asyncio.sleep(0)
        return len(fetched)

    flights: SingleFlight[str, Any, int] = SingleFlight()
    assert await asyncio.gather(*(flights.join("a", fetch) for _ in range(5))) == [1] * 5
    assert await flights.join("a", fetch) == 2


async def test_the_last_caller_cancels_the_fetch() -> None:
    """The others leave it alone; a caller that comes then starts a new one."""
    ended: list[str] = []

    async def fetch(key: str) -> str:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(key)
        return key

    async def quick(key: str) -> str:
        return key

    flights: SingleFlight[str, Any, str] = SingleFlight()
    callers = [asyncio.ensure_future(flights.join("a", fetch)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.wait(callers[:1])
    assert not ended
    callers[1].cancel()
    await asyncio.wait(callers)
    assert await flights.join("a", quick) == "a"
    await asyncio.sleep(0)
    assert ended == ["a"]


async def test_each_caller_has_an_error_of_its_own() -> None:
    """With the same cause."""

    async def fetch(_: str) -> str:
        raise S1cretsError("no") from ValueError("why")

    flights: SingleFlight[str, Any, str] = SingleFlight()
    errors = await asyncio.gather(
        *(flights.join("a", fetch) for _ in range(2)), return_exceptions=True
    )

    assert [str(error) for error in errors] == ["no", "no"]
    assert errors[0] is not errors[1]
    assert all(isinstance(error, S1cretsError) and error.__cause__ for error in errors)


async def test_a_cancelled_fetch_is_an_error_of_its_callers() -> None:
    """Not a cancellation, which they did not ask for."""

    async def fetch(_: str) -> str:
        task = asyncio.current_task()
        assert task
        task.cancel()
        await asyncio.sleep(0)
        raise AssertionError

    flights: SingleFlight[str, Any, str] = SingleFlight()
    with pytest.raises(UnavailableError, match="call again"):
        await flights.join("a", fetch)


async def test_a_fetch_that_ends_at_once() -> None:
    """Each call is a fetch of its own, and none is left."""

    async def fetch(key: str) -> str:
        return key

    flights: SingleFlight[str, Any, str] = SingleFlight()
    found: dict[str, str | S1cretsError] = {}
    await flights.join_many([("a", fetch, None), ("b", fetch, None)], found)

    assert [await flights.join("a", fetch), found] == ["a", {"a": "a", "b": "b"}]
    assert not any(flights._flights.here().by_group.values())


async def test_an_error_that_nobody_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    """It is not logged as one that was never retrieved."""

    async def fetch(_: str) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            raise S1cretsError("while it was cancelled")

    flights: SingleFlight[str, Any, str] = SingleFlight()
    caller = asyncio.ensure_future(flights.join("a", fetch))
    await asyncio.sleep(0.01)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await asyncio.sleep(0)
    gc.collect()

    assert caller.cancelled()
    assert caplog.messages == []


async def test_a_caller_that_has_gone_is_not_told() -> None:
    """Its future is cancelled when the fetch lands in the same moment."""
    go = asyncio.Event()

    async def fetch(key: str) -> str:
        await go.wait()
        return key

    flights: SingleFlight[str, Any, str] = SingleFlight()
    callers = [asyncio.ensure_future(flights.join("a", fetch)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    go.set()
    callers[0].cancel()
    assert await callers[1] == "a"
    await asyncio.gather(callers[0], return_exceptions=True)
    assert callers[0].cancelled()


class Fetches:
    """Fetches of groups, which a test lets go on."""

    def __init__(self) -> None:
        self.begun: list[list[str]] = []
        self.go = asyncio.Event()

    async def __call__(self, flights: Any, group: str) -> None:
        self.begun.append([flight.key for flight in flights])
        await self.go.wait()
        for flight in flights:
            flight.land(f"{group} {flight.key}")

    def flights(self) -> SingleFlight[str, str, str]:
        """Return flights of which two fit in a task; those of a "fresh" group are not shared."""
        return SingleFlight(self, lambda _: 2, lambda group: group != "fresh")


async def test_what_is_wanted_in_a_tick_is_fetched_together() -> None:
    """By group, up to a size; each key once."""
    fetches = Fetches()
    flights = fetches.flights()
    fetches.go.set()
    wanted = [("a", "x"), ("b", "y"), ("c", "x"), ("a", "x"), ("d", "x")]
    found = await asyncio.gather(*(flights.join(key, group) for key, group in wanted))

    assert fetches.begun == [["a", "c"], ["d"], ["b"]]
    assert found == [f"{group} {key}" for key, group in wanted]


@pytest.mark.parametrize(("group", "begun"), [("x", 1), ("fresh", 2)])
async def test_a_fetch_that_has_begun(group: str, begun: int) -> None:
    """It is joined, unless its group must not be; two callers in the same tick share any fetch."""
    fetches = Fetches()
    flights = fetches.flights()
    joined = [asyncio.ensure_future(flights.join("a", group)) for _ in range(2)]
    while not fetches.begun:
        await asyncio.sleep(0)
    joined.append(asyncio.ensure_future(flights.join("a", group)))
    for _ in range(5):
        await asyncio.sleep(0)
    fetches.go.set()
    await asyncio.gather(*joined)

    assert fetches.begun == [["a"]] * begun


async def test_a_task_goes_on_while_one_of_its_flights_is_waited_for() -> None:
    """The last caller cancels it."""
    fetches = Fetches()
    flights = fetches.flights()
    before = asyncio.all_tasks()
    first, last = (asyncio.ensure_future(flights.join(key, "x")) for key in "ab")
    while not fetches.begun:
        await asyncio.sleep(0)
    (task,) = asyncio.all_tasks() - {*before, first, last}
    first.cancel()
    await asyncio.wait([first])
    assert not task.cancelling()
    last.cancel()
    await asyncio.wait([last])
    assert task.cancelling()
    await asyncio.wait([task])


async def test_who_leaves_before_the_fetch_begins() -> None:
    """Nothing is fetched for nobody."""
    fetches = Fetches()
    joined = asyncio.ensure_future(fetches.flights().join("a", "x"))
    await asyncio.sleep(0)
    joined.cancel()
    await asyncio.gather(joined, return_exceptions=True)
    for _ in range(5):
        await asyncio.sleep(0)

    assert not fetches.begun


async def test_a_caller_waits_for_a_limited_time() -> None:
    """The others wait on."""
    fetches = Fetches()
    flights = fetches.flights()
    patient = asyncio.ensure_future(flights.join("a", "x", limit=3600))
    with pytest.raises(TimeoutError):
        await flights.join("a", "x", limit=0)
    fetches.go.set()

    assert await patient == "x a"


async def test_a_flight_that_lands_when_the_time_is_over() -> None:
    """In the same turn of the loop, before: it is a result."""
    loop = asyncio.get_running_loop()

    async def fetch(flights: Any, _: str) -> None:
        loop.call_later(0, flights[0].land, 1)
        over = loop.time() + 0.02
        while loop.time() < over:
            pass

    flights: SingleFlight[str, str, int] = SingleFlight(fetch, lambda _: 1)
    assert await flights.join("a", "x", limit=0.01) == 1


async def test_a_bug_is_raised_by_all() -> None:
    """Also by those whose key the task did not come to."""

    async def fetch(flights: Any, _: str) -> None:
        flights[0].land(1)
        flights[0].land(2)
        raise ZeroDivisionError

    flights: SingleFlight[str, str, int] = SingleFlight(fetch, lambda _: 2)
    found = await asyncio.gather(*(flights.join(key, "x") for key in "ab"), return_exceptions=True)

    assert found[0] == 1
    assert isinstance(found[1], ZeroDivisionError)


async def test_what_has_landed_counts_for_a_caller_that_is_cancelled() -> None:
    """Wherever its key was among the others, result or error; also if others are left."""

    async def fetch(flights: Any, _: str) -> None:
        (flight,) = flights
        if flight.key == "slow":
            await asyncio.Event().wait()
        flight.land(SecretNotFoundError("no") if flight.key == "missing" else flight.key)

    flights: SingleFlight[str, str, str] = SingleFlight(fetch, lambda _: 1)
    found: dict[str, Any] = {}
    wanted = [(key, "x", None) for key in ("slow", "missing", "there")]
    joined = asyncio.ensure_future(flights.join_many(wanted, found))
    for _ in range(5):
        await asyncio.sleep(0)
    joined.cancel()
    await asyncio.gather(joined, return_exceptions=True)

    assert list(found) == ["missing", "there"]
    assert isinstance(found["missing"], SecretNotFoundError)
    assert found["there"] == "there"
