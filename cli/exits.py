"""How a command ends, for the person and for the script that called it."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `retinue`; the same list stands in its `--help`."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    WAITS_FOR_PERSON = 3
    UNREACHABLE = 4
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot go on. The message is for the person and says what to do."""

    exit_code = ExitCode.FAILED


class Refused(CommandError):
    """The API refused; the message is the `detail` of its answer."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class WrongUsage(CommandError):
    """The command was given something that cannot be used."""

    exit_code = ExitCode.WRONG_USAGE


class Unreachable(CommandError):
    """Retinue does not answer. `unsent` is true when the request surely never arrived."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(self, message: str, *, unsent: bool = False) -> None:
        super().__init__(message)
        self.unsent = unsent
