"""exec and export: secrets as environment variables."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import click

from s1crets.cli._json import dump
from s1crets.cli._options import CACHE_URL, provider_command, source_options
from s1crets.cli._output import report, write
from s1crets.cli.formats import FORMATS
from s1crets.errors import ConfigurationError, InvalidValueError, SecretNotFoundError

_PLACEHOLDER = "s1crets"
# Not for the program: whoever has them can read the cache.
_PRIVATE = ("S1CRETS_CACHE_KEY", CACHE_URL)
_SPECIAL = re.compile(
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
    r"|DOCKER_(HOST|CONFIG)|KUBECONFIG|AWS_\w+|S1CRETS_\w+",
    re.IGNORECASE,
)
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # the shell's convention
_prefix_option = click.option(
    "--prefix", default="", help="A prefix for the names of all variables."
)
_special_option = click.option(
    "--allow-special",
    is_flag=True,
    help="Also set variables that change how programs run: PATH, LD_PRELOAD, PYTHONPATH, AWS_…",
)


@provider_command("get_many", name="exec", context_settings={"allow_interspersed_args": False})
@source_options
@_prefix_option
@_special_option
@click.option("--pristine", is_flag=True, help="Run CMD with these variables and no others.")
@click.option(
    "--strict",
    is_flag=True,
    help="Set only the variables that are already in the environment with the value"
    f" `{_PLACEHOLDER}`; it is an error if one of these secrets is missing.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD…")
def exec_(
    provider: Any,
    command: tuple[str, ...],
    *,
    allow_special: bool,
    pristine: bool,
    strict: bool,
    **selection: Any,
) -> None:
    """Run CMD with secrets as environment variables.

    The name of a variable is the last part of the secret's name in upper case. Characters other
    than letters and digits become `_`: /prod/db/api-key becomes API_KEY. Two secrets with the same
    variable name are an error. Text and JSON are passed exactly as stored.

    A program without a slash in its name is found in the absolute folders of PATH. It inherits the
    environment, except S1CRETS_CACHE_KEY and S1CRETS_CACHE_URL.

    CMD replaces this process: it receives the signals, and its exit code is returned; 127 if there
    is no such command, 126 if it can't be run.

    \b
    Examples:
      s1crets exec --provider aws.ps --path /prod/db -- env
      s1crets exec --secret prod/token --prefix APP_ -- sh -c 'echo ${#APP_TOKEN}'
      TOKEN=s1crets s1crets exec --strict --path prod -- env
    """
    with provider:  # no connection may stay open in CMD
        variables = _variables(provider, **selection)
    if strict:
        requested = [name for name, value in os.environ.items() if value == _PLACEHOLDER]
        if missing := sorted(set(requested) - set(variables)):
            message = f"there are no secrets for these variables: {', '.join(missing)}"
            raise SecretNotFoundError(message)
        variables = {name: variables[name] for name in requested}
    _check_special(variables, allowed=allow_special)
    inherited = {} if pristine else dict(os.environ)
    for name in _PRIVATE:
        inherited.pop(name, None)
    _replace_process(command, {**inherited, **variables})


@provider_command("get_many")
@source_options
@_prefix_option
@_special_option
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    required=True,
    help="dotenv: for python-dotenv and shells; docker: for `docker run --env-file`.",
)
def export(provider: Any, form: str, *, allow_special: bool, **selection: Any) -> None:
    """Print secrets as variables for other programs.

    Names and values are the same as for `exec`.

    \b
    Examples:
      s1crets export --provider aws.ps --path /prod/db --format dotenv > .env
      eval "$(s1crets export --secret prod/token --format shell)"
      s1crets export --path prod --format json
    """
    variables = _variables(provider, **selection)
    _check_special(variables, allowed=allow_special)
    write(FORMATS[form](variables).encode())


def _variables(
    provider: Any, paths: Sequence[str], secrets: Sequence[str], prefix: str
) -> dict[str, str]:
    """Return the variables for the selected secrets, sorted by name."""
    if prefix and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", prefix):
        message = f"{prefix!r} can't start a variable's name; use letters, digits and _"
        raise ConfigurationError(message)
    if not paths and not secrets:
        raise ConfigurationError("no secrets selected; use --path or --secret")
    found: dict[str, Any] = {}
    for path in paths:
        under = provider.get_by_path(path, raw=True)
        if not under:
            raise SecretNotFoundError(f"there are no secrets under {path!r}")
        found |= under
    if secrets:
        found |= provider.get_many(secrets, raw=True)
    names = defaultdict[str, list[str]](list)
    for name in found:
        names[_variable_name(name, prefix)].append(name)
    same = [f"{name} ({', '.join(of)})" for name, of in sorted(names.items()) if len(of) > 1]
    if same:
        raise ConfigurationError(f"several secrets have the same variable name: {', '.join(same)}")
    return {variable: _text(name, found[name]) for variable, (name,) in sorted(names.items())}


def _variable_name(name: str, prefix: str) -> str:
    last = name.rstrip("/").rpartition("/")[2]
    variable = prefix + re.sub(r"[^A-Z0-9_]", "_", last.upper())
    return variable if re.match(r"[A-Za-z_]", variable) else "_" + variable


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


def _check_special(variables: Iterable[str], *, allowed: bool) -> None:
    special = [name for name in variables if _SPECIAL.fullmatch(name)]
    if special and not allowed:
        names = ", ".join(special)
        message = f"these variables change how programs run: {names}; use --prefix, select other"
        raise ConfigurationError(f"{message} secrets, or allow it with --allow-special")


def _replace_process(command: tuple[str, ...], environment: dict[str, str]) -> NoReturn:
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
