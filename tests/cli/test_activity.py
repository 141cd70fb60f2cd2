"""--debug, and progress bars: what a provider does, on stderr."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from _support.command import PS, run
from _support.wire import Wire, parameter, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CANARY = "canary-77e0"


def debugged(*args: str) -> list[str]:
    """Return what --debug reports, without times; it has no value."""
    done = run(*args, "--debug")
    lines = done.stderr.decode().splitlines()
    assert CANARY not in done.stderr.decode()
    assert all(
        re.match(r"s1crets: debug: \d+\.\d{3} s  ", line) for line in lines if "debug" in line
    )
    return [
        re.sub(r"\d+ ms", "N ms", line.partition(" s  ")[2]) for line in lines if "debug" in line
    ]


def test_requests_and_what_the_cache_answers(scripted: Wire, tmp_path: Path) -> None:
    """With names and times, and what the log has below a warning. A hit sends no request."""
    scripted.answers["GetSecretValue"] = {"SecretString": CANARY}
    command = ("get", "prod/db", "--cache-dir", str(tmp_path / "cache"))
    called, identity, *others = debugged(*command)

    assert called == "get 'prod/db': not answered by a local cache"
    assert identity.startswith("the caller's identity is unknown")  # from the log
    assert others == [
        "request sent",
        "GetSecretValue 'prod/db': done after N ms",
        "get 'prod/db': done after N ms",
        "cache: 0 hits, 1 misses",
        "requests: 1 GetSecretValue; 0 retries, 0 throttled",
        "region: eu-west-1",
    ]
    assert debugged(*command) == [
        "cache: 1 hits, 0 misses",
        "requests: none; 0 retries, 0 throttled",
        "region: none",
    ]


def test_failures_of_a_batch(scripted: Wire) -> None:
    """Each name has its error; long lists of names are cut."""
    scripted.answers = {
        "GetParameters": refusal("AccessDeniedException"),
        "GetParameter": lambda asked: (
            refusal("ParameterNotFound")
            if asked.body["Name"] == "/n1"
            else parameter(asked.body["Name"], CANARY)
        ),
    }
    names = [part for number in range(7) for part in ("--secret", f"/n{number}")]
    lines = debugged("check", *PS, *names)

    assert lines[0] == (
        "get_many '/n0', '/n1', '/n2', '/n3', '/n4' and 2 more: not answered by a local cache"
    )
    assert "GetParameter '/n1': SecretNotFoundError after N ms" in lines
    assert "get_many '/n1': SecretNotFoundError" in lines


def test_retries_and_throttling(scripted: Wire) -> None:
    """Each one."""
    answers = iter([refusal("ThrottlingException"), parameter("/a", CANARY)])
    scripted.answers["GetParameter"] = lambda _: next(answers)
    lines = debugged("get", *PS, "/a")

    assert lines[1:4] == ["request sent", "request throttled", "request sent again"]
    assert "requests: 2 GetParameter; 1 retries, 1 throttled" in lines


def test_requests_are_counted_on_a_terminal(
    bars: None, scripted: Wire, on_terminal: Callable[..., str]
) -> None:
    """How many there will be is not known. The bar is gone before anything else is written."""
    pages = iter(["2", "3", None])
    found = parameter("/a/b", CANARY)["Parameter"]
    scripted.answers["GetParametersByPath"] = lambda _: {
        "Parameters": [found], "NextToken": next(pages),
    }  # fmt: skip
    shown = on_terminal("stderr", "get-by-path", *PS, "/a")

    assert "requests  [" in shown
    assert "]  3" in shown
    assert shown.endswith("\r\033[K\033[?25h")


def test_a_bar_is_gone_before_a_message(
    bars: None, scripted: Wire, on_terminal: Callable[..., str]
) -> None:
    """The message begins a line."""
    scripted.answers["GetParameter"] = refusal("ParameterNotFound")

    assert "\033[K\033[?25hs1crets: " in on_terminal("stderr", "get", *PS, "/a", code=3)


def test_no_bar_in_the_first_second(scripted: Wire, on_terminal: Callable[..., str]) -> None:
    """Nor in a pipe."""
    scripted.answers["GetParameter"] = parameter("/a", CANARY)

    assert on_terminal("stderr", "get", *PS, "/a") == ""


def test_no_bar_in_a_pipe(bars: None, scripted: Wire) -> None:
    """It would be part of the messages."""
    scripted.answers["GetParameter"] = parameter("/a", CANARY)

    assert run("get", *PS, "/a").stderr == b""
