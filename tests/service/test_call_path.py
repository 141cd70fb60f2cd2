"""The number of files that a miss passes through, and of functions that a hit calls."""

from __future__ import annotations

import sys
import threading
import tracemalloc
import uuid
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.servers import redis_server
from _support.wire import Wire, parameter

import s1crets
from s1crets.providers.aws import AsyncParameterStore, ParameterStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = str(Path(s1crets.__file__).parent)


@contextmanager
def profiled() -> Iterator[list[tuple[str, str]]]:
    """Yield the file and the name of each function of s1crets that is called meanwhile."""
    called: list[tuple[str, str]] = []

    def profile(frame: Any, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(ROOT):
            called.append((code.co_filename.removeprefix(ROOT), code.co_qualname))

    before = sys.getprofile()
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield called
    finally:
        sys.setprofile(before)
        threading.setprofile(None)


def on_disk(path: Path) -> dict[str, Any]:
    folders = {"key_cache_dir": path / "keys", "path_cache_dir": path / "paths"}
    return {"cache_on_disk": True, "cache_key": b"k" * 32, **folders}


@pytest.mark.parametrize(("place", "most"), [("memory", 12), ("disk", 15), ("redis", 15)])
async def test_a_miss_passes_through_few_files(
    scripted: Wire, tmp_path: Path, place: str, most: int
) -> None:
    """Of a provider that is in use: its client and its cache are open."""
    scripted.answers["GetParameter"] = lambda asked: parameter(asked.body["Name"], "v")
    with redis_server() as server:
        makers: dict[str, Callable[[], Any]] = {
            "memory": dict,
            "disk": lambda: on_disk(tmp_path),
            "redis": lambda: {"backend": partial(server.cache, namespace=uuid.uuid4().hex)},
        }
        async with AsyncParameterStore(cache_args=makers[place]()) as ps:
            await ps.get("/warm")
            with profiled() as called:
                assert await ps.get("/a") == "v"
    files = {file for file, _ in called}

    assert 5 < len(files) <= most, sorted(files)


def test_a_hit_calls_four_functions(scripted: Wire) -> None:
    """The verb of the facade, the provider's, the look-up and the copy of the value."""
    scripted.answers["GetParameter"] = parameter("/a", '{"x": 1}')
    with ParameterStore() as ps:
        ps.get("/a")
        with profiled() as called:
            assert ps.get("/a") == {"x": 1}

    assert len(called) <= 4, called


async def test_a_hit_of_a_path_is_copied_once(scripted: Wire) -> None:
    """The copy is the caller's own; no other is made on the way."""
    found = [{"Name": f"/p/{number}", "Value": "v"} for number in range(1000)]
    scripted.answers["GetParametersByPath"] = {"Parameters": found}
    async with AsyncParameterStore() as ps:
        first = await ps.get_by_path("/p")
        tracemalloc.start()
        second = await ps.get_by_path("/p")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert second == first
    assert second is not first
    assert most < 1.5 * sys.getsizeof(second)
