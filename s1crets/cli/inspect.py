"""list, check and diff: names, states and metadata of secrets, without values."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import Any

import click

from s1crets._keypath import MISSING
from s1crets.cli._errors import NO, exit_code
from s1crets.cli._json import content, source
from s1crets.cli._options import provider_command, read_file, source_options
from s1crets.cli._output import one_line, output_option, report, show
from s1crets.errors import BatchError, ConfigurationError, S1cretsError, SecretNotFoundError


@provider_command("describe", name="list")
@click.argument("prefix", default="")
@output_option
def list_(provider: Any, prefix: str, output: str | None) -> None:
    """List names, types, versions and times of the last change.

    With PREFIX: only the secret PREFIX and those whose names start with PREFIX and a slash. No
    values are read. Times are in UTC.

    \b
    Examples:
      s1crets list --provider aws.ps /prod/db
      s1crets list prod --output json
      s1crets list | cut -f 1
    """
    rows = []
    for found in provider.describe(prefix):
        changed = f"{found.changed.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if found.changed else ""
        rows.append((found.name, found.type, found.version, changed))
    if prefix and not rows:
        has_slash = prefix[0] == "/"
        other = prefix.lstrip("/") if has_slash else f"/{prefix}"
        service = "Secrets Manager rarely" if has_slash else "Parameter Store"
        report(
            f"there are no secrets named {prefix!r}, and none under it; names are case-sensitive,"
            f" and those of {service} begin with /: is it {other!r}?"
        )
    show(("name", "type", "version", "changed"), rows, output)


@provider_command("get_many")
@click.argument("file", required=False)
@source_options
@output_option
def check(
    provider: Any,
    file: str | None,
    output: str | None,
    paths: Sequence[str],
    secrets: Sequence[str],
) -> None:
    """Check whether secrets exist and may be read.

    FILE has one name per line; lines that start with # are comments; `-` reads stdin. All secrets
    are read, since nothing else shows what is allowed, but no value is printed. If access is
    denied, the action that the caller's policy lacks is shown.

    The exit code is 0 if everything may be read, 4 if something is denied, otherwise 3 if something
    is missing, otherwise that of the first failure.

    \b
    Examples:
      s1crets check --provider aws.ps --path /prod/db
      s1crets check --secret prod/token --secret prod/db
      echo prod/token | s1crets check -
    """
    lines = map(str.strip, read_file(file).reveal().splitlines() if file else [])
    names = [*(line for line in lines if line and not line.startswith("#")), *secrets]
    if not names and not paths:
        raise ConfigurationError("no secrets selected; use FILE, --path or --secret")
    outcomes = provider.get_many(names, cached=False, errors="return") if names else {}
    for path in paths:
        outcomes.update(_check_path(provider, path))
    errors = {name: found for name, found in outcomes.items() if isinstance(found, S1cretsError)}
    rows = [(name, *_state(errors.get(name))) for name in outcomes]
    show(("name", "state", "missing", "problem"), rows, output)
    if actions := {action for _, _, action, _ in rows if action}:
        missing = ", ".join(sorted(actions))
        report(f"missing permissions: {missing}; allow these actions in the caller's IAM policy")
    sys.exit(exit_code(*errors.values()))


def _check_path(provider: Any, path: str) -> Mapping[str, S1cretsError | None]:
    """Return errors by name; None for the path itself if all secrets under it can be read."""
    try:
        found = provider.get_by_path(path, cached=False)
    except BatchError as error:
        return error.errors
    except S1cretsError as error:
        return {path: error}
    return {path: None if found else SecretNotFoundError(f"there are no secrets under {path!r}")}


def _state(error: S1cretsError | None) -> tuple[str, str, str]:
    """Return the state of a secret, the action that the policy lacks, and the error message."""
    if error is None:
        return "ok", "", ""
    action = getattr(error, "action", "")
    missing = isinstance(error, SecretNotFoundError)
    return "missing" if missing else "denied" if action else "error", action, one_line(error)


@provider_command()
@click.argument("a")
@click.argument("b")
@click.option("--show", "with_values", is_flag=True, help="Also print the values that differ.")
@output_option
def diff(provider: Any, a: str, b: str, *, with_values: bool, output: str | None) -> None:
    """Compare names and values of the secrets under two paths.

    JSON values are compared by content, with each number's digits; all others as stored.
    Values are printed only with --show.

    \b
    Examples:
      s1crets diff --provider aws.ps /staging/db /prod/db
      s1crets diff staging prod --show --output json
    """
    with ThreadPoolExecutor(2) as threads:
        in_a, in_b = threads.map(lambda path: _relative(provider, path), (a, b))
    names = sorted({*in_a, *in_b})
    rows = [_compare(name, in_a.get(name, MISSING), in_b.get(name, MISSING)) for name in names]
    shown = 4 if with_values else 2
    show(("name", "state", "a", "b")[:shown], [row[:shown] for row in rows], output)
    sys.exit(NO if any(row[1] != "equal" for row in rows) else 0)


def _relative(provider: Any, path: str) -> dict[str, Any]:
    """Return the secrets under a path by their names relative to it; its own name is a dot."""
    under = provider.get_by_path(path, raw=True).items()
    return {name.removeprefix(path.rstrip("/")).lstrip("/") or ".": value for name, value in under}


def _compare(name: str, a: Any, b: Any) -> tuple[str, ...]:
    def dump(value: Any) -> str:
        return "" if value is MISSING else re.sub(r"[\t\r\n]", " ", source(value, repr))

    if content(a) == content(b):
        return name, "equal", "", ""
    state = "only in b" if a is MISSING else "only in a" if b is MISSING else "different"
    return name, state, dump(a), dump(b)
