"""The `s1crets` command."""

from __future__ import annotations

from typing import Any

import click

from s1crets._version import __version__
from s1crets.cli import env, import_copy, inspect, read, write
from s1crets.cli._errors import reported, usage_reported
from s1crets.cli._options import global_options
from s1crets.cli._output import write_value

# The commands for names that are not similar to them: those of Python, and of other tools.
_MEANT = {"describe": "list", "get_many": "export", "get-many": "export", "set": "put"}
_EXIT_CODES = "exit-codes"
_EPILOG = """\b
Exit codes:
  0    success; `exists`, `check`: yes; `diff`: equal
  1    `exists`: no; `diff`: different; `delete`: not confirmed
  2    usage: an invalid option, setting, name, value or folder
  3    not found
  4    access denied
  5    unreachable: no response, too slow, throttled
  6    no credentials, or AWS rejects them
  7    any other error
  126  `exec`: the program can't be run; 127: there is no such program
  130  interrupted

\b
Environment:
  AWS_PROFILE, AWS_…              credentials, as for any AWS tool
  AWS_DEFAULT_REGION, AWS_REGION  the region, if --region is not given
  AWS_ENDPOINT_URL                an endpoint other than AWS's own
  NO_COLOR                        if it is not empty: no colours
  S1CRETS_CACHE_KEY               encrypts --cache-dir and --cache-url
  S1CRETS_CACHE_URL               as --cache-url, for a URL with a password
  S1CRETS_FILES                   folder of `-p files`; default: /run/secrets
  S1CRETS_PROVIDER                the provider, if --provider is not given
"""


def _complete(context: click.Context, _argument: click.Parameter, start: str) -> list[str]:
    group = context.find_root().command
    commands = group.list_commands(context) if isinstance(group, click.Group) else []
    return [topic for topic in (*commands, _EXIT_CODES) if topic.startswith(start)]


@click.command("help", short_help="Show the help of a command, or all exit codes.")
@click.argument("topic", required=False, shell_complete=_complete)
@click.pass_context
def help_(context: click.Context, topic: str | None) -> None:
    """Show the help of a command, or all exit codes and environment variables.

    \b
    Examples:
      s1crets help exec
      s1crets help exit-codes
    """
    write_value(_text(context, topic))


def _text(context: click.Context, topic: str | None) -> str:
    root = context.find_root()
    if topic is None:
        return root.get_help()
    if topic == _EXIT_CODES:
        return _EPILOG.replace("\b\n", "").rstrip()
    assert isinstance(root.command, click.Group)
    command = root.command.get_command(root, topic)
    if command is None:
        raise click.UsageError(f"there is no help on {topic!r}", root)
    return click.Context(command, root, topic, **root.command.context_settings).get_help()


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
    epilog=_EPILOG,
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
    import_copy.import_, import_copy.copy,
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
