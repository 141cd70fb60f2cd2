"""Contract of the methods that read."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import pytest

from s1crets.errors import BatchError, InvalidNameError, SecretNotFoundError
from s1crets.testing.contract.fixtures import Contract

BAD_NAMES: list[Any] = ["", "a\0b", "a\nb", "\ud800", "x" * 5000, 5, None, b"a"]


class ReadingContract(Contract):
    """`get`, `get_many`, `get_by_path`, `path_exists`."""

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

    @pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: ascii(name)[:12])
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
