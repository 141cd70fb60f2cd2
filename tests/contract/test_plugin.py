"""The pytest plugin, in the test run of another project."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from _support.nested import run_pytest

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = {  # settings of the machine, which tests must not see
    "AWS_PROFILE": "nobody",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_SSM": "http://127.0.0.1:9",
    "AWS_SESSION_TOKEN": "fake-token",
    "S1CRETS_CACHE_KEY": "invalid",
}


APP = """
from typing import Annotated

from fastapi import FastAPI
from s1crets.integrations.fastapi import Preload, Secret, lifespan
from s1crets.providers.aws import AsyncParameterStore, SecretsManager

ps, sm = AsyncParameterStore(), SecretsManager()
app = FastAPI(lifespan=lifespan(Preload(ps, names=["/a"])))

@app.get("/")
def read(b: Annotated[str, Secret("/b")]):  # in a thread, since it blocks
    return [ps.peek("/a"), b, sm.get("c")]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, on a machine with settings of its own."""
    for name, value in MACHINE.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / tmp_path.name
    folder.mkdir()
    return folder


def check(project: Path, *args: str, **files: str) -> None:
    """Run a project's tests, with warnings as errors; all have to pass."""
    done = run_pytest(project, "-W", "error", "--strict-markers", *args, **files)
    assert set(done.outcomes.values()) == {"passed"}, done.errors


def test_a_test_reads_its_seed(project: Path) -> None:
    """It sees nothing of the machine or of other tests; afterwards everything is as before."""
    check(
        project,
        test_it="""
        import os
        import boto3
        import pytest
        import s1crets

        def test_one(s1crets_aws):
            s1crets_aws.seed({"aws.ps": {"/a": {"k": "fake-1"}}, "aws.sm": {"b": "fake-1"}})
            assert s1crets.get("aws.ps", "/a", "k") == "fake-1"
            assert s1crets.get("aws.sm", "b") == "fake-1"
            assert boto3.client("ssm").get_parameter(Name="/a")["Parameter"]["Name"] == "/a"
            assert os.environ["AWS_ENDPOINT_URL"] == s1crets_aws.url  # child processes use it

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
            assert os.environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
        """,
    )


def test_module_level_providers_are_created_again(project: Path) -> None:
    """Wherever an earlier test pointed them."""
    check(
        project,
        test_it="""
        import s1crets
        from s1crets.testing import local_aws
        from s1crets.testing.plugin import isolate

        def test_one(monkeypatch):
            isolate(monkeypatch)
            with local_aws(seed={"aws.ps": {"/a": "fake-other"}}) as aws:
                for name, value in aws.environment.items():
                    monkeypatch.setenv(name, value)
                assert s1crets.get("aws.ps", "/a") == "fake-other"

        def test_two(s1crets_aws):
            s1crets_aws.seed({"aws.ps": {"/a": "fake"}})
            assert s1crets.get("aws.ps", "/a") == "fake"
        """,
    )


def test_a_conftest_seeds_all_tests(project: Path) -> None:
    """From a file, in an autouse fixture; each test starts with the seed."""
    (project / "secrets.json").write_text('{"aws.ps": {"/a": "fake-shared"}}')
    check(
        project,
        conftest="""
        import pathlib
        import pytest

        @pytest.fixture(autouse=True)
        def aws(s1crets_aws):
            s1crets_aws.seed(pathlib.Path(__file__).with_name("secrets.json"))
            return s1crets_aws
        """,
        test_it="""
        import pytest
        import s1crets

        @pytest.mark.parametrize("value", ["fake-1", "fake-2"])
        def test_it(aws, value):
            assert s1crets.get("aws.ps", "/a") == "fake-shared"
            s1crets.update("aws.ps", "/a", value)
            assert s1crets.get("aws.ps", "/a") == value
            assert aws.requests[-1].operation == "GetParameter"
        """,
    )


def test_async_tests(project: Path) -> None:
    """With anyio's plugin: a provider of the test's own, and the module-level coroutines."""
    check(
        project,
        test_it="""
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
        """,
    )


def test_providers_of_modules_see_each_tests_values(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of an application, async and blocking, and values that were read before."""
    (project / "app_of_s1crets.py").write_text(APP)
    monkeypatch.syspath_prepend(project)
    check(
        project,
        test_it="""
        import pytest
        import s1crets
        from app_of_s1crets import app, sm
        from fastapi.testclient import TestClient
        from s1crets.testing import local_aws
        from s1crets.testing.plugin import isolate

        def test_before(monkeypatch):
            isolate(monkeypatch)
            with local_aws(seed={"aws.sm": {"other": "fake-other"}}) as aws:
                for name, value in aws.environment.items():
                    monkeypatch.setenv(name, value)
                assert sm.get("other") == "fake-other"

        @pytest.mark.parametrize("value", ["fake-1", "fake-2"])
        def test_it(s1crets_aws, value):
            assert s1crets_aws.requests == ()
            s1crets_aws.seed({"aws.ps": {"/a": value, "/b": value}, "aws.sm": {"c": value}})
            with TestClient(app) as client:
                assert client.get("/").json() == [value] * 3
            with pytest.raises(KeyError):
                sm.get("other")

        def test_after():
            assert sm.peek("c") is None
        """,
    )
    del sys.modules["app_of_s1crets"]


def test_a_disk_cache_is_the_tests_own(project: Path) -> None:
    """The default folder is in the test's temporary folder."""
    check(
        project,
        *("-W", "ignore:unclosed database:ResourceWarning"),
        *("-W", "ignore::pytest.PytestUnraisableExceptionWarning"),
        test_it="""
        import pytest
        import s1crets
        from s1crets.providers.aws import ParameterStore

        @pytest.mark.parametrize("value", ["fake-1", "fake-2"])
        def test_it(s1crets_aws, tmp_path, value):
            s1crets_aws.seed({"aws.ps": {"/a": value}})
            with pytest.warns(s1crets.InsecureCacheWarning, match=str(tmp_path)):
                with ParameterStore(cache_args={"cache_on_disk": True}) as ps:
                    assert ps.get("/a") == value
        """,
    )


def test_the_plugin_imports_little() -> None:
    """It is loaded in every run of pytest on a machine that has s1crets."""
    script = """
import sys
import s1crets.testing.plugin
heavy = {"moto", "flask", "boto3", "botocore", "aiobotocore", "aiohttp", "http.server"}
assert heavy.isdisjoint(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_without_the_extra_only_its_tests_fail(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "moto.backends", None)
    done = run_pytest(project, test_it="def test_one(s1crets_aws): ...\ndef test_two(): ...\n")

    assert done.outcomes == {"test_one": "error", "test_two": "passed"}
    assert "s1crets[testing]" in done.errors
