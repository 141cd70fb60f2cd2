"""A tier in a folder, or in another backend of ours: it can be looked into without waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s1crets.cache.keys import text_of
from s1crets.cache.outside import MARK, UNDER_WAY, OutsideTier
from s1crets.cache.rows import PLAIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from s1crets.cache.entry import CachedValue
    from s1crets.cache.keys import Key
    from s1crets.cache.records import Lease, Record

_DECODED = 1000  # entries that are kept decoded


class NearTier(OutsideTier):
    """A tier in a backend of ours, which can be looked into without waiting."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seen: dict[Key, tuple[str, str, Record, CachedValue]] = {}

    def open(self) -> None:
        """Open files, if there are some. Blocks."""
        if hasattr(self._backend, "open"):
            self._backend.open()

    async def check_seal(self) -> str:
        """Do the same; and where there is a key, remove what was not sealed at all."""
        problem = await super().check_seal()
        if self._seals and hasattr(self._backend, "purge"):
            await self._ask("purge", self._outer + PLAIN)
        return problem

    def peek(self, key: Key) -> CachedValue | None:
        """Return what is there and fresh, without waiting."""
        seen = self._seen.get(key)
        if seen is not None and self._backend.peek(seen[0]) == seen[1]:
            return seen[3] if self._is_fresh(key, seen[2]) else None
        for rows in self._rows:
            row, context = rows.at(text_of(key))
            text = self._backend.peek(rows.namespace + row)
            if text is not None:
                record = rows.unpack(text, context)
                held = None if record is None else record.held()
                if record is None or held is None or not self._is_fresh(key, record):
                    return None
                if rows is self._rows[0]:  # what another key has sealed may be superseded
                    self._keep_decoded(key, (rows.namespace + row, text, record, held))
                return held
        return None

    def _keep_decoded(self, key: Key, seen: tuple[str, str, Record, CachedValue]) -> None:
        """Keep an entry decoded for as long as its row stays as it is."""
        if len(self._seen) >= _DECODED:
            self._seen.clear()
        self._seen[key] = seen

    async def _look(self, key: Key) -> Record | None:
        for rows in self._rows:
            row, context = rows.at(text_of(key))
            text = await self._ask("get", row, namespace=rows.namespace)
            if text is not None:
                return rows.unpack(text, context)
        return None

    async def store(
        self,
        entries: Mapping[Key, CachedValue],
        lease: Lease,
        life: float,
        *,
        room_only: bool = False,
    ) -> None:
        """Store what was fetched; what is there is looked at in the same transaction."""
        if not self._rows:
            return
        rows, look = self._rows[0], self._backend.look
        found: dict[str, tuple[CachedValue, bytes, list[tuple[str, bytes]]]] = {}
        for key, held in entries.items():
            row, context = rows.at(text_of(key))
            marks = [rows.at(MARK + text_of(key)), rows.at(MARK)]
            found[rows.namespace + row] = held, context, marks

        def wanted(row: str, there: object) -> bool:
            held, context, marks = found[row]
            return (
                lease.holds()
                and not self._outdates(rows.unpack(there, context), held, lease)
                and not any(
                    self._outdates(rows.unpack(look(rows.namespace + mark), about), None, lease)
                    for mark, about in marks
                )
            )

        texts = {
            row: rows.pack(self._record(held, life), context)
            for row, (held, context, _) in found.items()
        }
        await self._ask("fill", texts, life + self._stale_for, wanted, room_only=room_only)

    async def _set(self, texts: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        for row, text in texts:
            await self._ask("set", row, text, **kwargs)

    async def forget(self, key: Key) -> None:
        """Do so, also for those who have it in flight: a mark says when it was."""
        self._forget_here(key)
        for rows in self._rows:
            await self._set(
                [self._marked(rows, text_of(key))], ttl=UNDER_WAY, namespace=rows.namespace
            )
            await self._ask("delete", rows.at(text_of(key))[0], namespace=rows.namespace)

    async def clear(self) -> None:
        """Do the same at once."""
        self._forget_before_now()
        namespaces = [rows.namespace for rows in self._rows]
        marks = [self._marked(rows, "") for rows in self._rows]
        entries = {
            namespace + row: text for namespace, (row, text) in zip(namespaces, marks, strict=True)
        }
        await self._ask("replace", namespaces, entries, UNDER_WAY)

    async def claim(self, key: Key) -> bool | None:
        """Claim the fetch of an entry, at once; False if another process has."""
        claims = getattr(self._backend, "claims", None)
        return claims.take(self._claimed(key)) if claims and self._rows else None

    async def release(self, key: Key) -> None:
        """Let others claim it, at once."""
        self._backend.claims.release(self._claimed(key))

    def _claimed(self, key: Key) -> str:
        return self._rows[0].namespace + self._rows[0].at(text_of(key))[0]

    async def close(self) -> None:
        """Close what is open."""
        await self._ask("close")
