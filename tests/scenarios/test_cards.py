"""What a person is shown before they decide, and what they are not even asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from retinue.testing import plan_answer
from tests.conftest import Stack, pending, steps
from tests.scenarios.test_agents import call, delegated
from tests.scenarios.test_plans import event
from tests.test_main_job import mail

Fresh = Callable[[str], str]
IMITATED = "ana@ex\u0430mple.com"
"""With one Cyrillic letter."""


def guests(*attendees: str) -> dict[str, Any]:
    """A meeting that only notes who comes."""
    meeting = event()
    return {**meeting, "args": meeting["args"] | {"attendees": list(attendees)}}


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (mail("s1", IMITATED), "mixes Cyrillic and Latin letters"),
        (mail("s1", "ana@xn--exmple-4nf.com"), "mixes Cyrillic and Latin letters in one word (ex\u0430<U+0430>mple)"),
        (mail("s1", "ana@xn--80ak6aa92e.com"), "letters that look like Latin ones"),
        (guests("ben@example.com", IMITATED), "mixes Cyrillic and Latin letters"),
        (guests("ben@example.com\u200b"), "nobody sees (<U+200B>)"),
    ],
    ids=["letters", "encoded", "whole word", "guest", "invisible"],
)
async def test_an_address_that_imitates_another_is_refused_before_anybody_is_asked(
    stack: Stack, fresh: Fresh, step: dict[str, Any], said: str
) -> None:
    message = fresh("Tell them")
    stack.model.script(message, plan_answer([step]), plan_answer([step]))
    view = await stack.ended((await stack.start(message))["id"])
    assert view["approvals"] == []
    assert steps(view)["s1"]["status"] == "failed"
    assert said in steps(view)["s1"]["error"]["message"]


async def test_an_agent_cannot_bring_such_an_address_to_a_person_either(stack: Stack, fresh: Fresh) -> None:
    message, goal = fresh("Tell them"), fresh("tell them")
    stack.model.script(message, plan_answer([delegated("email", goal)]))
    stack.model.agent(goal, [call("email.send", to=[IMITATED], subject="Hi", body="Hello")], "I could not.")
    view = await stack.ended((await stack.start(message))["id"])
    assert (view["approvals"], steps(view)["s1.1"]["status"]) == ([], "failed")


async def test_an_edit_cannot_bring_it_in(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Tell them")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await stack.asked((await stack.start(message))["id"])
    args = pending(view)[0]["args"] | {"to": [IMITATED]}
    refused = await stack.decide(view, "edit", args=args)
    assert refused.status_code == 422
    assert "imitate another address" in refused.json()["detail"]
    await stack.decide(view, "reject")


async def test_a_plan_that_is_shown_first_says_which_step_will_not_run(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Tell them")
    stack.model.script(message, plan_answer([mail("s1", IMITATED)]))
    view = await stack.asked((await stack.start(message, preview=True))["id"])
    shown = pending(view)[0]["preview"]
    assert "IT WILL NOT RUN: to: 'ana@ex\u0430<U+0430>mple.com' mixes Cyrillic and Latin letters" in shown
    await stack.decide(view, "reject")
