"""The constructor options of the AWS providers, and their validation before anything is opened."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypedDict

from s1crets._validation import NUMBER, Rule, check_items, check_value, suggestion
from s1crets.cache.options import RULES as CACHE_ARGS
from s1crets.cache.options import CacheArgs, check_cache_args, redact_options
from s1crets.errors import ConfigurationError


class StsArgs(TypedDict, total=False):
    """The items of `sts_args`.

    Attributes:
        RoleArn: the role to assume; by default none.
        RoleSessionName: the session's name in CloudTrail; `s1crets`.
        DurationSeconds: lifetime of the role's credentials, 900 to 43200; 3600.
        ExternalId: the id that the role's trust policy requires; by default none.
        aws_region: the same as `region`, which is shorter.
    """

    RoleArn: str
    RoleSessionName: str
    DurationSeconds: int
    ExternalId: str
    aws_region: str


class ProviderOptions(TypedDict, total=False):
    """The keyword arguments of every AWS provider.

    Attributes:
        region: the AWS region; by default botocore's chain, then AWS_REGION, then the instance's.
        profile: a profile of the AWS config files; by default AWS_PROFILE.
        sts_args: a role to assume, and the region.
        cache_args: what is cached, where, and for how long.
        retry: attempts of a request, or of a page, in total; 3. The environment and the config file
            don't change that. Retried are broken connections, timeouts and 5xx responses, after
            a random part of 1 s, 2 s, 4 s …, 20 s at most (botocore's standard mode, which retries
            less after hundreds of failures in a row); throttled requests, at the rate that AWS
            accepts; and once, with renewed credentials, requests with an expired token.
        timeout: seconds for an attempt to connect, and for the response; 5.0.
        deadline: seconds that a public call may take in total, None for no limit; 60.0.
        max_connections: connections to AWS, which is the number of concurrent requests; 50.
        session: an aiobotocore session of the caller's own. It is not changed.
    """

    region: str | None
    profile: str | None
    sts_args: StsArgs
    cache_args: CacheArgs
    retry: int
    timeout: float
    deadline: float | None
    max_connections: int
    session: Any


STS_DEFAULTS: StsArgs = {"RoleSessionName": "s1crets", "DurationSeconds": 3600}
"""The items of `sts_args` that an assumed role always has."""
_DEFAULTS: Mapping[str, Any] = {
    "profile": None,
    "sts_args": {},
    "cache_args": {},
    "retry": 3,
    "timeout": 5.0,
    "deadline": 60.0,
    "max_connections": 50,
    "session": None,
}
_STS_ARGS = {
    "RoleArn": Rule((str,), not_empty=True),
    "RoleSessionName": Rule((str,), not_empty=True),
    "DurationSeconds": Rule((int,), 900, 43200),
    "ExternalId": Rule((str,)),
    "aws_region": Rule((str,), not_empty=True),
}
_NUMBERS = {
    "retry": Rule((int,), 1),
    "timeout": Rule(NUMBER, 0.001),
    "max_connections": Rule((int,), 1),
}


def redacted(options: ProviderOptions) -> ProviderOptions:
    """Return the options, if all are known, with a redacted `cache_key` for tracebacks."""
    for name in options:
        if name not in ProviderOptions.__annotations__:
            raise TypeError(f"there is no option {name!r}: {_hint(name)}")
    return redact_options(options)


def _hint(name: str) -> str:
    elsewhere: dict[str, str] = {}
    for outer, known in (("cache_args", CACHE_ARGS), ("sts_args", _STS_ARGS)):
        elsewhere.update((one, f"{outer}={{{one!r}: ...}}") for one in known)
    return suggestion(name, ProviderOptions.__annotations__, elsewhere)


def checked(options: ProviderOptions) -> dict[str, Any]:
    """Return all options, valid, and with their defaults if they are not given."""
    given: dict[str, Any] = {**_DEFAULTS, **options}
    region = given.pop("region", None)
    for name in ("sts_args", "cache_args"):
        if given[name] is None:
            given[name] = _DEFAULTS[name]
    check_items("sts_args", given["sts_args"], _STS_ARGS)
    for name, value in (("region", region), ("profile", given["profile"])):
        if value is not None:
            check_value(name, value, Rule((str,), not_empty=True))
    if region is not None:
        given["sts_args"] = _with_region(given["sts_args"], region)
    check_cache_args(given["cache_args"])
    for name, rule in _NUMBERS.items():
        check_value(name, given[name], rule)
    session = given["session"]
    if session is not None and given["profile"] is not None:
        raise ConfigurationError("profile and session can't be combined: a session has a profile")
    # The caller of a session of the right kind has imported the module.
    module = sys.modules.get("aiobotocore.session")
    if session is not None and not (module and isinstance(session, module.AioSession)):
        kind = f"{type(session).__module__}.{type(session).__name__}"
        raise TypeError(f"session must be an aiobotocore.session.AioSession, not {kind}")
    return given


def _with_region(sts_args: StsArgs, region: str) -> StsArgs:
    other = sts_args.get("aws_region", region)
    if other != region:
        message = (
            f"there are two regions: region={region!r} and sts_args={{'aws_region': {other!r}}}"
        )
        raise ConfigurationError(f"{message}; leave one out")
    return {**sts_args, "aws_region": region}
