"""URLs of cache servers: their parts, and which backend each scheme leads to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from s1crets._redaction import Redacted, redact, strip_traceback
from s1crets._validation import suggestion
from s1crets.cache.backends.base import CacheFactory
from s1crets.errors import ConfigurationError

_URL = re.compile(r"([a-z0-9+]+)://(?:([^@/?#]*)@)?([^@/?#]*)(/[^?#]*)?(?:\?([^#]*))?")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+)(?::([0-9]{1,5}))?")


class _Scheme(NamedTuple):
    """What a scheme means.

    Attributes:
        form: how the servers are organised.
        port: the default port.
        extra: the extra that installs the client.
        is_tls: whether connections are encrypted.
    """

    form: str
    port: int = 6379
    extra: str = "redis"
    is_tls: bool = False


_SCHEMES: Mapping[str, _Scheme] = {
    "redis": _Scheme("server"),
    "rediss": _Scheme("server", is_tls=True),
    "unix": _Scheme("socket"),
    "redis+cluster": _Scheme("cluster"),
    "rediss+cluster": _Scheme("cluster", is_tls=True),
    "redis+sentinel": _Scheme("sentinel", port=26379),
    "memcached": _Scheme("memcached", port=11211, extra="memcached"),
}


def _boolean(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    return words[text.lower()]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError
    return seconds


def _one_of(*words: str) -> Callable[[str], str]:
    return {word: word for word in words}.__getitem__


_PARAMETERS: Mapping[str, Callable[[str], Any]] = {
    "db": int,
    "username": str,
    "password": str,
    "client_name": str,
    "max_connections": _positive,
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "socket_keepalive": _boolean,
    "health_check_interval": int,
    "protocol": lambda text: int(_one_of("2", "3")(text)),
}
_TLS_PARAMETERS: Mapping[str, Callable[[str], Any]] = {
    "ssl_ca_certs": str,
    "ssl_ca_path": str,
    "ssl_ca_data": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_password": str,
    "ssl_cert_reqs": _one_of("none", "optional", "required"),
    "ssl_check_hostname": _boolean,
    "ssl_ciphers": str,
}


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a URL.

    Attributes:
        scheme: the part before `://`.
        title: the URL without user, password and parameters.
        form: `server`, `socket`, `cluster`, `sentinel` or `memcached`.
        hosts: hosts and ports.
        path: the socket's path, or Sentinel's name of the service.
        is_tls: whether connections are encrypted.
        options: user, password and parameters, named as redis-py names them.
    """

    scheme: str
    title: str
    form: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    is_tls: bool
    options: Mapping[str, Any] = field(repr=False)


def cache_server(url: Redacted, replicated_prefix: str = "") -> CacheFactory:
    """Return the function that opens a cache on the server of a URL, once per event loop.

    Args:
        url: see `s1crets.cache.options.CacheArgs`.
        replicated_prefix: see `s1crets.cache.backends.redis.RedisBackend`.

    Raises:
        ConfigurationError: the URL is not valid, or its client is not installed.
    """
    try:
        return _cache_server(_parsed(url), replicated_prefix)
    except ConfigurationError as error:
        problem = error
    raise strip_traceback(problem)  # its frames have the URL


def _cache_server(address: Address, replicated_prefix: str) -> CacheFactory:
    scheme = _SCHEMES[address.scheme]
    try:
        if scheme.form == "memcached":
            from s1crets.cache.backends.memcached import MemcachedServer

            return MemcachedServer(address)
        from s1crets.cache.backends.redis import RedisServer
    except ImportError:
        raise _invalid(
            f"needs the extra `{scheme.extra}`: pip install 's1crets[{scheme.extra}]'"
        ) from None
    return RedisServer(address, replicated_prefix)


def _invalid(problem: str) -> ConfigurationError:
    return ConfigurationError(f"the cache's URL {problem}")


def _parsed(url: Redacted) -> Address:
    """Return the parts of a URL, and its title. No message repeats anything after the scheme."""
    match = _URL.fullmatch(url.reveal())
    if match is None:
        raise _invalid(
            f"must have the form SCHEME://USER:PASSWORD@HOST:PORT/…; the schemes are"
            f" {', '.join(_SCHEMES)}; special characters in the user and the password must be"
            " percent-encoded"
        )
    name, user, netloc, path, query = (part or "" for part in match.groups())
    if name not in _SCHEMES:
        raise _invalid(f"has an unknown scheme: {suggestion(name, _SCHEMES)}")
    scheme = _SCHEMES[name]
    options = _options(name, scheme, query)
    if user:
        options["username"], _, options["password"] = map(unquote, user.partition(":"))
    hosts, rest = _place(name, scheme, netloc, unquote(path), options)
    secret = ("password", "ssl_password")
    options = {
        option: redact(value) if option in secret else value
        for option, value in options.items()
        if value != ""
    }
    if scheme.form == "memcached" and options:
        raise _invalid(
            "must have nothing but a host, as all of memcached://: no user, password or parameters"
        )
    title = f"{name}://{netloc}{path}"
    return Address(name, title, scheme.form, hosts, rest, scheme.is_tls, options)


def _options(name: str, scheme: _Scheme, query: str) -> dict[str, Any]:
    """Return the parameters of a URL, of the types that redis-py demands."""
    known = {**_PARAMETERS, **(_TLS_PARAMETERS if scheme.is_tls else {})}
    options = {}
    try:
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise _invalid("must have parameters of the form NAME=VALUE, separated by &") from None
    for parameter, text in given:
        if parameter not in known:
            tls = parameter in _TLS_PARAMETERS
            hint = f"{name}:// has no TLS" if tls else suggestion(parameter, known)
            raise _invalid(f"has an unknown parameter: {hint}")
        try:
            options[parameter] = known[parameter](text)
        except (ValueError, KeyError):
            raise _invalid(f"has an invalid value of {parameter}") from None
    return options


def _place(
    name: str, scheme: _Scheme, netloc: str, path: str, options: dict[str, Any]
) -> tuple[tuple[tuple[str, int], ...], str]:
    """Return hosts and path; a path that is a number of a database becomes an option."""
    if scheme.form == "socket":
        if netloc or path in ("", "/"):
            raise _invalid("must be unix:///PATH: the path of a socket, and no host")
        return (), path
    matches = [_HOST.fullmatch(host) for host in netloc.split(",")]
    if len(matches) > 1 and scheme.form not in ("cluster", "sentinel"):
        raise _invalid(f"must have one host, as all of {name}://")
    hosts = [(one[1].strip("[]"), int(one[2] or scheme.port)) for one in matches if one]
    if len(hosts) < len(matches) or not all(0 < port < 65536 for _, port in hosts):  # noqa: PLR2004
        raise _invalid(
            "must have a host, and a port that is a number up to 65535; special characters"
            " in the user and the password must be percent-encoded"
        )
    path = path.strip("/")
    if scheme.form == "sentinel":
        if not path or "/" in path:
            raise _invalid("must end with /SERVICE: the name that Sentinel monitors")
        return tuple(hosts), path
    if path and (scheme.form == "memcached" or not path.isdecimal()):
        wanted = "nothing" if scheme.form == "memcached" else "only the number of a database"
        raise _invalid(f"must have {wanted} after {name}://HOST:PORT/")
    if path:
        options["db"] = int(path)
    if scheme.form == "cluster" and options.get("db"):
        raise _invalid("must not select a database: a cluster has one")
    return tuple(hosts), ""
