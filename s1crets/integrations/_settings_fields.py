"""Fields of a settings model and of the models in it, and the keys by which pydantic reads them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import AliasChoices, AliasPath

from s1crets._keypath import KeyPath, keys_of, pick
from s1crets._sentinels import MISSING
from s1crets.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Place: TypeAlias = tuple[str | int, ...]
"""Location in a model's input, from the top: `("db", "password")`."""


@dataclass(frozen=True, slots=True)
class FromSecret:
    """Marks a field that comes from a secret: `Annotated[str, FromSecret("aws.ps", "/prod/db")]`.

    Attributes:
        provider: the provider's name: `"aws.ps"`, `"aws.sm"`, or another registered provider.
        path: the secret's name, as for `get`.
        keypath: a key in the secret's JSON, or a sequence of keys; integers index arrays.

    Raises:
        TypeError: the keypath is neither.
    """

    provider: str
    path: str
    keypath: KeyPath = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "keypath", tuple(keys_of(self.keypath)))

    def __str__(self) -> str:
        """Return the description used in messages."""
        secret = f"secret {self.path!r} of {self.provider}"
        keys = " / ".join(map(repr, keys_of(self.keypath)))
        return f"key {keys} of {secret}" if keys else secret


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a settings model, or of a model in it.

    Attributes:
        names: the field's name and aliases, normalized.
        places: the places where pydantic looks for its value, in order.
        marker: the secret that it comes from, if any.
        inner: the fields of the models that its value may be.
    """

    names: frozenset[str]
    places: tuple[Place, ...]
    marker: FromSecret | None
    inner: tuple[Field, ...]

    def __str__(self) -> str:
        """Return the description used in messages."""
        return ".".join(map(str, self.places[0]))

    @property
    def place(self) -> Place:
        """The first place that a value can be put at.

        Raises:
            ConfigurationError: all places are in arrays.
        """
        for place in self.places:
            if all(isinstance(key, str) for key in place):
                return place
        message = f"the field {self} is an element of an array; give it an alias that is a name"
        raise ConfigurationError(message)

    def concerns(self, loc: Place) -> bool:
        """Return whether an error's location is this field's, or that of something it is in.

        An error's location also contains the names of union members.
        """
        for place in self.places:
            keys = iter(loc)
            if place[: len(loc)] == loc or (
                place[-1] == loc[-1] and all(key in keys for key in place)
            ):
                return True
        return False

    def given(self, state: Mapping[str, Any]) -> bool:
        """Return whether other sources have the complete value; incomplete dicts are merged."""
        for place in self.places:
            found: Any = state
            for key in place:
                if found is not MISSING and not isinstance(found, dict):
                    return True  # an object that has the value, or a value of the wrong type
                found = pick(found, (key,))
            if isinstance(found, dict):
                return bool(self.inner) and all(field.given(state) for field in self.inner)
            if found is not MISSING:
                return True
        return False


def fields_of(
    model: Any, above: tuple[Place, ...] = ((),), within: tuple[Any, ...] = ()
) -> Iterator[Field]:
    """Yield the fields of a pydantic model or dataclass.

    `above` are the places of the model's input, `within` the models that this model is in.

    Raises:
        ConfigurationError: a field has two markers.
    """
    config = getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", {})
    for name, info in _infos(model).items():
        keys = list(_keys(name, info, config or {}))
        places = tuple(outer + key for outer, key in product(above, keys))
        models, markers = _search(info.annotation)
        markers += [item for item in info.metadata if isinstance(item, FromSecret)]
        inner = tuple(
            field
            for type_ in models
            if type_ not in (*within, model)  # a model that contains itself has no end
            for field in fields_of(type_, places, (*within, model))
        )
        names = frozenset(map(normalized, [name, *(key[0] for key in keys if len(key) == 1)]))
        field = Field(names, places, markers[0] if markers else None, inner)
        if len(set(markers)) > 1:
            both = " and ".join(map(str, markers))
            message = f"the field {field} has more than one secret: {both}"
            raise ConfigurationError(message)
        yield field


def flattened(fields: Iterable[Field]) -> Iterator[Field]:
    """Yield the fields and the fields of the models in them, outer fields first."""
    for field in fields:
        yield field
        yield from flattened(field.inner)


def normalized(name: object) -> str:
    """Return a name in the spelling that all its variants share."""
    return str(name).lower().replace("-", "_")


def _keys(name: str, info: Any, config: Any) -> Iterator[Place]:
    """Yield the keys by which pydantic looks a field up, in order."""
    alias = info.validation_alias
    if alias is not None and config.get("validate_by_alias") is not False:
        for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            yield tuple(choice.path) if isinstance(choice, AliasPath) else (choice,)
        if not (config.get("populate_by_name") or config.get("validate_by_name")):
            return
    yield (name,)


def _search(annotation: Any) -> tuple[list[Any], list[FromSecret]]:
    """Return the models that a value may be, and the markers on the way to them."""
    if hasattr(annotation, "__value__"):  # type X = ...
        return _search(annotation.__value__)
    types, markers = list(get_args(annotation)), list[FromSecret]()
    if get_origin(annotation) is Annotated:
        markers = [item for item in types[1:] if isinstance(item, FromSecret)]
        del types[1:]
    elif get_origin(annotation) not in (Union, UnionType):
        return ([annotation] if _infos(annotation) else []), markers
    found = [_search(type_) for type_ in types]
    return (
        [model for models, _ in found for model in models],
        [marker for _, inner in found for marker in inner] + markers,
    )


def _infos(model: Any) -> Mapping[str, Any]:
    """Return pydantic's information on the fields of a model or dataclass; of others nothing."""
    found = getattr(model, "model_fields", None) or getattr(model, "__pydantic_fields__", None)
    return found if isinstance(model, type) and isinstance(found, dict) else {}
