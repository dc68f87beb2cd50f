"""One capability's own agent at work on a goal: a child workflow that thinks, and may do nothing by itself.

The child only ever wishes: each call that its model wants goes to the parent by a signal. The parent binds it from the
registry, judges it by the run's policy, asks people, runs it as a step of its own and sends back what came of it. So a
child can neither approve nor act, whatever its model says and whatever stands in what it read.
"""

from __future__ import annotations

import asyncio

from temporalio import workflow

from activities.reasoning.contract import CallOutcome, ConverseRequest, ConverseResult, Reasoning, Transcript, Usage
from retinue.times import local
from workflows.delegation import AGENT_TYPE
from workflows.dispatch import run_activity
from workflows.messages import AgentCalls, AgentOutcomes, MicroAgentResult, StartMicroAgent

MAX_TURNS = 8
"""How often an agent may think about one goal; in the last turn it must answer."""


@workflow.defn(name=AGENT_TYPE)
class MicroAgentWorkflow:
    """A goal, pursued with one capability's instructions, model and tools."""

    @workflow.init
    def __init__(self, start: StartMicroAgent) -> None:
        self._start = start
        self._transcript = Transcript(key=workflow.info().workflow_id)
        self._outcomes: list[CallOutcome] = []
        self._turn = 0
        self._answered = 0
        self._must_end = False
        self._telling: list[asyncio.Task[None]] = []

    @workflow.run
    async def run(self, start: StartMicroAgent) -> MicroAgentResult:
        """Think, wish, read what came of it, until there is an answer."""
        for turn in range(1, MAX_TURNS + 1):
            self._turn = turn
            said = await self._think(last=turn == MAX_TURNS or self._must_end)
            if said.text is not None or not said.calls:
                await asyncio.gather(*self._telling)
                return MicroAgentResult(text=said.text or "", usage=said.usage)
            await self._tell(AgentCalls(step_id=start.step_id, turn=turn, calls=said.calls, usage=said.usage))
            await workflow.wait_condition(self._is_answered)
        return MicroAgentResult(text="", usage=Usage())

    async def _think(self, *, last: bool) -> ConverseResult:
        request = ConverseRequest(
            agent=self._start.agent,
            goal=self._start.goal,
            inputs=self._start.inputs,
            timezone=self._start.timezone,
            now=local(workflow.now(), self._start.timezone),
            transcript=self._transcript,
            outcomes=self._outcomes,
            last_turn=last,
        )
        said: ConverseResult = await run_activity(
            f"{Reasoning.name}.converse",
            request,
            task_queue=Reasoning.task_queue(),
            options=Reasoning.options("converse"),
            summary=f"{self._start.agent} thinks",
            on_waiting=self._wait_for_worker,
            result_type=ConverseResult,
        )
        self._transcript = Transcript(key=self._transcript.key, length=said.length)
        return said

    def _is_answered(self) -> bool:
        return self._answered == self._turn

    def _wait_for_worker(self) -> None:
        waiting = AgentCalls(step_id=self._start.step_id, turn=self._turn, waiting=True)
        self._telling.append(asyncio.create_task(self._tell(waiting)))

    async def _tell(self, calls: AgentCalls) -> None:
        parent = workflow.info().parent
        assert parent is not None  # only an assistant starts one
        handle = workflow.get_external_workflow_handle(parent.workflow_id, run_id=parent.run_id)
        await handle.signal("agent_calls", calls)

    @workflow.signal
    def outcomes(self, outcomes: AgentOutcomes) -> None:
        """What came of the calls of a turn; ignored when it is not that turn."""
        if outcomes.turn != self._turn:
            return
        self._outcomes = outcomes.outcomes
        self._must_end = outcomes.last_turn
        self._answered = outcomes.turn
