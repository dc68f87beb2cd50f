"""The form in which a plan is asked for, built from the tools that a request offers.

A step is a call of one tool with that tool's arguments, or a goal for an agent. It is an aid for the model and for the engine
that keeps it to the form; a plan is checked in any case (`retinue.plan.check`).

Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from activities.reasoning.plain_schema import (
    ANY,
    FREE,
    MOST_ITEMS,
    STEP_ID,
    Schema,
    arguments,
    closed,
    either,
    other_step,
    text,
    with_definitions,
)
from retinue.capability import PLANS_KEYWORD, ToolSpec
from retinue.plan import LONGEST_OPTION, MOST_OPTIONS

MOST_TOOLS = 80
LARGEST = 64_000
"""Characters of the whole format. With more tools, or a larger one, a step names any tool and any of their arguments."""
MOST_STEPS = 20
_MOST_BEFORE = 8
"""Steps that one waits for beside those that it refers to, which the check of a plan adds. A small model fills a list until
it is full, so these bounds are what ends its plan."""
_LONGEST_GOAL = 1900
_LONGEST_QUESTION = 1000
_LONGEST_REPLY = 1900
_LONGEST_WHY = 200
_LONGEST_NEED = 200
_MOST_NEEDS = 10
_NULL: Schema = {"type": "null"}


@dataclass(frozen=True)
class AnswerFormat:
    """A form in which a model answers in JSON.

    Args:
        name: Tells servers that stand in for a model what is asked.
        schema: Of the answer.
        loose: Another one for it, which takes more and is small; used where the first is too large.
        words: The one that is told in the prompt to endpoints that take no schema, by default `schema`.
        plain: Whether the schemas are plain (`plain_schema`), so that they need not be written again.
    """

    name: str
    schema: Schema
    loose: Schema | None = None
    words: Schema | None = None
    plain: bool = False


PLAN_IN_WORDS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["steps", "question", "reply", "final"],
    "properties": {
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["id", "args", "depends_on", "why"],
                "properties": {
                    "id": {"type": "string"},
                    "tool": {"type": "string"},
                    "agent": {"type": "string"},
                    "goal": {"type": "string"},
                    "args": {"type": "object"},
                    "depends_on": {"type": "array", "items": {"type": "string"}},
                    "why": {"type": "string"},
                },
            },
        },
        "question": {"type": ["string", "null"]},
        "reply": {"type": ["string", "null"]},
        "options": {"type": ["array", "null"], "items": {"type": "string"}},
        "final": {"type": "boolean"},
    },
}
"""What a plan is; the tools and their arguments stand in the prompt."""


def plan_format(tools: Iterable[ToolSpec], agents: Iterable[str], *, may_need: bool = False) -> AnswerFormat:
    """Return the form of a plan.

    Args:
        tools: That the request offers.
        agents: The capabilities to whose agents a goal may be given.
        may_need: Whether the model may ask for tools that the request does not offer.
    """
    offered, names = list(tools), list(agents)
    goals = [_goal(names)] if names else []
    loose = _plan([*([_any_call(offered)] if offered else []), *goals], may_need=may_need)
    exact = _plan([*map(_call, offered), *goals], may_need=may_need)
    fits = len(offered) <= MOST_TOOLS and len(json.dumps(exact)) <= LARGEST
    return AnswerFormat("plan", exact if fits else loose, loose=loose, words=_in_words(may_need=may_need), plain=True)


def _in_words(*, may_need: bool) -> Schema:
    if not may_need:
        return PLAN_IN_WORDS
    need = {"type": ["array", "null"], "items": {"type": "string"}}
    return {**PLAN_IN_WORDS, "properties": {"need": need, **PLAN_IN_WORDS["properties"]}}


def _plan(steps: Sequence[Schema], *, may_need: bool) -> Schema:
    listed = {"type": "array", "items": either(steps), "maxItems": MOST_STEPS} if steps else _no_steps()
    wanted = {"type": "array", "items": text(_LONGEST_NEED), "maxItems": _MOST_NEEDS}
    plan = {
        **({"need": either([wanted, _NULL])} if may_need else {}),
        "steps": listed,
        "question": either([text(_LONGEST_QUESTION), _NULL]),
        "reply": either([text(_LONGEST_REPLY), _NULL]),
        "options": either([{"type": "array", "items": text(LONGEST_OPTION), "maxItems": MOST_OPTIONS}, _NULL]),
        "final": {"type": "boolean"},
    }
    return with_definitions(closed(plan, plan.keys() - {"options"}))


def _no_steps() -> Schema:
    return {"type": "array", "items": _NULL, "maxItems": 0}


def _call(tool: ToolSpec) -> Schema:
    return _step({"tool": _one_of([tool.name]), "args": arguments(planned(tool.args_schema))})


def planned(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of arguments without the optional ones that plans have no use for."""
    fields, required = schema.get("properties"), schema.get("required")
    if not isinstance(fields, Mapping):
        return schema
    needed = required if isinstance(required, list) else []
    kept = {
        name: field
        for name, field in fields.items()
        if name in needed or not isinstance(field, Mapping) or field.get(PLANS_KEYWORD) is not False
    }
    return {**schema, "properties": kept}


def _any_call(tools: Sequence[ToolSpec]) -> Schema:
    """Return a call of any tool, with the arguments of all of them: a closed object ends in any engine."""
    names = dict.fromkeys(name for tool in tools for name in planned(tool.args_schema).get("properties", {}))
    args = closed(dict.fromkeys(names, ANY), []) if len(names) <= MOST_ITEMS else FREE
    return _step({"tool": _one_of([tool.name for tool in tools]), "args": args})


def _goal(agents: Sequence[str]) -> Schema:
    return _step({"agent": _one_of(agents), "goal": text(_LONGEST_GOAL), "args": FREE}, optional="args")


def _step(fields: dict[str, Schema], *, optional: str = "") -> Schema:
    """Return a step: its tool stands before its arguments, since engines write properties in this order."""
    rest = {"depends_on": {"type": "array", "items": other_step(), "maxItems": _MOST_BEFORE}, "why": text(_LONGEST_WHY)}
    properties = {"id": {"type": "string", "pattern": STEP_ID}, **fields, **rest}
    return closed(properties, [name for name in properties if name != optional])


def _one_of(names: Sequence[str]) -> Schema:
    return {"type": "string", "enum": list(names)}
