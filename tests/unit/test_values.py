"""Text to value and back: the rules, as properties."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1crets._keypath import MISSING, UNSET, keys_of
from s1crets._redaction import redact
from s1crets.cache.entry import CachedValue, dump, load
from s1crets.errors import InvalidValueError
from s1crets.providers.store import encode

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
documents = st.recursive(
    st.lists(scalars) | st.dictionaries(st.text(), scalars),
    lambda inner: (
        st.lists(inner | scalars) | st.dictionaries(st.text(), inner | scalars, min_size=1)
    ),
    max_leaves=20,
)
secrets = st.text() | st.binary()
raws = secrets | st.dictionaries(st.text(), secrets)


@given(raws)
def test_what_is_dumped_is_loaded(raw: Any) -> None:
    """With its type: text, bytes, or a mapping of both."""
    loaded = load(dump(raw))

    assert loaded == raw
    assert type(loaded) is type(raw)


@given(st.text())
def test_what_was_not_dumped_is_none_or_something_a_dump_could_be(text: str) -> None:
    """Never an error, whatever a row of a file says."""
    loaded = load(text)

    assert loaded is None or load(dump(loaded)) == loaded


@pytest.mark.parametrize(
    "text", ["", "x", "b%", "bä", "m", "m[]", 'm{"a": 1}', 'm{"a": "x"}', 'm{"a": "m{}"}', "m" * 9]
)
def test_rows_that_are_none_of_ours(text: str) -> None:
    """They are a miss."""
    assert load(text) is None


def test_a_row_that_nests_too_deeply() -> None:
    """It is a miss too."""
    assert load("m" + "[" * 100_000) is None


@given(documents)
def test_objects_and_arrays_are_parsed(document: Any) -> None:
    """Whatever white space JSON allows before them."""
    assert CachedValue(" \n\t\r" + json.dumps(document)).value() == document


@given(st.one_of(scalars.filter(lambda one: not isinstance(one, str)).map(json.dumps), st.text()))
def test_every_other_text_stays_text(text: str) -> None:
    """A password that is a number or `true` is never turned into one."""
    value = CachedValue(text).value()
    if isinstance(value, str):
        assert value == text
    else:
        assert json.loads(text) == value
        assert isinstance(value, (dict, list))


@pytest.mark.parametrize(
    "text", ["123456", "true", "null", '"a"', "{", "[1", "{a}", "", " ", "1e9"]
)
def test_text_that_looks_like_json(text: str) -> None:
    """Only objects and arrays are JSON here."""
    assert CachedValue(text).value() == text


@pytest.mark.parametrize("depth", [200_000])
def test_json_that_nests_too_deeply_stays_text(depth: int) -> None:
    """It is no reason to fail: somebody's password begins with brackets."""
    text = "[" * depth

    assert CachedValue(text).value() == text


@given(documents, st.data())
def test_a_value_is_the_callers_own(document: Any, data: st.DataObject) -> None:
    """Whatever is done to it at whatever depth changes no other."""
    held = CachedValue(json.dumps(document))
    mine = held.value()
    spoil(mine)

    assert held.value() == document
    assert held.value() is not held.value()


def spoil(value: Any) -> None:
    nested = value.values() if isinstance(value, dict) else value
    for one in list(nested):
        if isinstance(one, (dict, list)):
            spoil(one)
    value.clear()


@given(documents)
@settings(deadline=None)
def test_every_keypath_leads_to_what_is_there(document: Any) -> None:
    """And what it leads to is the caller's own as well."""
    held = CachedValue(json.dumps(document))
    for keypath, there in walk(document):
        found = held.pick(keypath)
        assert found == there
        if isinstance(found, (dict, list)) and found:
            found.clear()
            assert held.pick(keypath) == there


def walk(value: Any) -> list[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return [((), value)]
    return [((), value)] + [((k, *rest), v) for k, one in items for rest, v in walk(one)]


@pytest.mark.parametrize(
    ("keypath", "found"),
    [
        ("a", [{"b": 1}, "x"]),
        (("a", 0, "b"), 1),
        (["a", "0", "b"], 1),
        (("a", -1), "x"),
        (("a", "-1"), "x"),
        (("a", 2), MISSING),
        (("a", -3), MISSING),
        (("a", True), MISSING),
        (("a", "x"), MISSING),
        (("a", "1", 0), MISSING),
        (0, MISSING),
        ("0", "zero"),
        ("b", MISSING),
        ((), {"a": [{"b": 1}, "x"], "0": "zero"}),
    ],
)
def test_keypaths(keypath: Any, found: Any) -> None:
    """Text keys of objects, numbers of arrays: also as text, as a path has them."""
    assert CachedValue('{"a": [{"b": 1}, "x"], "0": "zero"}').pick(keypath) == found


def test_one_key_is_a_keypath() -> None:
    """Of its own."""
    assert keys_of("ab") == ("ab",)
    assert keys_of(5) == (5,)


@given(documents | st.text(min_size=1))
def test_what_is_encoded_is_decoded(value: Any) -> None:
    """What `update` stores, `get` returns."""
    text = encode(redact(value), binary=False, limit=10**6)

    decoded = CachedValue(text).value()
    if isinstance(value, str):
        assert text == value
    else:
        assert decoded == value


@given(st.text(min_size=1, max_size=60), st.integers(min_value=1, max_value=60))
def test_the_limit_is_of_bytes(text: str, limit: int) -> None:
    """Not of characters."""
    if len(text.encode()) <= limit:
        assert encode(redact(text), binary=False, limit=limit) == text
    else:
        with pytest.raises(InvalidValueError, match="bytes"):
            encode(redact(text), binary=False, limit=limit)


def test_bytes_only_where_they_are_allowed() -> None:
    """And not more than the limit."""
    assert encode(redact(b"ab"), binary=True, limit=2) == b"ab"
    with pytest.raises(InvalidValueError):
        encode(redact(b"abc"), binary=True, limit=2)
    with pytest.raises(InvalidValueError):
        encode(redact(b"ab"), binary=False, limit=2)


def test_sentinels_say_what_they_are() -> None:
    """In signatures and in tracebacks; a concealed value does not."""
    box = redact("fake-secret")

    assert repr(UNSET) == "UNSET"
    assert "fake-secret" not in repr(box)
    assert redact(box) is box


@pytest.mark.parametrize("text", ['\ufeff{"a": 1}', "\ufeff [1]"])
def test_json_with_a_byte_order_mark_is_parsed(text: str) -> None:
    """As editors on Windows write it; the stored text keeps it, and text that is not JSON too."""
    held = CachedValue(text)

    assert held.value() == json.loads(text[1:])
    assert held.stored() == text
    assert CachedValue("\ufefftext").value() == "\ufefftext"
    assert CachedValue("\ufeff\ufeff{}").value() == "\ufeff\ufeff{}"
