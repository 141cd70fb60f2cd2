"""Values of settings fields: whether a secret is read as text, as a list, or as JSON; hidden ones.

Until pydantic has validated it, a secret is part of pydantic's input, which appears in errors, logs
and tracebacks with locals. So its repr shows its origin instead, and errors contain no values.
"""

from __future__ import annotations

import collections.abc
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum, auto
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, cast, get_args, get_origin, is_typeddict

import pydantic
from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from s1crets._json import items
from s1crets._keypath import MISSING, KeyPath, keys_of, pick
from s1crets.cache.entry import begins_like_json, decode, without_byte_order_mark
from s1crets.errors import InvalidValueError, S1cretsError

_MAX_LEVELS = 100  # of nested objects and arrays; each takes frames of the stack
_MIN_MATCH = 4  # characters; pydantic's own messages contain shorter secrets by chance
_PLACEHOLDER = "**********"  # the same as SecretStr's

_TEXTS = (str, bytes, pydantic.SecretStr, pydantic.SecretBytes)
_JSON: Any = pydantic.Json  # for checkers it is `Annotated`
_LISTS = (list, set, frozenset, tuple, collections.abc.Sequence, collections.abc.Set)


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


class Shape(Enum):
    """The form in which a field takes a secret."""

    TEXT = auto()  # as it is stored, also if it is JSON
    LIST = auto()  # JSON, or items separated by commas, as a StringList is stored; not broken JSON
    JSON = auto()  # parsed if it is an object or array


def shape_of(annotation: Any, metadata: list[Any]) -> Shape:
    """Return the form that a field with this type and metadata takes."""
    if any(isinstance(one, _JSON) or one is _JSON for one in metadata):
        return Shape.TEXT
    types = list(_leaves(annotation))
    if any(map(_is_structure, types)):
        return Shape.JSON
    if any(issubclass(one, (*_TEXTS, _JSON)) for one in types):
        return Shape.TEXT
    return Shape.LIST if any(issubclass(one, _LISTS) for one in types) else Shape.JSON


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield the types that a value may have; of a generic type its origin."""
    origin = get_origin(annotation)
    if hasattr(annotation, "__value__"):  # type X = ...
        yield from _leaves(annotation.__value__)
    elif origin is Annotated:
        is_json = any(isinstance(one, _JSON) for one in annotation.__metadata__)
        yield from [_JSON] if is_json else _leaves(annotation.__origin__)
    elif origin in (Union, UnionType) or origin is pydantic.Secret:
        for one in get_args(annotation):
            yield from _leaves(one)
    elif origin is Literal:
        yield from map(type, get_args(annotation))
    else:
        yield origin or annotation


def _is_structure(leaf: Any) -> bool:
    """Return whether a type takes parsed JSON, or anything."""
    if not isinstance(leaf, type) or leaf is object or is_typeddict(leaf):
        return True
    if hasattr(leaf, "__pydantic_fields__") or hasattr(leaf, "__dataclass_fields__"):
        return True
    return issubclass(leaf, Mapping)


class Item:
    """A secret, or an item of its JSON, until a field says what it is read as.

    Args:
        source: the secret as it is stored, or the JSON text of an item in it.
        origin: the secret, for messages.
        inside: whether it is an item.
    """

    def __init__(self, source: str | bytes, origin: str, *, inside: bool = False) -> None:
        self._source = source
        self.origin = origin
        self._inside = inside

    def __repr__(self) -> str:
        return f"<{self.origin}>"

    def parsed(self) -> Any:
        """Return the value as JSON, hidden; an error if it is nested too deeply."""
        return hide(self._decoded(), self.origin)

    def read_as(self, shape: Shape) -> Any:
        """Return the value in the form that a field takes, hidden."""
        value = self._decoded()
        if shape is Shape.LIST and isinstance(value, str) and not begins_like_json(value):
            return hide(value.split(","), self.origin)
        if shape is Shape.TEXT and not isinstance(value, (str, bytes, type(None))):
            return hide(without_byte_order_mark(str(self._source)), self.origin)
        return hide(value, self.origin)

    def members(self) -> dict[str, Item]:
        """Return the items of a JSON object by key; nothing for anything else."""
        return {str(key): item for key, item in self._items(dict)}

    def at(self, keypath: KeyPath) -> Item | None:
        """Return the item at a keypath, if there is one."""
        item = self
        for key in keys_of(keypath):
            value = item._decoded()
            place = pick(list(range(len(value))) if isinstance(value, list) else value, [key])
            if place is MISSING:
                return None
            wanted = place if isinstance(value, list) else key
            item = dict(item._items(dict, list))[wanted]
        return item

    def _items(self, *kinds: type) -> Iterator[tuple[str | int, Item]]:
        if isinstance(self._decoded(), kinds):
            for key, source in items(without_byte_order_mark(str(self._source))):
                yield key, Item(source, self.origin, inside=True)

    def _decoded(self) -> Any:
        return json.loads(self._source) if self._inside else decode(self._source)


def checked(secret: Any, origin: str) -> Item | S1cretsError:
    """Return the `Item` of a secret; an error as it is, or if JSON is nested too deeply."""
    if isinstance(secret, S1cretsError):
        return secret
    item = Item(secret, origin)
    problem = item.parsed()
    return problem if isinstance(problem, S1cretsError) else item
