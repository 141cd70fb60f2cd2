"""help: of commands, exit codes and environment variables."""

from __future__ import annotations

import click

from s1crets.cli._output import write_value

EXIT_CODES = "exit-codes"
EPILOG = """\b
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
  S1CRETS_CACHE_KEY               encrypts what --cache-dir and --cache-url store
  S1CRETS_CACHE_URL               as --cache-url, for a URL with a password
  S1CRETS_FILES                   folder of `-p files`; default: /run/secrets
  S1CRETS_PROVIDER                the provider, if --provider is not given
"""


def _complete(context: click.Context, _argument: click.Parameter, start: str) -> list[str]:
    group = context.find_root().command
    commands = group.list_commands(context) if isinstance(group, click.Group) else []
    return [topic for topic in (*commands, EXIT_CODES) if topic.startswith(start)]


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
    if topic == EXIT_CODES:
        return EPILOG.replace("\b\n", "").rstrip()
    assert isinstance(root.command, click.Group)
    command = root.command.get_command(root, topic)
    if command is None:
        raise click.UsageError(f"there is no help on {topic!r}", root)
    return click.Context(command, root, topic, **root.command.context_settings).get_help()
