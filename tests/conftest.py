"""Shared fixtures: an isolated environment, local AWS, providers, and checks after every test."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import itertools
import os
import signal
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from _support.leftovers import left_on
from _support.wire import Wire, wire
from blockbuster import blockbuster_ctx
from botocore import hooks
from botocore.httpsession import where

from s1crets import _sync, providers
from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    SecretsManager,
)
from s1crets.testing._server import client_environment
from s1crets.testing.plugin import isolate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from s1crets.testing import LocalAws


pytest_plugins = ["_support.servers", "_support.deployments"]  # fixtures of servers

# Examples are generated without a limit of time: it would depend on the machine's load.
hypothesis.settings.register_profile(
    "suite",
    max_examples=50,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")

NO_AWS = "http://127.0.0.1:9"  # connections to it are refused
WITHOUT_AWS = {"cache", "docs", "unit"}


def pytest_configure() -> None:
    """Take Ctrl-C, also in a background job of a shell, where it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Return three workers for two cores: many tests wait for processes and sockets."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection_finish() -> None:
    """Collect garbage more rarely, and not in the imported modules: it took a fifth of the time."""
    gc.set_threshold(20_000, 10, 10)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def _s1crets_aws(_s1crets_aws: LocalAws) -> LocalAws:
    """Return the kit's local AWS; moto's modules, imported now, are exempt too."""
    gc.collect()
    gc.freeze()
    return _s1crets_aws


@pytest.fixture(scope="session")
def ca_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with one certificate: to load all of them takes each client 45 ms of CPU."""
    first, end, _ = Path(where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----")
    file = tmp_path_factory.mktemp("ca") / "one.pem"
    file.write_text(f"{first}{end}\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def _folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("tests")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture
def tmp_path(_folders: Iterator[Path]) -> Path:
    """Return an empty folder; pytest's fixture, with symlinks, takes each test 3 ms of CPU."""
    path = next(_folders)
    path.mkdir(0o700)
    return path


@pytest.fixture(scope="session", autouse=True)
def _botocore_repeats_no_work() -> Iterator[None]:
    """Keep what botocore works out about its 130 event handlers, for each of the many clients.

    This takes 40 of the 70 ms of CPU that a client takes; the results are the same.
    """
    aliaser, accepts = hooks.EventAliaser(None), hooks.accepts_kwargs
    alias = functools.cache(aliaser._alias_event_name)

    def accepts_kwargs(handler: Any) -> Any:
        code = getattr(handler, "__code__", None)
        return code.co_flags & inspect.CO_VARKEYWORDS if code else accepts(handler)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hooks.EventAliaser, "_alias_event_name", lambda _, name: alias(name))
        patch.setattr(hooks, "accepts_kwargs", accepts_kwargs)
        yield


@pytest.fixture(autouse=True)
def environment(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ca_bundle: Path,
) -> dict[str, str]:
    """Hide this machine's settings, and use a local AWS if the test may need it.

    moto takes two seconds of CPU to start, and 20 ms to be emptied, so tests in some folders, and
    tests that only use a scripted AWS, get no local AWS unless they ask for it.
    """
    fixtures = set(request.fixturenames)
    scripted = "scripted" in fixtures or request.path.parent.name in WITHOUT_AWS
    if fixtures & {"s1crets_aws", "ssm", "asm"} or not scripted:
        settings = request.getfixturevalue("s1crets_aws").environment
    else:
        isolate(monkeypatch)
        settings = client_environment(NO_AWS, "eu-west-1")
    home = tmp_path / "home"
    home.mkdir()
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):  # HOME has its own
        monkeypatch.delenv(name)
    settings = {
        **settings,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "AWS_CA_BUNDLE": str(ca_bundle),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run on asyncio, which aiobotocore needs; on uvloop if S1CRETS_TEST_LOOP is `uvloop`."""
    return "asyncio", {"use_uvloop": os.environ.get("S1CRETS_TEST_LOOP") == "uvloop"}


@pytest.fixture(scope="session", autouse=True)
def _nothing_blocks_the_loop() -> Iterator[None]:
    """Fail a test in which something blocks the event loop."""
    with blockbuster_ctx("s1crets") as blockbuster:
        for name, function in blockbuster.functions.items():
            # A disk cache is read inline: that takes 5 µs, and a thread hop 130 µs.
            if name.startswith(("sqlite3.", "os.stat")):
                function.can_block_in("s1crets/cache/backends/_sqlite.py", "read")
            if name.startswith(("threading.", "lock")):  # coverage's own
                function.can_block_in("coverage/collector.py", "lock_data")
                # It waits for the kit's own thread; `Thread.join` has a lock up to Python 3.12.
                function.can_block_in("s1crets/testing/_server.py", "down")
            # aiobotocore reads the credentials file inline, once: that takes 0.1 ms.
            if name.startswith(("io.", "os.stat")):
                function.can_block_in("botocore/configloader.py", "raw_config_parse")
        yield


@pytest.fixture(autouse=True)
def _nothing_is_left_on_the_loop(request: pytest.FixtureRequest) -> None:
    """Check the event loop of a test that has one; to start one takes a millisecond."""
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("_a_clean_loop")


@pytest.fixture
async def _a_clean_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Fail a test after which one of its tasks runs on, or a connection of its loop is open."""
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    before = {current, *left_on(loop)}
    yield
    # Closed connections take some iterations of the loop to disappear.
    own = {*before, asyncio.current_task()}
    until = time.monotonic() + 20  # on a busy machine, too
    while (left := [one for one in left_on(loop) if one not in own]) and time.monotonic() < until:
        await asyncio.sleep(0.01)
    assert not left


@pytest.fixture(autouse=True)
def _nothing_is_left_on_the_portal(environment: dict[str, str]) -> Iterator[None]:
    """Fail a test after which the portal thread has tasks or open connections."""
    yield
    providers.reset()
    loop = _sync._portal._loop
    until = time.monotonic() + 20  # on a busy machine, too
    while loop and (left := left_on(loop)):
        assert time.monotonic() < until, left
        time.sleep(0.01)


@pytest.fixture
def ssm(environment: dict[str, str]) -> Any:
    """Return a boto3 client of the same Parameter Store."""
    return boto3_client("ssm", environment["AWS_ENDPOINT_URL"])


@pytest.fixture
def asm(environment: dict[str, str]) -> Any:
    """Return a boto3 client of the same Secrets Manager."""
    return boto3_client("secretsmanager", environment["AWS_ENDPOINT_URL"])


@functools.cache
def boto3_client(service: str, url: str) -> Any:
    """Return a boto3 client of an endpoint; all tests of this process share it."""
    import boto3

    return boto3.client(service, endpoint_url=url)


@pytest.fixture
def top() -> str:
    """Return a path that no other test uses."""
    return f"/t{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def ps(anyio_backend: object) -> AsyncIterator[AsyncParameterStore]:
    """Yield a Parameter Store, closed at the end."""
    async with AsyncParameterStore() as provider:
        yield provider


@pytest.fixture
async def sm(anyio_backend: object) -> AsyncIterator[AsyncSecretsManager]:
    """Yield a Secrets Manager, closed at the end."""
    async with AsyncSecretsManager() as provider:
        yield provider


@pytest.fixture
def blocking_ps() -> Iterator[ParameterStore]:
    """Yield a blocking Parameter Store, closed at the end."""
    with ParameterStore() as provider:
        yield provider


@pytest.fixture
def blocking_sm() -> Iterator[SecretsManager]:
    """Yield a blocking Secrets Manager, closed at the end."""
    with SecretsManager() as provider:
        yield provider


@pytest.fixture
def scripted(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Yield a scripted AWS that all providers use."""
    with wire() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server
