"""Named sentinels for "not given" and "nothing there", since `None` is a legal value of both."""

from __future__ import annotations

import enum
from typing import Final


class Unset(enum.Enum):
    """The type of `UNSET`: this argument was not given."""

    UNSET = enum.auto()

    def __repr__(self) -> str:
        return "UNSET"


class Missing(enum.Enum):
    """The type of `MISSING`: there is nothing there."""

    MISSING = enum.auto()


UNSET: Final = Unset.UNSET
MISSING: Final = Missing.MISSING
