"""The pytest plugin, as another project has it: runs of pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

ELSEWHERE = {  # a machine that has settings of its own, which must not be seen
    "AWS_PROFILE": "nobody",
    "AWS_ENDPOINT_URL_SSM": "http://127.0.0.1:9",
    "AWS_SESSION_TOKEN": "fake-token",
    "S1CRETS_CACHE_KEY": "no key",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def run(project: Path, *args: str, fails: bool = False) -> str:
    """Run pytest in a project, with warnings as errors; return what it prints."""
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--strict-markers", *args],
        cwd=project, env={**os.environ, **ELSEWHERE}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == fails, done.stdout + done.stderr
    return done.stdout


def test_a_test_sees_what_it_seeds(project: Path) -> None:
    """The library, boto3 and other processes are pointed at it; nothing outlives a test."""
    (project / "test_it.py").write_text("""
import os, subprocess, sys
import pytest
import s1crets

def test_one(s1crets_aws):
    s1crets_aws.seed({"aws.ps": {"/a": {"k": "fake-1"}}, "aws.sm": {"b": "fake-1"}})
    assert s1crets.get("aws.ps", "/a", "k") == "fake-1"
    assert s1crets.get("aws.sm", "b") == "fake-1"
    script = "import s1crets; print(s1crets.get('aws.ps', '/a'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "{'k': 'fake-1'}\\n", done.stderr

def test_two(s1crets_aws):
    assert s1crets_aws.requests == ()
    with pytest.raises(KeyError):
        s1crets.get("aws.ps", "/a")
    s1crets_aws.seed({"aws.ps": {"/a": "fake-2"}})
    assert s1crets.get("aws.ps", "/a") == "fake-2"
    s1crets_aws.down()

def test_three(s1crets_aws):
    s1crets_aws.seed({"aws.ps": {"/a": "fake-3"}})
    assert s1crets.get("aws.ps", "/a") == "fake-3"

def test_machine():
    assert os.environ["AWS_PROFILE"] == "nobody"
""")

    assert "4 passed" in run(project)


def test_what_was_read_before_is_forgotten(project: Path) -> None:
    """The providers of the module-level verbs are made anew, whatever they were pointed at."""
    (project / "test_it.py").write_text("""
import s1crets
from s1crets.testing import loopback_aws

def test_one(monkeypatch):
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.delenv("AWS_ENDPOINT_URL_SSM")
    with loopback_aws(seed={"aws.ps": {"/a": "fake-other"}}) as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        assert s1crets.get("aws.ps", "/a") == "fake-other"

def test_two(s1crets_aws):
    s1crets_aws.seed({"aws.ps": {"/a": "fake"}})
    assert s1crets.get("aws.ps", "/a") == "fake"
""")

    assert "2 passed" in run(project)


def test_a_conftest_seeds_for_all(project: Path) -> None:
    """From a file, by an autouse fixture; tests run in several processes at once."""
    (project / "secrets.json").write_text('{"aws.ps": {"/a": "fake-shared"}}')
    (project / "conftest.py").write_text("""
import pathlib
import pytest

@pytest.fixture(autouse=True)
def aws(s1crets_aws):
    s1crets_aws.seed(pathlib.Path(__file__).with_name("secrets.json"))
    return s1crets_aws
""")
    (project / "test_it.py").write_text("""
import pytest
import s1crets

@pytest.mark.parametrize("value", [f"fake-{i}" for i in range(20)])
def test_it(aws, value):
    assert s1crets.get("aws.ps", "/a") == "fake-shared"
    s1crets.update("aws.ps", "/a", value)
    assert s1crets.get("aws.ps", "/a") == value
    assert [one.operation for one in aws.requests][-1] == "GetParameter"
""")

    assert "20 passed" in run(project, "-n", "2")


def test_async_tests(project: Path) -> None:
    """Of anyio's own plugin: a provider of the test's, and the module-level coroutines."""
    (project / "test_it.py").write_text("""
import pytest
import s1crets
from s1crets.providers.aws import AsyncSecretsManager

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

async def test_a_provider(s1crets_aws):
    s1crets_aws.seed({"aws.sm": {"a": "fake-1"}})
    s1crets_aws.throttle("GetSecretValue", times=1)
    async with AsyncSecretsManager() as sm:
        assert await sm.get("a") == "fake-1"
        assert sm.stats.throttled == 1

@pytest.mark.parametrize("value", ["fake-2", "fake-3"])
async def test_coroutines(s1crets_aws, value):
    s1crets_aws.seed({"aws.ps": {"/a": value}})
    assert await s1crets.aio.get("aws.ps", "/a") == value
""")

    assert "3 passed" in run(project)


def test_a_disk_cache_is_the_tests_own(project: Path, tmp_path: Path) -> None:
    """The default folder is not this user's."""
    (project / "test_it.py").write_text("""
import warnings
import pytest
import s1crets
from s1crets.providers.aws import ParameterStore

@pytest.mark.parametrize("value", ["fake-1", "fake-2"])
def test_it(s1crets_aws, tmp_path, value):
    s1crets_aws.seed({"aws.ps": {"/a": value}})
    with pytest.warns(s1crets.InsecureCacheWarning, match=str(tmp_path)):
        with ParameterStore(cache_args={"cache_on_disk": True}) as ps:
            assert ps.get("/a") == value
""")

    ignored = ("-W", "ignore:unclosed database:ResourceWarning")
    assert "2 passed" in run(
        project, *ignored, "-W", "ignore::pytest.PytestUnraisableExceptionWarning"
    )


def test_the_plugin_costs_next_to_nothing_until_it_is_used(project: Path) -> None:
    """It is loaded in every run of pytest on a machine that has s1crets."""
    (project / "test_it.py").write_text("""
import sys

def test_it():
    heavy = {"moto", "flask", "boto3", "botocore", "aiobotocore", "aiohttp", "http.server"}
    assert "s1crets.testing.plugin" in sys.modules
    assert heavy.isdisjoint(sys.modules)
""")

    assert "1 passed" in run(project)


def test_without_the_extra_only_its_tests_fail(project: Path) -> None:
    """They say what to install."""
    (project / "test_it.py").write_text("""
import sys

sys.modules["moto.backends"] = None

def test_one(s1crets_aws):
    pass

def test_two():
    pass
""")

    told = run(project, fails=True)
    assert "1 passed, 1 error" in told
    assert "s1crets[testing]" in told
