"""What the two services have in common: the constructor, and reading one name at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s1crets._values import MISSING
from s1crets.cache import Key, SecretCache
from s1crets.errors import BadResponseError
from s1crets.providers.aws.client import Clients
from s1crets.providers.aws.identity import session_identity, surroundings
from s1crets.providers.aws.options import check_cache_args, check_numbers, check_sts_args
from s1crets.providers.aws.session import ClientSpec, StsArgs
from s1crets.providers.base import AsyncProvider, Counters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from s1crets._values import Held, KeyPath, Raw
    from s1crets.cache import CacheArgs


class AwsProvider(AsyncProvider):
    """A provider on an AWS service.

    Args:
        sts_args: a role to assume, and the region: see `StsArgs`.
        cache_args: what to keep, where, for how long: see `CacheArgs`.
        retry: attempts in total, the first included.
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
        if deadline is not None:
            check_numbers(deadline=deadline)
        self.deadline = deadline
        self._counters = Counters()
        self._session = session
        self._namespace = cache_args.get("namespace")
        self._max_connections = max_connections
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
            )
        )
        self._cache = SecretCache(cache_args, self._identity)

    def __repr__(self) -> str:
        region = self._sts_args.get("aws_region", "by botocore")
        return f"<{type(self).__name__} of {self.service}, region {region}>"

    def _identity(self) -> str:
        """Return what tells this provider's entries from others' in a shared store."""
        parts = [
            self._botocore_name,
            self._namespace or "",
            *(f"{name}={value}" for name, value in sorted(self._sts_args.items())),
            *session_identity(self._session, self._namespace),
            *surroundings(),
        ]
        return "\0".join(parts)

    async def _close_clients(self) -> None:
        await self._clients.aclose()

    async def _read(
        self, key: Key, fetch: Callable[[], Coroutine[Any, Any, Raw]], *, cached: bool
    ) -> Held:
        """Read what is not at hand: from a store that needs I/O, or from AWS."""
        name = key if isinstance(key, str) else key.name
        self._counters.misses += 1
        with self._bounded("reading", name):
            return await self._cache.read(key, fetch, cached=cached)

    def _local_name(self, name: str, keypath: KeyPath, default: Any) -> Any:
        """Return what `_local` would for a secret's own name. This is what a hit costs."""
        try:
            held = self._cache.peek_name(name)
        except TypeError:
            return MISSING  # the name can't be a key, so whoever fetches will refuse it
        if held is None:
            return MISSING
        self._counters.hits += 1
        return held.value() if keypath == () else self._answer(held, name, keypath, default)

    def _local(self, key: Key, keypath: KeyPath, default: Any, *, cached: bool) -> Any:
        """Return what a local tier holds, or `MISSING`, without waiting."""
        held = self._cache.peek(key) if cached else None
        if held is None:
            return MISSING
        self._counters.hits += 1
        if keypath == ():
            return held.value()
        name = key if isinstance(key, str) else key.name
        return self._answer(held, name, keypath, default)

    def _listed(self, page: Any, field: str, operation: str, path: str) -> list[Any]:
        """Return what a page of a listing lists.

        Raises:
            BadResponseError: it lists nothing, not even an empty list.
        """
        listed = page.get(field)
        if isinstance(listed, list):
            return listed
        raise self._bad_response(operation, path)

    def _bad_response(self, operation: str, path: str) -> BadResponseError:
        message = (
            f"{self.service}: {operation} {path!r}: the answer is not what the API promises; see"
            " whether a proxy stands between, and whether the endpoint is AWS's"
        )
        return BadResponseError(message)


async def tokens_differ(pages: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """Pass on the pages of a listing until a token comes again, which would never end.

    aiobotocore's paginator sees a token that comes twice in a row, not one that comes back later.
    """
    from botocore.exceptions import PaginationError

    seen = set()
    async for page in pages:
        yield page
        token = page.get("NextToken")
        if token is not None and token in seen:
            raise PaginationError(message="the service sent a page token that it had sent before")
        seen.add(token)
