"""Undo: compensates effects, last first, each by the tool that its annotations name as `undo`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from pydantic import JsonValue
from temporalio import workflow
from temporalio.exceptions import ActivityError

from retinue.provenance.asked_by import AskedBy
from workflows.consent import lookups
from workflows.failures import explain
from workflows.messages import DoneEffect, StartUndo, UndoStep, UndoView
from workflows.rules.policy import DEFAULT_POLICY, Action, Decision, Policy
from workflows.steps.activity import run_activity

UNDO = "undo"
"""The reason of a cancellation that also undoes effects."""
UNDO_TYPE = "UndoWorkflow"
_TRIES = 5
_PAUSE = timedelta(seconds=10)


def undo_id(assistant_id: str, number: int) -> str:
    """Return the workflow id of the undo of a run; a later undo only does what the earlier ones could not."""
    return f"{assistant_id}-undo" if number == 1 else f"{assistant_id}-undo-{number}"


class Compensation:
    """Undoes effects. Irreversible or failed effects are reported; the rest continues.

    The person's request to undo is the consent for the arguments that code derives, except for what the policy denies.

    Args:
        effects: In the order in which they happened.
        policy: Denies actions.
        caller: The owner of the run.
        on_undone: Called with the step of each undone effect.
        on_change: Called at each change of a status.
    """

    def __init__(
        self,
        effects: Sequence[DoneEffect],
        policy: Policy,
        *,
        caller: str,
        on_undone: Callable[[str], None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._effects = list(effects)
        self._policy = policy
        self._caller = caller
        self._on_undone = on_undone
        self._on_change = on_change
        self._steps = {effect.step_id: _step(effect) for effect in reversed(self._effects)}

    def steps(self) -> list[UndoStep]:
        """Return the status of each effect, last first."""
        return list(self._steps.values())

    async def run(self) -> None:
        """Undo what can be undone."""
        tools = await self._tools()
        for effect in reversed(self._effects):
            if self._steps[effect.step_id].status == "pending":
                await self._undo(effect, tools.get(effect.undo or ""))

    async def _tools(self) -> dict[str, lookups.FoundTool]:
        names = sorted({effect.undo for effect in self._effects if effect.undo})
        for _ in range(_TRIES if names else 0):
            if (found := await lookups.tools(names)) is not None:
                return {tool.spec.name: tool for tool in found}
            await workflow.sleep(_PAUSE)
        return {}

    async def _undo(self, effect: DoneEffect, tool: lookups.FoundTool | None) -> None:
        if tool is None or tool.capability != effect.capability:
            self._set(effect, status="failed", error=f"{effect.undo} is not registered now")
            return
        args = _args(effect, tool.spec.args_schema)
        if self._is_denied(tool, args):
            self._set(effect, status="impossible", error="the policy forbids it")
            return
        try:
            result: JsonValue = await run_activity(
                tool.spec.name,
                args,
                task_queue=tool.task_queue,
                options=tool.spec.options,
                activity_id=f"undo.{effect.step_id}",
                summary=f"undo {effect.tool}",
                asked_by=AskedBy(person=self._caller) if tool.spec.annotations.personal else None,
                on_waiting=lambda waiting: self._set(
                    effect, error=waiting.reason or f"no worker of {effect.capability} has taken it yet"
                ),
            )
        except ActivityError as error:
            self._set(effect, status="failed", error=explain(error, who=tool.spec.name).message)
        else:
            if tool.spec.annotations.personal:
                await lookups.note_facts(self._caller, result)
            self._set(effect, status="undone", error=None)
            self._on_undone(effect.step_id)

    def _is_denied(self, tool: lookups.FoundTool, args: dict[str, JsonValue]) -> bool:
        action = Action(
            tool=tool.spec.name, annotations=tool.spec.annotations, args=args, origins=(), caller=self._caller
        )
        return self._policy.judge(action).decision is Decision.DENY

    def _set(self, effect: DoneEffect, **changes: Any) -> None:
        self._steps[effect.step_id] = self._steps[effect.step_id].model_copy(update=changes)
        self._on_change()


def _args(effect: DoneEffect, schema: dict[str, Any]) -> dict[str, JsonValue]:
    """Return the undo tool's arguments by name, from the effect's result, else from its arguments."""
    result = effect.result if isinstance(effect.result, dict) else {}
    given = {**effect.args, **result}
    return {name: given[name] for name in schema.get("properties", {}) if name in given}


def _step(effect: DoneEffect) -> UndoStep:
    step = UndoStep(step_id=effect.step_id, tool=effect.tool, title=effect.title, undo=effect.undo)
    if effect.unknown:
        return step.model_copy(update={"status": "impossible", "error": "it is unknown whether it happened"})
    return step if effect.undo else step.model_copy(update={"status": "impossible", "error": "it cannot be undone"})


@workflow.defn(name=UNDO_TYPE)
class UndoWorkflow:
    """Undoes an ended run. A run that is cancelled with `undo` undoes its own effects."""

    @workflow.init
    def __init__(self, start: StartUndo) -> None:
        self._start = start
        self._compensation = Compensation(start.effects, start.policy or DEFAULT_POLICY, caller=start.by)
        self._done = False

    @workflow.run
    async def run(self, start: StartUndo) -> UndoView:
        """Undo what can be undone. Returns the status of each effect."""
        await self._compensation.run()
        self._done = True
        return self.view()

    @workflow.query
    def view(self) -> UndoView:
        """Return the current state of the undo."""
        return UndoView(
            assistant_id=self._start.assistant_id, by=self._start.by, done=self._done, steps=self._compensation.steps()
        )
