"""Session, region, assumed role; and one client for each event loop, made on first use."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import anyio
import anyio.to_thread

from s1crets._fork import renew_after_fork
from s1crets.errors import ConfigurationError, S1cretsError
from s1crets.providers.aws.errors import EXPIRED, THROTTLES, Request, code_of, translated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from s1crets.providers.base import Counters

R = TypeVar("R")

_METADATA_TIMEOUT = 1.0  # seconds to find out the region on an instance


class StsArgs(TypedDict, total=False):
    """What `sts_args` may have.

    Attributes:
        RoleArn: the role to assume; none.
        RoleSessionName: what CloudTrail shows; `s1crets`.
        DurationSeconds: how long credentials live, 900 to 43200; 3600.
        ExternalId: what the role's trust policy asks for; none.
        aws_region: the region; else botocore's chain, else the instance's.
    """

    RoleArn: str
    RoleSessionName: str
    DurationSeconds: int
    ExternalId: str
    aws_region: str


@dataclass
class _Client:
    """A client of one event loop, and the generator that closes it."""

    api: Any
    region: str
    lifetime: AsyncGenerator[Any, None]


@dataclass
class Clients:
    """The clients of one provider: a client belongs to one event loop and to one process.

    Attributes:
        service: botocore's name of the service.
        title: what error messages call it.
        sts_args: checked.
        retry: attempts in total.
        timeout: seconds of one attempt.
        max_connections: connections of one client.
        session: the caller's own, or None.
        counters: where requests are counted.
    """

    service: str
    title: str
    sts_args: StsArgs
    retry: int
    timeout: float
    max_connections: int
    session: Any
    counters: Counters
    _clients: dict[asyncio.AbstractEventLoop, asyncio.Task[_Client]] = field(default_factory=dict)
    _retired: list[_Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        renew_after_fork(self)

    __hash__ = object.__hash__

    def after_fork(self) -> None:
        """Forget the parent's clients: their loops are not in the child."""
        self._clients = {}
        self._retired = []

    async def run(
        self,
        operation: str,
        subject: str,
        work: Callable[[Any], Awaitable[R]],
        *,
        writes: bool = False,
    ) -> R:
        """Return what `work` returns, which is given this loop's client.

        A token that has expired is renewed, once, and `work` is done again.
        """
        try:
            return await self._attempt(operation, subject, work, writes=writes)
        except S1cretsError as error:
            failed = error
        # The context and the frames so far are botocore's: what is sent stands in their locals.
        failed.__context__ = failed.__cause__
        raise failed.with_traceback(None)

    async def _attempt(
        self, operation: str, subject: str, work: Callable[[Any], Awaitable[R]], *, writes: bool
    ) -> R:
        client = await self._client(operation, subject)
        request = Request(self.title, client.region, operation, subject, writes)
        with translated(request):
            try:
                return await work(client.api)
            except Exception as error:
                if code_of(error) not in EXPIRED:
                    raise
        self._retire(client)
        client = await self._client(operation, subject)
        with translated(request):
            return await work(client.api)

    async def aclose(self) -> None:
        """Close the clients of all loops that still run."""
        opening, self._clients = self._clients, {}
        for loop, task in opening.items():
            if task.done() and not task.cancelled() and task.exception() is None:
                await _close_on(loop, task.result().lifetime)
        retired, self._retired = self._retired, []
        for client in retired:
            await client.lifetime.aclose()

    async def _client(self, operation: str, subject: str) -> _Client:
        loop = asyncio.get_running_loop()
        for other in [other for other in list(self._clients) if other.is_closed()]:
            self._clients.pop(other, None)
        task = self._clients.get(loop)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._clients[loop] = loop.create_task(self._open(operation, subject))
            task.add_done_callback(_retrieve)
        # Shielded: a caller that gives up leaves the opening to the others.
        return await asyncio.shield(task)

    def _retire(self, client: _Client) -> None:
        """Make the next call open a client anew; others' requests on this one go on."""
        loop = asyncio.get_running_loop()
        task = self._clients.get(loop)
        if task is not None and task.done() and task.result() is client:
            del self._clients[loop]
            self._retired.append(client)

    async def _open(self, operation: str, subject: str) -> _Client:
        with translated(Request(self.title, "region not known", operation, subject)):
            # The import takes 220 ms and the models 60 ms: not on the event loop.
            session = self.session or await anyio.to_thread.run_sync(_new_session)
            await anyio.to_thread.run_sync(_load_models, session, self.service)
            region = await self._region(session)
        with translated(Request(self.title, region, operation, subject)):
            lifetime = self._lifetime(session, region)
            return _Client(await lifetime.__anext__(), region, lifetime)

    async def _region(self, session: Any) -> str:
        region = self.sts_args.get("aws_region") or session.get_config_variable("region")
        region = region or await _instance_region(session)
        if not region:
            message = (
                f"{self.title}: there is no region: pass sts_args={{'aws_region': ...}}, set"
                " AWS_DEFAULT_REGION, or set region in the profile of the AWS config file"
            )
            raise ConfigurationError(message)
        return str(region)

    async def _lifetime(self, session: Any, region: str) -> AsyncGenerator[Any, None]:
        """Open a client, and close it when this generator is closed.

        An event loop that shuts down closes the generators that are open on it, so a program
        that never closes a provider leaves no connection open, and no complaint on stderr.
        """
        from aiobotocore.config import AioConfig

        config = AioConfig(
            connect_timeout=self.timeout,
            read_timeout=self.timeout,
            max_pool_connections=self.max_connections,
            parameter_validation=False,  # it prints values; names and values are checked before
            # "adaptive" took 200 s where "standard" took 1.7 s; the environment does not decide.
            retries={"mode": "standard", "total_max_attempts": self.retry},
        )
        async with AsyncExitStack() as stack:
            if "RoleArn" in self.sts_args:
                session = await self._assume(session, region, config)
            client = await stack.enter_async_context(
                session.create_client(self.service, region_name=region, config=config)
            )
            self._count(client)
            yield client

    async def _assume(self, session: Any, region: str, config: Any) -> Any:
        """Return a session with the role's credentials, which renew themselves."""
        from aiobotocore.credentials import (
            AioAssumeRoleCredentialFetcher,
            AioRefreshableCredentials,
        )
        from botocore.exceptions import NoCredentialsError

        def sts(service: str, **credentials: Any) -> Any:
            return session.create_client(
                service, region_name=region, config=config, **credentials
            )

        source = await session.get_credentials()
        if source is None:
            raise NoCredentialsError
        lifetime = self.sts_args.get("DurationSeconds", 3600)
        fetcher = AioAssumeRoleCredentialFetcher(
            sts,
            source,
            self.sts_args["RoleArn"],
            extra_args={
                "RoleSessionName": self.sts_args.get("RoleSessionName", "s1crets"),
                "DurationSeconds": lifetime,
                **{k: v for k, v in self.sts_args.items() if k == "ExternalId"},
            },
        )

        async def renew() -> Any:
            with translated(Request("STS", region, "AssumeRole", self.sts_args["RoleArn"])):
                return await fetcher.fetch_credentials()

        # botocore's own windows (15 and 10 minutes) make a role of 15 minutes be assumed for
        # every request.
        credentials = AioRefreshableCredentials.create_from_metadata(
            metadata=await renew(),
            refresh_using=renew,
            method="sts-assume-role",
            advisory_timeout=min(900, lifetime // 3),
            mandatory_timeout=min(600, lifetime // 6),
        )
        assumed = await anyio.to_thread.run_sync(_new_session)
        assumed.register_component("data_loader", session.get_component("data_loader"))
        assumed.register_component("credential_provider", _Known(credentials))
        return assumed

    def _count(self, client: Any) -> None:
        def sent(request: Any, event_name: str, **_: Any) -> None:
            operation = event_name.rsplit(".", 1)[-1]
            requests = self.counters.requests
            requests[operation] = requests.get(operation, 0) + 1
            if b"attempt=1" not in _header(request, "amz-sdk-request"):
                self.counters.retried += 1

        def received(parsed_response: Any, **_: Any) -> None:
            code = (parsed_response or {}).get("Error", {}).get("Code")
            self.counters.throttled += code in THROTTLES

        client.meta.events.register("before-send", sent)
        client.meta.events.register("response-received", received)


class _Known:
    """A credential provider, as a session wants one, of credentials that are there already."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    async def load_credentials(self) -> Any:
        """Return them."""
        return self._credentials


def _header(request: Any, name: str) -> bytes:
    value = request.headers.get(name, b"")
    return value if isinstance(value, bytes) else str(value).encode()


def _retrieve(task: asyncio.Task[_Client]) -> None:
    """Look at a failed opening's error, or asyncio complains when every caller has gone."""
    if not task.cancelled():
        task.exception()


async def _close_on(loop: asyncio.AbstractEventLoop, lifetime: AsyncGenerator[Any, None]) -> None:
    if loop is asyncio.get_running_loop():
        await lifetime.aclose()
    elif loop.is_running():
        closing = asyncio.run_coroutine_threadsafe(lifetime.aclose(), loop)
        with suppress(RuntimeError):
            await asyncio.wrap_future(closing)


def _new_session() -> Any:
    from aiobotocore.session import AioSession

    return AioSession()


def _load_models(session: Any, service: str) -> None:
    """Read the JSON that a client is made from, so that making it does not stall the loop."""
    session.warm_up_loader_caches(service)


async def _instance_region(session: Any) -> str | None:
    from aiobotocore.utils import AioIMDSRegionProvider

    with anyio.move_on_after(_METADATA_TIMEOUT):
        region: str | None = await AioIMDSRegionProvider(session=session).provide()
        return region
    return None


_IDENTIFYING = (
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCOUNT_ID",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_PROFILE",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
)
_FILES = {
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
}


def surroundings() -> list[str]:
    """Return all that decides which account, region and endpoint botocore would choose.

    Without asking botocore, whose import costs a script with a warm disk cache most of its time.
    Any change of it makes another identity, so entries may be missed but never mistaken.
    """
    found = [f"{name}={os.environ.get(name, '')}" for name in _IDENTIFYING]
    for name, default in _FILES.items():
        with suppress(OSError):
            found.append(Path(os.environ.get(name, default)).expanduser().read_text("utf-8"))
    return found
