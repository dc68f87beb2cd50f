"""What a model is writing, while it writes: Temporal keeps it beside the history, and must not read it there either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from temporalio.client import WorkflowExecutionDescription

from api.events.drafts import writers, written
from retinue.temporal.connection import of_workflow
from retinue.testing import Answer, plan_answer
from tests.api.conftest import eventually
from tests.security.encryption.installation import Installation

CANARY = "canary-of-a-text-that-is-being-written"
STEP = {"id": "s1", "tool": "reasoning.compose", "args": {"instruction": "write to them", "inputs": {}}}


async def test_a_text_is_encrypted_while_it_is_written(installation: Installation, key: str) -> None:
    seen = asyncio.Event()

    async def write() -> AsyncIterator[str]:
        yield CANARY
        await asyncio.wait_for(seen.wait(), 40)

    async with installation.running(key, capabilities=["reasoning"]) as stack:
        stack.model.script("Write it", plan_answer([STEP]))
        stack.model.composed["write to them"] = Answer(pieces=write)
        assistant_id = (await stack.start("Write it"))["id"]
        handle = stack.temporal.get_workflow_handle(assistant_id)

        def told(description: WorkflowExecutionDescription) -> bool:
            return any(activity.heartbeat_details.payloads for activity in writers(description))

        description = await eventually(handle.describe, told, seconds=30)
        assert CANARY.encode() not in description.raw_description.SerializeToString()
        [text] = await written(description, of_workflow(stack.temporal, assistant_id))
        assert (text.about, text.text) == ("s1", CANARY)
        assert list(installation.files_with(CANARY, "temporal.db*")) == []
        seen.set()
        await stack.ended(assistant_id)
