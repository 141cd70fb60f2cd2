"""Frameworks are imported only by their own integrations, which say what to install."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from s1crets.errors import ConfigurationError

FRAMEWORKS = ("aiohttp", "fastapi", "opentelemetry", "pydantic", "pydantic_settings")


def test_a_plain_import_imports_no_framework() -> None:
    """And `s1crets.integrations.aiohttp` does not import FastAPI."""
    script = f"""
import sys, s1crets, s1crets.integrations
print([name for name in {FRAMEWORKS} if name in sys.modules])
import s1crets.integrations.aiohttp
print("fastapi" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\nFalse\n"


@pytest.mark.parametrize(
    ("integration", "package", "extra"),
    [
        ("fastapi", "fastapi", "fastapi"),
        ("opentelemetry", "opentelemetry", "otel"),
        ("pydantic_settings", "pydantic_settings", "settings"),
    ],
)
def test_a_missing_framework(
    monkeypatch: pytest.MonkeyPatch, integration: str, package: str, extra: str
) -> None:
    """The error names the extra to install."""
    name = f"s1crets.integrations.{integration}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=rf"pip install 's1crets\[{extra}\]'"):
        importlib.import_module(name)
