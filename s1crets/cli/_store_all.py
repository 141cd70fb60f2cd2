"""Storing many secrets, as import and copy do: states, failures, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from s1crets._redaction import Redacted
from s1crets.cli._errors import exit_code
from s1crets.cli._json import content
from s1crets.cli._output import report, show
from s1crets.cli._terminal import progress
from s1crets.errors import S1cretsError, SecretNotFoundError

_DONE = {"create": "created", "update": "updated"}


def store_all(
    provider: Any,
    wanted: Mapping[str, Redacted],
    *,
    label: str,
    output: str | None,
    dry_run: bool,
    overwrite: bool = True,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Store values, show a state and a name for each, and exit with the first failure's code.

    Args:
        provider: where they are stored.
        wanted: values by full name.
        label: of the progress bar.
        output: the form of the output.
        dry_run: only show what would be done.
        overwrite: whether other values of existing secrets are replaced.
        settings: arguments for the creation of secrets, by name.
    """
    current = provider.get_many(wanted, cached=False, raw=True, errors="return")
    failures: dict[str, S1cretsError] = {}
    rows = []
    for name in progress(wanted, label):
        try:
            state = _state(current[name], wanted[name], overwrite=overwrite)
            if state in _DONE and not dry_run:
                own = (settings or {}).get(name, {}) if state == "create" else {}
                getattr(provider, state)(name, wanted[name], **own)
                state = _DONE[state]
        except S1cretsError as error:
            failures[name] = error
        else:
            rows.append((state, name))
    show(("state", "name"), rows, output)
    if failures:
        report(*(f"{name}: {error}" for name, error in failures.items()))
        sys.exit(exit_code(next(iter(failures.values()))))


def _state(current: Any, wanted: Redacted, *, overwrite: bool) -> str:
    """Return the name of the method that stores the value, or why none does."""
    if isinstance(current, SecretNotFoundError):
        return "create"
    if isinstance(current, S1cretsError):
        raise current
    if content(current) == content(wanted.reveal()):
        return "unchanged"
    return "update" if overwrite else "kept"
