"""The contract: a value is where its caller gets it, and nowhere else."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from s1crets.errors import BatchError, InvalidValueError, S1cretsError
from s1crets.testing._contract import Contract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s1crets.testing._contract import Given, Make

_CANARY = "canary-7e1d"


class DiscretionContract(Contract):
    """Reprs, pickles, errors, logs."""

    async def test_no_repr_shows_a_value(self, kept: Any, given: Given) -> None:
        """Of the provider, its statistics, and what it is made of."""
        (name,) = await given(a=_CANARY)
        await kept.get(name)

        shown = [repr(one) for one in (kept, kept.stats, *vars(kept).values())]
        assert [one for one in shown if _CANARY in one] == []
        assert type(kept).__name__ in repr(kept)

    @pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_it_is_not_copied_or_pickled(self, facade: Any, how: Any) -> None:
        """It would take its secrets along; either flavour."""
        for one in (facade, facade.awaited):
            with pytest.raises(TypeError, match="pickled"):
                how(one)

    async def test_no_error_shows_a_value(self, kept: Any, given: Given) -> None:
        """Nor does its traceback with locals, or what led to it."""
        name, other = await given(a=f'{{"k": "{_CANARY}"}}', b=_CANARY)
        for _ in range(2):
            for call in (
                kept.get(name, keypath=("k", _MISSING)), kept.get(other, keypath=_MISSING),
                kept.update(name, [_CANARY, object()]),
                kept.update(f"{self.top}/none", _CANARY),
            ):  # fmt: skip
                with pytest.raises(S1cretsError) as caught:
                    await call
                assert _CANARY not in _shown(caught.value)
            with pytest.raises(BatchError) as several:
                await kept.get_many([name, f"{self.top}/none"])
            assert _CANARY not in str(several.value)
            assert _CANARY.encode() not in pickle.dumps(several.value)

    async def test_no_log_shows_a_value(
        self, make: Make, given: Given, caplog: pytest.LogCaptureFixture
    ) -> None:
        """At DEBUG, with asyncio's debug mode telling of each step."""
        (name,) = await given(a=_CANARY)
        caplog.set_level(logging.DEBUG)
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 0.0
        try:
            async with make().awaited as store:
                await store.get(name)
                await store.get_many([name, f"{self.top}/none"], errors="return")
                await store.get_by_path(self.top)
                await store.path_exists(name)
                with suppress(S1cretsError):
                    await store.update(name, _CANARY + "2")
                with suppress(InvalidValueError):
                    await store.update(name, [_CANARY, object()])
        finally:
            loop.set_debug(False)

        told = [f"{one.getMessage()} {one.args!r} {one.exc_text}" for one in caplog.records]
        assert [one for one in told if _CANARY in one] == []
        assert any("Executing" in one for one in told)


_MISSING = "no-such-key"


def _shown(error: BaseException | None) -> str:
    """Return all that any tool shows of an error, but for the frames of the tests themselves."""
    parts: list[str] = []
    for one in _chain(error):
        parts += [str(one), repr(one.args), repr(getattr(one, "__notes__", ""))]
        report = traceback.TracebackException.from_exception(one, capture_locals=True)
        parts += [repr(frame.locals) for frame in report.stack if frame.filename != __file__]
    return "\n".join(parts)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
