"""exec and export: secrets as environment variables."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from s1crets.cli._errors import report
from s1crets.cli._options import provider_command, source_options
from s1crets.cli._output import write
from s1crets.cli.formats import FORMATS
from s1crets.errors import ConfigurationError, InvalidValueError, SecretNotFoundError

_PLACEHOLDER = "s1crets"
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # the shell's convention
_prefix_option = click.option(
    "--prefix", default="", help="A prefix for the names of all variables."
)


@provider_command("get_many", name="exec", context_settings={"allow_interspersed_args": False})
@source_options
@_prefix_option
@click.option("--pristine", is_flag=True, help="Run CMD with these variables and no others.")
@click.option(
    "--strict",
    is_flag=True,
    help="Set only the variables that are already in the environment with the value"
    f" `{_PLACEHOLDER}`; it is an error if one of these secrets is missing.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD…")
def exec_(
    provider: Any, command: tuple[str, ...], *, pristine: bool, strict: bool, **selection: Any
) -> None:
    """Run CMD with secrets as environment variables.

    The name of a variable is the last part of the secret's name in upper case. Characters other
    than letters and digits become `_`: /prod/db/api-key becomes API_KEY. Two secrets with the same
    variable name are an error. Text is passed unchanged, objects and arrays as JSON.

    CMD replaces this process: it receives the signals, and its exit code is returned; 127 if there
    is no such command, 126 if it can't be run.

    \b
    Examples:
      s1crets exec --provider aws.ps --path /prod/db -- env
      s1crets exec --secret prod/token --prefix APP_ -- sh -c 'echo ${#APP_TOKEN}'
      TOKEN=s1crets s1crets exec --strict --path prod -- env
    """
    with provider:  # no connection may stay open in CMD
        variables = _variables(provider, **selection)
    if strict:
        requested = [name for name, value in os.environ.items() if value == _PLACEHOLDER]
        if missing := sorted(set(requested) - set(variables)):
            message = f"there are no secrets for these variables: {', '.join(missing)}"
            raise SecretNotFoundError(message)
        variables = {name: variables[name] for name in requested}
    _replace_process(command, variables if pristine else {**os.environ, **variables})


@provider_command("get_many")
@source_options
@_prefix_option
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    required=True,
    help="dotenv: for python-dotenv; docker: for `docker run --env-file`.",
)
def export(provider: Any, form: str, **selection: Any) -> None:
    """Print secrets as variables for other programs.

    Names and values are the same as for `exec`.

    \b
    Examples:
      s1crets export --provider aws.ps --path /prod/db --format dotenv > .env
      eval "$(s1crets export --secret prod/token --format shell)"
      s1crets export --path prod --format json
    """
    write(FORMATS[form](_variables(provider, **selection)).encode())


def _variables(
    provider: Any, paths: Sequence[str], secrets: Sequence[str], prefix: str
) -> dict[str, str]:
    """Return the variables for the selected secrets, sorted by name."""
    if prefix and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", prefix):
        message = f"{prefix!r} can't start a variable's name; use letters, digits and _"
        raise ConfigurationError(message)
    if not paths and not secrets:
        raise ConfigurationError("no secrets selected; use --path or --secret")
    found: dict[str, Any] = {}
    for path in paths:
        under = provider.get_by_path(path)
        if not under:
            raise SecretNotFoundError(f"there are no secrets under {path!r}")
        found |= under
    if secrets:
        found |= provider.get_many(secrets)
    names = defaultdict[str, list[str]](list)
    for name in found:
        names[_variable_name(name, prefix)].append(name)
    same = [f"{name} ({', '.join(of)})" for name, of in sorted(names.items()) if len(of) > 1]
    if same:
        raise ConfigurationError(f"several secrets have the same variable name: {', '.join(same)}")
    return {variable: _text(name, found[name]) for variable, (name,) in sorted(names.items())}


def _variable_name(name: str, prefix: str) -> str:
    last = name.rstrip("/").rpartition("/")[2]
    variable = prefix + re.sub(r"[^A-Z0-9_]", "_", last.upper())
    return variable if re.match(r"[A-Za-z_]", variable) else "_" + variable


def _text(name: str, value: Any) -> str:
    text = value if isinstance(value, (str, bytes)) else json.dumps(value, ensure_ascii=False)
    if isinstance(text, bytes):
        problem = "it is binary"
    elif "\0" in text:
        problem = "it contains a NUL character"
    elif re.search("[\ud800-\udfff]", text):
        problem = "it contains a lone surrogate"
    else:
        return text
    raise InvalidValueError(f"{name!r} can't be a variable: {problem}")


def _replace_process(command: tuple[str, ...], environment: dict[str, str]) -> NoReturn:
    program = shutil.which(command[0]) or command[0]
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        os.execve(program, command, environment)  # noqa: S606  # the purpose of this command
    except OSError as error:
        report(f"can't run {command[0]!r}: {error.strerror}")
        sys.exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE)
