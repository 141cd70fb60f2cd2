"""Rules of Parameter Store and STS that moto does not know: refusals, attributes, selectors."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from s1crets.testing._server import AwsError, Call

PARAMETER_READS = {"GetParameter", "GetParameters", "GetParametersByPath"}
_PARAMETERS, _STANDARD, _ADVANCED, _LEVELS = 10, 4096, 8192, 15
_PARAMETER = re.compile(r"[A-Za-z0-9_.\-]+|(/[A-Za-z0-9_.\-]+)+")
REFERENCE = "/aws/reference/secretsmanager/"  # followed by the name of a secret, in Parameter Store
_REFERENCED = re.compile(rf"{REFERENCE}[A-Za-z0-9_.\-/]+")
_FORGOTTEN = ("Description", "AllowedPattern", "KeyId")  # by an overwrite; Type and Policies stay
_BAD_PARAMETER_NAME = (
    'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it can'
    " consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of"
    " letters, numbers and the following 3 symbols .-_"
)
_NOT_QUALIFIED = "Parameter name must be a fully qualified name."
_BAD_PATH = 'The parameter name must begin with a forward slash "/".'
_DOWNGRADE = (
    "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the"
    " advanced-parameter tier to the standard-parameter tier."
)
_TOO_LONG = "Standard tier parameters support a maximum parameter value of 4096 characters."

_BAD_PAGE = "The specified token isn't valid."

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_SESSION = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_BAD_SESSION = "Member must satisfy regular expression pattern: [\\w+=,.@-]*"


def check(call: Call, backend: Any) -> None:
    """Refuse what AWS refuses and moto accepts; change calls that moto reads differently."""
    body = call.body
    check_token(body, "InvalidNextToken")
    if call.operation == "GetParameter":
        body["Name"] = _readable(body["Name"])
    elif call.operation == "GetParameters":
        names = body["Names"] = [_readable(name) for name in body["Names"]]
        if not 1 <= len(names) <= _PARAMETERS:
            raise too_long("names", _PARAMETERS)
        if len(set(names)) < len(names):
            raise out_of_bounds("names", "Member must not have duplicates")
    elif call.operation == "GetParametersByPath":
        if not body["Path"].startswith("/"):
            raise invalid(_BAD_PATH)
        _check_name(body["Path"].rstrip("/") or "/a")
        # moto's filter finds the label of the newest version only: see `corrected`.
        filters = body.get("ParameterFilters", [])
        body["Labels"] = [one["Values"][0] for one in filters if one["Key"] == "Label"]
        body["ParameterFilters"] = [one for one in filters if one["Key"] != "Label"]
    elif call.operation == "PutParameter":
        _check_put(body, backend)


def check_role(call: Call) -> None:
    """Refuse to assume a role whose ARN is invalid, as STS does."""
    if "RoleArn" not in call.body:
        return
    if not _ROLE.fullmatch(call.body["RoleArn"]):
        raise AwsError("ValidationError", "Request ARN is invalid")
    if not _SESSION.fullmatch(call.body.get("RoleSessionName", "")):
        message = out_of_bounds("roleSessionName", _BAD_SESSION).message
        raise AwsError("ValidationError", message)


def check_token(body: dict[str, Any], code: str) -> None:
    """Refuse a page token that was not returned by the local AWS."""
    if not re.fullmatch(r"\d{0,9}", body.get("NextToken") or "", re.ASCII):
        raise AwsError(code, _BAD_PAGE)


def corrected(call: Call, backend: Any, response: dict[str, Any]) -> dict[str, Any]:
    """Return moto's response with selectors, and with encrypted values unless decryption is on."""
    for label in call.body.get("Labels", []):
        versions = [
            (parameter, backend.get_parameter(f"{parameter['Name']}:{label}"))
            for parameter in response["Parameters"]
        ]
        response["Parameters"] = [
            {**parameter, "Value": labelled.decrypt(labelled.value), "Version": labelled.version,
             "LastModifiedDate": labelled.last_modified_date.timestamp()}
            for parameter, labelled in versions if labelled
        ]  # fmt: skip
    found = response["Parameters"] if "Parameters" in response else [response["Parameter"]]
    if not call.body.get("WithDecryption"):
        for parameter in found:
            if parameter["Type"] == "SecureString":
                hashed = hashlib.sha256(parameter["Value"].encode()).digest()
                parameter["Value"] = base64.b64encode(b"\x01\x02\x02\x00x" + hashed).decode()
    plain = {_split(name)[0] for name in call.names}
    selectors: dict[tuple[str, int], list[str]] = {}
    for name in set(call.names).difference(response.get("InvalidParameters", [])):
        if selector := _split(name)[1]:
            parameter = backend.get_parameter(name)
            selectors.setdefault((parameter.name, parameter.version), []).append(selector)
    for parameter in found:
        if wanted := selectors.get((parameter["Name"], parameter["Version"])):
            parameter["Selector"] = wanted.pop()
        # A name of one level is the same with and without a slash, and returned as requested.
        if parameter["Name"] not in plain and f"/{parameter['Name']}" in plain:
            parameter["Name"] = f"/{parameter['Name']}"
    return response


def aliases(call: Call, name: str, account: str, backend: Any) -> list[str]:
    """Return the names under which a policy may mention a resource; its ARN comes first."""
    if name == "*":
        return ["*"]
    if call.service == "ssm":
        plain = _split(name)[0]
        bare = plain.strip("/")
        return [f"arn:aws:ssm:{call.region}:{account}:parameter/{bare}", plain, f"/{bare}"]
    secret = backend.secrets.get(name) if call.service == "secretsmanager" else None
    return [secret.arn, secret.name, name] if secret else [name, secret_name(name)]


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def out_of_bounds(member: str, constraint: str) -> AwsError:
    """Return AWS's error for an argument, without the argument, as it may be a secret."""
    found = "1 validation error detected"
    return invalid(f"{found}: Value at '{member}' failed to satisfy constraint: {constraint}")


def too_long(member: str, limit: int) -> AwsError:
    return out_of_bounds(member, f"Member must have length less than or equal to {limit}")


def secret_name(name: str) -> str:
    """Return the name in an ARN, where six more characters follow it; any other name as it is."""
    return name.partition(":secret:")[2] if name.startswith("arn:") else name


def _split(name: str) -> tuple[str, str]:
    """Return the parameter's name, and the selector with its colon, of a name or an ARN."""
    if name.startswith("arn:"):
        name = name.partition(":parameter")[2]
    plain, colon, selector = name.partition(":")
    return plain, colon + selector


def _readable(name: str) -> str:
    """Return a parameter's name without spaces at its ends, which AWS ignores."""
    _check_name(_split(name.strip())[0])
    return name.strip()


def _check_name(name: str) -> None:
    if not _PARAMETER.fullmatch(name) and not _REFERENCED.fullmatch(name):
        raise invalid(_BAD_PARAMETER_NAME)


def _check_put(body: dict[str, Any], backend: Any) -> None:
    name = body["Name"] = body["Name"].strip()
    if "/" in name and not name.startswith(("/", "arn:")):
        raise invalid(_NOT_QUALIFIED)
    _check_name(name)  # refuses ARNs too
    if name.count("/") > _LEVELS:
        message = f"A hierarchy can have a maximum of {_LEVELS} levels."
        raise AwsError("HierarchyLevelLimitExceededException", message)
    existing = None if name.startswith(REFERENCE) else backend.get_parameter(name)
    body["Tier"] = _tier(body, existing.tier if existing else "Standard")
    pattern = body.get("AllowedPattern")
    if pattern and not re.search(pattern, body["Value"]):
        message = f"Parameter value, cannot be validated against allowedPattern: {pattern}"
        raise AwsError("ParameterPatternMismatchException", message)
    if existing and body.get("Overwrite"):
        for attribute in _FORGOTTEN:
            body.setdefault(attribute, "")


def _tier(body: dict[str, Any], before: str) -> str:
    """Return the tier that a parameter is stored in."""
    size = len(body["Value"].encode())
    tier = body.get("Tier", "Standard")
    if tier == "Intelligent-Tiering":
        advanced = size > _STANDARD or body.get("Policies") or before == "Advanced"
        tier = "Advanced" if advanced else "Standard"
    if tier == "Standard" and before == "Advanced":
        raise invalid(_DOWNGRADE)
    if tier == "Standard" and size > _STANDARD:
        raise invalid(_TOO_LONG)
    if size > _ADVANCED:
        raise too_long("value", _ADVANCED)
    return str(tier)
