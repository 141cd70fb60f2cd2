"""Tiers outside of the process: a folder, or any aiocache cache that others use too.

What is stored is text, sealed where there are keys. Whose entries they are is in every row's key.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from s1crets.cache.keys import text_of
from s1crets.cache.records import Record
from s1crets.cache.rows import rows_of
from s1crets.errors import NotPrivateError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from s1crets._values import Held
    from s1crets.cache.keys import Key
    from s1crets.cache.records import Lease
    from s1crets.cache.rows import Rows
    from s1crets.cache.sealing import Seal

_log = logging.getLogger("s1crets.cache")
UNDER_WAY = 600.0  # seconds that a fetch may last which began before its secret was forgotten
_FORGOTTEN = 1000  # keys that it is remembered of when they were forgotten; else it is all of them
_SEALED_WITH = (
    "s1crets",
    ":sealed-with",
)  # the namespace and the name of the row that says which key
MARK = "\0"  # what the names of rows begin with that say when something was forgotten
_BOUND = 1.0  # seconds that a backend may take, which is asked to be faster than AWS
_REST = 5.0  # seconds that one which failed is left alone


class OutsideTier:
    """A tier as a cache sees it; `InsideTier` is the other kind.

    Args:
        backend: an aiocache cache.
        kind: tells the tier's rows from those of others in the same backend.
        seals: the keys, the first of which closes; none, and nothing is sealed.
        ttl: seconds that an entry is fresh here, at most, whoever has stored it.
        ahead: seconds before its expiry from which on a hit is a late one.
        on_late: told the key of every late hit.
        stale_for: seconds after its expiry that an entry is kept.
        clock: wall-clock seconds.
        warned: of what a caller was warned, whichever of its tiers fails.
    """

    _bound: float | None = _BOUND

    def __init__(
        self,
        backend: Any,
        kind: str,
        seals: Sequence[Seal],
        *,
        ttl: float,
        ahead: float,
        on_late: Callable[[Any], None],
        stale_for: float,
        clock: Callable[[], float],
        warned: list[str],
    ) -> None:
        self._backend = backend
        self._kind = kind
        self._seals = seals
        self._ttl = ttl
        self._ahead = ahead
        self._on_late = on_late
        self._stale_for = stale_for
        self._clock = clock
        self._rows: Sequence[Rows] = ()  # while it is not known whose entries they are
        # What was forgotten here stays so, also where the store could not be told.
        self._forgotten: dict[Key, float] = {}
        self._cleared = float("-inf")
        self._warned = warned
        self._rests_until = 0.0
        self._title = getattr(backend, "folder", type(backend).__name__)
        outer = getattr(backend, "namespace", None)
        self._outer = f"{outer}:" if outer else ""

    def open(self) -> None:
        """Open files, if there are some. Blocks."""

    async def check_seal(self) -> str:
        """Return what is wrong where the store was sealed with a key that was not given."""
        namespace, row = _SEALED_WITH
        mark = await self._safely(self._backend.get(row, namespace=self._outer + namespace))
        marks = [seal.mark for seal in self._seals]
        if marks and mark != marks[0]:
            await self._safely(self._backend.set(row, marks[0], namespace=self._outer + namespace))
        if mark is None or mark in marks:
            return ""
        key = "another cache_key" if marks else "a cache_key, and there is none now"
        return f"the cache {self._title} was sealed with {key}: what is in there can't be read"

    def belong_to(self, identity: str) -> None:
        """Learn whose entries are meant from now on."""
        self._rows = rows_of(self._seals, identity, self._kind, self._outer)

    def peek(self, key: Key) -> Held | None:  # noqa: ARG002
        """Return what is there and fresh, without waiting: here, nothing."""
        return None

    async def get(self, key: Key) -> Held | None:
        """Return what is there and fresh."""
        record = await self._look(key)
        return record.held() if record is not None and self._is_fresh(key, record) else None

    async def stale(self, key: Key) -> Held | None:
        """Return what is there, also if it has expired, but not too long ago."""
        record = await self._look(key)
        if record is None:
            return None
        usable = record.stored <= self._clock() < self._expiry(record) + self._stale_for
        return record.held() if usable and self._is_known(key, record) else None

    def _is_known(self, key: Key, record: Record) -> bool:
        """Say whether an entry is from after the moment when its key was last forgotten here."""
        forgotten = self._forgotten.get(key, self._cleared)
        return record.stored >= forgotten or forgotten > self._clock()  # the clock was set back

    def _expiry(self, record: Record) -> float:
        return min(record.expires, record.stored + self._ttl)

    def _is_fresh(self, key: Key, record: Record) -> bool:
        now = self._clock()
        # An entry from the future means that the clock was set back: its age is not known.
        expiry = self._expiry(record)
        if not record.stored <= now < expiry or not self._is_known(key, record):
            return False
        if self._ahead and expiry - self._ahead <= now:
            self._on_late(key)
        return True

    async def _look(self, key: Key) -> Record | None:
        for rows in self._rows:
            (row, context), (all_row, all_context) = rows.at(text_of(key)), rows.at(MARK)
            text, mark = await self._both(rows, row, all_row)
            if text is not None:
                record, cleared = rows.unpack(text, context), rows.unpack(mark, all_context)
                void = record and cleared and record.stored < cleared.stored
                return None if void else record
        return None

    async def _both(self, rows: Rows, one: str, other: str) -> tuple[Any, Any]:
        both = [one, other]
        texts = await self._safely(self._backend.multi_get(both, namespace=rows.namespace))
        if not isinstance(texts, (list, tuple)) or len(texts) != len(both):
            return None, None
        return texts[0], texts[1]

    async def store(
        self, entries: Mapping[Key, Held], lease: Lease, life: float, *, room_only: bool = False
    ) -> None:
        """Do what `InsideTier.store` does; with `room_only` nothing, as room can't be told."""
        if not self._rows or room_only:
            return
        rows = self._rows[0]
        for key, held in entries.items():
            row, context = rows.at(text_of(key))
            there = await self._safely(self._backend.get(row, namespace=rows.namespace))
            if not lease.holds() or self._outdates(rows.unpack(there, context), held, lease):
                continue
            text = rows.pack(self._record(held, life), context)
            ttl = life + self._stale_for
            await self._safely(self._backend.set(row, text, ttl=ttl, namespace=rows.namespace))
            # It can't be asked and written at once, so it is asked afterwards.
            if not lease.holds() or await self._was_forgotten(rows, key, lease):
                await self._safely(self._backend.delete(row, namespace=rows.namespace))

    async def _was_forgotten(self, rows: Rows, key: Key, lease: Lease) -> bool:
        (one, context), (other, all_context) = rows.at(MARK + text_of(key)), rows.at(MARK)
        mark, mark_of_all = await self._both(rows, one, other)
        marks = rows.unpack(mark, context), rows.unpack(mark_of_all, all_context)
        return any(self._outdates(record, None, lease) for record in marks)

    def _record(self, held: Held, life: float) -> Record:
        now = self._clock()
        return Record(now, now + life, held.version, held.raw)

    def _outdates(self, there: Record | None, held: Held | None, lease: Lease) -> bool:
        """Say whether a mark, or a newer version, is from after a fetch began."""
        # One from the future says nothing: the clock was set back.
        if there is None or there.stored > self._clock() or lease.began >= there.stored:
            return False
        return held is None or held.version < there.version

    def claim(self, key: Key) -> bool | None:  # noqa: ARG002
        """Claim the fetch of an entry: where there is nothing to claim it with, None."""
        return None

    def release(self, key: Key) -> None:
        """Let others claim it."""

    async def forget(self, key: Key) -> None:
        """Forget one, and what was fetched before now, whoever stores it after now."""
        self._forgotten[key] = self._clock()
        if len(self._forgotten) > _FORGOTTEN:
            self._forget_before_now()
        for rows in self._rows:
            await self._mark(rows, text_of(key))
            row, _ = rows.at(text_of(key))
            await self._safely(self._backend.delete(row, namespace=rows.namespace))

    async def refused(self, key: Key) -> None:
        """Forget one that AWS does not give any more."""
        if await self._look(key) is not None:
            await self.forget(key)

    async def clear(self) -> None:
        """Forget all, and what was fetched before now, whoever stores it after now."""
        self._forget_before_now()
        for rows in self._rows:
            await self._mark(rows, "")
            await self._safely(self._backend.clear(namespace=rows.namespace))
            await self._mark(rows, "")

    def _forget_before_now(self) -> None:
        self._cleared = self._clock()
        self._forgotten.clear()

    async def _mark(self, rows: Rows, name: str) -> None:
        row, text = self._marked(rows, name)
        await self._safely(self._backend.set(row, text, ttl=UNDER_WAY, namespace=rows.namespace))

    def _marked(self, rows: Rows, name: str) -> tuple[str, str]:
        """Return the row that says when a name was forgotten, or all of them, and what it holds."""
        now = self._clock()
        row, context = rows.at(MARK + name)
        return row, rows.pack(Record(now, now, 0.0, None), context)

    async def _safely(self, answer: Coroutine[Any, Any, Any]) -> Any:
        """Return what a backend answers, or None where it fails or takes too long; warn, once."""
        if time.monotonic() < self._rests_until:
            answer.close()
            return None
        try:
            return await asyncio.wait_for(answer, self._bound)
        except NotPrivateError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, there is still AWS
            self._rests_until = time.monotonic() + _REST
            if not self._warned:
                self._warned.append(self._title)
                _log.warning(
                    "the cache %s fails (%s); going on without it",
                    self._title,
                    type(error).__name__,
                )
            return None

    async def close(self) -> None:
        """Close what is open."""
        await self._safely(self._backend.close())
