"""A new AWS service takes a class for its store, a class for its provider, and one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Wire, refusal

import s1crets
from s1crets.cache.entry import Fetched
from s1crets.providers.aws import AsyncSecretsManager
from s1crets.providers.aws._errors import malformed
from s1crets.providers.aws._services import Service
from s1crets.providers.aws._store import AwsProvider, AwsStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

API_GATEWAY = Service(name="apigateway", title="API Gateway", iam_prefix="apigateway")


class ApiKeyStore(AwsStore):
    """The API keys of API Gateway."""

    row = API_GATEWAY

    async def fetch_one(self, name: str, group: Any) -> Fetched:  # noqa: ARG002
        arguments = {"apiKey": name, "includeValue": True}
        return await self.clients.call("GetApiKey", name, self.parse, arguments)

    def parse(self, answer: Any) -> Fetched:
        if not isinstance(answer.get("value"), str):
            raise malformed()
        return Fetched(answer["value"])


class AsyncApiKeys(AwsProvider):
    """Reads API keys of API Gateway."""

    service = API_GATEWAY.title
    _store_type = ApiKeyStore


def script(scripted: Wire, name: str, answer: Any) -> None:
    """Let the server answer `GetApiKey` of one name."""
    scripted.answers[f"GET /apikeys/{name}?includeValue=true"] = answer


@pytest.fixture
async def keys(scripted: Wire, anyio_backend: object) -> AsyncIterator[AsyncApiKeys]:
    script(scripted, "a", {"value": '{"user": "u"}'})
    script(scripted, "b", {"value": "fake-b"})
    script(scripted, "c", refusal("ResourceNotFoundException", status=404))
    async with AsyncApiKeys() as provider:
        yield provider


async def test_it_reads_through_the_cache(keys: AsyncApiKeys) -> None:
    """Values, keys in them, batches, and whether there is a secret."""
    assert await keys.get("a", keypath="user") == "u"
    assert await keys.get("a") == {"user": "u"}
    assert await keys.get_many(["a", "b"]) == {"a": {"user": "u"}, "b": "fake-b"}
    assert keys.peek("b") == "fake-b"
    assert keys.stats.requests == {"GetApiKey": 2}
    assert await keys.path_exists("a")
    assert not await keys.path_exists("c")
    await keys.invalidate("a")
    assert (keys.peek("a"), keys.peek("b")) == (None, "fake-b")


async def test_without_a_batch_operation_names_are_requested_singly(scripted: Wire) -> None:
    """Also if the row says that there is one."""

    class Batched(ApiKeyStore):
        row = API_GATEWAY._replace(batch_size=10)

    class AsyncBatched(AsyncApiKeys):
        _store_type = Batched

    for name in ("a", "b"):
        script(scripted, name, {"value": "fake"})
    async with AsyncBatched() as keys:
        assert await keys.get_many(["a", "b"]) == {"a": "fake", "b": "fake"}
        assert keys.stats.requests == {"GetApiKey": 2}


async def test_errors_are_its_own(keys: AsyncApiKeys, scripted: Wire) -> None:
    """The IAM action comes from its row; a malformed response is never a value."""
    with pytest.raises(KeyError):
        await keys.get("c")
    script(scripted, "c", [refusal("AccessDeniedException", status=403), {"value": 5}])
    with pytest.raises(s1crets.AccessDeniedError, match=r"API Gateway \(eu-west-1\)") as caught:
        await keys.get("c")
    assert caught.value.action == "apigateway:GetApiKey"
    with pytest.raises(s1crets.BadResponseError):
        await keys.get("c")


async def test_methods_that_it_lacks(keys: AsyncApiKeys, scripted: Wire) -> None:
    """Errors say so, and nothing is sent."""
    for call in (
        keys.get_by_path("a"),
        keys.update("a", "fake"),
        keys.create("a", "fake"),
        keys.delete("a"),
        keys.describe(),
    ):
        with pytest.raises(s1crets.ConfigurationError, match=r"API Gateway: .* is not supported"):
            await call
    for verb in (keys.history, keys.restore):
        with pytest.raises(TypeError, match=r"API Gateway: .* is not supported \('a'\)"):
            await verb("a")
    assert scripted.asked == []


async def test_a_refused_secret_is_dropped(keys: AsyncApiKeys, scripted: Wire) -> None:
    """No value is served to a caller who may not read it any more."""
    assert await keys.get("b") == "fake-b"
    script(scripted, "b", refusal("AccessDeniedException", status=403))
    with pytest.raises(PermissionError):
        await keys.get("b", cached=False)
    assert keys.peek("b") is None


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
async def test_entries_on_disk_belong_to_the_service(scripted: Wire, tmp_path: Any) -> None:
    """Another service with the same names, in the same folders, has its own."""
    args: Any = {
        "cache_on_disk": True,
        "key_cache_dir": tmp_path / "keys",
        "path_cache_dir": tmp_path / "paths",
        "namespace": "mine",
    }
    script(scripted, "a", {"value": "fake-key"})
    scripted.answers["GetSecretValue"] = {"SecretString": "fake-secret"}
    for _ in ("cold", "warm"):
        async with AsyncApiKeys(cache_args=args) as keys:
            assert await keys.get("a") == "fake-key"
        async with AsyncSecretsManager(cache_args=args) as sm:
            assert await sm.get("a") == "fake-secret"
    assert len(scripted.asked) == 2
