"""Hidden values, whose repr shows their origin instead, and errors of pydantic without values.

Until pydantic has validated it, a secret is part of pydantic's input, which appears in errors, logs
and tracebacks with locals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from s1crets.errors import InvalidValueError

_MAX_LEVELS = 100  # of nested objects and arrays; each takes frames of the stack
_MIN_MATCH = 4  # characters; pydantic's own messages contain shorter secrets by chance
_PLACEHOLDER = "**********"  # the same as SecretStr's


class Hidden:
    """Base of the classes of hidden values."""

    origin: str  # the secret that the value comes from

    def __repr__(self) -> str:
        return f"<{self.origin}>"

    def of(self, origin: str) -> Self:
        """Set the origin."""
        self.origin = origin
        return self


class _Str(Hidden, str): ...  # noqa: SLOT000  # it has an attribute


class _Bytes(Hidden, bytes): ...


class _Int(Hidden, int):
    __str__ = int.__repr__


class _Float(Hidden, float):
    __str__ = float.__repr__


class _List(Hidden, list[Any]): ...


class HiddenDict(Hidden, dict[str, Any]):
    """A hidden object of JSON, or the result of a source."""

    def copy(self) -> HiddenDict:
        """Return a hidden copy: pydantic-settings updates a copy of a source's result."""
        return HiddenDict(self).of(self.origin)


_CLASSES: dict[type, Any] = {
    str: _Str, bytes: _Bytes, int: _Int, float: _Float, list: _List, dict: HiddenDict
}  # fmt: skip


def hide(value: Any, origin: str) -> Any:
    """Return an equal value whose repr shows its origin; an error if it is nested too deeply."""
    if _is_deep(value):
        return InvalidValueError(f"{origin}: it is JSON of more than {_MAX_LEVELS} levels")
    return _hide(value, origin)


def _is_deep(value: Any, levels: int = _MAX_LEVELS) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    items = value if isinstance(value, list) else []
    return levels < 0 or any(_is_deep(item, levels - 1) for item in items)


def _hide(value: Any, origin: str) -> Any:
    if isinstance(value, dict):
        value = {key: _hide(item, origin) for key, item in value.items()}
    elif isinstance(value, list):
        value = [_hide(item, origin) for item in value]
    hidden = _CLASSES.get(type(value))
    return hidden(value).of(origin) if hidden else value


def plain(value: Any) -> Any:
    """Return `value` with everything in it as it was before it was hidden."""
    if type(value) in (dict, HiddenDict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, _List):
        return [plain(item) for item in value]
    kind = next((kind for kind, hidden in _CLASSES.items() if isinstance(value, hidden)), None)
    return kind(value) if kind else value


def reveals(message: str, given: Any, shortest: int = _MIN_MATCH) -> bool:
    """Return whether a message contains a value hidden in `given`, or a word of such a value."""
    secrets = set(_texts(given))
    words = {word for text in secrets for word in re.findall(rf"\w{{{_MIN_MATCH},}}", text)}
    return any(len(text) >= shortest and text in message for text in words | secrets)


def _texts(value: Any) -> Iterator[str]:
    """Yield every form in which a message could contain a hidden value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, Hidden):
        bare = plain(value)
        yield from {str(bare), repr(bare), repr(bare).strip("b'\"")} - {""}


def redacted(
    error: ValidationError, given: Any, note: Callable[[ErrorDetails], str]
) -> ValidationError:
    """Return an error without its input `given`, and without messages that reveal a hidden value.

    `note` returns an addition to the message of a line.
    """
    lines: list[InitErrorDetails] = []
    for line in error.errors(include_url=False):
        type_: Any = line["type"]
        message: Any = line["msg"]
        shortest = 1 if type_ in ("value_error", "assertion_error") else _MIN_MATCH
        # Without a context a message is pydantic's own and has no variable parts.
        if "ctx" in line and reveals(message, given, shortest):
            message = "The value is not valid, and the original message contains a secret"
        kind = PydanticCustomError(type_, message + note(line))
        lines.append(InitErrorDetails(type=kind, loc=line["loc"], input=_PLACEHOLDER))
    return ValidationError.from_exception_data(error.title, lines, hide_input=True)


def origin_at(given: Any, loc: Sequence[str | int]) -> str:
    """Return the origin of the innermost hidden value that contains a location, or empty text."""
    origin = ""
    for key in loc:
        index = isinstance(given, list) and isinstance(key, int)
        if index or (isinstance(given, dict) and key in given):
            given = cast("Any", given)[key]  # other keys are names of union members
        origin = given.origin if isinstance(given, Hidden) else origin
    return origin
