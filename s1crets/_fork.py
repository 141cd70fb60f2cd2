"""What has to be made anew in a forked child: locks, loops and threads don't survive there."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that a forked child may not use as the parent left it."""

    def after_fork(self) -> None:
        """Make it usable in the child; the parent's other threads are not there."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def renew_after_fork(forkable: Forkable) -> None:
    """Call `forkable.after_fork()` in every child that this process forks."""
    _forkables.add(forkable)


def _renew_all() -> None:
    for forkable in list(_forkables):
        forkable.after_fork()


os.register_at_fork(after_in_child=_renew_all)
