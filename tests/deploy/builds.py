"""`python -m tests.deploy.builds [changed]`: the workflow worker as it is, or with another order of commands in each run.

No run that one of the two began can be replayed by the other.
"""

from __future__ import annotations

import sys

from temporalio import workflow

from workers import runner
from workflows.assistant import AssistantWorkflow

_turn = AssistantWorkflow._turn


async def turn_after_a_note(self: AssistantWorkflow) -> None:
    """One command in front of all others."""
    workflow.upsert_memo({"build": "changed"})
    await _turn(self)


if __name__ == "__main__":
    if sys.argv[1:] == ["changed"]:
        AssistantWorkflow._turn = turn_after_a_note  # type: ignore[method-assign]  # another build of the same code
    runner.main(runner.WORKFLOWS)
