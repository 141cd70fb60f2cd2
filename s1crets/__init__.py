"""Secrets from AWS Systems Manager Parameter Store and AWS Secrets Manager.

The functions here block; `s1crets.aio` has the same as coroutines, and `s1crets.providers.aws` the
classes behind both. The first argument is the provider's name: `'aws.ps'`, `'aws.sm'`, `'files'`,
or one that another package adds.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from s1crets import aio, errors
from s1crets._keypath import UNSET
from s1crets._redaction import redact
from s1crets._version import __version__
from s1crets.errors import *  # noqa: F403
from s1crets.providers import provider as _provider

if TYPE_CHECKING:
    from s1crets._keypath import KeyPath
    from s1crets.providers.store import SecretVersion

__all__: list[str] = []
__all__ += errors.__all__
__all__ += ["__version__", "aio"]
__all__ += aio.__all__

_REQUIRED: Any = UNSET  # so that a call without a provider gets an error that says so


def get(provider: str, path: str = _REQUIRED, keypath: KeyPath = (), **options: Any) -> Any:
    """Return a secret's value; options are those of the provider's `get`.

    >>> s1crets.get("aws.ps", "/prod/db", "user")
    'app'
    >>> s1crets.get("aws.sm", "prod/nothing", default="none")
    'none'
    """
    return _provider(provider, path).get(path, keypath=keypath, **options)


def get_many(provider: str, paths: Iterable[str] = _REQUIRED, **options: Any) -> dict[str, Any]:
    """Return several secrets' values; options are those of the provider's `get_many`.

    >>> s1crets.get_many("aws.sm", ["prod/api-key", "prod/session-key"])
    {'prod/api-key': 'fake-api-key', 'prod/session-key': 'fake-session-key'}
    """
    found: dict[str, Any] = _provider(provider, paths).get_many(paths, **options)
    return found


def get_by_path(provider: str, path: str = _REQUIRED, **options: Any) -> dict[str, Any]:
    """Return all secrets under a path; options are those of the provider's `get_by_path`.

    >>> s1crets.get_by_path("aws.ps", "/prod/tenants/1")
    {'/prod/tenants/1/token': 'fake-token-1'}
    """
    found: dict[str, Any] = _provider(provider, path).get_by_path(path, **options)
    return found


def path_exists(provider: str, path: str = _REQUIRED) -> bool:
    """Return whether there is such a path or secret.

    >>> s1crets.path_exists("aws.ps", "/prod/tenants"), s1crets.path_exists("aws.ps", "/test")
    (True, False)
    """
    return bool(_provider(provider, path).path_exists(path))


def update(provider: str, path: str, value: Any, **options: Any) -> None:
    """Store a new value of an existing secret; options are those of the provider's `update`.

    >>> s1crets.update("aws.sm", "prod/payments", {"token": "fake-new"})
    >>> s1crets.get("aws.sm", "prod/payments", "token")
    'fake-new'
    """
    value = redact(value)
    _provider(provider).update(path, value, **options)


def create(provider: str, path: str, value: Any, **options: Any) -> None:
    """Store a new secret; options are those of the provider's `create`.

    >>> s1crets.create("aws.sm", "prod/mail", "fake", description="of the mail server")
    """
    value = redact(value)
    _provider(provider).create(path, value, **options)


def put(provider: str, path: str, value: Any, **options: Any) -> None:
    """Store a secret, new or existing; options are those of the provider's `put`.

    >>> s1crets.put("aws.ps", "/prod/workers", "4", type="String")
    """
    value = redact(value)
    _provider(provider).put(path, value, **options)


def delete(provider: str, path: str = _REQUIRED, **options: Any) -> None:
    """Delete a secret; options are those of the provider's `delete`.

    >>> s1crets.delete("aws.sm", "prod/payments", recovery_days=7)
    """
    _provider(provider, path).delete(path, **options)


def restore(provider: str, path: str = _REQUIRED) -> None:
    """Cancel the deletion of a secret; a `TypeError` if the provider can't restore anything.

    >>> s1crets.delete("aws.sm", "prod/payments")
    >>> s1crets.restore("aws.sm", "prod/payments")
    """
    _provider(provider, path).restore(path)


def history(provider: str, path: str = _REQUIRED) -> list[SecretVersion]:
    """Return a secret's versions, without values; a `TypeError` if the provider keeps none.

    >>> [version.labels for version in s1crets.history("aws.sm", "prod/payments")]
    [('AWSCURRENT',)]
    """
    found: list[SecretVersion] = _provider(provider, path).history(path)
    return found


def invalidate(provider: str, path: str | None = None) -> None:
    """Drop a secret and all paths from the provider's caches, or everything.

    >>> s1crets.invalidate("aws.ps", "/prod/db")
    """
    _provider(provider).invalidate(path)


_MOVED = {  # former places of public names
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
        place = _MOVED[self.__name__].get(name)
        if place is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module, _, attribute = place.partition(":")
        return getattr(importlib.import_module(module), attribute)


for _name in _MOVED:
    sys.modules.setdefault(_name, _Moved(_name, "The former place of public names."))
