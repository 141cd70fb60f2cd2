"""Options that several commands share, the provider that they select, and input from files."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import click

from s1crets._redaction import Redacted, redact
from s1crets.cli._errors import reported
from s1crets.cli._output import FORMS, observed
from s1crets.errors import ConfigurationError, InsecureCacheWarning
from s1crets.providers import is_provider, provider_class, provider_names

_MORE_HELP = "Exit codes and environment variables: s1crets help exit-codes"


def not_empty(_context: click.Context, _option: click.Parameter, value: Any) -> Any:
    """Reject empty text: an unset variable of a script must not select another account."""
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise click.BadParameter("it is empty")
    return value


def _known(_context: click.Context, _option: click.Parameter, name: str) -> str:
    if not is_provider(name):
        message = f"there is no provider {name!r}; known are {', '.join(provider_names())}"
        raise click.BadParameter(message)
    return name


def complete_provider(_context: click.Context, _option: click.Parameter, start: str) -> list[str]:
    """Return the names of providers that complete what was typed."""
    return [name for name in provider_names() if name.startswith(start)]


_text_option = functools.partial(click.Option, callback=not_empty)
_PROVIDER_OPTIONS = [
    click.Option(
        ["-p", "--provider"],
        metavar="PROVIDER",
        default="aws.sm",
        show_default=True,
        callback=_known,
        shell_complete=complete_provider,
        help="aws.sm: Secrets Manager; aws.ps: Parameter Store; files: a folder of files; or the"
        " name of a provider that another package adds.",
    ),
    _text_option(["-r", "--region"], help="AWS region; default: as configured for AWS tools."),
    _text_option(["--role-arn"], help="A role to assume."),
    _text_option(["--profile"], help="A profile of the AWS config files."),
    _text_option(
        ["--cache-dir"],
        type=click.Path(file_okay=False),
        help="Cache secrets in this folder for 15 minutes. Only you can read it; it is encrypted"
        " if S1CRETS_CACHE_KEY is set (see new-key).",
    ),
    _text_option(
        ["--cache-url"],
        help="Cache secrets for 15 minutes on this server, shared with other machines: redis://,"
        " rediss:// (TLS), redis+cluster://, rediss+cluster://, redis+sentinel://, unix:// or"
        " memcached://. Set S1CRETS_CACHE_KEY, or its users can read them.",
    ),
]
_OUTPUT_OPTION = click.Option(
    ["-o", "--output"],
    type=click.Choice(FORMS),
    help="Default: a table on a terminal, otherwise text, which is one line per row with tabs"
    " between columns.",
)
_DEBUG_OPTION = click.Option(
    ["--debug"],
    is_flag=True,
    help="Report requests, their times, and what the cache answered, on stderr. Values are never"
    " shown.",
)


def _before_the_verb(option: click.Option) -> click.Option:
    """Return a copy of an option that has no default, and leaves checking to the verb's own."""
    own = copy.copy(option)
    own.callback, own.default, own.show_default = None, None, False
    if own.name == "provider":
        own.envvar = "S1CRETS_PROVIDER"
    return own


def global_options(group: click.Group) -> click.Group:
    """Add the options that may come before the verb: they are defaults of the verb's options."""
    shared = [*_PROVIDER_OPTIONS, _OUTPUT_OPTION, _DEBUG_OPTION]
    group.params += [_before_the_verb(option) for option in shared]
    return group


CACHE_URL = "S1CRETS_CACHE_URL"


def provider_command(
    *verbs: str,
    name: str | None = None,
    cls: type[click.Command] = click.Command,
    has_output: bool = False,
    **settings: Any,
) -> Callable[[Callable[..., Callable[[], None] | None]], click.Command]:
    """Declare a command that is called with the provider that its options select.

    The provider must have all `verbs`, which some providers lack, and is closed at the end. What
    the function returns, if anything, is called after that. Commands that print rows have `output`.
    """

    def declare(function: Callable[..., Callable[[], None] | None]) -> click.Command:
        @functools.wraps(function)
        def run(*, debug: bool, **params: Any) -> None:
            chosen = {str(one.name): params.pop(str(one.name)) for one in _PROVIDER_OPTIONS}
            with reported():
                with open_provider(verbs, debug=debug, **chosen) as provider:
                    finish = function(provider, **params)
                if finish:
                    finish()

        command = click.command(name, cls, epilog=_MORE_HELP, **settings)(run)
        command.short_help = (command.help or "").partition("\n")[0]  # click would cut it off
        command.params += [_OUTPUT_OPTION] * has_output + [*_PROVIDER_OPTIONS, _DEBUG_OPTION]
        return command

    return declare


@contextmanager
def open_provider(
    verbs: tuple[str, ...], provider: str, *, debug: bool, **options: Any
) -> Iterator[Any]:
    """Yield the selected provider, watched by what reports its work; close it at the end."""
    from s1crets._sync import has_awaited  # takes 100 ms, which --help does not need

    opened = made(verbs, provider, **options)
    try:
        with observed(opened, debug=debug):
            yield opened
    finally:
        # Files are closed by the exit; to close them before would start a thread for that.
        if has_awaited():
            opened.close()


def target_options(command: Callable[..., Any]) -> Any:
    """Add the options that say where B is, unless it is where A is."""
    option = functools.partial(click.option, callback=not_empty)
    provider = option(
        "--to-provider", shell_complete=complete_provider, help="The provider of B; default: A's."
    )
    region = option("--to-region", help="The region of B; default: A's.")
    profile = option("--to-profile", help="The profile for B; default: A's, and its role.")
    return provider(region(profile(command)))


def target_provider(*verbs: str) -> AbstractContextManager[Any]:
    """Open the provider of B: A's, with the changes of `target_options`."""
    params = click.get_current_context().params
    chosen = {
        name: params.get(f"to_{name}") or params[name]
        for name in (str(one.name) for one in _PROVIDER_OPTIONS)
    }
    if params["to_profile"]:
        chosen["role_arn"] = None  # which is the other profile's
    return open_provider(verbs, debug=params["debug"], **chosen)


def made(verbs: tuple[str, ...], provider: str, **options: Any) -> Any:
    """Return the selected provider; fail if it lacks a verb or does not accept an option."""
    cls = provider_class(provider)
    if lacking := [verb for verb in verbs if not hasattr(cls, verb)]:
        message = f"the provider {provider!r} can't do that: it has no `{lacking[0]}`"
        raise ConfigurationError(message)
    args: dict[str, Any] = {"region": options["region"], "profile": options["profile"]}
    if role := options["role_arn"]:
        args["sts_args"] = {"RoleArn": role}
    folder, url = options["cache_dir"], redact(options["cache_url"])
    if folder and url.reveal():
        raise ConfigurationError("--cache-dir and --cache-url can't be combined")
    if folder:
        place = Path(folder).absolute()
        folders = {f"{kind}_cache_dir": str(place / f"{kind}s") for kind in ("key", "path")}
        args["cache_args"] = {"cache_on_disk": True, **folders}
    elif url.reveal() or os.environ.get(CACHE_URL):
        args["cache_args"] = {"backend": redact(url.reveal() or os.environ[CACHE_URL])}
    warnings.simplefilter("ignore", InsecureCacheWarning)  # the help of --cache-dir has said it
    try:
        return cls(**{name: value for name, value in args.items() if value})
    except TypeError as error:
        given = ", ".join("--" + name.replace("_", "-") for name in options if options[name])
        message = f"the provider {provider!r} does not accept {given or 'these options'}: {error}"
        raise ConfigurationError(message) from None


_WITHOUT_VALUE = ("history", "restore")  # their errors can't contain one


def flag(*names: str, value: bool = True, help: str) -> Callable[[Any], Any]:  # noqa: A002  # click's
    """Return the decorator of a flag for `call`: `value` if it is given, otherwise None."""
    return click.option(
        *names, is_flag=True, callback=lambda *args: value if args[-1] else None, help=help
    )


def call(provider: Any, verb: str, *args: Any, **options: Any) -> Any:
    """Call a verb with those options that were given; fail if the provider does not have one."""
    given = {name: value for name, value in options.items() if value is not None}
    method = getattr(provider, verb)
    accepted = inspect.signature(method).parameters
    accepts_any = any(one.kind is one.VAR_KEYWORD for one in accepted.values())
    if (unknown := given.keys() - accepted.keys()) and not accepts_any:
        context = click.get_current_context()
        names = [one.opts[-1] for one in context.command.params if one.name in unknown]
        message = f"{context.params['provider']} does not accept {', '.join(names)}"
        raise ConfigurationError(f"{message} for {context.info_name}; leave it out")
    try:
        return method(*args, **given)
    except TypeError as error:
        if verb not in _WITHOUT_VALUE:
            raise
        problem = str(error)  # that the service has nothing like it
    raise ConfigurationError(problem)


parallel_option = flag(
    "--parallel",
    "parallel",
    help="Read a path of Parameter Store with concurrent requests, for which"
    " ssm:DescribeParameters must be allowed.",
)


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select secrets: --path and --secret."""
    option = functools.partial(click.option, multiple=True, callback=not_empty)
    path = option("--path", "paths", metavar="PATH", help="All secrets under PATH; repeatable.")
    secret = option("--secret", "secrets", metavar="NAME", help="The secret NAME; repeatable.")
    return path(secret(command))


def read_stdin(*, raw: bool) -> str | bytes:
    """Return a value from stdin, as bytes if it is not UTF-8.

    Unless it is `raw`, it loses a byte order mark, and a single line its line ending.
    """
    data = _stdin()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    if raw:
        return text
    text = text.removeprefix("\ufeff")
    line = text.removesuffix("\n").removesuffix("\r")
    return text if "\n" in line else line


def _stdin() -> bytes:
    if sys.stdin is None:  # closed before the command was started
        raise ConfigurationError("stdin can't be read: it is closed")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        problem = error.strerror
    raise ConfigurationError(f"stdin can't be read: {problem}")


def read_file(file: str, if_missing: str) -> Redacted:
    """Return the text of a file, or of stdin if `file` is `-`; fail if it is not UTF-8.

    `if_missing` is the hint if the file can't be opened.
    """
    problem = "it is not UTF-8; convert it"
    try:
        data = redact(_stdin() if file == "-" else Path(file).read_bytes())
        return redact(data.reveal().decode("utf-8-sig"))
    except UnicodeDecodeError:
        pass  # the error contains the text
    except OSError as error:
        problem = f"{error.strerror}; {if_missing}"
    raise ConfigurationError(f"{'stdin' if file == '-' else repr(file)} can't be read: {problem}")
