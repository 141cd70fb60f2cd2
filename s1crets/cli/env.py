"""exec and export: secrets as environment variables."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from s1crets.cli._options import CACHE_URL, provider_command
from s1crets.cli._output import report, write
from s1crets.cli.formats import FORMATS
from s1crets.cli.variables import LayeredCommand, Selection, variable_options
from s1crets.errors import SecretNotFoundError

_PLACEHOLDER = "s1crets"
# Not for the program: whoever has them can read the cache.
_PRIVATE = ("S1CRETS_CACHE_KEY", CACHE_URL)
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # the shell's convention


@provider_command(
    "get_many",
    name="exec",
    cls=LayeredCommand,
    context_settings={"allow_interspersed_args": False},
)
@variable_options
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
) -> Callable[[], NoReturn]:
    """Run CMD with secrets as environment variables.

    The name of a variable is the last part of the secret's name in upper case, without a version
    or label. Characters other than letters and digits become `_`: /prod/db/api-key becomes API_KEY.
    A later --path or --secret overrides an earlier one. Text and JSON are passed exactly as stored.

    A program without a slash in its name is found in the absolute folders of PATH. It inherits the
    environment, except S1CRETS_CACHE_KEY and S1CRETS_CACHE_URL.

    CMD replaces this process: it receives the signals, and its exit code is returned; 127 if there
    is no such command, 126 if it can't be run.

    \b
    Examples:
      s1crets exec --provider aws.ps --path /prod -- env
      s1crets exec -p aws.ps --path /prod --keys --names relative -- env
      s1crets exec --secret prod/api-key --prefix A_ -- sh -c 'echo ${#A_API_KEY}'
      API_KEY=s1crets s1crets exec --strict --path prod -- env
    """
    selected = Selection(**selection)
    variables = selected.variables(provider)
    if strict:
        requested = [name for name, value in os.environ.items() if value == _PLACEHOLDER]
        if missing := sorted(set(requested) - set(variables)):
            message = f"there are no secrets for these variables: {', '.join(missing)}"
            raise SecretNotFoundError(message)
        variables = {name: variables[name] for name in requested}
    selected.check_special(variables)
    inherited = {} if pristine else dict(os.environ)
    for name in _PRIVATE:
        inherited.pop(name, None)
    return functools.partial(_replace_process, command, {**inherited, **variables})


@provider_command("get_many", cls=LayeredCommand)
@variable_options
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    required=True,
    metavar="FORMAT",
    help="dotenv: for python-dotenv and shells; shell: for `eval`; json; yaml; docker: for `docker"
    " run --env-file`; github: for $GITHUB_ENV; github-mask: commands that hide the values in the"
    " log of GitHub Actions; tfvars: for Terraform; properties: for Java; csv, tsv: for"
    " spreadsheets.",
)
def export(provider: Any, form: str, **selection: Any) -> None:
    """Print secrets as variables for other programs.

    Names and values are the same as for `exec`.

    \b
    Examples:
      s1crets export --provider aws.ps --path /prod --format dotenv > .env
      eval "$(s1crets export --secret prod/api-key --format shell)"
      s1crets export --path prod --format json
      s1crets export --path prod --keep-case --format tfvars > secrets.tfvars
      s1crets export --secret prod/payments --keys --format github-mask
      s1crets export --secret prod/payments --keys --format github >> github.env
    """
    selected = Selection(**selection)
    variables = selected.variables(provider)
    selected.check_special(variables)
    write(FORMATS[form](variables).encode())


def _replace_process(command: tuple[str, ...], environment: dict[str, str]) -> NoReturn:
    import shutil  # takes 5 ms, which --help does not need

    program: str | None = command[0]
    if "/" not in command[0]:  # an empty or relative entry would find the current directory's
        folders = filter(os.path.isabs, os.environ.get("PATH", os.defpath).split(os.pathsep))
        program = shutil.which(command[0], path=os.pathsep.join(folders))
    if program is None:
        place = "PATH has no such program; for one in the current directory, begin with ./"
        report(f"can't run {command[0]!r}: {place}")
        sys.exit(_NOT_FOUND)
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        os.execve(program, command, environment)  # noqa: S606  # the purpose of this command
    except OSError as error:
        report(f"can't run {command[0]!r}: {error.strerror}")
        sys.exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE)
