"""The module-level functions as coroutines; the first argument is the provider's name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from s1crets._keypath import UNSET
from s1crets._redaction import redact
from s1crets.providers import made as _made
from s1crets.providers import provider as _provider

if TYPE_CHECKING:
    from s1crets._keypath import KeyPath
    from s1crets.providers.store import SecretVersion

__all__ = [
    "create",
    "delete",
    "get",
    "get_by_path",
    "get_many",
    "history",
    "invalidate",
    "path_exists",
    "put",
    "restore",
    "update",
]

_REQUIRED: Any = UNSET  # so that a call without a provider gets an error that says so


async def get(provider: str, path: str = _REQUIRED, keypath: KeyPath = (), **options: Any) -> Any:
    """Return a secret's value; options are those of the provider's `get`."""
    return await (await _awaited(provider, path)).get(path, keypath=keypath, **options)


async def get_many(
    provider: str, paths: Iterable[str] = _REQUIRED, **options: Any
) -> dict[str, Any]:
    """Return several secrets' values; options are those of the provider's `get_many`."""
    found: dict[str, Any] = await (await _awaited(provider, paths)).get_many(paths, **options)
    return found


async def get_by_path(provider: str, path: str = _REQUIRED, **options: Any) -> dict[str, Any]:
    """Return all secrets under a path; options are those of the provider's `get_by_path`."""
    found: dict[str, Any] = await (await _awaited(provider, path)).get_by_path(path, **options)
    return found


async def path_exists(provider: str, path: str = _REQUIRED) -> bool:
    """Return whether there is such a path or secret."""
    return bool(await (await _awaited(provider, path)).path_exists(path))


async def update(provider: str, path: str, value: Any, **options: Any) -> None:
    """Store a new value of an existing secret; options are those of the provider's `update`."""
    value = redact(value)
    await (await _awaited(provider)).update(path, value, **options)


async def create(provider: str, path: str, value: Any, **options: Any) -> None:
    """Store a new secret; options are those of the provider's `create`."""
    value = redact(value)
    await (await _awaited(provider)).create(path, value, **options)


async def put(provider: str, path: str, value: Any, **options: Any) -> None:
    """Store a secret, new or existing; options are those of the provider's `put`."""
    value = redact(value)
    await (await _awaited(provider)).put(path, value, **options)


async def delete(provider: str, path: str = _REQUIRED, **options: Any) -> None:
    """Delete a secret; options are those of the provider's `delete`."""
    await (await _awaited(provider, path)).delete(path, **options)


async def restore(provider: str, path: str = _REQUIRED) -> None:
    """Cancel the deletion of a secret; a `TypeError` if the provider can't restore anything."""
    await (await _awaited(provider, path)).restore(path)


async def history(provider: str, path: str = _REQUIRED) -> list[SecretVersion]:
    """Return a secret's versions, without values; a `TypeError` if the provider keeps none."""
    found: list[SecretVersion] = await (await _awaited(provider, path)).history(path)
    return found


async def invalidate(provider: str, path: str | None = None) -> None:
    """Drop a secret and all paths from the provider's caches, or everything."""
    await (await _awaited(provider)).invalidate(path)


async def _awaited(provider: str, path: object = "") -> Any:
    found: Any = None if path is UNSET else _made(provider)
    if found is None:
        from s1crets._runtime import run_in_thread

        # It is imported, and looked for in other packages, which takes reading files.
        found = await run_in_thread(_provider, provider, path)
    return found.awaited
