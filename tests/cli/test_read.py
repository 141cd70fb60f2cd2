"""`s1crets get`, `get-by-path` and `exists`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from _support.command import PS, error_of, run


@pytest.mark.parametrize("text", ["fake text", "fäke ✓", "123456", '{"a": 1'])
def test_text_is_printed_unchanged(ssm: Any, top: str, text: str) -> None:
    """A newline follows; text that is not a JSON object or array is not parsed."""
    ssm.put_parameter(Name=top, Value=text, Type="SecureString")
    done = run("get", *PS, top)

    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"{text}\n", b"")


def test_objects_are_printed_as_json(ssm: Any, top: str) -> None:
    """The output is the same value, and characters beyond ASCII stay readable."""
    value = {"a": [1, {"ü": None}]}
    ssm.put_parameter(Name=top, Value=json.dumps(value), Type="SecureString")
    done = run("get", *PS, top)

    assert json.loads(done.stdout) == value
    assert '"ü"' in done.stdout.decode()


def test_binary_secrets_are_printed_as_raw_bytes(asm: Any, top: str) -> None:
    """Nothing is added or encoded; Secrets Manager is the default provider."""
    asm.create_secret(Name=top, SecretBinary=b"\x00\xff\n\r")

    assert run("get", top).stdout == b"\x00\xff\n\r"


def test_keys_select_an_item_of_the_json(asm: Any, top: str) -> None:
    """In an array a number is an index, in an object it is a key."""
    asm.create_secret(Name=top, SecretString='{"a": [{"b": "fake"}], "0": "zero"}')

    assert run("get", top, "a", "0", "b").stdout == b"fake\n"
    assert run("get", top, "0").stdout == b"zero\n"
    missing = run("get", top, "nope")
    assert missing.returncode == 3
    assert "no key 'nope'" in error_of(missing)


def test_a_path_is_one_json_object(ssm: Any, asm: Any, top: str) -> None:
    """Its keys are full names; JSON is embedded, binary secrets are base64; nothing gives `{}`."""
    ssm.put_parameter(Name=f"{top}/a", Value='{"x": 1}', Type="SecureString")
    ssm.put_parameter(Name=f"{top}/b", Value="fake", Type="SecureString")
    asm.create_secret(Name=f"{top}/c", SecretBinary=b"\x00\xff")

    parameters = json.loads(run("get-by-path", *PS, top).stdout)
    assert parameters == {f"{top}/a": {"x": 1}, f"{top}/b": "fake"}
    assert json.loads(run("get-by-path", top).stdout) == {f"{top}/c": "AP8="}
    assert run("get-by-path", *PS, f"{top}/none").stdout == b"{}\n"


def test_the_name_of_a_parameter_is_not_a_path(ssm: Any, top: str) -> None:
    """`get-by-path` prints an empty object, and that it is a name."""
    ssm.put_parameter(Name=top, Value="fake", Type="SecureString")
    done = run("get-by-path", *PS, top)

    assert (done.returncode, done.stdout) == (0, b"{}\n")
    assert done.stderr.decode() == (
        f"s1crets: '{top}' is the name of a secret, not a path\n  hint: use s1crets get\n"
    )


def test_the_exit_code_of_exists_is_the_answer(ssm: Any, top: str) -> None:
    """0 for a path and for a secret, 1 if there is neither; nothing is printed."""
    ssm.put_parameter(Name=f"{top}/a", Value="v", Type="String")
    answers = [run("exists", *PS, path) for path in (top, f"{top}/a", f"{top}/b")]

    assert [done.returncode for done in answers] == [0, 0, 1]
    assert {done.stdout + done.stderr for done in answers} == {b""}
