"""Clients: one per event loop, created on first use. All requests go through `Clients`.

A response that redirects or is too large is rejected by the HTTP session, and not requested again.
aiohttp would send a new value and the session token to wherever a redirect points.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, TypeVar

from s1crets._redaction import Redacted, strip_traceback
from s1crets._runtime import PerLoop, start_daemon
from s1crets._version import __version__
from s1crets.errors import S1cretsError
from s1crets.providers.aws import _express
from s1crets.providers.aws._credentials import CredentialSource
from s1crets.providers.aws._errors import (
    RejectedResponse,
    Request,
    malformed,
    refused,
    translated,
    translation,
)
from s1crets.providers.aws._retry import Attempts, govern
from s1crets.providers.aws._session import ClientSpec, prepare

R = TypeVar("R")

# Bytes of a response: 20 secrets of 64 KiB fit, each character written as `\u0000`.
_LARGEST = 8 * 2**20
_REDIRECTS = range(300, 400)

_is_ours: ContextVar[bool] = ContextVar("s1crets_call", default=False)


def _passes(record: logging.LogRecord) -> bool:
    """Drop what may contain a secret, and tracebacks; our error says the same."""
    if not _is_ours.get():
        return True
    if record.exc_info:
        record.exc_info = record.exc_text = None
        # Without a logging configuration, `logging.lastResort` would write it to stderr.
        return record.levelno > logging.DEBUG and logging.getLogger(record.name).hasHandlers()
    return record.levelno > logging.DEBUG


# Their DEBUG records have bodies, parsed responses and signing headers.
_TALKATIVE = ("credentials", "endpoint", "hooks", "parsers", "regions", "tokens", "utils")
for _name in (*_TALKATIVE, "auth", "httpsession", "retryhandler"):
    for _package in ("aiobotocore", "botocore"):
        logging.getLogger(f"{_package}.{_name}").addFilter(_passes)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop botocore's DEBUG records of our own calls; other users of botocore keep their logs."""
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)


class Clients:
    """The clients of a provider. A client belongs to one event loop and one process."""

    def __init__(self, spec: ClientSpec) -> None:
        self.spec = spec
        self.credentials = CredentialSource(spec)
        # The generator must not refer to this object, or it would never become garbage.
        self._idle: list[Any] = []  # closed clients, each with its `Attempts`
        self._per_loop: PerLoop[Any] = PerLoop(partial(_opened, spec, self.credentials, self._idle))

    async def aclose(self) -> None:
        """Close the clients; the next call creates new ones."""
        await self._per_loop.aclose()
        self._idle.clear()

    def forget_settings(self) -> None:
        """Let the next clients have other settings and credentials."""
        self.spec.settings.forget()
        self.credentials.latest = None

    async def call(
        self,
        operation: str,
        subject: str,
        parse: Callable[[Any], R],
        arguments: Mapping[str, Any],
        *,
        names: Sequence[str] = (),
    ) -> R:
        """Send a request; return what `parse`, which raises botocore's errors, makes of the answer.

        Error messages name the `subject`; `names` are all names in question, if there are several.
        """
        values = [value for value in arguments.values() if isinstance(value, Redacted)]

        async def work(api: Any, method: str) -> R:
            return parse(await getattr(api, method)(**_revealed(arguments)))

        return await self._run(self._request(operation, subject, values), work, names)

    async def pages(
        self,
        operation: str,
        subject: str,
        parse: Callable[[Any], list[R]],
        arguments: Mapping[str, Any],
        *,
        first: bool = False,
    ) -> list[R]:
        """Return the items that `parse` makes of all pages, or of those up to the `first` items."""

        async def work(api: Any, method: str) -> list[R]:
            found: list[R] = []
            tokens: set[str] = set()
            async for page in _paginator(api, operation, method).paginate(**arguments):
                found += parse(page)
                if first and found:
                    break
                _check_token(page, tokens)
            return found

        return await self._run(self._request(operation, subject), work)

    async def _run(
        self, request: Request, work: Callable[[Any, str], Awaitable[R]], names: Sequence[str] = ()
    ) -> R:
        async def run() -> R:
            loop, operation = asyncio.get_running_loop(), request.operation
            api = self._per_loop.ready.get(loop) or await self._per_loop.get(request)
            from botocore import xform_name  # which a thread has imported by now

            request.region = api.meta.region_name
            observer = self.spec.counters.observer
            subjects = names or (request.subject,)
            with observer.request(operation, subjects) if observer else nullcontext():
                try:
                    return await work(api, xform_name(operation))
                except Exception as theirs:  # noqa: BLE001  # it is raised again, translated
                    ours = translation(request, theirs)
                raise ours

        token = _is_ours.set(True)  # as `quiet` does
        try:
            return await run()
        except BaseException as error:  # noqa: BLE001  # its frames contain values
            raise strip_traceback(error) from error.__cause__
        finally:
            _is_ours.reset(token)

    def refused(self, operation: str, name: str, code: str, words: str = "") -> S1cretsError:
        """Return the error for a name that AWS refused in a batch."""
        return refused(self._request(operation, name), code, words)

    def _request(self, operation: str, subject: str, values: Collection[Redacted] = ()) -> Request:
        region = self.spec.counters.region or "region not known"
        return Request(self.spec.service, region, operation, subject, values)


def _revealed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.reveal() if isinstance(v, Redacted) else v for k, v in arguments.items()}


def listed(page: Any, field: str, *, named: bool = False) -> list[dict[str, Any]]:
    """Return the list of structures in a response; `named` ones must have a name."""
    found = page.get(field)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise malformed()
    if named and not all(isinstance(item.get("Name"), str) for item in found):
        raise malformed()
    return found


def expect(answer: Any, field: str, kind: type) -> None:
    """Reject a response without a field of this type."""
    if not isinstance(answer.get(field), kind):
        raise malformed()


def _paginator(api: Any, operation: str, method: str) -> Any:
    """Return a paginator of botocore's, also for an operation that it has none for."""
    if api.can_paginate(method):
        return api.get_paginator(method)
    from aiobotocore.paginate import AioPaginator

    model = api.meta.service_model.operation_model(operation)
    tokens = {"input_token": "NextToken", "output_token": "NextToken", "result_key": "Versions"}
    return AioPaginator(getattr(api, method), tokens, model)


def _check_token(page: Any, seen: set[str]) -> None:
    """Reject a token that was `seen` before; aiobotocore only notices the previous one."""
    from botocore.exceptions import PaginationError

    if (token := page.get("NextToken")) is None:
        return
    expect(page, "NextToken", str)
    if token in seen:
        raise PaginationError(message="the service repeated a page token")
    seen.add(token)


async def _opened(
    spec: ClientSpec, source: CredentialSource, idle: list[Any], request: Request
) -> AsyncGenerator[Any, None]:
    """Open a client, yield it, and close it when this generator is closed.

    To create one takes 30 times the CPU of a request. So those of loops that have ended are opened
    again: programs may have a loop per call, such as functions on AWS Lambda.
    """
    opened: Any = idle.pop() if idle else None
    try:
        async with AsyncExitStack() as stack:
            with translated(request):
                if opened is None:
                    opened = await _created(spec, source, request, stack)
                    client, attempts = opened
                else:
                    client, attempts = opened
                    # Its lock may be bound to a loop that has ended. There is no public access.
                    client._endpoint.http_session._sessions_lock = asyncio.Lock()  # noqa: SLF001
                    await stack.enter_async_context(client)
            stack.push_async_callback(attempts.aclose)
            yield client
    except GeneratorExit:  # raised by the `yield`, and not replaced by a failure to close
        idle.append(opened)
        raise


async def _created(
    spec: ClientSpec, source: CredentialSource, request: Request, stack: AsyncExitStack
) -> tuple[Any, Attempts]:
    """Create a client, opened until `stack` is closed."""
    with spec.settings.unchanged():
        session, region = await prepare(spec)
        request.region = spec.counters.region = region
        # Credentials come first: a client that was created without any would never get some.
        signing, credentials = await source.signing(session, region)
        client = await stack.enter_async_context(
            signing.create_client(spec.service.name, region_name=region, config=_config(spec))
        )
    attempts = govern(client, spec, credentials)
    _express.install(client, attempts, session=spec.session)
    return client, attempts


def _config(spec: ClientSpec) -> Any:
    from aiobotocore import __version__ as aiobotocore_version
    from aiobotocore.config import AioConfig

    return AioConfig(
        http_session_cls=http_session(),
        connect_timeout=spec.timeout,
        read_timeout=spec.timeout,
        max_pool_connections=spec.max_connections,
        parameter_validation=False,  # its errors contain values; we check all arguments
        # For CloudTrail. botocore builds its own text twice per request, a sixth of the CPU time.
        user_agent=f"s1crets/{__version__} aiobotocore/{aiobotocore_version}",
        # "adaptive" took 200 s where "standard" took 1.7 s. The environment must not decide.
        retries={"mode": "standard", "total_max_attempts": spec.retry},
    )


@cache
def http_session() -> Any:
    """Return the class of HTTP sessions. It derives from aiobotocore's, which is imported late."""
    from aiobotocore.httpsession import AIOHTTPSession
    from aiohttp import ThreadedResolver
    from botocore.exceptions import HTTPClientError

    class HttpSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # To read the certificates takes 30 ms, for each event loop that opens the client.
            self._build_ssl_contexts = cache(super()._build_ssl_contexts)
            resolver: Any = ThreadedResolver(_Lookups())  # type: ignore[arg-type]
            self._connector_args: dict[str, Any] = {"resolver": resolver, **self._connector_args}

        async def send(self, request: Any) -> Any:
            try:
                return await super().send(request)
            except HTTPClientError as error:  # it would be sent again
                if isinstance(rejected := error.kwargs.get("error"), RejectedResponse):
                    raise rejected from None
                raise

        async def _get_session(self, proxy_url: str | None) -> _HttpClient:
            return _HttpClient(await super()._get_session(proxy_url))

    return HttpSession


class _Lookups:
    """The part of an event loop that aiohttp's resolver uses.

    The loop's own threads would keep a program from ending as long as a DNS server does not answer.
    """

    async def getaddrinfo(self, host: str, port: int, **options: Any) -> Any:
        """Return the addresses of a host."""
        look_up = partial(socket.getaddrinfo, host, port, **options)
        return await asyncio.wrap_future(start_daemon("s1crets DNS", look_up))


class _HttpClient:
    """The part of aiohttp's `ClientSession` that aiobotocore uses."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **options: Any) -> _HttpResponse:
        response = await self._session.request(method, allow_redirects=False, **options)
        if response.status in _REDIRECTS:
            response.close()
            raise RejectedResponse(f"a redirect (HTTP {response.status}), which is never followed")
        return _HttpResponse(response)


class _HttpResponse:
    """The part of aiohttp's `ClientResponse` that aiobotocore uses."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.url, self.status = response.url, response.status
        self.raw_headers = response.raw_headers

    async def read(self) -> bytes:
        """Return the body as it was sent: aiobotocore does not decompress it."""
        try:
            await self._response.content.readexactly(_LARGEST + 1)
        except asyncio.IncompleteReadError as end:
            return end.partial
        finally:
            self._response.close()  # a connection whose response was read is in the pool by now
        raise RejectedResponse(f"the response has more than {_LARGEST:,} bytes")
