"""The contract: what is kept, for how long, and what is asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from s1crets.errors import DeadlineExceededError
from s1crets.testing._contract import Contract

if TYPE_CHECKING:
    from collections.abc import Callable

    from s1crets.testing._contract import Given, Make

_SOON = 20  # seconds in which a test is over that does not hang


class KeepingContract(Contract):
    """Caches, single flight, deadlines, rotation."""

    async def test_a_cache_answers_unless_told_otherwise(self, kept: Any, given: Given) -> None:
        """What is read past it is kept in it."""
        (name,) = await given(a="old")
        assert await kept.get(name) == "old"
        await given(a="new")

        assert await kept.get(name) == "old"
        assert await kept.get(name, cached=False) == "new"
        assert await kept.get(name) == "new"

    async def test_paths_are_kept_too(self, kept: Any, given: Given) -> None:
        """And what is below them, by itself."""
        (name,) = await given(a="old")
        assert await kept.get_by_path(self.top) == {name: "old"}
        await given(a="new")

        assert await kept.get_by_path(self.top) == {name: "old"}
        assert await kept.get(name) == "old"
        assert await kept.get_by_path(self.top, cached=False) == {name: "new"}

    async def test_a_yes_is_kept(self, kept: Any, given: Given) -> None:
        """That there is such a secret is asked once."""
        (name,) = await given(a="fake")
        assert await kept.path_exists(name) is True
        asked = kept.stats.requests

        assert await kept.path_exists(name) is True
        assert kept.stats.requests == asked

    async def test_without_caching_nothing_is_kept(self, make: Make, given: Given) -> None:
        """With `cache_ttl=0`."""
        async with make(cache_args={"cache_ttl": 0}).awaited as store:
            (name,) = await given(a="old")
            assert await store.get(name) == "old"
            await given(a="new")

            assert await store.get(name) == "new"
            assert store.peek(name) is None

    async def test_a_peek_asks_for_nothing(self, kept: Any, given: Given) -> None:
        """It has what a cache holds, or the default."""
        (name,) = await given(a='{"k": 1}')

        assert kept.peek(name, default=7) == 7  # noqa: PLR2004
        assert kept.stats.requests == {}
        await kept.get(name)
        assert kept.peek(name) == {"k": 1}
        assert kept.peek(name, keypath="k") == 1

    async def test_what_is_invalidated_is_read_anew(self, kept: Any, given: Given) -> None:
        """One name, or all; paths either way."""
        a, b = await given(a="old", b="old")
        await kept.get_many([a, b])
        await kept.get_by_path(self.top)
        await given(a="new", b="new")

        await kept.invalidate(a)
        assert (kept.peek(a), kept.peek(b)) == (None, "old")
        assert (await kept.get_by_path(self.top))[a] == "new"
        await kept.invalidate()
        assert (kept.peek(a), kept.peek(b)) == (None, None)
        assert await kept.get_many([a, b]) == {a: "new", b: "new"}

    async def test_many_tasks_ask_once(self, store: Any, given: Given) -> None:
        """For what they want in the same moment."""
        (name,) = await given(a="fake")

        assert await asyncio.gather(*(store.get(name) for _ in range(50))) == ["fake"] * 50
        assert sum(store.stats.requests.values()) == 1

    async def test_what_was_done_is_counted(self, kept: Any, given: Given) -> None:
        """Hits, misses, requests."""
        (name,) = await given(a="fake")
        for _ in range(3):
            await kept.get(name)

        stats = kept.stats
        assert (stats.hits, stats.misses, sum(stats.requests.values())) == (2, 1, 1)

    @pytest.mark.parametrize(
        ("options", "kind"),
        [
            ({"no_such_option": 1}, TypeError),
            ({"cache_args": {"ttl": 5}}, TypeError),
            ({"cache_args": {"cache_ttl": "5"}}, TypeError),
            ({"cache_args": {"cache_size": 0}}, ValueError),
            ({"deadline": 0}, ValueError),
        ],
        ids=str,
    )
    def test_a_bad_option_is_refused(self, make: Make, options: Any, kind: Any) -> None:
        """By the constructor."""
        with pytest.raises(kind):
            make(**options)

    async def test_a_call_ends_within_its_deadline(
        self, make: Make, given: Given, hang: Callable[[], object]
    ) -> None:
        """Whatever the store does; with a timeout error, for each name of several."""
        (name,) = await given(a="fake")
        hang()
        async with make(deadline=0.2).awaited as store:
            with anyio.fail_after(_SOON):
                with pytest.raises(DeadlineExceededError) as caught:
                    await store.get(name)
                (outcome,) = (await store.get_many([name], errors="return")).values()

        assert isinstance(caught.value, TimeoutError)
        assert isinstance(outcome, DeadlineExceededError)

    async def test_a_cancelled_call_leaves_nothing(
        self, store: Any, given: Given, hang: Callable[[], object]
    ) -> None:
        """No task goes on, whichever call it was."""
        (name,) = await given(a="fake")
        before = asyncio.all_tasks()
        hang()
        for call in (store.get(name), store.get_many([name]), store.get_by_path(self.top)):
            with anyio.move_on_after(0.1) as scope:
                await call
            assert scope.cancelled_caught
        with anyio.fail_after(_SOON):
            while asyncio.all_tasks() - before:  # noqa: ASYNC110  # nothing tells of a task's end
                await anyio.sleep(0.01)

    async def test_a_rotated_secret_is_read_anew(self, kept: Any, given: Given) -> None:
        """When what it is used for fails, once; what was not rotated fails as it did."""
        rotated, same = await given(a="old", b="old")
        used = []

        async def login(secret: str) -> str:
            used.append(secret)
            if secret == "old":  # noqa: S105  # no secret
                raise PermissionError
            return "in"

        await kept.get_many([rotated, same])
        await given(a="new")

        assert await kept.refresh_on(PermissionError, path=rotated)(login)() == "in"
        with pytest.raises(PermissionError):
            await kept.refresh_on(PermissionError, path=same)(login)()
        assert used == ["old", "new", "old"]

    async def test_a_watch_yields_what_a_secret_changes_to(self, kept: Any, given: Given) -> None:
        """And nothing for as long as it stays what it is."""
        (name,) = await given(a="old")
        await kept.get(name)
        watching = kept.watch(name, interval=0.01)
        first = asyncio.ensure_future(anext(watching))
        await anyio.sleep(0.1)
        assert not first.done()
        await given(a="new")
        with anyio.fail_after(_SOON):
            assert await first == "new"
        await watching.aclose()
