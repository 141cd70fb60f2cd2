"""What a store outside of the process holds of one name, as bytes; and what may replace it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from s1crets._codec import Raw, dump, load
from s1crets.cache.entry import CachedValue

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD = struct.Struct("!ddd")


class Record(NamedTuple):
    """One entry.

    Attributes:
        stored: wall-clock seconds.
        expires: wall-clock seconds.
        version: see `CachedValue`.
        raw: what AWS sent; None says that at `stored` all that was known was forgotten.
    """

    stored: float
    expires: float
    version: float
    raw: Raw | None

    def held(self) -> CachedValue | None:
        """Return it as the other tiers have it, or None if there is no value in it."""
        return None if self.raw is None else CachedValue(self.raw, self.version, self.stored)


def pack(record: Record) -> bytes:
    """Return what is stored. The inverse of `unpack`."""
    body = "" if record.raw is None else dump(record.raw)
    return _HEAD.pack(*record[:3]) + body.encode("utf-8", "surrogatepass")


def unpack(data: bytes) -> Record | None:
    """Return what `pack` was given, or None if `data` did not come from there."""
    try:
        stored, expires, version = _HEAD.unpack_from(data)
        body = data[_HEAD.size :].decode("utf-8", "surrogatepass")
    except (struct.error, UnicodeDecodeError):
        return None
    raw = load(body)
    return None if raw is None and body else Record(stored, expires, version, raw)


@dataclass(frozen=True, slots=True)
class Lease:
    """Taken when a fetch begins; says at its end whether what it brings may be stored.

    Attributes:
        number: grows with every fetch that begins, and with every one that lands.
        began: wall-clock seconds.
        holds: says whether nothing was updated or invalidated in this process since.
    """

    number: float
    began: float
    holds: Callable[[], bool]
