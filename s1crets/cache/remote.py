"""A tier in any aiocache cache of a caller's, such as one on a Redis that many machines share.

All that is wanted of it in one tick is asked for together: one trip for a thousand names.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from s1crets.cache.gathering import Gathered
from s1crets.cache.keys import text_of
from s1crets.cache.outside import MARK, UNDER_WAY, OutsideTier
from s1crets.cache.shares import Shares
from s1crets.cache.store import Store, lots

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from s1crets.cache.entry import CachedValue
    from s1crets.cache.keys import Key
    from s1crets.cache.loops import OnEveryLoop
    from s1crets.cache.records import Lease, Record
    from s1crets.cache.rows import Rows

_UNTOLD = 100  # keys that a backend which rests is to be told of; if more, it is told of all


class _Landed(NamedTuple):
    """What was fetched, and is to be stored."""

    key: Key
    held: CachedValue
    lease: Lease
    life: float


class RemoteTier(OutsideTier):
    """A tier in an aiocache cache of the caller's own."""

    _backend: OnEveryLoop

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._store = Store(self._backend, self._patience)
        self._shares = Shares(self._store, self._patience)
        self._looks: Gathered[Key, Record | None] = Gathered(self._look_all)
        self._stores: Gathered[_Landed, None] = Gathered(self._store_all)
        self._claims: Gathered[str, bool | None] = Gathered(self._claim_all)
        self._releases: Gathered[str, None] = Gathered(self._release_all)
        self._untold: set[Key | None] = set()

    def open(self) -> None:
        """Open nothing: there are no files."""

    async def _ask(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        return await self._patience.safely(self._backend.ask, verb, *args, **kwargs)

    async def _look(self, key: Key) -> Record | None:
        return await self._looks.do(key) if self._rows and not self._patience.rests else None

    async def _look_all(self, keys: Sequence[Key]) -> list[Record | None]:
        found: dict[Key, Record | None] = {}
        for rows in self._rows:
            missing = [key for key in dict.fromkeys(keys) if key not in found]
            if not missing:
                break
            *records, cleared = await self._read(rows, [*map(text_of, missing), MARK])
            for key, (there, record) in zip(missing, records, strict=True):
                if there:
                    mark = cleared[1]
                    void = record and mark and record.stored < mark.stored
                    found[key] = None if void else record
        await self._tell()
        return [found.get(key) for key in keys]

    async def _read(self, rows: Rows, names: Sequence[str]) -> list[tuple[bool, Record | None]]:
        """Return whether there is something in some rows, and what, if it can be read."""
        places = [rows.at(name) for name in names]
        texts = await self._store.texts(rows.namespace, [row for row, _ in places])
        return [
            (text is not None, rows.unpack(text, context))
            for text, (_, context) in zip(texts, places, strict=True)
        ]

    async def store(
        self,
        entries: Mapping[Key, CachedValue],
        lease: Lease,
        life: float,
        *,
        room_only: bool = False,
    ) -> None:
        """Do what `InsideTier.store` does; with `room_only` nothing, as room can't be told."""
        if self._rows and not room_only:
            landed = [_Landed(key, held, lease, life) for key, held in entries.items()]
            await asyncio.gather(*map(self._stores.do, landed))

    async def _store_all(self, landed: Sequence[_Landed]) -> list[None]:
        rows = self._rows[0]
        there = await self._read(rows, [text_of(one.key) for one in landed])
        wanted: dict[Key, _Landed] = {}
        for one, (_, record) in zip(landed, there, strict=True):
            rival = wanted.get(one.key)
            newer = rival is None or one.held.version >= rival.held.version
            if newer and one.lease.holds() and not self._outdates(record, one.held, one.lease):
                wanted[one.key] = one
        if wanted:
            await self._write(rows, list(wanted.values()))
            # It can't be asked and written at once, so it is asked afterwards.
            gone = await self._forgotten_meanwhile(rows, list(wanted.values()))
            await self._store.each(rows.namespace, "delete", [(row,) for row in gone])
        return [None] * len(landed)

    async def _write(self, rows: Rows, landed: Sequence[_Landed]) -> None:
        texts = []
        for one in landed:
            row, context = rows.at(text_of(one.key))
            texts.append((row, rows.pack(self._record(one.held, one.life), context)))
        # Whole seconds, as not every backend takes parts; what counts is what the record says.
        ttl = math.ceil(max(one.life for one in landed) + self._stale_for)
        for some in lots(texts):
            await self._set(some, ttl=ttl, namespace=rows.namespace)

    async def _forgotten_meanwhile(self, rows: Rows, landed: Sequence[_Landed]) -> list[str]:
        """Return the rows of what was forgotten, by whomever, after its fetch began."""
        names = [text_of(one.key) for one in landed]
        *marks, of_all = await self._read(rows, [*(MARK + name for name in names), MARK])
        if self._patience.rests:  # it can't be told, so they go, as soon as that can be done
            for one in landed:
                self._remember_untold(one.key)
            return [rows.at(name)[0] for name in names]
        return [
            rows.at(name)[0]
            for name, one, (_, mark) in zip(names, landed, marks, strict=True)
            if not one.lease.holds()
            or any(self._outdates(record, None, one.lease) for record in (mark, of_all[1]))
        ]

    async def claim(self, key: Key) -> bool | None:
        """Claim the fetch of an entry: False if another has, None if that can't be told."""
        return await self._claims.do(text_of(key)) if self._rows else None

    async def _claim_all(self, names: Sequence[str]) -> list[bool | None]:
        claimed = await self._shares.take(self._rows[0], names)
        return [claimed.get(name) for name in names]

    async def release(self, key: Key) -> None:
        """Let others claim it."""
        await self._releases.do(text_of(key))

    async def _release_all(self, names: Sequence[str]) -> list[None]:
        await self._shares.release(self._rows[0], names)
        return [None] * len(names)

    async def forget(self, key: Key) -> None:
        """Do so; if the backend can't be told now, it is as soon as it is asked again."""
        self._forget_here(key)
        for rows in self._rows:
            row, _ = rows.at(text_of(key))
            delete = partial(self._backend.ask, "delete", row, namespace=rows.namespace)
            await self._patience.safely(self._void, rows, text_of(key), UNDER_WAY, delete)
        self._remember_untold(key)

    async def clear(self) -> None:
        """Forget all; the mark stays for as long as what it is about, as not all is deleted."""
        self._forget_before_now()
        seconds = max(UNDER_WAY, math.ceil(self._ttl + self._stale_for))
        for rows in self._rows:
            sweep = partial(self._backend.sweep, rows.namespace)
            await self._patience.safely(self._void, rows, "", seconds, sweep)
            await self._patience.safely(self._mark, rows, "", seconds)
        self._remember_untold(None)

    async def _void(
        self, rows: Rows, name: str, seconds: int, delete: Callable[[], Coroutine[Any, Any, Any]]
    ) -> None:
        """Mark something as forgotten, and delete it; who is full takes no mark, but deletes."""
        try:
            await self._mark(rows, name, seconds)
        except Exception:
            await delete()
            raise
        await delete()

    async def _mark(self, rows: Rows, name: str, seconds: int) -> None:
        mark = self._marked(rows, name)
        await self._backend.ask("multi_set", [mark], ttl=seconds, namespace=rows.namespace)

    def _remember_untold(self, key: Key | None) -> None:
        if self._patience.rests or not self._rows:
            self._untold.add(key)
        if len(self._untold) > _UNTOLD:
            self._untold = {None}

    async def _tell(self) -> None:
        untold, self._untold = self._untold, set()
        for key in untold:
            await (self.clear() if key is None else self.forget(key))

    async def close(self) -> None:
        """Close what was opened here; the caller's own is the caller's to close."""
        await self._backend.close()
