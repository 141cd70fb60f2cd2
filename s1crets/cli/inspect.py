"""list, history, check and diff: names, states and metadata of secrets, without values."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import click

from s1crets._json import content, source
from s1crets._keypath import MISSING
from s1crets.cli._errors import NO, exit_code
from s1crets.cli._options import (
    call,
    provider_command,
    read_file,
    source_options,
    target_options,
    target_provider,
)
from s1crets.cli._output import is_for_people, one_line, report, show
from s1crets.cli.read import (
    NotAPathError,
    nothing_at,
    nothing_under,
    region,
    relative_name,
    secrets_at,
)
from s1crets.errors import (
    BatchError,
    ConfigurationError,
    CredentialsError,
    DeadlineExceededError,
    DecryptionError,
    InvalidNameError,
    S1cretsError,
    SecretNotFoundError,
    ThrottledError,
    UnavailableError,
)


@provider_command("describe", name="list", has_output=True)
@click.argument("prefix", default="")
@click.option(
    "-l", "--long", is_flag=True, help="Also the KMS key, the last access, and the description."
)
def list_(provider: Any, prefix: str, output: str | None, *, long: bool) -> None:
    """List names, types, versions and times of the last change.

    With PREFIX: only the secret PREFIX and those whose names start with PREFIX and a slash. No
    values are read. On a terminal versions and keys are shortened and times are relative; otherwise
    they are complete, in UTC.

    \b
    Examples:
      s1crets list --provider aws.ps /prod
      s1crets list prod --long
      s1crets list prod --output json
      s1crets list | cut -f 1
    """
    found = provider.describe(prefix)
    short = is_for_people(output)
    if not found:
        report(nothing_under(provider, prefix))
        if short:
            return
    columns = (*_COLUMNS, *_LONG) if long else _COLUMNS
    rows = [[_cell(getattr(one, column), short=short) for column in columns] for one in found]
    show(columns, rows, output)


_COLUMNS = ("name", "type", "version", "changed")
_LONG = ("kms_key", "accessed", "description")
_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_UNITS = (
    ("year", 31_557_600),
    ("month", 2_629_800),
    ("day", 86_400),
    ("hour", 3600),
    ("minute", 60),
)


def _cell(value: str | datetime | None, *, short: bool) -> str:
    """Return a field of a secret's metadata as text."""
    if isinstance(value, datetime):
        return age(value, datetime.now(UTC)) if short else f"{value.astimezone(UTC):%Y-%m-%dT%XZ}"
    text = value or ""
    return re.sub(_ID, lambda found: found[0][:8], text.rpartition(":key/")[2]) if short else text


def age(when: datetime, now: datetime) -> str:
    """Return how long ago something was: the number of the largest unit."""
    seconds = max((now - when).total_seconds(), 0)  # another clock may be ahead
    for unit, size in _UNITS:
        if number := int(seconds // size):
            return f"{number} {unit}{'s' * (number > 1)} ago"
    return "just now"


@provider_command("history", has_output=True)
@click.argument("path")
def history(provider: Any, path: str, output: str | None) -> None:
    """List the versions of a secret, without values.

    They have labels (Parameter Store) or stages (Secrets Manager).

    \b
    Examples:
      s1crets history prod/api-key
      s1crets history -p aws.ps /prod/db --output json
    """
    short = is_for_people(output)
    rows = [
        (_cell(one.version, short=short), _cell(one.created, short=short), ", ".join(one.labels))
        for one in call(provider, "history", path)
    ]
    show(("version", "created", "labels"), rows, output)


@provider_command("get_many", has_output=True)
@click.argument("file", required=False)
@source_options
@click.option("-v", "--verbose", is_flag=True, help="Also the missing permission and the message.")
def check(
    provider: Any,
    file: str | None,
    output: str | None,
    paths: Sequence[str],
    secrets: Sequence[str],
    *,
    verbose: bool,
) -> None:
    """Check whether secrets exist and may be read.

    FILE has one name per line; lines that start with # are comments; `-` reads stdin. All secrets
    are read, since nothing else shows what is allowed, but no value is printed. If access is
    denied, the action that the caller's policy lacks is shown.

    The exit code is 0 if everything may be read, 4 if something is denied, otherwise 3 if something
    is missing, otherwise that of the first failure.

    \b
    Examples:
      s1crets check --provider aws.ps --path /prod
      s1crets check --secret prod/api-key --secret prod/payments
      echo prod/api-key | s1crets check --verbose -
    """
    listed = read_file(file, _NOT_A_FILE).reveal() if file else ""
    lines = map(str.strip, listed.splitlines())
    names = [*(line for line in lines if line and not line.startswith("#")), *secrets]
    if not names and not paths:
        raise ConfigurationError("no secrets selected; use FILE, --path or --secret")
    outcomes = provider.get_many(names, cached=False, errors="return") if names else {}
    for path in paths:
        outcomes.update(_check_path(provider, path))
    errors = {name: found for name, found in outcomes.items() if isinstance(found, S1cretsError)}
    where = region(provider)
    rows = [(name, *_state(errors.get(name), where)) for name in outcomes]
    shown = 5 if verbose else 3
    columns = ("name", "state", "reason", "missing", "problem")
    show(columns[:shown], [row[:shown] for row in rows], output)
    report(*_summary(rows))
    sys.exit(exit_code(*errors.values()))


_NOT_A_FILE = "to check the secret or path of this name, use --secret or --path"


def _summary(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield what is wrong and what to do: the permissions that are missing, other reasons once."""
    actions = sorted({action for *_, action, _ in rows if action})
    if actions:
        missing = ", ".join(actions)
        yield f"missing permissions: {missing}; allow these actions in the caller's IAM policy"
    problems: dict[str, list[str]] = {}
    for _, state, reason, _, problem in rows:
        if state in ("missing", "error"):
            problems.setdefault(reason, []).append(problem)
    for reason, texts in problems.items():
        _, separator, hint = texts[0].rpartition("; ")
        yield f"{len(texts)} of {len(rows)} names: {reason}{separator}{hint if separator else ''}"


def _check_path(provider: Any, path: str) -> Mapping[str, S1cretsError | None]:
    """Return errors by name; None for the path itself if all secrets under it can be read."""
    try:
        found = provider.get_by_path(path, cached=False)
    except BatchError as error:
        return error.errors
    except S1cretsError as error:
        return {path: error}
    return {path: None if found else nothing_at(provider, path)}


_REASONS = {
    ThrottledError: "throttled",
    UnavailableError: "service unreachable",
    DeadlineExceededError: "too slow",
    CredentialsError: "credentials missing or rejected",
    DecryptionError: "KMS key can't be used",
    InvalidNameError: "invalid name",
}


def _state(error: S1cretsError | None, where: str) -> tuple[str, str, str, str]:
    """Return a secret's state, the reason, the action that the policy lacks, and the message."""
    if error is None:
        return "ok", "", "", ""
    if isinstance(error, NotAPathError):
        return "missing", "the name of a secret, not a path", "", one_line(error)
    if isinstance(error, SecretNotFoundError):
        return "missing", f"not found{where}", "", one_line(error)
    if action := getattr(error, "action", ""):
        return "denied", f"{action} not allowed", action, one_line(error)
    reason = next((text for kind, text in _REASONS.items() if isinstance(error, kind)), "")
    return "error", reason or "see --verbose", "", one_line(error)


@provider_command(has_output=True)
@click.argument("a")
@click.argument("b")
@target_options
@click.option("--show", "with_values", is_flag=True, help="Also print the values that differ.")
@click.option("--names-only", is_flag=True, help="Do not compare values.")
def diff(
    provider: Any,
    a: str,
    b: str,
    *,
    with_values: bool,
    names_only: bool,
    output: str | None,
    **target: str | None,
) -> None:
    """Compare names and values of the secrets under two paths.

    A and B may also be two secrets, and in different services, regions or accounts. JSON values are
    compared by content, with each number's digits; all others as stored. Values are printed only
    with --show. With --names-only, secrets that both have are never different.

    \b
    Examples:
      s1crets diff --provider aws.ps /staging /prod --names-only
      s1crets diff -p aws.ps /staging /prod --show --output json
      s1crets diff -p aws.ps /prod prod --to-provider aws.sm
    """
    from concurrent.futures import ThreadPoolExecutor  # takes 5 ms, which --help does not need

    if with_values and names_only:
        raise ConfigurationError("--show and --names-only can't be combined")
    place = target_provider() if any(target.values()) else nullcontext(provider)
    with place as other, ThreadPoolExecutor(2) as threads:
        in_a, in_b = threads.map(_relative, (provider, other), (a, b))
    if names_only:
        in_a, in_b = dict.fromkeys(in_a, ""), dict.fromkeys(in_b, "")
    same = "in both" if names_only else "equal"
    names = sorted({*in_a, *in_b})
    rows = [
        _compare(name, in_a.get(name, MISSING), in_b.get(name, MISSING), same) for name in names
    ]
    shown = 4 if with_values else 2
    show(("name", "state", "a", "b")[:shown], [row[:shown] for row in rows], output)
    sys.exit(NO if any(row[1] != same for row in rows) else 0)


def _relative(provider: Any, path: str) -> dict[str, Any]:
    """Return the secrets at a path by their names relative to it; its own name is a dot."""
    found = secrets_at(provider, path).items()
    return {relative_name(name, path) or ".": value for name, value in found}


def _compare(name: str, a: Any, b: Any, same: str) -> tuple[str, ...]:
    def dump(value: Any) -> str:
        return "" if value is MISSING else re.sub(r"[\t\r\n]", " ", source(value, repr))

    if content(a) == content(b):
        return name, same, "", ""
    state = "only in b" if a is MISSING else "only in a" if b is MISSING else "different"
    return name, state, dump(a), dump(b)
