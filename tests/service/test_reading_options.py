"""Options of reading, in the three forms of the API: raw, max_age, relative, label."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Wire, parameter, refusal

import s1crets
from s1crets import aio
from s1crets.errors import AccessDeniedError, BatchError, InvalidNameError
from s1crets.providers import provider as shared
from s1crets.providers.files import Files

if TYPE_CHECKING:
    from pathlib import Path

    from s1crets.providers.aws import (
        AsyncParameterStore,
        AsyncSecretsManager,
        ParameterStore,
        SecretsManager,
    )

DOCUMENT = '{"id": 1e5, "b":  [1.10]}'
REFERENCE = "/aws/reference/secretsmanager/"


def page(*parameters: dict[str, Any], token: str | None = None) -> dict[str, Any]:
    return {"Parameters": list(parameters), **({"NextToken": token} if token else {})}


def one(name: str, value: str = "fake", **more: Any) -> dict[str, Any]:
    """Return a parameter as a list of AWS's has it."""
    found: dict[str, Any] = parameter(name, value, **more)["Parameter"]
    return found


class TestRaw:
    """`raw=True`: the text or bytes as stored."""

    async def test_parameters(self, ps: AsyncParameterStore, ssm: Any, top: str) -> None:
        """By any kind of name, from the service and from the cache, which holds one entry."""
        ssm.put_parameter(Name=f"{top}/a", Value=DOCUMENT, Type="String")
        for name in (f"{top}/a", f"{top}/a:1"):
            assert [await ps.get(name, raw=True) for _ in range(2)] == [DOCUMENT] * 2
            assert await ps.get(name) == {"id": 1e5, "b": [1.1]}
        assert await ps.get(f"{top}/b", raw=True, default=None) is None

        assert ps.stats.requests == {"GetParameter": 3}

    async def test_secrets(self, sm: AsyncSecretsManager, asm: Any, top: str) -> None:
        """Text and bytes, also of a version."""
        version = asm.create_secret(Name=top, SecretString=DOCUMENT)["VersionId"]
        asm.create_secret(Name=f"{top}/b", SecretBinary=b"{}")

        assert [await sm.get(top, raw=True, cached=cached) for cached in (True, False)] == [
            DOCUMENT, DOCUMENT
        ]  # fmt: skip
        assert await sm.get(top, raw=True, version_id=version) == DOCUMENT
        assert await sm.get(f"{top}/b", raw=True) == b"{}"

    async def test_references(self, ps: AsyncParameterStore, asm: Any, top: str) -> None:
        """The secret, or an item of its JSON, which is the value that it has."""
        asm.create_secret(Name=top[1:], SecretString=DOCUMENT)

        assert await ps.get(REFERENCE + top[1:], raw=True) == DOCUMENT
        assert await ps.get(f"{REFERENCE}{top[1:]}/id", raw=True) == 1e5

    def test_the_other_forms(self, ssm: Any, top: str, blocking_ps: ParameterStore) -> None:
        """Blocking, at module level, and for files."""
        ssm.put_parameter(Name=top, Value=DOCUMENT, Type="String")

        assert [blocking_ps.get(top, raw=True) for _ in range(2)] == [DOCUMENT] * 2
        assert s1crets.get("aws.ps", top, raw=True) == DOCUMENT
        assert asyncio.run(module_level("aws.ps", top, raw=True)) == DOCUMENT

    def test_files(self, tmp_path: Path) -> None:
        """Without the newline at their end, as always."""
        (tmp_path / "a").write_text(DOCUMENT + "\n")
        with Files(folder=tmp_path) as files:
            assert files.get("a", raw=True) == DOCUMENT

    @pytest.mark.parametrize("cached", [1, 0])
    async def test_a_keypath_contradicts_it(
        self, ps: AsyncParameterStore, scripted: Wire, cached: int
    ) -> None:
        """Nothing is sent, and no cache answers."""
        scripted.answers["GetParameter"] = parameter("/a", DOCUMENT)
        if cached:
            await ps.get("/a")
        for path in ("/a", "/a:1", REFERENCE + "a"):
            with pytest.raises(TypeError, match="leave keypath out"):
                await ps.get(path, raw=True, keypath="id")

        assert len(scripted.asked) == cached

    async def test_secrets_that_can_not_be_read(
        self, sm: AsyncSecretsManager, scripted: Wire
    ) -> None:
        """The others are raw, whether they are returned or in the error."""
        scripted.answers["ListSecrets"] = {"SecretList": [{"Name": "p/a"}, {"Name": "p/b"}]}
        scripted.answers["BatchGetSecretValue"] = {
            "SecretValues": [{"Name": "p/a", "SecretString": DOCUMENT, "VersionId": "v"}],
            "Errors": [{"SecretId": "p/b", "ErrorCode": "AccessDeniedException", "Message": "no"}],
        }
        parsed: Any = {"id": 1e5, "b": [1.1]}
        for raw, value in ((True, DOCUMENT), (False, parsed)):
            with pytest.raises(BatchError) as caught:
                await sm.get_by_path("p", raw=raw)
            assert caught.value.values == {"p/a": value}
            found = await sm.get_by_path("p", raw=raw, fail_on_error=False)
            assert found == {"p/a": value}
        assert await sm.get_by_path("p", relative=True, fail_on_error=False) == {"a": parsed}


async def module_level(provider: str, path: str, **options: Any) -> Any:
    try:
        return await aio.get(provider, path, **options)
    finally:
        await shared(provider).awaited.aclose()


class TestMaxAge:
    """`max_age`: see `tests/cache/test_max_age.py` for the clock."""

    async def test_parameters(self, ps: AsyncParameterStore, scripted: Wire) -> None:
        """All ways of reading, with a limit that every entry meets and one that none does."""
        scripted.answers["GetParameter"] = lambda asked: parameter(asked.body["Name"], "v")
        scripted.answers["GetParametersByPath"] = page(one("/p/a"))
        scripted.answers["GetParameters"] = page(one("/a", "v"), one("/b", "v"))
        for max_age, requests in ((3600, 1), (0, 3)):
            for _ in range(2):
                await ps.get("/a", max_age=max_age)
                await ps.get("/a:1", max_age=max_age)
                await ps.get_by_path("/p", max_age=max_age)
                await ps.get(REFERENCE + "x", max_age=max_age)
            assert scripted.count_of("/a") == requests
            assert scripted.count_of("/a:1") == requests
            assert scripted.count_of(REFERENCE + "x") == requests
            assert scripted.count("GetParametersByPath") == requests
        await ps.get_many(["/a", "/b"], max_age=3600)
        await ps.get_many(["/a", "/b"], max_age=0)

        assert scripted.count_of("/b") == 1
        assert scripted.count("GetParameters") == 1

    async def test_secrets(self, sm: AsyncSecretsManager, asm: Any, top: str) -> None:
        """Of any version; what somebody else has written is seen."""
        asm.create_secret(Name=top, SecretString="old")
        await sm.get(top)
        asm.put_secret_value(SecretId=top, SecretString="new")

        assert await sm.get(top, max_age=3600) == "old"
        assert await sm.get(top, max_age=0) == "new"
        assert await sm.get(top) == "new"
        assert await sm.get_by_path(top, max_age=0, relative=True) == {"": "new"}
        assert await sm.get(top, max_age=0, version_stage="AWSPREVIOUS") == "old"

    async def test_callers_share_a_request(self, ps: AsyncParameterStore, scripted: Wire) -> None:
        """Also if their limit is zero."""
        scripted.answers["GetParameter"] = parameter("/a:1", "v", Version=1)
        await ps.get("/a:1")
        await asyncio.gather(*(ps.get("/a:1", max_age=0) for _ in range(50)))

        assert len(scripted.asked) == 2

    async def test_an_outage(self, scripted: Wire) -> None:
        """What is old enough to be rejected is not served in its place."""
        from s1crets.providers.aws import AsyncParameterStore

        args: Any = {"stale_for": 3600}
        scripted.answers["GetParameter"] = parameter("/a", "v")
        async with AsyncParameterStore(cache_args=args, retry=1, deadline=0.3) as ps:
            await ps.get("/a")
            scripted.answers["GetParameter"] = refusal("InternalServerError", status=500)
            assert await ps.get("/a", max_age=3600) == "v"
            with pytest.raises(ConnectionError):
                await ps.get("/a", max_age=0)
            with pytest.raises(BatchError):
                await ps.get_many(["/a"], max_age=0)

    def test_the_other_forms(self, scripted: Wire, blocking_ps: ParameterStore) -> None:
        """Blocking and at module level."""
        scripted.answers["GetParameter"] = parameter("/a", "v")
        for max_age in (0, 0, 3600):
            blocking_ps.get("/a", max_age=max_age)
            s1crets.get("aws.ps", "/a", max_age=max_age)

        assert len(scripted.asked) == 4

    @pytest.mark.parametrize(
        ("max_age", "error", "words"),
        [("5", TypeError, "max_age must be int or float"), (True, TypeError, "max_age"),
         (-1, ValueError, "at least 0"), (float("nan"), ValueError, "at least 0")],
    )  # fmt: skip
    async def test_bad_limits(
        self, ps: AsyncParameterStore, scripted: Wire, max_age: Any, error: Any, words: str
    ) -> None:
        """They are rejected before anything is sent, and whatever is cached."""
        reads = (
            ps.get("/a", max_age=max_age),
            ps.get_many(["/a"], max_age=max_age, cached=False),
            ps.get_by_path("/a", max_age=max_age),
        )
        for read in reads:
            with pytest.raises(error, match=words):
                await read

        assert scripted.asked == []


class TestRelative:
    """`relative=True`: names without the path."""

    async def test_parameters(self, ps: AsyncParameterStore, ssm: Any, top: str) -> None:
        """From the service and from the cache, which has full names for those who want them."""
        for name in ("a", "b/c"):
            ssm.put_parameter(Name=f"{top}/{name}", Value="v", Type="String")
        for path in (top, f"{top}/", f"{top} "):
            assert await ps.get_by_path(path, relative=True) == {"a": "v", "b/c": "v"}
        assert await ps.get_by_path(top) == {f"{top}/a": "v", f"{top}/b/c": "v"}
        found = await ps.get_by_path("/", relative=True)
        assert found[f"{top[1:]}/a"] == "v"

        assert ps.stats.requests == {"GetParametersByPath": 2}

    def test_secrets(self, asm: Any, top: str, blocking_sm: SecretsManager) -> None:
        """The secret that has the path as its name has an empty name."""
        for name in (top, f"{top}/a", f"{top}/b/c", f"{top}x"):
            asm.create_secret(Name=name, SecretString="v")
        relative = {"": "v", "a": "v", "b/c": "v"}

        assert [blocking_sm.get_by_path(top, relative=True) for _ in range(2)] == [relative] * 2
        assert s1crets.get_by_path("aws.sm", top, relative=True) == relative

    def test_files(self, tmp_path: Path) -> None:
        """The name of a file in the folder of that path."""
        (tmp_path / "db").mkdir()
        (tmp_path / "db" / "password").write_text("fake")
        with Files(folder=tmp_path) as files:
            assert files.get_by_path("db", relative=True) == {"password": "fake"}
            assert files.get_by_path("/", relative=True) == {"db/password": "fake"}


class TestLabel:
    """`label=`: the versions that have a label, in Parameter Store."""

    async def test_labelled_versions(self, ps: AsyncParameterStore, ssm: Any, top: str) -> None:
        """Parameters without it are left out, and it has a cache entry of its own."""
        for value in ("old", "new"):
            await ps.put(f"{top}/a", value)
            await ps.put(f"{top}/b", value)
        ssm.label_parameter_version(Name=f"{top}/a", ParameterVersion=1, Labels=["live"])

        assert await ps.get_by_path(top, label="live") == {f"{top}/a": "old"}
        assert ps.peek(f"{top}/a") is None  # which is not its current value
        assert await ps.get_by_path(top) == {f"{top}/a": "new", f"{top}/b": "new"}
        assert await ps.get_by_path(top, label="live", relative=True) == {"a": "old"}
        assert await ps.get_by_path(top, label="none") == {}
        encrypted = await ps.get_by_path(top, label="live", decrypt=False)
        assert encrypted.keys() == {f"{top}/a"}
        assert encrypted != {f"{top}/a": "old"}
        await ps.update(f"{top}/a", "newer")
        ssm.label_parameter_version(Name=f"{top}/a", ParameterVersion=3, Labels=["live"])
        assert await ps.get_by_path(top, label="live") == {f"{top}/a": "newer"}

    async def test_the_request(self, ps: AsyncParameterStore, scripted: Wire) -> None:
        """A filter, and nothing else; without a label there is none."""
        scripted.answers["GetParametersByPath"] = page(one("/p/a", Selector=":live"))
        await ps.get_by_path("/p", label="live")
        await ps.get_by_path("/p")
        bodies = scripted.bodies("GetParametersByPath")

        assert bodies[0]["ParameterFilters"] == [
            {"Key": "Label", "Option": "Equals", "Values": ["live"]}
        ]
        assert "ParameterFilters" not in bodies[1]

    async def test_a_refusal_drops_it(self, ps: AsyncParameterStore, scripted: Wire) -> None:
        """As it drops every entry that contains the name."""
        scripted.answers["GetParametersByPath"] = page(one("/p/a"))
        await ps.get_by_path("/p", label="live")
        scripted.answers["GetParameter"] = refusal("AccessDeniedException")
        with pytest.raises(AccessDeniedError):
            await ps.get("/p/a")
        await ps.get_by_path("/p", label="live")

        assert scripted.count("GetParametersByPath") == 2

    async def test_many_labels(self, ps: AsyncParameterStore, scripted: Wire) -> None:
        """Those of long ago are forgotten; the latest is not."""
        scripted.answers["GetParametersByPath"] = page(one("/p/a"))
        scripted.answers["GetParameter"] = refusal("AccessDeniedException")
        for number in range(101):
            ps.get_by_path_local("/p", label=f"l{number}")
        await ps.get_by_path("/p", label="l100")
        with pytest.raises(AccessDeniedError):
            await ps.get("/p/a")
        await ps.get_by_path("/p", label="l100")

        assert scripted.count("GetParametersByPath") == 2

    @pytest.mark.parametrize(("label", "error"), [("", ValueError), (5, TypeError)])
    async def test_bad_labels(
        self, ps: AsyncParameterStore, scripted: Wire, label: Any, error: Any
    ) -> None:
        """They are rejected before anything is sent; so is a path without its slash."""
        with pytest.raises(error, match="label"):
            await ps.get_by_path("/p", label=label)
        with pytest.raises(InvalidNameError):
            await ps.get_by_path("p", label="live")

        assert scripted.asked == []

    def test_other_providers_have_none(self, tmp_path: Path, blocking_sm: SecretsManager) -> None:
        """A `TypeError` names the argument."""
        with Files(folder=tmp_path) as files:
            for provider in (files, blocking_sm):
                untyped: Any = provider
                with pytest.raises(TypeError, match="label"):
                    untyped.get_by_path("a", label="live")
