"""completion: the script with which a shell completes the command."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from s1crets.cli._errors import reported
from s1crets.cli._output import write_value

_SHELLS = {"bash": BashComplete, "fish": FishComplete, "zsh": ZshComplete}


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a completion script for SHELL.

    It completes commands, options and their values. Names of secrets are not completed: every key
    press would call AWS.

    \b
    Examples:
      s1crets completion bash > ~/.s1crets-complete   # and `. ~/.s1crets-complete` in ~/.bashrc
      s1crets completion fish > s1crets.fish          # in ~/.config/fish/completions
    """
    root = context.find_root().command
    script = _SHELLS[shell](root, {}, "s1crets", "_S1CRETS_COMPLETE").source()
    with reported():
        write_value(script)
