"""Sessions: region, settings of the environment."""

from __future__ import annotations

import copy
import os
import ssl
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

from s1crets._fork import import_lock
from s1crets._runtime import run_in_thread
from s1crets.errors import ConfigurationError
from s1crets.providers.aws._errors import Unresolved
from s1crets.providers.aws._retry import RateLimiter
from s1crets.providers.aws._services import Service, has_own_loader, load_models, shared_loader
from s1crets.providers.aws.options import StsArgs
from s1crets.providers.instrumentation import Counters

_METADATA_TIMEOUT = 1.0  # seconds to find out the region of an instance

_MOTO_KEY = "FOOBARKEY"  # `AWS_ACCESS_KEY_ID` under moto's `mock_aws`

# The components of a session that load data, or have a part of it.
_MODELS = {"data_loader", "default_config_resolver", "endpoint_resolver", "smart_defaults_factory"}

# What decides which secrets a provider reads, and as whom. Keys are not part of it: a program may
# replace expired ones.
_SETTINGS = {
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    *("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
}
_ENDPOINTS = "AWS_ENDPOINT_URL"  # of all services, or with the name of one


def environment_settings() -> dict[str, str]:
    """Return the variables that decide about region, endpoint and identity."""
    found = (name for name in os.environ if name in _SETTINGS or name.startswith(_ENDPOINTS))
    return {name: os.environ[name] for name in sorted(found)}


class Settings:
    """The settings in the environment that a provider has begun to use.

    With others, clients of further event loops, or those opened after `aclose`, would read secrets
    of another region or account into the same cache.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Accept any settings."""
        self._first: dict[str, str] | None = None
        self._in_use = False

    def note(self) -> dict[str, str]:
        """Return the current settings, which are those of the provider if it has none yet."""
        now = environment_settings()
        if self._first is None:
            self._first = now
        return now

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Reject settings that differ from those that the provider has begun to use."""
        self._check(self.note())
        try:
            yield
        except BaseException:
            if not self._in_use:  # they may be corrected
                self._first = None
            raise
        self._check(environment_settings())
        self._in_use = True

    def _check(self, now: dict[str, str]) -> None:
        first = self._first or {}
        changed = [n for n in sorted({*first, *now}) if first.get(n) != now.get(n)]
        if changed:
            raise Unresolved(
                f"{', '.join(changed)} changed after the first use of this provider, whose cache"
                " has secrets that were read with the former settings",
                "create another provider",
                ConfigurationError,
            )


@dataclass(frozen=True)
class ClientSpec:
    """The properties of a provider's clients; some are the options of `ProviderOptions`."""

    service: Service
    counters: Counters
    sts_args: StsArgs
    retry: int
    timeout: float
    max_connections: int
    session: Any
    profile: str | None
    limits: Mapping[str, RateLimiter] = field(default_factory=partial(defaultdict, RateLimiter))
    settings: Settings = field(default_factory=Settings)


async def prepare(spec: ClientSpec) -> tuple[Any, str]:
    """Return a session and the region, which must be configured."""
    # Imports and models take 300 ms of CPU time, which would stall the event loop.
    session, region = await run_in_thread(_load, spec)
    if not region:
        from aiobotocore.utils import AioIMDSRegionProvider

        with anyio.move_on_after(_METADATA_TIMEOUT):
            region = await AioIMDSRegionProvider(session=session).provide()
    if not region:
        raise ConfigurationError(
            f"{spec.service.title}: no region is configured; pass region=... (the command:"
            " --region), set AWS_DEFAULT_REGION or AWS_REGION, or set region in the profile of the"
            " AWS config file"
        )
    return session, str(region)


def _load(spec: ClientSpec) -> tuple[Any, str | None]:
    """Read all files that creating a client needs; return a session and its region, if any."""
    with import_lock:
        import aiobotocore.config
        import aiobotocore.session
        import aiobotocore.utils  # noqa: F401
    given = spec.session
    session = _new_session(spec.profile) if given is None else _with_shared_models(given)
    if os.environ.get("AWS_ACCESS_KEY_ID") == _MOTO_KEY:
        _check_not_mocked(session, spec.service)
    load_models(session, spec.service)
    _check_ca_bundle(session.get_config_variable("ca_bundle"))
    region = spec.sts_args.get("aws_region") or session.get_config_variable("region")
    # AWS_REGION is the name for ECS and for AWS's other SDKs; botocore ignores it.
    return session, region or os.environ.get("AWS_REGION")


def _check_ca_bundle(path: str | None) -> None:
    """Reject a file that TLS can't use: the error of a request does not name it."""
    if path:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError as error:  # also `ssl.SSLError`
            raise Unresolved(
                f"no certificates in {path!r} [{type(error).__name__}]",
                "correct AWS_CA_BUNDLE, or ca_bundle in the AWS config file",
                ConfigurationError,
            ) from None


def _check_not_mocked(session: Any, service: Service) -> None:
    """Reject requests to AWS itself with the credentials that moto's `mock_aws` sets."""
    if not configured_endpoint(session, service.name):
        raise ConfigurationError(
            f"{service.title}: moto's mock_aws replaces botocore's requests, but s1crets uses"
            " aiobotocore, so they would be sent to AWS, with mock_aws' fake credentials; use the"
            " pytest fixture s1crets_aws, or local_aws of s1crets.testing"
        )


def configured_endpoint(session: Any, service: str) -> str:
    """Return the endpoint that is configured in place of AWS's own, or "". Blocks."""
    from botocore.configprovider import ConfiguredEndpointProvider

    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return ""
    files = {"full_config": session.full_config, "scoped_config": session.get_scoped_config()}
    return ConfiguredEndpointProvider(client_name=service, **files).provide() or ""


def _new_session(profile: str | None = None) -> Any:
    from aiobotocore.session import AioSession

    session = AioSession(profile=profile)
    session.full_config  # noqa: B018  # reads the config files, and remembers them
    session.register_component("data_loader", shared_loader(session))
    return session


def _with_shared_models(session: Any) -> Any:
    """Return a copy of a caller's session with the shared models, unless it loads its own data."""
    session.full_config  # noqa: B018  # see `_new_session`
    if has_own_loader(session):
        return session
    ours, sibling = _new_session(), copy.copy(session)
    sibling.get_credentials = session.get_credentials
    for method in ("get_component", "_get_internal_component"):
        setattr(sibling, method, _component_of(getattr(ours, method), getattr(session, method)))
    return sibling


def _component_of(ours: Callable[[str], Any], theirs: Callable[[str], Any]) -> Any:
    return lambda name: ours(name) if name in _MODELS else theirs(name)
