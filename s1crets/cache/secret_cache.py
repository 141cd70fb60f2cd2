"""SecretCache: read-through cache of secrets, with single flight, refresh and stale serving.

A tier for secrets under their own names, and a tier for everything derived from secrets: paths,
versions, labels, ARNs.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from s1crets._circuit_breaker import Backoff
from s1crets._coalescing import Flight, SingleFlight, work_for
from s1crets._runtime import cancel_and_wait, spawn_task
from s1crets.cache.entry import PATH, CachedValue, CacheKey, Fetched
from s1crets.cache.freshness import LONGEST_OUTAGE_PAUSE, OUTAGE_PAUSE, OnError
from s1crets.cache.options import build_tiers
from s1crets.cache.refresh import Refresher
from s1crets.cache.scope import ScopeResolver, ScopeSource
from s1crets.errors import S1cretsError, SecretNotFoundError

if TYPE_CHECKING:
    from s1crets.cache.entry import FetchToken, Single
    from s1crets.cache.options import CacheArgs
    from s1crets.cache.refresh import Spawn
    from s1crets.cache.tiers import Tier

_log = logging.getLogger("s1crets.cache")
LOOK_UP_LIMIT = 5.0  # seconds that a look-up in a shared tier takes at most: see `TimeBudget`
_STOPPED = 10.0  # seconds after which whoever does not renew a fetch lock is not waited for
_SLOW_LOCK = 60.0  # seconds during which such a lock is not waited for again
_POLL, _POLL_LONGEST = 0.005, 0.1  # seconds between two looks at a fetch lock
_CLOSE_WAIT = 1.0  # seconds that closing waits for invalidations


class Source(ScopeSource, Protocol):
    """A store, as far as the cache is concerned."""

    def batch_size(self, key: CacheKey) -> int:
        """Return how many keys like this one are fetched together: 1, unless it is primary."""
        ...

    async def fetch_many(
        self, keys: Sequence[CacheKey]
    ) -> Mapping[CacheKey, Fetched | S1cretsError | Single]:
        """Return what the service has for each key, or why it can't be read.

        What it does not return together with the rest has a function that requests it alone.
        """
        ...

    def aliases(self, path: str) -> Collection[str]:
        """Return all names of a secret, under which it may be cached."""
        ...

    def ancestors(self, path: str) -> Iterable[CacheKey]:
        """Return the keys of all paths whose entries may contain the secret."""
        ...


class _Group(NamedTuple):
    """What reads have in common that are done together."""

    epoch: int  # a fetch from before an invalidation is not joined by callers from after it
    size: int  # how many are done together at most
    cached: bool = True
    max_age: float | None = None


class _Begun(NamedTuple):
    """What was noted when a fetch began: the tokens of its keys, and the time."""

    tokens: Mapping[CacheKey, FetchToken]
    filling: Mapping[CacheKey, FetchToken]  # for what a path's fetch reads along the way
    absent: Mapping[CacheKey, FetchToken]  # for what is not found
    at: float


_Tokens: TypeAlias = Mapping[CacheKey, "FetchToken | None"]
_Land: TypeAlias = "Callable[[Mapping[CacheKey, CachedValue | S1cretsError]], Awaitable[None]]"
_Replace: TypeAlias = "Callable[[CacheKey, S1cretsError], Awaitable[CachedValue]] | None"


class SecretCache:
    """Reads through the tiers, and fetches what they don't have.

    Args:
        args: the caller's `cache_args`, checked.
        source: the store.
        on_stale: called for each expired value that is served.
        timer: monotonic seconds; `clock`: wall-clock seconds. Both are injected by tests.
    """

    def __init__(
        self,
        args: CacheArgs,
        source: Source,
        *,
        on_stale: Callable[[], None] = lambda: None,
        timer: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._on_stale = on_stale
        tiers = build_tiers(args, self._refresh_due, timer, clock)
        self._freshness, self._tokens = tiers.freshness, tiers.tokens
        self._keys, self._derived, self._shared = tiers.keys, tiers.derived, tiers.shared
        self._negative = tiers.negative
        self._scope = ScopeResolver(tiers.shared, tiers.memo, source)
        self._timer = timer
        self.forget_scope = self._scope.forget
        # `peek` for primary keys alone, and faster.
        self.peek_name: Callable[[Hashable], CachedValue | None] = self._keys.peek_id
        self._refresher = Refresher(self._refresh, timer)
        self._flights: SingleFlight[CacheKey, _Group, CachedValue] = SingleFlight(
            self._read,
            size=lambda group: group.size,
            # What must not come from a cache must not come from an earlier fetch either.
            is_joinable=lambda group: group.cached,
        )
        self._backoff = Backoff(OUTAGE_PAUSE, LONGEST_OUTAGE_PAUSE, jitter=0.5, timer=timer)
        self._slow_locks = Backoff(_SLOW_LOCK, _SLOW_LOCK, timer=timer)
        self._epoch = 0
        self._invalidations: set[asyncio.Task[None]] = set()
        self._spawn: Spawn = spawn_task

    @property
    def spawn(self) -> Spawn:
        """Runs background work."""
        return self._spawn

    @spawn.setter
    def spawn(self, spawn: Spawn) -> None:
        self._spawn = spawn
        for tier in self._shared:
            tier.invalidations.spawn = spawn

    def open(self) -> bool:
        """Open files; return whether another look-up may find more now. Blocks."""
        return self._scope.open()

    def peek(self, key: CacheKey) -> CachedValue | None:
        """Return a fresh entry of a local tier, or None; never waits. See also `peek_name`."""
        return self._tier(key).peek_id(key.id)

    def peek_younger(self, key: CacheKey, max_age: float) -> CachedValue | None:
        """Return what `peek` returns, unless it was read more than `max_age` seconds ago."""
        found = self.peek(key)
        return None if _was_read_before(self._timer() - max_age, found) else found

    async def look_up(self, key: CacheKey) -> CachedValue | FetchToken | None:
        """Return a shared tier's fresh entry; otherwise what `read` takes as its `token`.

        Takes no task, and no longer than `LOOK_UP_LIMIT`.
        """
        if not (self._shared and self._scope.is_known and self._freshness.ttl):
            return None
        found = await self._tier(key).look_up(key)
        # What an invalidation under way has replaced since would make a fetch outdated.
        return None if self._invalidations and not isinstance(found, CachedValue) else found

    async def read(
        self,
        key: CacheKey,
        *,
        cached: bool,
        max_age: float | None = None,
        token: FetchToken | None = None,
        limit: float | None = None,
    ) -> CachedValue:
        """Return a fresh entry, or fetch the value and store it.

        If `cached` is false, neither a tier nor another caller's fetch answers. With a `max_age`
        in seconds, older entries and fetches that began earlier do not answer. With the `token` of
        a look-up that has just found no entry, there is no second one. After the seconds of
        `limit` this raises a TimeoutError.
        """
        if max_age is None and self._scope.is_known:
            group = _Group(self._epoch, self._source.batch_size(key), cached)
            return await self._flights.join(key, group, token, limit)
        outcomes: dict[CacheKey, CachedValue | S1cretsError] = {}
        async with asyncio.timeout(limit):
            await self.read_many([key], outcomes, cached=cached, max_age=max_age)
        outcome = outcomes[key]
        if isinstance(outcome, S1cretsError):
            raise outcome
        return outcome

    async def read_many(
        self,
        keys: Iterable[CacheKey],
        found: dict[CacheKey, CachedValue | S1cretsError],
        *,
        cached: bool,
        max_age: float | None = None,
    ) -> None:
        """Put what `read` returns or raises for each key into `found`, as the results arrive."""
        if not self._scope.is_known:
            await self._scope.resolve()
        tokens: _Tokens = dict.fromkeys(keys)
        if cached and max_age is not None:
            oldest = self._timer() - max_age
            await self._join_many(tokens, found, cached=True, max_age=max_age)
            # A fetch that began before this call may be too old as well.
            tokens = {key: None for key in tokens if _was_read_before(oldest, found[key])}
            for key in tokens:
                del found[key]  # nor does it count at the deadline
            cached = False
        elif cached and self._shared and self._freshness.ttl:
            tokens = await self._look_up_many(list(tokens), found)
        await self._join_many(tokens, found, cached=cached)

    async def _join_many(
        self,
        tokens: _Tokens,
        found: dict[CacheKey, CachedValue | S1cretsError],
        *,
        cached: bool,
        max_age: float | None = None,
    ) -> None:
        def group(key: CacheKey) -> _Group:
            return _Group(self._epoch, self._source.batch_size(key), cached, max_age)

        wanted = [(key, group(key), token) for key, token in tokens.items()]
        await self._flights.join_many(wanted, found)

    async def _look_up_many(
        self, keys: Sequence[CacheKey], found: dict[CacheKey, CachedValue | S1cretsError]
    ) -> _Tokens:
        """Put fresh entries into `found`; return the other keys, with the tokens of `look_up`."""
        tokens: dict[CacheKey, FetchToken | None] = {}
        for tier in (self._keys, self._derived):
            wanted = [key for key in keys if self._tier(key) is tier]
            for key, one in (await tier.look_up_many(wanted)).items() if wanted else ():
                if isinstance(one, CachedValue):
                    found[key] = one
                else:
                    tokens[key] = one
        return dict.fromkeys(tokens) if self._invalidations else tokens

    async def _read(self, flights: Sequence[Flight[CacheKey, CachedValue]], group: _Group) -> None:
        """Land flights of a group, from a tier or from the service."""
        landing = {flight.key: flight for flight in flights}
        tokens: _Tokens = {flight.key: flight.token for flight in flights}

        async def land(outcomes: Mapping[CacheKey, CachedValue | S1cretsError]) -> None:
            for key, outcome in outcomes.items():
                landing[key].land(outcome)

        if not group.cached:
            await self._fetch(tokens, land)
        elif group.max_age is not None:
            oldest = self._timer() - group.max_age
            tokens = await self._missing(tokens, land, oldest)
            await self._fetch(tokens, land, partial(self.stale_or_raise, max_age=group.max_age))
        elif not self._freshness.ttl:
            await self._fetch(await self._not_absent(tokens, land), land)
        else:
            await self._read_through(tokens, land)

    async def _read_through(self, tokens: _Tokens, land: _Land) -> None:
        """Land entries; fetch the rest, unless another process does."""
        tokens = await self._not_absent(await self._missing(tokens, land), land)
        if not tokens:
            return
        locks = await self._tier(next(iter(tokens))).lock(list(tokens))
        held = dict.fromkeys((key for key, is_locked in locks.items() if is_locked), True)
        free = {key: token for key, token in tokens.items() if locks.get(key) is None}
        others = [key for key, is_locked in locks.items() if is_locked is False]
        contested = [asyncio.create_task(self._fetch_contested(key, land)) for key in others]
        try:
            # Not in a task: one that is cancelled before it begins would release nothing.
            await self._fetch_locked(free, held, land)
            await asyncio.gather(*contested)
        finally:
            for task in contested:
                await cancel_and_wait(task)

    async def _fetch_locked(self, free: _Tokens, held: dict[CacheKey, bool], land: _Land) -> None:
        """Fetch keys without a lock, and those whose lock this process has, which it releases."""

        async def released(outcomes: Mapping[CacheKey, CachedValue | S1cretsError]) -> None:
            await self._release(held, outcomes)
            await land(outcomes)  # now that nothing is left to do for these

        try:
            # Whoever had the lock before may have stored the value.
            again = await self._missing(dict.fromkeys(held), released)
            await self._fetch_or_stale({**free, **again}, released)
        finally:
            await self._release(held, list(held))

    async def _release(self, held: dict[CacheKey, bool], keys: Iterable[CacheKey]) -> None:
        """Release the locks of keys, as far as they are held."""
        if locked := [key for key in keys if held.pop(key, False)]:
            await self._tier(locked[0]).unlock(locked)

    async def _fetch_contested(self, key: CacheKey, land: _Land) -> None:
        """Land what another process stores, or fetch it if that takes too long."""
        work_for(key)
        locked: bool | None = False
        if not self._slow_locks.is_waiting(key):
            locked = await self._wait_for_lock(key)
        if locked:
            await self._fetch_locked({}, {key: True}, land)
        else:
            await self._fetch_or_stale(await self._missing({key: None}, land), land)

    async def _missing(
        self, tokens: _Tokens, land: _Land, oldest: float = float("-inf")
    ) -> _Tokens:
        """Land the fresh entries that were not read before `oldest`; return the other keys."""
        unknown = [key for key, token in tokens.items() if token is None]
        if not unknown:
            return tokens
        missing, fresh = dict(tokens), {}
        for key, found in (await self._tier(unknown[0]).look_up_many(unknown)).items():
            if not isinstance(found, CachedValue):
                missing[key] = found
            elif not _was_read_before(oldest, found):
                del missing[key]
                fresh[key] = found
        await land(fresh)
        return missing

    async def _not_absent(self, tokens: _Tokens, land: _Land) -> _Tokens:
        """Land what is remembered as "not found"; return the other keys."""
        if self._negative is None or not tokens:
            return tokens
        absent = await self._negative.errors(list(tokens))
        await land(absent)
        return {key: token for key, token in tokens.items() if key not in absent}

    async def _wait_for_lock(self, key: CacheKey) -> bool | None:
        """Wait until another process has stored the value, or does not work on it any more.

        Returns whether this process has the lock then.
        """
        tier, pause, before, same = self._tier(key), _POLL, None, 0.0
        while same < _STOPPED:
            await asyncio.sleep(pause)
            pulse = await tier.lock_pulse(key)
            if pulse is None:
                if isinstance(await tier.look_up(key), CachedValue):
                    return None
                locked = (await tier.lock([key])).get(key)
                if locked is not False:
                    return locked
            # Not by the clock, since this process may have got no CPU itself.
            same = same + pause if pulse == before else 0.0
            before = pulse
            pause = min(2 * pause, _POLL_LONGEST)
        self._slow_locks.failed(key)  # whoever has it may be stopped
        return False

    async def stale_or_raise(
        self, key: CacheKey, error: S1cretsError, max_age: float | None = None
    ) -> CachedValue:
        """Return an expired entry if `error` is an outage; otherwise raise `error`."""
        found = None
        if self._freshness.on_error(error) is OnError.SERVE_STALE:
            found = await self._tier(key).find(key)
        if max_age is not None and _was_read_before(self._timer() - max_age, found):
            found = None
        if found is None:
            raise error
        if not self._backoff.is_waiting(key) and self._backoff.failed(key):
            _log.warning("serving an expired value of %r during an outage: %s", key.name, error)
        self._on_stale()
        return found

    async def _fetch_or_stale(self, tokens: _Tokens, land: _Land) -> None:
        """Fetch; during an outage, land expired entries, with few requests to the service."""
        failed = [key for key in tokens if key in self._backoff.failed_keys]
        if waiting := [key for key in failed if self._backoff.is_waiting(key)]:
            found = await asyncio.gather(*(self._tier(key).find(key) for key in waiting))
            stale = {key: value for key, value in zip(waiting, found, strict=True) if value}
            for _ in stale:
                self._on_stale()
            await land(stale)
            tokens = {key: token for key, token in tokens.items() if key not in stale}
        await self._fetch(tokens, land, self.stale_or_raise)

    async def _fetch(self, tokens: _Tokens, land: _Land, replace: _Replace = None) -> None:
        """Fetch keys of a tier, store the values and land them.

        An error is landed, unless `replace` returns something in its place.
        """
        keys = list(tokens)
        if not keys:
            return
        tier, negative = self._tier(keys[0]), self._negative
        own = {key: token for key, token in tokens.items() if token is not None}
        own |= await tier.begin([key for key in keys if key not in own])
        # The secrets under a path are stored under their own names too, in the other tier.
        filling = await self._keys.begin(keys) if keys[0].kind == PATH else own
        at = self._timer()
        absent = {} if negative is None else await negative.begin(keys)
        begun = _Begun(own, filling, absent, at)
        fetched = await self._source.fetch_many(keys)
        together: dict[CacheKey, Fetched | S1cretsError] = {}
        alone: dict[CacheKey, Single] = {}
        for key in keys:
            one = fetched[key]
            if isinstance(one, (Fetched, S1cretsError)):
                together[key] = one
            else:
                alone[key] = one

        async def fetch_alone(key: CacheKey, fetch: Single) -> None:
            work_for(key)
            await self._settle({key: await fetch()}, begun, land, replace)

        work = self._settle(together, begun, land, replace)
        if alone:
            # None waits for another, which may take long.
            await asyncio.gather(work, *(fetch_alone(*item) for item in alone.items()))
        else:
            await work

    async def _settle(
        self,
        outcomes: Mapping[CacheKey, Fetched | S1cretsError],
        begun: _Begun,
        land: _Land,
        replace: _Replace,
    ) -> None:
        """Store what was fetched, and land it."""
        read = {key: one for key, one in outcomes.items() if isinstance(one, Fetched)}
        values = {key: _as_cached(one, begun.tokens[key], begun.at) for key, one in read.items()}
        if values:
            if self._negative is not None:
                await self._negative.forget(list(values))
            for key in values:
                if key in self._backoff.failed_keys:
                    self._backoff.succeeded(key)
        if values and self._freshness.ttl:
            await self._tier(next(iter(values))).put(values, begun.tokens, self._lives(values))
            for key, one in read.items():
                token = begun.tokens[key]
                also = {k: _as_cached(v, token, begun.at) for k, v in one.also.items()}
                if also:
                    await self._keys.fill(also, begun.filling[key], self._lives(also))
        await land(values)
        failures = [(key, one) for key, one in outcomes.items() if isinstance(one, S1cretsError)]
        if failures:
            await asyncio.gather(
                *(self._failed(*one, begun.absent.get(one[0]), land, replace) for one in failures)
            )

    async def _failed(
        self,
        key: CacheKey,
        error: S1cretsError,
        absent: FetchToken | None,
        land: _Land,
        replace: _Replace,
    ) -> None:
        """Land a failure to fetch a key, or what replaces it."""
        if self._freshness.on_error(error) is OnError.DROP:
            self._backoff.succeeded(key)
            await self._refused(key)
        if self._negative and absent and isinstance(error, SecretNotFoundError):
            await self._negative.remember(error, absent)
        outcome: CachedValue | S1cretsError = error
        if replace is not None:
            try:
                outcome = await replace(key, error)
            except S1cretsError as raised:
                outcome = raised.with_traceback(None)  # which has this frame
        await land({key: outcome})

    def _lives(self, keys: Iterable[CacheKey]) -> Mapping[CacheKey, float]:
        """Return the seconds that new entries live."""
        ttl, jitter = self._freshness.ttl, self._freshness.jitter
        return {key: ttl * (1 - jitter * random.random()) for key in keys}  # noqa: S311  # not a secret

    async def _refused(self, key: CacheKey) -> None:
        """Drop every entry that contains what the service refuses, whatever key it has."""
        if not key.secrets:
            await self._tier(key).drop([key])
            return
        names = list(
            dict.fromkeys(n for secret in key.secrets for n in self._source.aliases(secret))
        )
        paths = [path for name in names for path in self._source.ancestors(name)]
        found = await asyncio.gather(*map(self._derived.find, paths))
        is_in_path = any(not set(names).isdisjoint(path.raw) for path in found if path)
        self._tokens.void(names, paths=is_in_path)
        for tier in (self._keys, self._derived):
            # A name that does not exist may be requested all day: that must not write anything.
            known = [name for name in names if await tier.has_entries(name)]
            if known or is_in_path:
                await tier.invalidate(known, paths=is_in_path)

    async def _refresh(self, key: CacheKey) -> None:
        """Fetch an entry that is about to expire, unless another process does."""
        tier = self._tier(key)
        locked = (await tier.lock([key])).get(key)
        if locked is False:
            return

        async def land(outcomes: Mapping[CacheKey, CachedValue | S1cretsError]) -> None:
            if isinstance(error := outcomes.get(key), S1cretsError):
                raise error

        try:
            await self._fetch({key: None}, land)
        finally:
            if locked:
                await tier.unlock([key])

    def _refresh_due(self, key: CacheKey) -> None:
        self._refresher.start(key, self.spawn)

    async def invalidate(self, secrets: Collection[str] | None) -> None:
        """Drop everything that depends on these secrets, or everything, also while being fetched.

        A caller that is cancelled leaves the work running: half of it would be worse than none.
        """
        self._epoch += 1
        self._void(secrets)  # before the scope is resolved, which may wait
        task = asyncio.get_running_loop().create_task(self._invalidate(secrets))
        self._invalidations.add(task)
        task.add_done_callback(self._invalidated)
        await asyncio.shield(task)

    def _invalidated(self, task: asyncio.Task[None]) -> None:
        self._invalidations.discard(task)
        _ = task.cancelled() or task.exception()  # or asyncio logs that nobody retrieved it

    async def _invalidate(self, secrets: Collection[str] | None) -> None:
        if not self._scope.is_known:
            await self._drop(secrets)  # from memory; shared tiers remember it
            await self._scope.resolve()
        await self._drop(secrets)

    def _void(self, secrets: Collection[str] | None) -> None:
        self._tokens.void(secrets, paths=True)
        if self._negative is not None:
            self._negative.void(secrets)

    async def _drop(self, secrets: Collection[str] | None) -> None:
        self._void(secrets)
        work = [self._keys.invalidate(secrets), self._derived.invalidate(secrets)]
        if self._negative is not None:
            work.append(self._negative.invalidate(secrets))
        # At once, so that no tier answers while another's backend is slow.
        await asyncio.gather(*work)

    async def aclose(self) -> None:
        """Close what the tiers have open, after the invalidations under way, if they end."""
        loop = asyncio.get_running_loop()
        if ending := [task for task in self._invalidations if task.get_loop() is loop]:
            await asyncio.wait(ending, timeout=_CLOSE_WAIT)
        for task in ending:
            await cancel_and_wait(task)  # the tiers remember what it should drop
        await self._keys.aclose()
        await self._derived.aclose()
        if self._negative is not None:
            await self._negative.aclose()

    def forget_failures(self) -> None:
        """Fetch again what failed in an outage, although its pause is not over."""
        self._backoff.failed_keys.clear()

    def _tier(self, key: CacheKey) -> Tier:
        return self._keys if key.is_primary else self._derived


def _was_read_before(oldest: float, found: object) -> bool:
    """Return whether a value was read before `oldest`; an error or nothing was not."""
    return isinstance(found, CachedValue) and found.read_at < oldest


def _as_cached(fetched: Fetched, token: FetchToken, began: float) -> CachedValue:
    return CachedValue(fetched.value, fetched.version, token.fetch, began)
