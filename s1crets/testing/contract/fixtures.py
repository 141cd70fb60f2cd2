"""Fixtures of the contract's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping


LONG = 600  # seconds in a cache: longer than any test


class Contract:
    """The fixtures; a subclass overrides `make`, `seed`, and `hang` if it can.

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
    async def given(self, seed: Any) -> Callable[..., Awaitable[list[str]]]:
        """Return a function that stores values under `top` and returns the full names."""

        async def given(**values: str) -> list[str]:
            named = {
                f"{self.top}/{name.replace('__', '/')}": value for name, value in values.items()
            }
            await anyio.to_thread.run_sync(seed, named)
            return list(named)

        return given

    @pytest.fixture
    def facade(self, make: Any) -> Iterator[Any]:
        """Yield a blocking provider with default settings."""
        with make() as provider:
            yield provider

    @pytest.fixture
    async def store(self, make: Any) -> AsyncIterator[Any]:
        """Yield an async provider with default settings."""
        async with make().awaited as provider:
            yield provider

    @pytest.fixture
    async def kept(self, make: Any) -> AsyncIterator[Any]:
        """Yield an async provider that caches in memory, longer than the test takes."""
        async with make(cache_args={"cache_ttl": LONG}).awaited as provider:
            yield provider
