"""The seam for those who look on: an observer is told of all that a provider does, but for hits."""

from __future__ import annotations

from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager

    from s1crets.cache import Key
    from s1crets.errors import S1cretsError

_NOTHING: AbstractContextManager[None] = nullcontext()
NO_ERRORS: Mapping[str, S1cretsError] = MappingProxyType({})
_READS = {"get": "get", "path": "get_by_path", "exists": "path_exists"}
_VERBS = {
    "creating": "create",
    "deleting": "delete",
    "listing": "describe",
    "updating": "update",
    "writing": "put",
}


class Observer:
    """Told of what a provider does besides answering from a local cache; this one ignores it all.

    It is called where the work is done: in the caller's context, or in that of the task that
    fetches for several callers, whose contexts `s1crets.cache.freshness.aboard` has then.
    """

    def call(
        self,
        method: str,  # noqa: ARG002  # for those who want it, as in all methods here
        names: Collection[str],  # noqa: ARG002
        errors: Mapping[str, S1cretsError] = NO_ERRORS,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Return what is entered while a public call does what takes more than a look.

        Args:
            method: the call's.
            names: what it is about: of a batch, what the caches did not have.
            errors: gets what goes wrong with single names of a batch.
        """
        return _NOTHING

    def request(
        self,
        operation: str,  # noqa: ARG002
        names: Collection[str],  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Return what is entered while the service is asked, with all repetitions and pages.

        Args:
            operation: the service's name of it.
            names: what it is about.
        """
        return _NOTHING

    def sent(self, *, again: bool) -> None:
        """Learn that the request, or one of its pages, has left; `again` for a repetition."""

    def throttled(self) -> None:
        """Learn that the service refused the request as one too many."""

    def stale(self) -> None:
        """Learn that an expired value is served, in an outage."""


def reading(key: Key) -> str:
    """Return the name of the method that reads what a key stands for."""
    return "get" if isinstance(key, str) else _READS[str(key.what[0])]


def doing(verb: str) -> str:
    """Return the name of the method that does what a verb says, as error messages have it."""
    return _VERBS[verb]
