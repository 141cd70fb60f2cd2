"""The cache in front of every call, and the aiocache backends that it is made of.

`MemoryCache` and `DiskCache` are complete aiocache backends, usable on their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s1crets.cache import tiers
from s1crets.cache.backends.memory import MemoryCache
from s1crets.cache.options import CacheArgs

if TYPE_CHECKING:
    from s1crets.cache.backends.disk import DiskCache

__all__ = ["CacheArgs", "DiskCache", "MemoryCache"]


def __getattr__(name: str) -> Any:
    """Import `DiskCache` when it is needed, since diskcache takes a while."""
    if name == "DiskCache":
        from s1crets.cache.backends.disk import DiskCache

        return DiskCache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


tiers.CacheArgs = CacheArgs  # type: ignore[attr-defined]  # its former place
