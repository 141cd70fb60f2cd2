"""OpenTelemetry: what is exported, checked against what AWS was asked; and what must not be."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import re
import subprocess
import sys
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import RESET, Wire, refusal
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

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from s1crets.testing import LoopbackAws

CANARY = "fake-canary-value"
EXPIRED = 1e-9  # a `cache_ttl` after which an entry has expired when it is looked at again


class Telemetry:
    """An OpenTelemetry SDK whose exports stay in memory."""

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
        """Return the spans of one name, or all, in the order in which they ended."""
        return [one for one in self._exporter.get_finished_spans() if name in ("", one.name)]

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
        """Return the numbers of a counter, by one of its attributes."""
        counts: Counter[Any] = Counter()
        for point in self.points(name):
            counts[point.attributes.get(by)] += point.value
        return dict(counts)

    def timed(self, name: str, by: str) -> dict[Any, int]:
        """Return how often something was timed, by an attribute and the type of the error."""
        counts: Counter[Any] = Counter()
        for point in self.points(name):
            counts[point.attributes[by], point.attributes.get("error.type")] += point.count
        return dict(counts)

    def exported(self) -> str:
        """Return all that was exported, as JSON."""
        data: Any = self._reader.get_metrics_data()
        spans = [json.loads(span.to_json()) for span in self.spans()]
        return json.dumps([spans, json.loads(data.to_json())])

    def close(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Yield an SDK of a test's own."""
    sdk = Telemetry()
    yield sdk
    sdk.close()


def told(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's own attributes, without those that all of them have."""
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


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.005)


def way_of(call: Callable[[], object]) -> list[Any]:
    """Return the Python functions that a call goes through."""
    way: list[Any] = []

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call":
            way.append(frame.f_code)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return way


class TestHits:
    """What most calls are."""

    def test_a_hit_makes_no_span_and_is_counted(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, blocking_ps: ParameterStore, top: str
    ) -> None:
        """The number is read when it is collected."""
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

    def test_a_hit_goes_the_same_way(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, blocking_ps: ParameterStore, top: str
    ) -> None:
        """Through the very same functions, and none of OpenTelemetry's."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        blocking_ps.get(f"{top}/a")
        before = way_of(lambda: blocking_ps.get(f"{top}/a"))
        own = vars(blocking_ps.awaited).copy()
        telemetry.instrument(blocking_ps)

        assert way_of(lambda: blocking_ps.get(f"{top}/a"))[1:] == before[1:]
        assert vars(blocking_ps.awaited) == own
        assert len(before) > 3


class TestCounts:
    """The metrics, and that they are what AWS was asked."""

    async def test_every_verb_is_told_and_every_request_counted(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str
    ) -> None:
        """By both services; spans and metrics and AWS's own count say the same."""
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

    async def test_providers_are_told_apart(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str
    ) -> None:
        """By service and region; those of the same are counted together."""
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

    async def test_what_a_provider_has_counted_outlives_it(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str
    ) -> None:
        """It is not kept alive, a counter never falls, and all that is kept is a number."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        provider = AsyncParameterStore()
        telemetry.instrument(provider)
        await provider.get(f"{top}/a")
        await provider.aclose()
        alive, counting = weakref.ref(provider), weakref.ref(provider.counters)
        del provider
        await until(lambda: gc.collect() is not None and alive() is None)
        counted = [telemetry.counts("s1crets.requests") for _ in range(2)]
        gc.collect()
        assert counting() is None
        async with AsyncParameterStore() as another:
            telemetry.instrument(another)
            await another.get(f"{top}/a")
            counted.append(telemetry.counts("s1crets.requests"))

        assert counted == [{"aws.ps": 1}, {"aws.ps": 1}, {"aws.ps": 2}]

    async def test_what_was_counted_before_the_region_was_known_stays_without(
        self,
        s1crets_aws: LoopbackAws,
        telemetry: Telemetry,
        ps: AsyncParameterStore,
        top: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """If it was reported by then. What follows has the region, and nothing counts twice."""
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

    async def test_latencies_are_in_seconds(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """In buckets that fit them."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        await ps.get(f"{top}/a")
        for name in ("rpc.client.call.duration", "s1crets.call.duration"):
            (point,) = telemetry.points(name)
            assert (point.count, point.explicit_bounds[0], point.explicit_bounds[-1]) == (
                1,
                0.005,
                10,
            )
            assert 0 < point.sum < 60


class TestFamily:
    """Whose child a span is."""

    async def test_the_callers_span_is_the_parent(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """Of the call's span, which is that of the request's."""
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

    async def test_another_store_is_no_system_of_aws(
        self, telemetry: Telemetry, tmp_path: Path
    ) -> None:
        """Its questions have spans and are counted all the same, under its own name."""
        (tmp_path / "a").write_text("fake")
        files = AsyncFiles(folder=tmp_path)
        telemetry.instrument(files)
        assert await files.get("a") == "fake"
        call, request = telemetry.one("s1crets.get"), telemetry.one("Files.fetch")

        assert parent(request) == ident(call)
        assert "rpc.system" not in dict(request.attributes or {})
        assert telemetry.counts("s1crets.requests", "rpc.method") == {"fetch": 1}

    def test_the_callers_span_is_the_parent_in_another_thread_too(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, blocking_sm: SecretsManager, top: str
    ) -> None:
        """Where a facade does its work; for reads and for writes."""
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
        """Each says how many names it has."""
        names = [f"{top}/{n}" for n in range(25)]
        s1crets_aws.seed({"aws.ps": dict.fromkeys(names, "v")})
        telemetry.instrument(ps)
        await ps.get_many(names)
        call, batches = telemetry.one("s1crets.get_many"), telemetry.spans("SSM.GetParameters")

        assert {parent(one) for one in batches} == {ident(call)}
        assert sorted(told(one)["s1crets.name_count"] for one in batches) == [5, 10, 10]
        assert told(call) == {"s1crets.name_count": 25}

    async def test_a_batch_of_several_calls_is_nobodys_child(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """It is a root, linked with all of them, and they with it."""
        names = [f"{top}/{n}" for n in range(3)]
        s1crets_aws.seed({"aws.ps": dict.fromkeys(names, "v")})
        telemetry.instrument(ps)
        with telemetry.tracer.start_as_current_span("theirs"):
            await asyncio.gather(*map(ps.get, names))
        calls, batch = telemetry.spans("s1crets.get"), telemetry.one("SSM.GetParameters")

        assert parent(batch) is None
        assert links(batch) == {ident(one) for one in calls}
        assert [links(one) for one in calls] == [{ident(batch)}] * 3

    async def test_what_many_want_is_linked_with_all_of_them(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """It is the child of none: one request for the same name."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        await asyncio.gather(*(ps.get(f"{top}/a") for _ in range(4)))
        request = telemetry.one("SSM.GetParameter")

        assert parent(request) is None
        assert links(request) == {ident(one) for one in telemetry.spans("s1crets.get")}

    async def test_who_joins_later_is_linked_too(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """The first one has the request as a child by then."""
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

    async def test_who_gave_up_before_has_no_part_in_it(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """The request is the child of the one that still waits."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        first, second = (asyncio.create_task(ps.get(f"{top}/a")) for _ in range(2))
        await until(lambda: ps.stats.misses == 2)
        first.cancel()
        await second
        gone, stayed = telemetry.spans("s1crets.get")

        assert told(gone) == {"s1crets.name_count": 1, "error.type": "CancelledError"}
        assert gone.status.status_code is StatusCode.UNSET
        assert parent(telemetry.one("SSM.GetParameter")) == ident(stayed)

    async def test_a_call_leaves_its_callers_context_as_it_was(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """Also one that fails."""
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

    async def test_what_a_batch_does_not_answer_is_asked_for_by_each(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, sm: AsyncSecretsManager, top: str
    ) -> None:
        """Where batches are denied, each single request is the child of its own call."""
        names = [f"{top}/{n}" for n in range(3)]
        s1crets_aws.seed({"aws.sm": dict.fromkeys(names, "v")})
        s1crets_aws.deny("BatchGetSecretValue")
        telemetry.instrument(sm)
        await asyncio.gather(*map(sm.get, names))
        batch = telemetry.one("Secrets Manager.BatchGetSecretValue")
        calls = {ident(one) for one in telemetry.spans("s1crets.get")}

        assert told(batch)["error.type"] == "AccessDeniedError"
        assert links(batch) == calls
        singles = telemetry.spans("Secrets Manager.GetSecretValue")
        assert sorted(map(str, map(parent, singles))) == sorted(map(str, calls))

    async def test_a_refresh_is_a_root(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str
    ) -> None:
        """Nobody waits for it; the hit that began it makes no span."""
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
        """As for a reference to a secret: each look for a name that may be the secret's."""
        s1crets_aws.seed({"aws.sm": {f"{top[1:]}": "v"}})
        telemetry.instrument(ps)
        assert await ps.path_exists(f"/aws/reference/secretsmanager/{top[1:]}")
        outer, inner = telemetry.one("s1crets.path_exists"), telemetry.one("s1crets.get")

        assert parent(inner) == ident(outer)
        assert parent(telemetry.one("SSM.GetParameter")) == ident(inner)


class TestTrouble:
    """What goes wrong, and what is told of it."""

    async def test_throttling_is_told(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """With the repetition that it makes necessary, in the span and in the metrics."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        s1crets_aws.throttle("GetParameter", times=1)
        telemetry.instrument(ps)
        await ps.get(f"{top}/a")

        assert len(s1crets_aws.requests) == 2
        assert told(telemetry.one("SSM.GetParameter")) == {
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
    async def test_an_error_is_told_by_its_type(
        self, scripted: Wire, telemetry: Telemetry, answer: Any, error: str
    ) -> None:
        """In both spans and both histograms, without a word more."""
        scripted.answers["GetParameter"] = answer
        async with AsyncParameterStore(retry=1) as ps:
            telemetry.instrument(ps)
            with pytest.raises(S1cretsError):
                await ps.get("/a")
        for span in telemetry.spans():
            assert told(span)["error.type"] == error
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
        """One operation, one span."""
        s1crets_aws.seed({"aws.ps": {f"{top}/{n}": "v" for n in range(25)}})
        telemetry.instrument(ps)
        await ps.get_by_path(top)

        assert len(s1crets_aws.requests) == 3
        assert told(telemetry.one("SSM.GetParametersByPath")) == {
            "s1crets.name_count": 1,
            "s1crets.requests": 3,
            "s1crets.retries": 0,
            "s1crets.throttles": 0,
        }

    @pytest.mark.parametrize("many", [False, True])
    async def test_an_expired_value_is_told(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str, *, many: bool
    ) -> None:
        """The call has no error, but its request has."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        args = {"cache_ttl": EXPIRED, "stale_for": 900, "jitter": 0}
        async with AsyncParameterStore(cache_args=args, retry=1) as ps:  # type: ignore[arg-type]
            await ps.get(f"{top}/a")
            telemetry.instrument(ps)
            s1crets_aws.down()
            await (ps.get_many([f"{top}/a"]) if many else ps.get(f"{top}/a"))
        call, request = telemetry.spans()[::-1]

        assert told(call) == {"s1crets.name_count": 1, "s1crets.stale": True}
        assert call.status.status_code is StatusCode.UNSET
        assert told(request)["error.type"] == "UnavailableError"
        assert (
            telemetry.counts("s1crets.cache.stale") == {"aws.ps": 1} == {"aws.ps": ps.stats.stale}
        )

    async def test_the_deadline_is_told(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str
    ) -> None:
        """The request is cancelled, which is no error of its own; an expired value may do."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        args = {"cache_ttl": EXPIRED, "stale_for": 900, "jitter": 0}
        async with AsyncParameterStore(cache_args=args) as ps:  # type: ignore[arg-type]
            await ps.get(f"{top}/a")
            telemetry.instrument(ps)
            s1crets_aws.delay(60)
            ps.deadline = 0.05
            await ps.get(f"{top}/a")
            with pytest.raises(DeadlineExceededError):
                await ps.get(f"{top}/a", cached=False)
            s1crets_aws.heal()
        await until(lambda: len(telemetry.spans("SSM.GetParameter")) == 2)
        stale, late = telemetry.spans("s1crets.get")

        assert told(stale) == {"s1crets.name_count": 1, "s1crets.stale": True}
        assert told(late) == {"s1crets.name_count": 1, "error.type": "DeadlineExceededError"}
        for request in telemetry.spans("SSM.GetParameter"):
            assert told(request)["error.type"] == "CancelledError"
            assert request.status.status_code is StatusCode.UNSET

    async def test_errors_of_single_names_are_told(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """How many, and of which type if it is the same."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        telemetry.instrument(ps)
        await ps.get_many([f"{top}/a", f"{top}/b", f"{top}/c"], errors="return")
        with pytest.raises(BatchError):
            await ps.get_many([f"{top}/b", "in\nvalid"])
        same, different = telemetry.spans("s1crets.get_many")

        assert told(same) == {
            "s1crets.name_count": 3,
            "s1crets.error_count": 2,
            "error.type": "SecretNotFoundError",
        }
        assert told(different) == {
            "s1crets.name_count": 1,
            "s1crets.error_count": 2,
            "error.type": "BatchError",
        }
        assert same.status.status_code is different.status.status_code is StatusCode.ERROR

    async def test_no_is_an_answer(
        self, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """There is nothing wrong with a path that does not exist."""
        telemetry.instrument(ps)
        await ps.path_exists(f"{top}/a")

        assert told(telemetry.one("s1crets.path_exists")) == {"s1crets.name_count": 1}

    def test_what_is_given_up_leaves_no_complaint(
        self, telemetry: Telemetry, ps: AsyncParameterStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A coroutine is closed wherever the garbage collector runs: in another context."""
        telemetry.instrument(ps)

        class Pause:
            def __await__(self) -> Generator[None, None, None]:
                yield

        async def call() -> None:
            with ps.counters.observer.call("get", ["/a"]):
                await Pause()

        given_up = call()
        contextvars.copy_context().run(given_up.send, None)
        given_up.close()

        assert caplog.records == []
        assert told(telemetry.one("s1crets.get"))["error.type"] == "GeneratorExit"


class TestSilence:
    """What is not exported."""

    @pytest.mark.parametrize("hashed", [False, True])
    async def test_no_value_and_no_name(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str, *, hashed: bool
    ) -> None:
        """Whatever is done, and whatever goes wrong: not in names, attributes, events, statuses."""
        name = f"{top}/canary-name"
        seed: Any = {name: CANARY, f"{name}/json": {"password": CANARY}}
        s1crets_aws.seed({"aws.ps": seed, "aws.sm": seed})
        how: dict[str, Any] = {"names": "hash", "key": "fake-canary-key"} if hashed else {}
        faults: list[Callable[[], object]] = [
            lambda: None,
            s1crets_aws.throttle,
            lambda: s1crets_aws.fail(status=500),
            lambda: s1crets_aws.fail(code="InvalidKeyId"),
            s1crets_aws.deny,
            s1crets_aws.down,
        ]
        spans = 0
        for fault in faults:
            stores: list[Any] = [AsyncParameterStore(retry=1), AsyncSecretsManager(retry=1)]
            fault()
            for store in stores:
                telemetry.instrument(store, **how)
                calls: tuple[Callable[[Any], Any], ...] = (
                    lambda one: one.get(name),
                    lambda one: one.get(f"{name}/json", keypath="none"),
                    lambda one: one.get(f"{name}/none"),
                    lambda one: one.get_many([name, f"{name}/none"]),
                    lambda one: one.get_by_path(top),
                    lambda one: one.path_exists(name),
                    lambda one: one.update(name, CANARY),
                    lambda one: one.create(name, CANARY),
                    lambda one: one.put(f"{name}/new", CANARY),
                    lambda one: one.delete(f"{name}/new"),
                    lambda one: one.describe(name),
                )
                for call in calls:
                    with contextlib.suppress(S1cretsError):
                        await call(store)
                await store.aclose()
            s1crets_aws.heal()
            assert len(telemetry.spans()) > spans + 20
            spans = len(telemetry.spans())
        exported = telemetry.exported()

        assert "canary" not in exported
        assert top not in exported
        assert ("s1crets.names" in exported) is hashed
        assert "AccessDeniedError" in exported

    async def test_hashes_are_keyed(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, top: str
    ) -> None:
        """The same key makes the same hash everywhere, another one another, as do other names."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v", f"{top}/b": "v"}})
        hashes = []
        for key in ("fake-key", b"fake-key", "another"):
            async with AsyncParameterStore() as ps:
                telemetry.instrument(ps, names="hash", key=key)
                await ps.get_many([f"{top}/a", f"{top}/b"])
            request, call = telemetry.spans()[-2:]
            hashes.append(told(call)["s1crets.names"])
            assert told(request)["s1crets.names"] == hashes[-1]

        assert hashes[0] == hashes[1]
        assert len({*hashes[0], *hashes[2]}) == 4
        assert all(re.fullmatch("[0-9a-f]{16}", one) for one in hashes[0])


class TestUndoing:
    """An instrumentation has a beginning and an end."""

    def test_a_second_one_is_refused(
        self, telemetry: Telemetry, blocking_ps: ParameterStore
    ) -> None:
        """A facade and the async provider behind it are one."""
        telemetry.instrument(blocking_ps)
        for one in (blocking_ps, blocking_ps.awaited):
            with pytest.raises(ConfigurationError, match=r"already.*uninstrument"):
                telemetry.instrument(one)

    async def test_it_counts_from_its_beginning_to_its_end(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """And may begin again; undoing it twice does nothing to the next one."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        counted = []

        async def miss() -> None:
            await ps.get(f"{top}/a", cached=False)
            counted.append(telemetry.counts("s1crets.requests").get("aws.ps", 0))

        await miss()
        with telemetry.instrument(ps) as first:
            await miss()
        await miss()
        second = telemetry.instrument(ps)
        first.uninstrument()
        await miss()
        second.uninstrument()
        await miss()

        assert counted == [0, 1, 1, 2, 2]
        assert len(telemetry.spans("s1crets.get")) == len(telemetry.spans("SSM.GetParameter")) == 2

    async def test_it_may_begin_and_end_in_the_midst_of_a_call(
        self, s1crets_aws: LoopbackAws, telemetry: Telemetry, ps: AsyncParameterStore, top: str
    ) -> None:
        """What is under way has no span if it had none; what has begun one ends it."""
        s1crets_aws.seed({"aws.ps": {f"{top}/a": "v"}})
        s1crets_aws.delay(60)
        s1crets_aws.throttle(times=1)
        early = asyncio.create_task(ps.get(f"{top}/a"))
        await until(lambda: s1crets_aws.requests)
        instrumentation = telemetry.instrument(ps)
        s1crets_aws.heal()
        s1crets_aws.throttle(times=1)
        await early
        before = len(telemetry.spans())
        s1crets_aws.delay(60)
        late = asyncio.create_task(ps.get(f"{top}/a", cached=False))
        await until(lambda: len(s1crets_aws.requests) > 2)
        instrumentation.uninstrument()
        s1crets_aws.heal()
        await late

        assert (before, len(telemetry.spans())) == (0, 2)
        assert telemetry.counts("s1crets.retries") == {"aws.ps": 1}

    @pytest.mark.parametrize(
        ("how", "error", "words"),
        [
            ({"names": "clear"}, ConfigurationError, "'omit' or 'hash'"),
            ({"names": "hash"}, ConfigurationError, "needs a key"),
            ({"names": "hash", "key": b""}, ConfigurationError, "needs a key"),
            ({"key": "k"}, ConfigurationError, "names='hash'"),
            ({"names": "hash", "key": 1}, TypeError, "int"),
        ],
    )
    def test_arguments_that_make_no_sense(
        self, ps: AsyncParameterStore, how: Any, error: type[Exception], words: str
    ) -> None:
        """They are refused, and nothing is instrumented."""
        with pytest.raises(error, match=words):
            instrument(ps, **how)
        with instrument(ps):
            pass

    def test_what_is_no_provider(self) -> None:
        """A name is none."""
        with pytest.raises(TypeError, match="str"):
            instrument("aws.ps")  # type: ignore[arg-type]


def run(script: str) -> None:
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_without_opentelemetry_it_says_what_to_install() -> None:
    """The extra is not part of a plain install."""
    run("""
import sys
sys.modules["opentelemetry"] = None
try:
    import s1crets.integrations.opentelemetry
except ValueError as error:
    assert "s1crets[otel]" in str(error)
else:
    raise AssertionError
""")


def test_without_an_sdk_nothing_happens(s1crets_aws: LoopbackAws) -> None:
    """The API alone does nothing, and says nothing."""
    s1crets_aws.seed({"aws.ps": {"/a": "v", "/b": "v"}})
    run("""
from s1crets.integrations.opentelemetry import instrument
from s1crets.providers.aws import ParameterStore
ps = ParameterStore()
instrument(ps)
assert ps.get("/a") == "v"
assert ps.get_many(["/a", "/b"]) == {"/a": "v", "/b": "v"}
""")


def test_the_global_sdk_may_be_set_later(s1crets_aws: LoopbackAws) -> None:
    """Its instruments are made once, however it is referred to."""
    s1crets_aws.seed({"aws.ps": {"/a": "v"}})
    run("""
import json
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from s1crets.integrations.opentelemetry import instrument
from s1crets.providers.aws import ParameterStore
stores = [ParameterStore() for _ in range(3)]
reader = InMemoryMetricReader()
instrument(stores[0])
metrics.set_meter_provider(MeterProvider([reader]))
instrument(stores[1])
instrument(stores[2], meter_provider=metrics.get_meter_provider())
for store in stores:
    store.get("/a")
(resource,) = reader.get_metrics_data().resource_metrics
(scope,) = resource.scope_metrics
(misses,) = [one for one in scope.metrics if one.name == "s1crets.cache.misses"]
assert [point.value for point in misses.data.data_points] == [3], misses
""")
