"""Contract of `update`, which every provider has; a read-only provider refuses it."""

from __future__ import annotations

from typing import Any

import pytest

from s1crets.errors import AccessDeniedError, InvalidValueError, SecretNotFoundError
from s1crets.testing.contract.fixtures import Contract

VALUES: list[Any] = ["new", "new\n", " ä€😀", {"k": [1, None, "ä"]}, ["x"]]
BAD_VALUES: list[Any] = [None, 5, True, object(), {"k": object()}, [float("nan")], "", "\ud800"]


class WritingContract(Contract):
    """`update`."""

    @pytest.mark.parametrize("value", VALUES, ids=ascii)
    async def test_an_updated_value_is_read_by_all(
        self, kept: Any, make: Any, given: Any, value: Any
    ) -> None:
        """By a provider that has the old value in its cache, and by others."""
        if not self.writable:
            pytest.skip("this provider is read-only")
        (name,) = await given(a="old")
        await kept.get(name)
        await kept.get_by_path(self.top)
        await kept.update(name, value)

        assert await kept.get(name) == value
        assert await kept.get_by_path(self.top) == {name: value}
        async with make().awaited as other:
            assert await other.get(name) == value

    async def test_an_update_creates_nothing(self, store: Any) -> None:
        """A missing name is a key error."""
        if not self.writable:
            pytest.skip("this provider is read-only")
        with pytest.raises(SecretNotFoundError):
            await store.update(f"{self.top}/none", "fake")

        assert await store.path_exists(f"{self.top}/none") is False

    @pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: type(value).__name__)
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
