"""`python -m tests.deploy.builds plain|changed|patched`: the workflow worker as it is, or with one command more in each run.

The build `changed` replays no run that the plain one began; `patched` does.
"""

from __future__ import annotations

import sys

from temporalio import workflow

from workers import runner
from workflows.assistant import AssistantWorkflow

_turn = AssistantWorkflow._turn


async def changed(self: AssistantWorkflow) -> None:
    """One command in front of all others."""
    workflow.upsert_memo({"build": "changed"})
    await _turn(self)


async def patched(self: AssistantWorkflow) -> None:
    """The same, for runs that began with it."""
    if workflow.patched("a-note-first"):
        workflow.upsert_memo({"build": "patched"})
    await _turn(self)


TURNS = {"plain": _turn, "changed": changed, "patched": patched}


if __name__ == "__main__":
    AssistantWorkflow._turn = TURNS[sys.argv[1]]  # type: ignore[method-assign]  # another build of the same code
    runner.main(runner.WORKFLOWS)
