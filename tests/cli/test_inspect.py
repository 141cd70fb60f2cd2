"""`s1crets list`, `check` and `diff`: names and states of secrets, without values."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import PS, error_of, run
from _support.wire import Asked, Wire, parameter, refusal

from s1crets.cli.inspect import age

if TYPE_CHECKING:
    from collections.abc import Callable

    from s1crets.testing import LoopbackAws

CANARY = "canary-a70f"


class TestList:
    """Names, types, versions and times of the last change."""

    def test_text_has_one_line_per_secret(self, ssm: Any, top: str) -> None:
        """With tabs between columns, sorted by name; only secrets under the path are listed."""
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

    def test_json_has_one_object_per_secret(self, asm: Any, top: str) -> None:
        """With the columns as keys."""
        version = asm.create_secret(Name=top, SecretString=CANARY)["VersionId"]
        (found,) = json.loads(run("list", top, "--output", "json").stdout)

        assert set(found) == {"name", "type", "version", "changed"}
        assert (found["name"], found["type"], found["version"]) == (top, "secret", version)

    def test_an_empty_list_is_not_an_error(self, top: str) -> None:
        """A table still has its header."""
        assert run("list", *PS, top).stdout == b""
        assert run("list", *PS, top, "--output", "json").stdout == b"[]\n"
        assert run("list", *PS, top, "--output", "table").stdout.split() == [
            b"name", b"type", b"version", b"changed",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("prefix", "other"),
        [
            ("prod", "Store begin with /: is it '/prod'?"),
            ("/none", "rarely begin with /: is it 'none'?"),
        ],
    )
    def test_an_empty_list_suggests_another_prefix(
        self, s1crets_aws: LoopbackAws, prefix: str, other: str
    ) -> None:
        """With or without a slash; a list that is not empty suggests nothing."""
        s1crets_aws.seed({"aws.ps": {"/prod/db": "fake"}})
        done = run("list", *PS, prefix)
        cause, hint = done.stderr.decode().splitlines()

        assert done.returncode == 0
        assert cause == f"s1crets: no secrets under '{prefix}' in eu-west-1"
        assert hint.endswith(other)
        assert run("list", *PS, "/prod").stderr == b""

    def test_an_empty_list_on_a_terminal(
        self, scripted: Wire, on_terminal: Callable[..., str]
    ) -> None:
        """Without a header; the message is on stderr."""
        scripted.answers["DescribeParameters"] = {"Parameters": []}

        assert on_terminal("stdout", "list", *PS) == ""
        assert run("list", *PS).stderr.decode().splitlines() == [
            "s1crets: no secrets in eu-west-1",
            "  hint: check the provider, the region and the account",
        ]

    @pytest.mark.parametrize("columns", [80, 120])
    def test_a_terminal_shows_short_versions_and_ages(
        self,
        scripted: Wire,
        on_terminal: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch,
        columns: int,
    ) -> None:
        """One line per secret in 80 columns; a pipe gets everything."""
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("NO_COLOR", "1")
        version, key = (
            "11111111-aaaa-bbbb-cccc-222222222222",
            "33333333-aaaa-bbbb-cccc-444444444444",
        )
        scripted.answers["ListSecrets"] = {"SecretList": [{
            "Name": "prod/db/password", "LastChangedDate": 1.0, "LastAccessedDate": 86400.0,
            "KmsKeyId": f"arn:aws:kms:eu-west-1:1:key/{key}", "Description": "for the database",
            "SecretVersionsToStages": {version: ["AWSCURRENT"]},
        }]}  # fmt: skip
        header, row = on_terminal("stdout", "list").splitlines()
        assert header.split() == ["name", "type", "version", "changed"]
        assert re.fullmatch(r"prod/db/password  secret  11111111  \d\d years ago", row)
        _, row = on_terminal("stdout", "list", "--long").splitlines()
        assert re.search(r"ago  33333333  \d\d years ago  for the database$", row)
        assert len(row) <= 120
        assert run("list", "-l").stdout.decode() == (
            f"prod/db/password\tsecret\t{version}\t1970-01-01T00:00:01Z"
            f"\tarn:aws:kms:eu-west-1:1:key/{key}\t1970-01-02T00:00:00Z\tfor the database\n"
        )

    def test_long_lists_of_parameters(self, ssm: Any, top: str) -> None:
        """The key as Parameter Store names it; the last access is not known."""
        ssm.put_parameter(
            Name=top, Value=CANARY, Type="SecureString", KeyId="alias/fake", Description="one"
        )
        (found,) = json.loads(run("list", *PS, "--long", top, "-o", "json").stdout)

        assert (found["kms_key"], found["accessed"], found["description"]) == (
            "alias/fake",
            "",
            "one",
        )

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (-5, "just now"), (0, "just now"), (59, "just now"), (60, "1 minute ago"),
            (3599, "59 minutes ago"), (7200, "2 hours ago"), (86400 * 3, "3 days ago"),
            (86400 * 40, "1 month ago"), (86400 * 800, "2 years ago"),
        ],
    )  # fmt: skip
    def test_an_age_has_one_unit(self, seconds: int, text: str) -> None:
        """The largest; the clock of another machine may be ahead."""
        now = datetime(2026, 1, 1, tzinfo=UTC)

        assert age(now - timedelta(seconds=seconds), now) == text

    def test_unknown_columns_are_empty(self, scripted: Wire) -> None:
        """AWS need not report a type, a version or a time."""
        scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/a"}]}

        assert run("list", *PS).stdout == b"/a\t\t\t\n"


class TestCheck:
    """Whether secrets exist and may be read."""

    def test_readable_secrets_are_ok(self, ssm: Any, top: str, tmp_path: Path) -> None:
        """From a file, under paths, and single ones. No value is shown."""
        for name in ("a", "b", "c/d"):
            ssm.put_parameter(Name=f"{top}/{name}", Value=CANARY, Type="SecureString")
        (tmp_path / "names").write_text(f"# what we need\n{top}/a\n\n  {top}/b  \n")
        done = run(
            "check", *PS, str(tmp_path / "names"), "--path", f"{top}/c", "--secret", f"{top}/c/d"
        )

        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode().splitlines() == [
            f"{one}\tok\t" for one in (f"{top}/a", f"{top}/b", f"{top}/c/d", f"{top}/c")
        ]

    def test_missing_secrets_are_listed(self, ssm: Any, top: str) -> None:
        """With the exit code of "not found"."""
        ssm.put_parameter(Name=f"{top}/a", Value=CANARY, Type="SecureString")
        done = run("check", *PS, "-", "--path", f"{top}/c", stdin=f"{top}/a\n{top}/b".encode())

        assert done.returncode == 3
        assert done.stderr.decode().splitlines() == [
            "s1crets: 2 of 3 names: not found in eu-west-1",
            "  hint: check the name, the region and the account",
        ]
        assert [line.split("\t") for line in done.stdout.decode().splitlines()] == [
            [f"{top}/a", "ok", ""],
            [f"{top}/b", "missing", "not found in eu-west-1"],
            [f"{top}/c", "missing", "not found in eu-west-1"],
        ]

    @pytest.mark.parametrize(
        ("args", "cause", "hint"),
        [
            (("--secret", "/prod/db"), "not found in eu-west-1", "'prod/db', or a parameter"),
            (("--path", "/prod"), "not found in eu-west-1", "rarely begin with /: is it 'prod'?"),
            (("--path", "/prod/db", *PS), "the name of a secret, not a path", "use --secret"),
            (("--path", "prod", *PS), "invalid name", "did you mean '/prod'?"),
            (("--secret", "prod/db", *PS), "invalid name", "did you mean '/prod/db'?"),
            (("--secret", "other", *PS), "not found in eu-west-1", "check the name, the region"),
        ],
    )
    def test_a_name_in_the_wrong_form_has_a_hint(
        self, s1crets_aws: LoopbackAws, args: tuple[str, ...], cause: str, hint: str
    ) -> None:
        """As for another store: `--provider` was forgotten, or a slash."""
        s1crets_aws.seed({"aws.ps": {"/prod/db": "fake"}, "aws.sm": {"prod/x": "fake"}})
        done = run("check", *args)
        said = done.stderr.decode().splitlines()

        assert done.returncode in (2, 3)
        assert said[0] == f"s1crets: 1 of 1 names: {cause}"
        assert hint in said[1]
        assert len(said) == 2

    def test_hints_are_as_many_as_reasons(self, scripted: Wire) -> None:
        """However many names there are."""
        codes = {"/a": "InternalServerError", "/b": "InternalServerError", "/c": "Strange"}
        scripted.answers["GetParameters"] = refusal("AccessDeniedException")
        scripted.answers["GetParameter"] = lambda asked: refusal(codes[asked.body["Name"]])
        done = run("check", *PS, *(f"--secret={name}" for name in codes))

        assert done.stderr.decode().splitlines() == [
            "s1crets: 2 of 3 names: service unreachable",
            "s1crets: 1 of 3 names: see --verbose",
            "  hint: AWS may have an outage: try again later",
            "  hint: see AWS's documentation of the operation",
        ]

    def test_details_on_request(self, scripted: Wire) -> None:
        """The action that the policy lacks, and the whole message."""
        scripted.answers["GetParameter"] = lambda asked: refusal(
            "ParameterNotFound" if asked.body["Name"] == "/a" else "AccessDeniedException"
        )
        for option in ("--verbose", "-v"):
            done = run("check", *PS, "--secret", "/a", "--secret", "/b", option)
            rows = [line.split("\t") for line in done.stdout.decode().splitlines()]

            assert [row[:4] for row in rows] == [
                ["/a", "missing", "not found in eu-west-1", ""],
                ["/b", "denied", "ssm:GetParameter not allowed", "ssm:GetParameter"],
            ]
            assert "GetParameter '/a'" in rows[0][4]

    def test_states_are_coloured_on_a_terminal(
        self,
        scripted: Wire,
        on_terminal: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Unless NO_COLOR is set; one short line per secret."""
        errors = {
            "/b": "ParameterNotFound",
            "/c": "AccessDeniedException",
            "/d": "InternalServerError",
        }
        scripted.answers["GetParameter"] = lambda asked: (
            refusal(errors[asked.body["Name"]], status=500 if asked.body["Name"] == "/d" else 400)
            if asked.body["Name"] in errors
            else parameter("/a", CANARY)
        )
        scripted.answers["GetParameters"] = refusal("AccessDeniedException")
        command = ("check", *PS, *(f"--secret={name}" for name in ("/a", *errors)))
        shown = on_terminal("stdout", *command, code=4).splitlines()
        assert shown == [
            "\033[1mname  state    reason\033[0m",
            "/a    \033[32mok\033[0m",
            "/b    \033[33mmissing\033[0m  not found in eu-west-1",
            "/c    \033[31mdenied\033[0m   ssm:GetParameter not allowed",
            "/d    \033[31merror\033[0m    service unreachable",
        ]
        monkeypatch.setenv("NO_COLOR", "1")
        plain = on_terminal("stdout", *command, code=4)
        assert plain.splitlines() == [re.sub("\033\\[\\d+m", "", line) for line in shown]
        assert "\033" not in run(*command).stdout.decode()

    def test_denied_secrets_are_listed_with_the_missing_permission(self, scripted: Wire) -> None:
        """Exit code 4; a summary names the actions that the policy must allow."""

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
        done = run("check", *PS, *names, "--path", "/p", "--output", "json", "--verbose")

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
            "  hint: allow these actions in the caller's IAM policy\n"
        )
        assert CANARY.encode() not in done.stdout

    def test_denied_secrets_under_a_path_are_named(self, scripted: Wire) -> None:
        """Each by its own name; for a KMS key the action is `kms:Decrypt`."""
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
        assert done.stdout.decode() == "p/b\tdenied\tkms:Decrypt not allowed\n"
        assert "missing permissions: kms:Decrypt\n" in done.stderr.decode()

    def test_other_failures_keep_their_exit_code(self, scripted: Wire) -> None:
        """The state is "error"."""
        scripted.answers["GetParameter"] = refusal("InternalServerError", "no", 500)
        done = run("check", *PS, "--secret", "/a")

        assert done.returncode == 5
        assert done.stdout == b"/a\terror\tservice unreachable\n"

    def test_an_error_of_another_kind_has_details(self, scripted: Wire) -> None:
        """As the reason says."""
        scripted.answers["GetParameter"] = refusal("InvalidRequestException")

        assert run("check", *PS, "--secret", "/a").stdout == b"/a\terror\tsee --verbose\n"

    @pytest.mark.parametrize(
        ("args", "stdin", "words"),
        [
            ((), b"", "FILE, --path or --secret"),
            (("-",), b"# nothing", "FILE, --path or --secret"),
            (("-",), b"\xff", "not UTF-8"),
            (("/prod/db",), b"", "No such file or directory\n  hint: to check the secret or path"),
            (("FILE",), b"", "not UTF-8\n  hint: convert it"),
        ],
    )
    def test_without_names_it_is_a_usage_error(
        self, tmp_path: Path, args: tuple[str, ...], stdin: bytes, words: str
    ) -> None:
        """Also if the file or stdin has none, or can't be read."""
        (tmp_path / "binary").write_bytes(b"\xff")
        args = tuple(arg.replace("FILE", str(tmp_path / "binary")) for arg in args)
        done = run("check", *args, stdin=stdin)

        assert done.returncode == 2
        assert words in error_of(done)


class TestHistory:
    """Versions of a secret."""

    def test_versions_of_a_parameter(self, ssm: Any, top: str) -> None:
        """With labels, the oldest first."""
        for value in (CANARY, f"{CANARY}-2"):
            ssm.put_parameter(Name=top, Value=value, Type="String", Overwrite=True)
        ssm.label_parameter_version(Name=top, ParameterVersion=1, Labels=["live", "good"])
        done = run("history", *PS, top)

        assert (done.returncode, done.stderr) == (0, b"")
        rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
        assert [(version, labels) for version, _, labels in rows] == [
            ("1", "live, good"),
            ("2", ""),
        ]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}Z", created) for _, created, _ in rows)
        assert CANARY.encode() not in done.stdout

    def test_versions_of_a_secret(
        self, asm: Any, top: str, on_terminal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With stages. On a terminal versions are short and times relative."""
        first = asm.create_secret(Name=top, SecretString=CANARY)["VersionId"]
        second = asm.put_secret_value(SecretId=top, SecretString="fake")["VersionId"]
        rows = json.loads(run("history", top, "--output", "json").stdout)
        assert {row["version"]: row["labels"] for row in rows} == {
            first: "AWSPREVIOUS", second: "AWSCURRENT",
        }  # fmt: skip
        monkeypatch.setenv("NO_COLOR", "1")
        lines = on_terminal("stdout", "history", top).splitlines()
        assert f"{second[:8]}  just now  AWSCURRENT" in lines

    def test_a_missing_secret_has_none(self) -> None:
        """Exit code 3."""
        assert run("history", "none").returncode == 3


class TestDiff:
    """The secrets under two paths."""

    @pytest.fixture
    def seeded(self, ssm: Any, top: str) -> str:
        values = {
            "a/same": "v", "b/same": "v", "a/json": '{"x": 1}', "b/json": '{ "x":1 }',
            "a/other": CANARY, "b/other": "fake-b", "a/only": CANARY, "b/n/only": "fake",
        }  # fmt: skip
        for name, value in values.items():
            ssm.put_parameter(Name=f"{top}/{name}", Value=value, Type="SecureString")
        return top

    def test_a_difference_is_exit_code_1(self, seeded: str) -> None:
        """Each name has a state and no value. JSON is equal if its content is."""
        done = run("diff", *PS, f"{seeded}/a", f"{seeded}/b/")

        assert (done.returncode, done.stderr) == (1, b"")
        assert done.stdout.decode().splitlines() == [
            "json\tequal", "n/only\tonly in b", "only\tonly in a", "other\tdifferent",
            "same\tequal",
        ]  # fmt: skip

    def test_values_are_shown_on_request(self, seeded: str) -> None:
        """Only those that differ."""
        done = run("diff", *PS, f"{seeded}/a", f"{seeded}/b", "--show", "--output", "json")
        rows = {row["name"]: row for row in json.loads(done.stdout)}

        assert (rows["other"]["a"], rows["other"]["b"]) == (f'"{CANARY}"', '"fake-b"')
        assert (rows["only"]["a"], rows["only"]["b"]) == (f'"{CANARY}"', "")
        assert (rows["same"]["a"], rows["same"]["b"]) == ("", "")

    def test_states_are_coloured_on_a_terminal(
        self, seeded: str, on_terminal: Callable[..., str]
    ) -> None:
        """What is only in one, and what differs."""
        shown = on_terminal("stdout", "diff", *PS, f"{seeded}/a", f"{seeded}/b", code=1)

        for state, colour in (("only in a", 31), ("only in b", 32), ("different", 33)):
            assert f"\033[{colour}m{state}\033[0m" in shown
        assert "equal" in shown

    def test_only_names_are_compared_on_request(self, seeded: str) -> None:
        """Values are not, as two environments rarely share one; nor are they shown."""
        done = run("diff", *PS, f"{seeded}/a", f"{seeded}/b", "--names-only")
        assert (done.returncode, done.stderr) == (1, b"")
        assert done.stdout.decode().splitlines() == [
            "json\tin both", "n/only\tonly in b", "only\tonly in a", "other\tin both",
            "same\tin both",
        ]  # fmt: skip

        done = run("diff", *PS, f"{seeded}/a/other", f"{seeded}/b/other", "--names-only")
        assert (done.returncode, done.stdout) == (0, b".\tin both\n")
        done = run("diff", *PS, f"{seeded}/none", f"{seeded}/a", "--names-only")
        assert done.returncode == 3
        assert b"no secret of that name, and no secrets under" in done.stderr
        done = run("diff", *PS, f"{seeded}/a", f"{seeded}/b", "--names-only", "--show")
        assert done.returncode == 2
        assert "--show and --names-only can't be combined" in error_of(done)

    def test_equal_paths_are_exit_code_0(self, seeded: str) -> None:
        """All names and values are the same."""
        assert run("diff", *PS, f"{seeded}/a", f"{seeded}/a").returncode == 0

    @pytest.mark.parametrize(("b", "state", "code"), [("same", "equal", 0), ("x", "different", 1)])
    def test_two_secrets_are_compared(self, seeded: str, b: str, state: str, code: int) -> None:
        """A parameter is not under the path of its name."""
        done = run("diff", *PS, f"{seeded}/a/same", f"{seeded}/b/{b.replace('x', 'other')}")

        assert (done.returncode, done.stdout.decode()) == (code, f".\t{state}\n")

    def test_with_another_provider(self, s1crets_aws: LoopbackAws) -> None:
        """A name's part after the path is what is compared."""
        s1crets_aws.seed({"aws.ps": {"/p/a": "x", "/p/b": "x"}, "aws.sm": {"q/a": "x", "q/b": "y"}})
        command = ("diff", *PS, "/p", "q", "--to-provider")
        done = run(*command, "aws.sm")

        assert (done.returncode, done.stdout) == (1, b"a\tequal\nb\tdifferent\n")
        unknown = run(*command, "nope")
        assert unknown.returncode == 2
        assert "there is no provider 'nope'" in error_of(unknown)

    def test_with_another_region_and_profile(
        self, scripted: Wire, environment: dict[str, str]
    ) -> None:
        """As the signatures show."""
        folder = Path(environment["HOME"], ".aws")
        folder.mkdir()
        (folder / "credentials").write_text(
            "[other]\naws_access_key_id = fake-other-key\naws_secret_access_key = fake\n"
        )
        scripted.answers["GetParametersByPath"] = lambda asked: {
            "Parameters": [parameter(f"{asked.body['Path']}/x", "v")["Parameter"]]
        }
        target = ("--to-region", "eu-south-1", "--to-profile", "other")
        done = run("diff", *PS, "/a", "/b", "-r", "eu-west-1", *target)

        assert (done.returncode, done.stdout) == (0, b"x\tequal\n"), done.stderr
        signed = {one.body["Path"]: one.headers["Authorization"] for one in scripted.asked}
        assert ("fake-other-key" in signed["/b"], "/eu-south-1/" in signed["/b"]) == (True, True)
        assert ("fake-other-key" in signed["/a"], "/eu-west-1/" in signed["/a"]) == (False, True)

    @pytest.mark.parametrize("nowhere", ["/nowhere", "/nowhere/"])
    def test_a_mistyped_path_is_an_error(self, seeded: str, nowhere: str) -> None:
        """Otherwise two of them would be equal."""
        for paths in ((nowhere, f"{seeded}/a"), (f"{seeded}/a", nowhere), (nowhere, nowhere)):
            done = run("diff", *PS, *paths)

            assert (done.returncode, done.stdout) == (3, b"")
            assert "'/nowhere'" in done.stderr.decode()

    def test_an_empty_path_is_rejected(self, scripted: Wire) -> None:
        """Nothing is sent, as in a script whose variable is not set."""
        for command in (("diff", "", ""), ("copy", "", "/b")):
            assert run(*command, *PS).returncode == 2
        assert scripted.asked == []

    def test_binary_secrets_are_compared(self, asm: Any, top: str) -> None:
        """They are shown escaped. A secret whose name is the path itself is listed as a dot."""
        for name, value in (("a", b"\xff"), ("a/x", b"\x00"), ("b/x", b"\x01")):
            asm.create_secret(Name=f"{top[1:]}/{name}", SecretBinary=value)
        done = run("diff", f"{top[1:]}/a", f"{top[1:]}/b", "--show")

        assert done.returncode == 1
        assert done.stdout.decode().splitlines() == [
            ".\tonly in a\t\"b'\\\\xff'\"\t", "x\tdifferent\t\"b'\\\\x00'\"\t\"b'\\\\x01'\"",
        ]  # fmt: skip

    def test_json_differs_if_a_digit_does(self, ssm: Any, top: str) -> None:
        """It is shown as stored, on one line."""
        values = [("[1]", "[true]"), ("[1.0]", "[1]"), ("[1e400]", "[\n1e401]"), ("[ 2]", "[2]")]
        for number, pair in enumerate(values):
            for side, value in zip("ab", pair, strict=True):
                ssm.put_parameter(Name=f"{top}/{side}/{number}", Value=value, Type="String")
        done = run("diff", *PS, f"{top}/a", f"{top}/b", "--show")

        assert done.stdout.decode().splitlines() == [
            "0\tdifferent\t[1]\t[true]", "1\tdifferent\t[1.0]\t[1]",
            "2\tdifferent\t[1e400]\t[ 1e401]", "3\tequal\t\t",
        ]  # fmt: skip

    def test_a_path_that_cannot_be_read_is_an_error(self, scripted: Wire) -> None:
        """With the exit code of that error."""
        scripted.answers["GetParametersByPath"] = refusal("AccessDeniedException")

        assert run("diff", *PS, "/a", "/b").returncode == 4
