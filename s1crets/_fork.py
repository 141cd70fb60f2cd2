"""Locks and objects in forked children and signal handlers: new_lock, lent, on_fork, import_lock.

Without asyncio, which takes most of the time that `import s1crets` would take.
"""

from __future__ import annotations

import logging  # noqa: F401  # imports take its lock, so its fork hook must precede the hook here
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

with suppress(RuntimeError):  # it can't be imported any more while the interpreter shuts down
    # asyncio would import it to look up a host; a fork hook added during a fork runs only half.
    import concurrent.futures.thread  # noqa: F401


class Forkable(Protocol):
    """An object with state that a forked child can't use as the parent left it."""

    def after_fork(self) -> None:
        """Make the state usable in the child, where the parent's other threads don't exist."""


class ForkHolder(Protocol):
    """An object with locks that must not be held by another thread while the process forks."""

    def before_fork(self) -> None:
        """Acquire the locks."""

    def after_in_parent(self) -> None:
        """Release them; in the child, `after_fork` replaces them."""


_locks: weakref.WeakValueDictionary[int, threading.RLock] = weakref.WeakValueDictionary()


def new_lock() -> threading.RLock:
    """Return a lock that a signal handler can't wait for forever.

    The handler runs in the middle of what it interrupts, with its locks. It may take them again,
    and lends them to other threads while it waits for these: see `lent`. So whatever such a lock
    protects must be sound between any two lines.
    """
    lock = threading.RLock()
    _locks[id(lock)] = lock
    return lock


@contextmanager
def lent() -> Iterator[None]:
    """Release the locks of this thread, if there are any, while it waits for other threads."""
    locks: Any = [lock for ref in _locks.valuerefs() if (lock := ref())]
    held = [(lock, lock._release_save()) for lock in locks if lock._is_owned()]  # noqa: SLF001  # as Condition.wait
    try:
        yield
    finally:
        for lock, state in held:
            lock._acquire_restore(state)  # noqa: SLF001


import_lock = new_lock()
"""Held during a late import: a child forked meanwhile would wait forever for the module's lock,
since the thread that holds it does not exist there."""

_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()
_holders: weakref.WeakSet[Any] = weakref.WeakSet()
_holding: list[Any] = []


def on_fork(forkable: Forkable) -> None:
    """Call `forkable.after_fork()` in every child that this process forks."""
    _forkables.add(forkable)


def hold_while_forking(holder: ForkHolder) -> None:
    """Call `holder.before_fork()` before each fork, and `holder.after_in_parent()` after it."""
    _holders.add(holder)


def _before_fork() -> None:
    import_lock.acquire()
    for holder in list(_holders):
        holder.before_fork()
        _holding.append(holder)


def _after_in_parent() -> None:
    while _holding:
        _holding.pop().after_in_parent()
    import_lock.release()


def _after_in_child() -> None:
    _holding.clear()
    import_lock.release()
    for forkable in list(_forkables):
        forkable.after_fork()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
