"""All printing: data on stdout, people on stderr, errors as `qkd: ...` plus a hint, exit codes as documented.

Messages are lower case and end without a full stop. Key bytes never come here.
"""

from __future__ import annotations

import errno
import json
import sys
from enum import IntEnum
from typing import Any, NoReturn

import click

from qkd import errors


class Exit(IntEnum):
    """What the exit code says; stable."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    ABORTED = 3
    NOT_AUTHENTIC = 4
    UNREACHABLE = 5
    NO_KEY = 6


# What an abort tells in numbers, beside the stable fields: error rates, and the Bell test where there is one.
ABORT_FIGURES = ("qber_z", "qber_x", "chsh_s", "chsh_s_error", "chsh_p_value")

# First match wins, so the narrow classes come before the wide ones.
_EXIT_BY_ERROR: tuple[tuple[type[BaseException], Exit], ...] = (
    (errors.AuthenticationError, Exit.NOT_AUTHENTIC),
    (errors.VerificationFailed, Exit.NOT_AUTHENTIC),
    (errors.NotAuthorised, Exit.NOT_AUTHENTIC),
    (errors.KeyTooShort, Exit.NO_KEY),
    (errors.DevicesGiveNoKey, Exit.NO_KEY),
    (errors.KeyExhausted, Exit.NO_KEY),
    (errors.EpsilonBudgetSpent, Exit.NO_KEY),
    (errors.ProtocolAborted, Exit.ABORTED),
    (errors.PeerUnreachable, Exit.UNREACHABLE),
    (errors.ParameterError, Exit.USAGE),
)


_OS_HINTS = {
    errno.ENOSPC: "free some space, or choose another place; nothing was left half written",
    errno.EDQUOT: "free some space, or choose another place; nothing was left half written",
    errno.ENOENT: "check the path",
    errno.EACCES: "check owner and mode of the file and its folder",
    errno.EROFS: "the place is read-only: choose another one",
}


def exit_code(error: BaseException) -> Exit:
    """The documented exit code of an error."""
    return next((code for kind, code in _EXIT_BY_ERROR if isinstance(error, kind)), Exit.FAILURE)


def say(text: str) -> None:
    """A line for people, on stderr."""
    click.echo(f"qkd: {text}", err=True)


def table(rows: list[tuple[str, str]]) -> None:
    """Two aligned columns for people, on stdout."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")


def emit(schema: str, fields: dict[str, Any]) -> None:
    """One JSON object on stdout, with its `schema` first."""
    click.echo(json.dumps({"schema": schema, **fields}, allow_nan=False))


def fail(error: Exception) -> NoReturn:
    """Print an error the way users meet it and leave; foreign exceptions that are nobody's bug are named, too."""
    if isinstance(error, click.exceptions.Exit | click.Abort | click.ClickException):
        raise error
    if isinstance(error, errors.QkdError):
        _print_error(str(error), error.hint)
        sys.exit(exit_code(error))
    if isinstance(error, BrokenPipeError):
        sys.exit(Exit.OK)
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        _print_error(f"{(error.strerror or str(error)).lower()}{where}", _OS_HINTS.get(error.errno or 0, ""))
        sys.exit(Exit.FAILURE)
    raise error


def _print_error(message: str, hint: str) -> None:
    say(message)
    if hint:
        say(f"hint: {hint}")
