"""AWS Systems Manager Parameter Store."""

from __future__ import annotations

import asyncio
import logging
import re
from asyncio import _get_running_loop
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from itertools import product
from typing import Any, Literal, TypeVar

import anyio

from s1crets._keypath import MISSING, UNSET, KeyPath, keys_of
from s1crets._redaction import Redacted, redact, stripped
from s1crets._runtime import cancel_and_wait, not_asyncio
from s1crets._validation import Rule, check_value
from s1crets.cache.entry import PATH, VALUE, CachedValue, CacheKey, Fetched
from s1crets.cache.freshness import is_refusal
from s1crets.errors import (
    ConfigurationError,
    InvalidNameError,
    S1cretsError,
    SecretNotFoundError,
    ThrottledError,
)
from s1crets.providers.async_provider import distinct
from s1crets.providers.aws._client import expect, listed
from s1crets.providers.aws._errors import foreign, malformed
from s1crets.providers.aws._services import PARAMETER_STORE
from s1crets.providers.aws._store import (
    FOUND,
    AwsProvider,
    AwsStore,
    checked_name,
    was_requested,
)
from s1crets.providers.aws.write_settings import (
    LARGEST_PARAMETER,
    ParameterType,
    Tier,
    check_parameter,
    check_tier,
    kept_attributes,
    parameter_settings,
    refuse_tags,
    string_list,
)
from s1crets.providers.store import (
    SecretMetadata,
    SecretVersion,
    WriteMode,
    fetch_each,
    fetched_path,
    is_under,
)

R = TypeVar("R")

_log = logging.getLogger("s1crets")
_ARN = re.compile(r"^arn:.*:parameter(?=/)")
_REFERENCE = "/aws/reference/secretsmanager/"  # secrets of Secrets Manager
_REMEMBERED, _LABELS = 1000, 100  # references, and labels of paths
_LISTED = 50  # names per request
_LISTING = "DescribeParameters"
_PUBLIC = "/aws"  # parameters that AWS does not list
_EMPTY = "Parameter Store: there is nothing under %r; if it is the name of a parameter, use get"


class SsmStore(AwsStore):
    """The operations of Parameter Store."""

    row = PARAMETER_STORE
    plain_group = (True, False)  # decrypted, without selectors

    @cached_property
    def _labels(self) -> set[str]:
        """The labels with which paths were requested."""
        return set()

    def key(
        self,
        path: str,
        kind: str = VALUE,
        *,
        decrypt: bool = True,
        recursive: bool = True,
        label: str | None = None,
        parallel: bool = False,
    ) -> CacheKey:
        """Return the cache key of a request."""
        if kind == VALUE and decrypt and recursive and label is None:
            return self.value_key(path)
        options: dict[str, Any] = {} if decrypt else {"decrypt": False}
        if not recursive:
            options["recursive"] = False
        if label is not None:
            check_value("label", label, Rule((str,), not_empty=True))
            options["label"] = label
            if len(self._labels) >= _LABELS:
                self._labels.clear()
            self._labels.add(label)
        if kind == PATH:
            if not checked_name(path).startswith("/"):
                other = "/" + path
                raise InvalidNameError(
                    f"{path!r} is not a valid path: it must begin with /; did you mean {other!r}?"
                )
            path = path.strip().rstrip("/") or "/"  # as AWS does
        key = super().key(path, kind, **options)
        return replace(key, parallel=True) if parallel else key

    def secrets(self, path: str) -> tuple[str, ...]:
        """Return a parameter's name, without the space around it, ARN, version and label."""
        return (_ARN.sub("", checked_name(path).strip()).partition(":")[0],)

    def aliases(self, path: str) -> tuple[str, ...]:
        """Return all names of a parameter: a name of one level is the same with a slash."""
        (name,) = self.secrets(path)
        other = name[1:] if name.startswith("/") else f"/{name}"
        return (name,) if "/" in name[1:] else (name, other)

    def ancestors(self, path: str) -> Iterable[CacheKey]:
        """Return the keys of all paths whose entries may contain the parameter."""
        parts = path.split("/")
        for above in ["/", *("/".join(parts[:end]) for end in range(2, len(parts)))]:
            for decrypt, recursive in product((True, False), repeat=2):
                for label in (None, *self._labels):
                    yield self.key(above, PATH, decrypt=decrypt, recursive=recursive, label=label)

    def batch_size(self, key: CacheKey) -> int:
        """Return how many keys like this one `fetch_many` reads at once: references alone."""
        return 1 if key.name.startswith(_REFERENCE) else super().batch_size(key)

    async def fetch(self, key: CacheKey) -> Fetched:
        """Request a value, all parameters under a path, or whether there are any."""
        decrypt = bool(key.option("decrypt", default=True))
        if key.kind == PATH:
            label = key.option("label")
            recursive = bool(key.option("recursive", default=True))
            parameters = None
            if key.parallel and label is None and not is_under(key.name, _PUBLIC):
                parameters = await self._in_parallel(key.name, decrypt=decrypt, recursive=recursive)
            if parameters is None:
                parameters = await self._under(
                    key.name, decrypt=decrypt, recursive=recursive, label=label
                )
            if not parameters and label is None:
                is_debugged = asyncio.get_running_loop().get_debug()
                _log.log(logging.WARNING if is_debugged else logging.INFO, _EMPTY, key.name)
            found = fetched_path(self.title, dict(parameters))
            # Encrypted or other versions must not be stored under the parameters' own names.
            return found if decrypt and label is None else replace(found, also={})
        if key.kind != VALUE:
            return await self._fetch_exists(key.name)
        if key.name.startswith(_REFERENCE):  # can't be part of a batch
            return await self.fetch_one(key.name, (decrypt, False))
        # A response contains a parameter's own name, so `/a` and `/a:1` must not share a request.
        return await self._batched_one(key.name, (decrypt, ":" in key.name))

    async def fetch_one(self, name: str, group: tuple[bool, bool]) -> Fetched:
        """Request a parameter: `GetParameter`."""

        def parse(answer: Any) -> Fetched:
            fetched = _fetched(answer.get("Parameter"))
            if not self._is_for(answer["Parameter"], name):
                raise foreign()
            return fetched

        arguments = {"Name": name, "WithDecryption": group[0]}
        return await self.clients.call("GetParameter", name, parse, arguments)

    async def fetch_batch(
        self, names: Sequence[str], group: tuple[bool, bool]
    ) -> Mapping[str, Fetched | S1cretsError]:
        """Request up to ten parameters: `GetParameters`."""
        decrypt, is_selected = group  # the latter: the names are ARNs or have selectors

        def parse(answer: Any) -> dict[str, Fetched | S1cretsError]:
            found: dict[str, Fetched | S1cretsError] = {}
            for parameter in listed(answer, "Parameters"):
                fetched = _fetched(parameter)
                if not was_requested(parameter, names, self._is_for):
                    raise foreign()
                selector = str(parameter.get("Selector") or "") if is_selected else ""
                found[parameter["Name"] + selector] = fetched
                found[f"{parameter.get('ARN')}{selector}"] = fetched
            for name in [] if is_selected else map(str, answer.get("InvalidParameters") or []):
                found[name] = self.clients.refused("GetParameters", name, "ParameterNotFound")
            return found

        arguments = {"Names": list(names), "WithDecryption": decrypt}
        return await self.clients.call("GetParameters", names[0], parse, arguments, names=names)

    def _is_for(self, parameter: Mapping[str, Any], name: str) -> bool:
        """Return whether a parameter in a response is the one that was requested by `name`."""
        own, arn, selector = (parameter.get(field) or "" for field in ("Name", "ARN", "Selector"))
        name = name.strip()  # as AWS does
        if own == name:
            return not selector
        prefix = _ARN.match(name)
        base, colon, wanted = name[prefix.end() if prefix else 0 :].partition(":")
        # Other implementations of the API name a reference's secret, and leave the selector out.
        names = (*self.aliases(name), base.removeprefix(_REFERENCE))
        if own not in names or (prefix and arn not in ("", prefix[0] + base)):
            return False
        if selector or not wanted:
            return bool(selector == colon + wanted)
        return not wanted.isdecimal() or str(parameter.get("Version", wanted)) == wanted

    async def _under(
        self,
        path: str,
        *,
        decrypt: bool = False,
        recursive: bool = True,
        label: object = None,
        first: bool = False,
    ) -> list[tuple[str, Fetched]]:
        """Request all parameters under a path, or the `first` few: `GetParametersByPath`."""

        def parse(page: Any) -> list[tuple[str, Fetched]]:
            found = listed(page, "Parameters", named=True)
            if not all(_is_inside(one["Name"], path, recursive=recursive) for one in found):
                raise foreign()
            return [(one["Name"], _fetched(one)) for one in found]

        arguments = {"Path": path, "WithDecryption": decrypt, "Recursive": recursive}
        if label is not None:
            filters = [{"Key": "Label", "Option": "Equals", "Values": [label]}]
            arguments["ParameterFilters"] = filters
        return await self.clients.pages("GetParametersByPath", path, parse, arguments, first=first)

    async def _in_parallel(
        self, path: str, *, decrypt: bool, recursive: bool
    ) -> list[tuple[str, Fetched]] | None:
        """List the names under a path, and read those of each page in concurrent batches.

        Returns None if AWS refuses that, and for a while after it has: reading pages needs other
        permissions and less of the quota of listing, and if a value can't be read, its error is
        the one that callers know.
        """
        step = _LISTING
        if self.refused.is_waiting(step) or self.refused.is_waiting(path):
            return None
        read = partial(self._batched, group=(decrypt, False), splits=False)
        readings: list[asyncio.Task[dict[str, Fetched | S1cretsError]]] = []

        def begin(names: list[str]) -> None:
            readings.append(asyncio.create_task(read(names)))

        found: dict[str, Fetched] = {}
        try:
            await self._list_under(path, begin, recursive=recursive)
            step = path
            for reading in readings:
                for name, outcome in (await reading).items():
                    if isinstance(outcome, Fetched):
                        found[name] = outcome
                    elif not isinstance(outcome, SecretNotFoundError):  # deleted meanwhile
                        raise outcome
        except S1cretsError as error:
            if not is_refusal(error) and not isinstance(error, ThrottledError):
                raise
            if self.refused.failed(step):
                _log.warning("get_by_path(%r, parallel=True) reads pages of ten: %s", path, error)
            return None
        finally:
            for reading in readings:
                await cancel_and_wait(reading)
        self.refused.succeeded(_LISTING)
        self.refused.succeeded(path)
        return list(found.items())

    async def _list_under(
        self, path: str, begin: Callable[[list[str]], None], *, recursive: bool
    ) -> None:
        """Call `begin` with the names of each page under a path: `DescribeParameters`."""

        def parse(page: Any) -> list[None]:
            names = [one["Name"] for one in listed(page, "Parameters", named=True)]
            inside = [name for name in names if _is_inside(name, path, recursive=recursive)]
            begin([name for name in inside if name != path])
            return []

        option = "Recursive" if recursive else "OneLevel"
        filters = [{"Key": "Path", "Option": option, "Values": [path]}]
        # Without a filter for /, since that path also contains the names without a slash.
        arguments = {"ParameterFilters": [] if path == "/" else filters, "MaxResults": _LISTED}
        await self.clients.pages("DescribeParameters", path, parse, arguments)

    async def _fetch_exists(self, path: str) -> Fetched:
        """Request a parameter and a path concurrently; the first success decides."""
        if path.startswith(_REFERENCE):
            name, secret = await resolve(path, lambda name: self.fetch_one(name, (True, False)))
            if CachedValue(secret.value).pick(_inner_keys(path, name)) is MISSING:
                raise self._nothing_at(path)
            return FOUND
        failures: list[S1cretsError] = []
        exists = False

        async def ask(question: Callable[..., Awaitable[object]], *args: Any) -> None:
            nonlocal exists
            try:
                await question(*args)
            except S1cretsError as error:
                failures.append(error)
            else:
                exists = True
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(ask, self.fetch_one, path, (False, False))
            if path.startswith("/"):
                group.start_soon(ask, self._check_path, path.rstrip("/") or "/")
        if exists:
            return FOUND
        raise min(failures, key=lambda error: isinstance(error, SecretNotFoundError))

    async def _check_path(self, path: str) -> None:
        if not await self._under(path, first=True):
            raise self._nothing_at(path)

    def _nothing_at(self, path: str) -> SecretNotFoundError:
        return SecretNotFoundError(f"{self.title}: there is nothing at or under {path!r}")

    def write(
        self, path: str, value: Redacted, mode: WriteMode, settings: Mapping[str, Any]
    ) -> Awaitable[None]:
        """Validate at once, and return the coroutine that stores a value: `PutParameter`."""
        arguments = parameter_settings(**settings)
        raw = self._encoded(path, value, binary=False, limit=LARGEST_PARAMETER)
        check_parameter(path, raw)
        new = {"Type": "SecureString", **arguments}
        items = string_list(value, raw) if new["Type"] == "StringList" else raw
        create = partial(self._put, path, items, new, overwrite=False)
        overwrite = partial(self._overwrite, path, value, raw, arguments)
        return self._create_or_overwrite(mode, create, overwrite)

    async def _overwrite(
        self, path: str, value: Redacted, raw: Redacted, settings: Mapping[str, Any]
    ) -> None:
        """Store a value with all attributes that the parameter has: `PutParameter` resets them."""

        def parse(page: Any) -> list[dict[str, Any]]:
            found = listed(page, "Parameters", named=True)
            return [kept_attributes(one) for one in found if one["Name"] == path]

        filters = {"ParameterFilters": [{"Key": "Name", "Option": "Equals", "Values": [path]}]}
        described = await self.clients.pages("DescribeParameters", path, parse, filters, first=True)
        if not described:
            raise SecretNotFoundError(
                f"{self.title}: there is no parameter {path!r} to update (only a name can be"
                " updated, not an ARN or a version); nothing was written"
            )
        refuse_tags(settings, path)
        kind = described[0].get("Type")
        if settings.get("Type", kind) != kind:
            raise ConfigurationError(
                f"{self.title}: {path!r} already exists as a {kind}, which can't become a"
                f" {settings['Type']}: delete it first; nothing was written"
            )
        raw = string_list(value, raw) if kind == "StringList" else raw
        await self._put(path, raw, {**described[0], **settings}, overwrite=True)

    async def _put(
        self, path: str, raw: Redacted, settings: Mapping[str, Any], *, overwrite: bool
    ) -> None:
        # The account decides on the tier of a new parameter.
        check_tier(settings.get("Tier", "Standard" if overwrite else ""), raw)
        arguments = {"Name": path, "Value": raw, "Overwrite": overwrite, **settings}
        parse = partial(expect, field="Version", kind=int)
        await self.clients.call("PutParameter", path, parse, arguments)

    def delete(self, path: str, **_: Any) -> Awaitable[None]:
        """Return the coroutine that deletes a parameter: `DeleteParameter`."""
        arguments = {"Name": checked_name(path)}
        return self.clients.call("DeleteParameter", path, lambda _: None, arguments)

    def restore(self, path: str) -> Awaitable[None]:
        """Refuse: Parameter Store keeps nothing of a deleted parameter."""
        raise TypeError(f"{self.title} can't restore {path!r}: a deleted parameter is gone")

    async def history(self, path: str) -> list[SecretVersion]:
        """Return the versions of a parameter: `GetParameterHistory`."""
        names = self.aliases(path)

        def parse(page: Any) -> list[SecretVersion]:
            found = listed(page, "Parameters", named=True)
            if not all(one["Name"] in names for one in found):
                raise foreign()
            return [_version(one) for one in found]

        arguments = {"Name": path, "WithDecryption": False}
        return await self.clients.pages("GetParameterHistory", path, parse, arguments)

    async def describe(self, path: str) -> Sequence[SecretMetadata]:
        """Return the metadata of the parameters under a path: `DescribeParameters`."""

        def parse(page: Any) -> list[SecretMetadata]:
            found = listed(page, "Parameters", named=True)
            return [_metadata(one) for one in found if is_under(one["Name"], path)]

        filters = [{"Key": "Name", "Option": "BeginsWith", "Values": [path]}] if path else []
        arguments = {"ParameterFilters": filters, "MaxResults": _LISTED}
        return await self.clients.pages("DescribeParameters", path, parse, arguments)


def _fetched(parameter: Any) -> Fetched:
    """Return the value and the version of a parameter in a response."""
    if isinstance(parameter, dict) and isinstance(parameter.get("Name"), str):
        value, version = parameter.get("Value"), parameter.get("Version")
        if isinstance(value, str):
            return Fetched(value, float(version) if isinstance(version, int) else 0.0)
    raise malformed()


def _is_inside(name: str, path: str, *, recursive: bool) -> bool:
    """Return whether a path contains a name; `/` also contains the names without a slash."""
    above = path.strip().rstrip("/")
    return is_under(name, above) and (recursive or "/" not in name[len(above) + 1 :])


def _metadata(described: Mapping[str, Any]) -> SecretMetadata:
    kind, version = (str(described.get(field, "")) for field in ("Type", "Version"))
    changed = described.get("LastModifiedDate")
    changed = changed if isinstance(changed, datetime) else None
    key, text = (str(described.get(field) or "") for field in ("KeyId", "Description"))
    return SecretMetadata(described["Name"], kind, version, changed, kms_key=key, description=text)


def _version(listed: Mapping[str, Any]) -> SecretVersion:
    expect(listed, "Version", int)
    changed = listed.get("LastModifiedDate")
    created = changed if isinstance(changed, datetime) else None
    return SecretVersion(str(listed["Version"]), tuple(listed.get("Labels") or ()), created)


async def resolve(path: str, read: Callable[[str], Awaitable[R]]) -> tuple[str, R]:
    """Return the name of the secret that a reference begins with, and what `read` returns for it.

    What follows the name looks into the secret's JSON. Names may contain slashes too, so the secret
    is the one with the longest name that exists.
    """
    failures: list[SecretNotFoundError] = []
    name = path
    while name.startswith(_REFERENCE):
        try:
            return name, await read(name)
        except SecretNotFoundError as error:
            failures.append(error)
        name = name.rpartition("/")[0]
    raise failures[0]


def _inner_keys(path: str, name: str, keypath: KeyPath = ()) -> tuple[str | int, ...]:
    """Return the keys that follow the secret's name in a reference, and those of `keypath`."""
    return (*filter(None, path[len(name) :].split("/")), *keys_of(keypath))


class AsyncParameterStore(AwsProvider):
    """AWS Systems Manager Parameter Store, for asyncio.

    The inherited methods use: `path_exists` `GetParameter` and `GetParametersByPath`; `delete`
    `DeleteParameter`; `describe` `DescribeParameters`; `history` `GetParameterHistory`.

    Args:
        options: `sts_args`, `cache_args`, …: see `s1crets.providers.aws.options.ProviderOptions`.

    Raises:
        TypeError: an unknown option, or one of the wrong type.
        ValueError: an option out of range.
    """

    service = PARAMETER_STORE.title
    registered_as = "aws.ps"
    _store_type = SsmStore

    @cached_property
    def _references(self) -> dict[str, str]:
        """References, and the names of their secrets."""
        return {}

    async def get(
        self,
        path: str,
        *,
        keypath: KeyPath = (),
        default: Any = UNSET,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
        decrypt: bool = True,
    ) -> Any:
        """Return a parameter's value: `GetParameter`, or `GetParameters` for concurrent calls.

        Args:
            path: a name, optionally with AWS's `:version` or `:label`, or an ARN. Under
                `/aws/reference/secretsmanager/NAME` a longer path looks into the secret's JSON.
            keypath: a key, or a sequence of keys, to look up in a JSON value.
            default: returned if there is no such parameter or key.
            cached: whether a cache may answer.
            max_age: seconds since a cached value was read; older ones do not count.
            raw: whether JSON is returned as the text that is stored.
            decrypt: whether a SecureString is decrypted.

        Returns:
            A dict or list if the text is a JSON object or array, otherwise the text. It is a copy
            that belongs to the caller.

        Raises:
            SecretNotFoundError: a `KeyError`: no such parameter, version, label or key.
            S1cretsError: any other failure, as its own subclass.
        """
        if _get_running_loop() is None:
            raise not_asyncio(self)
        if cached and decrypt and max_age is None and not raw:  # a hit costs nothing more
            found = self.hit(path, keypath, default)
            if found is not MISSING:
                return found
        key = self._store.key(path, decrypt=decrypt)
        options: Any = {"cached": cached, "max_age": max_age, "raw": raw}
        found = self._hit_other(key, keypath, default, **options)
        if found is not MISSING:
            return found
        if path.startswith(_REFERENCE):
            return await self._get_reference(path, keypath, default, decrypt=decrypt, **options)
        return await self._get(key, keypath, default, **options)

    def get_local(
        self,
        path: str,
        *,
        keypath: KeyPath = (),
        default: Any = UNSET,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
        decrypt: bool = True,
    ) -> Any:
        """Return the result of `get` if a local cache has it, otherwise `MISSING`. Never waits."""
        if cached and decrypt and max_age is None and not raw:
            found = self.hit(path, keypath, default)
            if found is not MISSING:
                return found
        key = self._store.key(path, decrypt=decrypt)
        return self._hit_other(key, keypath, default, cached=cached, max_age=max_age, raw=raw)

    def peek(
        self, path: str, *, keypath: KeyPath = (), default: Any = None, decrypt: bool = True
    ) -> Any:
        """Return the value in a local cache, or `default`. Sends no request and never waits."""
        return self._peek(path, keypath, default, decrypt=decrypt)

    async def _get_reference(
        self,
        path: str,
        keypath: KeyPath,
        default: Any,
        *,
        raw: bool,
        **options: Any,
    ) -> Any:
        keys_of(keypath)
        try:
            name, held = await self._resolved(path, **options)
        except SecretNotFoundError:
            if default is UNSET:
                raise
            return default
        keys = _inner_keys(path, name, keypath)
        return held.stored() if raw and not keys else self.answer(held, name, keys, default)

    async def _resolved(
        self, path: str, *, cached: bool, max_age: float | None, decrypt: bool
    ) -> tuple[str, CachedValue]:
        """Return the name and the value of the secret that a reference begins with."""
        # The name is remembered, and used as long as a local cache has the secret: after that, a
        # secret with a longer name may exist.

        def local(name: str) -> CachedValue | None:
            key = self._store.key(name, decrypt=decrypt)
            return self.cached_value(key, max_age) if cached else None

        async def read(name: str) -> CachedValue:
            key = self._store.key(name, decrypt=decrypt)
            return local(name) or await self.read(key, cached=cached, max_age=max_age)

        name = self._references.get(path, path)
        held = local(name)
        if held is not None:
            return name, held
        found = await resolve(path, read)
        if len(self._references) >= _REMEMBERED:
            self._references.clear()
        self._references[path] = found[0]
        return found

    async def get_many(
        self,
        paths: Iterable[str],
        *,
        cached: bool = True,
        max_age: float | None = None,
        decrypt: bool = True,
        raw: bool = False,
        errors: Literal["raise", "return"] = "raise",
    ) -> dict[str, Any]:
        """Return the values of several parameters, in the requested order: `GetParameters` of ten.

        Args:
            paths: names, as for `get`.
            cached: whether a cache may answer.
            max_age: seconds since a cached value was read; older ones do not count.
            decrypt: whether SecureStrings are decrypted.
            raw: whether JSON is returned as the text that is stored.
            errors: `"return"` puts errors in place of the values.

        Raises:
            BatchError: some could not be read; it has the values, and one error per name.
        """
        options: Any = {"cached": cached, "max_age": max_age, "decrypt": decrypt, "raw": raw}
        # Stripped, since the frames of a failure contain the values.
        return await stripped(self._get_mixed(paths, errors, **options))

    async def _get_mixed(
        self, paths: Iterable[str], on_error: str, **options: Any
    ) -> dict[str, Any]:
        """Read parameters in batches, and references one by one."""
        names = distinct(paths, on_error)
        references = [name for name in names if str(name).startswith(_REFERENCE)]
        if not references:
            return await self._get_many(names, on_error, **options)
        others = [name for name in names if name not in references]
        get = partial(self._get_reference, keypath=(), default=UNSET, **options)
        found, resolved = await asyncio.gather(
            self._get_many(others, "return", **options),
            fetch_each(references, get),
        )
        return self._batch(names, {**found, **resolved}, on_error)

    async def get_by_path(
        self,
        path: str,
        *,
        decrypt: bool = True,
        recursive: bool = True,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
        relative: bool = False,
        label: str | None = None,
        parallel: bool = False,
    ) -> dict[str, Any]:
        """Return all parameters under a path, by name; {} if none: `GetParametersByPath`.

        If there are none, it says so in the log: INFO, in asyncio's debug mode WARNING.

        AWS returns ten parameters per page, one page after another. With `parallel` their names are
        listed, fifty per request (`DescribeParameters`), and then read in concurrent batches of ten
        (`GetParameters`). That needs `ssm:DescribeParameters`, which can only be granted on `*`.
        The result is the same. If AWS refuses or throttles it, pages are read, and parallel reads
        are not tried again for a minute, later for an hour. Pages are also read with a `label`, and
        under `/aws`, which AWS does not list.

        Args:
            path: begins with `/`; the name of a parameter is not a path.
            decrypt: whether SecureStrings are decrypted.
            recursive: whether deeper levels are read too.
            cached: whether a cache may answer.
            max_age: seconds since cached values were read; older ones do not count.
            raw: whether JSON is returned as the text that is stored.
            relative: whether names are returned without the path.
            label: the label of the versions to read; parameters without it are left out.
            parallel: whether many parameters are read with concurrent requests.

        Raises:
            S1cretsError: any failure.
        """
        options: Any = {"decrypt": decrypt, "recursive": recursive, "label": label}
        options |= {"cached": cached, "max_age": max_age, "raw": raw, "relative": relative}
        options["parallel"] = parallel
        return await self._get_by_path(path, **options)

    def get_by_path_local(
        self,
        path: str,
        *,
        decrypt: bool = True,
        recursive: bool = True,
        cached: bool = True,
        max_age: float | None = None,
        raw: bool = False,
        relative: bool = False,
        label: str | None = None,
        parallel: bool = False,
    ) -> Any:
        """Return the result of `get_by_path` if a local cache has it, otherwise `MISSING`."""
        options: Any = {"decrypt": decrypt, "recursive": recursive, "label": label}
        options |= {"cached": cached, "max_age": max_age, "raw": raw, "relative": relative}
        options["parallel"] = parallel
        return self._hit_path(path, **options)

    async def create(
        self,
        path: str,
        value: Any,
        *,
        type: ParameterType = "SecureString",  # noqa: A002  # AWS's name
        kms_key_id: str | None = None,
        description: str | None = None,
        tier: Tier | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Store a new parameter: `PutParameter`.

        Args:
            path: a name that does not exist yet.
            value: text, or a dict or list, which is stored as JSON; a list in a `StringList` as its
                items, separated by commas.
            type: `SecureString`, `String` or `StringList`.
            kms_key_id: the key that encrypts a SecureString; by default the account's own for
                Parameter Store.
            description: a text that everybody can read who may list parameters.
            tier: `Standard`, `Advanced` or `Intelligent-Tiering`; by default the account's.
            tags: names and values; needs `ssm:AddTagsToResource`.

        Raises:
            SecretExistsError: a `FileExistsError`: the parameter exists. After an interrupted
                connection, this call itself may have created it.
            ConfigurationError: a `ValueError`: invalid settings; nothing was written.
            InvalidValueError: wrong type or too long; nothing was written.
            S1cretsError: any other failure.
        """
        value = redact(value)
        settings = {"type": type, "kms_key_id": kms_key_id, "description": description}
        await self._write("create", path, value, **settings, tier=tier, tags=tags)

    async def put(
        self,
        path: str,
        value: Any,
        *,
        type: ParameterType | None = None,  # noqa: A002  # AWS's name
        kms_key_id: str | None = None,
        description: str | None = None,
        tier: Tier | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Store a parameter, new or existing: `DescribeParameters`, then `PutParameter`.

        An existing parameter keeps the settings that are not given, as with `update`. The arguments
        are those of `create`. The type of an existing parameter can't be changed, and AWS takes
        tags only with a new one.

        Raises:
            ConfigurationError: a `ValueError`: invalid settings, also for an existing parameter;
                nothing was written.
            InvalidValueError: wrong type or too long; nothing was written.
            S1cretsError: any other failure.
        """
        value = redact(value)
        settings = {"type": type, "kms_key_id": kms_key_id, "description": description}
        await self._write("put", path, value, **settings, tier=tier, tags=tags)

    async def update(
        self,
        path: str,
        value: Any,
        *,
        kms_key_id: str | None = None,
        description: str | None = None,
        tier: Tier | None = None,
    ) -> None:
        """Store a new value of an existing parameter: `DescribeParameters`, then `PutParameter`.

        The arguments are those of `create`. What is not given stays as it is.

        Raises:
            SecretNotFoundError: a `KeyError`: no such parameter; nothing was written.
            ConfigurationError: a `ValueError`: invalid settings; nothing was written.
            InvalidValueError: wrong type or too long; nothing was written.
            S1cretsError: any other failure.
        """
        value = redact(value)
        settings = {"kms_key_id": kms_key_id, "description": description, "tier": tier}
        await self._write("update", path, value, **settings)
