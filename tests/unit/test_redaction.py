"""Values are not shown by reprs, `vars`, copies and pickles of the objects that carry them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from s1crets._redaction import Redacted, redact
from s1crets.cache.entry import CachedValue, Fetched
from s1crets.errors import BatchError, S1cretsError

CANARY = "canary-77e1"


@pytest.mark.parametrize("carrier", [Redacted(CANARY), CachedValue(CANARY)])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_carriers_are_neither_copied_nor_pickled(carrier: Any, duplicate: Any) -> None:
    """A copy would outlive its purpose."""
    with pytest.raises(TypeError, match="can't be copied or pickled") as caught:
        duplicate(carrier)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("carrier", [Redacted(CANARY), CachedValue(CANARY), Fetched(CANARY)])
def test_reprs_do_not_show_values(carrier: Any) -> None:
    """As in a traceback with locals."""
    assert CANARY not in repr(carrier)
    assert CANARY not in f"{[carrier]} {(carrier,)!s}"


@pytest.mark.parametrize("carrier", [Redacted(CANARY), CachedValue(CANARY)])
def test_carriers_have_no_vars(carrier: Any) -> None:
    """Debuggers and loggers print them."""
    with pytest.raises(TypeError):
        vars(carrier)
    assert not dataclasses.is_dataclass(carrier)


def test_redacting_twice_is_redacting_once() -> None:
    """Every layer may call it."""
    redacted = redact(CANARY)

    assert redact(redacted) is redacted
    assert redacted.reveal() == CANARY


def test_a_pickled_batch_error_has_no_values() -> None:
    """`values` is for the caller, in this process."""
    error = BatchError("1 of 2", {"/a": CANARY}, {"/b": S1cretsError("no")})
    data = pickle.dumps(error)

    assert CANARY.encode() not in data
    assert str(pickle.loads(data)) == "1 of 2"  # noqa: S301  # its own
    assert copy.copy(error).values == {"/a": CANARY}
