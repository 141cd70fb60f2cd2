"""Forks: none happens in the middle of an import; locks, loops and threads are made anew."""

from __future__ import annotations

import logging  # noqa: F401  # imports take its lock, so its hook must come after the one here
import os
import threading
import weakref
from contextlib import suppress
from typing import Any, Protocol

with suppress(RuntimeError):  # while the interpreter shuts down it can't be imported any more
    # asyncio would, when it looks up a host; and its hook, added in the midst of a fork, would be
    # only half run.
    import concurrent.futures.thread  # noqa: F401


class Forkable(Protocol):
    """Something that a forked child may not use as the parent left it."""

    def after_fork(self) -> None:
        """Make it usable in the child; the parent's other threads are not there."""


importing = threading.RLock()
"""Held by a thread that imports something late: a child that is forked then would wait for ever
for the module's lock, as the thread that has it is not there."""

_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()
_held_ones: weakref.WeakSet[Any] = weakref.WeakSet()


def renew_after_fork(forkable: Forkable) -> None:
    """Call `forkable.after_fork()` in every child that this process forks."""
    _forkables.add(forkable)


_held: list[Any] = []


def hold_while_forking(one: Any) -> None:
    """Call `one.before_fork()` before a fork of this process, and then `one.after_in_parent()`."""
    _held_ones.add(one)


def _hold_all() -> None:
    importing.acquire()
    for one in list(_held_ones):
        one.before_fork()
        _held.append(one)


def _release_all() -> None:
    while _held:
        _held.pop().after_in_parent()
    importing.release()


def _renew_all() -> None:
    _held.clear()
    importing.release()
    for forkable in list(_forkables):
        forkable.after_fork()


os.register_at_fork(before=_hold_all, after_in_parent=_release_all, after_in_child=_renew_all)
