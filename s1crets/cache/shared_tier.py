"""SharedTier: entries outside the process, as far as their tombstones are the current ones."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from s1crets._coalescing import Batcher
from s1crets._runtime import LoopLocal, spawn_task
from s1crets.cache.encryption import PLAIN, Cipher, framed
from s1crets.cache.entry import (
    CachedValue,
    CacheKey,
    FetchToken,
    FetchTokens,
    Record,
    key_of_id,
    pack,
    unpack,
)
from s1crets.cache.freshness import Freshness, State
from s1crets.cache.tombstones import (
    ALL,
    CREATED,
    PATHS,
    RANDOM,
    TOKEN,
    TOMBSTONE_TTL,
    TOMBSTONES,
    InvalidatedRows,
    Invalidations,
)

if TYPE_CHECKING:
    from s1crets.cache.backends.resilient_adapter import AiocacheBackend
    from s1crets.cache.scope import Scope

_KEY_MARK = "s1crets:key-mark"  # the row that says which key encrypted the others
_STORE_ATTEMPTS = 3  # while other processes create the same tombstones
_LOCK_TTL = 10.0  # seconds after which the fetch lock of a process that died is free
_LOCK_RENEWAL = 1.5  # seconds between renewals
_REMEMBERED = 1000  # keys whose rows and decoded entries are kept
_TOGETHER = 10  # locks that are taken in one call
_BATCH, _CALLS = 1000, 8


class Rows(NamedTuple):
    """The rows of a key."""

    entries: Sequence[tuple[str, bytes, Cipher]]  # row, context, cipher, by key of the key ring
    tombstones: Sequence[tuple[str, bytes]]  # row and digest; all that the entry depends on
    names: Sequence[str]  # all rows, entries first
    lock: str  # the row of the fetch lock


class Seen(NamedTuple):
    """The state of a key in the backend: the texts of its rows, and what they mean."""

    texts: Sequence[str | None]  # in the order of `Rows.names`
    record: Record | None  # the entry, also if its tombstones are outdated
    value: CachedValue | None  # the entry, if it counts
    tombstones: Mapping[bytes, bytes | None]  # the current ones by digest; None: does not exist


class _HeldLocks:
    """The fetch locks that an event loop holds: their rows, and what their holder is called."""

    def __init__(self) -> None:
        self.holder = os.urandom(8).hex()
        self.rows: set[str] = set()
        self.timer: asyncio.TimerHandle | None = None  # of the next renewal


class FetchLocks:
    """Fetch locks in a backend: of several processes that miss an entry one fetches it.

    Only how often the service is requested depends on them. They are named by their rows.
    """

    def __init__(self, backend: AiocacheBackend) -> None:
        self._backend = backend
        self._held: LoopLocal[_HeldLocks] = LoopLocal(_HeldLocks)
        self._locks: Batcher[str, bool | None] = Batcher(self._lock_all, size=_BATCH, calls=_CALLS)
        self._pulses: Batcher[str, str | None] = Batcher(self._pulses_of, size=_BATCH, calls=_CALLS)
        self._unlocks: Batcher[str, None] = Batcher(
            self._unlock_all, size=_BATCH, calls=_CALLS, finishes=True
        )

    def _held_here(self) -> _HeldLocks:
        return self._held.get(asyncio.get_running_loop()) or self._held.here()

    async def lock(self, rows: Collection[str]) -> Mapping[str, bool | None]:
        """Take locks: False if another process has it, None if unknown."""
        held = self._held_here()
        # What this event loop has locked is being fetched since before an invalidation.
        wanted = [row for row in rows if row not in held.rows]
        try:
            locked = await self._locks.submit_many(wanted)
        except asyncio.CancelledError:
            for row in wanted:
                self._backend.abandon_lock(row)
            raise
        taken = [row for row, is_locked in locked.items() if is_locked]
        if taken:
            held.rows.update(taken)
            self._renew_later(held)
        return {**dict.fromkeys(rows), **locked}

    async def _lock_all(self, rows: Sequence[str], _group: object) -> Mapping[str, bool | None]:
        # Processes that want the same names begin in different places, and so share the work.
        wanted, holder = random.sample(rows, len(rows)), self._held_here().holder
        locked: dict[str, bool | None] = dict.fromkeys(rows)
        for start in range(0, len(wanted), _TOGETHER):
            chunk = wanted[start : start + _TOGETHER]
            locked |= await self._backend.lock_many(chunk, holder, _LOCK_TTL)
        return locked

    async def pulse(self, row: str) -> str | None:
        """Return what changes as long as the holder of a lock works; None if it is free."""
        return await self._pulses.submit(row)

    async def _pulses_of(self, rows: Sequence[str], _group: object) -> Mapping[str, str | None]:
        return await self._backend.lock_pulses(rows)

    def _renew_later(self, held: _HeldLocks) -> None:
        """Renew the locks for as long as their fetches run; those of a process that dies expire."""
        if held.timer is None:
            loop = asyncio.get_running_loop()
            held.timer = loop.call_later(_LOCK_RENEWAL, spawn_task, partial(self._renew, held))

    async def _renew(self, held: _HeldLocks) -> None:
        held.timer = None
        rows = list(held.rows)
        await self._backend.renew_locks(rows, held.holder, _LOCK_TTL)
        if released := [row for row in rows if row not in held.rows]:  # and taken again, maybe
            await self._backend.unlock_many(released, held.holder)
        if held.rows:
            self._renew_later(held)

    async def unlock(self, rows: Collection[str]) -> None:
        """Release locks."""
        held = self._held_here()
        held.rows.difference_update(rows)
        if held.timer is not None and not held.rows:
            held.timer.cancel()
            held.timer = None
        await self._unlocks.submit_many(rows)

    async def _unlock_all(self, rows: Sequence[str], _group: object) -> Mapping[str, None]:
        await self._backend.unlock_many(rows, self._held_here().holder)
        return dict.fromkeys(rows)


class SharedTier:
    """Entries in a folder, in Redis, or in any other aiocache cache.

    Args:
        backend: where they are stored.
        kind: distinguishes the tier from others in the same backend.
        ring: the ciphers of the key ring; the first one encrypts.
        freshness: time limits.
        tokens: the fetches under way in this process.
        on_due: called with the key of a hit that is due for a refresh.
        clock: wall-clock seconds; only ages are computed from it.
        timer: monotonic seconds.
    """

    def __init__(
        self,
        backend: AiocacheBackend,
        kind: str,
        ring: Sequence[Cipher],
        freshness: Freshness,
        tokens: FetchTokens,
        *,
        on_due: Callable[[CacheKey], None],
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backend = backend
        self._kind = kind
        self._ring = ring
        self._freshness = freshness
        self._on_due = on_due
        self._clock = clock
        self._timer = timer
        self._scope: Scope | None = None
        self._tags: Sequence[str] = ()  # by cipher
        self._all: Sequence[tuple[str, bytes]] = ()  # tombstones of all secrets, as in `Rows`
        self._rows: dict[Hashable, Rows] = {}
        self._seen: dict[Hashable, Seen] = {}
        self.tokens = tokens
        self._tombstone_ttl = max(TOMBSTONE_TTL, 2 * (freshness.ttl + freshness.stale_for))
        self.invalidations = Invalidations(
            backend, self._invalidated_rows, self._tombstone_ttl, timer
        )
        self._locks = FetchLocks(backend)
        self._reads: Batcher[CacheKey, Seen | None] = Batcher(
            self._read_all, size=_BATCH, calls=_CALLS
        )
        self._writes: Batcher[tuple[str, str, float], bool] = Batcher(
            self._write_all, size=_BATCH, calls=1, finishes=True
        )
        self._creates: Batcher[str, bytes | None] = Batcher(
            self._create_all, size=_BATCH, calls=_CALLS, finishes=True
        )

    # Opening

    def open(self) -> None:
        """Open files, if there are any. Blocks."""
        self.backend.open()

    async def check_key(self) -> str:
        """Return a warning if the entries were encrypted with a key that is not in the ring.

        With a key, what had been stored unencrypted is deleted.
        """
        found = await self.backend.get_many([_KEY_MARK])
        mark = found[0] if found else None
        marks = [cipher.mark for cipher in self._ring if cipher.mark]
        if marks:
            if mark != marks[0]:
                await self.backend.set_many({_KEY_MARK: marks[0]}, TOMBSTONE_TTL * 365)
            await self.backend.purge(PLAIN)
        if mark is None or mark in marks:
            return ""
        problem = "another cache_key" if marks else "a cache_key, and there is none now"
        return f"the cache {self.backend.title} was encrypted with {problem}: it can't be read"

    def use_scope(self, scope: Scope) -> None:
        """Store and find the entries of this identity from now on."""
        self._tags = [_tag(cipher, scope) for cipher in self._ring]
        self._all = _with_digests(self._tombstone_rows(ALL, scope))
        self._scope = scope
        self._rows.clear()
        self._seen.clear()

    # Rows

    def _rows_of(self, key: CacheKey, scope: Scope) -> Rows:
        rows = self._rows.get(key.id)
        if rows is None:
            rows = self._rows[key.id] = self._make_rows(key, scope)
            if len(self._rows) > _REMEMBERED:
                with suppress(KeyError, RuntimeError):  # another thread does it
                    del self._rows[next(iter(self._rows))]
        return rows

    def _make_rows(self, key: CacheKey, scope: Scope) -> Rows:
        context = framed(scope.place, scope.owner, self._kind, key.text)
        entries = [
            (f"{cipher.prefix}{tag}{cipher.name(context)}", context, cipher)
            for cipher, tag in zip(self._ring, self._tags, strict=True)
        ]
        names = key.secrets or (PATHS,)
        own = [row for name in names for row in self._tombstone_rows(name, scope)]
        tombstones = [*_with_digests(own), *self._all]
        every = (*(row for row, *_ in entries), *(row for row, _ in tombstones))
        return Rows(entries, tombstones, every, f"s1crets:lock:{entries[0][0]}")

    def _tombstone_rows(self, name: str, scope: Scope) -> list[str]:
        context = framed(scope.place, self._kind, name)
        return [
            f"{TOMBSTONES}{tag}{cipher.name(context)}"
            for cipher, tag in zip(self._ring, self._tags, strict=True)
        ]

    def _invalidated_rows(self, names: Sequence[str]) -> InvalidatedRows | None:
        scope = self._scope
        if scope is None:
            return None
        secrets = [CacheKey.of_secret(name) for name in names if name not in (PATHS, ALL)]
        return InvalidatedRows(
            [row for name in names for row in self._tombstone_rows(name, scope)],
            [row for key in secrets for row, *_ in self._rows_of(key, scope).entries],
        )

    # Reading

    def peek_id(self, key_id: Hashable) -> CachedValue | None:
        """Return the fresh entry without waiting, if the backend can do that."""
        if self._scope is None or self.backend.sync is None:
            return None
        if self.invalidations.undelivered and self.invalidations.affect(key_of_id(key_id)):
            return None
        rows = self._rows.get(key_id) or self._rows_of(key_of_id(key_id), self._scope)
        seen = self._understand(key_id, rows, tuple(self.backend.peek_many(rows.names)))
        return self._fresh(key_id, seen)

    def _understand(self, key_id: Hashable, rows: Rows, texts: Sequence[str | None]) -> Seen:
        """Return what texts mean; decoded once for as long as they stay the same."""
        seen = self._seen.get(key_id)
        if seen is not None and seen.texts == texts:
            return seen
        count = len(rows.entries)
        tombstones = {
            digest: None if text is None else _token_of(text)
            for (_, digest), text in zip(rows.tombstones, texts[count:], strict=True)
        }
        record = None
        for (_, context, cipher), text in zip(rows.entries, texts, strict=False):
            body = None if text is None else cipher.decrypt(text, context)
            record = None if body is None else unpack(body)
            if record is not None:
                break
        value = None
        if record is not None and all(
            record.tombstones.get(digest) == token for digest, token in tombstones.items()
        ):
            age = max(0.0, self._clock() - record.stored)
            value = record.cached_value(self._timer() - age)
        seen = Seen(texts, record, value, tombstones)
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[key_id] = seen
        return seen

    async def has_entries(self, secret: str) -> bool:
        """Return whether entries may depend on a secret: then its tombstone exists."""
        seen = await self._read(CacheKey.of_secret(secret))
        if seen is None or self._scope is None:
            return True
        rows = set(self._tombstone_rows(secret, self._scope))
        key_rows = self._rows_of(CacheKey.of_secret(secret), self._scope)
        return any(seen.tombstones[digest] for row, digest in key_rows.tombstones if row in rows)

    def _state(self, record: Record) -> State:
        now = self._clock()
        if self.backend.sync is None:
            # Another machine's clock may be ahead. The backend's own expiry limits the age.
            now = max(now, record.stored)
        return self._freshness.state(record.stored, record.expires, now)

    def _fresh(self, key_id: Hashable, seen: Seen) -> CachedValue | None:
        """Return the entry if it is fresh."""
        record = seen.record
        if record is None or seen.value is None:
            return None
        state = self._state(record)
        if state is State.DUE:
            self._on_due(key_of_id(key_id))
        return seen.value if state in (State.FRESH, State.DUE) else None

    async def begin(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, FetchToken]:
        """Return tokens with the current tombstones."""
        tokens = {key: self.tokens.add(FetchToken(key)) for key in keys}
        seen = await self._read_many(keys)
        return {key: _with_state(token, seen[key]) for key, token in tokens.items()}

    async def look_up(self, key: CacheKey) -> CachedValue | FetchToken:
        """Return the fresh entry, or a token."""
        return self._fresh_or_token(key, await self._read(key))

    async def look_up_with_life(self, key: CacheKey) -> tuple[CachedValue | FetchToken, float]:
        """Return the fresh entry, or a token, and the entry's remaining life in seconds."""
        seen = await self._read(key)
        return self._fresh_or_token(key, seen), self._life_of(seen)

    async def look_up_many(
        self, keys: Collection[CacheKey]
    ) -> Mapping[CacheKey, CachedValue | FetchToken]:
        """Return the fresh entries, or tokens."""
        seen = await self._read_many(keys)
        return {key: self._fresh_or_token(key, seen[key]) for key in keys}

    async def look_up_many_with_life(
        self, keys: Collection[CacheKey]
    ) -> Mapping[CacheKey, tuple[CachedValue | FetchToken, float]]:
        """Return the results of `look_up_with_life`."""
        seen = await self._read_many(keys)
        return {
            key: (self._fresh_or_token(key, seen[key]), self._life_of(seen[key])) for key in keys
        }

    def _life_of(self, seen: Seen | None) -> float:
        """Return an entry's remaining life in seconds."""
        if seen is None or seen.record is None:
            return 0.0
        return self._freshness.expiry(seen.record.stored, seen.record.expires) - self._clock()

    def _fresh_or_token(self, key: CacheKey, seen: Seen | None) -> CachedValue | FetchToken:
        found = None if seen is None else self._fresh(key.id, seen)
        # A fetch begins now: of what was invalidated since the reading it has old tombstones.
        return found or _with_state(self.tokens.add(FetchToken(key)), seen)

    async def find(self, key: CacheKey) -> CachedValue | None:
        """Return the entry, fresh or stale."""
        seen = await self._read(key)
        if seen is None or seen.record is None or seen.value is None:
            return None
        return None if self._state(seen.record) is State.GONE else seen.value

    async def _read(self, key: CacheKey) -> Seen | None:
        """Return the state of a key, or None if that is unknown."""
        if self._scope is None or not self.backend.is_available:
            return None
        if self.invalidations.undelivered:
            await self.invalidations.deliver()
            if self.invalidations.affect(key):
                return None
        return await self._reads.submit(key)

    async def _read_many(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, Seen | None]:
        """Return the states of keys."""
        if self._scope is None or not self.backend.is_available:
            return dict.fromkeys(keys)
        invalidations = self.invalidations
        if invalidations.undelivered:
            await invalidations.deliver()
        known = [
            key for key in keys if not (invalidations.undelivered and invalidations.affect(key))
        ]
        return {**dict.fromkeys(keys), **await self._reads.submit_many(known)}

    async def _read_all(
        self, keys: Sequence[CacheKey], _group: object
    ) -> Mapping[CacheKey, Seen | None]:
        assert self._scope is not None
        rows = {key: self._rows_of(key, self._scope) for key in keys}
        names = list(dict.fromkeys(name for key in keys for name in rows[key].names))
        found = await self.backend.get_many(names)
        if found is None:
            return dict.fromkeys(keys)
        texts = dict(zip(names, found, strict=True))
        return {
            key: self._understand(key.id, rows[key], tuple(texts[name] for name in rows[key].names))
            for key in keys
        }

    # Writing

    async def put(
        self,
        values: Mapping[CacheKey, CachedValue],
        tokens: Mapping[CacheKey, FetchToken],
        lives: Mapping[CacheKey, float],
    ) -> Collection[CacheKey]:
        """Store the results of fetches, if the backend works; return those that are outdated."""
        outdated = []
        left = {key: value for key, value in values.items() if self._may_store(tokens[key])}
        for _ in range(_STORE_ATTEMPTS if left else 0):
            seen = await self._reads.submit_many(left)
            for key, value in list(left.items()):
                state = seen[key]
                if state is None:  # the backend fails
                    del left[key]
                elif not self._counts(value, tokens[key], state):
                    outdated.append(key)
                    del left[key]
            stored = await self._store(left, seen, lives)
            left = {key: value for key, value in left.items() if key not in stored}
            if not left:
                break
        return {*outdated, *left}

    def _may_store(self, token: FetchToken) -> bool:
        return self._scope is not None and not token.is_void and token.tombstones is not None

    @staticmethod
    def _counts(value: CachedValue, token: FetchToken, seen: Seen) -> bool:
        """Return whether the result of a fetch still counts in this state of its key."""
        assert token.tombstones is not None
        is_unchanged = _is_unchanged(token.tombstones, seen.tombstones)
        return is_unchanged and not token.yields_to(seen.record, value.version)

    async def _store(
        self,
        values: Mapping[CacheKey, CachedValue],
        seen: Mapping[CacheKey, Seen | None],
        lives: Mapping[CacheKey, float],
    ) -> Collection[CacheKey]:
        """Store entries with the tombstones seen; return those whose tombstones are current.

        A tombstone that does not exist yet is created: an entry without it would count again when
        a later tombstone was lost. If it exists after all, somebody has just created or replaced
        it, and nothing is stored.
        """
        if self._scope is None or not values:
            return ()
        rows = {key: self._rows_of(key, self._scope) for key in values}
        known = {key: state.tombstones for key, state in seen.items() if state is not None}
        missing = {
            row: digest
            for key in values
            for row, digest in rows[key].tombstones
            if known[key][digest] is None
        }
        created = await self._creates.submit_many(missing)
        new = {digest: created[row] for row, digest in missing.items()}
        texts = []
        stored = []
        for key, value in values.items():
            current = {digest: token or new[digest] for digest, token in known[key].items()}
            tombstones = {digest: token for digest, token in current.items() if token}
            if len(tombstones) < len(current):
                continue
            assert value.fetch is not None
            row, context, cipher = rows[key].entries[0]
            now, life = self._clock(), lives[key]
            record = Record(now, now + life, value.version, value.fetch, tombstones, value.raw)
            text = cipher.encrypt(pack(record), context)
            texts.append((row, text, life + self._freshness.stale_for))
            stored.append(key)
        await self._writes.submit_many(texts)
        return stored

    async def _create_all(self, rows: Sequence[str], _group: object) -> Mapping[str, bytes | None]:
        texts = {row: CREATED + os.urandom(RANDOM).hex() for row in rows}
        added = await self.backend.add_many(texts, self._tombstone_ttl)
        return {row: _token_of(texts[row]) if added[row] else None for row in rows}

    async def fill(
        self,
        values: Mapping[CacheKey, CachedValue],
        token: FetchToken,
        lives: Mapping[CacheKey, float],
    ) -> None:
        """Store what a path's fetch has read along the way, only in a local backend.

        The fetch did not know these names when it began, so it has no tombstones for them. But if
        the tombstone of paths is still the one it saw, no secret was invalidated meanwhile, and
        their current tombstones are those of then. An invalidation replaces that of paths first.
        """
        if self.backend.sync is None or self._scope is None or token.is_void:
            return
        seen = await self._read_many(values)
        paths = await self._reads.submit(token.key)
        if paths is None or token.tombstones is None:
            return
        if not _is_unchanged(token.tombstones, paths.tombstones):
            return
        wanted = {
            key: value
            for key, value in values.items()
            if (state := seen[key]) and not token.yields_to(state.record, value.version)
        }
        await self._store(wanted, seen, lives)

    async def _write_all(
        self, items: Sequence[tuple[str, str, float]], _group: object
    ) -> Mapping[tuple[str, str, float], bool]:
        texts = {row: text for row, text, _ in items}
        stored = await self.backend.set_many(texts, max(ttl for *_, ttl in items))
        return dict.fromkeys(items, stored)

    def seconds_until_due(self, life: float) -> float:
        """Return the part of a life before its first due hit, which this tier has to see."""
        early = life - self._freshness.refresh_ahead
        return early if early > 0 else life

    # Invalidation

    async def invalidate(self, secrets: Collection[str] | None, *, paths: bool = True) -> None:
        """Replace tombstones; then delete the entries.

        What can't be delivered now is delivered as soon as the backend is available; until then
        this process does not use the entries.
        """
        await self.invalidations.invalidate(secrets, paths=paths)

    async def drop(self, keys: Collection[CacheKey]) -> None:
        """Delete entries."""
        if (scope := self._scope) is not None:
            entries = [row for key in keys for row, *_ in self._rows_of(key, scope).entries]
            await self.backend.delete_many(entries)

    # Fetch locks

    async def lock(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, bool | None]:
        """Take the fetch locks of keys: False if another process has it, None if unknown."""
        if self._scope is None or not self.backend.is_available:
            return {}
        rows = {key: self._rows_of(key, self._scope).lock for key in keys}
        locked = await self._locks.lock(rows.values())
        return {key: locked[row] for key, row in rows.items()}

    async def lock_pulse(self, key: CacheKey) -> str | None:
        """Return what changes as long as another process works on a key; None if none does."""
        assert self._scope is not None
        return await self._locks.pulse(self._rows_of(key, self._scope).lock)

    async def unlock(self, keys: Collection[CacheKey]) -> None:
        """Release the fetch locks of keys."""
        assert self._scope is not None
        await self._locks.unlock([self._rows_of(key, self._scope).lock for key in keys])

    async def aclose(self) -> None:
        """Deliver what is undelivered, if possible, and close the backend."""
        await self.invalidations.aclose()
        await self.backend.aclose()


def _tag(cipher: Cipher, scope: Scope) -> str:
    """Return the hash tag that all rows of a place and cipher have.

    So they are in one slot of a Redis cluster: one command reads an entry with its tombstones, or
    hundreds of them. Its price is that one node answers for all secrets of a service and region.
    """
    return f"{{{cipher.name(framed(scope.place))[:8]}}}"


def _with_digests(rows: Sequence[str]) -> list[tuple[str, bytes]]:
    return [(row, hashlib.sha256(row.encode()).digest()[:8]) for row in rows]


def _with_state(token: FetchToken, seen: Seen | None) -> FetchToken:
    """Note the entry and the tombstones that a fetch saw when it began."""
    if seen is not None:
        token.seen = seen.record.fetch if seen.record else None
        token.tombstones = seen.tombstones
    return token


def _is_unchanged(began: Mapping[bytes, bytes | None], now: Mapping[bytes, bytes | None]) -> bool:
    """Return whether no tombstone was replaced since a fetch began; creating one replaces none."""
    return all(
        token == began[digest]
        or (began[digest] is None and token and token.hex().startswith(CREATED))
        for digest, token in now.items()
    )


def _token_of(text: Any) -> bytes:
    """Return a tombstone's token; of a damaged tombstone, a token that no entry has."""
    try:
        token = bytes.fromhex(text)
    except (TypeError, ValueError):
        token = b""
    return token if len(token) == TOKEN else hashlib.sha256(repr(text).encode()).digest()[:TOKEN]
