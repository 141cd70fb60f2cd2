"""URLs of cache servers: what they mean, and that a password is shown nowhere."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import pytest

from s1crets import ConfigurationError
from s1crets._redaction import redact
from s1crets.cache.backends.server_url import _parsed, cache_server
from s1crets.providers.aws import AsyncParameterStore, ParameterStore
from s1crets.providers.files import Files

CANARY = "canary"


def parsed(url: str) -> tuple[Any, ...]:
    address = _parsed(redact(url))
    options = {
        name: value.reveal() if name in ("password", "ssl_password") else value
        for name, value in address.options.items()
    }
    return address.form, address.hosts, address.path, address.is_tls, options


@pytest.mark.parametrize(
    ("url", "meaning"),
    [
        ("redis://h", ("server", (("h", 6379),), "", False, {})),
        ("redis://h:1/", ("server", (("h", 1),), "", False, {})),
        ("redis://h:1/2?db=3", ("server", (("h", 1),), "", False, {"db": 2})),
        ("redis://[::1]:1", ("server", (("::1", 1),), "", False, {})),
        ("redis://:p%40%2F@h", ("server", (("h", 6379),), "", False, {"password": "p@/"})),
        ("redis://u@h", ("server", (("h", 6379),), "", False, {"username": "u"})),
        (
            "rediss://u:p@h?ssl_ca_certs=/ca%20.pem&ssl_check_hostname=False&ssl_password=x",
            (
                *("server", (("h", 6379),), "", True),
                {
                    "username": "u", "password": "p", "ssl_password": "x",
                    "ssl_ca_certs": "/ca .pem", "ssl_check_hostname": False,
                },
            ),
        ),
        (
            "redis://h?max_connections=3&socket_timeout=0.5&protocol=3&client_name=a@b",
            (
                *("server", (("h", 6379),), "", False),
                {"max_connections": 3, "socket_timeout": 0.5, "protocol": 3, "client_name": "a@b"},
            ),
        ),
        ("unix:///run/a%20b", ("socket", (), "/run/a b", False, {})),
        ("unix://u@/s?db=1", ("socket", (), "/s", False, {"db": 1, "username": "u"})),
        ("redis+cluster://a,b:2", ("cluster", (("a", 6379), ("b", 2)), "", False, {})),
        ("rediss+cluster://a/0", ("cluster", (("a", 6379),), "", True, {"db": 0})),
        ("redis+sentinel://a,b:2/s", ("sentinel", (("a", 26379), ("b", 2)), "s", False, {})),
        ("memcached://h", ("memcached", (("h", 11211),), "", False, {})),
    ],
)  # fmt: skip
def test_a_url_has_a_meaning(url: str, meaning: tuple[Any, ...]) -> None:
    """Hosts, ports, the path, and redis-py's parameters, of redis-py's types."""
    assert parsed(url) == meaning


INVALID = [
    ("localhost:6379", "must have the form"),
    ("redis:/h", "the schemes are redis, rediss"),
    ("redis://u:canary#@h", "must be percent-encoded"),
    ("redis://u:canary@@h", "must be percent-encoded"),
    ("redis://u:canary/@h", "must be percent-encoded"),
    ("redis://u:1?canary@h", "NAME=VALUE"),
    ("redis://u:1?canary=x@h", "unknown parameter: known are db"),
    ("redis://h?timeout=canary", "did you mean socket_timeout?"),
    ("redis://h?canary=x", "unknown parameter: known are db"),
    ("reddis://canary", "did you mean redis?"),
    ("http://canary", "unknown scheme: known are redis, rediss"),
    ("redis://", "must have a host"),
    ("redis://h:70000", "a port that is a number up to 65535"),
    ("redis://h:0", "a port that is a number up to 65535"),
    ("redis://h?db=canary", "invalid value of db"),
    ("redis://h?max_connections=0", "invalid value of max_connections"),
    ("redis://h?socket_timeout=0", "invalid value of socket_timeout"),
    ("redis://h?protocol=4", "invalid value of protocol"),
    ("redis://h?socket_keepalive=canary", "invalid value of socket_keepalive"),
    ("redis://h?ssl_ca_certs=canary", "unknown parameter: redis:// has no TLS"),
    ("rediss://h?ssl_cert_reqs=canary", "invalid value of ssl_cert_reqs"),
    ("redis://h/canary", "only the number of a database after redis://HOST:PORT/"),
    ("redis://a,b", "one host"),
    ("redis+cluster://h/1", "must not select a database"),
    ("redis+cluster://h?db=1", "must not select a database"),
    ("unix://canary/s", "must be unix:///PATH"),
    ("unix://", "must be unix:///PATH"),
    ("redis+sentinel://h", "must end with /SERVICE"),
    ("redis+sentinel://h/a/b", "must end with /SERVICE"),
    ("memcached://u:canary@h", "nothing but a host"),
    ("memcached://h?db=1", "nothing but a host"),
    ("memcached://h/1", "nothing after memcached://HOST:PORT/"),
]


@pytest.mark.parametrize(("url", "words"), INVALID)
@pytest.mark.parametrize("cls", [ParameterStore, AsyncParameterStore, Files])
def test_an_invalid_url_is_an_error_of_the_constructor(cls: Any, url: str, words: str) -> None:
    """It says what is wrong, and repeats nothing; neither does a traceback with locals."""
    with pytest.raises(ConfigurationError) as caught:
        cls(cache_args={"backend": url})

    assert words in str(caught.value)
    assert "the cache's URL" in str(caught.value)
    assert CANARY not in shown(caught.value)


def shown(error: BaseException) -> str:
    """Return a traceback with the locals of our frames."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    report.stack = traceback.StackSummary.from_list(
        [
            frame
            for frame in report.stack
            if "s1crets/" in frame.filename and "tests/" not in frame.filename
        ]
    )
    return "".join(report.format())


@pytest.mark.parametrize(("url", "extra"), [("redis://h", "redis"), ("memcached://h", "memcached")])
def test_a_missing_client_is_an_error_of_the_constructor(
    monkeypatch: pytest.MonkeyPatch, url: str, extra: str
) -> None:
    """It names the extra."""
    monkeypatch.delitem(sys.modules, f"s1crets.cache.backends.{extra}", raising=False)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.setitem(sys.modules, "aiomcache", None)
    with pytest.raises(ConfigurationError) as caught:
        ParameterStore(cache_args={"backend": url})

    assert f"pip install 's1crets[{extra}]'" in str(caught.value)


def test_a_password_is_not_shown() -> None:
    """Neither by what the URL leads to, nor by a provider."""
    url = f"rediss://u:{CANARY}@h:1/2?ssl_password={CANARY}&ssl_ca_certs=/{CANARY}"
    server = cache_server(redact(url))

    assert server.title == "rediss://h:1/2"
    assert (
        CANARY not in f"{vars(server)} {server!r} {ParameterStore(cache_args={'backend': url})!r}"
    )
