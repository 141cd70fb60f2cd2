"""FastAPI: a lifespan that reads ahead, secrets as dependencies, what clients see of failures."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import traceback
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import boto3
import pytest
from _support.serving import all_closed, fetch, load, not_started, served
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
EVERYWHERE = {"region": "us-east-1", "there": "fake-other-region"}
PROGRAM = """
import sys, threading
from typing import Annotated

import uvicorn
from fastapi import FastAPI

from s1crets.integrations.fastapi import Preload, Secret, lifespan
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager

ps, sm = AsyncParameterStore(), AsyncSecretsManager()
app = FastAPI(lifespan=lifespan({preloads}))


class WrongPasswordError(Exception): ...


@ps.refresh_on(WrongPasswordError, path="/prod/db", keypath="password")
async def connect(password: str) -> str:
    with open("password") as database:
        if password != database.read():
            raise WrongPasswordError
    return password


@app.get("/password")
async def show(password: Annotated[str, Secret("/prod/db", keypath="password")]) -> str:
    return password


@app.get("/login")
async def login() -> str:
    return await connect()


@app.get("/threads")
async def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


@app.post("/rotated")
async def rotated() -> None:
    await ps.invalidate("/prod/db")


uvicorn.run(app, fd=int(sys.argv[1]), log_level="warning")
"""


@pytest.fixture(autouse=True)
def aws(s1crets_aws: LoopbackAws) -> LoopbackAws:
    s1crets_aws.seed({"aws.ps": {NAME: DB}, "aws.sm": {"prod/key": VALUE}})
    return s1crets_aws


def asked(aws: LoopbackAws) -> list[str]:
    return [one.operation for one in aws.requests]


def app_with(*dependencies: Any, lives: Any = None) -> FastAPI:
    """Return an app that answers `/0`, `/1` … with what its dependencies are given."""
    app = FastAPI(lifespan=lives)
    for number, dependency in enumerate(dependencies):

        async def show(value: Any = dependency) -> Any:
            return value

        app.get(f"/{number}")(show)
    return app


class TestDependency:
    """A `Secret` is what FastAPI hands to an endpoint, in every form of a dependency."""

    def test_annotated(self) -> None:
        """With a key of it or whole; in endpoints that are async and that are not."""
        app = FastAPI()

        @app.get("/async")
        async def whole(db: Annotated[dict[str, str], Secret(NAME)]) -> Any:
            return db

        @app.get("/sync")
        def part(password: Annotated[str, Secret(NAME, keypath="password")]) -> Any:
            return password

        with TestClient(app) as client:
            assert client.get("/async").json() == DB
            assert client.get("/sync").json() == VALUE

    def test_other_forms(self) -> None:
        """`Depends(Secret(…))`, as a default value, with a list of keys, of a dependency's own."""

        async def user(db: Annotated[dict[str, str], Secret(NAME)]) -> str:
            return db["user"]

        app = app_with(
            Depends(Secret(NAME)),
            Secret(NAME),
            Secret(NAME, keypath=["password"]),
            Depends(user),
        )
        with TestClient(app) as client:
            answers = [client.get(f"/{number}").json() for number in range(4)]

        assert answers == [DB, DB, VALUE, "fake-user"]

    def test_of_a_router(self) -> None:
        """An app whose routes all need one does not answer without it."""
        app = FastAPI(dependencies=[Secret("/prod/none")])
        app.get("/")(lambda: None)
        with TestClient(app) as client:
            assert client.get("/").status_code == 500

    def test_websocket(self) -> None:
        """A WebSocket gets one too; without it, it is not accepted, with the same answer."""
        app = FastAPI()

        @app.websocket("/{name}")
        async def talk(socket: WebSocket, key: Annotated[str, Depends(Secret(NAME))]) -> None:
            await socket.accept()
            await socket.send_json(key)
            await socket.close()

        with TestClient(app) as client:
            with client.websocket_connect("/ws") as socket:
                assert socket.receive_json() == DB
            s1crets.delete("aws.ps", NAME)
            with (
                pytest.raises(WebSocketDenialResponse) as denied,
                client.websocket_connect("/ws"),
            ):
                pass
        assert denied.value.status_code == 500
        assert denied.value.json() == {"detail": "Internal Server Error"}

    def test_a_value_is_the_requests_own(self, aws: LoopbackAws) -> None:
        """What an endpoint does to it, no other request sees; within one, equal ones are one."""
        app = FastAPI()

        @app.get("/")
        async def spoil(
            one: Annotated[dict[str, str], Secret(NAME)],
            same: Annotated[dict[str, str], Secret(NAME)],
        ) -> Any:
            one.pop("password")
            return same

        with TestClient(app) as client:
            answers = [client.get("/").json() for _ in range(2)]

        assert answers == [{"user": "fake-user"}] * 2
        assert asked(aws) == ["GetParameter"]

    def test_nothing_tells_clients_of_it(self) -> None:
        """It is in no schema, and an error of validation does not repeat it."""
        app = FastAPI()

        @app.get("/{number}")
        async def show(number: int, db: Annotated[dict[str, str], Secret(NAME)]) -> Any:
            return number

        with TestClient(app) as client:
            schema, wrong = client.get("/openapi.json"), client.get("/text?connection=x&db=y")

        parameters = schema.json()["paths"]["/{number}"]["get"]["parameters"]
        assert [one["name"] for one in parameters] == ["number"]
        assert wrong.status_code == 422
        assert [one["loc"] for one in wrong.json()["detail"]] == [["path", "number"]]
        for answer in (schema.text, wrong.text):
            assert VALUE not in answer
            assert NAME not in answer

    def test_a_test_replaces_it(self) -> None:
        """`dependency_overrides` takes an equal one; nothing is asked of AWS, not at start either.

        There are no credentials, no region and no endpoint here.
        """
        script = f"""
        from fastapi import FastAPI
        from fastapi.testclient import TestClient
        from s1crets.integrations.fastapi import Secret, lifespan
        from s1crets.providers.aws import AsyncParameterStore
        app = FastAPI(lifespan=lifespan(AsyncParameterStore()))

        @app.get("/")
        async def show(one=Secret({NAME!r}, keypath="x"), two=Secret({NAME!r}, keypath=["y", 0])):
            return one + two

        app.dependency_overrides[Secret({NAME!r}, keypath=("x",))] = lambda: "fake-"
        app.dependency_overrides[Secret({NAME!r}, keypath=("y", 0))] = lambda: "both"
        with TestClient(app) as client:
            print(client.get("/").json())
        """
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(line[8:] for line in script.splitlines())],
            capture_output=True, text=True, check=False, env={"PATH": ""},
        )  # fmt: skip

        assert (done.returncode, done.stdout, done.stderr) == (0, "fake-both\n", "")

    def test_equal_ones(self) -> None:
        """The same arguments make the same dependency."""
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

    def test_its_repr_says_what_it_reads(self) -> None:
        """It refers to itself, which a dataclass's own repr would follow."""
        assert repr(Secret(NAME)) == "Secret('/prod/db', provider='aws.ps')"
        assert (
            repr(Secret("x", keypath="a", provider="aws.sm"))
            == "Secret('x', keypath=('a',), provider='aws.sm')"
        )


class TestProvider:
    """Where a `Secret` is read from."""

    @pytest.fixture
    def ps(self) -> AsyncParameterStore:
        """Return a store in another region, which has another value."""
        boto3.client("ssm", region_name="us-east-1").put_parameter(
            Name=NAME, Value=json.dumps(EVERYWHERE), Type="SecureString"
        )
        return AsyncParameterStore(sts_args={"aws_region": "us-east-1"})

    def test_the_apps_one(self, ps: AsyncParameterStore) -> None:
        """That of the lifespan, of the first two of a kind, also in apps mounted on the app."""
        app = app_with(Secret(NAME), lives=lifespan(ps, AsyncParameterStore()))
        app.mount("/static", Response())
        app.mount("/v1", inner := app_with(Secret(NAME)))
        inner.mount("/deep", app_with(Secret(NAME)))
        with TestClient(app) as client:
            answers = [client.get(path).json() for path in ("/0", "/v1/0", "/v1/deep/0")]

        assert answers == [EVERYWHERE] * 3

    def test_the_processes_own(self, aws: LoopbackAws) -> None:
        """Where the lifespan has none of that kind, or there is no lifespan of ours."""
        wanted = Secret(NAME), Secret("prod/key", provider="aws.sm")
        for app in (app_with(*wanted), app_with(*wanted, lives=lifespan(AsyncSecretsManager()))):
            with TestClient(app) as client:
                assert client.get("/0").json() == DB
                assert client.get("/1").json() == VALUE
        assert s1crets.get("aws.ps", NAME) == DB
        assert asked(aws) == ["GetParameter", "GetSecretValue", "GetSecretValue"]

    def test_other_stores(self, tmp_path: Path) -> None:
        """Those that are not AWS's too: a folder of files, and what other packages add."""

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
        with TestClient(app_with(*wanted, lives=lives)) as client:
            assert client.get("/0").json() == "fake"
            assert client.get("/1").json() == "fake-key"

    def test_one_that_is_given(self, ps: AsyncParameterStore) -> None:
        """Whatever the app has."""
        app = app_with(Secret(NAME, provider=ps), Secret(NAME), lives=lifespan("aws.ps"))
        with TestClient(app) as client:
            assert client.get("/0").json() == EVERYWHERE
            assert client.get("/1").json() == DB
            client.portal.call(ps.aclose)  # type: ignore[union-attr]  # it is there by now


class TestLifespan:
    """Providers are there with the app."""

    def test_what_is_preloaded_needs_no_request_later(self, aws: LoopbackAws) -> None:
        """Names are read in batches of ten, paths fill the cache for each name below."""
        names = {f"/many/{number:02}": str(number) for number in range(12)}
        below = {"/app/url": "fake-url", "/app/deep/key": "fake-key"}
        aws.seed({"aws.ps": {**names, **below}})
        app = app_with(
            Secret("/many/11"),
            Secret("/app/deep/key"),
            Secret("prod/key", provider="aws.sm"),
            lives=lifespan(
                Preload(AsyncParameterStore(), names=list(names), paths={"/app"}),
                Preload("aws.sm", names=["prod/key"]),
            ),
        )
        with TestClient(app) as client:
            before = asked(aws)
            answers = [client.get(f"/{number}").json() for number in range(3)]

        assert answers == ["11", "fake-key", VALUE]
        assert asked(aws) == before
        assert sorted(before) == [
            *["GetParameters"] * 2,
            "GetParametersByPath",
            "GetSecretValue",
        ]

    async def test_within_a_lifespan_of_ones_own(self, ps: AsyncParameterStore) -> None:
        """As a context manager, in the loop of the test, on which nothing is left open."""

        @contextlib.asynccontextmanager
        async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
            async with lifespan(Preload(ps, names=[NAME]))(app):
                yield {"password": ps.peek(NAME, keypath="password")}

        app = FastAPI(lifespan=own)
        async with app.router.lifespan_context(app) as state:
            assert state == {"password": VALUE}

    async def test_they_are_closed_with_the_app(self, scripted: Wire) -> None:
        """Their connections are, while the providers themselves live on."""
        scripted.answers["GetParameter"] = parameter(NAME, VALUE)
        ps = AsyncParameterStore()
        async with lifespan(Preload(ps, names=[NAME]))(FastAPI()):
            assert scripted.open_connections == 1

        assert await all_closed(scripted)
        assert ps.peek(NAME) == VALUE

    def test_of_a_router_too(self, aws: LoopbackAws) -> None:
        """Those of an app and of its routers add up."""
        ps, sm = AsyncParameterStore(), AsyncSecretsManager()
        app = app_with(Secret(NAME), Secret("prod/key", provider="aws.sm"), lives=lifespan(ps))
        app.include_router(APIRouter(lifespan=lifespan(Preload(sm, names=["prod/key"]))))
        with TestClient(app) as client:
            assert asked(aws) == ["GetSecretValue"]
            assert client.get("/0").json() == DB
            assert client.get("/1").json() == VALUE
        assert (ps.stats.misses, sm.stats.hits) == (1, 1)

    def test_again_and_again(self) -> None:
        """Each start has an event loop of its own, as in a user's tests."""
        app = app_with(Secret(NAME), lives=lifespan(Preload("aws.ps", names=[NAME])))
        for _ in range(2):
            with TestClient(app) as client:
                assert client.get("/0").json() == DB

    def test_a_server_without_state(self) -> None:
        """Mangum, which runs apps on Lambda, has no state for lifespans to put something into."""
        app = app_with(Secret(NAME), lives=lifespan("aws.ps"))

        async def bare(scope: Any, receive: Any, send: Any) -> None:
            scope.pop("state", None)
            await app(scope, receive, send)

        with TestClient(bare) as client:
            assert client.get("/0").json() == DB


class TestFailedStart:
    """An app whose secrets are not all there does not start."""

    async def test_one_error_names_all(self, aws: LoopbackAws, ps: AsyncParameterStore) -> None:
        """What is missing, denied or empty, of all providers; and it shows no value."""
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
            "Parameter Store: there is nothing below '/empty'",
            "Parameter Store (eu-west-1): GetParametersByPath '/forbidden'",
            "Secrets Manager (eu-west-1): BatchGetSecretValue 'absent'",
            "Secrets Manager (eu-west-1): GetSecretValue 'below/denied'",
            "Secrets Manager: there is nothing below 'empty'",
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

    async def test_nothing_stays_open(self, scripted: Wire) -> None:
        """What was opened for the first reads is closed."""
        scripted.answers["GetParameter"] = refusal("ParameterNotFound")
        ps = AsyncParameterStore()
        with pytest.raises(s1crets.BatchError):
            await lifespan(Preload(ps, names=[NAME]))(FastAPI()).__aenter__()

        assert scripted.count("GetParameter") == 1
        assert await all_closed(scripted)
        assert ps.stats.misses == 1

    async def test_a_reason_is_told_once(
        self, ps: AsyncParameterStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where it is the same for all."""
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        with pytest.raises(s1crets.BatchError) as caught:
            await lifespan(Preload(ps, names=["/a", "/b"], paths=["/c"]))(FastAPI()).__aenter__()

        assert str(caught.value).count("there is no region") == 1
        assert set(caught.value.errors) == {"/a", "/b", "/c"}

    def test_the_server_exits(self, tmp_path: Any) -> None:
        """Uvicorn says why, and ends with its code for that; no value is in what it prints."""
        preloads = 'Preload(ps, names=["/none", "/prod/db"]), Preload(sm, names=["absent"])'
        code, said = not_started(tmp_path, PROGRAM.replace("{preloads}", preloads))

        assert code == 3
        assert "'/none'" in said
        assert "'absent'" in said
        assert "Application startup failed. Exiting." in said
        assert VALUE not in said


def shown(error: BaseException) -> str:
    """Return what a tool shows of an error that shows all: messages, notes, foreign locals."""
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
    """A client sees that the service fails, and nothing of a secret."""

    @pytest.mark.parametrize("kind", FAILURES)
    def test_status(self, aws: LoopbackAws, caplog: pytest.LogCaptureFixture, kind: str) -> None:
        """503 where another try may do, else 500; the name is in the log, the value nowhere."""
        status, go_wrong = FAILURES[kind]
        go_wrong(aws)
        caplog.set_level(logging.DEBUG)
        ps = AsyncParameterStore(retry=1)
        app = app_with(Secret(NAME, keypath="password"), lives=lifespan(ps))
        with TestClient(app) as client:
            answer = client.get("/0")

        words = {500: "Internal Server Error", 503: "Service Unavailable"}[status]
        assert (answer.status_code, answer.json()) == (status, {"detail": words})
        assert NAME not in str(answer.headers)
        told = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
        assert [NAME in one for one in told] == [True]
        assert told[0].startswith(f"answered with {status}: ")
        assert VALUE not in caplog.text

    def test_too_slow(self) -> None:
        """503 too: the call's deadline has passed."""
        ps = AsyncParameterStore(deadline=0.001)
        with TestClient(app_with(Secret(NAME), lives=lifespan(ps))) as client:
            assert client.get("/0").status_code == 503

    def test_an_apps_handlers_of_builtins_are_not_asked(self) -> None:
        """An app that answers a `KeyError` with its message would tell the secret's name."""
        app = FastAPI(debug=True)

        @app.get("/")
        async def show(value: Annotated[str, Secret("/prod/none")]) -> Any:
            return value

        @app.exception_handler(KeyError)
        @app.exception_handler(ValueError)
        async def told(request: Request, error: Exception) -> Response:
            return Response(str(error), 404)

        with TestClient(app) as client:
            assert client.get("/").json() == {"detail": "Internal Server Error"}

    def test_an_apps_handler_of_its_own(self) -> None:
        """It gets the error as the cause, which shows no value, not in its frames' locals either.

        The secret is there and was read, but has no such key.
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


class TestUnderLoad:
    """Served by uvicorn, in a process of its own, while another process sends requests."""

    @pytest.fixture
    def program(self, tmp_path: Any) -> str:
        (tmp_path / "password").write_text(VALUE)
        return PROGRAM.replace("{preloads}", 'Preload(ps, names=["/prod/db"]), sm')

    def rotate(self, aws: LoopbackAws, tmp_path: Any) -> None:
        """Store a new password, and let the database take that one only."""
        aws.seed({"aws.ps": {NAME: {**DB, "password": "fake-new"}}})
        (tmp_path / "new").write_text("fake-new")
        (tmp_path / "new").rename(tmp_path / "password")

    def test_a_rotation_that_the_app_is_told_of(
        self, aws: LoopbackAws, tmp_path: Any, program: str
    ) -> None:
        """No request fails, none gets the old value after `invalidate`; no thread was needed.

        One request to AWS at the start, and one after: hundreds of clients wait for the same.
        """
        with served(tmp_path, program) as url:
            threads = fetch(f"{url}/threads")
            with load(f"{url}/password") as clients:
                self.rotate(aws, tmp_path)
                fetch(f"{url}/rotated", data=b"")
                before, after = clients.finish()
            assert fetch(f"{url}/threads") == threads

        assert set(before) - {'200 "fake-new"'} == {f'200 "{VALUE}"'}
        assert set(after) == {'200 "fake-new"'}
        assert asked(aws) == ["GetParameter"] * 2

    def test_a_rotation_that_the_database_tells(
        self, aws: LoopbackAws, tmp_path: Any, program: str
    ) -> None:
        """`refresh_on`: the first login that is refused reads it anew, and all go on with that."""
        with served(tmp_path, program) as url, load(f"{url}/login") as clients:
            self.rotate(aws, tmp_path)
            before, after = clients.finish()

        assert set(before) - {'200 "fake-new"'} == {f'200 "{VALUE}"'}
        assert set(after) == {'200 "fake-new"'}
        assert asked(aws) == ["GetParameter"] * 2


WRONG: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "no name": (s1crets.InvalidNameError, "empty", lambda: Secret("")),
    "a name of another type": (s1crets.InvalidNameError, "int", partial(Secret, 5)),  # type: ignore[arg-type]
    "a key of another type": (TypeError, "keypath", partial(Secret, "/a", keypath=1.5)),  # type: ignore[arg-type]
    "an unknown provider": (ValueError, "aws.s3", partial(Secret, "/a", provider="aws.s3")),
    "an unknown provider of an app": (ValueError, "aws.s3", partial(lifespan, "aws.s3")),
    "a blocking provider": (TypeError, ".awaited", partial(lifespan, ParameterStore())),  # type: ignore[arg-type]
    "a class": (TypeError, "ABCMeta", partial(lifespan, AsyncParameterStore)),  # type: ignore[arg-type]
    "one text": (TypeError, "lists of names", partial(Preload, "aws.ps", names="/a")),
    "one path": (TypeError, "lists of names", partial(Preload, "aws.ps", paths="/a")),
    "a generator": (TypeError, "lists", partial(Preload, "aws.ps", names=(n for n in ("/a",)))),  # type: ignore[arg-type]
    "an empty name": (s1crets.InvalidNameError, "empty", partial(Preload, "aws.ps", names=[""])),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_arguments_are_told_where_they_are_given(kind: str) -> None:
    """When the app is made, not when the first request comes."""
    error, words, call = WRONG[kind]
    with pytest.raises(error, match=words):
        call()


def test_without_fastapi() -> None:
    """The import says what to install."""
    script = "import sys; sys.modules['fastapi'] = None\nimport s1crets.integrations.fastapi"
    done = subprocess.run(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.endswith(
        "ConfigurationError: s1crets.integrations.fastapi needs FastAPI:"
        " pip install 's1crets[fastapi]'\n"
    )
