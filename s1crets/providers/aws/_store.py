"""AwsStore and AwsProvider: the parts of a store and its provider that all AWS services share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, TypeAlias, Unpack

from s1crets._circuit_breaker import Backoff
from s1crets._coalescing import Batcher
from s1crets._redaction import Redacted, redact
from s1crets.cache.entry import PATH, VALUE, CacheKey, Fetched, Single
from s1crets.errors import (
    AccessDeniedError,
    BadResponseError,
    ConfigurationError,
    CredentialsError,
    CredentialsTimeoutError,
    DeadlineExceededError,
    S1cretsError,
    SecretExistsError,
    SecretNotFoundError,
    ThrottledError,
    UnavailableError,
)
from s1crets.providers.async_provider import AsyncProvider
from s1crets.providers.aws._client import Clients
from s1crets.providers.aws._credentials import forget_failures
from s1crets.providers.aws._identity import Identity
from s1crets.providers.aws._services import Service
from s1crets.providers.aws._session import ClientSpec
from s1crets.providers.aws.options import ProviderOptions, checked, redacted
from s1crets.providers.instrumentation import Counters
from s1crets.providers.store import (
    VALID_NAME,
    SecretMetadata,
    SecretVersion,
    WriteMode,
    check_name,
    encode,
    fetch_each,
)

_Work: TypeAlias = Callable[[], Awaitable[None]]
_PAUSE, _PAUSE_LONGEST = 60.0, 3600.0  # seconds without what AWS has refused
_REMEMBERED = 1000  # names whose keys are kept
FOUND = Fetched("yes", 1.0)  # the result for an `EXISTS` key
# Errors that any other name would get too. All others may be the fault of one name.
_OF_WHOLE_REQUEST = (
    BadResponseError,
    ConfigurationError,
    CredentialsError,
    DeadlineExceededError,
    ThrottledError,
    UnavailableError,
)


class _Refusal:
    """The result of names to be requested singly; `names` may be the reason for the `error`."""

    def __init__(self, names: Sequence[str], error: S1cretsError | None = None) -> None:
        self._suspects = set(names)
        self.error = error

    def cleared(self, name: str, batcher: Batcher[str, Any]) -> None:
        """Note that a name is not the reason. If none is, batches are not allowed at all."""
        self._suspects.discard(name)
        if isinstance(self.error, AccessDeniedError) and not self._suspects:
            batcher.size = 1


def checked_name(name: Any) -> str:
    """Return a name, unless no service can have it."""
    if not isinstance(name, str) or not VALID_NAME.fullmatch(name):
        check_name(name)  # raises
    return str(name)


def was_requested(
    found: Mapping[str, Any], names: Sequence[str], is_for: Callable[[Any, str], bool]
) -> bool:
    """Return whether a secret in the response to a batch is for one of the `names`."""
    own: Any = found.get("Name")
    likely: Sequence[str] = (own, *names) if own in names else names  # mostly the first decides
    return any(is_for(found, name) for name in likely)


class AwsStore(ABC):
    """A store on an AWS service. A service implements `fetch_one`, and whatever else it offers."""

    row: ClassVar[Service]
    plain_group: Any = None
    """The group of the batcher in which secrets are requested with default options."""

    def __init__(self, clients: Clients, namespace: str | None) -> None:
        self.title = self.row.title
        self.clients = clients
        self.aclose = clients.aclose
        self._value_keys: dict[str, CacheKey] = {}
        identity = Identity(clients, namespace)
        self.scope, self.scope_hint = identity.scope, identity.hint
        # What this caller may not do, although there is another way to do the same.
        self.refused = Backoff(_PAUSE, _PAUSE_LONGEST)
        self._batcher: Batcher[str, Fetched | _Refusal] = Batcher(
            self._fetch_names, size=self.row.batch_size, calls=clients.spec.max_connections
        )

    def key(self, path: str, *args: Any, **options: Any) -> CacheKey:
        """Return the cache key of a request; `options` are those that are not at their defaults."""
        kind = args[0] if args else VALUE
        secrets = self.secrets(path)
        pairs = tuple(sorted(options.items()))
        return CacheKey(path, kind, pairs, secrets if kind == VALUE else ())

    def value_key(self, path: str) -> CacheKey:
        """Return the key of a secret's value with default options; remembered, as hits use it."""
        key = self._value_keys.get(path) if isinstance(path, str) else None
        if key is None:
            key = CacheKey(path, secrets=self.secrets(path))
            if len(self._value_keys) >= _REMEMBERED:
                self._value_keys.clear()
            self._value_keys[path] = key
        return key

    def secrets(self, path: str) -> tuple[str, ...]:
        """Return the names whose invalidation drops what was read by a name: see `CacheKey`."""
        return self.aliases(path)

    def aliases(self, path: str) -> tuple[str, ...]:
        """Return all names of a secret, which a write invalidates together."""
        return (checked_name(path),)

    def ancestors(self, path: str) -> Iterable[CacheKey]:  # noqa: ARG002  # for subclasses
        """Return the keys of all paths whose entries may contain the secret."""
        return ()

    # Reading

    def batch_size(self, key: CacheKey) -> int:
        """Return how many keys like this one `fetch_many` reads with one request."""
        return self._batcher.size if key.is_primary else 1

    async def fetch_many(
        self, keys: Sequence[CacheKey]
    ) -> Mapping[CacheKey, Fetched | S1cretsError | Single]:
        """Return what the service has for each key; several keys share requests."""
        if len(keys) == 1:
            try:
                return {keys[0]: await self.fetch(keys[0])}
            except S1cretsError as error:
                return {keys[0]: error}
        found = await self._together([key.name for key in keys], self.plain_group)
        return {key: found[key.name] for key in keys}

    async def fetch(self, key: CacheKey) -> Fetched:
        """Return the value of a secret, or whether it exists. Services with paths override this."""
        if key.kind == PATH:
            raise self._unsupported("get_by_path")
        fetched = await self._batched_one(key.name)
        return fetched if key.kind == VALUE else FOUND

    @abstractmethod
    async def fetch_one(self, name: str, group: Any) -> Fetched:
        """Request one secret; `group` is that of the batcher."""

    async def fetch_batch(self, *_: Any, **__: Any) -> Mapping[str, Fetched | S1cretsError]:
        """Request several secrets at once; those left out of the result are requested singly."""
        return {}

    async def _together(
        self, names: Sequence[str], group: Any = None, *, splits: bool = True
    ) -> dict[str, Fetched | S1cretsError | Single]:
        """Return secrets; names of a group that are requested in the same tick share requests.

        One invalid or forbidden name makes AWS refuse the whole batch, so after a refusal the names
        are to be requested singly. If all single requests are allowed and the batch is not, the
        permission for batches is missing, and there are no further ones. Unless it `splits` refused
        batches, the refusal is the result.
        """
        found: dict[str, Fetched | S1cretsError | Single] = {}
        for name, outcome in (await self._batcher.outcomes(names, group)).items():
            if isinstance(outcome, (Fetched, S1cretsError)):
                found[name] = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
            elif outcome.error and not splits:
                found[name] = _about(outcome.error, name, name)
            else:
                found[name] = partial(self._singly, name, group, outcome)
        return found

    async def _singly(self, name: str, group: Any, refusal: _Refusal) -> Fetched | S1cretsError:
        """Request a secret of a refused batch."""
        fetched: Fetched | S1cretsError
        try:
            fetched = await self.fetch_one(name, group)
        except (AccessDeniedError, *_OF_WHOLE_REQUEST) as error:
            return error
        except S1cretsError as error:
            fetched = error
        refusal.cleared(name, self._batcher)
        return fetched

    async def _batched(
        self, names: Sequence[str], group: Any = None, *, splits: bool = True
    ) -> dict[str, Fetched | S1cretsError]:
        """Return what `_together` does, and what is requested singly."""
        found = await self._together(names, group, splits=splits)

        async def outcome(name: str) -> Fetched | S1cretsError:
            one = found[name]
            return one if isinstance(one, (Fetched, S1cretsError)) else await one()

        if not any(map(callable, found.values())):
            return found  # type: ignore[return-value]  # without functions
        return await fetch_each(names, outcome)

    async def _batched_one(self, name: str, group: Any = None) -> Fetched:
        outcome = (await self._batched([name], group))[name]
        if isinstance(outcome, S1cretsError):
            raise outcome
        return outcome

    async def _fetch_names(
        self, names: Sequence[str], group: Any
    ) -> Mapping[str, Fetched | _Refusal | Exception]:
        """Handle a call of the batcher."""
        if len(names) == 1:
            return {names[0]: await self.fetch_one(names[0], group)}
        try:
            found = await self.fetch_batch(names, group)
        except _OF_WHOLE_REQUEST as error:
            return {name: _about(error, names[0], name) for name in names}
        except S1cretsError as error:
            return dict.fromkeys(names, _Refusal(names, error))
        left_out = _Refusal([])
        return {name: found.get(name, left_out) for name in names}

    # Writing

    def write(self, *args: Any, **_: Any) -> Awaitable[None]:
        """Validate at once, and return the coroutine that stores a value."""
        raise self._unsupported(args[2])  # the mode

    @staticmethod
    def _encoded(path: str, value: Redacted, *, binary: bool, limit: int) -> Redacted:
        """Validate a name, and return the text or bytes to store under it."""
        checked_name(path)
        return redact(encode(value, binary=binary, limit=limit))

    @staticmethod
    async def _create_or_overwrite(mode: WriteMode, create: _Work, overwrite: _Work) -> None:
        """Create or overwrite a secret; `put` also overwrites a concurrent creation."""
        if mode == "create":
            return await create()
        if mode == "put":
            with suppress(SecretNotFoundError):
                return await overwrite()
            with suppress(SecretExistsError):
                return await create()
        return await overwrite()

    def delete(self, *_: Any, **__: Any) -> Awaitable[None]:
        """Validate at once, and return the coroutine that deletes a secret."""
        raise self._unsupported("delete")

    async def describe(self, path: str) -> Sequence[SecretMetadata]:  # noqa: ARG002
        """Return the metadata of the secrets under a path; "" means all."""
        raise self._unsupported("describe")

    def restore(self, path: str) -> Awaitable[None]:
        """Validate, and return the coroutine that cancels a secret's deletion."""
        raise TypeError(f"{self.title}: restore is not supported ({path!r})")

    def history(self, path: str) -> Awaitable[list[SecretVersion]]:
        """Validate, and return the request for a secret's versions."""
        raise TypeError(f"{self.title}: history is not supported ({path!r})")

    def _unsupported(self, method: str) -> ConfigurationError:
        return ConfigurationError(f"{self.title}: {method} is not supported")


def _about(error: S1cretsError, subject: str, name: str) -> S1cretsError:
    """Return an error about `name` in place of the error about the whole request."""
    own = type(error)(str(error).replace(repr(subject), repr(name), 1))
    own.__cause__ = error.__cause__
    return own


class AwsProvider(AsyncProvider):
    """A provider on an AWS service. The options are documented in `ProviderOptions`."""

    _store_type: ClassVar[type[AwsStore]]
    _region = "by botocore"

    def __init__(self, **options: Unpack[ProviderOptions]) -> None:
        options = redacted(options)
        given = checked(options)
        cache_args, deadline = given.pop("cache_args"), given.pop("deadline")
        self._region = given["sts_args"].get("aws_region", self._region)
        counters = Counters(region=given["sts_args"].get("aws_region"))
        spec = ClientSpec(self._store_type.row, counters, **given)
        clients = self._clients = Clients(spec)
        store = self._store_type(clients, cache_args.get("namespace"))
        self._refused = store.refused
        super().__init__(store, cache_args, deadline, counters)

    async def start_afresh(self) -> None:
        """Also let the next clients have other settings and credentials."""
        await super().start_afresh()
        self._clients.forget_settings()

    def forget_failures(self) -> None:
        """Also those of credentials, such as a role that was denied, of all providers."""
        super().forget_failures()
        self._refused.failed_keys.clear()
        forget_failures()

    def _too_late(self, method: str, subject: str) -> S1cretsError:
        latest = self._clients.credentials.latest
        if latest and self.deadline and latest.pending_for > self.deadline / 2:
            # Not an outage of the service, which would be answered with an expired value.
            return CredentialsTimeoutError(
                f"{self.service}: {method} {subject!r}: the source of credentials did not respond"
                f" within the deadline of {self.deadline} s; check it, or raise the deadline"
            )
        return super()._too_late(method, subject)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.service}, region {self._region}>"
