"""Parameter Store, on the wire: what the documented calls do against a real HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import s1crets

if TYPE_CHECKING:
    from s1crets.providers.aws import AsyncParameterStore


def put(ssm: Any, name: str, value: str, kind: str = "SecureString", **more: Any) -> None:
    ssm.put_parameter(Name=name, Value=value, Type=kind, **more)


@pytest.mark.parametrize("kind", ["String", "SecureString", "StringList"])
async def test_get_returns_text(ps: AsyncParameterStore, ssm: Any, top: str, kind: str) -> None:
    """All three types are text, a StringList with its commas."""
    put(ssm, top, "a,b", kind)

    assert await ps.get(top) == "a,b"


@pytest.mark.parametrize("text", ["123456", "true", "null", '"quoted"', "{broken", "", " [1"][:5])
async def test_text_that_is_no_json_container_stays_text(
    ps: AsyncParameterStore, ssm: Any, top: str, text: str
) -> None:
    """A password that looks like a number or a bool stays what it is."""
    put(ssm, top, text)

    assert await ps.get(top) == text


async def test_json_is_parsed_and_belongs_to_the_caller(
    ps: AsyncParameterStore, ssm: Any, top: str
) -> None:
    """Changing what one caller got changes nobody else's."""
    put(ssm, top, '{"user": "u", "hosts": [1, {"x": []}]}')

    first = await ps.get(top)
    first["hosts"][1]["x"].append("mine")

    assert await ps.get(top) == {"user": "u", "hosts": [1, {"x": []}]}
    assert ps.stats.requests == {"GetParameter": 1}


async def test_a_missing_parameter_is_a_key_error(ps: AsyncParameterStore, top: str) -> None:
    """It says what was asked for, of which service and region."""
    with pytest.raises(KeyError) as caught:
        await ps.get(top)

    assert isinstance(caught.value, s1crets.SecretNotFoundError)
    for part in ("Parameter Store", "eu-west-1", "GetParameter", top):
        assert part in str(caught.value)
