"""Whose entries a cache outside of the process holds: of which service, region, endpoint, account.

AWS is asked once who the caller is, unless a role or a namespace says so, and the answer is
remembered in the folder of the cache: a script with a warm one needs neither AWS nor botocore.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from s1crets._runtime import run_in_thread
from s1crets.providers.aws.errors import Request, translated
from s1crets.providers.aws.quiet import quiet
from s1crets.providers.aws.session import prepare

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s1crets.providers.aws.session import ClientSpec

_log = logging.getLogger("s1crets")

_WHERE = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
)
_WHO = (
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCOUNT_ID",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_PROFILE",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
_COVERED = ("env", "shared-credentials-file", "config-file", "assume-role", "sso")
"""Where credentials come from that the hint knows of. Those that a machine or a container gives may
be another role's in the next process."""
_SESSION = re.compile(r"(?<=:assumed-role/)([^/]+)/.*")  # the role's name, and the session's
_ASKED = 2.0  # seconds that the question may take


class AwsIdentity:
    """Tells whose entries those of one provider are.

    Args:
        spec: of the provider's clients.
        namespace: the caller's, who says with it whose they are.
    """

    def __init__(self, spec: ClientSpec, namespace: str | None) -> None:
        self._spec = spec
        self._told = [f"namespace={namespace}"] if namespace else []
        if "RoleArn" in spec.sts_args:
            self._told.append(f"role={spec.sts_args['RoleArn']}")

    def hint(self) -> str:
        """Return a text that changes with anything that may change the identity. Blocks.

        Nothing where a session of the caller's own decides: it may do as it likes.
        """
        if self._spec.session is not None:
            return ""
        region = self._spec.sts_args.get("aws_region", "")
        keys = _digest("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
        return "\0".join(
            [self._spec.service, region, *self._told, *_settings(_WHO), keys, *_where()]
        )

    async def ask(self) -> tuple[str, bool]:
        """Return the identity: `GetCallerIdentity`, if nothing else says who the caller is.

        Returns:
            The identity, and whether it is still the same after the credentials are renewed.

        Raises:
            S1cretsError: it can't be told.
        """
        spec, told, lasting = self._spec, self._told, True
        with quiet(), translated(Request("STS", "region not known", "GetCallerIdentity", "?")):
            session, region = await prepare(spec)
            if not told:
                caller, lasting = await find_caller(session, region)
                told = [caller]
        where = await run_in_thread(_where)
        return "\0".join([spec.service, region, str(session.profile), *told, *where]), lasting


async def find_caller(session: Any, region: str) -> tuple[str, bool]:
    """Return whose credentials a session has, and whether that outlives them.

    Raises:
        NoCredentialsError: it has none.
    """
    from aiobotocore.config import AioConfig
    from botocore.exceptions import NoCredentialsError

    credentials = await session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    keys = await credentials.get_frozen_credentials()
    account = getattr(keys, "account_id", None)
    if account and not keys.token:
        return f"account={account},key={keys.access_key}", True
    config = AioConfig(retries={"total_max_attempts": 1}, parameter_validation=False)
    try:
        await run_in_thread(session.warm_up_loader_caches, "sts")
        with anyio.fail_after(_ASKED):
            async with session.create_client("sts", region_name=region, config=config) as sts:
                answer = await sts.get_caller_identity()
                lasting = getattr(credentials, "method", None) in _COVERED
                return "caller=" + _SESSION.sub(r"\1", answer["Arn"]), lasting
    except Exception as error:  # noqa: BLE001  # whatever it is, the fetch does without
        # A key is its owner's alone; but one that came with a token does not last.
        _log.log(
            logging.WARNING if keys.token else logging.DEBUG,
            "who the caller is could not be asked (%s), so a cache outside of the process holds"
            " nothing but what these very credentials have read; a `namespace` in cache_args spares"
            " the question",
            type(error).__name__,
        )
        return f"key={keys.access_key}", not keys.token


def _where() -> list[str]:
    """Return what decides which endpoint is asked. Blocks."""
    return [*_settings(_WHERE), _digest("AWS_CONFIG_FILE", "~/.aws/config")]


def _settings(names: Iterable[str]) -> list[str]:
    return [f"{name}={os.environ.get(name, '')}" for name in names]


def _digest(variable: str, default: str) -> str:
    """Return a digest of a file of AWS's, as there are keys in it."""
    with suppress(OSError):
        # pathlib's `expanduser` fails where there is no home.
        text = Path(os.path.expanduser(os.environ.get(variable, default))).read_bytes()  # noqa: PTH111
        return hashlib.sha256(text).hexdigest()
    return ""
