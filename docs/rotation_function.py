"""A rotation function for AWS Secrets Manager: the four steps that AWS Lambda is called for.

The secret is a JSON object with `user` and `password`. Replace `set_password` and `check_login` by
calls of your database. The function's role needs `secretsmanager:` `GetSecretValue`,
`PutSecretValue`, `DescribeSecret` and `UpdateSecretVersionStage` for the secret.
"""

from __future__ import annotations

import secrets
from typing import Any

from s1crets.providers.aws import SecretsManager

sm = SecretsManager(cache_args={"cache_ttl": 0})  # every step sees what the others have done


def handler(event: dict[str, str], _context: Any) -> None:
    """Do one step. AWS repeats a step that failed, so each may be done more than once."""
    secret, token = event["SecretId"], event["ClientRequestToken"]
    steps = {
        "createSecret": create_secret,
        "setSecret": set_secret,
        "testSecret": test_secret,
        "finishSecret": finish_secret,
    }
    steps[event["Step"]](secret, token)


def create_secret(secret: str, token: str) -> None:
    """Store a new password as the pending version, unless that has been done."""
    if sm.get(secret, version_id=token, version_stage="AWSPENDING", default=None) is None:
        new = {**sm.get(secret), "password": secrets.token_urlsafe(32)}
        sm.update(secret, new, version_stages=["AWSPENDING"], client_request_token=token)


def set_secret(secret: str, token: str) -> None:
    """Tell the database the new password."""
    new = sm.get(secret, version_id=token, version_stage="AWSPENDING")
    set_password(new["user"], new["password"])


def test_secret(secret: str, token: str) -> None:
    """Log in with the new password; an exception stops the rotation."""
    new = sm.get(secret, version_id=token, version_stage="AWSPENDING")
    check_login(new["user"], new["password"])


def finish_secret(secret: str, token: str) -> None:
    """Make the pending version the current one: AWS keeps the former as `AWSPREVIOUS`."""
    new = sm.get(secret, version_id=token)
    sm.update(secret, new, version_stages=["AWSCURRENT"], client_request_token=token)


DATABASE: dict[str, str] = {}


def set_password(user: str, password: str) -> None:
    """Change a password in the database."""
    DATABASE[user] = password


def check_login(user: str, password: str) -> None:
    """Raise an exception if the database does not accept a password."""
    if DATABASE.get(user) != password:
        raise PermissionError(f"the database does not accept the new password of {user}")
