"""Cache entries: their typed keys, cached values, stored records, and the tokens of fetches."""

from __future__ import annotations

import base64
import itertools
import json
import os
import struct
import weakref
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from s1crets._keypath import KeyPath, keys_of, pick
from s1crets.errors import S1cretsError

_BYTE_ORDER_MARK = "\ufeff"  # of a file that became a secret
_IGNORED = _BYTE_ORDER_MARK + " \t\r\n"  # before JSON

VALUE, PATH, EXISTS = "value", "path", "exists"


@dataclass(frozen=True, slots=True)
class CacheKey:
    """The key of a cache entry. Only the `key` method of a store builds keys."""

    name: str  # the secret's name as requested, or the path
    kind: str = VALUE  # `PATH`: all secrets under a path; `EXISTS`: a check
    options: tuple[tuple[str, Hashable], ...] = ()  # all else that affects the result, no defaults
    # The names of the secret that this entry depends on, as tombstones have them. Empty for an
    # entry that depends on any number of secrets, such as a path.
    secrets: tuple[str, ...] = field(default=(), compare=False)
    # Whether a path is fetched with parallel requests, which does not affect the result.
    parallel: bool = field(default=False, compare=False)
    # A secret's current value under its own name, with default options.
    is_primary: bool = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        primary = self.kind == VALUE and not self.options and self.secrets == (self.name,)
        object.__setattr__(self, "is_primary", primary)
        object.__setattr__(self, "_hash", hash((self.name, self.kind, self.options)))

    def __hash__(self) -> int:
        return self._hash

    @classmethod
    def of_secret(cls, name: str) -> CacheKey:
        """Return the key of a secret's current value under its own name."""
        return cls(name, secrets=(name,))

    @property
    def id(self) -> Hashable:
        """The key in memory: a primary key is looked up by its name alone, which is faster."""
        return self.name if self.is_primary else self

    @property
    def text(self) -> str:
        """The key for backends that only have text keys."""
        return self.name if self.is_primary else f"{self.kind}{self.options!r}:{self.name}"

    def option(self, name: str, default: Hashable = None) -> Hashable:
        """Return an option, or its default."""
        return dict(self.options).get(name, default)


def key_of_id(key_id: Any) -> CacheKey:
    """Return the key of a `CacheKey.id`."""
    return key_id if isinstance(key_id, CacheKey) else CacheKey.of_secret(key_id)


Raw: TypeAlias = str | bytes | Mapping[str, str | bytes]
"""The content of an entry: a secret as stored, or all secrets under a path, by name."""


def decode(raw: Raw) -> Any:
    """Parse `raw` if it is a JSON object or array; leave any other text unchanged."""
    if isinstance(raw, str):
        if begins_like_json(raw):
            try:
                return json.loads(without_byte_order_mark(raw))
            except (ValueError, RecursionError):
                return raw
        return raw
    if isinstance(raw, bytes):
        return raw
    return {name: decode(member) for name, member in raw.items()}


def begins_like_json(text: str) -> bool:
    """Return whether a text begins like a JSON object or array, whatever follows."""
    return text.lstrip(_IGNORED)[:1] in ("{", "[")


def without_byte_order_mark(text: str) -> str:
    """Return the text that follows a byte order mark, with which files may begin."""
    return text.removeprefix(_BYTE_ORDER_MARK)


def deep_copy(value: Any) -> Any:
    """Copy decoded JSON; `copy.deepcopy` takes ten times as long."""
    if isinstance(value, dict):
        return {key: deep_copy(member) for key, member in value.items()}
    if isinstance(value, list):
        return [deep_copy(member) for member in value]
    return value


@dataclass(frozen=True, repr=False)
class Fetched:
    """A secret as its service returned it; the repr does not show it.

    Attributes:
        value: text, or bytes of a binary secret; of a path, all of them by name.
        version: a number that grows with every version, if the service has one. Without it, what
            is stored tells whether a secret has changed.
        also: further secrets that were read along the way, by key; only of s1crets' own stores.
    """

    value: Raw
    version: float = 0.0
    also: Mapping[CacheKey, Fetched] = field(default_factory=dict)


Single: TypeAlias = Callable[[], Awaitable[Fetched | S1cretsError]]
"""Requests a secret that was not returned together with others; returns it, or the error."""


class FetchId(NamedTuple):
    """A fetch, in the order in which this process began them."""

    process: int  # a random number of the process
    sequence: int  # grows with every fetch that begins


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
        read_at: monotonic seconds of this process at which it was read from the service.
        value: returns the decoded value, a copy that belongs to the caller.
    """

    __slots__ = ("_decoded", "fetch", "landed", "raw", "read_at", "value", "version")

    def __init__(
        self,
        raw: Raw,
        version: float = 0.0,
        fetch: FetchId | None = None,
        read_at: float = 0.0,
    ) -> None:
        self.raw = raw
        self.version = version
        self.fetch = fetch
        self.read_at = read_at
        self.landed = 0
        self.value: Callable[[], Any] = self._decode_first

    def __reduce__(self) -> str:
        raise TypeError("a cached value can't be copied or pickled")

    def _decode_first(self) -> Any:
        """Decode the raw text; later calls only copy the result, in the cheapest way."""
        self._decoded = decode(self.raw)
        if not isinstance(self._decoded, (dict, list)):
            self.value = itertools.repeat(self._decoded).__next__  # a call without a frame
            return self._decoded
        self.value = self._deep_copy if _is_nested(self._decoded) else self._decoded.copy
        try:
            return self.value()
        except RecursionError:
            self.value = self.stored  # as text that can't be parsed
            return self.stored()

    def _deep_copy(self) -> Any:
        try:
            return deep_copy(self._decoded)
        except RecursionError:
            pass  # its frames contain the value
        raise RecursionError("not enough of the stack is left to copy the value")

    def stored(self) -> Any:
        """Return the text or bytes as stored, or those of each secret under a path."""
        return dict(self.raw) if isinstance(self.raw, Mapping) else self.raw

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


@dataclass(eq=False, slots=True, weakref_slot=True)
class FetchToken:
    """The state of a tier when a fetch began. It decides whether the result may be stored."""

    key: CacheKey
    fetch: FetchId = field(default_factory=new_fetch_id)
    seen: FetchId | None = None  # the fetch that had brought the entry which was there
    # The current tombstones by the digests of their rows, None for a tombstone that did not exist;
    # None altogether if that is unknown.
    tombstones: Mapping[bytes, bytes | None] | None = None
    began: float = 0.0  # monotonic seconds, where a tier needs that
    is_void: bool = False  # whether an invalidation in this process has made the result outdated

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


class FetchTokens:
    """The tokens of the fetches under way in this process, which invalidations void."""

    def __init__(self) -> None:
        self._tokens: weakref.WeakValueDictionary[FetchId, FetchToken] = (
            weakref.WeakValueDictionary()
        )

    def add(self, token: FetchToken) -> FetchToken:
        """Register the token of a fetch that begins."""
        self._tokens[token.fetch] = token
        return token

    def void(self, secrets: Collection[str] | None, *, paths: bool) -> None:
        """Void the fetches of what an invalidation drops."""
        for reference in self._tokens.valuerefs():  # a copy, made in one step
            token = reference()
            if token is not None and depends(token.key, secrets, paths=paths):
                token.is_void = True


def depends(key: CacheKey, secrets: Collection[str] | None, *, paths: bool) -> bool:
    """Return whether an invalidation of `secrets` drops an entry; see `Tier.invalidate`."""
    if secrets is None:
        return True
    return not set(key.secrets).isdisjoint(secrets) if key.secrets else paths


def dump(raw: Raw) -> str:
    """Return `raw` as a text for disks and servers. The inverse of `load`."""
    if isinstance(raw, str):
        return "t" + raw
    if isinstance(raw, bytes):
        return "b" + base64.b64encode(raw).decode()
    return "m" + json.dumps({name: dump(member) for name, member in raw.items()})


def load(text: str) -> Raw | None:
    """Return the argument of the `dump` that made `text`, or None if none did."""
    kind, body = text[:1], text[1:]
    try:
        if kind == "t":
            return body
        if kind == "b":
            return base64.b64decode(body, validate=True)
        if kind == "m":
            return {str(name): _load_member(member) for name, member in json.loads(body).items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        pass
    return None


def _load_member(text: object) -> str | bytes:
    raw = load(text) if isinstance(text, str) else None
    if not isinstance(raw, (str, bytes)):
        raise TypeError
    return raw


_HEAD = struct.Struct("!dddQQB")
_TOMBSTONE = struct.Struct("!8s8s")


class Record(NamedTuple):
    """An entry as a backend outside the process stores it; the attributes are those of others."""

    stored: float  # wall-clock seconds
    expires: float
    version: float
    fetch: FetchId
    tombstones: Mapping[bytes, bytes]
    raw: Raw

    def cached_value(self, read_at: float) -> CachedValue:
        """Return the entry as the tiers pass it on."""
        return CachedValue(self.raw, self.version, self.fetch, read_at)


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
