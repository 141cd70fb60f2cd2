"""The AWS CLI as another client of the same data: each reads what the other wrote."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from s1crets.providers.aws import ParameterStore, SecretsManager

AWS = str(Path(sys.executable).parent / "aws")
VALUES = {
    "text": "S3cr3Tp4Ssw0Rd!^ fäke",
    "lines": "fake\nlines\n",
    "number": "123456",
    "json": {"user": "fake", "ports": [1, 2], "ü": None},
}


def aws(*args: str) -> dict[str, Any]:
    done = subprocess.run([AWS, *args, "--output=json"], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", VALUES)
def test_parameters(blocking_ps: ParameterStore, top: str, kind: str) -> None:
    """Both ways, and `update` keeps what the CLI has set."""
    value = VALUES[kind]
    text = value if isinstance(value, str) else json.dumps(value)
    aws(
        "ssm", "put-parameter", "--name", top, "--value", text, "--type", "SecureString",
        "--key-id", "alias/aws/ssm", "--tier", "Advanced", "--description", "fake one",
    )  # fmt: skip

    assert blocking_ps.get(top) == value
    blocking_ps.update(top, [value])
    read = aws("ssm", "get-parameter", "--name", top, "--with-decryption")["Parameter"]
    assert json.loads(read["Value"]) == [value]
    described = aws("ssm", "describe-parameters", "--filters", f"Key=Name,Values={top}")
    (kept,) = described["Parameters"]
    assert (kept["Type"], kept["Tier"], kept["Description"], kept["KeyId"]) == (
        "SecureString", "Advanced", "fake one", "alias/aws/ssm",
    )  # fmt: skip


def test_a_path(blocking_ps: ParameterStore, top: str) -> None:
    """Both see the same names and values."""
    for name in ("a", "b/c"):
        aws("ssm", "put-parameter", "--name", f"{top}/{name}", "--value", name, "--type", "String")
    listed = aws("ssm", "get-parameters-by-path", "--path", top, "--recursive")["Parameters"]

    assert blocking_ps.get_by_path(top) == {one["Name"]: one["Value"] for one in listed}


@pytest.mark.parametrize("kind", VALUES)
def test_secrets(blocking_sm: SecretsManager, top: str, kind: str) -> None:
    """Both ways, and the key that it is encrypted with stays."""
    value = VALUES[kind]
    text = value if isinstance(value, str) else json.dumps(value)
    aws(
        "secretsmanager", "create-secret", "--name", top, "--secret-string", text,
        "--kms-key-id", "alias/fake",
    )  # fmt: skip

    assert blocking_sm.get(top) == value
    blocking_sm.update(top, [value])
    read = aws("secretsmanager", "get-secret-value", "--secret-id", top)
    assert json.loads(read["SecretString"]) == [value]
    described = aws("secretsmanager", "describe-secret", "--secret-id", top)
    assert described["KmsKeyId"] == "alias/fake"


def test_binary_secrets(blocking_sm: SecretsManager, top: str, tmp_path: Path) -> None:
    """Bytes in, bytes out."""
    file = tmp_path / "fake"
    file.write_bytes(b"\x00\xff fake")
    aws(
        "secretsmanager", "create-secret", "--name", top, "--secret-binary", f"fileb://{file}"
    )  # fmt: skip

    assert blocking_sm.get(top) == b"\x00\xff fake"
    blocking_sm.update(top, b"\xfe\x01")
    read = aws("secretsmanager", "get-secret-value", "--secret-id", top)
    assert base64.b64decode(read["SecretBinary"]) == b"\xfe\x01"
