"""The pytest plugin: the fixture `s1crets_aws`, there as soon as s1crets is installed.

```python
def test_it_reads_the_password(s1crets_aws):
    s1crets_aws.seed({"aws.ps": {"/prod/db": {"password": "fake"}}})

    assert s1crets.get("aws.ps", "/prod/db", "password") == "fake"
```
For all tests, or with values of their own, in `conftest.py`:

```python
@pytest.fixture(autouse=True)
def aws(s1crets_aws):
    s1crets_aws.seed("tests/secrets.json")
    return s1crets_aws
```
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s1crets.testing import LoopbackAws


@pytest.fixture(scope="session")
def _s1crets_aws() -> Iterator[LoopbackAws]:
    from s1crets.testing import loopback_aws

    with pytest.MonkeyPatch.context() as patch:
        _forget_machine(patch)  # moto has a session of boto3's, which looks at the profile
        with loopback_aws() as aws:
            patch.undo()
            yield aws


@pytest.fixture
def s1crets_aws(
    _s1crets_aws: LoopbackAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LoopbackAws]:
    """An empty AWS on loopback, which this process and its children use; gone after the test.

    Nothing of this machine's AWS settings is seen, no cache of this user's is read, and the
    providers of `s1crets.get` and its like are made anew.
    """
    from s1crets.providers import reset

    reset()
    _forget_machine(monkeypatch)
    settings = {**_s1crets_aws.environment, "XDG_CACHE_HOME": str(tmp_path / "s1crets-cache")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    yield _s1crets_aws
    reset()
    _s1crets_aws.reset()


def _forget_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("S1CRETS_CACHE_KEY", raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
