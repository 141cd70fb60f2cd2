"""A cache between two clocks that a test sets and a service that counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from s1crets.cache import Derived, SecretCache
from s1crets.cache.entry import CachedValue

if TYPE_CHECKING:
    from s1crets.cache import Key

PATH = Derived("/p", ("path", True))


class Me:
    """Whose entries those of a test are."""

    def hint(self) -> str:
        return "me"

    async def ask(self) -> tuple[str, bool]:
        return "me", True


WORLDS: list[World] = []


class World:
    """Two clocks that a test sets, a service that counts, and a cache between them."""

    def __init__(self, **args: Any) -> None:
        self.now = 1000.0
        self.loads: list[Key] = []
        self.fails: BaseException | None = None
        WORLDS.append(self)
        self.stale = 0
        clocks = {"timer": self.clock, "clock": self.clock}
        self.cache = SecretCache(args, self.load, Me(), on_stale=self.count_stale, **clocks)  # type: ignore[arg-type]

    def count_stale(self) -> None:
        self.stale += 1

    def clock(self) -> float:
        return self.now

    async def load(self, key: Key) -> CachedValue:
        self.loads.append(key)
        if self.fails:
            raise self.fails
        return CachedValue(f"v{len(self.loads)}")

    async def get(self, key: Key = "/a") -> Any:
        held = self.cache.peek(key)
        if held is None:
            held = await self.cache.read(key, cached=True)
        await asyncio.sleep(0.05)  # what is done in the background is done by then
        return held.value()
