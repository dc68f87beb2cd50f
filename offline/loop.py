"""An agent's loop: the same planner with one agent's tools, one round of calls at a time.

The server is stateless. Each time it builds the same plan from the goal, finds the answered calls in the conversation,
and requests those whose inputs are available.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from offline.planner.conversation import Said, Setting, answer
from offline.planner.draft import Step
from offline.protocol import Completion, FunctionCall, Message, ToolCall
from offline.wording.reply import report_steps

_MAX_CALLS = 8
"""In one round; the rest follows in the next."""


class _Broken(Exception):
    """A reference leads to nothing."""


def continue_loop(messages: Sequence[Message], setting: Setting, *, may_call: bool = True) -> Completion:
    """The next calls towards the last goal, or the final answer."""
    last = max((at for at, message in enumerate(messages) if message.role == "user"), default=-1)
    spoken = [message for message in messages[: last + 1] if message.role in ("user", "assistant") and message.text]
    planned = answer([Said(message.role == "user", message.text) for message in spoken], setting)
    if not planned.steps:
        return Completion(planned.question or planned.reply or "There is nothing to do.")
    results = _results(planned.steps, messages[last + 1 :])
    calls, broken = _next_calls(planned.steps, results)
    if calls and may_call:
        return Completion(calls=tuple(calls[:_MAX_CALLS]))
    return Completion(_final(planned.steps, results, broken, setting))


def _results(steps: Sequence[Step], messages: Sequence[Message]) -> dict[str, Any]:
    """Return the result of each step. Ids of calls may have been renamed, so a call is matched by function and position."""
    found: dict[str, Any] = {}
    answers = {message.tool_call_id: message.text for message in messages if message.role == "tool"}
    for message in messages:
        waiting = _next_calls(steps, found)[0]
        for call in message.tool_calls or []:
            own = next((wanted for wanted in waiting if wanted.function.name == call.function.name), None)
            if own and call.id in answers:
                waiting.remove(own)
                found[own.id.removeprefix("call_")] = _value(answers[call.id])
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _failure(result: Any) -> str | None:
    """The error of a call: a result that is only an error, or a text where an object was to come."""
    if isinstance(result, dict) and result.get("error"):
        return str(result["error"])
    if isinstance(result, dict) and result.keys() == {"status", "error"}:
        return f"it is {result['status']}"
    if isinstance(result, str) and "[cut: " in result[-60:]:
        return "its result is too long to be read here"
    return result if isinstance(result, str) else None


def _next_calls(steps: Sequence[Step], results: Mapping[str, Any]) -> tuple[list[ToolCall], dict[str, str]]:
    calls, broken = [], {name: text for name, result in results.items() if (text := _failure(result))}
    for step in steps:
        if step.id in results or step.id in broken:
            continue
        if any(name in broken for name in step.depends_on):
            broken[step.id] = ""
        elif all(name in results for name in step.depends_on):
            try:
                calls.append(_call(step, results))
            except _Broken as error:
                broken[step.id] = str(error)
    return calls, broken


def _call(step: Step, results: Mapping[str, Any]) -> ToolCall:
    arguments = json.dumps(_resolved(step.args, results), ensure_ascii=False)
    return ToolCall(id=f"call_{step.id}", function=FunctionCall(name=step.tool.replace(".", "__"), arguments=arguments))


def _resolved(value: Any, results: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        if "$from" in value:
            return _followed(results[value["$from"]], value["path"])
        return {key: _resolved(item, results) for key, item in value.items()}
    return [_resolved(item, results) for item in value] if isinstance(value, list) else value


def _followed(value: Any, path: str) -> Any:
    for part in path.split("/")[1:]:
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and value.get(part) is not None:
            value = value[part]
        else:
            raise _Broken(f"nothing was found at {path}")
    return value


def _final(steps: Sequence[Step], results: Mapping[str, Any], broken: Mapping[str, str], setting: Setting) -> str:
    reports = []
    for step in steps:
        status = "completed" if step.id not in broken else "failed" if broken[step.id] else "skipped"
        result = results.get(step.id) if status == "completed" else None
        reports.append(
            {"id": step.id, "tool": step.tool, "status": status, "result": result, "error": broken.get(step.id)}
        )
    return report_steps(reports, setting.zone.key)
