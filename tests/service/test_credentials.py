"""Sources of credentials: their failures, denied roles, and what providers share."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import botocore.credentials
import pytest
from _support.clients import credentials_of
from _support.wire import Reply, Wire, assumed, parameter
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.tokens import SSOTokenProvider

import s1crets
from s1crets.cache.freshness import is_outage
from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    _credentials,
)
from s1crets.providers.aws._credentials import Credentials
from s1crets.providers.aws._errors import Unresolved

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "canary-5b1e"
ROLE = "arn:aws:iam::123456789012:role/reader"
OTHER = "arn:aws:iam::123456789012:role/other"
CRED, CONF = s1crets.CredentialsError, s1crets.ConfigurationError
STATIC = "aws_access_key_id = fake-key\naws_secret_access_key = fake\n"


class Machine:
    """The settings of this process, of which a test makes its own."""

    def __init__(self, patch: pytest.MonkeyPatch, server: Wire, folder: Path) -> None:
        self.patch = patch
        self.server = server
        self.folder = folder
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)

    def env(self, **variables: str) -> Any:
        for name, value in variables.items():
            self.patch.setenv(f"AWS_{name}", value)

    def profile(self, text: str) -> Any:
        """Use the profile `p` of a config file."""
        self.env(CONFIG_FILE=str(self.file("config", f"[profile p]\n{text}")), PROFILE="p")

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def process(self, script: str) -> Any:
        path = self.file("tool", f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        self.profile(f"credential_process = {path}\n")

    def role(self, source: str = f"source_profile = s\n[profile s]\n{STATIC}") -> Any:
        self.profile(f"role_arn = {ROLE}\n{source}")

    def web_identity(self) -> Any:
        token = self.file("token", CANARY)
        self.env(WEB_IDENTITY_TOKEN_FILE=str(token), ROLE_ARN=ROLE)

    def sso(self, expires: str = "2099-01-01T00:00:00Z") -> Any:
        start = "https://fake.invalid/start"
        token = {"accessToken": CANARY, "expiresAt": expires, "startUrl": start}
        folder = Path.home() / ".aws" / "sso" / "cache"
        folder.mkdir(parents=True)
        name = hashlib.sha1(b"corp").hexdigest()  # noqa: S324  # botocore's name of the file
        (folder / f"{name}.json").write_text(json.dumps(token))
        # botocore determines its folder when it is imported.
        self.patch.setattr(SSOTokenProvider, "_SSO_TOKEN_CACHE_DIR", str(folder))
        self.profile(
            "sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Dev\n"
            f"[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = {start}\n"
        )

    def container(self, answer: Any) -> Any:
        self.env(CONTAINER_CREDENTIALS_FULL_URI=f"{self.server.url}/creds")
        self.server.answers["GET /creds"] = answer


@pytest.fixture
def machine(scripted: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """Return settings without any credentials, and a server that knows every parameter."""
    scripted.answers["GetParameter"] = lambda asked: parameter(asked.body["Name"], "v")
    scripted.answers["GetParameters"] = lambda asked: {
        "Parameters": [{"Name": name, "Value": "v"} for name in asked.body["Names"]]
    }
    return Machine(monkeypatch, scripted, tmp_path)


def denied(code: str = "AccessDenied", message: str = "no", status: int = 403) -> Reply:
    """Return an error of STS."""
    return Reply(
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}"
        "</Message></Error><RequestId>1</RequestId></ErrorResponse>".encode(),
        status,
    )


CREDENTIALS = {"AccessKeyId": "fake", "SecretAccessKey": CANARY, "Token": CANARY}
WEB, CONTAINER = "assume-role-with-web-identity", "container-role"
FAILURES: dict[str, tuple[Callable[[Machine], Any], type[Exception], str]] = {
    "no web identity token": (
        lambda m: m.env(WEB_IDENTITY_TOKEN_FILE="/no/token", ROLE_ARN=ROLE),
        CRED,
        f"{ROLE}.*{WEB}.*/no/token: No such file.*check the token file",
    ),
    "a rejected web identity token": (
        lambda m: (
            m.web_identity(),
            m.server.answers.update(
                AssumeRoleWithWebIdentity=denied("ValidationError", f"Value '{CANARY}'", 400)
            ),
        ),
        CRED,
        "AssumeRoleWithWebIdentity.*ValidationError.*trust policy",
    ),
    "no container token": (
        lambda m: m.env(
            CONTAINER_CREDENTIALS_FULL_URI="http://127.0.0.1:1/c",
            CONTAINER_AUTHORIZATION_TOKEN_FILE="/no/token",
        ),
        CRED,
        f"AUTHORIZATION_TOKEN_FILE.*{CONTAINER}.*/no/token: No such file",
    ),
    "a container URI that is not allowed": (
        lambda m: m.env(CONTAINER_CREDENTIALS_FULL_URI="http://example.invalid/c"),
        CONF,
        f"{CONTAINER}.*Unsupported host 'example.invalid'",
    ),
    "a container that refuses": (
        lambda m: m.container(Reply(CANARY.encode(), 401)),
        CRED,
        f"{CONTAINER}.*non 200 response 401.*trust policy",
    ),
    "a container that redirects": (
        lambda m: m.container(Reply(b"", 302, headers={"Location": "http://127.0.0.1:1/other"})),
        CRED,
        f"{CONTAINER}.*non 200 response 302",
    ),
    "a container without JSON": (
        lambda m: m.container(Reply(f'{{"SecretAccessKey": "{CANARY}'.encode())),
        CRED,
        f"{CONTAINER}.*Unable to parse JSON",
    ),
    "a container with incomplete credentials": (
        lambda m: m.container({"SecretAccessKey": CANARY}),
        CRED,
        f"{CONTAINER}.*KeyError",
    ),
    "a container with expired credentials": (
        lambda m: m.container({**CREDENTIALS, "Expiration": "2001-01-01T00:00:00Z"}),
        CRED,
        f"{CONTAINER}.*expired already; correct the clock",
    ),
    "a missing program": (
        lambda m: m.profile("credential_process = /no/tool\n"),
        CRED,
        "credential_process of profile 'p'.*/no/tool: No such file",
    ),
    "a program that fails": (
        lambda m: m.process(f"echo {CANARY} >&2; exit 3"),
        CRED,
        "credential_process of profile 'p'.*the command failed.*run the command",
    ),
    "a program that prints nothing": (lambda m: m.process(":"), CRED, "printed something else"),
    "a program that prints words": (
        lambda m: m.process(f"echo {CANARY}"),
        CRED,
        "printed something else",
    ),
    "a program that prints half": (
        lambda m: m.process(f"""echo '{{"Version": 1, "SecretAccessKey": "{CANARY}'"""),
        CRED,
        "printed something else.*JSONDecodeError",
    ),
    "a program that prints a list": (
        lambda m: m.process(f"""echo '["{CANARY}"]'"""),
        CRED,
        "printed something else",
    ),
    "a program with another version": (
        lambda m: m.process(f"""echo '{{"Version": "{CANARY}"}}'"""),
        CRED,
        "the command failed",
    ),
    "a program without a key": (
        lambda m: m.process(f"""echo '{{"Version": 1, "SecretAccessKey": "{CANARY}"}}'"""),
        CRED,
        "Missing required key in response: 'AccessKeyId'",
    ),
    "a program with a number for a key": (
        lambda m: m.process(
            f"""echo '{{"Version": 1, "AccessKeyId": 5, "SecretAccessKey": "{CANARY}"}}'"""
        ),
        CRED,
        "custom-process: a key or token is not text",
    ),
    "a program that hangs": (
        lambda m: (
            m.patch.setattr(_credentials, "_PROCESS_TIMEOUT", 0.2),
            m.process("exec sleep 600"),
        ),
        CRED,
        "credential_process of profile 'p'.*took longer than",
    ),
    "a program of a source profile": (
        lambda m: m.role("source_profile = s\n[profile s]\ncredential_process = /no/tool\n"),
        CRED,
        "credential_process of profile 's'.*/no/tool: No such file",
    ),
    "a missing source profile": (
        lambda m: m.role("source_profile = absent\n"),
        CONF,
        "role of profile 'p'.*absent",
    ),
    "a profile that refers to itself": (
        lambda m: m.role(
            f"source_profile = q\n[profile q]\nrole_arn = {ROLE}\nsource_profile = p\n"
        ),
        CONF,
        "Infinite loop",
    ),
    "an expired SSO login": (
        lambda m: m.sso("2001-01-01T00:00:00Z"),
        CRED,
        "SSO login of profile 'p'.*has expired.*log in again with `aws sso login`$",
    ),
    "no SSO login": (
        lambda m: (m.sso(), shutil.rmtree(Path.home() / ".aws")),
        CRED,
        "SSO login of profile 'p'.*does not exist.*log in again",
    ),
    "a login without botocore[crt]": (
        lambda m: (
            m.patch.setattr(botocore.credentials, "EC", None),
            m.profile(f"login_session = {ROLE}\n"),
        ),
        CONF,
        r"login_session of profile 'p'.*pip install 's1crets\[login\]'",
    ),
    "half of the credentials": (
        lambda m: m.env(ACCESS_KEY_ID=CANARY),
        CRED,
        "environment.*aws_secret_access_key|AWS_SECRET_ACCESS_KEY",
    ),
    "a key with a newline": (
        lambda m: m.env(ACCESS_KEY_ID="fake\n", SECRET_ACCESS_KEY=CANARY),
        CRED,
        "from env: .*line break; correct it",
    ),
    "no CA bundle": (lambda m: m.env(CA_BUNDLE="/no/ca.pem"), CONF, "/no/ca.pem.*AWS_CA_BUNDLE"),
    "a CA bundle without certificates": (
        lambda m: m.env(CA_BUNDLE=str(m.file("ca.pem", CANARY))),
        CONF,
        "ca.pem.*AWS_CA_BUNDLE",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_a_source_that_fails(
    machine: Machine, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    """It is no outage; the error names source and remedy; neither it nor a log has a secret."""
    set_up, kind, words = FAILURES[case]
    set_up(machine)
    caplog.set_level(logging.DEBUG)
    async with AsyncParameterStore() as ps:
        with pytest.raises(kind, match=f"(?s)GetParameter '/a': .*{words}") as caught:
            await ps.get("/a")

    assert type(caught.value) is kind
    assert not is_outage(caught.value)  # type: ignore[arg-type]
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert CANARY not in f"{caught.value!r}{caught.value.args}"
    assert CANARY not in caplog.text
    assert not any(record.exc_info for record in caplog.records if "botocore" in record.name)
    assert machine.server.count("GetParameter") == 0


DENIED: dict[str, tuple[Callable[[Machine], Any], str]] = {
    "sts_args": (
        lambda m: m.env(ACCESS_KEY_ID="fake", SECRET_ACCESS_KEY="fake"),
        "AssumeRole",
    ),
    "profile": (lambda m: m.role(), "AssumeRole"),
    "web identity": (lambda m: m.web_identity(), "AssumeRoleWithWebIdentity"),
    "sso": (lambda m: m.sso(), "GET /federation"),
    "container": (lambda m: m.container(Reply(b"no", 403)), "GET /creds"),
}


@pytest.mark.parametrize("how", DENIED)
async def test_a_denied_role_is_requested_once(machine: Machine, how: str) -> None:
    """For 100 names, and not again for some seconds; the error points to the trust policy."""
    set_up, operation = DENIED[how]
    set_up(machine)
    for name in ("AssumeRole", "AssumeRoleWithWebIdentity"):
        machine.server.answers[name] = denied()
    path = "GET /federation/credentials?role_name=Dev&account_id=123456789012"
    refusal = {"message": "No access"}
    machine.server.answers[path] = Reply(
        refusal, 403, headers={"x-amzn-ErrorType": "ForbiddenException"}
    )
    options: Any = {"sts_args": {"RoleArn": ROLE}} if how == "sts_args" else {}

    async with AsyncParameterStore(**options) as ps, AsyncSecretsManager(**options) as sm:
        calls = [ps.get(f"/{i}") for i in range(50)] + [sm.get(f"{i}") for i in range(50)]
        found: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        found.append(await ps.get_many(["/x", "/y"], errors="return"))
        found += found.pop().values()

    assert {type(one) for one in found} == {CRED}
    assert len({id(one) for one in found}) == 102
    assert [str(one) for one in found if "trust policy" not in str(one)] == []
    sent = [call for call in machine.server.asked if call.operation.startswith(operation)]
    assert 1 <= len(sent) <= 3
    assert len(sent) == len(machine.server.asked)


class Source:
    """A source of credentials that a test controls, and the time."""

    def __init__(self, session: Any = None) -> None:
        self.attempts = 0
        self.now = 1000.0
        self.outcome: Any = Unresolved("no", "wait")
        find = None if session else self.find
        now = lambda: self.now  # noqa: E731
        self.credentials = Credentials(find, session, clock=now, timer=now)

    def find(self, _: Any) -> Any:
        self.attempts += 1
        return self.outcome

    def succeeds(self, key: str, expires: float | None = None) -> None:
        keys = ReadOnlyCredentials(key, "fake", None, None)
        expiry = SimpleNamespace(timestamp=lambda: expires) if expires else None
        self.outcome = keys, "env", expiry

    async def key(self) -> str:
        return str((await self.credentials.get()).keys.access_key)


async def test_a_failure_is_remembered_for_some_seconds() -> None:
    """Then the next caller tries again, and the pauses get longer."""
    source = Source()
    for seconds, attempts in ((0, 1), (4, 1), (2, 2), (9, 2), (2, 3)):
        source.now += seconds
        with pytest.raises(Unresolved):
            await source.key()
        assert source.attempts == attempts
    source.now += 60
    source.succeeds("a")

    assert await source.key() == await source.key() == "a"
    assert source.attempts == 4


async def test_credentials_are_used_until_they_expire() -> None:
    """They are renewed in the last third of their life, 15 minutes at most; a failure waits."""
    source = Source()
    source.succeeds("a", 1000 + 3600)
    assert await source.key() == "a"
    source.succeeds("b", 1000 + 7200)
    source.now += 2690
    assert await source.key() == "a"
    renewed, source.outcome = source.outcome, Unresolved("no", "wait")
    source.now += 20
    assert await source.key() == "a"  # the renewal failed
    source.outcome = renewed
    source.now += 880
    assert await source.key() == "b"
    source.outcome = Unresolved("no", "wait")
    source.now += 3700
    with pytest.raises(Unresolved):
        await source.key()


async def test_a_slow_renewal_does_not_keep_others_waiting() -> None:
    """They use what is still valid."""
    source, go = Source(), threading.Event()
    source.succeeds("a", 1000 + 600)
    assert await source.key() == "a"
    outcome = source.outcome

    def slow(_: Any) -> Any:
        go.wait(30)
        return outcome

    source.credentials._find = slow
    source.now += 500
    first = asyncio.ensure_future(source.key())
    while not source.credentials.is_pending:
        await asyncio.sleep(0)
    source.now += 1
    assert source.credentials.pending_for == 1
    assert await source.key() == "a"
    go.set()
    assert await first == "a"


async def test_a_cancelled_caller_leaves_the_source_running() -> None:
    """The next caller waits for the same attempt, and gets its result."""
    source, go = Source(), threading.Event()
    source.succeeds("a")
    find = source.find

    def slow(given: Any) -> Any:
        go.wait(30)
        return find(given)

    source.credentials._find = slow
    first = asyncio.ensure_future(source.key())
    while not source.credentials.is_pending:
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.ensure_future(source.key())
    for _ in range(20):  # ticks until it waits for the attempt
        await asyncio.sleep(0)
    go.set()

    assert await second == "a"
    assert source.attempts == 1


async def test_a_child_does_not_wait_for_its_parents_thread() -> None:
    """Which does not exist there."""
    source, go = Source(), threading.Event()
    source.credentials._find = lambda _: go.wait(30) and Unresolved("no", "wait")
    waiting = asyncio.ensure_future(source.key())
    while not source.credentials.is_pending:
        await asyncio.sleep(0)
    source.credentials.after_fork()
    assert not source.credentials.is_pending
    go.set()
    with pytest.raises(Unresolved):
        await waiting


async def test_stores_share_a_role(machine: Machine) -> None:
    """Also on another event loop, and in another region of the partition; others don't."""
    machine.env(ACCESS_KEY_ID="fake", SECRET_ACCESS_KEY="fake")
    machine.server.answers["AssumeRole"] = assumed()
    machine.server.answers["GetSecretValue"] = {"SecretString": "v"}

    async def read(*options: Any) -> int:
        for sts_args in options:
            async with (
                AsyncParameterStore(sts_args=sts_args) as ps,
                AsyncSecretsManager(sts_args=sts_args) as sm,
            ):
                await asyncio.gather(ps.get("/a"), sm.get("a"))
        return machine.server.count("AssumeRole")

    assert await read({"RoleArn": ROLE}, {"RoleArn": ROLE, "aws_region": "us-east-1"}) == 1
    assert await asyncio.to_thread(lambda: asyncio.run(read({"RoleArn": ROLE}))) == 1
    facade = ParameterStore(sts_args={"RoleArn": ROLE})
    assert await asyncio.to_thread(facade.get, "/a") == "v"
    assert machine.server.count("AssumeRole") == 1
    assert await read({"RoleArn": OTHER}) == 2
    assert await read({"RoleArn": ROLE, "ExternalId": "x"}) == 3
    assert await read({"RoleArn": ROLE, "aws_region": "cn-north-1"}) == 4
    assert await read({"RoleArn": ROLE, "aws_region": "nowhere"}) == 5


async def test_few_credentials_are_kept(machine: Machine) -> None:
    """Those that were not used for the longest time are dropped."""
    machine.env(ACCESS_KEY_ID="fake", SECRET_ACCESS_KEY="fake")
    machine.server.answers["AssumeRole"] = assumed()
    machine.patch.setattr(_credentials, "_MOST", 2)
    for role, count in ((ROLE, 1), (OTHER, 2), (ROLE, 2), (ROLE + "3", 3), (ROLE, 3), (OTHER, 4)):
        async with AsyncParameterStore(sts_args={"RoleArn": role}) as ps:
            await ps.get("/a")
        assert machine.server.count("AssumeRole") == count


@pytest.mark.parametrize("role", [False, True])
async def test_a_session_of_the_callers_that_fails(machine: Machine, *, role: bool) -> None:
    """Its failures are described like others, and remembered for some seconds."""
    machine.env(WEB_IDENTITY_TOKEN_FILE="/no/token", ROLE_ARN=ROLE)
    options: Any = {"session": AioSession(), "sts_args": {"RoleArn": OTHER} if role else {}}
    async with AsyncParameterStore(**options) as ps:
        for _ in range(2):
            with pytest.raises(CRED, match=f"{ROLE}.*/no/token: No such file"):
                await ps.get("/a")


async def test_a_session_of_the_callers_decides_each_time(machine: Machine) -> None:
    """Its credentials are not kept."""
    session = AioSession()
    session.set_credentials("one", "fake")
    async with AsyncParameterStore(session=session) as ps:
        await ps.get("/a")
        session.set_credentials("two", "fake")
        await ps.get("/b")
        session.set_credentials("three\n", "fake")
        with pytest.raises(CRED, match="line break"):
            await ps.get("/c")
        credentials_of(ps)._backoff.succeeded("")
        session.set_credentials("four", "fake")
        await ps.get("/d")
    signatures = [call.headers["Authorization"] for call in machine.server.asked]
    keys = [signature.split("=")[1].split("/")[0] for signature in signatures]

    assert keys == ["one", "two", "four"]


class SlowSession(AioSession):  # type: ignore[misc]  # aiobotocore has no types
    """A session whose credentials arrive when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.set_credentials("fake", "fake")
        self.go = asyncio.Event()
        self.go.set()
        self.asked = self.answered = 0

    async def get_credentials(self) -> Any:
        self.asked += 1
        await self.go.wait()
        self.answered += 1
        return await super().get_credentials()


async def test_a_slow_session_goes_on_without_its_caller(machine: Machine) -> None:
    """Or credentials that take longer than a call's deadline would never arrive."""
    session = SlowSession()
    async with AsyncParameterStore(session=session) as ps:
        await ps.get("/a")
        session.go.clear()
        before = session.asked
        calling = asyncio.ensure_future(ps.get("/b"))
        while session.asked == before:
            await asyncio.sleep(0)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        session.go.set()
        assert await ps.get("/c") == "v"

    assert calling.cancelled()
    assert session.answered == session.asked
    assert "/b" not in [call.body.get("Name") for call in machine.server.asked]


@pytest.mark.parametrize("how", ["get", "get_many", "update"])
async def test_a_source_that_is_slower_than_the_deadline(machine: Machine, how: str) -> None:
    """It is no outage either; whoever has set a deadline may catch a `TimeoutError`."""
    machine.process("exec sleep 600")
    machine.patch.setattr(_credentials, "_PROCESS_TIMEOUT", 60.0)
    for deadline in (1.0, 20.0):  # on a busy machine, it takes seconds to begin
        async with AsyncParameterStore(deadline=deadline) as ps:
            calls: dict[str, Any] = {
                "get": lambda: ps.get("/a"),  # called at once
                "get_many": lambda: ps.get_many(["/a"], errors="return"),
                "update": lambda: ps.update("/a", "v"),
            }
            outcome: Any = await asyncio.gather(calls[how](), return_exceptions=True)
        error: Any = outcome[0]["/a"] if how == "get_many" else outcome[0]
        if not isinstance(error, s1crets.DeadlineExceededError):
            break

    assert type(error) is s1crets.CredentialsTimeoutError
    assert isinstance(error, CRED)
    assert isinstance(error, TimeoutError)
    assert not is_outage(error)
    assert "source of credentials did not respond" in str(error)


LOGLESS = """
import asyncio, sys
from aiobotocore.session import AioSession
from s1crets.providers.aws import AsyncParameterStore, ParameterStore
from s1crets import CredentialsError

async def main():
    async with AsyncParameterStore(session=AioSession()) as ps:
        await ps.get("/a")

for call in (lambda: asyncio.run(main()), lambda: ParameterStore().get("/a")):
    try:
        call()
    except CredentialsError:
        print("refused")
"""


def test_a_program_without_a_logging_configuration_gets_nothing_on_stderr(machine: Machine) -> None:
    """Aiobotocore's traceback would come before the error."""
    machine.sso("2001-01-01T00:00:00Z")
    done = subprocess.run(
        [sys.executable, "-c", LOGLESS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("refused\nrefused\n", "")


MFA = """
import asyncio
from s1crets.providers.aws import ParameterStore, SecretsManager, _credentials
from s1crets import CredentialsError

assert ParameterStore().get("/a") == SecretsManager().get("a") == "v"
_credentials._shared.clear()
try:
    ParameterStore().get("/a")
except CredentialsError as error:
    print(error)
"""


def test_an_mfa_code_is_asked_for_once(machine: Machine) -> None:
    """For both stores; without a terminal the error says so."""
    serial = "mfa_serial = arn:aws:iam::1:mfa/me\n"
    machine.role(f"{serial}source_profile = s\n[profile s]\n{STATIC}")
    machine.server.answers["AssumeRole"] = assumed()
    machine.server.answers["GetSecretValue"] = {"SecretString": "v"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(MFA)],
        input="123456\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,
    )

    assert "an MFA code is required, and there is no terminal" in done.stdout, done.stderr
    (sent,) = machine.server.bodies("AssumeRole")
    assert sent["TokenCode"] == "123456"
