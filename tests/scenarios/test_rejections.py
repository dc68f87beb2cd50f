"""A person who said no is asked once more at most, in whatever words the same action comes back."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from activities.calendar.contract import Calendar
from activities.email.contract import Email
from activities.web.contract import Web
from api.app import create_app
from api.settings import ApiSettings
from retinue.plan import BoundStep, PlanStep, bind_call
from retinue.testing import plan_answer
from tests.conftest import ENDED, Patient, Stack, View, pending, steps
from tests.scenarios.test_long_runs import run_ids
from tests.test_main_job import sent_mails
from workflows.rules.rejections import Rejections, target

Fresh = Callable[[str], str]
TEAM = "team@example.com"


def mail(step_id: str, subject: str, to: str = TEAM, **fields: Any) -> dict[str, Any]:
    args = {"to": [to], "subject": subject, "body": f"{subject}, in other words"}
    return {"id": step_id, "tool": "email.send", "args": args, **fields}


async def rejecting(stack: Stack, assistant_id: str, *, turns: int = 0) -> View:
    """The view of a run whose person rejects whatever is asked, once it has ended or answered that many messages."""
    for _ in range(100):
        view: View = (await stack.http.get(f"/v1/assistants/{assistant_id}", params={"wait_seconds": 10})).json()
        if view["status"] in ENDED or (turns and view["turns"] >= turns and view["status"] == "awaiting_input"):
            return view
        for index in reversed(range(len(pending(view)))):
            await stack.decide(view, "reject", index)
        await asyncio.sleep(0.05)
    raise AssertionError(f"it did not end: {view}")


async def test_a_mail_that_comes_back_with_other_subjects_is_asked_twice_and_the_run_goes_on_without_it(
    stack: Stack, fresh: Fresh
) -> None:
    message = fresh(f"Tell {TEAM}")
    plans = [plan_answer([mail("s1", f"Report {n}", to)]) for n, to in enumerate((TEAM, TEAM.upper(), f" {TEAM}"[1:]))]
    stack.model.script(message, *plans, plan_answer(reply="Then not."))
    done = await rejecting(stack, (await stack.start(message))["id"])
    assert [approval["status"] for approval in done["approvals"]] == ["rejected", "rejected"]
    assert steps(done)["3.s1"]["status"] == "rejected"
    assert steps(done)["3.s1"]["error"]["type"] == "RejectedBefore"
    assert done["notices"] == [f"Send a mail ({TEAM}) was rejected twice, so nobody was asked a third time"]
    assert "RejectedBefore: it was rejected twice" in str(stack.model.requests_for(message)[3]["messages"])
    assert (done["status"], sent_mails(stack, done["id"])) == ("completed", [])


async def test_an_agent_that_insists_is_told_so(stack: Stack, fresh: Fresh) -> None:
    message, goal = fresh(f"Tell {TEAM}"), fresh("tell the team, insist")
    stack.model.script(message, plan_answer([{"id": "s1", "agent": "email", "goal": goal}]))
    wishes = [[{"tool": "email.send", "args": mail("", f"Report {n}")["args"]}] for n in range(5)]
    stack.model.agent(goal, *wishes, "They said no.")
    done = await rejecting(stack, (await stack.start(message))["id"])
    kinds = [step["error"]["type"] for step in done["plan"]["steps"] if step["parent"]]
    assert kinds == ["Rejected", "Rejected", "RejectedBefore", "RejectedBefore", "RejectedBefore"]
    assert len(done["approvals"]) == 2
    [*_, last] = [r for r in stack.model.requests_for(goal) if "tools" in r]
    assert "rejected twice" in str(last["messages"][-1])


async def test_an_agents_rejections_count_for_the_plans_after_it(stack: Stack, fresh: Fresh) -> None:
    message, goal = fresh(f"Tell {TEAM}"), fresh("tell the team, twice")
    delegated = {"id": "s1", "agent": "email", "goal": goal}
    stack.model.script(
        message, plan_answer([delegated], final=False), plan_answer([mail("t1", "Report 3")]), plan_answer()
    )
    wishes = [[{"tool": "email.send", "args": mail("", f"Report {n}")["args"]}] for n in range(2)]
    stack.model.agent(goal, *wishes, "They said no.")
    done = await rejecting(stack, (await stack.start(message))["id"])
    assert steps(done)["2.t1"]["error"]["type"] == "RejectedBefore"
    assert len(done["approvals"]) == 2


async def test_what_comes_back_several_times_at_once_is_asked_once(stack: Stack, fresh: Fresh) -> None:
    message = fresh(f"Tell {TEAM}")
    many = [mail(f"s{n}", f"Report {n}") for n in range(4)]
    stack.model.script(message, plan_answer([mail("s0", "Report")]), plan_answer(many), plan_answer())
    done = await rejecting(stack, (await stack.start(message))["id"])
    kinds = sorted(steps(done)[f"2.s{n}"]["error"]["type"] for n in range(4))
    assert kinds == ["Rejected", "RejectedBefore", "RejectedBefore", "RejectedBefore"]


async def test_steps_of_one_plan_that_come_after_the_no_are_asked_once_between_them(stack: Stack, fresh: Fresh) -> None:
    """They are of the plan that was rejected, but were not yet asked when it was."""
    message, other = fresh("Tell both"), "press@example.com"
    late = [mail(f"s{n}", f"Report {n}", depends_on=["s2"]) for n in range(3, 7)]
    plan = [mail("s1", "Report"), mail("s2", "Report", other), *late]
    stack.model.script(message, plan_answer(plan), plan_answer([mail("t1", "Report 7")]), plan_answer())
    run_id = (await stack.start(message))["id"]
    asked = await stack.until(run_id, lambda view: len(pending(view)) == 2)
    await stack.decide(asked, "reject", next(n for n, one in enumerate(pending(asked)) if one["step_id"] == "s1"))
    rest = await stack.until(run_id, lambda view: [one["step_id"] for one in pending(view)] == ["s2"])
    await stack.decide(rest, "approve")
    done = await rejecting(stack, run_id)
    kinds = sorted(steps(done)[f"s{n}"]["error"]["type"] for n in range(3, 7))
    assert kinds == ["Rejected", "RejectedBefore", "RejectedBefore", "RejectedBefore"]
    assert steps(done)["2.t1"]["error"]["type"] == "RejectedBefore"
    assert len(done["approvals"]) == 3


async def test_what_waits_beside_a_rejected_question_stays_answerable_and_one_more_is_asked(
    stack: Stack, fresh: Fresh
) -> None:
    """An agent wants three at once: each no of that round counts once, and only one comes after them."""
    message, goal = fresh(f"Tell {TEAM}"), fresh("tell the team, three at once")
    stack.model.script(message, plan_answer([{"id": "s1", "agent": "email", "goal": goal}]))
    rounds = [
        [{"tool": "email.send", "args": mail("", f"Report {turn}{n}")["args"]} for n in range(3)] for turn in range(3)
    ]
    stack.model.agent(goal, *rounds, "They said no.")
    run_id = (await stack.start(message))["id"]
    asked = await stack.until(run_id, lambda view: len(pending(view)) == 3)
    await stack.decide(asked, "reject")
    left = await stack.until(run_id, lambda view: len(pending(view)) == 2)
    await stack.decide(left, "reject")
    await stack.until(run_id, lambda view: len(pending(view)) == 1)
    done = await rejecting(stack, run_id)
    kinds = sorted(step["error"]["type"] for step in done["plan"]["steps"] if step["parent"])
    assert kinds == ["Rejected"] * 4 + ["RejectedBefore"] * 5
    assert len(done["approvals"]) == 4


async def test_somebody_elses_mail_is_another_matter(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Tell everybody")
    plans = [plan_answer([mail("s1", "Report", f"p{n}@example.com")]) for n in range(4)]
    stack.model.script(message, *plans)
    done = await rejecting(stack, (await stack.start(message))["id"])
    assert len(done["approvals"]) == 4


@pytest.fixture
async def one_turn_a_run(stack: Stack) -> AsyncIterator[Stack]:
    """A front door whose chats go on as new after each message."""
    app = create_app(ApiSettings(retinue_chat_turns=1), client=stack.temporal)
    async with app.router.lifespan_context(app):
        transport = Patient(httpx.ASGITransport(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http:
            yield dataclasses.replace(stack, http=http)


async def test_a_new_message_may_ask_once_more_also_when_the_chat_went_on_as_new(
    stack: Stack, one_turn_a_run: Stack, fresh: Fresh
) -> None:
    """Without memory the second message would be asked about twice again."""
    first, second = fresh(f"Tell {TEAM}"), fresh(f"Rather tell {TEAM} this")
    stack.model.script(
        first,
        *(plan_answer([mail(f"a{n}", f"Report {n}")]) for n in range(3)),
        plan_answer(reply="Not sent."),
    )
    stack.model.script(
        second, *(plan_answer([mail(f"b{n}", f"Summary {n}")]) for n in range(2)), plan_answer(reply="Not sent.")
    )
    assistant_id = (await one_turn_a_run.start(first, mode="chat"))["id"]
    before = await rejecting(one_turn_a_run, assistant_id, turns=1)
    assert len(before["approvals"]) == 2
    await one_turn_a_run.http.post(f"/v1/assistants/{assistant_id}/messages", json={"message": second})
    after = await rejecting(one_turn_a_run, assistant_id, turns=2)
    assert len(after["approvals"]) == 3
    assert after["notices"] == before["notices"] * 2
    assert len(await run_ids(stack, assistant_id)) > 1
    await stack.http.post(f"/v1/assistants/{assistant_id}/cancel")


def bound(tool: str, **args: Any) -> BoundStep:
    capability = {"email": Email, "calendar": Calendar, "web": Web}[tool.partition(".")[0]]
    spec = capability.manifest().tool(tool)
    assert spec is not None
    return bind_call(PlanStep(id="s1", tool=tool, args=args), spec, capability=capability.name, task_queue="")


@pytest.mark.parametrize(
    ("tool", "args", "named"),
    [
        (
            "email.send",
            {"to": ["B@example.com ", "a@example.com"], "subject": "x", "body": "y"},
            ("a@example.com", "b@example.com"),
        ),
        (
            "email.send",
            {"to": ["a@example.com"], "cc": ["ａ@example.com"], "subject": "x", "body": "y"},
            ("a@example.com",),
        ),
        ("web.fetch", {"url": "https://Evil.example/one?q=2"}, ("evil.example",)),
        ("web.fetch", {"url": "https://evil.example:444/two#3"}, ("evil.example",)),
        ("calendar.delete_event", {"event_id": "e1"}, ("e1",)),
        ("calendar.update_event", {"event_id": "e1", "title": "x", "attendees": ["a b"]}, ("e1",)),
        ("calendar.create_event", {"title": "x"}, ()),
    ],
)
def test_a_destination_is_an_address_a_host_or_an_id(tool: str, args: dict[str, Any], named: tuple[str, ...]) -> None:
    assert target(bound(tool, **args), args) == (tool, named)


def test_what_was_approved_is_asked_as_if_it_were_new() -> None:
    what, rejections = ("email.send", (TEAM,)), Rejections()
    assert not rejections.comes_back(what)
    rejections.rejected(what, again=False)
    rejections.rejected(what, again=False)  # it waited beside the first
    assert rejections.comes_back(what)
    assert not rejections.is_settled(what)
    rejections.approved(what)
    assert not rejections.comes_back(what)
    rejections.rejected(what, again=False)
    rejections.rejected(what, again=True)
    rejections.rejected(what, again=False)  # it still waited from the first round
    assert rejections.is_settled(what)
    assert Rejections(rejections.carried()).comes_back(what)
    rejections.begin_turn()
    assert rejections.comes_back(what)
    assert not rejections.is_settled(what)
