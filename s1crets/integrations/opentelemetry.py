"""OpenTelemetry for a provider: metrics and spans. Needs the extra `otel`.

```python
from s1crets.integrations.opentelemetry import instrument

instrument(ParameterStore())
```
A cache hit costs nothing extra: it creates no span, and counters are read when they are collected.

Metrics count from `instrument` on, histograms in seconds. Their attributes include
`s1crets.provider` (`aws.ps`, `aws.sm`, or a class name) and, once it is known, `cloud.region`:

- `s1crets.cache.hits`, `s1crets.cache.misses`, `s1crets.cache.stale`, as in `stats`.
- `s1crets.requests`: every page and every attempt, by `rpc.service` and `rpc.method`.
- `s1crets.throttles`, `s1crets.retries`: by `rpc.service`.
- `rpc.client.call.duration`: an operation of AWS with its pages and attempts, by `rpc.service`,
  `rpc.method` and `error.type`.
- `s1crets.call.duration`: a call that a local cache did not answer, by `s1crets.method` and
  `error.type`.

Spans:

- `s1crets.get` etc.: a call that a local cache did not answer, or that writes or lists.
  `s1crets.name_count` is the number of names (not in the cache), `s1crets.error_count` of those
  that failed; `s1crets.stale` means that an expired value was served.
- `SSM.GetParameter` etc.: an operation of AWS, with the name and attributes of the semantic
  conventions for AWS SDKs. `s1crets.requests` is the number of requests it took, including
  `s1crets.retries` retries; `s1crets.throttles` of them were throttled. Requests to assume a role
  or to identify the account have no span.

The span of an operation is a child of the call that waits for it. If several calls wait, because
their names share a batch or they want the same name, it is a root span, linked with each of them in
both directions. A call that joins later is linked as well. A refresh ahead of expiry is a root span
without links: nobody waits for it.

Of an error only the class is exported (`error.type`), because messages contain names. A cancelled
operation has that attribute, but no error status. If `path_exists` is false that is not an error;
if `get` returns a default it is.
"""

from __future__ import annotations

import hmac
import weakref
from contextlib import AbstractContextManager
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from s1crets._sync import Facade
from s1crets._version import __version__
from s1crets.errors import ConfigurationError
from s1crets.providers.async_provider import AsyncProvider

try:
    from opentelemetry.trace import get_tracer

    from s1crets.integrations._otel_metrics import Source, metrics_for
    from s1crets.integrations._otel_spans import Spans
except ImportError:
    raise ConfigurationError(
        "OpenTelemetry needs the extra `otel`: pip install 's1crets[otel]'"
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["Instrumentation", "instrument"]

_HASH_LENGTH = 16  # hex digits
_SERVICES = {"Parameter Store": ("aws.ps", "SSM"), "Secrets Manager": ("aws.sm", "Secrets Manager")}


class Instrumentation(AbstractContextManager["Instrumentation"]):
    """Result of `instrument`, which `uninstrument()` or leaving a `with` block undoes."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def uninstrument(self) -> None:
        """Stop creating spans and counting; the counts so far remain."""
        self._source.end()

    def __exit__(self, *_: object) -> None:
        """Uninstrument."""
        self.uninstrument()


def instrument(
    provider: AsyncProvider | Facade[Any],
    *,
    names: Literal["omit", "hash"] = "omit",
    key: str | bytes | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Instrumentation:
    """Create metrics and spans for everything a provider does from now on.

    A sync provider and the async provider behind it count as the same. Providers of the same
    service and region are counted together. A provider is not kept alive; its counts remain.

    Args:
        provider: async or sync; for `s1crets.get` and similar functions it is
            `s1crets.providers.provider('aws.ps')`.
        names: `"hash"` adds hashes of secrets' names to spans, as `s1crets.names`: the first 64
            bits of an HMAC-SHA-256, in hex. Otherwise nothing exported contains names.
        key: key of the hashes, required because names are easy to guess. The same key always gives
            the same hashes.
        tracer_provider: destination of spans; default: the global tracer provider.
        meter_provider: destination of metrics; default: the global meter provider.

    Raises:
        TypeError: `provider` is not a provider, or `key` is not text or bytes.
        ConfigurationError: a `ValueError`: the provider is instrumented already, or `names` and
            `key` do not fit together.
    """
    hashed = _hasher(names, key)
    del key  # or tracebacks with locals would show it
    awaited = provider.awaited if isinstance(provider, Facade) else provider
    if not isinstance(awaited, AsyncProvider):
        message = f"provider must be a provider, not {type(provider).__name__}"
        raise TypeError(message)
    counters = awaited.counters
    if counters.observer is not None:
        message = f"{provider!r} is instrumented already; call uninstrument() first"
        raise ConfigurationError(message)
    kind = type(awaited).__name__.removeprefix("Async")
    source = Source(counters, *_SERVICES.get(awaited.service, (kind, kind)))
    metrics = metrics_for(meter_provider)
    metrics.add(source)
    tracer = get_tracer("s1crets", __version__, tracer_provider)
    counters.observer = Spans(source, metrics, tracer, hashed)
    # The source does not keep the provider alive, and keeps its counts when it is gone.
    weakref.finalize(awaited, source.end).atexit = False
    return Instrumentation(source)


def _hasher(names: object, key: str | bytes | None) -> Callable[[str], str] | None:
    """Return a function that hashes names, or None if they are omitted."""
    if names not in ("omit", "hash"):
        raise ConfigurationError("names must be 'omit' or 'hash'")
    if key is not None and not isinstance(key, (str, bytes)):
        message = f"key must be text or bytes, not {type(key).__name__}"
        raise TypeError(message)
    if names == "omit":
        if key is not None:
            raise ConfigurationError("key requires names='hash'")
        return None
    if not key:
        raise ConfigurationError(
            "names='hash' needs a key: without it, anybody could hash a guessed name and compare"
        )
    keyed = hmac.new(key.encode() if isinstance(key, str) else key, digestmod=sha256)

    def hashed(name: str) -> str:
        digest = keyed.copy()
        digest.update(name.encode())
        return digest.hexdigest()[:_HASH_LENGTH]

    return hashed
