"""Credentials: resolved once for all providers of the process that use the same source.

botocore's chain runs in a thread of its own, since it reads files, runs programs and asks for MFA
codes. The result belongs to no event loop.

A failure means what it means because of its place, not because of its class: botocore raises
`FileNotFoundError`, `JSONDecodeError`, `EOFError` and others. Messages contain no secret: neither
responses nor the output of programs are shown.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import inf
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from s1crets._circuit_breaker import Backoff
from s1crets._coalescing import SingleFlight
from s1crets._fork import import_lock, on_fork
from s1crets._runtime import run_in_thread, start_daemon
from s1crets.errors import AccessDeniedError, ConfigurationError, CredentialsError, S1cretsError
from s1crets.providers.aws._errors import CODES, Unresolved
from s1crets.providers.aws._services import shared_loader
from s1crets.providers.aws._session import ClientSpec
from s1crets.providers.aws.options import STS_DEFAULTS, StsArgs

if TYPE_CHECKING:
    from concurrent.futures import Future

FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
_AHEAD = 900.0  # seconds before expiry, at most, from which credentials are renewed
_PAUSE, _LONGEST_PAUSE = 5.0, 30.0  # seconds without an attempt after a failure
_PROFILE = ("config_file", "credentials_file", "profile")
_MOST = 100  # sources whose credentials are kept
_TIMEOUT = 5.0  # seconds to connect to a source, and for its response
_PROCESS_TIMEOUT = 45.0  # seconds for a credential_process, which may open a browser

# By botocore's name of the method. `{}` is the profile.
_SOURCES = {
    "assume-role": "the role of profile {!r}",
    "assume-role-with-web-identity": "the web identity (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN"
    " or profile {!r})",
    "config-file": "profile {!r} of the config file",
    "container-role": "the container's endpoint (AWS_CONTAINER_CREDENTIALS_FULL_URI or …_RELATIVE_"
    "URI, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE)",
    "custom-process": "the credential_process of profile {!r}",
    "env": "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)",
    "iam-role": "the instance's metadata service",
    "login": "the login_session of profile {!r}",
    "shared-credentials-file": "profile {!r} of the credentials file",
    "sso": "the SSO login of profile {!r}",
    "sts-assume-role": "the role of sts_args",
}
_REMEDIES = {
    "assume-role": "check the profile's role, and the credentials it is assumed with",
    "assume-role-with-web-identity": "check the token file, and the role's trust policy",
    "container-role": "check whether that source of credentials answers, and the token file",
    "custom-process": "run the command: it must print the credentials as a JSON object (its output"
    " is not shown here)",
    "login": "log in again with `aws login`",
    "sso": "log in again with `aws sso login`",
}
_SETTINGS = "check the profile, and the files of AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE"
_NONE = "set AWS_PROFILE or AWS_ACCESS_KEY_ID, or check that the metadata service can be reached"
_MFA = "an MFA code is required, and there is no terminal to ask for it"
_MFA_REMEDY = "run it in a terminal, or use credentials that need no MFA"
_EXPIRED = "they have expired already"
_CLOCK = "correct the clock of this machine, or renew them at their source"
_TRUST = (
    "allow sts:AssumeRole (with a token: sts:AssumeRoleWithWebIdentity) to the caller, and the"
    " caller in the role's trust policy"
)
_ASSIGNMENT = "check that the role is assigned to the caller, and the role's trust policy"
_CONFIGURATION = {
    *("ConfigNotFound", "ConfigParseError", "InvalidConfigError", "MissingDependencyException"),
    *("ProfileNotFound", "UnknownCredentialError"),
}
# Errors of botocore's whose messages contain nothing but names, paths and addresses.
_SAFE = {
    *_CONFIGURATION,
    *("ConnectionClosedError", "ConnectionError", "ConnectTimeoutError", "EndpointConnectionError"),
    *("CredentialRetrievalError", "LoginError", "MetadataRetrievalError", "NoCredentialsError"),
    *("PartialCredentialsError", "ReadTimeoutError", "SSOError", "TokenRetrievalError"),
}
_CHAIN = r"(aio)?botocore\.(credentials|tokens)"


@dataclass(frozen=True, slots=True)
class Found:
    """Resolved credentials."""

    keys: Any = field(repr=False)  # aiobotocore's `AioCredentials`, which never renew themselves
    method: str
    due: float  # when they are renewed
    expires: float


class Credentials:
    """Credentials of one source.

    All callers share an attempt to resolve them, and its failure for a while. A failure to renew
    them counts when they have expired.

    Args:
        find: returns credentials, given those of the `session`; blocks. None: those are the result.
        session: the caller's own session, if any.
        clock: wall-clock seconds; `timer`: monotonic seconds. Both are injected by tests.
    """

    def __init__(
        self,
        find: Callable[[Any], Any] | None,
        session: Any = None,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._session = session
        self.clock = clock
        self._backoff = Backoff(_PAUSE, _LONGEST_PAUSE, timer=timer)
        self.found: Found | None = None  # what was resolved last; it may be used until it is `due`
        self._failure = Unresolved("", "")
        self._flights: SingleFlight[str, Any, None] = SingleFlight()
        self._timer = timer
        self._started = 0.0
        self._thread: Future[None] | None = None
        on_fork(self)

    def after_fork(self) -> None:
        """Forget the thread, which the child does not have."""
        self._thread = None

    def forget_failure(self) -> None:
        """Let the next call try again at once."""
        self._backoff.succeeded("")

    @property
    def pending_for(self) -> float:
        """Seconds that the source has not answered for."""
        return self._timer() - self._started if self.is_pending else 0.0

    @property
    def is_pending(self) -> bool:
        """Whether the source has not answered yet."""
        return self._thread is not None and not self._thread.done()

    async def get(self) -> Found:
        """Return credentials that are valid now, or raise `Unresolved`."""
        found, now = self.found, self.clock()
        if found and (now < found.due or (now < found.expires and self.is_pending)):
            return found
        await self._flights.join("", self._attempt)
        found = self.found
        if found is None or self.clock() >= found.expires:
            raise copy.copy(self._failure)
        return found

    async def renew(self, expired: Found) -> None:
        """Replace credentials that AWS rejected, once for all requests signed with them."""
        if self.found is expired:
            self.found = replace(expired, due=0.0, expires=0.0)
        await self.get()

    async def _attempt(self, _: str) -> None:
        if self._backoff.is_waiting(""):
            return
        source = None
        if self._session is not None:
            source = await _of_session(self._session)
        if self._find is None or isinstance(source, Unresolved):
            self._take(source)
            return
        find, keys = self._find, source and source[0]
        if self._thread is None or self._thread.done():
            self._started = self._timer()
            work = partial(self._run, find, keys)
            self._thread = start_daemon("s1crets credentials", work)
        await asyncio.wrap_future(self._thread)

    def _run(self, find: Callable[[Any], Any], keys: Any) -> None:
        self._take(find(keys))

    def _take(self, outcome: Any) -> None:
        """Use the result of an attempt: keys, method and expiry, or the reason why not."""
        if isinstance(outcome, Unresolved):
            self._failure = outcome
            self._backoff.failed("")
            if self._find is None:  # a session of the caller's decides each time
                self.found = None
            return
        from aiobotocore.credentials import AioCredentials

        keys, method, expiry = outcome
        due, expires = (-inf, inf) if self._find is None else (inf, inf)
        if self._find is not None and expiry is not None:
            expires = expiry.timestamp()
            due = expires - min(_AHEAD, (expires - self.clock()) / 3)
        self._backoff.succeeded("")
        self._failure = Unresolved(f"the credentials from {method} {_EXPIRED}", _CLOCK)
        self.found = Found(
            AioCredentials(*keys[:3], account_id=keys.account_id), method, due, expires
        )


class CredentialSource:
    """The source of a provider's credentials, which its other providers may share."""

    def __init__(self, spec: ClientSpec) -> None:
        self._spec = spec
        self.latest: Credentials | None = None  # those that were needed last

    async def signing(self, session: Any, region: str) -> tuple[Any, Credentials]:
        """Return a session like `session` that has the credentials, and those."""
        credentials = self.latest
        if credentials is None or credentials.found is None:  # all clients have the same
            credentials = self.latest = await _shared_credentials(self._spec, session, region)
        found = await credentials.get()

        async def get_credentials() -> Any:
            return found.keys

        sibling = copy.copy(session)
        sibling.get_credentials = get_credentials
        return sibling, credentials


_shared: dict[Hashable, Credentials] = {}


def forget_failures() -> None:
    """Let the next call for any credentials try again at once."""
    for credentials in list(_shared.values()):
        credentials.forget_failure()


async def _shared_credentials(spec: ClientSpec, session: Any, region: str) -> Credentials:
    """Return the process's credentials for a provider: same settings, role and partition."""
    settings, partition = await run_in_thread(_settings, session, region)
    role = {k: v for k, v in spec.sts_args.items() if k != "aws_region"}
    key = (settings, spec.session, spec.profile, partition, tuple(sorted(role.items())))
    credentials = _shared.pop(key, None)
    if credentials is None:
        variables = session.instance_variables()
        # When the credentials are renewed, the environment may have another profile.
        files = {name: session.get_config_variable(name) for name in _PROFILE}
        find = partial(resolve, variables, files, spec.sts_args, region)
        credentials = Credentials(None if spec.session and not role else find, spec.session)
    _shared[key] = credentials  # now the last one
    for old in list(_shared)[:-_MOST]:
        _shared.pop(old, None)
    return credentials


def _settings(session: Any, region: str) -> tuple[str, str]:
    """Return a digest of everything that decides about credentials, and the partition. Blocks."""
    from botocore.exceptions import UnknownRegionError

    names = [n for n in os.environ if n.startswith("AWS_") or n in ("BOTO_CONFIG", "HOME")]
    parts = [f"{name}={os.environ[name]}" for name in sorted(names)]
    parts += [file_digest(os.environ.get(name, default)) for name, default in FILES.items()]
    partition = region
    with suppress(UnknownRegionError):
        partition = session.get_partition_for_region(region)
    joined = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(joined).hexdigest(), partition


def file_digest(path: str) -> str:
    """Return a digest of a file of AWS's, since it may contain keys; "" if there is none."""
    with suppress(OSError):
        # `Path.expanduser` fails if there is no home.
        return hashlib.sha256(Path(os.path.expanduser(path)).read_bytes()).hexdigest()  # noqa: PTH111
    return ""


async def _of_session(session: Any) -> Any:
    """Return keys, method and expiry of a caller's session, or an `Unresolved`."""
    try:
        credentials = await session.get_credentials()
        return _usable(credentials, credentials and await credentials.get_frozen_credentials())
    except Exception as error:  # noqa: BLE001  # it is described without its frames
        return _unresolved(error, session.get_config_variable("profile"))


def resolve(variables: Any, files: Any, sts_args: StsArgs, region: str, source: Any) -> Any:
    """Return keys, method and expiry from botocore's chain and an assumed role. Blocks.

    Args:
        variables: those of the session, such as the region that a caller has set.
        files: the profile and the files it is in.
        sts_args: the role to assume, if any.
        region: the region of STS.
        source: the keys of a caller's session, with which the role is assumed.
    """
    with import_lock:
        from botocore.config import Config
        from botocore.credentials import (
            AssumeRoleCredentialFetcher,
            DeferredRefreshableCredentials,
        )
        from botocore.credentials import (
            Credentials as StaticCredentials,
        )
        from botocore.session import Session
    session = Session(include_builtin_handlers=False)
    for name, value in {**variables, "region": region}.items():
        session.set_config_variable(name, value)
    for name, value in files.items():  # not as above: the environment's keys would not count
        session.get_component("config_store").set_config_variable(name, value)
    try:
        with _clients_on_demand(session):
            session.register_component("data_loader", shared_loader(session))
            session.set_default_client_config(
                Config(
                    connect_timeout=_TIMEOUT,
                    read_timeout=_TIMEOUT,
                    retries={"mode": "standard", "total_max_attempts": 2},
                    parameter_validation=False,  # its errors contain values
                )
            )
            _limit_processes(session)
            credentials = StaticCredentials(*source[:3]) if source else session.get_credentials()
            if credentials and (role := sts_args.get("RoleArn")):
                given = {k: v for k, v in sts_args.items() if k not in ("RoleArn", "aws_region")}
                fetcher = AssumeRoleCredentialFetcher(
                    session.create_client, credentials, role, extra_args={**STS_DEFAULTS, **given}
                )
                credentials = DeferredRefreshableCredentials(
                    fetcher.fetch_credentials, "sts-assume-role"
                )
            return _usable(credentials, credentials and credentials.get_frozen_credentials())
    except BaseException as error:  # noqa: BLE001  # it is described without its frames
        return _unresolved(error, session.get_config_variable("profile"))


@contextmanager
def _clients_on_demand(session: Any) -> Iterator[None]:
    """Register botocore's 120 handlers for the first client, and close all that the chain opens.

    Most sources need no client, and the handlers take 3 ms of CPU.
    """
    create = session.create_client
    with ExitStack() as stack:
        register = cache(partial(session._register_builtin_handlers, session._events))  # noqa: SLF001

        def create_client(*args: Any, **kwargs: Any) -> Any:
            register()
            return stack.enter_context(closing(create(*args, **kwargs)))

        session.create_client = create_client
        yield


class _Process(subprocess.Popen[bytes]):
    """A credential_process with a time limit."""

    def communicate(self, *_: Any, **__: Any) -> tuple[bytes, bytes]:
        try:
            return super().communicate(timeout=_PROCESS_TIMEOUT)
        except subprocess.TimeoutExpired:
            with self:  # closes the pipes, and waits for its end
                self.kill()
            raise


def _limit_processes(session: Any) -> None:
    """Give a time limit to the processes of the profile, and of the profiles it refers to."""
    from botocore.credentials import ProcessProvider

    resolver = session.get_component("credential_provider")
    builder = resolver.get_provider("assume-role")._profile_provider_builder  # noqa: SLF001

    def create(profile: str) -> Any:
        return ProcessProvider(profile, lambda: session.full_config, popen=_Process)

    builder._create_process_provider = create  # noqa: SLF001
    resolver.get_provider("custom-process")._popen = _Process  # noqa: SLF001


def _usable(credentials: Any, keys: Any) -> Any:
    """Return keys, method and expiry, or raise an error if they can't be used."""
    from botocore.exceptions import NoCredentialsError

    if credentials is None:
        raise NoCredentialsError
    for part in filter(None, (keys.access_key, keys.secret_key, keys.token)):
        if not isinstance(part, str) or not re.fullmatch(r"[!-~]+", part):
            problem = f"from {credentials.method}: a key or token is not text, or contains a space"
            raise Unresolved(f"the credentials {problem} or line break", "correct it")
    expiry = getattr(credentials, "_expiry_time", None)
    return keys, getattr(credentials, "method", None) or "session", expiry


# Description of failures


def _unresolved(error: BaseException, profile: str | None) -> Unresolved:
    """Return the description of a failure, with its source and a remedy, and without a secret."""
    if isinstance(error, Unresolved):
        return copy.copy(error)  # without its frames
    method, profile, role = _origin(error, profile or "default")
    source = _SOURCES.get(method, "the settings of profile {!r}").format(profile)
    words, remedy, kind = _meaning(error, method)
    place = f"{source} ({role})" if role else source
    label = f" [{method}]" if method else ""
    return Unresolved(f"no credentials from {place}{label}: {words}", remedy, kind)


def _origin(error: BaseException, profile: str) -> tuple[str, str, str]:
    """Return botocore's name of the method, the profile and the role that a failure is about."""
    method = role = ""
    for frame, _ in walk_tb(error.__traceback__):
        if re.fullmatch(_CHAIN, frame.f_globals.get("__name__", "")):
            owner = frame.f_locals.get("self")
            method = getattr(owner, "METHOD", None) or getattr(owner, "method", None) or method
            profile = getattr(owner, "_profile_name", profile)
            role = getattr(owner, "_role_arn", role)
    return method, profile, role


def _meaning(error: BaseException, method: str) -> tuple[str, str, type[S1cretsError]]:
    """Return the words, the remedy and our class for a failure."""
    name = type(error).__name__
    kinds = {base.__name__ for base in type(error).__mro__}
    kind: type[S1cretsError] = CredentialsError
    words, remedy = _words(error, kinds, method), _REMEDIES.get(method, _SETTINGS)
    if response := getattr(error, "response", None):
        words, remedy = _refused(error, response, remedy)
    elif "NoCredentialsError" in kinds:
        remedy = _NONE
    elif isinstance(error, EOFError):
        words, remedy = f"{_MFA} [{name}]", _MFA_REMEDY
    elif isinstance(error, RuntimeError):  # the chain's own: they have expired when they arrive
        words, remedy = _EXPIRED, _CLOCK
    elif "MissingDependencyException" in kinds:
        words, remedy = f"botocore[crt] is not installed [{name}]", "pip install 's1crets[login]'"
    elif re.search(r"non 200 response (401|403)", words):
        remedy = f"{remedy}; {_TRUST}"
    if not kinds.isdisjoint(_CONFIGURATION) or type(error) is ValueError:
        kind = ConfigurationError
    return words, remedy, kind


def _words(error: BaseException, kinds: set[str], method: str) -> str:
    """Return what is wrong, as far as it contains no secret."""
    name = type(error).__name__
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it took longer than {_PROCESS_TIMEOUT:.0f} s"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror} [{name}]"
    if method == "custom-process" and "Missing required key" not in str(error):
        failed = "CredentialRetrievalError" in kinds
        return f"the command {'failed' if failed else 'printed something else'} [{name}]"
    if kinds & _SAFE or (type(error) is ValueError and method == "container-role"):
        # A response may contain anything.
        shown = re.sub(r"(from container metadata): .*", r"\1", str(error), flags=re.DOTALL)
        return f"{shown} [{name}]"
    return name


def _refused(error: Any, response: Any, default: str) -> tuple[str, str]:
    """Return the words and the remedy for a response of STS or SSO."""
    failure = response.get("Error", {})
    code, message = str(failure.get("Code", "")), str(failure.get("Message", ""))
    # A validation error repeats arguments, such as the token; another body may contain anything.
    is_untold = "Validation" in code or code.isdecimal()
    remedy, kind = (default, None) if is_untold else CODES.get(code, (default, None))
    if kind is AccessDeniedError or code == "ForbiddenException":
        remedy = _TRUST if error.operation_name.startswith("AssumeRole") else _ASSIGNMENT
    if is_untold:
        message = ""
    return f"{error.operation_name}: {message} [{code}]", remedy
