"""The requests to Parameter Store, and what of their answers is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s1crets.cache.entry import CachedValue
from s1crets.providers.aws.answers import listed, malformed, named, tokens_differ
from s1crets.providers.aws.entries import is_below, of_parameter
from s1crets.providers.aws.rewriting import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from s1crets._redaction import Redacted
    from s1crets.errors import S1cretsError
    from s1crets.providers.aws.client import Clients
    from s1crets.providers.aws.entries import Entry

BATCH = 10  # names that GetParameters takes


class Ssm:
    """Parameter Store's operations, each with its answer checked.

    Every method raises an `S1cretsError` for what AWS refuses, and `BadResponseError` for an
    answer that is not what the API promises.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def get(self, name: str, *, decrypt: bool) -> CachedValue:
        """Return a parameter: `GetParameter`."""

        async def work(client: Any) -> CachedValue:
            answer = await client.get_parameter(Name=name, WithDecryption=decrypt)
            return _held(answer.get("Parameter"))

        return await self._clients.run("GetParameter", name, work)

    async def get_many(
        self, names: Sequence[str], *, decrypt: bool, selected: bool
    ) -> dict[str, CachedValue | S1cretsError]:
        """Return some parameters, and errors for those not there: `GetParameters`.

        Args:
            names: ten at most, different ones.
            decrypt: whether SecureStrings are decrypted.
            selected: whether all names have a selector or are ARNs. AWS answers with the
                parameter's own name, so these are found by that and the selector. What can't be
                told is left out.
        """

        async def work(client: Any) -> dict[str, CachedValue | S1cretsError]:
            answer = await client.get_parameters(Names=list(names), WithDecryption=decrypt)
            found: dict[str, CachedValue | S1cretsError] = {}
            for one in listed(answer, "Parameters"):
                held = _held(one)
                if selected:
                    selector = str(one.get("Selector") or "")
                    found[one["Name"] + selector] = found[f"{one.get('ARN')}{selector}"] = held
                else:
                    found[one["Name"]] = held
            for name in [] if selected else answer.get("InvalidParameters") or []:
                found[name] = self._clients.refused(
                    client, "GetParameters", name, "ParameterNotFound"
                )
            return {name: found[name] for name in names if name in found}

        return await self._clients.run("GetParameters", names[0], work, names=names)

    async def get_by_path(
        self, path: str, *, decrypt: bool, recursive: bool
    ) -> dict[str, CachedValue]:
        """Return all parameters below a path, by name: `GetParametersByPath`."""

        async def work(client: Any) -> dict[str, CachedValue]:
            return {
                one["Name"]: _held(one)
                async for page in self._below(client, path, decrypt=decrypt, recursive=recursive)
                for one in page
            }

        return await self._clients.run("GetParametersByPath", path, work)

    async def is_path(self, path: str) -> bool:
        """Say whether there is anything below a path: `GetParametersByPath`, up to the first."""

        async def work(client: Any) -> bool:
            async for page in self._below(client, path, decrypt=False, recursive=True):
                if page:
                    return True
            return False

        return await self._clients.run("GetParametersByPath", path, work)

    async def _below(
        self, client: Any, path: str, *, decrypt: bool, recursive: bool
    ) -> AsyncIterator[list[dict[str, Any]]]:
        pages = client.get_paginator("get_parameters_by_path").paginate(
            Path=path, WithDecryption=decrypt, Recursive=recursive
        )
        async for page in tokens_differ(pages):
            found = listed(page, "Parameters")
            for one in found:
                _held(one)
            yield found

    async def describe(self, name: str) -> dict[str, Any] | None:
        """Return what AWS shows of exactly this parameter, or None: `DescribeParameters`."""

        async def work(client: Any) -> dict[str, Any] | None:
            pages = client.get_paginator("describe_parameters").paginate(
                ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": [name]}]
            )
            async for page in tokens_differ(pages):
                for described in named(page, "Parameters"):
                    if described["Name"] == name:
                        return _kept(described)
            return None

        return await self._clients.run("DescribeParameters", name, work)

    async def entries(self, path: str) -> list[Entry]:
        """Return what AWS shows of all parameters below a path: `DescribeParameters`."""
        below = [{"Key": "Name", "Option": "BeginsWith", "Values": [path]}] if path else []

        async def work(client: Any) -> list[Entry]:
            pages = client.get_paginator("describe_parameters").paginate(ParameterFilters=below)
            return [
                of_parameter(described)
                async for page in tokens_differ(pages)
                for described in named(page, "Parameters")
                if is_below(described["Name"], path)
            ]

        return await self._clients.run("DescribeParameters", path, work)

    async def put(
        self, name: str, raw: Redacted, settings: Mapping[str, Any], *, overwrite: bool
    ) -> None:
        """Store a text, with all attributes that the parameter is to have: `PutParameter`."""

        async def work(client: Any) -> None:
            answer = await client.put_parameter(
                Name=name, Value=raw.reveal(), Overwrite=overwrite, **settings
            )
            if not isinstance(answer.get("Version"), int):
                raise malformed()

        await self._clients.run("PutParameter", name, work, writes=True)

    async def delete(self, name: str) -> None:
        """Delete a parameter: `DeleteParameter`."""

        async def work(client: Any) -> None:
            await client.delete_parameter(Name=name)

        await self._clients.run("DeleteParameter", name, work)


def _kept(described: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a parameter, which an update sends again, if all are texts."""
    texts = [described.get(name) or "" for name in ATTRIBUTES]
    policies = described.get("Policies") or []
    try:
        texts += [policy["PolicyText"] for policy in policies]
    except (KeyError, TypeError):
        raise malformed() from None
    if not all(isinstance(text, str) for text in texts):
        raise malformed()
    return described


def _held(parameter: Any) -> CachedValue:
    """Return the text and the version of a parameter in an answer."""
    if isinstance(parameter, dict) and isinstance(parameter.get("Name"), str):
        version = parameter.get("Version")
        if isinstance(parameter.get("Value"), str):
            return CachedValue(
                parameter["Value"], float(version) if isinstance(version, int) else 0.0
            )
    raise malformed()
