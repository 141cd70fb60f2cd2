"""Settings of pydantic-settings whose fields are secrets. Needs the extra `settings`.

```python
class Settings(SecretSettings):
    db_url: Annotated[SecretStr, FromSecret("aws.ps", "/prod/db/url")]
    api_key: Annotated[str, FromSecret("aws.sm", "prod/api", keypath="key")]
    workers: int = 4


settings = Settings()
```
The sources work in any `BaseSettings` too. There no value's repr shows it, but says which secret it
is, and so does the text of a `ValidationError`. What can't be prevented there: the error's `json()`
and the `input` of its `errors()` have values; a message of your own validator may; a missing field
is named without its secret; and fields of the types `Any`, `bytes` and `dict` keep these subclasses
of `str`, `bytes` and so on. `SecretSettings` does all of that right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from s1crets.errors import ConfigurationError

try:
    from pydantic import ValidationError, model_validator
    from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
except ImportError as error:
    message = "settings need the extra `settings`: pip install 's1crets[settings]'"
    raise ConfigurationError(message) from error

from s1crets.integrations._settings_fields import FromSecret, every, fields_of, marked
from s1crets.integrations._settings_hiding import discreet, origin_at, plain, shows
from s1crets.integrations._settings_sources import (
    SecretSettingsError,
    SecretsPathSource,
    SecretsSource,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from pydantic import ModelWrapValidatorHandler
    from pydantic_core import ErrorDetails

__all__ = [
    "FromSecret",
    "SecretSettings",
    "SecretSettingsError",
    "SecretsPathSource",
    "SecretsSource",
]


class SecretSettings(BaseSettings):
    """Settings with secrets in them, which no error shows.

    Fields that are marked with `FromSecret` are read after all other sources, if these do not have
    them. A `ValidationError` has no input, neither in its text nor in `errors()`; it names field
    and secret. What is not to be in the repr of the settings themselves is a `SecretStr`, as ever.

    Attributes:
        secret_providers: blocking providers to use for their names; for others the process's own.
        secret_paths: paths to read fields from that are not marked, by the provider's name:
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
            failed = discreet(error, inputs, lambda _: "")
            del inputs
        else:
            return
        del self, values  # which a traceback with locals would show
        raise failed  # out here it has no context and no frames of pydantic's

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the first that has a value wins: secrets come last."""
        usual = (init_settings, env_settings, dotenv_settings, file_secret_settings)
        providers = cls.secret_providers
        below = [
            SecretsPathSource(settings_cls, name, path, providers=providers)
            for name, path in cls.secret_paths.items()
        ]
        return (*usual, SecretsSource(settings_cls, providers=providers), *below)

    @model_validator(mode="wrap")
    @classmethod
    def _validate(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Let no validator see what is hidden, and nobody what it was."""
        try:
            return handler(plain(data))
        except ValidationError as error:
            failed: Exception = discreet(error, data, lambda line: cls._note(line, data))
        except Exception as error:
            if not shows(f"{error} {error!r}", data):
                raise
            kind = type(error).__name__
            message = f"{cls.__name__}: a field refuses its value ({kind}), and says a secret"
            failed = SecretSettingsError(message, {})
        raise failed

    @classmethod
    def _note(cls, line: ErrorDetails, data: Any) -> str:
        """Return which secret a line of an error is about, as the end of its message."""
        loc = line["loc"]
        origin = origin_at(data, loc)
        if origin:
            return f" (in the {origin})"
        if line["type"] != "missing":
            return ""
        absent = [str(marker) for field, marker in marked(fields_of(cls)) if field.about(loc)]
        places = (field.places[0] for field in every(fields_of(cls)) if field.about(loc))
        keys = [str(key) for key in next(places, ())]
        absent += [
            str(FromSecret(name, "/".join((path.rstrip("/"), *keys))))
            for name, path in cls.secret_paths.items()
        ]
        return f", and there is no {', and no '.join(absent)}" if absent else ""
