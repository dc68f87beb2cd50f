"""Decisions that are sent to Temporal itself: the run checks each, whatever the API believes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from retinue.testing import Answer, plan_answer
from tests.conftest import Stack, View, pending
from tests.scenarios.test_people import rule
from tests.test_main_job import mail

Fresh = Callable[[str], str]
Opened = Callable[[str], Awaitable[Callable[[str], Stack]]]
TWO = rule('tools = ["email.send"]\ndecide = "ask"\nby = ["anna", "ben"]\napprovers = 2')


async def asked(stack: Stack, message: str) -> View:
    """A run that asks about two mails, so that it still lives when one of them is decided."""
    mails = [mail("s1", to="team@example.com"), mail("s2", to="guest@example.com")]
    stack.model.script(message, plan_answer(mails), Answer("Sent."))
    return await stack.until((await stack.start(message))["id"], lambda view: len(pending(view)) == 2)


async def refused(stack: Stack, view: View, approval: View, **decision: Any) -> tuple[str | None, str]:
    """The type and the words of the refusal of a decision about one approval."""
    with pytest.raises(WorkflowUpdateFailedError) as raised:
        await updated(stack, view, approval, **decision)
    assert isinstance(raised.value.cause, ApplicationError)
    return raised.value.cause.type, raised.value.cause.message


async def updated(stack: Stack, view: View, approval: View, **decision: Any) -> None:
    about = {"approval_id": approval["id"], "args_hash": approval["args_hash"]}
    run = stack.temporal.get_workflow_handle(view["id"])
    await run.execute_update("decide", {**about, "decision": "approve", **decision})


async def test_only_who_may_decide_does(stack: Stack, fresh: Fresh) -> None:
    view = await asked(stack, fresh("Mail both"))
    kind, words = await refused(stack, view, pending(view)[0], by="mallory")
    assert (kind, words.partition(" is ")[2]) == ("NotAllowed", "decided by local, not by mallory")
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


@pytest.mark.parametrize("again", ["approve", "reject"])
async def test_what_is_decided_stays_decided(stack: Stack, fresh: Fresh, again: str) -> None:
    view = await asked(stack, fresh("Mail both"))
    await updated(stack, view, pending(view)[0], by="local", decision="reject")
    kind, words = await refused(stack, view, pending(view)[0], by="local", decision=again)
    assert kind == "ApprovalDecided"
    assert words.endswith("was already rejected by local; nothing was changed")
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_an_edit_cannot_name_an_address_that_imitates_another(stack: Stack, fresh: Fresh) -> None:
    view = await asked(stack, fresh("Mail both"))
    args = {**pending(view)[0]["args"], "to": ["\u0430na@example.com"]}
    kind, words = await refused(stack, view, pending(view)[0], by="local", decision="edit", args=args)
    assert (kind, "do not fit email.send: to: " in words) == ("InvalidArguments", True)
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_one_of_several_deciders_gives_no_grant(fresh: Fresh, people: Opened) -> None:
    anna = (await people(TWO))("anna")
    view = await asked(anna, fresh("Mail both"))
    grant = {"args": {"/to": ["team@example.com"]}}
    kind, words = await refused(anna, view, pending(view)[0], by="anna", grant=grant)
    assert (kind, words) == ("NotAllowed", "a grant is possible only where you alone decide")
    await anna.http.post(f"/v1/assistants/{view['id']}/cancel")
