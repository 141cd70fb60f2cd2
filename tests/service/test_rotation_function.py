"""The example of a rotation function, called as AWS calls it."""

from __future__ import annotations

import runpy
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.boto import client

from s1crets.errors import SecretExistsError, SecretNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s1crets.testing import LocalAws

EXAMPLE = Path(__file__).parents[2] / "docs" / "rotation_function.py"
STEPS = ["createSecret", "setSecret", "testSecret", "finishSecret"]
OLD = {"user": "app", "password": "fake-old"}


@pytest.fixture
def example(s1crets_aws: LocalAws) -> Iterator[dict[str, Any]]:
    """The names of the example's module, and a secret that it rotates."""
    s1crets_aws.seed({"aws.sm": {"db": OLD}})
    names = runpy.run_path(str(EXAMPLE))
    names["DATABASE"]["app"] = "fake-old"
    yield names
    names["sm"].close()


@pytest.fixture
def rotate(example: dict[str, Any]) -> Callable[..., None]:
    """Do steps, the secret named by its ARN."""
    arn = client("secretsmanager").describe_secret(SecretId="db")["ARN"]

    def run(token: str, *steps: str) -> None:
        for step in steps:
            event = {"SecretId": arn, "ClientRequestToken": token, "Step": step}
            example["handler"](event, None)

    return run


def stages(example: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {one.version: one.labels for one in example["sm"].history("db")}


def test_four_steps(example: dict[str, Any], rotate: Callable[..., None]) -> None:
    """The new password is current, in the database and in the secret; the old one is kept."""
    before, token = example["sm"].history("db")[0].version, str(uuid.uuid4())
    rotate(token, *STEPS)
    new = example["sm"].get("db")

    assert new["user"] == "app"
    assert new["password"] not in ("fake-old", "")
    assert example["DATABASE"] == {"app": new["password"]}
    assert "AWSCURRENT" in stages(example)[token]
    assert stages(example)[before] == ("AWSPREVIOUS",)
    assert example["sm"].get("db", version_stage="AWSPREVIOUS") == OLD


def test_each_step_may_be_repeated(example: dict[str, Any], rotate: Callable[..., None]) -> None:
    """As AWS does after a failure: the password is the one of the first time."""
    token = str(uuid.uuid4())
    rotate(token, "createSecret")
    pending = example["sm"].get("db", version_id=token)
    rotate(token, *STEPS, *STEPS)

    assert example["sm"].get("db") == pending
    assert len(stages(example)) == 2


def test_before_the_last_step_the_old_password_is_current(
    example: dict[str, Any], rotate: Callable[..., None]
) -> None:
    """Who reads the secret meanwhile gets what works."""
    rotate(str(uuid.uuid4()), *STEPS[:3])

    assert example["sm"].get("db") == OLD


def test_the_database_rejects_the_password(
    example: dict[str, Any], rotate: Callable[..., None]
) -> None:
    """The rotation stops with an exception that does not show it."""
    token = str(uuid.uuid4())
    rotate(token, "createSecret")
    with pytest.raises(PermissionError, match="does not accept the new password of app"):
        rotate(token, "testSecret")

    assert example["sm"].get("db") == OLD


def test_requests_of_the_steps(example: dict[str, Any], rotate: Callable[..., None]) -> None:
    """Stages are moved only if AWS has ignored the request for a version that exists."""
    assert example["sm"].stats.requests == {}
    token = str(uuid.uuid4())
    rotate(token, "createSecret", "finishSecret")

    assert dict(example["sm"].stats.requests) == {
        "GetSecretValue": 3, "PutSecretValue": 2, "DescribeSecret": 1,
        "UpdateSecretVersionStage": 1,
    }  # fmt: skip


def test_a_new_stage_has_no_holder(example: dict[str, Any]) -> None:
    """It is attached without being removed from anything."""
    token = str(uuid.uuid4())
    for stages_ in (["AWSPENDING"], ["AWSPENDING", "mine"]):
        example["sm"].update("db", OLD, version_stages=stages_, client_request_token=token)

    assert stages(example)[token] == ("AWSPENDING", "mine")


def test_a_version_can_not_be_changed(example: dict[str, Any]) -> None:
    """Another value for the same version is an error; so is a version of no secret."""
    token = str(uuid.uuid4())
    example["sm"].put("db", OLD, version_stages=["AWSPENDING"], client_request_token=token)
    with pytest.raises(SecretExistsError, match="already in use"):
        example["sm"].put("db", {}, client_request_token=token)
    with pytest.raises(SecretNotFoundError):
        example["sm"].update("none", OLD, client_request_token=token)
