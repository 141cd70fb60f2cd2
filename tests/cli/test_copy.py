"""`s1crets copy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import PS, error_of, run
from _support.wire import Asked, Wire, parameter, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from s1crets.testing import LoopbackAws

CANARY = "canary-51c7"


def stored(ssm: Any, top: str) -> dict[str, str]:
    """Return the parameters that another client sees under a path."""
    found = ssm.get_parameters_by_path(Path=top, WithDecryption=True, Recursive=True)["Parameters"]
    return {one["Name"].removeprefix(top + "/"): one["Value"] for one in found}


def test_a_tree_is_copied_exactly(ssm: Any, top: str) -> None:
    """With types and descriptions; a second time nothing changes."""
    kinds = {"url": "SecureString", "sub/hosts": "StringList", "log": "String"}
    values = {"url": '{"a": 1.0}', "sub/hosts": "fake-a,fake-b", "log": "info"}
    for name, kind in kinds.items():
        ssm.put_parameter(
            Name=f"{top}/a/{name}", Value=values[name], Type=kind, Description=f"of {name}"
        )
    command = ("copy", *PS, f"{top}/a", f"{top}/b")
    dry = run(*command, "--dry-run")
    assert dry.stdout.decode().splitlines() == [
        f"create\t{top}/b/{name}" for name in sorted(values)
    ]
    assert stored(ssm, f"{top}/b") == {}
    done = run(*command)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == dry.stdout.replace(b"create", b"created")
    assert stored(ssm, f"{top}/b") == values
    described = ssm.describe_parameters(
        ParameterFilters=[{"Key": "Path", "Option": "Recursive", "Values": [f"{top}/b"]}]
    )["Parameters"]
    assert {
        one["Name"].removeprefix(f"{top}/b/"): (one["Type"], one["Description"])
        for one in described
    } == {name: (kind, f"of {name}") for name, kind in kinds.items()}
    assert run(*command).stdout == dry.stdout.replace(b"create", b"unchanged")


def test_existing_secrets_are_kept_unless_they_may_be_overwritten(asm: Any, top: str) -> None:
    """The states say which."""
    for name, value in {"a/x": "new", "a/y": "new", "b/x": "old", "b/y": "new"}.items():
        asm.create_secret(Name=f"{top}/{name}", SecretString=value)
    command = ("copy", f"{top}/a", f"{top}/b/", "--output", "json")

    def states(*options: str) -> list[str]:
        return [row["state"] for row in json.loads(run(*command, *options).stdout)]

    assert states() == ["kept", "unchanged"]
    assert run("get", f"{top}/b/x").stdout == b"old\n"
    assert states("--overwrite", "--dry-run") == ["update", "unchanged"]
    assert states("--overwrite") == ["updated", "unchanged"]
    assert run("get", f"{top}/b/x").stdout == b"new\n"


@pytest.mark.parametrize("name", ["/x/token", "token"])
def test_a_single_secret_is_copied(s1crets_aws: LoopbackAws, name: str) -> None:
    """To the name B. A secret may also be a path."""
    s1crets_aws.seed({"aws.ps": {name: "fake"}, "aws.sm": {"token": "fake", "token/sub": "x"}})
    assert run("copy", *PS, name, "/other").stdout == b"created\t/other\n"
    assert run("get", *PS, "/other").stdout == b"fake\n"
    assert run("copy", "token", "b").stdout == b"created\tb\ncreated\tb/sub\n"
    missing = run("copy", *PS, "/nope", "/b")
    assert missing.returncode == 3
    assert "'/nope'" in error_of(missing)


def test_to_another_provider(s1crets_aws: LoopbackAws, top: str, tmp_path: Path) -> None:
    """From parameters to secrets, and to files. What can't be stored is reported by name."""
    s1crets_aws.seed({"aws.ps": {f"{top}/url": "fake", f"{top}/json": '{ "a":1}'}})
    done = run("copy", *PS, top, "copy", "--to-provider", "aws.sm")
    assert (done.returncode, done.stderr) == (0, b"")
    assert run("get", "copy/json").stdout == b'{ "a":1}\n'
    (tmp_path / "files").mkdir()
    run("copy", *PS, top, "copy", "--to-provider", "files", S1CRETS_FILES=str(tmp_path / "files"))
    assert (tmp_path / "files" / "copy" / "url").read_text() == "fake"
    s1crets_aws.seed({"aws.sm": {"copy/binary": b"\xff\x00"}})
    failed = run("copy", "copy", top, "--to-provider", "aws.ps")
    assert failed.returncode == 2
    assert f"{top}/binary: the value can't be stored" in failed.stderr.decode()
    assert failed.stdout.decode() == f"unchanged\t{top}/json\nunchanged\t{top}/url\n"


def test_to_another_region_and_profile(scripted: Wire, environment: dict[str, str]) -> None:
    """As the signatures show."""
    folder = Path(environment["HOME"], ".aws")
    folder.mkdir()
    (folder / "credentials").write_text(
        "[other]\naws_access_key_id = fake-other-key\naws_secret_access_key = fake\n"
    )
    scripted.answers = {
        "GetParametersByPath": {"Parameters": []},
        "GetParameter": only_a,
        "DescribeParameters": {"Parameters": []},
        "PutParameter": {"Version": 1, "Tier": "Standard"},
    }
    target = ("--to-region", "eu-south-1", "--to-profile", "other")
    done = run("copy", *PS, "/a", "/b", "-r", "eu-west-1", *target)

    assert done.stdout == b"created\t/b\n", done.stderr
    signed = {call.operation: call.headers["Authorization"] for call in scripted.asked}
    assert "fake-other-key" in signed["PutParameter"]
    assert "/eu-south-1/" in signed["PutParameter"]
    assert "fake-other-key" not in signed["DescribeParameters"]
    assert "/eu-west-1/" in signed["DescribeParameters"]


def only_a(asked: Asked) -> Any:
    """Answer GetParameter: there is only `/a`."""
    return parameter("/a", CANARY) if asked.body["Name"] == "/a" else refusal("ParameterNotFound")


def test_types_are_not_copied_if_they_may_not_be_listed(scripted: Wire) -> None:
    """With a message; the values are copied."""
    scripted.answers = {
        "GetParametersByPath": {"Parameters": []},
        "GetParameter": only_a,
        "DescribeParameters": refusal("AccessDeniedException"),
        "PutParameter": {"Version": 1, "Tier": "Standard"},
    }
    done = run("copy", *PS, "/a", "/b")

    assert (done.returncode, done.stdout) == (0, b"created\t/b\n")
    assert "types and descriptions are not copied" in done.stderr.decode()
    assert CANARY.encode() not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["copy", "diff"])
@pytest.mark.parametrize("option", ["--to-provider", "--to-region", "--to-profile"])
def test_an_empty_option_is_an_error(command: str, option: str) -> None:
    """It comes from an unset variable, and must not select A's account."""
    done = run(command, "a", "b", option, "")

    assert done.returncode == 2
    assert "it is empty" in error_of(done)


def test_a_terminal_shows_the_progress(
    bars: None, s1crets_aws: LoopbackAws, top: str, on_terminal: Callable[..., str]
) -> None:
    """First of the requests, then of the secrets."""
    s1crets_aws.seed({"aws.ps": {f"{top}/a/{number}": "fake" for number in range(3)}})
    shown = on_terminal("stderr", "copy", *PS, f"{top}/a", f"{top}/b")

    assert "requests  [" in shown
    assert "3/3" in shown
    assert shown.endswith("\033[?25h")
