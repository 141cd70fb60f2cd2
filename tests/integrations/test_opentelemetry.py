"""OpenTelemetry: exports match the requests to AWS, and contain neither names nor values."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import RESET, Wire, parameter, refusal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from s1crets.errors import (
    BatchError,
    ConfigurationError,
    DeadlineExceededError,
    S1cretsError,
)
from s1crets.integrations.opentelemetry import Instrumentation, instrument
from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    SecretsManager,
)
from s1crets.providers.files import AsyncFiles
from s1crets.providers.simple import AsyncSimpleProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from s1crets.testing import LoopbackAws

CANARY = "fake-canary-value"
EXPIRED = 1e-9  # a `cache_ttl` so short that every entry has expired when it is looked up


class Telemetry:
    """An OpenTelemetry SDK that exports to memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.tracers.get_tracer("test")
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)

    def instrument(self, provider: Any, **how: Any) -> Instrumentation:
        return instrument(provider, tracer_provider=self.tracers, meter_provider=self.meters, **how)

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Return all spans, or those of one name, in the order in which they ended."""
        return [span for span in self._exporter.get_finished_spans() if name in ("", span.name)]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.spans(name)
        return span

    def points(self, name: str) -> list[Any]:
        """Return the data points of a metric."""
        data: Any = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def counts(self, name: str, by: str = "s1crets.provider") -> dict[Any, int]:
        """Return the values of a counter, by one of its attributes."""
        counts: Counter[Any] = Counter()
        for point in self.points(name):
            counts[point.attributes.get(by)] += point.value
        return dict(counts)

    def timed(self, name: str, by: str) -> dict[Any, int]:
        """Return the number of measurements, by an attribute and the type of the error."""
        counts: Counter[Any] = Counter()
        for point in self.points(name):
            counts[point.attributes[by], point.attributes.get("error.type")] += point.count
        return dict(counts)

    def exported(self) -> str:
        """Return everything that was exported, as JSON."""
        data: Any = self._reader.get_metrics_data()
        spans = [json.loads(span.to_json()) for span in self.spans()]
        return json.dumps([spans, json.loads(data.to_json())])

    def close(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Yield the test's own SDK."""
    sdk = Telemetry()
    yield sdk
    sdk.close()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes, except those that all spans have."""
    common = ("s1crets.provider", "cloud.region", "rpc.", "s1crets.method")
    return {
        name: value
        for name, value in (span.attributes or {}).items()
        if not name.startswith(common)
    }


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def ident(span: ReadableSpan) -> int:
    context: Any = span.context
    return int(context.span_id)


def links(span: ReadableSpan) -> set[int]:
    return {link.context.span_id for link in span.links}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


def functions_of(call: Callable[[], object]) -> list[Any]:
    """Return the Python functions that a call runs."""
    functions: list[Any] = []

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call":
            functions.append(frame.f_code)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return functions


class TestHits:
    """A cache hit costs nothing extra."""

    def test_a_hit_makes_no_span_and_is_counted(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, blocking_ps: ParameterStore, top: str
    ) -> None:
        """The counter is read when metrics are collected."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(blocking_ps)
        blocking_ps.get(f"{top}/a")
        before = len(telemetry.spans())
        for _ in range(3):
            blocking_ps.get(f"{top}/a")
            blocking_ps.get_many([f"{top}/a"])
            blocking_ps.peek(f"{top}/a")

        assert (before, len(telemetry.spans())) == (2, 2)
        assert telemetry.counts("s1crets.cache.hits") == {"aws.ps": 6}
        assert blocking_ps.stats.hits == 6

    def test_a_hit_runs_the_same_functions(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, blocking_ps: ParameterStore, top: str
    ) -> None:
        """None of them is OpenTelemetry's."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        blocking_ps.get(f"{top}/a")
        before = functions_of(lambda: blocking_ps.get(f"{top}/a"))
        own = vars(blocking_ps.awaited).copy()
        telemetry.instrument(blocking_ps)

        assert functions_of(lambda: blocking_ps.get(f"{top}/a"))[1:] == before[1:]
        assert vars(blocking_ps.awaited) == own
        assert len(before) > 3


class TestCounts:
    """Metrics agree with the requests that AWS received."""

    async def test_every_verb_has_a_span_and_every_request_is_counted(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str
    ) -> None:
        """For both services; spans, metrics and AWS's own log agree."""
        names = [f"{top}/p/{n}" for n in range(23)]
        s1crets_aws.seed({"aws.ps": dict.fromkeys(names, "v"), "aws.sm": dict.fromkeys(names, "v")})
        async with AsyncParameterStore() as ps, AsyncSecretsManager() as sm:
            for provider in (ps, sm):
                telemetry.instrument(provider)
                await provider.get(names[0])
                await provider.get_many(names)
                await provider.get_by_path(f"{top}/p")
                await provider.path_exists(f"{top}/none")
                await provider.create(f"{top}/new", "v")
                await provider.put(f"{top}/new", "w")
                await provider.update(f"{top}/new", "x")
                await provider.describe(top)
                await provider.delete(f"{top}/new")

            stats = {"aws.ps": ps.stats, "aws.sm": sm.stats}
        asked = Counter(one.operation for one in s1crets_aws.requests)
        in_spans: Counter[str] = Counter()
        for span in telemetry.spans():
            if span.kind is SpanKind.CLIENT and span.attributes:
                in_spans[str(span.attributes["rpc.method"])] += int(
                    str(span.attributes["s1crets.requests"])
                )

        assert telemetry.counts("s1crets.requests", "rpc.method") == asked
        assert in_spans == asked
        for what in ("hits", "misses", "stale"):
            expected = {name: getattr(one, what) for name, one in stats.items()}
            assert telemetry.counts(f"s1crets.cache.{what}") == expected
        methods = ["get", "get_many", "get_by_path", "path_exists", "create", "put", "update"]
        methods += ["describe", "delete"]
        assert telemetry.timed("s1crets.call.duration", "s1crets.method") == {
            (method, None): 2 for method in methods
        }
        calls = Counter(one.name for one in telemetry.spans() if one.kind is SpanKind.INTERNAL)
        assert calls == {f"s1crets.{method}": 2 for method in methods}

    async def test_providers_are_distinguished(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str
    ) -> None:
        """By service and region; those with the same are counted together."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}, "aws.sm": {f"{top}/a": "v"}})
        here: list[Any] = [AsyncParameterStore(), AsyncParameterStore(), AsyncSecretsManager()]
        there = AsyncParameterStore(sts_args={"aws_region": "us-west-2"})
        for provider in (*here, there):
            telemetry.instrument(provider)
            await provider.get(f"{top}/a", default=None)
            await provider.aclose()

        assert {
            (point.attributes["s1crets.provider"], point.attributes["cloud.region"]): point.value
            for point in telemetry.points("s1crets.cache.misses")
        } == {("aws.ps", "eu-west-1"): 2, ("aws.sm", "eu-west-1"): 1, ("aws.ps", "us-west-2"): 1}
        assert telemetry.counts("s1crets.requests", "rpc.service") == {
            "SSM": 3,
            "Secrets Manager": 1,
        }

    async def test_counts_outlive_their_provider(
        self, telemetry: Telemetry, tmp_path: Path
    ) -> None:
        """The provider is not kept alive, and counters never decrease."""
        (tmp_path / "a").write_text("fake")
        provider = AsyncFiles(folder=tmp_path)
        telemetry.instrument(provider)
        await provider.get("a")
        alive, counting = weakref.ref(provider), weakref.ref(provider.counters)
        del provider
        await until(lambda: gc.collect() is not None and alive() is None)
        counted = [telemetry.counts("s1crets.requests") for _ in range(2)]
        await until(lambda: gc.collect() is not None and counting() is None)
        another = AsyncFiles(folder=tmp_path)
        telemetry.instrument(another)
        await another.get("a")
        counted.append(telemetry.counts("s1crets.requests"))

        assert counted == [{"Files": 1}, {"Files": 1}, {"Files": 2}]

    async def test_counts_from_before_the_region_was_known(
        self,
        s1crets_aws: LoopbackAws,
        telemetry: Telemetry,
        ps: AsyncParameterStore,
        top: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """If reported by then, they stay without a region. Nothing is counted twice."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        with pytest.raises(ConfigurationError):
            await ps.get(f"{top}/a")
        first = telemetry.counts("s1crets.cache.misses", "cloud.region")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        await ps.get(f"{top}/a")

        assert first == {None: 1}
        assert telemetry.counts("s1crets.cache.misses", "cloud.region") == {None: 1, "eu-west-1": 1}
        assert telemetry.counts("s1crets.throttles", "cloud.region") == {"eu-west-1": 0}

    async def test_durations_are_in_seconds(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """And so are the buckets."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        began = time.perf_counter()
        await ps.get(f"{top}/a")
        elapsed = time.perf_counter() - began
        for name in ("rpc.client.call.duration", "s1crets.call.duration"):
            (point,) = telemetry.points(name)
            assert (point.count, point.explicit_bounds[0], point.explicit_bounds[-1]) == (
                1,
                0.005,
                10,
            )
            assert 0 < point.sum < elapsed


class TestParents:
    """Parents and links of spans."""

    async def test_the_callers_span_is_the_parent(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """Of the call's span, which in turn is the parent of the request's span."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        with telemetry.tracer.start_as_current_span("theirs") as theirs:
            await ps.get(f"{top}/a")
        call, request = telemetry.one("s1crets.get"), telemetry.one("SSM.GetParameter")

        assert parent(call) == theirs.get_span_context().span_id
        assert parent(request) == ident(call)
        assert links(request) == set()
        assert dict(request.attributes or {}) == {
            "rpc.system": "aws-api",
            "rpc.system.name": "aws-api",
            "rpc.service": "SSM",
            "rpc.method": "GetParameter",
            "cloud.region": "eu-west-1",
            "s1crets.provider": "aws.ps",
            "s1crets.name_count": 1,
            "s1crets.requests": 1,
            "s1crets.retries": 0,
            "s1crets.throttles": 0,
        }
        assert dict(call.attributes or {}) == {
            "cloud.region": "eu-west-1",
            "s1crets.provider": "aws.ps",
            "s1crets.method": "get",
            "s1crets.name_count": 1,
        }

    async def test_another_service_is_not_aws(self, telemetry: Telemetry, tmp_path: Path) -> None:
        """Its requests have spans and are counted, under its own name."""
        (tmp_path / "a").write_text("fake")
        files = AsyncFiles(folder=tmp_path)
        telemetry.instrument(files)
        assert await files.get("a") == "fake"
        call, request = telemetry.one("s1crets.get"), telemetry.one("Files.fetch")

        assert parent(request) == ident(call)
        assert "rpc.system" not in dict(request.attributes or {})
        assert telemetry.counts("s1crets.requests", "rpc.method") == {"fetch": 1}

    def test_the_callers_span_is_the_parent_in_another_thread(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, blocking_sm: SecretsManager, top: str
    ) -> None:
        """A sync provider works in another thread, for both reads and writes."""
        s1crets_aws.seed({"aws.sm": {f"{top}/a": "v"}})
        telemetry.instrument(blocking_sm)
        with telemetry.tracer.start_as_current_span("theirs") as theirs:
            blocking_sm.get(f"{top}/a")
            blocking_sm.update(f"{top}/a", "w")
        expected = theirs.get_span_context().span_id
        for call, request in (("get", "GetSecretValue"), ("update", "PutSecretValue")):
            assert parent(telemetry.one(f"s1crets.{call}")) == expected
            child = telemetry.one(f"Secrets Manager.{request}")
            assert parent(child) == ident(telemetry.one(f"s1crets.{call}"))

    async def test_the_batches_of_one_call_are_its_children(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """Each has its number of names."""
        names = [f"{top}/{n}" for n in range(25)]
        s1crets_aws.seed({"aws.ps": dict.fromkeys(names, "v")})
        telemetry.instrument(ps)
        await ps.get_many(names)
        call, batches = telemetry.one("s1crets.get_many"), telemetry.spans("SSM.GetParameters")

        assert {parent(one) for one in batches} == {ident(call)}
        assert sorted(attributes(one)["s1crets.name_count"] for one in batches) == [5, 10, 10]
        assert attributes(call) == {"s1crets.name_count": 25}

    async def test_a_batch_for_several_calls_is_a_root(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """It is linked with all of them, in both directions."""
        names = [f"{top}/{n}" for n in range(3)]
        s1crets_aws.seed({"aws.ps": dict.fromkeys(names, "v")})
        telemetry.instrument(ps)
        with telemetry.tracer.start_as_current_span("theirs"):
            await asyncio.gather(*map(ps.get, names))
        calls, batch = telemetry.spans("s1crets.get"), telemetry.one("SSM.GetParameters")

        assert parent(batch) is None
        assert links(batch) == {ident(one) for one in calls}
        assert [links(one) for one in calls] == [{ident(batch)}] * 3

    async def test_a_request_that_several_calls_share_is_a_root(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """It is linked with all of them."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        await asyncio.gather(*(ps.get(f"{top}/a") for _ in range(4)))
        request = telemetry.one("SSM.GetParameter")

        assert parent(request) is None
        assert links(request) == {ident(one) for one in telemetry.spans("s1crets.get")}

    async def test_a_call_that_joins_later_is_linked(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """The request is a child of the first call by then."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        s1crets_aws.delay(60)
        tasks = [asyncio.create_task(ps.get(f"{top}/a"))]
        await until(lambda: s1crets_aws.requests)
        tasks.append(asyncio.create_task(ps.get(f"{top}/a")))
        await until(lambda: ps.stats.misses == 2)
        s1crets_aws.heal()
        await asyncio.gather(*tasks)
        request = telemetry.one("SSM.GetParameter")
        (late,) = links(request)
        calls = {ident(one): one for one in telemetry.spans("s1crets.get")}

        assert len(calls) == 2
        assert parent(request) in calls.keys() - {late}
        assert links(calls[late]) == {ident(request)}

    async def test_a_call_that_was_cancelled_earlier_is_not_linked(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """The request is a child of the call that still waits."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        first, second = (asyncio.create_task(ps.get(f"{top}/a")) for _ in range(2))
        while ps.stats.misses < 2:
            await asyncio.sleep(0)  # not longer: the request could begin meanwhile
        first.cancel()
        await second
        gone, stayed = telemetry.spans("s1crets.get")

        assert attributes(gone) == {"s1crets.name_count": 1, "error.type": "CancelledError"}
        assert gone.status.status_code is StatusCode.UNSET
        assert parent(telemetry.one("SSM.GetParameter")) == ident(stayed)

    async def test_a_call_does_not_change_its_callers_context(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """Not even if it fails."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)

        def context() -> dict[Any, Any]:
            found = contextvars.copy_context().items()
            return {variable: value for variable, value in found if value is not None}

        with telemetry.tracer.start_as_current_span("theirs"):
            before = context()
            await ps.get(f"{top}/a")
            with pytest.raises(S1cretsError):
                await ps.update(f"{top}/b", "v")

            assert context() == before

    async def test_single_requests_after_a_denied_batch(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, sm: AsyncSecretsManager, top: str
    ) -> None:
        """Each is a child of its own call."""
        names = [f"{top}/{n}" for n in range(3)]
        s1crets_aws.seed({"aws.sm": dict.fromkeys(names, "v")})
        s1crets_aws.deny("BatchGetSecretValue")
        telemetry.instrument(sm)
        await asyncio.gather(*map(sm.get, names))
        batch = telemetry.one("Secrets Manager.BatchGetSecretValue")
        calls = {ident(one) for one in telemetry.spans("s1crets.get")}

        assert attributes(batch)["error.type"] == "AccessDeniedError"
        assert links(batch) == calls
        singles = telemetry.spans("Secrets Manager.GetSecretValue")
        assert sorted(map(str, map(parent, singles))) == sorted(map(str, calls))

    async def test_a_refresh_is_a_root(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str
    ) -> None:
        """Nobody waits for it, and the hit that triggered it has no span."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        late = {"cache_ttl": 900, "refresh_ahead": 900 - EXPIRED, "jitter": 0}
        async with AsyncParameterStore(cache_args=late) as ps:  # type: ignore[arg-type]
            await ps.get(f"{top}/a")
            telemetry.instrument(ps)
            with telemetry.tracer.start_as_current_span("theirs"):
                await ps.get(f"{top}/a")
            await until(lambda: telemetry.spans("SSM.GetParameter"))
        refresh = telemetry.one("SSM.GetParameter")

        assert (parent(refresh), links(refresh)) == (None, set())
        assert telemetry.spans("s1crets.get") == []

    async def test_a_call_within_a_call_is_its_child(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """For example of a provider that reads its secrets from another provider."""

        class Renamed(AsyncSimpleProvider):
            service = "Renamed"

            async def fetch(self, name: str) -> str:
                return str(await ps.get(top + name))

            async def names(self, path: str) -> list[str]:  # noqa: ARG002
                return []

        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        async with Renamed() as outer:
            telemetry.instrument(outer)
            assert await outer.get("/a") == "v"
        inner, call = telemetry.spans("s1crets.get")

        assert parent(telemetry.one("Renamed.fetch")) == ident(call)
        assert parent(inner) == ident(telemetry.one("Renamed.fetch"))
        assert parent(telemetry.one("SSM.GetParameter")) == ident(inner)


class TestErrors:
    """Attributes of whatever goes wrong."""

    async def test_throttling(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """It and the resulting retry are in the span and in the metrics."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        s1crets_aws.throttle("GetParameter", times=1)
        telemetry.instrument(ps)
        await ps.get(f"{top}/a")

        assert len(s1crets_aws.requests) == 2
        assert attributes(telemetry.one("SSM.GetParameter")) == {
            "s1crets.name_count": 1,
            "s1crets.requests": 2,
            "s1crets.retries": 1,
            "s1crets.throttles": 1,
        }
        assert telemetry.counts("s1crets.requests") == {"aws.ps": 2}
        assert telemetry.counts("s1crets.throttles") == {"aws.ps": 1}
        assert telemetry.counts("s1crets.retries") == {"aws.ps": 1}

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (refusal("ThrottlingException"), "ThrottledError"),
            (refusal("AccessDeniedException"), "AccessDeniedError"),
            (refusal("ParameterNotFound"), "SecretNotFoundError"),
            (RESET, "UnavailableError"),
            ({"Parameter": {}}, "BadResponseError"),
        ],
    )
    async def test_only_the_type_of_an_error_is_exported(
        self, scripted: Wire, telemetry: Telemetry, answer: Any, error: str
    ) -> None:
        """In both spans and both histograms."""
        scripted.answers["GetParameter"] = answer
        async with AsyncParameterStore(retry=1) as ps:
            telemetry.instrument(ps)
            with pytest.raises(S1cretsError):
                await ps.get("/a")
        for span in telemetry.spans():
            assert attributes(span)["error.type"] == error
            assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
            assert list(span.events) == []

        assert len(telemetry.spans()) == 2
        name = "rpc.client.call.duration"
        assert telemetry.timed(name, "rpc.method") == {("GetParameter", error): 1}
        name = "s1crets.call.duration"
        assert telemetry.timed(name, "s1crets.method") == {("get", error): 1}

    async def test_every_page_is_counted(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """A single span covers the whole operation."""
        s1crets_aws.seed({"aws.ps": {f"{top}/{n}": "v" for n in range(25)}})
        telemetry.instrument(ps)
        await ps.get_by_path(top)

        assert len(s1crets_aws.requests) == 3
        assert attributes(telemetry.one("SSM.GetParametersByPath")) == {
            "s1crets.name_count": 1,
            "s1crets.requests": 3,
            "s1crets.retries": 0,
            "s1crets.throttles": 0,
        }

    @pytest.mark.parametrize("many", [False, True])
    async def test_an_expired_value(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str, *, many: bool
    ) -> None:
        """The call has no error, but its request does."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        args = {"cache_ttl": EXPIRED, "stale_for": 900, "jitter": 0}
        async with AsyncParameterStore(cache_args=args, retry=1) as ps:  # type: ignore[arg-type]
            await ps.get(f"{top}/a")
            telemetry.instrument(ps)
            s1crets_aws.down()
            await (ps.get_many([f"{top}/a"]) if many else ps.get(f"{top}/a"))
        call, request = telemetry.spans()[::-1]

        assert attributes(call) == {"s1crets.name_count": 1, "s1crets.stale": True}
        assert call.status.status_code is StatusCode.UNSET
        assert attributes(request)["error.type"] == "UnavailableError"
        assert (
            telemetry.counts("s1crets.cache.stale") == {"aws.ps": 1} == {"aws.ps": ps.stats.stale}
        )

    async def test_the_deadline(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str
    ) -> None:
        """The request is cancelled, which is not an error. An expired value may be served."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        args = {"cache_ttl": EXPIRED, "stale_for": 900, "jitter": 0}
        async with AsyncParameterStore(cache_args=args) as ps:  # type: ignore[arg-type]
            await ps.get(f"{top}/a")
            telemetry.instrument(ps)
            s1crets_aws.delay(60)
            ps.deadline = 0.5
            await ps.get(f"{top}/a")
            with pytest.raises(DeadlineExceededError):
                await ps.get(f"{top}/a", cached=False)
            s1crets_aws.heal()
        await until(lambda: len(telemetry.spans("SSM.GetParameter")) == 2)
        stale, late = telemetry.spans("s1crets.get")

        assert attributes(stale) == {"s1crets.name_count": 1, "s1crets.stale": True}
        assert attributes(late) == {"s1crets.name_count": 1, "error.type": "DeadlineExceededError"}
        for request in telemetry.spans("SSM.GetParameter"):
            assert attributes(request)["error.type"] == "CancelledError"
            assert request.status.status_code is StatusCode.UNSET

    async def test_errors_of_single_names(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """Their number, and their type if it is the same for all."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        await ps.get_many([f"{top}/a", f"{top}/b", f"{top}/c"], errors="return")
        with pytest.raises(BatchError):
            await ps.get_many([f"{top}/b", "in\nvalid"])
        same, different = telemetry.spans("s1crets.get_many")

        assert attributes(same) == {
            "s1crets.name_count": 3,
            "s1crets.error_count": 2,
            "error.type": "SecretNotFoundError",
        }
        assert attributes(different) == {
            "s1crets.name_count": 1,
            "s1crets.error_count": 2,
            "error.type": "BatchError",
        }
        assert same.status.status_code is different.status.status_code is StatusCode.ERROR

    async def test_a_missing_path_is_not_an_error(
        self, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """`path_exists` is false."""
        telemetry.instrument(ps)
        await ps.path_exists(f"{top}/a")

        assert attributes(telemetry.one("s1crets.path_exists")) == {"s1crets.name_count": 1}

    def test_an_abandoned_coroutine_logs_nothing(
        self, telemetry: Telemetry, ps: AsyncParameterStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The garbage collector closes it in another context."""
        telemetry.instrument(ps)

        class Pause:
            def __await__(self) -> Generator[None, None, None]:
                yield

        async def call() -> None:
            assert ps.counters.observer is not None
            with ps.counters.observer.call("get", ["/a"]):
                await Pause()

        given_up = call()
        contextvars.copy_context().run(given_up.send, None)
        given_up.close()

        assert caplog.records == []
        assert attributes(telemetry.one("s1crets.get"))["error.type"] == "GeneratorExit"


class TestLeaks:
    """Names and values are not exported."""

    async def test_no_value_and_no_name(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str
    ) -> None:
        """Not in names, attributes, events or statuses, whatever is done and goes wrong."""
        name = f"{top}/canary-name"
        seed: Any = {name: CANARY, f"{name}/json": {"password": CANARY}}
        s1crets_aws.seed({"aws.ps": seed, "aws.sm": seed})
        faults: list[Callable[[], object]] = [
            lambda: None,
            lambda: s1crets_aws.fail(status=500),
            lambda: s1crets_aws.fail(code="InvalidKeyId"),
            s1crets_aws.deny,
            s1crets_aws.down,
            s1crets_aws.throttle,  # last, as it slows down whatever follows
        ]
        calls: tuple[Callable[[Any], Any], ...] = (
            lambda provider: provider.get(name),
            lambda provider: provider.get(f"{name}/json", keypath="none"),
            lambda provider: provider.get(f"{name}/none"),
            lambda provider: provider.get_many([name, f"{name}/none"]),
            lambda provider: provider.get_by_path(top),
            lambda provider: provider.path_exists(name),
            lambda provider: provider.update(name, CANARY),
            lambda provider: provider.create(name, CANARY),
            lambda provider: provider.put(f"{name}/new", CANARY),
            lambda provider: provider.delete(f"{name}/new"),
            lambda provider: provider.describe(name),
        )
        uncached: Any = {"retry": 1, "cache_args": {"cache_ttl": 0}}
        async with AsyncParameterStore(**uncached) as ps, AsyncSecretsManager(**uncached) as sm:
            for provider in (ps, sm):
                telemetry.instrument(provider, names="hash", key="fake-canary-key")
            for fault in faults:
                fault()
                before = len(telemetry.spans())
                for provider in (ps, sm):
                    for call in calls:
                        with contextlib.suppress(S1cretsError):
                            await call(provider)
                s1crets_aws.heal()
                assert len(telemetry.spans()) >= before + 2 * len(calls)
        exported = telemetry.exported()

        assert "canary" not in exported
        assert top not in exported
        assert "s1crets.names" in exported
        assert "AccessDeniedError" in exported

    async def test_hashes_are_keyed(self, telemetry: Telemetry, tmp_path: Path) -> None:
        """Hashes depend on the key and on the name, and on nothing else."""
        hashes = []
        for key in ("fake-key", b"fake-key", "another"):
            files = AsyncFiles(folder=tmp_path)
            telemetry.instrument(files, names="hash", key=key)
            for name in ("a", "b"):
                await files.get(name, default=None)
            spans = telemetry.spans("Files.fetch")[-2:] + telemetry.spans("s1crets.get")[-2:]
            first, second, *same = [attributes(span)["s1crets.names"][0] for span in spans]
            assert [first, second] == same
            hashes.append([first, second])

        assert hashes[0] == hashes[1]
        assert len({*hashes[0], *hashes[2]}) == 4
        assert all(re.fullmatch("[0-9a-f]{16}", one) for one in hashes[0])


class TestUninstrument:
    """An instrumentation has a beginning and an end."""

    def test_a_second_instrumentation_is_refused(
        self, telemetry: Telemetry, blocking_ps: ParameterStore
    ) -> None:
        """A sync provider and the async provider behind it count as the same."""
        telemetry.instrument(blocking_ps)
        for one in (blocking_ps, blocking_ps.awaited):
            with pytest.raises(ConfigurationError, match=r"already; call uninstrument"):
                telemetry.instrument(one)

    async def test_it_counts_from_its_beginning_to_its_end(
        self, telemetry: Telemetry, tmp_path: Path
    ) -> None:
        """It may begin again. Undoing the first twice does not affect the second."""
        (tmp_path / "a").write_text("fake")
        files = AsyncFiles(folder=tmp_path)
        counted = []

        async def miss() -> None:
            await files.get("a")
            counted.append(telemetry.counts("s1crets.requests").get("Files", 0))

        await miss()
        with telemetry.instrument(files) as first:
            await miss()
        await miss()
        second = telemetry.instrument(files)
        first.uninstrument()
        await miss()
        second.uninstrument()
        await miss()

        assert counted == [0, 1, 1, 2, 2]
        assert len(telemetry.spans("s1crets.get")) == len(telemetry.spans("Files.fetch")) == 2

    async def test_it_may_begin_and_end_during_a_call(
        self, scripted: Wire, telemetry: Telemetry, ps: AsyncParameterStore
    ) -> None:
        """A call without a span gets none, and is not counted; a span that has begun ends."""
        go, answers = threading.Event(), iter([refusal("ThrottlingException")])

        def answer(_: Any) -> Any:
            go.wait(60)
            return next(answers, parameter("/a", "v"))

        scripted.answers["GetParameter"] = answer
        early = asyncio.create_task(ps.get("/a"))
        await until(lambda: scripted.asked)
        instrumentation = telemetry.instrument(ps)
        go.set()
        await early
        before = len(telemetry.spans())
        go.clear()
        late = asyncio.create_task(ps.get("/a", cached=False))
        await until(lambda: len(scripted.asked) > 2)
        instrumentation.uninstrument()
        go.set()
        await late

        assert (before, len(telemetry.spans())) == (0, 2)
        assert telemetry.counts("s1crets.retries") == {"aws.ps": 1}

    @pytest.mark.parametrize(
        ("how", "error", "words"),
        [
            ({"names": "clear"}, ConfigurationError, "'omit' or 'hash'"),
            ({"names": "hash"}, ConfigurationError, "needs a key"),
            ({"names": "hash", "key": b""}, ConfigurationError, "needs a key"),
            ({"key": "k"}, ConfigurationError, "a key names='hash'"),
            ({"names": "hash", "key": 1}, TypeError, "not int"),
        ],
    )
    def test_invalid_arguments(
        self, ps: AsyncParameterStore, how: Any, error: type[Exception], words: str
    ) -> None:
        """They are refused, and nothing is instrumented."""
        with pytest.raises(error, match=words):
            instrument(ps, **how)
        with instrument(ps):
            pass

    def test_an_invalid_provider(self) -> None:
        """A name is not a provider."""
        with pytest.raises(TypeError, match="not str"):
            instrument("aws.ps")  # type: ignore[arg-type]


def test_without_an_sdk_nothing_happens(
    s1crets_aws: LoopbackAws, blocking_ps: ParameterStore, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenTelemetry's API alone does nothing, and reports nothing."""
    s1crets_aws.seed({"aws.ps": {"/a": "v", "/b": "v"}})
    instrument(blocking_ps)

    assert blocking_ps.get("/a") == "v"
    assert blocking_ps.get_many(["/a", "/b"]) == {"/a": "v", "/b": "v"}
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_the_global_sdk_may_be_set_later(tmp_path: Path) -> None:
    """Its instruments are created once, whether it is passed or found.

    It takes a process, because the global SDK can be set only once.
    """
    (tmp_path / "a").write_text("fake")
    script = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from s1crets.integrations.opentelemetry import instrument
from s1crets.providers.files import Files
providers = [Files() for _ in range(3)]
reader = InMemoryMetricReader()
instrument(providers[0])
metrics.set_meter_provider(MeterProvider([reader]))
instrument(providers[1])
instrument(providers[2], meter_provider=metrics.get_meter_provider())
for provider in providers:
    provider.get("a")
(resource,) = reader.get_metrics_data().resource_metrics
(scope,) = resource.scope_metrics
(requests,) = [metric for metric in scope.metrics if metric.name == "s1crets.requests"]
assert [point.value for point in requests.data.data_points] == [3], requests
"""
    environment = {**os.environ, "S1CRETS_FILES": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
