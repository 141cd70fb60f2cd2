"""aiocache is imported without its clients of cache servers, and is complete for who uses it."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import pytest

from s1crets.cache.backends import import_base

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget that aiocache was imported, until the end of the test."""
    for name in _imported():
        monkeypatch.delitem(sys.modules, name)
    yield
    for name in _imported():
        del sys.modules[name]


def _imported() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "aiocache"]


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("module", "name"),
    [("aiocache", "RedisCache"), ("aiocache.decorators", "cached"), ("aiocache.plugins", "API")],
)
def test_the_rest_is_imported_when_it_is_used(module: str, name: str) -> None:
    """A name of the package, or another of its modules."""
    import_base()
    base = importlib.import_module("aiocache.base").BaseCache
    assert "aiocache.backends.redis" not in sys.modules

    assert hasattr(importlib.import_module(module), name)
    package = importlib.import_module("aiocache")
    assert package.BaseCache is base
    assert package.Cache.REDIS is package.RedisCache
    assert issubclass(package.RedisCache, base)


def test_an_imported_aiocache_stays_as_it_is() -> None:
    """It is the program's."""
    before = sys.modules["aiocache"]
    import_base()

    assert sys.modules["aiocache"] is before
