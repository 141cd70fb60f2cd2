"""What Parameter Store refuses, forgets and tells, and moto does not."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

from s1crets.testing._calls import Refused

if TYPE_CHECKING:
    from s1crets.testing._calls import Call

_BATCH, _STANDARD, _ADVANCED, _LEVELS = 10, 4096, 8192, 15
_PLAIN = re.compile(r"[A-Za-z0-9_.\-/]+")
_BAD_NAME = (
    'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it can'
    " consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of"
    " letters, numbers and the following 3 symbols .-_"
)
_NOT_QUALIFIED = "Parameter name must be a fully qualified name."
_BAD_PATH = (
    "The parameter doesn't meet the parameter name requirements. The parameter name must begin with"
    ' a forward slash "/".'
)
_DOWNGRADE = (
    "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the"
    " advanced-parameter tier to the standard-parameter tier. If necessary, you can delete the"
    " advanced parameter and recreate it as a standard parameter."
)
_TOO_LONG = (
    "Standard tier parameters support a maximum parameter value of 4096 characters. To create a"
    " larger parameter value, upgrade the parameter to use the advanced-parameter tier."
)
_REFERENCE = "/aws/reference/"  # moto looks these up elsewhere
_FORGOTTEN = ("Description", "AllowedPattern", "KeyId")  # Type and Policies stay


def invalid(message: str) -> Refused:
    """Return AWS's error for arguments that are out of bounds."""
    return Refused("ValidationException", message)


def out_of_bounds(member: str, constraint: str) -> Refused:
    """Return AWS's error for one argument; the value is left out, as it may be a secret's."""
    found = "1 validation error detected"
    return invalid(f"{found}: Value at '{member}' failed to satisfy constraint: {constraint}")


def check(call: Call, backend: Any) -> None:
    """Raise what AWS refuses and moto takes; put right what moto would take another way.

    Raises:
        Refused: AWS's answer would be this error.
    """
    if call.operation == "GetParameter":
        call.body["Name"] = _readable(call.body["Name"])
    elif call.operation == "GetParameters":
        _check_names(call)
    elif call.operation == "GetParametersByPath":
        _check_path(call.body["Path"])
    elif call.operation == "PutParameter":
        _check_put(call, backend)


def amend(call: Call, backend: Any, answer: dict[str, Any]) -> None:
    """Put moto's answer right: it has no `Selector`, and shows what is not to be decrypted."""
    found = answer["Parameters"] if "Parameters" in answer else [answer["Parameter"]]
    if not call.body.get("WithDecryption"):
        for one in found:
            if one["Type"] == "SecureString":
                one["Value"] = _encrypted(one["Value"])
    there = set(call.names).difference(answer.get("InvalidParameters", []))
    wanted: dict[tuple[str, int], list[str]] = {}
    for name in filter(_selector, there):
        parameter = backend.get_parameter(name)
        wanted.setdefault((parameter.name, parameter.version), []).append(_selector(name))
    for one in found:
        selectors = wanted.get((one["Name"], one["Version"]))
        if selectors:
            one["Selector"] = selectors.pop()


def plain(name: str) -> str:
    """Return the name in what may be an ARN and may have a selector."""
    if name.startswith("arn:"):
        name = name.partition(":parameter")[2]
    return name.partition(":")[0]


def _selector(name: str) -> str:
    rest = name.partition(":parameter")[2] if name.startswith("arn:") else name
    return "".join(rest.partition(":")[1:])


def _encrypted(text: str) -> str:
    return base64.b64encode(b"\x01\x02\x02\x00x" + hashlib.sha256(text.encode()).digest()).decode()


def _readable(name: str) -> str:
    """Return a name to read as AWS takes it: without spaces at its ends."""
    name = name.strip()
    if not _PLAIN.fullmatch(plain(name)):
        raise invalid(_BAD_NAME)
    return name


def _check_names(call: Call) -> None:
    names = call.body["Names"]
    if not 1 <= len(names) <= _BATCH:
        raise out_of_bounds("names", f"Member must have length less than or equal to {_BATCH}")
    call.body["Names"] = [_readable(name) for name in names]
    if len(set(call.body["Names"])) < len(names):
        raise out_of_bounds("names", "Member must not have duplicates")


def _check_path(path: str) -> None:
    if not path.startswith("/"):
        raise invalid(_BAD_PATH)
    if not _PLAIN.fullmatch(path):
        raise invalid(_BAD_NAME)


def _check_put(call: Call, backend: Any) -> None:
    body = call.body
    name = body["Name"] = body["Name"].strip()
    if not _PLAIN.fullmatch(name):  # ARNs too
        raise invalid(_BAD_NAME)
    if "/" in name and not name.startswith("/"):
        raise invalid(_NOT_QUALIFIED)
    if name.count("/") > _LEVELS:
        message = f"A hierarchy can have a maximum of {_LEVELS} levels."
        raise Refused("HierarchyLevelLimitExceededException", message)
    there = None if name.startswith(_REFERENCE) else backend.get_parameter(name)
    body["Tier"] = _tier(body, there.tier if there else "Standard")
    _check_pattern(body)
    if there and body.get("Overwrite"):
        for attribute in _FORGOTTEN:
            body.setdefault(attribute, "")


def _tier(body: dict[str, Any], before: str) -> str:
    """Return the tier that a parameter is stored in."""
    size = len(body["Value"].encode())
    tier = body.get("Tier", "Standard")
    if tier == "Intelligent-Tiering":
        larger = size > _STANDARD or body.get("Policies") or before == "Advanced"
        tier = "Advanced" if larger else "Standard"
    if tier == "Standard" and before == "Advanced":
        raise invalid(_DOWNGRADE)
    if tier == "Standard" and size > _STANDARD:
        raise invalid(_TOO_LONG)
    if size > _ADVANCED:
        raise out_of_bounds("value", f"Member must have length less than or equal to {_ADVANCED}")
    return str(tier)


def _check_pattern(body: dict[str, Any]) -> None:
    pattern = body.get("AllowedPattern")
    if pattern and not re.search(pattern, body["Value"]):
        message = f"Parameter value, cannot be validated against allowedPattern: {pattern}"
        raise Refused("ParameterPatternMismatchException", message)
