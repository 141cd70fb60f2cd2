"""boto3 clients that do not retry, and their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

ONCE = Config(retries={"total_max_attempts": 1, "mode": "standard"})
ARN = "arn:aws:ssm:eu-west-1:123456789012:parameter"


def client(service: str, **options: Any) -> Any:
    """Return a client whose requests are sent once."""
    return boto3.client(service, config=ONCE, **options)


def code_of(call: Callable[[], Any]) -> str:
    """Return AWS's code of the error that a call fails with."""
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])
