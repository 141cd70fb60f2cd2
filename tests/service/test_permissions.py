"""The table of permissions: the actions of each row are sufficient and necessary."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import s1crets
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager
from s1crets.testing.faults import actions

if TYPE_CHECKING:
    from s1crets.testing import LoopbackAws

PAGE = (Path(__file__).parents[2] / "docs/reference/permissions.md").read_text()
CELLS = {"Parameter Store": 1, "Secrets Manager": 2}
SERVICES = {"Parameter Store": "ssm", "Secrets Manager": "secretsmanager"}
CLASSES: dict[str, Any] = {
    "Parameter Store": AsyncParameterStore,
    "Secrets Manager": AsyncSecretsManager,
}
CALLS: dict[str, Any] = {
    "get": lambda store, top: store.get(f"{top}/a"),
    "get_many": lambda store, top: store.get_many([f"{top}/a", f"{top}/b"]),
    "get_by_path": lambda store, top: store.get_by_path(top),
    "path_exists": lambda store, top: store.path_exists(f"{top}/nothing"),
    "update": lambda store, top: store.update(f"{top}/a", "fake-new"),
    "create": lambda store, top: store.create(f"{top}/new", "fake"),
    "put": lambda store, top: store.put(f"{top}/new", "fake"),
    "delete": lambda store, top: store.delete(f"{top}/a"),
    "describe": lambda store, top: store.describe(top),
    "history": lambda store, top: store.history(f"{top}/a"),
    "restore": lambda store, top: store.restore(f"{top}/a"),
}


def rows() -> dict[tuple[str, str], tuple[set[str], set[str]]]:
    """Return the actions that each method needs, and those that it uses if allowed, by store."""
    table = PAGE.partition("\n## ")[0]
    found = {}
    for line in table.splitlines():
        cells = line.split("|")[1:-1]
        for method in re.findall(r"`(\w+)`", cells[0]) if len(cells) == len(CELLS) + 1 else ():
            for store, cell in CELLS.items():
                needed, _, used = cells[cell].partition("(")
                if not needed.strip():
                    continue  # the store does not have the method
                found[store, method] = (
                    set(re.findall(r"`(\w+)`", needed)),
                    set(re.findall(r"`(\w+)`", used)),
                )
    return found


ROWS = rows()
READING = {"get", "get_many", "get_by_path", "path_exists"}
# Each row, and methods that read also with the express path off.
PATHS = [(*row, "express") for row in ROWS]
PATHS += [(*row, "botocore") for row in ROWS if row[1] in READING]


def test_every_method_is_in_the_table() -> None:
    """Both stores have a row, if they have the method."""
    methods = {(store, method) for store in CELLS for method in CALLS}

    assert set(ROWS) == methods - {("Parameter Store", "restore")}


def forbid_all_but(aws: LoopbackAws, store: str, allowed: set[str]) -> None:
    for action in actions(f"{SERVICES[store]}:*"):
        if action.partition(":")[2] not in allowed:
            aws.deny(action)


@pytest.fixture
def top(s1crets_aws: LoopbackAws, top: str) -> str:
    """Return a path with two secrets under it, in both stores."""
    values = {f"{top}/a": "fake-a", f"{top}/b": "fake-b"}
    s1crets_aws.seed({"aws.ps": values, "aws.sm": values})
    return top


@pytest.mark.usefixtures("read_path")
@pytest.mark.parametrize(("store", "method", "read_path"), PATHS, indirect=["read_path"])
async def test_listed_actions_are_sufficient(
    s1crets_aws: LoopbackAws, top: str, store: str, method: str
) -> None:
    """With everything else denied, the method works."""
    needed, used = ROWS[store, method]
    forbid_all_but(s1crets_aws, store, needed)
    async with CLASSES[store]() as provider:
        await CALLS[method](provider, top)

        assert set(provider.stats.requests) <= needed | used


@pytest.mark.usefixtures("read_path")
@pytest.mark.parametrize(("store", "method", "read_path"), PATHS, indirect=["read_path"])
async def test_listed_actions_are_necessary(
    s1crets_aws: LoopbackAws, top: str, store: str, method: str
) -> None:
    """Without it, the error names it."""
    needed, _ = ROWS[store, method]
    for one in needed:
        s1crets_aws.heal()
        forbid_all_but(s1crets_aws, store, needed - {one})
        async with CLASSES[store]() as provider:
            with pytest.raises(s1crets.S1cretsError) as caught:
                await CALLS[method](provider, top)
        error = caught.value
        if isinstance(error, s1crets.BatchError):
            error = next(iter(error.errors.values()))
        assert isinstance(error, s1crets.AccessDeniedError)
        assert error.action.partition(":")[2] in {one, "GetSecretValue"}


@pytest.mark.usefixtures("read_path")
@pytest.mark.parametrize(("store", "method", "read_path"), PATHS, indirect=["read_path"])
async def test_optional_actions_are_used(
    s1crets_aws: LoopbackAws, top: str, store: str, method: str
) -> None:
    """With the whole row allowed, nothing else is requested, and batches are used."""
    needed, used = ROWS[store, method]
    forbid_all_but(s1crets_aws, store, needed | used)
    async with CLASSES[store]() as provider:
        await CALLS[method](provider, top)

        assert set(provider.stats.requests) <= needed | used
        if method == "get_many":
            assert set(provider.stats.requests) == used


def test_the_policy_has_the_actions_for_reading() -> None:
    """The policy has exactly the actions of the methods that read."""
    policy = json.loads(re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0])
    listed = {
        f"{SERVICES[store]}:{one}"
        for (store, method), (needed, used) in ROWS.items()
        if method in READING
        for one in needed | used
    }
    allowed = {one for statement in policy["Statement"] for one in statement["Action"]}

    assert allowed - {"kms:Decrypt"} == listed
    everywhere = [one["Action"] for one in policy["Statement"] if one["Resource"] == "*"]
    assert everywhere == [["secretsmanager:BatchGetSecretValue", "secretsmanager:ListSecrets"]]
