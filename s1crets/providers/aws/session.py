"""What a client is made from: session, region, assumed role; and the client itself."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

import anyio

from s1crets._runtime import import_lock, run_in_thread
from s1crets._version import __version__
from s1crets.errors import ConfigurationError
from s1crets.providers.aws.attempts import Renewal, govern
from s1crets.providers.aws.errors import Request, translated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from s1crets.providers.aws.pacing import Paces
    from s1crets.providers.stats import Counters

_METADATA_TIMEOUT = 1.0  # seconds to find out the region on an instance


class StsArgs(TypedDict, total=False):
    """What `sts_args` may have.

    Attributes:
        RoleArn: the role to assume; none.
        RoleSessionName: what CloudTrail shows; `s1crets`.
        DurationSeconds: how long credentials live, 900 to 43200; 3600.
        ExternalId: what the role's trust policy asks for; none.
        aws_region: the region; else botocore's chain, else AWS_REGION, else the instance's.
    """

    RoleArn: str
    RoleSessionName: str
    DurationSeconds: int
    ExternalId: str
    aws_region: str


@dataclass(frozen=True)
class ClientSpec:
    """How a provider's clients are to be.

    Attributes:
        service: botocore's name of the service.
        title: what error messages call it.
        sts_args: checked.
        retry: attempts in total.
        timeout: seconds of one attempt.
        max_connections: connections of one client.
        session: the caller's own, or None.
        counters: where requests are counted.
        paces: how fast requests may leave.
    """

    service: str
    title: str
    sts_args: StsArgs
    retry: int
    timeout: float
    max_connections: int
    session: Any
    counters: Counters
    paces: Paces


async def prepare(spec: ClientSpec) -> tuple[Any, str]:
    """Return a session and the region.

    Raises:
        ConfigurationError: there is no region.
    """
    # The import takes 220 ms, the models 60 ms: not on the event loop.
    session, region = await run_in_thread(_load, spec)
    region = region or await _instance_region(session)
    if not region:
        message = (
            f"{spec.title}: there is no region: pass sts_args={{'aws_region': ...}} (the command:"
            " --region), set AWS_DEFAULT_REGION or AWS_REGION, or set region in the profile of the"
            " AWS config file"
        )
        raise ConfigurationError(message)
    return session, str(region)


async def client_lifetime(spec: ClientSpec, session: Any, region: str) -> AsyncGenerator[Any, None]:
    """Open a client, yield it, and close it when this generator is closed.

    An event loop that shuts down closes the generators that are open on it, so a program that
    never closes a provider leaves no connection open, and no complaint on stderr.
    """
    from aiobotocore import __version__ as underneath
    from aiobotocore.config import AioConfig

    config = AioConfig(
        connect_timeout=spec.timeout,
        read_timeout=spec.timeout,
        max_pool_connections=spec.max_connections,
        parameter_validation=False,  # it prints values; names and values are checked before
        # CloudTrail shows who asked; and botocore builds its own text twice for every request,
        # which takes a sixth of the CPU time of one.
        user_agent=f"s1crets/{__version__} aiobotocore/{underneath}",
        # "adaptive" took 200 s where "standard" took 1.7 s; the environment does not decide.
        retries={"mode": "standard", "total_max_attempts": spec.retry},
    )
    async with AsyncExitStack() as stack:
        own = session
        if "RoleArn" in spec.sts_args:
            own = await run_in_thread(_twin, session)
            credentials = await _assume(spec.sts_args["RoleArn"], spec, session, region, config)
            own.register_component("credential_provider", _Known(credentials))
        else:
            await _found(session)  # a client that was made without any would never get some
        client = await stack.enter_async_context(
            own.create_client(spec.service, region_name=region, config=config)
        )
        renewal = Renewal(client, partial(_credentials, spec, session, region, config))
        stack.push_async_callback(renewal.aclose)
        _count(client, spec.counters)
        govern(client, spec.retry, renewal, spec.paces, spec.counters)
        yield client


async def _credentials(spec: ClientSpec, session: Any, region: str, config: Any) -> Any:
    """Return credentials from where the client's own came from, as they are now.

    Raises:
        NoCredentialsError: there are none any more.
    """
    if spec.session is None:
        session = await run_in_thread(_twin, session)  # it remembers none
    if "RoleArn" in spec.sts_args:
        return await _assume(spec.sts_args["RoleArn"], spec, session, region, config)
    return await _found(session)


async def _found(session: Any) -> Any:
    from botocore.exceptions import NoCredentialsError

    credentials = await session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    return credentials


async def _assume(role: str, spec: ClientSpec, session: Any, region: str, config: Any) -> Any:
    """Return the role's credentials, which renew themselves."""
    from aiobotocore.credentials import AioAssumeRoleCredentialFetcher, AioRefreshableCredentials

    def sts(service: str, **credentials: Any) -> Any:
        return session.create_client(service, region_name=region, config=config, **credentials)

    source = await _found(session)
    lifetime = spec.sts_args.get("DurationSeconds", 3600)
    defaults = {"RoleSessionName": "s1crets", "DurationSeconds": lifetime}
    given = {k: v for k, v in spec.sts_args.items() if k not in ("RoleArn", "aws_region")}
    fetcher = AioAssumeRoleCredentialFetcher(sts, source, role, extra_args={**defaults, **given})

    async def renew() -> Any:
        with translated(Request("STS", region, "AssumeRole", role)):
            return await fetcher.fetch_credentials()

    # botocore's own windows (15 and 10 minutes) make a role of 15 minutes be assumed for every
    # request.
    return AioRefreshableCredentials.create_from_metadata(
        metadata=await renew(),
        refresh_using=renew,
        method="sts-assume-role",
        advisory_timeout=min(900, lifetime // 3),
        mandatory_timeout=min(600, lifetime // 6),
    )


class _Known:
    """A credential provider, as a session wants one, of credentials that are there already."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    async def load_credentials(self) -> Any:
        """Return them."""
        return self._credentials


def _count(client: Any, counters: Counters) -> None:
    def sent(request: Any, event_name: str, **_: Any) -> None:
        operation = event_name.rsplit(".", 1)[-1]
        counters.sent(operation, again=b"attempt=1" not in _header(request, "amz-sdk-request"))

    client.meta.events.register("before-send", sent)


def _header(request: Any, name: str) -> bytes:
    value = request.headers.get(name, b"")
    return value if isinstance(value, bytes) else str(value).encode()


def _import_late() -> None:
    """Import what a client takes. Here, as an import on the event loop would stall it."""
    import aiobotocore.config
    import aiobotocore.credentials
    import aiobotocore.session
    import aiobotocore.utils  # noqa: F401


def _new_session() -> Any:
    from aiobotocore.session import AioSession

    return AioSession()


def _twin(session: Any) -> Any:
    """Return a new session with what another one has read from files."""
    twin = _new_session()
    twin.register_component("data_loader", session.get_component("data_loader"))
    twin.full_config  # noqa: B018  # reads the config files, and keeps them
    return twin


def _load(spec: ClientSpec) -> tuple[Any, str | None]:
    """Read all that is read from files, so that making a client does not stall the loop."""
    with import_lock:
        _import_late()
    session = spec.session or _new_session()
    session.full_config  # noqa: B018  # reads the config files, and keeps them
    loader = session.get_component("data_loader")
    for service in (spec.service, *(("sts",) if "RoleArn" in spec.sts_args else ())):
        session.warm_up_loader_caches(service)
        # The loader remembers by arguments: a client asks without the version, a paginator with.
        version = loader.determine_latest_version(service, "service-2")
        loader.load_service_model(service, "paginators-1", version)
    given = spec.sts_args.get("aws_region") or session.get_config_variable("region")
    # All other SDKs of AWS, and ECS, know it by this name; botocore does not.
    return session, given or os.environ.get("AWS_REGION")


async def _instance_region(session: Any) -> str | None:
    from aiobotocore.utils import AioIMDSRegionProvider

    with anyio.move_on_after(_METADATA_TIMEOUT):
        region: str | None = await AioIMDSRegionProvider(session=session).provide()
        return region
    return None
