"""A cache between two clocks that a test sets and a service that counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from s1crets import _runtime
from s1crets.cache.entry import PATH as PATH_KIND
from s1crets.cache.entry import CacheKey, Fetched
from s1crets.cache.scope import Scope
from s1crets.cache.secret_cache import SecretCache
from s1crets.providers.store import fetch_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s1crets.cache.entry import CachedValue
    from s1crets.cache.tiers import Tier
    from s1crets.errors import S1cretsError

A, B = CacheKey.of_secret("/a"), CacheKey.of_secret("/b")
PATH = CacheKey("/p", PATH_KIND)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """A store without a service: the scope of its entries is known."""

    place = "place"

    def scope_hint(self) -> str:
        return "me"

    async def scope(self) -> Scope:
        return Scope(self.place, "me")

    def batch_size(self, key: CacheKey) -> int:
        return 10 if key.is_primary else 1

    async def fetch_many(self, keys: Sequence[CacheKey]) -> dict[CacheKey, Fetched | S1cretsError]:
        return await fetch_each(keys, self.fetch)

    async def fetch(self, key: CacheKey) -> Fetched:
        raise NotImplementedError

    def aliases(self, path: str) -> list[str]:
        return [path]

    def ancestors(self, path: str) -> list[CacheKey]:
        return [PATH] if path.startswith("/p/") else []


WORLDS: list[World] = []
"""The worlds whose caches are to be closed."""


class World(Source):
    """Two clocks that a test sets, a service that counts, and a cache between them."""

    def __init__(self, **args: Any) -> None:
        self.clock = Clock()
        self.fetched: list[CacheKey] = []
        self.fails: BaseException | None = None
        self.stale = 0
        WORLDS.append(self)
        self.cache = SecretCache(
            args,  # type: ignore[arg-type]
            self,
            on_stale=self.count_stale,
            timer=self.clock,
            clock=self.clock,
        )

    def count_stale(self) -> None:
        self.stale += 1

    def wait(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        self.clock.now += seconds

    async def fetch(self, key: CacheKey) -> Fetched:
        self.fetched.append(key)
        if self.fails:
            raise self.fails
        value = f"v{len(self.fetched)}"
        return Fetched(value if key.kind != PATH_KIND else {"/p/a": value}, len(self.fetched))

    async def get(self, key: CacheKey = A) -> Any:
        held = self.cache.peek(key)
        if held is None:
            held = await self.cache.read(key, cached=True)
        await self.settle()
        return text_of(held)

    async def settle(self) -> None:
        """Let background work end."""
        loop = asyncio.get_running_loop()
        while tasks := {task for task in _runtime._tasks if task.get_loop() is loop}:
            await asyncio.wait(tasks)


def text_of(held: CachedValue | None) -> Any:
    """Return the text of an entry of this world, also of its only path."""
    return held and (held.raw["/p/a"] if isinstance(held.raw, dict) else held.raw)


async def lock(tier: Tier, key: CacheKey) -> bool | None:
    """Take the fetch lock of one key."""
    return (await tier.lock([key])).get(key)
