"""Reads in signal handlers, which may come at any line of what they interrupt."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.scripts import LIMIT

import s1crets
from s1crets import _sync
from s1crets.cache import DiskCache
from s1crets.providers.simple import AsyncSimpleProvider, SimpleProvider

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = str(Path(s1crets.__file__).parent)


class AsyncVault(AsyncSimpleProvider):
    service = "vault"

    async def fetch(self, name: str) -> str:
        return f"fake {name}"

    async def names(self, path: str) -> list[str]:  # noqa: ARG002
        return []


class Vault(SimpleProvider[AsyncVault]):
    async_class = AsyncVault


def at_line(number: int, work: Callable[[], object], handler: Callable[[], object]) -> bool:
    """Run `work`, and `handler` before its line of this number; return whether it has as many.

    A trace function runs where the handler of a signal does: in the same thread, between two lines.
    """
    left = number

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(ROOT):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                handler()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return left <= 0


def at_every_line(work: Callable[[], object], handler: Callable[[], object], step: int = 1) -> int:
    """Run `work` with `handler` at each of its lines in turn, and return their number."""
    lines: list[int] = []

    def run() -> None:
        try:
            for number in itertools.count(1, step):
                lines.append(number)
                if not at_line(number, work, handler):
                    return
        except BaseException as error:  # noqa: BLE001  # the test raises it
            errors.append(error)

    errors: list[BaseException] = []
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive(), f"it hangs after line {lines[-1]}"
    for error in errors:
        raise error
    return lines[-1]


def places(tmp_path: Path, place: str) -> dict[str, Any]:
    """Return options of a cache; in `expired` every entry has expired when it is read."""
    folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
    on_disk = {"cache_on_disk": True, "cache_key": b"k" * 32, "namespace": "n", **folders}
    options: dict[str, dict[str, Any]] = {
        "memory": {},
        "expired": {"cache_ttl": 1e-9},
        "disk": on_disk,
    }
    return options[place]


@pytest.mark.parametrize("place", ["memory", "expired"])
def test_a_signal_at_any_line_of_a_blocking_call(tmp_path: Path, place: str) -> None:
    """Hits, misses and invalidations in the handler end, and so does what they interrupt."""
    names = map(str, itertools.count())
    handlers: list[Callable[[], Any]] = [
        lambda: vault.get("/a"),
        lambda: vault.get(next(names)),
        lambda: vault.invalidate(),  # noqa: PLW0108  # there is no vault yet
    ]
    with Vault(cache_args=places(tmp_path, place)) as vault:
        works: list[Callable[[], Any]] = [lambda: vault.get("/a"), lambda: vault.get(next(names))]
        for work, handler in itertools.product(works, handlers):
            vault.get("/a")

            assert at_every_line(work, handler) > 5
        assert vault.get("/a") == "fake /a"


def test_a_signal_during_a_read_on_disk(tmp_path: Path) -> None:
    """Also while the file is being opened, and during a statement of many keys."""
    names = map(str, itertools.count())
    args = places(tmp_path, "disk")
    many = [f"/{number}" for number in range(60)]

    def first_read() -> None:
        with Vault(cache_args=args) as vault:
            current[:] = [vault]
            assert vault.get("/a") == "fake /a"

    with Vault(cache_args=args) as vault:
        current = [vault]
        vault.get("/a")

        assert at_every_line(lambda: vault.get("/a"), lambda: vault.get("/a")) > 20
        assert at_every_line(lambda: vault.get("/a"), lambda: vault.get(next(names)), 9) > 20
        disk = DiskCache(tmp_path / "keys")
        asyncio.run(disk.multi_set([(name, "fake") for name in many]))
        assert at_every_line(lambda: disk.peek_many(many), lambda: vault.get("/a"), 4) > 20
    assert at_every_line(first_read, lambda: current[0].get("/a"), 20) > 50


def test_a_signal_while_the_portal_starts() -> None:
    """The handler's call starts one of its own if need be; one stays."""

    def work() -> None:
        current[:] = [_sync._Portal()]
        current[0].run(_sync._Call(asyncio.sleep, 0))
        assert current[0]._loop
        current[0].stop()

    current: list[_sync._Portal] = []
    handler = lambda: current and current[0].run(_sync._Call(asyncio.sleep, 0))  # noqa: E731

    assert at_every_line(work, handler, 3) > 20


def test_what_a_signal_handler_invalidates_stays_invalid() -> None:
    """Whenever it comes during a fetch on the same thread's own event loop."""
    value = itertools.count()
    current = [0]

    class AsyncCounter(AsyncVault):
        async def fetch(self, name: str) -> str:  # noqa: ARG002
            return str(current[0])

    class Counter(SimpleProvider[AsyncCounter]):
        async_class = AsyncCounter

    def handler() -> None:
        current[0] = next(value)
        loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)  # or blockbuster complains of what this tests
        counter.invalidate("/a")
        asyncio._set_running_loop(loop)

    def work() -> None:
        asyncio.run(counter.awaited.get("/a"))
        sys.settrace(None)
        assert counter.get("/a") == str(current[0])
        counter.invalidate()

    with Counter() as counter:
        assert at_every_line(work, handler, 2) > 100
