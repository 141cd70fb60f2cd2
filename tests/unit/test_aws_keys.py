"""Keys, aliases and ancestors of the AWS stores: pure functions of names."""

from __future__ import annotations

from typing import Any

import pytest

import s1crets
from s1crets.cache.entry import EXISTS, PATH, CacheKey
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

PS: Any = AsyncParameterStore()._store
SM: Any = AsyncSecretsManager()._store
PARAMETER = "arn:aws:ssm:eu-west-1:123456789012:parameter"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a/b-x1Y2z3"


@pytest.mark.parametrize(
    ("key", "is_primary", "secrets"),
    [
        (PS.key("/a/b"), True, ("/a/b",)),
        (PS.key("/a/b", decrypt=True), True, ("/a/b",)),
        (PS.key("/a/b", decrypt=False), False, ("/a/b",)),
        (PS.key("/a/b:3"), False, ("/a/b",)),
        (PS.key("/a/b:label", decrypt=False), False, ("/a/b",)),
        (PS.key(f"{PARAMETER}/a/b"), False, ("/a/b",)),
        (PS.key(" /a/b "), False, ("/a/b",)),
        (PS.key("a"), True, ("a",)),
        (PS.key(f"{PARAMETER}/a:3"), False, ("/a",)),
        (PS.key("/a", PATH), False, ()),
        (PS.key("/a", EXISTS), False, ()),
        (SM.key("a/b"), True, ("a/b",)),
        (SM.key("a/b", version_stage="AWSPREVIOUS"), False, ("a/b",)),
        (SM.key("a/b", version_id="1"), False, ("a/b",)),
        (SM.key(SECRET), False, (SECRET, "a/b-x1Y2z3", "a/b")),
        (SM.key("a", PATH), False, ()),
        (SM.key("a", EXISTS), False, ()),
    ],
    ids=str,
)
def test_a_write_to_a_secret_drops_the_entry(
    key: CacheKey, *, is_primary: bool, secrets: tuple[str, ...]
) -> None:
    """An entry depends on the names of its secret; a path on any secret."""
    assert (key.is_primary, key.secrets) == (is_primary, secrets)


def test_all_that_affects_a_result_is_in_its_key() -> None:
    """And nothing else: a path ends with a slash or not."""
    keys = [
        PS.key("/a"),
        PS.key("/a", decrypt=False),
        PS.key("/a", PATH),
        PS.key("/a", PATH, decrypt=False),
        PS.key("/a", PATH, recursive=False),
        PS.key("/a", PATH, decrypt=False, recursive=False),
        PS.key("/a", EXISTS),
        SM.key("/a", version_id="1"),
        SM.key("/a", version_stage="1"),
        SM.key("/a", version_id="1", version_stage="1"),
    ]
    assert len(set(keys)) == len(keys)
    for store in (PS, SM):
        assert store.key("/a/", PATH) == store.key("/a", PATH)
        assert store.key("//", PATH) == store.key("/", PATH)


@pytest.mark.parametrize("store", [PS, SM])
@pytest.mark.parametrize("name", ["", None, 5, "a\x00", "x" * 3000])
def test_names_that_no_store_can_have(store: Any, name: Any) -> None:
    """Keys and aliases are refused alike."""
    for make in (store.key, store.aliases, lambda name: store.key(name, PATH)):
        with pytest.raises(s1crets.InvalidNameError):
            make(name)
    if name is not None:
        with pytest.raises(s1crets.InvalidNameError):
            SM.key("a", version_id=name)


@pytest.mark.parametrize(
    ("store", "name", "paths"),
    [
        (PS, "/a/b/c", {"/", "/a", "/a/b"}),
        (PS, "/a", {"/"}),
        (PS, "a", {"/"}),
        (SM, "a/b/c", {"a", "a/b", "a/b/c"}),
        (SM, "/a/b", {"/", "/a", "/a/b"}),
        (SM, "a", {"a"}),
    ],
)
def test_ancestors_are_all_paths_that_may_contain_a_secret(
    store: Any, name: str, paths: set[str]
) -> None:
    """With each combination of options."""
    options = 4 if store is PS else 1
    keys = list(store.ancestors(name))

    assert {key.name for key in keys} == paths
    assert {key.kind for key in keys} == {PATH}
    assert len(set(keys)) == len(keys) == len(paths) * options
