"""A caller's aiocache cache, asked for many rows at once, and with patience."""

from __future__ import annotations

from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from s1crets.cache.loops import OnEveryLoop
    from s1crets.cache.patience import Patience

T = TypeVar("T")
_LOT = 200  # rows that are asked for in one go
_SENSELESS = (ValueError,)  # what JSON and UTF-8 say of a row that somebody else has written


class Store:
    """What the tiers in a caller's cache ask it for.

    Args:
        backend: the cache.
        patience: how long it is waited for.
    """

    def __init__(self, backend: OnEveryLoop, patience: Patience) -> None:
        self._backend = backend
        self._patience = patience

    async def texts(self, namespace: str, names: list[str]) -> Sequence[Any]:
        """Return what is in some rows; None where there is nothing, or if the backend fails."""
        return [text for some in lots(names) for text in await self._texts(namespace, some)]

    async def _texts(self, namespace: str, names: list[str]) -> Sequence[Any]:
        ask = self._backend.ask
        texts = await self._patience.safely(ask, "multi_get", names, namespace=namespace)
        if texts is None and not self._patience.rests:
            texts = await self._one_by_one(namespace, names)
        if isinstance(texts, (list, tuple)) and len(texts) == len(names):
            return texts
        return [None] * len(names)

    async def _one_by_one(self, namespace: str, names: list[str]) -> list[Any] | None:
        """Return the same, and delete what the backend itself can't make sense of."""
        each = [(name,) for name in names]
        answers = await self.each(namespace, "get", each, _SENSELESS)
        if answers is None:
            return None
        broken = [isinstance(answer, _SENSELESS) for answer in answers]
        await self.each(namespace, "delete", list(compress(each, broken)))
        return [None if bad else answer for answer, bad in zip(answers, broken, strict=True)]

    async def each(
        self,
        namespace: str,
        verb: str,
        many: Sequence[tuple[Any, ...]],
        expected: tuple[type[Exception], ...] = (),
        **kwargs: Any,
    ) -> list[Any] | None:
        """Return what a method returns for each of some arguments, or None where one fails.

        Errors that are expected stand in the list.
        """
        ask = partial(self._backend.ask_all, expected=expected, namespace=namespace)
        answers: list[Any] = []
        for some in lots(many):
            found = await self._patience.safely(ask, verb, some, **kwargs)
            if found is None:
                return None
            answers += found
        return answers


def lots(many: Sequence[T]) -> Iterator[list[T]]:
    """Yield some rows at a time: what a process is busy with is not to look like a slow backend."""
    for start in range(0, len(many), _LOT):
        yield list(many[start : start + _LOT])
