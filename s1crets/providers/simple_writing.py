"""The verbs of a simple provider that write, delete and list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s1crets._codec import encode
from s1crets._redaction import redact
from s1crets.providers.entries import is_below
from s1crets.providers.loading import SimpleLoading

if TYPE_CHECKING:
    from s1crets._redaction import Redacted
    from s1crets.providers.entries import Entry


class SimpleWriting(SimpleLoading):
    """The verbs that write."""

    async def create(self, path: str, value: Any) -> None:
        """Store a new secret.

        Args:
            path: the name of a secret that is not there.
            value: text, bytes, or a dict or list that is stored as JSON.

        Raises:
            SecretExistsError: a `FileExistsError`: it is there.
            InvalidValueError: the value is of another type or too long; nothing was written.
            S1cretsError: anything else that goes wrong.
        """
        value = redact(value)
        await self._store("creating", path, value, exists=False)

    async def put(self, path: str, value: Any) -> None:
        """Store a secret, new or not.

        Args:
            path: the name.
            value: text, bytes, or a dict or list that is stored as JSON.

        Raises:
            InvalidValueError: the value is of another type or too long; nothing was written.
            S1cretsError: anything else that goes wrong.
        """
        value = redact(value)
        await self._store("writing", path, value, exists=None)

    async def update(self, path: str, value: Any) -> None:
        """Store a new value.

        Args:
            path: the name of a secret that is there.
            value: text, bytes, or a dict or list that is stored as JSON.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret; nothing was written.
            InvalidValueError: the value is of another type or too long; nothing was written.
            S1cretsError: anything else that goes wrong.
        """
        value = redact(value)
        await self._store("updating", path, value, exists=True)

    async def delete(self, path: str) -> None:
        """Delete a secret.

        Raises:
            SecretNotFoundError: a `KeyError`: no such secret.
            S1cretsError: anything else that goes wrong.
        """
        name = self._named(path)
        work = self._ask("remove", name, self.remove, name)
        await self._in_time("deleting", name, self._written(name, work))

    async def describe(self, path: str = "") -> list[Entry]:
        """Return what the store tells of secrets besides their values.

        Args:
            path: a secret's name, or what others begin with, up to a `/`; all, if empty.

        Returns:
            Entries, sorted by name. No cache answers.

        Raises:
            S1cretsError: anything that goes wrong.
        """
        below = "" if path == "" else self._trimmed(path)
        work = self._ask("entries", path, self.entries, below)
        found = await self._in_time("listing", path, work)
        entries = [entry for entry in found if is_below(entry.name, below)]
        return sorted(entries, key=lambda entry: entry.name)

    async def _store(self, verb: str, path: str, value: Redacted, *, exists: bool | None) -> None:
        name = self._named(path)
        raw = redact(encode(value, binary=True, limit=self.largest))
        work = self._ask("store", name, self.store, name, raw, exists=exists)
        await self._in_time(verb, name, self._written(name, work))
