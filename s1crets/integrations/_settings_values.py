"""Values of settings fields: whether a secret is read as text, as a list, or as JSON."""

from __future__ import annotations

import collections.abc
import json
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict

import pydantic

from s1crets._json_source import items
from s1crets._keypath import MISSING, KeyPath, keys_of, pick
from s1crets.cache.entry import begins_like_json, decode, without_byte_order_mark
from s1crets.errors import S1cretsError
from s1crets.integrations._settings_redaction import hide

_TEXTS = (str, bytes, pydantic.SecretStr, pydantic.SecretBytes)
_JSON: Any = pydantic.Json  # for checkers it is `Annotated`
_LISTS = (list, set, frozenset, tuple, collections.abc.Sequence, collections.abc.Set)


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
