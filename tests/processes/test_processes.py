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
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import HANG_UP, Asked, Wire, assumed, parameter, soon

from s1crets import ConfigurationError
from s1crets.providers.aws import AsyncParameterStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s1crets.providers.aws import AsyncSecretsManager, ParameterStore

QUIET = "import warnings; warnings.simplefilter('ignore')\n"  # Python's own about fork and threads
PRELUDE = """
import asyncio, atexit, os, signal, sys, threading, time
from s1crets.providers import aws
ps = aws.ParameterStore()
"""


def run(script: str, *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def start(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def answering(scripted: Wire) -> Iterator[Wire]:
    """Yield a server that has every parameter; but `/slow` is answered at the end only."""
    go = threading.Event()

    def answer(asked: Asked) -> Any:
        if asked.body["Name"] == "/slow":
            go.wait(30)
            return HANG_UP
        return parameter(asked.body["Name"], "v")

    scripted.answers["GetParameter"] = answer
    scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/slow", "Type": "String"}]}
    scripted.answers["PutParameter"] = lambda _: (go.wait(30), HANG_UP)[1]
    scripted.answers["AssumeRole"] = assumed()
    yield scripted
    go.set()


ENDING = {
    "the first calls in atexit": """
        def handler():
            with_role = {"RoleArn": "arn:aws:iam::123456789012:role/r"}
            for store in (ps, aws.ParameterStore(sts_args=with_role)):
                assert store.get("/a") == "v"
            print(asyncio.run(aws.AsyncParameterStore().get("/a")))
        atexit.register(handler)""",
    "a later call in atexit": """
        ps.get("/a")
        atexit.register(lambda: print(ps.get("/a", cached=False)))""",
    "the first call in a thread that outlives main": """
        def late():
            threading.main_thread().join()
            print(ps.get("/a"))
        threading.Thread(target=late).start()""",
    "a later call in a thread that outlives main": """
        ps.get("/a")
        def late():
            threading.main_thread().join()
            print(ps.get("/a", cached=False))
        threading.Thread(target=late).start()""",
    "main ends during the first call of another thread": """
        threading.Thread(target=lambda: print(ps.get("/a"))).start()""",
}
REGISTERED_BEFORE_THE_IMPORT = {
    "the first call": "from s1crets.providers import aws; ps = aws.ParameterStore()",
    "a later call": "from s1crets.providers import aws; ps = aws.ParameterStore(); ps.get('/a')",
    # Python can't import redis any more by then, which aiocache does where it is installed.
    "the import too, in a plain install": "import sys; sys.modules['redis'] = None",
}


@pytest.mark.parametrize("kind", ENDING)
def test_calls_while_the_interpreter_ends(answering: Wire, kind: str) -> None:
    """They work, and the process ends by itself: no thread can be started any more."""
    done = run(PRELUDE + textwrap.dedent(ENDING[kind]))

    assert (done.returncode, done.stdout, done.stderr) == (0, "v\n", "")


@pytest.mark.parametrize("kind", REGISTERED_BEFORE_THE_IMPORT)
def test_calls_in_atexit_handlers_registered_before_the_import(answering: Wire, kind: str) -> None:
    """These run last, after s1crets' own has stopped the portal."""
    script = f"""
import atexit
def handler():
    from s1crets.providers import aws
    store = globals().get("ps") or aws.ParameterStore()
    print(store.get("/a", cached=False))
atexit.register(handler)
{REGISTERED_BEFORE_THE_IMPORT[kind]}
"""
    done = run(script)

    assert (done.returncode, done.stdout, done.stderr) == (0, "v\n", "")


def test_a_name_that_is_not_known_while_the_interpreter_ends(
    scripted: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked up without a thread, and is the error that it always is."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://nowhere.invalid:1")
    script = """
    def handler():
        try:
            aws.ParameterStore(retry=1).get("/a")
        except ConnectionError:
            print("not reached")
    atexit.register(handler)
    """
    done = run(PRELUDE + textwrap.dedent(script))

    assert (done.returncode, done.stdout, done.stderr) == (0, "not reached\n", "")


def test_no_refresh_begins_while_the_interpreter_ends(answering: Wire) -> None:
    """The hit that would start it is a hit."""
    script = """
    ps = aws.ParameterStore(cache_args={"refresh_ahead": 899.99, "jitter": 0})
    def handler():
        print(ps.get("/a"))
        time.sleep(0.05)
        print(ps.get("/a"))
    atexit.register(handler)
    """
    done = run(PRELUDE + textwrap.dedent(script))

    assert (done.returncode, done.stdout, done.stderr) == (0, "v\nv\n", "")
    assert answering.count("GetParameter") == 1


LEFT = {
    "calls under way in threads": """
        threading.Thread(target=ps.get, args=("/slow",), daemon=True).start()
        threading.Thread(target=ps.update, args=("/slow", "v"), daemon=True).start()
        time.sleep(0.6)""",
    "a fetch under way on a loop": """
        store = aws.AsyncParameterStore()
        async def main():
            task = asyncio.create_task(store.get("/slow"))
            await asyncio.sleep(0.5)
        asyncio.run(main())""",
    "loops": """
        store, loop = aws.AsyncParameterStore(), asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(store.get("/a", cached=False), loop).result()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(store.get("/a", cached=False))
        for _ in range(2):
            short = asyncio.new_event_loop()
            short.run_until_complete(store.get("/a", cached=False))
            short.close()""",
    "sys.exit in a callback": """
        store = aws.AsyncParameterStore()
        async def main():
            await store.get("/a")
            asyncio.get_running_loop().call_later(0.1, sys.exit)
            await store.get("/slow")
        try:
            asyncio.run(main())
        finally:
            print(time.time(), flush=True)""",
    "sys.exit in a thread": """
        def work():
            ps.get("/a")
            sys.exit()
        threading.Thread(target=work).start()""",
}


@pytest.mark.parametrize("kind", LEFT)
def test_exit_at_any_moment(answering: Wire, kind: str) -> None:
    """Return code 0 and nothing on stderr, within a second."""
    script = textwrap.dedent(LEFT[kind]) + "\nprint(time.time())\n"

    def attempt() -> float:
        done = run(PRELUDE + script)
        ended = time.time()
        assert (done.returncode, done.stderr) == (0, "")
        return ended - float(done.stdout)

    assert soon(attempt, 1)


@pytest.mark.parametrize("delay", [0.05, 0.2])
def test_exit_during_a_first_call(answering: Wire, delay: float) -> None:
    """While the portal starts, while aiobotocore is imported, while a client is made."""
    script = f"""
    threading.Thread(target=ps.get, args=("/a",), daemon=True).start()
    time.sleep({delay})
    """
    done = run(PRELUDE + textwrap.dedent(script))

    assert (done.returncode, done.stderr) == (0, "")


class TestSignals:
    """A blocking call is as easily ended as any."""

    def test_ctrl_c_is_back_at_once_and_closes_the_connection(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In under 100 ms, at the best of three times; the server sees it, the next call works."""
        script = """
        for _ in range(3):
            try:
                ps.get("/a", cached=False)
            except KeyboardInterrupt:
                print(time.time(), flush=True)
        print(ps.get("/a"))
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(30)
            port = server.getsockname()[1]
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            process = start(PRELUDE + textwrap.dedent(script))
            took = []
            for _ in range(3):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(30)
                    assert b"GetParameter" in connection.recv(65536)
                    sent = time.time()
                    process.send_signal(signal.SIGINT)
                    assert process.stdout
                    took.append(float(process.stdout.readline()) - sent)
                    with suppress(ConnectionResetError):
                        assert connection.recv(65536) == b""
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                body = b'{"Parameter": {"Name": "/a", "Value": "v"}}'
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                connection.sendall(head + body)
                out, err = process.communicate(timeout=30)

        assert (process.returncode, out, err) == (0, "v\n", "")
        assert min(took) < 0.1

    @pytest.mark.parametrize("handled", [False, True])
    def test_sigterm(self, answering: Wire, handled: bool) -> None:  # noqa: FBT001
        """The process ends at once: by the signal, or by the SystemExit of its handler."""
        handler = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" if handled else ""

        def attempt() -> float:
            before = answering.count_of("/slow")
            process = start(PRELUDE + handler + "ps.get('/a'); ps.get('/slow')")
            while answering.count_of("/slow") == before:
                time.sleep(0.01)
            sent = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
            assert (process.returncode, err) == (0 if handled else -signal.SIGTERM, "")
            return time.monotonic() - sent

        assert soon(attempt, 1)


def test_a_fork_while_another_thread_holds_every_lock(answering: Wire) -> None:
    """The child's call works within two seconds; it has locks of its own."""
    script = """
    from s1crets import _runtime
    ps.get("/a")
    locks = [one._lock for one in _runtime._forkables if hasattr(one, "_lock")]
    assert len(locks) >= 5
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
    began = time.monotonic()
    if child == 0:
        signal.alarm(20)
        assert ps.get("/b") == "v"
        assert time.monotonic() - began < 10  # it would hang
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go.set()
    holder.join()
    assert ps.get("/c") == "v"
    """
    done = run(QUIET + PRELUDE + textwrap.dedent(script))

    assert (done.returncode, done.stderr) == (0, "")


MULTIPROCESSING = """
import multiprocessing, sys, threading, time, warnings
warnings.simplefilter("ignore")
from s1crets.providers.aws import ParameterStore

ps = ParameterStore()

def work(name):
    began = time.monotonic()
    return ps.get(name), time.monotonic() - began

def child(queue):
    queue.put((*work("/b"), time.time()))

if __name__ == "__main__":
    assert ps.get("/a") == "v"
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    value, took, ended = queue.get()
    process.join(20)
    assert time.time() - ended < 10, "the child's exit"
    assert (value, process.exitcode) == ("v", 0)
    assert took < 10, took
    with context.Pool(2) as pool:
        for value, took in pool.map(work, [f"/{i}" for i in range(6)], chunksize=1):
            assert value == "v" and took < 10, took
    assert ps.get("/c") == "v"
    print(time.time())
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(answering: Wire, tmp_path: Path, method: str) -> None:
    """Children of a parent with a live portal: a process, and a pool."""
    script = tmp_path / "program.py"
    script.write_text(MULTIPROCESSING)

    def attempt() -> float:
        done = subprocess.run(
            [sys.executable, str(script), method],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        ended = time.time()
        assert (done.returncode, done.stderr) == (0, "")
        return ended - float(done.stdout)

    assert soon(attempt, 1)


APP = """
import os, time
from s1crets.providers.aws import ParameterStore

ps = ParameterStore()
if os.environ["USED_BEFORE_THE_FORK"] == "True":
    ps.get("/a")

def app(environ, start_response):
    began = time.monotonic()
    value = ps.get(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {value} {time.monotonic() - began}".encode()]
"""


@pytest.mark.parametrize("preload", [False, True])
def test_gunicorn(scripted: Wire, tmp_path: Path, preload: bool) -> None:  # noqa: FBT001
    """Two workers, which both answer; with `preload_app` the parent has used the provider."""
    both = threading.Barrier(2)

    def answer(asked: Asked) -> Any:
        if asked.body["Name"] == "/b":
            both.wait(30)  # so there must be two workers at it
        return parameter(asked.body["Name"], "v")

    scripted.answers["GetParameter"] = answer
    (tmp_path / "program.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "--workers=2"]
        command += [f"--bind=fd://{server.fileno()}", f"--chdir={tmp_path}", "--log-level=warning"]
        command += ["--no-control-socket", *(["--preload"] if preload else []), "program:app"]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, pass_fds=[server.fileno()],
            env={**os.environ, "USED_BEFORE_THE_FORK": str(preload)},
        )  # fmt: skip
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        def fetch(name: str) -> list[str]:
            with urllib.request.urlopen(url + name, timeout=30) as answer:  # noqa: S310
                return str(answer.read().decode()).split()

        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(fetch, ["/b", "/b"]))
        asked = time.monotonic()
        process.terminate()
        _, err = process.communicate(timeout=30)
        took = time.monotonic() - asked

    assert len({pid for pid, _, _ in answers}) == 2
    assert [value for _, value, _ in answers] == ["v", "v"]
    assert all(float(took) < 10 for _, _, took in answers)
    assert (process.returncode, err) == (0, "")
    assert took < 10  # gunicorn itself looks after its workers every so often


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
    import uvloop, warnings
    warnings.simplefilter("ignore")
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
    atexit.register(lambda: print(uvloop.run(store.get("/d"))))
    """
    done = run(PRELUDE + textwrap.dedent(script))

    assert (done.returncode, done.stdout, done.stderr) == (0, "v\n", "")


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
