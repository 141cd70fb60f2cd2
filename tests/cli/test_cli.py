"""The `s1crets` command, as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import COMMAND, run, told
from _support.wire import HANG_UP, Reply, Wire, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS = ("--region", "--role-arn", "--profile", "--cache-dir")


@pytest.mark.parametrize(
    ("value", "out"),
    [
        ("fake text", "fake text\n"),
        ("fäke ✓", "fäke ✓\n"),
        ('{"a": [1, {"ü": null}]}', None),
        ("123456", "123456\n"),
    ],
)
def test_get_prints_text_as_it_is_and_json_as_json(
    ssm: Any, top: str, value: str, out: str | None
) -> None:
    """Text ends with a newline; what is printed as JSON is the value."""
    ssm.put_parameter(Name=top, Value=value, Type="SecureString")
    done = run("get", "--provider", "aws.ps", top)

    assert (done.returncode, done.stderr) == (0, b"")
    if out is None:
        assert json.loads(done.stdout) == json.loads(value)
    else:
        assert done.stdout.decode() == out


def test_get_from_secrets_manager_by_default(asm: Any, top: str) -> None:
    """Without `--provider` it is Secrets Manager."""
    asm.create_secret(Name=top, SecretString="fake")

    assert run("get", top).stdout == b"fake\n"


def test_keys_lead_into_json(asm: Any, top: str) -> None:
    """A number is an index where the value is an array."""
    asm.create_secret(Name=top, SecretString='{"a": [{"b": "fake"}], "0": "zero"}')

    assert run("get", top, "a", "0", "b").stdout == b"fake\n"
    assert run("get", top, "0").stdout == b"zero\n"
    assert "no key" in told(run("get", top, "nope"))


def test_bytes_are_written_raw(asm: Any, top: str) -> None:
    """Nothing is added, nothing is encoded."""
    asm.create_secret(Name=top, SecretBinary=b"\x00\xff\n\r")

    assert run("get", top).stdout == b"\x00\xff\n\r"


def test_get_by_path(ssm: Any, asm: Any, top: str) -> None:
    """One JSON object; binary secrets are base64 in it."""
    ssm.put_parameter(Name=f"{top}/a", Value='{"x": 1}', Type="SecureString")
    ssm.put_parameter(Name=f"{top}/b", Value="fake", Type="SecureString")
    asm.create_secret(Name=f"{top}/c", SecretBinary=b"\x00\xff")
    ps = run("get-by-path", "--provider=aws.ps", top)
    sm = run("get-by-path", top)

    assert json.loads(ps.stdout) == {f"{top}/a": {"x": 1}, f"{top}/b": "fake"}
    assert json.loads(sm.stdout) == {f"{top}/c": "AP8="}


def test_exists(ssm: Any, top: str) -> None:
    """The exit code is the answer."""
    ssm.put_parameter(Name=f"{top}/a", Value="v", Type="String")
    codes = [
        run("exists", "--provider", "aws.ps", path).returncode
        for path in (top, f"{top}/a", f"{top}/b")
    ]

    assert codes == [0, 0, 1]


@pytest.mark.parametrize(
    ("stdin", "stored"),
    [(b"fake\n", "fake"), (b"fake\n\n", "fake\n"), (b"fake", "fake"), (b'{"a": 1}\n', '{"a": 1}')],
)
def test_update_reads_stdin(asm: Any, top: str, stdin: bytes, stored: str) -> None:
    """`-` keeps the secret out of the shell's history; one newline at its end is dropped."""
    asm.create_secret(Name=top, SecretString="old")
    done = run("update", top, "-", stdin=stdin)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert asm.get_secret_value(SecretId=top)["SecretString"] == stored


def test_update_takes_bytes_from_stdin(asm: Any, top: str) -> None:
    """What is not text is stored as it is, and comes back as it was."""
    asm.create_secret(Name=top, SecretBinary=b"old")
    run("update", top, "-", stdin=b"\xff\x00\n")

    assert run("get", top).stdout == b"\xff\x00\n"


def test_update_takes_an_argument(ssm: Any, top: str) -> None:
    """For what is no secret."""
    ssm.put_parameter(Name=top, Value="old", Type="String")
    done = run("update", "--provider", "aws.ps", top, "new")

    assert done.returncode == 0
    assert ssm.get_parameter(Name=top)["Parameter"]["Value"] == "new"


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (refusal("ResourceNotFoundException"), 3, "'name'"),
        (refusal("InvalidRequestException", "marked for deletion"), 3, "scheduled for deletion"),
        (refusal("AccessDeniedException"), 4, "IAM policy"),
        (HANG_UP, 5, "can be reached"),
        (refusal("ThrottlingException"), 5, "quota"),
        (refusal("InternalServiceError", status=500), 5, "try again later"),
        (refusal("UnrecognizedClientException"), 6, "credentials"),
        (refusal("DecryptionFailure"), 7, "KMS"),
        (Reply(b"<html>"), 7, "not what the API promises"),
    ],
)
def test_exit_codes_tell_errors_apart(scripted: Wire, answer: Any, code: int, words: str) -> None:
    """One line, which names the secret and what to do."""
    scripted.answers["GetSecretValue"] = answer
    done = run("get", "name")

    assert done.returncode == code
    assert words in told(done)


def test_no_credentials() -> None:
    """Exit code 6."""
    done = run("get", "name", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")

    assert done.returncode == 6
    assert "AWS_PROFILE" in told(done)


@pytest.mark.parametrize(
    "args",
    [
        ("get", ""),
        ("get", "a\nb"),
        ("get", os.fsdecode(b"\xff")),
        ("get", "--provider", "aws.ps", "a" * 3000),
        ("get", "name", "--region", "no region"),
        ("get", "name", "--profile", "nobody"),
        ("update", "name", "-"),
        ("get-by-path", "--provider", "aws.ps", "no-slash"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(args: tuple[str, ...]) -> None:
    """Exit code 2, from us in one line."""
    done = run(*args)

    assert done.returncode == 2, done
    assert told(done)


@pytest.mark.parametrize(
    "args",
    [
        *[("get", "name", option, "") for option in OPTIONS],
        (),
        ("get",),
        ("nothing", "x"),
        ("get", "name", "--provider", "aws"),
        ("get", "name", "--nope"),
    ],
)
def test_a_wrong_command_line(args: tuple[str, ...]) -> None:
    """Exit code 2, from click with the usage."""
    done = run(*args)

    assert done.returncode == 2
    assert b"Usage: s1crets" in done.stderr


@pytest.mark.parametrize(
    "args", [("--help",), ("get", "-h"), ("get-by-path", "-h"), ("exists", "-h"), ("update", "-h")]
)
def test_help_documents_the_exit_codes(args: tuple[str, ...]) -> None:
    """Of every command."""
    help_text = run(*args).stdout.decode()

    assert "Exit codes:" in help_text
    for line in ("1    `exists`: no", "3    not found", "4    access denied", "5    unreachable"):
        assert line in help_text


def test_region_role_and_profile_go_to_aws(scripted: Wire, environment: dict[str, str]) -> None:
    """As the request's signature and the AssumeRole show."""
    from _support.wire import assumed

    scripted.answers["AssumeRole"] = assumed("fake-role-key")
    scripted.answers["GetSecretValue"] = {"SecretString": "v"}
    folder = Path(environment["HOME"]) / ".aws"
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


def imported(*args: str) -> tuple[bytes, set[str]]:
    """Run the command; return what it printed and which modules it imported."""
    done = run(*args, PYTHONPROFILEIMPORTTIME="1")
    lines = done.stderr.decode().splitlines()
    return done.stdout, {line.rpartition("|")[2].strip() for line in lines}


def test_a_warm_cache_folder_answers_without_aws(scripted: Wire, tmp_path: Path) -> None:
    """It never imports aiobotocore, and tells nobody of the folder, which was asked for."""
    scripted.answers["GetSecretValue"] = {"SecretString": "v"}
    folder = str(tmp_path / "cache")
    cold = run("get", "name", "--cache-dir", folder)
    out, modules = imported("get", "name", "--cache-dir", folder)

    assert (cold.stdout, cold.stderr, out) == (b"v\n", b"", b"v\n")
    assert scripted.count("GetSecretValue") == 1
    assert "diskcache" in modules
    assert not {"aiobotocore", "botocore", "aiohttp"} & modules


def test_a_cache_folder_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """In one line."""
    (tmp_path / "keys").mkdir(mode=0o755)
    done = run("get", "name", "--cache-dir", str(tmp_path))

    assert done.returncode == 2
    assert "0700" in told(done)


def test_a_reader_that_goes_away_is_no_error(asm: Any, top: str) -> None:
    """As in `s1crets get … | head`: nothing is said."""
    asm.create_secret(Name=top, SecretString="fake")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as out:
        done = subprocess.run(
            [COMMAND, "get", top], stdout=out, stderr=subprocess.PIPE, check=False, timeout=60
        )

    assert (done.returncode, done.stderr) == (7, b"")


def test_what_can_not_be_written_is_an_error(asm: Any, top: str) -> None:
    """Not the 1 that would be a no, and not a traceback."""
    asm.create_secret(Name=top, SecretString="fake")
    with Path("/dev/full").open("wb") as out:
        done = subprocess.run(
            [COMMAND, "get", top], stdout=out, stderr=subprocess.PIPE, check=False, timeout=60
        )

    assert done.returncode == 7
    assert done.stderr == b"s1crets: No space left on device [OSError]\n"


def test_a_stdout_that_is_closed_is_an_error(asm: Any, top: str) -> None:
    """As in `s1crets get … >&-`."""
    asm.create_secret(Name=top, SecretString="fake")
    done = subprocess.run(
        ["/bin/sh", "-c", f"{COMMAND} get {top} >&-"],
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )

    assert done.returncode == 7
    assert done.stderr.splitlines()[0] == b"s1crets: stdout is closed [OSError]"


def test_an_option_that_a_provider_does_not_take() -> None:
    """The error says it as it was typed."""
    done = run("get", "--provider", "files", "--region", "eu-west-1", "a")

    assert done.returncode == 2
    assert "the provider 'files' does not take --region: " in told(done)


def test_ctrl_c_is_no_no(scripted: Wire) -> None:
    """An interrupted `exists` has not said no."""
    go = threading.Event()

    def slow(asked: Any) -> Any:
        go.wait(30)
        return refusal("ResourceNotFoundException")

    scripted.answers["DescribeSecret"] = slow
    process = subprocess.Popen([COMMAND, "exists", "name"], stderr=subprocess.PIPE)
    wait_until(lambda: scripted.count("DescribeSecret") == 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    go.set()

    assert (process.returncode, err) == (130, b"")


def wait_until(so: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not so():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_nothing_is_seen_of_a_value_that_is_refused(scripted: Wire) -> None:
    """Not on stderr, whatever AWS says about it."""
    scripted.answers["PutSecretValue"] = refusal("ValidationException", "'fake-value' is wrong")
    done = run("update", "name", "-", stdin=b"fake-value")

    assert done.returncode == 2
    assert "fake-value" not in told(done)
