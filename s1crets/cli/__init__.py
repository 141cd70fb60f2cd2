"""The `s1crets` command."""

from __future__ import annotations

from typing import Any

import click

from s1crets._version import __version__
from s1crets.cli import copy, env, import_, inspect, read, write
from s1crets.cli._errors import reported, usage_reported
from s1crets.cli._options import global_options
from s1crets.cli._output import write_value
from s1crets.cli.help import EPILOG, help_

# The commands for names that are not similar to them: those of Python, and of other tools.
_MEANT = {"describe": "list", "get_many": "export", "get-many": "export", "set": "put"}


class _Group(click.Group):
    """The command, whose usage errors are reported like all others."""

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        """Parse the options before the name of a command."""
        with usage_reported():
            return super().make_context(*args, **settings)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Suggest a command for a name that is not similar to it; click does so for others."""
        if meant := _MEANT.get(args[0]):
            raise click.UsageError(f"no such command {args[0]!r}; did you mean {meant}?", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Parse the rest of the command line, and run the command."""
        with usage_reported():
            return super().invoke(ctx)


@click.group(
    cls=_Group,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, prog_name="s1crets")
@click.pass_context
def main(context: click.Context, /, **given: Any) -> None:
    """Read and write secrets in AWS Secrets Manager and Parameter Store.

    The options may also follow the COMMAND.

    \b
    Examples:
      s1crets get prod/payments token
      s1crets exec --path prod -- env
      s1crets COMMAND --help
    """
    defaults = {name: value for name, value in given.items() if value}
    context.default_map = {str(context.invoked_subcommand): defaults}


global_options(main)
for _command in (
    read.get, read.get_by_path, read.exists,
    inspect.list_, inspect.history, inspect.check, inspect.diff,
    write.update, write.put, write.create, write.delete, write.restore,
    write.invalidate, write.new_key,
    env.exec_, env.export,
    import_.import_, copy.copy,
    help_,
):  # fmt: skip
    main.add_command(_command)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "fish", "zsh"]))
def completion(shell: str) -> None:
    """Print a completion script for SHELL.

    It completes commands, options and their values. Names of secrets are not completed: every key
    press would call AWS.

    \b
    Examples:
      s1crets completion bash > ~/.s1crets.sh   # in ~/.bashrc: . ~/.s1crets.sh
      s1crets completion fish > s1crets.fish    # in ~/.config/fish/completions
    """
    from click.shell_completion import get_completion_class

    script_of: Any = get_completion_class(shell)
    with reported():
        write_value(script_of(main, {}, "s1crets", "_S1CRETS_COMPLETE").source())
