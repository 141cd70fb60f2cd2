"""Fixtures for the documentation."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Set back the level of all logging, which examples of settings set."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
