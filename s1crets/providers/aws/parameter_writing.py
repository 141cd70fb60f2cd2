"""What writes, deletes and lists parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s1crets._codec import encode
from s1crets._redaction import redact
from s1crets.errors import ConfigurationError, SecretExistsError, SecretNotFoundError
from s1crets.providers.aws.creation import parameter_settings, refuse_tags
from s1crets.providers.aws.provider import AwsProvider
from s1crets.providers.aws.rewriting import LARGEST, attributes, check_tier
from s1crets.providers.base import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s1crets._redaction import Redacted
    from s1crets.providers.aws.creation import ParameterType, Tier
    from s1crets.providers.aws.entries import Entry
    from s1crets.providers.aws.ssm import Ssm


class ParameterWriting(AwsProvider):
    """The verbs of Parameter Store that write."""

    _ssm: Ssm

    async def create(
        self,
        path: str,
        value: Any,
        *,
        type: ParameterType = "SecureString",  # noqa: A002  # AWS's own word
        kms_key_id: str | None = None,
        description: str | None = None,
        tier: Tier | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Store a new parameter: `PutParameter`.

        Args:
            path: the name of a parameter that is not there.
            value: text, or a dict or list that is stored as JSON.
            type: `SecureString`, `String` or `StringList`.
            kms_key_id: the key that encrypts a SecureString; by default the account's own for
                Parameter Store.
            description: a text that everybody can read who may list parameters.
            tier: `Standard`, `Advanced` or `Intelligent-Tiering`; by default the account's.
            tags: names and values; needs `ssm:AddTagsToResource`.

        Raises:
            SecretExistsError: a `FileExistsError`: it is there. After a broken connection it may
                be this very call that has made it.
            ConfigurationError: a `ValueError`: settings that make no sense; nothing was written.
            InvalidValueError: the value is of another type or too long; nothing was written.
            S1cretsError: anything else that goes wrong.
        """
        value = redact(value)
        settings = parameter_settings(type, kms_key_id, description, tier, tags)
        raw = _checked(path, value)
        await self._in_time(
            "creating", path, self._written(path, self._create(path, raw, settings))
        )

    async def put(
        self,
        path: str,
        value: Any,
        *,
        type: ParameterType | None = None,  # noqa: A002  # AWS's own word
        kms_key_id: str | None = None,
        description: str | None = None,
        tier: Tier | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Store a parameter, new or not: `DescribeParameters`, then `PutParameter`.

        One that is there keeps what is not given, as with `update`.

        Args:
            path: the name.
            value: text, or a dict or list that is stored as JSON.
            type: as for `create`; it can't be changed.
            kms_key_id: as for `create`.
            description: as for `create`.
            tier: as for `create`.
            tags: as for `create`, and for a new parameter only: AWS takes no others.

        Raises:
            ConfigurationError: a `ValueError`: settings that make no sense, or not for a parameter
                that is there; nothing was written.
            InvalidValueError: the value is of another type or too long; nothing was written.
            S1cretsError: anything else that goes wrong.
        """
        value = redact(value)
        settings = parameter_settings(type, kms_key_id, description, tier, tags)
        raw = _checked(path, value)
        await self._in_time("writing", path, self._written(path, self._put(path, raw, settings)))

    async def update(self, path: str, value: Any) -> None:
        """Store a new value: `DescribeParameters`, then `PutParameter` with all that it showed.

        Args:
            path: the name of a parameter that is there.
            value: text, or a dict or list that is stored as JSON.

        Raises:
            SecretNotFoundError: a `KeyError`: no such parameter; nothing was written.
            InvalidValueError: the value is of another type or too long; nothing was written.
            S1cretsError: anything else that goes wrong.
        """
        value = redact(value)
        raw = _checked(path, value)
        await self._in_time("updating", path, self._written(path, self._overwrite(path, raw, {})))

    async def delete(self, path: str) -> None:
        """Delete a parameter: `DeleteParameter`. It can't be had back.

        Raises:
            SecretNotFoundError: a `KeyError`: no such parameter.
            S1cretsError: anything else that goes wrong.
        """
        check_name(path)
        await self._in_time("deleting", path, self._written(path, self._ssm.delete(path)))

    async def describe(self, path: str = "") -> list[Entry]:
        """Return what AWS tells of parameters besides their values: `DescribeParameters`.

        Args:
            path: a parameter's name, or what others begin with, up to a `/`; all, if empty.

        Returns:
            Entries, sorted by name. No cache answers.

        Raises:
            S1cretsError: anything that goes wrong.
        """
        if path != "":
            check_name(path)
        entries = await self._in_time("listing", path, self._ssm.entries(path))
        return sorted(entries, key=lambda entry: entry.name)

    async def _put(self, path: str, raw: Redacted, settings: Mapping[str, Any]) -> None:
        try:
            await self._overwrite(path, raw, settings)
        except SecretNotFoundError:
            pass
        else:
            return
        try:
            await self._create(path, raw, {"Type": "SecureString", **settings})
        except SecretExistsError:
            pass  # somebody else was faster
        else:
            return
        await self._overwrite(path, raw, settings)

    async def _create(self, path: str, raw: Redacted, settings: Mapping[str, Any]) -> None:
        if settings.get("Tier") == "Standard":
            check_tier(settings, raw)
        await self._ssm.put(path, raw, settings, overwrite=False)

    async def _overwrite(self, path: str, raw: Redacted, settings: Mapping[str, Any]) -> None:
        described = await self._ssm.describe(path)
        if described is None:
            message = (
                f"{self.service}: there is no parameter {path!r} to update (by its name: an"
                " ARN or a version can't be updated); nothing was written"
            )
            raise SecretNotFoundError(message)
        refuse_tags(settings, path)
        if settings.get("Type", described.get("Type")) != described.get("Type"):
            message = (
                f"{self.service}: {path!r} is there already, as a {described.get('Type')}, which"
                f" can't become a {settings['Type']}: delete it first; nothing was written"
            )
            raise ConfigurationError(message)
        kept = {**attributes(described), **settings}
        check_tier(kept, raw)
        await self._ssm.put(path, raw, kept, overwrite=True)


def _checked(path: str, value: Redacted) -> Redacted:
    check_name(path)
    return redact(encode(value, binary=False, limit=LARGEST))
