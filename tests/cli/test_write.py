"""`s1crets update`, `put`, `delete` and `new-key`."""

from __future__ import annotations

import base64
import io
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import PS, contained, error_of, run
from _support.wire import refusal

from s1crets.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from _support.wire import Wire

CANARY = "canary-3d51"


@pytest.mark.parametrize(
    ("stdin", "stored"),
    [
        (b"fake\n", "fake"), (b"fake\r\n", "fake"), (b"fake", "fake"), (b'{"a": 1}\n', '{"a": 1}'),
        (b"\xef\xbb\xbffake\r\n", "fake"), (b"fake\n\n", "fake\n\n"), (b"a\nb\n", "a\nb\n"),
        (b"\xef\xbb\xbfa\r\nb\r\n", "a\r\nb\r\n"), (b"a\nb", "a\nb"), (b"fake \n", "fake "),
    ],
)  # fmt: skip
def test_a_value_from_stdin_loses_what_is_not_part_of_it(
    asm: Any, top: str, stdin: bytes, stored: str
) -> None:
    """A byte order mark, and the line ending of a single line; --raw stores everything."""
    asm.create_secret(Name=top, SecretString="old")
    done = run("update", top, "-", stdin=stdin)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert asm.get_secret_value(SecretId=top)["SecretString"] == stored
    run("update", top, "-", "--raw", stdin=stdin)
    assert asm.get_secret_value(SecretId=top)["SecretString"] == stdin.decode()


def test_update_stores_stdin_that_is_not_text_as_bytes(asm: Any, top: str) -> None:
    """All bytes are kept, also a newline at the end."""
    asm.create_secret(Name=top, SecretBinary=b"old")
    run("update", top, "-", stdin=b"\xff\x00\n")

    assert asm.get_secret_value(SecretId=top)["SecretBinary"] == b"\xff\x00\n"


@pytest.mark.parametrize("command", ["put", "update", "import"])
@pytest.mark.parametrize(
    ("stdin", "problem"), [(None, "it is closed"), (os.O_WRONLY, "Bad file descriptor")]
)
def test_stdin_that_can_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    stdin: int | None,
    problem: str,
) -> None:
    """Closed with `<&-`, or a file that was opened for writing."""
    arguments = ["-", "/a"] if command == "import" else ["/a", "-"]
    file = None if stdin is None else os.fdopen(os.open(os.devnull, stdin))
    monkeypatch.setattr(sys, "stdin", file)
    with contained(), pytest.raises(SystemExit) as exited:
        main([command, *PS, *arguments])
    if file:
        file.close()

    assert exited.value.code == 2
    assert capsys.readouterr() == ("", f"s1crets: stdin can't be read: {problem}\n")


def test_ctrl_c_while_stdin_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell's exit code, not click's 1, which is the "no" of `exists`."""

    class Interrupted(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted()))
    with contained(), pytest.raises(SystemExit) as exited:
        main(["put", *PS, "/a", "-"])

    assert exited.value.code == 130


def test_update_takes_the_value_as_an_argument(ssm: Any, top: str) -> None:
    """For settings that are not secret."""
    ssm.put_parameter(Name=top, Value="old", Type="String")
    done = run("update", *PS, top, "new")

    assert done.returncode == 0
    assert ssm.get_parameter(Name=top)["Parameter"]["Value"] == "new"


def test_put_creates_and_updates(ssm: Any, top: str) -> None:
    """A new parameter is a SecureString."""
    for value in ("fake-1", "fake-2"):
        done = run("put", *PS, top, "-", stdin=value.encode())
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        found = ssm.get_parameter(Name=top, WithDecryption=True)["Parameter"]
        assert (found["Value"], found["Type"]) == (value, "SecureString")


def test_a_value_that_aws_rejects_is_not_shown(scripted: Wire) -> None:
    """AWS's message may repeat the value; the command's does not."""
    scripted.answers["PutSecretValue"] = refusal("ValidationException", f"'{CANARY}' is wrong")
    done = run("update", "name", "-", stdin=CANARY.encode())

    assert done.returncode == 2
    assert CANARY not in error_of(done)


@pytest.mark.parametrize(
    "args",
    [
        ("name", "fake", CANARY),
        ("name", "--", "fake", CANARY),
        ("name", f"--{CANARY}"),
        ("name", f"-{CANARY}"),
        ("name", "value", "--region"),
        ("name", CANARY, "--provider", "x"),
        (CANARY + "\n", CANARY),
        ("name", "value", f"--help={CANARY}"),
    ],
)
@pytest.mark.parametrize("verb", ["put", "update"])
def test_a_wrong_command_line_is_not_repeated(verb: str, args: tuple[str, ...]) -> None:
    """It may contain the value: unquoted, or starting with a dash."""
    done = run(verb, *args)
    words = (done.stdout + done.stderr).decode()

    assert done.returncode == 2
    assert CANARY not in words.replace(f"{CANARY}\\n", "")  # this is the name


def test_delete_asks_for_confirmation(ssm: Any, top: str) -> None:
    """Without a yes, nothing is deleted; `--yes` does not ask."""
    ssm.put_parameter(Name=top, Value="fake", Type="String")
    command = ["delete", *PS, top]

    assert run(*command, stdin=b"n\n").returncode == 1
    assert run(*command).returncode == 1
    assert ssm.get_parameter(Name=top)["Parameter"]["Value"] == "fake"
    asked = run(*command, stdin=b"y\n")
    assert (asked.returncode, asked.stdout) == (0, b"")
    assert f"Delete {top}?".encode() in asked.stderr
    assert run("exists", *PS, top).returncode == 1
    assert run(*command, "--yes").returncode == 3


def test_settings_of_a_parameter(ssm: Any, top: str) -> None:
    """`put` sets them, `update` changes those that are given."""
    settings = ("--type", "SecureString", "--tier", "Advanced", "--kms-key", "alias/fake")
    tags = ("--tag", "team=web", "--tag", "a=b=c")
    done = run("put", *PS, top, "-", *settings, *tags, "--description", "one", stdin=b"fake")
    assert (done.returncode, done.stderr) == (0, b"")
    run("update", *PS, top, "new", "--description", "two")

    (found,) = ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [top]}])[
        "Parameters"
    ]
    assert (found["Type"], found["Tier"], found["KeyId"], found["Description"]) == (
        "SecureString", "Advanced", "alias/fake", "two",
    )  # fmt: skip
    listed = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=top)["TagList"]
    assert {tag["Key"]: tag["Value"] for tag in listed} == {"team": "web", "a": "b=c"}


def test_settings_of_a_secret(asm: Any, top: str) -> None:
    """Key, description, tags, and the stage and id of a version."""
    token = "fake-fake-fake-fake-fake-fake-fake-1"
    run("create", top, "fake", "--kms-key", "alias/fake", "--description", "one", "--tag", "a=b")
    done = run("put", top, "new", "--stage", "AWSPENDING", "--client-request-token", token)
    assert (done.returncode, done.stderr) == (0, b"")

    found = asm.describe_secret(SecretId=top)
    assert (found["KmsKeyId"], found["Description"]) == ("alias/fake", "one")
    assert found["Tags"] == [{"Key": "a", "Value": "b"}]
    assert found["VersionIdsToStages"][token] == ["AWSPENDING"]
    assert run("get", top).stdout == b"fake\n"
    assert run("get", top, "--stage", "AWSPENDING").stdout == b"new\n"
    assert run("get", top, "--version-id", token).stdout == b"new\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("put", "/a", "v", *PS, "--stage", "X"), "aws.ps does not accept --stage for put"),
        (("put", "a", "v", "--tier", "Advanced"), "aws.sm does not accept --tier for put"),
        (("update", "/a", "v", *PS, "--type", "String"), "aws.ps does not accept --type for upd"),
        (("delete", "/a", "-y", *PS, "--force"), "aws.ps does not accept --force for delete"),
        (("put", "a", "v", "--tag", "x"), "'x' is not NAME=VALUE"),
        (("delete", "a", "-y", "--recovery-days", "3"), "3 is not in the range 7<=x<=30"),
        (
            ("delete", "a", "-y", "--recovery-days", "7", "--force"),
            "force and recovery_days can't be combined",
        ),
        (("restore", "/a", *PS), "can't restore '/a': a deleted parameter is gone"),
        (("history", "a", "-p", "files"), "no versions are kept"),
        (("put", "a", "v", "-p", "files", "--kms-key", "k"), "files does not accept --kms-key"),
    ],
)
def test_what_a_provider_can_not_do_is_a_usage_error(args: tuple[str, ...], words: str) -> None:
    """The option is named as it was typed."""
    done = run(*args)

    assert done.returncode == 2
    assert words in error_of(done)


def test_create_does_not_overwrite(asm: Any, top: str) -> None:
    """It fails if there is a secret of this name."""
    assert run("create", top, "fake").returncode == 0
    done = run("create", top, "other")

    assert done.returncode == 7
    assert "exists" in error_of(done)
    assert run("get", top).stdout == b"fake\n"


def test_a_deleted_secret_can_be_restored(asm: Any, top: str) -> None:
    """For the days that were given; not after --force."""
    asm.create_secret(Name=top, SecretString="fake")
    assert run("delete", top, "--yes", "--recovery-days", "7").returncode == 0
    deleted = run("get", top)
    assert deleted.returncode == 3
    assert "restore it" in error_of(deleted)
    done = run("restore", top)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert run("get", top).stdout == b"fake\n"
    run("delete", top, "--yes", "--force")
    assert run("restore", top).returncode == 3


def test_invalidate_empties_a_shared_cache(scripted: Wire, tmp_path: Path) -> None:
    """One secret, or all of them."""
    scripted.answers["GetSecretValue"] = {"SecretString": "v"}
    cache = ("--cache-dir", str(tmp_path / "cache"))
    for path in (["name"], []):
        for _ in range(2):
            run("get", "name", *cache)
        assert run("invalidate", *path, *cache).returncode == 0
    run("get", "name", *cache)

    assert scripted.count("GetSecretValue") == 3


def test_new_key_prints_another_key_each_time() -> None:
    """32 bytes in base64, as S1CRETS_CACHE_KEY expects them."""
    keys = {run("new-key").stdout for _ in range(2)}

    assert [len(base64.b64decode(key, validate=False)) for key in keys] == [32, 32]
