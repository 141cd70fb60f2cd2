"""Lookup in a decoded value: `pick({"a": ["x"]}, ("a", 0))` is `"x"`; the reason if it fails.

`MISSING` and `UNSET` differ from every value.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

KeyPath: TypeAlias = str | int | Sequence[str | int]

_INDEX = re.compile(r"-?[0-9]{1,9}")


class Missing(enum.Enum):
    """The type of `MISSING`: there is nothing there."""

    MISSING = enum.auto()


class Unset(enum.Enum):
    """The type of `UNSET`: this argument was not given."""

    UNSET = enum.auto()

    def __repr__(self) -> str:
        return "UNSET"


# Both differ from None, which may be a value.
MISSING: Final = Missing.MISSING
UNSET: Final = Unset.UNSET


def keys_of(keypath: KeyPath) -> Sequence[str | int]:
    """Return the keys of a `keypath` argument, or raise a TypeError."""
    keys = (keypath,) if isinstance(keypath, (str, int)) else keypath
    if not isinstance(keys, Sequence) or isinstance(keys, bytes):
        message = f"keypath must be a key or a sequence of keys, not {type(keypath).__name__}"
        raise TypeError(message)
    for key in keys:
        if not isinstance(key, (str, int)):
            raise TypeError(f"a key in keypath must be str or int, not {type(key).__name__}")
    return keys


def pick(value: Any, keys: Iterable[str | int]) -> Any:
    """Return the item at `keys` in a decoded value, or `MISSING`."""
    for key in keys:
        value = _step(value, key)
    return value


def _step(value: Any, key: str | int) -> Any:
    if isinstance(value, dict) and isinstance(key, str):
        return value.get(key, MISSING)
    if isinstance(value, list):
        # An array has no text keys, so a numeric text, as from a path, is an index.
        index = int(key) if isinstance(key, str) and _INDEX.fullmatch(key) else key
        if type(index) is int and -len(value) <= index < len(value):
            return value[index]
    return MISSING


def describe_missing(value: Callable[[], Any], keys: Sequence[str | int]) -> str:
    """Return keys that lead to nothing, and the reason.

    `value` returns the decoded value. As an argument it would be in this frame, and so in a report
    of an error that a key of an unusual class raises here.
    """
    parts = [part for key in keys for part in (key.split(".") if isinstance(key, str) else [key])]
    reason = "the secret exists, but not this key in it"
    if not isinstance(value(), (dict, list)):
        reason = "its value is not a JSON object or array"
    elif pick(value(), parts) is not MISSING:
        reason = f"dots do not separate keys; did you mean the keys {_joined(parts)}?"
    return f"{_joined(keys)}: {reason}"


def _joined(keys: Iterable[str | int]) -> str:
    return " / ".join(map(repr, keys))
