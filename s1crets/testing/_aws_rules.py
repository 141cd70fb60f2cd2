"""Rules of AWS that moto does not know: refusals, and responses that differ.

Those of Parameter Store, STS and Secrets Manager, in this order.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from s1crets.testing._server import AwsError, Call

PARAMETER_READS = {"GetParameter", "GetParameters", "GetParametersByPath"}
_PARAMETERS, _STANDARD, _ADVANCED, _LEVELS = 10, 4096, 8192, 15
_LISTED, _MOST_LISTED = 10, 50  # parameters of a page of a listing, by default and at most
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

_SECRETS, _PAGE, _LARGEST = 20, 100, 65536
_SECRET = re.compile(r"[A-Za-z0-9/_+=.@!\-]{1,512}")
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}$")
_CURRENT, _PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
_NEEDS_ACTIVE = {
    "CancelRotateSecret", "DeleteResourcePolicy", "PutResourcePolicy", "PutSecretValue",
    "RotateSecret", "TagResource", "UntagResource", "UpdateSecret", "UpdateSecretVersionStage",
}  # fmt: skip
_NEEDS_TOKEN = {  # and the error without
    "CreateSecret": "InvalidRequestException", "PutSecretValue": "InvalidRequestException",
    "RotateSecret": "InvalidParameterException", "UpdateSecret": "InvalidRequestException",
}  # fmt: skip
_CHANGES = {"CreateSecret", "RestoreSecret", *_NEEDS_ACTIVE}
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
_NOT_IDEMPOTENT = "You must provide a ClientRequestToken value. We recommend a UUID-type value."
_BOTH_KINDS = (
    "You can't specify both a binary secret value and a string secret value in the same secret."
)
_NO_FUNCTION = "No Lambda rotation function ARN is associated with this secret."
_NOT_INVOKABLE = (
    "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy"
    " grants access to the principal secretsmanager.amazonaws.com."
)
_OTHER_STAGE = "You provided a VersionStage that is not associated to the provided VersionId."
_KEEP_CURRENT = (
    "You can only move staging label AWSCURRENT to a different secret version. It can't be"
    " completely removed."
)


# Parameter Store and STS


def check_parameters(call: Call, backend: Any) -> None:
    """Refuse what AWS refuses and moto accepts; change calls that moto reads differently."""
    body = call.body
    _check_token(body, "InvalidNextToken")
    if call.operation == "GetParameter":
        body["Name"] = _readable(body["Name"])
    elif call.operation == "GetParameters":
        names = body["Names"] = [_readable(name) for name in body["Names"]]
        if not 1 <= len(names) <= _PARAMETERS:
            raise _too_long("names", _PARAMETERS)
        if len(set(names)) < len(names):
            raise _out_of_bounds("names", "Member must not have duplicates")
    elif call.operation == "GetParametersByPath":
        if not body["Path"].startswith("/"):
            raise invalid(_BAD_PATH)
        _check_name(body["Path"].rstrip("/") or "/a")
        # moto's filter finds the label of the newest version only: see `corrected`.
        filters = body.get("ParameterFilters", [])
        body["Labels"] = [one["Values"][0] for one in filters if one["Key"] == "Label"]
        body["ParameterFilters"] = [one for one in filters if one["Key"] != "Label"]
    elif call.operation == "DescribeParameters":
        if body.get("MaxResults", _LISTED) > _MOST_LISTED:
            problem = f"Member must have value less than or equal to {_MOST_LISTED}"
            raise _out_of_bounds("maxResults", problem)
    elif call.operation == "PutParameter":
        _check_put(body, backend)


def check_role(call: Call) -> None:
    """Refuse to assume a role whose ARN is invalid, as STS does."""
    if "RoleArn" not in call.body:
        return
    if not _ROLE.fullmatch(call.body["RoleArn"]):
        raise AwsError("ValidationError", "Request ARN is invalid")
    if not _SESSION.fullmatch(call.body.get("RoleSessionName", "")):
        message = _out_of_bounds("roleSessionName", _BAD_SESSION).message
        raise AwsError("ValidationError", message)


def _check_token(body: dict[str, Any], code: str) -> None:
    """Refuse a page token that was not returned by the local AWS."""
    if not re.fullmatch(r"\d{0,9}", body.get("NextToken") or "", re.ASCII):
        raise AwsError(code, _BAD_PAGE)


def described_parameters(call: Call, ask: Callable[[Call], dict[str, Any]]) -> dict[str, Any]:
    """Return a page of as many parameters as are requested; moto's pages have ten."""
    start, size = int(call.body.get("NextToken") or 0), call.body.get("MaxResults", _LISTED)
    response = ask(call)
    found = response["Parameters"]
    while "NextToken" in response and len(found) < size:
        call.body["NextToken"] = response["NextToken"]
        response = ask(call)
        found += response["Parameters"]
    if "NextToken" in response or len(found) > size:
        response["NextToken"] = str(start + size)
    return {**response, "Parameters": found[:size]}


def corrected_parameters(call: Call, backend: Any, response: dict[str, Any]) -> dict[str, Any]:
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
    plain = {parameter_name(name)[0] for name in call.names}
    selectors: dict[tuple[str, int], list[str]] = {}
    for name in set(call.names).difference(response.get("InvalidParameters", [])):
        if selector := parameter_name(name)[1]:
            parameter = backend.get_parameter(name)
            selectors.setdefault((parameter.name, parameter.version), []).append(selector)
    for parameter in found:
        if wanted := selectors.get((parameter["Name"], parameter["Version"])):
            parameter["Selector"] = wanted.pop()
        # A name of one level is the same with and without a slash, and returned as requested.
        own = parameter["Name"]
        other = own[1:] if own.startswith("/") else f"/{own}"
        if own not in plain and other in plain:
            parameter["Name"] = other
    return response


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def _out_of_bounds(member: str, constraint: str) -> AwsError:
    """Return AWS's error for an argument, without the argument, as it may be a secret."""
    found = "1 validation error detected"
    return invalid(f"{found}: Value at '{member}' failed to satisfy constraint: {constraint}")


def _too_long(member: str, limit: int) -> AwsError:
    return _out_of_bounds(member, f"Member must have length less than or equal to {limit}")


def secret_name(name: str) -> str:
    """Return the name in an ARN, where six more characters follow it; any other name as it is."""
    return name.partition(":secret:")[2] if name.startswith("arn:") else name


def parameter_name(name: str) -> tuple[str, str]:
    """Return the parameter's name, and the selector with its colon, of a name or an ARN."""
    if name.startswith("arn:"):
        name = name.partition(":parameter")[2]
    plain, colon, selector = name.partition(":")
    return plain, colon + selector


def _readable(name: str) -> str:
    """Return a parameter's name without spaces at its ends, which AWS ignores."""
    _check_name(parameter_name(name.strip())[0])
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
        raise _too_long("value", _ADVANCED)
    return str(tier)


# Secrets Manager


def check_secrets(call: Call, backend: Any) -> None:
    """Refuse what AWS refuses and moto accepts."""
    body, operation = call.body, call.operation
    for name in (body.get("Name"), body.get("SecretId"), *body.get("SecretIdList", [])):
        if name is not None and not _SECRET.fullmatch(secret_name(name)):
            raise invalid(_BAD_NAME)
    _check_token(body, "InvalidNextTokenException")
    if operation in _NEEDS_TOKEN and not body.get("ClientRequestToken"):
        raise AwsError(_NEEDS_TOKEN[operation], _NOT_IDEMPOTENT)
    _check_value(body)
    if operation in {"BatchGetSecretValue", "ListSecrets"}:
        _check_filters(body)
    existing = backend.secrets.get(body["Name"]) if operation == "CreateSecret" else None
    if existing and existing.is_deleted():
        raise AwsError("InvalidRequestException", _NAME_TAKEN)
    if operation in _NEEDS_ACTIVE:
        secret = _active(body["SecretId"], backend)
        if operation == "RotateSecret":
            _check_function(body, secret, backend)


def secrets_response(
    call: Call, backend: Any, denied: Callable[[str], AwsError | None]
) -> dict[str, Any] | None:
    """Return the response to an operation that moto implements differently, otherwise None.

    `denied` returns the error if reading one secret of a batch is denied.
    """
    if call.operation == "GetSecretValue":
        return _value(call.body, backend)
    if call.operation == "BatchGetSecretValue":
        return _values(call.body, backend, denied)
    if call.operation == "PutSecretValue":
        return _repeated(call.body, backend)
    if call.operation == "ListSecretVersionIds":
        return _version_ids(call.body, backend)
    if call.operation == "UpdateSecretVersionStage":
        return _move_stage(call.body, backend)
    return None


def referenced(name: str, backend: Any) -> dict[str, Any] | None:
    """Return the parameter that a reference in Parameter Store stands for, or None."""
    plain, colon, selector = name.partition(":")
    secret = backend.secrets.get(plain.removeprefix(REFERENCE))
    if secret is None:
        return None
    body = {"SecretId": secret.arn}
    if selector:
        body["VersionId" if selector in secret.versions else "VersionStage"] = selector
    try:
        value = _value(body, backend)
    except AwsError:
        return None
    source = {
        "ARN": value["ARN"], "name": value["Name"], "versionId": value["VersionId"],
        "secretString": value.get("SecretString"), "versionStages": value["VersionStages"],
        "createdDate": value["CreatedDate"],
    }  # fmt: skip
    return {
        "Name": plain, "Type": "SecureString", "Version": 0, "DataType": "text",
        "Value": value.get("SecretString") or value["SecretBinary"], "ARN": value["ARN"],
        "LastModifiedDate": value["CreatedDate"], "SourceResult": json.dumps(source),
        "Selector": f"{colon}{selector}" or None,
    }  # fmt: skip


def secret_stages(call: Call, backend: Any) -> dict[str, tuple[Any, list[str]]]:
    """Return each version of a secret and its stages, before moto changes them."""
    name = call.body.get("SecretId") or call.body.get("Name")
    secret = backend.secrets.get(name) if name else None
    versions = secret.versions if secret else {}
    return {key: (version, list(version["version_stages"])) for key, version in versions.items()}


def corrected_secrets(
    call: Call, backend: Any, response: dict[str, Any], before: dict[str, tuple[Any, list[str]]]
) -> dict[str, Any]:
    """Return moto's response, and change what it has stored, by AWS's rules."""
    if call.operation in _CHANGES:
        _settle(call, backend, response, before)
    for described in [response, *response.get("SecretList", [])]:
        for member in ("VersionIdsToStages", "SecretVersionsToStages"):
            found = described.get(member, {})
            described[member] = {key: labels for key, labels in found.items() if labels} or None
        if "LastAccessedDate" in described:
            versions = backend.secrets.get(described["ARN"]).versions.values()
            days = [version["accessed"] for version in versions if "accessed" in version]
            described["LastAccessedDate"] = max(days, default=None)
    return response


def _settle(
    call: Call, backend: Any, response: dict[str, Any], before: dict[str, tuple[Any, list[str]]]
) -> None:
    """Set the times that moto rounds, and the stages of the versions before a new one."""
    secret = backend.secrets.get(call.body.get("SecretId") or call.body["Name"])
    now = secret.last_changed_date = round(time.time(), 3)
    if call.operation == "CreateSecret" and not before:
        secret.created_date = now
    key = response.get("VersionId", "")
    version = secret.versions.get(key)
    if version is not None and (key not in before or before[key][0] is not version):
        version["createdate"] = now
        new = version["version_stages"]
        for other, (_, labels) in before.items():
            secret.versions[other]["version_stages"] = labels
        _attach(secret, key, new)
        if "VersionStages" in response:
            response["VersionStages"] = version["version_stages"]


def _check_value(body: dict[str, Any]) -> None:
    if "SecretString" in body and "SecretBinary" in body:
        raise AwsError("InvalidParameterException", _BOTH_KINDS)
    if len((body.get("SecretString") or "").encode()) > _LARGEST:
        raise _too_long("secretString", _LARGEST)
    if len(base64.b64decode(body.get("SecretBinary") or "")) > _LARGEST:
        raise _too_long("secretBinary", _LARGEST)


def _check_filters(body: dict[str, Any]) -> None:
    from moto.secretsmanager.models import filter_keys

    for number, condition in enumerate(body.get("Filters", []), 1):
        if condition.get("Key") not in filter_keys():
            constraint = f"Member must satisfy enum value set: [{', '.join(filter_keys())}]"
            raise _out_of_bounds(f"filters.{number}.member.key", constraint)


def _check_function(body: dict[str, Any], secret: Any, backend: Any) -> None:
    """Refuse a rotation without a function, or with one that does not exist."""
    arn = body["RotationLambdaARN"] = body.get("RotationLambdaARN") or secret.rotation_lambda_arn
    if not arn:
        raise AwsError("InvalidRequestException", _NO_FUNCTION)
    try:
        from moto.awslambda.utils import get_backend

        get_backend(backend.account_id, backend.region_name).get_function(arn)
    except Exception:  # noqa: BLE001  # moto's own error, or it lacks packages for functions
        raise AwsError("AccessDeniedException", _NOT_INVOKABLE) from None


def _value(body: dict[str, Any], backend: Any) -> dict[str, Any]:
    """Return the response of `GetSecretValue`."""
    secret = _active(body["SecretId"], backend)
    key, stage = body.get("VersionId"), body.get("VersionStage")
    holder = key or _holder(secret, stage or _CURRENT)
    version = secret.versions.get(holder, {})
    value = {
        member: version[name]
        for member, name in (("SecretString", "secret_string"), ("SecretBinary", "secret_binary"))
        if name in version
    }
    if not value:
        wanted = f"VersionId: {key}" if key else f"staging label: {stage or _CURRENT}"
        message = f"Secrets Manager can't find the specified secret value for {wanted}"
        raise AwsError("ResourceNotFoundException", message)
    if stage and stage not in version["version_stages"]:
        raise AwsError("InvalidRequestException", _OTHER_STAGE)
    version["accessed"] = datetime.combine(datetime.now(UTC), datetime.min.time(), UTC).timestamp()
    return {"ARN": secret.arn, "Name": secret.name, **_described(version), **value}


def _values(
    body: dict[str, Any], backend: Any, denied: Callable[[str], AwsError | None]
) -> dict[str, Any]:
    """Return the response of `BatchGetSecretValue`."""
    names, filters, token = body.get("SecretIdList", []), body.get("Filters"), None
    if bool(names) == bool(filters):
        raise AwsError("InvalidParameterException", _EITHER)
    if filters:
        size = body.get("MaxResults") or _SECRETS
        found, token = backend.list_secrets(filters, size, body.get("NextToken"))
        names = [secret["Name"] for secret in found]
    elif len(names) > _SECRETS:
        raise _too_long("secretIdList", _SECRETS)
    values, errors = [], []
    for name in names:
        try:
            if error := denied(name):
                raise error
            values.append(_value({"SecretId": name}, backend))
        except AwsError as failed:
            errors.append({"SecretId": name, "ErrorCode": failed.code, "Message": failed.message})
    return {"SecretValues": values, "Errors": errors, "NextToken": token}


def _repeated(body: dict[str, Any], backend: Any) -> dict[str, Any] | None:
    """Return the response to a `PutSecretValue` whose version exists already, otherwise None."""
    secret = _active(body["SecretId"], backend)
    token = body["ClientRequestToken"]
    members = {"secret_string": "SecretString", "secret_binary": "SecretBinary"}
    version = secret.versions.get(token, {})
    there = {member: version.get(name) for name, member in members.items()}
    if not any(there.values()):  # there is none, or `RotateSecret` has made it without a value
        return None
    if there != {member: body.get(member) for member in there}:
        message = f"You can't use ClientRequestToken {token} because that value is already in use"
        raise AwsError(
            "ResourceExistsException", f"{message} for a version of secret {secret.arn}."
        )
    described = {"VersionId": token, "VersionStages": version["version_stages"]}
    return {"ARN": secret.arn, "Name": secret.name, **described}


def _version_ids(body: dict[str, Any], backend: Any) -> dict[str, Any]:
    """Return the response of `ListSecretVersionIds`."""
    secret = _existing(body["SecretId"], backend)
    found = [
        {**_described(version), "LastAccessedDate": version.get("accessed"),
         "KmsKeyIds": [secret.kms_key_id or "DefaultEncryptionKey"]}
        for version in secret.versions.values()
        if version["version_stages"] or body.get("IncludeDeprecated")
    ]  # fmt: skip
    start = int(body.get("NextToken") or 0)
    end = start + (body.get("MaxResults") or _PAGE)
    token = str(end) if end < len(found) else None
    page = [{k: v for k, v in version.items() if v is not None} for version in found[start:end]]
    return {"ARN": secret.arn, "Name": secret.name, "Versions": page, "NextToken": token}


def _move_stage(body: dict[str, Any], backend: Any) -> dict[str, Any]:
    """Execute `UpdateSecretVersionStage`, and return its response."""
    secret, stage = _active(body["SecretId"], backend), body["VersionStage"]
    source, target = body.get("RemoveFromVersionId"), body.get("MoveToVersionId")
    if problem := _immovable(secret, stage, source, target):
        raise AwsError("InvalidParameterException", problem)
    _attach(secret, target, [stage])
    secret.last_changed_date = round(time.time(), 3)
    return {"ARN": secret.arn, "Name": secret.name}


def _immovable(secret: Any, stage: str, source: str | None, target: str | None) -> str:
    """Return the reason why a stage can't be moved from one version to another, if any."""
    holder = _holder(secret, stage)
    for key in filter(None, (source, target)):
        if key not in secret.versions:
            return f"Not a valid version: {key}"
    if source and source != holder:
        return f"Version stage {stage} not found in version {source}"
    if holder and not source and target != holder:
        return (
            f"The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently"
            f" attached to version {holder}, so you must explicitly reference that version in"
            " RemoveFromVersionId."
        )
    return "" if target or stage != _CURRENT else _KEEP_CURRENT


def _attach(secret: Any, target: str | None, moved: Collection[str]) -> None:
    """Move stages to a version; the previous AWSCURRENT becomes AWSPREVIOUS."""
    current = _holder(secret, _CURRENT)
    is_promotion = _CURRENT in moved and target != current
    for key, version in secret.versions.items():
        labels = set(version["version_stages"]).difference(moved)
        if is_promotion:
            labels.discard(_PREVIOUS)
            labels.update([_PREVIOUS] if key == current else [])
        version["version_stages"] = sorted(labels.union(moved if key == target else []))
    secret.default_version_id = _holder(secret, _CURRENT)


def _holder(secret: Any, stage: str) -> str | None:
    """Return the id of the version that has a stage."""
    versions = secret.versions.items()
    return next((key for key, version in versions if stage in version["version_stages"]), None)


def _described(version: dict[str, Any]) -> dict[str, Any]:
    return {
        "VersionId": version["version_id"],
        "VersionStages": version["version_stages"] or None,
        "CreatedDate": version["createdate"],
    }


def _existing(name: str, backend: Any) -> Any:
    """Return a secret, or raise AWS's error if there is none, or its ARN does not name it."""
    secret = backend.secrets.get(name)
    # AWS takes a partial ARN that ends like a complete ARN for a complete ARN.
    is_other = name.startswith("arn:") and _SUFFIX.search(name) and secret and secret.arn != name
    if secret is None or is_other:
        raise AwsError("ResourceNotFoundException", _NOT_FOUND)
    return secret


def _active(name: str, backend: Any) -> Any:
    """Return a secret that exists and is not deleted, or raise AWS's error."""
    secret = _existing(name, backend)
    if secret.is_deleted():
        raise AwsError("InvalidRequestException", _DELETED)
    return secret
