"""list, check and diff: what is there, without its values."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from s1crets._sentinels import MISSING
from s1crets.cli.shared import (
    DENIED,
    EPILOG,
    NO,
    NOT_FOUND,
    code_of,
    from_stdin,
    open_store,
    store_options,
    told,
)
from s1crets.cli.tables import output_option, show
from s1crets.errors import (
    BatchError,
    ConfigurationError,
    S1cretsError,
    SecretNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@click.command("list", epilog=EPILOG)
@click.argument("prefix", default="")
@output_option
@store_options
def list_(prefix: str, output: str | None, **options: Any) -> None:
    """List names, types, versions and when they were changed last (UTC); no values are read.

    With PREFIX, those that are PREFIX, or begin with it and a slash.

    \b
    Examples:
      s1crets list --provider aws.ps /prod/db
      s1crets list prod --output json
      s1crets list | cut -f 1
    """
    with told():
        store = open_store("describe", **options)
        rows = [
            (entry.name, entry.type, entry.version, _moment(entry.changed))
            for entry in store.describe(prefix)
        ]
        show(("name", "type", "version", "changed"), rows, output)


def _moment(changed: Any) -> str:
    return changed.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if changed else ""


@click.command(epilog=EPILOG)
@click.argument("file", required=False)
@click.option("--path", "paths", multiple=True, help="A path with secrets below; again for others.")
@click.option("--secret", "secrets", multiple=True, help="A secret; again for others.")
@output_option
@store_options
def check(
    file: str | None,
    paths: tuple[str, ...],
    secrets: tuple[str, ...],
    output: str | None,
    **options: Any,
) -> None:
    """Say whether secrets are there and may be read: each of FILE, of --path and of --secret.

    FILE has a name on each line; what begins with # is a comment; `-` reads stdin. All are read, as
    nothing else shows what is allowed, and no value is shown. What is denied is told with the
    action that is missing in the caller's policy.

    The exit code is 0 if all is well, 4 if something is denied, else 3 if something is missing,
    else that of the first failure.

    \b
    Examples:
      s1crets check --provider aws.ps --path /prod/db
      s1crets check --secret prod/token --secret prod/db
      echo prod/token | s1crets check -
    """
    with told():
        names = [*_names(file), *secrets]
        if not names and not paths:
            raise ConfigurationError("say which secrets: with FILE, --path or --secret")
        store = open_store("get_many", **options)
        outcomes = store.get_many(names, cached=False, errors="return") if names else {}
        for path in paths:
            outcomes.update(_outcomes_below(store, path))
        errors = {name: one for name, one in outcomes.items() if isinstance(one, S1cretsError)}
        rows = [(name, *_row(errors.get(name))) for name in outcomes]
        del outcomes
        show(("name", "state", "missing", "problem"), rows, output)
    actions = sorted({row[2] for row in rows if row[2]})
    if actions:
        click.echo(f"s1crets: missing permissions: {', '.join(actions)}", err=True)
    sys.exit(_verdict(errors.values()))


def _names(file: str | None) -> list[str]:
    """Return the names that a file lists."""
    if file is None:
        return []
    try:
        text = from_stdin() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "it is not UTF-8"
        message = f"{file!r} can't be read: {problem}"
        raise ConfigurationError(message) from None
    if isinstance(text, bytes):
        raise ConfigurationError("what is on stdin is not UTF-8")
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _outcomes_below(store: Any, path: str) -> Mapping[str, S1cretsError | None]:
    try:
        below = store.get_by_path(path, cached=False)
    except BatchError as error:
        return error.errors
    except S1cretsError as error:
        return {path: error}
    if below:
        return {path: None}
    message = f"there is nothing below {path!r}"
    return {path: SecretNotFoundError(message)}


def _row(error: S1cretsError | None) -> tuple[str, str, str]:
    """Return a secret's state, the action that is missing, and the whole story."""
    if error is None:
        return "ok", "", ""
    action = getattr(error, "action", "")
    state = "missing" if isinstance(error, SecretNotFoundError) else "denied" if action else "error"
    return state, action, " ".join(str(error).split())


def _verdict(errors: Iterable[S1cretsError]) -> int:
    codes = [DENIED if getattr(one, "action", "") else code_of(one) for one in errors]
    return next((code for code in (DENIED, NOT_FOUND, *codes) if code in codes), 0)


@click.command(epilog=EPILOG)
@click.argument("a")
@click.argument("b")
@click.option("--show", "shown", is_flag=True, help="Print the values that differ.")
@output_option
@store_options
def diff(a: str, b: str, *, shown: bool, output: str | None, **options: Any) -> None:
    """Compare what is below two paths: names, and whether the values are equal.

    Values are compared as they are stored, JSON by what it says. They are printed with --show only.

    \b
    Examples:
      s1crets diff --provider aws.ps /staging/db /prod/db
      s1crets diff staging prod --show --output json
    """
    with told():
        with open_store(**options) as store, ThreadPoolExecutor(2) as threads:
            below_a, below_b = threads.map(lambda path: _relative(store, path), (a, b))
        rows = [
            _compared(name, below_a, below_b, shown=shown) for name in sorted({*below_a, *below_b})
        ]
        columns = ("name", "state", "a", "b") if shown else ("name", "state")
        show(columns, rows, output)
    sys.exit(NO if any(row[1] != "equal" for row in rows) else 0)


def _relative(store: Any, path: str) -> dict[str, Any]:
    """Return what is below a path, by what its names have besides that."""
    found = store.get_by_path(path)
    return {
        name.removeprefix(path.rstrip("/")).lstrip("/") or ".": one for name, one in found.items()
    }


def _compared(
    name: str, a: Mapping[str, Any], b: Mapping[str, Any], *, shown: bool
) -> tuple[str, ...]:
    ours, theirs = a.get(name, MISSING), b.get(name, MISSING)
    if ours is MISSING or theirs is MISSING:
        state = "only in a" if theirs is MISSING else "only in b"
    else:
        state = "equal" if ours == theirs else "different"
    if not shown:
        return name, state
    values = ("", "") if state == "equal" else (_shown(ours), _shown(theirs))
    return name, state, *values


def _shown(value: Any) -> str:
    if value is MISSING:
        return ""
    return json.dumps(value, ensure_ascii=False, default=repr)
