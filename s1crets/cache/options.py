"""`cache_args`: what a caller may say about caching, and the tiers that it leads to."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, TypeVar

from s1crets._redaction import Redacted, redact
from s1crets._runtime import callers_level
from s1crets._validation import NUMBER, Rule, check_items
from s1crets.cache.backends.base import CacheFactory
from s1crets.cache.backends.memory import MemoryCache
from s1crets.cache.backends.resilient_adapter import AiocacheBackend
from s1crets.cache.encryption import key_ring, read_keys
from s1crets.cache.entry import FetchTokens, key_of_id
from s1crets.cache.freshness import Freshness
from s1crets.cache.negative import NegativeCache
from s1crets.cache.scope import REMEMBERED
from s1crets.cache.shared_tier import SharedTier
from s1crets.cache.tiers import MemoryTier, TieredCache
from s1crets.cache.tombstones import CREATED, TOMBSTONES
from s1crets.errors import InsecureCacheWarning

if TYPE_CHECKING:
    from s1crets.cache.entry import CacheKey
    from s1crets.cache.tiers import Tier

_T = TypeVar("_T", bound=Mapping[str, Any])


class CacheArgs(TypedDict, total=False):
    """The keys of `cache_args`.

    Attributes:
        cache_size: entries per tier; 1000.
        cache_ttl: seconds that an entry lives; 900. 0 turns caching off; None: it does not expire.
        missing_ttl: seconds that "not found" is remembered, unless this provider, or one that
            shares its cache, writes the secret; 0.
        cache_on_disk: store entries in folders, shared by processes; False.
        key_cache_dir: folder of single secrets, only with `cache_on_disk`; by default in the
            user's cache folder.
        path_cache_dir: folder of paths, only with `cache_on_disk`; by default in the user's cache
            folder.
        cache_key: encrypts what is stored outside the process: 32 bytes, base64 of them, the
            `pathlib.Path` of a private file with that text, a function that returns any of these,
            or a list of them, of which the first encrypts and all decrypt; by default the
            environment's `S1CRETS_CACHE_KEY`.
        backend: where to store entries that machines share: a URL (`redis://`, `rediss://`,
            `unix://`, `redis+cluster://`, `rediss+cluster://`, `redis+sentinel://` or
            `memcached://`); an aiocache cache; or a function that returns one, called once per
            event loop. An aiocache cache with connections works on the event loop that uses it
            first, and is the caller's to close.
        local_ttl: seconds, at most, that an entry of the `backend` is kept in memory too: hits are
            as fast as in memory, and updates by others are seen that much later; 0.
        stale_for: seconds after its expiry in which a value is served during an outage; 0.
        refresh_ahead: a hit within this many seconds of expiry starts a refresh in the
            background; 0.
        jitter: the part of its life, at most, by which an entry lives shorter, at random, so that
            entries stored together do not expire together; 0.1.
        namespace: the owner of the entries, instead of the caller's identity in AWS; callers with
            another namespace never see them.
    """

    cache_size: int
    cache_ttl: float | None
    missing_ttl: float
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


_FOLDER = Rule((str, os.PathLike))
_SECONDS = Rule(NUMBER, 0, 10**9)
RULES: Mapping[str, Rule] = {
    "cache_size": Rule((int,), 1),
    "cache_ttl": _SECONDS._replace(or_none=True),
    "missing_ttl": _SECONDS,
    "cache_on_disk": Rule((bool,)),
    "key_cache_dir": _FOLDER,
    "path_cache_dir": _FOLDER,
    "cache_key": Rule((object,)),  # checked where it is used
    "backend": Rule((object,)),  # checked below
    "local_ttl": _SECONDS,
    "stale_for": _SECONDS,
    "refresh_ahead": _SECONDS,
    "jitter": Rule(NUMBER, 0, 1),
    "namespace": Rule((str,), not_empty=True),
}
"""The valid values of each key of `cache_args`."""


def check_cache_args(args: Any) -> None:
    """Reject invalid `cache_args`.

    Raises:
        TypeError: not a dict, an unknown key, or a value of the wrong type.
        ValueError: a value out of range, or keys that can't be combined.
    """
    check_items("cache_args", args, RULES)
    if args.get("cache_on_disk") and "backend" in args:
        raise ValueError("cache_args: cache_on_disk and backend can't be combined")
    if args.get("local_ttl") and "backend" not in args:
        raise ValueError("cache_args: local_ttl needs a backend: memory and disk are local")
    if args.get("refresh_ahead") and args["refresh_ahead"] >= _ttl(args):
        raise ValueError("cache_args: refresh_ahead must be less than cache_ttl")
    if "backend" in args:
        _cache(args["backend"])


def _cache(backend: Any) -> Any:
    """Return an aiocache cache, or a function that returns one, for a caller's `backend`.

    Raises:
        TypeError: it is of another type.
        ConfigurationError: a `ValueError`: it is a URL that is not valid.
    """
    if isinstance(backend, (str, Redacted)):
        from s1crets.cache.backends.server_url import cache_server

        return cache_server(redact(backend), TOMBSTONES)
    from aiocache.base import BaseCache  # takes a while

    if not isinstance(backend, BaseCache) and not callable(backend):
        raise TypeError(
            "cache_args: backend must be the URL of a server, an aiocache cache, or a function that"
            " returns one"
        )
    return backend


def _ttl(args: CacheArgs) -> float:
    ttl = args.get("cache_ttl", 900)
    return math.inf if ttl is None else ttl


def redact_options(options: _T) -> _T:
    """Return a provider's options, `cache_key` and a URL redacted for tracebacks with locals."""
    args = options.get("cache_args")
    if not isinstance(args, Mapping):
        return options
    secret = {
        name: redact(args[name])
        for name in ("cache_key", "backend")
        if name in args and (name != "backend" or isinstance(args[name], str))
    }
    return {**options, "cache_args": {**args, **secret}} if secret else options  # type: ignore[return-value]  # the same keys


class _Tiers(NamedTuple):
    """The tiers of a cache, nothing opened yet."""

    freshness: Freshness
    tokens: FetchTokens
    keys: Tier  # for secrets under their own names
    derived: Tier  # for everything else
    negative: NegativeCache | None = None
    shared: Sequence[SharedTier] = ()  # those that are outside the process
    memo: SharedTier | None = None  # remembers the scope


def build_tiers(
    args: CacheArgs,
    on_due: Callable[[CacheKey], None],
    timer: Callable[[], float],
    clock: Callable[[], float],
) -> _Tiers:
    """Return the tiers for a caller's `cache_args`; ValueError for an invalid encryption key."""
    freshness = Freshness(
        ttl=_ttl(args),
        jitter=args.get("jitter", 0.1),
        refresh_ahead=args.get("refresh_ahead", 0),
        stale_for=args.get("stale_for", 0),
    )
    tokens, missing_ttl = FetchTokens(), args.get("missing_ttl", 0)
    negative: NegativeCache | None = None
    in_memory = "backend" not in args and not args.get("cache_on_disk", False)
    # A memory needs no key; but a given key is checked, and an invalid key rejected.
    keys = [] if in_memory and "cache_key" not in args else read_keys(args.get("cache_key"))
    memory = partial(MemoryCache, size=args.get("cache_size", 1000), timer=timer)
    if in_memory:
        if missing_ttl:
            missing = FetchTokens()
            negative = NegativeCache(MemoryTier(memory(), missing, memory()), missing, missing_ttl)
        memory = partial(
            memory,
            refresh_ahead=freshness.refresh_ahead,
            stale_for=freshness.stale_for,
            on_due=lambda key_id: on_due(key_of_id(key_id)),
        )
        keys_tier, derived = MemoryTier(memory(), tokens), MemoryTier(memory(), tokens, memory())
        return _Tiers(freshness, tokens, keys_tier, derived, negative)
    make = partial(SharedTier, ring=key_ring(keys), on_due=on_due, clock=clock, timer=timer)
    shared, memo = _shared_tiers(args, make, freshness, tokens, is_encrypted=bool(keys))
    tiers: Sequence[Tier] = shared
    if args.get("local_ttl"):
        local = [  # in that of the secrets' own names there are no paths
            MemoryTier(memory(), tier.tokens, None if tier is shared[0] else memory())
            for tier in shared
        ]
        tiers = [
            TieredCache(*both, args.get("local_ttl", 0), timer)
            for both in zip(local, shared, strict=True)
        ]
    if missing_ttl:
        negative = NegativeCache(tiers[2], shared[2].tokens, missing_ttl)
    return _Tiers(freshness, tokens, tiers[0], tiers[1], negative, shared, memo)


def _shared_tiers(
    args: CacheArgs,
    make: partial[SharedTier],
    freshness: Freshness,
    tokens: FetchTokens,
    *,
    is_encrypted: bool,
) -> tuple[Sequence[SharedTier], SharedTier | None]:
    """Return the tiers, the third for what is missing, and the tier that remembers the scope."""
    warned: list[str] = []
    caches = (
        [_cache(args["backend"])]
        if "backend" in args
        else _folders(args, is_encrypted=is_encrypted)
    )
    backends = [
        AiocacheBackend(
            cache,
            _title(cache),
            warned,
            make.keywords["timer"],
        )
        for cache in caches
    ]
    shared = [
        make(backends[0], "key", freshness=freshness, tokens=tokens),
        make(backends[-1], "derived", freshness=freshness, tokens=tokens),
    ]
    if missing_ttl := args.get("missing_ttl", 0):
        brief = Freshness(ttl=missing_ttl)
        shared.append(make(backends[-1], "missing", freshness=brief, tokens=FetchTokens()))
    if backends[-1].sync is None:
        return shared, None  # a backend that needs the event loop answers no sooner than AWS
    lasting = Freshness(ttl=REMEMBERED)
    return shared, make(backends[-1], "scope", freshness=lasting, tokens=FetchTokens())


def _title(cache: Any) -> str:
    """Return a cache's name in warnings."""
    if isinstance(cache, CacheFactory):
        return cache.title
    return str(getattr(cache, "folder", type(cache).__name__))


def _folders(args: CacheArgs, *, is_encrypted: bool) -> list[Any]:
    """Return the backends of a cache on disk."""
    from s1crets.cache.backends.disk import DiskCache, default_folder  # diskcache takes 25 ms

    folders = [
        Path(args.get("key_cache_dir") or default_folder() / "keys"),
        Path(args.get("path_cache_dir") or default_folder() / "paths"),
    ]
    if not is_encrypted:
        message = (
            f"secrets in {folders[0]} and {folders[1]} are stored unencrypted, in files that only"
            " you can read: pass a cache_key (`s1crets new-key` prints a new key), or leave"
            " cache_on_disk out"
        )
        warnings.warn(message, InsecureCacheWarning, stacklevel=callers_level())
    size = args.get("cache_size", 1000)
    make = partial(DiskCache, size=size, unbounded_prefix=TOMBSTONES, evictable=CREATED)
    return [make(folder) for folder in folders]
