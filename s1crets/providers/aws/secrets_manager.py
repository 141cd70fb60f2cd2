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
from s1crets.providers.aws._store import FOUND, AwsProvider, AwsStore, checked_name, was_requested
from s1crets.providers.aws.write_settings import (
    LARGEST_SECRET,
    deletion,
    refuse_stages,
    refuse_tags,
    secret_settings,
)
from s1crets.providers.store import (
    SecretMetadata,
    SecretVersion,
    WriteMode,
    fetched_path,
    is_under,
    relative_to,
)

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
        if kind == VALUE and version_id is None and version_stage is None:
            return self.value_key(path)
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
        return await self._batched_one(key.name)

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
                if not was_requested(secret, names, self._is_for):
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
        return fetched_path(self.title, await self._batched(names))

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
        create = partial(self._create, path, raw, arguments)
        if mode == "put" and "Tags" in arguments:
            return self._create_tagged(create, path, arguments)
        operation = "PutSecretValue"
        if not arguments.keys().isdisjoint(("KmsKeyId", "Description")):
            operation = "UpdateSecret"
        overwrite = partial(self._send, operation, path, raw, {"SecretId": path, **arguments})
        return self._create_or_overwrite(mode, create, overwrite)

    async def _create(self, path: str, raw: Redacted, settings: Mapping[str, Any]) -> None:
        refuse_stages(settings, path)
        new = {name: one for name, one in settings.items() if name != "VersionStages"}
        await self._send("CreateSecret", path, raw, {"Name": path, **new})

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

        def parse(answer: Any) -> Any:
            expect(answer, "VersionId", str)
            self._check(answer, {"VersionId": arguments.get("ClientRequestToken"), **arguments})
            return answer["VersionId"], answer.get("VersionStages")

        answer = await self.clients.call(operation, path, parse, {**arguments, field: raw})
        version, attached = answer
        wanted = arguments.get("VersionStages", ())
        if attached is not None and not set(wanted).issubset(attached):
            # AWS ignores a request for a version that exists already, stages included.
            await self._move_stages(path, version, [one for one in wanted if one not in attached])

    async def _move_stages(self, path: str, version: str, stages: Sequence[str]) -> None:
        """Attach stages to a version: `UpdateSecretVersionStage`, once each."""

        def parse(answer: Any) -> dict[str, str]:
            self._check(answer, target)
            versions = answer.get("VersionIdsToStages") or {}
            return {stage: one for one, labels in versions.items() for stage in labels}

        target = {"SecretId": path}
        holders = await self.clients.call("DescribeSecret", path, parse, target)
        for stage in stages:
            arguments = {**target, "VersionStage": stage, "MoveToVersionId": version}
            if stage in holders:
                arguments["RemoveFromVersionId"] = holders[stage]
            check = partial(self._check, requested=target)
            await self.clients.call("UpdateSecretVersionStage", path, check, arguments)

    def delete(
        self, path: str, *, recovery_days: int | None = None, force: bool = False
    ) -> Awaitable[None]:
        """Validate at once, and return the coroutine that deletes a secret: `DeleteSecret`."""
        arguments = {"SecretId": checked_name(path), **deletion(recovery_days, force=force)}
        parse = partial(self._check, requested=arguments)
        return self.clients.call("DeleteSecret", path, parse, arguments)

    def restore(self, path: str) -> Awaitable[None]:
        """Validate, and return the coroutine that cancels a deletion: `RestoreSecret`."""
        arguments = {"SecretId": checked_name(path)}
        parse = partial(self._check, requested=arguments)
        return self.clients.call("RestoreSecret", path, parse, arguments)

    async def history(self, path: str) -> list[SecretVersion]:
        """Return the versions of a secret that AWS still has: `ListSecretVersionIds`."""
        arguments = {"SecretId": checked_name(path), "IncludeDeprecated": True}

        def parse(page: Any) -> list[SecretVersion]:
            self._check(page, arguments)
            return [_version(one) for one in listed(page, "Versions")]

        found = await self.clients.pages("ListSecretVersionIds", path, parse, arguments)
        return sorted(found, key=lambda one: one.created.timestamp() if one.created else 0.0)

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
    accessed = secret.get("LastAccessedDate")
    return SecretMetadata(
        secret["Name"],
        "secret",
        "".join(current[:1]),
        changed,
        kms_key=str(secret.get("KmsKeyId") or ""),
        accessed=accessed if isinstance(accessed, datetime) else None,
        description=str(secret.get("Description") or ""),
    )


def _version(listed: Mapping[str, Any]) -> SecretVersion:
    expect(listed, "VersionId", str)
    created = listed.get("CreatedDate")
    created = created if isinstance(created, datetime) else None
    return SecretVersion(listed["VersionId"], tuple(listed.get("VersionStages") or ()), created)


class AsyncSecretsManager(AwsProvider):
    """AWS Secrets Manager, for asyncio.

    The inherited methods use: `get_many` `BatchGetSecretValue` of twenty, or `GetSecretValue` if
    that is denied; `path_exists` `DescribeSecret`, for names only, since there are no paths, or
    `GetSecretValue` if that is denied; `describe` `ListSecrets`, which may be minutes behind;
    `history` `ListSecretVersionIds`; `restore` `RestoreSecret`.

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
        max_age: float | None = None,
        raw: bool = False,
        version_id: str | None = None,
        version_stage: str | None = None,
    ) -> Any:
        """Return a secret's value: `GetSecretValue`, or `BatchGetSecretValue` for concurrent calls.

        Args:
            path: the secret's name or ARN.
            keypath: a key, or a sequence of keys, to look up in a JSON value.
            default: returned if there is no such secret, version or key.
            cached: whether a cache may answer.
            max_age: seconds since a cached value was read; older ones do not count.
            raw: whether JSON is returned as the text that is stored.
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
        if _get_running_loop() is None:
            raise not_asyncio(self)
        is_current = version_id is None is version_stage
        if cached and is_current and max_age is None and not raw:  # a hit costs nothing more
            found = self.hit(path, keypath, default)
            if found is not MISSING:
                return found
        key = self._store.key(path, version_id=version_id, version_stage=version_stage)
        options: Any = {"cached": cached, "max_age": max_age, "raw": raw}
        found = self._hit_other(key, keypath, default, **options)
        if found is MISSING:
            found = await self._get(key, keypath, default, **options)
        return found

    def get_local(
        self,
        path: str,
        *,
        keypath: KeyPath = (),
        default: Any = UNSET,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
        version_id: str | None = None,
        version_stage: str | None = None,
    ) -> Any:
        """Return the result of `get` if a local cache has it, otherwise `MISSING`. Never waits."""
        is_current = version_id is None is version_stage
        if cached and is_current and max_age is None and not raw:
            found = self.hit(path, keypath, default)
            if found is not MISSING:
                return found
        key = self._store.key(path, version_id=version_id, version_stage=version_stage)
        return self._hit_other(key, keypath, default, cached=cached, max_age=max_age, raw=raw)

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
        self,
        path: str,
        *,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
        relative: bool = False,
        fail_on_error: bool = True,
    ) -> dict[str, Any]:
        """Return the secrets named `path`, and those under it, by name: `ListSecrets`.

        Args:
            path: the beginning of names, up to a `/`.
            cached: whether a cache may answer.
            max_age: seconds since cached values were read; older ones do not count.
            raw: whether JSON is returned as the text that is stored.
            relative: whether names are returned without the path; that of `path` itself is "".
            fail_on_error: False leaves out secrets that could not be read, and logs their names.

        Raises:
            BatchError: some could not be read; it has the values, and one error per name.
            S1cretsError: any other failure.
        """
        try:
            options: Any = {"cached": cached, "max_age": max_age, "raw": raw}
            return await self._get_by_path(path, relative=relative, **options)
        except BatchError as error:
            if fail_on_error:
                raise
            _log.warning("%s; they are left out: %s", error, ", ".join(error.errors))
            return relative_to(path, error.values) if relative else dict(error.values)

    def get_by_path_local(
        self,
        path: str,
        *,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
        relative: bool = False,
        fail_on_error: bool = True,  # noqa: ARG002  # cached paths are complete
    ) -> Any:
        """Return the result of `get_by_path` if a local cache has it, otherwise `MISSING`."""
        options: Any = {"cached": cached, "max_age": max_age, "raw": raw}
        return super().get_by_path_local(path, relative=relative, **options)

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
        version_stages: Sequence[str] | None = None,
        client_request_token: str | None = None,
    ) -> None:
        """Store a secret, new or existing: `PutSecretValue`, or `CreateSecret` if there is none.

        The arguments are those of `create` and `update`. For an existing secret, `UpdateSecret`
        sets the key and the description, and AWS takes no tags.

        Raises:
            ConfigurationError: a `ValueError`: invalid settings, also for an existing secret;
                nothing was written.
            SecretNotFoundError: a `KeyError`: a secret with this name is scheduled for deletion.
            InvalidValueError: wrong type or too long; nothing was written.
            S1cretsError: any other failure.
        """
        value = redact(value)
        settings: Any = {"kms_key_id": kms_key_id, "description": description, "tags": tags}
        version = {"version_stages": version_stages, "client_request_token": client_request_token}
        await self._write("put", path, value, **settings, **version)

    async def update(
        self,
        path: str,
        value: Any,
        *,
        kms_key_id: str | None = None,
        description: str | None = None,
        version_stages: Sequence[str] | None = None,
        client_request_token: str | None = None,
    ) -> None:
        """Store a new value of an existing secret: `PutSecretValue`, which keeps everything else.

        Args:
            path: the secret's name or ARN.
            value: text, bytes, or a dict or list, which is stored as JSON.
            kms_key_id: another key to encrypt it with; it takes `UpdateSecret`.
            description: another description; it takes `UpdateSecret`.
            version_stages: the stages of the new version; by default `AWSCURRENT`. If the version
                exists already, with the same value, they are moved to it: `DescribeSecret` and
                `UpdateSecretVersionStage`.
            client_request_token: the id of the new version, 32 to 64 characters; by default random.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret; nothing was written.
            SecretExistsError: a `FileExistsError`: the version exists, with another value.
            ConfigurationError: a `ValueError`: invalid settings; nothing was written.
            InvalidValueError: wrong type or too long; nothing was written.
            S1cretsError: any other failure.
        """
        value = redact(value)
        settings: Any = {"kms_key_id": kms_key_id, "description": description}
        version = {"version_stages": version_stages, "client_request_token": client_request_token}
        await self._write("update", path, value, **settings, **version)

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
