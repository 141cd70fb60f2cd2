"""AWS's rules that moto does not know: what is refused, forgotten and returned."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any

from s1crets.testing._server import AwsError, Call

PARAMETER_READS = {"GetParameter", "GetParameters", "GetParametersByPath"}
_PARAMETERS, _STANDARD, _ADVANCED, _LEVELS = 10, 4096, 8192, 15
_PARAMETER = re.compile(r"[A-Za-z0-9_.\-/]+")
_REFERENCE = "/aws/reference/"  # moto looks these up elsewhere
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

_SECRETS, _LARGEST = 20, 65536
_SECRET = re.compile(r"[A-Za-z0-9/_+=.@!\-]{1,512}")
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}$")
_NEEDS_ACTIVE = {"GetSecretValue", "PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"}
_BAD_NAME = (
    "Invalid name. Must be a valid name containing alphanumeric characters, or any of the"
    " following: -/_+=.@!"
)
_NOT_FOUND = "Secrets Manager can't find the specified secret."
_DELETED = "You can't perform this operation on the secret because it was marked for deletion."
_NAME_TAKEN = (
    "You can't create this secret because a secret with this name is already scheduled for"
    " deletion."
)
_EITHER = "You must include either Filters or SecretIdList, but not both."


def check(call: Call, backend: Any) -> None:
    """Refuse what AWS refuses and moto accepts; change calls that moto reads differently."""
    body = call.body
    if call.service == "secretsmanager":
        _check_secret(call.operation, body, backend)
    elif call.operation == "GetParameter":
        body["Name"] = _readable(body["Name"])
    elif call.operation == "GetParameters":
        names = body["Names"] = [_readable(name) for name in body["Names"]]
        if not 1 <= len(names) <= _PARAMETERS:
            raise _too_long("names", _PARAMETERS)
        if len(set(names)) < len(names):
            raise _out_of_bounds("names", "Member must not have duplicates")
    elif call.operation == "GetParametersByPath":
        if not body["Path"].startswith("/"):
            raise _invalid(_BAD_PATH)
        _check_name(body["Path"])
    elif call.operation == "PutParameter":
        _check_put(body, backend)


def corrected(call: Call, backend: Any, response: dict[str, Any]) -> dict[str, Any]:
    """Return moto's response with selectors, and with encrypted values unless decryption is on."""
    found = response["Parameters"] if "Parameters" in response else [response["Parameter"]]
    if not call.body.get("WithDecryption"):
        for parameter in found:
            if parameter["Type"] == "SecureString":
                hashed = hashlib.sha256(parameter["Value"].encode()).digest()
                parameter["Value"] = base64.b64encode(b"\x01\x02\x02\x00x" + hashed).decode()
    selectors: dict[tuple[str, int], list[str]] = {}
    for name in set(call.names).difference(response.get("InvalidParameters", [])):
        if selector := _split(name)[1]:
            parameter = backend.get_parameter(name)
            selectors.setdefault((parameter.name, parameter.version), []).append(selector)
    for parameter in found:
        if wanted := selectors.get((parameter["Name"], parameter["Version"])):
            parameter["Selector"] = wanted.pop()
    return response


def read_batch(
    call: Call, backend: Any, denied: Callable[[str], AwsError | None]
) -> dict[str, Any] | None:
    """Return the response of `BatchGetSecretValue`; None for filters, which moto implements.

    `denied` returns the error if `GetSecretValue` is denied on a name.
    """
    from moto.secretsmanager.exceptions import SecretsManagerClientError

    names = call.body.get("SecretIdList")
    if bool(names) == bool(call.body.get("Filters")):
        raise AwsError("InvalidParameterException", _EITHER)
    if not names:
        return None
    if len(names) > _SECRETS:
        raise _too_long("secretIdList", _SECRETS)
    values, errors = [], []
    for name in names:
        error = denied(name) or _inactive(name, backend)
        try:
            if error is None:
                values.append(backend.get_secret_value(name, "", ""))
        except SecretsManagerClientError as failed:
            error = AwsError(failed.error_type, failed.message)
        if error:
            errors.append({"SecretId": name, "ErrorCode": error.code, "Message": error.message})
    return {"SecretValues": values, "Errors": errors}


def aliases(call: Call, name: str, account: str, backend: Any) -> list[str]:
    """Return the names under which a policy may mention a resource; its ARN comes first."""
    if name == "*":
        return ["*"]
    if call.service == "ssm":
        plain = _split(name)[0]
        bare = plain.strip("/")
        return [f"arn:aws:ssm:{call.region}:{account}:parameter/{bare}", plain, f"/{bare}"]
    secret = backend.secrets.get(name) if call.service == "secretsmanager" else None
    return [secret.arn, secret.name, name] if secret else [name, _secret_name(name)]


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def _out_of_bounds(member: str, constraint: str) -> AwsError:
    """Return AWS's error for an argument, without the argument, as it may be a secret."""
    found = "1 validation error detected"
    return _invalid(f"{found}: Value at '{member}' failed to satisfy constraint: {constraint}")


def _too_long(member: str, limit: int) -> AwsError:
    return _out_of_bounds(member, f"Member must have length less than or equal to {limit}")


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
    if not _PARAMETER.fullmatch(name):
        raise _invalid(_BAD_PARAMETER_NAME)


def _check_put(body: dict[str, Any], backend: Any) -> None:
    name = body["Name"] = body["Name"].strip()
    _check_name(name)  # refuses ARNs too
    if "/" in name and not name.startswith("/"):
        raise _invalid(_NOT_QUALIFIED)
    if name.count("/") > _LEVELS:
        message = f"A hierarchy can have a maximum of {_LEVELS} levels."
        raise AwsError("HierarchyLevelLimitExceededException", message)
    existing = None if name.startswith(_REFERENCE) else backend.get_parameter(name)
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
        raise _invalid(_DOWNGRADE)
    if tier == "Standard" and size > _STANDARD:
        raise _invalid(_TOO_LONG)
    if size > _ADVANCED:
        raise _too_long("value", _ADVANCED)
    return str(tier)


def _check_secret(operation: str, body: dict[str, Any], backend: Any) -> None:
    for name in (body.get("Name"), body.get("SecretId"), *body.get("SecretIdList", [])):
        if name is not None and not _SECRET.fullmatch(_secret_name(name)):
            raise _invalid(_BAD_NAME)
    if len((body.get("SecretString") or "").encode()) > _LARGEST:
        raise _too_long("secretString", _LARGEST)
    if len(base64.b64decode(body.get("SecretBinary") or "")) > _LARGEST:
        raise _too_long("secretBinary", _LARGEST)
    if operation == "CreateSecret" and _is_deleted(body["Name"], backend):
        raise AwsError("InvalidRequestException", _NAME_TAKEN)
    if operation in _NEEDS_ACTIVE and (error := _inactive(body["SecretId"], backend)):
        raise error


def _secret_name(name: str) -> str:
    """Return the name in an ARN, where six more characters follow it; any other name as it is."""
    return name.partition(":secret:")[2] if name.startswith("arn:") else name


def _inactive(name: str, backend: Any) -> AwsError | None:
    """Return AWS's error for a secret that is deleted, or that its ARN does not name exactly."""
    if _is_deleted(name, backend):
        return AwsError("InvalidRequestException", _DELETED)
    secret = backend.secrets.get(name)
    # AWS takes a partial ARN that ends like a complete ARN for a complete ARN.
    if name.startswith("arn:") and _SUFFIX.search(name) and secret and secret.arn != name:
        return AwsError("ResourceNotFoundException", _NOT_FOUND)
    return None


def _is_deleted(name: str, backend: Any) -> bool:
    secret = backend.secrets.get(name)
    return secret is not None and secret.is_deleted()
