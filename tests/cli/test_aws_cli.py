"""The AWS CLI as another client of the same data: each reads what the other wrote."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from _support.scripts import LIMIT, unmeasured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from s1crets.providers.aws import ParameterStore, SecretsManager

# Commands come as lines of JSON. One process runs them all: its start takes longer than 50 of them.
CLI = """
import contextlib, io, json, sys
from awscli.clidriver import create_clidriver

driver = create_clidriver()
for line in sys.stdin:
    answers = []
    for command in json.loads(line):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            code = driver.main([*command, "--output=json"])
        assert code == 0, (command[:2], code)
        answers.append(json.loads(output.getvalue()))
    print(json.dumps(answers), flush=True)
"""
VALUES = {
    "text": "S3cr3Tp4Ssw0Rd!^ fäke",
    "lines": "fake\nlines\n",
    "number": "123456",
    "nested/json": {"user": "fake", "ports": [1, 2], "ü": None},
}


@pytest.fixture(scope="module")
def _cli() -> Iterator[list[subprocess.Popen[str]]]:
    """Yield a list for the process, which starts with the first command and ends with the tests."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.communicate(timeout=LIMIT)


@pytest.fixture
def aws(
    environment: dict[str, str], _cli: list[subprocess.Popen[str]]
) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that runs commands of the AWS CLI, and returns their outputs."""

    def run(*commands: tuple[str, ...]) -> list[dict[str, Any]]:
        if not _cli:
            command = [sys.executable, "-c", CLI]
            _cli.append(subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=unmeasured()))
        (process,) = _cli
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(commands) + "\n")
        process.stdin.flush()
        found: list[dict[str, Any]] = json.loads(process.stdout.readline())
        return found

    return run


def as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def test_parameters_are_read_and_written_both_ways(
    aws: Callable[..., Any], blocking_ps: ParameterStore, top: str
) -> None:
    """`update` keeps the type, tier, description and key that the CLI has set."""
    put = (
        "ssm", "put-parameter", "--type", "SecureString", "--key-id", "alias/aws/ssm",
        "--tier", "Advanced", "--description", "fake one",
    )  # fmt: skip
    aws(
        *[
            (*put, "--name", f"{top}/{name}", "--value", as_text(value))
            for name, value in VALUES.items()
        ]
    )
    assert blocking_ps.get_by_path(top) == {f"{top}/{name}": v for name, v in VALUES.items()}
    for name, value in VALUES.items():
        assert blocking_ps.get(f"{top}/{name}") == value
        blocking_ps.update(f"{top}/{name}", [value])

    listed, described = aws(
        ("ssm", "get-parameters-by-path", "--path", top, "--recursive", "--with-decryption"),
        ("ssm", "describe-parameters", "--filters", f"Key=Name,Values={top}/text"),
    )
    assert {one["Name"]: json.loads(one["Value"]) for one in listed["Parameters"]} == {
        f"{top}/{name}": [value] for name, value in VALUES.items()
    }
    (kept,) = described["Parameters"]
    assert (kept["Type"], kept["Tier"], kept["Description"], kept["KeyId"]) == (
        "SecureString", "Advanced", "fake one", "alias/aws/ssm",
    )  # fmt: skip


def test_secrets_are_read_and_written_both_ways(
    aws: Callable[..., Any], blocking_sm: SecretsManager, top: str, tmp_path: Path
) -> None:
    """`update` keeps the encryption key; binary secrets are bytes in and bytes out."""
    create = ("secretsmanager", "create-secret", "--kms-key-id", "alias/fake")
    file = tmp_path / "fake"
    file.write_bytes(b"\x00\xff fake")
    aws(
        *[
            (*create, "--name", f"{top}/{name}", "--secret-string", as_text(value))
            for name, value in VALUES.items()
        ],
        (*create, "--name", f"{top}/binary", "--secret-binary", f"fileb://{file}"),
    )
    for name, value in VALUES.items():
        assert blocking_sm.get(f"{top}/{name}") == value
        blocking_sm.update(f"{top}/{name}", [value])
    assert blocking_sm.get(f"{top}/binary") == b"\x00\xff fake"
    blocking_sm.update(f"{top}/binary", b"\xfe\x01")

    names = [f"{top}/{name}" for name in (*VALUES, "binary")]
    read, described = aws(
        ("secretsmanager", "batch-get-secret-value", "--secret-id-list", *names),
        ("secretsmanager", "describe-secret", "--secret-id", f"{top}/text"),
    )
    found = {one["Name"].removeprefix(f"{top}/"): one for one in read["SecretValues"]}
    assert base64.b64decode(found.pop("binary")["SecretBinary"]) == b"\xfe\x01"
    assert {name: json.loads(one["SecretString"]) for name, one in found.items()} == {
        name: [value] for name, value in VALUES.items()
    }
    assert described["KmsKeyId"] == "alias/fake"
