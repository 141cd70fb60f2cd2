"""Local AWS for tests and programs.

`local_aws` starts an AWS that stores values, is as strict as AWS, and fails on demand; it needs the
extra `testing`. The pytest fixture `s1crets_aws` (see `s1crets.testing.plugin`) is one for a test.
`scripted_aws` starts an AWS that responds as a test says.
"""

from __future__ import annotations

from s1crets.testing._server import AwsError, Call, Disconnect, Request, Response
from s1crets.testing.aws import LocalAws, ScriptedAws, local_aws, scripted_aws

__all__ = [
    "Asked",
    "AwsError",
    "Call",
    "Disconnect",
    "LocalAws",
    "LoopbackAws",
    "Request",
    "Response",
    "ScriptedAws",
    "local_aws",
    "loopback_aws",
    "scripted_aws",
]

Asked = Request
"""Former name of `Request`."""
LoopbackAws = LocalAws
"""Former name of `LocalAws`."""
loopback_aws = local_aws
"""Former name of `local_aws`."""
