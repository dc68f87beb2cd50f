"""Reads what the ids in an action refer to when a person is asked, for a few seconds at most.

The tool's annotations say which read-only tool of its capability reads an id (`Annotations.lookups`). That tool runs on
the capability's own queue. If it fails, the person is asked anyway, and the card says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pydantic import JsonValue
from temporalio import workflow
from temporalio.exceptions import ActivityError, CancelledError

from retinue.capability import activity_options
from retinue.plan import BoundStep
from retinue.provenance.asked_by import AskedBy
from retinue.temporal.person_header import asking
from workflows.consent import lookups
from workflows.failures import explain, found_no_worker
from workflows.rules.card import Known

_PATIENCE = 5.0
"""Seconds for which a look-up waits for a worker of its capability."""
_ONE_TRY = 6.0
_TRIES = 2
_LONGEST_PROBLEM = 200


async def look_up(step: BoundStep, args: Mapping[str, JsonValue], *, key: str, asked_by: AskedBy) -> dict[str, Known]:
    """Return by argument what is known of the id in it; empty if the tool names no look-up for these arguments.

    Args:
        step: The action.
        args: Its resolved arguments.
        key: Prefix of the activities' ids.
        asked_by: Told to the worker, where its data are one person's.
    """
    wanted = {
        argument: tool
        for argument, tool in step.annotations.lookups.items()
        if isinstance(args.get(argument), str | int) and args[argument] != ""
    }
    if not wanted:
        return {}
    found = await lookups.tools(sorted(set(wanted.values())))
    tools = {tool.spec.name: tool for tool in found or () if _may_read(tool, step)}
    readings = {
        argument: _read(tools.get(tool), argument, args[argument], key=key, asked_by=asked_by)
        for argument, tool in wanted.items()
    }
    return dict(zip(readings, await asyncio.gather(*readings.values()), strict=True))


def _may_read(tool: lookups.FoundTool, step: BoundStep) -> bool:
    """Whether the tool belongs to the action's capability, changes nothing and takes one argument."""
    own = tool.capability == step.capability and tool.spec.annotations.read_only
    return own and len(tool.spec.args_schema.get("properties", {})) == 1


async def _read(
    tool: lookups.FoundTool | None, argument: str, value: JsonValue, *, key: str, asked_by: AskedBy
) -> Known:
    if tool is None:
        return Known(value, problem="the registry knows no tool that reads it")
    [name] = tool.spec.args_schema["properties"]
    options = tool.spec.options.model_copy(
        update={"start_to_close": _ONE_TRY, "attempts": _TRIES, "first_retry_after": 0.5, "longest_pause": 0.5}
    )
    try:
        with asking(asked_by if tool.spec.annotations.personal else None):
            reading = workflow.start_activity(
                tool.spec.name,
                {name: value},
                task_queue=tool.task_queue,
                activity_id=f"{key}.{argument}",
                summary=f"what {argument} stands for",
                **activity_options(options, schedule_to_start=_PATIENCE),
            )
        result: JsonValue = await reading
    except ActivityError as error:
        if isinstance(error.cause, CancelledError):
            raise asyncio.CancelledError from None
        if found_no_worker(error):
            return Known(value, problem=f"no worker of {tool.capability} answered in time")
        return Known(value, problem=explain(error, who=tool.spec.name).message[:_LONGEST_PROBLEM])
    if not isinstance(result, dict):
        return Known(value, problem="the answer cannot be shown")
    fields = frozenset(tool.spec.result_schema.get("properties", {}))
    return Known(value, found=result, fields=fields, by_others=not tool.spec.annotations.trusted_output)
