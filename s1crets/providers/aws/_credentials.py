"""Credentials: resolved once for all providers of the process that use the same source.

botocore's chain runs in a thread of its own, since it reads files, runs programs and asks for MFA
codes. The result belongs to no event loop.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import os
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1crets._circuit_breaker import Backoff
from s1crets._coalescing import SingleFlight
from s1crets._fork import on_fork
from s1crets._runtime import run_in_thread, start_daemon
from s1crets.providers.aws._credential_chain import CLOCK, EXPIRED, of_session, resolve
from s1crets.providers.aws._errors import Unresolved
from s1crets.providers.aws._session import ClientSpec

if TYPE_CHECKING:
    from concurrent.futures import Future

FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
_AHEAD = 900.0  # seconds before expiry, at most, from which credentials are renewed
_PAUSE, _LONGEST_PAUSE = 5.0, 30.0  # seconds without an attempt after a failure
_PROFILE = ("config_file", "credentials_file", "profile")
_MOST = 100  # sources whose credentials are kept


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
            source = await of_session(self._session)
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
        self._failure = Unresolved(f"the credentials from {method} {EXPIRED}", CLOCK)
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
