"""`s1crets exec` and `export`: secrets as environment variables."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import COMMAND, PS, error_of, run, run_process
from _support.wire import Asked, Wire, parameter, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from s1crets.testing import LoopbackAws

PRINT = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
REFERENCE = "/aws/reference/secretsmanager/odd"
# JSON that is not what Python would write.
EXACT = [
    '{"a": 1.0}', "[1e400]", '{ "z" : 12345678901234567890,"a":1.10 }', '{"a": NaN}',
    '{"a": 1, "a": 2}', "[1,\n 2]\n", '["\\u00e4\\ud800", -0]', "1.50",
]  # fmt: skip
SPECIAL = [
    "path", "ld-preload", "DYLD_X", "pythonpath", "node_options", "bash_env", "env", "ifs",
    "https_proxy", "aws_profile", "s1crets_cache_key", "perl5opt", "java_tool_options", "ps4",
    "git_ssh_command", "editor", "requests_ca_bundle", "home",
]  # fmt: skip
ORDINARY = [
    "user", "host", "port", "password", "api-key", "node_env", "git_token", "database_url",
    "environment", "java_version", "proxy", "mypath", "timezone", "path_prefix",
]  # fmt: skip
TRAILING = {"export --format json": (), "exec": ("--", "/nothing")}
VALUES = {"db/url": "fake url", "db/api-key": "fäke\n$x `y`", "9": '{"a": [1, "ä"]}'}
VARIABLES = {"URL": "fake url", "API_KEY": "fäke\n$x `y`", "_9": '{"a": [1, "ä"]}'}


@pytest.fixture
def seeded(s1crets_aws: LoopbackAws, top: str) -> str:
    """Store the same values in both services; return their path in Parameter Store."""
    s1crets_aws.seed(
        {
            "aws.ps": {f"{top}/{name}": value for name, value in VALUES.items()},
            "aws.sm": {f"{top[1:]}/{name}": value for name, value in VALUES.items()},
        }
    )
    return top


class TestExport:
    """Variables for other programs."""

    @pytest.mark.parametrize("provider", ["aws.ps", "aws.sm"])
    def test_all_secrets_under_a_path_are_variables(self, seeded: str, provider: str) -> None:
        """Names are the last parts of the secrets' names; values are text or JSON."""
        path = seeded if provider == "aws.ps" else seeded[1:]
        done = run("export", "--provider", provider, "--path", path, "--format", "json")

        assert (done.returncode, done.stderr) == (0, b"")
        assert json.loads(done.stdout) == VARIABLES

    def test_single_secrets_with_a_prefix(self, seeded: str) -> None:
        """Only the named ones; the prefix is kept as it is."""
        names = ["--secret", f"{seeded}/db/url", "--secret", f"{seeded}/9"]
        done = run("export", *PS, *names, "--prefix", "App_", "--format", "json")

        assert json.loads(done.stdout) == {"App_URL": "fake url", "App_9": '{"a": [1, "ä"]}'}

    def test_docker_cannot_have_line_breaks(self, seeded: str) -> None:
        """The message names the variable, not the value."""
        done = run("export", *PS, "--path", seeded, "--format", "docker")

        assert done.returncode == 2
        assert "line breaks in values: API_KEY" in error_of(done)

    def test_the_format_is_required(self) -> None:
        """An unknown one is a usage error too."""
        assert run("export", "--path", "/a", "--format", "xml").returncode == 2
        assert run("export", "--path", "/a").returncode == 2

    def test_two_secrets_with_the_same_variable_name_are_an_error(
        self, s1crets_aws: LoopbackAws, top: str
    ) -> None:
        """The message lists all of them."""
        names = ("a/url", "b/URL", "c/x-y", "c/x.y", "z")
        s1crets_aws.seed({"aws.ps": {f"{top}/{name}": "fake" for name in names}})
        done = run("export", *PS, "--path", top, "--format", "json")

        assert done.returncode == 2
        words = error_of(done)
        assert f"URL ({top}/a/url, {top}/b/URL)" in words
        assert f"X_Y ({top}/c/x-y, {top}/c/x.y)" in words
        assert f"{top}/z" not in words

    @pytest.mark.parametrize("value", [b"\xff\x00", "fake\0value-2f"])
    def test_a_value_that_no_variable_can_hold_is_an_error(
        self, asm: Any, top: str, value: str | bytes
    ) -> None:
        """The message names the secret and does not show the value."""
        field = "SecretBinary" if isinstance(value, bytes) else "SecretString"
        asm.create_secret(Name=top, **{field: value})
        done = run("export", "--secret", top, "--format", "json")

        assert done.returncode == 2
        assert repr(top) in error_of(done)
        assert b"value-2f" not in done.stderr

    def test_json_is_passed_on_as_it_is_stored(
        self, s1crets_aws: LoopbackAws, top: str, tmp_path: Path
    ) -> None:
        """No digit, space or key changes, also from a cache; only a KEY is looked up in it."""
        values = {f"V{number}": text for number, text in enumerate(EXACT)}
        s1crets_aws.seed({"aws.ps": {f"{top}/{name}": text for name, text in values.items()}})
        s1crets_aws.seed({"aws.sm": {f"{top[1:]}/{name}": text for name, text in values.items()}})
        reference = f"/aws/reference/secretsmanager{top}/V2"
        for _ in range(2):
            cache = ("--format", "json", "--cache-dir", str(tmp_path))
            parameters = run("export", *PS, "--path", top, *cache)
            secrets = run("export", "--path", top[1:], *cache)
            single = run("export", *PS, "--secret", reference, "--secret", f"{reference}/a", *cache)

            assert json.loads(parameters.stdout) == json.loads(secrets.stdout) == values
            assert json.loads(single.stdout) == {"V2": EXACT[2], "A": "1.1"}

    @pytest.mark.parametrize("command", ["export --format json", "exec"])
    def test_variables_that_change_how_programs_run_must_be_allowed(
        self, s1crets_aws: LoopbackAws, top: str, command: str
    ) -> None:
        """The message lists them. A prefix makes ordinary variables of them, or the reverse."""
        names = [*SPECIAL, *ORDINARY]
        s1crets_aws.seed({"aws.ps": {f"{top}/{name}": "fake" for name in names}})
        s1crets_aws.seed({"aws.ps": {f"{top}-x/{name}": "fake" for name in ("path", "preload")}})
        args = (*command.split(), *PS, "--path", top)
        done = run(*args, *TRAILING[command])

        assert done.returncode == 2
        variables = sorted(name.upper().replace("-", "_") for name in SPECIAL)
        assert f"how programs run: {', '.join(variables)}\n" in error_of(done)
        assert "--allow-special" in error_of(done)
        allowed = run(*args, "--allow-special", *TRAILING[command])
        prefixed = (*command.split(), *PS, "--path", f"{top}-x", "--prefix")
        ordinary = run(*prefixed, "APP_", *TRAILING[command])
        assert {ordinary.returncode, allowed.returncode} == {127 if command == "exec" else 0}
        special = run(*prefixed, "ld_", *TRAILING[command])
        assert "how programs run: ld_PATH, ld_PRELOAD" in error_of(special)


NAMED = {"db/url": "fake-1", "db/api-key": "fake-2", "cache/url": "fake-3", "log": "fake-4"}
JSON = '{"user": "fäke", "port": 5432.0, "tls": true, "o": {"x":1}, "n": null, "a b": "x"}'


def variables(*args: str) -> dict[str, str]:
    """Return what `export` prints, which must succeed silently."""
    done = run("export", "--format", "json", *args)
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, str] = json.loads(done.stdout)
    return found


class TestNames:
    """How variables are called, and which secret is used if several have the same name."""

    @pytest.fixture
    def tree(self, s1crets_aws: LoopbackAws, top: str) -> str:
        """Store parameters, two of which have the same last part."""
        s1crets_aws.seed({"aws.ps": {f"{top}/{name}": value for name, value in NAMED.items()}})
        return top

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (("--names", "relative"), ["CACHE_URL", "DB_API_KEY", "DB_URL", "LOG"]),
            (("--names", "relative", "--keep-case"), ["cache_url", "db_api_key", "db_url", "log"]),
            (("--names", "full"), ["TOP_CACHE_URL", "TOP_DB_API_KEY", "TOP_DB_URL", "TOP_LOG"]),
            (("--prefix", "A_", "--on-collision", "last"), ["A_API_KEY", "A_LOG", "A_URL"]),
            (("--on-collision", "last"), ["API_KEY", "LOG", "URL"]),
        ],
    )  # fmt: skip
    def test_names_are_a_part_of_the_secrets_name(
        self, tree: str, options: tuple[str, ...], expected: list[str]
    ) -> None:
        """In upper case unless it is kept."""
        found = variables(*PS, "--path", tree, *options)

        assert [name.replace(tree[1:].upper(), "TOP") for name in found] == expected

    def test_the_last_of_a_collision_is_that_with_the_last_name(self, tree: str) -> None:
        """Under one path; without the option it is an error, whose hint names it."""
        assert variables(*PS, "--path", tree, "--on-collision", "last")["URL"] == "fake-1"
        done = run("export", *PS, "--path", tree, "--format", "json")
        assert done.returncode == 2
        cause, hint = error_of(done).splitlines()
        assert f"URL ({tree}/cache/url, {tree}/db/url)" in cause
        assert "--on-collision last" in hint
        assert "--names relative" in hint

    @pytest.mark.parametrize(
        ("layers", "url"),
        [
            (("--path=db", "--path=cache"), "fake-3"),
            (("--path=cache", "--path=db"), "fake-1"),
            (("--secret=db/url", "--path=cache"), "fake-3"),
            (("--path=cache", "--secret=db/url"), "fake-1"),
            (("--secret=db/url", "--secret=cache/url", "--path=db"), "fake-1"),
            (("--secret=cache/url", "--secret=db/url", "--secret=cache/url"), "fake-3"),
        ],
    )
    def test_a_later_option_overrides_an_earlier_one(
        self, tree: str, layers: tuple[str, ...], url: str
    ) -> None:
        """Whether it is --path or --secret."""
        args = [layer.replace("=", f"={tree}/") for layer in layers]

        assert variables(*PS, *args)["URL"] == url

    def test_layers_of_exec(self, tree: str) -> None:
        """Options of the program do not count."""
        args = ("--path", f"{tree}/cache", "--secret", f"{tree}/db/url")
        script = ("sh", "-c", "echo $URL", "--path", "x")

        assert run_process("exec", *PS, *args, "--", *script).stdout == b"fake-1\n"

    def test_what_selects_a_version_is_not_part_of_the_name(
        self, ssm: Any, asm: Any, top: str
    ) -> None:
        """Versions, labels, ARNs, and references to secrets."""
        arn = asm.create_secret(Name=f"{top[1:]}/api-token", SecretString='{"k": "fake"}')["ARN"]
        ssm.put_parameter(Name=f"{top}/db-url", Value="fake", Type="String")
        ssm.label_parameter_version(Name=f"{top}/db-url", Labels=["live"])
        parameter = f"arn:aws:ssm:eu-west-1:123456789012:parameter{top}/db-url"
        reference = f"/aws/reference/secretsmanager{top}/api-token"
        upper = top[1:].upper()

        assert list(variables("--secret", arn)) == ["API_TOKEN"]
        assert list(variables("--secret", arn, "--names", "full")) == [f"{upper}_API_TOKEN"]
        for name in (f"{top}/db-url:1", f"{top}/db-url:live", parameter, f"{parameter}:1"):
            assert list(variables(*PS, "--secret", name)) == ["DB_URL"]
            full = variables(*PS, "--secret", name, "--names", "full")
            assert list(full) == [f"{upper}_DB_URL"]
        full = variables(*PS, "--secret", reference, "--names", "full")
        assert list(full) == [f"{upper}_API_TOKEN"]

    @pytest.mark.parametrize(
        ("options", "prefix"),
        [((), ""), (("--names", "relative"), "DB_"), (("--names", "full"), "TOP_DB_")],
    )
    def test_keys_of_json_are_variables(
        self, asm: Any, top: str, options: tuple[str, ...], prefix: str
    ) -> None:
        """As if the key were the last part of the name. No digit changes; text stays one."""
        asm.create_secret(Name=f"{top}/db", SecretString=JSON)
        asm.create_secret(Name=f"{top}/text", SecretString="fake")
        found = variables("--path", top, "--keys", *options)
        own = prefix.replace("TOP", top[1:].upper())
        text = f"{own.removesuffix('DB_')}TEXT"

        assert found == {
            f"{own}USER": "fäke", f"{own}PORT": "5432.0", f"{own}TLS": "true", f"{own}N": "null",
            f"{own}O": '{"x":1}', f"{own}A_B": "x", text: "fake",
        }  # fmt: skip

    def test_keys_of_several_secrets_can_collide(self, asm: Any, top: str) -> None:
        """As names can."""
        for name in "ab":
            asm.create_secret(Name=f"{top}/{name}", SecretString='{"user": "x"}')
        done = run("export", "--path", top, "--keys", "--format", "json")

        assert done.returncode == 2
        assert f"USER ({top}/a, {top}/b)" in error_of(done)
        assert list(variables("--path", top, "--keys", "--names", "relative")) == [
            "A_USER",
            "B_USER",
        ]

    def test_a_secret_that_is_the_path_itself(self, asm: Any) -> None:
        """Its relative name is its last part; the root has all parts."""
        asm.create_secret(Name="prod/db", SecretString="fake")

        assert variables("--path", "prod/db", "--names", "relative") == {"DB": "fake"}
        assert "PROD_DB" in variables(*("--path", "prod"), "--names", "full")


class TestSkipping:
    """Secrets that are missing, denied, or can't be variables."""

    @pytest.mark.parametrize("provider", ["aws.ps", "aws.sm"])
    @pytest.mark.parametrize("command", ["export", "get-by-path"])
    def test_unreadable_secrets_under_a_path_are_left_out(
        self, s1crets_aws: LoopbackAws, top: str, provider: str, command: str
    ) -> None:
        """And listed on stderr; the exit code is 0. JSON stays as it is stored."""
        s1crets_aws.seed({provider: {f"{top}/a": '{ "x":1.0}', f"{top}/b": "fake"}})
        if provider == "aws.ps":
            s1crets_aws.deny("ssm:GetParametersByPath")
            s1crets_aws.deny("ssm:GetParameter*", f"{top}/b")
        else:
            s1crets_aws.deny("secretsmanager:GetSecretValue", f"{top}/b")
            s1crets_aws.deny("secretsmanager:BatchGetSecretValue")
        args = [
            command,
            "-p",
            provider,
            *(["--format", "json", "--path"] if command == "export" else []),
            top,
        ]
        done = run(*args, "--skip-unreadable")

        assert done.returncode == 0, done.stderr
        shown = json.loads(done.stdout)
        assert shown == ({"A": '{ "x":1.0}'} if command == "export" else {f"{top}/a": {"x": 1.0}})
        cause, hint = done.stderr.decode().splitlines()
        assert cause.startswith(f"s1crets: skipped '{top}/b': ")
        assert "allow" in hint
        assert run(*args).returncode == 4
        if provider == "aws.ps":
            assert run(*args, "--skip-unreadable", "--parallel").stdout == done.stdout

    def test_other_unreadable_secrets_are_left_out(
        self, s1crets_aws: LoopbackAws, top: str
    ) -> None:
        """Missing ones, an empty path, and what can't be a variable."""
        s1crets_aws.seed(
            {"aws.sm": {f"{top}/text": "fake", f"{top}/binary": b"\xff", f"{top}/nul": "\0"}}
        )
        names = ("--secret", f"{top}/nope", "--path", f"{top}/none", "--path", top)
        done = run("export", *names, "--format", "json", "--skip-unreadable")

        assert json.loads(done.stdout) == {"TEXT": "fake"}
        skipped = re.findall(r"^s1crets: skipped '([^']+)'", done.stderr.decode(), re.MULTILINE)
        assert skipped == [f"{top}/nope", f"{top}/none", f"{top}/binary", f"{top}/nul"]

    @pytest.mark.parametrize("selected", [("--secret", "a"), ("--path", "p")])
    def test_an_outage_is_still_an_error(self, scripted: Wire, selected: tuple[str, str]) -> None:
        """Nothing is known about what can be read."""
        scripted.answers = {
            "GetSecretValue": refusal("InternalServiceError", status=500),
            "ListSecrets": {"SecretList": [{"Name": "p/a"}]},
        }
        done = run("export", *selected, "--format", "json", "--skip-unreadable")

        assert done.returncode == 5
        assert done.stdout == b""


class TestExec:
    """The program gets the secrets and replaces the command's process."""

    def test_the_program_inherits_the_environment(self, seeded: str) -> None:
        """The secrets are added and override variables; the key of the cache is left out."""
        done = run(
            "exec", *PS, "--path", seeded, "--", *PRINT,
            OWN="kept", URL="replaced", S1CRETS_CACHE_KEY="fake-key", S1CRETS_CACHE_URL="",
        )  # fmt: skip

        assert (done.returncode, done.stderr) == (0, b"")
        environment = json.loads(done.stdout)
        assert {name: environment[name] for name in VARIABLES} == VARIABLES
        assert environment["OWN"] == "kept"
        assert not {"S1CRETS_CACHE_KEY", "S1CRETS_CACHE_URL"} & environment.keys()

    def test_a_pristine_environment_has_only_the_secrets(self, seeded: str) -> None:
        """The program is still found in PATH."""
        done = run("exec", *PS, "--path", f"{seeded}/db", "--pristine", "env", "-0")

        found = done.stdout.decode().strip("\0").split("\0")
        assert {one for one in found if not one.startswith("COVERAGE_")} == {
            "URL=fake url", "API_KEY=fäke\n$x `y`",
        }  # fmt: skip

    def test_strict_sets_only_requested_variables(self, seeded: str) -> None:
        """They are requested with a placeholder as their value."""
        done = run("exec", *PS, "--path", seeded, "--strict", "--", *PRINT, URL="s1crets")

        environment = json.loads(done.stdout)
        assert environment["URL"] == "fake url"
        assert "API_KEY" not in environment

    def test_strict_requires_a_secret_for_each_requested_variable(self, seeded: str) -> None:
        """The message names those without one."""
        command = ["exec", *PS, "--path", seeded, "--strict", "--", "/nothing"]
        done = run(*command, URL="s1crets", OTHER="s1crets", ANOTHER="s1crets")

        assert done.returncode == 3
        assert "no secrets for these variables: ANOTHER, OTHER" in error_of(done)
        assert run(*command, URL="s1crets").returncode == 127

    def test_the_exit_code_is_that_of_the_program(self, seeded: str) -> None:
        """Nothing is added to its output."""
        done = run("exec", *PS, "--path", seeded, "--", "sh", "-c", "echo done; exit 42")

        assert (done.returncode, done.stdout, done.stderr) == (42, b"done\n", b"")

    @pytest.mark.parametrize(
        ("program", "code"), [("/nothing", 127), ("no-such-command-7c", 127), ("/", 126)]
    )
    def test_a_program_that_cannot_be_run_is_an_error(
        self, seeded: str, program: str, code: int
    ) -> None:
        """With the exit codes that a shell uses."""
        done = run("exec", *PS, "--path", seeded, "--pristine", "--", program)

        assert done.returncode == code
        assert f"can't run {program!r}: " in error_of(done)

    @pytest.mark.parametrize("path", ["", ".", ":/bin", "/bin:", "bin", "./bin:/bin", None])
    def test_a_program_of_the_current_directory_is_not_found(
        self, seeded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | None
    ) -> None:
        """Whatever PATH says; `ls` there must not replace the system's either."""
        for folder in (tmp_path, tmp_path / "bin"):
            folder.mkdir(exist_ok=True)
            (folder / "tool-7c").write_text("#!/bin/sh\n")
            (folder / "tool-7c").chmod(0o755)
        monkeypatch.chdir(tmp_path)
        if path is None:
            monkeypatch.delenv("PATH")
        else:
            monkeypatch.setenv("PATH", path)
        done = run("exec", *PS, "--path", seeded, "tool-7c")

        assert done.returncode == 127
        assert "can't run 'tool-7c': PATH has no such program" in error_of(done)

    def test_a_program_with_a_slash_is_run_from_where_it_is(
        self, seeded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also from the current directory."""
        (tmp_path / "tool").write_text("#!/bin/sh\necho $URL")
        (tmp_path / "tool").chmod(0o755)
        monkeypatch.chdir(tmp_path)

        assert run("exec", *PS, "--path", seeded, "./tool").stdout == b"fake url\n"

    def test_signals_and_streams_are_those_of_the_program(self, in_a_file: tuple[str, ...]) -> None:
        """It is the same process. Signals that Python ignores are not ignored in it."""
        script = "read line; echo $$ $line; grep SigIgn /proc/self/status; cat"
        command = [COMMAND, "exec", "--secret", *in_a_file, "--", "sh", "-c", script]
        with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write("line\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{process.pid} line\n"
            ignored = int(process.stdout.readline().removeprefix("SigIgn:"), 16)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == -signal.SIGTERM
        assert ignored & (1 << (signal.SIGPIPE - 1)) == 0

    def test_the_program_inherits_no_open_files(self, seeded: str) -> None:
        """Connections and files of the command are closed in it."""
        listing = "import os; print(len(os.listdir('/proc/self/fd')))"
        plain = subprocess.run([sys.executable, "-c", listing], stdout=-1, stdin=-3, check=True)
        done = run_process("exec", *PS, "--path", seeded, "--", sys.executable, "-c", listing)

        assert int(done.stdout) <= int(plain.stdout) + 1

    @pytest.mark.parametrize(
        ("args", "code", "words"),
        [
            ([], 2, "use --path or --secret"),
            (["--path", "/nothing"], 3, "no secrets under '/nothing' in eu-west-1\n  hint: names"),
            (
                ["--path", "/name"],
                3,
                "'/name' is the name of a secret, not a path\n  hint: use --s",
            ),
            (["--secret", "/nothing"], 3, "GetParameter '/nothing'"),
            (["--path", "no-slash"], 2, "no-slash"),
            (["--secret", "/odd", "--prefix", "A="], 2, "'A=' can't start"),
            (["--secret", "/odd"], 2, "'/odd' can't be a variable: it contains a lone"),
            (["--secret", f"{REFERENCE}/a"], 2, "a number that JSON does not allow"),
        ],
    )
    def test_errors_are_reported_before_anything_is_run(
        self, scripted: Wire, args: list[str], code: int, words: str
    ) -> None:
        """With the usual exit codes."""
        values = {"/odd": "\ud800", "/name": "fake", REFERENCE: '{"a": [1e400]}'}

        def single(asked: Asked) -> Any:
            name = asked.body["Name"]
            missing = refusal("ParameterNotFound")
            return parameter(name, values[name]) if name in values else missing

        scripted.answers = {"GetParameter": single, "GetParametersByPath": {"Parameters": []}}
        done = run("exec", *PS, *args, "true")

        assert done.returncode == code
        assert words in error_of(done)
