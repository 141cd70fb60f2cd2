"""The content of a cache entry: a secret as the service stores it, decoded on the way out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from s1crets._codec import Raw, decode, deep_copy
from s1crets._keypath import KeyPath, keys_of, pick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class CachedValue:
    """A secret as a cache stores it: the raw text or bytes, and, once needed, the decoded value.

    Attributes:
        raw: the text or bytes as the service stores them.
        version: a number that grows with every version of the secret; 0 if there is none.
        landed: when a cache got it, by a clock of that cache.
        value: returns a copy of the decoded value.
    """

    __slots__ = ("_decoded", "landed", "raw", "value", "version")

    def __init__(self, raw: Raw, version: float = 0.0, landed: float = 0.0) -> None:
        self.raw = raw
        self.version = version
        self.landed = landed
        self.value: Callable[[], Any] = self._decode_first

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


def together(found: Mapping[str, CachedValue]) -> CachedValue:
    """Return single secrets as a mapping of them."""
    return CachedValue({name: member.raw for name, member in found.items()})  # type: ignore[misc]


def _is_nested(value: dict[str, Any] | list[Any]) -> bool:
    members = value.values() if isinstance(value, dict) else value
    return any(isinstance(member, (dict, list)) for member in members)


def _identity(value: Any) -> Any:
    return value
