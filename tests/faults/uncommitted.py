"""`python -m tests.faults.uncommitted email`: sends without passing the ledger's point of no return, as one naively would."""

import sys
from typing import Any

from activities.email.smtp import Submission
from workers import runner


async def _goes_ahead(*_arguments: Any) -> None:
    return None


if __name__ == "__main__":
    Submission._committed = _goes_ahead  # type: ignore[assignment]  # replaced on purpose
    runner.main(sys.argv[1])
