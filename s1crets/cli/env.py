"""exec and export: secrets as environment variables; which ones, and under which names."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import click

from s1crets._json import dump, members
from s1crets.cli._options import CACHE_URL, parallel_option, provider_command, source_options
from s1crets.cli._output import report, write
from s1crets.cli.formats import FORMATS
from s1crets.cli.read import Reader, nothing_at
from s1crets.errors import ConfigurationError, InvalidValueError, SecretNotFoundError

_PLACEHOLDER = "s1crets"
# Not for the program: whoever has them can read the cache.
_PRIVATE = ("S1CRETS_CACHE_KEY", CACHE_URL)
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # the shell's convention
_SPECIAL = (  # compiled when it is needed, since that takes 5 ms
    # what runs, and where it is found
    r"PATH|PWD|OLDPWD|HOME|SHELL|TMPDIR|TEMP|TMP|XDG_\w+|CDPATH|FPATH|COMSPEC|PATHEXT"
    r"|EDITOR|\w*_EDITOR|VISUAL|\w*PAGER|BROWSER|LESS(OPEN|CLOSE|EDIT)?|\w*_?ASKPASS|\w+_WRAPPER"
    r"|GIT_(SSH\w*|EXEC_PATH|CONFIG\w*|PROXY_COMMAND|EXTERNAL_DIFF|TEMPLATE_DIR|DIR|WORK_TREE)"
    # shells
    r"|ENV|BASH_ENV|BASH_FUNC_\w+|BASHOPTS|SHELLOPTS|IFS|PS[0-4]|PROMPT_COMMAND|ZDOTDIR"
    # the loader, the C library, and what it loads
    r"|LD_\w+|DYLD_\w+|GLIBC_\w+|MALLOC_\w+|GCONV_PATH|LOCPATH|NLSPATH|TERMCAP|TERMINFO\w*"
    r"|HOSTALIASES|LOCALDOMAIN|RES_OPTIONS|RESOLV_\w+|GETCONF_DIR|TZDIR"
    # interpreters and build tools
    r"|PYTHON\w*|PERL\w*|RUBY(OPT|LIB|SHELL\w*)|GEM_(HOME|PATH)|BUNDLE_\w+|LUA_\w+|PHPRC|PHP_INI_\w+"
    r"|NODE_(OPTIONS|PATH|EXTRA_CA_CERTS|TLS_\w+|REPL_\w+)|NPM_CONFIG_\w+|PIP_\w+|UV_\w+"
    r"|_?JAVA_\w*OPT\w*|JDK_JAVA_OPTIONS|JAVA_HOME|CLASSPATH|DOTNET_\w+|CORECLR_\w+|COMPLUS_\w+"
    r"|GO(FLAGS|DEBUG|PROXY)|RUST(C|FLAGS|DOC)|CARGO_\w+|MAKEFLAGS|GNUMAKEFLAGS|R_(HOME|PROFILE\w*|LIBS\w*)"
    # the network, and whom to trust
    r"|\w+_PROXY|SSL_CERT_\w+|SSLKEYLOGFILE|OPENSSL_\w+|\w+_CA_BUNDLE|CURL_HOME|KRB5_\w+"
    r"|DOCKER_(HOST|CONFIG)|KUBECONFIG|AWS_\w+|S1CRETS_\w+"
)
_ARN = r"arn:[^:]+:(ssm|secretsmanager):[^:]*:[^:]*:(parameter/?|secret:)"
_REFERENCE = "/aws/reference/secretsmanager/"


class _LayeredCommand(click.Command):
    """A command that knows the order of its --path and --secret options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        ctx.meta[__name__] = [str(one.name) for one in order if one.name in ("paths", "secrets")]
        return super().parse_args(ctx, args)


def _variable_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select secrets and name variables: the fields of a `_Selection`."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return source_options(command)


_OPTIONS = (
    click.option("--prefix", default="", help="A prefix for the names of all variables."),
    click.option(
        "--names",
        type=click.Choice(["last", "relative", "full"]),
        default="last",
        show_default=True,
        help="The part of a secret's name that becomes the variable's: its last part, the part"
        " below --path, or all of it.",
    ),
    click.option("--keep-case", is_flag=True, help="Do not change names to upper case."),
    click.option(
        "--keys",
        is_flag=True,
        help="One variable per key of a JSON object, as if the key were the last part of the name.",
    ),
    click.option(
        "--on-collision",
        type=click.Choice(["error", "last"]),
        default="error",
        show_default=True,
        help="If secrets under one --path have the same variable name: fail, or take the last one"
        " by name.",
    ),
    click.option(
        "--skip-unreadable",
        is_flag=True,
        help="Leave out secrets that are missing, denied, or binary, and list them on stderr.",
    ),
    parallel_option,
    click.option(
        "--allow-special",
        is_flag=True,
        help="Also set variables that change how programs run: PATH, LD_PRELOAD, PYTHONPATH, AWS_…",
    ),
)


class _Selection(NamedTuple):
    """The options that select secrets and name variables; see `_OPTIONS`."""

    paths: Sequence[str]
    secrets: Sequence[str]
    prefix: str
    names: str
    keep_case: bool
    keys: bool
    on_collision: str
    skip_unreadable: bool
    parallel: bool | None
    allow_special: bool

    def variables(self, provider: Any) -> dict[str, str]:
        """Return the variables for the selected secrets, sorted by name."""
        if self.prefix and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.prefix):
            message = f"{self.prefix!r} can't start a variable's name; use letters, digits and _"
            raise ConfigurationError(message)
        if not self.paths and not self.secrets:
            raise ConfigurationError("no secrets selected; use --path or --secret")
        reader = Reader(provider, skip=self.skip_unreadable)
        singles = reader.secrets(self.secrets)
        found: dict[str, str] = {}
        for option, selected in self._layers():
            if option == "paths":
                found |= self._named(self._under(provider, reader, selected), reader, selected)
            elif selected in singles:
                found |= self._named({selected: singles[selected]}, reader)
        reader.report_skipped()
        return dict(sorted(found.items()))

    def check_special(self, variables: Iterable[str]) -> None:
        """Reject variables that change how programs run, unless they are allowed."""
        pattern = re.compile(_SPECIAL, re.IGNORECASE)
        special = [name for name in sorted(variables) if pattern.fullmatch(name)]
        if special and not self.allow_special:
            names = ", ".join(special)
            message = (
                f"these variables change how programs run: {names}; use --prefix, select other"
            )
            raise ConfigurationError(f"{message} secrets, or allow it with --allow-special")

    def _under(self, provider: Any, reader: Reader, path: str) -> dict[str, Any]:
        found = reader.path(path, parallel=self.parallel)
        if not found:
            reader.skips(path, nothing_at(provider, path))
        return found

    def _layers(self) -> Iterator[tuple[str, str]]:
        """Return the values of --path and --secret in the order of the command line."""
        values = {"paths": iter(self.paths), "secrets": iter(self.secrets)}
        for option in click.get_current_context().meta[__name__]:
            yield option, next(values[option])

    def _named(self, found: Mapping[str, Any], reader: Reader, path: str = "") -> dict[str, str]:
        """Return the variables of one layer."""
        sources: dict[str, list[str]] = {}
        variables: dict[str, str] = {}
        for name, stored in sorted(found.items()):
            parts = self._parts(name, path)
            for own, text in _texts(reader, name, stored, parts, keys=self.keys):
                variable = self._variable(own)
                sources.setdefault(variable, []).append(name)
                variables[variable] = text
        same = [f"{name} ({', '.join(of)})" for name, of in sorted(sources.items()) if len(of) > 1]
        if same and self.on_collision == "error":
            message = f"several secrets have the same variable name: {', '.join(same)}"
            raise ConfigurationError(f"{message}; use --names relative, or --on-collision last")
        return variables

    def _parts(self, name: str, path: str) -> list[str]:
        """Return the parts of a secret's name that may be part of the variable's."""
        parts = _plain(name, is_listed=bool(path)).strip("/").split("/")
        if self.names == "full":
            return parts
        if path and self.names == "relative":
            above = path.strip("/").split("/") if path.strip("/") else []
            return parts[len(above) :] or parts[-1:]
        return parts[-1:]

    def _variable(self, parts: Sequence[str]) -> str:
        parts = parts[-1:] if self.names == "last" else parts
        own = "_".join(parts) if self.keep_case else "_".join(parts).upper()
        variable = self.prefix + re.sub(r"[^A-Za-z0-9_]", "_", own)
        return variable if re.match(r"[A-Za-z_]", variable) else "_" + variable


def _plain(name: str, *, is_listed: bool) -> str:
    """Return a name without what selects a version, and without the rest of an ARN."""
    if is_listed:
        return name
    arn = re.match(_ARN, name)
    plain = name[arn.end() :] if arn else name.removeprefix(_REFERENCE)
    if arn and arn[1] == "secretsmanager":
        return re.sub(r"-[A-Za-z0-9]{6}$", "", plain)
    return re.sub(r":[^/]*$", "", plain)


def _texts(
    reader: Reader, name: str, stored: Any, parts: list[str], *, keys: bool
) -> list[tuple[list[str], str]]:
    """Return the text of a secret, or of its keys, each with the parts of its name."""
    try:
        text = _text(name, stored)
        found = _members(text) if keys else None
        if found is None:
            return [(parts, text)]
        return [([*parts, key], _text(name, one)) for key, one in found]
    except InvalidValueError as error:
        reader.skips(name, error)
    return []


def _members(text: str) -> list[tuple[str, Any]] | None:
    """Return the keys of a JSON object, text without quotes, all else as stored; or None."""
    try:
        found = members(text)
    except (ValueError, RecursionError):
        return None
    return [(key, json.loads(one) if one.startswith('"') else one) for key, one in found]


def _text(name: str, value: Any) -> str:
    text = value if isinstance(value, (str, bytes)) else dump(value)  # an item of a secret's JSON
    if isinstance(text, bytes):
        problem = "it is binary"
    elif "\0" in text:
        problem = "it contains a NUL character"
    elif re.search("[\ud800-\udfff]", text):
        problem = "it contains a lone surrogate"
    else:
        return text
    raise InvalidValueError(f"{name!r} can't be a variable: {problem}")


@provider_command(
    "get_many",
    name="exec",
    cls=_LayeredCommand,
    context_settings={"allow_interspersed_args": False},
)
@_variable_options
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
    selected = _Selection(**selection)
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


@provider_command("get_many", cls=_LayeredCommand)
@_variable_options
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
    selected = _Selection(**selection)
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
