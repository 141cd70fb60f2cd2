"""The `s1crets` command."""

from __future__ import annotations

import click

from s1crets._version import __version__
from s1crets.cli.completing import completion
from s1crets.cli.environment import exec_, export
from s1crets.cli.importing import import_
from s1crets.cli.looking import check, diff, list_
from s1crets.cli.reading import exists, get, get_by_path
from s1crets.cli.shared import EPILOG
from s1crets.cli.writing import delete, new_key, put, update


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="s1crets")
def main() -> None:
    """Read and write secrets in AWS Secrets Manager and Parameter Store.

    \b
    Examples:
      s1crets get prod/db password
      s1crets exec --path prod -- env
      s1crets COMMAND --help
    """


for _command in (
    get, get_by_path, exists, list_, check, diff, update, put, delete, exec_, export, import_,
    completion, new_key,
):  # fmt: skip
    main.add_command(_command)
