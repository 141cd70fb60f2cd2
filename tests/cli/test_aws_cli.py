"""The AWS CLI as another client of the same data: each reads what the other wrote."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from _support.scripts import unmeasured

if TYPE_CHECKING:
    from pathlib import Path

    from s1crets.providers.aws import ParameterStore, SecretsManager

# The commands come as JSON, and one process runs them all: to start takes it longer than ten runs.
CLI = """
import contextlib, io, json, sys
from awscli.clidriver import create_clidriver

driver = create_clidriver()
answers = []
for command in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = driver.main([*command, "--output=json"])
    assert code == 0, (command[:2], code)
    answers.append(json.loads(output.getvalue()))
print(json.dumps(answers))
"""
VALUES = {
    "text": "S3cr3Tp4Ssw0Rd!^ fäke",
    "lines": "fake\nlines\n",
    "number": "123456",
    "nested/json": {"user": "fake", "ports": [1, 2], "ü": None},
}


def aws(*commands: tuple[str, ...]) -> list[dict[str, Any]]:
    """Run commands of the AWS CLI; return their outputs."""
    done = subprocess.run(
        [sys.executable, "-c", CLI],
        input=json.dumps(commands).encode(), capture_output=True, check=True, env=unmeasured(),
    )  # fmt: skip
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def test_parameters_are_read_and_written_both_ways(blocking_ps: ParameterStore, top: str) -> None:
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
    blocking_sm: SecretsManager, top: str, tmp_path: Path
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
