"""Pytest plugin with the fixture `s1crets_aws`; it is active as soon as s1crets is installed.

```python
def test_it_reads_the_password(s1crets_aws):
    s1crets_aws.seed({"aws.ps": {"/prod/db": {"password": "fake"}}})

    assert s1crets.get("aws.ps", "/prod/db", "password") == "fake"
```
For all tests, in `conftest.py`:

```python
@pytest.fixture(autouse=True)
def aws(s1crets_aws):
    s1crets_aws.seed("tests/secrets.json")
    return s1crets_aws
```
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from s1crets.testing import LocalAws


@pytest.fixture(scope="session")
def _s1crets_aws() -> Iterator[LocalAws]:
    from s1crets.testing import local_aws

    with pytest.MonkeyPatch.context() as patch:
        isolate(patch)  # moto creates a boto3 session, which reads the profile
        with local_aws() as aws:
            patch.undo()
            yield aws


@pytest.fixture
def s1crets_aws(
    _s1crets_aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalAws]:
    """An empty local AWS, used by this process and its children until the test ends.

    The machine's AWS settings and the user's disk cache are hidden. All providers that exist are
    emptied and closed, such as those of an application's modules: they read the test's values.
    """
    from s1crets._sync import start_afresh
    from s1crets.providers import reset

    reset()
    isolate(monkeypatch)
    settings = {**_s1crets_aws.environment, "XDG_CACHE_HOME": str(tmp_path / "s1crets-cache")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    start_afresh()
    _s1crets_aws.reset()  # also what was requested on the way
    yield _s1crets_aws
    reset()
    start_afresh()
    _s1crets_aws.reset()


def isolate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this machine's AWS settings."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("S1CRETS_CACHE_KEY", raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
