"""How a simple provider asks its store: a few questions at a time, counted; errors become ours."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import anyio

from s1crets._redaction import strip_traceback
from s1crets._runtime import run_in_thread
from s1crets.errors import AccessDeniedError, S1cretsError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from s1crets.providers.stats import Counters

R = TypeVar("R")


class Asking:
    """Asks a store.

    Args:
        service: what error messages call it.
        at_once: questions that it is asked at a time, on one event loop.
        counters: what counts them.
    """

    def __init__(self, service: str, at_once: int, counters: Counters) -> None:
        self._service = service
        self._at_once = at_once
        self._counters = counters
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, anyio.Semaphore] = (
            WeakKeyDictionary()
        )

    async def __call__(
        self,
        operation: str,
        subject: str,
        question: Callable[..., Coroutine[Any, Any, R]],
        *args: Any,
        **kwargs: Any,
    ) -> R:
        """Return the answer to one question.

        Raises:
            S1cretsError: what the store raised, or what an `OSError` of it means.
        """
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            gate = self._gates[loop] = anyio.Semaphore(self._at_once)
        async with gate:
            with (
                self._counters.observer.request(operation, [subject]),
                _translated(self._service, operation, subject),
            ):
                self._counters.sent(operation, again=False)
                return await question(*args, **kwargs)


@contextmanager
def _translated(service: str, operation: str, subject: str) -> Iterator[None]:
    try:
        yield
    except S1cretsError as error:
        if error.__cause__ is not None:
            strip_traceback(error.__cause__)  # its frames may have the value
        raise
    except PermissionError:
        kind: type[S1cretsError] = AccessDeniedError
        problem = "is not allowed"
    except (TimeoutError, OSError) as error:  # up to Python 3.10 the second is none
        kind = UnavailableError
        # Its words are not repeated: nobody knows what is in there.
        problem = f"failed ({type(error).__name__}); it may be reached later"
    else:
        return
    message = f"{service}: {operation} {subject!r} {problem}"
    raise kind(message)


class SimpleIdentity:
    """Tells whose entries a cache outside of the process has, from what is at hand.

    Args:
        whose: returns it; may block.
    """

    def __init__(self, whose: Callable[[], str]) -> None:
        self._whose = whose

    def hint(self) -> str:
        """Return it. Blocks."""
        return self._whose()

    async def ask(self) -> tuple[str, bool]:
        """Return it, and that it lasts."""
        return await run_in_thread(self._whose), True
