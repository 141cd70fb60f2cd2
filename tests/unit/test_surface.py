"""What is public, what it takes to start, and that the suite's own checks can fail."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Wire, parameter
from blockbuster import BlockingError

import s1crets
from s1crets.providers.aws import AsyncParameterStore

if TYPE_CHECKING:
    from types import ModuleType

MODULES = [
    "s1crets",
    *sorted(found.name for found in pkgutil.walk_packages(s1crets.__path__, "s1crets.")),
]
LAYERS = [
    ["s1crets.errors", "s1crets._version"],
    ["s1crets._redaction", "s1crets._keypath", "s1crets._circuit_breaker", "s1crets._validation"],
    ["s1crets._fork"],
    ["s1crets._json"],
    ["s1crets._runtime"],
    ["s1crets._coalescing"],
    ["s1crets.cache.entry", "s1crets.cache.freshness"],
    ["s1crets.cache.encryption", "s1crets.cache.refresh"],
    ["s1crets.cache.backends"],
    ["s1crets.cache.tombstones"],
    ["s1crets.cache.tiers", "s1crets.cache.shared_tier", "s1crets.cache.scope"],
    ["s1crets.cache.negative"],
    ["s1crets.cache.options", "s1crets.cache.secret_cache", "s1crets.cache"],
    [
        "s1crets.providers.instrumentation",
        "s1crets.providers.rotation",
        "s1crets.providers.store",
    ],
    ["s1crets.providers.async_provider"],
    ["s1crets._sync"],
    ["s1crets.providers.simple"],
    ["s1crets.providers.aws", "s1crets.providers.files"],
    ["s1crets.providers", "s1crets.testing"],
    ["s1crets", "s1crets.aio", "s1crets.integrations"],
    ["s1crets.cli", "s1crets.__main__"],
]


@pytest.mark.parametrize("name", MODULES)
def test_all_says_what_is_there(name: str) -> None:
    """Each name of `__all__` exists, and each public function of a module that has one is in it."""
    module = importlib.import_module(name)
    declared = getattr(module, "__all__", None)
    if declared is None:
        return
    assert list(declared) == sorted(declared)
    for one in declared:
        assert hasattr(module, one)
    assert own(module) <= set(declared)


def own(module: ModuleType) -> set[str]:
    """Return the public classes and functions that a module defines."""
    return {
        name
        for name, one in vars(module).items()
        if not name.startswith("_") and getattr(one, "__module__", None) == module.__name__
    }


def layer(name: str) -> int:
    """Return how far from the ground a module is; the nearest package that is listed decides."""
    levels = {one: level for level, names in enumerate(LAYERS) for one in names}
    while name not in levels:
        name = name.rpartition(".")[0]
    return levels[name]


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name: str) -> None:
    """Nothing imports what is above it, not even late or for its types only."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(importlib.import_module(name).__file__ or "").read_text())
    imported = [
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("s1crets")
    ]
    above = [one for one in imported if one and layer(one) > layer(name)]

    assert above == []


@pytest.mark.parametrize(
    ("module", "name", "place"),
    [
        (module, name, place)
        for module, names in s1crets._MOVED.items()
        for name, place in names.items()
    ]
    + [
        ("s1crets.cache.tiers", "CacheArgs", "s1crets.cache.options:CacheArgs"),
        ("s1crets.providers.simple", "Entry", "s1crets.providers.store:SecretMetadata"),
        ("s1crets.providers.simple", "Concealed", "s1crets._redaction:Redacted"),
    ],
)
def test_moved_names_are_found_in_their_former_places(module: str, name: str, place: str) -> None:
    """Imports that worked before the restructuring work."""
    new, _, attribute = place.partition(":")
    moved = getattr(importlib.import_module(module), name)

    assert moved is getattr(importlib.import_module(new), attribute)


def test_former_modules_have_nothing_else() -> None:
    """As any module."""
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        importlib.import_module("s1crets.cache.disk").Missing  # noqa: B018


def test_every_public_name_is_documented() -> None:
    """Errors say when they are raised, verbs what they do."""
    for name in s1crets.__all__:
        assert name == "__version__" or getattr(s1crets, name).__doc__


def test_the_version_is_the_distributions() -> None:
    """There is one place that says it."""
    assert version("s1crets") == s1crets.__version__


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_import_is_light() -> None:
    """Nothing of AWS, of diskcache or of the command is imported before it is used."""
    heavy = ["aiobotocore", "botocore", "aiohttp", "diskcache", "click", "anyio._backends"]
    heavy += ["s1crets.integrations", "redis", "aiomcache", "opentelemetry"]
    for module in ("s1crets", "s1crets.aio"):
        script = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
        assert run(script) == "[]\n"
    script = "import sys; from s1crets.providers.aws import ParameterStore; ParameterStore()\n"
    script += f"print([m for m in {heavy!r} if m in sys.modules])"
    assert run(script) == "[]\n"


def test_the_first_call_does_not_stall_the_loop(scripted: Wire) -> None:
    """A worker thread imports aiobotocore and reads its models; the loop goes on meanwhile.

    Counted in turns of the loop, not in time: without the thread there would be next to none.
    """
    scripted.answers["GetParameter"] = parameter("/a", "v")
    script = """
import asyncio, sys, threading
from s1crets.providers.aws import AsyncParameterStore

async def main():
    turns = 0
    async def turn():
        nonlocal turns
        while "botocore.loaders" not in sys.modules or "aiobotocore.endpoint" not in sys.modules:
            turns += 1
            await asyncio.sleep(0.001)
    turning = asyncio.ensure_future(turn())
    async with AsyncParameterStore() as ps:
        assert await ps.get("/a") == "v"
    await turning
    print(turns, *(name for name in ("redis", "opentelemetry") if name in sys.modules))

asyncio.run(main())
"""
    assert int(run(script)) >= 10


async def test_a_test_fails_when_something_blocks_the_loop() -> None:
    """The suite's own detector is on."""

    class Sleepy(dict[str, Any]):
        def get(self, *_: Any) -> Any:
            time.sleep(0.001)

    async with AsyncParameterStore() as ps:
        tier: Any = ps._cache._keys
        backend = tier._backend
        backend._entries = Sleepy()
        with pytest.raises(BlockingError):
            await ps.get("/a")
