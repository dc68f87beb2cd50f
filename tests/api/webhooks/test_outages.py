"""What is told is told at least once, whoever is away in between; and never where it may not go."""

from __future__ import annotations

import asyncio
import uuid

from tests.api.webhooks.conftest import Answers, Opens
from tests.conftest import Stack


async def test_what_happened_while_no_front_door_was_there_is_told_by_the_next_one(
    opened: Opens, stack: Stack, message: str
) -> None:
    tenant = f"acme-{uuid.uuid4().hex[:8]}"
    async with opened() as door:
        anna = door.person("anna", tenant)
        _, program = await anna.program()
        view = await anna.asked(message)
        await program.heard("approval.needed")
    await stack.temporal.get_workflow_handle(view["id"]).cancel()
    async with opened():
        told = await program.heard("run.cancelled")
    assert told["data"]["assistant_id"] == view["id"]
    assert (program.types(), program.forged) == (["approval.needed", "run.cancelled"], 0)


async def test_a_delivery_that_was_cut_off_is_sent_again_under_the_same_id(opened: Opens) -> None:
    async with opened() as door:
        anna = door.person("anna", f"acme-{uuid.uuid4().hex[:8]}")
        webhook_id, program = await anna.program()
        held = asyncio.Event()
        program.answers = [Answers(release=held)]
        await anna.stack.http.post(f"/v1/webhooks/{webhook_id}/test")
        await program.heard("test")
    async with opened() as door:
        await program.heard("test", count=2)
        held.set()
    assert (len(set(program.ids)), program.forged) == (1, 0)


async def test_an_address_is_checked_again_when_something_is_sent(opened: Opens) -> None:
    """It was open when the webhook was made; a name could lead elsewhere by now."""
    async with opened() as door:
        anna = door.person("anna", f"acme-{uuid.uuid4().hex[:8]}")
        webhook_id, program = await anna.program()
    async with opened(retinue_webhook_allow="") as closed:
        again = closed.person("anna", anna.stack.http.headers["X-Tenant"])
        found = await again.tested(webhook_id, lambda last: last.get("state") == "failed")
    assert "closed" in found["last_delivery"]["problem"] or "private" in found["last_delivery"]["problem"]
    assert program.messages == []


async def test_a_slow_receiver_delays_neither_the_run_nor_others(opened: Opens, message: str) -> None:
    """It answers nothing until all is over; the next attempt would come only after the test."""
    async with opened(retinue_webhook_retries="300") as door:
        anna = door.person("anna", f"acme-{uuid.uuid4().hex[:8]}")
        (_, slow), (_, quick) = await anna.program(), await anna.program()
        held = asyncio.Event()
        slow.always = Answers(release=held)
        view = await anna.asked(message)
        await slow.heard("approval.needed")
        await anna.stack.decide(view)
        assert (await anna.stack.ended(view["id"]))["status"] == "completed"
        await quick.heard("run.completed")
        await slow.heard("run.completed")
        held.set()
    assert quick.types() == ["approval.needed", "run.completed"]
    assert not {*slow.ids} & {*quick.ids}
