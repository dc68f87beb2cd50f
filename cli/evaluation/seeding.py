"""`python -m cli.evaluation.seeding`: makes worlds on a running stack, one line of JSON for each.

Tools are called as a run calls them, by a workflow of its own on a queue of its own, for the organisation of the case; mails
are delivered as `retinue mail deliver` does. It is a process of its own, since it is a Temporal worker.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import activities
from retinue.errors import RetinueError
from retinue.provenance.asked_by import AskedBy
from retinue.runtime.process import leave
from retinue.temporal.connection import connect
from retinue.temporal.person_header import asking
from retinue.temporal.tenant_header import OrganisationOfWorkers
from retinue.tenancy import variable_of

QUEUE = "evaluation"
_ONE_CALL = timedelta(seconds=60)


class SeedWorld(BaseModel):
    """What a world is made of. `owner` is the case's person, `organisation:name`, whose data it becomes."""

    owner: str
    calls: list[tuple[str, dict[str, Any]]]


@workflow.defn(name="EvaluationWorld")
class EvaluationWorld:
    """Calls tools one after the other."""

    @workflow.run
    async def run(self, world: SeedWorld) -> int:
        """Return how many were called."""
        for number, (tool, args) in enumerate(world.calls):
            with asking(AskedBy(person=world.owner)):
                calling = workflow.start_activity(
                    tool,
                    args,
                    activity_id=f"s{number}",
                    task_queue=tool.partition(".")[0],
                    schedule_to_close_timeout=_ONE_CALL,  # also for a tool that no worker serves
                    retry_policy=RetryPolicy(maximum_attempts=5),
                )
            await calling
        return len(world.calls)


async def serve() -> None:
    """Make a world for each line of standard input, and answer with a line: `{}`, or `{"error": ...}`."""
    client = await connect()
    loop = asyncio.get_running_loop()
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[EvaluationWorld],
        interceptors=[OrganisationOfWorkers()],
        workflow_runner=UnsandboxedWorkflowRunner(),
        build_id="evaluation",
    ):
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            answer: dict[str, str] = {}
            wish = json.loads(line)
            try:
                await _make(client, wish)
            except (RetinueError, WorkflowFailureError) as error:
                answer = {"error": _words(error)}
            print(json.dumps(answer), flush=True)


async def _make(client: Any, wish: dict[str, Any]) -> None:
    organisation, mails = wish["organisation"], wish["mails"]
    if wish["calls"]:
        world = SeedWorld(owner=f"{organisation}:{wish['person']}", calls=wish["calls"])
        await client.execute_workflow(EvaluationWorld.run, world, id=f"world-{organisation}", task_queue=QUEUE)
    os.environ[variable_of("email")] = organisation
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(mails):
            file = Path(folder) / f"{number}.eml"
            file.write_bytes(base64.b64decode(content))
            await activities.load("email").import_file(file, person=f"{organisation}:{wish['person']}")


def _words(error: BaseException) -> str:
    """Return the message of the error that began it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return getattr(error, "message", str(error))


if __name__ == "__main__":
    asyncio.run(serve())
    leave(0)
