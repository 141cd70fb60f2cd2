"""Keeps what AWS is told and answers out of the logs, at DEBUG too.

botocore logs bodies, parsed responses and signing headers. Only the records of our own calls are
dropped: other users of botocore in the process keep their logs as they are.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ours: ContextVar[bool] = ContextVar("s1crets_call", default=False)
_TALKATIVE = (
    "aiobotocore.credentials",
    "aiobotocore.endpoint",
    "aiobotocore.hooks",
    "aiobotocore.parsers",
    "aiobotocore.regions",
    "botocore.auth",
    "botocore.credentials",
    "botocore.endpoint",
    "botocore.hooks",
    "botocore.httpsession",
    "botocore.parsers",
    "botocore.regions",
    "botocore.retryhandler",
)


def _not_ours(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not _ours.get()


for _name in _TALKATIVE:
    logging.getLogger(_name).addFilter(_not_ours)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop the DEBUG records that botocore makes of what is done inside."""
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)
