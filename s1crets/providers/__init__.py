"""Providers by name: `'aws.ps'` and `'aws.sm'`; each is made once and shared."""

from __future__ import annotations

import importlib
from typing import Any

from s1crets._fork import importing

_CLASSES = {
    "aws.ps": "s1crets.providers.aws:ParameterStore",
    "aws.sm": "s1crets.providers.aws:SecretsManager",
}
_providers: dict[str, Any] = {}


def provider(name: str) -> Any:
    """Return the process's own provider of that name, made with all defaults.

    Raises:
        ValueError: there is none of that name.
    """
    found = _providers.get(name) if isinstance(name, str) else None
    return found or _make(name)


def provider_class(name: str) -> Any:
    """Return the blocking class of that name.

    Raises:
        ValueError: there is none of that name.
    """
    if not isinstance(name, str) or name not in _CLASSES:
        message = f"there is no provider {name!r}; known are {', '.join(map(repr, _CLASSES))}"
        raise ValueError(message)
    module, _, cls = _CLASSES[name].partition(":")
    with importing:
        return getattr(importlib.import_module(module), cls)


def provider_names() -> list[str]:
    """Return the names of all providers."""
    return list(_CLASSES)


def reset() -> None:
    """Close the process's own providers and forget them: the next call makes them anew."""
    while _providers:
        _, one = _providers.popitem()
        one.close()


def _make(name: str) -> Any:
    return _providers.setdefault(name, provider_class(name)())  # of two threads' one stays
