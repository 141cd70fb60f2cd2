"""The contract: what is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from s1crets.errors import AccessDeniedError, InvalidValueError, SecretNotFoundError
from s1crets.testing._contract import Contract

if TYPE_CHECKING:
    from s1crets.testing._contract import Given, Make

_VALUES: list[Any] = ["new", "new\n", " ä€😀", {"k": [1, None, "ä"]}, ["x"]]
_BAD: list[Any] = [None, 5, True, object(), {"k": object()}, [float("nan")], "", "\ud800"]


class WritingContract(Contract):
    """`update`, which every provider has; one that only reads refuses it."""

    def _needs_writing(self) -> None:
        if not self.writable:
            pytest.skip("this provider only reads")

    @pytest.mark.parametrize("value", _VALUES, ids=ascii)
    async def test_what_is_updated_is_what_is_got(
        self, kept: Any, make: Make, given: Given, value: Any
    ) -> None:
        """By the provider that has the old value in its cache, and by others."""
        self._needs_writing()
        (name,) = await given(a="old")
        await kept.get(name)
        await kept.get_by_path(self.top)
        await kept.update(name, value)

        assert await kept.get(name) == value
        assert await kept.get_by_path(self.top) == {name: value}
        async with make().awaited as other:
            assert await other.get(name) == value

    async def test_an_update_of_what_is_not_there(self, store: Any) -> None:
        """It is a key error, and makes nothing."""
        self._needs_writing()
        with pytest.raises(SecretNotFoundError):
            await store.update(f"{self.top}/none", "fake")

        assert await store.path_exists(f"{self.top}/none") is False

    @pytest.mark.parametrize("value", _BAD, ids=lambda value: type(value).__name__)
    async def test_what_can_not_be_stored(self, store: Any, given: Given, value: Any) -> None:
        """It is refused before anything is written."""
        (name,) = await given(a="old")
        with pytest.raises(InvalidValueError):
            await store.update(name, value)

        assert await store.get(name, cached=False) == "old"

    async def test_one_that_only_reads_says_so(self, store: Any, given: Given) -> None:
        """With a permission error."""
        if self.writable:
            pytest.skip("this provider writes")
        (name,) = await given(a="old")
        with pytest.raises(AccessDeniedError):
            await store.update(name, "new")

        assert await store.get(name, cached=False) == "old"
