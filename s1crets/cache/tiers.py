"""Where entries are kept: what `cache_args` may say about it, and the backends that come of it."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from s1crets.errors import InsecureCacheWarning

if TYPE_CHECKING:
    from collections.abc import Callable

    from s1crets.cache.memory import MemoryCache


class CacheArgs(TypedDict, total=False):
    """What `cache_args` may have.

    Attributes:
        cache_size: entries that each tier holds; 1000.
        cache_ttl: seconds that an entry lives; 900, and 0 means no caching.
        cache_on_disk: keep entries in folders, shared by processes; False.
        key_cache_dir: folder of the keys; below the user's cache folder.
        path_cache_dir: folder of the paths; below the user's cache folder.
        backend: an aiocache cache to keep both tiers in.
        refresh_ahead: seconds before its expiry from which on a hit, answered at once, starts a
            refresh in the background; 0.
        jitter: part of its life, at most, that an entry lives shorter, at random, so that what was
            stored together does not expire together; 0.1.
        namespace: whose entries these are; callers with another one never see them.
    """

    cache_size: int
    cache_ttl: float
    cache_on_disk: bool
    key_cache_dir: str | os.PathLike[str]
    path_cache_dir: str | os.PathLike[str]
    backend: Any
    refresh_ahead: float
    jitter: float
    namespace: str


def tiers(args: CacheArgs, memory: Callable[[], MemoryCache]) -> tuple[Any, Any]:
    """Return the backends of both tiers, nothing opened yet."""
    if "backend" in args:
        return args["backend"], args["backend"]
    if not args.get("cache_on_disk", False):
        return memory(), memory()
    from s1crets.cache.disk import DiskCache  # diskcache takes 25 ms to import

    folders = [
        Path(args.get("key_cache_dir") or _cache_folder() / "keys"),
        Path(args.get("path_cache_dir") or _cache_folder() / "paths"),
    ]
    message = (
        f"secrets in {folders[0]} and {folders[1]} are stored unencrypted, in files that only"
        " you can read; keep them on an encrypted disk, or leave cache_on_disk out"
    )
    warnings.warn(message, InsecureCacheWarning, stacklevel=_callers_level())
    size = args.get("cache_size", 1000)
    return DiskCache(folders[0], size=size), DiskCache(folders[1], size=size)


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
