"""The accounts service as a process of its own, with a clock that can be wrong: `python -P -m tests.accounts.service_process`.

Arguments: the port, and the seconds by which its clock is ahead.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import uvicorn

from accounts.services import clock

if __name__ == "__main__":
    port, ahead = int(sys.argv[1]), timedelta(seconds=int(sys.argv[2]))
    clock.now = lambda: datetime.now(UTC) + ahead  # before the services take it from there
    from accounts.app import create_app

    uvicorn.run(create_app(), host="127.0.0.1", port=port, log_level="warning", access_log=False)
