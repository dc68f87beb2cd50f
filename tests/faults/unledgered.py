"""`python -m tests.faults.unledgered CAPABILITY`: a worker whose ledger forgets, to show that the kill test can fail."""

import sys
from typing import Any

from retinue.ledger import Ledger
from workers import runner


async def _forgets(*_arguments: Any) -> None:
    return None


async def _records_nothing(*_arguments: Any) -> None:
    return None


if __name__ == "__main__":
    Ledger._recorded = _forgets  # type: ignore[assignment]  # replaced on purpose
    Ledger._record = _records_nothing  # type: ignore[assignment]  # replaced on purpose
    runner.main(sys.argv[1])
