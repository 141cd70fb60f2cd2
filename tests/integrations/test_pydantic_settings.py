"""Settings from secrets: which are asked for, where they go, and that no error shows one."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
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
from s1crets import providers
from s1crets.errors import ConfigurationError, S1cretsError
from s1crets.integrations._settings_redaction import HiddenDict, HiddenInt, hide, plain
from s1crets.integrations.pydantic_settings import (
    FromSecret,
    SecretSettings,
    SecretSettingsError,
    SecretsPathSource,
    SecretsSource,
)
from s1crets.providers.aws import AsyncParameterStore, ParameterStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s1crets.testing import LoopbackAws

CANARY = "canary-5e77"
Shared = TypeAliasType("Shared", Annotated[str, FromSecret("aws.ps", "/shared")])


def made(settings: Any, **values: Any) -> Any:
    """Make settings; checkers want arguments for fields that sources have."""
    return settings(**values)


def failing(settings: Any, **values: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        made(settings, **values)
    return caught.value


def asked(aws: LoopbackAws) -> Counter[str]:
    return Counter(one.operation for one in aws.requests)


class Plain(BaseSettings):
    """What a user writes who has a base class already."""

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls, settings_cls: type[BaseSettings], **usual: Any
    ) -> tuple[Any, ...]:
        return (*usual.values(), SecretsSource(settings_cls))


BASES = pytest.mark.parametrize("base", [SecretSettings, Plain])


@BASES
def test_marked_fields_come_from_both_stores(s1crets_aws: LoopbackAws, base: Any) -> None:
    """Text, a key in JSON, a model from JSON, and defaults for what is not marked."""
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
    """One batch a provider, nested models' fields and all."""
    names = [f"/n{number}" for number in range(25)]
    s1crets_aws.seed({"aws.ps": dict.fromkeys(names, "fake"), "aws.sm": {"a": "1", "b": "2"}})
    fields: Any = {name[1:]: Annotated[str, FromSecret("aws.ps", name)] for name in names}
    inner_fields: Any = {name: (fields[name], ...) for name in list(fields)[9:]}
    inner = pydantic.create_model("Inner", **inner_fields)
    outer: Any = {name: (fields[name], ...) for name in list(fields)[:9]}
    outer["a"] = (Annotated[int, FromSecret("aws.sm", "a")], ...)
    outer["b"] = (Annotated[int, FromSecret("aws.sm", "b")], ...)
    settings = pydantic.create_model("S", __base__=SecretSettings, inner=(inner, ...), **outer)

    assert made(settings).inner.n24 == "fake"
    assert asked(s1crets_aws) == {"GetParameters": 3, "BatchGetSecretValue": 1}


def test_a_secret_that_several_fields_want_is_read_once(s1crets_aws: LoopbackAws) -> None:
    """Whatever key of it they want."""
    s1crets_aws.seed({"aws.ps": {"/db": {"user": "u", "password": "p"}}})

    class Settings(SecretSettings):
        user: Annotated[str, FromSecret("aws.ps", "/db", "user")]
        password: Annotated[str, FromSecret("aws.ps", "/db", "password")]

    found = made(Settings)

    assert (found.user, found.password) == ("u", "p")
    assert [one.names for one in s1crets_aws.requests] == [("/db",)]


def test_markers_are_found_wherever_a_value_may_be(s1crets_aws: LoopbackAws) -> None:
    """In Optional, unions, Annotated, aliases of types, nested models and dataclasses."""
    names = ["/a", "/b", "/c", "/d", "/e", "/f", "/shared"]
    s1crets_aws.seed({"aws.ps": {name: name[1:] for name in names}})

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

    class Settings(SecretSettings):
        point: Point
        tree: Annotated[Tree | None, Field(description="a tree")] = None
        e: Annotated[int, FromSecret("aws.ps", "/e")] | Annotated[str, Field(max_length=9)]
        f: Annotated[str, FromSecret("aws.ps", "/f")] = Field(min_length=1)
        shared: Shared

    found = made(Settings)

    assert found.point.a == "a"
    assert found.tree.model_dump(exclude={"child"}) == {"d": "d", "deep": {"b": "b", "c": "c"}}
    assert (found.e, found.f, found.shared) == ("e", "f", "shared")


class Early(SecretSettings):
    later: Later


class Later(BaseModel):
    a: Annotated[str, FromSecret("aws.ps", "/a")]


@pytest.mark.filterwarnings("ignore:Field 'later' has an incomplete definition")
def test_what_is_defined_after_the_settings_is_found(s1crets_aws: LoopbackAws) -> None:
    """Annotations are completed before they are looked at; pydantic-settings warns."""
    s1crets_aws.seed({"aws.ps": {"/a": "fake"}})

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
def test_values_are_what_the_type_says(
    s1crets_aws: LoopbackAws, base: Any, text: Any, kind: Any, value: Any
) -> None:
    """As pydantic parses text; JSON's objects and arrays come parsed."""
    s1crets_aws.seed({"aws.sm": {"a": text}})
    kind = Annotated[kind, FromSecret("aws.sm", "a")]
    found = made(pydantic.create_model("S", __base__=base, a=(kind, ...))).a

    assert getattr(found, "value", found) == value
    assert type(value) is not Secret or found.get_secret_value() == 5


def test_values_are_of_plain_types(s1crets_aws: LoopbackAws) -> None:
    """What hides them on the way is gone, where the type does not say what is inside too."""
    s1crets_aws.seed({"aws.sm": {"a": {"x": [1, "y", 1.5]}, "b": b"z"}})

    class Settings(SecretSettings):
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
def test_earlier_sources_win_and_nothing_is_asked(s1crets_aws: LoopbackAws, base: Any) -> None:
    """Arguments and the environment; no AWS is needed then."""

    class Db(BaseModel):
        password: Annotated[str, FromSecret("aws.ps", "/password")]

    class Settings(base):  # type: ignore[misc]
        model_config = SettingsConfigDict(env_nested_delimiter="__")
        a: Annotated[str, FromSecret("aws.ps", "/a")]
        b: Annotated[str, FromSecret("aws.sm", "b")] = Field(alias="Bee")
        db: Annotated[Db, FromSecret("aws.ps", "/db")]
        other: Db

    s1crets_aws.down()
    os.environ.update({"A": "env", "BEE": "env", "DB__PASSWORD": "env"})
    found = made(Settings, other=Db(password="given"))

    assert (found.a, found.b, found.db.password) == ("env", "env", "env")
    assert found.other.password == "given"
    assert s1crets_aws.requests == ()


@pytest.fixture(autouse=True)
def _environment_is_put_back() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@BASES
def test_what_is_given_in_part_is_merged(s1crets_aws: LoopbackAws, base: Any) -> None:
    """Earlier sources have the last word about each key of a model or a dict."""
    s1crets_aws.seed({"aws.ps": {"/db": {"host": "h", "user": "u"}, "/d": {"x": 1, "y": 1}}})

    class Db(BaseModel):
        host: str
        user: str

    class Settings(base):  # type: ignore[misc]
        db: Annotated[Db, FromSecret("aws.ps", "/db")]
        d: Annotated[dict[str, int], FromSecret("aws.ps", "/d")]

    found = made(Settings, db={"host": "mine"}, d={"y": 2})

    assert found.model_dump() == {"db": {"host": "mine", "user": "u"}, "d": {"x": 1, "y": 2}}


@BASES
def test_what_is_not_there_is_the_default(s1crets_aws: LoopbackAws, base: Any) -> None:
    """No such secret, no such key in it, no JSON to have a key; of a model, the model's own."""
    s1crets_aws.seed({"aws.ps": {"/json": {"a": 1}, "/text": "fake"}})

    class Db(BaseModel):
        a: Annotated[str, FromSecret("aws.ps", "/gone")]

    class Settings(base):  # type: ignore[misc]
        a: Annotated[str, FromSecret("aws.ps", "/gone")] = "default"
        b: Annotated[str, FromSecret("aws.ps", "/json", "b")] = "default"
        c: Annotated[str, FromSecret("aws.ps", "/text", ("a", 0))] = "default"
        db: Db | None = None

    assert set(made(Settings).model_dump().values()) == {"default", None}


def test_a_later_source_has_what_is_not_there(s1crets_aws: LoopbackAws) -> None:
    """Secrets may come before the environment; the order is the caller's."""
    s1crets_aws.seed({"aws.ps": {"/b": "secret"}})

    class Settings(SecretSettings):
        a: Annotated[str, FromSecret("aws.ps", "/a")]
        b: Annotated[str, FromSecret("aws.ps", "/b")]

        @classmethod
        def settings_customise_sources(  # type: ignore[override]
            cls, settings_cls: type[BaseSettings], **_: Any
        ) -> tuple[Any, ...]:
            return SecretsSource(settings_cls), EnvSettingsSource(settings_cls)

    os.environ.update({"A": "env", "B": "env"})
    found = made(Settings)

    assert (found.a, found.b) == ("env", "secret")


def test_what_nobody_has_is_missing(s1crets_aws: LoopbackAws) -> None:
    """All of it in one ValidationError of pydantic's, which names field and secret."""
    s1crets_aws.seed({"aws.ps": {"/json": {"a": 1}}, "aws.sm": {"db": {"user": CANARY}}})

    class Db(BaseModel):
        user: str
        password: str

    class Sub(BaseModel):
        x: Annotated[str, FromSecret("aws.ps", "/x")] = Field(alias="X")
        y: Annotated[str, FromSecret("aws.ps", "/y")]

    class Other(BaseModel):
        z: int

    class Settings(SecretSettings):
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


@BASES
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (lambda aws: aws.deny("ssm:*", "*/b"), s1crets.AccessDeniedError),
        (lambda aws: aws.throttle("ssm:*"), s1crets.ThrottledError),
        (lambda aws: aws.down(), s1crets.UnavailableError),
        (lambda _: os.environ.pop("AWS_DEFAULT_REGION"), ConfigurationError),
    ],
)
def test_what_can_not_be_read_is_not_missing(
    s1crets_aws: LoopbackAws, base: Any, fault: Callable[[LoopbackAws], None], kind: Any
) -> None:
    """An error names field and secret, has the errors by field, and there is no default for it."""
    s1crets_aws.seed({"aws.ps": {"/a": CANARY, "/b": CANARY}})

    class Db(BaseModel):
        b: Annotated[str, FromSecret("aws.ps", "/b")] = "default"

    class Settings(base):  # type: ignore[misc]
        a: Annotated[str, FromSecret("aws.ps", "/a")]
        db: Db = Db()

    fault(s1crets_aws)
    with pytest.raises(SecretSettingsError) as caught:
        made(Settings)
    error = caught.value

    assert isinstance(error, (S1cretsError, SettingsError))
    assert isinstance(error.errors["db.b"], kind)
    assert error.__cause__ in error.errors.values()
    assert str(error).startswith("Settings: what these fields are could not be read:\n  ")
    assert "db.b (secret '/b' of aws.ps)" in str(error)
    assert str(error.errors["db.b"]) in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301  # our own
    assert CANARY not in shown(error)


def test_a_name_that_can_not_be_one(s1crets_aws: LoopbackAws) -> None:
    """It is said of its field; the others are not to blame."""
    s1crets_aws.seed({"aws.ps": {"/a": "fake"}})

    class Settings(SecretSettings):
        a: Annotated[str, FromSecret("aws.ps", "/a")]
        b: Annotated[str, FromSecret("aws.ps", "")]

    with pytest.raises(SecretSettingsError, match=r"b \(secret '' of aws\.ps\)") as caught:
        made(Settings)

    assert list(caught.value.errors) == ["b"]


@BASES
def test_an_unknown_provider(base: Any) -> None:
    """It is an error of configuration that names the field and what is known."""

    class Settings(base):  # type: ignore[misc]
        a: Annotated[str, FromSecret("aws.pss", "/a")]

    known = r"Settings: the field a: there is no provider 'aws.pss'; known are 'aws.ps', 'aws.sm'"
    with pytest.raises(ConfigurationError, match=known):
        made(Settings)


class Third:
    """A store of somebody else's."""

    def get_many(self, paths: list[str], *, errors: str) -> dict[str, Any]:
        assert errors == "return"
        return {path: path.upper() for path in paths}

    def get_by_path(self, path: str) -> dict[str, Any]:
        return {f"{path}/b": self}


def test_own_providers(s1crets_aws: LoopbackAws) -> None:
    """Objects of one's own, for names that there are and others."""
    s1crets_aws.seed({"aws.ps": {"/a": "fake"}})
    with ParameterStore(cache_args={"cache_ttl": 0}) as own:

        class Settings(SecretSettings):
            secret_providers = {"aws.ps": own, "third": Third()}  # noqa: RUF012
            secret_paths = {"third": "x"}  # noqa: RUF012
            a: Annotated[str, FromSecret("aws.ps", "/a")]
            t: Annotated[str, FromSecret("third", "t")]
            b: Any

        found = made(Settings)

        assert (found.a, found.t, type(found.b)) == ("fake", "T", Third)
        assert own.stats.requests == {"GetParameter": 1}


def test_an_async_provider_is_refused(s1crets_aws: LoopbackAws) -> None:
    """Settings are made without await; the error says what to pass."""

    class Settings(SecretSettings):
        secret_providers = {"aws.ps": AsyncParameterStore()}  # noqa: RUF012
        a: Annotated[str, FromSecret("aws.ps", "/a")]

    with pytest.raises(
        ConfigurationError, match=r"can't be AsyncParameterStore: .* pass Parameter"
    ):
        made(Settings)


def test_it_is_read_from_the_cache_again(s1crets_aws: LoopbackAws) -> None:
    """The providers are the process's own."""
    s1crets_aws.seed({"aws.ps": {"/a": "fake"}})

    class Settings(SecretSettings):
        a: Annotated[str, FromSecret("aws.ps", "/a")]

    assert made(Settings) == made(Settings)
    assert s1crets.get("aws.ps", "/a") == "fake"
    assert len(s1crets_aws.requests) == 1


def test_aliases(s1crets_aws: LoopbackAws) -> None:
    """A value goes where pydantic looks for it first, or to a name if that is in an array."""
    s1crets_aws.seed({"aws.ps": {"/a": "fake"}})
    secret = FromSecret("aws.ps", "/a")

    class Settings(SecretSettings):
        model_config = SettingsConfigDict(populate_by_name=True)
        a: Annotated[str, secret] = Field(alias="A-1")
        b: Annotated[str, secret] = Field(validation_alias=AliasChoices("x", "y"))
        c: Annotated[str, secret] = Field(validation_alias=AliasPath("deep", "c"))
        d: Annotated[str, secret] = Field(validation_alias=AliasPath("array", 0))
        e: Annotated[str, secret] = Field(validation_alias=AliasPath("given", 0))

    found = made(Settings, given=["mine"])

    assert found.model_dump() == dict.fromkeys("abcd", "fake") | {"e": "mine"}

    class Nameless(SecretSettings):
        d: Annotated[str, secret] = Field(validation_alias=AliasPath("array", 0))

    with pytest.raises(ConfigurationError, match=r"the field array\.0 is an element of an array"):
        made(Nameless)


def test_a_field_has_one_secret() -> None:
    """Two markers are an error that names both."""

    class Settings(SecretSettings):
        a: Annotated[int, FromSecret("aws.ps", "/a")] | Annotated[str, FromSecret("aws.sm", "b")]

    both = "the field a has more than one secret: secret '/a' of aws.ps and secret 'b' of aws.sm"
    with pytest.raises(ConfigurationError, match=both):
        made(Settings)


def test_the_marker_is_a_value() -> None:
    """Frozen, hashable, equal to its like; a keypath that can't be one is refused at once."""
    marker: Any = FromSecret("aws.ps", "/a", keypath="b")

    assert {marker} == {FromSecret("aws.ps", "/a", ["b"])}
    with pytest.raises(FrozenInstanceError):
        marker.path = "/b"
    with pytest.raises(TypeError, match="not float"):
        FromSecret("aws.ps", "/a", keypath=1.5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_sources_say_nothing_of_single_fields() -> None:
    """They read all at once; the method is pydantic-settings' own."""
    source = SecretsSource(Plain)

    assert source.get_field_value(Field(), "a") == (None, "a", False)
    assert source() == {}


# --- below a path ---------------------------------------------------------------------------------


class Database(BaseModel):
    user_name: str
    password: SecretStr = Field(alias="passWord")
    ports: list[int] = []
    labels: dict[str, str] = {}


class Below(SecretSettings):
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


def test_a_path_is_as_nested_as_the_models(s1crets_aws: LoopbackAws) -> None:
    """Names in any case, aliases, `-` for `_`; keys of a dict stay as they are. One request."""
    s1crets_aws.seed({"aws.ps": APP})
    found = made(Below)

    assert found.db.password.get_secret_value() == CANARY
    assert found.model_dump(exclude={"db": {"password"}}) == {
        "db": {"user_name": "u", "ports": [], "labels": {"A-b": "c"}},
        "workers": 8,
    }
    assert asked(s1crets_aws) == {"GetParametersByPath": 1}


def test_json_on_the_way_is_merged(s1crets_aws: LoopbackAws) -> None:
    """Its keys are as names below it, and lose to such; text there is lost to them too."""
    db = {"USER-NAME": "u", "PassWord": "lost", "ports": [1], "labels": {"a": "1", "b": "1"}}
    ps = {"/prod/app/db": db, "/prod/app/db/password": "p", "/prod/app/db/labels/b": "2"}
    s1crets_aws.seed({"aws.ps": {**ps, "/prod/app/workers": "1", "/prod/app/workers/x": "2"}})
    error = failing(Below)
    (line,) = error.errors()
    providers.reset()
    s1crets_aws.reset()
    s1crets_aws.seed({"aws.ps": ps})
    found = made(Below)

    assert (line["loc"], line["type"]) == (("workers",), "int_type")
    assert found.db.model_dump() | {"password": found.db.password.get_secret_value()} == {
        "user_name": "u",
        "password": "p",
        "ports": [1],
        "labels": {"a": "1", "b": "2"},
    }


def test_of_two_spellings_the_fields_own_wins(s1crets_aws: LoopbackAws) -> None:
    """Whichever AWS lists first."""
    names = ["/prod/app/Key-Id", "/prod/app/key-id", "/prod/app/key_id", "/prod/app/KEY_ID"]
    s1crets_aws.seed({"aws.ps": {name: name for name in names}})

    class Settings(SecretSettings):
        secret_paths = {"aws.ps": "/prod/app/"}  # noqa: RUF012
        key_id: str

    assert made(Settings).key_id == "/prod/app/key_id"


def test_below_a_path_of_secrets_manager(s1crets_aws: LoopbackAws) -> None:
    """A secret of the path's own name is JSON of all, or nothing."""
    s1crets_aws.seed({"aws.sm": {"prod/app": {"db": {"user_name": "u", "password": "p"}}}})
    s1crets_aws.seed({"aws.sm": {"prod/app/workers": "8", "prod/text": "fake", "prod/text/a": "b"}})

    class Settings(Below):
        secret_paths = {"aws.sm": "prod/app"}  # noqa: RUF012

    class Text(SecretSettings):
        secret_paths = {"aws.sm": "prod/text"}  # noqa: RUF012
        a: str

    found = made(Settings)

    assert (found.db.user_name, found.workers) == ("u", 8)
    assert made(Text).a == "b"


def test_environment_before_what_is_below_a_path(s1crets_aws: LoopbackAws) -> None:
    """And nothing is asked if nothing is wanting."""
    s1crets_aws.seed({"aws.ps": APP})
    os.environ["WORKERS"] = "1"

    assert made(Below).workers == 1

    providers.reset()
    s1crets_aws.down()
    db = Database(user_name="u", passWord=SecretStr("p"))

    assert made(Below, db=db).db is db


@pytest.mark.parametrize("extra", ["ignore", "allow", "forbid"])
def test_extra_says_what_becomes_of_the_rest(s1crets_aws: LoopbackAws, extra: Any) -> None:
    """SecretSettings ignores it, if nothing else is said."""
    s1crets_aws.seed({"aws.ps": APP})

    class Settings(Below):
        model_config = SettingsConfigDict(extra=extra)

    if extra == "forbid":
        (line,) = failing(Settings).errors()

        assert (line["type"], line["loc"]) == ("extra_forbidden", ("unknown",))
    else:
        extras = made(Settings).model_extra

        assert extras == ({"unknown": {"x": "y"}} if extra == "allow" else None)
    assert made(Below).model_extra is None


def test_what_is_missing_below_a_path(s1crets_aws: LoopbackAws) -> None:
    """The error names the secret that would be it."""
    s1crets_aws.seed({"aws.ps": {"/prod/app/db/user-name": CANARY, "/prod/app/workers": CANARY}})
    error = failing(Below)

    assert {line["loc"]: line["msg"] for line in error.errors()} == {
        ("db", "passWord"): "Field required, and there is no secret '/prod/app/db/passWord' of"
        " aws.ps",
        ("workers",): "Input should be a valid integer, unable to parse string as an integer"
        " (in the secret '/prod/app/workers' of aws.ps)",
    }
    assert CANARY not in shown(error)


def test_what_is_missing_of_several_paths(s1crets_aws: LoopbackAws) -> None:
    """Each of them is named, whatever the field's alias is; what is no field's is not."""

    class Settings(SecretSettings):
        secret_paths = {"aws.ps": "/a", "aws.sm": "a"}  # noqa: RUF012
        b: str = Field(validation_alias=AliasPath("array", 0))
        c: Annotated[str, FromSecret("aws.ps", "/c")]

    messages = {line["loc"][0]: line["msg"] for line in failing(Settings).errors()}

    assert messages == {
        "array": "Field required, and there is no secret '/a/array/0' of aws.ps,"
        " and no secret 'a/array/0' of aws.sm",
        "c": "Field required, and there is no secret '/c' of aws.ps, and no secret '/a/c' of"
        " aws.ps, and no secret 'a/c' of aws.sm",
    }


def test_arguments_of_pydantic_settings_own(s1crets_aws: LoopbackAws, tmp_path: Path) -> None:
    """They are passed on."""
    s1crets_aws.seed({"aws.ps": APP})
    (tmp_path / "env").write_text("WORKERS=2")

    assert made(Below, _env_file=tmp_path / "env").workers == 2


def test_a_path_that_can_not_be_read(s1crets_aws: LoopbackAws) -> None:
    """An error that names it, in both stores; for what was read of it, no default."""
    s1crets_aws.seed({"aws.ps": APP, "aws.sm": {"a/b": CANARY, "a/c": CANARY}})
    s1crets_aws.deny("ssm:GetParametersByPath")
    s1crets_aws.deny("secretsmanager:GetSecretValue", "a/c*")
    with pytest.raises(
        SecretSettingsError, match=r"Below: what is below '/prod/app' of aws\.ps"
    ) as ps:
        made(Below)

    class Settings(SecretSettings):
        secret_paths = {"aws.sm": "a"}  # noqa: RUF012
        b: str

    with pytest.raises(SecretSettingsError, match="is not authorized to perform") as sm:
        made(Settings)

    assert isinstance(ps.value.errors["/prod/app"], PermissionError)
    assert CANARY not in shown(ps.value) + shown(sm.value)


def test_an_unknown_provider_of_a_path() -> None:
    """The error names the path."""
    source = SecretsPathSource(Below, "aws.pss", "/prod/app")
    with pytest.raises(
        ConfigurationError, match="Below: the path '/prod/app': there is no provide"
    ):
        source()


# --- what errors show -----------------------------------------------------------------------------


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def shown(error: BaseException) -> str:
    """Return all that any tool shows of an error; of frames, those that are not of this file."""
    parts = []
    for one in chain(error):
        parts += [str(one), repr(one), repr(one.args), repr(getattr(one, "__notes__", None))]
        report = traceback.TracebackException.from_exception(one, capture_locals=True)
        parts += [repr(frame.locals) for frame in report.stack if frame.filename != __file__]
        if isinstance(one, ValidationError):
            parts.append(repr(one.errors()))
    return "\n".join(parts)


def programmatic(error: ValidationError) -> str:
    """Return what a program gets of an error."""
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
    """Return settings each field of which refuses its secret; and one field is missing."""

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
def _seeded(s1crets_aws: LoopbackAws) -> None:
    inner = {"pin": 55775577, "kind": CANARY, "list": [1, CANARY], "float": 5577.25}
    s1crets_aws.seed(
        {"aws.ps": {"/text": CANARY, "/json": inner}, "aws.sm": {"binary": b"\xff5e77"}}
    )


SECRETS = [CANARY, "55775577", "5577.25", "5e77"]


@pytest.mark.usefixtures("_seeded")
def test_a_failed_validation_shows_no_secret() -> None:
    """Not in text, repr, errors(), JSON, pickles, the frames' locals, nor what is behind it."""
    error = failing(wrong(SecretSettings))
    seen = shown(error) + programmatic(error)

    assert [secret for secret in SECRETS if secret in seen] == []
    assert {line["loc"][0] for line in error.errors()} == set(wrong(SecretSettings).model_fields)
    assert {line["input"] for line in error.errors()} == {"**********"}
    for line in error.errors():
        assert "secret" in line["msg"] or line["loc"] == ("missing",)
    assert list(chain(error)) == [error]


@pytest.mark.usefixtures("_seeded")
def test_a_failed_validation_of_other_settings_shows_no_secret() -> None:
    """Not in text, repr, errors() and locals, where instead of the value the secret is named.

    But a tag of a union is in pydantic's message, and programs get the input: see the docs.
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
    """Those that have one are replaced, whoever wrote them and wherever; others are kept."""

    class Settings(SecretSettings):
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

    class After(SecretSettings):
        deep: Annotated[dict[str, Any], FromSecret("aws.ps", "/json")]

        @model_validator(mode="after")
        def shows(self) -> After:
            message = f"bad: {self.deep}"
            raise ValueError(message)

    lines = {line["loc"]: line["msg"] for line in failing(Settings).errors()}
    after = failing(After)

    hidden = "The value is not valid, and the message has a secret in it"
    assert lines == {
        ("own",): f"{hidden} (in the secret '/text' of aws.ps)",
        ("good",): "Assertion failed, must be {empty} (in the secret '/text' of aws.ps)",
    }
    assert [(line["loc"], line["msg"]) for line in after.errors()] == [((), hidden)]
    assert "5577" not in shown(after) + programmatic(after)


def test_short_secrets_do_not_hide_pydantics_messages(s1crets_aws: LoopbackAws) -> None:
    """Its messages have no input in them, but have "a" and "1"."""
    s1crets_aws.seed({"aws.ps": {"/a": "a", "/b": "1"}})

    class Settings(SecretSettings):
        a: Annotated[int, FromSecret("aws.ps", "/a")]
        b: Annotated[int, FromSecret("aws.ps", "/b")] = Field(ge=10)

        @field_validator("b", mode="before")
        @classmethod
        def shows(cls, value: str) -> str:
            message = f"no {value}"
            raise ValueError(message)

    messages = [line["msg"] for line in failing(Settings).errors()]

    assert messages[0].startswith("Input should be a valid integer, unable to parse")
    assert messages[1].startswith("The value is not valid, and the message has a secret in it")


def test_given_values_are_hidden_too() -> None:
    """What the environment has may be a password; it is not said to be of a secret."""

    class Settings(SecretSettings):
        a: Annotated[int, FromSecret("aws.ps", "/a")]
        b: list[int]

    os.environ["A"] = CANARY
    error = failing(Settings, b=[CANARY])

    assert CANARY not in shown(error) + programmatic(error)
    assert "/a" not in str(error)


@pytest.mark.usefixtures("_seeded")
def test_model_validate_and_instances() -> None:
    """Other ways to validate are as good."""

    class Settings(SecretSettings):
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
    """It logs what each source found, if PYDANTIC_SETTINGS_DEBUG is set."""
    monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
    caplog.set_level(logging.DEBUG)

    class Settings(base):  # type: ignore[misc]
        a: Annotated[str, FromSecret("aws.ps", "/text")]

    source = SecretsSource(Settings)

    assert made(Settings).a == CANARY
    assert source() == {"a": CANARY}
    assert repr(source()) == "<what SecretsSource found>"
    assert CANARY not in caplog.text


def test_json_that_is_too_deep(s1crets_aws: LoopbackAws) -> None:
    """An error of its field, or of the path, without its value in any frame."""
    deep: Any = CANARY
    for _ in range(101):
        deep = [deep]
    s1crets_aws.seed({"aws.ps": {"/deep/a": json.dumps(deep), "/deep/b": json.dumps(deep[0])}})

    class Settings(SecretSettings):
        a: Annotated[Any, FromSecret("aws.ps", "/deep/a")] = None
        b: Annotated[Any, FromSecret("aws.ps", "/deep/b")] = None

    class Path(SecretSettings):
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


def test_what_is_hidden_is_equal_to_what_it_was() -> None:
    """Only its repr is another; text of numbers is that of the number."""
    value = {"a": [1, 2.5, "x", b"y", None, True], "b": {}}
    hidden: HiddenDict = hide(value, "here")

    assert hidden == value
    assert repr(hidden) == repr(hidden.copy()) == repr(hidden["a"][0]) == "<here>"
    assert [str(one) for one in hidden["a"][:3]] == ["1", "2.5", "x"]
    assert json.loads(json.dumps(hide([1, 2.5], "here"))) == [1, 2.5]
    assert repr(plain(hidden)) == repr(value)
    assert repr(plain({"a": HiddenInt(5)})) == "{'a': 5}"


# --- processes ------------------------------------------------------------------------------------


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_inside_a_running_event_loop(s1crets_aws: LoopbackAws) -> None:
    """`Settings()` in an async main: the loop waits, and nothing else goes wrong."""
    s1crets_aws.seed({"aws.ps": {"/a": "fake"}, "aws.sm": {"b": "fake"}})
    done = run("""
        import asyncio
        from typing import Annotated
        from s1crets.integrations.pydantic_settings import FromSecret, SecretSettings

        class Settings(SecretSettings):
            a: Annotated[str, FromSecret("aws.ps", "/a")]
            b: Annotated[str, FromSecret("aws.sm", "b")]

        async def main():
            print(Settings())

        asyncio.run(main())
    """)

    assert (done.stdout, done.stderr) == ("a='fake' b='fake'\n", "")


def test_without_the_extra() -> None:
    """The error says what to install; s1crets itself imports nothing of pydantic."""
    done = run("""
        import sys
        import s1crets, s1crets.integrations
        assert not [name for name in sys.modules if name.startswith("pydantic")]
        sys.modules["pydantic_settings"] = None
        try:
            import s1crets.integrations.pydantic_settings
        except s1crets.ConfigurationError as error:
            print(error)
    """)

    expected = "settings need the extra `settings`: pip install 's1crets[settings]'\n"
    assert (done.stdout, done.stderr) == (expected, "")


def test_models_with_a_config_of_their_own(s1crets_aws: LoopbackAws) -> None:
    """A nested model's aliases count where its own config says so."""
    s1crets_aws.seed({"aws.ps": {"/a": "fake"}})

    class Db(BaseModel):
        model_config = ConfigDict(alias_generator=str.upper)
        user: Annotated[str, FromSecret("aws.ps", "/a")]

    class Settings(SecretSettings):
        db: Db

    assert made(Settings).db.user == "fake"


@pytest.mark.parametrize(
    ("type_", "value"),
    [(FilePath, f"{CANARY} " * 40), (ByteSize, f"5 {CANARY}"), (ImportString, f"{CANARY}.x")],
)
def test_what_types_say_of_a_value_is_not_shown(
    s1crets_aws: LoopbackAws, type_: Any, value: str
) -> None:
    """Neither whole nor in part, whatever kind of error it is."""
    s1crets_aws.seed({"aws.ps": {"/a": value}})

    class Settings(SecretSettings):
        a: Annotated[type_, FromSecret("aws.ps", "/a")]  # pyright: ignore[reportInvalidTypeForm]

    with pytest.raises((ValidationError, SecretSettingsError)) as caught:
        Settings()  # type: ignore[call-arg]  # from its sources

    assert CANARY not in shown(caught.value)
    assert "5e77" not in shown(caught.value)


def test_other_errors_of_types_and_validators_are_passed_on(s1crets_aws: LoopbackAws) -> None:
    """Where they do not show a secret."""
    s1crets_aws.seed({"aws.ps": {"/a": CANARY}})

    class Settings(SecretSettings):
        a: Annotated[str, FromSecret("aws.ps", "/a")]

        @field_validator("a")
        @classmethod
        def _check(cls, _: str) -> str:
            raise LookupError("not one of ours")

    with pytest.raises(LookupError, match="not one of ours"):
        Settings()  # type: ignore[call-arg]  # from its sources
