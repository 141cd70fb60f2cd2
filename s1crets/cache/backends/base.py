"""Declared capabilities of backends that answer in the caller's thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence


class SyncReadable(ABC):
    """A backend that is read in the caller's thread, without the event loop.

    A backend declares this by subclassing; a method of the same name means nothing.
    """

    @abstractmethod
    def peek_many(self, keys: Sequence[str]) -> Sequence[str | None]:
        """Return the stored texts, None for a missing or expired key. Never waits for I/O long.

        All keys are read in the same instant. Raises what the storage raises.
        """

    def open(self) -> None:  # noqa: B027  # memory has no files
        """Open files, if there are any. Blocks."""

    async def purge(self, prefix: str) -> None:  # noqa: B027
        """Delete all keys with a prefix, and leave no trace of them in any file."""


class KernelLocks(ABC):
    """A backend with fetch locks that the operating system frees when a process dies."""

    @abstractmethod
    def acquire_lock(self, key: str) -> bool:
        """Lock `key` for this process unless another has; return whether it did. Never waits."""

    @abstractmethod
    def release_lock(self, key: str) -> None:
        """Unlock `key`."""
