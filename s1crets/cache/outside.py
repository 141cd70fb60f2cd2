"""Tiers outside of the process: a folder, or any aiocache cache that others use too.

What is stored is text, sealed where there are keys. Whose entries they are is in every row's key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from s1crets.cache.records import Record
from s1crets.cache.rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from s1crets.cache.entry import CachedValue
    from s1crets.cache.keys import Key
    from s1crets.cache.patience import Patience
    from s1crets.cache.records import Lease
    from s1crets.cache.rows import Rows
    from s1crets.cache.sealing import Seal

UNDER_WAY = 600  # seconds that a fetch may last which began before its secret was forgotten
_FORGOTTEN = 1000  # keys that it is remembered of when they were forgotten; else it is all of them
_SEALED_WITH = (
    "s1crets",
    ":sealed-with",
)  # the namespace and the name of the row that says which key
MARK = "\0"  # what the names of rows begin with that say when something was forgotten


class OutsideTier(ABC):
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
        patience: how long the backend is waited for.
    """

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
        patience: Patience,
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
        self._patience = patience
        outer = getattr(backend, "namespace", None)
        self._outer = f"{outer}:" if outer else ""

    @abstractmethod
    def open(self) -> None:
        """Open files, if there are some. Blocks."""

    async def check_seal(self) -> str:
        """Return what is wrong where the store was sealed with a key that was not given."""
        namespace, row = _SEALED_WITH
        mark = await self._ask("get", row, namespace=self._outer + namespace)
        marks = [seal.mark for seal in self._seals]
        if marks and mark != marks[0]:
            await self._set([(row, marks[0])], namespace=self._outer + namespace)
        if mark is None or mark in marks:
            return ""
        key = "another cache_key" if marks else "a cache_key, and there is none now"
        title = self._patience.title
        return f"the cache {title} was sealed with {key}: what is in there can't be read"

    def belong_to(self, identity: str) -> None:
        """Learn whose entries are meant from now on."""
        self._rows = rows_of(self._seals, identity, self._kind, self._outer)

    def peek(self, key: Key) -> CachedValue | None:  # noqa: ARG002
        """Return what is there and fresh, without waiting: here, nothing."""
        return None

    async def get(self, key: Key) -> CachedValue | None:
        """Return what is there and fresh."""
        return (await self.find(key))[0]

    async def find(self, key: Key) -> tuple[CachedValue | None, float]:
        """Return what is there and fresh, and for how many seconds it still is."""
        record = await self._look(key)
        if record is None or not self._is_fresh(key, record):
            return None, 0.0
        return record.held(), self._expiry(record) - self._clock()

    async def stale(self, key: Key) -> CachedValue | None:
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

    @abstractmethod
    async def _look(self, key: Key) -> Record | None:
        """Return what is there, unless it was forgotten after it was stored."""

    @abstractmethod
    async def store(
        self,
        entries: Mapping[Key, CachedValue],
        lease: Lease,
        life: float,
        *,
        room_only: bool = False,
    ) -> None:
        """Do what `InsideTier.store` does."""

    def _record(self, held: CachedValue, life: float) -> Record:
        now = self._clock()
        return Record(now, now + life, held.version, held.raw)

    def _outdates(self, there: Record | None, held: CachedValue | None, lease: Lease) -> bool:
        """Say whether a mark, or a newer version, is from after a fetch began."""
        # One from the future says nothing: the clock was set back.
        if there is None or there.stored > self._clock() or lease.began >= there.stored:
            return False
        return held is None or held.version < there.version

    @abstractmethod
    async def claim(self, key: Key) -> bool | None:
        """Claim the fetch of an entry: False if another has, None if there is nothing to do so."""

    @abstractmethod
    async def release(self, key: Key) -> None:
        """Let others claim it."""

    @abstractmethod
    async def forget(self, key: Key) -> None:
        """Forget one, and what was fetched before now, whoever stores it after now."""

    def _forget_here(self, key: Key) -> None:
        self._forgotten[key] = self._clock()
        if len(self._forgotten) > _FORGOTTEN:
            self._forget_before_now()

    async def refused(self, key: Key) -> None:
        """Forget one that AWS does not give any more."""
        if await self._look(key) is not None:
            await self.forget(key)

    @abstractmethod
    async def clear(self) -> None:
        """Forget all, and what was fetched before now, whoever stores it after now."""

    def _forget_before_now(self) -> None:
        self._cleared = self._clock()
        self._forgotten.clear()

    def _marked(self, rows: Rows, name: str) -> tuple[str, str]:
        """Return the row that says when a name was forgotten, or all of them, and what it holds."""
        now = self._clock()
        row, context = rows.at(MARK + name)
        return row, rows.pack(Record(now, now, 0.0, None), context)

    async def _set(self, texts: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        await self._ask("multi_set", texts, **kwargs)

    async def _ask(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """Return what a method of the backend returns, or None where it fails."""
        return await self._patience.safely(getattr(self._backend, verb), *args, **kwargs)

    @abstractmethod
    async def close(self) -> None:
        """Close what is open."""
