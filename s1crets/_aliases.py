"""Former places of public names, which still work as they did."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

MOVED = {
    "s1crets.cache.disk": {"DiskCache": "s1crets.cache:DiskCache"},
    "s1crets.cache.memory": {"MemoryCache": "s1crets.cache:MemoryCache"},
    "s1crets.providers.aws.entries": {"Entry": "s1crets.providers.store:SecretMetadata"},
    "s1crets.providers.aws.session": {"StsArgs": "s1crets.providers.aws.options:StsArgs"},
    "s1crets.providers.metadata": {"SecretMetadata": "s1crets.providers.store:SecretMetadata"},
    "s1crets.providers.stats": {"Stats": "s1crets.providers.instrumentation:Stats"},
}


class _Moved(ModuleType):
    """A module that is gone; its names are imported from their new places on access."""

    def __getattr__(self, name: str) -> Any:
        place = MOVED[self.__name__].get(name)
        if place is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module, _, attribute = place.partition(":")
        return getattr(importlib.import_module(module), attribute)


def register() -> None:
    """Make the former modules importable."""
    for name in MOVED:
        sys.modules.setdefault(name, _Moved(name, "The former place of public names."))
