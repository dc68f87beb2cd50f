"""Forks: build the input of a new run from a step of an earlier one. Pure; completed steps are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pydantic import JsonValue

from api.services.schemas import ForkBody
from retinue.conversation import Message, Role
from retinue.errors import InvalidArguments, NotFound
from retinue.plan import BoundPlan, BoundStep, check_args, references
from retinue.provenance.credential import Credential, decides
from workflows.messages import Fork, KeptStep, Mode, StartAssistant
from workflows.rules.provenance import TypedValue
from workflows.run.plan_preview import texts


def forked(
    old: StartAssistant, body: ForkBody, *, undone: Collection[str] = (), through: Credential | None = None
) -> StartAssistant:
    """Return the new run's input.

    With new arguments, or none, the old plan's steps from `from_step` on run again; with a new message they are
    planned again. Either way completed steps that do not depend on `from_step` are kept with their results.

    Args:
        old: The old run's input, with its state as `fork`.
        body: The request.
        undone: Steps whose effects were undone after the end; they are not kept.
        through: The credential of the request.

    Raises:
        NotFound: There is no such step.
        InvalidArguments: The new arguments do not fit the step.
    """
    known = old.fork
    assert known is not None  # filled in by the query
    steps = {step.id: step for step in (known.again.steps if known.again else [])}
    if body.from_step not in steps:
        raise NotFound(f"there is no step {body.from_step!r}", hint=f"there are {', '.join(steps) or 'none'}")
    if _is_call(body.from_step, steps):
        delegated = body.from_step.rpartition(".")[0]
        raise InvalidArguments(f"{body.from_step} was a call of an agent", hint=f"fork from {delegated}, its goal")
    anew = _from(body.from_step, steps)
    kept = [_kept(step, known.assistant_id) for step in known.kept if step.bound.id not in {*anew, *undone}]
    known = _taken_over(known, through)
    messages = _messages(old.model_copy(update={"fork": known}), body)
    fork = Fork(assistant_id=known.assistant_id, from_step=body.from_step, messages=messages, kept=kept)
    changes = _planned_anew(body, known) if body.message else _run_again(fork, body, known, steps, anew, through)
    new = old.model_copy(update={"fork": fork.model_copy(update=changes), "message": body.message or old.message})
    # a fork of one answer of a chat is a task
    return new.model_copy(update={"mode": Mode.TASK, "preview": body.preview, "through": through})


def _taken_over(known: Fork, through: Credential | None) -> Fork:
    """Return the origins that the new run may trust: a credential that may not decide types nothing in person."""
    if through is None or through.may_decide:
        return known
    messages = [
        message
        if message.role is not Role.USER or not decides(message.through)
        else message.model_copy(update={"through": through})
        for message in known.messages
    ]
    changes = {
        "messages": messages,
        "typed": [],
        "typed_through": [*known.typed_through, *_through(through, known.typed)],
    }
    return known.model_copy(update=changes)


def _through(credential: Credential, values: Sequence[str]) -> list[TypedValue]:
    return [TypedValue(text=text, through=credential) for text in values]


def _messages(old: StartAssistant, body: ForkBody) -> list[Message]:
    """Return the conversation that the new run continues.

    The old task's answer, which may contain strangers' words, is not shown to a planner. Without new planning it is
    dropped, since a new answer replaces it.
    """
    messages = list(old.fork.messages) if old.fork else []
    if old.mode is Mode.CHAT or not messages or messages[-1].role is not Role.ASSISTANT:
        return messages
    answer = messages.pop()
    return [*messages, answer.model_copy(update={"withheld": True})] if body.message else messages


def _planned_anew(body: ForkBody, known: Fork) -> dict[str, object]:
    if body.args is not None:
        raise InvalidArguments("`args` and `message` exclude each other", hint="a new message is planned again")
    return {"round": known.round + 1, "typed": known.typed, "typed_through": known.typed_through}


def _run_again(
    fork: Fork,
    body: ForkBody,
    known: Fork,
    steps: Mapping[str, BoundStep],
    anew: Sequence[str],
    through: Credential | None,
) -> dict[str, object]:
    kept = {step.bound.id for step in fork.kept}
    again = [_rewired(steps[step_id], kept | set(anew)) for step_id in steps if step_id in anew]
    typed, typed_through = list(known.typed), list(known.typed_through)
    if body.args is not None:
        ran = known.ran.get(body.from_step, {})
        again = [_edited(step, body.args, ran) if step.id == body.from_step else step for step in again]
        before = set(texts(ran))
        new = [text for text in texts(body.args) if text not in before]
        if through is None or through.may_decide:
            typed += new
        else:
            typed_through += _through(through, new)
    return {"again": BoundPlan(steps=again), "round": known.round, "typed": typed, "typed_through": typed_through}


def _from(first: str, steps: Mapping[str, BoundStep]) -> list[str]:
    """Return the step and all steps that depend on it, without calls of agents."""
    found = {first}
    while more := {s.id for s in steps.values() if s.id not in found and found & set(s.depends_on)}:
        found |= more
    return [step_id for step_id in steps if step_id in found and not _is_call(step_id, steps)]


def _is_call(step_id: str, steps: Mapping[str, BoundStep]) -> bool:
    parent = steps.get(step_id.rpartition(".")[0])
    return parent is not None and parent.agent


def _rewired(step: BoundStep, present: set[str]) -> BoundStep:
    missing = {source for source, _ in references(step.args)} - present
    if missing:
        raise InvalidArguments(
            f"step {step.id} needs the result of {', '.join(sorted(missing))}, which is not completed",
            hint="fork from that step, or give a new message",
        )
    return step.model_copy(update={"depends_on": [other for other in step.depends_on if other in present]})


def _edited(step: BoundStep, args: dict[str, JsonValue], ran: Mapping[str, JsonValue]) -> BoundStep:
    """Return the step with new arguments. An unchanged argument keeps its planned form, so that its origin is known.

    One that was filled in and is unchanged is left out, so that it is filled in again.
    """
    if step.annotations.fills_in:
        args = {name: value for name, value in args.items() if name in step.args or ran.get(name) != value}
    if any(references(args)):
        raise InvalidArguments("write the values themselves; new arguments cannot refer to other steps")
    if step.args_schema and (problems := list(check_args(args, step.args_schema))):
        raise InvalidArguments(f"the new arguments do not fit {step.tool}: {'; '.join(problems[:5])}")
    unchanged = {name for name, value in args.items() if name in step.args and ran.get(name) == value}
    return step.model_copy(
        update={"args": {name: step.args[name] if name in unchanged else value for name, value in args.items()}}
    )


def _kept(step: KeptStep, assistant_id: str) -> KeptStep:
    return step if step.assistant_id else step.model_copy(update={"assistant_id": assistant_id})
