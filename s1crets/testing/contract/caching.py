"""Contract of caches, single flight, deadlines and rotation."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from s1crets.errors import DeadlineExceededError
from s1crets.testing.contract.fixtures import Contract

HANGS = 20  # seconds that a test never takes unless it hangs
BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"no_such_option": 1}, TypeError),
    ({"cache_args": {"ttl": 5}}, TypeError),
    ({"cache_args": {"cache_ttl": "5"}}, TypeError),
    ({"cache_args": {"cache_size": 0}}, ValueError),
    ({"deadline": 0}, ValueError),
]


class CachingContract(Contract):
    """What is cached, how long, and what is requested."""

    async def test_values_are_cached(self, kept: Any, given: Any) -> None:
        """Until a call bypasses the cache and updates it."""
        (name,) = await given(a="old")
        assert await kept.get(name) == "old"
        await given(a="new")

        assert await kept.get(name) == "old"
        assert await kept.get(name, cached=False) == "new"
        assert await kept.get(name) == "new"

    async def test_paths_are_cached(self, kept: Any, given: Any) -> None:
        """And each value under them."""
        (name,) = await given(a="old")
        assert await kept.get_by_path(self.top) == {name: "old"}
        await given(a="new")

        assert await kept.get_by_path(self.top) == {name: "old"}
        assert await kept.get(name) == "old"
        assert await kept.get_by_path(self.top, cached=False) == {name: "new"}

    async def test_existence_is_cached(self, kept: Any, given: Any) -> None:
        """The second call sends no request."""
        (name,) = await given(a="fake")
        assert await kept.path_exists(name) is True
        requests = kept.stats.requests

        assert await kept.path_exists(name) is True
        assert kept.stats.requests == requests

    async def test_nothing_is_cached_without_a_ttl(self, make: Any, given: Any) -> None:
        """With `cache_ttl=0`."""
        async with make(cache_args={"cache_ttl": 0}).awaited as store:
            (name,) = await given(a="old")
            assert await store.get(name) == "old"
            await given(a="new")

            assert await store.get(name) == "new"
            assert store.peek(name) is None

    async def test_peek_sends_no_request(self, kept: Any, given: Any) -> None:
        """It returns the cached value, or the default."""
        (name,) = await given(a='{"k": 1}')

        assert kept.peek(name, default=7) == 7  # noqa: PLR2004
        assert kept.stats.requests == {}
        await kept.get(name)
        assert kept.peek(name) == {"k": 1}
        assert kept.peek(name, keypath="k") == 1

    async def test_an_invalidated_name_is_read_again(self, kept: Any, given: Any) -> None:
        """A name or all names, and in both cases the paths above."""
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

    async def test_concurrent_calls_send_a_single_request(self, store: Any, given: Any) -> None:
        """All of them get its result."""
        (name,) = await given(a="fake")

        assert await asyncio.gather(*(store.get(name) for _ in range(50))) == ["fake"] * 50
        assert sum(store.stats.requests.values()) == 1

    async def test_statistics(self, kept: Any, given: Any) -> None:
        """Hits, misses and requests are counted."""
        (name,) = await given(a="fake")
        for _ in range(3):
            await kept.get(name)

        stats = kept.stats
        assert (stats.hits, stats.misses, sum(stats.requests.values())) == (2, 1, 1)

    @pytest.mark.parametrize(("options", "error"), BAD_OPTIONS, ids=str)
    def test_an_invalid_option_is_refused(self, make: Any, options: Any, error: Any) -> None:
        """By the constructor."""
        with pytest.raises(error):
            make(**options)

    async def test_a_call_ends_within_its_deadline(self, make: Any, given: Any, hang: Any) -> None:
        """With a timeout error; in a batch, for each name."""
        (name,) = await given(a="fake")
        hang()
        async with make(deadline=0.2).awaited as store:
            with anyio.fail_after(HANGS):
                with pytest.raises(DeadlineExceededError) as caught:
                    await store.get(name)
                (outcome,) = (await store.get_many([name], errors="return")).values()

        assert isinstance(caught.value, TimeoutError)
        assert isinstance(outcome, DeadlineExceededError)

    async def test_a_cancelled_call_leaves_no_task(self, store: Any, given: Any, hang: Any) -> None:
        """Whichever call it was."""
        (name,) = await given(a="fake")
        before = asyncio.all_tasks()
        hang()
        for call in (store.get(name), store.get_many([name]), store.get_by_path(self.top)):
            with anyio.move_on_after(0.1) as scope:
                await call
            assert scope.cancelled_caught
        with anyio.fail_after(HANGS):
            while asyncio.all_tasks() - before:  # noqa: ASYNC110  # a task's end is not signalled
                await anyio.sleep(0.01)

    async def test_refresh_on_reads_a_rotated_secret_again(self, kept: Any, given: Any) -> None:
        """And calls the function once more; if the secret is the same, the error stands."""
        rotated, same = await given(a="old", b="old")
        used = []

        async def login(secret: str) -> str:
            used.append(secret)
            if secret == "old":  # noqa: S105  # not a secret
                raise PermissionError
            return "in"

        await kept.get_many([rotated, same])
        await given(a="new")

        assert await kept.refresh_on(PermissionError, path=rotated)(login)() == "in"
        with pytest.raises(PermissionError):
            await kept.refresh_on(PermissionError, path=same)(login)()
        assert used == ["old", "new", "old"]

    async def test_watch_yields_changed_values(self, kept: Any, given: Any) -> None:
        """And nothing while the value stays the same."""
        (name,) = await given(a="old")
        await kept.get(name)
        watching = kept.watch(name, interval=0.01)
        first = asyncio.ensure_future(anext(watching))
        await anyio.sleep(0.1)
        assert not first.done()
        await given(a="new")
        with anyio.fail_after(HANGS):
            assert await first == "new"
        await watching.aclose()
