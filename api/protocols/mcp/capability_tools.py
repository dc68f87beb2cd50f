"""The tools of `/mcp/{capability}`: a call is a run of one step, so policy, grants, approvals and ledger apply.

No model is involved. The caller's arguments are not typed by the person: destinations count as chosen by a model
unless the person's address book has them, and the policy judges by that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, ValidationError

from api.auth.principals import Permission
from api.protocols.mcp.assistant_tools import claimed, given_back
from api.protocols.shared.call_context import CallContext
from api.protocols.shared.run_summary import ShownAssistant, shown
from api.services.schemas import StartBody
from retinue.capability import Manifest, ToolSpec
from retinue.errors import InvalidArguments, NotFound
from retinue.json_values import json_size
from retinue.plan import BoundStep, Plan, PlanStep, bind, check
from workflows.messages import AssistantView, StepStatus

_STEP = "s1"
_RESULT_BYTES = 256 * 1024


@dataclass(frozen=True)
class Called:
    """The result of a call.

    Args:
        done: Whether the tool succeeded.
        result: The tool's result.
        words: Further text for a model.
        assistant: The assistant of the call.
    """

    done: bool
    result: JsonValue
    words: str
    assistant: ShownAssistant


def capability_tools(call: CallContext, manifest: Manifest) -> Mapping[str, ToolSpec]:
    """Return a capability's tools by short names such as `create_event`; none without the permission `ask`."""
    if not call.person.may(Permission.ASK):
        return {}
    return {spec.name.partition(".")[2]: spec for spec in manifest.tools if spec.plannable}


async def call_capability(
    call: CallContext, manifest: Manifest, name: str, arguments: dict[str, Any], *, key: str | None, seconds: float
) -> Called:
    """Call a tool as a run of one step, and wait for it.

    Args:
        call: The caller's context.
        manifest: The capability.
        name: The tool, without the capability's name.
        arguments: The client's arguments.
        key: The client's idempotency key: a repeated call returns the current state of the same run.
        seconds: How long to wait.

    Raises:
        NotAllowed: The caller lacks the permission `ask`.
        NotFound: There is no such tool.
        InvalidArguments: The arguments are invalid, or the key was used for another call.
    """
    call.person.check(Permission.ASK)
    step = _bound(manifest, name, arguments)
    fingerprint = f"mcp {step.tool} {json.dumps(arguments, sort_keys=True)}"
    claim = await claimed(call, key, fingerprint, seconds=seconds)
    try:
        # the arguments must not be in the message: its content counts as typed by the person
        body = StartBody(message=f"{step.tool}, called through MCP")
        given = call.runs.input_for(body, timezone=call.state.settings.retinue_timezone)
        view = await call.runs.begin(given.model_copy(update={"call": step}), claimed=claim)
        view = await call.runs.settled(view.id, seconds=seconds)
    finally:
        await given_back(call, claim)
    return _result_of(view, call.base)


def _bound(manifest: Manifest, name: str, arguments: dict[str, Any]) -> BoundStep:
    known = {spec.name.partition(".")[2] for spec in manifest.tools if spec.plannable}
    if name not in known:
        raise NotFound(f"there is no tool {name[:80]!r}", hint=f"there are {', '.join(sorted(known))}")
    try:
        plan = Plan(steps=[PlanStep(id=_STEP, tool=f"{manifest.name}.{name}", args=arguments)])
    except ValidationError:
        raise InvalidArguments("the arguments are not JSON that can be stored") from None
    if problems := check(plan, [manifest]):
        raise InvalidArguments("; ".join(problem.removeprefix(f"step {_STEP}: ") for problem in problems[:5]))
    return bind(plan, [manifest], with_schemas=True).steps[0]


def _result_of(view: AssistantView, base: str) -> Called:
    about = shown(view, base)
    step = next((step for step in (view.plan.steps if view.plan else []) if step.id == _STEP), None)
    if step is None or step.status is not StepStatus.COMPLETED:
        return Called(False, None, _not_done(about, step.status if step else StepStatus.PENDING), about)
    if json_size(step.result) > _RESULT_BYTES:
        words = f"Done. The result is too long for this answer; see {about.links.self}."
        return Called(False, None, words, about)
    return Called(True, step.result, "", about)


def _not_done(about: ShownAssistant, status: StepStatus) -> str:
    if about.approvals:
        waits = "; ".join(f"{approval.id} ({approval.title})" for approval in about.approvals)
        return (
            f"Not done: it waits for approval {waits}. A person decides at {about.approvals[0].link}. Do not call again, "
            f"it would be asked twice; assistant_status of {about.id} at /mcp says what became of it.\n\n"
            + "\n\n".join(approval.in_whole() for approval in about.approvals)
        )
    steps = about.plan.steps if about.plan else []
    why = next((step.error.message for step in steps if step.error), None) or (about.error and about.error.message)
    ended = {StepStatus.FAILED, StepStatus.REJECTED, StepStatus.CANCELLED, StepStatus.SKIPPED, StepStatus.UNKNOWN}
    if status in ended:
        return f"Not done: {status}{f' ({why})' if why else ''}. See {about.links.self}."
    return (
        f"Not done yet: {status}. It continues without you; do not call again. assistant_status of {about.id} at /mcp says "
        f"what became of it."
    )
