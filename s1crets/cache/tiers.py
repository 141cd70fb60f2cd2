"""Where entries are kept: what `cache_args` may say about it, and the tiers that come of it."""

from __future__ import annotations

import math
import os
import sys
import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from s1crets.cache.inside import InsideTier
from s1crets.cache.memory import MemoryCache
from s1crets.cache.sealing import read_keys, seals
from s1crets.errors import InsecureCacheWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s1crets._redaction import Redacted
    from s1crets.cache.local import LocalTier
    from s1crets.cache.outside import OutsideTier

    Tier: TypeAlias = InsideTier | LocalTier | OutsideTier


class CacheArgs(TypedDict, total=False):
    """What `cache_args` may have.

    Attributes:
        cache_size: entries that each tier holds; 1000.
        cache_ttl: seconds that an entry lives; 900, and 0 means no caching.
        cache_on_disk: keep entries in folders, shared by processes; False.
        key_cache_dir: folder of the keys; below the user's cache folder.
        path_cache_dir: folder of the paths; below the user's cache folder.
        cache_key: encrypts what is stored outside of the process: 32 bytes, base64 of them, the
            `pathlib.Path` of a private file with that text, a function that returns one of these,
            or a list of those, of which the first writes and all read; else what the environment's
            `S1CRETS_CACHE_KEY` says.
        backend: an aiocache cache to keep both tiers in, such as one on a Redis that many machines
            share. It stays the caller's to close; on Redis, s1crets opens connections of its own.
        local_ttl: seconds, at most, that an entry of the `backend` is kept in memory too: hits are
            as fast as without one, and updates of others are seen that much later; 0.
        stale_for: seconds after its expiry that a value is served while AWS can't be reached; 0.
        refresh_ahead: seconds before its expiry from which on a hit, answered at once, starts a
            refresh in the background; 0.
        jitter: part of its life, at most, that an entry lives shorter, at random, so that what was
            stored together does not expire together; 0.1.
        namespace: whose entries these are, where AWS is not to be asked; callers with another one
            never see them.
    """

    cache_size: int
    cache_ttl: float
    cache_on_disk: bool
    key_cache_dir: str | os.PathLike[str]
    path_cache_dir: str | os.PathLike[str]
    cache_key: Any
    backend: Any
    local_ttl: float
    stale_for: float
    refresh_ahead: float
    jitter: float
    namespace: str


@dataclass(frozen=True)
class Tiers:
    """The tiers of one cache, nothing opened yet.

    Attributes:
        keys: for secrets by their own names.
        derived: for all else.
        outside: those of both that are outside of the process.
        memo: where it is remembered whose entries they are, if anywhere.
    """

    keys: Tier
    derived: Tier
    outside: Sequence[OutsideTier] = ()
    memo: OutsideTier | None = None

    @classmethod
    def of(
        cls,
        args: CacheArgs,
        on_late: Callable[[Any], None],
        timer: Callable[[], float],
        clock: Callable[[], float],
    ) -> Tiers:
        """Return the tiers that a caller's `cache_args` mean.

        Raises:
            ValueError: the encryption key is none.
        """
        inside = "backend" not in args and not args.get("cache_on_disk", False)
        # A memory needs no key; but one that is given is looked at, and a bad one refused.
        keys = [] if inside and "cache_key" not in args else read_keys(args.get("cache_key"))
        memory = partial(MemoryCache, size=args.get("cache_size", 1000), timer=timer)
        if not inside:
            shared = cls._shared(args, keys, on_late, timer, clock)
            return shared.behind(memory, args, clock) if args.get("local_ttl") else shared
        own = partial(
            memory,
            ahead=args.get("refresh_ahead", 0),
            stale_for=args.get("stale_for", 0),
            on_late=on_late,
        )
        return cls(InsideTier(own()), InsideTier(own()))

    @classmethod
    def _shared(
        cls,
        args: CacheArgs,
        keys: Sequence[Redacted],
        on_late: Callable[[Any], None],
        timer: Callable[[], float],
        clock: Callable[[], float],
    ) -> Tiers:
        from s1crets.cache.loops import OnEveryLoop
        from s1crets.cache.near import NearTier
        from s1crets.cache.patience import Patience
        from s1crets.cache.remote import RemoteTier

        stores: list[Any] = (
            [args["backend"]] if "backend" in args else _folders(args, sealed=bool(keys))
        )
        near = hasattr(stores[0], "peek")
        warned: list[str] = []
        titles = [str(getattr(store, "folder", type(store).__name__)) for store in stores]
        stores = stores if near else [OnEveryLoop(store) for store in stores]
        patiences = [Patience(title, warned, timer, bounded=not near) for title in titles]
        make = partial(
            NearTier if near else RemoteTier,
            seals=seals(keys),
            on_late=on_late,
            stale_for=args.get("stale_for", 0),
            clock=clock,
        )
        own = partial(make, ttl=args.get("cache_ttl", 900), ahead=args.get("refresh_ahead", 0))
        outside = (
            own(stores[0], "key", patience=patiences[0]),
            own(stores[-1], "derived", patience=patiences[-1]),
        )
        # What can't be looked into without waiting is asked no sooner than AWS is.
        memo = make(stores[-1], "identity", ttl=math.inf, ahead=0, patience=patiences[-1])
        return cls(*outside, outside, memo if near else None)

    def behind(
        self, memory: Callable[[], MemoryCache], args: CacheArgs, clock: Callable[[], float]
    ) -> Tiers:
        """Return the same tiers with a memory in front of each."""
        from s1crets.cache.local import LocalTier

        keys, derived = (
            LocalTier(
                memory(),
                tier,
                seconds=args.get("local_ttl", 0),
                ahead=args.get("refresh_ahead", 0),
                clock=clock,
            )
            for tier in self.outside
        )
        return replace(self, keys=keys, derived=derived)


def _folders(args: CacheArgs, *, sealed: bool) -> list[Any]:
    """Return the backends of a cache on disk."""
    from s1crets.cache.disk import DiskCache  # diskcache takes 25 ms to import

    folders = [
        Path(args.get("key_cache_dir") or _cache_folder() / "keys"),
        Path(args.get("path_cache_dir") or _cache_folder() / "paths"),
    ]
    if not sealed:
        message = (
            f"secrets in {folders[0]} and {folders[1]} are stored unencrypted, in files that only"
            " you can read: pass a cache_key (`s1crets new-key` prints one), or leave"
            " cache_on_disk out"
        )
        warnings.warn(message, InsecureCacheWarning, stacklevel=_callers_level())
    size = args.get("cache_size", 1000)
    return [DiskCache(folder, size=size) for folder in folders]


def _callers_level() -> int:
    """Return how many frames up the first one is that is not of s1crets."""
    level, frame = 0, sys._getframe()  # noqa: SLF001  # warnings has this from Python 3.12 on
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == "s1crets":
        level, frame = level + 1, frame.f_back
    return level


def _cache_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "s1crets"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s1crets"
