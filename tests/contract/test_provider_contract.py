"""The contract of providers: ours fulfil it, and it finds what is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from _support.nested import run_pytest

from s1crets.providers.aws import ParameterStore, SecretsManager
from s1crets.providers.files import AsyncFiles
from s1crets.providers.simple import AsyncSimpleProvider, Fetched, SimpleProvider
from s1crets.testing.contract import ProviderContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from s1crets.testing import LocalAws


class TestParameterStore(ProviderContract):
    """Against the local AWS."""

    top = "/contract"

    @pytest.fixture
    def make(self) -> Any:
        return ParameterStore

    @pytest.fixture
    def seed(self, s1crets_aws: LocalAws) -> Any:
        return lambda values: s1crets_aws.seed({"aws.ps": values})

    @pytest.fixture
    def hang(self, s1crets_aws: LocalAws) -> Any:
        return lambda: s1crets_aws.delay(60)


class TestSecretsManager(ProviderContract):
    """Against the local AWS."""

    @pytest.fixture
    def make(self) -> Any:
        return SecretsManager

    @pytest.fixture
    def seed(self, s1crets_aws: LocalAws) -> Any:
        return lambda values: s1crets_aws.seed({"aws.sm": values})

    @pytest.fixture
    def hang(self, s1crets_aws: LocalAws) -> Any:
        return lambda: s1crets_aws.delay(60)


class AsyncHangingFiles(AsyncFiles):
    """Files, on a network drive that may be gone."""

    gone = False

    async def fetch(self, name: str) -> Fetched:
        if type(self).gone:
            await anyio.sleep_forever()
        return await super().fetch(name)


class HangingFiles(SimpleProvider[AsyncHangingFiles]):
    async_class = AsyncHangingFiles


class TestFiles(ProviderContract):
    """In a temporary folder."""

    @pytest.fixture
    def make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        folder = tmp_path / "secrets"
        folder.mkdir()
        monkeypatch.setenv("S1CRETS_FILES", str(folder))
        return HangingFiles

    @pytest.fixture
    def seed(self, tmp_path: Path) -> Callable[[Mapping[str, str]], None]:
        def seed(values: Mapping[str, str]) -> None:
            for name, value in values.items():
                path = tmp_path / "secrets" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                complete = tmp_path / "complete"  # a watcher would see the file while it is written
                complete.write_text(value)
                complete.replace(path)

        return seed

    @pytest.fixture
    def hang(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        return lambda: monkeypatch.setattr(AsyncHangingFiles, "gone", True)


class AsyncDict(AsyncSimpleProvider):
    """The smallest possible provider."""

    service = "a dict"
    values: dict[str, Any]

    async def fetch(self, name: str) -> Any:
        return self.values.get(name)

    async def names(self, path: str) -> Iterable[str]:  # noqa: ARG002  # the hook's
        return self.values


class Dict(SimpleProvider[AsyncDict]):
    async_class = AsyncDict


class TestSimpleProvider(ProviderContract):
    """With its two methods; it is read-only and never hangs."""

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


BROKEN = """
import pytest
from s1crets.providers.simple import AsyncSimpleProvider, SimpleProvider
from s1crets.testing.contract import ProviderContract

VALUES = {}


class AsyncBroken(AsyncSimpleProvider):
    service = "broken"

    async def fetch(self, name):
        return VALUES.get(name, "")

    async def names(self, path):
        return VALUES

    async def get(self, path, **options):
        return VALUES.get(path)

    def __repr__(self):
        return f"<{VALUES}>"

    def __reduce__(self):
        return AsyncBroken, ()


class Broken(SimpleProvider[AsyncBroken]):
    async_class = AsyncBroken


class TestBroken(ProviderContract):
    writable = False

    @pytest.fixture
    def make(self):
        VALUES.clear()
        return Broken

    @pytest.fixture
    def seed(self):
        return VALUES.update


class TestNothing(ProviderContract):
    pass


class TestHalf(ProviderContract):
    @pytest.fixture
    def make(self):
        return Broken
"""


def test_the_contract_finds_what_is_broken(tmp_path: Path) -> None:
    """And nothing else."""
    done = run_pytest(tmp_path / "broken", "--tb=no", "-k", "TestBroken", test_it=BROKEN)

    failed = {name.partition("[")[0] for name, one in done.outcomes.items() if one == "failed"}
    assert failed >= {
        "test_a_missing_name_is_a_key_error", "test_objects_and_arrays_are_parsed",
        "test_a_keypath_selects_a_part_of_the_value", "test_no_repr_shows_a_value",
        "test_a_provider_is_not_copied_or_pickled", "test_values_are_cached",
        "test_a_batch_error_contains_all_errors",
    }  # fmt: skip
    assert done.outcomes["test_a_path_returns_everything_under_it"] == "passed"
    assert done.outcomes["test_several_names_are_not_a_string"] == "passed"
    assert done.outcomes["test_a_call_ends_within_its_deadline"] == "skipped"


def test_the_contract_says_what_it_needs(tmp_path: Path) -> None:
    """The tests of a class without the fixtures are errors that name them."""
    some = "TestNothing and test_paths or TestHalf and test_text_is"
    done = run_pytest(tmp_path / "half", "--tb=short", "-k", some, test_it=BROKEN)

    assert len(done.outcomes) > 1
    assert set(done.outcomes.values()) == {"error"}
    assert "override the fixture `make`" in done.errors
    assert "override the fixture `seed`" in done.errors
