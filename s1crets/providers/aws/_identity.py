"""Identity that cache entries belong to: service, region and endpoint, and account or role.

AWS is asked once for the caller's identity, unless a role or a namespace determines it. A disk
cache remembers the answer, so a script with a warm cache needs neither AWS nor botocore.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Any

import anyio

from s1crets._runtime import run_in_thread
from s1crets.cache.scope import Scope
from s1crets.providers.aws._client import Clients, http_session, quiet
from s1crets.providers.aws._credentials import FILES, CredentialSource, file_digest
from s1crets.providers.aws._errors import Request, translated
from s1crets.providers.aws._services import STS, load_models
from s1crets.providers.aws._session import configured_endpoint, prepare

_log = logging.getLogger("s1crets")

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_ACCOUNT_ID")
# Sources of credentials that the hint covers. Credentials from a machine or a container may belong
# to another role in the next process.
_COVERED = ("env", "shared-credentials-file", "config-file", "assume-role", "sso")
_SESSION = r"(?<=:assumed-role/)([^/]+)/.*"  # the role's name, and the session's
_TIMEOUT = 2.0  # seconds to ask for the caller's identity


class Identity:
    """Determines the scope of a provider's cache entries, unless it is a `namespace`."""

    def __init__(self, clients: Clients, namespace: str | None) -> None:
        spec = self._spec = clients.spec
        self._credentials = clients.credentials
        given = [f"namespace={namespace}"] if namespace else []
        if "RoleArn" in spec.sts_args:
            given.append(f"role={spec.sts_args['RoleArn']}")
        self._given = "\0".join(given)

    def hint(self) -> str:
        """Return a text that changes whenever the scope may change, or "" if unknown. Blocks."""
        if self._spec.session is not None:
            return ""
        region = self._spec.sts_args.get("aws_region", "")
        found = self._spec.settings.note() | {n: os.environ[n] for n in _KEYS if n in os.environ}
        settings = [f"{name}={value}" for name, value in found.items()]
        files = [file_digest(os.environ.get(name, default)) for name, default in FILES.items()]
        profile = self._spec.profile or ""
        return "\0".join([self._spec.service.name, region, profile, self._given, *settings, *files])

    async def scope(self) -> Scope:
        """Return the scope: `GetCallerIdentity`, if nothing else determines the caller."""
        spec, owner, is_lasting = self._spec, self._given, True
        request = Request(STS, "region not known", "GetCallerIdentity", "?")
        with quiet(), translated(request), spec.settings.unchanged():
            session, region = await prepare(spec)
            endpoint = await run_in_thread(configured_endpoint, session, spec.service.name)
            if not owner:
                owner, is_lasting = await _caller(self._credentials, session, region)
        return Scope(f"{spec.service.name}\0{region}\0{endpoint}", owner, is_lasting)


async def _caller(source: CredentialSource, session: Any, region: str) -> tuple[str, bool]:
    """Return the identity of a session's credentials, and whether renewed ones have it too."""
    from aiobotocore.config import AioConfig

    signing, credentials = await source.signing(session, region)
    found = await credentials.get()
    keys, account = found.keys, found.keys.account_id
    if account and not keys.token:
        return f"account={account},key={keys.access_key}", True
    config = AioConfig(
        http_session_cls=http_session(),
        retries={"total_max_attempts": 1},
        parameter_validation=False,
    )
    try:
        await run_in_thread(load_models, session, STS)
        async with signing.create_client(STS.name, region_name=region, config=config) as sts:
            with anyio.fail_after(_TIMEOUT):
                answer = await sts.get_caller_identity()
            is_lasting = found.method in _COVERED
            return "caller=" + re.sub(_SESSION, r"\1", answer["Arn"]), is_lasting
    except Exception as error:  # noqa: BLE001  # the fetch works without it
        # An access key has one owner; but a key that came with a token does not last.
        _log.log(
            logging.WARNING if keys.token else logging.DEBUG,
            "the caller's identity is unknown (%s), so a cache outside the process only has the"
            " entries that were read with these same credentials; a `namespace` in cache_args"
            " makes the request unnecessary",
            type(error).__name__,
        )
        return f"key={keys.access_key}", not keys.token
