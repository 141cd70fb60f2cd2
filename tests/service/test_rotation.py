"""Secrets that are rotated: `refresh_on` reads anew what fails, `watch` tells of new versions."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from _support.wire import HANG_UP, Asked, Wire, refusal
from _support.world import A

import s1crets
from s1crets.cache.entry import CachedValue, CacheKey
from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    SecretsManager,
)
from s1crets.providers.rotation import Rotation

if TYPE_CHECKING:
    from collections.abc import Iterator

Awaited: TypeAlias = type[AsyncParameterStore] | type[AsyncSecretsManager]
Blocking: TypeAlias = ParameterStore | SecretsManager
OLD, NEW = "fake-old-7c1", "fake-new-7c1"


class WrongPasswordError(Exception):
    """What a database says of a password that was rotated."""


class Rotated:
    """A secret in both stores, and a database that takes its current value only."""

    def __init__(self, server: Wire) -> None:
        self.server = server
        self.value = OLD
        self.version = 1
        self.password = OLD
        server.answers = {"GetParameter": self.parameter, "GetSecretValue": self.secret}

    def rotate(self) -> None:
        self.value = self.password = NEW
        self.version += 1

    def parameter(self, _: Asked) -> Any:
        return {"Parameter": {"Name": "/db", "Value": self.value, "Version": self.version}}

    def secret(self, _: Asked) -> Any:
        return {"SecretString": self.value, "CreatedDate": 1.7e9 + self.version}

    def connect(self, password: str, *, to: str) -> str:
        if password != self.password:
            raise WrongPasswordError
        return f"connected to {to}"

    @property
    def asked(self) -> int:
        return len(self.server.asked)


@pytest.fixture
def db(scripted: Wire) -> Rotated:
    return Rotated(scripted)


@pytest.fixture(params=[AsyncParameterStore, AsyncSecretsManager])
def awaited(request: pytest.FixtureRequest) -> Awaited:
    cls: Awaited = request.param
    return cls


@pytest.fixture(params=[ParameterStore, SecretsManager])
def blocking(request: pytest.FixtureRequest, environment: Any) -> Iterator[Blocking]:
    with request.param() as provider:
        yield provider


class TestRefreshOn:
    """A function that takes a secret is called again with the new one, where there is one."""

    async def test_a_rotated_secret_is_read_anew_and_the_call_repeated(
        self, db: Rotated, awaited: Awaited
    ) -> None:
        """One request more; later calls know it, and so does `get`."""
        async with awaited() as store:

            @store.refresh_on(WrongPasswordError, path="/db")
            async def connect(password: str, *, to: str) -> str:
                return db.connect(password, to=to)

            assert await connect(to="db") == "connected to db"
            db.rotate()
            assert await connect(to="db") == "connected to db"
            assert await connect(to="db") == "connected to db"
            assert await store.get("/db") == NEW
        assert db.asked == 2

    def test_blocking(self, db: Rotated, blocking: Blocking) -> None:
        """The same for functions that are not async."""

        @blocking.refresh_on(WrongPasswordError, path="/db")
        def connect(password: str, *, to: str) -> str:
            return db.connect(password, to=to)

        assert connect(to="db") == "connected to db"
        db.rotate()
        assert connect(to="db") == "connected to db"
        assert connect(to="db") == "connected to db"
        assert blocking.get("/db") == NEW
        assert db.asked == 2

    async def test_methods_of_every_kind(self, db: Rotated, awaited: Awaited) -> None:
        """The secret follows `self` or `cls`, in whatever order decorators are applied."""
        db.value = db.password = OLD

        def traced(function: Any) -> Any:
            @functools.wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

            return call

        async with awaited() as store:
            fresh = store.refresh_on(WrongPasswordError, path="/db")

            class Pool:
                @fresh
                async def method(self, password: str, *, to: str) -> Any:
                    return type(self), db.connect(password, to=to)

                @traced
                @fresh
                async def decorated(this, password: str, *, to: str) -> Any:  # noqa: N805
                    return type(this), db.connect(password, to=to)

                @classmethod  # pyright: ignore[reportArgumentType]  # it wants `type[Pool]` first
                @fresh
                async def inside(cls, password: str, *, to: str) -> Any:
                    return cls, db.connect(password, to=to)

                @fresh
                @classmethod
                async def outside(cls, password: str, *, to: str) -> Any:
                    return cls, db.connect(password, to=to)

                @staticmethod
                @fresh
                async def static(password: str, *, to: str) -> Any:
                    return Pool, db.connect(password, to=to)

                @fresh
                @staticmethod
                async def static_outside(password: str, *, to: str) -> Any:
                    return Pool, db.connect(password, to=to)

                async def __call__(self, password: str, *, to: str) -> Any:
                    return type(self), db.connect(password, to=to)

            pool: Any = Pool()
            kinds = [name for name in vars(Pool) if not name.startswith("_")]
            calls = [
                *(getattr(pool, name) for name in kinds),
                partial(Pool.method, pool),
                fresh(pool),
                fresh(pool.__call__),
            ]
            for call in calls:
                assert await call(to="db") == (Pool, "connected to db")
            db.rotate()
            for call in calls:
                assert await call(to="db") == (Pool, "connected to db")
        assert len(kinds) == 6

    def test_blocking_methods(self, db: Rotated, blocking: Blocking) -> None:
        """The same for blocking functions, and for functions that are not written in Python."""

        class Pool:
            @blocking.refresh_on(WrongPasswordError, path="/db")
            def method(self, password: str, *, to: str) -> str:
                return db.connect(password, to=to)

            @blocking.refresh_on(WrongPasswordError, path="/db")
            @classmethod
            def of_class(cls, password: str, *, to: str) -> str:
                return db.connect(password, to=to)

        assert Pool().method(to="db") == Pool.of_class(to="db") == "connected to db"
        db.rotate()
        assert Pool().method(to="db") == Pool.of_class(to="db") == "connected to db"
        assert blocking.refresh_on(OSError, path="/db")(dict.fromkeys)() == dict.fromkeys(NEW)
        assert blocking.refresh_on(OSError, path="/db")(str)() == NEW

    async def test_a_burst_of_failures_reads_it_once(self, db: Rotated, awaited: Awaited) -> None:
        """All of a hundred calls that fail together go on with what one of them has read."""
        together, trying = asyncio.Event(), []
        async with awaited() as store:

            @store.refresh_on(WrongPasswordError, path="/db")
            async def connect(password: str) -> str:
                if password == OLD:
                    trying.append(password)
                    if len(trying) == 100:
                        together.set()
                    await together.wait()
                return db.connect(password, to="db")

            await store.get("/db")
            db.rotate()
            done = await asyncio.gather(*(connect() for _ in range(100)))
        assert done == ["connected to db"] * 100
        assert db.asked == 2

    def test_a_burst_in_threads_reads_it_once(self, db: Rotated, blocking: Blocking) -> None:
        """Whichever thread they are in."""

        @blocking.refresh_on(WrongPasswordError, path="/db")
        def connect(password: str) -> str:
            return db.connect(password, to="db")

        blocking.get("/db")
        db.rotate()
        with ThreadPoolExecutor(8) as threads:
            done = list(threads.map(lambda _: connect(), range(40)))
        assert done == ["connected to db"] * 40
        assert db.asked == 2

    @pytest.mark.parametrize("verb", ["invalidate", "start_afresh"])
    async def test_what_a_burst_has_read_is_forgotten(
        self, db: Rotated, awaited: Awaited, verb: str
    ) -> None:
        """Once it is invalidated, as by the test kit: the versions of a new secret start again."""
        calls = []
        async with awaited() as store:

            @store.refresh_on(WrongPasswordError, path="/db")
            async def connect(password: str) -> str:
                calls.append(password)
                return db.connect(password, to="db")

            await store.get("/db")
            db.rotate()
            await connect()
            await getattr(store, verb)()
            db.value, db.version, db.password = "fake-again", 1, "fake-other"
            with pytest.raises(WrongPasswordError):
                await connect()
        assert calls == [OLD, NEW, "fake-again"]

    async def test_the_same_version_is_not_tried_again(self, db: Rotated, awaited: Awaited) -> None:
        """The function's own error is raised, after one call of it, and one look."""
        db.password = "fake-other"
        calls = []
        async with awaited() as store:

            @store.refresh_on(WrongPasswordError, path="/db")
            async def connect(password: str) -> str:
                calls.append(password)
                return db.connect(password, to="db")

            with pytest.raises(WrongPasswordError):
                await connect()
        assert calls == [OLD]
        assert db.asked == 2

    def test_the_same_version_is_not_tried_again_blocking(
        self, db: Rotated, blocking: Blocking
    ) -> None:
        """The same for functions that are not async."""
        db.password = "fake-other"
        calls = []

        @blocking.refresh_on(WrongPasswordError, path="/db")
        def connect(password: str) -> str:
            calls.append(password)
            return db.connect(password, to="db")

        with pytest.raises(WrongPasswordError):
            connect()
        assert calls == [OLD]

    async def test_a_second_failure_is_raised(self, db: Rotated) -> None:
        """With the new version it is called once, whatever comes of it, and without a context."""
        async with AsyncParameterStore() as ps:

            @ps.refresh_on(WrongPasswordError, path="/db")
            async def connect(password: str) -> str:
                raise WrongPasswordError(str(password == NEW))

            await ps.get("/db")
            db.rotate()
            with pytest.raises(WrongPasswordError, match="True") as caught:
                await connect()
        assert caught.value.__context__ is None

    async def test_other_errors_are_none_of_its_business(self, db: Rotated) -> None:
        """Only those that were named lead to a look."""
        async with AsyncParameterStore() as ps:

            @ps.refresh_on(WrongPasswordError, TimeoutError, path="/db")
            async def connect(_: str) -> str:
                raise ConnectionError

            with pytest.raises(ConnectionError):
                await connect()
        assert db.asked == 1

    async def test_where_it_cant_be_read_anew_the_error_stays(
        self, db: Rotated, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A warning says why, once a burst."""
        async with AsyncParameterStore(retry=1) as ps:

            @ps.refresh_on(WrongPasswordError, path="/db")
            async def connect(password: str) -> str:
                return db.connect(password, to="db")

            await connect_and_forget(connect)
            db.password = NEW
            db.server.answers["GetParameter"] = HANG_UP
            for error in await asyncio.gather(
                *(connect() for _ in range(9)), return_exceptions=True
            ):
                assert isinstance(error, WrongPasswordError)
        assert caplog.text.count("can't be read") == 1
        assert OLD not in caplog.text

    async def test_what_another_has_refreshed_is_used(self, db: Rotated) -> None:
        """Where the cache has a newer version than the call, nothing is asked."""
        async with AsyncParameterStore() as ps:
            calls = []

            @ps.refresh_on(WrongPasswordError, path="/db")
            async def connect(password: str) -> str:
                calls.append(password)
                if password == OLD:
                    db.rotate()
                    await ps.get("/db", cached=False)
                return db.connect(password, to="db")

            assert await connect() == "connected to db"
        assert calls == [OLD, NEW]
        assert db.asked == 2

    async def test_a_key_in_json(self, db: Rotated) -> None:
        """`keypath` says what of the secret the function gets; if it is gone, that is said."""
        db.value = json.dumps({"password": OLD})
        async with AsyncParameterStore() as ps:

            @ps.refresh_on(WrongPasswordError, path="/db", keypath="password")
            async def connect(password: str) -> str:
                return db.connect(password, to="db")

            assert await connect() == "connected to db"
            db.rotate()
            db.value = json.dumps({"password": NEW})
            assert await connect() == "connected to db"

    async def test_a_mapping_of_arguments(self, db: Rotated, awaited: Awaited) -> None:
        """Several keyword arguments from one secret, in functions and methods."""
        db.value = json.dumps({"user": "u", "db": [{"pw": OLD}], "port": 5432})
        given: dict[str, Any] = {"user": "user", "password": ("db", 0, "pw")}
        async with awaited() as store:
            decorate = store.refresh_on(WrongPasswordError, path="/db", keypath=given)

            class Client:
                @decorate
                async def connect(self, to: str, *, user: str, password: str) -> str:
                    return f"{user}: {db.connect(password, to=to)}"

            @decorate
            async def connect(to: str, password: str = "", **more: str) -> str:
                return f"{more}: {db.connect(password, to=to)}"

            assert await connect("a") == "{'user': 'u'}: connected to a"
            assert await Client().connect(to="b") == "u: connected to b"
            db.value = json.dumps({"user": "other", "db": [{"pw": NEW}]})
            db.password, db.version = NEW, 2
            assert await Client().connect("c") == "other: connected to c"
            assert await connect("d", extra="x") == (
                "{'extra': 'x', 'user': 'other'}: connected to d"
            )
            with pytest.raises(TypeError, match="multiple values"):
                await connect("e", user="mine")
        assert db.asked == 2

    def test_a_mapping_of_arguments_blocking(self, db: Rotated, blocking: Blocking) -> None:
        """The same."""
        db.value = json.dumps({"user": "u", "pw": OLD})

        @blocking.refresh_on(
            WrongPasswordError, path="/db", keypath={"user": "user", "password": "pw"}
        )
        def connect(to: str, *, user: str, password: str) -> str:
            return f"{user}: {db.connect(password, to=to)}"

        assert connect("a") == "u: connected to a"
        db.value, db.password, db.version = json.dumps({"user": "v", "pw": NEW}), NEW, 2
        assert connect("b") == "v: connected to b"

    @pytest.mark.parametrize("keypath", [{}, {5: "a"}, {"a": 1.5}, {"a": {"b": "c"}}])
    def test_mappings_that_make_no_sense(self, awaited: Awaited, keypath: Any) -> None:
        """They are rejected where the function is decorated."""
        with pytest.raises(TypeError, match="keypath"):
            awaited().refresh_on(WrongPasswordError, path="/db", keypath=keypath)

    async def test_a_key_that_is_gone(self, db: Rotated) -> None:
        """Is told as `get` tells it."""
        db.value = json.dumps({"password": OLD})
        async with AsyncParameterStore() as ps:

            @ps.refresh_on(WrongPasswordError, path="/db", keypath="password")
            async def connect(password: str) -> str:
                return db.connect(password, to="db")

            await connect_and_forget(connect)
            db.rotate()
            db.value = "{}"
            with pytest.raises(KeyError, match="has no key 'password'"):
                await connect()

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda store: store.refresh_on(path="/db"),
            lambda store: store.refresh_on("KeyError", path="/db"),
            lambda store: store.refresh_on(KeyError(), path="/db"),
            lambda store: store.refresh_on(KeyboardInterrupt, path="/db"),
            lambda store: store.refresh_on(KeyError, path="/db", keypath=3.5),
        ],
    )
    def test_what_cant_be_meant_is_refused(self, wrong: Any, awaited: Awaited) -> None:
        """Where the function is decorated."""
        for store in (awaited(), ParameterStore()):
            with pytest.raises(TypeError):
                wrong(store)

    def test_a_name_that_can_be_none_is_refused(self, blocking: Blocking) -> None:
        """Where the function is decorated."""
        for store in (blocking, blocking.awaited):
            with pytest.raises(s1crets.InvalidNameError):
                store.refresh_on(KeyError, path="")

    def test_a_function_of_the_other_kind_is_refused(self) -> None:
        """A blocking call in a coroutine would stop the loop; nobody would await the other."""

        async def awaited(secret: Any) -> None: ...

        def blocking(secret: Any) -> None: ...

        with ParameterStore() as ps:
            with pytest.raises(TypeError, match="awaited: a blocking one takes `def`"):
                ps.refresh_on(KeyError, path="/db")(awaited)
            with pytest.raises(TypeError, match="partial: an async provider takes"):
                ps.awaited.refresh_on(KeyError, path="/db")(partial(blocking))  # type: ignore[arg-type]

    def test_tracebacks_do_not_show_it(self, db: Rotated, blocking: Blocking) -> None:
        """No frame of ours has the secret among its locals."""
        db.password = NEW

        @blocking.refresh_on(WrongPasswordError, path="/db")
        def connect(password: str) -> str:
            return db.connect(password, to="db")

        with pytest.raises(WrongPasswordError) as caught:
            connect()
        report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        ours = [repr(frame.locals) for frame in report.stack if frame.filename != __file__]
        assert ours
        assert OLD not in "".join(ours)


# What is decorated, the keypath, and the signature that callers see.
async def _first(password: str, /, to: str = "db") -> str: ...  # type: ignore[empty-body]
async def _method(self: object, password: str, *, to: str) -> str: ...  # type: ignore[empty-body]
async def _named(to: str, user: str, password: str, n: int) -> str: ...  # type: ignore[empty-body]
async def _any(*args: str, **kwargs: str) -> str: ...  # type: ignore[empty-body]
async def _keyword(*, password: str) -> str: ...  # type: ignore[empty-body]
async def _none() -> str: ...  # type: ignore[empty-body]


class TestSignature:
    """Frameworks look at the signature: it does not have what callers don't pass."""

    @pytest.mark.parametrize(
        ("function", "keypath", "signature"),
        [
            (_first, (), "(to: 'str' = 'db') -> 'str'"),
            (_method, (), "(self: 'object', *, to: 'str') -> 'str'"),
            (_named, (), "(user: 'str', password: 'str', n: 'int') -> 'str'"),
            (_named, {"user": "a", "password": "b"}, "(to: 'str', *, n: 'int') -> 'str'"),
            (_any, (), "(*args: 'str', **kwargs: 'str') -> 'str'"),
            (_any, {"kwargs": "a"}, "(*args: 'str', **kwargs: 'str') -> 'str'"),
            (_keyword, {"password": "b"}, "() -> 'str'"),
            # These can't be called, which is found out then.
            (_keyword, (), "(*, password: 'str') -> 'str'"),
            (_none, (), "() -> 'str'"),
            (_none, {"password": "b"}, "() -> 'str'"),
        ],
    )
    def test_it_lacks_the_secret(self, function: Any, keypath: Any, signature: str) -> None:
        decorate: Any = AsyncParameterStore().refresh_on(ValueError, path="/db", keypath=keypath)

        assert str(inspect.signature(decorate(function))) == signature

    def test_blocking_methods_of_every_kind(self, blocking: Blocking) -> None:
        refresh_on = blocking.refresh_on(ValueError, path="db")

        class Database:
            @refresh_on
            def of_instance(self, password: str, to: int) -> None: ...

            @refresh_on
            @classmethod
            def of_class(cls, password: str, to: int) -> None: ...

            @staticmethod
            @refresh_on
            def of_none(password: str, to: int) -> None: ...

        for method in (Database().of_instance, Database.of_class, Database.of_none):
            assert list(inspect.signature(method).parameters) == ["to"]

    def test_several_secrets(self) -> None:
        """Each decorator takes its own away."""
        ps = AsyncParameterStore()

        @ps.refresh_on(ValueError, path="/one")
        @ps.refresh_on(ValueError, path="/two")
        async def both(two: str, one: str, to: str) -> None: ...

        assert list(inspect.signature(both).parameters) == ["to"]

    def test_functions_without_a_signature(self, blocking: Blocking) -> None:
        """Some that are written in C."""
        assert blocking.refresh_on(ValueError, path="db")(max).__wrapped__ is max  # type: ignore[attr-defined]


async def connect_and_forget(connect: Any) -> None:
    """Use a decorated function once, so that the cache has the secret."""
    assert await connect() == "connected to db"


class Reader:
    """A provider whose reads return the given values in turn, the last of them forever."""

    def __init__(self, *values: CachedValue) -> None:
        self.values = list(values)
        self.reads = 0

    def key_of(self, path: str) -> CacheKey:
        return CacheKey.of_secret(path)

    def cached_value(self, key: CacheKey) -> None:  # noqa: ARG002
        return None

    async def read(self, key: CacheKey, *, cached: bool) -> CachedValue:  # noqa: ARG002
        self.reads += 1
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]

    def answer(self, held: CachedValue, path: str, keypath: Any) -> Any:  # noqa: ARG002
        return held.raw


class TestBursts:
    """Failures within a second are a burst; the clock is the test's own."""

    async def test_a_burst_lasts_a_second(self) -> None:
        """The first failure reads, the others get the same result; later failures read again."""
        now, reader = [0.0], Reader(CachedValue("v", 1.0))
        rotation = Rotation(reader, lambda: now[0])
        for moment, expected in ((0.0, 1), (0.5, 1), (0.99, 1), (1.0, 2), (1.5, 2), (9.0, 3)):
            now[0] = moment
            assert await rotation._newer(A, CachedValue("v", 1.0)) is None
            assert reader.reads == expected

    async def test_a_read_from_before_a_failure_says_nothing(self) -> None:
        """It found an older version than the one that failed."""
        reader = Reader(CachedValue("v1", 1.0), CachedValue("v2", 2.0))
        rotation = Rotation(reader, lambda: 0.0)
        first = await rotation._newer(A, CachedValue("v0", 0.0))

        assert first is not None
        assert first.raw == "v1"
        assert await rotation._newer(A, CachedValue("v2", 2.0)) is None

    async def test_without_a_cache_the_whole_burst_gets_the_new_value(self) -> None:
        """Every caller that had the old version."""
        rotation = Rotation(Reader(CachedValue("new", 2.0)), lambda: 0.0)
        old = CachedValue("old", 1.0)
        first, second = await rotation._newer(A, old), await rotation._newer(A, old)

        assert first is second
        assert first
        assert first.raw == "new"

    @pytest.mark.parametrize(("raw", "found"), [("other", True), ("same", False)])
    async def test_without_versions_the_content_decides(self, raw: str, *, found: bool) -> None:
        """A store may have no versions at all."""
        rotation = Rotation(Reader(CachedValue(raw)))

        assert (await rotation._newer(A, CachedValue("same")) is not None) is found


class TestWatch:
    """An async iterator of the versions that come."""

    async def test_new_versions_are_told(self, db: Rotated, awaited: Awaited) -> None:
        """Not the first one; also one with the same value; and the cache has them at once."""
        async with awaited() as store:
            assert await store.get("/db") == OLD
            changes = store.watch("/db", interval=0.01)
            db.rotate()
            assert await anext(changes) == NEW
            assert store.peek("/db") == NEW
            db.version += 1  # the value is the same
            assert await anext(changes) == NEW

    async def test_what_does_not_change_is_not_told(self, db: Rotated) -> None:
        """However often it is looked at."""
        async with AsyncParameterStore() as ps:
            waiting = asyncio.ensure_future(anext(ps.watch("/db", interval=0.001)))
            while db.asked < 10:
                await asyncio.sleep(0.001)
            assert not waiting.done()
            db.rotate()
            assert await waiting == NEW

    async def test_an_outage_is_waited_out(
        self, db: Rotated, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One warning each; the next version is told when it is over."""
        async with AsyncParameterStore(retry=1) as ps:
            await ps.get("/db")
            waiting = asyncio.ensure_future(anext(ps.watch("/db", interval=0.001)))
            for outages in (1, 2):
                db.server.answers["GetParameter"] = HANG_UP
                before = db.asked
                while db.asked < before + 5:
                    await asyncio.sleep(0.001)
                assert caplog.text.count("can't be read at the moment") == outages
                db.server.answers["GetParameter"] = db.parameter
                before = db.asked
                while db.asked < before + 3:
                    await asyncio.sleep(0.001)
            db.rotate()
            assert await waiting == NEW
        assert OLD not in caplog.text

    @pytest.mark.parametrize(
        ("code", "error"),
        [("ParameterNotFound", KeyError), ("AccessDeniedException", PermissionError)],
    )
    async def test_a_refusal_ends_it(self, db: Rotated, code: str, error: Any) -> None:
        """What is gone or forbidden does not come back by waiting."""
        async with AsyncParameterStore() as ps:
            await ps.get("/db")
            db.server.answers["GetParameter"] = refusal(code)
            with pytest.raises(error):
                await anext(ps.watch("/db", interval=0.001))

    async def test_a_key_in_json(self, db: Rotated) -> None:
        """`keypath` says what is wanted of each version."""
        db.value = '{"password": "fake-1"}'
        async with AsyncParameterStore() as ps:
            await ps.get("/db")
            changes = ps.watch("/db", interval=0.001, keypath="password")
            db.value, db.version = '{"password": "fake-2"}', 2
            assert await anext(changes) == "fake-2"
            db.value, db.version = "{}", 3
            with pytest.raises(KeyError, match="has no key 'password'"):
                await anext(changes)

    @pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf"), True, "1", None])
    async def test_intervals_that_are_none(self, awaited: Awaited, interval: Any) -> None:
        """Are refused by the call, before anything is iterated."""
        with pytest.raises((TypeError, ValueError), match="interval"):
            awaited().watch("/db", interval=interval)

    async def test_bad_names_and_keypaths(self, awaited: Awaited) -> None:
        """Are refused by the call, before anything is iterated."""
        with pytest.raises(s1crets.InvalidNameError):
            awaited().watch("", interval=1)
        with pytest.raises(TypeError):
            awaited().watch("/db", interval=1, keypath=3.5)  # type: ignore[arg-type]
