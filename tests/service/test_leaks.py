"""A secret's value is where its caller gets it, and nowhere else: what was looked through."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from _support.clients import forget_credentials
from _support.wire import HANG_UP, Reply, Wire, assumed, parameter, refusal
from aiobotocore.session import AioSession

import s1crets
from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    SecretsManager,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

CANARY = "canary-b41d"
KEY = "canarykey0b41d"
SESSION_TOKEN = "canary-token-b41d"
ROLE: Any = {"RoleArn": "arn:aws:iam::123456789012:role/r"}
SECRETS = (CANARY, KEY, SESSION_TOKEN)


def chain(error: BaseException | None, seen: set[int] | None = None) -> Iterator[BaseException]:
    """Yield an error and all behind it, also what `from None` only hides, and groups' members."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    for one in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        yield from chain(one, seen)


def shown(error: BaseException) -> str:
    """Return all that any tool shows of an error; of frames, those that are not of this file."""
    parts = []
    for one in chain(error):
        parts += [str(one), repr(one), repr(one.args), repr(vars(one).get("__notes__"))]
        report = traceback.TracebackException.from_exception(one, capture_locals=True)
        parts += [repr(frame.locals) for frame in report.stack if frame.filename != __file__]
        with suppress(TypeError, AttributeError):
            parts.append(repr(pickle.dumps(one)))
    return "\n".join(parts)


def assert_nothing_of(error: BaseException) -> None:
    for secret in SECRETS:
        assert secret not in shown(error)


def test_what_is_shown_would_show_a_leak() -> None:
    """The check itself can fail: a context that is hidden, a local of a foreign frame, args."""
    with pytest.raises(UnicodeDecodeError) as caught:
        json.loads(CANARY.encode() + b"\xff")
    assert CANARY in shown(caught.value)
    hidden = ValueError()
    hidden.__context__ = caught.value
    assert CANARY in shown(hidden)


@pytest.fixture
def whole(scripted: Wire) -> Wire:
    """Answer every operation as AWS does, with canaries for values and credentials."""
    credentials = assumed(KEY).body.replace(b"fake-token", SESSION_TOKEN.encode())
    answers = {
        "AssumeRole": Reply(credentials.replace(b"fake-secret", CANARY.encode())),
        "GetParameter": lambda asked: parameter(asked.body["Name"], CANARY),
        "GetParameters": lambda asked: {
            "Parameters": [{"Name": name, "Value": CANARY} for name in asked.body["Names"]]
        },
        "GetParametersByPath": {"Parameters": [{"Name": "/p/a", "Value": CANARY}]},
        "DescribeParameters": {"Parameters": [{"Name": "/a", "Type": "SecureString"}]},
        "PutParameter": {"Version": 2},
        "GetSecretValue": {"SecretString": f'{{"password": "{CANARY}"}}'},
        "BatchGetSecretValue": lambda asked: {
            "SecretValues": [
                {"Name": name, "SecretString": CANARY} for name in asked.body["SecretIdList"]
            ]
        },
        "ListSecrets": {"SecretList": [{"Name": "/p/a"}, {"Name": "/p/b"}]},
        "DescribeSecret": {"Name": "/a"},
        "PutSecretValue": {"VersionId": "2"},
    }
    scripted.answers.update(answers)
    return scripted


async def every_call(store: Any) -> None:
    """Make every call that a store has, good ones and bad ones."""
    await store.get("/a")
    await store.get_many(["/a", "/b", "/c"])
    await store.get_by_path("/p")
    await store.path_exists("/a")
    await store.update("/a", CANARY)
    await store.get("/a")
    with pytest.raises(KeyError):
        await store.get("/a", keypath=("no", "such"))
    with pytest.raises(s1crets.InvalidValueError):
        await store.update("/a", [CANARY, object()])
    with pytest.raises(TypeError):
        await store.get("/a", keypath=5.0)


def every_blocking_call(store: Any) -> None:
    async def awaited() -> None:
        class Awaited:
            def __getattr__(self, name: str) -> Any:
                async def call(*args: Any, **kwargs: Any) -> Any:
                    return await asyncio.to_thread(getattr(store, name), *args, **kwargs)

                return call

        await every_call(Awaited())

    asyncio.run(awaited())


@contextmanager
def everything_logged() -> Iterator[list[str]]:
    """Yield all records of all loggers from DEBUG on, each with its arguments and its error."""
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info[1] if record.exc_info else None
            details = shown(error) if error else ""
            seen.append(f"{record.name}: {record.getMessage()} {record.args!r} {details}")

    handler, root = Handler(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield seen
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def leaks(lines: list[str]) -> list[str]:
    return [line for line in lines if any(secret in line for secret in SECRETS)]


def on_disk(folder: Path) -> Any:
    keys, paths = str(folder / "keys"), str(folder / "paths")
    return {"cache_on_disk": True, "key_cache_dir": keys, "path_cache_dir": paths}


class TestLogs:
    """The root logger at DEBUG."""

    @pytest.mark.usefixtures("read_path")
    @pytest.mark.filterwarnings("ignore::s1crets.InsecureCacheWarning")
    @pytest.mark.parametrize("disk", [False, True])
    @pytest.mark.parametrize("cls", [AsyncParameterStore, AsyncSecretsManager])
    async def test_awaited_calls(self, whole: Wire, tmp_path: Path, cls: Any, disk: bool) -> None:  # noqa: FBT001
        """Of both services, with a role; every step of asyncio's debug mode is a slow one."""
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 0.0
        cache_args = on_disk(tmp_path) if disk else {}
        try:
            with everything_logged() as seen:
                async with cls(sts_args=ROLE, cache_args=cache_args) as store:
                    await every_call(store)
                async with cls(sts_args=ROLE, cache_args=cache_args) as store:
                    await every_call(store)
        finally:
            loop.set_debug(False)

        assert leaks(seen) == []
        assert any("Executing <Task" in line for line in seen)
        assert whole.count("AssumeRole") == 1

    @pytest.mark.usefixtures("read_path")
    @pytest.mark.parametrize("cls", [ParameterStore, SecretsManager])
    def test_blocking_calls(self, whole: Wire, cls: Any) -> None:
        """The portal's loop is in debug mode too."""
        from s1crets import _sync

        loop = _sync._portal._running()
        loop.set_debug(True)
        loop.slow_callback_duration = 0.0
        try:
            with everything_logged() as seen, cls(sts_args=ROLE) as store:
                every_blocking_call(store)
                assert whole.count("AssumeRole") == 1
        finally:
            loop.set_debug(False)

        assert leaks([line for line in seen if "to_thread" not in line]) == []
        assert any("_Call._run" in line for line in seen)

    @pytest.mark.parametrize("role", [False, True])
    async def test_calls_that_fail(self, whole: Wire, role: bool) -> None:  # noqa: FBT001
        """Whatever the service says; its retries are logged too."""
        kinds: list[Any] = [
            refusal("InternalServerError", CANARY, 500),
            Reply(CANARY.encode(), 502),
            Reply(b'{"Value": "' + CANARY.encode() + b'\xff"}'),
            HANG_UP,
        ]
        sts_args: Any = ROLE if role else {}
        with everything_logged() as seen:
            for kind in kinds:
                whole.answers["AssumeRole" if role else "PutParameter"] = kind
                retry = 2 if kind is HANG_UP else 1
                forget_credentials()
                async with AsyncParameterStore(retry=retry, sts_args=sts_args) as ps:
                    with pytest.raises(s1crets.S1cretsError):
                        await ps.update("/a", CANARY)

        assert leaks(seen) == []
        assert any("botocore.retries" in line for line in seen)

    @pytest.mark.usefixtures("read_path")
    async def test_others_keep_their_logs(self, whole: Wire) -> None:
        """Other clients of botocore, at the same time, on the same loop."""
        theirs = "not-ours-b41d"
        whole.answers["GetParameter"] = lambda asked: parameter(
            "/a", CANARY if "s1crets" in asked.headers["User-Agent"] else theirs
        )

        async def plain() -> None:
            session: Any = AioSession()
            async with session.create_client("ssm") as client:
                for _ in range(5):
                    await client.get_parameter(Name="/a")

        async def ours() -> None:
            async with AsyncParameterStore() as ps:
                for _ in range(5):
                    await ps.get("/a", cached=False)

        await asyncio.to_thread(AioSession().get_available_services)
        with everything_logged() as seen:
            await asyncio.gather(plain(), ours(), ours())
            parsed = [line for line in seen if "botocore.parsers" in line and theirs in line]
            await asyncio.to_thread(boto3.client("ssm").get_parameter, Name="/a")

        assert leaks(seen) == []
        assert len(parsed) >= 5
        assert sum(theirs in line for line in seen) > len(parsed)


FAILING = {
    "echoed": refusal("ValidationException", f"Value '{CANARY}' at 'value' is wrong"),
    "echoed in a 5xx": refusal("InternalServerError", f"can't store {CANARY}", 500),
    "a page in a 5xx": Reply(f"<h1>can't store {CANARY}</h1>".encode(), 503),
    "an unknown code": refusal("SomethingNew", CANARY),
    "not UTF-8": Reply(b'{"Version": "' + CANARY.encode() + b'\xff"}'),
    "deeply nested": Reply(b'{"Version": ' + b"[" * 100_000 + CANARY.encode()),
    "of another shape": {"Version": CANARY},
    "hung up": HANG_UP,
}


@pytest.mark.parametrize("kind", FAILING)
@pytest.mark.parametrize("cls", [AsyncParameterStore, AsyncSecretsManager])
async def test_an_update_that_fails(whole: Wire, cls: Any, kind: str) -> None:
    """Whatever the service answers: it knows the value, and may repeat it."""
    whole.answers["PutParameter"] = whole.answers["PutSecretValue"] = FAILING[kind]
    async with cls(retry=1) as store:
        with pytest.raises(s1crets.S1cretsError) as caught:
            await store.update("/a", CANARY)
        assert_nothing_of(caught.value)


READS: dict[str, Any] = {
    "not UTF-8": Reply(b'{"Parameter": {"Name": "/a", "Value": "' + CANARY.encode() + b'\xff"}}'),
    "cut short": Reply(b'{"Parameter": {"Name": "/a", "Value": "' + CANARY.encode()),
    "not JSON": Reply(CANARY.encode()),
    "not JSON in a 5xx": Reply(f"<h1>{CANARY}</h1>".encode(), 503),
    "text for a structure": {"Parameter": CANARY},
    "a list for a structure": [CANARY],
    "a bad time": {"Parameter": {"Name": "/a", "LastModifiedDate": CANARY, "Value": CANARY}},
    "a bad name": {"Parameter": {"Name": [CANARY], "Value": CANARY}},
    "too long for its length": b"the length is wrong",
}


@pytest.mark.usefixtures("read_path")
@pytest.mark.parametrize("kind", READS)
async def test_a_read_that_can_not_be_parsed(scripted: Wire, kind: str) -> None:
    """No part of the answer is in the error."""
    scripted.answers["GetParameter"] = READS[kind]
    async with AsyncParameterStore(retry=1) as ps:
        for _ in range(2):
            with pytest.raises(s1crets.S1cretsError) as caught:
                await ps.get("/a")
            assert_nothing_of(caught.value)


@pytest.mark.parametrize("cut", [True, False])
async def test_an_answer_of_sts_that_can_not_be_parsed(scripted: Wire, cut: bool) -> None:  # noqa: FBT001
    """The parser puts the whole of it into its error, keys included."""
    body = assumed(KEY).body.replace(b"fake-secret", CANARY.encode())
    scripted.answers["AssumeRole"] = Reply(body[:-20] if cut else body.replace(b"<Exp", b"\xff"))
    async with AsyncParameterStore(retry=1, sts_args=ROLE) as ps:
        with pytest.raises(s1crets.S1cretsError) as caught:
            await ps.get("/a")
        assert_nothing_of(caught.value)


@pytest.mark.parametrize("depth", [200, 400, 900, 3_000, 20_000, 100_000])
def test_json_that_nests_deeply(whole: Wire, depth: int) -> None:
    """It comes as text or parsed, or fails without being shown."""
    text = "[" * depth + f'"{CANARY}"' + "]" * depth
    whole.answers["GetParameter"] = parameter("/a", text)
    with ParameterStore() as ps:
        for _ in range(2):
            found = ps.get("/a")
            assert isinstance(found, list) or found == text


def test_a_hit_with_little_of_the_stack_left(whole: Wire) -> None:
    """A RecursionError has many frames; none of ours has the value."""
    whole.answers["GetParameter"] = parameter("/a", json.dumps({"x": [[CANARY]]}))

    def dive(left: int) -> Any:
        return dive(left - 1) if left else ps.get("/a")

    with ParameterStore() as ps:
        outcomes = set()
        for depth in range(sys.getrecursionlimit() - 120, sys.getrecursionlimit(), 2):
            ps.get("/a")
            try:
                found = dive(depth - len(traceback.extract_stack()))
            except RecursionError as error:
                outcomes.add("error")
                assert_nothing_of(error)
            else:
                outcomes.add("value")
                assert CANARY in str(found)
        assert outcomes == {"error", "value"}


class TestInterrupted:
    """A call that does not end by itself: its frames hold what it was about."""

    @pytest.mark.parametrize("cls", [AsyncParameterStore, AsyncSecretsManager])
    async def test_by_the_deadline(self, whole: Wire, cls: Any) -> None:
        """The error's context is a cancellation, with all the frames that it came through."""
        with held(whole, "PutParameter", "PutSecretValue"):
            async with cls(deadline=0.3) as store:
                # On a busy machine the credentials may be what is late.
                late = (s1crets.DeadlineExceededError, s1crets.CredentialsError)
                with pytest.raises(late) as caught:
                    await store.update("/a", CANARY)
        assert_nothing_of(caught.value)

    @pytest.mark.usefixtures("read_path")
    @pytest.mark.parametrize("verb", ["update", "get_many"])
    async def test_by_a_cancellation(self, whole: Wire, verb: str) -> None:
        """As when a client of a web service hangs up."""
        async with AsyncParameterStore() as ps:
            await ps.get("/a")
            with held(whole, "PutParameter", "GetParameter") as asked:
                call = ps.update("/a", CANARY) if verb == "update" else ps.get_many(["/a", "/new"])
                task = asyncio.create_task(call)
                while not asked.is_set():
                    await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError) as caught:
                    await task
        assert_nothing_of(caught.value)

    def test_by_ctrl_c(self, whole: Wire) -> None:
        """In a blocking update."""
        with held(whole, "PutParameter") as asked, ParameterStore() as ps:

            def interrupt() -> None:
                asked.wait(30)
                time.sleep(0.2)  # until the loop waits: Python 3.10 raises it wherever it is
                os.kill(os.getpid(), signal.SIGINT)

            threading.Thread(target=interrupt).start()
            with pytest.raises(KeyboardInterrupt) as caught:
                ps.update("/a", CANARY)
        assert_nothing_of(caught.value)

    def test_by_ctrl_c_in_a_loop_of_the_callers(self, whole: Wire) -> None:
        """Where it reaches the caller as a cancellation, or as itself."""
        ps = AsyncParameterStore()
        with held(whole, "PutParameter") as asked:

            def interrupt() -> None:
                asked.wait(30)
                time.sleep(0.2)  # until the loop waits: Python 3.10 raises it wherever it is
                os.kill(os.getpid(), signal.SIGINT)

            threading.Thread(target=interrupt).start()
            with pytest.raises(KeyboardInterrupt) as caught:
                asyncio.run(ps.update("/a", CANARY))
        assert_nothing_of(caught.value)


@contextmanager
def held(wire: Wire, *operations: str) -> Iterator[threading.Event]:
    """Answer operations not before the end; yield what says that one was asked for."""
    asked, go = threading.Event(), threading.Event()

    def answer(_: Any) -> Any:
        asked.set()
        go.wait(30)
        return HANG_UP

    wire.answers.update(dict.fromkeys(operations, answer))
    try:
        yield asked
    finally:
        go.set()


def session_with_hook(event: str, hook: Callable[..., Any]) -> Any:
    session: Any = AioSession()
    session.get_component("event_emitter").register(event, hook)
    return session


@pytest.mark.parametrize("event", ["before-call", "before-send", "after-call"])
@pytest.mark.parametrize("verb", ["get", "update", "get_many", "get_by_path"])
async def test_a_bug_in_a_hook_of_the_callers(whole: Wire, event: str, verb: str) -> None:
    """It is raised as what it is, and says where it was raised; frames with values are not."""

    def faulty(**_: Any) -> None:
        raise ZeroDivisionError("of the hook")

    calls: dict[str, Callable[[Any], Awaitable[Any]]] = {
        "get": lambda ps: ps.get("/a"),
        "update": lambda ps: ps.update("/a", CANARY),
        "get_many": lambda ps: ps.get_many(["/a", "/b"]),
        "get_by_path": lambda ps: ps.get_by_path("/p"),
    }
    operations = {
        "get": "GetParameter",
        "update": "PutParameter",
        "get_many": "GetParameters",
        "get_by_path": "GetParametersByPath",
    }
    session = session_with_hook(f"{event}.ssm.{operations[verb]}", faulty)
    async with AsyncParameterStore(session=session) as ps:
        with pytest.raises(ZeroDivisionError, match="of the hook") as caught:
            await calls[verb](ps)
    assert_nothing_of(caught.value)
    notes = "".join(vars(caught.value)["__notes__"])
    assert "in faulty" in notes


async def test_a_bug_in_a_background_refresh(whole: Wire) -> None:
    """The loop logs it, as nobody else learns of it; without frames that have values."""
    armed = False

    def faulty(**_: Any) -> None:
        if armed:
            raise ZeroDivisionError

    session = session_with_hook("after-call.ssm.GetParameter", faulty)
    cache_args: Any = {"cache_ttl": 900, "refresh_ahead": 899.9, "jitter": 0}
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    theirs = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: told.append(context))
    try:
        async with AsyncParameterStore(session=session, cache_args=cache_args) as ps:
            await ps.get("/a")
            await asyncio.sleep(0.15)  # until it is late
            armed = True
            await ps.get("/a")
            while not told:
                await asyncio.sleep(0.01)
                gc.collect()
    finally:
        loop.set_exception_handler(theirs)

    assert isinstance(told[0]["exception"], ZeroDivisionError)
    assert_nothing_of(told[0]["exception"])
    assert leaks([repr(told)]) == []


async def test_notes_that_an_error_has_already() -> None:
    """Are kept."""
    from s1crets._redaction import stripped

    async def bug() -> None:
        error = ZeroDivisionError()
        vars(error)["__notes__"] = ["mine"]
        raise error

    with pytest.raises(ZeroDivisionError) as caught:
        await stripped(bug())
    assert vars(caught.value)["__notes__"][0] == "mine"


async def test_a_batch_error_shows_no_value(whole: Wire) -> None:
    """What was read is in `.values`, for whoever asks for it."""
    whole.answers["GetParameters"] = {
        "Parameters": [{"Name": "/a", "Value": CANARY}],
        "InvalidParameters": ["/b"],
    }
    whole.answers["GetParameter"] = refusal("ParameterNotFound")
    async with AsyncParameterStore() as ps:
        for _ in ("cold", "warm"):
            with pytest.raises(s1crets.BatchError) as caught:
                await ps.get_many(["/a", "/b"])
            assert caught.value.values == {"/a": CANARY}
            assert_nothing_of(caught.value)
            assert_nothing_of(copy.copy(caught.value))
            assert_nothing_of(pickle.loads(pickle.dumps(caught.value)))  # noqa: S301


@pytest.mark.parametrize("keypath", ["x", ("password", "x"), 5, 5.0, ("password", None), {}])
def test_a_keypath_that_leads_nowhere(whole: Wire, keypath: Any) -> None:
    """Cold and warm, blocking and awaited."""
    with SecretsManager() as sm:
        ask = partial(sm.get, "/a", keypath=keypath)
        calls: list[Callable[[], object]] = [ask, ask]
        calls.append(lambda: asyncio.run(sm.awaited.get("/a", keypath=keypath)))
        for call in calls:
            with pytest.raises((KeyError, TypeError)) as caught:
                call()
            sm.get("/a")
            assert_nothing_of(caught.value)


def test_a_key_that_can_not_be_shown(whole: Wire) -> None:
    """Its error comes from a frame of ours, which has no value."""
    failures = [RuntimeError("no repr")]

    class Unprintable(str):
        __slots__ = ()

        def __repr__(self) -> str:
            if failures:
                raise failures.pop()
            return "key"  # Python 3.11 reports no frame whose locals have no repr

    with SecretsManager() as sm:
        assert sm.get("/a")
        with pytest.raises(RuntimeError, match="no repr") as caught:
            sm.get("/a", keypath=Unprintable("x"))
    assert_nothing_of(caught.value)


@pytest.mark.usefixtures("read_path")
async def test_no_object_of_ours_shows_a_value(whole: Wire) -> None:
    """The repr of each one that is alive, during a fetch and after it."""
    async with AsyncParameterStore() as ps, AsyncSecretsManager() as sm:
        await asyncio.gather(every_call(ps), every_call(sm))
        with held(whole, "PutParameter") as asked:
            task = asyncio.create_task(ps.update("/a", CANARY))
            while not asked.is_set():
                await asyncio.sleep(0.01)
            alive = [
                one for one in gc.get_objects() if str(type(one).__module__).startswith("s1crets")
            ]
            seen = [repr(one) for one in alive]
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert leaks(seen) == []
    assert any("AsyncParameterStore" in line for line in seen)


def test_warnings_show_no_value(whole: Wire, tmp_path: Path) -> None:
    """Neither that of an unencrypted disk, nor Python's own of what was never awaited or closed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ps = AsyncParameterStore(cache_args=on_disk(tmp_path))
        asyncio.run(ps.get("/a"))
        ps.update("/a", CANARY)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
        del ps
        gc.collect()
    told = [str(one.message) for one in caught]

    assert leaks(told) == []
    assert any("unencrypted" in one for one in told)
    assert any("never awaited" in one for one in told)


CLASSES = [AsyncParameterStore, AsyncSecretsManager, ParameterStore, SecretsManager]


@pytest.mark.parametrize("cls", CLASSES)
def test_a_provider_is_neither_pickled_nor_copied(cls: Any) -> None:
    """Its cache has secrets in it; the error says what to do."""
    provider = cls()
    attempts: list[Callable[[], object]] = [
        lambda: copy.copy(provider),
        lambda: copy.deepcopy(provider),
        lambda: copy.deepcopy({"nested": [provider]}),
        lambda: pickle.dumps(provider.get),
    ]
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    attempts += [partial(pickle.dumps, provider, protocol) for protocol in protocols]
    for attempt in attempts:
        with pytest.raises(TypeError, match=f"{cls.__name__} can't be copied or pickled"):
            attempt()


@pytest.mark.usefixtures("read_path")
async def test_what_is_left_on_a_connection_is_not_shown(environment: dict[str, str]) -> None:
    """An answer that is longer than it says: the rest stands where the next one should begin."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, suppress(OSError):
                        while connection.recv(65536):
                            head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
                            connection.sendall(head + CANARY.encode() + b"\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.getsockname()[1]}"
        async with AsyncParameterStore(retry=1) as ps:
            for _ in range(3):
                with pytest.raises(s1crets.S1cretsError) as caught:
                    await ps.get("/a")
                assert_nothing_of(caught.value)
