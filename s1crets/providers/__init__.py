"""Registry of providers: `'aws.ps'`, `'aws.sm'`, `'files'`, and those of other packages.

Each is created once per process and shared. A package adds a provider with an entry point of the
group `s1crets.providers`: see `s1crets.providers.simple`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from s1crets._fork import import_lock
from s1crets._keypath import UNSET
from s1crets.errors import ConfigurationError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "s1crets.providers"
_CLASSES = {
    "aws.ps": "s1crets.providers.aws:ParameterStore",
    "aws.sm": "s1crets.providers.aws:SecretsManager",
    "files": "s1crets.providers.files:Files",
}
_FIRST = "the provider comes first: ('aws.ps', {0!r}) or ('aws.sm', {0!r})"
_providers: dict[str, Any] = {}


def provider(name: str, path: object = "") -> Any:
    """Return the shared provider of that name, created with default options.

    The path is that of the caller, `UNSET` if it is missing.
    """
    if path is UNSET:
        raise TypeError(f"there is no path: {_FIRST.format(name)}")
    # If two threads create it, the first stays.
    return made(name) or _providers.setdefault(name, provider_class(name)())


def made(name: str) -> Any:
    """Return the shared provider of that name if it exists already, otherwise None."""
    return _providers.get(name) if isinstance(name, str) else None


def provider_class(name: str) -> Any:
    """Return the blocking class of that name, or raise a ValueError."""
    if isinstance(name, str) and name in _CLASSES:
        module, _, cls = _CLASSES[name].partition(":")
        with import_lock:
            return getattr(importlib.import_module(module), cls)
    others = _others()
    if not isinstance(name, str) or name not in others:
        known = ", ".join(map(repr, [*_CLASSES, *others]))
        hint = _FIRST.format(name) if "/" in str(name) else f"known are {known}"
        raise ValueError(f"there is no provider {name!r}; {hint}")
    return _loaded(name, others[name])


def provider_names() -> list[str]:
    """Return the names of all providers, including other packages'; imports none of them."""
    return [*_CLASSES, *_others()]


def is_provider(name: object) -> bool:
    """Return whether there is a provider of that name."""
    return name in _CLASSES or name in _others()


def is_built_in(name: str) -> bool:
    """Return whether that provider is a part of s1crets, and not of another package."""
    return name in _CLASSES


def reset() -> None:
    """Close and remove the shared providers: the next call creates them again."""
    while _providers:
        _, one = _providers.popitem()
        one.close()


def _others() -> dict[str, list[EntryPoint]]:
    """Return the entry points of other packages by name. Built-in names can't be replaced."""
    with import_lock:
        from importlib.metadata import entry_points  # takes 30 ms

    found: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=GROUP)):
        if point.name not in _CLASSES:
            found.setdefault(point.name, []).append(point)
    return found


def _loaded(name: str, points: list[EntryPoint]) -> Any:
    """Return the class of an entry point, which must be the only one of that name."""
    from s1crets._sync import Facade

    packages = " and ".join(f"{getattr(one.dist, 'name', '?')} ({one.value})" for one in points)
    came = f"the provider {name!r} comes from {packages}: "
    if len({point.value for point in points}) > 1:
        # Which secrets are read must not depend on the order of folders.
        raise ConfigurationError(came + "uninstall all but one")
    try:
        with import_lock:
            found = points[0].load()
    except Exception as error:
        problem = f"it can't be loaded ({type(error).__name__}: {error})"
        raise ConfigurationError(came + problem) from error
    if not isinstance(found, type) or not issubclass(found, Facade):
        problem = "it is not a blocking class: see s1crets.providers.simple.SimpleProvider"
        raise ConfigurationError(came + problem)
    return found
