"""Providers of other packages: how one is written, found, loaded, and what it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from s1crets.providers.aws import ParameterStore, SecretsManager
from s1crets.providers.files import AsyncFiles
from s1crets.providers.simple import AsyncSimpleProvider, SimpleProvider
from s1crets.testing.contract import ProviderContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from s1crets.providers.simple import Fetched
    from s1crets.testing import LoopbackAws


class TestParameterStore(ProviderContract):
    """Keeps the promises."""

    top = "/contract"

    @pytest.fixture
    def make(self) -> Any:
        return ParameterStore

    @pytest.fixture
    def seed(self, s1crets_aws: LoopbackAws) -> Any:
        return lambda values: s1crets_aws.seed({"aws.ps": values})

    @pytest.fixture
    def hang(self, s1crets_aws: LoopbackAws) -> Any:
        return lambda: s1crets_aws.delay(60)


class TestSecretsManager(ProviderContract):
    """Keeps the promises."""

    @pytest.fixture
    def make(self) -> Any:
        return SecretsManager

    @pytest.fixture
    def seed(self, s1crets_aws: LoopbackAws) -> Any:
        return lambda values: s1crets_aws.seed({"aws.sm": values})

    @pytest.fixture
    def hang(self, s1crets_aws: LoopbackAws) -> Any:
        return lambda: s1crets_aws.delay(60)


class AsyncSlowFiles(AsyncFiles):
    """As on a network that has gone away."""

    gone = False

    async def fetch(self, name: str) -> Fetched:
        if type(self).gone:
            await anyio.sleep_forever()
        return await super().fetch(name)


class SlowFiles(SimpleProvider[AsyncSlowFiles]):
    async_class = AsyncSlowFiles


class TestFiles(ProviderContract):
    """Keeps the promises."""

    @pytest.fixture
    def make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        folder = tmp_path / "secrets"
        folder.mkdir()
        monkeypatch.setenv("S1CRETS_FILES", str(folder))
        return SlowFiles

    @pytest.fixture
    def seed(self, tmp_path: Path) -> Callable[[Mapping[str, str]], None]:
        def seed(values: Mapping[str, str]) -> None:
            for name, value in values.items():
                path = tmp_path / "secrets" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(value)

        return seed

    @pytest.fixture
    def hang(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        return lambda: monkeypatch.setattr(AsyncSlowFiles, "gone", True)


class AsyncDict(AsyncSimpleProvider):
    """The smallest provider that there is."""

    service = "a dict"
    values: dict[str, Any]

    async def fetch(self, name: str) -> Any:
        return self.values.get(name)

    async def names(self, path: str) -> Iterable[str]:  # noqa: ARG002  # the hook's
        return self.values


class Dict(SimpleProvider[AsyncDict]):
    async_class = AsyncDict


class TestDict(ProviderContract):
    """Keeps the promises, with two methods; it only reads, and never hangs."""

    writable = False

    @pytest.fixture(autouse=True)
    def values(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        values: dict[str, Any] = {}
        monkeypatch.setattr(AsyncDict, "values", values, raising=False)
        return values

    @pytest.fixture
    def make(self) -> Any:
        return Dict

    @pytest.fixture
    def seed(self, values: dict[str, Any]) -> Any:
        return values.update
