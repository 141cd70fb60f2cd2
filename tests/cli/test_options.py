"""Options that all commands share, and the provider that they select."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import PS, error_of, run, run_here, run_process
from _support.servers import free_port
from _support.wire import Wire, assumed, caller, refusal

from s1crets.cli import main
from s1crets.providers.aws import ParameterStore, SecretsManager

if TYPE_CHECKING:
    from _support.command import FakeProvider
    from _support.servers import RedisServer


@pytest.mark.parametrize(
    "args",
    [
        ("get", ""),
        ("get", "a\nb"),
        ("get", os.fsdecode(b"\xff")),
        ("get", *PS, "a" * 3000),
        ("get", "name", "--region", "no region"),
        ("get", "name", "--profile", "nobody"),
        ("update", "name", "-"),
        ("get-by-path", *PS, "no-slash"),
    ],
)
def test_invalid_names_and_settings_are_usage_errors(args: tuple[str, ...]) -> None:
    """Exit code 2 and a message of our own."""
    done = run(*args)

    assert done.returncode == 2, done
    assert error_of(done)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        *[
            (("get", "name", option, ""), "it is empty")
            for option in ("--region", "--role-arn", "--profile", "--cache-dir", "--cache-url")
        ],
        *[
            ((*command, option, ""), "it is empty")
            for command in (("exec", "true"), ("export", "--format", "json"), ("check",))
            for option in ("--path", "--secret")
        ],
        (("get",), "missing argument 'PATH'"),
        (("nothing", "x"), "no such command"),
        (("get", "name", "--provider", "aws"), "known are aws.ps, aws.sm, files"),
        (("get", "name", "--nope"), "no such option"),
        (("--nope", "get", "name"), "no such option"),
        (("get", "name", "--region"), "requires an argument"),
        (("export", "--format", "xml"), "'xml' is not one of"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(args: tuple[str, ...], words: str) -> None:
    """Exit code 2; cause and hint as of all errors. Empty text comes from an unset variable."""
    command, *others = args
    done = run_here(*([command, *others[1:], others[0]] if command == "exec" else args))

    assert done.returncode == 2
    cause, hint = error_of(done).splitlines()
    assert words in cause + hint
    assert "known are" in hint or re.fullmatch(r"  hint: try s1crets (\w+ )?--help", hint)


@pytest.mark.parametrize(("name", "meant"), [("describe", "list"), ("set", "put")])
def test_a_command_that_python_or_others_call_differently(name: str, meant: str) -> None:
    """No spelling is similar to it; `set` would be taken for `get`."""
    done = run_here(name, "x")

    assert done.returncode == 2
    assert error_of(done).splitlines() == [
        f"s1crets: no such command {name!r}", f"  hint: did you mean {meant}?"
    ]  # fmt: skip


def test_without_a_command_there_is_help() -> None:
    """On stderr, with the exit code of a usage error."""
    done = run()

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Usage: s1crets" in done.stderr
    assert b"Commands:" in done.stderr


def test_region_role_and_profile_are_used_for_requests(
    scripted: Wire, environment: dict[str, str]
) -> None:
    """As the request's signature and the AssumeRole call show."""
    scripted.answers["AssumeRole"] = assumed("fake-role-key")
    scripted.answers["GetSecretValue"] = {"SecretString": "v"}
    folder = Path(environment["HOME"], ".aws")
    folder.mkdir()
    (folder / "credentials").write_text(
        "[mine]\naws_access_key_id = fake-profile-key\naws_secret_access_key = fake\n"
    )
    role = "arn:aws:iam::123456789012:role/fake"
    done = run(
        "get", "name", "--region", "eu-south-1", "--role-arn", role, "--profile", "mine",
        AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="",
    )  # fmt: skip

    assert done.stdout == b"v\n", done.stderr
    sts, sm = scripted.asked
    assert sts.body["RoleArn"] == role
    assert "fake-profile-key" in sts.headers["Authorization"]
    assert "fake-role-key" in sm.headers["Authorization"]
    assert "/eu-south-1/" in sm.headers["Authorization"]


@pytest.mark.parametrize(
    "args",
    [
        ("-p", "aws.ps", "-r", "eu-south-1", "-o", "json", "list"),
        ("list", "-p", "aws.ps", "-r", "eu-south-1", "-o", "json"),
        ("--provider", "aws.ps", "list", "--region", "eu-south-1", "--output", "json"),
        ("-p", "aws.sm", "-r", "eu-west-1", "-o", "text",
         "list", "-p", "aws.ps", "-r", "eu-south-1", "-o", "json"),
    ],
)  # fmt: skip
def test_options_may_come_before_the_verb(scripted: Wire, args: tuple[str, ...]) -> None:
    """And after it, where they win."""
    scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/a"}]}
    done = run(*args)

    assert done.stdout.startswith(b'[\n  {\n    "name": "/a"'), done.stderr
    assert "/eu-south-1/" in scripted.asked[0].headers["Authorization"]


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_profile_may_come_before_the_verb(
    scripted: Wire, environment: dict[str, str], place: str
) -> None:
    """It replaces credentials of the environment."""
    folder = Path(environment["HOME"], ".aws")
    folder.mkdir()
    (folder / "credentials").write_text(
        "[mine]\naws_access_key_id = fake-profile-key\naws_secret_access_key = fake\n"
    )
    scripted.answers["GetSecretValue"] = {"SecretString": "v"}
    option, verb = ["--profile", "mine"], ["get", "name"]
    done = run(*(option + verb if place == "before" else verb + option))

    assert done.stdout == b"v\n", done.stderr
    assert "fake-profile-key" in scripted.asked[0].headers["Authorization"]


@pytest.mark.parametrize(
    ("args", "store"),
    [
        (("get", "a"), "Parameter Store"),
        (("get", "a", "-p", "aws.sm"), "Secrets Manager"),
        (("-p", "aws.sm", "get", "a"), "Secrets Manager"),
    ],
)
def test_the_environment_selects_the_provider(args: tuple[str, ...], store: str) -> None:
    """Unless an option does."""
    assert store in error_of(run(*args, S1CRETS_PROVIDER="aws.ps"))


def test_an_unknown_provider_of_the_environment_is_an_error() -> None:
    """As one of the option; an empty one does not count."""
    done = run("get", "a", S1CRETS_PROVIDER="nope")

    assert done.returncode == 2
    assert "there is no provider 'nope'" in error_of(done)
    assert "Secrets Manager" in error_of(run("get", "a", S1CRETS_PROVIDER=""))


@pytest.mark.parametrize("name", sorted(main.commands))
def test_options_before_a_verb_that_has_no_use_for_them_are_ignored(name: str) -> None:
    """As `--output` for a verb that prints no rows."""
    args = ("-p", "aws.ps", "-r", "eu-west-1", "--profile", "x", "-o", "json", "--debug")

    assert run(*args, name, "--help").returncode == 0


PYTHON = {
    "get": "get", "get_by_path": "get-by-path", "path_exists": "exists", "describe": "list",
    "history": "history", "create": "create", "put": "put", "update": "update",
    "delete": "delete", "restore": "restore", "invalidate": "invalidate",
}  # fmt: skip
NO_OPTIONS = {
    "path": "PATH", "value": "VALUE", "keypath": "KEY",
    "cached": "--max-age 0", "fail_on_error": "--skip-unreadable", "raw": "always",
}  # fmt: skip


@pytest.mark.parametrize("cls", [ParameterStore, SecretsManager])
@pytest.mark.parametrize("verb", PYTHON)
def test_the_command_can_do_what_a_python_verb_can(verb: str, cls: type) -> None:
    """Each argument is an option, or has an equivalent."""
    options = {option.name for option in main.commands[PYTHON[verb]].params}
    arguments = inspect.signature(getattr(cls, verb)).parameters.keys() - {"self"}

    assert arguments - NO_OPTIONS.keys() - options == set()


def test_every_python_verb_has_a_command() -> None:
    """Those that need no command are listed."""
    public = {name for name in vars(ParameterStore) | vars(SecretsManager) if name[0] != "_"}

    assert public - PYTHON.keys() == {"get_many", "peek"}  # `export`, `check`; a cache in memory


def test_a_warm_cache_folder_answers_without_aws(scripted: Wire, tmp_path: Path) -> None:
    """A hit imports nothing of AWS's SDK, and runs no event loop. There is no warning."""
    scripted.answers["GetSecretValue"] = {"SecretString": "v"}
    command = ["get", "name", "--cache-dir", str(tmp_path / "cache")]
    cold = run(*command)
    # Measured: in this process something was awaited, so a provider is always closed.
    coverage: Any = {key: os.environ[key] for key in os.environ if key.startswith("COVERAGE_")}
    warm = run_process(*command, PYTHONPROFILEIMPORTTIME="1", **coverage)
    modules = {line.rpartition("|")[2].strip() for line in warm.stderr.decode().splitlines()}

    assert (cold.stdout, cold.stderr, warm.stdout) == (b"v\n", b"", b"v\n")
    assert scripted.count("GetSecretValue") == 1
    assert "diskcache" in modules
    assert not {"aiobotocore", "botocore", "aiohttp", "anyio._backends._asyncio"} & modules


def test_a_cache_folder_that_others_can_read_is_rejected(tmp_path: Path) -> None:
    """Exit code 2; the message names the mode that it needs."""
    (tmp_path / "keys").mkdir(mode=0o755)
    done = run("get", "name", "--cache-dir", str(tmp_path))

    assert done.returncode == 2
    assert "0700" in error_of(done)


@pytest.mark.parametrize("where", ["option", "variable"])
def test_a_cache_server_answers_without_aws(scripted: Wire, redis: RedisServer, where: str) -> None:
    """What one command has read, another need not; only the identity is requested."""
    scripted.answers["GetSecretValue"] = {"SecretString": "v"}
    scripted.answers["GetCallerIdentity"] = caller("arn:aws:iam::111111111111:user/u")
    options = ["--cache-url", redis.url] if where == "option" else []
    variables: Any = {} if options else {"S1CRETS_CACHE_URL": redis.url}
    done = [run("get", "name", *options, **variables) for _ in range(2)]

    assert [(one.stdout, one.stderr) for one in done] == [(b"v\n", b"")] * 2
    assert scripted.count("GetSecretValue") == 1


def test_an_invalid_cache_server(tmp_path: Path) -> None:
    """Exit code 2; the URL may have a password, so it is not repeated."""
    done = run("get", "name", "--cache-url", "reddis://u:canary@h")
    assert done.returncode == 2
    assert error_of(done).startswith("s1crets: the cache's URL has an unknown scheme: did you mean")
    assert b"canary" not in done.stderr
    folder = ("--cache-dir", str(tmp_path))
    both = run("get", "name", "--cache-url", "redis://h", *folder)
    assert (both.returncode, error_of(both)) == (
        2, "s1crets: --cache-dir and --cache-url can't be combined"
    )  # fmt: skip


def test_the_folder_of_an_option_precedes_the_server_of_a_variable(
    scripted: Wire, tmp_path: Path
) -> None:
    """Options precede the environment."""
    scripted.answers["GetSecretValue"] = {"SecretString": "v"}
    url = f"redis://localhost:{free_port()}"
    done = run("get", "name", "--cache-dir", str(tmp_path / "c"), S1CRETS_CACHE_URL=url)

    assert (done.stdout, done.stderr) == (b"v\n", b"")


def test_an_option_that_the_provider_does_not_accept_is_named(
    fake_provider: type[FakeProvider],
) -> None:
    """As it was typed, with the provider's own words."""
    done = run("get", "--provider", "files", "--region", "eu-west-1", "--cache-dir", "x", "a")

    assert done.returncode == 2
    assert error_of(done) == (
        "s1crets: the provider 'files' does not accept --region, --cache-dir: no options, please"
    )


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("describe", ["list"]),
        ("put", ["put", "a", "b"]),
        ("delete", ["delete", "--yes", "a"]),
        ("create", ["import", "-", "a"]),
    ],
)
def test_a_provider_that_lacks_a_verb_is_rejected(
    fake_provider: type[FakeProvider], verb: str, args: list[str]
) -> None:
    """Exit code 2; the message names the verb."""
    done = run(*args)

    assert done.returncode == 2
    assert error_of(done) == f"s1crets: the provider 'aws.sm' can't do that: it has no `{verb}`"


@pytest.mark.parametrize(
    "command",
    [
        ("get-by-path", "/p"),
        ("exec", "--path", "/p"),
        ("export", "--format", "json", "--path", "/p"),
        ("copy", "/p", "/q", "--dry-run"),
    ],
    ids=lambda command: command[0],
)
def test_a_path_is_read_in_parallel(scripted: Wire, command: tuple[str, ...]) -> None:
    """Where a command reads a path; other services have nothing like it."""
    found = {"Name": "/p/a", "Type": "String", "Value": "fake"}
    scripted.answers = {
        "DescribeParameters": lambda asked: {
            "Parameters": [found] if "/p" in str(asked.body["ParameterFilters"]) else []
        },
        "GetParameter": lambda asked: (
            {"Parameter": found} if asked.body["Name"] == "/p/a" else refusal("ParameterNotFound")
        ),
    }
    program = ("--", "true") if command[0] == "exec" else ()
    done = run(*command, *PS, "--parallel", *program)
    assert (done.returncode, done.stderr) == (0, b"")
    assert scripted.count("GetParametersByPath") == 0
    assert scripted.count("DescribeParameters") >= 1

    refused = run(*command, "--parallel", *program)
    assert refused.returncode == 2
    assert f"aws.sm does not accept --parallel for {command[0]}" in refused.stderr.decode()
