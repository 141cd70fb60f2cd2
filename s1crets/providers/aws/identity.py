"""Whose entries a cache holds, told without asking AWS or botocore."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

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
            text = Path(os.environ.get(name, default)).expanduser().read_bytes()
            found.append(hashlib.sha256(text).hexdigest())  # there are keys in it
    return found


def session_identity(session: Any, namespace: str | None) -> list[str]:
    """Return what a session of the caller's own adds to the identity.

    Raises:
        ValueError: whose account it is can't be told without asking AWS.
    """
    if session is None:
        return []
    region, profile = session.get_config_variable("region"), session.profile
    credentials = getattr(session, "_credentials", None)
    key = getattr(credentials, "__dict__", {}).get("access_key", "")
    if credentials is not None and not key and not namespace:
        message = (
            "cache_args: name a namespace: the session's credentials don't say whose they are,"
            " and the cache is shared"
        )
        raise ValueError(message)
    return [f"session={region},{profile},{key}"]
