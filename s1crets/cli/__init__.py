"""The `s1crets` command."""

from __future__ import annotations

import click

from s1crets._version import __version__
from s1crets.cli import completion, env, import_, inspect, read, write
from s1crets.cli._options import EPILOG


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
    read.get, read.get_by_path, read.exists,
    inspect.list_, inspect.check, inspect.diff,
    write.update, write.put, write.delete, write.new_key,
    env.exec_, env.export,
    import_.import_, completion.completion,
):  # fmt: skip
    main.add_command(_command)
