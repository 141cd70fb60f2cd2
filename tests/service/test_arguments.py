"""What callers give: names, values, constructors' arguments. What is bad is refused unsent."""

from __future__ import annotations

import itertools
import re
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import redis

import s1crets
from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    SecretsManager,
)

if TYPE_CHECKING:
    from pathlib import Path

    from _support.wire import Wire

CANARY = "canary-91ce"
BAD_NAMES = {
    "empty": "",
    "None": None,
    "a number": 5,
    "bytes": b"/a",
    "a list": ["/a"],
    "a control character": "/a\x00b",
    "a newline": "/a\nb",
    "a C1 control character": "/a\x85b",
    "a lone surrogate": "/a\ud800",
    "too long": "/" + "a" * 2048,
}
CLASSES = [AsyncParameterStore, AsyncSecretsManager, ParameterStore, SecretsManager]
VERBS: dict[str, Any] = {
    "get": lambda store, name: store.get(name),
    "get, with a default": lambda store, name: store.get(name, default=1),
    "get, uncached": lambda store, name: store.get(name, cached=False),
    "get_by_path": lambda store, name: store.get_by_path(name),
    "path_exists": lambda store, name: store.path_exists(name),
    "update": lambda store, name: store.update(name, CANARY),
    "invalidate": lambda store, name: store.invalidate(name),
}
WITHOUT_NAME = {("invalidate", "None")}  # it means: forget all


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("verb", VERBS)
async def test_a_name_that_can_not_be_is_refused_unsent(
    scripted: Wire, verb: str, name: str
) -> None:
    """Of every verb, in both services; the message says what is wrong."""
    if (verb, name) in WITHOUT_NAME:
        return
    async with AsyncParameterStore() as ps, AsyncSecretsManager() as sm:
        for store in (ps, sm):
            with pytest.raises(s1crets.InvalidNameError, match="is not a valid name") as caught:
                await VERBS[verb](store, BAD_NAMES[name])
            assert len(str(caught.value)) < 200
            str(caught.value).encode()
    assert scripted.asked == []


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("cls", [ParameterStore, SecretsManager])
def test_the_facade_refuses_the_same(scripted: Wire, cls: Any, name: str) -> None:
    """In the caller's thread."""
    with cls() as store:
        for call in (store.get, store.peek, store.get_by_path):
            with pytest.raises(s1crets.InvalidNameError):
                call(BAD_NAMES[name])
    assert scripted.asked == []


async def test_a_bad_name_among_many_is_that_ones_error(scripted: Wire) -> None:
    """The others are read."""
    scripted.answers["GetSecretValue"] = {"SecretString": "v"}
    async with AsyncSecretsManager() as sm:
        found = await sm.get_many(["a", "", "b"], errors="return")

    assert (found["a"], found["b"]) == ("v", "v")
    assert isinstance(found[""], s1crets.InvalidNameError)


@pytest.mark.parametrize("option", ["version_id", "version_stage"])
@pytest.mark.parametrize("version", ["", "a\nb", 7, "x" * 3000])
async def test_a_version_that_can_not_be_is_refused_unsent(
    scripted: Wire, option: str, version: Any
) -> None:
    """As a name is."""
    async with AsyncSecretsManager() as sm:
        with pytest.raises(s1crets.InvalidNameError):
            await sm.get("name", **{option: version})
    assert scripted.asked == []


BAD_VALUES: dict[str, Any] = {
    "None": None,
    "a number": 73517351735173517351,
    "a set": {CANARY},
    "a tuple": (CANARY,),
    "an object in JSON": {"password": CANARY, "x": object()},
    "NaN in JSON": {"password": CANARY, "x": float("nan")},
    "a loop in JSON": [CANARY],
    "a lone surrogate": CANARY + "\ud800",
    "a lone surrogate in JSON": [CANARY, "\ud800"],
    "empty": "",
    "too long": CANARY + "x" * 65536,
    "too long in UTF-8": CANARY + "ü" * 33000,
}
BAD_VALUES["a loop in JSON"].append(BAD_VALUES["a loop in JSON"])


def shown(error: BaseException) -> str:
    """Return all that a reporter with locals would show."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    inside = [frame for frame in report.stack if "tests" not in frame.filename]
    assert report.__context__ is None or CANARY not in "".join(report.__context__.format())
    return str(error) + repr(error) + "".join(f"{frame.name} {frame.locals}" for frame in inside)


@pytest.mark.parametrize("value", BAD_VALUES)
async def test_a_value_that_can_not_be_is_refused_unsent(scripted: Wire, value: str) -> None:
    """And is not seen: not in the message, not in a context, not in a frame."""
    async with AsyncParameterStore() as ps, AsyncSecretsManager() as sm:
        for store in (ps, sm):
            with pytest.raises(s1crets.InvalidValueError, match="can't be stored") as caught:
                await store.update("/a", BAD_VALUES[value])
            assert caught.value.__context__ is None
            assert CANARY not in shown(caught.value)
            assert "73517351735173517351" not in shown(caught.value)
    assert scripted.asked == []


async def test_parameters_hold_no_bytes(scripted: Wire) -> None:
    """Secrets do."""
    async with AsyncParameterStore() as ps:
        with pytest.raises(s1crets.InvalidValueError, match=r"must be str, dict, list, not bytes"):
            await ps.update("/a", b"x")


@pytest.mark.parametrize(
    ("tier", "size", "fits"),
    [
        (None, 4096, 1),
        ("Standard", 4096, 1),
        ("Standard", 4097, 0),
        ("Advanced", 8192, 1),
        ("Advanced", 8193, 0),
        ("Intelligent-Tiering", 8192, 1),
    ],
)
async def test_the_tier_bounds_a_parameter(
    scripted: Wire, tier: str | None, size: int, fits: int
) -> None:
    """In bytes, counted before anything is written."""
    described = {"Name": "/a", "Type": "String", **({"Tier": tier} if tier else {})}
    scripted.answers["DescribeParameters"] = {"Parameters": [described]}
    scripted.answers["PutParameter"] = {"Version": 2}
    async with AsyncParameterStore() as ps:
        if fits:
            await ps.update("/a", "ü" * (size // 2))
        else:
            with pytest.raises(s1crets.InvalidValueError, match=f"{size:,} bytes") as caught:
                await ps.update("/a", CANARY + "x" * (size - len(CANARY)))
            assert CANARY not in shown(caught.value)
    assert scripted.count("PutParameter") == fits


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"cache_args": {"cache_sise": 5}},
            TypeError,
            "cache_args has no 'cache_sise'.*cache_size",
        ),
        ({"cache_args": {"ttl": 5}}, TypeError, "cache_ttl"),
        ({"cache_args": {"qqqqqqq": 5}}, TypeError, "known are cache_size"),
        ({"cache_args": {5: 5}}, TypeError, "no 5"),
        ({"cache_args": [1]}, TypeError, "cache_args must be a dict, not list"),
        ({"cache_args": {"cache_size": 0}}, ValueError, "cache_size must be at least 1, not 0"),
        ({"cache_args": {"cache_size": True}}, TypeError, "cache_size must be int, not bool"),
        ({"cache_args": {"cache_size": "5"}}, TypeError, "cache_size must be int, not str"),
        ({"timeout": None}, TypeError, "timeout must be int or float, not NoneType"),
        ({"cache_args": {"backend": redis.Redis()}}, TypeError, "aiocache"),
        (
            {"cache_args": {"cache_ttl": -1}},
            ValueError,
            "cache_ttl must be from 0",
        ),
        ({"cache_args": {"cache_ttl": float("nan")}}, ValueError, "not nan"),
        ({"cache_args": {"cache_on_disk": 1}}, TypeError, "cache_on_disk must be bool, not int"),
        (
            {"cache_args": {"key_cache_dir": 1}},
            TypeError,
            "str or PathLike, not int",
        ),
        ({"cache_args": {"missing_ttl": None}}, TypeError, "missing_ttl must be int or float"),
        ({"cache_args": {"missing_ttl": -1}}, ValueError, "missing_ttl must be from 0"),
        ({"cache_args": {"cache_ttl": "5"}}, TypeError, "int or float or None, not str"),
        ({"cache_args": {"jitter": 1.1}}, ValueError, "jitter must be from 0 to 1, not 1.1"),
        ({"cache_args": {"refresh_ahead": 900}}, ValueError, "less than cache_ttl"),
        ({"cache_args": {"refresh_ahead": 60, "cache_ttl": 60}}, ValueError, "less than cache_ttl"),
        ({"cache_args": {"namespace": ""}}, ValueError, "namespace is empty"),
        ({"cache_args": {"backend": object()}}, TypeError, "aiocache"),
        ({"sts_args": {"RoleARN": "x"}}, TypeError, "sts_args has no 'RoleARN'.*RoleArn"),
        ({"sts_args": {"RoleArn": ""}}, ValueError, "RoleArn is empty"),
        ({"sts_args": {"RoleArn": 5}}, TypeError, "RoleArn must be str, not int"),
        ({"sts_args": {"DurationSeconds": 899}}, ValueError, "from 900 to 43200"),
        ({"sts_args": {"aws_region": ""}}, ValueError, "aws_region is empty"),
        ({"retry": 0}, ValueError, "retry must be at least 1, not 0"),
        ({"retry": 1.5}, TypeError, "retry must be int, not float"),
        ({"timeout": 0}, ValueError, "timeout must be at least 0.001, not 0"),
        ({"timeout": "1"}, TypeError, "timeout must be int or float, not str"),
        ({"deadline": 0}, ValueError, "deadline must be at least 0.001"),
        ({"max_connections": 0}, ValueError, "max_connections must be at least 1"),
        ({"retries": 5}, TypeError, "retries"),
        ({"session": object()}, TypeError, "aiobotocore.session.AioSession, not builtins.object"),
    ],
)
def test_arguments_that_make_no_sense(
    cls: Any, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    """A type error names the nearest that is known; a value error says the range."""
    with pytest.raises(error, match=words):
        cls(**arguments)


@pytest.mark.parametrize("cls", CLASSES)
def test_arguments_are_keywords(cls: Any) -> None:
    """All of them."""
    with pytest.raises(TypeError):
        cls({})


def test_nothing_is_opened_or_written_before_the_first_call(tmp_path: Path) -> None:
    """Not even where all arguments are good."""
    folders = {"key_cache_dir": tmp_path / "k", "path_cache_dir": tmp_path / "p"}
    with pytest.warns(s1crets.InsecureCacheWarning):
        ParameterStore(cache_args={"cache_on_disk": True, **folders})  # type: ignore[typeddict-item]
    with pytest.raises(ValueError, match="can't be combined"):
        ParameterStore(cache_args={"cache_on_disk": True, "backend": _Backend()})

    assert list(tmp_path.glob("[kp]")) == []


class _Backend:
    get = set = delete = clear = close = None


def test_every_documented_constructor() -> None:
    """As the documentation writes them."""
    arguments: list[dict[str, Any]] = [
        {},
        {"cache_args": {"cache_size": 10, "cache_ttl": 60}},
        {"sts_args": {"RoleArn": "arn:aws:iam::1:role/r", "RoleSessionName": "myscript"}},
        {"sts_args": {}, "cache_args": {}, "retry": 1, "timeout": 1, "deadline": None},
        {"deadline": 5, "max_connections": 1, "session": None},
    ]
    for cls, given in itertools.product(CLASSES, arguments):
        provider = cls(**given)
        assert cls.__name__ in repr(provider)


def test_a_repr_of_what_could_not_be_made() -> None:
    """Reporters ask for it, and must not fall over it."""
    for cls in CLASSES:
        assert cls.__name__ in repr(object.__new__(cls))


def test_a_repr_shows_no_arguments() -> None:
    """An external id is half a secret."""
    for cls in CLASSES:
        shown = repr(cls(sts_args={"RoleArn": "r", "ExternalId": CANARY}))

        assert shown.startswith(f"<{cls.__name__} of ")
        assert CANARY not in shown


async def test_options_of_get_many_are_checked(scripted: Wire) -> None:
    """Before anything is sent."""
    async with AsyncSecretsManager() as sm:
        with pytest.raises(TypeError):
            await sm.get_many(5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="'raise' or 'return'"):
            await sm.get_many(["a"], errors="ignore")  # type: ignore[arg-type]
    assert scripted.asked == []


@pytest.mark.parametrize("keypath", [None, 5.0, {"a": 1}, ("a", None), (["a"],), b"a"])
async def test_a_keypath_that_can_not_be(scripted: Wire, keypath: Any) -> None:
    """It is a key, or a sequence of keys; and a key is text or a number."""
    scripted.answers["GetSecretValue"] = {"SecretString": '{"a": {"b": 1}}'}
    asked: dict[str, int] = {}
    async with AsyncSecretsManager() as sm:
        for _ in ("cold", "warm"):
            with pytest.raises(TypeError, match="keypath"):
                await sm.get("a", keypath=keypath)
            assert sm.stats.requests == asked
            await sm.get("a")
            asked = {"GetSecretValue": 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retries": 4}, "did you mean retry"),
        ({"aws_region": "eu-west-1"}, "did you mean sts_args"),
        ({"stale_for": 3}, "did you mean cache_args"),
        ({"ttl": 5}, re.escape("did you mean cache_args={'cache_ttl': ...}?")),
        ({"role_arn": "r"}, re.escape("did you mean sts_args={'RoleArn': ...}?")),
        ({"role": "r"}, re.escape("did you mean sts_args={'RoleArn': ...}?")),
        *(
            ({name: 3}, "known are region, profile, sts_args")
            for name in ("xyzzy", "credentials", "prefix", "encoding", "redis", "headers", "")
        ),
        ({"cache_args": {"ttl": 5}}, "did you mean cache_ttl"),
        ({"cache_args": {"refresh": 5}}, "did you mean refresh_ahead"),
        ({"cache_args": {"deadline": 5}}, "known are cache_size, cache_ttl"),
        ({"cache_args": {"timeout": 5}}, "known are cache_size, cache_ttl"),
    ],
)
@pytest.mark.parametrize("kind", [AsyncParameterStore, AsyncSecretsManager, ParameterStore])
def test_an_option_that_is_none(kind: Any, options: Any, words: str) -> None:
    """What was meant is said, and no name that has only some letters in common."""
    with pytest.raises(TypeError, match=words):
        kind(**options)
