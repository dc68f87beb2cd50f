"""A child workflow that runs one turn of a capability's own agent and can do nothing else.

The child returns the calls that the model requests. The parent looks each call up in the registry, judges it by the run's
policy, asks people, runs it as a step, and starts the next turn with the outcomes. So a child can neither approve nor act.
Since requests are the child's result and not signals, they cannot be forged.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.reasoning.contract import ConverseRequest, ConverseResult, Reasoning
from retinue.times import local, on_the_calendar
from workflows.failures import found_no_worker
from workflows.messages import AgentTurn, StartMicroAgent
from workflows.steps.activity import FIRST_WAIT, run_activity, store_problem
from workflows.steps.delegation import AGENT_TYPE


@workflow.defn(name=AGENT_TYPE)
class MicroAgentWorkflow:
    """One turn of an agent, with its capability's instructions, model and tools."""

    @workflow.run
    async def run(self, start: StartMicroAgent) -> AgentTurn:
        """Run one turn. If no worker takes an impatient first try, return `waits`, so that the parent can show it and wait."""
        options = Reasoning.options("converse")
        request = ConverseRequest(
            agent=start.agent,
            goal=start.goal,
            inputs=start.inputs,
            timezone=start.timezone,
            now=local(on_the_calendar(workflow.now()), start.timezone),
            transcript=start.transcript,
            outcomes=start.outcomes,
            last_turn=start.last_turn,
        )
        try:
            said: ConverseResult = await run_activity(
                f"{Reasoning.name}.converse",
                request,
                task_queue=Reasoning.task_queue(),
                options=options if start.patient else options.model_copy(update={"patience": FIRST_WAIT}),
                summary=f"{start.agent} thinks",
                result_type=ConverseResult,
                asked_by=start.asked_by,
            )
        except ActivityError as error:
            if start.patient or not (found_no_worker(error) or store_problem(error)):
                raise
            return AgentTurn(waits=True)
        return AgentTurn(said=said)
