"""The cache in front of every call: one tier for keys, one for all that is derived from several.

`update` drops a key and the whole second tier: paths, and the names that a secret has besides its
own (ARNs, selectors, versions).
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio.to_thread

from s1crets._fork import renew_after_fork
from s1crets._values import Held, dump, load
from s1crets.cache.freshness import Flights, Refresher, spawn_task
from s1crets.cache.memory import MemoryCache
from s1crets.cache.tiers import CacheArgs, tiers
from s1crets.errors import S1cretsError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from s1crets._values import Raw
    from s1crets.cache.freshness import Spawn

__all__ = ["CacheArgs", "Derived", "Key", "SecretCache"]

_STAMP = 13  # digits of an entry's expiry, in milliseconds, before what is stored outside


@dataclass(frozen=True, slots=True)
class Derived:
    """The key of what goes to the second tier.

    Attributes:
        name: the path, or what a secret was asked for by besides its own name.
        what: every argument that changes the answer.
    """

    name: str
    what: tuple[Any, ...]


Key: TypeAlias = str | Derived
"""A plain text is a secret's own name, the key of its current value in the first tier."""


class SecretCache:
    """Reads through two tiers, and fetches what neither has.

    Args:
        args: the caller's `cache_args`, checked.
        load: fetches what is asked for by a key from the service.
        identity: returns a text that is the same for two providers only if they read the same
            account through the same service, region and endpoint.
        clock: wall-clock seconds; injected by tests, as the timer of memory.
    """

    def __init__(
        self,
        args: CacheArgs,
        load: Callable[[Key], Coroutine[Any, Any, Raw]],
        identity: Callable[[], str],
        *,
        timer: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ttl = args.get("cache_ttl", 900)
        self._jitter = args.get("jitter", 0.1)
        self._ahead = args.get("refresh_ahead", 0)
        self._clock = clock
        memory = partial(
            MemoryCache,
            size=args.get("cache_size", 1000),
            ahead=self._ahead,
            on_late=self._refresh,
            timer=timer,
        )
        self._keys, self._derived = tiers(args, memory)
        self._refresher = Refresher(self._fetch)
        # Tiers of this provider's own, in memory, hold the objects themselves; all else holds text.
        self._local = "backend" not in args and isinstance(self._keys, MemoryCache)
        self._load = load
        self._get_identity = identity
        self._opened = self._local
        self._peekable = self._local
        self._key_rows = self._derived_rows = ""  # what the rows of each tier begin with
        self.peek_name: Callable[[str], Held | None] = (
            self._keys.peek if self._local else self._peek_name
        )
        self._flights: Flights[Key, Held] = Flights()
        self._openings: Flights[str, bool] = Flights()
        self.spawn: Spawn = spawn_task
        self._lock = threading.Lock()
        self._generation = 0
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.Lock()

    def open(self) -> bool:
        """Find out what takes reading files, and open them. Blocks.

        Returns:
            Whether that has changed anything, so that another look may find more.
        """
        if self._opened:
            return False
        for tier in (self._keys, self._derived):
            if hasattr(tier, "open"):
                tier.open()
        identity = hashlib.sha256(self._get_identity().encode()).hexdigest()[:32]
        self._key_rows = f"s1crets:{identity}:key:"
        self._derived_rows = f"s1crets:{identity}:derived:"
        self._peekable = hasattr(self._keys, "peek")
        self._opened = True
        return True

    async def _open(self, _: str) -> bool:
        return await anyio.to_thread.run_sync(self.open)

    def peek(self, key: Key) -> Held | None:
        """Return what a local tier holds, or None; waits for nothing.

        `peek_name` is the same for plain names alone, and faster.
        """
        if isinstance(key, str):
            return self.peek_name(key)
        if not self._peekable:
            return None
        found = self._derived.peek(self._row(key))
        return self._held(key, found)

    def _peek_name(self, name: str) -> Held | None:
        return self._held(name, self._keys.peek(self._key_rows + name)) if self._peekable else None

    async def read(self, key: Key, *, cached: bool) -> Held:
        """Return what a tier holds or `load` returns, which is then stored.

        Where `cached` is false, no tier and no other caller's fetch answers, but it is stored.
        """
        found: dict[Key, Held | S1cretsError] = {}
        await self.read_many([key], found, cached=cached)
        held = found[key]
        if isinstance(held, S1cretsError):
            raise held
        return held

    async def read_many(
        self, keys: Iterable[Key], found: dict[Key, Held | S1cretsError], *, cached: bool
    ) -> None:
        """Put into `found`, as they come, what `read` would return or raise for each of `keys`."""
        if not self._opened:
            await self._openings.join([("open", "open")], self._open, {})
        # A fetch from before an update is not joined by callers from after it, and one that no
        # cache may answer is not joined at all.
        flight = self._generation if cached else object()
        fetch = self._get_or_fetch if cached else self._fetch
        await self._flights.join([(key, (key, flight)) for key in keys], fetch, found)

    async def _get_or_fetch(self, key: Key) -> Held:
        held = self.peek(key)  # another flight may have landed since the caller looked
        if held is None and self.ttl and not self._local:
            held = self._held(key, await self._tier(key).get(self._row(key)))
        return await self._fetch(key) if held is None else held

    async def _fetch(self, key: Key) -> Held:
        still_wanted = self.lease()
        return await self.put(key, await self._load(key), still_wanted)

    async def put(self, key: Key, raw: Raw, still_wanted: Callable[[], bool]) -> Held:
        """Store what was fetched, unless that is not wanted any more."""
        held = Held(raw)
        if self.ttl and self._local:
            self._tier(key).put(key, held, self._life(), still_wanted)
        elif self.ttl:
            await self._store(key, held, still_wanted)
        return held

    async def _store(self, key: Key, held: Held, still_wanted: Callable[[], bool]) -> None:
        tier, row, life = self._tier(key), self._row(key), self._life()
        if hasattr(tier, "fill"):  # one of ours: it asks at the last moment, under its lock
            await tier.set(row, self._entry(held, life), ttl=life, _cas_token=still_wanted)
            return
        await tier.set(row, self._entry(held, life), ttl=life)
        if not still_wanted():
            await tier.delete(row)

    def lease(self) -> Callable[[], bool]:
        """Return a function that says whether what is fetched from now on may still be stored.

        An update or an invalidation in between says no: the fetch may have read the old value.
        """
        generation = self._generation
        return lambda: self._generation == generation

    async def fill(self, values: Mapping[Key, Raw], still_wanted: Callable[[], bool]) -> None:
        """Store what a path's fetch has read besides, as far as there is room."""
        if self.ttl and values:
            tier = self._tier(next(iter(values)))
            if hasattr(tier, "fill"):
                life = self._life()
                entries = {self._row(k): self._entry(Held(raw), life) for k, raw in values.items()}
                await tier.fill(entries, life, still_wanted)

    async def drop(self, *keys: Key) -> None:
        """Forget these, and all that may be derived from them, also what is being fetched now."""
        with self._lock:
            self._generation += 1
        if not self._opened:
            await self._openings.join([("open", "open")], self._open, {})
        for key in keys:
            await self._tier(key).delete(self._row(key))
        await self._derived.clear(namespace=self._derived_rows)

    async def clear(self) -> None:
        """Forget all."""
        await self.drop()
        await self._keys.clear(namespace=self._key_rows)

    async def close(self) -> None:
        """Close what the tiers have open."""
        await self._keys.close()
        await self._derived.close()

    def _life(self) -> float:
        """Return how many seconds a new entry is to live."""
        return self.ttl * (1 - self._jitter * random.random())  # noqa: S311  # no secret

    def _entry(self, held: Held, life: float) -> Any:
        if self._local:
            return held
        return f"{int((self._clock() + life) * 1000):0{_STAMP}d}{dump(held.raw)}"

    def _held(self, key: Key, stored: Any) -> Held | None:
        if self._local:
            held: Held | None = stored
            return held
        raw = load(stored, _STAMP) if isinstance(stored, str) else None
        if raw is None:
            return None
        if self._ahead and self._is_late(stored[:_STAMP]):
            self._refresh(key)
        return Held(raw)

    def _is_late(self, stamp: str) -> bool:
        return stamp.isdecimal() and int(stamp) / 1000 - self._ahead <= self._clock()

    def _refresh(self, key: Any) -> None:
        self._refresher.start(key, self.spawn)

    def _tier(self, key: Key) -> Any:
        return self._keys if isinstance(key, str) else self._derived

    def _row(self, key: Key) -> Any:
        if self._local:
            return key
        if isinstance(key, str):
            return self._key_rows + key
        return f"{self._derived_rows}{key.what!r}:{key.name}"
