"""Reads what the ids in an action refer to when a person is asked, for a few seconds at most.

The tool's annotations say which read-only tool of its capability reads an id (`Annotations.lookups`). That tool runs on
the capability's own queue. If it fails, the person is asked anyway, and the card says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from pydantic import JsonValue
from temporalio import workflow
from temporalio.exceptions import ActivityError, CancelledError

from retinue.capability import ACCOUNT, activity_options
from retinue.plan import BoundStep
from retinue.provenance.asked_by import AskedBy
from retinue.temporal.person_header import asking
from workflows.consent import lookups
from workflows.failures import explain, found_no_worker
from workflows.rules.card import Advice, Known

_PATIENCE = 5.0
"""Seconds for which a look-up waits for a worker of its capability."""
_ONE_TRY = 6.0
_TRIES = 2
_LONGEST_PROBLEM = 200
_MOST_IN_LIST = 50
"""Ids of one list that are looked up; a list that is longer is shown with the ids alone."""
_OF_LISTS = "the ids in a list are looked up"
_MOST_NOTES = 10
_LONGEST_NOTE = 300


async def look_up(step: BoundStep, args: Mapping[str, JsonValue], *, key: str, asked_by: AskedBy) -> dict[str, Known]:
    """Return by argument what is known of the id in it; empty if the tool names no look-up for these arguments.

    Each id in a list has an entry of its own, under the argument and its place: `task_ids/0`.

    Args:
        step: The action.
        args: Its resolved arguments.
        key: Prefix of the activities' ids.
        asked_by: Told to the worker, where its data are one person's.
    """
    wanted = {place: (tool, value) for place, tool, value in _ids(step, args)}
    if not wanted:
        return {}
    found = await lookups.tools(sorted({tool for tool, _ in wanted.values()}))
    tools = {tool.spec.name: tool for tool in found or () if _may_read(tool, step)}
    readings = {
        place: _read(tools.get(tool), place, value, key=key, account=args.get(ACCOUNT), asked_by=asked_by)
        for place, (tool, value) in wanted.items()
    }
    return dict(zip(readings, await asyncio.gather(*readings.values()), strict=True))


async def advise(step: BoundStep, args: Mapping[str, JsonValue], *, key: str, asked_by: AskedBy) -> Advice | None:
    """Return what the tool's capability has to say about the action; None if it names no tool for that, or it fails.

    Args:
        step: The action.
        args: Its resolved arguments.
        key: The activity's id.
        asked_by: Told to the worker, where its data are one person's.
    """
    if (name := step.annotations.advice) is None:
        return None
    found = await lookups.tools([name])
    tool = next((tool for tool in found or () if tool.capability == step.capability), None)
    if tool is None or not tool.spec.annotations.read_only:
        return None
    taken = {name: args[name] for name in tool.spec.args_schema.get("properties", {}) if name in args}
    try:
        result = await _call(tool, taken, activity_id=key, summary="what is worth knowing", asked_by=asked_by)
    except ActivityError as error:
        if isinstance(error.cause, CancelledError):
            raise asyncio.CancelledError from None
        workflow.logger.warning("%s has no answer", name)
        return None
    notes = result.get("notes") if isinstance(result, dict) else None
    texts = [note[:_LONGEST_NOTE] for note in notes if isinstance(note, str)] if isinstance(notes, list) else []
    return Advice(taken, tuple(texts[:_MOST_NOTES]), by_others=not tool.spec.annotations.trusted_output)


def _ids(step: BoundStep, args: Mapping[str, JsonValue]) -> Iterator[tuple[str, str, JsonValue]]:
    """Yield place, look-up tool and value of each id in the arguments."""
    for argument, tool in step.annotations.lookups.items():
        value = args.get(argument)
        if isinstance(value, str | int) and value != "":
            yield argument, tool, value
        elif isinstance(value, list) and 0 < len(value) <= _MOST_IN_LIST and workflow.patched(_OF_LISTS):
            ids = [item for item in value if isinstance(item, str | int) and item != ""]
            yield from ((f"{argument}/{number}", tool, item) for number, item in enumerate(ids))


def _may_read(tool: lookups.FoundTool, step: BoundStep) -> bool:
    """Whether the tool belongs to the action's capability, changes nothing and takes one argument beside the account."""
    own = tool.capability == step.capability and tool.spec.annotations.read_only
    return own and len(_arguments(tool)) == 1


def _arguments(tool: lookups.FoundTool) -> list[str]:
    names: list[str] = list(tool.spec.args_schema.get("properties", {}))
    return [name for name in names if not (tool.spec.annotations.accounts and name == ACCOUNT)]


async def _call(
    tool: lookups.FoundTool, args: Mapping[str, JsonValue], *, activity_id: str, summary: str, asked_by: AskedBy
) -> JsonValue:
    options = tool.spec.options.model_copy(
        update={"start_to_close": _ONE_TRY, "attempts": _TRIES, "first_retry_after": 0.5, "longest_pause": 0.5}
    )
    with asking(asked_by if tool.spec.annotations.personal else None):
        called = workflow.start_activity(
            tool.spec.name,
            dict(args),
            task_queue=tool.task_queue,
            activity_id=activity_id,
            summary=summary,
            **activity_options(options, schedule_to_start=_PATIENCE),
        )
    result: JsonValue = await called
    return result


async def _read(
    tool: lookups.FoundTool | None,
    argument: str,
    value: JsonValue,
    *,
    key: str,
    account: JsonValue,
    asked_by: AskedBy,
) -> Known:
    if tool is None:
        return Known(value, problem="the registry knows no tool that reads it")
    [name] = _arguments(tool)
    try:
        result = await _call(
            tool,
            {name: value, **({ACCOUNT: account} if tool.spec.annotations.accounts and account else {})},
            activity_id=f"{key}.{argument}",
            summary=f"what {argument} stands for",
            asked_by=asked_by,
        )
    except ActivityError as error:
        if isinstance(error.cause, CancelledError):
            raise asyncio.CancelledError from None
        if found_no_worker(error):
            return Known(value, problem=f"no worker of {tool.capability} answered in time")
        return Known(value, problem=explain(error, who=tool.spec.name).message[:_LONGEST_PROBLEM])
    if not isinstance(result, dict):
        return Known(value, problem="the answer cannot be shown")
    if tool.spec.annotations.accounts:
        result = {name: part for name, part in result.items() if name != ACCOUNT}
    fields = frozenset(tool.spec.result_schema.get("properties", {}))
    return Known(value, found=result, fields=fields, by_others=not tool.spec.annotations.trusted_output)
