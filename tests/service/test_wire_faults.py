"""Faults between us and AWS: attempts, responses, connections, credentials, deadlines."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import gzip
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from _support.clients import opened
from _support.leftovers import left_on
from _support.wire import HANG_UP, RESET, Asked, Reply, Wire, assumed, parameter, refusal, wire
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

import s1crets
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROLE = "arn:aws:iam::123456789012:role/reader"
FAILED = refusal("InternalServerError", status=500)
EXPIRED = refusal("ExpiredTokenException", "The security token included in the request is expired")


def signed_by(asked: Asked) -> str:
    return asked.headers["Authorization"].split("Credential=")[1].split("/")[0]


@contextmanager
def hung() -> Iterator[str]:
    """Yield the address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class TestAttempts:
    """`retry` limits how often a request is sent in total."""

    @pytest.mark.usefixtures("read_path")
    async def test_all_kinds_of_failures_have_three_attempts(self, scripted: Wire) -> None:
        """Every kind of failure is attempted three times."""
        go = threading.Event()
        kinds: dict[str, Any] = {
            "/failed": FAILED,
            "/unavailable": Reply(b"<html>", 503),
            "/hung up": HANG_UP,
            "/reset": RESET,
            "/cut": Reply(parameter("/cut", "v"), missing=10),
            "/slow": lambda: go.wait(30) and HANG_UP,
        }

        def answer(asked: Asked) -> Any:
            found = kinds[asked.body["Name"]]
            return found() if callable(found) else found

        scripted.answers["GetParameter"] = answer

        async def read(name: str) -> None:
            async with AsyncParameterStore(timeout=0.3 if name == "/slow" else 60) as ps:
                with pytest.raises(s1crets.UnavailableError):
                    await ps.get(name)
                assert ps.stats.requests == {"GetParameter": 3}
                assert ps.stats.retried == 2
                assert ps.peek(name) is None

        await asyncio.gather(*map(read, kinds))
        go.set()
        sent = [body["Name"] for body in scripted.bodies("GetParameter")]
        assert {name: sent.count(name) for name in kinds} == dict.fromkeys(kinds, 3)

    @pytest.mark.usefixtures("read_path")
    @pytest.mark.parametrize(
        ("answers", "requests"),
        [
            ([EXPIRED, parameter("/a", "v")], 2),
            ([FAILED, EXPIRED, parameter("/a", "v")], 3),
            ([FAILED, EXPIRED, FAILED], 3),
            ([EXPIRED, refusal("ThrottlingException"), FAILED], 3),
        ],
    )
    async def test_a_renewal_is_within_them(
        self, scripted: Wire, answers: list[Any], requests: int
    ) -> None:
        """A retry with new credentials counts as an attempt."""
        scripted.answers["AssumeRole"] = assumed()
        scripted.answers["GetParameter"] = list(answers)
        async with AsyncParameterStore(sts_args={"RoleArn": ROLE}) as ps:
            if answers[-1] is FAILED or answers[-1] is EXPIRED:
                with pytest.raises(s1crets.S1cretsError):
                    await ps.get("/a")
            else:
                assert await ps.get("/a") == "v"
        assert scripted.count("GetParameter") == requests
        assert scripted.count("AssumeRole") == 2

    @pytest.mark.usefixtures("read_path")
    async def test_one_attempt_renews_for_the_next_call(self, scripted: Wire) -> None:
        """With retry=1 the request is not sent again, but its credentials are renewed."""
        scripted.answers["AssumeRole"] = [assumed("old"), assumed("new")]
        scripted.answers["GetParameter"] = lambda asked: (
            parameter("/a", "v") if signed_by(asked) == "new" else EXPIRED
        )
        async with AsyncParameterStore(sts_args={"RoleArn": ROLE}, retry=1) as ps:
            with pytest.raises(s1crets.CredentialsError, match="renew the credentials"):
                await ps.get("/a")
            assert scripted.count("GetParameter") == 1
            assert await ps.get("/a") == "v"
        assert scripted.count("AssumeRole") == 2

    @pytest.mark.usefixtures("read_path")
    async def test_each_page_has_its_own(self, scripted: Wire) -> None:
        """Pages that were read are not requested again, after a failure or a renewal."""
        scripted.answers["AssumeRole"] = assumed()
        first, second = (
            {"Parameters": [{"Name": f"/p/{i}", "Value": "v"}], "NextToken": str(i)} for i in (1, 2)
        )
        last = {"Parameters": [{"Name": "/p/3", "Value": "v"}]}
        scripted.answers["GetParametersByPath"] = [first, EXPIRED, second, FAILED, last]
        async with AsyncParameterStore(sts_args={"RoleArn": ROLE}, retry=2) as ps:
            assert sorted(await ps.get_by_path("/p")) == ["/p/1", "/p/2", "/p/3"]
            assert ps.stats.requests == {"GetParametersByPath": 5}
            scripted.answers["GetParametersByPath"] = [first, FAILED]
            with pytest.raises(s1crets.UnavailableError):
                await ps.get_by_path("/p", cached=False)
            assert ps.stats.requests == {"GetParametersByPath": 8}

    @pytest.mark.usefixtures("read_path")
    async def test_a_batch_that_failed_is_not_asked_for_one_by_one(self, scripted: Wire) -> None:
        """A refused batch is: single requests have their own attempts."""
        scripted.answers["BatchGetSecretValue"] = FAILED
        async with AsyncSecretsManager(retry=2) as sm:
            with pytest.raises(s1crets.BatchError):
                await sm.get_many(["a", "b"])
            assert sm.stats.requests == {"BatchGetSecretValue": 2}
            scripted.answers["BatchGetSecretValue"] = refusal("ValidationException")
            scripted.answers["GetSecretValue"] = FAILED
            with pytest.raises(s1crets.BatchError):
                await sm.get_many(["a", "b"])
            assert sm.stats.requests == {"BatchGetSecretValue": 3, "GetSecretValue": 4}

    @pytest.mark.parametrize("where", ["file", "session"])
    async def test_files_and_sessions_do_not_decide(
        self,
        scripted: Wire,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        where: str,
    ) -> None:
        """Neither the config file nor the session's settings."""
        scripted.answers["GetParameter"] = FAILED
        session = None
        if where == "file":
            config = tmp_path / "config"
            config.write_text("[default]\nmax_attempts = 7\nretry_mode = legacy\n")
            monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        else:
            session = AioSession()
            session.set_default_client_config(AioConfig(retries={"max_attempts": 9}))
        async with AsyncParameterStore(session=session, retry=2) as ps:
            with pytest.raises(s1crets.UnavailableError):
                await ps.get("/a")
        assert scripted.count("GetParameter") == 2

    def test_the_environment_does_not_either(
        self, scripted: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """This needs another process, since botocore reads some of it when it is imported."""
        monkeypatch.setenv("AWS_NEW_RETRIES_2026", "true")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
        monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
        scripted.answers["GetParameter"] = FAILED
        program = (
            "from s1crets.providers.aws import ParameterStore\n"
            "from s1crets import UnavailableError\n"
            "try: ParameterStore().get('/a')\n"
            "except UnavailableError: print('unavailable')"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.stdout, done.stderr) == ("unavailable\n", "")
        assert scripted.count("GetParameter") == 3


PARAMETERS = {"Parameters": [{"Name": "/a", "Type": "String", "Value": "v"}]}
ATTRIBUTES: list[dict[str, Any]] = [
    {"Type": 5},
    {"KeyId": ["a"]},
    {"Policies": "text"},
    {"Policies": [{"PolicyText": 5}]},
    {"Policies": [{}]},
]
SECRETS = {"SecretValues": [{"Name": "a", "SecretString": "v"}]}
LISTED = {"SecretList": [{"Name": "a"}]}

OPERATIONS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "GetParameter": (lambda s: s.get("/a"), parameter("/a", "v"), {}),
    "GetParameters": (lambda s: s.get_many(["/a", "/b"]), PARAMETERS, {}),
    "GetParametersByPath": (lambda s: s.get_by_path("/a"), PARAMETERS, {}),
    "DescribeParameters": (
        lambda s: s.update("/a", "v"),
        PARAMETERS,
        {"PutParameter": {"Version": 1}},
    ),
    "PutParameter": (
        lambda s: s.update("/a", "v"),
        {"Version": 1},
        {"DescribeParameters": PARAMETERS},
    ),
    "GetSecretValue": (lambda s: s.get("a"), {"SecretString": "v"}, {}),
    "BatchGetSecretValue": (lambda s: s.get_many(["a", "b"]), SECRETS, {}),
    "ListSecrets": (lambda s: s.get_by_path("a"), LISTED, {}),
    "DescribeSecret": (lambda s: s.path_exists("a"), {"Name": "a"}, {}),
    "PutSecretValue": (lambda s: s.update("a", "v"), {"VersionId": "1"}, {}),
}

READS = [one for one in OPERATIONS if "Get" in one]
# Each operation, and reads also with the express path off.
PATHS = [(one, "express") for one in OPERATIONS] + [(one, "botocore") for one in READS]


def wrong(good: Any) -> Any:
    """Return the same response with another type in each place."""
    if isinstance(good, dict):
        return {name: wrong(one) for name, one in good.items()}
    if isinstance(good, list):
        return [wrong(one) for one in good]
    return ["wrong"]


MALFORMED: dict[str, Any] = {
    "empty": lambda _: {},
    "nothing": lambda _: Reply(b""),
    "html": lambda _: Reply(b"<html><body>captive portal</body></html>"),
    "cut": lambda good: Reply(json.dumps(good).encode()[:-5]),
    "null": lambda _: Reply(b"null"),
    "list": lambda _: Reply(b"[]"),
    "text": lambda _: Reply(b'"v"'),
    "not utf-8": lambda _: Reply(b'{"Parameter": "\xff"}'),
    "null inside": dict.fromkeys,
    "flat": lambda good: {name: 5 if isinstance(one, str) else "v" for name, one in good.items()},
    "number": lambda good: dict.fromkeys(good, 5.5),
    "wrong types": wrong,
}


@pytest.mark.usefixtures("read_path")
@pytest.mark.parametrize(("operation", "read_path"), PATHS, indirect=["read_path"])
async def test_a_malformed_answer_is_a_bad_response_and_forgotten(
    scripted: Wire, operation: str
) -> None:
    """The next call of every operation sends a request; there is no retry, since AWS responded."""
    call, good, others = OPERATIONS[operation]
    scripted.answers.update(others)
    cls: Any = AsyncSecretsManager if "Secret" in operation else AsyncParameterStore
    scripted.answers.update(GetParameter=parameter("/b", "v"), GetSecretValue={"SecretString": "v"})
    async with cls() as store:
        for kind, make in MALFORMED.items():
            asked = scripted.count(operation)
            scripted.answers[operation] = make(good)
            with pytest.raises(s1crets.S1cretsError) as caught:
                await call(store)
            errors = getattr(caught.value, "errors", {"": caught.value}).values()
            assert {type(one) for one in errors} == {s1crets.BadResponseError}, kind
            assert scripted.count(operation) == asked + 1
        scripted.answers[operation] = good
        scripted.answers["BatchGetSecretValue"] = SECRETS
        await call(store)
        assert scripted.count(operation) > len(MALFORMED)


@pytest.fixture
def elsewhere() -> Iterator[Wire]:
    """Run a server that a redirect may point to."""
    with wire() as server:
        yield server


class TestRedirects:
    """A redirect is never followed, and the request is not sent again."""

    @pytest.mark.usefixtures("read_path")
    @pytest.mark.parametrize(("operation", "read_path"), PATHS, indirect=["read_path"])
    async def test_of_any_operation(self, scripted: Wire, elsewhere: Wire, operation: str) -> None:
        """To another server or the same; a body that looks like AWS's does not matter."""
        call, good, others = OPERATIONS[operation]
        scripted.answers.update(others)
        elsewhere.answers = {operation: good, f"GET /{operation}": Reply(good)}
        body = {"__type": "ThrottlingException", **good}
        cls: Any = AsyncSecretsManager if "Secret" in operation else AsyncParameterStore
        async with cls() as store:
            places = elsewhere.url, scripted.url, elsewhere.url.replace("http:", "")
            for status, where in product((300, 301, 302, 303, 307, 308), places):
                sent = scripted.count(operation)
                headers = {"Location": f"{where}/{operation}"}
                scripted.answers[operation] = Reply(body, status, headers=headers)
                with pytest.raises(s1crets.S1cretsError, match=f"redirect .HTTP {status}") as error:
                    await call(store)
                errors = getattr(error.value, "errors", {"": error.value}).values()
                assert {type(one) for one in errors} == {s1crets.BadResponseError}
                assert scripted.count(operation) == sent + 1
        assert elsewhere.asked == []

    async def test_of_requests_for_credentials(
        self, scripted: Wire, elsewhere: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Roles that we or botocore assume, and the caller's identity."""
        elsewhere.answers = {"AssumeRole": assumed()}
        redirect = Reply(b"", 307, headers={"Location": elsewhere.url})
        operations = ("AssumeRole", "GetCallerIdentity")
        scripted.answers = {**dict.fromkeys(operations, redirect), "GetParameter": {}}
        folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
        on_disk: Any = {"cache_on_disk": True, "cache_key": b"k" * 32, **folders}
        config = tmp_path / "config"
        config.write_text(
            f"[profile reader]\nrole_arn = {ROLE}\nsource_profile = base\n"
            "[profile base]\naws_access_key_id = fake\naws_secret_access_key = fake\n"
        )

        async def read(**options: Any) -> None:
            async with AsyncParameterStore(retry=1, **options) as ps:
                with pytest.raises(s1crets.S1cretsError):
                    await ps.get("/a")

        await read(sts_args={"RoleArn": ROLE})
        await read(cache_args=on_disk)
        assert [scripted.count(one) for one in operations] == [1, 1]
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        monkeypatch.setenv("AWS_PROFILE", "reader")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        await read()
        assert scripted.count("AssumeRole") > 1
        assert elsewhere.asked == []


@contextmanager
def endless(status: int, header: str) -> Iterator[tuple[str, list[int]]]:
    """Yield the address of a server whose responses never end, and the bytes that it sent."""
    sent: list[int] = []
    part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(f"HTTP/1.1 {status} \r\n{header}\r\n\r\n".encode())
                    sent.append(0)
                    while True:
                        connection.sendall(part)
                        sent[-1] += len(part)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as threads:
        threads.submit(serve)
        yield f"http://127.0.0.1:{server.getsockname()[1]}", sent
        server.shutdown(socket.SHUT_RDWR)


class TestSizes:
    """A response is limited while it is read."""

    @pytest.mark.usefixtures("read_path")
    @pytest.mark.parametrize("status", [200, 400, 500])
    @pytest.mark.parametrize(
        "header",
        ["Transfer-Encoding: chunked", "Connection: close", f"Content-Length: {10**12}"],
    )
    async def test_a_response_without_end(
        self, monkeypatch: pytest.MonkeyPatch, header: str, status: int
    ) -> None:
        """It is rejected, also an error; the loop runs meanwhile, and there is no retry."""
        turns = 0

        async def run() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        with endless(status, header) as (url, sent):
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
            async with AsyncParameterStore() as ps:
                await opened(ps)
                running = asyncio.ensure_future(run())
                with pytest.raises(s1crets.BadResponseError, match="more than 8,388,608 bytes"):
                    await ps.get("/a")
                running.cancel()
                assert ps.stats.requests == {"GetParameter": 1}
        assert turns > 30
        assert len(sent) == 1
        assert sent[0] < 64 * 2**20  # with all buffers between the server and us

    @pytest.mark.usefixtures("read_path")
    async def test_a_compressed_body_is_not_expanded(self, scripted: Wire) -> None:
        """None is asked for."""
        bomb = gzip.compress(json.dumps(parameter("/a", "v" * 2**24)).encode())
        scripted.answers["GetParameter"] = Reply(bomb, headers={"Content-Encoding": "gzip"})
        async with AsyncParameterStore() as ps:
            with pytest.raises(s1crets.BadResponseError):
                await ps.get("/a")
        assert scripted.asked[0].headers["Accept-Encoding"] == "identity"

    async def test_the_largest_batch_fits(self, scripted: Wire) -> None:
        """Twenty secrets of 64 KiB, all of it escaped; the connection is used again."""
        names = [f"{i:0512}" for i in range(20)]
        secrets = [{"Name": name, "SecretString": "\0" * 65536} for name in names]
        scripted.answers["BatchGetSecretValue"] = {"SecretValues": secrets}
        async with AsyncSecretsManager() as sm:
            for _ in "ab":
                found = await sm.get_many(names, cached=False)
                assert {len(value) for value in found.values()} == {65536}
                assert scripted.open_connections == 1


ARN = "arn:aws:ssm:eu-west-1:123456789012:parameter"
SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret"

# Requested name, other arguments, and a parameter or secret in the response.
MATCHING: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("/a", {}, {"Name": "/a", "ARN": f"{ARN}/a"}),
    ("a", {}, {"Name": "a", "ARN": f"{ARN}/a"}),
    ("/a:1", {}, {"Name": "/a", "Selector": ":1", "Version": 1}),
    ("/a:1", {}, {"Name": "/a", "Version": 1}),
    ("/a:1", {}, {"Name": "/a:1", "Version": 5}),
    ("/a:label", {}, {"Name": "/a", "Version": 5}),
    (f"{ARN}/a", {}, {"Name": "/a", "ARN": f"{ARN}/a"}),
    (f"{ARN}/a", {}, {"Name": "a", "ARN": f"{ARN}/a"}),
    (f"{ARN}/a", {}, {"Name": f"{ARN}/a"}),
    (f"{ARN}/a:label", {}, {"Name": "/a", "ARN": f"{ARN}/a", "Selector": ":label"}),
    ("/aws/reference/secretsmanager/a", {}, {"Name": "/aws/reference/secretsmanager/a"}),
    ("/aws/reference/secretsmanager/a", {}, {"Name": "a"}),
    ("s/a", {}, {"Name": "s/a", "ARN": f"{SECRET_ARN}:s/a-AbCdEf"}),
    ("s/a", {}, {}),
    (f"{SECRET_ARN}:s/a-AbCdEf", {}, {"Name": "s/a", "ARN": f"{SECRET_ARN}:s/a-AbCdEf"}),
    (f"{SECRET_ARN}:s/a", {}, {"Name": "s/a", "ARN": f"{SECRET_ARN}:s/a-AbCdEf"}),
    (f"{SECRET_ARN}:s/a-AbCdEf", {}, {"Name": "s/a"}),
    ("s/a", {"version_id": "1"}, {"Name": "s/a", "VersionId": "1"}),
    ("s/a", {"version_stage": "B"}, {"Name": "s/a", "VersionStages": ["A", "B"]}),
]
FOREIGN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("/a", {}, {"Name": "/other"}),
    ("/a", {}, {"Name": "/a", "Selector": ":1"}),
    ("/a:1", {}, {"Name": "/a", "Selector": ":2", "Version": 1}),
    ("/a:1", {}, {"Name": "/other", "Selector": ":1", "Version": 1}),
    ("/a:1", {}, {"Name": "/a", "Version": 2}),
    (f"{ARN}/a", {}, {"Name": "/other", "ARN": f"{ARN}/a"}),
    (f"{ARN}/a", {}, {"Name": "/a", "ARN": f"{ARN}/a".replace("123456789012", "210987654321")}),
    (f"{ARN}/a:1", {}, {"Name": "/a", "ARN": f"{ARN}/a"[::-1], "Selector": ":1"}),
    ("/aws/reference/secretsmanager/a", {}, {"Name": "/aws/reference/secretsmanager/b"}),
    ("s/a", {}, {"Name": "s/other"}),
    ("s/a", {}, {"ARN": f"{SECRET_ARN}:s/other-AbCdEf"}),
    (f"{SECRET_ARN}:s/a-AbCdEf", {}, {"Name": "s/a", "ARN": f"{SECRET_ARN}:s/a-GhIjKl"}),
    (f"{SECRET_ARN}:s/a", {}, {"Name": "s/a", "ARN": f"{SECRET_ARN}:s/other-AbCdEf"}),
    ("s/a", {"version_id": "1"}, {"Name": "s/a", "VersionId": "2"}),
    ("s/a", {"version_stage": "B"}, {"Name": "s/a", "VersionStages": ["A"]}),
]


class TestOtherNames:
    """A response about anything but what was requested is a bad response, and not stored."""

    @staticmethod
    def ask(
        scripted: Wire, name: str, options: dict[str, Any], found: dict[str, Any]
    ) -> tuple[Any, bool]:
        """Script a response; return a provider, and whether its service has batches for this."""
        if name.startswith(("s/", SECRET_ARN)):
            secret = {"SecretString": "v", **found}
            other = {"Name": "s/b", "SecretString": "v"}
            scripted.answers["GetSecretValue"] = secret
            scripted.answers["BatchGetSecretValue"] = {"SecretValues": [secret, other]}
            return AsyncSecretsManager(), not options
        parameter = {"Value": "v", **found}
        other = {"Value": "v", "Name": "/b", "Selector": ":1"}
        scripted.answers["GetParameter"] = {"Parameter": parameter}
        scripted.answers["GetParameters"] = {"Parameters": [parameter, other]}
        return AsyncParameterStore(), name.count(":") > 0

    @pytest.mark.parametrize(("name", "options", "found"), MATCHING)
    async def test_what_was_requested(
        self, scripted: Wire, name: str, options: dict[str, Any], found: dict[str, Any]
    ) -> None:
        """By name, ARN, version or label; alone and in a batch."""
        store, in_batch = self.ask(scripted, name, options, found)
        async with store:
            assert await store.get(name, **options) == "v"
            if in_batch:
                other = "s/b" if isinstance(store, AsyncSecretsManager) else "/b:1"
                assert await store.get_many([name, other], cached=False) == {name: "v", other: "v"}

    @pytest.mark.parametrize(("name", "options", "found"), FOREIGN)
    async def test_anything_else(
        self, scripted: Wire, name: str, options: dict[str, Any], found: dict[str, Any]
    ) -> None:
        """All names of a batch get the error, and none is requested again."""
        store, in_batch = self.ask(scripted, name, options, found)
        async with store:
            with pytest.raises(s1crets.BadResponseError, match="another name"):
                await store.get(name, **options)
            if in_batch:
                other = "s/b" if isinstance(store, AsyncSecretsManager) else "/b:1"
                many = await store.get_many([name, other], errors="return")
                assert {type(one) for one in many.values()} == {s1crets.BadResponseError}
            assert store.peek(name, **options) is None
            assert store.stats.retried == 0
            assert sum(store.stats.requests.values()) == 1 + in_batch

    @pytest.mark.parametrize(
        ("path", "options", "name", "is_inside"),
        [
            ("/p", {}, "/p/a/b", True),
            ("/p/", {}, "/p/a", True),
            ("/", {}, "/p/a", True),
            ("/", {}, "without", True),
            ("/p", {"recursive": False}, "/p/a", True),
            ("/p", {}, "/other/a", False),
            ("/p", {}, "/pp", False),
            ("/p", {"recursive": False}, "/p/a/b", False),
            ("/", {"recursive": False}, "/p/a", False),
        ],
    )
    async def test_a_path(
        self, scripted: Wire, path: str, options: dict[str, Any], name: str, *, is_inside: bool
    ) -> None:
        """A name outside of it is not stored under its own name either."""
        page = {"Parameters": [{"Name": name, "Value": "v"}]}
        scripted.answers["GetParametersByPath"] = page
        async with AsyncParameterStore() as ps:
            if is_inside:
                assert await ps.get_by_path(path, **options) == {name: "v"}
            else:
                with pytest.raises(s1crets.BadResponseError, match="another name"):
                    await ps.get_by_path(path, **options)
            assert ps.peek(name) == ("v" if is_inside else None)

    @pytest.mark.parametrize(
        ("operation", "call"),
        [
            ("CreateSecret", lambda sm: sm.create("a", "v")),
            ("PutSecretValue", lambda sm: sm.update("a", "v")),
            ("UpdateSecret", lambda sm: sm.put("a", "v", description="d")),
            ("DeleteSecret", lambda sm: sm.delete("a")),
            ("DescribeSecret", lambda sm: sm.path_exists("a")),
        ],
    )
    async def test_a_write_and_a_description(
        self, scripted: Wire, operation: str, call: Any
    ) -> None:
        """Secrets Manager's responses have the name."""
        async with AsyncSecretsManager() as sm:
            scripted.answers[operation] = {"Name": "a", "VersionId": "1"}
            await call(sm)
            scripted.answers[operation] = {"Name": "other", "VersionId": "1"}
            with pytest.raises(s1crets.BadResponseError, match="another name"):
                await call(sm) if operation != "DescribeSecret" else await sm.path_exists("b")


class Undecided(AioSession):  # type: ignore[misc]  # botocore has no types
    """A session whose credentials come when a test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.decided = asyncio.Event()

    async def get_credentials(self) -> Any:
        await self.decided.wait()
        self.set_credentials("fake-access-key", "fake")
        return await super().get_credentials()


class TestDeadlineOfWrites:
    """The deadline bounds writes with their invalidation, which is delivered afterwards."""

    @pytest.mark.parametrize("call", ["update", "delete", "invalidate"])
    async def test_while_the_account_is_not_known(
        self, scripted: Wire, tmp_path: Path, call: str
    ) -> None:
        """As soon as it is, the other process does not see the old value any more."""
        arn = "<Arn>arn:aws:iam::123456789012:user/u</Arn>"
        scripted.answers["GetCallerIdentity"] = Reply(
            f"<R><GetCallerIdentityResult>{arn}</GetCallerIdentityResult></R>".encode()
        )
        scripted.answers["GetParameter"] = parameter("/a", "old")
        folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
        on_disk: Any = {"cache_on_disk": True, "cache_key": b"k" * 32, **folders}
        session = Undecided()
        async with (
            AsyncParameterStore(cache_args=on_disk) as other,
            AsyncParameterStore(cache_args=on_disk, session=session, deadline=0.2) as ps,
        ):
            assert await other.get("/a") == "old"
            args = ("/a", "new") if call == "update" else ("/a",)
            async with asyncio.timeout(30):
                with pytest.raises(s1crets.DeadlineExceededError, match=f"{call} '/a' took longer"):
                    await getattr(ps, call)(*args)
            assert other.peek("/a") == "old"
            session.decided.set()
            async with asyncio.timeout(30):
                while other.peek("/a") is not None:
                    await asyncio.sleep(0.01)

    async def test_while_the_provider_is_closed(self, scripted: Wire, tmp_path: Path) -> None:
        """Closing does not wait for the account for long."""
        folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
        on_disk: Any = {"cache_on_disk": True, "cache_key": b"k" * 32, **folders}
        ps = AsyncParameterStore(cache_args=on_disk, session=Undecided(), deadline=0.1)
        async with asyncio.timeout(30):
            with pytest.raises(s1crets.DeadlineExceededError):
                await ps.update("/a", "new")
            await ps.aclose()
        assert scripted.asked == []


@pytest.mark.parametrize("attributes", ATTRIBUTES)
async def test_attributes_that_make_no_sense_are_not_written_back(
    scripted: Wire, attributes: dict[str, Any]
) -> None:
    """Nothing is written."""
    scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/a", **attributes}]}
    async with AsyncParameterStore() as ps:
        with pytest.raises(s1crets.BadResponseError):
            await ps.update("/a", "v")
        assert ps.stats.requests == {"DescribeParameters": 1}


@pytest.mark.usefixtures("read_path")
class TestConnections:
    """Broken and impossible connections."""

    async def test_that_can_not_be_made(
        self, monkeypatch: pytest.MonkeyPatch, scripted: Wire
    ) -> None:
        """Refused connection, unknown host, no TLS: `retry` attempts, and the error says which."""
        cases = {
            f"http://127.0.0.1:{closed_port()}": "Could not connect .* can be reached",
            "http://s1crets.invalid": "Could not connect .* can be reached",
            scripted.url.replace("http", "https"): "WRONG_VERSION_NUMBER.* speaks TLS",
        }

        async def read(ps: AsyncParameterStore, words: str) -> None:
            with pytest.raises(s1crets.UnavailableError, match=words):
                await ps.get("/a")
            assert ps.stats.requests == {"GetParameter": 2}
            await ps.aclose()

        going = []
        for url, words in cases.items():
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
            ps = AsyncParameterStore(retry=2)
            await opened(ps)  # it has the endpoint
            going.append(read(ps, words))
        await asyncio.gather(*going)

    async def test_a_certificate_that_nobody_signed(
        self, monkeypatch: pytest.MonkeyPatch, self_signed: Path
    ) -> None:
        """The error has a remedy, and the remedy works."""
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self_signed)
        with wire(tls=tls) as server:
            server.answers["GetParameter"] = parameter("/a", "v")
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            async with AsyncParameterStore(retry=1) as ps:
                with pytest.raises(s1crets.UnavailableError, match=r"self.signed.*AWS_CA_BUNDLE"):
                    await ps.get("/a")
            assert server.asked == []
            monkeypatch.setenv("AWS_CA_BUNDLE", str(self_signed))
            async with AsyncParameterStore(retry=1) as ps:
                assert await ps.get("/a") == "v"

    @pytest.mark.parametrize("fault", [HANG_UP, RESET], ids=["hung up", "reset"])
    async def test_that_break_while_idle_or_in_use(self, scripted: Wire, fault: Any) -> None:
        """An idle connection that was closed costs no attempt, one in use costs one."""
        scripted.answers["GetParameter"] = [
            Reply(parameter("/a", "1"), then_close=True),
            parameter("/a", "2"),
            fault,
            parameter("/a", "3"),
        ]
        async with AsyncParameterStore(retry=2) as ps:
            assert await ps.get("/a", cached=False) == "1"
            while scripted.open_connections:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert await ps.get("/a", cached=False) == "2"
            assert ps.stats.requests == {"GetParameter": 2}
            assert await ps.get("/a", cached=False) == "3"
            assert ps.stats.requests == {"GetParameter": 4}

    async def test_a_server_that_comes_back_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same provider reaches it on the same port."""
        port = closed_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        async with AsyncParameterStore(retry=1) as ps:
            for value in ("before", "after"):
                with wire(port) as server:
                    server.answers["GetParameter"] = parameter("/a", value)
                    assert await ps.get("/a", cached=False) == value
                await asyncio.sleep(0.05)
                with pytest.raises(s1crets.UnavailableError):
                    await ps.get("/a", cached=False)


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a certificate for 127.0.0.1 and its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "self-signed.pem"
    form = serialization.Encoding.PEM
    secret = key.private_bytes(
        form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + certificate.public_bytes(form))
    return path


class TestCredentials:
    """Missing and invalid credentials."""

    @pytest.mark.usefixtures("read_path")
    @pytest.mark.parametrize(
        ("code", "words", "remedy"),
        [
            ("ExpiredTokenException", "The security token is expired", "renew the credentials"),
            ("InvalidSignatureException", "Signature expired: it is now earlier", "the clock"),
            ("InvalidSignatureException", "Signature not yet current: now", "the clock"),
            ("RequestTimeTooSkewed", "The difference is too large", "the clock"),
            ("InvalidSignatureException", "The signature does not match", "belong together"),
            ("IncompleteSignatureException", "A parameter is missing", "belong together"),
            ("UnrecognizedClientException", "The security token is invalid", "belong together"),
        ],
    )
    async def test_that_aws_does_not_accept(
        self, scripted: Wire, code: str, words: str, remedy: str
    ) -> None:
        """The error has AWS's message and a remedy."""
        scripted.answers["GetParameter"] = refusal(code, words)
        async with AsyncParameterStore() as ps:
            with pytest.raises(s1crets.CredentialsError, match=f"{words}.*{code}.*{remedy}"):
                await ps.get("/a")
        assert scripted.count("GetParameter") == (2 if "Expired" in code else 1)

    @pytest.mark.parametrize(("state", "role"), [("hung", False), ("closed", True)])
    async def test_a_metadata_service_that_does_not_answer(
        self, scripted: Wire, monkeypatch: pytest.MonkeyPatch, state: str, *, role: bool
    ) -> None:
        """Without other credentials this is an error that names the service."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
            monkeypatch.delenv(name)
        with hung() as url:
            address = url if state == "hung" else f"http://127.0.0.1:{closed_port()}"
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
            started = time.monotonic()
            async with AsyncParameterStore(sts_args={"RoleArn": ROLE} if role else {}) as ps:
                with pytest.raises(s1crets.CredentialsError, match="metadata service"):
                    await ps.get("/a")
        assert time.monotonic() - started < 60
        assert scripted.asked == []

    @pytest.mark.parametrize("problem", ["closed", "none"])
    async def test_a_container_that_gives_none(
        self, scripted: Wire, monkeypatch: pytest.MonkeyPatch, problem: str
    ) -> None:
        """The error has the address and the reason."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        scripted.answers["GET /none"] = Reply(b"nothing for you", 403)
        address, words = {
            "closed": (f"http://127.0.0.1:{closed_port()}/closed", "Could not connect .*/closed"),
            "none": (f"{scripted.url}/none", "403 .*source of credentials"),
        }[problem]
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
        async with AsyncParameterStore() as ps:
            with pytest.raises(s1crets.CredentialsError, match=f"container-role.*{words}"):
                await asyncio.wait_for(ps.get("/a"), 20)

    @pytest.mark.usefixtures("read_path")
    async def test_one_renewal_for_all_who_wait(self, scripted: Wire) -> None:
        """Fifty requests with an expired token lead to one more AssumeRole."""
        scripted.answers["AssumeRole"] = [assumed("old"), assumed("new")]
        scripted.answers["GetSecretValue"] = lambda asked: (
            {"SecretString": "v"} if signed_by(asked) == "new" else EXPIRED
        )
        async with AsyncSecretsManager(sts_args={"RoleArn": ROLE}) as sm:
            found = await asyncio.gather(*(sm.get("a", version_id=f"{i}") for i in range(50)))
            assert found == ["v"] * 50
            assert scripted.count("AssumeRole") == 2
            assert 50 < scripted.count("GetSecretValue") <= 100

    @pytest.mark.usefixtures("read_path")
    async def test_an_answer_that_comes_after_the_renewal(self, scripted: Wire) -> None:
        """It refers to credentials that have been replaced already."""
        go = threading.Event()

        def answer(asked: Asked) -> Any:
            if signed_by(asked) == "new":
                return parameter("/a", "v")
            if asked.body["WithDecryption"]:
                go.wait(30)
            return EXPIRED

        scripted.answers["AssumeRole"] = [assumed("old"), assumed("new")]
        scripted.answers["GetParameter"] = answer
        async with AsyncParameterStore(sts_args={"RoleArn": ROLE}) as ps:
            late = asyncio.ensure_future(ps.get("/a"))
            while not scripted.count("GetParameter"):
                await asyncio.sleep(0.01)
            assert await ps.get("/a", decrypt=False) == "v"
            go.set()
            assert await late == "v"
        assert scripted.count("AssumeRole") == 2

    @pytest.mark.usefixtures("read_path")
    async def test_one_failed_renewal_for_all_who_wait(self, scripted: Wire) -> None:
        """All callers get its error, and later ones too, without another request."""
        go = threading.Event()

        def denied(_: Asked) -> Reply:
            go.wait(30)
            return Reply(
                b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
                b"<Message>no</Message></Error><RequestId>1</RequestId></ErrorResponse>",
                403,
            )

        scripted.answers["AssumeRole"] = [assumed("old"), denied, assumed("new")]
        scripted.answers["GetSecretValue"] = lambda asked: (
            {"SecretString": "v"} if signed_by(asked) == "new" else EXPIRED
        )
        async with AsyncSecretsManager(sts_args={"RoleArn": ROLE}) as sm:
            going = [asyncio.ensure_future(sm.get("a", version_id=f"{i}")) for i in range(20)]
            while scripted.count("GetSecretValue") < 20:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            go.set()
            found = await asyncio.gather(*going, return_exceptions=True)
            assert {type(one) for one in found} == {s1crets.CredentialsError}
            assert scripted.count("AssumeRole") == 2
            with pytest.raises(s1crets.CredentialsError, match="trust policy"):
                await sm.get("a")  # remembered for some seconds
        assert scripted.count("AssumeRole") == 2
        assert scripted.count("GetSecretValue") == 20

    @pytest.mark.usefixtures("read_path")
    async def test_a_file_that_was_renewed_is_read_again(
        self, scripted: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A login in another terminal changes it; a file without credentials is an error."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        path = tmp_path / "credentials"
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
        form = "[default]\naws_access_key_id = {}\naws_secret_access_key = fake\n"
        good = "one"
        scripted.answers["GetParameter"] = lambda asked: (
            parameter("/a", "v") if signed_by(asked) == good else EXPIRED
        )
        path.write_text(form.format("one"))
        async with AsyncParameterStore() as ps:
            assert await ps.get("/a", cached=False) == "v"
            good = "two"
            path.write_text(form.format("two"))
            assert await ps.get("/a", cached=False) == "v"
            good = "three"
            path.write_text("")
            with pytest.raises(s1crets.CredentialsError, match="AWS_PROFILE"):
                await ps.get("/a", cached=False)

    async def test_a_session_of_the_callers_own_is_asked_again(self, scripted: Wire) -> None:
        """It may have the same credentials."""
        session = AioSession()
        session.set_credentials("session-key", "fake")
        scripted.answers["GetParameter"] = EXPIRED
        async with AsyncParameterStore(session=session) as ps:
            with pytest.raises(s1crets.CredentialsError):
                await ps.get("/a")
        assert [signed_by(one) for one in scripted.asked] == ["session-key"] * 2


@pytest.mark.usefixtures("read_path")
@pytest.mark.parametrize("how", ["get", "get_many", "get_by_path", "threads"])
async def test_the_deadline_holds_where_nothing_answers(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A thousand callers with ten connections to a hung server get an error each."""
    count = 6 if how == "threads" else 1000
    options: Any = {"max_connections": 10, "deadline": 0.5}
    with hung() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        started = time.monotonic()
        async with AsyncParameterStore(**options) as ps:
            if how == "get_many":
                many = await ps.get_many([f"/{i}" for i in range(count)], errors="return")
                found: list[Any] = list(many.values())
            elif how == "threads":
                facade = ParameterStore(**options)
                calls = [asyncio.to_thread(facade.get, f"/{i}") for i in range(count)]
                found = await asyncio.gather(*calls, return_exceptions=True)
                await asyncio.to_thread(facade.close)
            else:
                read = getattr(ps, how)
                calls = [read(f"/{i}") for i in range(count)]
                found = await asyncio.gather(*calls, return_exceptions=True)
        took = time.monotonic() - started
    assert {type(one) for one in found} == {s1crets.DeadlineExceededError}
    assert len(found) == count
    assert took < 60


class TestCancellation:
    """Cancelled callers don't affect others, and leave nothing behind."""

    async def test_what_is_left_over_is_found(self, scripted: Wire) -> None:
        """The fixture that checks every test finds tasks and connections."""
        scripted.answers["GetParameter"] = parameter("/a", "v")
        loop = asyncio.get_running_loop()
        before = len(left_on(loop))
        connections = 1 if hasattr(loop, "_transports") else 0  # uvloop keeps no list of them
        async with AsyncParameterStore() as ps:
            await ps.get("/a")
            assert len(left_on(loop)) == before + connections
            sleeping = asyncio.ensure_future(asyncio.sleep(60))
            assert len(left_on(loop)) == before + connections + 1
            sleeping.cancel()
        await asyncio.sleep(0.05)
        assert len(left_on(loop)) == before

    @pytest.mark.usefixtures("read_path")
    @pytest.mark.parametrize("leader", [True, False])
    async def test_of_a_leader_or_a_waiter(
        self, scripted: Wire, caplog: pytest.LogCaptureFixture, *, leader: bool
    ) -> None:
        """The other callers get the value from the same request."""
        go = threading.Event()
        scripted.answers["GetParameter"] = lambda _: go.wait(30) and parameter("/a", "v")
        async with AsyncParameterStore() as ps:
            going = [asyncio.ensure_future(ps.get("/a")) for _ in range(5)]
            while not scripted.count("GetParameter"):
                await asyncio.sleep(0.01)
            going[0 if leader else 2].cancel()
            await asyncio.sleep(0.05)
            go.set()
            found = await asyncio.gather(*going, return_exceptions=True)
            assert sorted(map(str, found)) == ["", "v", "v", "v", "v"]
            assert ps.stats.requests == {"GetParameter": 1}
        gc.collect()
        assert caplog.messages == []

    @pytest.mark.usefixtures("read_path")
    async def test_of_all_in_a_storm(
        self, scripted: Wire, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Reads and updates are cancelled at random; the call that is not gets its values."""
        scripted.answers.update(
            GetParameter=lambda asked: parameter(asked.body["Name"], "v"),
            GetParameters=lambda asked: {
                "Parameters": [{"Name": name, "Value": "v"} for name in asked.body["Names"]]
            },
            GetParametersByPath=PARAMETERS,
            DescribeParameters=PARAMETERS,
            PutParameter=[FAILED, {"Version": 1}],
        )
        random = Random(3)  # noqa: S311  # the same each time
        async with AsyncParameterStore(max_connections=3) as ps:
            calls: list[Any] = [
                lambda i: ps.get(f"/{i % 7}", cached=False),
                lambda i: ps.get(f"/{i % 7}"),
                lambda i: ps.get_many([f"/{i}", f"/{i + 1}"]),
                lambda i: ps.get_by_path(f"/{i}"),
                lambda _: ps.path_exists("/a"),
                lambda _: ps.update("/a", "v"),
            ]
            for turn in range(30):
                going = [asyncio.ensure_future(call(turn)) for call in calls * 2]
                kept = asyncio.ensure_future(ps.get_many([f"/{turn}", "/kept"], cached=False))
                await asyncio.sleep(random.choice([0, 0, 0.001, 0.005, 0.02]))
                for one in going:
                    one.cancel()
                assert await kept == {f"/{turn}": "v", "/kept": "v"}
                await asyncio.gather(*going, return_exceptions=True)
            assert await ps.get("/after") == "v"
        while scripted.open_connections:
            await asyncio.sleep(0.01)
        gc.collect()
        assert caplog.messages == []

    @pytest.mark.usefixtures("read_path")
    @pytest.mark.parametrize("during", ["opening", "renewal", "request"])
    async def test_of_the_only_caller_before_the_provider_is_closed(
        self, scripted: Wire, caplog: pytest.LogCaptureFixture, during: str
    ) -> None:
        """During AssumeRole, a renewal, or a request; no task remains."""
        go = threading.Event()

        def slow(_: Asked) -> Any:
            go.wait(30)
            return HANG_UP

        first = slow if during == "opening" else assumed("old")
        scripted.answers["AssumeRole"] = [first, slow]
        scripted.answers["GetParameter"] = EXPIRED if during == "renewal" else slow
        async with AsyncParameterStore(sts_args={"RoleArn": ROLE}) as ps:
            going = asyncio.ensure_future(ps.get("/a"))
            wanted = {"opening": 1, "renewal": 3, "request": 2}[during]
            while len(scripted.asked) < wanted:
                await asyncio.sleep(0.01)
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)
        assert going.cancelled()
        go.set()
        gc.collect()
        assert [one for one in caplog.records if one.name == "asyncio"] == []

    @pytest.mark.usefixtures("read_path")
    @pytest.mark.parametrize("during", ["opening", "renewal", "request"])
    async def test_a_provider_that_is_closed_under_way(
        self, scripted: Wire, caplog: pytest.LogCaptureFixture, during: str
    ) -> None:
        """The call fails at once; a later one works."""
        go = threading.Event()

        def slow(_: Asked) -> Any:
            go.wait(30)
            return HANG_UP

        first: list[Any] = [slow] if during == "opening" else [assumed("old")]
        second: list[Any] = [slow] if during == "renewal" else []
        scripted.answers["AssumeRole"] = [*first, *second, assumed()]
        faults: dict[str, list[Any]] = {"opening": [], "renewal": [EXPIRED], "request": [slow]}
        scripted.answers["GetParameter"] = [*faults[during], parameter("/a", "v")]
        ps = AsyncParameterStore(sts_args={"RoleArn": ROLE}, retry=1)
        going = asyncio.ensure_future(ps.get("/a"))
        wanted = {"opening": 1, "renewal": 3, "request": 2}[during]
        while len(scripted.asked) < wanted:
            await asyncio.sleep(0.01)
        await ps.aclose()
        with pytest.raises(s1crets.UnavailableError):
            await asyncio.wait_for(going, 10)
        go.set()
        assert await ps.get("/a") == "v"
        await ps.aclose()
        gc.collect()
        assert [one for one in caplog.records if one.name == "asyncio"] == []

    def test_a_provider_that_is_closed_from_another_loop_while_it_opens(
        self, scripted: Wire
    ) -> None:
        """The caller on that loop gets an error."""
        go = threading.Event()
        scripted.answers["AssumeRole"] = lambda _: go.wait(30) and HANG_UP
        ps = AsyncParameterStore(sts_args={"RoleArn": ROLE}, retry=1)
        with ThreadPoolExecutor(1) as threads:
            reading = threads.submit(lambda: anyio.run(ps.get, "/a"))
            while not scripted.count("AssumeRole"):
                time.sleep(0.01)
            anyio.run(ps.aclose)
            with pytest.raises(s1crets.UnavailableError, match="closed"):
                reading.result(10)
        go.set()
