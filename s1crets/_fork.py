"""Forks: none happens in the middle of an import; locks, loops and threads are made anew."""

from __future__ import annotations

import logging  # noqa: F401  # imports take its lock, so its hook must come after the one here
import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that a forked child may not use as the parent left it."""

    def after_fork(self) -> None:
        """Make it usable in the child; the parent's other threads are not there."""


importing = threading.RLock()
"""Held by a thread that imports something late: a child that is forked then would wait for ever
for the module's lock, as the thread that has it is not there."""

_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def renew_after_fork(forkable: Forkable) -> None:
    """Call `forkable.after_fork()` in every child that this process forks."""
    _forkables.add(forkable)


def _renew_all() -> None:
    importing.release()
    for forkable in list(_forkables):
        forkable.after_fork()


os.register_at_fork(
    before=importing.acquire, after_in_parent=importing.release, after_in_child=_renew_all
)
