"""Whatever is passed, answered or found on disk: documented errors, and nothing done halfway."""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Asked, Reply, Wire
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s1crets.errors import InvalidNameError, InvalidValueError, S1cretsError
from s1crets.providers.aws import ParameterStore, SecretsManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# hypothesis's own, of how it would print what it has generated
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
fuzzed = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=50),
    st.binary(max_size=9),
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=5), inner, max_size=3),
        st.tuples(inner),
    ),
    max_leaves=5,
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)


def echo(asked: Asked) -> Any:
    """Answer any operation; the value is the name."""
    name = asked.body.get("Name") or asked.body.get("SecretId")
    if "ParameterFilters" in asked.body:
        (name,) = asked.body["ParameterFilters"][0]["Values"]
    one = {"Name": name, "Value": name, "SecretString": name}
    return {
        "Parameter": one,
        **one,
        "Parameters": [
            one,
            {"Name": name, "Value": "v", "Type": "SecureString", "Tier": "Advanced"},
        ],
        "SecretList": [{"Name": name}],
        "Version": 2,
        "VersionId": "v2",
    }


class Answers(dict[str, Any]):
    """The same answer to every operation."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def get(self, *_: Any) -> Any:
        return self.answer


@pytest.fixture
def server(scripted: Wire) -> Wire:
    scripted.answers = Answers(echo)
    return scripted


@pytest.fixture(params=[ParameterStore, SecretsManager])
def store(request: pytest.FixtureRequest, server: Wire) -> Iterator[Any]:
    with request.param(retry=1, cache_args={"cache_ttl": 0}) as provider:
        yield provider


@fuzzed
@given(name=st.one_of(st.text(max_size=30), JUNK))
def test_names(server: Wire, store: Any, name: Any) -> None:
    """A name is read as it is, or refused and nothing is sent."""
    calls: list[Callable[[], Any]] = [
        lambda: store.get(name),
        lambda: store.path_exists(name),
        lambda: store.update(name, "v"),
        lambda: store.get_many([name], errors="return")[name],
        lambda: store.get_by_path(name),
        lambda: store.peek(name),
    ]
    for call in calls:
        before = len(server.asked)
        try:
            found = call()
        except S1cretsError as error:
            found = error
        except TypeError:
            assert not isinstance(name, str)  # it can't be a key of a dict
            found = None
        if not isinstance(name, str) or isinstance(found, InvalidNameError):
            assert len(server.asked) == before
    if isinstance(name, str):
        with contextlib.suppress(S1cretsError):
            assert store.get(name) == name or name[:1] in "[{/"


@fuzzed
@given(keypath=st.one_of(JUNK, st.lists(SCALARS, max_size=4)), value=JSON)
def test_keypaths(server: Wire, store: Any, keypath: Any, value: Any) -> None:
    """Lead to something, to nothing (`KeyError`), or are none (`TypeError`)."""
    text = json.dumps(value)
    server.answers = Answers(
        {"SecretString": text, "Name": "a", "Parameter": {"Name": "a", "Value": text}}
    )
    sentinel = object()
    try:
        found = store.get("a", keypath=keypath, default=sentinel)
    except TypeError:
        return
    if found is sentinel:
        with pytest.raises(KeyError):
            store.get("a", keypath=keypath)
    else:
        assert found == store.get("a", keypath=keypath)
    server.answers = Answers(echo)


@fuzzed
@given(value=st.one_of(JUNK, JSON))
def test_values(server: Wire, store: Any, value: Any) -> None:
    """Are stored as they are, or refused and nothing is sent."""
    before = len(server.asked)
    try:
        store.update("a", value)
    except InvalidValueError:
        assert len(server.asked) == before
        return
    body = server.asked[-1].body
    if isinstance(value, bytes):
        assert base64.b64decode(body["SecretBinary"]) == value
        return
    sent = str(body.get("Value", body.get("SecretString")))
    assert sent == value or json.loads(sent) == json.loads(json.dumps(value))


NAMES = [
    "cache_size", "cache_ttl", "cache_on_disk", "key_cache_dir", "path_cache_dir", "cache_key",
    "stale_for", "refresh_ahead", "jitter", "namespace", "backend", "cache_tll",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
@fuzzed
@given(args=st.one_of(JUNK, st.dictionaries(st.sampled_from(NAMES), JUNK, max_size=4)))
def test_cache_args(tmp_path: Path, args: Any) -> None:
    """Make a provider, or are a `TypeError` or a `ValueError`; nothing is written."""
    before = sorted(tmp_path.rglob("*"))
    for kind in (ParameterStore, SecretsManager):
        with contextlib.suppress(TypeError, ValueError):
            repr(kind(cache_args=args))
    assert sorted(tmp_path.rglob("*")) == before


FIELDS = [
    "Parameter", "Parameters", "Name", "Value", "Version", "SecretString", "SecretBinary", "ARN",
    "CreatedDate", "SecretList", "NextToken", "SecretValues", "Errors", "InvalidParameters",
]  # fmt: skip
ANSWERS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9), st.just("a")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    ),
    max_leaves=12,
)


@fuzzed
@given(
    answer=st.one_of(ANSWERS, st.binary(max_size=99)), status=st.sampled_from([200, 200, 400, 500])
)
def test_answers(server: Wire, store: Any, answer: Any, status: int) -> None:
    """Are what the API promises, or an error of ours."""
    calls: list[tuple[Callable[[], Any], Any]] = [
        (lambda: store.get("a"), (str, bytes, dict, list)),
        (lambda: store.get_many(["a", "b"]), dict),
        (lambda: store.get_by_path("/a"), dict),
        (lambda: store.path_exists("a"), bool),
    ]
    for call, kind in calls:
        left = iter([Reply(answer, status)])
        server.answers = Answers(lambda _, left=left: next(left, Reply({}, 200)))
        with contextlib.suppress(S1cretsError):
            assert isinstance(call(), kind)


@pytest.fixture
def disk(server: Wire, tmp_path: Path) -> Iterator[tuple[ParameterStore, Path]]:
    args: Any = {
        "cache_on_disk": True,
        "key_cache_dir": tmp_path / "keys",
        "path_cache_dir": tmp_path / "paths",
        "cache_key": b"k" * 32,
    }
    with ParameterStore(cache_args=args) as ps:
        yield ps, tmp_path / "keys" / "cache.db"


@fuzzed
@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "value": st.one_of(st.none(), st.integers(-9, 9), st.binary(), st.text("abc=")),
            "mode": st.integers(-1, 5),
            "filename": st.sampled_from([None, "x", "../x", ""]),
            "raw": st.integers(0, 1),
            "expire_time": st.one_of(st.none(), st.floats(0, 1e11)),
            "size": st.integers(-9, 99),
        },
    )
)
def test_rows(disk: tuple[ParameterStore, Path], changes: dict[str, Any]) -> None:
    """Are what was stored, or a miss."""
    ps, database = disk
    for _ in "ab":
        assert ps.get("/a") == "/a"
        with sqlite3.connect(database) as db:
            for column, value in changes.items():
                db.execute(f"UPDATE OR REPLACE Cache SET {column} = ?", (value,))  # noqa: S608
        db.close()
        assert ps.get("/a") == "/a"
    assert ps.get("/a", cached=False) == "/a"
    ps.invalidate("/a")
