"""The cache in front of every call: one tier for keys, one for all that is derived from several.

`update` drops a key and the whole second tier: paths, and the names that a secret has besides its
own (ARNs, selectors, versions).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import anyio.to_thread

from s1crets._fork import renew_after_fork
from s1crets._values import Held, dump, load
from s1crets.cache.freshness import Flights
from s1crets.cache.memory import MemoryCache
from s1crets.errors import InsecureCacheWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from s1crets._values import Raw


class CacheArgs(TypedDict, total=False):
    """What `cache_args` may have.

    Attributes:
        cache_size: entries that each tier holds; 1000.
        cache_ttl: seconds that an entry lives; 900, and 0 means no caching.
        cache_on_disk: keep entries in folders, shared by processes; False.
        key_cache_dir: folder of the keys; below the user's cache folder.
        path_cache_dir: folder of the paths; below the user's cache folder.
        backend: an aiocache cache to keep both tiers in.
        namespace: whose entries these are; callers with another one never see them.
    """

    cache_size: int
    cache_ttl: float
    cache_on_disk: bool
    key_cache_dir: str | os.PathLike[str]
    path_cache_dir: str | os.PathLike[str]
    backend: Any
    namespace: str


class Key(NamedTuple):
    """What a cache entry answers: every argument that changes the answer is in it.

    Attributes:
        name: the parameter, secret or path.
        variant: all else that was asked for.
        derived: whether the entry goes to the second tier.
    """

    name: str
    variant: Any = None
    derived: bool = False


class SecretCache:
    """Reads through two tiers, and fetches what neither has.

    Args:
        args: the caller's `cache_args`, checked.
        identity: returns a text that is the same for two providers only if they read the same
            account through the same service, region and endpoint.
    """

    def __init__(self, args: CacheArgs, identity: Callable[[], str]) -> None:
        self.ttl = args.get("cache_ttl", 900)
        self._keys, self._derived = _tiers(args)
        # Tiers of this provider's own, in memory, hold the objects themselves; all else holds text.
        self._local = "backend" not in args and isinstance(self._keys, MemoryCache)
        self._get_identity = identity
        self._identity: str | None = None
        self._flights = Flights()
        self._lock = threading.Lock()
        self._generation = 0
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.Lock()

    def open(self) -> None:
        """Find out what takes reading files, and open them. Blocks."""
        if self._local:
            return
        for tier in (self._keys, self._derived):
            if hasattr(tier, "open"):
                tier.open()
        if self._identity is None:
            self._identity = hashlib.sha256(self._get_identity().encode()).hexdigest()[:32]

    async def _open(self) -> None:
        if not self._local and self._identity is None:
            await anyio.to_thread.run_sync(self.open)

    def peek(self, key: Key) -> Held | None:
        """Return what a local tier holds, or None; waits for nothing."""
        tier = self._derived if key.derived else self._keys
        if self._local:
            held: Held | None = tier.peek(key)
            return held
        if self._identity is None or not hasattr(tier, "peek"):
            return None
        return self._held(tier.peek(self._row(key)))

    async def read(
        self, key: Key, fetch: Callable[[], Coroutine[Any, Any, Raw]], *, cached: bool
    ) -> Held:
        """Return what a tier holds or `fetch` returns, which is then stored.

        Where `cached` is false, no tier and no other caller's fetch answers, but it is stored.
        """
        await self._open()
        if not cached:
            return await self._fetch(key, fetch)
        # A fetch from before an update is not joined by callers from after it.
        return await self._flights.join(
            (key, self._generation), lambda: self._get_or_fetch(key, fetch)
        )

    async def _get_or_fetch(self, key: Key, fetch: Callable[[], Coroutine[Any, Any, Raw]]) -> Held:
        held = self.peek(key)  # another flight may have landed since the caller looked
        if held is None and self.ttl and not self._local:
            held = self._held(await self._tier(key).get(self._row(key)))
        return await self._fetch(key, fetch) if held is None else held

    async def put(self, key: Key, raw: Raw, still_wanted: Callable[[], bool]) -> Held:
        """Store what was fetched, unless that is not wanted any more."""
        held = Held(raw)
        if self.ttl:
            await self._store(key, held, still_wanted)
        return held

    async def _fetch(self, key: Key, fetch: Callable[[], Coroutine[Any, Any, Raw]]) -> Held:
        still_wanted = self.lease()
        return await self.put(key, await fetch(), still_wanted)

    async def _store(self, key: Key, held: Held, still_wanted: Callable[[], bool]) -> None:
        tier, row = self._tier(key), self._row(key)
        if hasattr(tier, "fill"):  # one of ours: it asks at the last moment, under its lock
            await tier.set(row, self._entry(held), ttl=self.ttl, _cas_token=still_wanted)
            return
        await tier.set(row, self._entry(held), ttl=self.ttl)
        if not still_wanted():
            await tier.delete(row)

    def lease(self) -> Callable[[], bool]:
        """Return a function that says whether what is fetched from now on may still be stored.

        An update or an invalidation in between says no: the fetch may have read the old value.
        """
        generation = self._generation
        return lambda: self._generation == generation

    async def fill(self, values: Mapping[Key, Raw], still_wanted: Callable[[], bool]) -> None:
        """Store what a path's fetch has read of keys, as far as there is room."""
        if self.ttl and hasattr(self._keys, "fill"):
            entries = {self._row(key): self._entry(Held(raw)) for key, raw in values.items()}
            await self._keys.fill(entries, self.ttl, still_wanted)

    async def drop(self, *keys: Key) -> None:
        """Forget these, and all that may be derived from them, also what is being fetched now."""
        with self._lock:
            self._generation += 1
        await self._open()
        for key in keys:
            await self._keys.delete(self._row(key))
        await self._derived.clear(namespace=self._prefix("derived"))

    async def clear(self) -> None:
        """Forget all."""
        await self.drop()
        await self._keys.clear(namespace=self._prefix("key"))

    async def close(self) -> None:
        """Close what the tiers have open."""
        await self._keys.close()
        await self._derived.close()

    def _entry(self, held: Held) -> Any:
        return held if self._local else dump(held.raw)

    def _held(self, stored: Any) -> Held | None:
        raw = load(stored) if isinstance(stored, str) else None
        return None if raw is None else Held(raw)

    def _tier(self, key: Key) -> Any:
        return self._derived if key.derived else self._keys

    def _row(self, key: Key) -> Any:
        if self._local:
            return key
        parts = json.dumps([key.name, key.variant])
        row = hashlib.sha256(parts.encode()).hexdigest()
        return f"{self._prefix('derived' if key.derived else 'key')}:{row}"

    def _prefix(self, tier: str) -> str | None:
        if self._local:
            return None
        return f"s1crets:{self._identity}:{tier}"


def _tiers(args: CacheArgs) -> tuple[Any, Any]:
    size = args.get("cache_size", 1000)
    if "backend" in args:
        return args["backend"], args["backend"]
    if not args.get("cache_on_disk", False):
        return MemoryCache(size=size), MemoryCache(size=size)
    from s1crets.cache.disk import DiskCache  # diskcache takes 25 ms to import

    folders = [
        Path(args.get("key_cache_dir") or _cache_folder() / "keys"),
        Path(args.get("path_cache_dir") or _cache_folder() / "paths"),
    ]
    message = (
        f"secrets in {folders[0]} and {folders[1]} are stored unencrypted, in files that only"
        " you can read; keep them on an encrypted disk, or leave cache_on_disk out"
    )
    warnings.warn(message, InsecureCacheWarning, stacklevel=5)
    return DiskCache(folders[0], size=size), DiskCache(folders[1], size=size)


def _cache_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "s1crets"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s1crets"
