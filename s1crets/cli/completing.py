"""completion: what a shell needs to complete the command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what SHELL needs to complete commands, options and their values.

    Names of secrets are not completed: AWS would be asked at every key.

    \b
    Examples:
      s1crets completion bash > ~/.s1crets-complete   # and `. ~/.s1crets-complete` in ~/.bashrc
      s1crets completion fish > s1crets.fish          # in ~/.config/fish/completions
    """
    found = get_completion_class(shell)
    assert found is not None  # click has these three
    root = context.find_root()
    script = found(root.command, {}, "s1crets", "_S1CRETS_COMPLETE")
    click.echo(script.source())
