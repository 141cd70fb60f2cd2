"""Between the wire and moto: AWS's own rules, and what goes wrong."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from s1crets.testing import _parameters, _secrets
from s1crets.testing._calls import Call, Incoming, Refused, Reply, answer, parsed
from s1crets.testing._policy import Policy

if TYPE_CHECKING:
    from s1crets.testing._calls import Asked
    from s1crets.testing._faults import Faults
    from s1crets.testing._moto import Moto

_LISTS = {"DescribeParameters", "GetParametersByPath", "ListSecrets"}
_READS = {"GetParameter", "GetParameters", "GetParametersByPath"}
_EMPTY = "after-an-empty-page:"
_TARGETS = {"ssm": "AmazonSSM", "secretsmanager": "secretsmanager"}
_OK = 200


class Strict:
    """Answers requests as AWS would, where moto is laxer.

    Attributes:
        asked: what came, in order.
        empty_pages: whether an empty page precedes each page of a listing.
    """

    def __init__(self, moto: Moto, faults: Faults, region: str) -> None:
        self._moto = moto
        self._faults = faults
        self._policy = Policy(moto.account, faults)
        self._region = region
        self._lock = threading.Lock()  # moto takes none
        self.asked: list[Asked] = []
        self.empty_pages = False

    def reply(self, incoming: Incoming) -> Reply:
        """Return the answer to a request that came over the wire."""
        call = parsed(incoming, self._region)
        if call is None:
            with self._lock:
                return self._moto.reply(incoming)
        self.asked.append(call.asked())
        try:
            self._faults.strike(call)
            with self._lock:
                self._policy.check(call, self._backend(call))
                return self._page(call, incoming)
        except Refused as refused:
            return refused.reply(call.service)

    def store(self, service: str, operation: str, body: dict[str, Any]) -> None:
        """Do what a client could ask for, whatever goes wrong at the moment; nobody is told.

        Raises:
            Refused: AWS would not do it.
        """
        call = Call(service, operation, self._region, body)
        scope = f"loopback/20260101/{self._region}/{service}/aws4_request"
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}",
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"{_TARGETS[service]}.{operation}",
        }
        with self._lock:
            reply = self._done(call, Incoming("POST", "/", headers, b""))
        if reply.status != _OK:
            error = json.loads(reply.body)
            raise Refused(error["__type"], error.get("message", ""), reply.status)

    def holds(self, service: str, name: str) -> bool:
        """Say whether a service has something of that name in the AWS's own region."""
        with self._lock:
            return name in self._moto.backend(service, self._region).secrets

    def reset(self) -> None:
        """Forget what was stored and what was asked."""
        with self._lock:
            self._moto.reset()
            self.asked = []
            self.empty_pages = False

    def _backend(self, call: Call) -> Any:
        return None if call.service == "sts" else self._moto.backend(call.service, call.region)

    def _page(self, call: Call, incoming: Incoming) -> Reply:
        token = call.body.get("NextToken", "")
        if call.operation in _LISTS and token.startswith(_EMPTY):
            call.body["NextToken"] = token[len(_EMPTY) :]
        elif call.operation in _LISTS and self.empty_pages:
            field = "SecretList" if call.operation == "ListSecrets" else "Parameters"
            return answer({field: [], "NextToken": _EMPTY + (token or "0")})
        return self._done(call, incoming)

    def _done(self, call: Call, incoming: Incoming) -> Reply:
        backend = self._backend(call)
        if call.service == "sts":
            return self._moto.reply(incoming, "sts")
        if call.service == "secretsmanager":
            return self._secret(call, backend, incoming)
        _parameters.check(call, backend)
        reply = self._asked_moto(call, incoming)
        if reply.status == _OK and call.operation in _READS:
            found = json.loads(reply.body)
            _parameters.amend(call, backend, found)
            return answer(found)
        return reply

    def _secret(self, call: Call, backend: Any, incoming: Incoming) -> Reply:
        _secrets.check(call, backend)
        if call.operation == "BatchGetSecretValue":
            found = _secrets.read_batch(
                call,
                backend,
                lambda name: self._policy.denied(call, "GetSecretValue", name, backend),
            )
            if found is not None:
                return answer(found)
        reply = self._asked_moto(call, incoming)
        return reply if reply.status == _OK else reply._replace(status=400)  # moto has 404s

    def _asked_moto(self, call: Call, incoming: Incoming) -> Reply:
        body = json.dumps(call.body).encode()
        return self._moto.reply(replace(incoming, body=body), call.service)
