"""Fields of settings: what is read as text, what as a list, and what as JSON."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field, Json, Secret, SecretBytes, SecretStr, ValidationError
from pydantic_settings import BaseSettings
from typing_extensions import TypeAliasType, TypedDict

from s1crets.errors import ConfigurationError
from s1crets.integrations.pydantic_settings import (
    FromSecret,
    SecretSettings,
    SecretSettingsError,
    SecretsPathSource,
)
from s1crets.providers.simple import AsyncSimpleProvider, SimpleProvider

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from s1crets.testing import LocalAws

DOCUMENT = '{"type": "service_account", "id": 1e5, "keys": [1.10, {"a":  true}], "none": null}'
Text = TypeAliasType("Text", str)


class Level(StrEnum):
    low = "1"


class Names(TypedDict):
    type: str


class Key(BaseModel):
    type: str
    id: str
    keys: Any = None


class AsyncMemory(AsyncSimpleProvider):
    """Secrets in a dict."""

    service = "memory"
    default_ttl = 0

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[str, str | bytes] = {}

    async def fetch(self, name: str) -> str | bytes | None:
        return self.secrets.get(name)

    async def names(self, path: str) -> list[str]:  # noqa: ARG002  # all of them
        return list(self.secrets)


class Memory(SimpleProvider[AsyncMemory]):
    async_class = AsyncMemory


MEMORY = Memory()


class Base(SecretSettings):
    secret_providers = {"m": MEMORY}  # noqa: RUF012


@pytest.fixture
def secrets() -> Iterator[dict[str, str | bytes]]:
    """The secrets of the provider `m`."""
    yield MEMORY.awaited.secrets
    MEMORY.awaited.secrets.clear()
    MEMORY.close()


def read(annotation: Any, keypath: Any = (), path: str = "doc") -> Any:
    """Return the value of a field of this type, which comes from a secret."""
    annotated: Any = Annotated
    field = annotated[annotation, FromSecret("m", path, keypath)]
    settings: Any = type("Settings", (Base,), {"__annotations__": {"field": field}})
    return settings().field


def shown(value: Any) -> Any:
    """Return the text of a secret type."""
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        SecretStr,
        Secret[str],
        Text,
        SecretStr | None,
        str | int,
        Annotated[str, Field(min_length=5)],
    ],
)
def test_a_field_of_text_gets_json_as_it_is_stored(
    secrets: dict[str, str | bytes], annotation: Any
) -> None:
    """Such as the key file of a service account, which its user wants as text."""
    secrets["doc"] = DOCUMENT

    assert shown(read(annotation)) == DOCUMENT


def test_bytes_too(secrets: dict[str, str | bytes]) -> None:
    """As the bytes of the text; binary secrets as they are."""
    secrets.update(doc=DOCUMENT, binary=b"\xff")

    assert shown(read(SecretBytes)) == DOCUMENT.encode()
    assert read(bytes, path="binary") == b"\xff"


@pytest.mark.parametrize(
    ("keypath", "text"),
    [
        ("type", "service_account"),
        ("id", "1e5"),
        (("keys", 0), "1.10"),
        (("keys", "-2"), "1.10"),
        (("keys", 1), '{"a":  true}'),
        (("keys", 1, "a"), "true"),
        ("keys", '[1.10, {"a":  true}]'),
        ("none", None),
    ],
)
def test_an_item_of_json_as_text(
    secrets: dict[str, str | bytes], keypath: Any, text: str | None
) -> None:
    """Exactly as it is stored: a password may look like a number, and `1e5` is not `100000.0`."""
    secrets["doc"] = DOCUMENT

    assert read(str | None, keypath) == text


def test_a_key_that_is_not_there(secrets: dict[str, str | bytes]) -> None:
    """The field is missing, also if the secret is not JSON, or the key is too long for it."""
    secrets.update(doc=DOCUMENT, text="fake")
    for keypath in ("absent", ("keys", 5), ("type", "x")):
        with pytest.raises(ValidationError, match="Field required"):
            read(str, keypath)
    with pytest.raises(ValidationError, match="Field required"):
        read(str, "a", "text")


@pytest.mark.parametrize(
    "annotation", [dict[str, Any], Any, object, Names, dict[str, Any] | str, Key, Key | None]
)
def test_other_fields_get_json_parsed(secrets: dict[str, str | bytes], annotation: Any) -> None:
    """A type that takes objects gets one, also if it takes text as well."""
    secrets["doc"] = DOCUMENT
    found = read(annotation)

    assert (found["type"] if isinstance(found, dict) else found.type) == "service_account"


def test_json_of_pydantic_parses_text(secrets: dict[str, str | bytes]) -> None:
    """As it does for environment variables: a whole secret, an item, and text in an item."""
    secrets.update(doc=DOCUMENT, text='{"inner": "[1, 2]", "list": [3]}', plain="[4]")

    assert read(Json[dict[str, Any]]) == json.loads(DOCUMENT)
    assert read(Json) == json.loads(DOCUMENT)
    assert read(Json[list[int]] | None, "inner", "text") == [1, 2]
    assert read(Json[list[int]], "list", "text") == [3]
    assert read(Json[list[int]], path="plain") == [4]
    with pytest.raises(ValidationError, match="valid integer"):
        read(Json[list[int]], path="doc", keypath="keys")


@pytest.mark.parametrize("annotation", [str, Json[dict[str, Any]], dict[str, Any], Key])
def test_a_byte_order_mark_is_not_a_part_of_json(
    secrets: dict[str, str | bytes], annotation: Any
) -> None:
    """Editors on Windows write one into files."""
    secrets["doc"] = "\ufeff" + DOCUMENT
    found = read(annotation)
    found = json.loads(found) if isinstance(found, str) else found

    assert (found["type"] if isinstance(found, dict) else found.type) == "service_account"


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (list[str], ["1", "b "]),
        (set[str], {"1", "b "}),
        (tuple[str, ...], ("1", "b ")),
        (list[str] | None, ["1", "b "]),
        ("Sequence[str]", ["1", "b "]),
        (list[str] | str, "1,b "),
        (str | list[str], "1,b "),
    ],
)
def test_a_list_reads_items_that_are_separated_by_commas(
    secrets: dict[str, str | bytes], annotation: Any, expected: Any
) -> None:
    """As a StringList is stored; spaces belong to the items."""
    from collections.abc import Sequence  # for the annotation

    secrets["list"] = "1,b "
    annotation = Sequence[str] if annotation == "Sequence[str]" else annotation

    assert read(annotation, path="list") == expected


def test_a_list_reads_json_too(secrets: dict[str, str | bytes]) -> None:
    """An array stays one; a single item and an item of JSON are lists as well."""
    secrets.update(doc='["a,b", "c"]', one="a", inner='{"hosts": "a,b", "ports": "1,2"}')

    assert read(list[str]) == ["a,b", "c"]
    assert read(list[str], path="one") == ["a"]
    assert read(list[str], "hosts", "inner") == ["a", "b"]
    assert read(list[int], "ports", "inner") == [1, 2]
    with pytest.raises(ValidationError, match="valid list"):
        read(list[str], path="inner")


@pytest.mark.parametrize("annotation", [list[str], set[str], tuple[str, ...], list[str] | None])
@pytest.mark.parametrize(
    "text", ['["canary", "b"', '{"canary": 1', "[canary, b]", ' \ufeff["canary']
)
def test_a_list_of_broken_json_is_an_error(
    secrets: dict[str, str | bytes], annotation: Any, text: str
) -> None:
    """Not items with brackets. It names the field and the secret, and shows no value."""
    secrets.update(broken=text, inner=json.dumps({"broken": text}))
    for path, keypath in (("broken", ()), ("inner", "broken")):
        with pytest.raises(ValidationError) as caught:
            read(annotation, keypath, path)
        (line,) = caught.value.errors()

        assert line["loc"] == ("field",)
        assert "should be a valid" in line["msg"]
        assert f"secret '{path}' of m" in line["msg"]
        assert "canary" not in f"{caught.value!r} {line}"


def test_fields_of_models_in_models(secrets: dict[str, str | bytes]) -> None:
    """Each item of a JSON object is read as its field wants it."""
    secrets["doc"] = DOCUMENT
    found = read(Key)

    assert (found.id, found.keys) == ("1e5", [1.1, {"a": True}])


def test_under_a_path(secrets: dict[str, str | bytes]) -> None:
    """The same, also for what an object has for fields of a nested model."""
    secrets.update({
        "app/gcp": DOCUMENT, "app/key": DOCUMENT, "app/key/type": "other", "app/hosts": "a,b",
        "app/workers": "4", "app/extra/x": DOCUMENT, "app/level": "1",
    })  # fmt: skip

    class Settings(Base):
        secret_paths = {"m": "app"}  # noqa: RUF012
        model_config = {"extra": "allow"}  # noqa: RUF012
        gcp: SecretStr
        key: Key
        hosts: list[str]
        workers: int
        level: Level
        other: Literal["x"] = "x"

    found: Any = Settings()  # type: ignore[call-arg]

    assert shown(found.gcp) == DOCUMENT
    assert (found.key.type, found.key.id, found.key.keys[0]) == ("other", "1e5", 1.1)
    assert (found.hosts, found.workers, found.level) == (["a", "b"], 4, Level.low)
    assert found.extra["x"]["type"] == "service_account"


@pytest.mark.parametrize("paths", [["app", "shared"], ("app", "shared")])
def test_the_first_of_several_paths_wins(
    secrets: dict[str, str | bytes], paths: Sequence[str]
) -> None:
    """Name by name: the rest comes from the next path."""
    secrets.update({
        "app/a": "1", "shared/a": "2", "shared/b": "3", "app/key/type": "x", "shared/key/type": "y",
        "shared/key/id": "z", "shared/tags": '{"b": "2"}', "app/tags/a": "1",
    })  # fmt: skip

    class Settings(Base):
        secret_paths = {"m": paths}  # noqa: RUF012
        a: str
        b: str
        key: Key
        tags: dict[str, str]

    found = Settings()  # type: ignore[call-arg]

    assert (found.a, found.b, found.key.type, found.key.id) == ("1", "3", "x", "z")
    assert found.tags == {"a": "1", "b": "2"}


class Settled(Base):
    """Fields that two paths have, in one store or in two."""

    model_config = {"extra": "allow"}  # noqa: RUF012
    secret_providers = {"m": MEMORY, "n": MEMORY}  # noqa: RUF012
    user: str = "-"
    password: str = "-"
    db: dict[str, Any] = {}  # noqa: RUF012
    key: Key | None = None


@pytest.mark.parametrize("paths", [{"m": ["stag", "prod"]}, {"m": "stag", "n": "prod"}])
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"stag/db": {"u": 1}, "prod/db": {"u": 2, "p": 2}}, {"db": {"u": 1}}),
        ({"stag/DB": {"u": 1}, "prod/db": {"u": 2, "p": 2}}, {"db": {"u": 1}}),
        ({"stag/db": {"u": 1}, "prod/db/p": 2}, {"db": {"u": 1}}),
        ({"stag/db/t": {"u": 1}, "prod/db": {"t": {"u": 2, "p": 2}}}, {"db": {"t": {"u": 1}}}),
        ({"stag/key": {"type": "1"}, "prod/key": {"type": "2", "id": "2"}}, None),
        ({"stag/more": {"u": 1}, "prod/more": {"u": 2, "p": 2}}, {"more": {"u": 1}}),
        ({"stag": {"user": "1"}, "prod": {"user": "2", "password": "2"}}, {"user": "1"}),
        ({"stag": {"db": {"u": 1}}, "prod/db": {"p": 2}}, {"db": {"u": 1}}),
        ({"stag": {"db": {"u": 1}}, "prod/db/p": 2}, {"db": {"u": 1}}),
        ({"stag/db": {"u": 1}, "prod": {"db": {"p": 2}, "user": "2"}},
         {"db": {"u": 1}, "user": "2"}),
        ({"stag/db/u": "1", "prod/db": "text"}, {"db": {"u": "1"}}),
    ],
)  # fmt: skip
def test_json_of_several_paths_is_not_merged(
    secrets: dict[str, str | bytes], paths: Any, names: Any, expected: Any
) -> None:
    """Otherwise a user of the one environment would get a password of the other."""
    secrets.update({n: v if isinstance(v, str) else json.dumps(v) for n, v in names.items()})
    settings: Any = type("Settings", (Settled,), {"secret_paths": paths})
    if expected is None:
        with pytest.raises(ValidationError, match=r"key.id\n  Field required"):
            settings()
        return

    assert settings().model_dump(exclude_unset=True) == expected


def test_json_of_paths_in_sources_of_your_own(secrets: dict[str, str | bytes]) -> None:
    """The same, without the attribute; another source may be between them."""
    secrets.update({"stag/db": '{"u": 1}', "prod/db": '{"u": 2, "p": 2}'})

    class Settings(BaseSettings):
        db: dict[str, int]

        @classmethod
        def settings_customise_sources(  # type: ignore[override]
            cls, settings_cls: type[BaseSettings], env_settings: Any, **_: Any
        ) -> tuple[Any, ...]:
            paths = [
                SecretsPathSource(settings_cls, "m", path, providers={"m": MEMORY})
                for path in ("stag", "prod")
            ]
            return paths[0], env_settings, paths[1]

    assert Settings().db == {"u": 1}  # type: ignore[call-arg]


def test_a_path_does_not_fill_a_field_with_a_marker(secrets: dict[str, str | bytes]) -> None:
    """Neither if its secret lacks keys, nor if there is no such secret."""
    other = json.dumps({"u": 2, "p": 2})
    secrets.update({"own": '{"u": 1}', "app/db": other, "app/none": other, "app/none/x": "2"})
    secrets.update({"app/key": '{"type": "2", "id": "2"}', "app": f'{{"db": {other}}}'})

    class Mixed(BaseModel):
        type: Annotated[str, FromSecret("m", "own", "u")]
        id: str

    class Settings(Base):
        secret_paths = {"m": "app"}  # noqa: RUF012
        db: Annotated[dict[str, int], FromSecret("m", "own")]
        none: Annotated[dict[str, int], FromSecret("m", "none")] = {}  # noqa: RUF012
        key: Mixed

    found = Settings()  # type: ignore[call-arg]

    assert (found.db, found.none) == ({"u": 1}, {})
    assert (found.key.type, found.key.id) == ("1", "2")


def test_a_path_is_not_read_for_fields_with_a_marker(secrets: dict[str, str | bytes]) -> None:
    """It could not fill them."""
    secrets.update({"app/a": "2"})

    class Settings(Base):
        secret_paths = {"m": "app"}  # noqa: RUF012
        a: Annotated[str, FromSecret("m", "a")] = "default"
        b: str

    before = MEMORY.stats.requests.get("names", 0)

    assert Settings(b="given").a == "default"
    assert MEMORY.stats.requests.get("names", 0) == before


@pytest.mark.parametrize("name", ["secret_path", "secrets_paths", "secret_provider"])
def test_a_misspelt_attribute(name: str) -> None:
    """Pydantic only rejects it without `ClassVar`, and advises to add that."""
    with pytest.raises(ConfigurationError, match=f"Mistake: {name} has no .*mean secret_p.*s?"):
        type("Mistake", (Base,), {"__annotations__": {name: ClassVar[Any]}, name: {"m": "app"}})
    own = {"__annotations__": {"secret_store": ClassVar[Any]}, "secret_store": 1}

    assert type("Fine", (Base,), own)


def test_a_missing_field_names_all_paths(secrets: dict[str, str | bytes]) -> None:
    """Wherever it could have been."""
    secrets["app/b"] = "1"

    class Settings(Base):
        secret_paths = {"m": ["app", "shared"]}  # noqa: RUF012
        a: str

    with pytest.raises(ValidationError, match="'app/a' of m, and no secret 'shared/a' of m"):
        Settings()  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["secret_paths", "secret_providers"])
def test_what_is_no_part_of_the_configuration(name: str) -> None:
    """Pydantic would ignore it, and the fields would be missing."""
    with pytest.raises(ConfigurationError, match=f"Mistake: {name} is not a part of model_config"):
        type("Mistake", (Base,), {"model_config": {name: {"m": "app"}}})


@pytest.mark.parametrize("name", ["secret_paths", "secret_providers"])
@pytest.mark.parametrize("given", [["/a", "/b"], "/a", None])
def test_what_is_not_by_provider(name: str, given: Any) -> None:
    """A path alone does not say which store has it."""
    kind = type(given).__name__
    problem = f"^Mistake: {name} must be a dict by the provider's name, such as .*, not {kind}$"
    with pytest.raises(ConfigurationError, match=problem):
        type("Mistake", (Base,), {name: given})


def test_no_error_shows_a_value(secrets: dict[str, str | bytes]) -> None:
    """Whatever a field wanted to read it as."""
    secrets.update(
        doc='{"canary": 58775877587758775877}', deep="[" * 200 + "]" * 200, text="canary-5e77"
    )
    for annotation, keypath, path in (
        (Literal["x"], "canary", "doc"),
        (list[int], (), "text"),
        (Json[list[int]], (), "text"),
        (list[str], (), "doc"),
    ):
        with pytest.raises(ValidationError) as caught:
            read(annotation, keypath, path)
        shown = f"{caught.value!r} {caught.value.errors()}"
        assert "58775877587758775877" not in shown
        assert "canary-5e77" not in shown
    with pytest.raises(SecretSettingsError, match="more than 100 levels"):
        read(list[Any], path="deep")


def test_in_parameter_store(s1crets_aws: LocalAws) -> None:
    """With one batch, as it was; a StringList is a list."""
    s1crets_aws.seed({"aws.ps": {"/gcp": DOCUMENT, "/n": "5"}})
    from s1crets.providers.aws import ParameterStore

    ParameterStore().create("/subnets", ["a", "b"], type="StringList")
    before = len(s1crets_aws.requests)

    class Settings(SecretSettings):
        gcp: Annotated[SecretStr, FromSecret("aws.ps", "/gcp")]
        number: Annotated[str, FromSecret("aws.ps", "/n")]
        subnets: Annotated[list[str], FromSecret("aws.ps", "/subnets")]

    found = Settings()  # type: ignore[call-arg]

    assert (shown(found.gcp), found.number, found.subnets) == (DOCUMENT, "5", ["a", "b"])
    assert [one.operation for one in s1crets_aws.requests[before:]] == ["GetParameters"]
