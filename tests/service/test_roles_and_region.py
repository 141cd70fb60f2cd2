"""Assumed roles, regions, profiles, endpoints, the caller's own session."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from _support.clients import credentials_of, forget_credentials, opened
from _support.wire import Asked, Reply, Wire, assumed, parameter, refusal
from aiobotocore.session import AioSession
from botocore.exceptions import UnknownServiceError
from botocore.loaders import Loader

import s1crets
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore
from s1crets.providers.aws._errors import Unresolved
from s1crets.providers.aws._services import shared_loader
from s1crets.providers.aws._session import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from s1crets.providers.aws.options import StsArgs

ROLE = "arn:aws:iam::123456789012:role/reader"
STS: StsArgs = {"RoleArn": ROLE, "RoleSessionName": "myscript"}


def expires_in(seconds: float) -> str:
    then = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")


def signed_by(asked: Asked) -> str:
    return asked.headers["Authorization"].split("Credential=")[1].split("/")[0]


def keys_used(scripted: Wire) -> list[str]:
    return [signed_by(one) for one in scripted.asked if one.operation == "GetParameter"]


def answered(asked: Asked) -> dict[str, Any]:
    return parameter(asked.body["Name"], "v")


async def test_a_role_is_assumed_once_for_all(scripted: Wire) -> None:
    """With the arguments given, and the defaults; requests are signed with its key."""
    scripted.answers["AssumeRole"] = assumed("role-key")
    scripted.answers["GetParameter"] = answered
    async with AsyncParameterStore(sts_args={**STS, "ExternalId": "x"}) as ps:
        await asyncio.gather(*(ps.get(f"/{i}") for i in range(20)))

    (sent,) = scripted.bodies("AssumeRole")
    assert sent["RoleArn"] == ROLE
    assert (sent["RoleSessionName"], sent["DurationSeconds"]) == ("myscript", "3600")
    assert sent["ExternalId"] == "x"
    assert keys_used(scripted) == ["role-key"] * 20


async def test_a_short_lifetime_does_not_assume_on_every_request(scripted: Wire) -> None:
    """With 900 s, botocore's own windows would."""
    scripted.answers["AssumeRole"] = lambda _: assumed(expires=expires_in(900))
    scripted.answers["GetParameter"] = answered
    async with AsyncParameterStore(sts_args={"RoleArn": ROLE, "DurationSeconds": 900}) as ps:
        for i in range(5):
            await ps.get(f"/{i}")

    assert scripted.count("AssumeRole") == 1


async def test_credentials_are_renewed_before_they_expire(scripted: Wire) -> None:
    """In the last third of their life; there is one AssumeRole request for all callers."""
    scripted.answers["AssumeRole"] = [assumed("old", expires_in(600)), assumed("new")]
    scripted.answers["GetParameter"] = answered
    async with AsyncParameterStore(sts_args={"RoleArn": ROLE}) as ps:
        await opened(ps)
        credentials_of(ps).clock = lambda: time.time() + 450
        await asyncio.gather(*(ps.get(f"/{i}") for i in range(10)))

    assert scripted.count("AssumeRole") == 2
    assert set(keys_used(scripted)) == {"new"}


def expired_unless(key: str) -> Callable[[Asked], Any]:
    def answer(asked: Asked) -> Any:
        good = signed_by(asked) == key
        return answered(asked) if good else refusal("ExpiredTokenException")

    return answer


async def test_an_expired_token_is_renewed_once_and_the_request_repeated(scripted: Wire) -> None:
    """There is one renewal for ten callers."""
    scripted.answers["AssumeRole"] = [assumed("old"), assumed("new")]
    scripted.answers["GetParameter"] = expired_unless("new")
    async with AsyncParameterStore(sts_args={"RoleArn": ROLE}) as ps:
        await asyncio.gather(*(ps.get(f"/{i}") for i in range(10)))

    assert scripted.count("AssumeRole") == 2


async def test_a_token_that_stays_expired_is_an_error(scripted: Wire) -> None:
    """There is one renewal, not an endless loop."""
    scripted.answers["AssumeRole"] = assumed("old")
    scripted.answers["GetParameter"] = expired_unless("new")
    async with AsyncParameterStore(sts_args={"RoleArn": ROLE}) as ps:
        with pytest.raises(s1crets.CredentialsError, match="ExpiredTokenException"):
            await ps.get("/a")

    assert scripted.count("AssumeRole") == 2
    assert scripted.count("GetParameter") == 2


async def test_a_role_that_may_not_be_assumed(scripted: Wire) -> None:
    """The error names the role and the remedy; another process tries again."""
    scripted.answers["AssumeRole"] = [
        Reply(
            b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
            b"<Message>not authorized</Message></Error><RequestId>1</RequestId></ErrorResponse>",
            403,
        ),
        assumed(),
    ]
    scripted.answers["GetParameter"] = parameter("/a", "v")
    async with AsyncParameterStore(sts_args={"RoleArn": ROLE}) as ps:
        with pytest.raises(s1crets.CredentialsError, match="sts:AssumeRole") as caught:
            await ps.get("/a")
        assert ROLE in str(caught.value)
        forget_credentials()
        assert await ps.get("/a") == "v"


async def test_without_credentials_no_role_is_assumed(
    scripted: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the ways to provide credentials."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for sts_args in ({}, {"RoleArn": ROLE}):
        async with AsyncParameterStore(sts_args=sts_args) as ps:  # type: ignore[arg-type]
            with pytest.raises(s1crets.CredentialsError, match="AWS_PROFILE"):
                await ps.get("/a")
    assert scripted.asked == []


def region_of(asked: Asked) -> str:
    return asked.headers["Authorization"].split("Credential=")[1].split("/")[2]


async def test_the_region_of_sts_args_comes_first(scripted: Wire) -> None:
    """The next source is botocore's chain."""
    scripted.answers["GetParameter"] = parameter("/a", "v")
    async with (
        AsyncParameterStore(sts_args={"aws_region": "sa-east-1"}) as given,
        AsyncParameterStore() as chain,
    ):
        await given.get("/a")
        await chain.get("/a")

    assert [region_of(one) for one in scripted.asked] == ["sa-east-1", "eu-west-1"]


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No region in the environment."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")


async def test_the_profile_is_honoured(
    scripted: Wire, monkeypatch: pytest.MonkeyPatch, nowhere: None
) -> None:
    """Its region and its credentials."""
    config = Path.home() / ".aws" / "config"
    config.parent.mkdir()
    config.write_text(
        "[profile mine]\nregion = ca-central-1\n"
        "aws_access_key_id = profile-key\naws_secret_access_key = fake\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    scripted.answers["GetParameter"] = parameter("/a", "v")
    async with AsyncParameterStore() as ps:
        await ps.get("/a")

    assert (region_of(scripted.asked[0]), keys_used(scripted)) == ("ca-central-1", ["profile-key"])


async def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it."""
    monkeypatch.setenv("AWS_PROFILE", "nix")
    async with AsyncParameterStore() as ps:
        with pytest.raises(s1crets.ConfigurationError, match="nix"):
            await ps.get("/a")


async def test_the_region_as_other_sdks_know_it(
    scripted: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_REGION, where botocore's own chain has none."""
    scripted.answers["GetParameter"] = parameter("/a", "v")
    monkeypatch.setenv("AWS_REGION", "ca-central-1")
    for _ in range(2):
        async with AsyncParameterStore() as ps:
            await ps.get("/a")
        monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)

    assert [region_of(one) for one in scripted.asked] == ["eu-west-1", "ca-central-1"]


async def test_the_instances_region_comes_last(
    scripted: Wire, monkeypatch: pytest.MonkeyPatch, nowhere: None
) -> None:
    """From the metadata service."""
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", scripted.url)
    scripted.answers["PUT /latest/api/token"] = Reply(b"token")
    zone = "GET /latest/meta-data/placement/availability-zone/"
    scripted.answers[zone] = Reply(b"ap-south-1b")
    scripted.answers["GetParameter"] = parameter("/a", "v")
    async with AsyncParameterStore() as ps:
        await ps.get("/a")

    assert region_of(scripted.asked[-1]) == "ap-south-1"


async def test_a_metadata_service_that_hangs_costs_a_second(
    scripted: Wire, monkeypatch: pytest.MonkeyPatch, nowhere: None
) -> None:
    """Then the error names the three ways to set a region."""
    import threading

    go = threading.Event()
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", scripted.url)
    scripted.answers["PUT /latest/api/token"] = lambda _: go.wait(30)
    async with AsyncParameterStore() as ps:
        with pytest.raises(s1crets.ConfigurationError) as caught:
            await asyncio.wait_for(ps.get("/a"), 10)
    go.set()
    for way in ("region=...", "AWS_DEFAULT_REGION", "profile"):
        assert way in str(caught.value)


async def test_no_region_anywhere(nowhere: None) -> None:
    """The metadata service is switched off here."""
    async with AsyncParameterStore() as ps:
        with pytest.raises(s1crets.ConfigurationError):
            await ps.get("/a")


async def test_a_session_of_the_callers_own(scripted: Wire) -> None:
    """Its credentials, region and event handlers are used."""
    session = AioSession()
    session.set_credentials("session-key", "fake")
    session.set_config_variable("region", "me-south-1")
    seen: list[str] = []
    session.register("before-send", lambda event_name, **_: seen.append(event_name))
    scripted.answers["GetParameter"] = parameter("/a", "v")
    async with AsyncParameterStore(session=session) as ps:
        await ps.get("/a")

    assert keys_used(scripted) == ["session-key"]
    assert region_of(scripted.asked[0]) == "me-south-1"
    assert seen == ["before-send.ssm.GetParameter"]


async def test_botocores_models_are_loaded_once(environment: dict[str, str]) -> None:
    """All providers share them, also with a session of the caller's own, which is not changed."""
    session = AioSession()
    session.set_credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    role: Any = {"session": session, "sts_args": STS}
    loader, resolver = (
        session.get_component("data_loader"),
        session._get_internal_component("endpoint_resolver"),
    )
    async with (
        AsyncParameterStore() as first,
        AsyncSecretsManager() as second,
        AsyncParameterStore(session=session) as third,
        AsyncParameterStore(**role) as fourth,
    ):
        clients = [await opened(store) for store in (first, second, third, fourth)]

    assert len({id(client._loader) for client in clients}) == 1
    assert loader is not clients[0]._loader
    assert session.get_component("data_loader") is loader
    assert session._get_internal_component("endpoint_resolver") is resolver


def test_loading_a_model_looks_into_no_other_services_folder(tmp_path: Path) -> None:
    """Otherwise the loader is botocore's, also in its list of services and its errors."""
    session = AioSession()
    session.set_config_variable("data_path", str(tmp_path))  # a loader of this test's own
    ours, theirs = shared_loader(session), Loader()
    assert shared_loader(session) is ours
    known, listed = (one.list_available_services("service-2") for one in (ours, theirs))
    assert "ssm" in known
    assert "no-service" not in known
    assert (list(known), len(known)) == (listed, len(listed))
    for loader in (ours, theirs):
        with pytest.raises(UnknownServiceError, match=r"no-service.*ssm"):
            loader.load_service_model("no-service", "service-2")

    searched: list[Any] = []

    def exists(path: str) -> bool:
        searched.append(path)
        return bool(theirs.file_loader.exists(path))

    ours.file_loader = SimpleNamespace(exists=exists, load_file=theirs.file_loader.load_file)
    model = ours.load_service_model("sts", "service-2")
    assert model == theirs.load_service_model("sts", "service-2")
    assert all("sts" in Path(path).parts for path in searched)


class OwnLoader(Loader):  # type: ignore[misc]  # botocore has no types
    pass


@pytest.mark.parametrize("kind", ["class", "search path"])
async def test_a_session_with_its_own_loader_keeps_it(kind: str, tmp_path: Path) -> None:
    """It may load other models."""
    session = AioSession()
    session.set_credentials("session-key", "fake")
    loader = OwnLoader() if kind == "class" else Loader([str(tmp_path)])
    session.register_component("data_loader", loader)
    async with AsyncParameterStore(session=session) as store:
        client = await opened(store)

    assert client._loader is loader


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
def test_files_of_aws_that_are_not_utf8_are_a_clear_error(
    scripted: Wire, tmp_path: Path, environment: dict[str, str]
) -> None:
    """They are read for the cache's scope; no error has their content."""
    folder = Path(environment["HOME"]) / ".aws"
    folder.mkdir()
    (folder / "credentials").write_bytes(b"# caf\xe9\n[default]\naws_secret_access_key = canary\n")
    folders: Any = {
        "cache_on_disk": True,
        "key_cache_dir": tmp_path / "k",
        "path_cache_dir": tmp_path / "p",
    }
    scripted.answers["GetParameter"] = parameter("/a", "v")
    with (
        ParameterStore(cache_args=folders) as ps,
        pytest.raises(s1crets.ConfigurationError) as caught,
    ):
        ps.get("/a")
    assert "canary" not in repr(caught.value)


PROFILES = """
[profile other]
region = sa-east-1
aws_access_key_id = other-key
aws_secret_access_key = fake
[profile third]
region = me-south-1
aws_access_key_id = third-key
aws_secret_access_key = fake
"""


@pytest.fixture
def profiles(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles in the config file, and credentials in the environment."""
    folder = Path(environment["HOME"]) / ".aws"
    folder.mkdir()
    (folder / "config").write_text(PROFILES)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)


async def test_profiles_of_one_process(scripted: Wire, profiles: None) -> None:
    """Each provider has its own credentials and region, whatever the environment says."""
    scripted.answers["GetParameter"] = answered
    for options in ({"profile": "other"}, {"profile": "third", "region": "eu-north-1"}):
        untyped: Any = options
        async with AsyncParameterStore(**untyped) as ps:
            await ps.get("/a")

    assert keys_used(scripted) == ["other-key", "third-key"]
    assert [region_of(one) for one in scripted.asked] == ["sa-east-1", "eu-north-1"]


async def test_a_role_of_a_profile(scripted: Wire, profiles: None) -> None:
    """The profile's credentials assume it."""
    scripted.answers.update(GetParameter=answered, AssumeRole=assumed("role-key"))
    async with AsyncParameterStore(profile="other", sts_args=STS) as ps:
        await ps.get("/a")
    signers = [signed_by(one) for one in scripted.asked]

    assert signers == ["other-key", "role-key"]


async def test_a_profile_that_does_not_exist(scripted: Wire, profiles: None) -> None:
    """The error names it."""
    async with AsyncParameterStore(profile="none") as ps:
        with pytest.raises(s1crets.ConfigurationError, match="none"):
            await ps.get("/a")

    assert scripted.asked == []


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
def test_profiles_do_not_share_entries(scripted: Wire, profiles: None, tmp_path: Path) -> None:
    """What one may read, the other may not, also in the next process."""
    scripted.answers["GetParameter"] = lambda asked: parameter("/a", signed_by(asked))
    scripted.answers["GetCallerIdentity"] = refusal("AccessDenied", status=403)
    args: Any = {
        "cache_on_disk": True, "key_cache_dir": tmp_path / "k", "path_cache_dir": tmp_path / "p",
    }  # fmt: skip
    found = []
    for profile in ("other", "third", "other"):
        with ParameterStore(profile=profile, cache_args=args) as ps:
            found.append(ps.get("/a"))

    assert found == ["other-key", "third-key", "other-key"]
    assert keys_used(scripted) == ["other-key", "third-key"]


async def test_the_region_in_both_places(scripted: Wire) -> None:
    """The same one is fine; `region` decides alone, and messages show it."""
    scripted.answers["GetParameter"] = answered
    for sts in ({"aws_region": "us-west-2"}, {}, None):
        untyped: Any = sts
        async with AsyncParameterStore(region="us-west-2", sts_args=untyped) as ps:
            await ps.get("/a")
            assert "us-west-2" in repr(ps)

    assert {region_of(one) for one in scripted.asked} == {"us-west-2"}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"region": "a", "sts_args": {"aws_region": "b"}}, s1crets.ConfigurationError, "'a'.*'b'"),
        ({"region": ""}, ValueError, "region is empty"),
        ({"region": 5}, TypeError, "region must be str"),
        ({"profile": ""}, ValueError, "profile is empty"),
        ({"profile": 5}, TypeError, "profile must be str"),
        ({"profile": "a", "session": AioSession()}, s1crets.ConfigurationError, "combined"),
    ],
)
@pytest.mark.parametrize("cls", [AsyncSecretsManager, ParameterStore])
def test_regions_and_profiles_that_make_no_sense(
    cls: Any, options: Any, error: Any, words: str
) -> None:
    """They are rejected by the constructor."""
    with pytest.raises(error, match=words):
        cls(**options)


def test_none_means_by_default(scripted: Wire) -> None:
    """As `region` and `profile` of a program's own options may be."""
    scripted.answers["GetParameter"] = answered
    with ParameterStore(region=None, profile=None) as ps:
        ps.get("/a")

    assert region_of(scripted.asked[0]) == "eu-west-1"


def test_settings_in_use_stay_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a first attempt that failed may be corrected."""
    settings = Settings()

    def use(*, fails: bool) -> None:
        with settings.unchanged():
            if fails:
                raise LookupError

    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with pytest.raises(LookupError):
        use(fails=True)
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    use(fails=False)
    with pytest.raises(LookupError):
        use(fails=True)
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    with pytest.raises(Unresolved):
        use(fails=False)
