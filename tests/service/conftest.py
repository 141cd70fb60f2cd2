"""Fixtures of the tests with an AWS service."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["express", "botocore"])
def read_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test on both paths of a read: with the express path on and off."""
    is_on = request.param == "express"
    monkeypatch.setenv("S1CRETS_EXPRESS", str(int(is_on)))
    return str(request.param)
