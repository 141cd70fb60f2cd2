"""What the two services have in common: the constructor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s1crets.cache import SecretCache
from s1crets.providers.aws.client import Clients
from s1crets.providers.aws.identity import AwsIdentity
from s1crets.providers.aws.options import check_session, check_sts_args
from s1crets.providers.aws.pacing import Paces
from s1crets.providers.aws.session import ClientSpec, StsArgs
from s1crets.providers.base import AsyncProvider
from s1crets.providers.options import check_cache_args, check_numbers
from s1crets.providers.stats import Counters

if TYPE_CHECKING:
    from s1crets.cache import CacheArgs


class AwsProvider(AsyncProvider):
    """A provider on an AWS service.

    Args:
        sts_args: a role to assume, and the region: see `StsArgs`.
        cache_args: what to keep, where, for how long: see `CacheArgs`.
        retry: how often a request, or a page, may be sent in all; never more, whatever the
            environment and the config file say. Repeated are broken connections, timeouts and
            5xx, after a random part of 1 s, 2 s, 4 s …, 20 s at most (botocore's standard mode,
            which after hundreds of failures in a row repeats less); what is throttled, at the
            pace that AWS bears; and, once, what was signed with an expired token, renewed.
        timeout: seconds that one attempt may take to connect, and to answer.
        deadline: seconds that one public call may take in all, or None.
        max_connections: connections to AWS, and so requests in flight.
        session: an `aiobotocore` session of the caller's own.

    Raises:
        TypeError: an argument is not known or of the wrong type.
        ValueError: an argument is out of range.
    """

    _botocore_name: str

    def __init__(
        self,
        *,
        sts_args: StsArgs | None = None,
        cache_args: CacheArgs | None = None,
        retry: int = 3,
        timeout: float = 5.0,
        deadline: float | None = 60.0,
        max_connections: int = 50,
        session: Any = None,
    ) -> None:
        sts_args = {} if sts_args is None else sts_args
        cache_args = {} if cache_args is None else cache_args
        check_sts_args(sts_args)
        check_cache_args(cache_args)
        check_numbers(retry=retry, timeout=timeout, max_connections=max_connections)
        check_session(session)
        if deadline is not None:
            check_numbers(deadline=deadline)
        self.deadline = deadline
        self._counters = Counters(region=sts_args.get("aws_region"))
        self._sts_args = sts_args
        self._clients = Clients(
            ClientSpec(
                service=self._botocore_name,
                title=self.service,
                sts_args=sts_args,
                retry=retry,
                timeout=timeout,
                max_connections=max_connections,
                session=session,
                counters=self._counters,
                paces=Paces(),
            )
        )
        identity = AwsIdentity(self._clients.spec, cache_args.get("namespace"))
        self._cache = SecretCache(
            cache_args, self._load, identity, on_stale=self._counters.served_stale
        )

    def __repr__(self) -> str:
        region = getattr(self, "_sts_args", {}).get("aws_region", "by botocore")
        return f"<{type(self).__name__} of {self.service}, region {region}>"

    async def _close_clients(self) -> None:
        await self._clients.aclose()
