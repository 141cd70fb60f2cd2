"""Single flight across machines: who fetches an entry of a shared cache leaves a row that says so.

Such a row soon goes by itself. It is no lock: nothing depends on it but how often AWS is asked.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s1crets.cache.patience import Patience
    from s1crets.cache.rows import Rows
    from s1crets.cache.store import Store

_CLAIM = "\1"  # what the names of these rows begin with
_CLAIMED = 1  # seconds after which such a row goes
_RELEASED = 200  # claims that are taken back before their time
_TOGETHER = 10  # rows that are claimed in one go
_CLAIMING = 0.5  # seconds that claiming may take; what is not claimed by then is just fetched
_TAKEN = ValueError  # what aiocache says of a row that is there already
_CANT = (AttributeError, NotImplementedError)  # what a backend says that can't claim


class Shares:
    """The claims of one cache on what it fetches.

    Args:
        store: where they are.
        patience: tells when there is no use in asking.
    """

    def __init__(self, store: Store, patience: Patience) -> None:
        self._store = store
        self._patience = patience

    async def take(self, rows: Rows, names: Sequence[str]) -> dict[str, bool]:
        """Claim what nobody has claimed yet.

        Returns:
            True for what was claimed, and False for what somebody else has. Others could not be.
        """
        claimed: dict[str, bool] = {}
        until = time.monotonic() + _CLAIMING
        # Several processes that want the same begin in different places, and so they share it out.
        wanted = list(dict.fromkeys(names))
        random.shuffle(wanted)
        while wanted and time.monotonic() < until and not self._patience.rests:
            some, wanted = wanted[:_TOGETHER], wanted[_TOGETHER:]
            free = dict(zip(some, _places(rows, some), strict=True))
            if len(some) > 1:  # to look first spares trips for most of what others have
                texts = await self._store.texts(rows.namespace, list(free.values()))
                taken = [name for name, text in zip(some, texts, strict=True) if text is not None]
                claimed.update(dict.fromkeys(taken, False))
                free = {name: place for name, place in free.items() if name not in claimed}
            await self._add(rows, free, claimed)
        return claimed

    async def _add(self, rows: Rows, free: dict[str, str], claimed: dict[str, bool]) -> None:
        each = [(place, "1") for place in free.values()]
        answers = await self._store.each(
            rows.namespace, "add", each, (_TAKEN, *_CANT), ttl=_CLAIMED
        )
        for name, answer in zip(free, answers or [], strict=False):
            if not isinstance(answer, _CANT):
                claimed[name] = not isinstance(answer, _TAKEN)

    async def release(self, rows: Rows, names: Sequence[str]) -> None:
        """Let others claim these; of many, the most do so soon by themselves."""
        some = _places(rows, names[:_RELEASED])
        await self._store.each(rows.namespace, "delete", [(one,) for one in some])


def _places(rows: Rows, names: Sequence[str]) -> list[str]:
    return [rows.at(_CLAIM + name)[0] for name in names]
