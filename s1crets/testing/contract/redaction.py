"""Contract of redaction: a value reaches its caller, and nothing else."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import traceback
from contextlib import suppress
from typing import Any

import pytest

from s1crets.errors import BatchError, InvalidValueError, S1cretsError
from s1crets.testing.contract.fixtures import Contract

CANARY = "canary-7e1d"
MISSING = "no-such-key"


class RedactionContract(Contract):
    """Reprs, pickles, errors, logs."""

    async def test_no_repr_shows_a_value(self, kept: Any, given: Any) -> None:
        """Of the provider, its statistics, and its parts."""
        (name,) = await given(a=CANARY)
        await kept.get(name)

        shown = [repr(part) for part in (kept, kept.stats, *vars(kept).values())]
        assert [text for text in shown if CANARY in text] == []
        assert type(kept).__name__ in repr(kept)

    @pytest.mark.parametrize("method", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_a_provider_is_not_copied_or_pickled(self, facade: Any, method: Any) -> None:
        """The copy would contain its secrets."""
        for provider in (facade, facade.awaited):
            with pytest.raises(TypeError, match="pickled"):
                method(provider)

    async def test_no_error_shows_a_value(self, kept: Any, given: Any) -> None:
        """Nor do its causes, or a traceback with local variables."""
        name, other = await given(a=f'{{"k": "{CANARY}"}}', b=CANARY)
        for _ in range(2):
            for call in (
                kept.get(name, keypath=("k", MISSING)), kept.get(other, keypath=MISSING),
                kept.update(name, [CANARY, object()]), kept.update(f"{self.top}/none", CANARY),
            ):  # fmt: skip
                with pytest.raises(S1cretsError) as caught:
                    await call
                assert CANARY not in _shown(caught.value)
            with pytest.raises(BatchError) as several:
                await kept.get_many([name, f"{self.top}/none"])
            assert CANARY not in str(several.value)
            assert CANARY.encode() not in pickle.dumps(several.value)

    async def test_no_log_shows_a_value(
        self, make: Any, given: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """At DEBUG, and in asyncio's debug mode."""
        (name,) = await given(a=CANARY)
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
                    await store.update(name, CANARY + "2")
                with suppress(InvalidValueError):
                    await store.update(name, [CANARY, object()])
        finally:
            loop.set_debug(False)

        logged = [f"{log.getMessage()} {log.args!r} {log.exc_text}" for log in caplog.records]
        assert [text for text in logged if CANARY in text] == []
        assert any("Executing" in text for text in logged)


def _shown(error: BaseException | None) -> str:
    """Return everything that tools show of an error, except for the frames of this file."""
    text = ""
    while error is not None:
        text += f"{error} {error.args!r} {getattr(error, '__notes__', '')!r}\n"
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        text += "".join(repr(frame.locals) for frame in report.stack if frame.filename != __file__)
        error = error.__cause__ or error.__context__
    return text
