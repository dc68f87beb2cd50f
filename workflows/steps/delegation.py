"""Delegation: the parent run's side of a goal that a capability's own agent works on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from pydantic import JsonValue
from temporalio import workflow
from temporalio.exceptions import ApplicationError, ChildWorkflowError

from activities.reasoning.contract import CallOutcome, ConverseResult, ToolCall
from retinue.conversation import Transcript, Usage
from retinue.plan import BoundStep, PlanStep, bind_call, check_args, references
from retinue.provenance.asked_by import AskedBy
from workflows.consent import lookups
from workflows.consent.budget_guard import ReserveBudget
from workflows.failures import used_by
from workflows.messages import AgentTurn, StartMicroAgent
from workflows.steps.activity import stop_if_cancelled

AGENT_TYPE = "MicroAgentWorkflow"
MAX_TURNS = 8
"""How many turns an agent has for one goal; in the last turn it must answer."""
MAX_CALLS = 8
"""How many calls an agent may request in one turn."""
_PROBLEMS = 5
"""Problems of a call that are reported."""
_REQUESTS = 2
"""Requests to the model in one turn at most: one, and one more if its calls could not be read."""


@dataclass(frozen=True)
class DelegationContext:
    """What a delegation needs from the run: performing calls, using the model, reporting that it waits."""

    perform: Callable[[Sequence[BoundStep]], Awaitable[list[CallOutcome]]]
    says_strangers: Callable[[str], bool]
    """Whether the outcome of a call may contain strangers' words."""
    reserve: ReserveBudget
    on_usage: Callable[[Usage, int], None]
    on_waiting: Callable[[str], None]
    on_working: Callable[[str], None]
    timezone: str
    asker: Callable[[], AskedBy]
    """Returns whose accounts the agent may name."""


class Delegation:
    """Runs the agent's loop turn by turn, makes steps of its calls, and tracks whether it has read strangers' words.

    Model output is never trusted: the tool of each call is looked up in the registry, and its step is judged like any
    other.
    """

    def __init__(
        self, step: BoundStep, args: dict[str, JsonValue], context: DelegationContext, *, after_strangers: bool
    ) -> None:
        self._step = step
        self._args = args
        self._context = context
        self._after_strangers = after_strangers
        self._count = 0

    async def run(self) -> JsonValue:
        """Run the agent until it has an answer.

        Raises:
            ApplicationError: The capability is unknown, or the registry does not answer.
            ChildWorkflowError: The agent failed.
            BudgetStopped: The budget is used up and the person chose to stop.
        """
        tools = await self._tools()
        transcript = Transcript(key=f"{workflow.info().workflow_id}/{self._step.id}")
        outcomes: list[CallOutcome] = []
        for turn in range(1, MAX_TURNS + 1):
            said = await self._think(turn, transcript, outcomes)
            if said.text is not None or not said.calls:
                return {"text": said.text or ""}
            outcomes = await self._outcomes(said.calls[:MAX_CALLS], tools)
            transcript = transcript.model_copy(update={"length": said.length})
        return {"text": ""}

    async def _tools(self) -> dict[str, lookups.FoundTool]:
        found = await lookups.agent(self._step.capability)
        if not found:
            reason = "the registry does not answer" if found is None else "it is not registered any more"
            raise ApplicationError(f"the agent of {self._step.capability} cannot work: {reason}", type="NoAgent")
        return {tool.spec.name: tool for tool in found}

    async def _think(self, turn: int, transcript: Transcript, outcomes: list[CallOutcome]) -> ConverseResult:
        """Run one turn in a child workflow; a second, patient one if the first found no worker."""
        await self._context.reserve(requests=_REQUESTS, tokens=0, cost=0)
        start = StartMicroAgent(
            agent=self._step.capability,
            goal=str(self._args["goal"]),
            inputs=self._args.get("inputs"),
            timezone=self._context.timezone,
            transcript=transcript,
            outcomes=outcomes,
            last_turn=turn == MAX_TURNS,
            asked_by=self._context.asker(),
        )
        name = f"{self._step.id}/{turn}"
        try:
            answer = await self._child(name, start)
            if answer.waits:
                stop_if_cancelled()
                self._context.on_waiting(self._step.id)
                answer = await self._child(f"{name}/waited", start.model_copy(update={"patient": True}))
                self._context.on_working(self._step.id)
        except ChildWorkflowError as error:
            # usage is unknown; charge the full reservation
            self._context.on_usage(used_by(error) or Usage(requests=_REQUESTS), _REQUESTS)
            stop_if_cancelled()
            raise
        assert answer.said is not None
        self._context.on_usage(answer.said.usage, _REQUESTS)
        stop_if_cancelled()
        return answer.said

    async def _child(self, name: str, start: StartMicroAgent) -> AgentTurn:
        answer: AgentTurn = await workflow.execute_child_workflow(
            AGENT_TYPE,
            start,
            id=f"{workflow.info().workflow_id}/{name}",
            result_type=AgentTurn,
            static_summary=f"{start.agent}: {start.goal}"[:200],
        )
        return answer

    async def _outcomes(self, calls: Sequence[ToolCall], tools: dict[str, lookups.FoundTool]) -> list[CallOutcome]:
        """Return the outcome of each call in order; for an invalid call the outcome says what is wrong."""
        outcomes: dict[str, CallOutcome] = {}
        steps: dict[str, BoundStep] = {}
        for call in calls:
            if problem := _problem(call, tools):
                outcomes[call.call_id] = CallOutcome(call_id=call.call_id, content={"error": problem})
            else:
                steps[call.call_id] = self._bound(call, tools[call.tool])
        done = await self._context.perform(list(steps.values())) if steps else []
        for call_id, outcome in zip(steps, done, strict=True):
            outcomes[call_id] = outcome.model_copy(update={"call_id": call_id})
        # from here on all output of the agent counts as strangers' words
        self._after_strangers |= any(self._context.says_strangers(step.id) for step in steps.values())
        return [outcomes[call.call_id] for call in calls]

    def _bound(self, call: ToolCall, tool: lookups.FoundTool) -> BoundStep:
        self._count += 1
        # its id is longer than a planner's may be, so it is not validated
        wanted = PlanStep.model_construct(
            id=f"{self._step.id}.{self._count}", tool=call.tool, args=call.args, depends_on=[], why=""
        )
        bound = bind_call(wanted, tool.spec, capability=tool.capability, task_queue=tool.task_queue, with_schema=True)
        return bound.model_copy(update={"steered": True}) if self._after_strangers else bound


def _problem(call: ToolCall, tools: dict[str, lookups.FoundTool]) -> str | None:
    if call.tool not in tools:
        return f"you have no tool {call.tool!r}; you have {', '.join(sorted(tools))}"
    if any(references(call.args)):
        return "write the values themselves; references are not possible here"
    return "; ".join(islice(check_args(call.args, tools[call.tool].spec.args_schema), _PROBLEMS)) or None
