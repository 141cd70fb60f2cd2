"""AWS Secrets Manager."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any, Literal

from s1crets._keypath import keys_of
from s1crets._sentinels import MISSING, UNSET
from s1crets.cache import Derived
from s1crets.cache.entry import CachedValue, together
from s1crets.errors import AccessDeniedError, BatchError, S1cretsError, SecretNotFoundError
from s1crets.providers.aws.asm import BATCH, Asm
from s1crets.providers.aws.batching import Batches
from s1crets.providers.aws.options import discreet
from s1crets.providers.aws.secret_writing import SecretWriting
from s1crets.providers.base import check_name
from s1crets.providers.batch import Batch, distinct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Unpack

    from s1crets._keypath import KeyPath
    from s1crets.cache import Key
    from s1crets.providers.aws.options import ProviderOptions

_log = logging.getLogger("s1crets")
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}$")


class AsyncSecretsManager(SecretWriting):
    """AWS Secrets Manager, awaited.

    Args:
        options: `sts_args`, `cache_args`, `retry`, `timeout`, `deadline`, `max_connections`,
            `session`: see `s1crets.providers.aws.options.ProviderOptions`, and what it refers to.

    Raises:
        TypeError: an option is not known or of the wrong type.
        ValueError: an option is out of range.
    """

    service = "Secrets Manager"
    _botocore_name = "secretsmanager"

    def __init__(self, **options: Unpack[ProviderOptions]) -> None:
        options = discreet(options)
        super().__init__(**options)
        self._asm = Asm(self._clients)
        self._batches: Batches[CachedValue] = Batches(
            size=BATCH,
            requests=self._clients.spec.max_connections,
            one=self._fetch_one,
            many=self._fetch_many,
        )

    async def get(
        self,
        path: str,
        *,
        keypath: KeyPath = (),
        default: Any = UNSET,
        cached: bool = True,
        version_id: str | None = None,
        version_stage: str | None = None,
    ) -> Any:
        """Return a secret's value: `GetSecretValue`.

        Args:
            path: the secret's name or ARN.
            keypath: a key, or a sequence of them, to look up in a value that is JSON.
            default: what to return when there is no such secret, version or key.
            cached: whether a cache may answer.
            version_id: a version other than the current one.
            version_stage: a staging label, such as `AWSPREVIOUS`.

        Returns:
            A dict or list if the text is a JSON object or array, else the text; bytes for a
            binary secret. It is yours.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret, version, stage or key, or the secret
                is scheduled for deletion.
            S1cretsError: everything else that goes wrong, as the class of its own.
        """
        found = self.get_local(
            path,
            keypath=keypath,
            default=default,
            cached=cached,
            version_id=version_id,
            version_stage=version_stage,
        )
        if found is not MISSING:
            return found
        keys_of(keypath)
        key = _key(path, version_id, version_stage)
        try:
            held = await self._read(key, cached=cached)
        except SecretNotFoundError:
            if default is UNSET:
                raise
            return default
        return self._answer(held, path, keypath, default)

    def get_local(
        self,
        path: str,
        *,
        keypath: KeyPath = (),
        default: Any = UNSET,
        cached: bool = True,
        version_id: str | None = None,
        version_stage: str | None = None,
    ) -> Any:
        """Return what `get` would if a local cache has it, else `MISSING`; waits for nothing."""
        if cached and version_id is None is version_stage:
            found = self._local_name(path, keypath, default)
            if found is not MISSING:
                return found
        key = _key(path, version_id, version_stage)
        return MISSING if key is path else self._local(key, keypath, default, cached=cached)

    def peek(
        self,
        path: str,
        *,
        keypath: KeyPath = (),
        default: Any = None,
        version_id: str | None = None,
        version_stage: str | None = None,
    ) -> Any:
        """Return what a local cache holds now, or `default`. Asks AWS for nothing, never waits."""
        held = self._cache.peek(_key(path, version_id, version_stage))
        return default if held is None else self._answer(held, path, keypath, default)

    async def get_many(
        self,
        paths: Iterable[str],
        *,
        cached: bool = True,
        errors: Literal["raise", "return"] = "raise",
    ) -> dict[str, Any]:
        """Return the values of several secrets, in the order asked for.

        `BatchGetSecretValue` of twenty; where that is denied, `GetSecretValue`.

        Args:
            paths: names or ARNs.
            cached: whether a cache may answer.
            errors: `"return"` puts errors in the values' places.

        Raises:
            BatchError: some could not be read; it has what was read, and an error a name.
        """
        names = distinct(paths, errors)
        batch = await self._read_many(names, _key, cached=cached)
        return batch.answer(names, errors, self.service)

    async def get_by_path(
        self, path: str, *, cached: bool = True, fail_on_error: bool = True
    ) -> dict[str, Any]:
        """Return all secrets whose names are `path` or begin with `path/`: `ListSecrets`.

        Args:
            path: what names begin with, up to a `/`.
            cached: whether a cache may answer.
            fail_on_error: False skips what may not be read, and logs which.

        Returns:
            Names and values; nothing below the path is an empty dict.

        Raises:
            BatchError: some could not be read; it has what was read, and an error a name.
            S1cretsError: anything else that goes wrong.
        """
        found = self.get_by_path_local(path, cached=cached, fail_on_error=fail_on_error)
        if found is not MISSING:
            return dict(found)
        key = _path_key(path)
        try:
            held = await self._read(key, cached=cached)
        except BatchError as error:
            if fail_on_error:
                raise
            _log.warning("%s; they are left out: %s", error, ", ".join(error.errors))
            return dict(error.values)
        return dict(held.value())

    def get_by_path_local(
        self,
        path: str,
        *,
        cached: bool = True,
        fail_on_error: bool = True,  # noqa: ARG002  # what is cached is whole
    ) -> Any:
        """Return what `get_by_path` would if a local cache has it, else `MISSING`."""
        return self._local(_path_key(path), (), UNSET, cached=cached)

    async def path_exists(self, path: str) -> bool:
        """Say whether there is a secret of exactly this name: there are no paths.

        `DescribeSecret`, which decrypts nothing; where that is denied, `GetSecretValue`. A yes is
        cached, a no is not. What is scheduled for deletion does not exist.

        Raises:
            S1cretsError: it could not be told.
        """
        check_name(path)
        key = Derived(path, ("exists",))
        if self._local(key, (), UNSET, cached=True) is not MISSING:
            return True
        try:
            await self._read(key, cached=True)
        except SecretNotFoundError:
            return False
        return True

    async def invalidate(self, path: str | None = None) -> None:
        """Forget what the caches hold of one secret and of all paths, or all."""
        if path is None:
            await self._cache.clear()
            return
        check_name(path)
        await self._cache.drop(*map(_key, _names(path)))

    def _key_of(self, path: str) -> Key:
        return _key(path)

    async def _load(self, key: Key) -> CachedValue:
        if isinstance(key, str):
            return await self._batches.load(key)
        what, *version = key.what
        if what == "path":
            return await self._fetch_path(key.name)
        if what == "exists":
            return await self._fetch_exists(key.name)
        if version == [None, None]:
            return await self._batches.load(key.name)  # an ARN
        asked = dict(zip(("VersionId", "VersionStage"), version, strict=True))
        return await self._asm.get(
            key.name, {name: one for name, one in asked.items() if one is not None}
        )

    async def _fetch_one(self, name: str, _kind: object) -> CachedValue:
        return await self._asm.get(name, {})

    async def _fetch_many(
        self, names: Sequence[str], _kind: object
    ) -> dict[str, CachedValue | S1cretsError]:
        return await self._asm.get_many(names)

    async def _fetch_path(self, path: str) -> CachedValue:
        lease = self._cache.lease()
        names = await self._asm.names_below(path)
        read: dict[str, CachedValue] = {}
        batch = Batch()

        async def read_into(name: str) -> None:
            try:
                read[name] = await self._batches.load(name)
            except S1cretsError as error:
                batch.errors[name] = error

        await asyncio.gather(*map(read_into, names))
        found = {name: read[name] for name in names if name in read}
        await self._cache.fill(dict(found.items()), lease)
        if batch.errors:
            batch.values = {name: one.value() for name, one in found.items()}
            raise batch.error(self.service)
        return together(found)

    async def _fetch_exists(self, path: str) -> CachedValue:
        try:
            there = await self._asm.exists(path)
        except AccessDeniedError:
            await self._asm.get(path, {})
            there = True
        if not there:
            message = f"{self.service}: {path!r} is scheduled for deletion"
            raise SecretNotFoundError(message)
        return CachedValue("yes")


def _key(path: str, version_id: str | None = None, version_stage: str | None = None) -> Key:
    check_name(path)
    for one in (version_id, version_stage):
        if one is not None:
            check_name(one)
    # A version or an ARN is another way to a secret: what was read that way goes at an update.
    plain = version_id is None and version_stage is None and not path.startswith("arn:")
    return path if plain else Derived(path, ("get", version_id, version_stage))


def _names(path: str) -> list[str]:
    """Return what a secret may be called in the cache: an ARN has its name, and six characters."""
    if not path.startswith("arn:"):
        return [path]
    name = path.partition(":secret:")[2] or path
    return [path, name, _SUFFIX.sub("", name)]


def _path_key(path: str) -> Derived:
    check_name(path)
    return Derived(path.rstrip("/") or "/", ("path",))
