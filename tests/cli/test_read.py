"""`s1crets get`, `get-by-path` and `exists`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from _support.command import PS, error_of, run

if TYPE_CHECKING:
    from pathlib import Path

    from _support.wire import Wire

    from s1crets.testing import LoopbackAws


@pytest.mark.parametrize("text", ["fake text", "fäke ✓", "123456", '{"a": 1'])
def test_text_is_printed_unchanged(ssm: Any, top: str, text: str) -> None:
    """A newline follows; text that is not a JSON object or array is not parsed."""
    ssm.put_parameter(Name=top, Value=text, Type="SecureString")
    done = run("get", *PS, top)

    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"{text}\n", b"")


@pytest.mark.parametrize(
    "text", ['{"b": 1.0, "a": 12345678901234567890}', "[1e400,1]", '{\n "ü" : -0 }', "[NaN]"]
)
def test_json_is_printed_as_it_is_stored(ssm: Any, top: str, text: str) -> None:
    """No digit, space or key changes."""
    ssm.put_parameter(Name=top, Value=text, Type="SecureString")

    assert run("get", *PS, top).stdout.decode() == f"{text}\n"


def test_what_keys_select_is_valid_json(asm: Any, top: str) -> None:
    """Objects and arrays; characters beyond ASCII stay readable. Infinities are an error."""
    asm.create_secret(Name=top, SecretString='{"a": {"ü": [true, null]}, "b": [1e400], "c": NaN}')

    done = run("get", top, "a")
    assert json.loads(done.stdout) == {"ü": [True, None]}
    assert '"ü"' in done.stdout.decode()
    for key in ("b", "c"):
        done = run("get", top, key)
        assert done.returncode == 2
        assert "a number that JSON does not allow" in error_of(done)
        assert "without a KEY" in error_of(done)


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


@pytest.mark.parametrize(
    ("stored", "printed"),
    [("fake", b"fake"), ("fake\n", b"fake\n"), ('{"a":1.0}', b'{"a":1.0}'), (b"\xff\n", b"\xff\n")],
)
def test_raw_adds_no_newline(
    s1crets_aws: LoopbackAws, top: str, stored: str | bytes, printed: bytes
) -> None:
    """So `get --raw | put --raw -` copies a secret."""
    s1crets_aws.seed({"aws.sm": {top: stored}})

    assert run("get", top, "--raw").stdout == printed
    run("put", f"{top}/copy", "--raw", "-", stdin=printed)
    assert run("get", f"{top}/copy", "--raw").stdout == printed


def test_raw_items(asm: Any, top: str) -> None:
    """Text of an item without a newline; other items are JSON."""
    asm.create_secret(Name=top, SecretString='{"a": "fake", "b": [1]}')

    assert run("get", top, "a", "--raw").stdout == b"fake"
    assert json.loads(run("get", top, "b", "--raw").stdout) == [1]


def test_versions_stages_and_labels(asm: Any, ssm: Any, top: str) -> None:
    """Options for Secrets Manager; part of the name in Parameter Store."""
    first = asm.create_secret(Name=top, SecretString="fake-1")["VersionId"]
    asm.put_secret_value(SecretId=top, SecretString='{"a": "fake-2"}')
    for value in ("fake-1", "fake-2"):
        ssm.put_parameter(Name=top, Value=value, Type="String", Overwrite=True)
    ssm.label_parameter_version(Name=top, ParameterVersion=1, Labels=["good"])

    assert run("get", top, "--version-id", first).stdout == b"fake-1\n"
    assert run("get", top, "--stage", "AWSPREVIOUS").stdout == b"fake-1\n"
    assert run("get", top, "a", "--stage", "AWSCURRENT").stdout == b"fake-2\n"
    for suffix in (":1", ":good"):
        assert run("get", *PS, top + suffix).stdout == b"fake-1\n"
    missing = run("get", top, "--stage", "NOPE")
    assert missing.returncode == 3


def test_a_default_is_printed_if_there_is_no_such_secret(asm: Any, top: str) -> None:
    """Or no such key; not after another error."""
    asm.create_secret(Name=top, SecretString='{"a": "fake"}')

    assert run("get", f"{top}/nope", "--default", "other").stdout == b"other\n"
    assert run("get", top, "b", "--default", "").stdout == b"\n"
    assert run("get", top, "a", "--default", "other").stdout == b"fake\n"
    assert run("get", "a\nb", "--default", "other").returncode == 2


def test_parameters_can_be_printed_encrypted(ssm: Any, top: str) -> None:
    """Without the permission to decrypt them."""
    ssm.put_parameter(Name=f"{top}/a", Value="fake", Type="SecureString")

    for command in (("get", f"{top}/a"), ("get-by-path", top)):
        printed = run(*command, *PS, "--no-decrypt").stdout
        assert printed
        assert b'"fake"' not in printed
        assert printed != b"fake\n"
    assert run("get", top, "--no-decrypt").returncode == 2


def test_old_entries_of_a_cache_are_not_used(scripted: Wire, tmp_path: Path) -> None:
    """Not even new ones with 0."""
    scripted.answers["GetSecretValue"] = {"SecretString": "v"}
    for age in ("1000", "1000", "0"):
        run("get", "name", "--cache-dir", str(tmp_path / "cache"), "--max-age", age)

    assert scripted.count("GetSecretValue") == 2


def test_parts_of_a_path(ssm: Any, top: str) -> None:
    """Relative names, one level, or the versions with a label."""
    for name in ("a", "a", "b", "c/d"):
        ssm.put_parameter(Name=f"{top}/{name}", Value=f"fake-{name}", Type="String", Overwrite=True)
    ssm.label_parameter_version(Name=f"{top}/a", ParameterVersion=2, Labels=["good"])

    def names(*options: str) -> list[str]:
        return list(json.loads(run("get-by-path", *PS, top, *options).stdout))

    assert names("--relative") == ["a", "b", "c/d"]
    assert names("--relative", "--no-recursive") == ["a", "b"]
    assert names("--label", "good") == [f"{top}/a"]
    assert names("--parallel", "--relative", "--no-recursive") == ["a", "b"]


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


def test_a_path_has_json_as_it_is_stored(asm: Any, top: str) -> None:
    """Text that is not valid JSON is a string, so the whole output is valid."""
    texts = ['{ "a": 1.0,"b":1e400}', '{"a": NaN}', '{"a": 1, "a": 2}', '"quoted"', "[1,\n2]"]
    for number, text in enumerate(texts):
        asm.create_secret(Name=f"{top}/{number}", SecretString=text)
    output = run("get-by-path", top).stdout.decode()

    assert list(json.loads(output).values()) == [
        {"a": 1.0, "b": float("inf")}, texts[1], texts[2], texts[3], [1, 2],
    ]  # fmt: skip
    assert all(f": {text}" in output for text in (texts[0], texts[4]))


def test_the_exit_code_of_exists_is_the_answer(ssm: Any, top: str) -> None:
    """0 for a path and for a secret, 1 if there is neither; nothing is printed."""
    ssm.put_parameter(Name=f"{top}/a", Value="v", Type="String")
    answers = [run("exists", *PS, path) for path in (top, f"{top}/a", f"{top}/b")]

    assert [done.returncode for done in answers] == [0, 0, 1]
    assert {done.stdout + done.stderr for done in answers} == {b""}
