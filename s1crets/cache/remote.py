"""A tier in any aiocache cache of a caller's, such as one on a Redis that many machines share.

All that is wanted of it in one tick is asked for together: one trip for a thousand names.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from s1crets.cache.gathering import Gathered
from s1crets.cache.keys import text_of
from s1crets.cache.outside import MARK, UNDER_WAY, OutsideTier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from s1crets._values import Held
    from s1crets.cache.keys import Key
    from s1crets.cache.loops import OnEveryLoop
    from s1crets.cache.records import Lease, Record
    from s1crets.cache.rows import Rows

_CLAIM = "\1"  # what the names of rows begin with that say that something is being fetched
_CLAIMED = 1  # seconds after which such a row goes by itself
_TOGETHER = 10  # rows that are claimed in one go
_TAKEN = ValueError  # what aiocache says of a row that is there already
_SENSELESS = (ValueError,)  # what JSON and UTF-8 say of a row that somebody else has written
_UNTOLD = 100  # keys that a backend which rests is to be told of; if more, it is told of all
_NO_ADD = (AttributeError, NotImplementedError)  # of a backend that can't claim
_CLAIMING = 0.5  # seconds that claiming may take; what is not claimed by then is just fetched


class _Landed(NamedTuple):
    """What was fetched, and is to be stored."""

    key: Key
    held: Held
    lease: Lease
    life: float


class RemoteTier(OutsideTier):
    """A tier in an aiocache cache of the caller's own."""

    _backend: OnEveryLoop

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._looks: Gathered[Key, Record | None] = Gathered(self._look_all)
        self._stores: Gathered[_Landed, None] = Gathered(self._store_all)
        self._claims: Gathered[Key, bool | None] = Gathered(self._claim_all)
        self._releases: Gathered[Key, None] = Gathered(self._release_all)
        self._untold: set[Key | None] = set()

    def open(self) -> None:
        """Open nothing: there are no files."""

    async def _ask(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        return await self._patience.safely(self._backend.ask, verb, *args, **kwargs)

    async def _look(self, key: Key) -> Record | None:
        return await self._looks.do(key) if self._rows and not self._patience.rests else None

    async def _look_all(self, keys: Sequence[Key]) -> list[Record | None]:
        await self._tell()
        found: dict[Key, Record | None] = {}
        for rows in self._rows:
            missing = [key for key in dict.fromkeys(keys) if key not in found]
            *records, cleared = await self._read(rows, [*map(text_of, missing), MARK])
            for key, (there, record) in zip(missing, records, strict=True):
                if there:
                    mark = cleared[1]
                    void = record and mark and record.stored < mark.stored
                    found[key] = None if void else record
        return [found.get(key) for key in keys]

    async def _read(self, rows: Rows, names: Sequence[str]) -> list[tuple[bool, Record | None]]:
        """Return whether there is something in some rows, and what, if it can be read."""
        places = [rows.at(name) for name in names]
        texts = await self._texts(rows, [row for row, _ in places])
        return [
            (text is not None, rows.unpack(text, context))
            for text, (_, context) in zip(texts, places, strict=True)
        ]

    async def _texts(self, rows: Rows, names: list[str]) -> Sequence[Any]:
        texts = await self._ask("multi_get", names, namespace=rows.namespace)
        if texts is None and not self._patience.rests:
            texts = await self._texts_one_by_one(rows, names)
        if isinstance(texts, (list, tuple)) and len(texts) == len(names):
            return texts
        return [None] * len(names)

    async def _texts_one_by_one(self, rows: Rows, names: list[str]) -> list[Any] | None:
        """Return the same, and delete what the backend itself can't make sense of."""
        answers = await self._all(rows, "get", [(name,) for name in names], _SENSELESS)
        broken = [
            (name,)
            for name, answer in zip(names, answers or [], strict=False)
            if isinstance(answer, _SENSELESS)
        ]
        await self._all(rows, "delete", broken)
        return answers and [None if isinstance(one, _SENSELESS) else one for one in answers]

    async def _all(
        self,
        rows: Rows,
        verb: str,
        many: Sequence[tuple[Any, ...]],
        expected: tuple[type[Exception], ...] = (),
        **kwargs: Any,
    ) -> list[Any] | None:
        """Return what a method returns for each of some arguments, or None where one fails."""
        if not many:
            return []
        ask = partial(self._backend.ask_all, expected=expected, namespace=rows.namespace)
        answers: list[Any] | None = await self._patience.safely(ask, verb, many, **kwargs)
        return answers

    async def store(
        self, entries: Mapping[Key, Held], lease: Lease, life: float, *, room_only: bool = False
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
            await self._remove(rows, await self._forgotten_meanwhile(rows, list(wanted.values())))
        return [None] * len(landed)

    async def _write(self, rows: Rows, landed: Sequence[_Landed]) -> None:
        texts = []
        for one in landed:
            row, context = rows.at(text_of(one.key))
            texts.append((row, rows.pack(self._record(one.held, one.life), context)))
        # Whole seconds, as not every backend takes parts; what counts is what the record says.
        ttl = math.ceil(max(one.life for one in landed) + self._stale_for)
        await self._set(texts, ttl=ttl, namespace=rows.namespace)

    async def _forgotten_meanwhile(self, rows: Rows, landed: Sequence[_Landed]) -> list[str]:
        """Return the names of what was forgotten, by whomever, after its fetch began."""
        names = [text_of(one.key) for one in landed]
        *marks, of_all = await self._read(rows, [*(MARK + name for name in names), MARK])
        return [
            name
            for name, one, (_, mark) in zip(names, landed, marks, strict=True)
            if not one.lease.holds()
            or any(self._outdates(record, None, one.lease) for record in (mark, of_all[1]))
        ]

    async def _remove(self, rows: Rows, names: Sequence[str]) -> None:
        await self._all(rows, "delete", [(rows.at(name)[0],) for name in names])

    async def claim(self, key: Key) -> bool | None:
        """Claim the fetch of an entry; False if another process has, None if that can't be told.

        A claim is a row that goes by itself: no lock, as nothing depends on it but the number of
        requests.
        """
        return await self._claims.do(key) if self._rows else None

    async def _claim_all(self, keys: Sequence[Key]) -> list[bool | None]:
        rows, until = self._rows[0], time.monotonic() + _CLAIMING
        # Several processes that want the same begin in different places, and share it out so.
        wanted = list(dict.fromkeys(keys))
        random.shuffle(wanted)
        claimed: dict[Key, bool | None] = {}
        while wanted and time.monotonic() < until and not self._patience.rests:
            some, wanted = wanted[:_TOGETHER], wanted[_TOGETHER:]
            names = [rows.at(_CLAIM + text_of(key))[0] for key in some]
            texts = [None] if len(some) == 1 else await self._texts(rows, names)
            claimed.update((key, False) for key, text in zip(some, texts, strict=True) if text)
            free = [
                (key, name) for key, name in zip(some, names, strict=True) if key not in claimed
            ]
            claimed.update(await self._add(rows, free))
        return [claimed.get(key) for key in keys]

    async def _add(self, rows: Rows, free: Sequence[tuple[Key, str]]) -> dict[Key, bool | None]:
        claims = [(name, "1") for _, name in free]
        expected = (_TAKEN, *_NO_ADD)
        answers = await self._all(rows, "add", claims, expected, ttl=_CLAIMED)
        return {
            key: _is_claimed(answer)
            for (key, _), answer in zip(free, answers or [None] * len(free), strict=True)
        }

    async def release(self, key: Key) -> None:
        """Let others claim it."""
        await self._releases.do(key)

    async def _release_all(self, keys: Sequence[Key]) -> list[None]:
        await self._remove(self._rows[0], [_CLAIM + text_of(key) for key in keys])
        return [None] * len(keys)

    async def forget(self, key: Key) -> None:
        """Do the same; if the backend can't be told now, it is as soon as it is asked again."""
        await super().forget(key)
        self._remember_untold(key)

    async def clear(self) -> None:
        """Forget all; the mark stays for as long as what it is about, as not all is cleared."""
        self._forget_before_now()
        seconds = max(UNDER_WAY, math.ceil(self._ttl + self._stale_for))
        for rows in self._rows:
            await self._mark(rows, "", seconds)
            await self._patience.safely(self._backend.sweep, rows.namespace)
            await self._mark(rows, "", seconds)
        self._remember_untold(None)

    def _remember_untold(self, key: Key | None) -> None:
        if self._patience.rests:
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


def _is_claimed(answer: object) -> bool | None:
    if isinstance(answer, _TAKEN):
        return False
    return None if answer is None or isinstance(answer, _NO_ADD) else True
