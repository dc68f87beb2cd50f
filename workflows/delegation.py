"""A goal in the hands of a capability's own agent, seen from the run that delegated it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from activities.reasoning.contract import CallOutcome, ToolCall, Usage
from retinue.plan import BoundStep, PlanStep, bind_call, check_args, references
from workflows import local
from workflows.messages import AgentCalls, AgentOutcomes, MicroAgentResult, StartMicroAgent

if TYPE_CHECKING:
    from workflows.execution import Room

AGENT_TYPE = "MicroAgentWorkflow"
MAX_CALLS = 8
"""How many calls an agent may wish for in one turn."""
Perform = Callable[[Sequence[BoundStep], bool], Awaitable[list[CallOutcome]]]


class Delegation:
    """Starts the child, turns its wishes into steps, and remembers whether it has read strangers' words.

    A wish comes by a signal, which anybody who reaches Temporal could send. So nothing in it is believed: the tool is
    looked up in the registry, and the step that comes of it is judged like any other.
    """

    def __init__(
        self,
        step: BoundStep,
        args: dict[str, JsonValue],
        *,
        timezone: str,
        after_strangers: bool,
        perform: Perform,
    ) -> None:
        self._step = step
        self._args = args
        self._timezone = timezone
        self._after_strangers = after_strangers
        self._perform = perform
        self._wished: AgentCalls | None = None
        self._turn = 0
        self._count = 0

    def wish(self, calls: AgentCalls) -> bool:
        """Take the next turn's wishes; false when it is not their turn."""
        if self._wished is not None or calls.turn != self._turn + 1:
            return False
        self._wished = calls
        self._turn = calls.turn
        return True

    async def run(self, *, room: Room, on_usage: Callable[[Usage], None]) -> JsonValue:
        """Let the agent work until it has an answer.

        Raises:
            ApplicationError: The capability is unknown now, or the registry does not answer.
            ChildWorkflowError: The agent failed.
            BudgetStopped: The budget is used up and the person chose to stop.
        """
        tools = await self._tools()
        await room(requests=1, tokens=0, cost=0)
        child = await self._start()
        try:
            while True:
                await workflow.wait_condition(lambda: child.done() or self._wished is not None)
                if self._wished is None:
                    break
                await self._answer(child, self._wished, tools, room, on_usage)
            said: MicroAgentResult = await child
        finally:
            if not child.done():
                child.cancel()
        on_usage(said.usage)
        return {"text": said.text}

    async def _tools(self) -> dict[str, local.FoundTool]:
        found = await local.agent(self._step.capability)
        if not found:
            reason = "the registry does not answer" if found is None else "it announces no tools any more"
            raise ApplicationError(f"the agent of {self._step.capability} cannot work: {reason}", type="NoAgent")
        return {tool.spec.name: tool for tool in found}

    async def _start(self) -> workflow.ChildWorkflowHandle[object, MicroAgentResult]:
        goal = str(self._args["goal"])
        return await workflow.start_child_workflow(
            AGENT_TYPE,
            StartMicroAgent(
                agent=self._step.capability,
                goal=goal,
                inputs=self._args.get("inputs"),
                timezone=self._timezone,
                step_id=self._step.id,
            ),
            id=f"{workflow.info().workflow_id}/{self._step.id}",
            result_type=MicroAgentResult,
            static_summary=f"{self._step.capability}: {goal}"[:200],
        )

    async def _answer(
        self,
        child: workflow.ChildWorkflowHandle[object, MicroAgentResult],
        wished: AgentCalls,
        tools: dict[str, local.FoundTool],
        room: Room,
        on_usage: Callable[[Usage], None],
    ) -> None:
        on_usage(wished.usage)
        outcomes = await self._outcomes(wished.calls[:MAX_CALLS], tools)
        await room(requests=1, tokens=0, cost=0)
        self._wished = None
        await child.signal("outcomes", AgentOutcomes(turn=wished.turn, outcomes=outcomes))

    async def _outcomes(self, calls: Sequence[ToolCall], tools: dict[str, local.FoundTool]) -> list[CallOutcome]:
        """What came of each call, in their order; those that cannot be steps are answered with what is wrong."""
        outcomes: dict[str, CallOutcome] = {}
        steps: dict[str, BoundStep] = {}
        for call in calls:
            if problem := _problem(call, tools):
                outcomes[call.call_id] = CallOutcome(call_id=call.call_id, content={"error": problem})
            else:
                steps[call.call_id] = self._bound(call, tools[call.tool])
        done = await self._perform(list(steps.values()), self._after_strangers) if steps else []
        for call_id, outcome in zip(steps, done, strict=True):
            outcomes[call_id] = outcome.model_copy(update={"call_id": call_id})
        # from here on everything that the agent says counts as strangers' words
        self._after_strangers |= any(not step.annotations.trusted_output for step in steps.values())
        return [outcomes[call.call_id] for call in calls]

    def _bound(self, call: ToolCall, tool: local.FoundTool) -> BoundStep:
        self._count += 1
        wanted = PlanStep(id=f"{self._step.id}.{self._count}"[-40:], tool=call.tool, args=call.args)
        return bind_call(wanted, tool.spec, capability=tool.capability, task_queue=tool.task_queue, with_schema=True)


def _problem(call: ToolCall, tools: dict[str, local.FoundTool]) -> str | None:
    if call.tool not in tools:
        return f"you have no tool {call.tool!r}; you have {', '.join(sorted(tools))}"
    if any(references(call.args)):
        return "write the values themselves; there are no references here"
    return "; ".join(list(check_args(call.args, tools[call.tool].spec.args_schema))[:5]) or None
