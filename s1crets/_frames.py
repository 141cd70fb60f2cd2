"""What an error shows: not the frames that it came through, as secrets stand in their locals."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, TypeVar

from s1crets.errors import S1cretsError

if TYPE_CHECKING:
    from collections.abc import Awaitable

R = TypeVar("R")


async def without_frames(work: Awaitable[R]) -> R:
    """Return what `work` returns; what it raises, a cancellation too, comes without its frames."""
    try:
        return await work
    except BaseException as error:  # noqa: BLE001  # it is raised again
        failed = error
    try:
        raise bare(failed)
    finally:
        del failed  # or the error and this frame would hold each other


def bare(error: BaseException) -> BaseException:
    """Return `error` without frames and context. A note says where a bug is, without values."""
    if isinstance(error, S1cretsError):
        error.__context__ = error.__cause__  # which has none already
        return error.with_traceback(None)
    if isinstance(error, Exception):
        where = "".join(traceback.format_tb(error.__traceback__))
        vars(error).setdefault("__notes__", []).append(f"It was raised here:\n{where}")
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
