"""Exit codes and error messages of commands."""

from __future__ import annotations

from enum import IntEnum

from retinue.client import ClientError, NotAllowed, NotAuthenticated, Refused, Unavailable, Unreachable


class ExitCode(IntEnum):
    """Exit codes of `retinue`; also listed in its `--help` and in docs/client.md."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    WAITS_FOR_PERSON = 3
    UNREACHABLE = 4
    NOT_ALLOWED = 5
    INTERRUPTED = 130


class CommandError(Exception):
    """A command failed. The message is for the person and says what to do."""

    exit_code = ExitCode.FAILED


class WrongUsage(CommandError):
    """An argument of the command is invalid."""

    exit_code = ExitCode.WRONG_USAGE


def code_of(error: CommandError | ClientError) -> ExitCode:
    """Return the exit code of an expected error, the same for every command."""
    if isinstance(error, CommandError):
        return error.exit_code
    if isinstance(error, Unreachable | Unavailable):
        return ExitCode.UNREACHABLE
    return ExitCode.NOT_ALLOWED if isinstance(error, NotAuthenticated | NotAllowed) else ExitCode.FAILED


def words_of(error: CommandError | ClientError) -> str:
    """Return the message for the person: the API's sentence, with advice for the command line."""
    if isinstance(error, Unreachable) and error.unsent:
        return f"{error}; start it with `bin/retinue up`, or give its address with --url"
    if isinstance(error, NotAuthenticated):
        return f"{error}; use `bin/retinue login`, or set RETINUE_API_KEY"
    if isinstance(error, Refused):
        return error.detail
    return str(error)
