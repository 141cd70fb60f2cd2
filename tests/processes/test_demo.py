"""The demo (`make demo`): it shows what it promises, and fails if a promise is not kept."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from _support.scripts import unmeasured

DEMO = Path(__file__).parents[2] / "benchmarks/demo.py"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the names of the module; settings of the machine must not matter."""
    settings = {"AWS_PROFILE": "none", "S1CRETS_CACHE_URL": "redis://none", "AWS_MAX_ATTEMPTS": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for name in os.environ.keys() - unmeasured():
        monkeypatch.delenv(name)
    main = runpy.run_path(str(DEMO))["main"]
    names: dict[str, Any] = main.__globals__
    return names


def test_the_demo_shows_each_promise(
    demo: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """In lines that fit a terminal, without colours in a file; a warning is part of its step."""
    environment = dict(os.environ)

    assert demo["main"](["--names=3", "--processes=2", "--latency=1"]) == 0
    out, err = capfd.readouterr()
    _, *steps = re.split(r"^\d\. ", out, flags=re.MULTILINE)
    summary = out.partition("In short")[2].partition("Read on:")[0].splitlines()[1:-1]
    warning = next(number for number, step in enumerate(steps) if "WARNING" in step)

    assert len(steps) == 7
    assert len(summary) == 5
    assert steps[warning].startswith("Take AWS down")
    assert all("boto3  " in step for step in steps[:-1])
    assert "requested from AWS: 3 instead of 6" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "\033" not in out
    assert all((DEMO.parents[1] / page).is_file() for page in re.findall(r"docs/\S+", out))
    assert [line[:10] for line in err.splitlines()] == ["s1crets: P", "  hint: ch"]
    assert dict(os.environ) == environment


def test_a_fleet_that_fetches_twice_is_a_failure(
    demo: dict[str, Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is 1, and the last line says how many names were requested."""
    monkeypatch.setattr(demo["Demo"], "run", demo["Demo"].start_a_fleet)
    demo["_MEMBER"] = demo["_BOTO3_MEMBER"].replace("[2:]", "[2:] * 2")  # which has no cache

    assert demo["main"](["--names=1", "--processes=1", "--latency=1"]) == 1
    assert "1 secrets are requested once, not 2 times" in capfd.readouterr().out.splitlines()[-1]
