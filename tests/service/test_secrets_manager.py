"""Secrets Manager: the documented calls against a real HTTP server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Wire, refusal

import s1crets

if TYPE_CHECKING:
    from s1crets.providers.aws import AsyncSecretsManager


async def test_text_json_and_binary(sm: AsyncSecretsManager, asm: Any, top: str) -> None:
    """Text as it is, JSON parsed, bytes as bytes."""
    asm.create_secret(Name=f"{top}/text", SecretString="12345")
    asm.create_secret(Name=f"{top}/json", SecretString='{"a": {"b": [7]}}')
    asm.create_secret(Name=f"{top}/binary", SecretBinary=b"\x00{}")

    assert await sm.get(f"{top}/text") == "12345"
    assert await sm.get(f"{top}/json") == {"a": {"b": [7]}}
    assert await sm.get(f"{top}/json", keypath=["a", "b", 0]) == 7
    assert await sm.get(f"{top}/binary") == b"\x00{}"


async def test_an_arn_is_a_name(sm: AsyncSecretsManager, asm: Any, top: str) -> None:
    """Also after an update by the name."""
    arn = asm.create_secret(Name=top, SecretString="old")["ARN"]

    assert await sm.get(arn) == "old"
    await sm.update(top, "new")
    assert await sm.get(arn) == "new"


async def test_arns_among_many(sm: AsyncSecretsManager, asm: Any, top: str) -> None:
    """In the same request as names."""
    arn = asm.create_secret(Name=f"{top}/a", SecretString="by arn")["ARN"]
    asm.create_secret(Name=f"{top}/b", SecretString="by name")

    assert await sm.get_many([arn, f"{top}/b"]) == {arn: "by arn", f"{top}/b": "by name"}
    assert sm.stats.requests == {"BatchGetSecretValue": 1}


async def test_versions_and_stages(sm: AsyncSecretsManager, asm: Any, top: str) -> None:
    """Each has its own cache entry, which an update drops."""
    first = asm.create_secret(Name=top, SecretString="one")["VersionId"]
    await sm.update(top, "two")

    assert await sm.get(top) == "two"
    assert await sm.get(top, version_id=first) == "one"
    assert await sm.get(top, version_stage="AWSPREVIOUS") == "one"
    assert sm.peek(top, version_stage="AWSPREVIOUS") == "one"
    await sm.update(top, "three")
    assert sm.peek(top, version_stage="AWSPREVIOUS") is None
    assert await sm.get(top, version_stage="AWSPREVIOUS") == "two"


async def test_a_missing_stage_and_a_missing_secret_are_told_apart(
    sm: AsyncSecretsManager, scripted: Wire
) -> None:
    """Both are a KeyError, with different messages. These are AWS's; moto has one for both."""
    words = "Secrets Manager can't find the specified secret"
    scripted.answers["GetSecretValue"] = [
        refusal("ResourceNotFoundException", f"{words} value for staging label: NIX"),
        refusal("ResourceNotFoundException", f"{words} value for VersionId: nix"),
        refusal("ResourceNotFoundException", f"{words}."),
    ]

    for version in ({"version_stage": "NIX"}, {"version_id": "nix"}):
        with pytest.raises(KeyError, match="the secret is there, but has no such version or stage"):
            await sm.get("a", **version)  # type: ignore[arg-type]
    with pytest.raises(KeyError) as no_secret:
        await sm.get("a")
    assert "the secret is there" not in str(no_secret.value)
    assert await sm.get("a", default=None) is None


async def test_scheduled_for_deletion_reads_as_not_found(
    sm: AsyncSecretsManager, asm: Any, top: str
) -> None:
    """The message says so."""
    asm.create_secret(Name=top, SecretString="one")
    asm.delete_secret(SecretId=top)

    with pytest.raises(KeyError, match="scheduled for deletion"):
        await sm.get(top)
    assert not await sm.path_exists(top)
    assert await sm.get(top, default="d") == "d"


async def test_path_exists_is_exact(sm: AsyncSecretsManager, asm: Any, top: str) -> None:
    """A yes is cached, a no is not; nothing is decrypted."""
    asm.create_secret(Name=f"{top}/db", SecretString="one")

    assert await sm.path_exists(f"{top}/db")
    assert await sm.path_exists(f"{top}/db")
    assert not await sm.path_exists(top)
    assert not await sm.path_exists(f"{top}/d")
    assert sm.stats.requests == {"DescribeSecret": 3}


async def test_path_exists_where_describe_is_denied(
    sm: AsyncSecretsManager, scripted: Wire
) -> None:
    """GetSecretValue decides; if that is denied too, the error is raised."""
    scripted.answers["DescribeSecret"] = refusal("AccessDeniedException")
    scripted.answers["GetSecretValue"] = [
        refusal("AccessDeniedException"),
        refusal("ResourceNotFoundException"),
        {"Name": "a", "SecretString": "v"},
    ]

    with pytest.raises(PermissionError):
        await sm.path_exists("a")
    assert not await sm.path_exists("a")
    assert await sm.path_exists("a")


@pytest.mark.parametrize("value", ["new", {"a": [1]}, ["x"], b"\x00\xff"])
async def test_update_is_one_put(sm: AsyncSecretsManager, asm: Any, top: str, value: Any) -> None:
    """The stored value is read back; the secret keeps its encryption key, which is not sent."""
    asm.create_secret(Name=top, SecretString="old", KmsKeyId="alias/mine")
    await sm.get(top)

    await sm.update(top, value)

    assert await sm.get(top) == value
    assert sm.stats.requests == {"GetSecretValue": 2, "PutSecretValue": 1}
    assert asm.describe_secret(SecretId=top)["KmsKeyId"] == "alias/mine"


async def test_update_of_an_unknown_name(sm: AsyncSecretsManager, top: str) -> None:
    """It is a KeyError."""
    with pytest.raises(KeyError):
        await sm.update(top, "new")


async def test_get_many(sm: AsyncSecretsManager, asm: Any, top: str) -> None:
    """Results are in the requested order."""
    names = [f"{top}/{i}" for i in range(3)]
    for name in names:
        asm.create_secret(Name=name, SecretString=name)

    assert list((await sm.get_many(names[::-1])).items()) == [(n, n) for n in names[::-1]]


async def test_get_by_path_narrows_the_services_prefix(
    sm: AsyncSecretsManager, asm: Any, top: str
) -> None:
    """Names under `path/` or equal to it are found; the keys are hits afterwards."""
    name = top[1:]
    for one in (name, f"{name}/a", f"{name}/b/c", f"{name}bar"):
        asm.create_secret(Name=one, SecretString=one)

    found = await sm.get_by_path(name)

    assert found == {one: one for one in (name, f"{name}/a", f"{name}/b/c")}
    assert await sm.get_by_path(f"{name}/") == found
    before = dict(sm.stats.requests)
    assert await sm.get(f"{name}/a") == f"{name}/a"
    assert sm.stats.requests == before
    assert await sm.get_by_path(f"{name}/nix") == {}


async def test_get_by_path_of_names_with_an_exclamation_mark(
    sm: AsyncSecretsManager, scripted: Wire
) -> None:
    """The service would treat it as a negation, so no filter is sent."""
    scripted.answers["ListSecrets"] = {"SecretList": [{"Name": "!a/b"}, {"Name": "a"}]}
    scripted.answers["GetSecretValue"] = {"SecretString": "v"}

    assert await sm.get_by_path("!a") == {"!a/b": "v"}
    assert scripted.bodies("ListSecrets")[0].get("Filters") in (None, [])


def some_denied(scripted: Wire) -> None:
    scripted.answers["ListSecrets"] = {"SecretList": [{"Name": "p/a"}, {"Name": "p/b"}]}

    def answer(asked: Any) -> Any:
        if asked.body["SecretId"] == "p/b":
            return refusal("AccessDeniedException")
        return {"SecretString": "canary"}

    scripted.answers["GetSecretValue"] = answer


async def test_get_by_path_fails_if_a_secret_is_denied(
    sm: AsyncSecretsManager, scripted: Wire
) -> None:
    """The error has the values that were read, and one error per name."""
    some_denied(scripted)

    with pytest.raises(s1crets.BatchError) as caught:
        await sm.get_by_path("p")

    assert caught.value.values == {"p/a": "canary"}
    assert isinstance(caught.value.errors["p/b"], PermissionError)


async def test_get_by_path_skips_denied_secrets(
    sm: AsyncSecretsManager, scripted: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    """With fail_on_error=False they are logged, and the rest is not cached as the path."""
    some_denied(scripted)

    with caplog.at_level(logging.WARNING, "s1crets"):
        assert await sm.get_by_path("p", fail_on_error=False) == {"p/a": "canary"}

    assert "p/b" in caplog.text
    assert "canary" not in caplog.text
    with pytest.raises(s1crets.BatchError):
        await sm.get_by_path("p")


async def test_invalid_base64_is_a_bad_response(sm: AsyncSecretsManager, scripted: Wire) -> None:
    """The error of botocore contains a part of it."""
    scripted.answers["GetSecretValue"] = {"SecretBinary": "a"}
    with pytest.raises(s1crets.BadResponseError):
        await sm.get("a")


async def test_invalidate_forgets_one_or_all(sm: AsyncSecretsManager, asm: Any, top: str) -> None:
    """One name; or everything."""
    for name in ("a", "b"):
        asm.create_secret(Name=f"{top}/{name}", SecretString="v")
        await sm.get(f"{top}/{name}")

    await sm.invalidate(f"{top}/a")
    assert (sm.peek(f"{top}/a"), sm.peek(f"{top}/b")) == (None, "v")
    await sm.invalidate()
    assert sm.peek(f"{top}/b") is None
