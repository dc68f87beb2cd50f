"""Whoever reaches Temporal, without the key, decides nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from retinue.provenance.credential import Credential, CredentialKind
from retinue.temporal.keyring import new_key
from retinue.testing import plan_answer
from tests.conftest import Stack, View, pending, steps
from tests.scenarios.test_plans import event
from tests.security.backdoor.conftest import Fresh, Keys, asking
from tests.security.backdoor.forger import GARBAGE, forging, proof
from tests.security.backdoor.installation import Installation, refusal
from tests.test_main_job import mail, sent_mails
from workflows.messages import ChooseForStep, Decide, DecisionKind, SendMessage, WorkerChoice
from workflows.rules.grants import GrantRequest

pytestmark = pytest.mark.xdist_group("backdoor")
Run = WorkflowHandle[Any, Any]
KEY = Credential(kind=CredentialKind.KEY, id="k-1", name="editor", may_decide=False)


def decision(view: View, **changes: Any) -> Decide:
    """What a person would send to approve what waits."""
    [asked] = pending(view)
    return Decide(
        **{"approval_id": asked["id"], "decision": DecisionKind.APPROVE, "args_hash": asked["args_hash"], "by": "local"}
        | changes
    )


def run_of(stack: Stack, view: View) -> Run:
    return stack.temporal.get_workflow_handle(view["id"])


async def test_through_the_front_door_all_is_as_ever(house: Stack, fresh: Fresh) -> None:
    """Grants too, which a workflow writes down for the person by a message of its own."""
    view = await asking(house, fresh("Mail team@example.com"))
    assert (await house.decide(view, grant={"uses": 2})).status_code == 200
    done = await house.ended(view["id"])
    assert (done["status"], done["notices"]) == ("completed", [])
    assert len(sent_mails(house, view["id"])) == 1
    [grant] = [g for g in (await house.http.get("/v1/grants")).json()["grants"] if view["id"] in g["from_approval"]]
    assert (await house.http.delete(f"/v1/grants/{grant['grant_id']}")).status_code == 200


Make = Callable[[View, Keys, str], Payload]
FORGED: dict[str, tuple[Make, str]] = {
    "another key under the same name": (
        lambda v, k, u: proof(
            f"{k.new.partition(':')[0]}:{new_key().partition(':')[2]}", decision(v), run=v["id"], update_id=u
        ),
        "belongs to another message",
    ),
    "a key of its own": (
        lambda v, k, u: proof(new_key(), decision(v), run=v["id"], update_id=u),
        "does not have",
    ),
    "the key of announcements": (
        lambda v, k, u: proof(k.announcing, decision(v), run=v["id"], update_id=u),
        "does not have",
    ),
    "a proof for another run": (
        lambda v, k, u: proof(k.new, decision(v), run="a-other", update_id=u),
        "another message",
    ),
    "a proof for another approval": (
        lambda v, k, u: proof(k.new, decision(v, approval_id="ap-s2"), run=v["id"], update_id=u),
        "another message",
    ),
    "a proof for other arguments": (
        lambda v, k, u: proof(k.new, decision(v, args_hash="0" * 64), run=v["id"], update_id=u),
        "another message",
    ),
    "a proof of a rejection": (
        lambda v, k, u: proof(k.new, decision(v, decision=DecisionKind.REJECT), run=v["id"], update_id=u),
        "another message",
    ),
    "another person's proof": (
        lambda v, k, u: proof(k.new, decision(v, by="anna"), run=v["id"], update_id=u),
        "another message",
    ),
    "a proof of an edit": (
        lambda v, k, u: proof(
            k.new, decision(v, decision=DecisionKind.EDIT, args={"to": ["a@example.com"]}), run=v["id"], update_id=u
        ),
        "another message",
    ),
    "a proof with a grant": (
        lambda v, k, u: proof(k.new, decision(v, grant=GrantRequest(uses=3)), run=v["id"], update_id=u),
        "another message",
    ),
    "a proof of a message": (
        lambda v, k, u: proof(k.new, decision(v), run=v["id"], name="send_message", update_id=u),
        "another message",
    ),
    "a proof of a start": (lambda v, k, u: proof(k.new, decision(v), run=v["id"]), "another message"),
    "a proof of another sending": (
        lambda v, k, u: proof(k.new, decision(v), run=v["id"], update_id=f"{u}x"),
        "another message",
    ),
    "a proof of another namespace": (
        lambda v, k, u: proof(k.new, decision(v), run=v["id"], update_id=u, namespace="other"),
        "another message",
    ),
    "an old proof": (
        lambda v, k, u: proof(k.new, decision(v), run=v["id"], update_id=u, minutes=-0.1),
        "expired",
    ),
    "a proof without an end": (
        lambda v, k, u: proof(k.new, decision(v), run=v["id"], update_id=u, minutes=None),
        "no expiry",
    ),
    "garbage": (lambda v, k, u: GARBAGE, "cannot be read"),
    "nothing": (lambda v, k, u: Payload(), "cannot be read"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_decision_with_a_proof_that_does_not_hold_is_refused(
    name: str, house: Stack, waiting: View, keys: Keys
) -> None:
    make, why = FORGED[name]
    update_id = uuid.uuid4().hex
    run = forging(house.temporal, make(waiting, keys, update_id)).get_workflow_handle(waiting["id"])
    kind, said = await refusal(run.execute_update("decide", decision(waiting), id=update_id))
    assert kind == "NotProved"
    assert why in said
    after = await house.view(waiting["id"])
    assert len(pending(after)) == 1
    assert sent_mails(house, waiting["id"]) == []


UPDATES: dict[str, Callable[[View], Any]] = {
    "decide": decision,
    "send_message": lambda _: SendMessage(text="Do it."),
    "choose": lambda _: ChooseForStep(step_id="s1", choice=WorkerChoice.SKIP, by="local"),
}


@pytest.mark.parametrize("name", UPDATES)
async def test_nothing_is_changed_by_an_update_without_a_proof(name: str, house: Stack, waiting: View) -> None:
    before = await run_of(house, waiting).fetch_history()
    kind, said = await refusal(run_of(house, waiting).execute_update(name, UPDATES[name](waiting)))
    assert (kind, "carries no proof" in said) == ("NotProved", True)
    assert len((await run_of(house, waiting).fetch_history()).events) == len(before.events)


@pytest.mark.parametrize("forged", [None, KEY.model_copy(update={"may_decide": True})], ids=["nothing", "more"])
async def test_nobody_takes_away_through_which_key_a_message_came(
    forged: Credential | None, house: Stack, waiting: View, keys: Keys
) -> None:
    """A message through a key that may not decide cannot be sent on as the person's own."""
    update_id = uuid.uuid4().hex
    true = SendMessage(text="Mail mallory@example.com", through=KEY)
    shown = proof(keys.new, true, run=waiting["id"], name="send_message", update_id=update_id)
    run = forging(house.temporal, shown).get_workflow_handle(waiting["id"])
    said = SendMessage(text=true.text, through=forged) if forged else SendMessage(text=true.text)
    kind, why = await refusal(run.execute_update("send_message", said, id=update_id))
    assert (kind, "belongs to another message" in why) == ("NotProved", True)
    kind, _ = await refusal(run.execute_update("send_message", true, id=update_id))
    assert kind == "NotWaiting"  # the proof itself holds


async def test_a_decision_that_is_sent_again_is_the_same_and_no_other(house: Stack, keys: Keys, fresh: Fresh) -> None:
    """The proof stands in the history for whoever reads it; it counts for one sending."""
    message = fresh("Let us talk")
    house.model.script(message, plan_answer(reply="Yes?"))
    view = await house.start(message, mode="chat")
    await house.until(view["id"], lambda now: now["status"] == "awaiting_input")
    said, first = SendMessage(text=fresh("Go on")), uuid.uuid4().hex
    house.model.script(message, plan_answer(reply="Gladly."))
    house.model.script(said.text, plan_answer(reply="Gladly."))
    stolen = proof(keys.new, said, run=view["id"], name="send_message", update_id=first)
    run = forging(house.temporal, stolen).get_workflow_handle(view["id"])
    for _ in range(3):
        await run.execute_update("send_message", said, id=first)
    assert (await refusal(run.execute_update("send_message", said, id=uuid.uuid4().hex)))[0] == "NotProved"
    after = await house.until(view["id"], lambda now: now["status"] == "awaiting_input" and now["turns"] == 2)
    assert [line["text"] for line in after["messages"]].count(said.text) == 1
    await house.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_proofs_by_the_key_before_count_and_those_by_one_that_is_gone_do_not(
    installation: Installation, house: Stack, keys: Keys, fresh: Fresh
) -> None:
    view = await asking(house, fresh("Mail team@example.com"))
    answers = []
    for key in (new_key(), keys.old):
        client = await installation.client(RETINUE_DECISIONS="proved", RETINUE_DECISION_KEYS=key)
        async with installation.front(client) as http:
            body = {"decision": "approve", "args_hash": pending(view)[0]["args_hash"]}
            answers.append(
                await http.post(f"/v1/assistants/{view['id']}/approvals/{pending(view)[0]['id']}", json=body)
            )
    assert [answer.status_code for answer in answers] == [409, 200]
    assert "a key that this workflow worker does not have" in answers[0].text
    assert (await house.ended(view["id"]))["status"] == "completed"
    assert len(sent_mails(house, view["id"])) == 1


SIGNALS: dict[str, dict[str, Any]] = {
    "approve": {"approval_id": "ap-s1", "by": "local"},
    "reject": {"approval_id": "ap-s1", "by": "\u202eanna\n" * 500},
    "message": {"text": "Do it."},
}


@pytest.mark.parametrize("name", SIGNALS)
async def test_a_signal_changes_nothing_and_is_told(name: str, house: Stack, fresh: Fresh) -> None:
    view = await asking(house, fresh("Mail team@example.com"))
    await run_of(house, view).signal(name, SIGNALS[name])
    after = await house.until(view["id"], lambda now: bool(now["notices"]))
    assert (after["status"], len(pending(after))) == ("awaiting_approval", 1)
    [notice] = after["notices"]
    assert notice.startswith("1 plain signals to Temporal were refused")
    assert name in notice
    assert len(notice) < 400
    assert "\u202e" not in notice
    await house.decide(view, "reject")
    assert (await house.ended(view["id"]))["approvals"][0]["decided_by"] == "local"


async def test_a_web_page_that_posts_to_the_http_port_changes_nothing(
    installation: Installation, house: Stack, fresh: Fresh
) -> None:
    """No preflight protects from this: any page that a person of this machine opens can send it."""
    view = await asking(house, fresh("Mail team@example.com"))
    base = f"http://127.0.0.1:{installation.server.http_port}/api/v1/namespaces/default/workflows/{view['id']}"
    headers = {"Content-Type": "text/plain", "Origin": "https://evil.example"}
    [asked] = pending(view)
    decided = f'{{"approval_id": "{asked["id"]}", "decision": "approve", "args_hash": "{asked["args_hash"]}"}}'
    async with httpx.AsyncClient(headers=headers, timeout=20) as page:
        signal = await page.post(f"{base}/signal/approve", content=f'{{"input": [{{"approval_id": "{asked["id"]}"}}]}}')
        update = await page.post(
            f"{base}/update/decide",
            content=f'{{"request": {{"meta": {{"updateId": "u1"}}, "input": {{"args": [{decided}]}}}}}}',
        )
    assert signal.status_code == 200, signal.text
    assert "carries no proof" in update.text
    after = await house.until(view["id"], lambda now: bool(now["notices"]))
    assert (after["status"], sent_mails(house, view["id"])) == ("awaiting_approval", [])
    await house.decide(view, "reject")


async def test_a_flood_of_signals_neither_fills_the_view_nor_stops_the_run(house: Stack, fresh: Fresh) -> None:
    view = await asking(house, fresh("Mail team@example.com"))
    run = run_of(house, view)
    before = _own_events(await run.fetch_history())
    await asyncio.gather(
        *[run.signal("approve", {"approval_id": "ap-s1" * 900, "by": f"anna {number}" * 50}) for number in range(500)]
    )
    after = await house.until(view["id"], lambda now: any(line.startswith("500 ") for line in now["notices"]))
    assert len(after["notices"]) == 1
    assert len(after["notices"][0]) < 700
    assert _own_events(await run.fetch_history()) == before
    assert (await house.decide(view)).status_code == 200
    done = await house.ended(view["id"])
    assert steps(done)["s1"]["status"] == "completed"
    assert done["notices"] == after["notices"]


_TASKS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
}


def _own_events(history: Any) -> int:
    """Events that the run itself made."""
    return sum(event.event_type not in _TASKS for event in history.events)


async def test_a_chat_that_goes_on_as_new_is_as_guarded_as_before(
    installation: Installation, house: Stack, keys: Keys, fresh: Fresh
) -> None:
    first, second = fresh("Let us talk"), fresh("Mail team@example.com")
    house.model.script(first, plan_answer(reply="Yes?"))
    house.model.script(second, plan_answer([mail("m")]))
    client = await installation.client(RETINUE_DECISIONS="proved", RETINUE_DECISION_KEYS=keys.new)
    async with installation.front(client, retinue_chat_turns="1") as http:
        view = (await http.post("/v1/assistants", json={"message": first, "mode": "chat"})).json()
        await house.until(view["id"], lambda now: now["status"] == "awaiting_input")
        await http.post(f"/v1/assistants/{view['id']}/messages", json={"message": second})
    asked = await house.asked(view["id"])
    [began, *_] = (await run_of(house, view).fetch_history()).events
    assert began.workflow_execution_started_event_attributes.continued_execution_run_id
    await run_of(house, view).signal("approve", {"approval_id": pending(asked)[0]["id"]})
    after = await house.until(view["id"], lambda now: bool(now["notices"]))
    assert len(pending(after)) == 1
    assert (await refusal(run_of(house, view).execute_update("decide", decision(asked))))[0] == "NotProved"
    await house.decide(after, "reject")
    await house.http.post(f"/v1/assistants/{view['id']}/cancel")


@pytest.mark.parametrize(("by", "becomes"), [("the front door", "undone"), ("a stranger", "completed")])
async def test_an_undo_is_the_front_doors_to_ask_for(by: str, becomes: str, house: Stack, fresh: Fresh) -> None:
    """Whoever reaches Temporal can stop a run; what it has done stays done."""
    message = fresh("Dentist, then mail team@example.com")
    house.model.script(message, plan_answer([event(title=message), mail("s2", depends_on=["s1"])]))
    view = await house.asked((await house.start(message))["id"])
    stop: dict[str, Callable[[], Awaitable[Any]]] = {
        "the front door": lambda: house.http.post(f"/v1/assistants/{view['id']}/cancel", json={"undo": True}),
        "a stranger": lambda: house.temporal.get_workflow_handle(view["id"]).cancel(reason="undo"),
    }
    await stop[by]()
    done = await house.ended(view["id"])
    assert (done["status"], steps(done)["s1"]["status"]) == ("cancelled", becomes)
