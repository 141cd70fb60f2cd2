"""Scripted AWS: a server that stores nothing and responds as a test says.

```python
from s1crets.testing import AwsError, Disconnect, scripted_aws

with scripted_aws() as aws:
    aws.responses["GetParameter"] = [
        Disconnect.HANG_UP,
        AwsError("InternalServerError", "no", 500),
        {"Parameter": {"Name": "/a", "Type": "String", "Value": "fake"}},
    ]
    ...  # a client whose environment is `aws.environment`
    assert [call.body["Name"] for call in aws.calls] == ["/a", "/a", "/a"]
```
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from s1crets.testing._protocol import AwsError, Call, parse
from s1crets.testing._server import Disconnect, Response, Server

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from s1crets.testing._server import HttpRequest

_lock = threading.Lock()

Answer: TypeAlias = Mapping[str, Any] | bytes | Response | AwsError | Disconnect
Scripted: TypeAlias = Answer | list[Any] | Callable[[Call], Any]


class ScriptedAws(Server):
    """Server that responds to AWS requests as a test says.

    `scripted_aws` starts one.

    Attributes:
        responses: what to respond, by operation (`"GetParameter"`), or by HTTP method and path for
            requests that are not API calls (`"GET /latest/meta-data"`). A response is a dict (sent
            as JSON), bytes, a `Response`, an `AwsError` or a `Disconnect`; a function of the `Call`
            that returns one of these; or a list of these, used up in order, of which the last
            stays. Every other call gets an `UnknownOperationException`.
        calls: the calls so far, with their arguments.
    """

    def __init__(self, region: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.responses: dict[str, Scripted] = {}
        self.calls: list[Call] = []
        super().__init__(region, port, tls)

    def _respond(self, request: HttpRequest) -> Response | Disconnect:
        call = parse(request, self.region)
        self.calls.append(call)
        unknown = AwsError("UnknownOperationException", f"no response for {call.operation}")
        return resolve(self.responses.get(call.operation, unknown), call)


@contextmanager
def scripted_aws(
    region: str = "eu-west-1", *, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[ScriptedAws]:
    """Run a scripted AWS on loopback.

    Args:
        region: the region in its `environment`.
        port: the port; a free one if 0.
        tls: server-side context, for https.
    """
    aws = ScriptedAws(region, port, tls)
    try:
        yield aws
    finally:
        aws.close()


def resolve(scripted: Scripted, call: Call) -> Response | Disconnect:
    """Return the response that was scripted for a call."""
    answer: Any = scripted
    if isinstance(answer, list):
        with _lock:
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
    if callable(answer):
        answer = answer(call)
    if isinstance(answer, AwsError):
        return answer.response(call.service)
    return answer if isinstance(answer, (Response, Disconnect)) else Response(answer)
