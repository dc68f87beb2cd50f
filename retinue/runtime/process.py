"""Exit codes, and ending a process."""

import logging
import os
import sys
from typing import NoReturn

from retinue.runtime import telemetry

DATABASE_LOST = 5
"""The exit code of a process whose database was deleted, replaced or damaged while it was in use."""

STUCK = 70
"""The exit code of a process that found itself stuck (`retinue.runtime.watchdog`)."""


def leave(code: int) -> NoReturn:
    """End the process at once, after flushing.

    A process that used a Temporal client aborts at interpreter exit about once in ten (temporalio/sdk-python#300).
    """
    telemetry.stop()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
