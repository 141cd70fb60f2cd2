"""Settings of pydantic-settings whose fields are secrets. Needs the extra `settings`.

```python
class Settings(SecretSettings):
    db_url: Annotated[SecretStr, FromSecret("aws.ps", "/prod/db/url")]
    api_key: Annotated[str, FromSecret("aws.sm", "prod/api", keypath="key")]
    workers: int = 4


settings = Settings()
```
The sources also work in any other `BaseSettings`. Reprs of values, and thereby the text of a
`ValidationError`, then show the secret's name instead. But the error's `json()` and the `input` of
its `errors()` contain values there, and so may messages of your own validators; a missing field is
reported without its secret; and fields of the types `Any`, `bytes` and `dict` have subclasses of
`str`, `bytes` etc. as values.
"""

from __future__ import annotations

import collections.abc
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, auto
from itertools import product
from types import UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    TypeAlias,
    Union,
    cast,
    get_args,
    get_origin,
    is_typeddict,
)

from s1crets._json import items
from s1crets._keypath import MISSING, KeyPath, keys_of, pick
from s1crets.cache.entry import begins_like_json, decode, without_byte_order_mark
from s1crets.errors import ConfigurationError, InvalidValueError, S1cretsError, SecretNotFoundError

try:
    import pydantic
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
    from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError
    from pydantic_settings import PydanticBaseSettingsSource as SettingsSource
except ImportError as error:
    message = "settings need the extra `settings`: pip install 's1crets[settings]'"
    raise ConfigurationError(message) from error

from s1crets.providers import provider as process_wide
from s1crets.providers.async_provider import AsyncProvider

_Place: TypeAlias = tuple[str | int, ...]  # in a model's input: `("db", "password")`

_MAX_LEVELS = 100  # of nested objects and arrays; each takes frames of the stack
_MIN_MATCH = 4  # characters; pydantic's own messages contain shorter secrets by chance
_PLACEHOLDER = "**********"  # the same as SecretStr's
_TEXTS = (str, bytes, pydantic.SecretStr, pydantic.SecretBytes)
_JSON: Any = pydantic.Json  # for checkers it is `Annotated`
_LISTS = (list, set, frozenset, tuple, collections.abc.Sequence, collections.abc.Set)

__all__ = [
    "FromSecret",
    "SecretSettings",
    "SecretSettingsError",
    "SecretsPathSource",
    "SecretsSource",
]


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


class SecretSettingsError(S1cretsError, SettingsError):
    """Secrets could not be read, for another reason than that they do not exist.

    Attributes:
        errors: the errors by field (`"db.password"`), or by path.
    """

    def __init__(self, message: str, errors: Mapping[str, S1cretsError]) -> None:
        super().__init__(message)
        self.errors = errors

    def __reduce__(self) -> tuple[type[S1cretsError], tuple[str]]:
        """Pickle only the message, like `BatchError`."""
        return S1cretsError, (str(self),)


class _Hidden:
    """Base of the classes of hidden values, whose repr shows their origin.

    Until pydantic has validated it, a secret is part of pydantic's input, which appears in errors,
    logs and tracebacks with locals.
    """

    origin: str  # the secret that the value comes from

    def __repr__(self) -> str:
        return f"<{self.origin}>"

    def of(self, origin: str) -> Self:
        """Set the origin."""
        self.origin = origin
        return self


class _Str(_Hidden, str): ...  # noqa: SLOT000  # it has an attribute


class _Bytes(_Hidden, bytes): ...


class _Int(_Hidden, int):
    __str__ = int.__repr__


class _Float(_Hidden, float):
    __str__ = float.__repr__


class _List(_Hidden, list[Any]): ...


class _HiddenDict(_Hidden, dict[str, Any]):
    """A hidden object of JSON, or the result of a source."""

    def copy(self) -> _HiddenDict:
        """Return a hidden copy: pydantic-settings updates a copy of a source's result."""
        return _HiddenDict(self).of(self.origin)


_CLASSES: dict[type, Any] = {
    str: _Str, bytes: _Bytes, int: _Int, float: _Float, list: _List, dict: _HiddenDict
}  # fmt: skip


def _hide(value: Any, origin: str) -> Any:
    """Return an equal value whose repr shows its origin; an error if it is nested too deeply."""
    if _is_deep(value):
        return InvalidValueError(f"{origin}: it is JSON of more than {_MAX_LEVELS} levels")
    return _hidden(value, origin)


def _is_deep(value: Any, levels: int = _MAX_LEVELS) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    inner = value if isinstance(value, list) else []
    return levels < 0 or any(_is_deep(item, levels - 1) for item in inner)


def _hidden(value: Any, origin: str) -> Any:
    if isinstance(value, dict):
        value = {key: _hidden(item, origin) for key, item in value.items()}
    elif isinstance(value, list):
        value = [_hidden(item, origin) for item in value]
    hidden = _CLASSES.get(type(value))
    return hidden(value).of(origin) if hidden else value


def _plain(value: Any) -> Any:
    """Return `value` with everything in it as it was before it was hidden."""
    if type(value) in (dict, _HiddenDict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, _List):
        return [_plain(item) for item in value]
    kind = next((kind for kind, hidden in _CLASSES.items() if isinstance(value, hidden)), None)
    return kind(value) if kind else value


def _reveals(message: str, given: Any, shortest: int = _MIN_MATCH) -> bool:
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
    elif isinstance(value, _Hidden):
        bare = _plain(value)
        yield from {str(bare), repr(bare), repr(bare).strip("b'\"")} - {""}


def _redacted(
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
        if "ctx" in line and _reveals(message, given, shortest):
            message = "The value is not valid, and the original message contains a secret"
        kind = PydanticCustomError(type_, message + note(line))
        lines.append(InitErrorDetails(type=kind, loc=line["loc"], input=_PLACEHOLDER))
    return ValidationError.from_exception_data(error.title, lines, hide_input=True)


def _origin_at(given: Any, loc: Sequence[str | int]) -> str:
    """Return the origin of the innermost hidden value that contains a location, or empty text."""
    origin = ""
    for key in loc:
        index = isinstance(given, list) and isinstance(key, int)
        if index or (isinstance(given, dict) and key in given):
            given = cast("Any", given)[key]  # other keys are names of union members
        origin = given.origin if isinstance(given, _Hidden) else origin
    return origin


class _Shape(Enum):
    """The form in which a field takes a secret."""

    TEXT = auto()  # as it is stored, also if it is JSON
    LIST = auto()  # JSON, or items separated by commas, as a StringList is stored; not broken JSON
    JSON = auto()  # parsed if it is an object or array


def _shape_of(annotation: Any, metadata: list[Any]) -> _Shape:
    """Return the form that a field with this type and metadata takes."""
    if any(isinstance(one, _JSON) or one is _JSON for one in metadata):
        return _Shape.TEXT
    types = list(_leaves(annotation))
    if any(map(_is_structure, types)):
        return _Shape.JSON
    if any(issubclass(one, (*_TEXTS, _JSON)) for one in types):
        return _Shape.TEXT
    return _Shape.LIST if any(issubclass(one, _LISTS) for one in types) else _Shape.JSON


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


class _Item:
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
        return _hide(self._decoded(), self.origin)

    def read_as(self, shape: _Shape) -> Any:
        """Return the value in the form that a field takes, hidden."""
        value = self._decoded()
        if shape is _Shape.LIST and isinstance(value, str) and not begins_like_json(value):
            return _hide(value.split(","), self.origin)
        if shape is _Shape.TEXT and not isinstance(value, (str, bytes, type(None))):
            return _hide(without_byte_order_mark(str(self._source)), self.origin)
        return _hide(value, self.origin)

    def members(self) -> dict[str, _Item]:
        """Return the items of a JSON object by key; nothing for anything else."""
        return {str(key): item for key, item in self._items(dict)}

    def at(self, keypath: KeyPath) -> _Item | None:
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

    def _items(self, *kinds: type) -> Iterator[tuple[str | int, _Item]]:
        if isinstance(self._decoded(), kinds):
            for key, source in items(without_byte_order_mark(str(self._source))):
                yield key, _Item(source, self.origin, inside=True)

    def _decoded(self) -> Any:
        return json.loads(self._source) if self._inside else decode(self._source)


def _checked(secret: Any, origin: str) -> _Item | S1cretsError:
    """Return the `_Item` of a secret; an error as it is, or if JSON is nested too deeply."""
    if isinstance(secret, S1cretsError):
        return secret
    item = _Item(secret, origin)
    problem = item.parsed()
    return problem if isinstance(problem, S1cretsError) else item


class _Source(SettingsSource):
    def __init__(
        self, settings_cls: type[BaseSettings], *, providers: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(settings_cls)
        self._providers = dict(providers or {})

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Return nothing: calling the source reads all fields together."""
        return None, field_name, False

    def _fields(self) -> list[_Field]:
        self.settings_cls.model_rebuild()  # annotations may name classes that were defined later
        return list(_fields_of(self.settings_cls))

    def _provider(self, name: str, subject: str) -> Any:
        try:
            found = self._providers.get(name) or process_wide(name)
        except ValueError as error:
            raise ConfigurationError(f"{self.settings_cls.__name__}: {subject}: {error}") from None
        if isinstance(found, AsyncProvider):
            kind = type(found).__name__
            problem = f"{name} must be a sync provider, not {kind}, because settings never await"
            message = f"{self.settings_cls.__name__}: {problem}; pass {kind.removeprefix('Async')}"
            raise ConfigurationError(message)
        return found


class SecretsSource(_Source):
    """Reads the secrets of marked fields, with a single `get_many` per provider.

    Fields that an earlier source has are not read. Fields of text get JSON as the text that is
    stored; lists get JSON, or the items of a StringList. Fields whose secret does not exist are
    left to later sources, except paths, and to the field's default. A secret that can't be read
    for any other reason is a `SecretSettingsError`.

    Args:
        settings_cls: the settings.
        providers: sync providers by name, such as `{"aws.ps": ParameterStore(timeout=1)}`; for
            other names the process-wide providers are used.
    """

    def __call__(self) -> dict[str, Any]:
        """Return the values of the fields whose secrets exist."""
        wanted = [
            (field, field.marker)
            for field in _flattened(self._fields())
            if field.marker and not field.given(self.current_state)
        ]
        paths = defaultdict[str, dict[str, _Field]](dict)  # by provider, each with a field
        for field, marker in wanted:
            paths[marker.provider].setdefault(marker.path, field)
        values = {name: self._read(name, fields) for name, fields in paths.items()}
        found: dict[str, Any] = _hide({}, "values from SecretsSource")
        errors: dict[str, S1cretsError] = {}
        reasons = defaultdict[str, list[str]](list)  # fields by message
        for field, marker in wanted:
            value = values[marker.provider][marker.path]
            if not isinstance(value, S1cretsError):
                item = value.at(marker.keypath)
                if item is not None:
                    _put(found, field.place, field.read(item))
            elif not isinstance(value, SecretNotFoundError):
                errors[str(field)] = value
                reasons[str(value)].append(f"{field} ({marker})")
        for first in errors.values():
            lines = [f"\n  {', '.join(names)}: {reason}" for reason, names in reasons.items()]
            message = f"{self.settings_cls.__name__}: the secrets of these fields can't be read:"
            raise SecretSettingsError(message + "".join(lines), errors) from first
        return found

    def _read(self, name: str, fields: Mapping[str, _Field]) -> dict[str, Any]:
        provider = self._provider(name, f"the field {next(iter(fields.values()))}")
        return _items(name, provider.get_many(fields, raw=True, errors="return"))


class _Secrets(_HiddenDict):
    """The secrets under a path by field, and where a whole secret begins."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[_Place] = set()


class SecretsPathSource(_Source):
    """Reads all fields from a path: `/prod/app/db/password` is `settings.db.password`.

    It takes a single `get_by_path`. Names match fields and aliases regardless of case, and `-`
    matches `_`. A JSON object at `/prod/app/db` is merged with secrets that have longer names,
    which override its keys. With several of these sources, a secret of an earlier one hides the
    secret of its name, and all under it, in later ones: JSON of several paths is never merged.
    Fields with a marker are left out. Secrets without a field are passed on, and `extra` in the
    settings' configuration applies: the default of `SecretSettings` is to ignore them, that of
    pydantic-settings to forbid them.

    Args:
        settings_cls: the settings.
        provider: the provider's name.
        path: `"/prod/app"`; for Secrets Manager `"prod/app"`.
        providers: see `SecretsSource`.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        provider: str,
        path: str,
        *,
        providers: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(settings_cls, providers=providers)
        self._name = provider
        self._path = path
        # By this name pydantic-settings keeps the result for later sources.
        self.__name__ = f"{type(self).__name__}({provider}, {path!r})"

    def __call__(self) -> dict[str, Any]:
        """Return the secrets under the path, by field."""
        fields = self._fields()
        found = _Secrets().of("values from SecretsPathSource")
        if all(field.marker or field.given(self.current_state) for field in fields):
            return found
        earlier = {
            place
            for source in self.settings_sources_data.values()
            if isinstance(source, _Secrets)
            for place in source.places
        }
        settings = _Field(frozenset(), ((),), None, tuple(fields), _Shape.JSON)
        values = self._read()
        # Longer names override shorter ones. Of `/A-B` and `/a_b`, which are the same field, the
        # field's own spelling comes last.
        for name in sorted(values, key=lambda name: (name.count("/"), name)):
            parts = name[len(self._path.rstrip("/")) :].split("/")
            parts = [part for part in parts if part]
            if parts or () not in earlier:
                _settle(found, (), parts, values[name], settings)
        for place in earlier - {()}:  # keys of JSON with the path's own name are names of their own
            _drop(found, place)
        return found

    def _read(self) -> dict[str, Any]:
        provider = self._provider(self._name, f"the path {self._path!r}")
        try:
            answer = provider.get_by_path(self._path, raw=True)
        except S1cretsError as error:
            answer = {self._path: error}
        values = _items(self._name, answer)
        del answer  # tracebacks with locals show this frame
        for failed in [value for value in values.values() if isinstance(value, S1cretsError)]:
            problem = f"the secrets under {self._path!r} of {self._name} can't be read: {failed}"
            message = f"{self.settings_cls.__name__}: {problem}"
            raise SecretSettingsError(message, {self._path: failed}) from failed
        return values


class SecretSettings(BaseSettings):
    """Settings with secrets, which no error shows.

    Fields marked with `FromSecret` are read after all other sources, unless those have them. A
    `ValidationError` contains no input, neither in its text nor in `errors()`; it names the field
    and the secret. To hide a field in the repr of the settings, make it a `SecretStr`, as usual.

    Attributes:
        secret_providers: sync providers by name; others are process-wide.
        secret_paths: by the provider's name, a path from which fields without a marker are read,
            or several: `{"aws.ps": "/prod/app"}`. Of all paths, in this order, the first that has
            a name wins, with the whole secret; see `SecretsPathSource`.

    Raises:
        ConfigurationError: `secret_paths` or `secret_providers` is in `model_config`, misspelt, or
            not a dict.
    """

    model_config = SettingsConfigDict(hide_input_in_errors=True, extra="ignore")

    secret_providers: ClassVar[Mapping[str, Any]] = {}
    secret_paths: ClassVar[Mapping[str, str | Sequence[str]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **settings: Any) -> None:
        super().__pydantic_init_subclass__(**settings)
        attributes = ("secret_paths", "secret_providers")
        for name in attributes:
            if name in cls.model_config:
                message = f"{cls.__name__}: {name} is not a part of model_config"
                raise ConfigurationError(f"{message}: set it as an attribute of the class")
            if not isinstance(given := getattr(cls, name), Mapping):
                raise ConfigurationError(
                    f"{cls.__name__}: {name} must be a dict by the provider's name, such as"
                    f" 'aws.ps', not {type(given).__name__}"
                )
        for name in cls.__class_vars__.difference(attributes):
            for similar in get_close_matches(name, attributes, 1, 0.85):
                message = f"{cls.__name__}: {name} has no effect: did you mean {similar}?"
                raise ConfigurationError(message)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            inputs = [line["input"] for line in error.errors()]
            failed = _redacted(error, inputs, lambda _: "")
            del inputs
        else:
            return
        del self, values  # tracebacks with locals would show them
        raise failed  # out here it has no context and none of pydantic's frames

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: SettingsSource,
        env_settings: SettingsSource,
        dotenv_settings: SettingsSource,
        file_secret_settings: SettingsSource,
    ) -> tuple[SettingsSource, ...]:
        """Return the sources in order of precedence: secrets come last."""
        usual = (init_settings, env_settings, dotenv_settings, file_secret_settings)
        providers = cls.secret_providers
        paths = [
            SecretsPathSource(settings_cls, name, path, providers=providers)
            for name, path in _each(cls.secret_paths)
        ]
        return (*usual, SecretsSource(settings_cls, providers=providers), *paths)

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _validate(cls, data: Any, handler: pydantic.ModelWrapValidatorHandler[Self]) -> Self:
        """Pass plain values to validators, and redact their errors."""
        try:
            return handler(_plain(data))
        except ValidationError as error:
            failed: Exception = _redacted(error, data, lambda line: cls._note(line, data))
        except Exception as error:
            if not _reveals(f"{error} {error!r}", data):
                raise
            kind = type(error).__name__
            message = f"{cls.__name__}: a validator raised {kind} with a secret in its message"
            failed = SecretSettingsError(message, {})
        raise failed

    @classmethod
    def _note(cls, line: Mapping[str, Any], data: Any) -> str:
        """Return the secret that a line of an error is about, as the end of its message."""
        loc = line["loc"]
        origin = _origin_at(data, loc)
        if origin:
            return f" (in the {origin})"
        if line["type"] != "missing":
            return ""
        fields = [field for field in _flattened(_fields_of(cls)) if field.concerns(loc)]
        absent = [str(field.marker) for field in fields if field.marker]
        keys = [str(key) for field in fields[:1] for key in field.places[0]]
        if not any(field.marker for field in fields[:1]):
            absent += [
                str(FromSecret(name, "/".join((path.rstrip("/"), *keys))))
                for name, path in _each(cls.secret_paths)
            ]
        return f", and there is no {', and no '.join(absent)}" if absent else ""


def _items(provider: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an `_Item` for each secret, and errors as they are."""
    return {name: _checked(one, str(FromSecret(provider, name))) for name, one in values.items()}


def _each(paths: Mapping[str, str | Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yield the name of the provider and the path of each of `secret_paths`."""
    for name, given in paths.items():
        for path in [given] if isinstance(given, str) else given:
            yield name, path


def _put(found: dict[Any, Any], place: _Place, value: Any) -> None:
    *outer, last = place
    for key in outer:
        if not isinstance(found.get(key), dict):
            found[key] = {}
        found = found[key]
    found[last] = value


def _drop(found: Any, place: _Place) -> None:
    *outer, last = place
    for key in outer:
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, dict):
        found.pop(last, None)


def _settle(
    found: _Secrets, place: _Place, parts: list[str], item: _Item, field: _Field | None
) -> None:
    """Put an item at the place that the parts of its name, and the keys of its JSON, lead to."""
    fields = field.inner if field else ()
    if parts:
        field = next((one for one in fields if _normalized(parts[0]) in one.names), None)
        if not (field and field.marker):
            place = field.place if field else (*place, parts[0])
            _settle(found, place, parts[1:], item, field)
        return
    found.places.add(place)
    if fields and (members := item.members()):
        for key, member in members.items():
            _settle(found, place, [key], member, field)
    elif place:
        _put(found, place, field.read(item) if field else item.parsed())


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a settings model, or of a model in it."""

    names: frozenset[str]  # its name and aliases, normalized
    places: tuple[_Place, ...]  # where pydantic looks for its value, in order
    marker: FromSecret | None  # the secret that it comes from
    inner: tuple[_Field, ...]  # the fields of the models that its value may be
    shape: _Shape

    def read(self, item: _Item) -> Any:
        """Return an item's value in the form that the field, and the fields in it, take."""
        if not self.inner or not (members := item.members()):
            return item.read_as(self.shape)
        values = _hide({}, item.origin)
        for key, member in members.items():
            inner = (one for one in self.inner if any(place[-1] == key for place in one.places))
            field = next(inner, None)
            values[key] = field.read(member) if field else member.parsed()
        return values

    def __str__(self) -> str:
        return ".".join(map(str, self.places[0]))

    @property
    def place(self) -> _Place:
        """The first place that a value can be put at, which is not in an array."""
        for place in self.places:
            if all(isinstance(key, str) for key in place):
                return place
        message = f"the field {self} is an element of an array; give it an alias that is a name"
        raise ConfigurationError(message)

    def concerns(self, loc: _Place) -> bool:
        """Return whether an error's location (with names of union members) contains this field."""
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


def _fields_of(
    model: Any, above: tuple[_Place, ...] = ((),), within: tuple[Any, ...] = ()
) -> Iterator[_Field]:
    """Yield the fields of a model at the places `above`, which is in the models `within`."""
    config = getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", {})
    for name, info in _infos(model).items():
        keys = list(_keys(name, info, config or {}))
        places = tuple(outer + key for outer, key in product(above, keys))
        found = list(_search(info.annotation))
        markers = [item for item in (*found, *info.metadata) if isinstance(item, FromSecret)]
        inner = tuple(
            field
            for type_ in found
            if isinstance(type_, type)
            and type_ not in (*within, model)  # a model that contains itself has no end
            for field in _fields_of(type_, places, (*within, model))
        )
        names = frozenset(map(_normalized, [name, *(key[0] for key in keys if len(key) == 1)]))
        shape = _shape_of(info.annotation, info.metadata)
        field = _Field(names, places, markers[0] if markers else None, inner, shape)
        if len(set(markers)) > 1:
            both = " and ".join(map(str, markers))
            raise ConfigurationError(f"the field {field} has more than one secret: {both}")
        yield field


def _flattened(fields: Iterable[_Field]) -> Iterator[_Field]:
    """Yield the fields and the fields of the models in them, outer fields first."""
    for field in fields:
        yield field
        yield from _flattened(field.inner)


def _normalized(name: object) -> str:
    """Return a name in the spelling that all its variants share."""
    return str(name).lower().replace("-", "_")


def _keys(name: str, info: Any, config: Any) -> Iterator[_Place]:
    """Yield the keys by which pydantic looks a field up, in order."""
    alias = info.validation_alias
    if alias is not None and config.get("validate_by_alias") is not False:
        for choice in alias.choices if isinstance(alias, pydantic.AliasChoices) else [alias]:
            yield tuple(choice.path) if isinstance(choice, pydantic.AliasPath) else (choice,)
        if not (config.get("populate_by_name") or config.get("validate_by_name")):
            return
    yield (name,)


def _search(annotation: Any) -> Iterator[Any]:
    """Yield the models that a value may be, and the markers on the way to them."""
    if hasattr(annotation, "__value__"):  # type X = ...
        yield from _search(annotation.__value__)
    elif get_origin(annotation) is Annotated:
        yield from _search(annotation.__origin__)
        yield from (item for item in annotation.__metadata__ if isinstance(item, FromSecret))
    elif get_origin(annotation) in (Union, UnionType):
        for type_ in get_args(annotation):
            yield from _search(type_)
    elif _infos(annotation):
        yield annotation


def _infos(model: Any) -> Mapping[str, Any]:
    """Return pydantic's information on the fields of a model or dataclass, or nothing."""
    found = getattr(model, "model_fields", None) or getattr(model, "__pydantic_fields__", None)
    return found if isinstance(model, type) and isinstance(found, dict) else {}
