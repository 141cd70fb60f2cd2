"""What writes, deletes and lists secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s1crets._codec import encode
from s1crets._redaction import redact
from s1crets.errors import SecretExistsError, SecretNotFoundError
from s1crets.providers.aws.creation import deletion, refuse_tags, secret_settings
from s1crets.providers.aws.provider import AwsProvider
from s1crets.providers.base import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s1crets._redaction import Redacted
    from s1crets.providers.aws.asm import Asm
    from s1crets.providers.aws.entries import Entry

_LARGEST = 65536  # bytes of a secret


class SecretWriting(AwsProvider):
    """The verbs of Secrets Manager that write."""

    _asm: Asm

    async def create(
        self,
        path: str,
        value: Any,
        *,
        kms_key_id: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Store a new secret: `CreateSecret`.

        Args:
            path: the name of a secret that is not there.
            value: text, bytes, or a dict or list that is stored as JSON.
            kms_key_id: the key that encrypts it; by default the account's own for the service.
            description: a text that everybody can read who may list secrets.
            tags: names and values; needs `secretsmanager:TagResource`.

        Raises:
            SecretExistsError: a `FileExistsError`: it is there, or scheduled for deletion.
            ConfigurationError: a `ValueError`: settings that make no sense; nothing was written.
            InvalidValueError: the value is of another type or too long; nothing was written.
            S1cretsError: anything else that goes wrong.
        """
        value = redact(value)
        settings = secret_settings(kms_key_id, description, tags)
        raw = _checked(path, value)
        work = self._asm.create(path, raw, settings)
        await self._in_time("creating", path, self._written(path, work))

    async def put(
        self,
        path: str,
        value: Any,
        *,
        kms_key_id: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Store a secret, new or not: `PutSecretValue`, or `CreateSecret` if there is none.

        Args:
            path: the name.
            value: text, bytes, or a dict or list that is stored as JSON.
            kms_key_id: as for `create`; where the secret is there, `UpdateSecret` sets it.
            description: the same.
            tags: as for `create`, and for a new secret only: AWS takes no others.

        Raises:
            ConfigurationError: a `ValueError`: settings that make no sense, or not for a secret
                that is there; nothing was written.
            SecretNotFoundError: a `KeyError`: one of that name is scheduled for deletion.
            InvalidValueError: the value is of another type or too long; nothing was written.
            S1cretsError: anything else that goes wrong.
        """
        value = redact(value)
        settings = secret_settings(kms_key_id, description, tags)
        raw = _checked(path, value)
        await self._in_time("writing", path, self._written(path, self._put(path, raw, settings)))

    async def update(self, path: str, value: Any) -> None:
        """Store a new value: `PutSecretValue`, which keeps the key it is encrypted with.

        Args:
            path: the name or ARN of a secret that is there.
            value: text, bytes, or a dict or list that is stored as JSON.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret; nothing was written.
            InvalidValueError: the value is of another type or too long; nothing was written.
            S1cretsError: anything else that goes wrong.
        """
        value = redact(value)
        raw = _checked(path, value)
        await self._in_time("updating", path, self._written(path, self._asm.put(path, raw)))

    async def delete(
        self, path: str, *, recovery_days: int | None = None, force: bool = False
    ) -> None:
        """Schedule a secret for deletion: `DeleteSecret`. From now on it can't be read.

        Args:
            path: the secret's name or ARN.
            recovery_days: days in which it can be restored, 7 to 30; by default 30.
            force: delete it for good, at once. Then AWS does not tell whether it was there.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret, or it is scheduled already.
            ConfigurationError: a `ValueError`: `recovery_days` makes no sense.
            S1cretsError: anything else that goes wrong.
        """
        check_name(path)
        how = deletion(recovery_days, force=force)
        await self._in_time("deleting", path, self._written(path, self._asm.delete(path, how)))

    async def describe(self, path: str = "") -> list[Entry]:
        """Return what AWS tells of secrets besides their values: `ListSecrets`.

        Args:
            path: a secret's name, or what others begin with, up to a `/`; all, if empty.

        Returns:
            Entries, sorted by name. No cache answers. AWS may be minutes late.

        Raises:
            S1cretsError: anything that goes wrong.
        """
        if path != "":
            check_name(path)
        entries = await self._in_time("listing", path, self._asm.entries(path))
        return sorted(entries, key=lambda entry: entry.name)

    async def _put(self, path: str, raw: Redacted, settings: Mapping[str, Any]) -> None:
        if "Tags" not in settings:
            try:
                await self._overwrite(path, raw, settings)
            except SecretNotFoundError:
                pass
            else:
                return
        try:
            await self._asm.create(path, raw, settings)
        except SecretExistsError:
            # There, or made by somebody else in this moment, or scheduled for deletion.
            pass
        else:
            return
        refuse_tags(settings, path)
        await self._overwrite(path, raw, settings)

    async def _overwrite(self, path: str, raw: Redacted, settings: Mapping[str, Any]) -> None:
        if settings:
            await self._asm.change(path, raw, settings)
        else:
            await self._asm.put(path, raw)


def _checked(path: str, value: Redacted) -> Redacted:
    check_name(path)
    return redact(encode(value, binary=True, limit=_LARGEST))
