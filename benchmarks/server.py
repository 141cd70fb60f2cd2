"""A loopback AWS for measurements: instant answers, a distance in milliseconds, a quota.

moto would be the bottleneck. `python benchmarks/server.py --latency 20 --quota 40` prints its port.
`GET /counts` tells, and forgets, how many requests came, by operation, and how many were throttled.
For a soak: `--faults 0.05` spoils that part of the answers at random; what is written is kept, if
its version is not older; names with `missing` in them are not there, those with `denied` refused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGE = 10
_MOST_LISTED = 50  # names of a page of DescribeParameters
VERSION = "1" * 32
LATE = 1.5  # seconds, at most, that an answer is delayed
written: dict[str, str] = {}


class RefusalError(Exception):
    """AWS says no: the code."""


def value_of(name: str) -> str:
    """Return what is stored under a name: text, or JSON of four fields."""
    if name in written:
        return written[name]
    if name.endswith("json"):
        return json.dumps({"user": "u", "password": f"fake {name}", "host": "h", "port": 5432})
    return f"fake {name}"


def write(name: str, text: str) -> dict[str, Any]:
    """Store a text that has the name and a version in it, unless a newer one is there."""
    check(name)
    if _version(name, text) > _version(name, value_of(name)):
        written[name] = text
    return {"Version": 1, "VersionId": VERSION}


def _version(name: str, text: str) -> int:
    found = re.search(rf"fake {re.escape(name)} (\d+)", text)
    return int(found[1]) if found else 0


def check(name: str) -> None:
    """Refuse what may not be read."""
    if "denied" in name:
        raise RefusalError("AccessDeniedException")
    if "missing" in name:
        raise RefusalError(
            "ParameterNotFound" if name.startswith("/") else "ResourceNotFoundException"
        )


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
    check(name)
    return {"Name": name, "Type": "SecureString", "Value": value_of(name), "Version": 1}


def secret(name: str) -> dict[str, Any]:
    """Return a secret as AWS describes it."""
    check(name)
    return {
        "Name": name,
        "ARN": f"arn:{name}",
        "SecretString": value_of(name),
        "VersionId": VERSION,
    }


def parameters(body: dict[str, Any]) -> dict[str, Any]:
    """Return several parameters; one that is denied spoils all, one that is missing does not."""
    missing = [name for name in body["Names"] if "missing" in name]
    there = [name for name in reversed(body["Names"]) if name not in missing]
    return {"Parameters": [parameter(name) for name in there], "InvalidParameters": missing}


def secrets(body: dict[str, Any]) -> dict[str, Any]:
    """Return several secrets, and what is wrong with the others."""
    answer: dict[str, Any] = {"SecretValues": [], "Errors": []}
    for name in reversed(body["SecretIdList"]):
        try:
            answer["SecretValues"].append(secret(name))
        except RefusalError as error:
            answer["Errors"].append({"SecretId": name, "ErrorCode": str(error)})
    return answer


def below(path: str, body: dict[str, Any], field: str, describe: Any) -> dict[str, Any]:
    """Return a page; the path's last part says how many names there are below it."""
    count, first = path.rsplit("/", 1)[-1], int(body.get("NextToken", 0))
    total = int(count) if count.isdecimal() else 0
    last = min(first + min(body.get("MaxResults", _PAGE), _MOST_LISTED), total)
    page = {field: [describe(f"{path}/{i}") for i in range(first, last)]}
    return page | ({"NextToken": str(last)} if last < total else {})


def described(body: dict[str, Any]) -> dict[str, Any]:
    """Return what AWS shows of a parameter, if it is there, or of those below a path."""
    (wanted,) = body["ParameterFilters"]
    name = wanted["Values"][0]
    if wanted["Key"] == "Path":
        return below(name, body, "Parameters", lambda name: {"Name": name, "Type": "SecureString"})
    found = [] if "missing" in name else [parameter(name)]
    return {"Parameters": [{"Name": one["Name"], "Type": one["Type"]} for one in found]}


ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "GetParameter": lambda body: {"Parameter": parameter(body["Name"])},
    "GetParameters": parameters,
    "GetParametersByPath": lambda body: below(body["Path"], body, "Parameters", parameter),
    "DescribeParameters": described,
    "PutParameter": lambda body: write(body["Name"], body["Value"]),
    "GetSecretValue": lambda body: secret(body["SecretId"]),
    "BatchGetSecretValue": secrets,
    "ListSecrets": lambda body: below(body["Filters"][0]["Values"][0], body, "SecretList", secret),
    "DescribeSecret": lambda body: {
        "Name": secret(body["SecretId"])["Name"],
        "VersionIdsToStages": {VERSION: ["AWSCURRENT"]},
    },
    "PutSecretValue": lambda body: write(body["SecretId"], body["SecretString"]),
}
CALLER = b"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/benchmark</Arn>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""
FAULTS: dict[str, tuple[bytes, list[bytes]]] = {
    "failed": (b"500 Bad", [b'{"__type": "InternalServerError"}']),
    "unavailable": (b"503 Bad", [b"<html>", b""]),
    "throttled": (b"400 Bad", [b'{"__type": "ThrottlingException", "message": "Rate exceeded"}']),
    "expired": (b"400 Bad", [b'{"__type": "ExpiredTokenException", "message": "expired"}']),
    "malformed": (b"200 OK", [b"<html>", b"[]", b"{", b"", b'{"Parameters": 1, "Parameter": 1}']),
    "delayed": (b"", []),
    "truncated": (b"", []),
    "hung up": (b"", []),
}


class Aws(asyncio.Protocol):
    """One connection."""

    latency = 0.0
    quota: Quota | None = None
    faults = 0.0
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
        if b"Action=GetCallerIdentity" in body:  # of a cache outside of the process, once
            self.reply(_http(b"200 OK", CALLER))
            return
        wanted = next(
            name for name in ANSWERS if name.lower().encode() == target.rsplit(b".", 1)[-1].strip()
        )
        self.counts[wanted] += 1
        fault = random.choice(list(FAULTS)) if random.random() < self.faults else ""  # noqa: S311
        if fault or (self.quota is not None and not self.quota.take()):
            fault = fault or "throttled"
            self.counts[fault] += 1
            self.spoil(fault, wanted, body)
        else:
            self.reply(_answer(wanted, body))

    def reply(self, answer: bytes, later: float = 0.0) -> None:
        """Send an answer, after as long as the distance takes."""
        loop = asyncio.get_running_loop()
        loop.call_later(self.latency + later, self.transport.write, answer)

    def spoil(self, fault: str, wanted: str, body: bytes) -> None:
        """Answer as a service in trouble does."""
        status, texts = FAULTS[fault]
        if texts:
            self.reply(_http(status, random.choice(texts)))  # noqa: S311
            return
        answer = _answer(wanted, body)  # what is written is written all the same
        if fault == "delayed":
            self.reply(answer, random.random() * LATE)  # noqa: S311
        else:
            self.transport.write(answer[: len(answer) // 2] if fault == "truncated" else b"")
            self.transport.close()


def _answer(wanted: str, body: bytes) -> bytes:
    try:
        return _http(b"200 OK", json.dumps(ANSWERS[wanted](json.loads(body))).encode())
    except RefusalError as error:
        return _http(b"400 Bad", json.dumps({"__type": str(error), "message": "no"}).encode())


def _http(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


async def main() -> None:
    """Serve until the process is killed."""
    options = argparse.ArgumentParser()
    options.add_argument("--latency", type=float, default=0, help="milliseconds")
    options.add_argument("--quota", type=float, default=0, help="requests a second")
    options.add_argument("--faults", type=float, default=0, help="part of the answers, 0 to 1")
    options.add_argument("--without", default="", help="a fault to leave out")
    options.add_argument("--seed", type=int, default=0, help="of the faults")
    chosen = options.parse_args()
    Aws.latency = chosen.latency / 1000
    Aws.faults = chosen.faults
    random.seed(chosen.seed)
    FAULTS.pop(chosen.without, None)
    Aws.quota = Quota(chosen.quota) if chosen.quota else None
    server = await asyncio.get_running_loop().create_server(Aws, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
