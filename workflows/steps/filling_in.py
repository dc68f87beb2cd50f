"""Arguments that a capability's own read-only tool fills in before an action is decided. Pure.

The recipients of a reply, for example, stand in the mail that it answers. They become references to the result of the
tool that reads them. So the policy judges them, a card shows them, and their origin is what strangers wrote.
"""

from __future__ import annotations

from pydantic import JsonValue

from retinue.capability import ACCOUNT
from retinue.plan import BoundStep, PlanStep, bind_call
from workflows.consent.lookups import FoundTool
from workflows.rules.provenance import Origin, Source


def filling_call(step: BoundStep, argument: str, tool: FoundTool | None) -> BoundStep | None:
    """Return the call that fills in arguments.

    Args:
        step: The action.
        argument: Its argument that wants the call.
        tool: The tool as announced.

    Returns:
        None if the tool is unknown, belongs to another capability, or changes something.
    """
    if tool is None or tool.capability != step.capability or not tool.spec.annotations.read_only:
        return None
    known = tool.spec.args_schema.get("properties", {})
    # its id is longer than a planner's may be, so it is not validated
    call = PlanStep.model_construct(
        id=f"{step.id}.{argument}",
        tool=tool.spec.name,
        args={name: value for name, value in step.args.items() if name in known},
        depends_on=[],
        why="",
    )
    bound = bind_call(call, tool.spec, capability=tool.capability, task_queue=tool.task_queue)
    return bound.model_copy(update={"steered": step.steered})


def filled_in(step: BoundStep, call_id: str, result: JsonValue) -> BoundStep:
    """Return the step with references to a result's fields in place of the arguments that the plan leaves out."""
    given = {name for name, value in step.args.items() if value not in (None, [], "")}
    fields = result.items() if isinstance(result, dict) else ()
    told = ACCOUNT if step.annotations.accounts else None
    found = {
        name: {"$from": call_id, "path": f"/{name}"}
        for name, value in fields
        if value not in (None, []) and name != told
    }
    return step.model_copy(update={"args": {**step.args, **{n: ref for n, ref in found.items() if n not in given}}})


def unknown_yet(step: BoundStep) -> tuple[dict[str, JsonValue], list[Origin]]:
    """Return the arguments of a step that has not run, with references for destinations that will be filled in.

    Returns:
        The arguments, and the origins of those destinations: they count as strangers', since nobody has read them yet.
    """
    wanted = next((name for name in step.annotations.fills_in if name in step.args), None)
    names = [place.split("/")[1] for place in step.annotations.sensitive if not step.args.get(place.split("/")[1])]
    if wanted is None:
        return step.args, []
    call_id, tool = f"{step.id}.{wanted}", step.annotations.fills_in[wanted]
    origins = [
        Origin(path=f"/{name}", source=Source.STRANGERS, step_id=call_id, tool=tool, trusted=False) for name in names
    ]
    return {**step.args, **{name: {"$from": call_id, "path": f"/{name}"} for name in names}}, origins
