"""`s1crets list`, `check` and `diff`: what is there, without its values."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import COMMAND, run, told
from _support.wire import Asked, Wire, parameter, refusal
from hypothesis import given
from hypothesis import strategies as st

from s1crets.cli.tables import as_table

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-a70f"
PS = ("--provider", "aws.ps")


def on_a_terminal(*args: str, **env: str) -> str:
    """Return what the command shows on a terminal."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [COMMAND, *args], stdout=theirs, timeout=60, check=True, env={**os.environ, **env}
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    return shown.replace("\r\n", "\n")


class TestList:
    """Names, types, versions, and when they were changed last."""

    def test_in_a_pipe(self, ssm: Any, top: str) -> None:
        """A line each, with tabs between."""
        for name in (f"{top}/b", f"{top}/a", f"{top}a"):
            ssm.put_parameter(Name=name, Value=CANARY, Type="SecureString")
        done = run("list", *PS, top)

        assert (done.returncode, done.stderr) == (0, b"")
        rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
        assert [row[:3] for row in rows] == [
            [f"{top}/a", "SecureString", "1"], [f"{top}/b", "SecureString", "1"],
        ]  # fmt: skip
        for row in rows:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[3])

    def test_as_json(self, asm: Any, top: str) -> None:
        """An object each."""
        version = asm.create_secret(Name=top, SecretString=CANARY)["VersionId"]
        (found,) = json.loads(run("list", top, "--output", "json").stdout)

        assert set(found) == {"name", "type", "version", "changed"}
        assert (found["name"], found["type"], found["version"]) == (top, "secret", version)

    def test_on_a_terminal(self, ssm: Any, top: str) -> None:
        """A table, with a header in bold unless that is not wanted."""
        ssm.put_parameter(Name=f"{top}/a", Value=CANARY, Type="String")
        header, row = on_a_terminal("list", *PS, top).splitlines()
        assert header.startswith("\033[1mname ")
        assert row.startswith(f"{top}/a  String")
        assert on_a_terminal("list", *PS, top, NO_COLOR="1").startswith("name ")

    def test_nothing(self, top: str) -> None:
        """Is no error; the header stays."""
        assert run("list", *PS, top).stdout == b""
        assert run("list", *PS, top, "--output", "json").stdout == b"[]\n"
        assert run("list", *PS, top, "--output", "table").stdout.split() == [
            b"name", b"type", b"version", b"changed",
        ]  # fmt: skip

    def test_what_is_not_told_is_empty(self, scripted: Wire) -> None:
        """AWS need not say when."""
        scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/a"}]}

        assert run("list", *PS).stdout == b"/a\t\t\t\n"


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(st.text("ab 漢é\u0301", max_size=6), min_size=width, max_size=width),
            min_size=1,
        )
    )
)
def test_columns_are_aligned(rows: list[list[str]]) -> None:
    """Wide characters take two places, combining ones none; every cell is there."""
    header, *others = rows
    lines = as_table(header, others).splitlines()
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert line.split() == " ".join(row).split()


def test_wide_characters_take_two_places() -> None:
    """What comes after them is where it is in the other rows."""
    table = as_table(("a", "b"), (("漢字", "x"), ("abcd", "y"), ("é\u0301", "z")))

    assert table == "a     b\n漢字  x\nabcd  y\né\u0301     z\n"


class TestCheck:
    """Are they there, and may I read them?"""

    def test_all_is_well(self, ssm: Any, top: str, tmp_path: Path) -> None:
        """Of a file, of paths, of single ones; no value is shown."""
        for name in ("a", "b", "c/d"):
            ssm.put_parameter(Name=f"{top}/{name}", Value=CANARY, Type="SecureString")
        (tmp_path / "names").write_text(f"# what we need\n{top}/a\n\n  {top}/b  \n")
        done = run(
            "check", *PS, str(tmp_path / "names"), "--path", f"{top}/c", "--secret", f"{top}/c/d"
        )

        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode().splitlines() == [
            f"{one}\tok\t\t" for one in (f"{top}/a", f"{top}/b", f"{top}/c/d", f"{top}/c")
        ]

    def test_what_is_missing(self, ssm: Any, top: str) -> None:
        """Exit code 3, and each is told."""
        ssm.put_parameter(Name=f"{top}/a", Value=CANARY, Type="SecureString")
        done = run("check", *PS, "-", "--path", f"{top}/c", stdin=f"{top}/a\n{top}/b".encode())

        assert (done.returncode, done.stderr) == (3, b"")
        rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
        assert [row[:3] for row in rows] == [
            [f"{top}/a", "ok", ""], [f"{top}/b", "missing", ""], [f"{top}/c", "missing", ""],
        ]  # fmt: skip
        assert "nothing below" in rows[2][3]

    def test_what_is_denied(self, scripted: Wire) -> None:
        """Exit code 4; the actions are told that a policy would have to allow."""

        def denied(action: str) -> Any:
            words = f"User: arn:fake is not authorized to perform: {action} on resource: arn:fake"
            return refusal("AccessDeniedException", words)

        def single(asked: Asked) -> Any:
            answers: dict[str, Any] = {
                "/a": parameter("/a", CANARY),
                "/b": denied("ssm:GetParameter"),
                "/c": denied("kms:Decrypt"),
                "/d": refusal("AccessDeniedException"),
            }
            return answers[asked.body["Name"]]

        scripted.answers = {
            "GetParameters": denied("ssm:GetParameters"),
            "GetParameter": single,
            "GetParametersByPath": denied("ssm:GetParametersByPath"),
        }
        names = [part for name in "abcd" for part in ("--secret", f"/{name}")]
        done = run("check", *PS, *names, "--path", "/p", "--output", "json")

        assert done.returncode == 4
        rows = json.loads(done.stdout)
        assert [(row["name"], row["state"], row["missing"]) for row in rows] == [
            ("/a", "ok", ""),
            ("/b", "denied", "ssm:GetParameter"),
            ("/c", "denied", "kms:Decrypt"),
            ("/d", "denied", "ssm:GetParameter"),
            ("/p", "denied", "ssm:GetParametersByPath"),
        ]
        assert done.stderr.decode() == (
            "s1crets: missing permissions: kms:Decrypt, ssm:GetParameter, ssm:GetParametersByPath\n"
        )
        assert CANARY.encode() not in done.stdout

    def test_secrets_that_are_denied_below_a_path(self, scripted: Wire) -> None:
        """Each is told by its own name, with the KMS key's action."""
        scripted.answers = {
            "ListSecrets": {"SecretList": [{"Name": "p/a"}, {"Name": "p/b"}]},
            "BatchGetSecretValue": {
                "SecretValues": [{"Name": "p/a", "ARN": "arn:a", "SecretString": CANARY}],
                "Errors": [{"SecretId": "p/b", "ErrorCode": "AccessDeniedException",
                            "Message": "Access to KMS is not allowed"}],
            },
            "GetSecretValue": refusal("AccessDeniedException", "Access to KMS is not allowed"),
        }  # fmt: skip
        done = run("check", "--path", "p")

        assert done.returncode == 4
        assert done.stdout.decode().startswith("p/b\tdenied\tkms:Decrypt\t")
        assert "missing permissions: kms:Decrypt\n" in done.stderr.decode()

    def test_what_cant_be_asked(self, scripted: Wire) -> None:
        """Has the exit code of what went wrong."""
        scripted.answers["GetParameter"] = refusal("InternalServerError", "no", 500)
        done = run("check", *PS, "--secret", "/a")

        assert done.returncode == 5
        assert done.stdout.startswith(b"/a\terror\t\t")

    @pytest.mark.parametrize(
        ("args", "stdin", "words"),
        [
            ((), b"", "FILE, --path or --secret"),
            (("-",), b"# nothing", "FILE, --path or --secret"),
            (("-",), b"\xff", "not UTF-8"),
            (("/nothing",), b"", "No such file"),
            (("FILE",), b"", "not UTF-8"),
        ],
    )
    def test_what_makes_no_sense(
        self, tmp_path: Path, args: tuple[str, ...], stdin: bytes, words: str
    ) -> None:
        """Is a usage error."""
        (tmp_path / "binary").write_bytes(b"\xff")
        args = tuple(arg.replace("FILE", str(tmp_path / "binary")) for arg in args)
        done = run("check", *args, stdin=stdin)

        assert done.returncode == 2
        assert words in told(done)


class TestDiff:
    """Two paths."""

    @pytest.fixture
    def seeded(self, ssm: Any, top: str) -> str:
        values = {
            "a/same": "v", "b/same": "v", "a/json": '{"x": 1}', "b/json": '{ "x":1 }',
            "a/other": CANARY, "b/other": "fake-b", "a/only": CANARY, "b/n/only": "fake",
        }  # fmt: skip
        for name, value in values.items():
            ssm.put_parameter(Name=f"{top}/{name}", Value=value, Type="SecureString")
        return top

    def test_names_and_whether_they_are_equal(self, seeded: str) -> None:
        """Exit code 1, and no value; equal JSON may be written in other ways."""
        done = run("diff", *PS, f"{seeded}/a", f"{seeded}/b/")

        assert (done.returncode, done.stderr) == (1, b"")
        assert done.stdout.decode().splitlines() == [
            "json\tequal", "n/only\tonly in b", "only\tonly in a", "other\tdifferent",
            "same\tequal",
        ]  # fmt: skip

    def test_values_if_they_are_wanted(self, seeded: str) -> None:
        """Of those that differ."""
        done = run("diff", *PS, f"{seeded}/a", f"{seeded}/b", "--show", "--output", "json")
        rows = {row["name"]: row for row in json.loads(done.stdout)}

        assert (rows["other"]["a"], rows["other"]["b"]) == (f'"{CANARY}"', '"fake-b"')
        assert (rows["only"]["a"], rows["only"]["b"]) == (f'"{CANARY}"', "")
        assert (rows["same"]["a"], rows["same"]["b"]) == ("", "")

    def test_equal_ones(self, seeded: str) -> None:
        """Exit code 0; a secret at the path itself is a dot."""
        assert run("diff", *PS, f"{seeded}/a", f"{seeded}/a").returncode == 0

    def test_secrets(self, asm: Any, top: str) -> None:
        """Binary ones too."""
        for name, value in (("a", b"\xff"), ("a/x", b"\x00"), ("b/x", b"\x01")):
            asm.create_secret(Name=f"{top[1:]}/{name}", SecretBinary=value)
        done = run("diff", f"{top[1:]}/a", f"{top[1:]}/b", "--show")

        assert done.returncode == 1
        assert done.stdout.decode().splitlines() == [
            ".\tonly in a\t\"b'\\\\xff'\"\t", "x\tdifferent\t\"b'\\\\x00'\"\t\"b'\\\\x01'\"",
        ]  # fmt: skip

    def test_what_may_not_be_read(self, scripted: Wire) -> None:
        """Is an error as everywhere."""
        scripted.answers["GetParametersByPath"] = refusal("AccessDeniedException")

        assert run("diff", *PS, "/a", "/b").returncode == 4
