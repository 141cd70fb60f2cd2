"""Errors: two lines, cause and hint, and an exit code; never a value or a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import COMMAND, PS, error_of, run, run_process
from _support.wire import HANG_UP, Reply, Wire, refusal

import s1crets

if TYPE_CHECKING:
    from pathlib import Path

    from _support.command import FakeProvider

    from s1crets.testing import LoopbackAws

CANARY = "canary-b08c"
UNEXPECTED = """s1crets: unexpected RuntimeError
  hint: please report the command that caused it
"""


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
        (Reply(b"<html>"), 7, "does not match the API"),
    ],
)
def test_the_exit_code_tells_errors_apart(
    scripted: Wire, answer: Any, code: int, words: str
) -> None:
    """The cause names the secret, the hint suggests what to do."""
    scripted.answers["GetSecretValue"] = answer
    done = run("get", "name")

    cause, hint = error_of(done).splitlines()
    assert done.returncode == code
    assert "'name'" in cause
    assert words in cause + hint


def test_missing_credentials_have_their_own_exit_code() -> None:
    """6; the hint names the variables to set."""
    done = run("get", "name", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")

    assert done.returncode == 6
    assert "AWS_PROFILE" in error_of(done)


def test_the_command_as_a_process_exits_with_the_code(in_a_file: tuple[str, ...]) -> None:
    """The installed entry point reports an error like the function behind it."""
    args = ("get", "none", *in_a_file[1:])
    done = run_process(*args)

    assert done.returncode == 3
    assert (done.stdout, done.stderr) == (b"", run(*args).stderr)


def test_each_name_of_a_batch_is_reported(s1crets_aws: LoopbackAws, top: str) -> None:
    """One cause per name and each hint once; "denied" decides the exit code, then "not found"."""
    s1crets_aws.seed({"aws.ps": {f"{top}/a": "fake", f"{top}/b": "fake"}})
    s1crets_aws.deny("ssm:GetParameter*", f"{top}/b")
    command = ["export", "--format", "json", *PS, "--secret", "/no", "--secret", "/nor"]
    missing = run(*command)
    denied = run(*command, "--secret", f"{top}/b")

    lines = denied.stderr.decode().splitlines()
    assert (missing.returncode, denied.returncode) == (3, 4)
    assert len(missing.stderr.splitlines()) == 3
    for name in ("/no", "/nor", f"{top}/b"):
        assert sum(f"'{name}'" in line for line in lines[:3]) == 1
    assert [line[:13] for line in lines[3:]] == ["  hint: check", "  hint: allow"]


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError(CANARY), 7, UNEXPECTED),
        (TypeError(CANARY), 7, UNEXPECTED.replace("Runtime", "Type")),
        (OSError(24, "Too many open files"), 7, "s1crets: Too many open files [OSError]\n"),
        (OSError(), 7, "s1crets: the operation failed [OSError]\n"),
        (PermissionError("only on\nMondays; wait"), 7, "s1crets: only on Mondays\n  hint: wait\n"),
        (ValueError("no"), 2, "s1crets: no\n"),
        (s1crets.BatchError("?", {"a": CANARY}, {"b": s1crets.ThrottledError("too much")}), 5,
         "s1crets: too much\n"),
    ],
)  # fmt: skip
def test_any_exception_of_a_provider_is_reported(
    fake_provider: type[FakeProvider], error: BaseException, code: int, stderr: str
) -> None:
    """Unknown exceptions without their text, which may contain a value."""
    fake_provider.error = error
    done = run("get", "name")

    assert (done.returncode, done.stdout, done.stderr.decode()) == (code, b"", stderr)


@pytest.mark.parametrize(
    "command",
    ["get a", "get-by-path a", "exists a", "list", "check --secret a", "diff a b", "delete --yes a",
     f"update a {CANARY}", f"put a {CANARY}", "update a -", "import - a", "exec --path a true",
     "export --secret a --format json"],
)  # fmt: skip
def test_no_command_shows_the_text_of_an_unknown_exception(
    fake_provider: type[FakeProvider], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """It may contain a value."""
    for verb in ("get_by_path", "path_exists", "describe", "update", "put", "create", "delete"):
        monkeypatch.setattr(fake_provider, verb, fake_provider.get, raising=False)
    fake_provider.error = RuntimeError(CANARY)
    done = run(*command.split(), stdin=f"A={CANARY}".encode())

    assert (done.returncode, done.stdout, done.stderr.decode()) == (7, b"", UNEXPECTED)


VAULT = """
from s1crets.providers.simple import AsyncSimpleProvider, SimpleProvider

class AsyncVault(AsyncSimpleProvider):
    service = "our vault"

    async def fetch(self, name):
        raise RuntimeError("canary-b08c")  # line 8

    async def names(self, path):
        return []

class Vault(SimpleProvider[AsyncVault]):
    async_class = AsyncVault
"""


def test_an_unknown_exception_of_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint is for its authors; --debug says where it was raised, without its text."""
    (tmp_path / "erring_vault.py").write_text(VAULT)
    (info := tmp_path / "vaults-1.0.dist-info").mkdir()
    names = "".join(f"{name} = erring_vault:Vault\n" for name in ("vault", "other"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vaults\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[s1crets.providers]\n{names}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "erring_vault", raising=False)
    done = run("get", "--provider", "vault", "name")
    debugged = run("get", "--provider", "vault", "name", "--debug").stderr.decode()
    both = run("diff", "--provider", "vault", "--to-provider", "other", "a", "b")

    assert done.returncode == 7
    assert done.stderr.decode() == (
        "s1crets: unexpected RuntimeError with the provider 'vault' of another package\n"
        "  hint: please report the command to its authors: a provider should raise errors of"
        " s1crets\n"
    )
    assert f"s1crets: debug: {tmp_path / 'erring_vault.py'}:8 in fetch\n" in debugged
    assert debugged.endswith(done.stderr.decode())
    assert CANARY not in debugged
    assert b"with the provider 'vault' and 'other' of another package\n" in both.stderr


def test_an_interrupted_command_line_is_no_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while options are parsed has the same exit code as later."""

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("s1crets.cli._options.is_provider", interrupted)
    done = run("get", "name")

    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


INTERRUPTED = """
import os, signal, sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, *args):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder)
sys.argv[1:] = ["get", "name"]
from s1crets.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["click", "s1crets.cli.env", "aiobotocore.session"])
def test_an_interrupted_import_shows_no_traceback(scripted: Wire, module: str) -> None:
    """Ctrl-C has the same exit code at any time, and no message."""
    script = INTERRUPTED.format(module=module)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
    assert not scripted.calls


def test_an_interrupted_exists_has_not_answered_no(scripted: Wire) -> None:
    """Ctrl-C ends the process without a message, with exit code 130 instead of 1."""
    go = threading.Event()

    def slow(_: Any) -> Any:
        go.wait(30)
        return refusal("ResourceNotFoundException")

    scripted.answers["DescribeSecret"] = slow
    process = subprocess.Popen([COMMAND, "exists", "name"], stderr=subprocess.PIPE)
    until = time.monotonic() + 30
    while not scripted.count("DescribeSecret"):
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    go.set()

    assert (process.returncode, err) == (130, b"")
