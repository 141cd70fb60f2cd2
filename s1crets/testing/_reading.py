"""The contract: what is read, and how it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from s1crets.errors import BatchError, InvalidNameError, SecretNotFoundError
from s1crets.testing._contract import Contract

if TYPE_CHECKING:
    from s1crets.testing._contract import Given

BAD_NAMES: list[Any] = ["", "a\0b", "a\nb", "\ud800", "x" * 5000, 5, None, b"a"]


class ReadingContract(Contract):
    """The verbs that read."""

    async def test_a_missing_name_is_a_key_error(self, store: Any) -> None:
        """Which says what was asked for."""
        with pytest.raises(KeyError) as caught:
            await store.get(f"{self.top}/none")

        assert isinstance(caught.value, SecretNotFoundError)
        assert f"{self.top}/none" in str(caught.value)

    async def test_a_default_takes_the_place_of_what_is_missing(
        self, kept: Any, given: Given
    ) -> None:
        """It is the very object, None too, and no cache keeps it."""
        name, default = f"{self.top}/a", object()

        assert await kept.get(name, default=default) is default
        assert await kept.get(name, default=None) is None
        await given(a="fake")
        assert await kept.get(name, default=default) == "fake"

    @pytest.mark.parametrize("text", ["fake", "123456", "true", "null", '"fake"', " fa ke ", "ä€"])
    async def test_text_comes_as_it_is(self, store: Any, given: Given, text: str) -> None:
        """A password of digits is no number."""
        (name,) = await given(a=text)

        assert await store.get(name) == text

    async def test_objects_and_arrays_come_parsed(self, store: Any, given: Given) -> None:
        """What only looks like JSON stays text."""
        names = await given(a='{"k": [1, "ä"]}', b="[1, {}]", c='{"k": ')
        found = [await store.get(name) for name in names]

        assert found == [{"k": [1, "ä"]}, [1, {}], '{"k": ']

    async def test_values_are_the_callers_own(self, kept: Any, given: Given) -> None:
        """Who changes one changes nobody else's, at any depth, from a cache or not."""
        (name,) = await given(a='{"k": {"x": [1]}}')
        for _ in range(2):
            value = await kept.get(name)
            value["k"]["x"].append(2)
            (await kept.get(name, keypath="k"))["x"].clear()
            (await kept.get_by_path(self.top))[name]["k"].clear()
            (await kept.get_many([name]))[name].clear()

        assert await kept.get(name) == {"k": {"x": [1]}}

    async def test_a_keypath_looks_into_the_value(self, store: Any, given: Given) -> None:
        """One key, or a sequence of them."""
        (name,) = await given(a='{"k": [{"x": "fake"}], "n": null}')

        assert await store.get(name, keypath="n") is None
        assert await store.get(name, keypath=("k", 0, "x")) == "fake"
        assert await store.get(name, keypath=("k", -1)) == {"x": "fake"}

    async def test_a_key_that_is_not_there(self, store: Any, given: Given) -> None:
        """It is a key error, or the default."""
        name, text = await given(a='{"k": []}', b="fake")

        for path, keypath in ((name, "x"), (name, ("k", 0)), (text, "k")):
            assert await store.get(path, keypath=keypath, default=7) == 7  # noqa: PLR2004
            with pytest.raises(SecretNotFoundError):
                await store.get(path, keypath=keypath)

    async def test_a_keypath_of_another_type(self, store: Any, given: Given) -> None:
        """It is a type error."""
        (name,) = await given(a='{"k": 1}')
        for keypath in (1.5, {"k"}, ("k", None)):
            with pytest.raises(TypeError):
                await store.get(name, keypath=keypath)

    async def test_several_come_in_the_order_asked_for(self, store: Any, given: Given) -> None:
        """Each once."""
        a, b, c = await given(a="fake-a", b='{"k": 1}', c="fake-c")
        found = await store.get_many(iter([c, a, b, a, c]))

        assert list(found.items()) == [(c, "fake-c"), (a, "fake-a"), (b, {"k": 1})]
        assert await store.get_many([]) == {}

    async def test_some_of_several_that_can_not_be_read(self, store: Any, given: Given) -> None:
        """One error has them all, with what could be."""
        (a,) = await given(a="fake")
        missing = f"{self.top}/none"
        with pytest.raises(BatchError) as caught:
            await store.get_many([missing, a, ""])

        assert caught.value.values == {a: "fake"}
        assert list(map(type, caught.value.errors.values())) == [
            InvalidNameError, SecretNotFoundError,
        ]  # fmt: skip
        assert set(caught.value.errors) == {"", missing}

    async def test_errors_in_the_places_of_values(self, store: Any, given: Given) -> None:
        """With `errors="return"`."""
        (a,) = await given(a="fake")
        missing = f"{self.top}/none"
        found = await store.get_many([missing, a], errors="return")

        assert list(found) == [missing, a]
        assert isinstance(found[missing], SecretNotFoundError)
        assert found[a] == "fake"

    async def test_what_several_can_not_be(self, store: Any) -> None:
        """One text is a sequence of texts too, but never meant as such."""
        with pytest.raises(TypeError):
            await store.get_many("name")
        with pytest.raises(ValueError, match="errors"):
            await store.get_many(["name"], errors="ignore")

    async def test_all_below_a_path(self, store: Any, given: Given) -> None:
        """By full name; not what only begins like it."""
        a, b, _, _ = await given(db__a="fake", db__b__c='{"k": 1}', dbx="no", other__db__a="no")

        expected = {a: "fake", b: {"k": 1}}
        assert await store.get_by_path(f"{self.top}/db") == expected
        assert await store.get_by_path(f"{self.top}/db/") == expected

    async def test_nothing_below_a_path(self, store: Any, given: Given) -> None:
        """It is no error."""
        await given(dbx="fake")

        assert await store.get_by_path(f"{self.top}/db") == {}

    async def test_whether_there_is_one(self, store: Any, given: Given) -> None:
        """A no is not remembered."""
        name = f"{self.top}/a"

        assert await store.path_exists(name) is False
        await given(a="fake", ax="fake")
        assert await store.path_exists(name) is True
        assert await store.path_exists(f"{self.top}/x") is False

    @pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: ascii(name)[:12])
    async def test_a_bad_name_is_refused(self, store: Any, name: Any) -> None:
        """Before anything is asked."""
        calls = (store.get, store.get_by_path, store.path_exists)
        for call in calls:
            with pytest.raises(InvalidNameError):
                await call(name)
        with pytest.raises(InvalidNameError):
            await store.update(name, "fake")
        with pytest.raises(InvalidNameError):
            store.peek(name)
        (outcome,) = (await store.get_many([name], errors="return")).values()

        assert isinstance(outcome, InvalidNameError)
        assert store.stats.requests == {}

    async def test_both_flavours_read_the_same(self, make: Any, given: Given) -> None:
        """On two event loops, through one provider."""
        (name,) = await given(a="fake")

        def blocking() -> list[Any]:
            return [
                facade.get(name, cached=False), facade.get_many([name]),
                facade.get_by_path(self.top), facade.path_exists(name),
            ]  # fmt: skip

        facade = make()
        async with facade.awaited as store:
            assert await store.get(name, cached=False) == "fake"
            found = await anyio.to_thread.run_sync(blocking)
            assert await store.get(name, cached=False) == "fake"
            await anyio.to_thread.run_sync(facade.close)

        assert found == ["fake", {name: "fake"}, {name: "fake"}, True]

    async def test_what_was_closed_opens_again(self, store: Any, given: Given) -> None:
        """Closing twice is no error either."""
        (name,) = await given(a="fake")
        for _ in range(2):
            assert await store.get(name, cached=False) == "fake"
            await store.aclose()
            await store.aclose()
