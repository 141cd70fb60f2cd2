"""The arguments of the four classes' constructors, and their checks before anything is opened."""

from __future__ import annotations

import difflib
import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from s1crets._values import conceal

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    args = options.get("cache_args")
    if not isinstance(args, Mapping) or "cache_key" not in args:
        return options
    return {**options, "cache_args": {**args, "cache_key": conceal(args["cache_key"])}}


def _unknown(name: str) -> str:
    for inner, known in (("cache_args", _CACHE_ARGS), ("sts_args", _STS_ARGS)):
        if name in known:
            return f"there is no option {name!r}: it belongs in {inner}={{{name!r}: ...}}"
    names = [*ProviderOptions.__annotations__, "region"]
    near = difflib.get_close_matches(name, names, n=1, cutoff=_ALIKE)
    if near == ["region"]:
        return f"there is no option {name!r}: the region is sts_args={{'aws_region': ...}}"
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names[:-1])}"
    return f"there is no option {name!r}: {hint}"


_ALIKE = 0.4  # how much, from 0 to 1, a name has to be like a known one to be taken for that
_PATH = (str, os.PathLike)
_CACHE_ARGS: Mapping[str, Any] = {
    "cache_size": int,
    "cache_ttl": (int, float),
    "cache_on_disk": bool,
    "key_cache_dir": _PATH,
    "path_cache_dir": _PATH,
    "cache_key": object,  # looked at where it is used
    "backend": object,
    "local_ttl": (int, float),
    "stale_for": (int, float),
    "refresh_ahead": (int, float),
    "jitter": (int, float),
    "namespace": str,
}
_STS_ARGS: Mapping[str, Any] = {
    "RoleArn": str,
    "RoleSessionName": str,
    "DurationSeconds": int,
    "ExternalId": str,
    "aws_region": str,
}
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "cache_size": (1, math.inf),
    "cache_ttl": (0, 10**9),
    "refresh_ahead": (0, 10**9),
    "stale_for": (0, 10**9),
    "local_ttl": (0, 10**9),
    "jitter": (0, 1),
    "DurationSeconds": (900, 43200),
    "retry": (1, math.inf),
    "timeout": (0.001, math.inf),
    "deadline": (0.001, math.inf),
    "max_connections": (1, math.inf),
}


def check_cache_args(args: Mapping[str, object]) -> None:
    """Refuse an unknown key (`TypeError`) and a value out of range (`ValueError`)."""
    _check("cache_args", args, _CACHE_ARGS)
    if args.get("cache_on_disk") and "backend" in args:
        raise ValueError("cache_args: cache_on_disk and backend exclude each other")
    if args.get("local_ttl") and "backend" not in args:
        raise ValueError("cache_args: local_ttl needs a backend: memory and disk are local")
    if args.get("refresh_ahead") and args["refresh_ahead"] >= args.get("cache_ttl", 900):  # type: ignore[operator]
        raise ValueError("cache_args: refresh_ahead must be less than cache_ttl")
    backend = args.get("backend")
    if backend is not None and not all(hasattr(backend, verb) for verb in ("get", "set", "delete")):
        raise TypeError("cache_args: backend must be an aiocache cache")


def check_sts_args(args: Mapping[str, object]) -> None:
    """Refuse an unknown key (`TypeError`) and a value out of range (`ValueError`)."""
    _check("sts_args", args, _STS_ARGS)


def check_numbers(**numbers: object) -> None:
    """Refuse a `retry`, `timeout`, `deadline` or `max_connections` that makes no sense."""
    for name, number in numbers.items():
        kind = (int, float) if name in ("timeout", "deadline") else int
        _check_type("", name, number, kind)
        _check_range("", name, number)


def check_session(session: object) -> None:
    """Refuse a session of another library, before anything is asked of it."""
    known = sys.modules.get(
        "aiobotocore.session"
    )  # whoever has one of its sessions has imported it
    if session is not None and not (known and isinstance(session, known.AioSession)):
        kind = f"{type(session).__module__}.{type(session).__name__}"
        message = f"session must be an aiobotocore.session.AioSession, not {kind}"
        raise TypeError(message)


def _check(where: str, args: Mapping[str, object], known: Mapping[str, Any]) -> None:
    if not isinstance(args, Mapping):
        message = f"{where} can't be {type(args).__name__}: it is a dict"
        raise TypeError(message)
    for name, value in args.items():
        if name not in known:
            near = _nearest(str(name), known)
            hint = f"did you mean {near}?" if near else f"known are {', '.join(known)}"
            message = f"{where} has no {name!r}: {hint}"
            raise TypeError(message)
        _check_type(f"{where}: ", name, value, known[name])
        _check_range(f"{where}: ", name, value)


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like `name`, of several the first; or nothing."""
    matcher = difflib.SequenceMatcher(b=name)

    def likeness(one: str) -> float:
        matcher.set_seq1(one)
        return matcher.ratio()

    best = max(known, key=likeness)
    return best if likeness(best) >= _ALIKE else ""


def _check_type(where: str, name: str, value: object, kind: Any) -> None:
    # A bool is an int to Python, but not to anybody who writes cache_size=True.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind not in (bool, object)):
        message = f"{where}{name} can't be {type(value).__name__}"
        raise TypeError(message)


def _check_range(where: str, name: str, value: Any) -> None:
    low, high = _BOUNDS.get(name, (-math.inf, math.inf))
    if name in _BOUNDS and not low <= value <= high:
        message = f"{where}{name} is {value}, and must be from {low} to {high}"
        raise ValueError(message)
    if name in ("RoleArn", "RoleSessionName", "aws_region", "namespace") and not value:
        message = f"{where}{name} is empty"
        raise ValueError(message)
