"""The arguments of the four classes' constructors, and their checks before anything is opened."""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING, Any, TypedDict

from s1crets.providers.options import CACHE_ARGS, boxed, check_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s1crets.cache import CacheArgs
    from s1crets.providers.aws.session import StsArgs


class ProviderOptions(TypedDict, total=False):
    """The keyword arguments of every provider on AWS.

    Attributes:
        sts_args: a role to assume, and the region.
        cache_args: what to keep, where, for how long.
        retry: attempts in total, the first included; 3.
        timeout: seconds that one attempt may take to connect, and to answer; 5.0.
        deadline: seconds that one public call may take in all, None for no bound; 60.0.
        max_connections: connections to AWS, and so requests in flight; 50.
        session: an aiobotocore session of the caller's own.
    """

    sts_args: StsArgs
    cache_args: CacheArgs
    retry: int
    timeout: float
    deadline: float | None
    max_connections: int
    session: Any


def discreet(options: ProviderOptions) -> ProviderOptions:
    """Return the same options with the `cache_key` in a box, for tracebacks that show locals.

    Raises:
        TypeError: there is no such option; the message says what may have been meant.
    """
    for name in options:
        if name not in ProviderOptions.__annotations__:
            raise TypeError(_unknown(name))
    return boxed(options)


def _unknown(name: str) -> str:
    for inner, known in (("cache_args", CACHE_ARGS), ("sts_args", _STS_ARGS)):
        if name in known:
            return f"there is no option {name!r}: it belongs in {inner}={{{name!r}: ...}}"
    names = [*ProviderOptions.__annotations__, "region"]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    if near == ["region"]:
        return f"there is no option {name!r}: the region is sts_args={{'aws_region': ...}}"
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names[:-1])}"
    return f"there is no option {name!r}: {hint}"


_STS_ARGS: Mapping[str, Any] = {
    "RoleArn": str,
    "RoleSessionName": str,
    "DurationSeconds": int,
    "ExternalId": str,
    "aws_region": str,
}


def check_sts_args(args: Mapping[str, object]) -> None:
    """Refuse an unknown key (`TypeError`) and a value out of range (`ValueError`)."""
    check_args("sts_args", args, _STS_ARGS)


def check_session(session: object) -> None:
    """Refuse a session of another library, before anything is asked of it."""
    known = sys.modules.get(
        "aiobotocore.session"
    )  # whoever has one of its sessions has imported it
    if session is not None and not (known and isinstance(session, known.AioSession)):
        kind = f"{type(session).__module__}.{type(session).__name__}"
        message = f"session must be an aiobotocore.session.AioSession, not {kind}"
        raise TypeError(message)
