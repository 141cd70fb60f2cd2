"""What the contract's tests are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import anyio.to_thread
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    Make: TypeAlias = Callable[..., Any]
    Seed: TypeAlias = Callable[[Mapping[str, str]], object]
    Given: TypeAlias = Callable[..., Awaitable[list[str]]]

LONG = 600  # seconds that a cache keeps something: longer than any test


class Contract:
    """The fixtures; those that a subclass overrides are `make`, `seed` and maybe `hang`.

    Attributes:
        top: what all names begin with that are used, before a slash.
        writable: whether the provider writes; one that does not has to say so with a
            `PermissionError`.
    """

    pytestmark = pytest.mark.anyio

    top: str = "contract"
    writable: bool = True

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Run on asyncio, as all of s1crets does."""
        return "asyncio"

    @pytest.fixture
    def make(self) -> Make:
        """Return what makes a blocking provider: its class. To be overridden."""
        raise NotImplementedError("override the fixture `make`: it returns the blocking class")

    @pytest.fixture
    def seed(self) -> Seed:
        """Return what stores values, by name, past the provider. To be overridden."""
        raise NotImplementedError("override the fixture `seed`: it returns a function")

    @pytest.fixture
    def hang(self) -> Callable[[], object]:
        """Return what keeps the store from answering until the test ends; without it, two skip."""
        pytest.skip("override the fixture `hang`: it returns what keeps the store from answering")

    @pytest.fixture
    async def given(self, seed: Seed) -> Given:
        """Return what seeds values under names of the test's own, and returns the full names."""

        async def given(**values: str) -> list[str]:
            named = {f"{self.top}/{name}".replace("__", "/"): one for name, one in values.items()}
            await anyio.to_thread.run_sync(seed, named)
            return list(named)

        return given

    @pytest.fixture
    def facade(self, make: Make) -> Iterator[Any]:
        """Yield a blocking provider, as it comes."""
        with make() as provider:
            yield provider

    @pytest.fixture
    async def store(self, make: Make) -> AsyncIterator[Any]:
        """Yield an async provider, as it comes."""
        async with make().awaited as provider:
            yield provider

    @pytest.fixture
    async def kept(self, make: Make) -> AsyncIterator[Any]:
        """Yield an async provider that keeps what it reads in memory."""
        async with make(cache_args={"cache_ttl": LONG}).awaited as provider:
            yield provider
