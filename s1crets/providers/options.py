"""The arguments that every provider's constructor takes, and their checks."""

from __future__ import annotations

import difflib
import inspect
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from s1crets._redaction import redact
from s1crets.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s1crets.cache import CacheArgs

_T = TypeVar("_T", bound=Mapping[str, Any])


class SimpleOptions(TypedDict, total=False):
    """The keyword arguments of every provider.

    Attributes:
        cache_args: what to keep, where, for how long.
        deadline: seconds that one public call may take in all, None for no bound; 60.0.
    """

    cache_args: CacheArgs
    deadline: float | None


def boxed(options: _T) -> _T:
    """Return the same options with the `cache_key` in a box, for tracebacks that show locals."""
    args = options.get("cache_args")
    if not isinstance(args, Mapping) or "cache_key" not in args:
        return options
    return {**options, "cache_args": {**args, "cache_key": redact(args["cache_key"])}}  # type: ignore[return-value]  # the same keys


_ALIKE = 0.4  # how much, from 0 to 1, a name has to be like a known one to be taken for that
_BACKENDS = ("get", "set", "delete", "multi_get")  # what tells aiocache's from others' caches
_PATH = (str, os.PathLike)
CACHE_ARGS: Mapping[str, Any] = {
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
    check_args("cache_args", args, CACHE_ARGS)
    if args.get("cache_on_disk") and "backend" in args:
        raise ValueError("cache_args: cache_on_disk and backend exclude each other")
    if args.get("local_ttl") and "backend" not in args:
        raise ValueError("cache_args: local_ttl needs a backend: memory and disk are local")
    if args.get("refresh_ahead") and args["refresh_ahead"] >= args.get("cache_ttl", 900):  # type: ignore[operator]
        raise ValueError("cache_args: refresh_ahead must be less than cache_ttl")
    backend = args.get("backend")
    if backend is not None and not all(hasattr(backend, verb) for verb in _BACKENDS):
        raise TypeError("cache_args: backend must be an aiocache cache")


def check_numbers(**numbers: object) -> None:
    """Refuse a `retry`, `timeout`, `deadline` or `max_connections` that makes no sense."""
    for name, number in numbers.items():
        kind = (int, float) if name in ("timeout", "deadline") else int
        _check_type("", name, number, kind)
        _check_range("", name, number)


def checked_cache_args(cls: type, options: SimpleOptions, default_ttl: float) -> CacheArgs:
    """Return the `cache_args` of a class made of `AsyncSimpleProvider`, all options checked."""
    for name in options:
        if name not in SimpleOptions.__annotations__:
            hint = f"it belongs in cache_args={{{name!r}: ...}}" if name in CACHE_ARGS else ""
            named = inspect.signature(cls).parameters.values()
            known = [one.name for one in named if one.kind is not one.VAR_KEYWORD]
            known += SimpleOptions.__annotations__
            message = f"{cls.__name__} has no option {name!r}: {hint or _near(name, known)}"
            raise TypeError(message)
    deadline, given = options.get("deadline"), options.get("cache_args")
    if deadline is not None:
        check_numbers(deadline=deadline)
    given = {} if given is None else given
    args: Any = {"cache_ttl": default_ttl, **given} if isinstance(given, Mapping) else given
    check_cache_args(args)
    found: CacheArgs = args
    return found


def check_outside(service: str, args: Mapping[str, Any]) -> None:
    """Refuse a cache outside of the process where nothing tells whose entries are meant.

    Raises:
        ConfigurationError: there is one, and no namespace.
    """
    if (args.get("cache_on_disk") or "backend" in args) and "namespace" not in args:
        message = (
            f"{service} can't be cached outside of the process: nothing tells it from other stores"
            " of its kind; give a namespace in cache_args, or let its class have an `identity`"
        )
        raise ConfigurationError(message)


def check_args(where: str, args: Mapping[str, object], known: Mapping[str, Any]) -> None:
    """Refuse an unknown key (`TypeError`) and a value out of range (`ValueError`)."""
    if not isinstance(args, Mapping):
        message = f"{where} can't be {type(args).__name__}: it is a dict"
        raise TypeError(message)
    for name, value in args.items():
        if name not in known:
            message = f"{where} has no {name!r}: {_near(str(name), known)}"
            raise TypeError(message)
        _check_type(f"{where}: ", name, value, known[name])
        _check_range(f"{where}: ", name, value)


def _check_type(where: str, name: str, value: object, kind: Any) -> None:
    # A bool is an int to Python, but not to anybody who writes cache_size=True.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind not in (bool, object)):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = " or ".join(one.__name__ for one in kinds)
        message = f"{where}{name} can't be {type(value).__name__}: it is {wanted}"
        raise TypeError(message)


def _check_range(where: str, name: str, value: Any) -> None:
    low, high = _BOUNDS.get(name, (-math.inf, math.inf))
    if name in _BOUNDS and not low <= value <= high:
        message = f"{where}{name} is {value}, and must be from {low} to {high}"
        raise ValueError(message)
    if name in ("RoleArn", "RoleSessionName", "aws_region", "namespace") and not value:
        message = f"{where}{name} is empty"
        raise ValueError(message)


def _near(name: str, known: Iterable[str]) -> str:
    """Return a hint: the known name that is most like `name`, of several the first; or all."""
    known = list(known)
    matcher = difflib.SequenceMatcher(b=name)

    def likeness(one: str) -> float:
        matcher.set_seq1(one)
        return matcher.ratio()

    best = max(known, key=likeness)
    return f"did you mean {best}?" if likeness(best) >= _ALIKE else f"known are {', '.join(known)}"
