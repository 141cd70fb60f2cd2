"""Scope of entries in a shared cache: nobody sees the values of another identity."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.clients import forget_credentials
from _support.wire import HANG_UP, Asked, Reply, Wire, assumed, caller, refusal, wire
from aiobotocore.session import AioSession
from aiocache import SimpleMemoryCache

from s1crets.errors import ConfigurationError, CredentialsError
from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    _identity,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s1crets.cache.scope import Scope

KEY = b"k" * 32


ARNS = {
    "fake-access-key": "arn:aws:iam::111111111111:user/u",
    "fake-second-key": "arn:aws:iam::111111111111:user/u",
    "fake-other-account": "arn:aws:iam::222222222222:user/u",
    "fake-role-a1": "arn:aws:sts::111111111111:assumed-role/a/session1",
    "fake-role-a2": "arn:aws:sts::111111111111:assumed-role/a/session2",
    "fake-role-b": "arn:aws:sts::111111111111:assumed-role/b/session1",
}


def who(asked: Asked) -> Any:
    match = re.search(r"Credential=([^/]+)/", asked.headers["Authorization"])
    assert match
    return caller(ARNS[match.group(1)])


def told(asked: Asked) -> Any:
    """Answer with everything that affects the value."""
    scope = re.search(r"Credential=([^,]+)/aws4", asked.headers["Authorization"])
    assert scope
    value = f"{scope.group(1)} {asked.headers['Host']} {asked.body}"
    return {
        "Parameter": {"Name": asked.body.get("Name"), "Value": value},
        "SecretString": value,
        "Parameters": [{"Name": "/a/b", "Value": value}],
    }


def answer(server: Wire) -> None:
    server.answers = {
        **dict.fromkeys(("GetParameter", "GetSecretValue", "GetParametersByPath"), told),
        "GetCallerIdentity": who,
        "AssumeRole": lambda asked: assumed(f"fake-{asked.body['RoleArn'].replace('/', '-')}"),
    }


@pytest.fixture
def server(scripted: Wire) -> Wire:
    answer(scripted)
    return scripted


@pytest.fixture
def elsewhere() -> Iterator[Wire]:
    """Yield another endpoint."""
    with wire() as other:
        answer(other)
        yield other


@pytest.fixture(params=["disk", "sealed", "foreign"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return `cache_args` of a shared cache."""
    if request.param == "foreign":
        return {"backend": SimpleMemoryCache()}
    found = {
        "cache_on_disk": True,
        "key_cache_dir": tmp_path / "keys",
        "path_cache_dir": tmp_path / "paths",
    }
    return {**found, "cache_key": KEY} if request.param == "sealed" else found


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for STS also on a busy machine."""
    monkeypatch.setattr(_identity, "_TIMEOUT", 60.0)


pytestmark = pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
ROLE_A, ROLE_B = "arn:aws:iam::111111111111:role/a", "arn:aws:iam::111111111111:role/b"
OTHER_ACCOUNT = "arn:aws:iam::222222222222:role/a"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"kind": AsyncSecretsManager}),
        ({}, {"sts": {"aws_region": "eu-central-1"}}),
        ({}, {"env": {"AWS_DEFAULT_REGION": "eu-central-1"}}),
        ({}, {"config": "[default]\nregion = eu-north-1\n", "env": {"AWS_DEFAULT_REGION": None}}),
        ({}, {"elsewhere": "AWS_ENDPOINT_URL"}),
        ({}, {"elsewhere": "AWS_ENDPOINT_URL_SSM"}),
        ({}, {"env": {"AWS_ACCESS_KEY_ID": "fake-other-account"}}),
        ({}, {"env": {"AWS_ACCESS_KEY_ID": "fake-role-b"}}),
        ({}, {"sts": {"RoleArn": ROLE_A}}),
        ({"sts": {"RoleArn": ROLE_A}}, {"sts": {"RoleArn": ROLE_B}}),
        ({"sts": {"RoleArn": ROLE_A}}, {"sts": {"RoleArn": OTHER_ACCOUNT}}),
        ({}, {"namespace": "mine"}),
        ({"namespace": "a"}, {"namespace": "b"}),
        ({"namespace": "a"}, {"namespace": "a", "sts": {"RoleArn": ROLE_A}}),
        ({}, {"get": {"decrypt": False}}),
        ({}, {"path": "/a:1"}),
        ({"path": "/a:1"}, {"path": "/a:2"}),
        ({"kind": AsyncSecretsManager}, {"kind": AsyncSecretsManager, "get": {"version_id": "1"}}),
        (
            {"kind": AsyncSecretsManager, "get": {"version_id": "1"}},
            {"kind": AsyncSecretsManager, "get": {"version_stage": "1"}},
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("shared", ["sealed"], indirect=True)
async def test_nobody_sees_the_values_of_another_identity(
    server: Wire, elsewhere: Wire, shared: Any, one: Any, other: Any
) -> None:
    """Service, region, endpoint, account, role, decryption and version separate entries."""

    async def read(about: Any) -> tuple[str, int]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in about.get("env", {}).items():
                patch.setenv(name, value) if value else patch.delenv(name)
            if "elsewhere" in about:
                patch.setenv(about["elsewhere"], elsewhere.url)
            if "config" in about:
                config = Path.home() / "config"
                await asyncio.to_thread(config.write_text, about["config"])
                patch.setenv("AWS_CONFIG_FILE", str(config))
            args = dict(shared)
            if "namespace" in about:
                args["namespace"] = about["namespace"]
            kind = about.get("kind", AsyncParameterStore)
            async with kind(cache_args=args, sts_args=about.get("sts", {})) as provider:
                value = await provider.get(about.get("path", "/a"), **about.get("get", {}))
                return value, sum(provider.stats.requests.values())

    (first, asked), (second, asked_too) = await read(one), await read(other)
    assert asked == asked_too == 1
    assert first != second or "namespace" in other
    for about, value in ((one, first), (other, second)):
        assert await read(about) == (value, 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fake-access-key", "fake-second-key"),
        ("fake-role-a1", "fake-role-a2"),
    ],
)
async def test_the_same_caller_sees_its_values(
    server: Wire, shared: Any, monkeypatch: pytest.MonkeyPatch, one: str, other: str
) -> None:
    """Also with another access key, or in another session of a role."""
    for key, requests in ((one, 1), (other, 0)):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "fake-token")
        async with AsyncParameterStore(cache_args=shared) as ps:
            await ps.get("/a")
            assert sum(ps.stats.requests.values()) == requests


async def test_aws_is_asked_once_and_the_answer_is_remembered(server: Wire, shared: Any) -> None:
    """A disk remembers it for the next process."""
    for _ in range(3):
        async with AsyncParameterStore(cache_args=shared) as ps:
            await asyncio.gather(*(ps.get(f"/{i}") for i in range(9)))
            await ps.get_by_path("/a")

    assert server.count("GetCallerIdentity") == (3 if "backend" in shared else 1)


@pytest.mark.parametrize("how", ["role", "namespace", "account", "memory"])
async def test_a_known_identity_is_not_asked_for(
    server: Wire, shared: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A role, a namespace or the credentials determine the identity; memory has a single owner."""
    args: Any = {} if how == "memory" else dict(shared)
    if how == "namespace":
        args["namespace"] = "mine"
    if how == "account":
        monkeypatch.setenv("AWS_ACCOUNT_ID", "111111111111")
    sts: Any = {"RoleArn": ROLE_A} if how == "role" else {}
    async with AsyncParameterStore(cache_args=args, sts_args=sts) as ps:
        await ps.get("/a")

    assert server.count("GetCallerIdentity") == 0


@pytest.mark.parametrize("problem", [HANG_UP, Reply(b"<html>"), Reply({}, 500)])
@pytest.mark.parametrize("token", ["", "fake-token"])
async def test_without_sts_the_access_key_is_the_identity(  # noqa: PLR0917
    server: Wire,
    shared: Any,
    monkeypatch: pytest.MonkeyPatch,
    problem: Any,
    token: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A key has one owner; but a key that came with a token is temporary, so not remembered."""
    server.answers["GetCallerIdentity"] = problem
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    for key, requests in (("fake-one", 1), ("fake-one", 0), ("fake-two", 1)):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        async with AsyncParameterStore(cache_args=shared) as ps:
            await ps.get("/a")
            assert sum(ps.stats.requests.values()) == requests
    assert caplog.text.count("`namespace`") == (3 if token else 0)
    remembered = not token and "backend" not in shared
    assert server.count("GetCallerIdentity") == (2 if remembered else 3)


async def test_a_cancelled_question_is_not_repeated(server: Wire, shared: Any) -> None:
    """A hung STS delays one call, not every call."""
    over = threading.Event()

    def hang(_: Any) -> Any:
        over.wait(60)
        return HANG_UP

    server.answers["GetCallerIdentity"] = hang
    async with AsyncParameterStore(cache_args=shared) as ps:
        call = asyncio.create_task(ps.get("/a"))
        while not server.count("GetCallerIdentity"):
            await asyncio.sleep(0.01)
        call.cancel()  # as a deadline does it
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await ps.get("/a")
        assert await ps.get("/a")
        assert ps.stats.requests == {"GetParameter": 2}
        assert server.count("GetCallerIdentity") == 1
        over.set()


async def test_a_session_of_the_callers_own(server: Wire, shared: Any) -> None:
    """Its credentials determine the identity, which every process asks for."""
    for key, requests in (
        ("fake-access-key", 1),
        ("fake-second-key", 0),
        ("fake-other-account", 1),
    ):
        session = AioSession()
        session.set_credentials(key, "fake")
        async with AsyncParameterStore(cache_args=shared, session=session) as ps:
            await ps.get("/a")
            assert sum(ps.stats.requests.values()) == requests

    assert server.count("GetCallerIdentity") == 3


async def test_without_credentials_the_error_is_the_fetchs(
    server: Wire, shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there are some, the cache is used, after a few seconds at the latest."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with AsyncParameterStore(cache_args=shared) as ps:
        for _ in "ab":
            with pytest.raises(CredentialsError, match="GetParameter '/a'"):
                await ps.get("/a")
        await ps.invalidate("/a")
        assert ps.peek("/a") is None
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-access-key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake")
        assert await ps.get("/a")
        ps._cache._scope._backoff.succeeded("scope")
        assert await ps.get("/a")
        assert await ps.get("/a")
        assert ps.stats.requests == {"GetParameter": 2}


def test_a_warm_folder_needs_neither_aws_nor_botocore(
    server: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has the entries and the scope."""
    import subprocess
    import sys

    args: Any = {"cache_on_disk": True, "key_cache_dir": tmp_path / "k", "path_cache_dir": tmp_path}
    tmp_path.chmod(0o700)
    args["cache_key"] = KEY
    with ParameterStore(cache_args=args) as ps:
        value = ps.get("/a")
    script = f"""
import pathlib, sys
from s1crets.providers.aws import ParameterStore
folder = pathlib.Path({str(tmp_path)!r})
ps = ParameterStore(cache_args={{"cache_on_disk": True, "key_cache_dir": folder / "k",
    "path_cache_dir": folder, "cache_key": b"k" * 32}})
assert ps.get("/a") == {value!r}
assert not ps.stats.requests
assert "botocore" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert server.count("GetCallerIdentity") == 1


async def test_credentials_from_a_container_are_asked_about_in_every_process(
    server: Wire, shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next process may have another role, without any change in its environment."""
    key = ["fake-role-a1"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/credentials")
    server.answers["GET /credentials"] = lambda _: {
        "AccessKeyId": key[0],
        "SecretAccessKey": "fake",
        "Token": "fake",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    for name, requests in (("fake-role-a1", 1), ("fake-role-a2", 0), ("fake-role-b", 1)):
        key[0] = name
        forget_credentials()
        async with AsyncParameterStore(cache_args=shared) as ps:
            await ps.get("/a")
            assert sum(ps.stats.requests.values()) == requests
    assert server.count("GetCallerIdentity") == 3


async def test_without_a_home(server: Wire, shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The AWS files are missing then."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "~nobody-at-all/config")
    async with AsyncParameterStore(cache_args=shared) as ps:
        assert await ps.get("/a")


async def scope_of(**options: Any) -> Scope:
    async with AsyncParameterStore(**options) as ps:
        return await ps._store.scope()


async def test_a_place_does_not_depend_on_who_reads_it(
    server: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that an invalidation by a role reaches the entries of another, on all machines."""
    scopes = [
        await scope_of(),
        await scope_of(sts_args={"RoleArn": ROLE_A}),
        await scope_of(cache_args={"namespace": "mine"}),
    ]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-other-account")
    config = Path.home() / "config"
    config.write_text("[profile other]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "other")
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    scopes.append(await scope_of())

    assert len({scope.place for scope in scopes}) == 1
    assert len({scope.owner for scope in scopes}) == 4


async def test_a_configured_endpoint_is_another_place(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the environment or from the config file, unless the file's endpoints are ignored."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    args: Any = {"cache_args": {"namespace": "mine"}}
    plain = await scope_of(**args)
    config = Path.home() / "config"
    config.write_text("[default]\nendpoint_url = http://127.0.0.1:9\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    from_file = await scope_of(**args)
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")

    assert from_file.place == f"{plain.place}http://127.0.0.1:9"
    assert await scope_of(**args) == plain


PROFILES = """
[profile a]
region = eu-west-1
[profile b]
region = eu-central-1
"""


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use profile `a`; there is a profile `b`."""
    config = tmp_path / "config"
    config.write_text(PROFILES)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "a")
    monkeypatch.delenv("AWS_DEFAULT_REGION")


@pytest.mark.usefixtures("profiles")
@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("how", ["closed", "another loop"])
@pytest.mark.parametrize("name", ["AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_PROFILE"])
def test_settings_that_change_are_rejected(  # noqa: PLR0917
    server: Wire, elsewhere: Wire, tmp_path: Path, where: str, how: str, name: str
) -> None:
    """Another client would read another account's secrets into the cache of the first one."""
    folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
    args: Any = {"memory": {}, "disk": {"cache_on_disk": True, "cache_key": KEY, **folders}}[where]
    with ParameterStore(cache_args=args) as ps, pytest.MonkeyPatch.context() as patch:
        first = ps.get("/a")
        if how == "closed":
            ps.close()
        new = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_PROFILE": "b"}.get(name, elsewhere.url)
        patch.setenv(name, new)
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=f"{name} changed .*another provider"):
                ps.get("/b") if how == "closed" else asyncio.run(ps.awaited.get("/b"))
        assert ps.get("/a") == first
        patch.undo()
        assert "eu-west-1" in ps.get("/b")
    assert elsewhere.asked == []


def test_settings_that_change_during_the_first_request_are_rejected(
    server: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the role is assumed."""

    def change(_: Asked) -> Any:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        return assumed("fake-role")

    server.answers["AssumeRole"] = change
    with (
        ParameterStore(sts_args={"RoleArn": ROLE_A}) as ps,
        pytest.raises(ConfigurationError, match="AWS_DEFAULT_REGION changed"),
    ):
        ps.get("/a")


@pytest.mark.usefixtures("server", "profiles")
@pytest.mark.parametrize("shared", ["sealed"], indirect=True)
def test_settings_may_be_corrected(monkeypatch: pytest.MonkeyPatch, shared: Any) -> None:
    """As long as they have not led to a client. What is remembered belongs to the new ones."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with ParameterStore(cache_args=shared) as ps:
        with pytest.raises(ConfigurationError):
            ps.get("/a")
        ps.awaited._cache._scope._backoff.succeeded("scope")  # as after five seconds
        monkeypatch.setenv("AWS_PROFILE", "b")
        assert "eu-central-1" in ps.get("/a")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with ParameterStore(cache_args=shared) as ps, pytest.raises(ConfigurationError):
        ps.get("/a")


@pytest.mark.parametrize("shared", ["sealed"], indirect=True)
def test_an_answer_from_before_a_change_is_not_remembered(
    server: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Any
) -> None:
    """Which of the two settings it belongs to is not known."""
    config = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))

    def change(asked: Asked) -> Any:
        config.write_text("[default]\n")
        return who(asked)

    server.answers["GetCallerIdentity"] = change
    for asked in (1, 2):
        with ParameterStore(cache_args=shared) as ps:
            ps.get("/a")
        assert server.count("GetCallerIdentity") == asked
        config.unlink()


@pytest.mark.usefixtures("server", "profiles")
@pytest.mark.parametrize("shared", ["sealed"], indirect=True)
def test_settings_of_a_warm_disk_count_too(monkeypatch: pytest.MonkeyPatch, shared: Any) -> None:
    """They have told whose entries these are, without a client."""
    with ParameterStore(cache_args=shared) as ps:
        ps.get("/a")
    with ParameterStore(cache_args=shared) as ps:
        assert "eu-west-1" in ps.get("/a")
        assert not ps.stats.requests
        monkeypatch.setenv("AWS_PROFILE", "b")
        with pytest.raises(ConfigurationError, match="AWS_PROFILE changed"):
            ps.get("/b")


@pytest.mark.usefixtures("profiles")
def test_credentials_are_renewed_from_the_same_profile(
    server: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever profile the environment has by then."""
    keys = tmp_path / "keys"
    keys.write_text("".join(
        f"[{one}]\naws_access_key_id = fake-{one}\naws_secret_access_key = fake\n" for one in "ab"
    ))  # fmt: skip
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with ParameterStore() as ps:
        assert "fake-a/" in ps.get("/a")
        monkeypatch.setenv("AWS_PROFILE", "b")
        expired = refusal("ExpiredTokenException")
        server.answers["GetParameter"] = [expired, told]
        assert "fake-a/" in ps.get("/b")
