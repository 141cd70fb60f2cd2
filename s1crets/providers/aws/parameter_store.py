"""AWS Systems Manager Parameter Store."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import anyio

from s1crets._keypath import keys_of
from s1crets._sentinels import MISSING, UNSET
from s1crets.cache import Derived
from s1crets.cache.entry import CachedValue, together
from s1crets.errors import InvalidNameError, S1cretsError, SecretNotFoundError
from s1crets.providers.aws.batching import Batches
from s1crets.providers.aws.options import discreet
from s1crets.providers.aws.parameter_writing import ParameterWriting
from s1crets.providers.aws.references import REFERENCE, candidates, inner_keys
from s1crets.providers.aws.ssm import BATCH, Ssm
from s1crets.providers.base import check_name
from s1crets.providers.batch import distinct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Unpack

    from s1crets._keypath import KeyPath
    from s1crets.cache import Key
    from s1crets.providers.aws.options import ProviderOptions


_PARAMETER = re.compile(r"^arn:.*:parameter(?=/)")


class AsyncParameterStore(ParameterWriting):
    """AWS Systems Manager Parameter Store, awaited.

    Args:
        options: `sts_args`, `cache_args`, `retry`, `timeout`, `deadline`, `max_connections`,
            `session`: see `s1crets.providers.aws.options.ProviderOptions`, and what it refers to.

    Raises:
        TypeError: an option is not known or of the wrong type.
        ValueError: an option is out of range.
    """

    service = "Parameter Store"
    _botocore_name = "ssm"

    def __init__(self, **options: Unpack[ProviderOptions]) -> None:
        options = discreet(options)
        super().__init__(**options)
        self._ssm = Ssm(self._clients)
        self._batches: Batches[CachedValue] = Batches(
            size=BATCH,
            requests=self._clients.spec.max_connections,
            one=self._fetch_one,
            many=self._fetch_many,
        )

    async def get(
        self,
        path: str,
        *,
        keypath: KeyPath = (),
        default: Any = UNSET,
        cached: bool = True,
        decrypt: bool = True,
    ) -> Any:
        """Return a parameter's value: `GetParameter`.

        Args:
            path: a name, with AWS's own `:version` or `:label` if wanted, or an ARN. Below
                `/aws/reference/secretsmanager/NAME`, what follows looks into the secret's JSON.
            keypath: a key, or a sequence of them, to look up in a value that is JSON.
            default: what to return when there is no such parameter or key.
            cached: whether a cache may answer.
            decrypt: whether a SecureString is decrypted.

        Returns:
            A dict or list if the text is a JSON object or array, else the text. It is yours.

        Raises:
            SecretNotFoundError: a `KeyError`: no such parameter, version, label or key.
            S1cretsError: everything else that goes wrong, as the class of its own.
        """
        found = self.get_local(
            path, keypath=keypath, default=default, cached=cached, decrypt=decrypt
        )
        if found is not MISSING:
            return found
        keys_of(keypath)
        try:
            if path.startswith(REFERENCE):
                return await self._get_reference(
                    path, keypath, default, decrypt=decrypt, cached=cached
                )
            held = await self._read(_key(path, decrypt=decrypt), cached=cached)
        except SecretNotFoundError:
            if default is UNSET:
                raise
            return default
        return self._answer(held, path, keypath, default)

    def get_local(
        self,
        path: str,
        *,
        keypath: KeyPath = (),
        default: Any = UNSET,
        cached: bool = True,
        decrypt: bool = True,
    ) -> Any:
        """Return what `get` would if a local cache has it, else `MISSING`; waits for nothing."""
        if decrypt and cached:
            found = self._local_name(path, keypath, default)
            if found is not MISSING:
                return found
        key = _key(path, decrypt=decrypt)
        return MISSING if key is path else self._local(key, keypath, default, cached=cached)

    def peek(
        self, path: str, *, keypath: KeyPath = (), default: Any = None, decrypt: bool = True
    ) -> Any:
        """Return what a local cache holds now, or `default`. Asks AWS for nothing, never waits."""
        held = self._cache.peek(_key(path, decrypt=decrypt))
        return default if held is None else self._answer(held, path, keypath, default)

    async def get_many(
        self,
        paths: Iterable[str],
        *,
        cached: bool = True,
        decrypt: bool = True,
        errors: Literal["raise", "return"] = "raise",
    ) -> dict[str, Any]:
        """Return the values of several parameters, in the order asked for: `GetParameters` of ten.

        Args:
            paths: names, as `get` takes them.
            cached: whether a cache may answer.
            decrypt: whether SecureStrings are decrypted.
            errors: `"return"` puts errors in the values' places.

        Raises:
            BatchError: some could not be read; it has what was read, and an error a name.
        """
        names = distinct(paths, errors)
        references = [name for name in names if str(name).startswith(REFERENCE)]
        batch = await self._read_many(
            (name for name in names if name not in references),
            partial(_key, decrypt=decrypt),
            cached=cached,
        )

        async def resolve(name: str) -> None:
            try:
                batch.values[name] = await self.get(name, cached=cached, decrypt=decrypt)
            except S1cretsError as error:
                batch.errors[name] = error

        async with anyio.create_task_group() as group:
            for name in references:
                group.start_soon(resolve, name)
        return batch.answer(names, errors, self.service)

    async def get_by_path(
        self, path: str, *, decrypt: bool = True, recursive: bool = True, cached: bool = True
    ) -> dict[str, Any]:
        """Return all parameters below a path, by full name: `GetParametersByPath`.

        Args:
            path: begins with `/`.
            decrypt: whether SecureStrings are decrypted.
            recursive: whether deeper levels are read too.
            cached: whether a cache may answer.

        Returns:
            Names and values; nothing below the path is an empty dict.

        Raises:
            S1cretsError: anything that goes wrong.
        """
        found = self.get_by_path_local(path, decrypt=decrypt, recursive=recursive, cached=cached)
        if found is not MISSING:
            return dict(found)
        key = _path_key(path, decrypt=decrypt, recursive=recursive)
        if not path.startswith("/"):
            message = f"{path!r} can't be a path: it does not begin with /"
            raise InvalidNameError(message)
        held = await self._read(key, cached=cached)
        return dict(held.value())

    def get_by_path_local(
        self, path: str, *, decrypt: bool = True, recursive: bool = True, cached: bool = True
    ) -> Any:
        """Return what `get_by_path` would if a local cache has it, else `MISSING`."""
        return self._local(
            _path_key(path, decrypt=decrypt, recursive=recursive), (), UNSET, cached=cached
        )

    async def path_exists(self, path: str) -> bool:
        """Say whether there is such a parameter, or one below: both asked at once.

        `GetParameter` and `GetParametersByPath`, without decryption; the first yes wins. A yes is
        cached, a no is not.

        Raises:
            S1cretsError: neither said yes, and one could not say no.
        """
        check_name(path)
        key = Derived(path, ("exists",))
        if self._local(key, (), UNSET, cached=True) is not MISSING:
            return True
        try:
            await self._read(key, cached=True)
        except SecretNotFoundError:
            return False
        return True

    async def invalidate(self, path: str | None = None) -> None:
        """Forget what the caches hold of one parameter and of all paths, or all."""
        if path is None:
            await self._cache.clear()
            return
        check_name(path)
        # By its own name too, without a version or label; an ARN does not tell if that has a slash.
        name = _PARAMETER.sub("", path)
        plain = name.partition(":")[0]
        names = {plain} if name == path else {plain, plain.lstrip("/")}
        await self._cache.drop(*(_key(one, decrypt=True) for one in names))

    def _key_of(self, path: str) -> Key:
        return _key(path, decrypt=True)

    async def _load(self, key: Key) -> CachedValue:
        if isinstance(key, str):
            return await self._fetch(key, decrypt=True)
        what, *options = key.what
        if what == "path":
            return await self._fetch_path(key.name, *options)
        if what == "exists":
            return await self._fetch_exists(key.name)
        return await self._fetch(key.name, decrypt=options[0])

    async def _fetch(self, path: str, *, decrypt: bool) -> CachedValue:
        if path.startswith(REFERENCE):
            return await self._ssm.get(path, decrypt=decrypt)
        return await self._batches.load(path, (decrypt, ":" in path))

    async def _fetch_one(self, name: str, kind: tuple[bool, bool]) -> CachedValue:
        return await self._ssm.get(name, decrypt=kind[0])

    async def _fetch_many(
        self, names: Sequence[str], kind: tuple[bool, bool]
    ) -> dict[str, CachedValue | S1cretsError]:
        return await self._ssm.get_many(names, decrypt=kind[0], selected=kind[1])

    async def _fetch_path(self, path: str, decrypt: bool, recursive: bool) -> CachedValue:  # noqa: FBT001
        lease = self._cache.lease()
        found = await self._ssm.get_by_path(path, decrypt=decrypt, recursive=recursive)
        await self._cache.fill(
            {_key(name, decrypt=decrypt): one for name, one in found.items()}, lease
        )
        return together(found)

    async def _fetch_exists(self, path: str) -> CachedValue:
        """Return if there is such a key or path.

        Raises:
            SecretNotFoundError: there is neither.
        """
        failures: list[S1cretsError] = []
        yes = False

        async with anyio.create_task_group() as group:

            async def ask(question: Any) -> None:
                nonlocal yes
                try:
                    await question(path)
                except S1cretsError as error:
                    failures.append(error)
                else:
                    yes = True
                    group.cancel_scope.cancel()

            group.start_soon(ask, self._ask_key)
            if path.startswith("/"):
                group.start_soon(ask, self._ask_path)
        if yes:
            return CachedValue("yes")
        raise min(failures, key=lambda error: isinstance(error, SecretNotFoundError))

    async def _ask_key(self, path: str) -> None:
        if path.startswith(REFERENCE):
            await self._get_reference(path, (), UNSET, decrypt=True, cached=False)
        else:
            await self._ssm.get(path, decrypt=False)

    async def _ask_path(self, path: str) -> None:
        if not await self._ssm.is_path(_trimmed(path)):
            message = f"{self.service}: there is nothing below {path!r}"
            raise SecretNotFoundError(message)

    async def _get_reference(
        self, path: str, keypath: KeyPath, default: Any, *, decrypt: bool, cached: bool
    ) -> Any:
        """Return a secret by way of Parameter Store, or what the rest of the path names in it.

        Secrets' names may have slashes, so the longest name that exists is the secret's.
        """
        lease = self._cache.lease()
        resolution = Derived(path, ("reference",))
        known = self._cache.peek(resolution) if cached else None
        names = [str(known.raw)] if known else candidates(path)
        failures = []
        for name in names:
            try:
                held = await self._read(_key(name, decrypt=decrypt), cached=cached)
            except SecretNotFoundError as error:
                failures.append(error)
            else:
                await self._cache.put(resolution, CachedValue(name), lease)
                return self._answer(held, name, inner_keys(path, name, keypath), default)
        raise failures[0]


def _key(path: str, *, decrypt: bool) -> Key:
    check_name(path)
    # A selector or an ARN is another name of a parameter: it goes when that is updated.
    return path if decrypt and ":" not in path else Derived(path, ("get", bool(decrypt)))


def _trimmed(path: str) -> str:
    return path.rstrip("/") or "/"


def _path_key(path: str, *, decrypt: bool, recursive: bool) -> Derived:
    check_name(path)
    return Derived(_trimmed(path), ("path", bool(decrypt), bool(recursive)))
