"""`raw=True`: secrets as they are stored, not parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from s1crets.providers.aws import ParameterStore, SecretsManager
from s1crets.providers.files import Files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = '{ "b": 1.0, "a": [1e400] }'


@pytest.fixture(params=["aws.ps", "aws.sm", "files"])
def provider(
    request: pytest.FixtureRequest, s1crets_aws: Any, top: str, tmp_path: Path
) -> Iterator[Any]:
    """Return a provider that has `TEXT` as its only secret."""
    if request.param == "files":
        (tmp_path / top[1:]).mkdir()
        (tmp_path / top[1:] / "a").write_text(TEXT)
        made: Any = Files(folder=str(tmp_path))
    else:
        s1crets_aws.seed({request.param: {f"{top}/a": TEXT}})
        made = ParameterStore() if request.param == "aws.ps" else SecretsManager()
    with made:
        yield made


def test_the_text_is_returned_as_stored(provider: Any, top: str) -> None:
    """From the service and from the cache, next to parsed values of the same secret."""
    path = top if not isinstance(provider, Files) else top[1:]
    parsed = {f"{path}/a": {"b": 1.0, "a": [float("inf")]}}
    for _ in range(2):
        assert provider.get_many([f"{path}/a"], raw=True) == {f"{path}/a": TEXT}
        assert provider.get_many([f"{path}/a"]) == parsed
        found = provider.get_by_path(path, raw=True)
        assert found == {f"{path}/a": TEXT}
        found.clear()  # it belongs to the caller
        assert provider.get_by_path(path) == parsed
    assert provider.get_many([f"{path}/a"], raw=True, cached=False) == {f"{path}/a": TEXT}
    assert provider.get_by_path(path, raw=True, cached=False) == {f"{path}/a": TEXT}


async def test_awaited_too(provider: Any, top: str) -> None:
    """By the coroutines behind it."""
    path = top if not isinstance(provider, Files) else top[1:]
    for _ in range(2):
        assert await provider.awaited.get_by_path(path, raw=True) == {f"{path}/a": TEXT}
        assert await provider.awaited.get_many([f"{path}/a"], raw=True) == {f"{path}/a": TEXT}
