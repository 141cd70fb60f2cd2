"""The constructor options that every provider has, and their validation."""

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

    from s1crets.cache.options import CacheArgs

T = TypeVar("T", bound=Mapping[str, Any])


class SimpleOptions(TypedDict, total=False):
    """The keyword arguments of every provider.

    Attributes:
        cache_args: what is cached, where, and how long.
        deadline: seconds that a public call may take in total, None for no limit; 60.0.
    """

    cache_args: CacheArgs
    deadline: float | None


def redact_options(options: T) -> T:
    """Return the same options with a redacted `cache_key`, for tracebacks that show locals."""
    args = options.get("cache_args")
    if not isinstance(args, Mapping) or "cache_key" not in args:
        return options
    return {**options, "cache_args": {**args, "cache_key": redact(args["cache_key"])}}  # type: ignore[return-value]  # the same keys


_SIMILAR = 0.4  # ratio from which a known name is suggested
_PATH = (str, os.PathLike)
CACHE_ARGS: Mapping[str, Any] = {
    "cache_size": int,
    "cache_ttl": (int, float),
    "cache_on_disk": bool,
    "key_cache_dir": _PATH,
    "path_cache_dir": _PATH,
    "cache_key": object,  # checked where it is used
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
_NOT_EMPTY = ("RoleArn", "RoleSessionName", "aws_region", "namespace")


def check_cache_args(args: Mapping[str, object]) -> None:
    """Reject unknown keys and wrong types (`TypeError`), and values out of range (`ValueError`)."""
    check_args("cache_args", args, CACHE_ARGS)
    if args.get("cache_on_disk") and "backend" in args:
        raise ValueError("cache_args: cache_on_disk and backend exclude each other")
    if args.get("local_ttl") and "backend" not in args:
        raise ValueError("cache_args: local_ttl needs a backend: memory and disk are local")
    if args.get("refresh_ahead") and args["refresh_ahead"] >= args.get("cache_ttl", 900):  # type: ignore[operator]
        raise ValueError("cache_args: refresh_ahead must be less than cache_ttl")
    if "backend" in args:
        from aiocache.base import BaseCache  # takes a while

        if not isinstance(args["backend"], BaseCache) and not callable(args["backend"]):
            raise TypeError(
                "cache_args: backend must be an aiocache cache, or a function that returns one"
            )


def check_numbers(**numbers: object) -> None:
    """Reject a `retry`, `timeout`, `deadline` or `max_connections` that is not valid."""
    for name, number in numbers.items():
        kind = (int, float) if name in ("timeout", "deadline") else int
        _check_type("", name, number, kind)
        _check_range("", name, number)


def checked_cache_args(cls: type, options: SimpleOptions, default_ttl: float) -> CacheArgs:
    """Return the `cache_args` of a subclass of `AsyncSimpleProvider`, all options checked."""
    for name in options:
        if name not in SimpleOptions.__annotations__:
            hint = f"it belongs in cache_args={{{name!r}: ...}}" if name in CACHE_ARGS else ""
            named = inspect.signature(cls).parameters.values()
            known = [option.name for option in named if option.kind is not option.VAR_KEYWORD]
            known += SimpleOptions.__annotations__
            message = f"{cls.__name__} has no option {name!r}: {hint or _suggestion(name, known)}"
            raise TypeError(message)
    deadline, given = options.get("deadline"), options.get("cache_args")
    if deadline is not None:
        check_numbers(deadline=deadline)
    given = {} if given is None else given
    args: Any = {"cache_ttl": default_ttl, **given} if isinstance(given, Mapping) else given
    check_cache_args(args)
    found: CacheArgs = args
    return found


def check_shared_cache(service: str, args: Mapping[str, Any]) -> None:
    """Reject a cache outside the process if its entries have no owner.

    Raises:
        ConfigurationError: there is such a cache, and no namespace.
    """
    if (args.get("cache_on_disk") or "backend" in args) and "namespace" not in args:
        message = (
            f"{service} can't be cached outside the process: nothing distinguishes it from other"
            " stores of its kind; give a namespace in cache_args, or implement `identity`"
        )
        raise ConfigurationError(message)


def check_args(where: str, args: Mapping[str, object], known: Mapping[str, Any]) -> None:
    """Reject unknown keys and wrong types (`TypeError`), and values out of range (`ValueError`)."""
    if not isinstance(args, Mapping):
        message = f"{where} must be a dict, not {type(args).__name__}"
        raise TypeError(message)
    for name, value in args.items():
        if name not in known:
            message = f"{where} has no {name!r}: {_suggestion(str(name), known)}"
            raise TypeError(message)
        _check_type(f"{where}: ", name, value, known[name])
        _check_range(f"{where}: ", name, value)


def _check_type(where: str, name: str, value: object, kind: Any) -> None:
    # bool is a subclass of int, but cache_size=True is a mistake.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind not in (bool, object)):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = " or ".join(each.__name__ for each in kinds)
        message = f"{where}{name} must be {wanted}, not {type(value).__name__}"
        raise TypeError(message)


def _check_range(where: str, name: str, value: Any) -> None:
    low, high = _BOUNDS.get(name, (-math.inf, math.inf))
    if name in _BOUNDS and not low <= value <= high:
        message = f"{where}{name} must be from {low} to {high}, not {value}"
        raise ValueError(message)
    if name in _NOT_EMPTY and not value:
        message = f"{where}{name} is empty"
        raise ValueError(message)


def _suggestion(name: str, known: Iterable[str]) -> str:
    """Return a hint: the known name that is most similar to `name`, or all known names."""
    known = list(known)
    matcher = difflib.SequenceMatcher(b=name)

    def similarity(candidate: str) -> float:
        matcher.set_seq1(candidate)
        return matcher.ratio()

    best = max(known, key=similarity)
    if similarity(best) >= _SIMILAR:
        return f"did you mean {best}?"
    return f"known are {', '.join(known)}"
