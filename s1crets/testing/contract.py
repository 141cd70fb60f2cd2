"""Contract of every provider, as tests.

The provider of another package runs them all:

```python
import pytest
from our_vault import Vault
from s1crets.testing.contract import ProviderContract


class TestVault(ProviderContract):
    @pytest.fixture
    def make(self):
        return Vault  # or any function that accepts `cache_args` and `deadline` and returns one

    @pytest.fixture
    def seed(self):
        return lambda values: our_server.store(values)  # a dict of names and texts
```
Needs pytest. The async tests run with anyio's plugin, which is part of anyio.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import pytest

from s1crets.errors import (
    AccessDeniedError,
    BatchError,
    DeadlineExceededError,
    InvalidNameError,
    InvalidValueError,
    S1cretsError,
    SecretNotFoundError,
)

__all__ = ["Contract", "ProviderContract"]

_LONG = 600  # seconds in a cache: longer than any test
_BAD_NAMES: list[Any] = ["", "a\0b", "a\nb", "\ud800", "x" * 5000, 5, None, b"a"]
_HANGS = 20  # seconds that a test never takes unless it hangs
_BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"no_such_option": 1}, TypeError),
    ({"cache_args": {"ttl": 5}}, TypeError),
    ({"cache_args": {"cache_ttl": "5"}}, TypeError),
    ({"cache_args": {"cache_size": 0}}, ValueError),
    ({"deadline": 0}, ValueError),
]
_VALUES: list[Any] = ["new", "new\n", " ä€😀", {"k": [1, None, "ä"]}, ["x"]]
_BAD_VALUES: list[Any] = [None, 5, True, object(), {"k": object()}, [float("nan")], "", "\ud800"]
_CANARY = "canary-7e1d"
_MISSING = "no-such-key"


class Contract:
    """The tests' fixtures; a subclass overrides `make`, `seed`, and `hang` if it can.

    Attributes:
        top: the path that all names of the tests are under.
        writable: whether the provider writes; a read-only provider has to raise `PermissionError`.
    """

    pytestmark = pytest.mark.anyio

    top: str = "contract"
    writable: bool = True

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Run on asyncio."""
        return "asyncio"

    @pytest.fixture
    def make(self) -> Callable[..., Any]:
        """Return the class of the blocking provider. To be overridden."""
        raise NotImplementedError("override the fixture `make`: it returns the blocking class")

    @pytest.fixture
    def seed(self) -> Callable[[Mapping[str, str]], object]:
        """Return a function that stores values by name, without the provider. To be overridden."""
        raise NotImplementedError("override the fixture `seed`: it returns a function")

    @pytest.fixture
    def hang(self) -> Callable[[], object]:
        """Return a function that makes the store hang until the test ends; or two tests skip."""
        pytest.skip("override the fixture `hang`: it returns a function that makes the store hang")

    @pytest.fixture
    def writes(self) -> None:
        """Skip the test if the provider is read-only."""
        if not self.writable:
            pytest.skip("this provider is read-only")

    @pytest.fixture
    async def given(self, seed: Any) -> Callable[..., Awaitable[list[str]]]:
        """Return a function that stores values under `top` and returns the full names."""

        async def given(**values: str) -> list[str]:
            names = [f"{self.top}/{name.replace('__', '/')}" for name in values]
            await anyio.to_thread.run_sync(seed, dict(zip(names, values.values(), strict=True)))
            return names

        return given

    @pytest.fixture
    async def store(self, make: Any) -> AsyncIterator[Any]:
        """Yield an async provider with default settings."""
        async with make().awaited as provider:
            yield provider

    @pytest.fixture
    async def kept(self, make: Any) -> AsyncIterator[Any]:
        """Yield an async provider that caches in memory, longer than the test takes."""
        async with make(cache_args={"cache_ttl": _LONG}).awaited as provider:
            yield provider


class ProviderContract(Contract):
    """All tests; a subclass provides the fixtures `make` and `seed`.

    See `Contract` for further settings.
    """

    # Reading.

    async def test_raw_json_is_text(self, store: Any, kept: Any, given: Any) -> None:
        """From the store and from the cache, by any verb."""
        (name,) = await given(a='{"k":  1}')
        for provider in (store, kept, kept):
            assert await provider.get(name, raw=True) == '{"k":  1}'
            assert await provider.get_many([name], raw=True) == {name: '{"k":  1}'}
            assert (await provider.get_by_path(self.top, raw=True))[name] == '{"k":  1}'
            assert await provider.get(name) == {"k": 1}

    async def test_names_relative_to_a_path(self, kept: Any, given: Any) -> None:
        """From the store and from the cache."""
        await given(rel__a="1", rel__b__c="2")
        for _ in range(2):
            found = await kept.get_by_path(f"{self.top}/rel", relative=True)
            assert found == {"a": "1", "b/c": "2"}

    async def test_older_values_do_not_count(self, kept: Any, given: Any, seed: Any) -> None:
        """With a `max_age`, in seconds."""
        (name,) = await given(a="old")
        await kept.get(name)
        await anyio.to_thread.run_sync(seed, {name: "new"})
        assert await kept.get(name, max_age=_LONG) == "old"
        assert await kept.get_many([name], max_age=_LONG) == {name: "old"}
        assert await kept.get(name, max_age=0) == "new"
        assert (await kept.get_by_path(self.top, max_age=0))[name] == "new"
        assert await kept.get(name) == "new"

    async def test_missing_names_are_remembered(self, make: Any, given: Any) -> None:
        """With a `missing_ttl`, until they are written."""
        missing = f"{self.top}/later"
        async with make(cache_args={"missing_ttl": _LONG}).awaited as provider:
            assert await provider.get(missing, default=None) is None
            await given(later="fake")
            assert await provider.get(missing, default=None) is None
            await provider.invalidate(missing)
            assert await provider.get(missing) == "fake"

    async def test_versions_or_a_type_error(self, store: Any, given: Any) -> None:
        """Providers without versions, or without deletions that can be cancelled, say so."""
        (name,) = await given(a="1")
        for verb in (store.history, store.restore):
            with suppress(TypeError):
                await verb(name)

    async def test_a_missing_name_is_a_key_error(self, store: Any) -> None:
        """The message contains the name."""
        with pytest.raises(KeyError, match=f"{self.top}/none") as caught:
            await store.get(f"{self.top}/none")

        assert isinstance(caught.value, SecretNotFoundError)

    async def test_a_default_replaces_a_missing_value(self, kept: Any, given: Any) -> None:
        """Any object, also None; it is not cached."""
        name, default = f"{self.top}/a", object()

        assert await kept.get(name, default=default) is default
        assert await kept.get(name, default=None) is None
        await given(a="fake")
        assert await kept.get(name, default=default) == "fake"

    @pytest.mark.parametrize("text", ["fake", "123456", "true", "null", '"fake"', " fa ke ", "ä€"])
    async def test_text_is_returned_as_it_is(self, store: Any, given: Any, text: str) -> None:
        """Numeric-looking passwords stay strings."""
        (name,) = await given(a=text)

        assert await store.get(name) == text

    async def test_objects_and_arrays_are_parsed(self, store: Any, given: Any) -> None:
        """Invalid JSON stays text."""
        names = await given(a='{"k": [1, "ä"]}', b="[1, {}]", c='{"k": ')
        found = [await store.get(name) for name in names]

        assert found == [{"k": [1, "ä"]}, [1, {}], '{"k": ']

    async def test_changing_a_value_changes_no_other_callers_value(
        self, kept: Any, given: Any
    ) -> None:
        """At any depth, cached or not."""
        (name,) = await given(a='{"k": {"x": [1]}}')
        for _ in range(2):
            value = await kept.get(name)
            value["k"]["x"].append(2)
            (await kept.get(name, keypath="k"))["x"].clear()
            (await kept.get_by_path(self.top))[name]["k"].clear()
            (await kept.get_many([name]))[name].clear()

        assert await kept.get(name) == {"k": {"x": [1]}}

    async def test_a_keypath_selects_a_part_of_the_value(self, store: Any, given: Any) -> None:
        """A key, or a sequence of keys."""
        (name,) = await given(a='{"k": [{"x": "fake"}], "n": null}')

        assert await store.get(name, keypath="n") is None
        assert await store.get(name, keypath=("k", 0, "x")) == "fake"
        assert await store.get(name, keypath=("k", -1)) == {"x": "fake"}

    async def test_a_missing_key_is_a_key_error(self, store: Any, given: Any) -> None:
        """Or the default."""
        name, text = await given(a='{"k": []}', b="fake")

        for path, keypath in ((name, "x"), (name, ("k", 0)), (text, "k")):
            assert await store.get(path, keypath=keypath, default=7) == 7  # noqa: PLR2004
            with pytest.raises(SecretNotFoundError):
                await store.get(path, keypath=keypath)

    @pytest.mark.parametrize("keypath", [1.5, {"k"}, ("k", None)], ids=str)
    async def test_a_keypath_of_another_type_is_a_type_error(
        self, store: Any, given: Any, keypath: Any
    ) -> None:
        """Only str, int and sequences of them are accepted."""
        (name,) = await given(a='{"k": 1}')
        with pytest.raises(TypeError):
            await store.get(name, keypath=keypath)

    async def test_several_names_are_returned_in_order(self, store: Any, given: Any) -> None:
        """Without duplicates."""
        a, b, c = await given(a="fake-a", b='{"k": 1}', c="fake-c")
        found = await store.get_many(iter([c, a, b, a, c]))

        assert list(found.items()) == [(c, "fake-c"), (a, "fake-a"), (b, {"k": 1})]
        assert await store.get_many([]) == {}

    async def test_a_batch_error_contains_all_errors(self, store: Any, given: Any) -> None:
        """And the values; `errors="return"` returns errors in the places of values instead."""
        (a,) = await given(a="fake")
        missing = f"{self.top}/none"
        with pytest.raises(BatchError) as caught:
            await store.get_many([missing, a, ""])

        assert caught.value.values == {a: "fake"}
        errors = {name: type(error) for name, error in caught.value.errors.items()}
        assert errors == {"": InvalidNameError, missing: SecretNotFoundError}

        found = await store.get_many([missing, a], errors="return")
        assert list(found) == [missing, a]
        assert isinstance(found[missing], SecretNotFoundError)
        assert found[a] == "fake"

    async def test_several_names_are_not_a_string(self, store: Any) -> None:
        """It would be a sequence of characters; and `errors` is checked too."""
        with pytest.raises(TypeError):
            await store.get_many("name")
        with pytest.raises(ValueError, match="errors"):
            await store.get_many(["name"], errors="ignore")

    async def test_a_path_returns_everything_under_it(self, store: Any, given: Any) -> None:
        """By full name, at any depth; not names that only start with the same characters."""
        a, b, _, _ = await given(db__a="fake", db__b__c='{"k": 1}', dbx="no", other__db__a="no")

        expected = {a: "fake", b: {"k": 1}}
        assert await store.get_by_path(f"{self.top}/db") == expected
        assert await store.get_by_path(f"{self.top}/db/") == expected
        assert await store.get_by_path(f"{self.top}/d") == {}

    async def test_existence_is_exact(self, store: Any, given: Any) -> None:
        """A negative answer is not cached."""
        name = f"{self.top}/a"

        assert await store.path_exists(name) is False
        await given(a="fake", ax="fake")
        assert await store.path_exists(name) is True
        assert await store.path_exists(f"{self.top}/x") is False

    @pytest.mark.parametrize("name", _BAD_NAMES, ids=lambda name: ascii(name)[:12])
    async def test_an_invalid_name_is_refused(self, store: Any, name: Any) -> None:
        """Before any request is sent."""
        for call in (store.get, store.get_by_path, store.path_exists):
            with pytest.raises(InvalidNameError):
                await call(name)
        with pytest.raises(InvalidNameError):
            await store.update(name, "fake")
        with pytest.raises(InvalidNameError):
            store.peek(name)
        (outcome,) = (await store.get_many([name], errors="return")).values()

        assert isinstance(outcome, InvalidNameError)
        assert store.stats.requests == {}

    async def test_the_sync_and_the_async_api_share_a_provider(self, make: Any, given: Any) -> None:
        """On two event loops at once."""
        (name,) = await given(a="fake")
        facade = make()

        def blocking() -> list[Any]:
            return [
                facade.get(name, cached=False), facade.get_many([name]),
                facade.get_by_path(self.top), facade.path_exists(name),
            ]  # fmt: skip

        async with facade.awaited as store:
            assert await store.get(name, cached=False) == "fake"
            found = await anyio.to_thread.run_sync(blocking)
            assert await store.get(name, cached=False) == "fake"
            await anyio.to_thread.run_sync(facade.close)

        assert found == ["fake", {name: "fake"}, {name: "fake"}, True]

    async def test_a_closed_provider_opens_again(self, store: Any, given: Any) -> None:
        """Closing twice is not an error."""
        (name,) = await given(a="fake")
        for _ in range(2):
            assert await store.get(name, cached=False) == "fake"
            await store.aclose()
            await store.aclose()

    # Caching, requests, deadlines, rotation.

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

    @pytest.mark.parametrize(("options", "error"), _BAD_OPTIONS, ids=str)
    def test_an_invalid_option_is_refused(self, make: Any, options: Any, error: Any) -> None:
        """By the constructor."""
        with pytest.raises(error):
            make(**options)

    async def test_a_call_ends_within_its_deadline(self, make: Any, given: Any, hang: Any) -> None:
        """With a timeout error; in a batch, for each name."""
        (name,) = await given(a="fake")
        async with make().awaited as other:  # the process keeps credentials, which take long
            await other.get(name)
        hang()
        async with make(deadline=0.2).awaited as store:
            with anyio.fail_after(_HANGS):
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
        with anyio.fail_after(_HANGS):
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
        with anyio.fail_after(_HANGS):
            assert await first == "new"
        await watching.aclose()

    # Writing.

    @pytest.mark.parametrize("value", _VALUES, ids=ascii)
    @pytest.mark.usefixtures("writes")
    async def test_an_updated_value_is_read_by_all(
        self, kept: Any, make: Any, given: Any, value: Any
    ) -> None:
        """By a provider that has the old value in its cache, and by others."""
        (name,) = await given(a="old")
        await kept.get(name)
        await kept.get_by_path(self.top)
        await kept.update(name, value)

        assert await kept.get(name) == value
        assert await kept.get_by_path(self.top) == {name: value}
        async with make().awaited as other:
            assert await other.get(name) == value

    @pytest.mark.usefixtures("writes")
    async def test_an_update_creates_nothing(self, store: Any) -> None:
        """A missing name is a key error."""
        with pytest.raises(SecretNotFoundError):
            await store.update(f"{self.top}/none", "fake")

        assert await store.path_exists(f"{self.top}/none") is False

    @pytest.mark.parametrize("value", _BAD_VALUES, ids=lambda value: type(value).__name__)
    async def test_an_invalid_value_is_refused(self, store: Any, given: Any, value: Any) -> None:
        """Before anything is written."""
        (name,) = await given(a="old")
        with pytest.raises(InvalidValueError):
            await store.update(name, value)

        assert await store.get(name, cached=False) == "old"

    async def test_a_read_only_provider_refuses_updates(self, store: Any, given: Any) -> None:
        """With a permission error."""
        if self.writable:
            pytest.skip("this provider writes")
        (name,) = await given(a="old")
        with pytest.raises(AccessDeniedError):
            await store.update(name, "new")

        assert await store.get(name, cached=False) == "old"

    # Redaction.

    async def test_no_repr_shows_a_value(self, kept: Any, given: Any) -> None:
        """Of the provider, its statistics, and its parts."""
        (name,) = await given(a=_CANARY)
        await kept.get(name)

        shown = [repr(part) for part in (kept, kept.stats, *vars(kept).values())]
        assert [text for text in shown if _CANARY in text] == []
        assert type(kept).__name__ in repr(kept)

    @pytest.mark.parametrize("method", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_a_provider_is_not_copied_or_pickled(self, make: Any, method: Any) -> None:
        """The copy would contain its secrets."""
        facade = make()
        for provider in (facade, facade.awaited):
            with pytest.raises(TypeError, match="pickled"):
                method(provider)

    async def test_no_error_shows_a_value(self, kept: Any, given: Any) -> None:
        """Nor do its causes, or a traceback with local variables."""
        name, other = await given(a=f'{{"k": "{_CANARY}"}}', b=_CANARY)
        for _ in range(2):
            for call in (
                kept.get(name, keypath=("k", _MISSING)), kept.get(other, keypath=_MISSING),
                kept.update(name, [_CANARY, object()]), kept.update(f"{self.top}/none", _CANARY),
            ):  # fmt: skip
                with pytest.raises(S1cretsError) as caught:
                    await call
                assert _CANARY not in _shown(caught.value)
            with pytest.raises(BatchError) as several:
                await kept.get_many([name, f"{self.top}/none"])
            assert _CANARY not in str(several.value)
            assert _CANARY.encode() not in pickle.dumps(several.value)

    async def test_no_log_shows_a_value(
        self, make: Any, given: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """At DEBUG, and in asyncio's debug mode."""
        (name,) = await given(a=_CANARY)
        caplog.set_level(logging.DEBUG)
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 0.0
        try:
            async with make().awaited as store:
                await store.get(name)
                await store.get_many([name, f"{self.top}/none"], errors="return")
                await store.get_by_path(self.top)
                await store.path_exists(name)
                with suppress(S1cretsError):
                    await store.update(name, _CANARY + "2")
                with suppress(InvalidValueError):
                    await store.update(name, [_CANARY, object()])
        finally:
            loop.set_debug(False)

        logged = [f"{log.getMessage()} {log.args!r} {log.exc_text}" for log in caplog.records]
        assert [text for text in logged if _CANARY in text] == []
        assert any("Executing" in text for text in logged)


def _shown(error: BaseException | None) -> str:
    """Return everything that tools show of an error, except for the frames of this file."""
    text = ""
    while error is not None:
        text += f"{error} {error.args!r} {getattr(error, '__notes__', '')!r}\n"
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        text += "".join(repr(frame.locals) for frame in report.stack if frame.filename != __file__)
        error = error.__cause__ or error.__context__
    return text
