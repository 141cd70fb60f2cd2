"""What AWS stores is text or bytes; what a caller gets is a value. Pure functions between them."""

from __future__ import annotations

import base64
import enum
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from s1crets.errors import InvalidValueError

Raw: TypeAlias = str | bytes | Mapping[str, str | bytes]
"""What a cache stores: a secret as AWS sent it, or all that are below a path, by name."""

KeyPath: TypeAlias = str | int | Sequence[str | int]


_INDEX = re.compile(r"-?[0-9]{1,9}")


class Unset(enum.Enum):
    """The type of `UNSET`: "this argument was not given", since `None` is a legal default."""

    UNSET = enum.auto()

    def __repr__(self) -> str:
        return "UNSET"


class Missing(enum.Enum):
    """The type of `MISSING`: "there is nothing there"."""

    MISSING = enum.auto()


UNSET: Final = Unset.UNSET
MISSING: Final = Missing.MISSING


class Concealed:
    """A value on its way to AWS, in a box whose repr does not show it.

    Every frame that a value passes holds this instead, so no traceback with locals has it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def reveal(self) -> Any:
        """Return the value."""
        return self._value


def conceal(value: object) -> Concealed:
    """Put `value` into a box, unless it is in one."""
    return value if isinstance(value, Concealed) else Concealed(value)


class Held:
    """A secret as a cache holds it: what AWS sent, and, once asked for, what that decodes to.

    Attributes:
        raw: what AWS sent.
        version: a number that grows with every version of the secret; 0 where there is none.
        landed: when a cache got it, by a clock of that cache.
        value: returns the decoded value, which is the caller's own to change.
    """

    __slots__ = ("_decoded", "landed", "raw", "value", "version")

    def __init__(self, raw: Raw, version: float = 0.0, landed: float = 0.0) -> None:
        self.raw = raw
        self.version = version
        self.landed = landed
        self.value: Callable[[], Any] = self._first

    def _first(self) -> Any:
        """Decode what AWS sent; from now on only a copy is made, in the cheapest way."""
        self._decoded = _decode(self.raw)
        if not isinstance(self._decoded, (dict, list)):
            self.value = partial(_itself, self._decoded)
            return self._decoded
        self.value = self._deep_copy if _is_nested(self._decoded) else self._decoded.copy
        try:
            return self.value()
        except RecursionError:
            self.value = partial(_itself, self.raw)  # as what can't even be parsed
            return self.raw

    def _deep_copy(self) -> Any:
        try:
            return _deep_copy(self._decoded)
        except RecursionError:
            pass  # its frames have the value
        raise RecursionError("there is too little of the stack left to copy the value")

    def pick(self, keypath: KeyPath) -> Any:
        """Return what is at `keypath` in the value, or `MISSING`."""
        keys = keys_of(keypath)  # before there is a value in this frame
        return pick(self.value(), keys)


def together(found: Mapping[str, Held]) -> Held:
    """Return single secrets as one mapping of them."""
    return Held({name: one.raw for name, one in found.items()})  # type: ignore[misc]  # single


def keys_of(keypath: KeyPath) -> Sequence[str | int]:
    """Return the single keys of a `keypath` argument: one key alone, or a sequence of them.

    Raises:
        TypeError: it is neither, or one of the keys is not text or a number.
    """
    keys = (keypath,) if isinstance(keypath, (str, int)) else keypath
    if not isinstance(keys, Sequence) or isinstance(keys, bytes):
        message = f"keypath can't be {type(keypath).__name__}: it is a key, or a sequence of keys"
        raise TypeError(message)
    for key in keys:
        if not isinstance(key, (str, int)):
            message = f"keypath can't have {type(key).__name__} in it: a key is text or a number"
            raise TypeError(message)
    return keys


def pick(value: Any, keys: Iterable[str | int]) -> Any:
    """Return what is at `keys` in a decoded value, or `MISSING`."""
    for key in keys:
        value = _step(value, key)
    return value


def _step(value: Any, key: str | int) -> Any:
    if isinstance(value, dict) and isinstance(key, str):
        return value.get(key, MISSING)
    if isinstance(value, list):
        # An array has no text keys, so text that is a number, as from a path, is an index.
        index = int(key) if isinstance(key, str) and _INDEX.fullmatch(key) else key
        if type(index) is int and -len(value) <= index < len(value):
            return value[index]
    return MISSING


def _decode(raw: Raw) -> Any:
    """Parse `raw` if it is a JSON object or array; every other text stays as it is."""
    if isinstance(raw, str):
        if raw.lstrip(" \t\r\n")[:1] in ("{", "["):
            try:
                return json.loads(raw)
            except (ValueError, RecursionError):
                return raw
        return raw
    if isinstance(raw, bytes):
        return raw
    return {name: _decode(one) for name, one in raw.items()}


def _is_nested(value: dict[str, Any] | list[Any]) -> bool:
    inside = value.values() if isinstance(value, dict) else value
    return any(isinstance(one, (dict, list)) for one in inside)


def _itself(value: Any) -> Any:
    return value


def _deep_copy(value: Any) -> Any:
    """Copy decoded JSON; `copy.deepcopy` takes ten times as long."""
    if isinstance(value, dict):
        return {key: _deep_copy(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_deep_copy(one) for one in value]
    return value


def dump(raw: Raw) -> str:
    """Return `raw` as the one text form that disks and servers store. The inverse of `load`."""
    if isinstance(raw, str):
        return "t" + raw
    if isinstance(raw, bytes):
        return "b" + base64.b64encode(raw).decode()
    return "m" + json.dumps({name: dump(one) for name, one in raw.items()})


def load(text: str, start: int = 0) -> Raw | None:
    """Return what `dump` was given, or None if `text`, from `start` on, did not come from there."""
    kind, body = text[start : start + 1], text[start + 1 :]
    try:
        if kind == "t":
            return body
        if kind == "b":
            return base64.b64decode(body, validate=True)
        if kind == "m":
            return {str(name): _load_one(one) for name, one in json.loads(body).items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        pass
    return None


def _load_one(text: object) -> str | bytes:
    raw = load(text) if isinstance(text, str) else None
    if not isinstance(raw, (str, bytes)):
        raise TypeError
    return raw


def encode(value: Concealed, *, binary: bool, limit: int) -> str | bytes:
    """Return what to send for `value`: text, JSON of a dict or list, bytes where `binary`.

    Raises:
        InvalidValueError: the type is another, JSON can't express it, it is empty, or it is
            longer than `limit` bytes.
    """
    raw, problem = _serialized(value, binary=binary)
    size = len(raw.encode() if isinstance(raw, str) else raw)
    if not problem and not 0 < size <= limit:
        problem = f"it has {size:,} bytes, and the service takes 1 to {limit:,}"
    if problem:
        del raw
        message = f"the value can't be stored: {problem}"
        raise InvalidValueError(message)
    return raw


def _serialized(value: Concealed, *, binary: bool) -> tuple[str | bytes, str]:
    """Return the bytes or text to store, and what is wrong with it, if anything."""
    kind = type(value.reveal()).__name__
    allowed = "str, dict, list" + (", bytes" if binary else "")
    if isinstance(value.reveal(), bytes) and binary:
        return bytes(value.reveal()), ""
    if isinstance(value.reveal(), (dict, list)):
        try:
            text = json.dumps(value.reveal(), allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            return "", f"there is something in the {kind} that JSON can't express"
    elif isinstance(value.reveal(), str):
        text = str(value.reveal())
    else:
        return "", f"it is {kind}, and only {allowed} can be"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "", "it has a lone surrogate in it, which UTF-8 can't express"
    return text, ""
