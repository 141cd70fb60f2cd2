"""aiohttp: providers in a `cleanup_ctx`, what is read ahead, what clients see of failures."""

from __future__ import annotations

import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from _support.serving import all_closed, fetch, load, not_started, served
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

ps, sm = AsyncParameterStore(), AsyncSecretsManager()
routes = web.RouteTableDef()


class WrongPasswordError(Exception): ...


@ps.refresh_on(WrongPasswordError, path="/prod/db", keypath="password")
async def connect(password: str) -> str:
    with open("password") as database:
        if password != database.read():
            raise WrongPasswordError
    return password


@routes.get("/password")
async def show(request: web.Request) -> web.Response:
    password = await request.app[PARAMETER_STORE].get("/prod/db", keypath="password")
    return web.Response(text=password)


@routes.get("/login")
async def login(request: web.Request) -> web.Response:
    return web.Response(text=await connect())


@routes.post("/rotated")
async def rotated(request: web.Request) -> web.Response:
    await request.app[PARAMETER_STORE].invalidate("/prod/db")
    return web.Response()


app = web.Application()
app.cleanup_ctx.append(secrets({preloads}))
app.add_routes(routes)
web.run_app(app, sock=socket.socket(fileno=int(sys.argv[1])), print=None, access_log=None)
"""


@pytest.fixture(autouse=True)
def aws(s1crets_aws: LoopbackAws) -> LoopbackAws:
    s1crets_aws.seed({"aws.ps": {NAME: DB}, "aws.sm": {"prod/key": VALUE}})
    return s1crets_aws


def asked(aws: LoopbackAws) -> list[str]:
    return [one.operation for one in aws.requests]


async def show(request: web.Request) -> web.Response:
    """Answer with a secret of each provider, as a handler of users' reads it."""
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
    """Providers are there with the app; what was opened is closed with it."""

    async def test_a_handler_finds_them_in_the_app(
        self, aws: LoopbackAws, ps: AsyncParameterStore, sm: AsyncSecretsManager
    ) -> None:
        """By typed keys; and what is not read ahead is read when it is wanted, once."""
        async with client_of(app_with(ps, sm)) as client:
            assert asked(aws) == []
            for _ in range(2):
                async with client.get("/") as answer:
                    assert await answer.json() == [DB, VALUE]
        assert asked(aws) == ["GetParameter", "GetSecretValue"]

    async def test_in_an_app_that_was_added_to_another(self, ps: AsyncParameterStore) -> None:
        """By `request.config_dict`, as everything of the outer app."""
        inner = web.Application()
        inner.router.add_get("/", show)
        outer = app_with("aws.sm", ps)
        outer.add_subapp("/v1", inner)
        async with client_of(outer) as client, client.get("/v1/") as answer:
            assert await answer.json() == [DB, VALUE]

    async def test_the_first_of_a_kind_has_the_key(self, ps: AsyncParameterStore) -> None:
        """Others are opened and closed with the app, and used by the names that they have."""
        app = app_with(ps, AsyncParameterStore())
        async with client_of(app):
            assert app[PARAMETER_STORE] is ps
            assert SECRETS_MANAGER not in app

    async def test_other_stores_have_no_key(self, tmp_path: Path) -> None:
        """They are read ahead, opened and closed all the same."""
        (tmp_path / "token").write_text("fake")
        app = app_with(Preload(AsyncFiles(folder=tmp_path), names=["token"]))
        async with client_of(app):
            assert PARAMETER_STORE not in app
            assert SECRETS_MANAGER not in app

    async def test_the_processes_own(self, aws: LoopbackAws) -> None:
        """By their names, so that `s1crets.aio` finds what was read ahead."""
        async with client_of(app_with(Preload("aws.ps", names=[NAME]), "aws.sm")):
            assert await s1crets.aio.get("aws.ps", NAME) == DB
            assert asked(aws) == ["GetParameter"]

    async def test_what_is_preloaded_needs_no_request_later(
        self, aws: LoopbackAws, ps: AsyncParameterStore, sm: AsyncSecretsManager
    ) -> None:
        """Paths fill the cache for each name below."""
        app = app_with(Preload(ps, paths=["/prod"]), Preload(sm, names=["prod/key"]))
        async with client_of(app) as client:
            before = asked(aws)
            async with client.get("/") as answer:
                assert await answer.json() == [DB, VALUE]
            assert asked(aws) == before
        assert sorted(before) == ["GetParametersByPath", "GetSecretValue"]

    async def test_they_are_closed_with_the_app(self, scripted: Wire) -> None:
        """Their connections are, while the providers themselves live on."""
        scripted.answers["GetParameter"] = parameter(NAME, VALUE)
        ps = AsyncParameterStore()
        async with client_of(app_with(Preload(ps, names=[NAME]))):
            assert scripted.open_connections == 1

        assert await all_closed(scripted)
        assert ps.peek(NAME) == VALUE

    async def test_beside_contexts_of_ones_own(self, ps: AsyncParameterStore) -> None:
        """A later one can use what is there, and ends first."""

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


class TestFailures:
    """What is missing at the start, and what can't be read later."""

    async def test_the_app_does_not_start(
        self, aws: LoopbackAws, ps: AsyncParameterStore, sm: AsyncSecretsManager
    ) -> None:
        """One error names all that is missing or denied, of all providers."""
        aws.deny("secretsmanager:*", "prod/key")
        app = app_with(
            Preload(ps, names=["/none", NAME], paths=["/empty"]), Preload(sm, names=["prod/key"])
        )
        with pytest.raises(s1crets.BatchError) as caught:
            await web.AppRunner(app).setup()

        assert list(caught.value.errors) == ["/none", "/empty", "prod/key"]
        assert [f"'{name}'" in str(caught.value) for name in caught.value.errors] == [True] * 3

    def test_the_server_exits(self, tmp_path: Any) -> None:
        """`run_app` ends with that error; no value is in what is printed."""
        preloads = 'Preload(ps, names=["/none", "/prod/db"]), Preload(sm, names=["absent"])'
        code, said = not_started(tmp_path, PROGRAM.replace("{preloads}", preloads))

        assert code == 1
        assert "'/none'" in said
        assert "'absent'" in said
        assert VALUE not in said

    async def test_a_client_sees_no_more_than_that_it_fails(
        self, aws: LoopbackAws, sm: AsyncSecretsManager, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Aiohttp answers 500 to what a handler does not catch, and logs it."""
        aws.down()
        app = app_with(sm, AsyncParameterStore(retry=1))
        async with client_of(app) as client, client.get("/") as answer:
            assert (answer.status, answer.reason) == (500, "Internal Server Error")
            assert NAME not in await answer.text()
        assert [type(one.exc_info[1]) for one in caplog.records if one.exc_info] == [
            s1crets.UnavailableError
        ]


class TestUnderLoad:
    """Served by aiohttp in a process of its own, while another process sends requests."""

    @pytest.fixture
    def program(self, tmp_path: Any) -> str:
        (tmp_path / "password").write_text(VALUE)
        return PROGRAM.replace("{preloads}", 'Preload(ps, names=["/prod/db"]), sm')

    @pytest.mark.parametrize("way", ["password", "login"])
    def test_a_rotation(self, aws: LoopbackAws, tmp_path: Any, program: str, way: str) -> None:
        """The app is told of it, or a login that is refused tells.

        No request fails, none that is sent after it gets the old value, and one request to AWS is
        enough for all.
        """
        with served(tmp_path, program) as url, load(f"{url}/{way}") as clients:
            aws.seed({"aws.ps": {NAME: {**DB, "password": "fake-new"}}})
            (tmp_path / "new").write_text("fake-new")
            (tmp_path / "new").rename(tmp_path / "password")
            if way == "password":
                fetch(f"{url}/rotated", data=b"")
            before, after = clients.finish()

        assert set(before) - {"200 fake-new"} == {f"200 {VALUE}"}
        assert set(after) == {"200 fake-new"}
        assert asked(aws) == ["GetParameter"] * 2


def test_it_is_imported_by_those_who_serve_only() -> None:
    """Not by a plain `import s1crets`; and not FastAPI by this."""
    import sys

    script = """
import sys, s1crets
assert "aiohttp" not in sys.modules
import s1crets.integrations.aiohttp
assert "fastapi" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
