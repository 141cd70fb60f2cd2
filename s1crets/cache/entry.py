"""Cache entries: the fetched secret, its decoded form, its stored record and its fetch token."""

from __future__ import annotations

import itertools
import os
import struct
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from s1crets._codec import Raw, decode, deep_copy, dump, load
from s1crets._keypath import KeyPath, keys_of, pick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from s1crets.cache.keys import CacheKey


@dataclass(frozen=True, repr=False)
class Fetched:
    """A secret as its service returned it; the repr does not show it.

    Attributes:
        value: text, or bytes of a binary secret; of a path, all of them by name.
        version: a number that grows with every version, if the service has one. Without it, what
            is stored tells whether a secret has changed.
        also: further secrets that were read along the way, by key.
    """

    value: Raw
    version: float = 0.0
    also: Mapping[CacheKey, Fetched] = field(default_factory=dict)


class FetchId(NamedTuple):
    """A fetch, in the order in which this process began them.

    Attributes:
        process: a random number of the process.
        sequence: grows with every fetch that begins.
    """

    process: int
    sequence: int


_sequence = itertools.count(1)
_process = [0, 0]  # the process id, and the random number of this process


def next_in_sequence() -> int:
    """Return a number for a fetch that begins, or lands, now."""
    return next(_sequence)


def new_fetch_id() -> FetchId:
    """Return the id of a fetch that begins now."""
    if _process[0] != os.getpid():  # also in a forked child
        _process[:] = os.getpid(), int.from_bytes(os.urandom(8))
    return FetchId(_process[1], next_in_sequence())


class CachedValue:
    """A secret in a cache: the raw text or bytes, and, once needed, the decoded value.

    Attributes:
        raw: the text or bytes as the service stores them.
        version: as of `Fetched`.
        fetch: the fetch that brought it.
        landed: when this process stored it, in the sequence of fetches; 0 if another process did.
        value: returns the decoded value, a copy that belongs to the caller.
    """

    __slots__ = ("_decoded", "fetch", "landed", "raw", "value", "version")

    def __init__(self, raw: Raw, version: float = 0.0, fetch: FetchId | None = None) -> None:
        self.raw = raw
        self.version = version
        self.fetch = fetch
        self.landed = 0
        self.value: Callable[[], Any] = self._decode_first

    def __reduce__(self) -> str:
        raise TypeError("a cached value can't be copied or pickled")

    def _decode_first(self) -> Any:
        """Decode the raw text; later calls only copy the result, in the cheapest way."""
        self._decoded = decode(self.raw)
        if not isinstance(self._decoded, (dict, list)):
            self.value = partial(_identity, self._decoded)
            return self._decoded
        self.value = self._deep_copy if _is_nested(self._decoded) else self._decoded.copy
        try:
            return self.value()
        except RecursionError:
            self.value = partial(_identity, self.raw)  # as text that can't be parsed
            return self.raw

    def _deep_copy(self) -> Any:
        try:
            return deep_copy(self._decoded)
        except RecursionError:
            pass  # its frames contain the value
        raise RecursionError("there is too little of the stack left to copy the value")

    def pick(self, keypath: KeyPath) -> Any:
        """Return the item at `keypath` in the value, or `MISSING`."""
        keys = keys_of(keypath)  # before there is a value in this frame
        return pick(self.value(), keys)

    def differs_from(self, other: CachedValue) -> bool:
        """Return whether this is another version; without versions the content decides."""
        return self.version != other.version or self.raw != other.raw


def _is_nested(value: dict[str, Any] | list[Any]) -> bool:
    members = value.values() if isinstance(value, dict) else value
    return any(isinstance(member, (dict, list)) for member in members)


def _identity(value: Any) -> Any:
    return value


@dataclass(eq=False, slots=True, weakref_slot=True)
class FetchToken:
    """The state of a tier when a fetch began. It decides whether the result may be stored.

    Attributes:
        key: the key that is fetched.
        fetch: the id of the fetch.
        seen: the fetch that had brought the entry which was there, if any.
        tombstones: the current tombstones by the digests of their rows, None for a tombstone that
            did not exist; None altogether if that is unknown.
        began: when the fetch began, in monotonic seconds, where a tier needs that.
        is_void: whether an invalidation in this process has made the result outdated.
    """

    key: CacheKey
    fetch: FetchId = field(default_factory=new_fetch_id)
    seen: FetchId | None = None
    tombstones: Mapping[bytes, bytes | None] | None = None
    began: float = 0.0
    is_void: bool = False

    def yields_to(self, there: CachedValue | Record | None, version: float) -> bool:
        """Return whether the result, of this version, must not replace the entry that is there.

        An entry that landed before the fetch began, or that the fetch saw then, is older. Any
        other entry landed meanwhile: of two fetches that overlap the higher version wins, and
        without versions the later fetch, which is known within a process.
        """
        if there is None or there.fetch is None or there.fetch == self.seen:
            return False
        if isinstance(there, CachedValue) and 0 < there.landed < self.fetch.sequence:
            return False
        if version != there.version:
            return version < there.version
        return there.fetch.process == self.fetch.process and there.fetch > self.fetch


_HEAD = struct.Struct("!dddQQB")
_TOMBSTONE = struct.Struct("!8s8s")


class Record(NamedTuple):
    """An entry as a backend outside the process stores it.

    Attributes:
        stored: wall-clock seconds.
        expires: wall-clock seconds.
        version: as of `Fetched`.
        fetch: the fetch that brought it.
        tombstones: as of the fetch's `FetchToken`.
        raw: as of `CachedValue`.
    """

    stored: float
    expires: float
    version: float
    fetch: FetchId
    tombstones: Mapping[bytes, bytes]
    raw: Raw

    def cached_value(self) -> CachedValue:
        """Return the entry as the tiers pass it on."""
        return CachedValue(self.raw, self.version, self.fetch)


def pack(record: Record) -> bytes:
    """Return a record as bytes. The inverse of `unpack`."""
    tombstones = record.tombstones.items()
    head = _HEAD.pack(*record[:3], *record.fetch, len(tombstones))
    body = dump(record.raw).encode("utf-8", "surrogatepass")
    return b"".join([head, *(_TOMBSTONE.pack(*pair) for pair in tombstones), body])


def unpack(data: bytes) -> Record | None:
    """Return the record that `pack` was given, or None if `data` did not come from there."""
    try:
        stored, expires, version, process, sequence, count = _HEAD.unpack_from(data)
        start = _HEAD.size + count * _TOMBSTONE.size
        tombstones = dict(_TOMBSTONE.iter_unpack(data[_HEAD.size : start]))
        raw = load(data[start:].decode("utf-8", "surrogatepass"))
    except (struct.error, UnicodeDecodeError):
        return None
    if raw is None:
        return None
    return Record(stored, expires, version, FetchId(process, sequence), tombstones, raw)
