"""Typed calls, as users write them. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Annotated, Any, assert_type

from aiohttp import web
from fastapi import Depends, FastAPI
from pydantic import SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

import s1crets
from s1crets import aio
from s1crets.integrations import aiohttp as of_aiohttp
from s1crets.integrations import fastapi as of_fastapi
from s1crets.integrations.pydantic_settings import (
    FromSecret,
    SecretSettings,
    SecretSettingsError,
    SecretsPathSource,
    SecretsSource,
)
from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    SecretsManager,
)
from s1crets.providers.files import AsyncFiles, Files
from s1crets.providers.instrumentation import Stats
from s1crets.providers.simple import AsyncSimpleProvider, SimpleProvider
from s1crets.providers.store import SecretMetadata, SecretVersion


def blocking() -> None:
    """The facade keeps the arguments and results of what it binds."""
    ps = ParameterStore(
        sts_args={"RoleArn": "r", "RoleSessionName": "s", "DurationSeconds": 900},
        cache_args={"cache_size": 10, "cache_ttl": 60},
        retry=2,
        timeout=1.0,
        deadline=None,
        max_connections=5,
    )
    assert_type(ps.get_by_path("/a", decrypt=False, recursive=False), dict[str, Any])
    assert_type(ps.get_many(["/a", "/b"], errors="return"), dict[str, Any])
    assert_type(ps.path_exists("/a"), bool)
    assert_type(ps.stats, Stats)
    assert_type(ps.awaited, AsyncParameterStore)
    value: str = ps.get("/a", keypath=("x", 0), default=None, decrypt=True, cached=False)
    ps.update("/a", value)
    ps.create("/a", {"x": 1}, type="String", tier="Advanced", tags={"team": "a"})
    ps.put("/a", value, kms_key_id="alias/k", description="d")
    ps.delete("/a")
    assert_type(ps.describe("/a"), list[SecretMetadata])
    ps.peek("/a", default=0)
    ps.invalidate()
    ps.close()
    with SecretsManager() as sm:
        assert_type(sm, SecretsManager)
        sm.get("a", version_id="1", version_stage="AWSPREVIOUS")
        sm.update("a", b"bytes", version_stages=["AWSPENDING"], client_request_token="0" * 32)
        assert_type(sm.history("a"), list[SecretVersion])
        sm.restore("a")
        sm.create("a", b"bytes", kms_key_id="alias/k")
        sm.delete("a", recovery_days=7)
        sm.delete("a", force=True)
        sm.get_by_path("a", fail_on_error=False)


async def rotated(ps: ParameterStore, store: AsyncParameterStore) -> None:
    """What is decorated keeps its signature, but for the secret."""

    @ps.refresh_on(OSError, path="/db", keypath="password")
    def connect(password: str, host: str, *, port: int = 5432) -> float:
        return float(len(password + host) + port)

    assert_type(connect("host", port=1), float)

    @store.refresh_on(OSError, KeyError, path="/db")
    async def query(secret: dict[str, str], text: str) -> list[str]:
        return [secret["user"], text]

    assert_type(await query("select"), list[str])

    @ps.refresh_on(OSError, path="/db", keypath={"user": "user", "password": ("db", 0)})
    def login(host: str, *, user: str, password: str) -> float:
        return float(len(user + password + host))

    assert_type(login("host"), float)

    class Pool:
        @ps.refresh_on(OSError, path="/db")
        def connect(self, password: str, host: str) -> bool:
            return password in host

        @store.refresh_on(OSError, path="/db")
        async def query(self, password: str) -> bytes:
            return password.encode()

    assert_type(Pool().connect("host"), bool)
    assert_type(await Pool().query(), bytes)
    async for value in store.watch("/db", interval=30):
        await query(value)


async def awaited() -> None:
    """The async classes."""
    async with AsyncSecretsManager() as sm:
        assert_type(sm, AsyncSecretsManager)
        assert_type(await sm.get_many({"a", "b"}), dict[str, Any])
        assert_type(await sm.path_exists("a"), bool)
    ps = AsyncParameterStore(cache_args={"cache_on_disk": True, "key_cache_dir": "/data/keys"})
    await ps.update("/a", {"x": [1]}, tier="Advanced")
    assert_type(await ps.history("/a"), list[SecretVersion])
    await ps.get("/a", raw=True, max_age=5)
    await ps.get_many(["/a"], max_age=0.5)
    await ps.get_by_path("/a", relative=True, label="live", max_age=60)
    await ps.aclose()


class AsyncOwn(AsyncSimpleProvider):
    """Another package's, with the least that it has to write."""

    service = "our own"

    async def fetch(self, name: str) -> str | None:
        """Return a secret."""
        return {"a": "fake"}.get(name)

    async def names(self, path: str) -> list[str]:  # noqa: ARG002  # the hook's
        """Return all names."""
        return ["a"]


class Own(SimpleProvider[AsyncOwn]):
    """The blocking flavour."""

    async_class = AsyncOwn


async def others() -> None:
    """Providers that are not on AWS."""
    files = Files(folder="/run/secrets", cache_args={"cache_ttl": 60}, deadline=None)
    assert_type(files.get_by_path("db"), dict[str, Any])
    assert_type(files.describe(), list[SecretMetadata])
    assert_type(files.awaited, AsyncFiles)
    files.update("db/password", b"bytes")
    async with AsyncFiles() as store:
        assert_type(await store.path_exists("db"), bool)
    assert_type(Own().awaited, AsyncOwn)
    Own().peek("a", keypath=("k", 0), default=1)


async def modules() -> None:
    """The module-level verbs."""
    assert_type(s1crets.path_exists("aws.ps", "/a"), bool)
    assert_type(s1crets.get_many("aws.ps", ["/a"]), dict[str, Any])
    assert_type(await aio.get_by_path("aws.sm", "a"), dict[str, Any])
    s1crets.get("aws.sm", "a", "key", default=None)


class Settings(SecretSettings):
    """Settings are what their annotations say."""

    secret_providers = {"aws.ps": ParameterStore(timeout=1.0)}  # noqa: RUF012
    secret_paths = {"aws.ps": "/prod/app"}  # noqa: RUF012
    url: Annotated[str, FromSecret("aws.ps", "/prod/db/url")]
    key: Annotated[SecretStr | None, FromSecret("aws.sm", "prod/api", keypath=("keys", 0))] = None


class Wired(BaseSettings):
    """Sources in other settings."""

    url: Annotated[str, FromSecret("aws.ps", "/prod/db/url")] = ""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return them in order."""
        marked = SecretsSource(settings_cls, providers={"aws.ps": ParameterStore()})
        below = SecretsPathSource(settings_cls, "aws.sm", "prod/app")
        usual = (init_settings, env_settings, dotenv_settings, file_secret_settings)
        return (*usual, marked, below)


def settings() -> None:
    """A checker that knows nothing of pydantic-settings wants arguments for `Settings()`."""
    found = Settings.model_validate({})
    assert_type(found.url, str)
    assert_type(found.key, SecretStr | None)
    assert_type(Wired().url, str)
    Settings(url="fake")
    try:
        Settings.model_validate({})
    except SecretSettingsError as error:
        assert_type(error.errors["url"], s1crets.S1cretsError)


def served(ps: AsyncParameterStore, sm: AsyncSecretsManager) -> None:
    """What FastAPI and aiohttp take."""
    app = FastAPI(lifespan=of_fastapi.lifespan(of_fastapi.Preload(ps, names=["/a"]), sm, "aws.ps"))

    @app.get("/")
    async def show(
        one: Annotated[dict[str, str], of_fastapi.Secret("/a")],
        two: Annotated[str, Depends(of_fastapi.Secret("a", keypath=("x", 0), provider="aws.sm"))],
        three: Annotated[str, of_fastapi.Secret("/a", keypath="x", provider=ps)],
    ) -> str:
        return one["x"] + two + three

    application = web.Application()
    application.cleanup_ctx.append(
        of_aiohttp.secrets(of_aiohttp.Preload("aws.sm", paths={"a"}), ps)
    )
    assert_type(application[of_aiohttp.PARAMETER_STORE], AsyncParameterStore)
    assert_type(application[of_aiohttp.SECRETS_MANAGER], AsyncSecretsManager)


def errors(error: s1crets.BatchError) -> None:
    """What a handler looks at."""
    for name, one in error.errors.items():
        assert_type(name, str)
        assert_type(one, s1crets.S1cretsError)


def refused() -> None:
    """What a checker refuses."""
    ps = ParameterStore()
    ps.get("/a", True)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    ps.get("/a", version_id="1")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    ps.get_many(["/a"], errors="no")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    ParameterStore(cache_args={"ttl": 5})  # type: ignore[typeddict-unknown-key] # pyright: ignore[reportArgumentType]
    ParameterStore(retries=5)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
