"""OpenTelemetry for a provider: metrics and spans. Needs the extra `otel`.

```python
from s1crets.integrations.opentelemetry import instrument

instrument(ParameterStore())
```
A hit costs nothing more: it makes no span, and the numbers are read when they are collected.

Metrics count from `instrument` on. All have the attributes `s1crets.provider` (`aws.ps` or
`aws.sm`, or the name of the class of another one) and, once it is known, `cloud.region`. Histograms
are of seconds.

- `s1crets.cache.hits`, `s1crets.cache.misses`, `s1crets.cache.stale`, as in `stats`.
- `s1crets.requests`: every page and every attempt, by `rpc.service` and `rpc.method`.
- `s1crets.throttles`, `s1crets.retries`: by `rpc.service`.
- `rpc.client.call.duration`: an operation of AWS with its pages and attempts, by `rpc.service`,
  `rpc.method` and `error.type`.
- `s1crets.call.duration`: a call that a local cache did not answer, by `s1crets.method` and
  `error.type`.

Spans:

- `s1crets.get` and its like: a call that a local cache did not answer, or one that writes or lists.
  `s1crets.name_count` says how many names it is about (of `get_many`, those that were not in the
  cache), `s1crets.error_count` how many of those failed, `s1crets.stale` that an expired value was
  served.
- `SSM.GetParameter` and its like: an operation of AWS, with the name and the attributes of the
  conventions for AWS SDKs. `s1crets.requests` says how many requests it took, of which
  `s1crets.retries` were repetitions and `s1crets.throttles` were refused as too many. There is none
  of what is asked to assume a role, or to find out whose a cache is.

The span of an operation is a child of the call that waits for it. Where several calls do, as their
names are asked for together or they want the same, it is a root, linked with each of them in both
directions. A call that joins later is linked as well. A refresh ahead of expiry is a root without
links: nobody waits for it.

Of an error only the class is told (`error.type`), as messages have names in them. What was
cancelled has that type, but no error status. Where `path_exists` is false there is no error, and
where `get` returns a default there is one.
"""

from __future__ import annotations

import hmac
import weakref
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from s1crets._sync import Facade
from s1crets.errors import ConfigurationError
from s1crets.providers.base import AsyncProvider
from s1crets.providers.observing import Observer

try:
    from s1crets.integrations._otel_metrics import Source, metrics_of
    from s1crets.integrations._otel_spans import Spans
except ImportError:
    raise ConfigurationError(
        "OpenTelemetry needs the extra `otel`: pip install 's1crets[otel]'"
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["Instrumentation", "instrument"]

_HASH = 16  # hex digits
_SERVICES = {"Parameter Store": ("aws.ps", "SSM"), "Secrets Manager": ("aws.sm", "Secrets Manager")}


class Instrumentation:
    """What `instrument` returns: it can be undone, also by leaving a `with`."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def uninstrument(self) -> None:
        """Make no more spans and count no further; what was counted stays."""
        self._source.end()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Undo it."""
        self.uninstrument()


def instrument(
    provider: AsyncProvider | Facade[Any],
    *,
    names: Literal["omit", "hash"] = "omit",
    key: str | bytes | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Instrumentation:
    """Make metrics and spans of what a provider does from now on.

    A facade and the async provider behind it are one. Providers of the same service and region are
    counted together. One that is garbage collected goes, and what it counted stays.

    Args:
        provider: of either flavour; that of `s1crets.get` and its like is
            `s1crets.providers.provider('aws.ps')`.
        names: `"hash"` puts hashes of secrets' names into spans, as `s1crets.names`: 64 bits of an
            HMAC-SHA-256, in hex. Names are in nothing that is exported otherwise.
        key: of the hashes. Names can be guessed, so without one anybody could tell which they are.
            The same key makes the same hashes everywhere.
        tracer_provider: where spans go; the global one.
        meter_provider: where metrics go; the global one.

    Raises:
        TypeError: that is no provider, or no key.
        ConfigurationError: a `ValueError`: it is instrumented already, or `names` and `key` do not
            go together.
    """
    hashed = _hasher(names, key)
    del key  # or a traceback would show it
    awaited = provider.awaited if isinstance(provider, Facade) else provider
    if not isinstance(awaited, AsyncProvider):
        message = f"instrument takes a provider, not {type(provider).__name__}"
        raise TypeError(message)
    counters = awaited.counters
    if type(counters.observer) is not Observer:
        message = f"{provider!r} is instrumented already: undo that first, with uninstrument()"
        raise ConfigurationError(message)
    kind = type(awaited).__name__.removeprefix("Async")  # of another store, which has no such name
    source = Source(counters, *_SERVICES.get(awaited.service, (kind, kind)))
    metrics = metrics_of(meter_provider)
    metrics.add(source)
    counters.observer = Spans(source, metrics, tracer_provider, hashed)
    # The source does not keep the provider alive, and has what is counted when that is gone.
    weakref.finalize(awaited, source.end).atexit = False
    return Instrumentation(source)


def _hasher(names: object, key: str | bytes | None) -> Callable[[str], str] | None:
    """Return what makes hashes of names, or None where names are omitted."""
    if names not in ("omit", "hash"):
        raise ConfigurationError("names is 'omit' or 'hash'")
    if key is not None and not isinstance(key, (str, bytes)):
        message = f"key can't be {type(key).__name__}: it is text or bytes"
        raise TypeError(message)
    if names == "omit":
        if key is not None:
            raise ConfigurationError("key goes with names='hash'")
        return None
    if not key:
        raise ConfigurationError(
            "names='hash' needs a key: without one, whoever guesses a name can tell its hash"
        )
    keyed = hmac.new(key.encode() if isinstance(key, str) else key, digestmod=sha256)

    def hashed(name: str) -> str:
        one = keyed.copy()
        one.update(name.encode())
        return one.hexdigest()[:_HASH]

    return hashed
