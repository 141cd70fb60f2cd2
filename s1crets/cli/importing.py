"""import: a file of settings into a store."""

from __future__ import annotations

import io
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from s1crets._redaction import Redacted, redact
from s1crets.cache.entry import CachedValue
from s1crets.cli.shared import EPILOG, OTHER, code_of, from_stdin, open_store, store_options, told
from s1crets.errors import ConfigurationError, S1cretsError, SecretNotFoundError
from s1crets.providers.store import check_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@click.command("import", epilog=EPILOG)
@click.argument("file")
@click.argument("path")
@click.option(
    "--format",
    "form",
    type=click.Choice(["dotenv", "json"]),
    help="Of FILE; without it, a name that ends with .json is JSON, any other dotenv.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@store_options
def import_(file: str, path: str, form: str | None, *, dry_run: bool, **options: Any) -> None:
    """Store the settings of FILE below PATH: each as a secret of its own; `-` reads stdin.

    What is not there is created (a parameter as a SecureString), what has another value is updated,
    what has the same is left alone. Each is told with its name, never with its value. In JSON, a
    text is stored as it is, an object or array as JSON; numbers, booleans and null are refused, as
    a store has only text. All is looked at before anything is written; after a failure the others
    are written nevertheless, and the exit code is that of the first failure.

    \b
    Examples:
      s1crets import --dry-run --provider aws.ps .env /prod/app
      s1crets import --provider aws.ps .env /prod/app
      s1crets import settings.json prod/app
    """
    with told():
        wanted = _below(path, _parsed(_content(file), form or _by_name(file)))
        store = open_store("get_many", "create", **options)
        there = store.get_many(wanted, cached=False, errors="return")
        failures = dict(_work(store, wanted, there, dry_run=dry_run))
    for name, error in failures.items():
        click.echo(f"s1crets: {name}: {' '.join(str(error).split())}", err=True)
    if failures:
        sys.exit(code_of(next(iter(failures.values()))) or OTHER)


def _work(
    store: Any, wanted: Mapping[str, Redacted], there: Mapping[str, Any], *, dry_run: bool
) -> Iterator[tuple[str, Exception]]:
    """Create and update, and tell what was done; yield what could not be."""
    told_of = []
    on_terminal = sys.stderr.isatty()
    bar = click.progressbar(wanted, label="import", file=sys.stderr)
    with bar if on_terminal else nullcontext(wanted) as names:
        for name in names:
            verb = _verb(there[name], wanted[name])
            try:
                if isinstance(there[name], S1cretsError) and verb != "create":
                    raise there[name]
                if verb and not dry_run:
                    getattr(store, verb)(name, wanted[name])
            except S1cretsError as error:
                yield name, error
            else:
                told_of.append(f"{_DONE[verb] if not dry_run else verb or _DONE[verb]}\t{name}")
    click.echo("\n".join(told_of))


_DONE = {"create": "created", "update": "updated", "": "unchanged"}


def _verb(there: Any, wanted: Redacted) -> str:
    """Return what has to be done."""
    if isinstance(there, SecretNotFoundError):
        return "create"
    return "" if there == CachedValue(wanted.reveal()).value() else "update"


def _content(file: str) -> Redacted:
    if file == "-":
        return redact(from_stdin())
    try:
        return redact(Path(file).read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except OSError as error:
        problem = str(error.strerror)
    message = f"{file!r} can't be read: {problem}"
    raise ConfigurationError(message)


def _by_name(file: str) -> str:
    return "json" if file.endswith(".json") else "dotenv"


def _parsed(content: Redacted, form: str) -> dict[str, Redacted]:
    """Return the settings of a file.

    Raises:
        ConfigurationError: it is not of that format, or has something in it that can't be stored.
    """
    if isinstance(content.reveal(), bytes):
        raise ConfigurationError("what is to be imported is not UTF-8")
    return _from_json(content) if form == "json" else _from_dotenv(content)


def _from_json(content: Redacted) -> dict[str, Redacted]:
    try:
        found = redact(json.loads(content.reveal()))
    except (ValueError, RecursionError):
        found = redact(None)
    if not isinstance(found.reveal(), dict):
        raise ConfigurationError("what is to be imported is not a JSON object")
    kinds = {name: type(one).__name__ for name, one in found.reveal().items()}
    wrong = [f"{name} ({kind})" for name, kind in kinds.items() if kind not in _STORED]
    if wrong:
        message = f"only text, objects and arrays can be imported: {', '.join(wrong)}"
        raise ConfigurationError(message)
    return {name: redact(_stored(found, name)) for name in kinds}


_STORED = ("str", "dict", "list")


def _stored(found: Redacted, name: str) -> str:
    one = found.reveal()[name]
    return one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)


def _from_dotenv(content: Redacted) -> dict[str, Redacted]:
    try:
        from dotenv.parser import parse_stream
    except ImportError as error:
        message = "a dotenv file needs the extra `dotenv`: pip install 's1crets[dotenv]'"
        raise ConfigurationError(message) from error

    found = {}
    for binding in parse_stream(io.StringIO(content.reveal())):
        if binding.error or (binding.key is not None and binding.value is None):
            message = f"line {binding.original.line} of what is to be imported is no NAME=value"
            del binding
            raise ConfigurationError(message)
        if binding.key is not None:
            found[binding.key] = redact(binding.value)
    return found


def _below(path: str, settings: Mapping[str, Redacted]) -> dict[str, Redacted]:
    """Return the settings by the full names of their secrets, each checked."""
    check_name(path)
    found = {f"{path.rstrip('/')}/{name}": one for name, one in settings.items()}
    for name, one in found.items():
        check_name(name)
        if name.endswith("/"):
            raise ConfigurationError("one of the settings has no name, or one that ends with a /")
        if not one.reveal():
            message = f"{name!r} has no value, and a store takes none that is empty"
            raise ConfigurationError(message)
    if not found:
        raise ConfigurationError("there is nothing to import")
    return found
