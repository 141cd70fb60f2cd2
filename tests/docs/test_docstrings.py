"""Docstrings: their examples run, and show what they return."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from _support.documents import DOCS, captured

import s1crets
from s1crets.providers.aws import AsyncParameterStore, ParameterStore

if TYPE_CHECKING:
    from s1crets.testing import LocalAws

FUNCTIONS = [getattr(s1crets, name) for name in s1crets.aio.__all__]
METHODS = [ParameterStore.refresh_on, AsyncParameterStore.refresh_on, AsyncParameterStore.watch]


@pytest.mark.parametrize("function", [*FUNCTIONS, *METHODS], ids=lambda one: one.__qualname__)
def test_the_example_of_a_function_runs(s1crets_aws: LocalAws, function: Any) -> None:
    """On the secrets of the documentation; `await` works as in `python -m asyncio`."""
    s1crets_aws.seed(str(DOCS / "secrets.json"))
    ps = (AsyncParameterStore if "async " in function.__doc__ else ParameterStore)()
    names = {"s1crets": s1crets, "ps": ps}
    examples = doctest.DocTestParser().get_examples(function.__doc__)

    assert examples
    with asyncio.Runner() as runner:
        for example in examples:
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile(example.source, "example", "single", flags=flags, dont_inherit=True)
            with captured() as output:
                result = eval(code, names)  # noqa: S307  # ours
                if inspect.iscoroutine(result):
                    runner.run(result)
            assert output.getvalue() == example.want
        if isinstance(ps, AsyncParameterStore):
            runner.run(ps.aclose())
        else:
            ps.close()
