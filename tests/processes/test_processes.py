"""Processes, threads and loops of the caller's: forks, pools, servers, signals, exits."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from _support.scripts import LIMIT, check, start, unmeasured
from _support.wire import HANG_UP, Asked, Wire, parameter, refusal

from s1crets import ConfigurationError
from s1crets.providers.aws import AsyncParameterStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s1crets.providers.aws import AsyncSecretsManager, ParameterStore

PRELUDE = """
import asyncio, atexit, os, signal, sys, threading, time
from s1crets.providers import aws
ps = aws.ParameterStore()
"""


def program(script: str) -> str:
    """Return a program that has a blocking store, `ps`, which was not used yet."""
    return PRELUDE + textwrap.dedent(script)


@pytest.fixture
def answering(scripted: Wire) -> Iterator[Wire]:
    """Yield a server that has every parameter; `/slow` is not answered before the test's end.

    So a program that ends while the test runs has not waited for that answer.
    """
    go = threading.Event()

    def hang(_: Asked) -> Any:
        go.wait(2 * LIMIT)
        return HANG_UP

    def answer(asked: Asked) -> Any:
        name = asked.body["Name"]
        if name == "/slow":
            return hang(asked)
        return refusal("ParameterNotFound") if name == "/missing" else parameter(name, "v")

    scripted.answers["GetParameter"] = answer
    scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/slow", "Type": "String"}]}
    scripted.answers["PutParameter"] = hang
    yield scripted
    go.set()


@pytest.mark.parametrize("how", ["async", "blocking"])
def test_an_exit_does_not_wait_for_a_dns_server(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Its answer may take longer than any deadline. The test ends when the program does."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://aws.invalid")
    script = """
    import socket
    resolve, asked = socket.getaddrinfo, threading.Event()

    def look_up(host, *args, **options):
        if host == "aws.invalid":
            asked.set()
            threading.Event().wait()
        return resolve(host, *args, **options)

    async def main():
        task = asyncio.create_task(ps.awaited.get("/a"))
        while not asked.is_set():
            await asyncio.sleep(0.01)
        task.cancel()

    socket.getaddrinfo = look_up
    if sys.argv[1] == "async":
        asyncio.run(main())
    else:
        threading.Thread(target=ps.get, args=["/a"], daemon=True).start()
        asked.wait()
    print("end")
    """
    assert check(program(script), how) == "end\n"


def test_later_calls_while_the_interpreter_ends(answering: Wire) -> None:
    """They work in handlers and in threads that outlive main: the facade's thread goes on."""
    script = """
    ps.get("/a")
    def late():
        threading.main_thread().join()
        print("thread", ps.get("/a", cached=False))
    threading.Thread(target=late).start()
    atexit.register(lambda: print("handler", ps.get("/a", cached=False)))
    """

    assert check(program(script), measured=True) == "thread v\nhandler v\n"


def test_a_first_call_while_the_interpreter_ends(answering: Wire) -> None:
    """It needs a thread, and none can be started any more: the error says what to do instead."""
    script = """
    import asyncio, atexit, threading
    def first():
        from s1crets.providers import aws
        for call in (aws.ParameterStore().get, awaited):
            try:
                call("/a")
            except RuntimeError as error:
                print(error)
    def awaited(name):
        from s1crets.providers import aws
        return asyncio.run(aws.AsyncParameterStore().get(name))
    def late():
        threading.main_thread().join()
        first()
    atexit.register(first)  # before the import, so the handler runs after s1crets' own
    import s1crets
    threading.Thread(target=late).start()
    """
    lines = check(script, measured=True).splitlines()

    assert len(lines) == 4
    assert all("before the program's end, not in an atexit handler" in line for line in lines)


def test_no_refresh_begins_while_the_interpreter_ends(answering: Wire) -> None:
    """A hit that would start one is still a hit."""
    script = """
    now = [0.0]
    time.monotonic = lambda clock=time.monotonic: clock() + now[0]
    ps = aws.ParameterStore(cache_args={"refresh_ahead": 800, "jitter": 0})
    print(ps.get("/a"))
    def handler():
        now[0] = 500.0
        print(ps.get("/a"))
    atexit.register(handler)
    """

    assert check(program(script)) == "v\nv\n"


LEFT = {
    "calls under way in threads and a fetch under way on a loop": """
        store = aws.AsyncParameterStore()
        threading.Thread(target=ps.get, args=("/slow",), daemon=True).start()
        threading.Thread(target=ps.update, args=("/slow", "v"), daemon=True).start()
        async def main():
            task = asyncio.create_task(store.get("/slow"))
            await asyncio.to_thread(sys.stdin.read)  # until the server has all requests
        asyncio.run(main())""",
    "sys.exit in a callback": """
        store = aws.AsyncParameterStore()
        async def main():
            await store.get("/a")
            reading = asyncio.create_task(store.get("/slow"))
            await asyncio.to_thread(sys.stdin.read)
            asyncio.get_running_loop().call_soon(sys.exit)
            await reading
        asyncio.run(main())""",
    "loops, providers that nobody keeps, sys.exit in a thread": """
        ps.get("/a")
        store, loop = aws.AsyncParameterStore(), asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(store.get("/a", cached=False), loop).result()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(store.get("/a", cached=False))
        for _ in range(2):
            short = asyncio.new_event_loop()
            short.run_until_complete(store.get("/a", cached=False))
            short.close()
            asyncio.run(store.get("/a", cached=False))
        import s1crets
        assert s1crets.get("aws.ps", "/a") == aws.ParameterStore().get("/a") == "v"
        try:
            aws.ParameterStore().get("/missing")
        except KeyError:
            pass
        def work():
            ps.get("/a", cached=False)
            sys.exit()
        threading.Thread(target=work).start()""",
}
UNDER_WAY = [3, 1, 0]  # requests of `/slow`


@pytest.mark.parametrize(("kind", "under_way"), list(zip(LEFT, UNDER_WAY, strict=True)))
def test_exit_at_any_moment(answering: Wire, kind: str, under_way: int) -> None:
    """Return code 0 and nothing on stderr; nothing that has no answer yet is waited for."""
    process = start(program(LEFT[kind]), measured=True)
    answering.wait_for("/slow", under_way)
    out, err = process.communicate(timeout=LIMIT)

    assert (process.returncode, out, err) == (0, "", "")


def test_exit_during_a_first_call(answering: Wire) -> None:
    """While aiobotocore is imported."""
    script = """
    class Watch:
        def find_spec(self, name, *_):
            if name.startswith("aiobotocore"):
                importing.set()
    importing = threading.Event()
    sys.meta_path.insert(0, Watch())
    threading.Thread(target=ps.get, args=("/a",), daemon=True).start()
    importing.wait()
    """

    assert check(program(script)) == ""


class TestSignals:
    """A blocking call is as easily ended as any."""

    def test_ctrl_c_ends_a_call_and_closes_its_connection(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before there is an answer; the server sees it, and the next call works."""
        script = """
        for _ in range(3):
            try:
                ps.get("/a", cached=False)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
        print(ps.get("/a"))
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(LIMIT)
            port = server.getsockname()[1]
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            process = start(program(script), measured=True)
            assert process.stdout
            for _ in range(3):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(LIMIT)
                    assert b"GetParameter" in connection.recv(65536)
                    process.send_signal(signal.SIGINT)
                    assert process.stdout.readline() == "interrupted\n"
                    with suppress(ConnectionResetError):
                        assert connection.recv(65536) == b""
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                body = b'{"Parameter": {"Name": "/a", "Value": "v"}}'
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                connection.sendall(head + body)
                out, err = process.communicate(timeout=LIMIT)

        assert (process.returncode, out, err) == (0, "v\n", "")

    @pytest.mark.parametrize("handled", [False, True])
    def test_sigterm(self, answering: Wire, handled: bool) -> None:  # noqa: FBT001
        """Ends a call that has no answer: by the signal, or by the SystemExit of its handler."""
        handler = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" if handled else ""
        process = start(program(handler + "ps.get('/a'); ps.get('/slow')"))
        answering.wait_for("/slow")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT)

        assert (process.returncode, err) == (0 if handled else -signal.SIGTERM, "")


def test_a_fork_while_another_thread_holds_every_lock(answering: Wire) -> None:
    """The child's call works, as it has locks of its own; the parent goes on."""
    script = """
    from s1crets import _fork
    ps.get("/a")
    locks = [one._lock for one in _fork._forkables if hasattr(one, "_lock")]
    assert len(locks) >= 3
    holding, go = threading.Event(), threading.Event()
    def hold():
        for lock in locks:
            lock.acquire()
        holding.set()
        go.wait()
        for lock in locks:
            lock.release()
    holder = threading.Thread(target=hold)
    holder.start()
    holding.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(250)  # it would hang
        assert ps.get("/b") == "v"
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go.set()
    holder.join()
    assert ps.get("/c") == "v"
    """

    assert check(program(script), measured=True) == ""


def test_a_cheap_exit(answering: Wire, tmp_path: Path) -> None:
    """Python would search all objects four times: once is enough, and without botocore's models.

    Once is needed: the cache's journal would stay.
    """
    script = f"""
        import atexit, gc, sys

        @atexit.register  # the first one, so it is called last
        def report():
            from s1crets.providers.aws._services import _loaders
            print(gc.get_freeze_count() > 0, _loaders)

        from s1crets.__main__ import main
        sys.argv[1:] = ["get", "-p", "aws.ps", "/a", "--cache-dir", {str(tmp_path)!r}]
        main()
        """

    assert check(script) == "v\nTrue {}\n"
    assert {path.name for path in tmp_path.rglob("cache.db*")} == {"cache.db"}


MULTIPROCESSING = """
import multiprocessing, sys, warnings
warnings.simplefilter("ignore")
sys.modules["redis"] = None
from s1crets.providers.aws import ParameterStore

ps = ParameterStore()

def read(name):
    return ps.get(name)

def child(queue):
    queue.put(ps.get("/b"))

if __name__ == "__main__":
    assert ps.get("/a") == "v"
    for method in ("fork", "forkserver", "spawn"):
        context = multiprocessing.get_context(method)
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        value = queue.get()
        process.join()
        assert (value, process.exitcode) == ("v", 0), method
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(read, ["/c", "/d"], chunksize=1) == ["v", "v"]
    assert ps.get("/e") == "v"
"""


def test_multiprocessing(answering: Wire, tmp_path: Path) -> None:
    """Children of a parent with a live portal, also those of a pool; all of them exit."""
    script = tmp_path / "program.py"
    script.write_text(MULTIPROCESSING)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True, text=True, timeout=LIMIT, check=False, env=unmeasured(),
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")


APP = """
import os, sys
sys.modules["redis"] = None
from s1crets.providers.aws import ParameterStore

ps = ParameterStore()
if os.environ["USED_BEFORE_THE_FORK"] == "True":
    ps.get("/a")

def app(environ, start_response):
    value = ps.get(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {value}".encode()]
"""


@pytest.mark.parametrize("preload", [False, True])
def test_gunicorn(scripted: Wire, tmp_path: Path, preload: bool) -> None:  # noqa: FBT001
    """Two workers, which both answer; with `preload_app` the parent has used the provider."""
    both = threading.Barrier(2)

    def answer(asked: Asked) -> Any:
        if asked.body["Name"] == "/b":
            both.wait(LIMIT)  # so there must be two workers at it
        return parameter(asked.body["Name"], "v")

    scripted.answers["GetParameter"] = answer
    (tmp_path / "program.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "--workers=2"]
        command += [f"--bind=fd://{server.fileno()}", f"--chdir={tmp_path}", "--log-level=warning"]
        command += ["--no-control-socket", *(["--preload"] if preload else []), "program:app"]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, pass_fds=[server.fileno()],
            env={**unmeasured(), "USED_BEFORE_THE_FORK": str(preload)},
        )  # fmt: skip
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        def fetch(name: str) -> list[str]:
            with urllib.request.urlopen(url + name, timeout=LIMIT) as answer:  # noqa: S310
                return str(answer.read().decode()).split()

        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(fetch, ["/b", "/b"]))
        process.terminate()
        _, err = process.communicate(timeout=LIMIT)

    assert len({pid for pid, _ in answers}) == 2
    assert [value for _, value in answers] == ["v", "v"]
    assert (process.returncode, err) == (0, "")


LOOPS = {"asyncio": False, "uvloop": True}


@pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"use_uvloop": on}) for on in LOOPS.values()]
)
class TestLoops:
    """The same on asyncio's own loop and on uvloop."""

    async def test_it_is_that_loop(self, anyio_backend: tuple[str, dict[str, bool]]) -> None:
        """Or these tests would say nothing."""
        loop = type(asyncio.get_running_loop())

        assert loop.__module__.startswith("uvloop") == anyio_backend[1]["use_uvloop"]

    async def test_every_verb(
        self, ps: AsyncParameterStore, sm: AsyncSecretsManager, ssm: Any, asm: Any, top: str
    ) -> None:
        """Against the real wire."""
        names = [f"{top}/{i}" for i in range(12)]
        for name in names:
            ssm.put_parameter(Name=name, Value='{"x": [1]}', Type="SecureString")
        asm.create_secret(Name=top, SecretString="old")

        assert await ps.get(names[0], keypath=("x", 0)) == 1
        assert list(await ps.get_many(names)) == names
        assert set(await ps.get_by_path(top)) == set(names)
        assert await ps.path_exists(top)
        await ps.update(names[0], "new")
        assert await ps.get(names[0]) == "new"
        await sm.update(top, "new")
        assert await sm.get(top) == "new"
        with pytest.raises(KeyError):
            await ps.get(f"{top}/x")

    async def test_a_cancelled_call_closes_its_connection(
        self, answering: Wire, ps: AsyncParameterStore
    ) -> None:
        """And the next one works."""
        reading = asyncio.ensure_future(ps.get("/slow"))
        while not answering.count("GetParameter"):
            await asyncio.sleep(0.01)
        reading.cancel()

        assert await ps.get("/a") == "v"
        assert reading.cancelled()
        assert answering.count("GetParameter") == 2

    async def test_a_blocking_call_beside_it(
        self, answering: Wire, blocking_ps: ParameterStore
    ) -> None:
        """The portal has a loop of its own."""
        assert await asyncio.to_thread(blocking_ps.get, "/a") == "v"
        assert await blocking_ps.awaited.get("/b") == "v"
        assert answering.count("GetParameter") == 2


def test_a_program_on_uvloop(answering: Wire) -> None:
    """By `run` and by a policy, with blocking calls beside, closed or not; it ends quietly."""
    script = """
    import uvloop
    store = aws.AsyncParameterStore()
    async def main():
        return await store.get("/a", cached=False), await asyncio.to_thread(ps.get, "/b")
    assert uvloop.run(main()) == ("v", "v")
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    other = aws.ParameterStore()
    assert asyncio.run(main()) == ("v", "v") and other.get("/c") == "v"
    loop = uvloop.new_event_loop()
    assert loop.run_until_complete(main()) == ("v", "v")
    loop.close()
    atexit.register(lambda: print(ps.get("/d")))
    """

    assert check(program(script)) == "v\n"


def test_a_loop_that_ended_before_its_client_was_there(
    answering: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next loop opens its own, and that one's failure is forgotten."""
    region = os.environ["AWS_DEFAULT_REGION"]
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    store = AsyncParameterStore()
    with pytest.raises(ConfigurationError):
        asyncio.run(store.get("/a"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)

    assert asyncio.run(store.get("/a")) == "v"
    assert answering.count("GetParameter") == 1
