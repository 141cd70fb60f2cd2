"""The AWS services: one row for each, with everything that the shared code needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Service(NamedTuple):
    """An AWS service."""

    name: str  # botocore's
    title: str  # in error messages
    iam_prefix: str  # of its IAM actions
    batch_size: int = 1  # names per batch request; 1 if there is no batch operation
    # The quota of each operation that shares it with others; every other operation has its own.
    quotas: Mapping[str, str] = {}
    models: tuple[str, ...] = ()  # of botocore's data, besides the service's model and endpoints


PARAMETER_STORE = Service(
    name="ssm",
    title="Parameter Store",
    iam_prefix="ssm",
    batch_size=10,
    quotas=dict.fromkeys(("GetParameter", "GetParameters", "GetParametersByPath"), "Get"),
    models=("paginators-1",),
)
SECRETS_MANAGER = Service(
    name="secretsmanager",
    title="Secrets Manager",
    iam_prefix="secretsmanager",
    batch_size=20,
    models=("paginators-1",),
)
STS = Service(name="sts", title="STS", iam_prefix="sts")
