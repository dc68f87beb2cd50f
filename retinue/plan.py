"""Plans: reads and checks what a model writes, and resolves references between steps.

Pure, so that workflows, the reasoning worker and tests share it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator
from referencing.exceptions import Unresolvable

from retinue.capability import READ, Annotations, Manifest, ToolOptions, ToolSpec
from retinue.errors import BrokenReference, MalformedAnswer
from retinue.json_values import json_size, whole_values
from retinue.provenance.fields import FieldOrigins, field_origins
from retinue.schemas import arguments
from retinue.schemas.arguments import TypesOf, types_at

MAX_STEPS = 100
MAX_CHAIN = 25
"""The longest chain of steps that wait for each other."""
MAX_FAN_OUT = 50
"""How many steps may depend on the same step."""
AGENT_VERB = "agent"
"""The tool name of a step that is delegated to a capability's own agent: `<capability>.agent`."""
_GOAL_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["goal"],
    "additionalProperties": False,
    "properties": {"goal": {"type": "string", "minLength": 1, "maxLength": 4000}, "inputs": {"type": "object"}},
}
AGENT_RESULT: Mapping[str, Any] = {"type": "object", "properties": {"text": {"type": "string"}}}
MAX_ARGS_BYTES = 64 * 1024
MAX_DEPTH = 32
LONGEST_OPTION = 120
MOST_OPTIONS = 5
_MAX_PROBLEMS = 12
_MAX_NAMES = 60
_NEAREST = 5


class PlanStep(BaseModel):
    """One step as a model writes it: a tool with arguments, or an agent with a goal."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")
    tool: str | None = None
    args: dict[str, JsonValue] = Field(
        default_factory=dict, description="of the tool; for an agent the data that it may use"
    )
    agent: str | None = Field(None, description="the capability whose own agent works on `goal`")
    goal: str | None = Field(None, min_length=1, max_length=4000)
    depends_on: list[str] = Field(default_factory=list)
    why: str = Field("", max_length=500)

    @field_validator("args", mode="before")
    @classmethod
    def _object_or_json_text(cls, value: object) -> object:
        """Accept a JSON string that contains an object, since providers with strict schemas cannot express a free object."""
        if isinstance(value, str):
            try:
                value = whole_values(json.loads(value))
            except ValueError as error:
                raise ValueError(f"args is a string that is not JSON: {error}") from error
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()  # refuses NaN and half characters
        return value


class Plan(BaseModel):
    """A plan as a model writes it."""

    model_config = ConfigDict(extra="forbid")

    steps: list[PlanStep] = Field(default_factory=list)
    question: str | None = Field(None, max_length=4000, description="asked of the person before anything is done")
    reply: str | None = Field(None, max_length=16_000, description="answers at once, without steps")
    options: list[Annotated[str, Field(min_length=1, max_length=LONGEST_OPTION)]] | None = Field(
        None, max_length=MOST_OPTIONS, description="short answers to the question, or requests that the reply offers"
    )
    final: bool = Field(True, description="false asks for another planning round with the results")
    need: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, max_length=10, description="asks for tools that the request did not list: capabilities, tools or words"
    )


class BoundStep(BaseModel):
    """A step with all that a workflow needs to run it, copied from the manifest at planning time."""

    id: str
    tool: str
    args: dict[str, JsonValue]
    depends_on: list[str]
    why: str = ""
    capability: str
    task_queue: str
    title: str
    summary: str
    annotations: Annotations
    options: ToolOptions
    args_schema: dict[str, Any] | None = Field(
        None, description="only for steps that may need approval, to check edits"
    )
    agent: bool = Field(False, description="a goal for the capability's own agent, not a tool call")
    steered: bool = Field(False, description="an agent chose it after it had read strangers' words")
    result_fields: FieldOrigins = Field(
        default_factory=dict, description="the origin of each result field's text (`retinue.provenance.fields`)"
    )


class BoundPlan(BaseModel):
    """A plan that passed `check`, ready to run."""

    steps: list[BoundStep] = Field(default_factory=list)
    question: str | None = None
    reply: str | None = None
    options: list[str] = Field(default_factory=list)
    final: bool = True


def parse(text: str) -> Plan:
    """Read a model's answer.

    Raises:
        MalformedAnswer: It is not JSON or not of a plan's shape; the message is meant for the model.
    """
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        places = (f"{'/'.join(map(str, item['loc'])) or 'answer'}: {item['msg']}" for item in error.errors())
        raise MalformedAnswer("; ".join(list(places)[:_MAX_PROBLEMS])) from None
    except RecursionError:
        raise MalformedAnswer("the plan is nested too deeply") from None


@dataclass(frozen=True)
class Round:
    """Which planning round of a run a plan belongs to.

    Args:
        number: 1 for the first plan. The steps of later ones are renamed, `s1` to `2.s1`, since a step's id is part of
            its effect's key.
        earlier: The steps of earlier rounds that a reference may name: their ids and tools.
        last: Whether no further round will follow, so that the plan must be final.
        may_be_empty: Whether steps were already done for this message, so that an empty plan means "enough".
    """

    number: int = 1
    earlier: Mapping[str, str] = field(default_factory=dict)
    last: bool = False
    may_be_empty: bool = False

    def renamed(self, step_id: str, own: Collection[str]) -> str:
        """Return the run-wide id of a step that the plan names; its own steps hide earlier ones with the same name."""
        return f"{self.number}.{step_id}" if self.number > 1 and step_id in own else step_id


FIRST_ROUND = Round()


def check(plan: Plan, manifests: Iterable[Manifest], this_round: Round = FIRST_ROUND) -> list[str]:
    """Return all problems of a plan, in sentences that a model can act on; empty if it may run."""
    known = list(manifests)
    tools = {spec.name: spec for manifest in known for spec in manifest.tools if spec.plannable}
    problems = [*_check_outline(plan, this_round), *_check_order(plan, this_round)]
    results = _result_schemas(plan, tools, this_round)
    for step in plan.steps:
        if step.agent is not None or step.goal is not None:
            found = _check_goal(step, {manifest.name for manifest in known}, results)
        else:
            found = _check_call(step, tools, results)
        problems.extend(f"step {step.id}: {problem}" for problem in found)
    return problems[:_MAX_PROBLEMS]


def bind(
    plan: Plan, manifests: Iterable[Manifest], this_round: Round = FIRST_ROUND, *, with_schemas: bool = False
) -> BoundPlan:
    """Attach queue, options and annotations to each step of a plan that passed `check`.

    Args:
        plan: The plan.
        manifests: What the capabilities announced.
        this_round: Determines the steps' ids in the run.
        with_schemas: Attach the argument schemas of all steps, not only of those that need approval by default.
    """
    known = {manifest.name: manifest for manifest in manifests}
    own = {step.id for step in plan.steps}
    bound = (_bind_step(step, known, with_schemas=with_schemas) for step in plan.steps)
    return BoundPlan(
        steps=[_renamed(step, this_round, own) for step in bound],
        question=plan.question,
        reply=plan.reply,
        **({"options": plan.options} if plan.options else {}),
        final=plan.final,
    )


def _renamed(step: BoundStep, this_round: Round, own: Collection[str]) -> BoundStep:
    if this_round.number == 1:
        return step

    def name(step_id: str) -> str:
        return this_round.renamed(step_id, own)

    changes = {"id": name(step.id), "depends_on": [name(other) for other in step.depends_on]}
    return step.model_copy(update={**changes, "args": {key: _repointed(arg, name) for key, arg in step.args.items()}})


def _repointed(value: JsonValue, name: Callable[[str], str]) -> JsonValue:
    if isinstance(value, dict):
        if "$from" in value:
            return {**value, "$from": name(str(value["$from"]))}
        return {key: _repointed(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [_repointed(item, name) for item in value]
    return value


def _bind_step(step: PlanStep, known: Mapping[str, Manifest], *, with_schemas: bool) -> BoundStep:
    if step.agent is not None:
        return _bind_goal(step, known[step.agent])
    manifest = known[(step.tool or "").partition(".")[0]]
    spec = manifest.tool(step.tool or "")
    assert spec is not None  # `check` has found it
    return bind_call(step, spec, capability=manifest.name, task_queue=manifest.task_queue, with_schema=with_schemas)


def bind_call(
    step: PlanStep, spec: ToolSpec, *, capability: str, task_queue: str, with_schema: bool = False
) -> BoundStep:
    """Return one tool call as a bound step."""
    return BoundStep(
        id=step.id,
        tool=spec.name,
        args=step.args,
        depends_on=_needs(step),
        why=step.why,
        capability=capability,
        task_queue=task_queue,
        title=spec.title,
        summary=spec.summary,
        annotations=spec.annotations,
        options=spec.options,
        args_schema=spec.args_schema if with_schema or _may_be_asked(step, spec.annotations) else None,
        result_fields=field_origins(spec.result_schema),
    )


def _bind_goal(step: PlanStep, manifest: Manifest) -> BoundStep:
    """Return a delegated goal as a bound step. It reads only: each call that the agent requests becomes another step."""
    return BoundStep(
        id=step.id,
        tool=f"{manifest.name}.{AGENT_VERB}",
        args={"goal": step.goal, **({"inputs": step.args} if step.args else {})},
        depends_on=_needs(step),
        why=step.why,
        capability=manifest.name,
        task_queue=manifest.task_queue,
        title=f"Let the {manifest.name} agent work",
        summary="{goal}",
        annotations=READ,
        options=ToolOptions(),
        args_schema=dict(_GOAL_SCHEMA),
        agent=True,
    )


def _may_be_asked(step: PlanStep, annotations: Annotations) -> bool:
    """Whether a person may have to decide on it and may edit it; only then does the history need its schema."""
    consequential = not annotations.read_only and (annotations.open_world or annotations.destructive)
    return consequential or any(pointer.split("/")[1] in step.args for pointer in annotations.sensitive)


def _needs(step: PlanStep) -> list[str]:
    """Return a step's dependencies: the declared ones, and every step that its arguments refer to."""
    return list(dict.fromkeys([*step.depends_on, *(source for source, _ in references(step.args))]))


def _check_outline(plan: Plan, this_round: Round) -> Iterator[str]:
    if not plan.steps and not plan.question and not plan.reply and not this_round.may_be_empty:
        yield "the plan has no steps, no question and no reply; give one of them"
    if len(plan.steps) > MAX_STEPS:
        yield f"the plan has {len(plan.steps)} steps; at most {MAX_STEPS} are allowed"
    if not plan.final and this_round.last:
        yield "there is no further planning round; plan all steps now and set final to true"
    if not plan.final and not plan.steps:
        yield "a plan without steps is final"
    if plan.question and plan.steps:
        yield "a plan asks a question or has steps, not both"
    ids = [step.id for step in plan.steps]
    for twice in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"two steps have the id {twice}"
    for dotted in sorted({name for name in ids if "." in name}):
        yield f"step {dotted}: an id must have no dot; the run assigns ids with dots"


def _check_order(plan: Plan, this_round: Round) -> Iterator[str]:
    needs = {step.id: set(_needs(step)) for step in plan.steps}
    for step_id, others in needs.items():
        for unknown in sorted(others - needs.keys() - this_round.earlier.keys()):
            yield f"step {step_id}: depends on {unknown}, which is no step of this plan"
        others &= needs.keys()
    yield from _check_fan_out(needs)
    waiting, chain = dict(needs), 0
    while ready := [step_id for step_id, others in waiting.items() if not others & waiting.keys()]:
        chain += 1
        for step_id in ready:
            del waiting[step_id]
    if waiting:
        yield f"the steps {', '.join(sorted(waiting))} wait for each other in a circle"
    if chain > MAX_CHAIN:
        yield f"{chain} steps wait for each other in a chain; at most {MAX_CHAIN} may"


def _check_fan_out(needs: Mapping[str, Collection[str]]) -> Iterator[str]:
    waiting_for = Counter(other for others in needs.values() for other in others)
    for step_id, count in waiting_for.items():
        if count > MAX_FAN_OUT:
            yield f"{count} steps wait for step {step_id}; at most {MAX_FAN_OUT} may"


def _result_schemas(plan: Plan, tools: Mapping[str, ToolSpec], this_round: Round) -> dict[str, Mapping[str, Any]]:
    """Return the result schema of each step that a reference may name; absent if its tool is unknown."""
    named = dict(this_round.earlier) | {
        step.id: f"{step.agent}.{AGENT_VERB}" if step.agent is not None else step.tool or "" for step in plan.steps
    }
    agents = {step_id: AGENT_RESULT for step_id, tool in named.items() if tool.endswith(f".{AGENT_VERB}")}
    return agents | {step_id: tools[tool].result_schema for step_id, tool in named.items() if tool in tools}


def _check_goal(step: PlanStep, agents: Collection[str], results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if step.tool is not None or step.agent is None or step.goal is None:
        yield "a step has a tool with args, or an agent with a goal"
    elif step.agent not in agents:
        yield f"there is no agent {step.agent!r}; {_there_are(step.agent, agents)}"
    else:
        yield from _check_shape(step, results)


def _there_are(wanted: str, names: Collection[str]) -> str:
    """Return which names there are; of many only those that look most like the wanted one."""
    if len(names) <= _MAX_NAMES:
        return f"there are {', '.join(sorted(names))}"
    return f"the nearest of {len(names)} are {', '.join(get_close_matches(wanted, names, _NEAREST, cutoff=0))}"


def _check_call(
    step: PlanStep, tools: Mapping[str, ToolSpec], results: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    spec = tools.get(step.tool or "")
    if spec is None:
        yield f"there is no tool {step.tool!r}; {_there_are(step.tool or '', tools)}"
    elif problems := list(_check_shape(step, results)):
        yield from problems
    else:
        yield from check_args(step.args, spec.args_schema, partial(_types_of, results=results))


def _types_of(reference: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> frozenset[str] | None:
    """Return the JSON types that a reference may have, by the result schema of its step."""
    source = str(reference["$from"])
    return types_at(results[source], pointer_parts(str(reference.get("path") or ""))) if source in results else None


def _check_shape(step: PlanStep, results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if "$from" in step.args:
        yield "args must be an object of arguments; a reference may replace one argument, not all of them"
    elif json_size(step.args) > MAX_ARGS_BYTES:
        yield f"the arguments are larger than {MAX_ARGS_BYTES // 1024} KiB"
    elif _depth(step.args) > MAX_DEPTH:
        yield f"the arguments are nested deeper than {MAX_DEPTH} levels"
    else:
        for source, path in references(step.args):
            if source in results and not _schema_has(results[source], path):
                yield f"{path!r} is not a field of the result of {source}"


def check_args(args: Mapping[str, Any], schema: Mapping[str, Any], types_of: TypesOf | None = None) -> Iterator[str]:
    """Yield what is wrong with arguments by their JSON schema. A reference is valid wherever a value is.

    Args:
        args: The arguments, as planned or resolved.
        schema: Their JSON schema.
        types_of: Returns the JSON types that a reference may have; a type that the schema does not allow is a problem.
    """
    try:
        for error in arguments.problems(args, schema, types_of or (lambda _: None)):
            yield f"{arguments.place(error)}: {error.message[:300]}"
    except (Unresolvable, re.error, ArithmeticError) as error:
        # an invalid schema that fails only in use, or a huge number
        yield f"the schema of these arguments cannot be used: {type(error).__name__}"


def references(value: JsonValue | Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    """Yield every `{"$from": step, "path": pointer}` inside a value, at any depth, as (step, pointer)."""
    if isinstance(value, Mapping):
        if "$from" in value:
            yield str(value["$from"]), str(value.get("path") or "")
        else:
            for item in value.values():
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolve(value: JsonValue, results: Mapping[str, JsonValue]) -> JsonValue:
    """Return `value` with every reference replaced by its value.

    Raises:
        BrokenReference: A step has no result, or no such field.
    """
    if isinstance(value, dict):
        if "$from" in value:
            return _follow(str(value["$from"]), str(value.get("path") or ""), results)
        return {key: resolve(item, results) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, results) for item in value]
    return value


def resolve_args(args: dict[str, JsonValue], results: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a step's arguments with every reference resolved.

    Raises:
        BrokenReference: A step has no result, or no such field.
    """
    return {name: resolve(value, results) for name, value in args.items()}


def _follow(source: str, path: str, results: Mapping[str, JsonValue]) -> JsonValue:
    if source not in results:
        raise BrokenReference(f"step {source} has no result to take {path or 'anything'} from")
    try:
        return pointer(results[source], path)
    except LookupError:
        raise BrokenReference(f"the result of step {source} has nothing at {path}") from None


def pointer(value: JsonValue, path: str) -> JsonValue:
    """Return the value at a JSON pointer (RFC 6901).

    Raises:
        LookupError: There is no value there.
    """
    for part in pointer_parts(path):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise LookupError(path)
    return value


def pointer_parts(path: str) -> list[str]:
    """Return the names and indexes of a JSON pointer.

    Raises:
        LookupError: It is not a JSON pointer.
    """
    if not path:
        return []
    if not path.startswith("/"):
        raise LookupError(path)
    return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]


def _schema_has(schema: Mapping[str, Any], path: str) -> bool:
    try:
        parts = pointer_parts(path)
    except LookupError:
        return False
    return not schema or _walk(schema, schema, parts)


def _walk(node: Mapping[str, Any], root: Mapping[str, Any], parts: list[str]) -> bool:
    """Whether a value of schema `node` can have a value at `parts`; a schema allows what it does not describe."""
    if "$ref" in node:
        return _walk(root.get("$defs", {}).get(node["$ref"].rsplit("/", 1)[-1], {}), root, parts)
    if choices := node.get("anyOf") or node.get("oneOf"):
        return any(_walk(choice, root, parts) for choice in choices)
    if not parts:
        return True
    if "properties" in node:
        if parts[0] in node["properties"]:
            return _walk(node["properties"][parts[0]], root, parts[1:])
        return isinstance(node.get("additionalProperties"), dict)
    if "items" in node:
        return parts[0].isascii() and parts[0].isdigit() and _walk(node["items"], root, parts[1:])
    return node.get("type") in (None, "object", "array")


def declared(shape: JsonValue, schema: Mapping[str, Any]) -> JsonValue:
    """Return a result's shape without the fields that its schema does not name."""
    return _declared(shape, schema, schema)


def _declared(shape: JsonValue, node: Mapping[str, Any], root: Mapping[str, Any]) -> JsonValue:
    if "$ref" in node:
        return _declared(shape, root.get("$defs", {}).get(node["$ref"].rsplit("/", 1)[-1], {}), root)
    for choice in node.get("anyOf") or node.get("oneOf") or ():
        if choice.get("type") != "null":
            return _declared(shape, choice, root)
    if not isinstance(shape, dict):
        return shape
    if node.get("type") == "array":
        each = shape.get("each")
        items = {"items": shape.get("items")}
        return items if each is None else {**items, "each": _declared(each, node.get("items") or {}, root)}
    known = node.get("properties", {})
    return {name: _declared(value, known[name], root) for name, value in shape.items() if name in known}


def _depth(value: JsonValue | Mapping[str, JsonValue], level: int = 0) -> int:
    if level > MAX_DEPTH:
        return level
    if isinstance(value, Mapping):
        return max((_depth(item, level + 1) for item in value.values()), default=level)
    if isinstance(value, list):
        return max((_depth(item, level + 1) for item in value), default=level)
    return level
