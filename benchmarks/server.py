"""A loopback AWS for measurements: instant answers, a distance in milliseconds, a quota.

moto would be the bottleneck. `python benchmarks/server.py --latency 20 --quota 40` prints its port.
`GET /counts` tells, and forgets, how many requests came, by operation, and how many were throttled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGE = 10
VERSION = "1" * 32


def value_of(name: str) -> str:
    """Return what is stored under a name: text, or JSON of four fields."""
    if name.endswith("json"):
        return json.dumps({"user": "u", "password": f"fake {name}", "host": "h", "port": 5432})
    return f"fake {name}"


class Quota:
    """A token bucket: one second's worth at once, then so many a second."""

    def __init__(self, rate: float) -> None:
        self.rate, self.tokens, self.then = rate, rate, time.monotonic()

    def take(self) -> bool:
        """Say whether a request may pass."""
        now = time.monotonic()
        self.tokens = min(self.rate, self.tokens + (now - self.then) * self.rate)
        self.then = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def parameter(name: str) -> dict[str, Any]:
    """Return a parameter as AWS describes it."""
    return {"Name": name, "Type": "SecureString", "Value": value_of(name), "Version": 1}


def secret(name: str) -> dict[str, Any]:
    """Return a secret as AWS describes it."""
    return {
        "Name": name,
        "ARN": f"arn:{name}",
        "SecretString": value_of(name),
        "VersionId": VERSION,
    }


def by_path(body: dict[str, Any]) -> dict[str, Any]:
    """Return a page; the path's last part says how many names there are below it."""
    total, first = int(body["Path"].rsplit("/", 1)[-1]), int(body.get("NextToken", 0))
    last = min(first + _PAGE, total)
    page = {"Parameters": [parameter(f"{body['Path']}/{i}") for i in range(first, last)]}
    return page | ({"NextToken": str(last)} if last < total else {})


ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "GetParameter": lambda body: {"Parameter": parameter(body["Name"])},
    "GetParameters": lambda body: {
        "Parameters": [parameter(name) for name in reversed(body["Names"])],
        "InvalidParameters": [],
    },
    "GetParametersByPath": by_path,
    "GetSecretValue": lambda body: secret(body["SecretId"]),
    "BatchGetSecretValue": lambda body: {
        "SecretValues": [secret(name) for name in reversed(body["SecretIdList"])],
        "Errors": [],
    },
    "DescribeSecret": lambda body: {
        "Name": body["SecretId"],
        "VersionIdsToStages": {VERSION: ["AWSCURRENT"]},
    },
}


class Aws(asyncio.Protocol):
    """One connection."""

    latency = 0.0
    quota: Quota | None = None
    counts: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        """Remember where to answer."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request that has come."""
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, rest = self.data.partition(b"\r\n\r\n")
            headers = dict(
                line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line
            )
            length = int(headers.get(b"content-length", b"0"))
            if len(rest) < length:
                return
            self.data = rest[length:]
            self.answer(head, headers.get(b"x-amz-target", b""), rest[:length])

    def answer(self, head: bytes, target: bytes, body: bytes) -> None:
        """Answer one request, after as long as the distance takes."""
        if head.startswith(b"GET /counts"):
            text, status = json.dumps(self.counts).encode(), b"200 OK"
            self.counts.clear()
            self.transport.write(_http(status, text))
            return
        wanted = next(
            name for name in ANSWERS if name.lower().encode() == target.rsplit(b".", 1)[-1].strip()
        )
        self.counts[wanted] += 1
        if self.quota is not None and not self.quota.take():
            self.counts["throttled"] += 1
            status, text = (
                b"400 Bad",
                b'{"__type": "ThrottlingException", "message": "Rate exceeded"}',
            )
        else:
            status, text = b"200 OK", json.dumps(ANSWERS[wanted](json.loads(body))).encode()
        asyncio.get_running_loop().call_later(
            self.latency, self.transport.write, _http(status, text)
        )


def _http(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


async def main() -> None:
    """Serve until the process is killed."""
    options = argparse.ArgumentParser()
    options.add_argument("--latency", type=float, default=0, help="milliseconds")
    options.add_argument("--quota", type=float, default=0, help="requests a second")
    chosen = options.parse_args()
    Aws.latency = chosen.latency / 1000
    Aws.quota = Quota(chosen.quota) if chosen.quota else None
    server = await asyncio.get_running_loop().create_server(Aws, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
