"""Express path: the first attempt of a read, without botocore's objects for requests.

These cost more CPU time than the request itself. A handler of botocore's `before-call` event may
return the response instead. This one signs with botocore's signer, sends over the client's HTTP
session, and parses with botocore's parser.

Only a response with status 200 that can be parsed counts. Any other outcome becomes that of
botocore's own first attempt, which is then not sent. So retries, errors and counts are the same.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from functools import lru_cache
from inspect import signature
from types import FunctionType
from typing import Any

from s1crets.providers.aws._retry import Attempts

_READS = {
    "BatchGetSecretValue",
    "GetParameter",
    "GetParameters",
    "GetParametersByPath",
    "GetSecretValue",
}
# Events of an attempt that this path does not emit, and the modules whose handlers may miss them:
# what they do is done here, or only concerns other services.
_EVENTS = (
    "request-created",
    "choose-signer",
    "before-sign",
    "before-send",
    "before-parse",
    "response-received",
)
_KNOWN = (
    "aiobotocore.",
    "botocore.handlers",
    "botocore.retries.",
    "botocore.useragent",
    "s1crets.",
)
_OK = 200  # `http.HTTPStatus` is not imported otherwise, and takes 2 ms
_SIGNERS = ("botocore.auth", "botocore.crt.auth")  # the same algorithm in Python and in C


class _Request:
    """The parts of a request that botocore's signer and the HTTP session use."""

    params: Mapping[str, str] = {}  # of the URL
    stream_output = False

    def __init__(self, described: Any, headers: Any, context: Any) -> None:
        self.method, self.url, self.body = described["method"], described["url"], described["body"]
        self.headers, self.context = headers, context
        self.signed_headers: Any = None


class _Signer:
    """botocore's signer for one set of keys, without its repeated work."""

    def __init__(self, auth: Any, request: Any) -> None:
        self._auth = auth
        self._headers_to_sign = auth.headers_to_sign
        # It parses the URL, unless there is the header.
        self._host = auth.headers_to_sign(request)["host"]
        auth.headers_to_sign = self._once  # it is called twice
        # The keys derived from the secret key change daily; the signature is the one in hex.
        sign, derive = auth._sign, lru_cache(maxsize=8)(auth._sign)  # noqa: SLF001
        auth._sign = lambda *args, **hex_: (sign if hex_ else derive)(*args, **hex_)  # noqa: SLF001

    def sign(self, request: Any) -> None:
        request.headers["host"] = self._host
        self._auth.add_auth(request)
        del request.headers["host"]  # aiohttp adds it

    def _once(self, request: Any) -> Any:
        if request.signed_headers is None:
            request.signed_headers = self._headers_to_sign(request)
        return request.signed_headers


class _Express:
    """The handler of a client's `before-call` event."""

    def __init__(self, client: Any, attempts: Attempts) -> None:
        from aiobotocore.parsers import create_parser
        from botocore.auth import SigV4Auth
        from botocore.handlers import add_retry_headers
        from multidict import CIMultiDict

        # There is no public access to either.
        self._endpoint, self._emitter = client._endpoint, client.meta.events._emitter  # noqa: SLF001
        self._service = client.meta.service_model.service_id.hyphenize()
        self._attempts = attempts
        self._new_headers, self._add_retry_headers = CIMultiDict, add_retry_headers
        self._parser, self._auth = create_parser("json"), SigV4Auth
        self._signer: Any = None, None  # what it signs with, and itself
        self._foreign: dict[str, list[Any]] = {}  # handlers, by operation
        self._registry: Any = None  # an object that the emitter replaces with each registration

    async def before_call(
        self, model: Any, params: Any, request_signer: Any, context: Any, event_name: str, **_: Any
    ) -> Any:
        """Return the response and what it contains, or None if botocore has to go on."""
        operation = model.name
        if operation not in _READS or not self._is_plain(operation, context):
            return None
        context["retries"] = {"attempt": 1, "invocation-id": str(uuid.uuid4())}
        request = _Request(params, self._new_headers(params["headers"]), context)
        await self._attempts.before_signing(request, operation)
        try:
            await self._sign(request, request_signer)
        except Exception:  # noqa: BLE001  # nothing was sent: botocore fails in the same way
            return None
        outcome: Any = None
        try:
            self._add_retry_headers(request)
            self._attempts.before_send(request, event_name)
            outcome = await self._endpoint.http_session.send(request)
            if outcome.status_code == _OK:
                return outcome, await self._parsed(outcome, model, params)
        except Exception as error:  # noqa: BLE001  # botocore raises it, or its own
            outcome = outcome or error
        self._attempts.hand_over(context, outcome)
        return None

    def _is_plain(self, operation: str, context: Any) -> bool:
        """Return whether botocore would send the request as this path does."""
        registry = self._emitter._lookup_cache  # noqa: SLF001
        if registry is not self._registry:
            self._foreign, self._registry = {}, registry
        if operation not in self._foreign:
            search = self._emitter._handlers.prefix_search  # noqa: SLF001
            events = (f"{event}.{self._service}.{operation}" for event in _EVENTS)
            self._foreign[operation] = [h for e in events for h in search(e) if _is_foreign(h)]
        # moto's handler is always there, and only enabled while `mock_aws` is active.
        is_watched = any(getattr(h, "enabled", True) for h in self._foreign[operation])
        # Tracers replace the method, to add headers.
        is_wrapped = type(type(self._endpoint).prepare_request) is not FunctionType
        return not is_watched and not is_wrapped and context.get("auth_type") in (None, "v4")

    async def _sign(self, request: Any, botocores: Any) -> None:
        signing = request.context["signing"]
        name = signing.get("signing_name", botocores.signing_name)
        region = signing.get("region", botocores.region_name)
        wanted = signing["request_credentials"], name, region, request.url
        present, signer = self._signer
        if present != wanted:
            frozen = await wanted[0].get_frozen_credentials()
            signer = _Signer(self._auth(frozen, name, region), request)
            self._signer = wanted, signer
        signer.sign(request)

    async def _parsed(self, response: Any, model: Any, params: Any) -> Any:
        described = {
            "headers": response.headers,
            "status_code": response.status_code,
            "body": await response.content,
            "context": {"operation_name": model.name},
        }
        parsed = await self._parser.parse(described, model.output_shape)
        parsed["ResponseMetadata"]["RetryAttempts"] = 0
        await self._attempts.needs_retry((response, parsed), model, params, attempts=1)
        return parsed


def _is_foreign(handler: Any) -> bool:
    return not getattr(handler, "__module__", "").startswith(_KNOWN)


def install(client: Any, attempts: Attempts, *, session: Any) -> None:
    """Let a client's reads take the express path, unless the environment has S1CRETS_EXPRESS=0.

    A `session` of the caller's may have any hooks, so its clients do not.
    """
    from botocore.auth import AUTH_TYPE_MAPS
    from botocore.awsrequest import AWSPreparedRequest

    meta = client.meta
    if (
        session is None
        and os.environ.get("S1CRETS_EXPRESS") != "0"
        and meta.service_model.resolved_protocol == "json"
        and meta.config.signature_version == "v4"
        and AUTH_TYPE_MAPS["v4"].__module__ in _SIGNERS
        and not meta.config.auth_scheme_preference
        and "context" in signature(AWSPreparedRequest).parameters  # older ones can't take over
    ):
        # After all of botocore's own handlers, which add headers.
        meta.events.register_last("before-call", _Express(client, attempts).before_call)
