"""exec and export: secrets as environment variables."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from s1crets.cli.formats import FORMATS
from s1crets.cli.shared import EPILOG, not_empty, open_store, store_options, told, write
from s1crets.errors import ConfigurationError, InvalidValueError, SecretNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_PLACEHOLDER = "s1crets"
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as a shell says it
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFZ", "SIGXFSZ")


def _none_empty(
    context: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...]:
    for text in texts:
        not_empty(context, option, text)
    return texts


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which secrets become variables, and how these are called."""
    options = [
        click.option(
            "--path",
            "paths",
            multiple=True,
            callback=_none_empty,
            metavar="PATH",
            help="All secrets below PATH; may be given again.",
        ),
        click.option(
            "--secret",
            "secrets",
            multiple=True,
            callback=_none_empty,
            metavar="NAME",
            help="The secret NAME; may be given again.",
        ),
        click.option("--prefix", default="", help="What all variables' names begin with."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command("exec", epilog=EPILOG, context_settings={"allow_interspersed_args": False})
@source_options
@click.option("--pristine", is_flag=True, help="CMD gets these variables and no others.")
@click.option(
    "--strict",
    is_flag=True,
    help=f"Set only variables that the environment has with the value `{_PLACEHOLDER}`, and fail if"
    " there is no secret for one of them.",
)
@store_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD…")
def exec_(  # noqa: PLR0917  # click calls it by keyword
    paths: tuple[str, ...],
    secrets: tuple[str, ...],
    prefix: str,
    pristine: bool,  # noqa: FBT001
    strict: bool,  # noqa: FBT001
    command: tuple[str, ...],
    **options: Any,
) -> None:
    """Run CMD with secrets as environment variables.

    A variable's name is the last part of the secret's name, in upper case, with `_` for every
    other character than letters and digits: /prod/db/api-key becomes API_KEY. Two secrets of one
    name are an error. A value is text as it is stored; an object or array is JSON.

    CMD takes the place of this process: it gets the signals, and its exit code is what the caller
    sees; 127 if there is no such command, 126 if it can't be run.

    \b
    Examples:
      s1crets exec --provider aws.ps --path /prod/db -- env
      s1crets exec --secret prod/token --prefix APP_ -- sh -c 'echo ${#APP_TOKEN}'
      TOKEN=s1crets s1crets exec --strict --path prod -- env
    """
    with told():
        variables = _variables(paths, secrets, prefix, options)
        environment = {} if pristine else dict(os.environ)
        if strict:
            variables = _strictly(variables)
        environment.update(variables)
        program = shutil.which(command[0]) or command[0]
    _become(program, command, environment)


@click.command(epilog=EPILOG)
@source_options
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    required=True,
    help="dotenv: as python-dotenv reads it; docker: for `docker run --env-file`.",
)
@store_options
def export(
    paths: tuple[str, ...], secrets: tuple[str, ...], prefix: str, form: str, **options: Any
) -> None:
    """Print secrets as variables, in a format that other programs read.

    Names and values are those that `exec` sets.

    \b
    Examples:
      s1crets export --provider aws.ps --path /prod/db --format dotenv > .env
      eval "$(s1crets export --secret prod/token --format shell)"
      s1crets export --path prod --format json
    """
    with told():
        write(FORMATS[form](_variables(paths, secrets, prefix, options)).encode())


def _variables(
    paths: Iterable[str], secrets: Iterable[str], prefix: str, options: Mapping[str, Any]
) -> dict[str, str]:
    """Return variables, in the order of their names.

    Raises:
        ConfigurationError: nothing was asked for, or two secrets have one name.
        SecretNotFoundError: there is nothing below a path.
        InvalidValueError: a value can't be one of a variable.
        S1cretsError: something can't be read.
    """
    found = _read(paths, secrets, options)
    names: dict[str, list[str]] = {}
    for name in found:
        names.setdefault(_variable(name, prefix), []).append(name)
    double = [f"{one} ({', '.join(several)})" for one, several in names.items() if len(several) > 1]
    if double:
        message = f"several secrets would become one variable: {'; '.join(sorted(double))}"
        raise ConfigurationError(message)
    return {one: _text(name, found[name]) for one, (name,) in sorted(names.items())}


def _read(
    paths: Iterable[str], secrets: Iterable[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    paths, secrets = list(paths), list(secrets)
    if not paths and not secrets:
        raise ConfigurationError("say which secrets: with --path or --secret")
    found: dict[str, Any] = {}
    with open_store("get_many", **options) as store:
        for path in paths:
            below = store.get_by_path(path)
            if not below:
                message = f"there is nothing below {path!r}"
                raise SecretNotFoundError(message)
            found.update(below)
        if secrets:
            found.update(store.get_many(secrets))
    return found


def _variable(name: str, prefix: str) -> str:
    if prefix and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", prefix):
        message = f"{prefix!r} can't begin a variable's name: it has letters, digits and _"
        raise ConfigurationError(message)
    last = name.rstrip("/").rpartition("/")[2]
    variable = prefix + re.sub(r"[^A-Z0-9_]", "_", last.upper())
    return variable if re.match(r"[A-Za-z_]", variable) else "_" + variable


def _text(name: str, value: Any) -> str:
    problem = ""
    if isinstance(value, bytes):
        problem = "it is binary"
    else:
        value = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if "\0" in value:
            problem = "it has a NUL in it"
        elif re.search("[\ud800-\udfff]", value):
            problem = "it has a lone surrogate in it"
    if problem:
        del value
        message = f"{name!r} can't be a variable: {problem}"
        raise InvalidValueError(message)
    return str(value)


def _strictly(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those of the variables that the environment asks for.

    Raises:
        SecretNotFoundError: there is none for one that it asks for.
    """
    wanted = [name for name, value in os.environ.items() if value == _PLACEHOLDER]
    missing = sorted(set(wanted) - set(variables))
    if missing:
        message = f"there are no secrets for these variables: {', '.join(missing)}"
        raise SecretNotFoundError(message)
    return {name: variables[name] for name in wanted}


def _become(program: str, command: tuple[str, ...], environment: dict[str, str]) -> None:
    """Replace this process."""
    for name in _IGNORED_BY_PYTHON:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execve(program, command, environment)  # noqa: S606  # that is the command's purpose
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        problem = error.strerror
    click.echo(f"s1crets: {command[0]!r} can't be run: {problem}", err=True)
    sys.exit(_NOT_FOUND if missing else _NOT_EXECUTABLE)
