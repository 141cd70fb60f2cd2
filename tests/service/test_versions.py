"""history and restore, and the versions that update and put of Secrets Manager write."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Wire, refusal

import s1crets
from s1crets import aio
from s1crets.errors import BadResponseError, ConfigurationError, SecretNotFoundError
from s1crets.providers import provider
from s1crets.providers.aws import SecretsManager
from s1crets.providers.files import AsyncFiles, Files
from s1crets.providers.store import SecretVersion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s1crets.providers.aws import (
        AsyncParameterStore,
        AsyncSecretsManager,
        ParameterStore,
    )

CANARY = "canary-4f11"
TOKENS = ["00000000-0000-4000-8000-00000000000" + digit for digit in "0123"]
WHEN = datetime(2026, 11, 26, tzinfo=UTC)
ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "GetParameterHistory": ("Parameters", {"Name": "/a", "Version": 3, "Value": CANARY}),
    "ListSecretVersionIds": ("Versions", {"VersionId": "v"}),
}


class TestHistory:
    """Versions with their labels and times; no values."""

    async def test_of_a_parameter(self, ps: AsyncParameterStore, ssm: Any, top: str) -> None:
        """By name and by ARN, the oldest first."""
        for number in range(3):
            await ps.put(top, f"{CANARY}{number}", type="String")
        ssm.label_parameter_version(Name=top, ParameterVersion=2, Labels=["a", "b"])
        found = await ps.history(top)

        assert [(one.version, one.labels) for one in found] == [
            ("1", ()), ("2", ("a", "b")), ("3", ())
        ]  # fmt: skip
        assert all(one.created and one.created.tzinfo for one in found)
        assert CANARY not in repr(found)
        assert ps.stats.requests["GetParameterHistory"] == 1

    async def test_of_a_secret(self, sm: AsyncSecretsManager, asm: Any, top: str) -> None:
        """Also versions without a stage, which AWS will delete at some time."""
        arn = asm.create_secret(Name=top, SecretString="1", ClientRequestToken=TOKENS[0])["ARN"]
        for token in TOKENS[1:]:
            await sm.update(top, "2", client_request_token=token)
        found = await sm.history(top)

        assert [(one.version, one.labels) for one in found] == list(
            zip(TOKENS, [(), (), ("AWSPREVIOUS",), ("AWSCURRENT",)], strict=True)
        )
        assert await sm.history(arn) == found

    async def test_pages(
        self, ps: AsyncParameterStore, sm: AsyncSecretsManager, scripted: Wire
    ) -> None:
        """Also of the operation that botocore has no paginator for; no value is decrypted."""
        for operation, (field, one) in ANSWERS.items():
            other = {**one, "Version": 4, "VersionId": "w", "CreatedDate": 5.0, "Labels": ["x"]}
            scripted.answers[operation] = [{field: [one], "NextToken": "t"}, {field: [other]}]
        times = [datetime.fromtimestamp(5, UTC), None]

        assert await ps.history("/a") == [
            SecretVersion("3", (), None),
            SecretVersion("4", ("x",), None),
        ]
        assert [(one.version, one.created) for one in await sm.history("a")] == [
            ("v", times[1]), ("w", times[0])
        ]  # fmt: skip
        assert scripted.bodies("GetParameterHistory")[1]["NextToken"] == "t"
        assert scripted.bodies("ListSecretVersionIds") == [
            {"SecretId": "a", "IncludeDeprecated": True},
            {"SecretId": "a", "IncludeDeprecated": True, "NextToken": "t"},
        ]
        assert not any(body["WithDecryption"] for body in scripted.bodies("GetParameterHistory"))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"Name": "/b"}, {"Version": "3", "VersionId": 3},
            {"Version": None, "VersionId": None},
        ],
    )  # fmt: skip
    async def test_what_is_no_answer(
        self, ps: AsyncParameterStore, sm: AsyncSecretsManager, scripted: Wire, wrong: Any
    ) -> None:
        """About another name, or not of AWS's form."""
        for operation, (field, one) in ANSWERS.items():
            scripted.answers[operation] = {**wrong, field: [{**one, **wrong}]}
        for history in (ps.history("/a"), sm.history("/a")):
            with pytest.raises(BadResponseError) as caught:
                await history
            assert CANARY not in str(caught.value)

    async def test_a_token_that_is_repeated(self, sm: AsyncSecretsManager, scripted: Wire) -> None:
        """It ends, also without a paginator of botocore's."""
        scripted.answers["ListSecretVersionIds"] = {"Versions": [], "NextToken": "t"}
        with pytest.raises(BadResponseError):
            await sm.history("a")

        assert len(scripted.asked) == 2

    async def test_a_missing_secret(self, ps: AsyncParameterStore, sm: AsyncSecretsManager) -> None:
        """A `KeyError`."""
        for history in (ps.history("/none"), sm.history("none")):
            with pytest.raises(SecretNotFoundError, match="none"):
                await history

    def test_the_other_forms(self, top: str, ssm: Any, blocking_ps: ParameterStore) -> None:
        """Blocking and at module level."""
        ssm.put_parameter(Name=top, Value="v", Type="String")
        (found,) = blocking_ps.history(top)

        assert s1crets.history("aws.ps", top) == [found]
        assert asyncio.run(awaited(lambda: aio.history("aws.ps", top))) == [found]


async def awaited(call: Callable[[], Any]) -> Any:
    try:
        return await call()
    finally:
        for name in ("aws.ps", "aws.sm"):
            await provider(name).awaited.aclose()


class TestRestore:
    """The deletion of a secret is cancelled."""

    async def test_a_secret(self, sm: AsyncSecretsManager, asm: Any, top: str) -> None:
        """By name or ARN; what was remembered of its absence is forgotten."""
        arn = asm.create_secret(Name=top, SecretString="v")["ARN"]
        for name in (top, arn):
            await sm.delete(name)
            assert await sm.get(top, default=None) is None
            assert not await sm.path_exists(top)
            await sm.restore(name)
            assert await sm.get(top) == "v"

        assert sm.stats.requests["RestoreSecret"] == 2

    def test_absence_is_forgotten(self, asm: Any, top: str) -> None:
        """With `missing_ttl`, and in all three forms."""
        asm.create_secret(Name=top, SecretString="v")
        cache: Any = {"missing_ttl": 1000}
        with SecretsManager(cache_args=cache) as sm:
            for restore in (sm.restore, lambda name: asm.restore_secret(SecretId=name)):
                sm.delete(top)
                assert [sm.get(top, default=None) for _ in range(2)] == [None, None]
                restore(top)
                found = sm.get(top, default=None)
            assert found is None  # nobody has told this process
            sm.invalidate(top)
            assert sm.get(top) == "v"
            assert sm.stats.requests["GetSecretValue"] == 4
        asm.delete_secret(SecretId=top)
        s1crets.restore("aws.sm", top)
        asm.delete_secret(SecretId=top)
        asyncio.run(awaited(lambda: aio.restore("aws.sm", top)))
        assert s1crets.get("aws.sm", top) == "v"

    async def test_failures(self, sm: AsyncSecretsManager, scripted: Wire) -> None:
        """A missing secret, and an answer about another one."""
        scripted.answers["RestoreSecret"] = [
            refusal("ResourceNotFoundException"), {"Name": "b", "ARN": "arn:b"}
        ]  # fmt: skip
        for error in (SecretNotFoundError, BadResponseError):
            with pytest.raises(error):
                await sm.restore("a")


class TestWhatAProviderCanNotDo:
    """It is a `TypeError` that says so, and nothing is sent."""

    @pytest.mark.parametrize("verb", ["history", "restore"])
    def test_files(self, tmp_path: Path, verb: str) -> None:
        """A folder has neither versions nor a bin."""
        (tmp_path / "a").write_text("fake")
        with Files(folder=tmp_path) as files, pytest.raises(TypeError, match=r"files in .*'a'"):
            getattr(files, verb)("a")
        with pytest.raises(TypeError, match=r"files in .*'a'"):
            asyncio.run(getattr(AsyncFiles(folder=tmp_path), verb)("a"))
        with pytest.raises(TypeError, match=r"files in .*'a'"):
            getattr(s1crets, verb)("files", "a")

    def test_parameters_are_not_kept(self, scripted: Wire, blocking_ps: ParameterStore) -> None:
        """Once deleted, a parameter is gone."""
        with pytest.raises(TypeError, match=r"Parameter Store can't restore '/a'.* gone"):
            blocking_ps.restore("/a")

        assert scripted.asked == []

    def test_versions_of_parameters_have_no_names(self, blocking_ps: ParameterStore) -> None:
        """The arguments of the other store are rejected with their name."""
        untyped: Any = blocking_ps
        for verb in (untyped.update, untyped.put):
            with pytest.raises(TypeError, match="version_stages"):
                verb("/a", "v", version_stages=["AWSPENDING"])


class TestVersionsOfSecrets:
    """`version_stages` and `client_request_token` of update and put."""

    async def test_what_is_sent(self, sm: AsyncSecretsManager, scripted: Wire) -> None:
        """One request, with what was given; the current version stays what it was."""
        scripted.answers["PutSecretValue"] = lambda asked: {
            "Name": "a", "VersionId": asked.body["ClientRequestToken"],
            "VersionStages": asked.body.get("VersionStages", ["AWSCURRENT"]),
        }  # fmt: skip
        token = TOKENS[0]
        for verb in (sm.update, sm.put):
            await verb("a", "v", version_stages=["AWSPENDING", "x"], client_request_token=token)
            await verb("a", "v", client_request_token=token)
        body = {"SecretId": "a", "SecretString": "v", "ClientRequestToken": token}

        assert scripted.bodies("PutSecretValue") == [
            {**body, "VersionStages": ["AWSPENDING", "x"]}, body
        ] * 2  # fmt: skip
        assert len(scripted.asked) == 4

    async def test_settings_of_the_secret(self, sm: AsyncSecretsManager, scripted: Wire) -> None:
        """A key or a description takes `UpdateSecret`, which knows the version's id too."""
        scripted.answers["UpdateSecret"] = {"Name": "a", "VersionId": TOKENS[0]}
        await sm.update("a", "v", description="d", client_request_token=TOKENS[0])
        await sm.update("a", "v", kms_key_id="alias/fake")
        first, second = scripted.bodies("UpdateSecret")

        assert (first["Description"], first["ClientRequestToken"]) == ("d", TOKENS[0])
        assert second["KmsKeyId"] == "alias/fake"
        assert "Description" not in second

    async def test_another_version_in_the_answer(
        self, sm: AsyncSecretsManager, scripted: Wire
    ) -> None:
        """It is not the one that was written."""
        scripted.answers["PutSecretValue"] = {"Name": "a", "VersionId": TOKENS[1]}
        with pytest.raises(BadResponseError):
            await sm.update("a", "v", client_request_token=TOKENS[0])

    async def test_stages_that_can_not_be_moved(
        self, sm: AsyncSecretsManager, scripted: Wire
    ) -> None:
        """What AWS says, and answers about another secret."""
        scripted.answers.update(
            PutSecretValue={"Name": "a", "VersionId": TOKENS[0], "VersionStages": []},
            DescribeSecret=[refusal("AccessDeniedException"), {"Name": "b"}, {"Name": "a"}],
            UpdateSecretVersionStage={"Name": "b"},
        )
        version: Any = {"version_stages": ["AWSCURRENT"], "client_request_token": TOKENS[0]}
        for error in (PermissionError, BadResponseError, BadResponseError):
            with pytest.raises(error):
                await sm.update("a", "v", **version)
        moved = scripted.bodies("UpdateSecretVersionStage")

        assert moved == [
            {"SecretId": "a", "VersionStage": "AWSCURRENT", "MoveToVersionId": TOKENS[0]}
        ]

    async def test_the_first_version_is_the_current_one(
        self, sm: AsyncSecretsManager, top: str
    ) -> None:
        """`put` does not create a secret whose only version would have another stage."""
        with pytest.raises(ConfigurationError, match="first version can only be AWSCURRENT"):
            await sm.put(top, "v", version_stages=["AWSPENDING"])
        assert not await sm.path_exists(top)
        await sm.put(top, "v", version_stages=["AWSCURRENT"], client_request_token=TOKENS[0])

        assert await sm.get(top, version_id=TOKENS[0]) == "v"

    @pytest.mark.parametrize(
        ("settings", "error", "words"),
        [
            ({"version_stages": "AWSPENDING"}, TypeError, "a list of str, not str"),
            ({"version_stages": {"a": "b"}}, TypeError, "a list of str, not dict"),
            ({"version_stages": [5]}, TypeError, "must be str, not int"),
            ({"version_stages": []}, ValueError, "has 0 stages, and must have 1 to 20"),
            ({"version_stages": ["x"] * 21}, ValueError, "has 21 stages"),
            ({"version_stages": [""]}, ValueError, "1 to 256"),
            ({"client_request_token": "x" * 31}, ValueError, "32 to 64"),
            ({"client_request_token": "x" * 65}, ValueError, "32 to 64"),
            ({"client_request_token": 5}, TypeError, "must be str"),
            ({"version_stages": ["x"], "kms_key_id": "k"}, ValueError, "combined with kms_key_id"),
            ({"version_stages": ["x"], "description": "d"}, ValueError, "call twice"),
        ],
    )
    async def test_settings_that_make_no_sense(
        self, sm: AsyncSecretsManager, scripted: Wire, settings: Any, error: Any, words: str
    ) -> None:
        """They are rejected before anything is sent."""
        for verb in (sm.update, sm.put):
            with pytest.raises(error, match=words):
                await verb("a", "v", **settings)
        with pytest.raises(ConfigurationError):
            await sm.put("a", "v", version_stages=["x"], tags={"a": "b"})

        assert scripted.asked == []

    def test_at_module_level(self, asm: Any, top: str, blocking_sm: SecretsManager) -> None:
        """`update` and `put` pass their options on."""
        asm.create_secret(Name=top, SecretString="v")
        pending: Any = {"version_stages": ["AWSPENDING"]}
        s1crets.update("aws.sm", top, "1", client_request_token=TOKENS[0], **pending)
        asyncio.run(
            awaited(
                lambda: aio.update("aws.sm", top, "2", client_request_token=TOKENS[1], **pending)
            )
        )

        assert blocking_sm.get(top, version_stage="AWSPENDING") == "2"
        assert blocking_sm.get(top) == "v"
