"""Errors of the command: the cause, a hint, and an exit code."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import format_tb

import click

from s1crets._redaction import RAISED_HERE
from s1crets.cli._output import OTHER, report, write_line
from s1crets.errors import (
    AccessDeniedError,
    BatchError,
    CredentialsError,
    DeadlineExceededError,
    S1cretsError,
    SecretNotFoundError,
    ThrottledError,
    UnavailableError,
)
from s1crets.providers import is_built_in

NO, NOT_FOUND, DENIED = 1, 3, 4
INTERRUPTED = 130  # the shell's convention; click's own 1 would be the "no" of `exists`
_CODES: dict[type[Exception] | tuple[type[Exception], ...], int] = {
    SecretNotFoundError: NOT_FOUND,
    AccessDeniedError: DENIED,
    (UnavailableError, DeadlineExceededError, ThrottledError): 5,
    CredentialsError: 6,
    ValueError: 2,  # also InvalidNameError, InvalidValueError, ConfigurationError
}


class _Log(logging.Handler):
    """Reports warnings like errors; Python's own handler would print them as they are."""

    def emit(self, record: logging.LogRecord) -> None:
        """Report a log record."""
        report(record.getMessage())


_log = logging.getLogger("s1crets")
_FRAME = r'(?m)^  File "(.*)", line (\d+), in (.*)$'  # of a traceback


@contextmanager
def reported() -> Iterator[None]:
    """Report an error on stderr and exit with its code; a traceback could show a value."""
    handler = _Log(logging.WARNING)
    _log.addHandler(handler)
    try:
        yield
    except (click.ClickException, click.Abort):
        raise
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (S1cretsError, PermissionError, ValueError) as error:
        errors = error.errors.values() if isinstance(error, BatchError) else [error]
        report(*map(str, errors))
        sys.exit(exit_code(*errors))
    except OSError as error:
        report(f"{error.strerror or 'the operation failed'} [{type(error).__name__}]")
        sys.exit(OTHER)
    except Exception as error:  # noqa: BLE001  # Python would exit with 1, which means "no"
        _report_unexpected(error)
        sys.exit(OTHER)
    finally:
        _log.removeHandler(handler)


def _report_unexpected(error: Exception) -> None:
    """Report an exception without its text, which may contain a value."""
    context = click.get_current_context(silent=True)
    params = context.params if context else {}
    if params.get("debug"):
        for place in _places(error):
            write_line(f"s1crets: debug: {place}")
    kind, used = type(error).__name__, (params.get("provider"), params.get("to_provider"))
    if others := [repr(name) for name in dict.fromkeys(used) if name and not is_built_in(name)]:
        report(
            f"unexpected {kind} with the provider {' and '.join(others)} of another package; please"
            " report the command to its authors: a provider should raise errors of s1crets"
        )
    else:
        report(f"unexpected {kind}; please report the command that caused it")


def _places(error: Exception) -> Iterator[str]:
    """Yield file, line and function of each frame, also of those that were removed; no code."""
    notes = [one for one in getattr(error, "__notes__", ()) if one.startswith(RAISED_HERE)]
    for frames in ("".join(format_tb(error.__traceback__)), *reversed(notes)):
        for file, line, function in re.findall(_FRAME, frames):
            yield f"{file}:{line} in {function}"


@contextmanager
def usage_reported() -> Iterator[None]:
    """Report click's own errors like all others. They repeat arguments, maybe names of files."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "s1crets"
        message = error.format_message().rstrip(".").replace("\n", " ")
        hint = "" if "; " in message else f"; try {command} --help"
        report(message[:1].lower() + message[1:] + hint)
        sys.exit(error.exit_code)
    except click.Abort:
        report("aborted: nothing was changed")
        sys.exit(NO)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def exit_code(*errors: BaseException) -> int:
    """Return the exit code for errors: that of "denied", else of "not found", else the first."""
    kinds = _CODES.items()
    codes = [next((c for kind, c in kinds if isinstance(e, kind)), OTHER) for e in errors]
    return next((code for code in (DENIED, NOT_FOUND, *codes) if code in codes), 0)
