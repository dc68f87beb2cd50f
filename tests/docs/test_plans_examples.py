"""`docs/plans.md` and `docs/assistants.md` against the product: every example of both pages runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from activities.calendar.contract import Calendar
from activities.contacts.contract import Contacts
from activities.email.contract import Email
from activities.reasoning.contract import Reasoning
from activities.tasks.contract import Tasks
from activities.weather.contract import Weather
from retinue import plan
from retinue.settings import ROOT
from retinue.testing import Answer
from tests.conftest import Stack, View, pending, steps
from tests.days import NEXT, SOON
from tests.test_main_job import forecast, sent_mails
from workflows import assistant
from workflows.consent import approvals
from workflows.steps import delegation

PAGES = [(ROOT / page).read_text(encoding="utf-8") for page in ("docs/plans.md", "docs/assistants.md")]
PAGE = "\n".join(PAGES).replace("2026-11-27", SOON).replace("2026-11-28", NEXT)
"""Its days are examples; weather services forecast only what is near."""
CAPABILITIES = (Calendar, Contacts, Email, Reasoning, Tasks, Weather)
Fresh = Callable[[str], str]


@dataclass(frozen=True)
class Request:
    """A block of the page: a request to the API."""

    method: str
    path: str
    body: View | None

    async def send(self, stack: Stack, **given: str) -> View:
        """Send it, with names in braces filled in."""
        text = json.dumps(self.body)
        path = self.path
        for name, value in given.items():
            text, path = text.replace(f"{{{name}}}", value), path.replace(f"{{{name}}}", value)
        response = await stack.http.request(self.method, path, json=json.loads(text))
        assert response.is_success, response.text
        view: View = response.json()
        return view


@dataclass
class Section:
    """What stands under one heading."""

    requests: list[Request] = field(default_factory=list)
    plans: list[Any] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def scripted(self, stack: Stack, fresh: Fresh, **options: Any) -> View:
        """Let the model answer the section's plans to its first request, made fresh; returns that request's body."""
        body: View = {**(self.requests[0].body or {}), **options}
        body["message"] = fresh(body["message"])
        stack.model.script(body["message"], *[Answer(json.dumps(one)) for one in self.plans if "steps" in one])
        return body

    async def start(self, stack: Stack, fresh: Fresh, **options: Any) -> View:
        """Send the first request."""
        body = self.scripted(stack, fresh, **options)
        return await stack.start(body.pop("message"), **body)


def _request(block: str) -> Request:
    head, _, body = block.partition("\n\n")
    method, path = head.split()
    return Request(method, path, json.loads(body) if body else None)


def _sections() -> Mapping[str, Section]:
    found: dict[str, Section] = {}
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        section = found.setdefault(part.partition("\n")[0], Section())
        for kind, block in re.findall(r"^```(\w+)\n(.*?)\n```", part, re.DOTALL | re.MULTILINE):
            match kind:
                case "http":
                    section.requests.append(_request(block))
                case "json":
                    section.plans.append(json.loads(block))
                case "text":
                    section.texts.append(block)
    return found


SECTIONS = _sections()


def test_every_block_of_the_page_is_read() -> None:
    blocks = sum(len(one.requests) + len(one.plans) + len(one.texts) for one in SECTIONS.values())
    assert blocks == len(re.findall(r"^```\w+$", PAGE, re.MULTILINE)) > 20


async def test_the_first_plan_runs_in_parallel_and_asks_about_the_mail(stack: Stack, fresh: Fresh) -> None:
    view = await stack.asked((await SECTIONS["What a plan is"].start(stack, fresh))["id"])
    assert steps(view)["s3"]["depends_on"] == ["s1", "s2"]
    assert [one["step_id"] for one in pending(view)] == ["s4"]
    await stack.decide(view)
    assert (await stack.ended(view["id"]))["status"] == "completed"
    assert len(sent_mails(stack, view["id"])) == 1


def test_the_wrong_plan_is_refused_for_the_reasons_given() -> None:
    section = SECTIONS["How it is checked"]
    problems = plan.check(plan.parse(json.dumps(section.plans[0])), [each.manifest() for each in CAPABILITIES])
    for problem, said in zip(problems, section.texts[0].splitlines(), strict=True):
        assert problem.startswith(said)


def test_the_plan_with_a_reference_in_a_list_may_run() -> None:
    [written] = SECTIONS["References"].plans
    assert plan.check(plan.parse(json.dumps(written)), [each.manifest() for each in CAPABILITIES]) == []


@pytest.mark.parametrize(
    "said",
    [
        f"at most {assistant.MAX_ROUNDS} rounds for one message",
        f"at most {delegation.MAX_CALLS} calls in a turn and {delegation.MAX_TURNS} turns",
        f"the last {assistant.MAX_EFFECTS} effects",
        f"last {approvals.MAX_KEPT} approvals",
    ],
)
def test_the_numbers_in_the_text_are_those_of_the_code(said: str) -> None:
    assert said in " ".join(PAGE.split())


async def test_a_second_round_sees_shapes_and_refers_to_the_first(stack: Stack, fresh: Fresh) -> None:
    section = SECTIONS["Rounds"]
    [shown] = [one for one in section.plans if isinstance(one, list)]
    view = await stack.ended((await section.start(stack, fresh))["id"])
    assert view["status"] == "completed"
    assert steps(view)["s2"]["result"]["days"][0]["summary"] in steps(view)["2.t1"]["result"]["text"]
    [told] = [
        said["content"].partition("Progress (JSON):")[2]
        for request in stack.model.requests_for(view["message"])[1:2]
        for said in request["messages"]
        if said["content"].startswith("Progress (JSON):")
    ]
    search, weather = json.JSONDecoder().raw_decode(told.lstrip())[0]
    assert search == shown[0]
    assert weather["shape"].items() >= {"place": "string", "source": "string"}.items()
    assert weather["result"]["place"] is None
    assert weather["result"]["source"] == shown[1]["result"]["source"]
    assert weather["result"]["days"][0].keys() > shown[1]["result"]["days"][0].keys() - {"..."}


async def test_a_goal_is_worked_on_by_the_capabilitys_agent(stack: Stack, fresh: Fresh) -> None:
    section = SECTIONS["Delegated goals"]
    goal = fresh(section.plans[0]["steps"][0]["goal"])
    delegated = Section(section.requests, [{"steps": [{**section.plans[0]["steps"][0], "goal": goal}]}])
    window = {"start": f"{SOON}T08:00:00+00:00", "end": f"{SOON}T18:00:00+00:00"}
    event = {"title": fresh("Dentist"), "start": f"{SOON}T09:00:00+00:00", "end": f"{SOON}T10:00:00+00:00"}
    stack.model.agent(
        goal,
        [{"tool": "calendar.find_free_time", "args": {**window, "duration_minutes": 60}}],
        [{"tool": "calendar.create_event", "args": event}],
        "It is entered.",
    )
    done = await stack.ended((await delegated.start(stack, fresh))["id"])
    assert {step_id: step["status"] for step_id, step in steps(done).items()} == {
        "s1": "completed",
        "s1.1": "completed",
        "s1.2": "completed",
    }
    assert steps(done)["s1"]["result"] == {"text": "It is entered."}


async def test_a_plan_is_seen_edited_and_its_mail_asked_about_all_the_same(stack: Stack, fresh: Fresh) -> None:
    section = SECTIONS["Preview"]
    view = await stack.asked((await section.start(stack, fresh))["id"])
    [asked] = pending(view)
    assert asked["kind"] == "plan"
    await section.requests[1].send(stack, id=view["id"], approval_id=asked["id"], args_hash=asked["args_hash"])
    view = await stack.until(view["id"], lambda v: any(one["step_id"] == "s3" for one in pending(v)))
    assert set(steps(view)) == {"s1", "s3"}
    assert steps(view)["s1"]["args"]["place"] == "Porto"
    [asked] = pending(view)
    assert [(one["path"], one["source"]) for one in asked["origins"]] == [("/to/0", "user")]
    await stack.decide(view, "reject")
    await stack.ended(view["id"])


async def test_a_chat_refers_to_what_the_turn_before_found(stack: Stack, fresh: Fresh) -> None:
    section = SECTIONS["Chat"]
    view = await section.start(stack, fresh)
    assert view["status"] == "awaiting_input"
    view = await section.requests[1].send(stack, id=view["id"])
    assert steps(view)["2.t1"]["status"] == "completed"
    assert steps(view)["2.t1"]["args"]["title"] == steps(view)["s1"]["result"]["days"][0]["summary"]
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_a_fork_runs_one_step_again_and_keeps_the_other(stack: Stack, fresh: Fresh) -> None:
    section = SECTIONS["Fork"]
    old = await section.start(stack, fresh)
    new = await section.requests[1].send(stack, id=old["id"])
    assert new["forked_from"] == old["id"]
    assert steps(new)["s1"]["reused_from"] == old["id"]
    assert steps(new)["s2"]["result"]["place"].startswith("Porto")


async def test_an_effect_is_taken_back(stack: Stack, fresh: Fresh) -> None:
    section = SECTIONS["Undo"]
    done = await section.start(stack, fresh)
    assert done["status"] == "completed", done
    undone = await section.requests[1].send(stack, id=done["id"])
    assert [(one["step_id"], one["status"]) for one in undone["undo"]] == [("s1", "undone")]


async def test_a_budget_is_topped_up(stack: Stack, fresh: Fresh) -> None:
    section = SECTIONS["Budgets"]
    view = await stack.asked((await section.start(stack, fresh))["id"])
    [asked] = pending(view)
    assert asked["kind"] == "budget"
    await section.requests[1].send(stack, id=view["id"], approval_id=asked["id"], args_hash=asked["args_hash"])
    done = await stack.ended(view["id"])
    assert [step["status"] for step in done["plan"]["steps"]] == ["completed"] * 2


async def test_a_step_without_a_worker_is_skipped_and_the_receipt_says_so(
    stack: Stack, fresh: Fresh, lonely: str
) -> None:
    message = fresh("Ask the lonely one")
    plans = {"steps": [{"id": "s1", "tool": f"{lonely}.ask", "args": {}}, forecast("s2")]}
    stack.model.script(message, Answer(json.dumps(plans)))
    view = await stack.until((await stack.start(message))["id"], lambda v: bool(v["waiting_for"]), seconds=20)
    await SECTIONS["Missing workers"].requests[0].send(stack, id=view["id"])
    done = await stack.ended(view["id"])
    assert steps(done)["s1"]["status"] == "skipped"
    made = await SECTIONS["Receipts"].requests[0].send(stack, id=view["id"])
    assert [item["step_id"] for item in made["did_not"]] == ["s1"]
