"""A new AWS service takes a class for its store, a class for its provider, and one row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Asked, Wire, refusal

import s1crets
from s1crets.cache.entry import Fetched
from s1crets.providers.aws import AsyncSecretsManager
from s1crets.providers.aws._responses import malformed
from s1crets.providers.aws._services import Service
from s1crets.providers.aws._store import AwsProvider, AwsStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DYNAMODB = Service(name="dynamodb", title="DynamoDB", iam_prefix="dynamodb")


class Table(AwsStore):
    """Secrets in a table of DynamoDB."""

    row = DYNAMODB

    async def fetch_one(self, name: str, group: Any) -> Fetched:  # noqa: ARG002
        key = {"TableName": "secrets", "Key": {"name": {"S": name}}}
        return await self.clients.call("GetItem", name, self.parse, key)

    def parse(self, answer: Any) -> Fetched:
        if "Item" not in answer:
            raise s1crets.SecretNotFoundError("there is no such item")
        value = answer["Item"].get("value", {}).get("S")
        if not isinstance(value, str):
            raise malformed()
        return Fetched(value)


class AsyncTable(AwsProvider):
    """Reads secrets from a table of DynamoDB."""

    service = DYNAMODB.title
    _store_type = Table


ITEMS = {"a": '{"user": "u"}', "b": "fake-b"}


@pytest.fixture
async def table(scripted: Wire, anyio_backend: object) -> AsyncIterator[AsyncTable]:
    def answer(asked: Asked) -> Any:
        name = asked.body["Key"]["name"]["S"]
        return {"Item": {"value": {"S": ITEMS[name]}}} if name in ITEMS else {}

    scripted.answers["GetItem"] = answer
    async with AsyncTable() as provider:
        yield provider


async def test_it_reads_through_the_cache(table: AsyncTable) -> None:
    """Values, keys in them, batches, and whether there is a secret."""
    assert await table.get("a", keypath="user") == "u"
    assert await table.get("a") == {"user": "u"}
    assert await table.get_many(["a", "b"]) == {"a": {"user": "u"}, "b": "fake-b"}
    assert table.peek("b") == "fake-b"
    assert table.stats.requests == {"GetItem": 2}
    assert await table.path_exists("a")
    assert not await table.path_exists("c")
    await table.invalidate("a")
    assert (table.peek("a"), table.peek("b")) == (None, "fake-b")


async def test_without_a_batch_operation_names_are_requested_singly(scripted: Wire) -> None:
    """Also if the row says that there is one."""

    class Batched(Table):
        row = replace(DYNAMODB, batch_size=10)

    class AsyncBatched(AsyncTable):
        _store_type = Batched

    scripted.answers["GetItem"] = {"Item": {"value": {"S": "fake"}}}
    async with AsyncBatched() as table:
        assert await table.get_many(["a", "b"]) == {"a": "fake", "b": "fake"}
        assert table.stats.requests == {"GetItem": 2}


async def test_errors_are_its_own(table: AsyncTable, scripted: Wire) -> None:
    """The IAM action comes from its row; a malformed response is never a value."""
    with pytest.raises(KeyError):
        await table.get("c")
    scripted.answers["GetItem"] = [refusal("AccessDeniedException"), {"Item": {}}]
    with pytest.raises(s1crets.AccessDeniedError, match=r"DynamoDB \(eu-west-1\)") as caught:
        await table.get("c")
    assert caught.value.action == "dynamodb:GetItem"
    with pytest.raises(s1crets.BadResponseError):
        await table.get("c")


async def test_methods_that_it_lacks(table: AsyncTable, scripted: Wire) -> None:
    """Errors say so, and nothing is sent."""
    for call in (
        table.get_by_path("a"),
        table.update("a", "fake"),
        table.create("a", "fake"),
        table.delete("a"),
        table.describe(),
    ):
        with pytest.raises(s1crets.ConfigurationError, match=r"DynamoDB: .* is not supported"):
            await call
    assert scripted.asked == []


async def test_a_refused_secret_is_dropped(table: AsyncTable, scripted: Wire) -> None:
    """No value is served to a caller who may not read it any more."""
    assert await table.get("b") == "fake-b"
    scripted.answers["GetItem"] = refusal("AccessDeniedException")
    with pytest.raises(PermissionError):
        await table.get("b", cached=False)
    assert table.peek("b") is None


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
async def test_entries_on_disk_belong_to_the_service(scripted: Wire, tmp_path: Any) -> None:
    """Another service with the same names, in the same folders, has its own."""
    args: Any = {
        "cache_on_disk": True,
        "key_cache_dir": tmp_path / "keys",
        "path_cache_dir": tmp_path / "paths",
        "namespace": "mine",
    }
    scripted.answers["GetItem"] = {"Item": {"value": {"S": "fake-item"}}}
    scripted.answers["GetSecretValue"] = {"SecretString": "fake-secret"}
    for _ in ("cold", "warm"):
        async with AsyncTable(cache_args=args) as table:
            assert await table.get("a") == "fake-item"
        async with AsyncSecretsManager(cache_args=args) as sm:
            assert await sm.get("a") == "fake-secret"
    assert [asked.operation for asked in scripted.asked] == ["GetItem", "GetSecretValue"]
