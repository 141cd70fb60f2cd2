"""What Secrets Manager refuses and tells, and moto does not."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from s1crets.testing._calls import Refused
from s1crets.testing._parameters import invalid, out_of_bounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from s1crets.testing._calls import Call

_BATCH, _LARGEST = 20, 65536
_PLAIN = re.compile(r"[A-Za-z0-9/_+=.@!\-]{1,512}")
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}$")
_BAD_NAME = (
    "Invalid name. Must be a valid name containing alphanumeric characters, or any of the"
    " following: -/_+=.@!"
)
_NOT_THERE = "Secrets Manager can't find the specified secret."
_DELETED = "You can't perform this operation on the secret because it was marked for deletion."
_NAME_TAKEN = (
    "You can't create this secret because a secret with this name is already scheduled for"
    " deletion."
)
_ONE_OF = "You must include either Filters or SecretIdList, but not both."
_NEEDS_LIVING = {"GetSecretValue", "PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"}


def check(call: Call, backend: Any) -> None:
    """Raise what AWS refuses and moto takes.

    Raises:
        Refused: AWS's answer would be this error.
    """
    body = call.body
    for one in (body.get("Name"), body.get("SecretId"), *body.get("SecretIdList", [])):
        if one is not None and not _PLAIN.fullmatch(plain(one)):
            raise invalid(_BAD_NAME)
    for member, size in (("SecretString", _length), ("SecretBinary", _decoded_length)):
        if size(body.get(member) or "") > _LARGEST:
            constraint = f"Member must have length less than or equal to {_LARGEST}"
            raise out_of_bounds(member[0].lower() + member[1:], constraint)
    if call.operation == "CreateSecret" and _is_deleted(backend, body["Name"]):
        raise Refused("InvalidRequestException", _NAME_TAKEN)
    if call.operation in _NEEDS_LIVING:
        _check_living(body["SecretId"], backend)


def plain(name: str) -> str:
    """Return the name in what may be an ARN; it has six more characters there."""
    return name.partition(":secret:")[2] if name.startswith("arn:") else name


def read_batch(
    call: Call, backend: Any, denied: Callable[[str], Refused | None]
) -> dict[str, Any] | None:
    """Return the answer of `BatchGetSecretValue`: what is there, and an error for each other one.

    Args:
        call: the request.
        backend: moto's.
        denied: returns the refusal of `GetSecretValue` for one name.

    Returns:
        None if names are not what is asked by: moto has filters.
    """
    names = call.body.get("SecretIdList")
    if bool(names) == bool(call.body.get("Filters")):
        raise Refused("InvalidParameterException", _ONE_OF)
    if not names:
        return None
    if len(names) > _BATCH:
        constraint = f"Member must have length less than or equal to {_BATCH}"
        raise out_of_bounds("secretIdList", constraint)
    values, errors = [], []
    for name in names:
        try:
            values.append(_value(name, backend, denied(name)))
        except Refused as refused:
            errors.append({"SecretId": name, "ErrorCode": refused.code, "Message": refused.message})
    return {"SecretValues": values, "Errors": errors}


def _value(name: str, backend: Any, denied: Refused | None) -> dict[str, Any]:
    from moto.secretsmanager.exceptions import SecretsManagerClientError

    if denied:
        raise denied
    _check_living(name, backend)
    try:
        found: dict[str, Any] = backend.get_secret_value(name, "", "")
    except SecretsManagerClientError as error:
        raise Refused(error.error_type, error.message) from None
    return found


def _check_living(name: str, backend: Any) -> None:
    if _is_deleted(backend, name):
        raise Refused("InvalidRequestException", _DELETED)
    secret = backend.secrets.get(name)
    # AWS takes a partial ARN that ends like a whole one for a whole one.
    if name.startswith("arn:") and _SUFFIX.search(name) and secret and secret.arn != name:
        raise Refused("ResourceNotFoundException", _NOT_THERE)


def _is_deleted(backend: Any, name: str) -> bool:
    secret = backend.secrets.get(name)
    return secret is not None and secret.is_deleted()


def _length(text: str) -> int:
    return len(text.encode())


def _decoded_length(text: str) -> int:
    return len(base64.b64decode(text))
