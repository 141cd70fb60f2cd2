"""Keeps secrets out of botocore's logs at DEBUG level: bodies, parsed responses, signing headers.

Only records of our own calls are dropped. Other users of botocore in the process keep their logs.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_is_ours: ContextVar[bool] = ContextVar("s1crets_call", default=False)
_LOGGERS = (
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


def _passes(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not _is_ours.get()


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_passes)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop botocore's DEBUG records inside this block."""
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)
