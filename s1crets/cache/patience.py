"""How long a backend outside of the process is waited for: it is asked to be faster than AWS."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from s1crets._redaction import Redacted
from s1crets.errors import NotPrivateError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_log = logging.getLogger("s1crets.cache")
_BOUND = 1.0  # seconds that a backend may take, for one operation or for several slow ones in a row
_REST = 5.0  # seconds that one which failed is left alone; within them a used up bound grows back
_QUICK = 0.1  # seconds that an operation may take without being a slow one


class Patience:
    """Waits for a backend within a bound, and not at all while it rests.

    A call takes several operations. So what slow ones take is subtracted from one bound for all,
    which grows back with time, and at its end the backend rests as after a failure.

    Args:
        title: what warnings call the backend.
        warned: of what a caller was warned, whichever of its backends fails.
        timer: monotonic seconds.
        bounded: whether there is a bound; a backend of ours has its own.
    """

    def __init__(
        self,
        title: str,
        warned: list[str],
        timer: Callable[[], float] = time.monotonic,
        *,
        bounded: bool = True,
    ) -> None:
        self.title = title
        self._warned = warned
        self._timer = timer
        self._bounded = bounded
        self._left, self._grown = _BOUND, float("-inf")
        self._slow_until = float("-inf")
        self._rests_until = float("-inf")

    @property
    def rests(self) -> bool:
        """Whether the backend is left alone now."""
        return self._timer() < self._rests_until

    async def safely(
        self, ask: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> Any:
        """Return what a backend answers, or None where it fails or takes too long; warn, once."""
        if self.rests:
            return None
        began, busy = self._timer(), time.thread_time()
        try:
            answer = _concealed(ask(*args, **kwargs))
            box = await asyncio.wait_for(answer, self._allowed(began) if self._bounded else None)
        except NotPrivateError:
            raise
        except ValueError as error:
            self._warn(type(error).__name__)  # a row that can't be read says nothing of others
        except Exception as error:  # noqa: BLE001  # whatever it is, there is still AWS
            self._rest(type(error).__name__)
        else:
            self._spend(began, time.thread_time() - busy)
            return box.reveal()
        return None

    def _allowed(self, now: float) -> float:
        left = self._left + (now - self._grown) * _BOUND / _REST
        self._left, self._grown = min(_BOUND, left), now
        return self._left

    def _spend(self, began: float, busy: float) -> None:
        now = self._timer()
        # While this thread was busy itself, it did not wait for the backend.
        if self._bounded and now - began - busy > _QUICK:
            # What several callers wait for at once is counted once.
            since = max(began + busy, self._slow_until)
            self._left = self._allowed(now) - max(now - since, 0)
            self._slow_until = now
            if self._left <= 0:
                self._rest("too slow")

    def _rest(self, problem: str) -> None:
        self._rests_until = self._timer() + _REST
        self._left = _BOUND
        self._warn(problem)

    def _warn(self, problem: str) -> None:
        if not self._warned:
            self._warned.append(self.title)
            _log.warning("the cache %s fails (%s); going on without it", self.title, problem)


async def _concealed(answer: Coroutine[Any, Any, Any]) -> Redacted:
    """Return an answer in a box, as `wait_for` may make a task, and asyncio logs its result."""
    return Redacted(await answer)
