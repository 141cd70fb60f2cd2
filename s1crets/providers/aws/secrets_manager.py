"""AWS Secrets Manager."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import anyio

from s1crets._values import MISSING, UNSET, conceal, encode, keys_of
from s1crets.cache import Derived
from s1crets.errors import (
    AccessDeniedError,
    BatchError,
    SecretNotFoundError,
)
from s1crets.providers.aws.provider import AwsProvider, tokens_differ
from s1crets.providers.base import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s1crets._values import KeyPath, Raw
    from s1crets.cache import Key

_log = logging.getLogger("s1crets")
_LARGEST = 65536  # bytes of a secret


class AsyncSecretsManager(AwsProvider):
    """AWS Secrets Manager, awaited."""

    service = "Secrets Manager"
    _botocore_name = "secretsmanager"

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
        key = _key(path, version_id, version_stage)
        found = self._local(key, keypath, default, cached=cached)
        if found is not MISSING:
            return found
        keys_of(keypath)
        asked = {"VersionId": version_id, "VersionStage": version_stage}
        version = {name: one for name, one in asked.items() if one is not None}
        try:
            held = await self._read(key, lambda: self._fetch(path, version), cached=cached)
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
        """Return the values of several secrets, in the order asked for, each asked for once.

        Args:
            paths: names or ARNs.
            cached: whether a cache may answer.
            errors: `"return"` puts errors in the values' places.

        Raises:
            BatchError: some could not be read; it has what was read, and an error a name.
        """
        return await self._get_many(
            paths, lambda path: self.get(path, cached=cached), self._max_connections, errors
        )

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
            held = await self._read(key, lambda: self._fetch_path(key.name), cached=cached)
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
        key = Derived(path, "exists")
        if self._local(key, (), UNSET, cached=True) is not MISSING:
            return True
        try:
            await self._read(key, lambda: self._fetch_exists(path), cached=True)
        except SecretNotFoundError:
            return False
        return True

    async def update(self, path: str, value: Any) -> None:
        """Store a new value: `PutSecretValue`, which keeps the key it is encrypted with.

        Args:
            path: the name or ARN of a secret that is there.
            value: text, bytes, or a dict or list that is stored as JSON.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret; nothing was written.
            InvalidValueError: the value is of another type or too long; nothing was written.
            S1cretsError: anything else that goes wrong.
        """
        value = conceal(value)
        check_name(path)
        raw = conceal(encode(value, binary=True, limit=_LARGEST))
        field = "SecretBinary" if isinstance(raw.reveal(), bytes) else "SecretString"
        with self._bounded("updating", path):
            try:
                answer = await self._clients.run(
                    "PutSecretValue",
                    path,
                    lambda client: client.put_secret_value(SecretId=path, **{field: raw.reveal()}),
                    writes=True,
                )
            finally:
                # Also after an error: whether AWS has stored it may not be known.
                with anyio.CancelScope(shield=True):
                    await self.invalidate(path)
        if not isinstance(answer.get("VersionId"), str):
            raise self._bad_response("PutSecretValue", path)

    async def invalidate(self, path: str | None = None) -> None:
        """Forget what the caches hold of one secret and of all paths, or all."""
        if path is None:
            await self._cache.clear()
            return
        check_name(path)
        await self._cache.drop(_key(path, None, None))

    async def _fetch(self, path: str, version: dict[str, str]) -> str | bytes:
        async def work(client: Any) -> str | bytes:
            answer = await client.get_secret_value(SecretId=path, **version)
            for field, kind in (("SecretString", str), ("SecretBinary", bytes)):
                if isinstance(answer.get(field), kind):
                    found: str | bytes = answer[field]
                    return found
            raise self._bad_response("GetSecretValue", path)

        return await self._clients.run("GetSecretValue", path, work)

    async def _fetch_path(self, path: str) -> Raw:
        names = await self._clients.run(
            "ListSecrets", path, lambda client: self._list(client, path)
        )

        async def read(name: str) -> str | bytes:
            held = await self._read(
                _key(name, None, None), lambda: self._fetch(name, {}), cached=True
            )
            return held.raw  # type: ignore[return-value]  # a single secret's is no mapping

        batch = await self._gather(names, read, self._max_connections)
        if batch.errors:
            raise self._batch_error(batch)
        return batch.values

    async def _list(self, client: Any, path: str) -> list[str]:
        # The filter is a bare prefix, so `foo` finds `foobar`; a leading `!` would negate it.
        filters = [] if path.startswith("!") else [{"Key": "name", "Values": [path]}]
        names = []
        async for page in tokens_differ(
            client.get_paginator("list_secrets").paginate(Filters=filters)
        ):
            listed = self._listed(page, "SecretList", "ListSecrets", path)
            names += [one["Name"] for one in listed if _below(one.get("Name"), path)]
        return names

    async def _fetch_exists(self, path: str) -> Raw:
        async def work(client: Any) -> bool:
            answer = await client.describe_secret(SecretId=path)
            if not isinstance(answer.get("Name"), str):
                raise self._bad_response("DescribeSecret", path)
            return "DeletedDate" not in answer

        try:
            there = await self._clients.run("DescribeSecret", path, work)
        except AccessDeniedError:
            await self._fetch(path, {})
            there = True
        if not there:
            message = f"{self.service}: {path!r} is scheduled for deletion"
            raise SecretNotFoundError(message)
        return "yes"


def _key(path: str, version_id: str | None, version_stage: str | None) -> Key:
    check_name(path)
    for one in (version_id, version_stage):
        if one is not None:
            check_name(one)
    # A version or an ARN is another way to a secret: what was read that way goes at an update.
    plain = version_id is None and version_stage is None and not path.startswith("arn:")
    return path if plain else Derived(path, ("get", version_id, version_stage))


def _path_key(path: str) -> Derived:
    check_name(path)
    return Derived(path.rstrip("/") or "/", "path")


def _below(name: object, path: str) -> bool:
    return isinstance(name, str) and (name == path or name.startswith(path.rstrip("/") + "/"))
