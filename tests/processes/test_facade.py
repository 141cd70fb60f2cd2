"""The blocking facade, and one provider on many loops: threads, forks, signals, exits."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from _support.scripts import LIMIT, check, run, start
from _support.wire import HANG_UP, Wire, parameter, refusal

import s1crets
from s1crets.providers import aws
from s1crets.providers.aws import AsyncParameterStore, ParameterStore, SecretsManager

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = [
    (aws.AsyncParameterStore, aws.ParameterStore),
    (aws.AsyncSecretsManager, aws.SecretsManager),
]
ONLY_ASYNC = {"aclose", "watch"}
# for the facade, the integrations, the test kit and subclasses
INTERNAL = {
    "answer", "blocking_refresh_on", "cached_value", "counters", "deadline", "forget_failures",
    "get_by_path_local", "get_local", "hit", "key_of", "open_cache", "read", "registered_as",
    "service", "spawn_with", "start_afresh",
}  # fmt: skip
ONLY_BLOCKING = {"close", "awaited"}


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")} - INTERNAL


@pytest.mark.parametrize(("awaited", "blocking"), PAIRS)
def test_both_flavours_have_the_same_methods(awaited: type, blocking: type) -> None:
    """With the same docstrings and arguments."""
    assert public(awaited) - ONLY_ASYNC == public(blocking) - ONLY_BLOCKING
    for name in public(blocking) - ONLY_BLOCKING - {"stats", "refresh_on"}:
        theirs, ours = getattr(awaited, name), getattr(blocking, name)
        assert ours.__doc__ == theirs.__doc__
        assert inspect.signature(ours) == inspect.signature(theirs)


def test_every_verb(blocking_ps: ParameterStore, ssm: Any, top: str) -> None:
    """The same as the awaited ones."""
    for name in ("a", "b"):
        ssm.put_parameter(Name=f"{top}/{name}", Value='{"x": [1]}', Type="SecureString")

    assert blocking_ps.peek(f"{top}/a") is None
    assert blocking_ps.get(f"{top}/a", keypath=("x", 0)) == 1
    assert blocking_ps.peek(f"{top}/a") == {"x": [1]}
    assert blocking_ps.get_many([f"{top}/a", f"{top}/b"])[f"{top}/b"] == {"x": [1]}
    assert blocking_ps.get_by_path(top) == blocking_ps.get_by_path(top)
    assert blocking_ps.path_exists(top)
    blocking_ps.update(f"{top}/a", "new")
    assert blocking_ps.get(f"{top}/a") == "new"
    blocking_ps.invalidate()
    assert blocking_ps.peek(f"{top}/a") is None
    assert blocking_ps.stats.requests["PutParameter"] == 1


def test_it_can_be_used_after_close(blocking_ps: ParameterStore, ssm: Any, top: str) -> None:
    """A later call opens it again."""
    ssm.put_parameter(Name=top, Value="v", Type="SecureString")
    assert blocking_ps.get(top) == "v"
    blocking_ps.close()

    assert blocking_ps.get(top, cached=False) == "v"


def test_a_hit_is_answered_in_the_callers_thread(
    blocking_ps: ParameterStore, ssm: Any, top: str
) -> None:
    """Also while the portal's thread is busy."""
    ssm.put_parameter(Name=top, Value="v", Type="SecureString")
    blocking_ps.get(top)
    blocking_ps.get_by_path(top)
    go = threading.Event()

    async def busy() -> None:
        while not go.is_set():  # blocks this loop, in a way that the detector does not see
            pass

    from s1crets import _sync

    future = asyncio.run_coroutine_threadsafe(busy(), _sync._portal._running())
    try:
        assert blocking_ps.get(top) == "v"
        assert blocking_ps.get_by_path(top) == {}
    finally:
        go.set()
        future.result()


def test_many_threads_share_one_request(scripted: Wire) -> None:
    """Sixteen threads that ask for the same cold key at once."""
    asked, go = threading.Event(), threading.Event()

    def slow(_: Any) -> Any:
        asked.set()
        go.wait(LIMIT)
        return parameter("/a", "v")

    scripted.answers["GetParameter"] = slow
    with ParameterStore() as ps, ThreadPoolExecutor(16) as threads:
        found = [threads.submit(ps.get, "/a") for _ in range(16)]
        asked.wait(LIMIT)
        while ps.stats.misses < 16:
            time.sleep(0.001)
        go.set()
        assert [one.result() for one in found] == ["v"] * 16
    assert scripted.count("GetParameter") == 1


async def test_inside_of_a_running_loop(ssm: Any, top: str, blocking_ps: ParameterStore) -> None:
    """As in Jupyter: it blocks that loop, but works."""
    ssm.put_parameter(Name=top, Value="v", Type="SecureString")
    # In a thread of its own, since the tests see to it that nothing blocks a loop.
    found: list[str] = []

    def jupyter() -> None:
        async def cell() -> None:
            found.append(blocking_ps.get(top))

        loop = asyncio.new_event_loop()
        from blockbuster.blockbuster import _skip

        _skip.value = True
        loop.run_until_complete(cell())
        loop.close()

    await asyncio.to_thread(jupyter)
    assert found == ["v"]


def test_a_blocking_call_on_the_portals_own_thread_is_refused(blocking_ps: ParameterStore) -> None:
    """It would wait for itself."""
    from s1crets import _sync

    async def inside() -> None:
        with pytest.raises(RuntimeError, match="await the async class"):
            blocking_ps.get("/a")

    asyncio.run_coroutine_threadsafe(inside(), _sync._portal._running()).result(LIMIT)


def test_threads_that_start_the_portal_at_once() -> None:
    """Start one."""
    from s1crets import _fork, _sync

    portal = _sync._Portal()
    with ThreadPoolExecutor(3) as threads:
        with _fork.import_lock:  # which a start takes, so all of them are in it
            starting = [threads.submit(portal._running) for _ in range(3)]
            while portal._lock.acquire(blocking=False):
                portal._lock.release()
                time.sleep(0.001)
        assert len({one.result() for one in starting}) == 1
    portal.stop()


def test_a_portal_that_can_not_start_says_so_and_can_later(scripted: Wire) -> None:
    """The caller gets the error, and the next call tries again."""
    scripted.answers["GetParameter"] = parameter("/a", "v")
    script = """
import resource
import anyio._backends._asyncio
from s1crets.providers.aws import ParameterStore
ps = ParameterStore()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
files = []
try:
    while True:
        files.append(open("/dev/null"))
except OSError:
    pass
try:
    ps.get("/a")
except OSError as error:
    print(error.errno)
for file in files:
    file.close()
print(ps.get("/a"))
"""

    done = run(script, measured=True)

    assert (done.returncode, done.stdout.split()) == (0, ["24", "v"])
    assert "Exception in thread" not in done.stderr
    assert "never awaited" not in done.stderr


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_portal_that_dies_is_not_silent_about_it() -> None:
    """What ends its loop ends its thread."""
    from s1crets import _sync

    portal = _sync._Portal()
    portal._running().call_soon_threadsafe(sys.exit)
    thread = portal._thread
    assert thread is not None
    thread.join(LIMIT)

    assert not thread.is_alive()


def test_one_async_provider_on_several_loops(ssm: Any, top: str) -> None:
    """One after another and in threads: one client for each loop, one cache."""
    ssm.put_parameter(Name=top, Value="v", Type="SecureString")
    ps = AsyncParameterStore()

    async def read() -> Any:
        return await ps.get(top, cached=False), await ps.get(top)

    assert [asyncio.run(read()) for _ in range(3)] == [("v", "v")] * 3
    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(asyncio.run, read()) for _ in range(4)]
        assert [one.result() for one in found] == [("v", "v")] * 4
    assert ps.stats.requests == {"GetParameter": 7}


def test_each_loop_has_a_fetch_of_its_own(scripted: Wire) -> None:
    """A loop that goes away takes nobody's fetch along."""
    asked, go = threading.Event(), threading.Event()

    def slow(_: Any) -> Any:
        is_first = not asked.is_set()
        asked.set()
        if is_first:
            go.wait(LIMIT)
        return parameter("/a", "v")

    scripted.answers["GetParameter"] = slow
    ps = AsyncParameterStore()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(asyncio.run, ps.get("/a"))
        asked.wait(LIMIT)
        assert asyncio.run(ps.get("/a", cached=False)) == "v"
        go.set()
        assert first.result(LIMIT) == "v"


async def test_closing_from_another_loop(ssm: Any, top: str) -> None:
    """Closes that loop's client too, on that loop."""
    ssm.put_parameter(Name=top, Value="v", Type="SecureString")
    facade = ParameterStore()
    await asyncio.to_thread(facade.get, top)
    await facade.awaited.get(top, cached=False)
    await facade.awaited.aclose()
    assert await asyncio.to_thread(lambda: facade.get(top, cached=False)) == "v"
    await asyncio.to_thread(facade.close)


async def test_a_provider_that_is_garbage_closes_its_connections(scripted: Wire) -> None:
    """Nothing is said of unclosed sessions; warnings are errors here."""
    scripted.answers["GetParameter"] = parameter("/a", "v")
    ps = AsyncParameterStore()
    await ps.get("/a")
    assert scripted.open_connections == 1
    del ps
    gc.collect()
    async with asyncio.timeout(LIMIT):
        while scripted.open_connections:
            await asyncio.sleep(0.01)


class TestSingleFlight:
    """However many ask for the same thing at once, it is fetched once."""

    async def test_one_request_for_all(self, scripted: Wire) -> None:
        """A hundred tasks, one cold key."""
        scripted.answers["GetParameter"] = parameter("/a", '{"x": []}')
        async with AsyncParameterStore() as ps:
            found = await asyncio.gather(*(ps.get("/a") for _ in range(100)))

            assert found == [{"x": []}] * 100
            assert len({id(one) for one in found}) == 100
            assert ps.stats.requests == {"GetParameter": 1}

    async def test_each_waiter_has_an_exception_of_its_own(self, scripted: Wire) -> None:
        """With the same words, and the cause."""
        scripted.answers["GetParameter"] = refusal("AccessDeniedException")
        async with AsyncParameterStore() as ps:
            errors = await asyncio.gather(*(ps.get("/a") for _ in range(5)), return_exceptions=True)

            assert {type(error) for error in errors} == {s1crets.AccessDeniedError}
            assert len({id(error) for error in errors}) == 5
            assert ps.stats.requests == {"GetParameter": 1}

    async def test_a_cancelled_waiter_leaves_the_others_alone(self, scripted: Wire) -> None:
        """Also the one that came first."""
        loop, asked, go = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        def slow(_: Any) -> Any:
            loop.call_soon_threadsafe(asked.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(LIMIT)
            return parameter("/a", "v")

        scripted.answers["GetParameter"] = slow
        async with AsyncParameterStore() as ps:
            first, second = (asyncio.create_task(ps.get("/a")) for _ in range(2))
            await asked.wait()
            first.cancel()
            await asyncio.wait([first])
            go.set()
            assert await second == "v"
            assert ps.stats.requests == {"GetParameter": 1}

    async def test_when_all_are_gone_the_fetch_is_cancelled(self, scripted: Wire) -> None:
        """And the next call fetches anew."""
        loop, asked, go = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        def slow(_: Any) -> Any:
            loop.call_soon_threadsafe(asked.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(LIMIT)
            return HANG_UP

        scripted.answers["GetParameter"] = slow
        async with AsyncParameterStore() as ps:
            tasks = [asyncio.create_task(ps.get("/a")) for _ in range(2)]
            await asked.wait()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            scripted.answers["GetParameter"] = parameter("/a", "v")
            assert await ps.get("/a") == "v"
            go.set()

    async def test_the_deadline_bounds_a_call(self, scripted: Wire) -> None:
        """It is a TimeoutError that says what was asked."""
        go = threading.Event()

        def slow(_: Any) -> Any:
            go.wait(LIMIT)
            return HANG_UP

        scripted.answers["GetParameter"] = slow
        async with AsyncParameterStore(deadline=0.3) as ps:
            with pytest.raises(TimeoutError, match=r"'/a'.*deadline of 0.3 s") as caught:
                await ps.get("/a")
        go.set()
        assert isinstance(caught.value, s1crets.DeadlineExceededError)

    async def test_one_who_joins_a_flight_shares_its_deadline(self, scripted: Wire) -> None:
        """A deadline that is exceeded within a fetch is told as such to all who wait for it."""
        go = threading.Event()

        def slow(asked: Any) -> Any:
            go.wait(LIMIT)
            return parameter(asked.body["Name"], "v")

        scripted.answers["GetParameter"] = slow
        scripted.answers["GetParametersByPath"] = {"Parameters": []}
        path = "/aws/reference/secretsmanager/a"
        async with AsyncParameterStore(deadline=0.5) as ps:
            first = asyncio.ensure_future(ps.path_exists(path))
            await asyncio.sleep(0.25)
            both = await asyncio.gather(first, ps.path_exists(path), return_exceptions=True)
        go.set()
        assert [type(one) for one in both] == [s1crets.DeadlineExceededError] * 2


FORK = """
import os, sys, threading
from s1crets.providers.aws import ParameterStore
ps = ParameterStore(cache_args={cache_args})
assert ps.get("/a") == "v"                       # a live portal
flying = threading.Thread(target=ps.get, args=("/slow",))
flying.start()
assert sys.stdin.readline() == "under way\\n"    # an in-flight fetch
child = os.fork()
if child == 0:
    assert ps.get("/b") == "v"
    assert ps.get("/slow") == "v"                # the parent's flight is not waited for
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
print("child done", flush=True)
flying.join()
assert ps.get("/c") == "v"
"""


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_fork_with_a_live_portal_and_a_fetch_in_flight(
    scripted: Wire, tmp_path: Path, cache: str
) -> None:
    """The child's calls work, the parent goes on, both exit."""
    go, first = threading.Event(), threading.Lock()

    def answer(asked: Any) -> Any:
        if asked.body["Name"] == "/slow" and first.acquire(blocking=False):
            go.wait(LIMIT)
        return parameter(asked.body["Name"], "v")

    scripted.answers["GetParameter"] = answer
    disk = {
        "cache_on_disk": True,
        "key_cache_dir": str(tmp_path / "k"),
        "path_cache_dir": str(tmp_path / "p"),
    }
    script = FORK.format(cache_args=disk if cache == "disk" else {})
    process = start(script, measured=True)
    assert process.stdin
    assert process.stdout
    scripted.wait_for("/slow")
    process.stdin.write("under way\n")
    process.stdin.flush()
    done = process.stdout.readline()
    go.set()
    out, err = process.communicate(timeout=LIMIT)

    assert (process.returncode, done, out, err) == (0, "child done\n", "", "")


@pytest.mark.parametrize("during", ["the start of the portal", "an import"])
def test_fork_during_another_threads_first_call(scripted: Wire, during: str) -> None:
    """That thread imports aiobotocore, and the import lock would stay held in the child."""
    scripted.answers["GetParameter"] = parameter("/a", "v")
    script = """
import os, signal, sys, threading
import s1crets
class Watch:
    def find_spec(self, name, *_):
        if name.startswith("aiobotocore"):
            importing.set()
importing = threading.Event()
sys.meta_path.insert(0, Watch())
thread = threading.Thread(target=s1crets.get, args=("aws.ps", "/a"))
thread.start()
if sys.argv[1] == "an import":
    importing.wait()
child = os.fork()
if child == 0:
    signal.alarm(250)  # it would hang
    found = s1crets.get("aws.ps", "/a", cached=False)
    os._exit(0 if found == "v" else 1)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

    assert check(script, during) == ""


def test_after_fork_everything_is_new(blocking_ps: ParameterStore, ssm: Any, top: str) -> None:
    """What a child does, without its exit: locks, flights, clients and portal are made anew."""
    ssm.put_parameter(Name=top, Value="v", Type="SecureString")
    blocking_ps.get(top)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        found = blocking_ps.get(top, cached=False)
        os.write(writing, found.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)

    assert os.read(reading, 10) == b"v"
    os.close(reading)
    assert blocking_ps.get(top, cached=False) == "v"


def test_a_provider_can_not_be_pickled(blocking_ps: ParameterStore) -> None:
    """It says what to do instead; its repr tells of no secret."""
    import copy
    import pickle

    for provider in (blocking_ps, blocking_ps.awaited):
        with pytest.raises(TypeError, match="make one where it is used"):
            pickle.dumps(provider)
        with pytest.raises(TypeError, match="make one where it is used"):
            copy.copy(provider)
    assert repr(blocking_ps) == "<ParameterStore of Parameter Store, region by botocore>"


@pytest.mark.parametrize("cls", [ParameterStore, SecretsManager])
def test_wrong_arguments_are_reported_with_the_name_that_was_called(cls: Any) -> None:
    """The class is the caller's own, not the async one, nor one that it inherits from."""
    name = cls.__name__
    with cls() as store:
        for call, words in [
            (lambda: store.get("/a", "key"), r"\.get\(\) takes 2"),
            (lambda: store.get("/a", ttl=5), r"\.get\(\) got an unexpected .* 'ttl'"),
            (store.peek, r"\.peek\(\) missing 1"),
            (lambda: store.update("/a"), r"\.update\(\) missing 1 .* 'value'"),
            (lambda: store.get_many(["/a"], ttl=5), r"\.get_many\(\) got .* 'ttl'"),
        ]:
            with pytest.raises(TypeError, match=f"^{name}{words}"):
                call()


@pytest.mark.parametrize("is_debugged", [True, False])
async def test_a_blocking_call_in_a_debugged_event_loop_is_a_warning(
    scripted: Wire, *, is_debugged: bool
) -> None:
    """It names the line of the caller. A hit blocks nothing, and does not warn."""
    scripted.answers["GetParameter"] = parameter("/a", "v")

    def program() -> list[warnings.WarningMessage]:
        async def calls() -> None:
            for _ in range(2):
                assert store.get("/a") == "v"

        loop = asyncio.new_event_loop()
        loop.set_debug(is_debugged)
        from blockbuster.blockbuster import _skip

        _skip.value = True
        with ParameterStore() as store, warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            loop.run_until_complete(calls())
        loop.close()
        return found

    found = await asyncio.to_thread(program)

    assert [(one.category, one.filename) for one in found] == (
        [(RuntimeWarning, __file__)] if is_debugged else []
    )
    assert all("await the async class" in str(one.message) for one in found)
