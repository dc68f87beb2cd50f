"""Each organisation's calendar, contacts, mails and tasks are its own, whoever asks in whatever words."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowHandle

from retinue.temporal.tenant_header import use_tenant
from retinue.tenancy import folder_of
from retinue.testing import plan_answer
from retinue.times import present
from tests.api.conftest import eventually
from tests.api.tenancy.conftest import As
from tests.conftest import ENDED, Stack, View, pending, steps
from tests.days import NEXT, SOON

Fresh = Callable[[str], str]
Organisations = Callable[[str], str]
Step = dict[str, Any]
DAY = {"start": f"{SOON}T00:00:00+00:00", "end": f"{NEXT}T00:00:00+00:00"}


def step(step_id: str, tool: str, *after: str, **args: Any) -> Step:
    return {"id": step_id, "tool": tool, "args": args, "depends_on": list(after)}


def entries(who: str) -> list[Step]:
    """Something in every store. The contact has a name that everybody's contacts have."""
    hour = {"start": f"{SOON}T09:00:00+00:00", "end": f"{SOON}T10:00:00+00:00"}
    return [
        step("c", "calendar.create_event", title=f"Meeting of {who}", **hour),
        step("k", "contacts.add", name="Alex Smith", email=f"alex@{who}.example"),
        step("m", "email.draft", to=["x@example.com"], subject=f"Draft of {who}", body="Hello"),
        step("t", "tasks.add", title=f"Task of {who}"),
    ]


QUESTIONS = [
    step("c", "calendar.list_events", **DAY),
    step("k", "contacts.find", name="Alex"),
    step("m", "email.search", folder="drafts"),
    step("t", "tasks.list"),
]


def answers(found: dict[str, View]) -> list[list[str]]:
    """What the questions brought to light."""
    return [
        [event["title"] for event in found["c"]["result"]["events"]],
        [contact["email"] for contact in found["k"]["result"]["contacts"]],
        [message["subject"] for message in found["m"]["result"]["messages"]],
        [task["title"] for task in found["t"]["result"]["tasks"]],
    ]


def entered(*who: str) -> list[list[str]]:
    """The same as it must be."""
    return [
        [f"Meeting of {name}" for name in who],
        [f"alex@{name}.example" for name in who],
        [f"Draft of {name}" for name in who],
        [f"Task of {name}" for name in who],
    ]


async def headers(run: WorkflowHandle[Any, Any]) -> dict[str, bytes]:
    """What a workflow was told at its start beside its arguments."""
    started = (await run.fetch_history()).events[0].workflow_execution_started_event_attributes
    return {name: payload.data for name, payload in started.header.fields.items()}


async def done(person: Stack, message: str, plan: list[Step]) -> View:
    """A run of theirs that does all this, with their consent to whatever is asked."""
    person.model.script(message, plan_answer(plan), plan_answer(reply="That is all."))
    view = await person.start(message)
    return await consented(person, view["id"])


async def consented(person: Stack, assistant_id: str) -> View:
    while view := await person.until(assistant_id, lambda seen: bool(pending(seen)) or seen["status"] in ENDED):
        if view["status"] in ENDED:
            break
        await person.decide(view)
    return view


def rows(stack: Stack, organisation: str, capability: str, query: str) -> list[tuple[Any, ...]]:
    file = stack.data / "organisations" / folder_of(organisation) / f"{capability}.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


async def test_organisations_never_see_each_others_data(people: As, fresh: Fresh, organisations: Organisations) -> None:
    names = [organisations("acme"), organisations("Acme"), organisations("../acme"), organisations("CON.")]
    written = await asyncio.gather(
        *[done(people("anna", name), fresh(f"Enter {name}"), entries(f"n{at}")) for at, name in enumerate(names)]
    )
    assert [view["status"] for view in written] == ["completed"] * 4
    asked = await asyncio.gather(*[done(people("anna", name), fresh(f"Show {name}"), QUESTIONS) for name in names])
    assert [answers(steps(view)) for view in asked] == [entered(f"n{at}") for at in range(4)]
    colleague = await done(people("zoe", names[0]), fresh("Show mine"), QUESTIONS)
    assert answers(steps(colleague)) == [[], [], [], []]


async def test_people_without_an_organisation_have_data_of_their_own_too(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    acme, mark = organisations("acme"), fresh("home").replace(" #", "-")
    at_home = await done(people("anna"), fresh("Enter"), entries(mark))
    assert at_home["status"] == "completed"
    asked = await done(people("anna", acme), fresh("Show"), QUESTIONS)
    assert answers(steps(asked)) == [[], [], [], []]
    asked = await done(people("anna"), fresh("Show"), QUESTIONS)
    assert [mark in str(found) for found in answers(steps(asked))] == [True] * 4


async def test_an_id_of_another_organisation_names_nothing(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    acme, umbrella = organisations("acme"), organisations("umbrella")
    made = steps(await done(people("anna", acme), fresh("Enter"), entries("acme")))
    ids = {key: made[key]["result"] for key in made}
    theirs = [
        step("c", "calendar.delete_event", event_id=ids["c"]["event_id"]),
        step("k", "contacts.remove", contact_id=ids["k"]["contact_id"]),
        step("m", "email.read", message_id=ids["m"]["message_id"]),
        step("n", "email.delete", message_id=ids["m"]["message_id"]),
        step("t", "tasks.complete", task_id=ids["t"]["task_id"]),
    ]
    ben = people("ben", umbrella)
    message = fresh("Take theirs")
    ben.model.script(message, plan_answer(theirs), *[plan_answer(reply="No.")] * 3)
    tried = await consented(ben, (await ben.start(message))["id"])
    assert {(key, found["error"]["type"]) for key, found in steps(tried).items()} == {
        (key, "NotFound") for key in "ckmnt"
    }
    asked = await done(people("anna", acme), fresh("Show"), QUESTIONS)
    assert answers(steps(asked)) == entered("acme")


async def test_everything_that_a_run_begins_stays_in_its_organisation(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    """An agent's own loop, a plan in code, a reminder's timer, the undoing, the fork of a run and a schedule."""
    acme, umbrella = organisations("acme"), organisations("umbrella")
    anna, ben = people("anna", acme), people("ben", umbrella)
    other = await done(ben, fresh("Enter"), entries("umbrella"))
    mine = await done(anna, fresh("Enter"), entries("acme"))
    goal, message = fresh("look around"), fresh("Ask the agent")
    anna.model.agent(goal, [{"tool": "calendar.list_events", "args": DAY}], "Seen.")
    asked = await done(anna, message, [{"id": "s1", "agent": "calendar", "goal": goal}])
    assert [event["title"] for event in steps(asked)["s1.1"]["result"]["events"]] == ["Meeting of acme"]

    briefing = await anna.http.post(
        "/v1/assistants", json={"message": "Morning", "plan": "briefing", "plan_args": {"day": SOON}}
    )
    told = await anna.ended(briefing.json()["id"])
    assert "Meeting of acme" in str(told["plan"])
    assert "umbrella" not in str(told)

    at = (present() + timedelta(seconds=3)).isoformat()
    repeats = [step("r", "tasks.remind", title="Tea", at=at, repeats="FREQ=DAILY")]
    reminded = await done(anna, fresh("Remind me"), repeats)
    task_id = steps(reminded)["r"]["result"]["task_id"]
    first, second = (anna.temporal.get_workflow_handle(f"reminder-{task_id}{number}") for number in ("", "-1"))
    await first.result()
    assert await headers(second) == await headers(first) != {}
    await second.terminate()
    assert rows(anna, acme, "tasks", "SELECT title FROM task WHERE reminded_at IS NOT NULL") == [("Tea",)]

    forked = await anna.http.post(f"/v1/assistants/{mine['id']}/fork", json={"from_step": "t"})
    assert forked.status_code == 202, forked.text
    again = await consented(anna, forked.json()["id"])
    assert again["status"] == "completed"
    assert rows(anna, acme, "tasks", "SELECT count(*) FROM task WHERE title = 'Task of acme'") == [(2,)]

    undone = (await anna.http.post(f"/v1/assistants/{mine['id']}/undo", json={"wait_seconds": 20})).json()
    assert {found["status"] for found in undone["undo"]} <= {"undone", "impossible"}, undone["undo"]
    assert rows(anna, acme, "calendar", "SELECT count(*) FROM event") == [(0,)]
    assert rows(anna, umbrella, "calendar", "SELECT title FROM event") == [("Meeting of umbrella",)]
    assert other["status"] == "completed"


async def test_a_scheduled_run_works_for_the_organisation_of_whoever_made_the_schedule(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    acme = organisations("acme")
    anna, message = people("anna", acme), fresh("Enter it every year")
    anna.model.script(message, plan_answer([step("t", "tasks.add", title="Yearly")]), plan_answer(reply="Done."))
    made = (await anna.http.post("/v1/schedules", json={"cron": "0 0 1 1 *", "message": message})).json()
    assert (await anna.http.post(f"/v1/schedules/{made['id']}/run")).is_success

    async def titles() -> Any:
        """Nothing before the run has made the organisation's database and its tables."""
        file = anna.data / "organisations" / folder_of(acme) / "tasks.db"
        made = "SELECT name FROM sqlite_master WHERE name = 'task'"
        return file.exists() and rows(anna, acme, "tasks", made) and rows(anna, acme, "tasks", "SELECT title FROM task")

    await eventually(titles, lambda found: found == [("Yearly",)])
    await anna.http.delete(f"/v1/schedules/{made['id']}")


async def test_no_argument_and_no_header_of_the_caller_chooses_the_organisation(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    """A plan that names one is refused as a whole; a header on the start of a run counts less than its owner."""
    acme, umbrella = organisations("acme"), organisations("umbrella")
    await done(people("ben", umbrella), fresh("Enter"), entries("umbrella"))
    anna = people("anna", acme)
    for named in ({"organisation": umbrella}, {"owner": f"{umbrella}:ben"}, {"retinue-organisation": umbrella}):
        message = fresh(f"Show {[*named]}")
        forged = [step("c", "calendar.list_events", **DAY, **named)]
        anna.model.script(message, *[plan_answer(forged)] * 4)
        view = await consented(anna, (await anna.start(message))["id"])
        assert view["status"] == "failed"
        assert "umbrella" not in str(view["plan"])
    with use_tenant(umbrella):
        asked = await done(anna, fresh("Show"), QUESTIONS)
    assert answers(steps(asked)) == [[], [], [], []]
