"""AWS Secrets Manager."""

from __future__ import annotations

import logging
import re
from asyncio import _get_running_loop
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from s1crets._keypath import MISSING, UNSET, KeyPath
from s1crets._redaction import Redacted, redact
from s1crets._runtime import not_asyncio
from s1crets.cache.entry import PATH, VALUE, CacheKey, Fetched
from s1crets.errors import (
    AccessDeniedError,
    BatchError,
    S1cretsError,
    SecretExistsError,
    SecretNotFoundError,
)
from s1crets.providers.aws._client import expect, listed
from s1crets.providers.aws._errors import foreign, malformed
from s1crets.providers.aws._services import SECRETS_MANAGER
from s1crets.providers.aws._store import FOUND, AwsProvider, AwsStore, checked_name
from s1crets.providers.aws.write_settings import (
    LARGEST_SECRET,
    deletion,
    refuse_tags,
    secret_settings,
)
from s1crets.providers.store import SecretMetadata, WriteMode, fetch_each, fetched_path, is_under

_log = logging.getLogger("s1crets")
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}$")


class SecretsManagerStore(AwsStore):
    """The operations of Secrets Manager."""

    row = SECRETS_MANAGER

    def key(
        self,
        path: str,
        kind: str = VALUE,
        *,
        version_id: str | None = None,
        version_stage: str | None = None,
    ) -> CacheKey:
        """Return the cache key of a request."""
        checked_name(path)
        given = {"version_id": version_id, "version_stage": version_stage}
        options = {name: checked_name(one) for name, one in given.items() if one is not None}
        if kind == PATH:
            path = path.rstrip("/") or "/"
        return super().key(path, kind, **options)

    def aliases(self, path: str) -> tuple[str, ...]:
        """Return all names under which a secret may be cached: an ARN ends with six characters."""
        if not checked_name(path).startswith("arn:"):
            return (path,)
        name = path.partition(":secret:")[2] or path
        return (path, name, _SUFFIX.sub("", name))

    def ancestors(self, path: str) -> Iterable[CacheKey]:
        """Return the keys of all paths whose entries may contain the secret; its name is one."""
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            yield self.key("/".join(parts[:end]) or "/", PATH)

    async def fetch(self, key: CacheKey) -> Fetched:
        """Request a value, all secrets under a path, or whether a secret exists."""
        if key.kind == PATH:
            return await self._fetch_path(key.name)
        if key.kind != VALUE:
            return await self._fetch_exists(key.name)
        if key.options:  # batches don't support versions
            return await self.fetch_one(key.name, dict(key.options))
        return await self._batched(key.name)

    async def fetch_one(self, name: str, group: Mapping[str, Any] | None) -> Fetched:
        """Request a secret, the current version or the one in `group`: `GetSecretValue`."""
        fields = {"version_id": "VersionId", "version_stage": "VersionStage"}
        arguments = {fields[option]: value for option, value in (group or {}).items()}
        arguments["SecretId"] = name

        def parse(answer: Any) -> Fetched:
            fetched = _fetched(answer)
            self._check(answer, arguments)
            return fetched

        return await self.clients.call("GetSecretValue", name, parse, arguments)

    async def fetch_batch(self, names: Sequence[str], _: None) -> dict[str, Fetched | S1cretsError]:
        """Request up to twenty secrets: `BatchGetSecretValue`."""
        operation = "BatchGetSecretValue"

        def parse(answer: Any) -> dict[str, Fetched | S1cretsError]:
            found: dict[str, Fetched | S1cretsError] = {}
            for secret in listed(answer, "SecretValues"):
                found[str(secret.get("Name"))] = found[str(secret.get("ARN"))] = _fetched(secret)
                if not any(self._is_for(secret, name) for name in names):
                    raise foreign()
            for failure in answer.get("Errors") or []:
                name, code = str(failure.get("SecretId")), str(failure.get("ErrorCode"))
                words = str(failure.get("Message", ""))
                found[name] = self.clients.refused(operation, name, code, words)
            return found

        arguments = {"SecretIdList": list(names)}
        return await self.clients.call(operation, names[0], parse, arguments, names=names)

    def _is_for(self, secret: Mapping[str, Any], name: str) -> bool:
        """Return whether a secret in a response is the one that was requested by `name`."""
        own, arn = secret.get("Name"), secret.get("ARN")
        if isinstance(arn, str) and name.startswith("arn:"):
            return name in (own, arn, _SUFFIX.sub("", arn))
        return own in (name, *self.aliases(name)) or own is arn is None

    def _check(self, answer: Any, requested: Mapping[str, Any]) -> None:
        """Reject a response about another secret or version than the requested one."""
        name = requested.get("SecretId") or requested["Name"]
        version, stage = requested.get("VersionId"), requested.get("VersionStage")
        stages = answer.get("VersionStages")
        if (
            not self._is_for(answer, name)
            or (version and answer.get("VersionId") not in (None, version))
            or (stage and isinstance(stages, list) and stage not in stages)
        ):
            raise foreign()

    async def _fetch_path(self, path: str) -> Fetched:
        """List the names under a path, then request them in batches."""
        names = [metadata.name for metadata in await self.describe(path)]
        return fetched_path(self.title, await fetch_each(names, self._batched))

    async def _fetch_exists(self, name: str) -> Fetched:
        """Request metadata, which decrypts nothing: `DescribeSecret`; if denied, the secret."""

        def parse(answer: Any) -> bool:
            expect(answer, "Name", str)
            self._check(answer, arguments)
            return "DeletedDate" not in answer

        arguments = {"SecretId": name}
        try:
            exists = await self.clients.call("DescribeSecret", name, parse, arguments)
        except AccessDeniedError:
            exists = bool(await self.fetch_one(name, None))
        if not exists:
            raise SecretNotFoundError(f"{self.title}: {name!r} is scheduled for deletion")
        return FOUND

    def write(
        self, path: str, value: Redacted, mode: WriteMode, settings: Mapping[str, Any]
    ) -> Awaitable[None]:
        """Validate at once, and return the coroutine that stores a value."""
        arguments = secret_settings(**settings)
        raw = self._encoded(path, value, binary=True, limit=LARGEST_SECRET)
        create = partial(self._send, "CreateSecret", path, raw, {"Name": path, **arguments})
        if mode == "put" and "Tags" in arguments:
            return self._create_tagged(create, path, arguments)
        operation = "UpdateSecret" if arguments else "PutSecretValue"
        overwrite = partial(self._send, operation, path, raw, {"SecretId": path, **arguments})
        return self._create_or_overwrite(mode, create, overwrite)

    async def _create_tagged(
        self, create: Callable[[], Awaitable[None]], path: str, settings: Mapping[str, Any]
    ) -> None:
        with suppress(SecretExistsError):
            return await create()
        return refuse_tags(settings, path)

    async def _send(
        self, operation: str, path: str, raw: Redacted, arguments: Mapping[str, Any]
    ) -> None:
        field = "SecretBinary" if isinstance(raw.reveal(), bytes) else "SecretString"

        def parse(answer: Any) -> None:
            expect(answer, "VersionId", str)
            self._check(answer, arguments)

        await self.clients.call(operation, path, parse, {**arguments, field: raw})

    def delete(
        self, path: str, *, recovery_days: int | None = None, force: bool = False
    ) -> Awaitable[None]:
        """Validate at once, and return the coroutine that deletes a secret: `DeleteSecret`."""
        arguments = {"SecretId": checked_name(path), **deletion(recovery_days, force=force)}
        parse = partial(self._check, requested=arguments)
        return self.clients.call("DeleteSecret", path, parse, arguments)

    async def describe(self, path: str) -> Sequence[SecretMetadata]:
        """Return the metadata of the secrets under a path: `ListSecrets`."""

        def parse(page: Any) -> list[SecretMetadata]:
            found = listed(page, "SecretList", named=True)
            return [_metadata(one) for one in found if is_under(one["Name"], path)]

        # The filter matches any prefix, so `foo` finds `foobar`; an initial `!` would negate it.
        filters = [{"Key": "name", "Values": [path]}] if path and path[0] != "!" else []
        return await self.clients.pages("ListSecrets", path, parse, {"Filters": filters})


def _fetched(secret: Any) -> Fetched:
    """Return the text or bytes in a response; the time of creation stands for the version."""
    created = secret.get("CreatedDate")
    version = created.timestamp() if isinstance(created, datetime) else 0.0
    for field, kind in (("SecretString", str), ("SecretBinary", bytes)):
        if isinstance(secret.get(field), kind):
            return Fetched(secret[field], version)
    raise malformed()


def _metadata(secret: Mapping[str, Any]) -> SecretMetadata:
    stages = secret.get("SecretVersionsToStages") or {}
    current = [version for version, labels in stages.items() if "AWSCURRENT" in labels]
    changed = secret.get("LastChangedDate") or secret.get("CreatedDate")
    changed = changed if isinstance(changed, datetime) else None
    return SecretMetadata(secret["Name"], "secret", "".join(current[:1]), changed)


class AsyncSecretsManager(AwsProvider):
    """AWS Secrets Manager, for asyncio.

    The inherited methods use: `get_many` `BatchGetSecretValue` of twenty, or `GetSecretValue` if
    that is denied; `path_exists` `DescribeSecret`, for names only, since there are no paths, or
    `GetSecretValue` if that is denied; `update` `PutSecretValue`, which keeps the encryption key;
    `describe` `ListSecrets`, which may be minutes behind.

    Args:
        options: `sts_args`, `cache_args`, …: see `s1crets.providers.aws.options.ProviderOptions`.

    Raises:
        TypeError: an unknown option, or one of the wrong type.
        ValueError: an option out of range.
    """

    service = SECRETS_MANAGER.title
    registered_as = "aws.sm"
    _store_type = SecretsManagerStore

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
        """Return a secret's value: `GetSecretValue`, or `BatchGetSecretValue` for concurrent calls.

        Args:
            path: the secret's name or ARN.
            keypath: a key, or a sequence of keys, to look up in a JSON value.
            default: returned if there is no such secret, version or key.
            cached: whether a cache may answer.
            version_id: another version than the current one.
            version_stage: a staging label, such as `AWSPREVIOUS`.

        Returns:
            A dict or list if the text is a JSON object or array, otherwise the text; bytes for a
            binary secret. It is a copy that belongs to the caller.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret, version, stage or key, or the secret
                is scheduled for deletion.
            S1cretsError: any other failure, as its own subclass.
        """
        version: dict[str, Any] = {"version_id": version_id, "version_stage": version_stage}
        if _get_running_loop() is None:
            raise not_asyncio(self)
        found = self.get_local(path, keypath=keypath, default=default, cached=cached, **version)
        if found is MISSING:
            found = await self._get(path, keypath, default, cached=cached, **version)
        return found

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
        """Return the result of `get` if a local cache has it, otherwise `MISSING`. Never waits."""
        if cached and version_id is None is version_stage:
            found = self._hit(path, keypath, default)
            if found is not MISSING:
                return found
        key = self._store.key(path, version_id=version_id, version_stage=version_stage)
        return MISSING if key.is_primary else self._hit_key(key, keypath, default, cached=cached)

    def peek(
        self,
        path: str,
        *,
        keypath: KeyPath = (),
        default: Any = None,
        version_id: str | None = None,
        version_stage: str | None = None,
    ) -> Any:
        """Return the value in a local cache, or `default`. Sends no request and never waits."""
        version = {"version_id": version_id, "version_stage": version_stage}
        return self._peek(path, keypath, default, **version)

    async def get_by_path(
        self, path: str, *, cached: bool = True, raw: bool = False, fail_on_error: bool = True
    ) -> dict[str, Any]:
        """Return the secrets named `path`, and those under it, by name: `ListSecrets`.

        Args:
            path: the beginning of names, up to a `/`.
            cached: whether a cache may answer.
            raw: whether JSON is returned as the text that is stored.
            fail_on_error: False leaves out secrets that could not be read, and logs their names.

        Raises:
            BatchError: some could not be read; it has the values, and one error per name.
            S1cretsError: any other failure.
        """
        try:
            return await self._get_by_path(path, cached=cached, raw=raw)
        except BatchError as error:
            if fail_on_error:
                raise
            _log.warning("%s; they are left out: %s", error, ", ".join(error.errors))
            return dict(error.values)

    def get_by_path_local(
        self,
        path: str,
        *,
        cached: bool = True,
        raw: bool = False,
        fail_on_error: bool = True,  # noqa: ARG002  # cached paths are complete
    ) -> Any:
        """Return the result of `get_by_path` if a local cache has it, otherwise `MISSING`."""
        return super().get_by_path_local(path, cached=cached, raw=raw)

    async def create(
        self,
        path: str,
        value: Any,
        *,
        kms_key_id: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Store a new secret: `CreateSecret`.

        Args:
            path: a name that does not exist yet.
            value: text, bytes, or a dict or list, which is stored as JSON.
            kms_key_id: the key that encrypts it; by default the account's own for the service.
            description: a text that everybody can read who may list secrets.
            tags: names and values; needs `secretsmanager:TagResource`.

        Raises:
            SecretExistsError: a `FileExistsError`: the secret exists, or is scheduled for deletion.
            ConfigurationError: a `ValueError`: invalid settings; nothing was written.
            InvalidValueError: wrong type or too long; nothing was written.
            S1cretsError: any other failure.
        """
        value = redact(value)
        settings = {"kms_key_id": kms_key_id, "description": description, "tags": tags}
        await self._write("create", path, value, **settings)

    async def put(
        self,
        path: str,
        value: Any,
        *,
        kms_key_id: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Store a secret, new or existing: `PutSecretValue`, or `CreateSecret` if there is none.

        The arguments are those of `create`. For an existing secret, `UpdateSecret` sets the key and
        the description, and AWS takes no tags.

        Raises:
            ConfigurationError: a `ValueError`: invalid settings, also for an existing secret;
                nothing was written.
            SecretNotFoundError: a `KeyError`: a secret with this name is scheduled for deletion.
            InvalidValueError: wrong type or too long; nothing was written.
            S1cretsError: any other failure.
        """
        value = redact(value)
        settings = {"kms_key_id": kms_key_id, "description": description, "tags": tags}
        await self._write("put", path, value, **settings)

    async def delete(
        self, path: str, *, recovery_days: int | None = None, force: bool = False
    ) -> None:
        """Schedule a secret for deletion: `DeleteSecret`. It can't be read any more.

        Args:
            path: the secret's name or ARN.
            recovery_days: days in which it can be restored, 7 to 30; by default 30.
            force: delete it immediately and forever. Then AWS doesn't tell whether it existed.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret, or it is scheduled already.
            ConfigurationError: a `ValueError`: invalid `recovery_days`.
            S1cretsError: any other failure.
        """
        await self._delete(path, recovery_days=recovery_days, force=force)
