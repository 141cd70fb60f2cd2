"""The sources of settings: marked fields, and what is below a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError

from s1crets._keypath import keys_of, pick
from s1crets._redaction import strip_traceback
from s1crets._sentinels import MISSING
from s1crets.errors import ConfigurationError, S1cretsError, SecretNotFoundError
from s1crets.integrations._settings_fields import (
    Field,
    FromSecret,
    fields_of,
    marked,
    same,
)
from s1crets.integrations._settings_hiding import HiddenDict, hide
from s1crets.providers import provider as _shared
from s1crets.providers.base import AsyncProvider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.fields import FieldInfo


class SecretSettingsError(S1cretsError, SettingsError):
    """Secrets could not be read, and not because they are not there.

    Attributes:
        errors: what went wrong, by field (`"db.password"`), or by path.
    """

    def __init__(self, message: str, errors: Mapping[str, S1cretsError]) -> None:
        super().__init__(message)
        self.errors = errors

    def __reduce__(self) -> tuple[type[S1cretsError], tuple[str]]:
        """Pickle the message alone, as a `BatchError` does."""
        return S1cretsError, (str(self),)


class _Source(PydanticBaseSettingsSource):
    """What both sources have in common."""

    def __init__(
        self, settings_cls: type[BaseSettings], providers: Mapping[str, Any] | None
    ) -> None:
        super().__init__(settings_cls)
        self._providers = dict(providers or {})

    def get_field_value(
        self,
        field: FieldInfo,  # noqa: ARG002  # pydantic-settings' signature
        field_name: str,
    ) -> tuple[Any, str, bool]:
        """Return nothing: all fields are read at once, by calling the source."""
        return None, field_name, False

    def _fields(self) -> list[Field]:
        self.settings_cls.model_rebuild()  # if its annotations name what was defined after it
        return fields_of(self.settings_cls)

    def _provider(self, name: str, whose: str) -> Any:
        try:
            found = self._providers.get(name) or _shared(name)
        except ValueError as error:
            message = f"{self.settings_cls.__name__}: {whose}: {error}"
            raise ConfigurationError(message) from None
        if isinstance(found, AsyncProvider):
            kind = type(found).__name__
            message = f"{self.settings_cls.__name__}: {name} can't be {kind}: settings are made"
            raise ConfigurationError(message + f" without await; pass {kind[len('Async') :]}")
        return found


class SecretsSource(_Source):
    """Gives marked fields their secrets: one `get_many` a provider, for all fields.

    Fields that an earlier source has are not asked for. What is not there is left to later sources
    and to the field's default.

    Args:
        settings_cls: the settings.
        providers: blocking providers to use for their names, as
            `{"aws.ps": ParameterStore(timeout=1)}`; for others the process's own are used.
    """

    def __init__(
        self, settings_cls: type[BaseSettings], *, providers: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(settings_cls, providers)

    def __call__(self) -> dict[str, Any]:
        """Return what there is of the fields' secrets.

        Raises:
            SecretSettingsError: some could not be read.
            ConfigurationError: there is no such provider, or it is not a blocking one; or a field
                has two markers, or no key to put a secret at.
        """
        wanted = [one for one in marked(self._fields()) if not one[0].given(self.current_state)]
        values: dict[FromSecret, Any] = {}
        for name in dict.fromkeys(marker.provider for _, marker in wanted):
            of = [one for one in wanted if one[1].provider == name]
            values.update(self._read(name, of))
        self._check(wanted, values)
        found = HiddenDict().of("what SecretsSource found")
        for field, marker in wanted:
            if not isinstance(values[marker], S1cretsError):
                _put(found, field.place, values[marker])
        return found

    def _read(self, name: str, wanted: list[tuple[Field, FromSecret]]) -> dict[FromSecret, Any]:
        """Return the values, hidden, and errors in the places of others."""
        provider = self._provider(name, f"the field {wanted[0][0]}")
        markers = [marker for _, marker in wanted]
        answer = provider.get_many([marker.path for marker in markers], errors="return")
        answer = {path: _hidden(value, name, path) for path, value in answer.items()}
        return {marker: _picked(answer[marker.path], marker) for marker in markers}

    def _check(
        self, wanted: list[tuple[Field, FromSecret]], values: Mapping[FromSecret, Any]
    ) -> None:
        """Raise one error for all that went wrong.

        Raises:
            SecretSettingsError: something did.
        """
        errors = {}
        said: dict[str, list[str]] = {}
        for field, marker in wanted:
            error = values[marker]
            if isinstance(error, S1cretsError) and not isinstance(error, SecretNotFoundError):
                errors[str(field)] = error
                said.setdefault(str(error), []).append(f"{field} ({marker})")
        if errors:
            lines = [f"\n  {', '.join(fields)}: {message}" for message, fields in said.items()]
            message = f"{self.settings_cls.__name__}: what these fields are could not be read:"
            raise SecretSettingsError(message + "".join(lines), errors) from next(
                iter(errors.values())
            )


class SecretsPathSource(_Source):
    """Gives fields what is below a path: `/prod/app/db/password` is `settings.db.password`.

    One `get_by_path`. Names match fields and aliases in any case, with `-` or `_`. An object of
    JSON at `/prod/app/db` is merged; what has a name of its own wins over it. What belongs to no
    field is passed on: the settings' `extra` says what becomes of it. `SecretSettings` ignores it,
    pydantic-settings forbids it where nothing else is said.

    Args:
        settings_cls: the settings.
        provider: the provider's name.
        path: `"/prod/app"`; for Secrets Manager `"prod/app"`.
        providers: as `SecretsSource` has it.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        provider: str,
        path: str,
        *,
        providers: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(settings_cls, providers)
        self._name = provider
        self._path = path

    def __call__(self) -> dict[str, Any]:
        """Return what there is below the path, by field.

        Raises:
            SecretSettingsError: it could not be read.
            ConfigurationError: there is no such provider, or it is not a blocking one.
        """
        fields = self._fields()
        found = HiddenDict().of("what SecretsPathSource found")
        if all(field.given(self.current_state) for field in fields):
            return found
        values = self._read()
        # Outer ones first. Of `/A-B` and `/a_b`, which are one field, the field's own name is last.
        for name in sorted(values, key=lambda name: (name.count("/"), name)):
            parts = name[len(self._path.rstrip("/")) :].split("/")
            _settle(found, (), [part for part in parts if part], values[name], fields)
        return found

    def _read(self) -> dict[str, Any]:
        provider = self._provider(self._name, f"the path {self._path!r}")
        try:
            answer = provider.get_by_path(self._path)
        except S1cretsError as error:
            answer = {self._path: error}
        values = {name: _hidden(value, self._name, name) for name, value in answer.items()}
        del answer  # the next frame to be seen in a traceback is this one
        for failed in [one for one in values.values() if isinstance(one, S1cretsError)]:
            message = (
                f"{self.settings_cls.__name__}: what is below {self._path!r} of {self._name} could"
                f" not be read: {failed}"
            )
            raise SecretSettingsError(message, {self._path: failed}) from failed
        return values


def _hidden(value: Any, provider: str, path: str) -> Any:
    """Return a value, hidden, or the error that stands in its place."""
    try:
        return hide(value, str(FromSecret(provider, path)))
    except S1cretsError as error:
        return strip_traceback(error)  # its frames have the value


def _picked(value: Any, marker: FromSecret) -> Any:
    if isinstance(value, S1cretsError):
        return value
    found = pick(value, keys_of(marker.keypath))
    return SecretNotFoundError(f"there is no {marker}") if found is MISSING else found


def _put(found: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    *outer, last = place
    for key in outer:
        if not isinstance(found.get(key), dict):
            found[key] = {}
        found = found[key]
    found[last] = value


def _settle(
    found: dict[str, Any],
    place: tuple[str, ...],
    parts: list[str],
    value: Any,
    fields: Sequence[Field],
) -> None:
    """Put a value where the parts of its name lead; an object of JSON is as many longer names."""
    if parts:
        field = next((one for one in fields if same(parts[0]) in one.names), None)
        place = field.place if field else (*place, parts[0])
        _settle(found, place, parts[1:], value, field.inner if field else ())
    elif isinstance(value, dict) and fields:
        for key, one in value.items():
            _settle(found, place, [key], one, fields)
    elif place:
        _put(found, place, value)
