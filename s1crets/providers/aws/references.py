"""Secrets of Secrets Manager by way of Parameter Store: `/aws/reference/secretsmanager/NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s1crets._keypath import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s1crets._keypath import KeyPath

REFERENCE = "/aws/reference/secretsmanager/"


def candidates(path: str) -> Iterator[str]:
    """Yield what the secret that `path` begins with may be called, the longest name first."""
    while path.startswith(REFERENCE):
        yield path
        path = path.rpartition("/")[0]


def inner_keys(path: str, name: str, keypath: KeyPath) -> tuple[str | int, ...]:
    """Return the keys that `path` has after the secret's `name`, and those of `keypath`."""
    rest = [part for part in path[len(name) :].split("/") if part]
    return (*rest, *keys_of(keypath))
