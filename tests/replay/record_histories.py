"""Records the histories that `test_replay.py` replays. Run by name when a shape is added:

    .venv/bin/python -P -m pytest tests/replay/record_histories.py

Never record again what is there: old histories are the runs that people have waiting.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio.client import WorkflowFailureError

from activities.email.store import MailStore
from activities.email.worker import import_file
from retinue.errors import StoreUnavailable
from retinue.store import Store
from retinue.temporal.account_watch import watch_id
from retinue.temporal.person import person_id
from retinue.temporal.registry import REGISTRY_ID
from retinue.testing import Answer, plan_answer
from retinue.times import present
from tests.accounts.test_waiting_for_an_account import Running, running  # noqa: F401  # a fixture
from tests.activities.email.test_replying import incoming
from tests.api.test_triggers import deliver, letter, made, mailbox, until  # noqa: F401  # fixtures among them
from tests.conftest import Stack, View, pending, steps
from tests.days import NEXT, SOON
from tests.scenarios.conftest import people  # noqa: F401  # a fixture
from tests.scenarios.test_accounts import Post, post  # noqa: F401  # a fixture
from tests.scenarios.test_accounts import letter as letter_of_an_account
from tests.scenarios.test_agents import call, delegated
from tests.scenarios.test_people import QUORUM, Opened, rule, say
from tests.scenarios.test_plans import MISSING, event
from tests.scenarios.test_rejections import rejecting
from tests.security.backdoor.conftest import house, installation, keys  # noqa: F401  # fixtures
from tests.test_main_job import COMPOSED_MAIL, forecast, mail
from workflows.rules.grants import digest
from workflows.undo import undo_id

HISTORIES = Path(__file__).parent / "histories"
Fresh = Callable[[str], str]
BROKEN = {"id": "s1", "tool": "email.archive", "args": {"message_id": "<none@example.com>"}}
SHAPES = {
    "approved": [plan_answer(COMPOSED_MAIL)],
    "rejected": [plan_answer([mail("s1"), forecast("s2")])],
    "edited": [plan_answer([mail("s1")])],
    "cancelled": [plan_answer([mail("s1"), forecast("s2")])],
    "waiting": [plan_answer(COMPOSED_MAIL)],
    "automatic": [plan_answer([forecast("s1"), forecast("s2", "Rome")])],
    "failed": [plan_answer([BROKEN, forecast("s2")])],
    "repaired": [plan_answer([{"id": "s1", "tool": "no.tool"}]), plan_answer([forecast()])],
    "replied": [plan_answer(reply="Hello!")],
    "question": [plan_answer(question="Where?"), plan_answer([forecast()])],
    "unplanned": [Answer(status=401)],
}
DECISIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "approved": ("approve", {}),
    "rejected": ("reject", {"comment": "no"}),
    "edited": ("edit", {"args": {"to": ["b@example.com"], "subject": "x", "body": "y"}}),
}


async def save(stack: Stack, assistant_id: str, name: str) -> None:
    """Keep a history, unless there is one of that name: it is what runs look like that somebody has waiting."""
    history = await stack.temporal.get_workflow_handle(assistant_id).fetch_history()
    with contextlib.suppress(FileExistsError), (HISTORIES / f"{name}.json").open("x") as file:
        file.write(history.to_json())


@pytest.mark.parametrize("shape", SHAPES)
async def test_record(stack: Stack, fresh: Fresh, shape: str) -> None:
    message = fresh(f"For team@example.com, {shape}")
    stack.model.script(message, *SHAPES[shape])
    view = await stack.start(message, wait_seconds=20)
    for decision, body in [DECISIONS[shape]] if shape in DECISIONS else []:
        await stack.decide(view, decision, **body)
    for _ in range(shape == "cancelled"):
        await stack.http.post(f"/v1/assistants/{view['id']}/cancel")
    for _ in range(shape == "question"):
        await stack.http.post(f"/v1/assistants/{view['id']}/messages", json={"message": "Lisbon"})
    for _ in range(shape != "waiting"):
        await stack.ended(view["id"])
    await save(stack, view["id"], shape)


async def test_record_the_registry(stack: Stack) -> None:
    await save(stack, REGISTRY_ID, "registry_announced_at_once")


def call_step(step_id: str, tool: str, args: dict[str, Any]) -> dict[str, Any]:
    return {"id": step_id, "tool": tool, "args": args}


async def ended(stack: Stack, view: View, name: str) -> View:
    """The final view of a run whose history is kept."""
    done = await stack.ended(view["id"])
    with contextlib.suppress(WorkflowFailureError):
        await stack.temporal.get_workflow_handle(view["id"]).result()
    await save(stack, view["id"], name)
    return done


async def asking(stack: Stack, message: str, *plans: Answer, **body: Any) -> View:
    stack.model.script(message, *plans)
    return await stack.asked((await stack.start(message, **body))["id"])


async def test_record_replanned(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Archive it, and the weather")
    stack.model.script(message, plan_answer([MISSING, forecast("s2")]), plan_answer([forecast("s1", "Rome")]))
    await ended(stack, await stack.start(message, wait_seconds=20), "replanned")


async def test_record_filled_in(stack: Stack, fresh: Fresh, tmp_path: Path) -> None:
    """A reply, whose recipients are read out of its mail before it is asked."""
    name = f"<{uuid.uuid4().hex}@example.com>"
    (tmp_path / "mail.eml").write_bytes(incoming().replace(b"<m@example.com>", name.encode()))
    await import_file(tmp_path / "mail.eml", person="local")
    answer = call_step("s1", "email.reply", {"message_id": name, "body": "Gladly."})
    view = await asking(stack, fresh("Answer it"), plan_answer([answer]))
    await stack.decide(view)
    await ended(stack, view, "filled_in")


async def test_record_previewed(stack: Stack, fresh: Fresh) -> None:
    view = await asking(
        stack, fresh("Mail somebody"), plan_answer([forecast(), mail("s2"), forecast("s3")]), preview=True
    )
    first, second, _ = pending(view)[0]["args"]["steps"]
    second["args"]["to"] = ["anna@example.com"]
    await stack.decide(view, "edit", args={"steps": [first, second]})
    view = await stack.until(view["id"], lambda v: any(a["kind"] == "action" for a in pending(v)))
    await stack.decide(view)
    await ended(stack, view, "previewed")


async def test_record_preview_rejected(stack: Stack, fresh: Fresh) -> None:
    view = await asking(stack, fresh("Dentist"), plan_answer([event()]), preview=True)
    await stack.decide(view, "reject", comment="too early")
    await ended(stack, view, "preview_rejected")


async def test_record_quorum(stack: Stack, fresh: Fresh, people: Opened) -> None:
    person = await people(QUORUM)
    view = await asking(person("cleo"), fresh("Mail team@example.com"), plan_answer([mail("s1")]))
    await person("anna").decide(view)
    await person("ben").decide(view, comment="fine")
    await ended(person("cleo"), view, "quorum")


async def test_record_expired(stack: Stack, fresh: Fresh, people: Opened) -> None:
    policy = rule(
        'tools = ["email.send"]\ndecide = "ask"\nremind_after = [1]\nescalate_after = 2\nescalate_to = ["ben"]\n'
        "expires_after = 3"
    )
    anna = (await people(policy))("anna")
    await ended(anna, await asking(anna, fresh("Mail team@example.com"), plan_answer([mail("s1")])), "expired")


async def test_record_granted_and_the_person(stack: Stack, fresh: Fresh, people: Opened) -> None:
    name = f"anna-{uuid.uuid4().hex[:8]}"
    anna = (await people('[policies.default]\nextends = "default"\nhold = 1\nrules = []\n'))(name)
    view = await asking(anna, fresh("Mail team@example.com"), plan_answer([mail("s1")]))
    await anna.decide(view, grant={"uses": 2})
    await ended(anna, view, "gave_a_grant")
    again = fresh("Mail team@example.com again")
    stack.model.script(again, plan_answer([mail("s1")]))
    done = await ended(anna, await anna.start(again, wait_seconds=20), "granted")
    assert steps(done)["s1"]["consent"]["how"] == "grant"
    [grant] = (await anna.http.get("/v1/grants")).json()["grants"]
    await anna.http.delete(f"/v1/grants/{grant['grant_id']}")
    await save(stack, person_id(name), "person")


async def test_record_a_chat_and_its_next_run(stack: Stack, fresh: Fresh, people: Opened) -> None:
    anna = (await people('[policies.default]\nextends = "default"\nrules = []\n'))("anna")
    first, *others = [fresh(f"Turn {number}") for number in range(8)]
    for text in (first, *others):
        stack.model.script(text, plan_answer(reply=f"Answer to {text}"))
    for text in (others[1], others[5]):
        stack.model.script(text, plan_answer([event(title=text)]))
    stack.model.script(others[2], plan_answer([mail("m")]))
    view = await anna.start(first, mode="chat", wait_seconds=20)
    first_run = (await stack.temporal.get_workflow_handle(view["id"]).describe()).run_id
    for text in others:
        asked = await say(anna, view["id"], text)
        for _ in pending(asked):
            await anna.decide(asked)
            await anna.until(view["id"], lambda v: v["status"] == "awaiting_input")
    history = await stack.temporal.get_workflow_handle(view["id"], run_id=first_run).fetch_history()
    with contextlib.suppress(FileExistsError), (HISTORIES / "chat_first_run.json").open("x") as file:
        file.write(history.to_json())
    await anna.http.post(f"/v1/assistants/{view['id']}/cancel")
    await ended(anna, view, "chat_next_run")


async def test_record_forked(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Dentist, and the weather")
    stack.model.script(message, plan_answer([event(title=message), {**forecast("s2"), "depends_on": ["s1"]}]))
    old = await stack.ended((await stack.start(message))["id"])
    body = {"from_step": "s2", "args": {"place": "Rome", "start": SOON, "end": SOON}}
    new = (await stack.http.post(f"/v1/assistants/{old['id']}/fork", json=body)).json()
    await ended(stack, new, "forked")


async def test_record_delegated(stack: Stack, fresh: Fresh) -> None:
    goal = fresh("tell the team")
    wish = call("email.send", to=["team@example.com"], subject="Hi", body="Hello")
    stack.model.agent(goal, [call("email.search", query="team")], [wish], "Sent.")
    view = await asking(stack, fresh("Tell team@example.com"), plan_answer([delegated("email", goal)]))
    await stack.decide(view)
    await ended(stack, view, "delegated")
    await save(stack, f"{view['id']}/s1/2", "microagent")


async def test_record_undone_on_cancel(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Dentist, then mail team@example.com")
    view = await asking(stack, message, plan_answer([event(title=message), mail("s2", depends_on=["s1"])]))
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel", json={"undo": True})
    await ended(stack, view, "undone_on_cancel")


async def test_record_an_undo(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Two events")
    stack.model.script(message, plan_answer([event("s1", f"{message} a"), event("s2", f"{message} b")]))
    view = await stack.ended((await stack.start(message))["id"])
    await stack.http.post(f"/v1/assistants/{view['id']}/undo", json={"wait_seconds": 20})
    await save(stack, undo_id(view["id"], 1), "undo")


@pytest.mark.parametrize(("decision", "name"), [("approve", "topped_up"), ("reject", "budget_stopped")])
async def test_record_budgets(stack: Stack, fresh: Fresh, decision: str, name: str) -> None:
    plan = plan_answer([forecast("s1"), forecast("s2", "Rome")])
    view = await asking(stack, fresh(f"Two forecasts, {name}"), plan, budget={"steps": 1})
    await stack.decide(view, decision)
    await ended(stack, view, name)


async def test_record_worker_skipped(stack: Stack, fresh: Fresh, lonely: str) -> None:
    message = fresh("Ask the lonely one")
    stack.model.script(message, plan_answer([{"id": "s1", "tool": f"{lonely}.ask", "args": {}}, forecast("s2")]))
    view = await stack.until((await stack.start(message))["id"], lambda v: bool(v["waiting_for"]), seconds=20)
    await stack.http.post(f"/v1/assistants/{view['id']}/steps/s1", json={"choice": "skip"})
    await ended(stack, view, "worker_skipped")


async def test_record_store_waited(stack: Stack, fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose worker's database is full for longer than the tool's own attempts take."""
    message = fresh("Note milk")
    stack.model.script(message, plan_answer([{"id": "s1", "tool": "tasks.add", "args": {"title": message}}]))
    with monkeypatch.context() as outage:
        outage.setattr(Store, "write", full)
        view = await stack.until((await stack.start(message))["id"], lambda view: bool(view["waiting_for"]), seconds=60)
    await ended(stack, view, "store_waited")


@contextlib.asynccontextmanager
async def full(store: Store) -> AsyncIterator[AsyncSession]:
    """In the place of `Store.write`: the disk of the tasks is full, and the others' is well."""
    if store.owner == "tasks":
        raise StoreUnavailable("the database of tasks does not work at the moment: its disk is full")
    async with WRITE(store) as session:
        yield session


WRITE = Store.write


async def test_record_nothing_found(stack: Stack, fresh: Fresh) -> None:
    """A look-up that finds nothing: the step that needs it is skipped and the run completes."""
    message = fresh("Cancel the concert")
    look = {"start": f"{SOON}T00:00:00Z", "end": f"{NEXT}T00:00:00Z", "query": fresh("Concert")}
    gone = {"event_id": {"$from": "s1", "path": "/match/event_id"}}
    plan = plan_answer([call_step("s1", "calendar.list_events", look), call_step("s2", "calendar.delete_event", gone)])
    stack.model.script(message, plan, plan_answer())
    await ended(stack, await stack.start(message, wait_seconds=20), "nothing_found")


async def test_record_looked_up(stack: Stack, fresh: Fresh) -> None:
    """An action on an id: what it stands for is read before a person is asked."""
    message = fresh("Dentist, and cancel it")
    gone = call_step("s2", "calendar.delete_event", {"event_id": {"$from": "s1", "path": "/event_id"}})
    view = await asking(stack, message, plan_answer([event(title=message), gone]))
    await stack.decide(view)
    await ended(stack, view, "looked_up")


async def test_record_an_account_that_was_connected_again(running: Running, fresh: Fresh) -> None:
    """A step whose account was refused waits for a signal and runs again; every step carries a pass."""
    view = await running.ask(fresh("What is in my diary?"))
    await running.connect_again()
    await ended(running.stack, view, "waited_for_an_account")


async def test_record_an_action_by_an_account(stack: Stack, fresh: Fresh, post: Post) -> None:
    """The account is looked up before a person is asked, and the step is bound to it."""
    post.connect("work", "private")
    view = await asking(stack, fresh("Write them"), plan_answer([letter_of_an_account("ana@example.com")]))
    await stack.decide(view)
    await ended(stack, view, "account_chosen")


async def test_record_a_trigger_and_its_run(
    stack: Stack,
    fresh: Fresh,
    made: Any,
    mailbox: MailStore,
) -> None:
    """A watch of the mailbox, and the run that a mail has started: its first step is made by code."""
    message = fresh("What did they write?")
    stack.model.script(message, plan_answer(reply="Nothing new."))
    trigger = await made(message=message, conditions={"words": [message]})
    await deliver(mailbox, letter("ana@example.com", message))
    seen = await until(stack, trigger["id"], lambda found: found["recent_runs"])
    run = await stack.ended(seen["recent_runs"][0]["assistant_id"])
    await ended(stack, run, "triggered")
    await save(stack, watch_id("local", "mail", ""), "account_watch")


async def test_record_rejected_before(stack: Stack, fresh: Fresh) -> None:
    """The same mail three times in other words: the third is not asked."""
    message = fresh("Tell team@example.com")
    stack.model.script(message, *[plan_answer([mail("s1", body=f"Report {n}")]) for n in range(3)], plan_answer())
    await ended(stack, await rejecting(stack, (await stack.start(message))["id"]), "rejected_before")


async def test_record_an_answer_in_a_schema(stack: Stack, fresh: Fresh) -> None:
    """A program asked for an answer in a JSON schema: one more activity writes it."""
    shape = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
    message = fresh("Which town?")
    stack.model.script(message, plan_answer(reply="Lisbon"), replies=[Answer('{"town": "Lisbon"}')])
    body = {"model": "retinue", "messages": [{"role": "user", "content": message}]}
    form = {"type": "json_schema", "json_schema": {"name": "town", "schema": shape}}
    answer = await stack.http.post("/v1/chat/completions", json={**body, "response_format": form})
    assert answer.status_code == 200, answer.text
    [found] = [
        view for view in (await stack.http.get("/v1/assistants")).json()["assistants"] if view["message"] == message
    ]
    await save(stack, found["id"], "answered_in_a_schema")


async def test_record_a_briefing(stack: Stack) -> None:
    body = {"message": "My briefing", "plan": "briefing", "plan_args": {"place": "Lisbon"}, "wait_seconds": 20}
    view = (await stack.http.post("/v1/assistants", json=body)).json()
    await ended(stack, view, "briefing")


async def test_record_a_reminder(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Remind me")
    at = (present() + timedelta(seconds=5)).isoformat()
    stack.model.script(
        message, plan_answer([{"id": "s1", "tool": "tasks.remind", "args": {"title": message, "at": at}}])
    )
    view = await stack.ended((await stack.start(message))["id"])
    reminder = f"reminder-{steps(view)['s1']['result']['task_id']}"
    await stack.temporal.get_workflow_handle(reminder).result()
    await save(stack, reminder, "reminder")


async def test_record_remembered(stack: Stack, fresh: Fresh) -> None:
    """A run that remembers, the next one that is shown it, its undo, and a request outside of any run."""
    message, next_one = fresh("Remember that I prefer tea"), fresh("Hello")
    plan = plan_answer([{"id": "s1", "tool": "memory.remember", "args": {"text": "I prefer tea"}}])
    stack.model.script(message, plan)
    stack.model.script(next_one, plan_answer(reply="Hello!"))
    remembered = await ended(stack, await stack.start(message), "remembered")
    shown = await ended(stack, await stack.start(next_one), "recalled")
    assert [fact["text"] for fact in shown["facts"]] == ["I prefer tea"]
    await stack.http.post(f"/v1/assistants/{remembered['id']}/undo", json={"wait_seconds": 20})
    await save(stack, undo_id(remembered["id"], 1), "remembered_undo")
    key = fresh("key").replace(" ", "")
    await stack.http.post("/v1/memory", json={"text": "tea"}, headers={"Idempotency-Key": key})
    await save(stack, f"memory-{digest('local', key)}", "memory_request")
    await stack.http.delete("/v1/memory")


async def test_record_proved(house: Stack, fresh: Fresh) -> None:
    """In the mode `proved`, with a stranger's signal in between."""
    view = await asking(house, fresh("Mail team@example.com"), plan_answer([mail("s1")]))
    await house.temporal.get_workflow_handle(view["id"]).signal("approve", {"approval_id": "ap-s1"})
    await house.until(view["id"], lambda v: bool(v["notices"]))
    await house.decide(view)
    await ended(house, view, "proved")


@pytest.mark.parametrize("by", ["front_door", "stranger"])
async def test_record_proved_undo(house: Stack, fresh: Fresh, by: str) -> None:
    message = fresh(f"Dentist, then mail team@example.com, {by}")
    view = await asking(house, message, plan_answer([event(title=message), mail("s2", depends_on=["s1"])]))
    for _ in range(by == "front_door"):
        await house.http.post(f"/v1/assistants/{view['id']}/cancel", json={"undo": True})
    for _ in range(by == "stranger"):
        await house.temporal.get_workflow_handle(view["id"]).cancel(reason="undo")
    await ended(house, view, f"proved_undo_by_{by}")
