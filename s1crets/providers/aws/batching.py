"""Automatic batching: names that wait in the same tick of the loop are asked for together."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from s1crets._redaction import Redacted, redact
from s1crets.cache.freshness import aboard
from s1crets.errors import (
    AccessDeniedError,
    BadResponseError,
    ConfigurationError,
    CredentialsError,
    DeadlineExceededError,
    S1cretsError,
    ThrottledError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence

R = TypeVar("R")
Outcomes: TypeAlias = "Mapping[str, R | S1cretsError]"

_OF_ALL = (
    BadResponseError,
    ConfigurationError,
    CredentialsError,
    DeadlineExceededError,
    ThrottledError,
    UnavailableError,
)
"""What would be no different for one name alone; anything else may be one name's fault."""


class _Item(Generic[R]):
    """One name that somebody waits for, and the request that it is a part of, once it has left."""

    __slots__ = ("aboard", "landed", "name", "sent")

    def __init__(self, name: str) -> None:
        self.name = name
        self.aboard = aboard.get() or ()
        self.landed: asyncio.Future[Redacted | S1cretsError | _Sent[R]] = (
            asyncio.get_running_loop().create_future()
        )
        self.sent: _Sent[R] | None = None


@dataclass(eq=False)
class _Sent(Generic[R]):
    """A request under way and the names that are in it."""

    items: list[_Item[R]]
    task: asyncio.Task[None] | None = None


@dataclass(eq=False)
class _Queue(Generic[R]):
    """What waits to leave on one event loop, of one kind; and what has left."""

    waiting: deque[_Item[R]] = field(default_factory=deque)
    sent: set[_Sent[R]] = field(default_factory=set)
    leaving: bool = False


class Batches(Generic[R]):
    """Turns single reads into requests of several names each.

    A name that is alone when its tick ends is asked for alone. While as many requests are under
    way as there may be, names gather for the next one.

    Args:
        size: how many names a request takes.
        requests: how many requests may be under way.
        one: fetches one name.
        many: fetches several different names of one kind; may leave some out, which are then
            asked for one by one.
    """

    def __init__(
        self,
        *,
        size: int,
        requests: int,
        one: Callable[[str, Any], Coroutine[Any, Any, R]],
        many: Callable[[Sequence[str], Any], Coroutine[Any, Any, Outcomes[R]]],
    ) -> None:
        self._size = size
        self._requests = requests
        self._one = one
        self._many = many
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Queue[R]]] = (
            WeakKeyDictionary()
        )

    async def load(self, name: str, kind: Hashable = None) -> R:
        """Return what AWS has under `name`; names of one kind may share a request.

        Raises:
            S1cretsError: what is wrong with this name, or with the whole request.
        """
        loop = asyncio.get_running_loop()
        queue = self._queues.setdefault(loop, {}).setdefault(kind, _Queue())
        item: _Item[R] = _Item(name)
        queue.waiting.append(item)
        if not queue.leaving:
            queue.leaving = True
            loop.call_soon(self._leave, queue, kind)
        try:
            landed = await item.landed
        except asyncio.CancelledError:
            if item.sent is not None and item.sent.task is None:
                self._back(queue, kind, item.sent)
            else:
                _abandon(item)
            raise
        if isinstance(landed, _Sent):
            try:
                return await self._one(name, kind)
            finally:
                self._back(queue, kind, landed)
        if isinstance(landed, S1cretsError):
            raise landed
        found: R = landed.reveal()
        return found

    def _leave(self, queue: _Queue[R], kind: Hashable) -> None:
        """Send what waits, as far as requests are free."""
        queue.leaving = False
        while queue.waiting and len(queue.sent) < self._requests:
            items = self._take(queue)
            if not items:
                return
            sent = _Sent(items)
            for item in items:
                item.sent = sent
            queue.sent.add(sent)
            if len(items) == 1:
                items[0].landed.set_result(sent)  # it is alone: a task in between would cost time
                continue
            sent.task = asyncio.get_running_loop().create_task(self._send(items, kind))
            sent.task.add_done_callback(partial(self._ended, queue, kind, sent))

    def _take(self, queue: _Queue[R]) -> list[_Item[R]]:
        """Take a request's worth of names, each once, that somebody still waits for."""
        items: list[_Item[R]] = []
        names: set[str] = set()
        again: list[_Item[R]] = []
        while queue.waiting and len(names) < self._size:
            item = queue.waiting.popleft()
            if item.landed.done():
                continue
            if item.name in names:
                again.append(item)
                continue
            names.add(item.name)
            items.append(item)
        queue.waiting.extendleft(reversed(again))
        return items

    def _ended(
        self, queue: _Queue[R], kind: Hashable, sent: _Sent[R], task: asyncio.Task[None]
    ) -> None:
        bug = None if task.cancelled() else task.exception()
        for item in sent.items:
            if not item.landed.done():
                item.landed.set_exception(bug) if bug else item.landed.cancel()
        self._back(queue, kind, sent)

    def _back(self, queue: _Queue[R], kind: Hashable, sent: _Sent[R]) -> None:
        queue.sent.discard(sent)
        self._leave(queue, kind)

    async def _send(self, items: list[_Item[R]], kind: Hashable) -> None:
        aboard.set(tuple(contexts for item in items for contexts in item.aboard))
        try:
            found = await self._many([item.name for item in items], kind)
        except S1cretsError as error:
            if isinstance(error, _OF_ALL):
                for item in items:
                    _land(item, _about(error, items[0].name, item.name))
                return
            refused: S1cretsError | None = error
            found = {}
        else:
            refused = None
        alone = [item for item in items if item.name not in found]
        for item in items:
            if item.name in found:
                _land(item, found[item.name])
        outcomes = await asyncio.gather(*(self._outcome(item, kind) for item in alone))
        for item, outcome in zip(alone, outcomes, strict=True):
            _land(item, outcome)
        if isinstance(refused, AccessDeniedError) and not any(
            isinstance(outcome, (AccessDeniedError, *_OF_ALL)) for outcome in outcomes
        ):
            self._size = 1  # it is the batch that is denied, and will be

    async def _outcome(self, item: _Item[R], kind: Hashable) -> Redacted | S1cretsError:
        aboard.set(item.aboard)
        try:
            return redact(await self._one(item.name, kind))
        except S1cretsError as error:
            return error


def _land(item: _Item[Any], outcome: object) -> None:
    # Redacted, as the repr of a future and of a task, which asyncio logs, has the result in it.
    if not item.landed.done():
        item.landed.set_result(outcome if isinstance(outcome, S1cretsError) else redact(outcome))


def _abandon(item: _Item[Any]) -> None:
    """Stop the request that a name is in, if nobody waits for any of the names any more."""
    sent = item.sent
    if sent and sent.task and all(one.landed.done() for one in sent.items):
        sent.task.cancel()


def _about(error: S1cretsError, subject: str, name: str) -> S1cretsError:
    """Return an error that tells of one name what another tells of a whole request."""
    own = type(error)(str(error).replace(repr(subject), repr(name), 1))
    own.__cause__ = error.__cause__
    return own
