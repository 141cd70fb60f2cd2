"""Redaction: the only place that hides values from reprs, logs and tracebacks.

A value is wrapped in the public verb that receives it and unwrapped where the request is built, so
no frame between shows it in a traceback with locals.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from s1crets.errors import S1cretsError

R = TypeVar("R")


class Redacted:
    """A wrapper whose repr does not show its value; it can't be copied or pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def reveal(self) -> Any:
        """Return the value."""
        return self._value

    def __reduce__(self) -> str:
        raise TypeError("a redacted value can't be copied or pickled")


def redact(value: object) -> Redacted:
    """Wrap `value`, unless it is wrapped already."""
    return value if isinstance(value, Redacted) else Redacted(value)


async def stripped(work: Awaitable[R]) -> R:
    """Await `work`; strip the traceback of the exception or cancellation it ends with."""
    try:
        return await work
    except BaseException as error:  # noqa: BLE001  # it is raised again
        failed = error
    try:
        raise strip_traceback(failed)
    finally:
        del failed  # or the error and this frame would hold each other


RAISED_HERE = "It was raised here:"
"""The first line of the note that `strip_traceback` leaves."""


def strip_traceback(error: BaseException) -> BaseException:
    """Return `error` without frames and context. A bug keeps a note of its origin, no values."""
    if isinstance(error, S1cretsError):
        error.__context__ = error.__cause__  # whose frames were removed where it was raised
        return error.with_traceback(None)
    if isinstance(error, Exception):
        import traceback  # takes 10 ms; asyncio, whose tasks come here, has imported it

        origin = "".join(traceback.format_tb(error.__traceback__))
        vars(error).setdefault("__notes__", []).append(f"{RAISED_HERE}\n{origin}")
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
