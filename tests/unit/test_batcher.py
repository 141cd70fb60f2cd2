"""Batcher: what is submitted in a tick is handled by few calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from s1crets._coalescing import Batcher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Work:
    """Notes the calls, and doubles numbers once a test lets it."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[int], Any]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.ended = 0

    async def __call__(self, items: Sequence[int], group: Any) -> Mapping[int, int | Exception]:
        self.calls.append((sorted(items), group))
        await self.go.wait()
        if 13 in items:
            raise ValueError("13")
        self.ended += 1
        return {item: KeyError("7") if item == 7 else 2 * item for item in items}


async def test_a_tick_is_a_call() -> None:
    """Each item once, however many submit it."""
    work = Work()
    batcher = Batcher(work, size=10, calls=5)
    found = await asyncio.gather(*map(batcher.submit, [1, 2, 2, 3, 1]))

    assert found == [2, 4, 4, 6, 2]
    assert work.calls == [([1, 2, 3], None)]


async def test_size_and_groups_divide_calls() -> None:
    """Items of two groups never share a call."""
    work = Work()
    batcher = Batcher(work, size=2, calls=5)
    await asyncio.gather(*(batcher.submit(item, item % 2) for item in range(6)))

    assert sorted(work.calls) == [([0, 2], 0), ([1, 3], 1), ([4], 0), ([5], 1)]


async def test_groups_are_forgotten() -> None:
    """As soon as nothing of them waits: there may be many."""
    batcher = Batcher(Work(), size=2, calls=5)
    await batcher.submit(1, "alone")
    await asyncio.gather(*(batcher.submit(item, item % 2) for item in range(6)))

    assert not batcher._queues.here()


async def test_items_accumulate_while_calls_are_under_way() -> None:
    """They fill the next call."""
    work = Work()
    work.go.clear()
    batcher = Batcher(work, size=10, calls=1)
    first = asyncio.ensure_future(batcher.submit(1))
    await asyncio.sleep(0)
    others = []
    for item in (2, 3, 4):
        others.append(asyncio.ensure_future(batcher.submit(item)))
        await asyncio.sleep(0)
    work.go.set()

    assert [await first, *await asyncio.gather(*others)] == [2, 4, 6, 8]
    assert work.calls == [([1], None), ([2, 3, 4], None)]


async def test_errors_of_an_item_and_of_a_call() -> None:
    """An item's error is its submitter's; a call's error is everybody's."""
    batcher = Batcher(Work(), size=10, calls=5)
    found = await asyncio.gather(*map(batcher.submit, [1, 7]), return_exceptions=True)
    assert (found[0], type(found[1])) == (2, KeyError)
    found = await asyncio.gather(*map(batcher.submit, [1, 13]), return_exceptions=True)
    assert [type(error) for error in found] == [ValueError, ValueError]


@pytest.mark.parametrize("finishes", [False, True])
async def test_a_call_that_nobody_awaits(*, finishes: bool) -> None:
    """It is cancelled, unless it must finish, as a write."""
    work = Work()
    work.go.clear()
    batcher = Batcher(work, size=10, calls=1, finishes=finishes)
    waiting = [asyncio.ensure_future(batcher.submit(item)) for item in (1, 2)]
    await asyncio.sleep(0.01)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert not waiting[1].done()
    waiting[1].cancel()
    await asyncio.wait(waiting)
    work.go.set()
    assert await batcher.submit(3) == 6

    assert work.ended == 1 + finishes
    assert work.calls == [([1, 2], None), ([3], None)]


@pytest.mark.parametrize("finishes", [False, True])
async def test_an_item_that_is_given_up_before_it_is_sent(*, finishes: bool) -> None:
    """It is left out, unless it must be handled."""
    work = Work()
    batcher = Batcher(work, size=10, calls=1, finishes=finishes)
    given_up = asyncio.ensure_future(batcher.submit(1))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await batcher.submit(2) == 4

    assert work.calls[0][0] == ([1, 2] if finishes else [2])


async def test_nothing_is_sent_if_all_items_were_given_up() -> None:
    """Not even an empty call."""
    work = Work()
    batcher = Batcher(work, size=10, calls=1)
    given_up = asyncio.ensure_future(batcher.submit(1))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    await asyncio.sleep(0.01)

    assert work.calls == []


async def test_a_cancelled_call_cancels_its_waiters() -> None:
    """As when its loop shuts down."""

    async def work(items: Sequence[int], group: Any) -> Mapping[int, int]:
        task = asyncio.current_task()
        assert task
        task.cancel()
        await asyncio.sleep(0)
        raise AssertionError

    batcher: Batcher[int, int] = Batcher(work, size=10, calls=1)
    for items in ([1], [1, 2]):
        waiting = [asyncio.ensure_future(batcher.submit(item)) for item in items]
        await asyncio.wait(waiting)
        assert all(one.cancelled() for one in waiting)


async def test_a_bug_is_raised_by_its_waiters() -> None:
    """A result that is missing is a bug."""

    async def work(items: Sequence[int], group: Any) -> Mapping[int, int]:
        return {}

    batcher: Batcher[int, int] = Batcher(work, size=10, calls=1)
    with pytest.raises(KeyError):
        await batcher.submit(1)
    both = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
    assert [type(one) for one in both] == [KeyError] * 2


async def test_several_items_of_a_caller_share_calls_with_others() -> None:
    """They fill calls, and may be in several; the caller gets all results at once."""
    work = Work()
    batcher = Batcher(work, size=3, calls=5)
    *several, one = await asyncio.gather(
        batcher.submit_many([1, 2]), batcher.submit_many([3, 4]), batcher.submit(4)
    )

    assert several == [{1: 2, 2: 4}, {3: 6, 4: 8}]
    assert one == 8
    assert work.calls == [([1, 2, 3], None), ([4], None)]


async def test_several_items_that_are_alone() -> None:
    """They are handled in the caller's task; nothing is a call for nothing."""
    tasks: list[Any] = []

    async def work(items: Sequence[int], _group: Any) -> Mapping[int, int]:
        tasks.append(asyncio.current_task())
        return dict.fromkeys(items, 0)

    batcher: Batcher[int, int] = Batcher(work, size=3, calls=5)
    assert await batcher.submit_many([1, 2, 3]) == {1: 0, 2: 0, 3: 0}
    assert tasks == [asyncio.current_task()]
    assert await batcher.submit_many([]) == {}
    assert len(tasks) == 1


async def test_exceptions_of_several_items() -> None:
    """The first is raised, or each is an outcome."""
    batcher = Batcher(Work(), size=3, calls=5)
    with pytest.raises(KeyError):
        await batcher.submit_many([1, 7])
    outcomes = await batcher.outcomes([1, 7])

    assert outcomes[1] == 2
    assert isinstance(outcomes[7], KeyError)


async def test_a_cancelled_caller_of_several_calls() -> None:
    """Those that others wait for go on."""
    work = Work()
    work.go.clear()
    batcher = Batcher(work, size=2, calls=5)
    several = asyncio.ensure_future(batcher.submit_many([1, 2, 3]))
    other = asyncio.ensure_future(batcher.submit(3))
    while len(work.calls) < 2:
        await asyncio.sleep(0)
    several.cancel()
    await asyncio.wait([several])
    work.go.set()

    assert await other == 6
    assert work.ended == 1


async def test_work_that_leaves_an_item_out() -> None:
    """A bug, which its caller sees."""

    async def work(items: Sequence[int], _group: Any) -> Mapping[int, int]:
        return {items[0]: 0}

    batcher: Batcher[int, int] = Batcher(work, size=2, calls=5)
    found = await asyncio.gather(*map(batcher.submit, (1, 2)), return_exceptions=True)

    assert found[0] == 0
    assert isinstance(found[1], KeyError)
