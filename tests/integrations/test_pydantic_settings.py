"""Settings from secrets: which are read, where they go, and that no error shows a value."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import FrozenInstanceError
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import pydantic
import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    FilePath,
    ImportString,
    Secret,
    SecretBytes,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError
from typing_extensions import TypeAliasType

import s1crets
from s1crets.errors import ConfigurationError, S1cretsError
from s1crets.integrations.pydantic_settings import (
    FromSecret,
    SecretSettings,
    SecretSettingsError,
    SecretsPathSource,
    SecretsSource,
    _hide,
    _plain,
)
from s1crets.providers.aws import AsyncParameterStore
from s1crets.providers.simple import AsyncSimpleProvider, SimpleProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s1crets.testing import LoopbackAws

CANARY = "canary-5e77"
Shared = TypeAliasType("Shared", Annotated[str, FromSecret("aws.ps", "/shared")])


class AsyncMemory(AsyncSimpleProvider):
    """Secrets in a dict: most tests here are not about AWS."""

    service = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[str, str | bytes] = {}

    async def fetch(self, name: str) -> str | bytes | None:
        return self.secrets.get(name)

    async def names(self, path: str) -> list[str]:  # noqa: ARG002  # all of them
        return list(self.secrets)


class Memory(SimpleProvider[AsyncMemory]):
    async_class = AsyncMemory


class Stores:
    """Replaces the process-wide providers `aws.ps` and `aws.sm` in the classes below."""

    def seed(self, secrets: dict[str, dict[str, Any]]) -> None:
        for name, values in secrets.items():
            provider = PROVIDERS.setdefault(name, Memory())
            for path, value in values.items():
                text = value if isinstance(value, (str, bytes)) else json.dumps(value)
                provider.awaited.secrets[path] = text

    def requests(self, name: str) -> dict[str, int]:
        return dict(PROVIDERS[name].stats.requests)


PROVIDERS: dict[str, Any] = {}


@pytest.fixture
def stores() -> Iterator[Stores]:
    stores = Stores()
    stores.seed({"aws.ps": {}, "aws.sm": {}})
    yield stores
    while PROVIDERS:
        PROVIDERS.popitem()[1].close()


class Base(SecretSettings):
    secret_providers = PROVIDERS


class Plain(BaseSettings):
    """A user's own base class."""

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls, settings_cls: type[BaseSettings], **usual: Any
    ) -> tuple[Any, ...]:
        return (*usual.values(), SecretsSource(settings_cls, providers=PROVIDERS))


def made(settings: Any, **values: Any) -> Any:
    """Create settings; type checkers would require arguments for fields that sources have."""
    return settings(**values)


def failing(settings: Any, **values: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        made(settings, **values)
    return caught.value


def operations(aws: LoopbackAws) -> Counter[str]:
    return Counter(request.operation for request in aws.requests)


BASES = pytest.mark.parametrize("base", [Base, Plain])


@BASES
def test_marked_fields_come_from_both_stores(s1crets_aws: LoopbackAws, base: Any) -> None:
    """Text, a key in JSON, a model from JSON; unmarked fields have their defaults."""
    db = {"user": "u", "ports": [1, 2]}
    s1crets_aws.seed({"aws.ps": {"/url": "fake-url", "/db": db}, "aws.sm": {"api": {"key": ["k"]}}})

    class Db(BaseModel):
        user: str
        ports: list[int]

    class Settings(base):  # type: ignore[misc]
        url: Annotated[str, FromSecret("aws.ps", "/url")]
        key: Annotated[str, FromSecret("aws.sm", "api", keypath=("key", 0))]
        db: Annotated[Db, FromSecret("aws.ps", "/db")]
        workers: int = 4

    found = made(Settings)

    assert found.model_dump() == {"url": "fake-url", "key": "k", "db": db, "workers": 4}


def test_25_fields_are_3_requests(s1crets_aws: LoopbackAws) -> None:
    """One `get_many` per provider, including the fields of nested models."""
    names = [f"/n{number}" for number in range(25)]
    s1crets_aws.seed({"aws.ps": dict.fromkeys(names, "fake"), "aws.sm": {"a": "1", "b": "2"}})
    fields: Any = {name[1:]: Annotated[str, FromSecret("aws.ps", name)] for name in names}
    inner_fields: Any = {name: (fields[name], ...) for name in list(fields)[9:]}
    inner = pydantic.create_model("Inner", **inner_fields)
    outer: Any = {name: (fields[name], ...) for name in list(fields)[:9]}
    outer["a"] = (Annotated[int, FromSecret("aws.sm", "a")], ...)
    outer["b"] = (Annotated[int, FromSecret("aws.sm", "b")], ...)
    settings = pydantic.create_model("S", __base__=Base, inner=(inner, ...), **outer)

    assert made(settings).inner.n24 == "fake"
    assert operations(s1crets_aws) == {"GetParameters": 3, "BatchGetSecretValue": 1}


def test_a_secret_of_several_fields_is_read_once(stores: Stores) -> None:
    """Even if they need different keys."""
    stores.seed({"aws.ps": {"/db": {"user": "u", "password": "p"}}})

    class Settings(Base):
        user: Annotated[str, FromSecret("aws.ps", "/db", "user")]
        password: Annotated[str, FromSecret("aws.ps", "/db", "password")]

    found = made(Settings)

    assert (found.user, found.password) == ("u", "p")
    assert stores.requests("aws.ps") == {"fetch": 1}


def test_markers_are_found_anywhere_in_a_type(stores: Stores) -> None:
    """In Optional, unions, Annotated, type aliases, nested models and dataclasses."""
    names = ["/a", "/b", "/c", "/d", "/e", "/f", "/shared"]
    stores.seed({"aws.ps": {name: name[1:] for name in names}})

    @pydantic.dataclasses.dataclass
    class Point:
        a: Annotated[str, FromSecret("aws.ps", "/a")]

    class Deep(BaseModel):
        b: Optional[Annotated[str, FromSecret("aws.ps", "/b")]] = None  # noqa: UP045
        c: Annotated[str, FromSecret("aws.ps", "/c")] | None = None

    class Tree(BaseModel):
        d: Annotated[Annotated[str, FromSecret("aws.ps", "/d")], Field(min_length=1)]
        deep: Deep | int
        child: Tree | None = None

    Tree.model_rebuild(_types_namespace={"Tree": Tree, "Deep": Deep})

    class Settings(Base):
        point: Point
        tree: Annotated[Tree | None, Field(description="a tree")] = None
        e: Annotated[int, FromSecret("aws.ps", "/e")] | Annotated[str, Field(max_length=9)]
        f: Annotated[str, FromSecret("aws.ps", "/f")] = Field(min_length=1)
        shared: Shared

    found = made(Settings)

    assert found.point.a == "a"
    assert found.tree.model_dump(exclude={"child"}) == {"d": "d", "deep": {"b": "b", "c": "c"}}
    assert (found.e, found.f, found.shared) == ("e", "f", "shared")


class Early(Base):
    later: Later


class Later(BaseModel):
    a: Annotated[str, FromSecret("aws.ps", "/a")]


@pytest.mark.filterwarnings("ignore:Field 'later' has an incomplete definition")
def test_a_model_may_be_defined_after_the_settings(stores: Stores) -> None:
    """Annotations are resolved before they are examined; pydantic-settings warns."""
    stores.seed({"aws.ps": {"/a": "fake"}})

    assert made(Early).later.a == "fake"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5", int, 5),
        ("true", bool, True),
        ("1.5", Decimal, Decimal("1.5")),
        ("/tmp", Path, Path("/tmp")),  # noqa: S108
        ("a", Literal["a", "b"], "a"),
        ("a", Enum("E", {"A": "a"}), "a"),
        ([1, "2"], list[int], [1, 2]),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ({"a": [1, None, True, 1.5, "x"]}, Any, {"a": [1, None, True, 1.5, "x"]}),
        ({"a": 5}, dict[str, timedelta], {"a": timedelta(seconds=5)}),
        ({"a": 1.5}, dict[str, Decimal], {"a": Decimal("1.5")}),
        (b"\x00\xff", bytes, b"\x00\xff"),
        ("a", SecretStr, SecretStr("a")),
        (b"a", SecretBytes, SecretBytes(b"a")),
        ("5", Secret[int], Secret(5)),
    ],
)
@BASES
def test_values_have_the_annotated_type(
    stores: Stores, base: Any, text: Any, kind: Any, value: Any
) -> None:
    """Pydantic parses text; JSON objects and arrays are already parsed."""
    stores.seed({"aws.sm": {"a": text}})
    kind = Annotated[kind, FromSecret("aws.sm", "a")]
    found = made(pydantic.create_model("S", __base__=base, a=(kind, ...))).a

    assert getattr(found, "value", found) == value
    assert type(value) is not Secret or found.get_secret_value() == 5


def test_values_are_of_plain_types(stores: Stores) -> None:
    """The hiding types are replaced, also in fields of type `Any`, and before validators run."""
    stores.seed({"aws.sm": {"a": {"x": [1, "y", 1.5]}, "b": b"z"}})

    class Settings(Base):
        a: Annotated[Any, FromSecret("aws.sm", "a")]
        b: Annotated[bytes, FromSecret("aws.sm", "b")]

        @model_validator(mode="before")
        @classmethod
        def before(cls, data: Any) -> Any:
            assert repr(data["a"]) == "{'x': [1, 'y', 1.5]}"
            return data

    found = made(Settings)

    assert repr(found) == "Settings(a={'x': [1, 'y', 1.5]}, b=b'z')"


@BASES
def test_earlier_sources_take_precedence(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, base: Any
) -> None:
    """Secrets that arguments or the environment have are not read at all."""

    class Db(BaseModel):
        password: Annotated[str, FromSecret("aws.ps", "/password")]

    class Settings(base):  # type: ignore[misc]
        model_config = SettingsConfigDict(env_nested_delimiter="__")
        a: Annotated[str, FromSecret("aws.ps", "/a")]
        b: Annotated[str, FromSecret("aws.sm", "b")] = Field(alias="Bee")
        db: Annotated[Db, FromSecret("aws.ps", "/db")]
        other: Db

    for name in ("A", "BEE", "DB__PASSWORD"):
        monkeypatch.setenv(name, "env")
    found = made(Settings, other=Db(password="given"))

    assert (found.a, found.b, found.db.password) == ("env", "env", "env")
    assert found.other.password == "given"
    assert (stores.requests("aws.ps"), stores.requests("aws.sm")) == ({}, {})


@BASES
def test_incomplete_values_are_merged(stores: Stores, base: Any) -> None:
    """Earlier sources take precedence for each key of a model or a dict."""
    stores.seed({"aws.ps": {"/db": {"host": "h", "user": "u"}, "/d": {"x": 1, "y": 1}}})

    class Db(BaseModel):
        host: str
        user: str

    class Settings(base):  # type: ignore[misc]
        db: Annotated[Db, FromSecret("aws.ps", "/db")]
        d: Annotated[dict[str, int], FromSecret("aws.ps", "/d")]

    found = made(Settings, db={"host": "mine"}, d={"y": 2})

    assert found.model_dump() == {"db": {"host": "mine", "user": "u"}, "d": {"x": 1, "y": 2}}


@BASES
def test_a_missing_secret_is_the_default(stores: Stores, base: Any) -> None:
    """No such secret, no such key, or no JSON; for a nested model, the model's default."""
    stores.seed({"aws.ps": {"/json": {"a": 1}, "/text": "fake"}})

    class Db(BaseModel):
        a: Annotated[str, FromSecret("aws.ps", "/gone")]

    class Settings(base):  # type: ignore[misc]
        a: Annotated[str, FromSecret("aws.ps", "/gone")] = "default"
        b: Annotated[str, FromSecret("aws.ps", "/json", "b")] = "default"
        c: Annotated[str, FromSecret("aws.ps", "/text", ("a", 0))] = "default"
        db: Db | None = None

    assert set(made(Settings).model_dump().values()) == {"default", None}


def test_a_later_source_has_a_missing_secret(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets may come before the environment; the user decides on the order."""
    stores.seed({"aws.ps": {"/b": "secret"}})

    class Settings(Base):
        a: Annotated[str, FromSecret("aws.ps", "/a")]
        b: Annotated[str, FromSecret("aws.ps", "/b")]

        @classmethod
        def settings_customise_sources(  # type: ignore[override]
            cls, settings_cls: type[BaseSettings], **_: Any
        ) -> tuple[Any, ...]:
            source = SecretsSource(settings_cls, providers=PROVIDERS)
            return source, EnvSettingsSource(settings_cls)

    monkeypatch.setenv("A", "env")
    monkeypatch.setenv("B", "env")
    found = made(Settings)

    assert (found.a, found.b) == ("env", "secret")


def test_a_value_that_no_source_has(stores: Stores) -> None:
    """A single ValidationError lists all fields with their secrets."""
    stores.seed({"aws.ps": {"/json": {"a": 1}}, "aws.sm": {"db": {"user": CANARY}}})

    class Db(BaseModel):
        user: str
        password: str

    class Sub(BaseModel):
        x: Annotated[str, FromSecret("aws.ps", "/x")] = Field(alias="X")
        y: Annotated[str, FromSecret("aws.ps", "/y")]

    class Other(BaseModel):
        z: int

    class Settings(Base):
        url: Annotated[str, FromSecret("aws.ps", "/url")]
        key: Annotated[str, FromSecret("aws.ps", "/json", ("b", 0))]
        db: Annotated[Db, FromSecret("aws.sm", "db")]
        sub: Sub
        union: Sub | Other
        own: int

    error = failing(Settings, union={"y": "given"})

    assert {line["loc"]: line["msg"] for line in error.errors()} == {
        ("url",): "Field required, and there is no secret '/url' of aws.ps",
        ("key",): "Field required, and there is no key 'b' / 0 of secret '/json' of aws.ps",
        ("db", "password"): "Field required (in the secret 'db' of aws.sm)",
        ("sub",): "Field required, and there is no secret '/x' of aws.ps,"
        " and no secret '/y' of aws.ps",
        ("union", "Sub", "X"): "Field required, and there is no secret '/x' of aws.ps",
        ("union", "Other", "z"): "Field required",
        ("own",): "Field required",
    }
    assert {line["type"] for line in error.errors()} == {"missing"}
    assert error.title == "Settings"
    assert CANARY not in shown(error)


FAULTS: dict[str, tuple[Any, Callable[[LoopbackAws, pytest.MonkeyPatch], object], Any]] = {
    "denied": (Base, lambda aws, _: aws.deny("ssm:*", "*/b"), s1crets.AccessDeniedError),
    "denied to a plain class": (
        Plain, lambda aws, _: aws.deny("ssm:*", "*/b"), s1crets.AccessDeniedError,
    ),
    "throttled": (Base, lambda aws, _: aws.throttle("ssm:*"), s1crets.ThrottledError),
    "down": (Base, lambda aws, _: aws.down(), s1crets.UnavailableError),
    "no region": (Base, lambda _, patch: patch.delenv("AWS_DEFAULT_REGION"), ConfigurationError),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unreadable_secret_is_not_a_missing_secret(
    s1crets_aws: LoopbackAws, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The error names field and secret, and has the errors by field; no default is used."""
    base: Any
    base, cause, kind = FAULTS[fault]
    s1crets_aws.seed({"aws.ps": {"/a": CANARY, "/b": CANARY}})

    class Db(BaseModel):
        b: Annotated[str, FromSecret("aws.ps", "/b")] = "default"

    class Settings(base):  # type: ignore[misc]
        a: Annotated[str, FromSecret("aws.ps", "/a")]
        db: Db = Db()

    cause(s1crets_aws, monkeypatch)
    with pytest.raises(SecretSettingsError) as caught:
        made(Settings)
    error = caught.value

    assert isinstance(error, (S1cretsError, SettingsError))
    assert isinstance(error.errors["db.b"], kind)
    assert error.__cause__ in error.errors.values()
    assert str(error).startswith("Settings: the secrets of these fields can't be read:\n  ")
    assert "db.b (secret '/b' of aws.ps)" in str(error)
    assert str(error.errors["db.b"]) in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301  # our own
    assert CANARY not in shown(error)


def test_an_invalid_name(stores: Stores) -> None:
    """The error names only the field concerned."""
    stores.seed({"aws.ps": {"/a": "fake"}})

    class Settings(Base):
        a: Annotated[str, FromSecret("aws.ps", "/a")]
        b: Annotated[str, FromSecret("aws.ps", "")]

    with pytest.raises(SecretSettingsError, match=r"b \(secret '' of aws\.ps\)") as caught:
        made(Settings)

    assert list(caught.value.errors) == ["b"]


@BASES
def test_an_unknown_provider(base: Any) -> None:
    """The error names the field and the known providers."""

    class Settings(base):  # type: ignore[misc]
        a: Annotated[str, FromSecret("aws.pss", "/a")]

    known = r"Settings: the field a: there is no provider 'aws.pss'; known are 'aws.ps', 'aws.sm'"
    with pytest.raises(ConfigurationError, match=known):
        made(Settings)


class Third:
    """A provider that is not ours."""

    def get_many(self, paths: list[str], *, raw: bool, errors: str) -> dict[str, Any]:
        assert raw
        assert errors == "return"
        return {path: path.upper() for path in paths}

    def get_by_path(self, path: str, *, raw: bool) -> dict[str, Any]:
        assert raw
        return {f"{path}/b": '{"c": 1}'}


def test_your_own_providers(stores: Stores, s1crets_aws: LoopbackAws) -> None:
    """They replace process-wide providers, or have other names."""
    stores.seed({"aws.ps": {"/a": "fake"}})

    class Settings(Base):
        secret_providers = {**PROVIDERS, "third": Third()}  # noqa: RUF012
        secret_paths = {"third": "x"}  # noqa: RUF012
        a: Annotated[str, FromSecret("aws.ps", "/a")]
        t: Annotated[str, FromSecret("third", "t")]
        b: Any

    found = made(Settings)

    assert (found.a, found.t, found.b) == ("fake", "T", {"c": 1})
    assert operations(s1crets_aws) == {}


def test_an_async_provider_is_refused() -> None:
    """Settings are created without await; the error says what to pass."""

    class Settings(Base):
        secret_providers = {"aws.ps": AsyncParameterStore()}  # noqa: RUF012
        a: Annotated[str, FromSecret("aws.ps", "/a")]

    with pytest.raises(
        ConfigurationError, match=r"not AsyncParameterStore, .*; pass ParameterStore"
    ):
        made(Settings)


def test_settings_use_the_process_wide_providers(s1crets_aws: LoopbackAws) -> None:
    """So later reads are answered from the cache."""
    s1crets_aws.seed({"aws.ps": {"/a": "fake"}})

    class Settings(Base):
        a: Annotated[str, FromSecret("aws.ps", "/a")]

    assert made(Settings) == made(Settings)
    assert s1crets.get("aws.ps", "/a") == "fake"
    assert len(s1crets_aws.requests) == 1


def test_aliases(stores: Stores) -> None:
    """A value is put at the first place where pydantic looks for it that is not in an array."""
    stores.seed({"aws.ps": {"/a": "fake"}})
    secret = FromSecret("aws.ps", "/a")

    class Settings(Base):
        model_config = SettingsConfigDict(populate_by_name=True)
        a: Annotated[str, secret] = Field(alias="A-1")
        b: Annotated[str, secret] = Field(validation_alias=AliasChoices("x", "y"))
        c: Annotated[str, secret] = Field(validation_alias=AliasPath("deep", "c"))
        d: Annotated[str, secret] = Field(validation_alias=AliasPath("array", 0))
        e: Annotated[str, secret] = Field(validation_alias=AliasPath("given", 0))

    found = made(Settings, given=["mine"])

    assert found.model_dump() == dict.fromkeys("abcd", "fake") | {"e": "mine"}

    class Nameless(Base):
        d: Annotated[str, secret] = Field(validation_alias=AliasPath("array", 0))

    with pytest.raises(ConfigurationError, match=r"the field array\.0 is an element of an array"):
        made(Nameless)


def test_a_field_has_one_secret() -> None:
    """The error for two markers names both secrets."""

    class Settings(Base):
        a: Annotated[int, FromSecret("aws.ps", "/a")] | Annotated[str, FromSecret("aws.sm", "b")]

    both = "the field a has more than one secret: secret '/a' of aws.ps and secret 'b' of aws.sm"
    with pytest.raises(ConfigurationError, match=both):
        made(Settings)


def test_a_marker_is_a_value() -> None:
    """It is frozen, hashable and comparable; an invalid keypath is refused immediately."""
    marker: Any = FromSecret("aws.ps", "/a", keypath="b")

    assert {marker} == {FromSecret("aws.ps", "/a", ["b"])}
    with pytest.raises(FrozenInstanceError):
        marker.path = "/b"
    with pytest.raises(TypeError, match="not float"):
        FromSecret("aws.ps", "/a", keypath=1.5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_sources_do_not_read_single_fields() -> None:
    """They read all together; pydantic-settings requires the method."""
    source = SecretsSource(Plain)

    assert source.get_field_value(Field(), "a") == (None, "a", False)
    assert source() == {}


# --- paths ----------------------------------------------------------------------------------------


class Database(BaseModel):
    user_name: str
    password: SecretStr = Field(alias="passWord")
    ports: list[int] = []
    labels: dict[str, str] = {}


class App(Base):
    secret_paths = {"aws.ps": "/prod/app"}  # noqa: RUF012
    db: Database
    workers: int = 4


APP = {
    "/prod/app/DB/User-Name": "u",
    "/prod/app/db/password": CANARY,
    "/prod/app/workers": "8",
    "/prod/app/db/labels/A-b": "c",
    "/prod/app/unknown/x": "y",
    "/prod/application/workers": "16",
}


def test_a_path_is_nested_like_the_models(s1crets_aws: LoopbackAws) -> None:
    """Names match in any case, by alias, and with `-` for `_`; keys of a dict do not change."""
    s1crets_aws.seed({"aws.ps": APP})
    found = made(App)

    assert found.db.password.get_secret_value() == CANARY
    assert found.model_dump(exclude={"db": {"password"}}) == {
        "db": {"user_name": "u", "ports": [], "labels": {"A-b": "c"}},
        "workers": 8,
    }
    assert operations(s1crets_aws) == {"GetParametersByPath": 1}


def test_json_objects_are_merged(stores: Stores) -> None:
    """Their keys count as longer names, but longer names take precedence, also over text."""
    db = {"USER-NAME": "u", "PassWord": "lost", "ports": [1], "labels": {"a": "1", "b": "1"}}
    ps = {"/prod/app/db": db, "/prod/app/db/password": "p", "/prod/app/db/labels/b": "2"}
    stores.seed({"aws.ps": {**ps, "/prod/app/workers": "1", "/prod/app/workers/x": "2"}})
    error = failing(App)
    (line,) = error.errors()
    del PROVIDERS["aws.ps"]
    stores.seed({"aws.ps": ps})
    found = made(App)

    assert (line["loc"], line["type"]) == (("workers",), "int_type")
    assert found.db.model_dump() | {"password": found.db.password.get_secret_value()} == {
        "user_name": "u",
        "password": "p",
        "ports": [1],
        "labels": {"a": "1", "b": "2"},
    }


def test_the_fields_own_spelling_takes_precedence(stores: Stores) -> None:
    """Regardless of the order in which names are listed."""
    names = ["/prod/app/Key-Id", "/prod/app/key-id", "/prod/app/key_id", "/prod/app/KEY_ID"]
    stores.seed({"aws.ps": {name: name for name in names}})

    class Settings(Base):
        secret_paths = {"aws.ps": "/prod/app/"}  # noqa: RUF012
        key_id: str

    assert made(Settings).key_id == "/prod/app/key_id"


def test_a_path_in_secrets_manager(s1crets_aws: LoopbackAws) -> None:
    """A secret with the path's own name is merged if it is JSON, and otherwise ignored."""
    s1crets_aws.seed({"aws.sm": {"prod/app": {"db": {"user_name": "u", "password": "p"}}}})
    s1crets_aws.seed({"aws.sm": {"prod/app/workers": "8", "prod/text": "fake", "prod/text/a": "b"}})

    class Settings(App):
        secret_paths = {"aws.sm": "prod/app"}  # noqa: RUF012

    class Text(Base):
        secret_paths = {"aws.sm": "prod/text"}  # noqa: RUF012
        a: str

    found = made(Settings)

    assert (found.db.user_name, found.workers) == ("u", 8)
    assert made(Text).a == "b"


def test_earlier_sources_take_precedence_over_a_path(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not read at all if they have everything."""
    stores.seed({"aws.ps": APP})
    monkeypatch.setenv("WORKERS", "1")
    db = Database(user_name="u", passWord=SecretStr("p"))

    assert made(App, db=db).db is db
    assert stores.requests("aws.ps") == {}
    assert made(App).workers == 1


@pytest.mark.parametrize("extra", ["ignore", "allow", "forbid"])
def test_extra_applies_to_secrets_without_a_field(stores: Stores, extra: Any) -> None:
    """The default of SecretSettings is to ignore them."""
    stores.seed({"aws.ps": APP})

    class Settings(App):
        model_config = SettingsConfigDict(extra=extra)

    if extra == "forbid":
        (line,) = failing(Settings).errors()

        assert (line["type"], line["loc"]) == ("extra_forbidden", ("unknown",))
    else:
        extras = made(Settings).model_extra

        assert extras == ({"unknown": {"x": "y"}} if extra == "allow" else None)
    assert made(App).model_extra is None


def test_a_missing_field_of_a_path(stores: Stores) -> None:
    """The error names the secret that it would come from."""
    stores.seed({"aws.ps": {"/prod/app/db/user-name": CANARY, "/prod/app/workers": CANARY}})
    error = failing(App)

    assert {line["loc"]: line["msg"] for line in error.errors()} == {
        ("db", "passWord"): "Field required, and there is no secret '/prod/app/db/passWord' of"
        " aws.ps",
        ("workers",): "Input should be a valid integer, unable to parse string as an integer"
        " (in the secret '/prod/app/workers' of aws.ps)",
    }
    assert CANARY not in shown(error)


def test_a_missing_field_of_several_paths(stores: Stores) -> None:
    """The error names a secret in each path, according to the field's alias."""

    class Settings(Base):
        secret_paths = {"aws.ps": "/a", "aws.sm": "a"}  # noqa: RUF012
        b: str = Field(validation_alias=AliasPath("array", 0))
        c: Annotated[str, FromSecret("aws.ps", "/c")]

    messages = {line["loc"][0]: line["msg"] for line in failing(Settings).errors()}

    assert messages == {
        "array": "Field required, and there is no secret '/a/array/0' of aws.ps,"
        " and no secret 'a/array/0' of aws.sm",
        "c": "Field required, and there is no secret '/c' of aws.ps",
    }


def test_arguments_of_pydantic_settings(stores: Stores, tmp_path: Path) -> None:
    """They work as usual."""
    stores.seed({"aws.ps": APP})
    (tmp_path / "env").write_text("WORKERS=2")

    assert made(App, _env_file=tmp_path / "env").workers == 2


def test_an_unreadable_path(s1crets_aws: LoopbackAws) -> None:
    """The error names it, for both services, and no default is used."""
    s1crets_aws.seed({"aws.ps": APP, "aws.sm": {"a/b": CANARY, "a/c": CANARY}})
    s1crets_aws.deny("ssm:GetParametersByPath")
    s1crets_aws.deny("secretsmanager:GetSecretValue", "a/c*")
    with pytest.raises(
        SecretSettingsError, match=r"App: the secrets under '/prod/app' of aws\.ps can't"
    ) as ps:
        made(App)

    class Settings(Base):
        secret_paths = {"aws.sm": "a"}  # noqa: RUF012
        b: str

    with pytest.raises(SecretSettingsError, match="is not authorized to perform") as sm:
        made(Settings)

    assert isinstance(ps.value.errors["/prod/app"], PermissionError)
    assert CANARY not in shown(ps.value) + shown(sm.value)


def test_an_unknown_provider_of_a_path() -> None:
    """The error names the path."""
    source = SecretsPathSource(App, "aws.pss", "/prod/app")
    with pytest.raises(ConfigurationError, match="App: the path '/prod/app': there is no provider"):
        source()


# --- what errors show -----------------------------------------------------------------------------


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def shown(error: BaseException) -> str:
    """Return everything that tools show of an error; of frames, those of other files."""
    parts = []
    for one in chain(error):
        parts += [str(one), repr(one), repr(one.args), repr(getattr(one, "__notes__", None))]
        report = traceback.TracebackException.from_exception(one, capture_locals=True)
        parts += [repr(frame.locals) for frame in report.stack if frame.filename != __file__]
        if isinstance(one, ValidationError):
            parts.append(repr(one.errors()))
    return "\n".join(parts)


def programmatic(error: ValidationError) -> str:
    """Return everything that a program can get from an error."""
    with suppress(TypeError):
        return error.json() + repr(pickle.dumps(error))
    return error.json()


class Inner(BaseModel):
    pin: Annotated[int, Field(ge=0, le=1)] = 0
    kind: Literal["x"] = "x"


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


def wrong(base: Any) -> Any:
    """Return settings whose fields all refuse their secrets, except one, which is missing."""

    class Settings(base):  # type: ignore[misc]
        number: Annotated[int, FromSecret("aws.ps", "/text")]
        long: Annotated[str, FromSecret("aws.ps", "/text"), Field(min_length=99)]
        secret: Annotated[SecretStr, FromSecret("aws.ps", "/text")] = Field(max_length=1)
        inner: Annotated[Inner, FromSecret("aws.ps", "/json")]
        numbers: Annotated[list[int], FromSecret("aws.ps", "/json", "list")]
        model: Annotated[Inner, FromSecret("aws.ps", "/text")]
        pet: Annotated[Cat | Dog, FromSecret("aws.ps", "/json"), Field(discriminator="kind")]
        either: Annotated[int | bool | Inner, FromSecret("aws.ps", "/text")]
        binary: Annotated[int, FromSecret("aws.sm", "binary")]
        missing: int

    return Settings


@pytest.fixture
def _seeded(stores: Stores) -> None:
    inner = {"pin": 55775577, "kind": CANARY, "list": [1, CANARY], "float": 5577.25}
    stores.seed({"aws.ps": {"/text": CANARY, "/json": inner}, "aws.sm": {"binary": b"\xff5e77"}})


SECRETS = [CANARY, "55775577", "5577.25", "5e77"]


@pytest.mark.usefixtures("_seeded")
def test_a_failed_validation_shows_no_secret() -> None:
    """Not in text, repr, errors(), JSON, pickles, the frames' locals, or the error's causes."""
    error = failing(wrong(Base))
    seen = shown(error) + programmatic(error)

    assert [secret for secret in SECRETS if secret in seen] == []
    assert {line["loc"][0] for line in error.errors()} == set(wrong(Base).model_fields)
    assert {line["input"] for line in error.errors()} == {"**********"}
    for line in error.errors():
        assert "secret" in line["msg"] or line["loc"] == ("missing",)
    assert list(chain(error)) == [error]


@pytest.mark.usefixtures("_seeded")
def test_a_failed_validation_of_plain_settings_shows_the_secrets_name() -> None:
    """Instead of the value: in text, repr, errors() and locals.

    But pydantic's message contains a union's tag, and programs get the input: see the docs.
    """
    settings = pydantic.create_model("S", __base__=wrong(Plain), pet=(int, 0))
    error = failing(settings)
    seen = shown(error)

    assert [secret for secret in SECRETS if secret in seen] == []
    assert "input_value=<secret '/text' of aws.ps>" in str(error)
    assert error.errors()[0]["input"] == CANARY
    assert CANARY in str(failing(wrong(Plain)))


@pytest.mark.usefixtures("_seeded")
def test_messages_of_validators_show_no_secret() -> None:
    """Any message that contains a value is replaced; others are kept."""

    class Settings(Base):
        own: Annotated[str, FromSecret("aws.ps", "/text")]
        good: Annotated[str, FromSecret("aws.ps", "/text")]
        deep: Annotated[dict[str, Any], FromSecret("aws.ps", "/json")]

        @field_validator("own")
        @classmethod
        def shows(cls, value: str) -> str:
            message = f"bad: {value!r}"
            raise ValueError(message)

        @field_validator("good")
        @classmethod
        def keeps(cls, value: str) -> str:
            if value:
                raise AssertionError("must be {empty}")
            return value

    class After(Base):
        deep: Annotated[dict[str, Any], FromSecret("aws.ps", "/json")]

        @model_validator(mode="after")
        def shows(self) -> After:
            message = f"bad: {self.deep}"
            raise ValueError(message)

    lines = {line["loc"]: line["msg"] for line in failing(Settings).errors()}
    after = failing(After)

    hidden = "The value is not valid, and the original message contains a secret"
    assert lines == {
        ("own",): f"{hidden} (in the secret '/text' of aws.ps)",
        ("good",): "Assertion failed, must be {empty} (in the secret '/text' of aws.ps)",
    }
    assert [(line["loc"], line["msg"]) for line in after.errors()] == [((), hidden)]
    assert "5577" not in shown(after) + programmatic(after)


def test_short_secrets_do_not_hide_pydantics_messages(stores: Stores) -> None:
    """They contain no input, but "a" and "1"."""
    stores.seed({"aws.ps": {"/a": "a", "/b": "1"}})

    class Settings(Base):
        a: Annotated[int, FromSecret("aws.ps", "/a")]
        b: Annotated[int, FromSecret("aws.ps", "/b")] = Field(ge=10)

        @field_validator("b", mode="before")
        @classmethod
        def shows(cls, value: str) -> str:
            message = f"no {value}"
            raise ValueError(message)

    messages = [line["msg"] for line in failing(Settings).errors()]

    assert messages[0].startswith("Input should be a valid integer, unable to parse")
    assert messages[1].startswith("The value is not valid, and the original message contains")


def test_values_from_other_sources_are_hidden_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value from the environment may be a password. No secret is named as its origin."""

    class Settings(Base):
        a: Annotated[int, FromSecret("aws.ps", "/a")]
        b: list[int]

    monkeypatch.setenv("A", CANARY)
    error = failing(Settings, b=[CANARY])

    assert CANARY not in shown(error) + programmatic(error)
    assert "/a" not in str(error)


@pytest.mark.usefixtures("_seeded")
def test_model_validate_and_instances() -> None:
    """Other ways to validate hide values too."""

    class Settings(Base):
        a: Annotated[str, FromSecret("aws.ps", "/text")] = Field(max_length=20)

    found = Settings.model_validate({})

    assert found.a == CANARY
    assert Settings.model_validate(found) is found
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"a": CANARY * 9})
    assert CANARY not in str(caught.value) + programmatic(caught.value)
    with pytest.raises(ValidationError):
        Settings.model_validate(CANARY)


@pytest.mark.usefixtures("_seeded")
@BASES
def test_the_log_of_pydantic_settings_shows_no_secret(
    base: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It logs the result of each source if PYDANTIC_SETTINGS_DEBUG is set."""
    monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
    caplog.set_level(logging.DEBUG)

    class Settings(base):  # type: ignore[misc]
        a: Annotated[str, FromSecret("aws.ps", "/text")]

    source = SecretsSource(Settings, providers=PROVIDERS)

    assert made(Settings).a == CANARY
    assert source() == {"a": CANARY}
    assert repr(source()) == "<values from SecretsSource>"
    assert CANARY not in caplog.text


def test_json_that_is_nested_too_deeply(stores: Stores) -> None:
    """The error names its field or the path; no frame contains the value."""
    deep: Any = CANARY
    for _ in range(101):
        deep = [deep]
    stores.seed({"aws.ps": {"/deep/a": json.dumps(deep), "/deep/b": json.dumps(deep[0])}})

    class Settings(Base):
        a: Annotated[Any, FromSecret("aws.ps", "/deep/a")] = None
        b: Annotated[Any, FromSecret("aws.ps", "/deep/b")] = None

    class Path(Base):
        secret_paths = {"aws.ps": "/deep"}  # noqa: RUF012
        a: Any

    with pytest.raises(SecretSettingsError, match="it is JSON of more than 100 levels") as caught:
        made(Settings)
    with pytest.raises(SecretSettingsError, match="it is JSON of more than 100 levels") as path:
        made(Path)

    assert list(caught.value.errors) == ["a"]
    assert CANARY not in shown(caught.value) + shown(path.value)
    for error in (caught.value, path.value):
        assert CANARY not in repr([one.__traceback__ for one in chain(error.__cause__)])


def test_a_hidden_value_equals_the_original() -> None:
    """Only the repr differs. It can be pickled, and converted to JSON."""
    value = {"a": [1, 2.5, "x", b"y", None, True], "b": {}}
    hidden = _hide(value, "here")

    assert hidden == value
    assert repr(hidden) == repr(hidden.copy()) == repr(hidden["a"][0]) == "<here>"
    assert [str(one) for one in hidden["a"][:3]] == ["1", "2.5", "x"]
    assert json.loads(json.dumps(_hide([1, 2.5], "here"))) == [1, 2.5]
    assert repr(_plain(hidden)) == repr(value)
    assert repr(_plain({"a": _hide(5, "here")})) == "{'a': 5}"
    assert repr(pickle.loads(pickle.dumps(hidden))["b"]) == "<here>"  # noqa: S301  # our own


def test_inside_a_running_event_loop(tmp_path: Path) -> None:
    """`Settings()` in an async main blocks the loop, and works.

    It takes a process, because a test fails if something blocks the loop.
    """
    (tmp_path / "a").write_text("fake")
    script = """
import asyncio
from typing import Annotated
from s1crets.integrations.pydantic_settings import FromSecret, SecretSettings

class Settings(SecretSettings):
    a: Annotated[str, FromSecret("files", "a")]

async def main():
    print(Settings())

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True, text=True, check=False,
        env={**os.environ, "S1CRETS_FILES": str(tmp_path)},
    )  # fmt: skip

    assert (done.stdout, done.stderr) == ("a='fake'\n", "")


def test_models_with_a_config_of_their_own(stores: Stores) -> None:
    """A nested model's own config applies to its aliases."""
    stores.seed({"aws.ps": {"/a": "fake"}})

    class Db(BaseModel):
        model_config = ConfigDict(alias_generator=str.upper)
        user: Annotated[str, FromSecret("aws.ps", "/a")]

    class Settings(Base):
        db: Db

    assert made(Settings).db.user == "fake"


@pytest.mark.parametrize(
    ("type_", "value"),
    [(FilePath, f"{CANARY} " * 40), (ByteSize, f"5 {CANARY}"), (ImportString, f"{CANARY}.x")],
)
def test_errors_of_types_show_no_secret(stores: Stores, type_: Any, value: str) -> None:
    """Not even a part of it, whatever kind of error it is."""
    stores.seed({"aws.ps": {"/a": value}})

    class Settings(Base):
        a: Annotated[type_, FromSecret("aws.ps", "/a")]  # pyright: ignore[reportInvalidTypeForm]

    with pytest.raises((ValidationError, SecretSettingsError)) as caught:
        Settings()  # type: ignore[call-arg]  # from its sources

    assert CANARY not in shown(caught.value)
    assert "5e77" not in shown(caught.value)


def test_errors_of_validators_without_secrets_are_passed_on(stores: Stores) -> None:
    """Of whatever class."""
    stores.seed({"aws.ps": {"/a": CANARY}})

    class Settings(Base):
        a: Annotated[str, FromSecret("aws.ps", "/a")]

        @field_validator("a")
        @classmethod
        def _check(cls, _: str) -> str:
            raise LookupError("not one of ours")

    with pytest.raises(LookupError, match="not one of ours"):
        Settings()  # type: ignore[call-arg]  # from its sources
