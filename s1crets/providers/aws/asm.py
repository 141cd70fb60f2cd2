"""The requests to Secrets Manager, and what of their answers is believed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from s1crets.cache.entry import CachedValue
from s1crets.providers.aws.answers import listed, malformed, named, tokens_differ
from s1crets.providers.aws.entries import is_below, of_secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from s1crets._redaction import Redacted
    from s1crets.errors import S1cretsError
    from s1crets.providers.aws.client import Clients
    from s1crets.providers.aws.entries import Entry

BATCH = 20  # names that BatchGetSecretValue takes


class Asm:
    """Secrets Manager's operations, each with its answer checked.

    Every method raises an `S1cretsError` for what AWS refuses, and `BadResponseError` for an
    answer that is not what the API promises.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def get(self, name: str, version: Mapping[str, str]) -> CachedValue:
        """Return a secret: `GetSecretValue`."""

        async def work(client: Any) -> CachedValue:
            answer = await client.get_secret_value(SecretId=name, **version)
            return _held(answer)

        return await self._clients.run("GetSecretValue", name, work)

    async def get_many(self, names: Sequence[str]) -> dict[str, CachedValue | S1cretsError]:
        """Return the current values of some secrets, or an error each: `BatchGetSecretValue`.

        Args:
            names: twenty at most, different ones. What the answer leaves out, this does too.
        """
        operation = "BatchGetSecretValue"

        async def work(client: Any) -> dict[str, CachedValue | S1cretsError]:
            answer = await client.batch_get_secret_value(SecretIdList=list(names))
            found: dict[str, CachedValue | S1cretsError] = {}
            for one in listed(answer, "SecretValues"):
                found[str(one.get("Name"))] = found[str(one.get("ARN"))] = _held(one)
            for one in answer.get("Errors") or []:
                name, code = str(one.get("SecretId")), str(one.get("ErrorCode"))
                words = str(one.get("Message", ""))
                found[name] = self._clients.refused(client, operation, name, code, words)
            return {name: found[name] for name in names if name in found}

        return await self._clients.run(operation, names[0], work, names=names)

    async def names_below(self, path: str) -> list[str]:
        """Return the names that are `path` or begin with `path/`: `ListSecrets`."""
        return [entry.name for entry in await self.entries(path)]

    async def entries(self, path: str) -> list[Entry]:
        """Return what AWS shows of all secrets below a path: `ListSecrets`."""
        # The filter is a bare prefix, so `foo` finds `foobar`; a leading `!` would negate it.
        filters = [{"Key": "name", "Values": [path]}] if path and path[0] != "!" else []

        async def work(client: Any) -> list[Entry]:
            pages = client.get_paginator("list_secrets").paginate(Filters=filters)
            return [
                of_secret(one)
                async for page in tokens_differ(pages)
                for one in named(page, "SecretList")
                if is_below(one["Name"], path)
            ]

        return await self._clients.run("ListSecrets", path, work)

    async def exists(self, name: str) -> bool:
        """Say whether a secret, which is there, is not scheduled for deletion: `DescribeSecret`."""

        async def work(client: Any) -> bool:
            answer = await client.describe_secret(SecretId=name)
            if not isinstance(answer.get("Name"), str):
                raise malformed()
            return "DeletedDate" not in answer

        return await self._clients.run("DescribeSecret", name, work)

    async def put(self, name: str, raw: Redacted) -> None:
        """Store a new text or new bytes: `PutSecretValue`."""

        async def work(client: Any) -> None:
            answer = await client.put_secret_value(SecretId=name, **_revealed(raw))
            _check_version(answer)

        await self._clients.run("PutSecretValue", name, work, writes=True)

    async def change(self, name: str, raw: Redacted, settings: Mapping[str, Any]) -> None:
        """Store a new text or new bytes, and settings: `UpdateSecret`."""

        async def work(client: Any) -> None:
            answer = await client.update_secret(SecretId=name, **_revealed(raw), **settings)
            _check_version(answer)

        await self._clients.run("UpdateSecret", name, work, writes=True)

    async def create(self, name: str, raw: Redacted, settings: Mapping[str, Any]) -> None:
        """Make a secret: `CreateSecret`."""

        async def work(client: Any) -> None:
            answer = await client.create_secret(Name=name, **_revealed(raw), **settings)
            _check_version(answer)

        await self._clients.run("CreateSecret", name, work, writes=True)

    async def delete(self, name: str, how: Mapping[str, Any]) -> None:
        """Schedule a secret for deletion, or delete it: `DeleteSecret`."""

        async def work(client: Any) -> None:
            await client.delete_secret(SecretId=name, **how)

        await self._clients.run("DeleteSecret", name, work)


def _revealed(raw: Redacted) -> dict[str, str | bytes]:
    field = "SecretBinary" if isinstance(raw.reveal(), bytes) else "SecretString"
    return {field: raw.reveal()}


def _check_version(answer: Any) -> None:
    if not isinstance(answer.get("VersionId"), str):
        raise malformed()


def _held(answer: Any) -> CachedValue:
    """Return the text or the bytes of a secret in an answer.

    Versions of secrets have no numbers, so when one was created stands for that.
    """
    created = answer.get("CreatedDate")
    version = created.timestamp() if isinstance(created, datetime) else 0.0
    for field, kind in (("SecretString", str), ("SecretBinary", bytes)):
        if isinstance(answer.get(field), kind):
            return CachedValue(answer[field], version)
    raise malformed()
