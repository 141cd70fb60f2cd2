"""NegativeCache: for a while, the service is not called for what it does not have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from s1crets.cache.entry import CachedValue
from s1crets.errors import SecretNotFoundError

if TYPE_CHECKING:
    from s1crets.cache.entry import CacheKey, FetchToken, FetchTokens
    from s1crets.cache.tiers import Tier


class NegativeCache:
    """Keys that the service has nothing for; the text of an entry is the error's message.

    The entries are in a tier of their own. So they push no secrets out, and an expired one is never
    served. Invalidations of a name drop them as they drop its value, in all processes.

    Args:
        tier: where they are stored.
        tokens: the fetches under way in this process that may find nothing.
        ttl: seconds that an entry lives.
    """

    def __init__(self, tier: Tier, tokens: FetchTokens, ttl: float) -> None:
        self._tier = tier
        self._tokens = tokens
        self._ttl = ttl
        self.begin, self.forget, self.aclose = tier.begin, tier.drop, tier.aclose

    async def errors(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, SecretNotFoundError]:
        """Return the errors that are remembered, by key."""
        found = await self._tier.look_up_many(keys)
        return {
            key: SecretNotFoundError(str(one.raw))
            for key, one in found.items()
            if isinstance(one, CachedValue)
        }

    async def remember(self, error: SecretNotFoundError, token: FetchToken) -> None:
        """Store the result of a fetch, unless its token says that it is outdated."""
        values = {token.key: CachedValue(str(error), 0.0, token.fetch)}
        await self._tier.put(values, {token.key: token}, {token.key: self._ttl})

    def void(self, secrets: Collection[str] | None) -> None:
        """Void the fetches of what an invalidation drops."""
        self._tokens.void(secrets, paths=True)

    async def invalidate(self, secrets: Collection[str] | None) -> None:
        """Drop what depends on these secrets, or everything."""
        await self._tier.invalidate(secrets)
