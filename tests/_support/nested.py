"""A run of pytest within a test, in the same process, as another project runs it."""

from __future__ import annotations

import gc
import textwrap
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Outcomes:
    """The outcome of each test, and what was reported of failures.

    Attributes:
        outcomes: `"passed"`, `"failed"`, `"skipped"`, or `"error"` (of a fixture), by test.
        errors: the reports of failures and errors.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    errors: str = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2]
        outcome = "error" if report.failed and report.when != "call" else report.outcome
        if report.when == "call" or outcome != "passed":
            self.outcomes[name] = outcome
        self.errors += report.longreprtext


def run_pytest(folder: Path, *args: str, **files: str) -> Outcomes:
    """Run pytest in a folder, without a configuration; return the outcomes.

    Args:
        folder: the folder, whose name must be unique, as modules are named by it. pytest looks at
            nothing else: without `--confcutdir` it looked at the folders of all tests that ran.
        args: arguments, such as `"-W", "error"`.
        files: contents of Python files, by name without `.py`.
    """
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    with warnings.catch_warnings():  # the inner run would report the garbage of other tests
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    outcomes = Outcomes()
    root = (f"--rootdir={folder.parent}", f"--confcutdir={folder}", "--import-mode=importlib")
    pytest.main(
        ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", *root, *args, str(folder)],
        plugins=[outcomes],
    )
    return outcomes
