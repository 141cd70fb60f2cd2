"""Values whose repr says which secret they are, and errors of pydantic's that do not show any.

Until pydantic has made them what the field's type says, secrets are in its input, which it shows in
errors, as the tools that show a traceback's locals do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from s1crets.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from pydantic_core import ErrorDetails

_DEEPEST = 100  # objects and arrays in one another; each takes frames of the stack
_SHORTEST = 4  # characters of a secret that pydantic's own messages can have in them not by chance
_HIDDEN = "**********"  # as pydantic's SecretStr has it


class Hidden:
    """What the classes below have in common.

    Attributes:
        origin: which secret it is, or is in.
    """

    origin: str

    def __repr__(self) -> str:
        return f"<{self.origin}>"

    def of(self, origin: str) -> Self:
        """Say which secret it is."""
        self.origin = origin
        return self


class HiddenStr(Hidden, str):  # noqa: SLOT000  # it has an attribute
    """Text."""


class HiddenBytes(Hidden, bytes):
    """The value of a binary secret."""


class HiddenInt(Hidden, int):
    """A number in JSON."""

    __str__ = int.__repr__


class HiddenFloat(Hidden, float):
    """A number in JSON."""

    __str__ = float.__repr__


class HiddenDict(Hidden, dict[str, Any]):
    """An object of JSON, or what a source has found."""

    def copy(self) -> HiddenDict:
        """Return another: pydantic-settings updates that."""
        return HiddenDict(self).of(self.origin)


class HiddenList(Hidden, list[Any]):
    """An array of JSON."""


_KINDS: dict[type, Any] = {
    str: HiddenStr,
    bytes: HiddenBytes,
    int: HiddenInt,
    float: HiddenFloat,
    dict: HiddenDict,
    list: HiddenList,
}


def hide(value: Any, origin: str, depth: int = 0) -> Any:
    """Return `value` with a repr that says where it is from; it is equal to what it was.

    Raises:
        InvalidValueError: it is nested too deeply.
    """
    if depth > _DEEPEST:
        del value
        message = f"{origin}: it is JSON of more than {_DEEPEST} levels"
        raise InvalidValueError(message)
    kind = _KINDS.get(type(value))
    if kind is HiddenDict:
        value = {key: hide(one, origin, depth + 1) for key, one in value.items()}
    elif kind is HiddenList:
        value = [hide(one, origin, depth + 1) for one in value]
    return kind(value).of(origin) if kind else value


def plain(value: Any) -> Any:
    """Return `value` as it was before it was hidden, in dicts and lists too."""
    if type(value) in (dict, HiddenDict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, HiddenList):
        return [plain(one) for one in value]
    kind = next((kind for kind, hidden in _KINDS.items() if isinstance(value, hidden)), None)
    return kind(value) if kind else value


def texts(value: Any) -> Iterator[str]:
    """Yield the texts of all that is hidden in `value`, as messages may have them."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, Hidden):
        bare = plain(value)
        yield from {str(bare), repr(bare), repr(bare).strip("b'\"")} - {""}


def discreet(
    error: ValidationError, given: Any, note: Callable[[ErrorDetails], str]
) -> ValidationError:
    """Return an error without input, and without messages that have a hidden value in them.

    Args:
        error: pydantic's.
        given: what was validated, with what was hidden in it.
        note: what to say of where a line's value is from.
    """
    lines: list[InitErrorDetails] = []
    for line in error.errors(include_url=False):
        type_: Any = line["type"]
        message: Any = line["msg"]
        shortest = 1 if type_ in ("value_error", "assertion_error") else _SHORTEST
        # Without a context a message is pydantic's own, word for word.
        if "ctx" in line and shows(message, given, shortest):
            message = "The value is not valid, and the message has a secret in it"
        kind = PydanticCustomError(type_, message + note(line))
        lines.append(InitErrorDetails(type=kind, loc=line["loc"], input=_HIDDEN))
    return ValidationError.from_exception_data(error.title, lines, hide_input=True)


def shows(message: str, given: Any, shortest: int = _SHORTEST) -> bool:
    """Say whether a message has something in it that is hidden in `given`, or a word of that."""
    secrets = set(texts(given))
    words = {word for one in secrets for word in re.findall(rf"\w{{{_SHORTEST},}}", one)}
    return any(one in message for one in (*words, *secrets) if len(one) >= shortest)


def origin_at(given: Any, loc: Sequence[str | int]) -> str:
    """Return which secret is at a place, or is what the place is in; the empty text if none is."""
    origin = ""
    for key in loc:
        given = _step(given, key)
        origin = given.origin if isinstance(given, Hidden) else origin
    return origin


def _step(given: Any, key: str | int) -> Any:
    if isinstance(given, dict) and key in given:
        return given[key]
    if isinstance(given, list) and isinstance(key, int):
        return given[key]
    return given  # what is no key tells which member of a union was tried
