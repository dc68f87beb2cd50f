"""What a workflow worker signs for a step: for which account, and that a step on the own data needs none."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from temporalio import activity, workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from retinue.capability import ACCOUNT, OWN
from retinue.provenance.asked_by import AskedBy
from retinue.temporal import keyring
from retinue.temporal.person_header import asking
from retinue.temporal.step_pass import current_pass, verify
from retinue.temporal.tenant_header import OrganisationOfWorkers
from tests.conftest import Stack

RING = keyring.parse_keys(keyring.new_key(), kind="test")


@activity.defn(name="calendar.look")
async def look(args: dict[str, str]) -> str:
    """Return the pass of the step."""
    del args
    return current_pass()


@workflow.defn
class OneStep:
    """Runs one step of a person."""

    @workflow.run
    async def run(self, args: dict[str, str], bound: str | None) -> str:
        """Return its pass."""
        with asking(AskedBy(person="acme:anna", account=bound)):
            shown: str = await workflow.execute_activity(look, args, start_to_close_timeout=timedelta(seconds=10))
        return shown


@pytest.mark.parametrize(
    ("named", "bound", "signed"),
    [(None, None, None), ("", None, None), ("work", None, "work"), (OWN, None, OWN), ("work", OWN, OWN)],
)
async def test_the_pass_of_a_step_names_its_account(
    stack: Stack, named: str | None, bound: str | None, signed: str | None
) -> None:
    queue = uuid.uuid4().hex
    args = {} if named is None else {ACCOUNT: named}
    async with Worker(
        stack.temporal,
        task_queue=queue,
        workflows=[OneStep],
        activities=[look],
        interceptors=[OrganisationOfWorkers(passes=RING)],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        shown = await stack.temporal.execute_workflow(OneStep.run, args=[args, bound], id=queue, task_queue=queue)
    step = verify(shown, RING, now=datetime.now(UTC))
    assert (step.person, step.capability, step.account) == ("acme:anna", "calendar", signed)
