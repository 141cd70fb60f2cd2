"""aiohttp: providers in a `cleanup_ctx`, preloads, and what clients see of failures."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from _support.serving import all_closed, answers_around, fetch, not_started, served
from _support.wire import Wire, parameter
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import s1crets
from s1crets.integrations.aiohttp import PARAMETER_STORE, SECRETS_MANAGER, Preload, secrets
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager
from s1crets.providers.files import AsyncFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from s1crets.testing import LoopbackAws

NAME, VALUE = "/prod/db", "canary-91f7"
DB = {"user": "fake-user", "password": VALUE}
PROGRAM = """
import socket, sys

from aiohttp import web

from s1crets.integrations.aiohttp import PARAMETER_STORE, Preload, secrets
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager


async def show(request: web.Request) -> web.Response:
    return web.Response(text=await request.app[PARAMETER_STORE].get("/prod/db", keypath="password"))


app = web.Application()
preload = Preload(AsyncParameterStore(), names={names})
app.cleanup_ctx.append(secrets(preload, Preload(AsyncSecretsManager(), names=["prod/key"])))
app.router.add_get("/", show)
web.run_app(app, sock=socket.socket(fileno=int(sys.argv[1])), print=None, access_log=None)
"""


@pytest.fixture(autouse=True)
def aws(s1crets_aws: LoopbackAws) -> LoopbackAws:
    s1crets_aws.seed({"aws.ps": {NAME: DB}, "aws.sm": {"prod/key": VALUE}})
    return s1crets_aws


def operations(aws: LoopbackAws) -> list[str]:
    return [request.operation for request in aws.requests]


async def show(request: web.Request) -> web.Response:
    """Answer with a secret from each provider, read as in a user's handler."""
    db = await request.config_dict[PARAMETER_STORE].get(NAME)
    key = await request.config_dict[SECRETS_MANAGER].get("prod/key")
    return web.json_response([db, key])


def app_with(*providers: Any) -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(secrets(*providers))
    app.router.add_get("/", show)
    return app


@asynccontextmanager
async def client_of(app: web.Application) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(app)) as client:
        yield client


class TestApp:
    """Providers are opened and closed with the app."""

    async def test_a_handler_finds_providers_in_the_app(
        self, aws: LoopbackAws, ps: AsyncParameterStore, sm: AsyncSecretsManager
    ) -> None:
        """By typed keys. Secrets that are not preloaded are read on first use, once."""
        async with client_of(app_with(ps, sm)) as client:
            assert operations(aws) == []
            for _ in range(2):
                async with client.get("/") as answer:
                    assert await answer.json() == [DB, VALUE]
        assert operations(aws) == ["GetParameter", "GetSecretValue"]

    async def test_a_sub_app_finds_the_providers_of_the_outer_app(
        self, ps: AsyncParameterStore
    ) -> None:
        """By `request.config_dict`, like everything else in the outer app."""
        inner = web.Application()
        inner.router.add_get("/", show)
        outer = app_with("aws.sm", ps)
        outer.add_subapp("/v1", inner)
        async with client_of(outer) as client, client.get("/v1/") as answer:
            assert await answer.json() == [DB, VALUE]

    async def test_the_key_belongs_to_the_first_of_a_kind(self, ps: AsyncParameterStore) -> None:
        """Others are only opened and closed with the app."""
        app = app_with(ps, AsyncParameterStore())
        async with client_of(app):
            assert app[PARAMETER_STORE] is ps
            assert SECRETS_MANAGER not in app

    async def test_other_services_have_no_key(self, tmp_path: Path) -> None:
        """They are preloaded, opened and closed nevertheless."""
        (tmp_path / "token").write_text("fake")
        files = AsyncFiles(folder=tmp_path, cache_args={"cache_ttl": 60})
        app = app_with(Preload(files, names=["token"]))
        async with client_of(app):
            assert PARAMETER_STORE not in app
            assert SECRETS_MANAGER not in app
            assert files.peek("token") == "fake"

    async def test_a_name_means_the_process_wide_provider(self, aws: LoopbackAws) -> None:
        """So `s1crets.aio` finds preloaded secrets."""
        async with client_of(app_with(Preload("aws.ps", names=[NAME]), "aws.sm")):
            assert await s1crets.aio.get("aws.ps", NAME) == DB
            assert operations(aws) == ["GetParameter"]

    async def test_connections_are_closed_with_the_app(self, scripted: Wire) -> None:
        """The provider itself remains usable."""
        scripted.answers["GetParameter"] = parameter(NAME, VALUE)
        ps = AsyncParameterStore()
        async with client_of(app_with(Preload(ps, names=[NAME]))):
            assert scripted.open_connections == 1

        assert await all_closed(scripted)
        assert ps.peek(NAME) == VALUE

    async def test_a_later_context_can_use_the_providers(self, ps: AsyncParameterStore) -> None:
        """It ends before they are closed."""

        async def own(app: web.Application) -> AsyncIterator[None]:
            seen.append(await app[PARAMETER_STORE].get(NAME, keypath="user"))
            yield
            seen.append(app[PARAMETER_STORE].peek(NAME, keypath="password"))

        seen: list[str] = []
        app = app_with(ps)
        app.cleanup_ctx.append(own)
        async with client_of(app):
            pass
        assert seen == ["fake-user", VALUE]

    async def test_an_invalidation_while_requests_are_served(
        self, aws: LoopbackAws, ps: AsyncParameterStore, sm: AsyncSecretsManager
    ) -> None:
        """No request fails, none sent later gets the old value, and a single read is enough."""

        async def send() -> Any:
            async with client.get("/") as answer:
                return answer.status, (await answer.json())[0]["password"]

        async def rotate() -> None:
            aws.seed({"aws.ps": {NAME: {**DB, "password": "fake-new"}}})
            await ps.invalidate(NAME)

        preloads = Preload(ps, names=[NAME]), Preload(sm, names=["prod/key"])
        async with client_of(app_with(*preloads)) as client:
            assert sorted(operations(aws)) == ["GetParameter", "GetSecretValue"]
            before, after = await answers_around(rotate, send)

        assert set(before) - {(200, "fake-new")} == {(200, VALUE)}
        assert set(after) == {(200, "fake-new")}
        assert operations(aws)[2:] == ["GetParameter"]


class TestFailures:
    """Secrets that are missing at startup, or can't be read later."""

    async def test_the_app_does_not_start(
        self, aws: LoopbackAws, ps: AsyncParameterStore, sm: AsyncSecretsManager
    ) -> None:
        """A single error names everything that is missing or denied, of all providers."""
        aws.deny("secretsmanager:*", "prod/key")
        app = app_with(
            Preload(ps, names=["/none", NAME], paths=["/empty"]), Preload(sm, names=["prod/key"])
        )
        with pytest.raises(s1crets.BatchError) as caught:
            await web.AppRunner(app).setup()

        assert list(caught.value.errors) == ["/none", "/empty", "prod/key"]
        assert [f"'{name}'" in str(caught.value) for name in caught.value.errors] == [True] * 3

    async def test_a_client_sees_no_details(
        self, aws: LoopbackAws, sm: AsyncSecretsManager, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Aiohttp answers an uncaught error with a 500, and logs it."""
        aws.down()
        app = app_with(sm, AsyncParameterStore(retry=1))
        async with client_of(app) as client, client.get("/") as answer:
            assert (answer.status, answer.reason) == (500, "Internal Server Error")
            assert NAME not in await answer.text()
        assert [type(one.exc_info[1]) for one in caplog.records if one.exc_info] == [
            s1crets.UnavailableError
        ]


class TestProcess:
    """`run_app` in a process of its own."""

    def test_it_serves_until_a_signal(self, tmp_path: Path) -> None:
        """Then it stops, and nothing that is still open is reported."""
        with served(tmp_path, PROGRAM.replace("{names}", "['/prod/db']")) as url:
            assert fetch(url) == VALUE

    def test_it_exits_if_a_secret_is_missing(self, tmp_path: Path) -> None:
        """The output contains the error, and no value."""
        program = PROGRAM.replace("{names}", "['/none', '/prod/db']")
        code, output = not_started(tmp_path, program)

        assert code == 1
        assert "'/none'" in output
        assert VALUE not in output
