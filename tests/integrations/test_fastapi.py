"""FastAPI: a lifespan that preloads, secrets as dependencies, and what clients see of failures."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import boto3
import httpx2
import pytest
from _support.serving import all_closed, answers_around, fetch, not_started, served
from _support.wire import Wire, parameter, refusal
from fastapi import Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.routing import APIRouter
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

import s1crets
from s1crets.integrations.fastapi import Preload, Secret, lifespan
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore
from s1crets.providers.files import AsyncFiles
from s1crets.providers.simple import AsyncSimpleProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from s1crets.testing import LoopbackAws

NAME, VALUE = "/prod/db", "canary-5e0c"
DB = {"user": "fake-user", "password": VALUE}
ELSEWHERE = {"region": "us-east-1", "there": "fake-other-region"}
PROGRAM = """
import sys
from typing import Annotated

import uvicorn
from fastapi import FastAPI

from s1crets.integrations.fastapi import Preload, Secret, lifespan
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

preload = Preload(AsyncParameterStore(), names={names})
app = FastAPI(lifespan=lifespan(preload, Preload(AsyncSecretsManager(), names=["prod/key"])))


@app.get("/")
async def show(password: Annotated[str, Secret("/prod/db", keypath="password")]) -> str:
    return password


uvicorn.run(app, fd=int(sys.argv[1]), log_level="warning")
"""


@pytest.fixture(autouse=True)
def aws(s1crets_aws: LoopbackAws) -> LoopbackAws:
    s1crets_aws.seed({"aws.ps": {NAME: DB}, "aws.sm": {"prod/key": VALUE}})
    return s1crets_aws


def operations(aws: LoopbackAws) -> list[str]:
    return [request.operation for request in aws.requests]


secret = partial(Secret, "db", provider="files")


def app_with(*dependencies: Any, lifespan: Any = None) -> FastAPI:
    """Return an app that answers `/0`, `/1` … with the values of its dependencies."""
    app = FastAPI(lifespan=lifespan)
    for number, dependency in enumerate(dependencies):

        async def show(value: Any = dependency) -> Any:
            return value

        app.get(f"/{number}")(show)
    return app


class TestDependency:
    """A `Secret` is a dependency, in every form that FastAPI has."""

    @pytest.fixture(autouse=True)
    def file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Return a file that is a secret: these tests are not about AWS."""
        (tmp_path / "db").write_text(json.dumps(DB))
        monkeypatch.setenv("S1CRETS_FILES", str(tmp_path))
        return tmp_path / "db"

    def test_annotated(self) -> None:
        """The whole secret or a key of it, in async and sync endpoints."""
        app = FastAPI()

        @app.get("/async")
        async def whole(db: Annotated[dict[str, str], secret()]) -> Any:
            return db

        @app.get("/sync")
        def part(password: Annotated[str, secret(keypath="password")]) -> Any:
            return password

        with TestClient(app) as client:
            assert client.get("/async").json() == DB
            assert client.get("/sync").json() == VALUE

    def test_other_forms(self) -> None:
        """`Depends(Secret(…))`, a default value, a list of keys, a dependency of a dependency."""

        async def user(db: Annotated[dict[str, str], secret()]) -> str:
            return db["user"]

        app = app_with(
            Depends(secret()),
            secret(),
            secret(keypath=["password"]),
            Depends(user),
        )
        with TestClient(app) as client:
            answers = [client.get(f"/{number}").json() for number in range(4)]

        assert answers == [DB, DB, VALUE, "fake-user"]

    def test_a_dependency_of_the_app(self) -> None:
        """It applies to all routes."""
        app = FastAPI(dependencies=[Secret("none", provider="files")])
        app.get("/")(lambda: None)
        with TestClient(app) as client:
            assert client.get("/").status_code == 500

    def test_websocket(self, file: Path) -> None:
        """A WebSocket whose secret can't be read is not accepted, with the same answer."""
        app = FastAPI()

        @app.websocket("/{name}")
        async def talk(socket: WebSocket, key: Annotated[str, Depends(secret())]) -> None:
            await socket.accept()
            await socket.send_json(key)
            await socket.close()

        with TestClient(app) as client:
            with client.websocket_connect("/ws") as socket:
                assert socket.receive_json() == DB
            file.unlink()
            with (
                pytest.raises(WebSocketDenialResponse) as denied,
                client.websocket_connect("/ws"),
            ):
                pass
        assert denied.value.status_code == 500
        assert denied.value.json() == {"detail": "Internal Server Error"}

    def test_a_value_belongs_to_its_request(self) -> None:
        """Other requests don't see changes. Equal secrets of a request are the same object."""
        app = FastAPI()
        files = AsyncFiles(cache_args={"cache_ttl": 600})
        first, second = (Depends(Secret("db", provider=files)) for _ in range(2))

        @app.get("/")
        async def change(one: Any = first, same: Any = second) -> Any:
            one.pop("password")
            return same

        with TestClient(app) as client:
            answers = [client.get("/").json() for _ in range(2)]

        assert answers == [{"user": "fake-user"}] * 2
        assert files.stats.requests == {"fetch": 1}

    def test_clients_do_not_see_it(self) -> None:
        """Neither in the schema nor in validation errors."""
        app = FastAPI()

        @app.get("/{number}")
        async def show(number: int, value: Annotated[dict[str, str], secret()]) -> Any:
            return number

        with TestClient(app) as client:
            schema, wrong = client.get("/openapi.json"), client.get("/text?connection=x&name=y")

        parameters = schema.json()["paths"]["/{number}"]["get"]["parameters"]
        assert [one["name"] for one in parameters] == ["number"]
        assert wrong.status_code == 422
        assert [one["loc"] for one in wrong.json()["detail"]] == [["path", "number"]]
        for answer in (schema.text, wrong.text):
            assert VALUE not in answer
            assert "db" not in answer

    def test_a_test_replaces_it(self, aws: LoopbackAws, monkeypatch: pytest.MonkeyPatch) -> None:
        """`dependency_overrides` accepts an equal secret. Neither region nor AWS are needed."""
        for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        app = app_with(
            Secret(NAME, keypath="x"),
            Secret(NAME, keypath=["y", 0]),
            lifespan=lifespan(AsyncParameterStore()),
        )
        app.dependency_overrides[Secret(NAME, keypath=("x",))] = lambda: "fake-x"
        app.dependency_overrides[Secret(NAME, keypath=("y", 0))] = lambda: "fake-y"
        with TestClient(app) as client:
            answers = [client.get(f"/{number}").json() for number in range(2)]

        assert answers == ["fake-x", "fake-y"]
        assert operations(aws) == []

    def test_equality(self) -> None:
        """Secrets with the same arguments are equal."""
        ps = AsyncParameterStore()
        different = [
            Secret(NAME),
            Secret("/other"),
            Secret(NAME, keypath="a"),
            Secret(NAME, keypath=("a", 0)),
            Secret(NAME, provider="aws.sm"),
            Secret(NAME, provider=ps),
            Depends(Secret(NAME)),
        ]
        assert len(set(different)) == len(different)
        assert Secret(NAME, keypath="a", provider=ps) == Secret(NAME, keypath=["a"], provider=ps)
        assert [different.index(one) for one in different] == list(range(len(different)))

    def test_repr(self) -> None:
        """It shows the arguments, but not the reference to itself that `Depends` would show."""
        assert repr(Secret(NAME)) == "Secret('/prod/db')"
        assert (
            repr(Secret("x", keypath="a", provider="aws.sm"))
            == "Secret('x', keypath=('a',), provider='aws.sm')"
        )


class TestProvider:
    """The provider that a `Secret` is read from."""

    @pytest.fixture
    def ps(self) -> AsyncParameterStore:
        """Return a provider for another region, where the secret has another value."""
        boto3.client("ssm", region_name="us-east-1").put_parameter(
            Name=NAME, Value=json.dumps(ELSEWHERE), Type="SecureString"
        )
        return AsyncParameterStore(sts_args={"aws_region": "us-east-1"})

    def test_the_apps_provider(self, ps: AsyncParameterStore) -> None:
        """The first of a kind in the lifespan, also for apps mounted on the app."""
        app = app_with(Secret(NAME), lifespan=lifespan(ps, AsyncParameterStore()))
        app.mount("/static", Response())
        app.mount("/v1", inner := app_with(Secret(NAME)))
        inner.mount("/deep", app_with(Secret(NAME)))
        with TestClient(app) as client:
            answers = [client.get(path).json() for path in ("/0", "/v1/0", "/v1/deep/0")]

        assert answers == [ELSEWHERE] * 3

    def test_the_process_wide_provider(self, aws: LoopbackAws) -> None:
        """If the lifespan has no provider of that kind, or is not ours."""
        wanted = Secret(NAME), Secret("prod/key", provider="aws.sm")
        for app in (app_with(*wanted), app_with(*wanted, lifespan=lifespan(AsyncSecretsManager()))):
            with TestClient(app) as client:
                assert client.get("/0").json() == DB
                assert client.get("/1").json() == VALUE
        assert s1crets.get("aws.ps", NAME) == DB
        assert operations(aws) == ["GetParameter", "GetSecretValue", "GetSecretValue"]

    def test_other_services(self, tmp_path: Path) -> None:
        """A folder of files, and a provider from another package."""

        class AsyncVault(AsyncSimpleProvider):
            service = "a vault"

            async def fetch(self, name: str) -> str:
                return f"fake-{name}"

            async def names(self, path: str) -> list[str]:
                return [path]

        (tmp_path / "token").write_text("fake")
        vault = AsyncVault()
        wanted = Secret("token", provider="files"), Secret("key", provider=vault)
        lives = lifespan(
            Preload(AsyncFiles(folder=tmp_path), names=["token"]), Preload(vault, paths=["key"])
        )
        with TestClient(app_with(*wanted, lifespan=lives)) as client:
            assert client.get("/0").json() == "fake"
            assert client.get("/1").json() == "fake-key"

    def test_the_provider_that_preloads_it(self, aws: LoopbackAws, ps: AsyncParameterStore) -> None:
        """By its name or by a path, of whatever kind; of several providers, the first one."""
        aws.seed({"aws.sm": {"app/token": "fake", "app/db": "fake-sm"}, "aws.ps": {"/app/x": "y"}})
        sm = AsyncSecretsManager()
        wanted = (Secret("app/token"), Secret("app/db"), Secret(NAME), Secret("/app/x"))
        lives = lifespan(
            AsyncParameterStore(),
            Preload(sm, names=["app/db"], paths=["app"]),
            Preload(ps, names=[NAME]),
            Preload("aws.ps", names=[NAME], paths=["/app"]),
        )
        app = app_with(*wanted, lifespan=lives)
        app.mount("/v1", app_with(*wanted))
        for _ in range(2):  # an app may be started again
            with TestClient(app) as client:
                answers = [client.get(f"{at}/{n}").json() for at in ("", "/v1") for n in range(4)]

            assert answers == ["fake", "fake-sm", ELSEWHERE, "y"] * 2

    @pytest.mark.parametrize("names", [["prod/key"], []])
    def test_the_default_is_named_in_errors(
        self, caplog: pytest.LogCaptureFixture, names: list[str]
    ) -> None:
        """Otherwise one would look for the secret in the wrong service."""
        seen: list[BaseException] = []
        lives = lifespan(Preload("aws.sm", names=names))
        app = app_with(Secret("/none"), Secret("/none", provider="aws.ps"), lifespan=lives)

        @app.exception_handler(HTTPException)
        async def handle(_: Request, error: HTTPException) -> Response:
            assert error.__cause__ is not None
            seen.append(error.__cause__)
            return Response(status_code=error.status_code)

        with TestClient(app) as client:
            assert [client.get(f"/{number}").status_code for number in range(2)] == [500, 500]
        note = "no provider of the app preloads '/none', so the default was used: provider='aws.ps'"
        first, second = [one.getMessage() for one in caplog.records if one.name == "s1crets"]

        assert first.endswith(note)
        assert "Parameter Store" in first
        assert seen[0].__notes__ == [note]
        assert note not in second
        assert not hasattr(seen[1], "__notes__")

    def test_an_explicit_provider(self, ps: AsyncParameterStore) -> None:
        """It takes precedence over the app's."""
        app = app_with(Secret(NAME, provider=ps), Secret(NAME), lifespan=lifespan("aws.ps"))
        with TestClient(app) as client:
            assert client.get("/0").json() == ELSEWHERE
            assert client.get("/1").json() == DB
            client.portal.call(ps.aclose)  # type: ignore[union-attr]  # it is there by now


class TestLifespan:
    """Providers are opened and closed with the app."""

    def test_preloaded_secrets_need_no_further_request(self, aws: LoopbackAws) -> None:
        """Names are read in batches of ten; a path fills the cache for every name under it."""
        names = {f"/many/{number:02}": str(number) for number in range(12)}
        below = {"/app/url": "fake-url", "/app/deep/key": "fake-key"}
        aws.seed({"aws.ps": {**names, **below}})
        app = app_with(
            Secret("/many/11"),
            Secret("/app/deep/key"),
            Secret("prod/key", provider="aws.sm"),
            lifespan=lifespan(
                Preload(AsyncParameterStore(), names=list(names), paths={"/app"}),
                Preload("aws.sm", names=["prod/key"]),
            ),
        )
        with TestClient(app) as client:
            before = operations(aws)
            answers = [client.get(f"/{number}").json() for number in range(3)]

        assert answers == ["11", "fake-key", VALUE]
        assert operations(aws) == before
        assert sorted(before) == [
            *["GetParameters"] * 2,
            "GetParametersByPath",
            "GetSecretValue",
        ]

    async def test_inside_your_own_lifespan(self, ps: AsyncParameterStore) -> None:
        """As a context manager; it leaves nothing open on the event loop."""

        @contextlib.asynccontextmanager
        async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
            async with lifespan(Preload(ps, names=[NAME]))(app):
                yield {"password": ps.peek(NAME, keypath="password")}

        app = FastAPI(lifespan=own)
        async with app.router.lifespan_context(app) as state:
            assert state == {"password": VALUE}

    async def test_connections_are_closed_with_the_app(self, scripted: Wire) -> None:
        """The provider itself remains usable."""
        scripted.answers["GetParameter"] = parameter(NAME, VALUE)
        ps = AsyncParameterStore()
        async with lifespan(Preload(ps, names=[NAME]))(FastAPI()):
            assert scripted.open_connections == 1

        assert await all_closed(scripted)
        assert ps.peek(NAME) == VALUE

    def test_a_router_may_have_a_lifespan_too(self, aws: LoopbackAws) -> None:
        """The providers of an app and its routers add up."""
        ps, sm = AsyncParameterStore(), AsyncSecretsManager()
        app = app_with(Secret(NAME), Secret("prod/key", provider="aws.sm"), lifespan=lifespan(ps))
        app.include_router(APIRouter(lifespan=lifespan(Preload(sm, names=["prod/key"]))))
        with TestClient(app) as client:
            assert operations(aws) == ["GetSecretValue"]
            assert client.get("/0").json() == DB
            assert client.get("/1").json() == VALUE
        assert (ps.stats.misses, sm.stats.hits) == (1, 1)

    def test_an_app_may_start_several_times(self) -> None:
        """Each start has its own event loop, as in a user's tests."""
        app = app_with(Secret(NAME), lifespan=lifespan(Preload("aws.ps", names=[NAME])))
        for _ in range(2):
            with TestClient(app) as client:
                assert client.get("/0").json() == DB

    def test_a_server_without_state(self) -> None:
        """Mangum, which runs apps on Lambda, has no lifespan state."""
        app = app_with(Secret(NAME), lifespan=lifespan("aws.ps"))

        async def bare(scope: Any, receive: Any, send: Any) -> None:
            scope.pop("state", None)
            await app(scope, receive, send)

        with TestClient(bare) as client:
            assert client.get("/0").json() == DB


class TestFailedStart:
    """An app does not start if some of its secrets can't be read."""

    async def test_a_single_error_names_everything(
        self, aws: LoopbackAws, ps: AsyncParameterStore
    ) -> None:
        """Whatever is missing, denied or empty, of all providers; it shows no value."""
        aws.seed({"aws.ps": {"/denied": VALUE}, "aws.sm": {"below/denied": VALUE}})
        aws.deny("ssm:GetParameter*", "/denied")
        aws.deny("secretsmanager:GetSecretValue", "below/denied")
        aws.deny("ssm:GetParametersByPath", "/forbidden")
        starting = lifespan(
            Preload(ps, names=["/none", NAME, "/denied"], paths=["/empty", "/forbidden", "/prod"]),
            Preload("aws.sm", names=["absent", "prod/key"], paths=["below", "empty"]),
        )
        with pytest.raises(s1crets.BatchError) as caught:
            await starting(FastAPI()).__aenter__()

        lines = str(caught.value).splitlines()
        words = [
            "the app is not started",
            "Parameter Store (eu-west-1): GetParameter '/none'",
            "Parameter Store (eu-west-1): GetParameter '/denied'",
            "Parameter Store: there is nothing under '/empty'",
            "Parameter Store (eu-west-1): GetParametersByPath '/forbidden'",
            "Secrets Manager (eu-west-1): BatchGetSecretValue 'absent'",
            "Secrets Manager (eu-west-1): GetSecretValue 'below/denied'",
            "Secrets Manager: there is nothing under 'empty'",
        ]
        assert [word in line for word, line in zip(words, lines, strict=True)] == [True] * 8
        assert {name: type(one) for name, one in caught.value.errors.items()} == {
            "/none": s1crets.SecretNotFoundError,
            "/denied": s1crets.AccessDeniedError,
            "/empty": s1crets.SecretNotFoundError,
            "/forbidden": s1crets.AccessDeniedError,
            "absent": s1crets.SecretNotFoundError,
            "below/denied": s1crets.AccessDeniedError,
            "empty": s1crets.SecretNotFoundError,
        }
        assert VALUE not in shown(caught.value)
        assert caught.value.values == {}

    async def test_a_single_kind_of_reason_is_raised_as_that_kind(
        self, aws: LoopbackAws, ps: AsyncParameterStore
    ) -> None:
        """The error is a `BatchError` and of the builtin class too."""
        aws.deny("ssm:GetParameter*", "*")
        with pytest.raises(PermissionError) as caught:
            await lifespan(Preload(ps, names=["/a", "/b"]))(FastAPI()).__aenter__()

        assert isinstance(caught.value, s1crets.BatchError)
        assert type(caught.value).__module__ == s1crets.BatchError.__module__  # as tracebacks show
        assert isinstance(caught.value, s1crets.AccessDeniedError)
        assert set(caught.value.errors) == {"/a", "/b"}
        assert str(caught.value).startswith("the app is not started")

    @pytest.mark.parametrize("code", ["SomethingNew", "ParameterNotFound"])
    async def test_several_kinds_of_reasons_are_only_a_batch_error(
        self, scripted: Wire, code: str
    ) -> None:
        """None of them describes all."""
        scripted.answers["GetParametersByPath"] = refusal("AccessDeniedException")
        scripted.answers["GetParameter"] = refusal(code)
        preload = Preload(AsyncParameterStore(), names=["/a"], paths=["/b"])
        with pytest.raises(s1crets.BatchError) as caught:
            await lifespan(preload)(FastAPI()).__aenter__()

        assert not isinstance(caught.value, (PermissionError, KeyError))

    async def test_a_name_among_the_paths_is_reported(self, ps: AsyncParameterStore) -> None:
        """The name of a parameter is not a path."""
        with pytest.raises(KeyError, match="the name of a secret, not a path: put it in names"):
            await lifespan(Preload(ps, paths=[NAME]))(FastAPI()).__aenter__()

    async def test_nothing_stays_open(self, scripted: Wire) -> None:
        """Connections opened to preload are closed."""
        scripted.answers["GetParameter"] = refusal("ParameterNotFound")
        ps = AsyncParameterStore()
        with pytest.raises(s1crets.BatchError):
            await lifespan(Preload(ps, names=[NAME]))(FastAPI()).__aenter__()

        assert scripted.count("GetParameter") == 1
        assert await all_closed(scripted)
        assert ps.stats.misses == 1

    async def test_a_common_reason_is_reported_once(
        self, ps: AsyncParameterStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If it is the same for all names."""
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        with pytest.raises(s1crets.BatchError) as caught:
            await lifespan(Preload(ps, names=["/a", "/b"], paths=["/c"]))(FastAPI()).__aenter__()

        assert str(caught.value).count("no region is configured") == 1
        assert set(caught.value.errors) == {"/a", "/b", "/c"}


def shown(error: BaseException) -> str:
    """Return everything that tools show of an error: messages, notes, locals of other files."""
    parts = []
    while error:
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        parts += [*report.format_exception_only(), repr(vars(error))]
        parts += [repr(frame.locals) for frame in report.stack if frame.filename != __file__]
        error = error.__cause__ or error.__context__  # type: ignore[assignment]  # the end of it
    return "\n".join(parts)


FAILURES: dict[str, tuple[int, Callable[[LoopbackAws], None]]] = {
    "down": (503, lambda aws: aws.down()),
    "throttled": (503, lambda aws: aws.throttle()),
    "failing": (503, lambda aws: aws.fail()),
    "denied": (500, lambda aws: aws.deny("ssm:*")),
    "missing": (500, lambda aws: aws.reset()),
    "no such key": (500, lambda aws: aws.seed({"aws.ps": {NAME: {"other": VALUE}}})),
    "unreadable": (500, lambda aws: aws.fail(status=400, code="InvalidKeyId")),
}


class TestFailedRequest:
    """A client sees the kind of failure, and nothing of the secret."""

    @pytest.mark.parametrize("kind", FAILURES)
    def test_status(self, aws: LoopbackAws, caplog: pytest.LogCaptureFixture, kind: str) -> None:
        """503 if another attempt may succeed, otherwise 500. Only the log has the name."""
        status, go_wrong = FAILURES[kind]
        go_wrong(aws)
        caplog.set_level(logging.DEBUG)
        ps = AsyncParameterStore(retry=1)
        app = app_with(Secret(NAME, keypath="password"), lifespan=lifespan(ps))
        with TestClient(app) as client:
            answer = client.get("/0")

        words = {500: "Internal Server Error", 503: "Service Unavailable"}[status]
        assert (answer.status_code, answer.json()) == (status, {"detail": words})
        assert NAME not in str(answer.headers)
        (logged,) = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
        assert NAME in logged
        assert logged.startswith(f"responded with {status}: ")
        assert VALUE not in caplog.text

    def test_too_slow(self, aws: LoopbackAws) -> None:
        """503 as well, after the deadline of the call."""
        aws.delay(60)
        ps = AsyncParameterStore(deadline=0.001)
        with TestClient(app_with(Secret(NAME), lifespan=lifespan(ps))) as client:
            assert client.get("/0").status_code == 503
        aws.heal()

    def test_handlers_of_builtin_errors_are_not_called(self) -> None:
        """An app that answers a `KeyError` with its message would reveal the secret's name."""
        app = FastAPI(debug=True)

        @app.get("/")
        async def show(value: Annotated[str, Secret("none", provider="files")]) -> Any:
            return value

        @app.exception_handler(KeyError)
        @app.exception_handler(ValueError)
        async def told(request: Request, error: Exception) -> Response:
            return Response(str(error), 404)

        with TestClient(app) as client:
            assert client.get("/").json() == {"detail": "Internal Server Error"}

    def test_an_apps_handler_gets_the_cause(self) -> None:
        """It shows no value, not even in its frames' locals.

        The secret exists and was read, but has no such key.
        """
        app = app_with(Secret(NAME, keypath="none"))
        caught = []

        @app.exception_handler(HTTPException)
        async def handle(request: Request, error: HTTPException) -> Response:
            caught.append(error)
            return Response(type(error.__cause__).__name__, error.status_code)

        with TestClient(app) as client:
            assert client.get("/0").text == "SecretNotFoundError"
        assert NAME in shown(caught[0])
        assert VALUE not in shown(caught[0])


class TestRotation:
    """A rotation while many requests are being served.

    No request fails, none sent later gets the old value, and a single read is enough for all.
    """

    async def test_by_invalidation(self, aws: LoopbackAws, ps: AsyncParameterStore) -> None:
        """The app learns of the rotation. No thread is needed."""
        app = app_with(
            Secret(NAME, keypath="password"), lifespan=lifespan(Preload(ps, names=[NAME]))
        )

        async def send() -> Any:
            answer = await client.get("/0")
            return answer.status_code, answer.json()

        async def rotate() -> None:
            aws.seed({"aws.ps": {NAME: {**DB, "password": "fake-new"}}})
            await ps.invalidate(NAME)

        async with app.router.lifespan_context(app), client_of(app) as client:
            threads = set(threading.enumerate())
            before, after = await answers_around(rotate, send)
            assert set(threading.enumerate()) <= threads

        assert set(before) - {(200, "fake-new")} == {(200, VALUE)}
        assert set(after) == {(200, "fake-new")}
        assert operations(aws) == ["GetParameter"] * 2

    async def test_by_a_refused_login(self, aws: LoopbackAws, ps: AsyncParameterStore) -> None:
        """`refresh_on`: the first refused login reads the secret again, and all others use it."""
        app = FastAPI(lifespan=lifespan(Preload(ps, names=[NAME])))
        database = {"password": VALUE}

        class WrongPasswordError(Exception): ...

        @ps.refresh_on(WrongPasswordError, path=NAME, keypath="password")
        async def connect(password: str) -> str:
            if password != database["password"]:
                raise WrongPasswordError
            return password

        @app.get("/")
        async def login() -> str:
            return await connect()

        async def send() -> Any:
            answer = await client.get("/")
            return answer.status_code, answer.json()

        async def rotate() -> None:
            aws.seed({"aws.ps": {NAME: {**DB, "password": "fake-new"}}})
            database["password"] = "fake-new"

        async with app.router.lifespan_context(app), client_of(app) as client:
            before, after = await answers_around(rotate, send)

        assert set(before) - {(200, "fake-new")} == {(200, VALUE)}
        assert set(after) == {(200, "fake-new")}
        assert operations(aws) == ["GetParameter"] * 2

    def test_a_decorated_endpoint(self) -> None:
        """Parameters for secrets are not the client's to send; the others are."""
        app, refresh_on = FastAPI(), partial(ParameterStore().refresh_on, ValueError, path=NAME)

        @app.get("/async")
        @AsyncParameterStore().refresh_on(ValueError, path=NAME, keypath="password")
        async def first(password: str, n: int) -> Any:
            return password, n

        @app.get("/sync")
        @refresh_on(keypath={"password": "password", "user": "user"})
        def named(user: str, n: int, password: str) -> Any:
            return user, password, n

        with TestClient(app) as client:
            assert client.get("/async?n=1").json() == [VALUE, 1]
            assert client.get("/sync?n=1&password=fake-other").json() == ["fake-user", VALUE, 1]
            assert client.get("/sync").status_code == 422


def client_of(app: FastAPI) -> httpx2.AsyncClient:
    """Return a client that calls the app on this event loop."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://app")


class TestProcess:
    """Uvicorn in a process of its own."""

    def test_it_serves_until_a_signal(self, tmp_path: Path) -> None:
        """Then it stops, and nothing that is still open is reported."""
        with served(tmp_path, PROGRAM.replace("{names}", "['/prod/db']")) as url:
            assert fetch(url) == f'"{VALUE}"'

    def test_it_exits_if_a_secret_is_missing(self, tmp_path: Path) -> None:
        """With uvicorn's exit code for that. The output contains the error, and no value."""
        program = PROGRAM.replace("{names}", "['/none', '/prod/db']")
        code, output = not_started(tmp_path, program)

        assert code == 3
        assert "'/none'" in output
        assert "Application startup failed. Exiting." in output
        assert VALUE not in output


WRONG: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "no name": (s1crets.InvalidNameError, "empty", lambda: Secret("")),
    "a name of another type": (s1crets.InvalidNameError, "int", partial(Secret, 5)),  # type: ignore[arg-type]
    "a key of another type": (TypeError, "keypath", partial(Secret, "/a", keypath=1.5)),  # type: ignore[arg-type]
    "an unknown provider": (ValueError, "aws.s3", partial(Secret, "/a", provider="aws.s3")),
    "an unknown provider of an app": (ValueError, "aws.s3", partial(lifespan, "aws.s3")),
    "a blocking provider": (TypeError, ".awaited", partial(lifespan, ParameterStore())),  # type: ignore[arg-type]
    "a class": (TypeError, "not type", partial(lifespan, AsyncParameterStore)),  # type: ignore[arg-type]
    "one text": (TypeError, "lists of names", partial(Preload, "aws.ps", names="/a")),
    "one path": (TypeError, "lists of names", partial(Preload, "aws.ps", paths="/a")),
    "a generator": (TypeError, "lists", partial(Preload, "aws.ps", names=(n for n in ("/a",)))),  # type: ignore[arg-type]
    "an empty name": (s1crets.InvalidNameError, "empty", partial(Preload, "aws.ps", names=[""])),
}


@pytest.mark.parametrize("kind", WRONG)
def test_invalid_arguments(kind: str) -> None:
    """They are refused when the app is created, not when the first request comes."""
    error, words, call = WRONG[kind]
    with pytest.raises(error, match=words):
        call()
