"""The fields of a settings model, of the models in it too, and the keys that pydantic reads."""

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
"""Where in a model's input something is, from the top: `("db", "password")`."""


@dataclass(frozen=True, slots=True)
class FromSecret:
    """Says which secret a field comes from: `Annotated[str, FromSecret("aws.ps", "/prod/db/url")]`.

    Attributes:
        provider: the provider's name: `"aws.ps"`, `"aws.sm"`, or another that there is.
        path: the secret's name, as the provider's `get` takes it.
        keypath: one key into the secret's JSON, or a sequence of them; ints index arrays.

    Raises:
        TypeError: the keypath is neither.
    """

    provider: str
    path: str
    keypath: KeyPath = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "keypath", tuple(keys_of(self.keypath)))

    def __str__(self) -> str:
        """Return what messages call it."""
        secret = f"secret {self.path!r} of {self.provider}"
        keys = " / ".join(map(repr, keys_of(self.keypath)))
        return f"key {keys} of {secret}" if keys else secret


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a settings model, or of a model in it.

    Attributes:
        names: the field's name and aliases, as `same` writes them.
        places: where pydantic looks for its value.
        marker: which secret it comes from, if it is marked.
        inner: the fields of the models that it may be.
    """

    names: frozenset[str]
    places: tuple[Place, ...]
    marker: FromSecret | None
    inner: tuple[Field, ...]

    def __str__(self) -> str:
        """Return what messages call it."""
        return _dotted(self.places[0])

    @property
    def place(self) -> tuple[str, ...]:
        """Where to put a value, so that pydantic finds it.

        Raises:
            ConfigurationError: it has no name, only a place in an array.
        """
        for place in self.places:
            names = tuple(key for key in place if isinstance(key, str))
            if len(names) == len(place):
                return names
        message = f"the field {self} is an element of an array: give it an"
        raise ConfigurationError(message + " alias that is a name, where a secret is to go")

    def about(self, loc: Place) -> bool:
        """Say whether an error at `loc`, which has names of union members in it, is about it.

        An error is also about what is inside of that which it is about.
        """
        for place in self.places:
            keys = iter(loc)
            if place[: len(loc)] == loc or (
                place[-1] == loc[-1] and all(key in keys for key in place)
            ):
                return True
        return False

    def given(self, state: Mapping[str, Any]) -> bool:
        """Say whether other sources have the whole of it; what they have of a dict is merged."""
        for place in self.places:
            found: Any = state
            for key in place:
                if found is not MISSING and not isinstance(found, dict):
                    return True  # an object that has it, or something that can't
                found = pick(found, (key,))
            if isinstance(found, dict):
                return bool(self.inner) and all(field.given(state) for field in self.inner)
            if found is not MISSING:
                return True
        return False


def fields_of(
    model: Any, above: tuple[Place, ...] = ((),), on: tuple[Any, ...] = ()
) -> list[Field]:
    """Return a model's fields.

    Args:
        model: a class of pydantic's.
        above: where the model's input is.
        on: the models that this one is in.

    Raises:
        ConfigurationError: a field has two markers.
    """
    return [
        _field(name, info, _config(model), above, (*on, model))
        for name, info in _infos(model).items()
    ]


def every(fields: Iterable[Field]) -> Iterator[Field]:
    """Yield the fields and those of the models in them, those on the outside first."""
    for field in fields:
        yield field
        yield from every(field.inner)


def marked(fields: Iterable[Field]) -> Iterator[tuple[Field, FromSecret]]:
    """Yield the fields that come from secrets."""
    for field in every(fields):
        if field.marker:
            yield field, field.marker


def same(name: object) -> str:
    """Return what two spellings of a name have in common."""
    return str(name).lower().replace("-", "_")


def _field(
    name: str, info: Any, config: Any, above: tuple[Place, ...], on: tuple[Any, ...]
) -> Field:
    keys = list(_keys(name, info, config))
    places = tuple(outer + key for outer, key in product(above, keys))
    models, markers = _inside(info.annotation)
    markers += [one for one in info.metadata if isinstance(one, FromSecret)]
    if len(set(markers)) > 1:
        message = f"the field {_dotted(places[0])} has more than one secret: "
        message += " and ".join(map(str, markers))
        raise ConfigurationError(message)
    return Field(
        names=frozenset({same(name), *(same(key[0]) for key in keys if len(key) == 1)}),
        places=places,
        marker=markers[0] if markers else None,
        inner=tuple(
            field
            for model in models
            if model not in on  # or a tree's nodes would have no end
            for field in fields_of(model, places, on)
        ),
    )


def _keys(name: str, info: Any, config: Any) -> Iterator[Place]:
    """Yield the keys that pydantic looks a field up by, the first that it looks for first."""
    alias = info.validation_alias
    if alias is not None and config.get("validate_by_alias") is not False:
        for one in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            yield tuple(one.path) if isinstance(one, AliasPath) else (one,)
        if not (config.get("populate_by_name") or config.get("validate_by_name")):
            return
    yield (name,)


def _inside(annotation: Any) -> tuple[list[Any], list[FromSecret]]:
    """Return the models that a value may be, and the markers on the way to them."""
    if hasattr(annotation, "__value__"):  # type X = ...
        return _inside(annotation.__value__)
    kinds: list[Any] = [annotation]
    markers: list[FromSecret] = []
    if get_origin(annotation) is Annotated:
        kinds = list(get_args(annotation)[:1])
        markers = [one for one in annotation.__metadata__ if isinstance(one, FromSecret)]
    elif get_origin(annotation) in (Union, UnionType):
        kinds = list(get_args(annotation))
    elif _infos(annotation):
        return kinds, []
    else:
        return [], []
    inside = [_inside(kind) for kind in kinds]
    return (
        [model for models, _ in inside for model in models],
        [one for _, found in inside for one in found] + markers,
    )


def _infos(model: Any) -> Mapping[str, Any]:
    """Return what pydantic knows of a model's or a dataclass's fields; of others nothing."""
    found = getattr(model, "model_fields", None) or getattr(model, "__pydantic_fields__", None)
    return found if isinstance(model, type) and isinstance(found, dict) else {}


def _config(model: Any) -> Mapping[str, Any]:
    return getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", None) or {}


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))
