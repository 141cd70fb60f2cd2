"""`s1crets.get('aws.sm', …)` and `s1crets.aio`: one shared provider a name."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Wire, parameter

import s1crets
from s1crets import aio, providers
from s1crets.providers.aws import ParameterStore, SecretsManager

if TYPE_CHECKING:
    from collections.abc import Iterator

VERBS = [
    "get", "get_by_path", "get_many", "history", "invalidate", "path_exists", "restore", "update",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test makes the shared providers anew."""
    shared: dict[str, Any] = {}
    monkeypatch.setattr(providers, "_providers", shared)
    yield
    for one in shared.values():
        one.close()


def test_every_verb(ssm: Any, asm: Any, top: str) -> None:
    """As the documentation has them."""
    ssm.put_parameter(Name=f"{top}/a", Value='{"x": [1, 2]}', Type="SecureString")
    asm.create_secret(Name=f"{top}/s", SecretString="fake")

    assert s1crets.get("aws.ps", f"{top}/a") == {"x": [1, 2]}
    assert s1crets.get("aws.ps", f"{top}/a", ("x", 1)) == 2
    assert s1crets.get("aws.sm", f"{top}/s") == "fake"
    assert s1crets.get("aws.sm", f"{top}/t", default=None, cached=False) is None
    assert s1crets.get_many("aws.sm", [f"{top}/s"]) == {f"{top}/s": "fake"}
    assert s1crets.get_by_path("aws.ps", top, decrypt=True) == {f"{top}/a": {"x": [1, 2]}}
    assert s1crets.path_exists("aws.ps", top)
    assert not s1crets.path_exists("aws.sm", top)
    s1crets.update("aws.sm", f"{top}/s", "new")
    assert s1crets.get("aws.sm", f"{top}/s") == "new"


async def test_every_verb_awaited(ssm: Any, asm: Any, top: str) -> None:
    """The same, as coroutines."""
    ssm.put_parameter(Name=f"{top}/a", Value='{"x": [1, 2]}', Type="SecureString")
    asm.create_secret(Name=f"{top}/s", SecretString="fake")

    assert await aio.get("aws.ps", f"{top}/a", ("x", 1)) == 2
    assert await aio.get("aws.sm", f"{top}/t", default=None) is None
    assert await aio.get_many("aws.sm", [f"{top}/s"]) == {f"{top}/s": "fake"}
    assert await aio.get_by_path("aws.ps", top) == {f"{top}/a": {"x": [1, 2]}}
    assert await aio.path_exists("aws.ps", top)
    await aio.update("aws.sm", f"{top}/s", "new")
    assert await aio.get("aws.sm", f"{top}/s") == "new"
    await providers.provider("aws.ps").awaited.aclose()
    await providers.provider("aws.sm").awaited.aclose()


async def test_both_flavours_share_a_cache(asm: Any, top: str) -> None:
    """What was read in one is a hit in the other."""
    asm.create_secret(Name=top, SecretString="fake")
    await aio.get("aws.sm", top)

    assert s1crets.get("aws.sm", top) == "fake"
    assert providers.provider("aws.sm").stats.requests == {"GetSecretValue": 1}
    await providers.provider("aws.sm").awaited.aclose()


def test_a_provider_is_made_once_and_shared() -> None:
    """By all threads."""
    made = set()
    threads = [
        threading.Thread(target=lambda: made.add(providers.provider("aws.ps"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 1
    assert isinstance(made.pop(), ParameterStore)
    assert isinstance(providers.provider("aws.sm"), SecretsManager)


@pytest.mark.parametrize("name", ["aws.ps", "aws.sm", "files"])
def test_a_class_says_as_what_it_is_registered(name: str) -> None:
    """Apps find their own provider by that name."""
    assert providers.provider(name).awaited.registered_as == name


@pytest.mark.parametrize("name", ["aws", "AWS.SM", "", None, 5, ["aws.sm"]])
@pytest.mark.parametrize("verb", VERBS)
async def test_an_unknown_provider(name: Any, verb: str) -> None:
    """It is a value error that lists the known ones."""
    args = ("/a", "v")[: 2 if verb == "update" else 1]
    known = re.escape(f"there is no provider {name!r}; known are 'aws.ps', 'aws.sm'")
    with pytest.raises(ValueError, match=known):
        await asyncio.to_thread(getattr(s1crets, verb), name, *args)
    with pytest.raises(ValueError, match=known):
        await getattr(aio, verb)(name, *args)


@pytest.mark.parametrize("verb", VERBS)
def test_both_modules_have_the_same_signatures(verb: str) -> None:
    """And docstrings, up to the examples of the blocking ones."""
    blocking, awaited = getattr(s1crets, verb), getattr(aio, verb)

    assert inspect.signature(blocking) == inspect.signature(awaited)
    text, _, example = str(inspect.getdoc(blocking)).partition("\n\n>>>")
    assert example
    assert text == inspect.getdoc(awaited)


@pytest.mark.parametrize(
    "verb", ["delete", "get", "get_by_path", "get_many", "history", "path_exists", "restore"]
)
async def test_a_call_without_a_provider(verb: str) -> None:
    """The error shows what to write, with the name that was given."""
    words = re.escape("the provider comes first: ('aws.ps', '/prod/db') or ('aws.sm', '/prod/db')")
    for args in (("/prod/db",), ("/prod/db", "password")):
        error = TypeError if len(args) == 1 else ValueError
        with pytest.raises(error, match=words):
            await asyncio.to_thread(getattr(s1crets, verb), *args)
        with pytest.raises(error, match=words):
            await getattr(aio, verb)(*args)


async def test_invalidate(scripted: Wire) -> None:
    """One secret with all paths, or everything; in both modules, which share the cache."""
    scripted.answers["GetParameter"] = lambda asked: parameter(asked.body["Name"], "v")

    async def read() -> int:
        for name in ("/a", "/b"):
            await aio.get("aws.ps", name)
        return scripted.count("GetParameter")

    assert await read() == await read() == 2
    await aio.invalidate("aws.ps", "/a")
    assert await read() == 3
    await aio.invalidate("aws.ps")
    assert await read() == 5
    await asyncio.to_thread(s1crets.invalidate, "aws.ps", "/b")
    assert await read() == 6
    await asyncio.to_thread(s1crets.invalidate, "aws.ps")
    assert await read() == 8
    await providers.provider("aws.ps").awaited.aclose()
