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

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from s1crets._keypath import keys_of, pick
from s1crets._sentinels import MISSING
from s1crets.errors import ConfigurationError, S1cretsError, SecretNotFoundError

try:
    from pydantic import ValidationError, model_validator
    from pydantic_settings import (
        BaseSettings,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
        SettingsError,
    )
except ImportError as error:
    message = "settings need the extra `settings`: pip install 's1crets[settings]'"
    raise ConfigurationError(message) from error

from s1crets.integrations._settings_fields import FromSecret, fields_of, flattened, normalized
from s1crets.integrations._settings_redaction import hide, origin_at, plain, redacted, reveals
from s1crets.providers import provider as process_wide
from s1crets.providers.async_provider import AsyncProvider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from pydantic import ModelWrapValidatorHandler
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from s1crets.integrations._settings_fields import Field, Place

    _Wanted: TypeAlias = list[tuple[Field, FromSecret]]

__all__ = [
    "FromSecret",
    "SecretSettings",
    "SecretSettingsError",
    "SecretsPathSource",
    "SecretsSource",
]


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


class _Source(PydanticBaseSettingsSource):
    def __init__(
        self, settings_cls: type[BaseSettings], *, providers: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(settings_cls)
        self._providers = dict(providers or {})

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Return nothing: calling the source reads all fields together."""
        return None, field_name, False

    def _fields(self) -> list[Field]:
        self.settings_cls.model_rebuild()  # annotations may name classes that were defined later
        return list(fields_of(self.settings_cls))

    def _provider(self, name: str, subject: str) -> Any:
        try:
            found = self._providers.get(name) or process_wide(name)
        except ValueError as error:
            message = f"{self.settings_cls.__name__}: {subject}: {error}"
            raise ConfigurationError(message) from None
        if isinstance(found, AsyncProvider):
            kind = type(found).__name__
            message = f"{self.settings_cls.__name__}: {name} must be a sync provider, not {kind},"
            message += f" because settings never await; pass {kind.removeprefix('Async')}"
            raise ConfigurationError(message)
        return found


class SecretsSource(_Source):
    """Reads the secrets of marked fields, with a single `get_many` per provider.

    Fields that an earlier source has are not read. Fields whose secret does not exist are left to
    later sources and to the field's default. A secret that can't be read for any other reason is a
    `SecretSettingsError`.

    Args:
        settings_cls: the settings.
        providers: sync providers by name, such as `{"aws.ps": ParameterStore(timeout=1)}`; for
            other names the process-wide providers are used.
    """

    def __call__(self) -> dict[str, Any]:
        """Return the values of the fields whose secrets exist."""
        wanted = [
            (field, field.marker)
            for field in flattened(self._fields())
            if field.marker and not field.given(self.current_state)
        ]
        values: dict[FromSecret, Any] = {}
        for name in dict.fromkeys(marker.provider for _, marker in wanted):
            values |= self._read(name, [pair for pair in wanted if pair[1].provider == name])
        self._check(wanted, values)
        found: dict[str, Any] = hide({}, "values from SecretsSource")
        for field, marker in wanted:
            if not isinstance(values[marker], S1cretsError):
                _put(found, field.place, values[marker])
        return found

    def _read(self, name: str, wanted: _Wanted) -> dict[FromSecret, Any]:
        """Return hidden values, or errors in place of values."""
        provider = self._provider(name, f"the field {wanted[0][0]}")
        answer = provider.get_many([marker.path for _, marker in wanted], errors="return")
        answer = {path: hide(value, str(FromSecret(name, path))) for path, value in answer.items()}
        return {marker: _pick(answer[marker.path], marker) for _, marker in wanted}

    def _check(self, wanted: _Wanted, values: Mapping[FromSecret, Any]) -> None:
        """Raise a single `SecretSettingsError` for everything that could not be read."""
        errors = {}
        fields: dict[str, list[str]] = {}  # by message
        for field, marker in wanted:
            error = values[marker]
            if isinstance(error, S1cretsError) and not isinstance(error, SecretNotFoundError):
                errors[str(field)] = error
                fields.setdefault(str(error), []).append(f"{field} ({marker})")
        if errors:
            lines = [f"\n  {', '.join(names)}: {reason}" for reason, names in fields.items()]
            message = f"{self.settings_cls.__name__}: the secrets of these fields can't be read:"
            first, *_ = errors.values()
            raise SecretSettingsError(message + "".join(lines), errors) from first


class SecretsPathSource(_Source):
    """Reads all fields from a path: `/prod/app/db/password` is `settings.db.password`.

    It takes a single `get_by_path`. Names match fields and aliases regardless of case, and `-`
    matches `_`. A JSON object at `/prod/app/db` is merged; secrets with longer names override its
    keys. Secrets without a field are passed on, and `extra` in the settings' configuration applies:
    the default of `SecretSettings` is to ignore them, that of pydantic-settings to forbid them.

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

    def __call__(self) -> dict[str, Any]:
        """Return the secrets under the path, by field."""
        fields = self._fields()
        found: dict[str, Any] = hide({}, "values from SecretsPathSource")
        if all(field.given(self.current_state) for field in fields):
            return found
        values = self._read()
        # Longer names override shorter ones. Of `/A-B` and `/a_b`, which are the same field, the
        # field's own spelling comes last.
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
        values = {n: hide(value, str(FromSecret(self._name, n))) for n, value in answer.items()}
        del answer  # tracebacks with locals show this frame
        for failed in [value for value in values.values() if isinstance(value, S1cretsError)]:
            message = f"{self.settings_cls.__name__}: the secrets under {self._path!r} of"
            message += f" {self._name} can't be read: {failed}"
            raise SecretSettingsError(message, {self._path: failed}) from failed
        return values


class SecretSettings(BaseSettings):
    """Settings with secrets, which no error shows.

    Fields marked with `FromSecret` are read after all other sources, unless those have them. A
    `ValidationError` contains no input, neither in its text nor in `errors()`; it names the field
    and the secret. To hide a field in the repr of the settings, make it a `SecretStr`, as usual.

    Attributes:
        secret_providers: sync providers by name; others are process-wide.
        secret_paths: by the provider's name, a path from which fields without a marker are read:
            `{"aws.ps": "/prod/app"}`; see `SecretsPathSource`.
    """

    model_config = SettingsConfigDict(hide_input_in_errors=True, extra="ignore")

    secret_providers: ClassVar[Mapping[str, Any]] = {}
    secret_paths: ClassVar[Mapping[str, str]] = {}

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            inputs = [line["input"] for line in error.errors()]
            failed = redacted(error, inputs, lambda _: "")
            del inputs
        else:
            return
        del self, values  # tracebacks with locals would show them
        raise failed  # out here it has no context and none of pydantic's frames

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order of precedence: secrets come last."""
        usual = (init_settings, env_settings, dotenv_settings, file_secret_settings)
        providers = cls.secret_providers
        paths = [
            SecretsPathSource(settings_cls, name, path, providers=providers)
            for name, path in cls.secret_paths.items()
        ]
        return (*usual, SecretsSource(settings_cls, providers=providers), *paths)

    @model_validator(mode="wrap")
    @classmethod
    def _validate(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Pass plain values to validators, and redact their errors."""
        try:
            return handler(plain(data))
        except ValidationError as error:
            failed: Exception = redacted(error, data, lambda line: cls._note(line, data))
        except Exception as error:
            if not reveals(f"{error} {error!r}", data):
                raise
            kind = type(error).__name__
            message = f"{cls.__name__}: a validator raised {kind} with a secret in its message"
            failed = SecretSettingsError(message, {})
        raise failed

    @classmethod
    def _note(cls, line: ErrorDetails, data: Any) -> str:
        """Return the secret that a line of an error is about, as the end of its message."""
        loc = line["loc"]
        origin = origin_at(data, loc)
        if origin:
            return f" (in the {origin})"
        if line["type"] != "missing":
            return ""
        fields = [field for field in flattened(fields_of(cls)) if field.concerns(loc)]
        absent = [str(field.marker) for field in fields if field.marker]
        keys = [str(key) for field in fields[:1] for key in field.places[0]]
        absent += [
            str(FromSecret(name, "/".join((path.rstrip("/"), *keys))))
            for name, path in cls.secret_paths.items()
        ]
        return f", and there is no {', and no '.join(absent)}" if absent else ""


def _pick(value: Any, marker: FromSecret) -> Any:
    found = value if isinstance(value, S1cretsError) else pick(value, keys_of(marker.keypath))
    return SecretNotFoundError(f"there is no {marker}") if found is MISSING else found


def _put(found: dict[Any, Any], place: Place, value: Any) -> None:
    *outer, last = place
    for key in outer:
        if not isinstance(found.get(key), dict):
            found[key] = {}
        found = found[key]
    found[last] = value


def _settle(
    found: dict[str, Any], place: Place, parts: list[str], value: Any, fields: Sequence[Field]
) -> None:
    """Put a value at the place that the parts of its name lead to.

    The keys of a JSON object count as further parts.
    """
    if parts:
        field = next((one for one in fields if normalized(parts[0]) in one.names), None)
        place = field.place if field else (*place, parts[0])
        _settle(found, place, parts[1:], value, field.inner if field else ())
    elif isinstance(value, dict) and fields:
        for key, item in value.items():
            _settle(found, place, [key], item, fields)
    elif place:
        _put(found, place, value)
