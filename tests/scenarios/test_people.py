"""People in the loop through the front door: policies, several approvers, expiry, reminders, grants, chat."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from retinue.testing import Answer, plan_answer
from tests.conftest import Stack, View, pending, steps
from tests.scenarios.test_plans import event
from tests.test_main_job import forecast, mail, sent_mails

Fresh = Callable[[str], str]
Opened = Callable[[str], Awaitable[Callable[[str], Stack]]]

QUORUM = """
[policies.default]
extends = "default"

[[policies.default.rules]]
name = "two-people"
tools = ["email.send"]
decide = "ask"
approvers = 2
by = ["anna", "ben", "cleo"]
not_the_requester = true
because = "mail speaks for all of us"
"""


def rule(text: str) -> str:
    return f'[policies.default]\nextends = "default"\n[[policies.default.rules]]\nname = "mine"\n{text}'


async def decide(person: Stack, view: View, decision: str = "approve", **body: Any) -> tuple[int, str]:
    response = await person.decide(view, decision, **body)
    return response.status_code, response.json().get("detail", "")


async def test_two_different_people_approve_and_never_the_requester(stack: Stack, fresh: Fresh, people: Opened) -> None:
    person = await people(QUORUM)
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    cleo, anna, ben = person("cleo"), person("anna"), person("ben")
    view = await cleo.asked((await cleo.start(message))["id"])
    [asked] = pending(view)
    assert (asked["approvers"], asked["by"], asked["not_the_requester"]) == (2, ["anna", "ben", "cleo"], True)
    assert asked["reasons"][0] == "mail speaks for all of us"
    assert await decide(cleo, view) == (403, f"the requester may not approve {asked['id']}; another person must")
    assert (await decide(anna, view))[0] == 200
    first = await anna.view(view["id"])
    assert [vote["by"] for vote in pending(first)[0]["votes"]] == ["anna"]
    assert (await decide(anna, view))[0] == 409
    assert sent_mails(stack, view["id"]) == []
    assert (await decide(ben, view, comment="fine"))[0] == 200
    done = await cleo.ended(view["id"])
    assert [vote["by"] for vote in done["approvals"][0]["votes"]] == ["anna", "ben"]
    assert len(sent_mails(stack, view["id"])) == 1


async def test_an_edit_makes_earlier_votes_void(stack: Stack, fresh: Fresh, people: Opened) -> None:
    person = await people(QUORUM)
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    cleo, anna, ben = person("cleo"), person("anna"), person("ben")
    view = await cleo.asked((await cleo.start(message))["id"])
    await decide(anna, view)
    args = pending(view)[0]["args"] | {"body": "Other words"}
    assert (await decide(ben, view, "edit", args=args))[0] == 200
    edited = await cleo.view(view["id"])
    assert [vote["by"] for vote in pending(edited)[0]["votes"]] == ["ben"]
    assert "Other words" in pending(edited)[0]["preview"]
    assert (await decide(anna, view))[0] == 409  # on what she saw first
    assert (await decide(anna, edited))[0] == 200
    await cleo.ended(view["id"])
    assert sent_mails(stack, view["id"])[0][1] == "Other words"


async def test_only_approvers_see_and_decide_what_is_not_theirs(stack: Stack, fresh: Fresh, people: Opened) -> None:
    person = await people(QUORUM)
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    cleo, anna, stranger = person("cleo"), person("anna"), person("zoe")
    view = await cleo.asked((await cleo.start(message))["id"])

    async def inbox(who: Stack) -> list[str]:
        return [item["assistant_id"] for item in (await who.http.get("/v1/approvals")).json()["approvals"]]

    for _ in range(50):
        if view["id"] in await inbox(anna):
            break
        await asyncio.sleep(0.1)
    assert view["id"] in await inbox(anna)
    assert view["id"] not in await inbox(stranger)
    unknown = await stranger.http.get("/v1/assistants/a-unknown")
    foreign = await stranger.http.get(f"/v1/assistants/{view['id']}")
    assert foreign.status_code == unknown.status_code == 404
    assert (await decide(stranger, view))[0] == 404
    assert (await anna.http.post(f"/v1/assistants/{view['id']}/cancel")).status_code == 404
    assert (await decide(anna, view, "reject", comment="no"))[0] == 200
    assert (await cleo.ended(view["id"]))["approvals"][0]["decided_by"] == "anna"


async def test_a_caller_that_the_proxy_does_not_name_is_refused(people: Opened) -> None:
    person = await people(QUORUM)
    assert (await person("").http.get("/v1/assistants")).status_code == 403
    assert (await person("x' OR '1'='1").http.get("/v1/assistants")).status_code == 403


async def test_the_policy_denies_and_the_next_plan_knows(stack: Stack, fresh: Fresh, people: Opened) -> None:
    anna = (await people(rule('tools = ["calendar.*"]\nread_only = false\ndecide = "deny"\nbecause = "no meetings"')))(
        "anna"
    )
    message = fresh("Dentist")
    stack.model.script(message, plan_answer([event()]))
    done = await anna.ended((await anna.start(message))["id"])
    assert steps(done)["s1"]["status"] == "rejected"
    assert steps(done)["s1"]["error"] == {"type": "Denied", "message": "the policy forbids it: no meetings"}
    assert done["approvals"] == []


async def test_an_edit_into_what_the_policy_denies_is_refused(stack: Stack, fresh: Fresh, people: Opened) -> None:
    anna = (await people(rule('tools = ["email.send"]\nargs_any = {"/to" = ["*@rival.example"]}\ndecide = "deny"')))(
        "anna"
    )
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await anna.asked((await anna.start(message))["id"])
    args = pending(view)[0]["args"] | {"to": ["boss@rival.example"]}
    assert (await decide(anna, view, "edit", args=args))[0] == 403
    assert (await decide(anna, view))[0] == 200
    await anna.ended(view["id"])
    assert "team@example.com" in sent_mails(stack, view["id"])[0][0]


async def test_an_unanswered_approval_is_reminded_escalated_and_expires(
    stack: Stack, fresh: Fresh, people: Opened
) -> None:
    person = await people(
        rule(
            'tools = ["email.send"]\ndecide = "ask"\nremind_after = [1]\nescalate_after = 2\nescalate_to = ["ben"]\n'
            "expires_after = 4"
        )
    )
    anna, ben = person("anna"), person("ben")
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]), plan_answer())
    view = await anna.asked((await anna.start(message))["id"])
    assert pending(view)[0]["expires_at"]
    await anna.until(view["id"], lambda v: pending(v)[0]["reminders"] == 1)
    escalated = await anna.until(view["id"], lambda v: bool(pending(v)[0]["escalated_at"]))
    assert pending(escalated)[0]["by"] == ["anna", "ben"]
    assert (await ben.http.get(f"/v1/assistants/{view['id']}")).status_code == 200
    done = await anna.ended(view["id"])
    assert done["approvals"][0]["status"] == "expired"
    assert steps(done)["s1"]["error"]["type"] == "Expired"
    assert (await decide(anna, view))[0] == 409
    assert sent_mails(stack, view["id"]) == []


async def test_at_its_expiry_an_action_may_be_allowed(stack: Stack, fresh: Fresh, people: Opened) -> None:
    anna = (await people(rule('tools = ["email.send"]\ndecide = "ask"\nexpires_after = 1\nat_expiry = "allow"')))(
        "anna"
    )
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    done = await anna.ended((await anna.start(message))["id"])
    assert (done["approvals"][0]["status"], done["approvals"][0]["decided_by"]) == ("approved", "policy")
    assert len(sent_mails(stack, done["id"])) == 1


async def test_at_its_expiry_an_action_may_wait_on(stack: Stack, fresh: Fresh, people: Opened) -> None:
    anna = (await people(rule('tools = ["email.send"]\ndecide = "ask"\nexpires_after = 1\nat_expiry = "wait"')))("anna")
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await anna.asked((await anna.start(message))["id"])
    view = await anna.until(view["id"], lambda v: pending(v)[0]["overdue"])
    assert (await decide(anna, view))[0] == 200
    await anna.ended(view["id"])


async def test_an_automatic_mail_is_held_and_a_cancel_really_stops_it(
    stack: Stack, fresh: Fresh, people: Opened
) -> None:
    policy = rule('tools = ["email.send"]\nargs = {"/to" = ["*@example.com"]}\ndecide = "auto"')
    anna = (await people(policy.replace("[[", "hold = 3\n[[", 1)))("anna")
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await anna.until(
        (await anna.start(message))["id"], lambda v: bool(v["plan"] and steps(v)["s1"]["held_until"])
    )
    await anna.http.post(f"/v1/assistants/{view['id']}/cancel")
    assert (await anna.ended(view["id"]))["status"] == "cancelled"
    await asyncio.sleep(3.5)
    assert sent_mails(stack, view["id"]) == []
    sent = fresh("Mail team@example.com again")
    stack.model.script(sent, plan_answer([mail("s1")]))
    done = await anna.ended((await anna.start(sent))["id"])
    assert steps(done)["s1"]["consent"]["how"] == "automatic"
    assert len(sent_mails(stack, done["id"])) == 1


async def test_a_batch_decides_several_runs_each_by_itself(stack: Stack, fresh: Fresh) -> None:
    views = []
    for number in range(3):
        message = fresh(f"Mail {number} to team@example.com")
        stack.model.script(message, plan_answer([mail("s1")]))
        views.append(await stack.asked((await stack.start(message))["id"]))
    wanted = [
        {
            "assistant_id": view["id"],
            "approval_id": "ap-s1",
            "decision": "approve",
            "args_hash": pending(view)[0]["args_hash"],
        }
        for view in views
    ]
    wanted[1]["args_hash"] = "stale"
    response = await stack.http.post("/v1/approvals", json={"decisions": wanted})
    assert response.status_code == 200, response.text
    assert [(item["recorded"], item["status"]) for item in response.json()["outcomes"]] == [
        (True, 200),
        (False, 409),
        (True, 200),
    ]
    await stack.ended(views[0]["id"])
    await stack.ended(views[2]["id"])
    assert [len(sent_mails(stack, view["id"])) for view in views] == [1, 0, 1]
    await stack.decide(views[1], "reject")


async def test_a_grant_given_with_an_approval_allows_the_like_until_it_is_revoked(stack: Stack, fresh: Fresh) -> None:
    to = f"g{uuid.uuid4().hex[:8]}@example.com"

    async def ask(address: str) -> View:
        message = fresh(f"Mail {address}")
        stack.model.script(message, plan_answer([mail("s1", to=address)]))
        return await stack.start(message, wait_seconds=20)

    view = await ask(to)
    assert (await stack.decide(view, grant={"uses": 2})).status_code == 200
    done = await stack.ended(view["id"])
    grant_id = done["approvals"][0]["grant_id"]
    assert grant_id
    granted = await stack.until((await ask(to))["id"], lambda v: bool(v["plan"] and steps(v)["s1"]["held_until"]))
    assert steps(granted)["s1"]["consent"] == {
        "how": "grant",
        "rule": "consequential",
        "grant_id": grant_id,
        "approval_id": None,
    }
    await stack.http.post(f"/v1/assistants/{granted['id']}/cancel")  # it is held for ten seconds; not waited for here
    other = await ask(f"x{to}")
    assert pending(other)
    await stack.decide(other, "reject")
    [grant] = [g for g in (await stack.http.get("/v1/grants")).json()["grants"] if g["grant_id"] == grant_id]
    assert [use["assistant_id"] for use in grant["log"]] == [granted["id"]]
    assert (await stack.http.delete(f"/v1/grants/{grant_id}")).status_code == 200
    revoked = await ask(to)
    assert pending(revoked)
    await stack.decide(revoked, "reject")


async def test_a_grant_is_offered_after_three_equal_approvals(stack: Stack, fresh: Fresh) -> None:
    to = f"o{uuid.uuid4().hex[:8]}@example.com"
    offers = []
    for number in range(4):
        message = fresh(f"Mail {to} number {number}")
        stack.model.script(message, plan_answer([mail("s1", to=to, body=f"Number {number}")]))
        view = await stack.asked((await stack.start(message))["id"])
        offers.append(pending(view)[0]["offer"])
        await stack.decide(view)
        await stack.ended(view["id"])
    assert offers[:3] == [None, None, None]
    assert offers[3]["args"] == {"/cc": [], "/to": [to]}


async def say(stack: Stack, assistant_id: str, text: str, **headers: str) -> View:
    response = await stack.http.post(
        f"/v1/assistants/{assistant_id}/messages", json={"message": text, "wait_seconds": 20}, headers=headers
    )
    assert response.status_code == 202, response.text
    view: View = response.json()
    return view


async def test_a_chat_keeps_the_conversation_and_refers_to_earlier_results(stack: Stack, fresh: Fresh) -> None:
    first = fresh("Weather in Lisbon?")
    compose = {
        "id": "s1",
        "tool": "reasoning.compose",
        "args": {"instruction": "Again.", "inputs": {"$from": "s1", "path": "/days/0/summary"}},
    }
    stack.model.script(
        first, plan_answer([forecast()]), plan_answer([{**compose, "id": "c"}]), plan_answer(reply="You are welcome.")
    )
    view = await stack.start(first, mode="chat", wait_seconds=20)
    assert (view["status"], view["reply"]) == ("awaiting_input", "weather.forecast completed")
    again = await say(stack, view["id"], "Say it again")
    assert steps(again)["2.c"]["status"] == "completed"
    thanks = await say(stack, view["id"], "Thank you")
    assert thanks["reply"] == "You are welcome."
    assert [m["text"] for m in thanks["messages"]][::2] == [first, "Say it again", "Thank you"]
    assert thanks["turns"] == 3
    page = (await stack.http.get(f"/v1/assistants/{view['id']}/messages?before=5&limit=2")).json()
    assert (page["first"], [m["text"] for m in page["messages"]]) == (3, [thanks["messages"][3]["text"], "Thank you"])
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_a_message_with_the_same_key_is_read_once(stack: Stack, fresh: Fresh) -> None:
    first = fresh("Hello")
    stack.model.script(first, *[plan_answer(reply=f"Answer {n}") for n in range(3)])
    view = await stack.start(first, mode="chat", wait_seconds=20)
    key = {"Idempotency-Key": uuid.uuid4().hex}
    await say(stack, view["id"], "Once", **key)
    view = await say(stack, view["id"], "Once", **key)
    assert [m["text"] for m in view["messages"]] == [first, "Answer 0", "Once", "Answer 1"]
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_a_turn_that_fails_is_told_and_the_chat_goes_on(stack: Stack, fresh: Fresh) -> None:
    first = fresh("Hello")
    stack.model.script(first, plan_answer(reply="Hi"))
    view = await stack.start(first, mode="chat", wait_seconds=20)
    failed = await say(stack, view["id"], "The script has no answer to this")
    assert failed["status"] == "awaiting_input"
    assert failed["error"]["type"] == "ServiceRefused"
    stack.model.script(first, plan_answer(reply="There I am"))
    assert (await say(stack, view["id"], "Still there?"))["reply"] == "There I am"
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_an_answer_to_a_question_that_was_answered_already_is_refused(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather somewhere")
    stack.model.script(
        message, plan_answer(question="Where?"), plan_answer(question="When?"), plan_answer([forecast()])
    )
    view = await stack.start(message, wait_seconds=20)
    path = f"/v1/assistants/{view['id']}/messages"
    body = {"message": "Lisbon", "question_id": view["question_id"]}
    assert (await stack.http.post(path, json={**body, "wait_seconds": 20})).json()["question"] == "When?"
    assert (await stack.http.post(path, json=body)).status_code == 409
    await say(stack, view["id"], "Tomorrow")


async def test_the_budget_of_a_day_counts_over_runs_and_asks_when_it_is_used_up(
    stack: Stack, fresh: Fresh, people: Opened
) -> None:
    person = await people('[policies.default]\nextends = "default"\nday_budget = { tool_calls = 2 }')
    name = f"anna-{uuid.uuid4().hex[:8]}"
    anna = person(name)
    both, third = fresh("Two forecasts"), fresh("One more")
    stack.model.script(both, plan_answer([forecast("s1"), forecast("s2", "Rome")]))
    assert (await anna.ended((await anna.start(both))["id"]))["approvals"] == []
    stack.model.script(third, plan_answer([forecast("s1", "Porto")]))
    view = await anna.asked((await anna.start(third))["id"])
    [asked] = pending(view)
    assert (asked["kind"], asked["args"], asked["reasons"]) == (
        "budget",
        {"tool_calls": 2},
        ["2 of 2 tool calls of today"],
    )
    await decide(anna, view, "edit", args={"tool_calls": 1})
    assert steps(await anna.ended(view["id"]))["s1"]["status"] == "completed"
    used = (await anna.http.get("/v1/usage")).json()
    assert (used["used"]["tool_calls"], used["budget"]["tool_calls"]) == (3, 2)


async def test_the_day_counts_the_tokens_of_plans_that_were_cut(stack: Stack, fresh: Fresh, people: Opened) -> None:
    person = await people('[policies.default]\nextends = "default"\nday_budget = { tokens = 1000 }')
    anna, message = person(f"anna-{uuid.uuid4().hex[:8]}"), fresh("Hello")
    stack.model.script(message, Answer(""), Answer("{", finish_reason="length"))
    assert (await anna.ended((await anna.start(message))["id"]))["status"] == "failed"
    used = (await anna.http.get("/v1/usage")).json()["used"]
    assert (used["requests"], used["tokens"]) == (2, 30)


async def test_a_request_chooses_among_the_policies_of_the_file(stack: Stack, fresh: Fresh, people: Opened) -> None:
    person = await people(
        '[policies.careful]\nextends = "default"\n[[policies.careful.rules]]\nname = "all"\ndecide = "ask"'
    )
    anna, message = person("anna"), fresh("Weather")
    stack.model.script(message, plan_answer([forecast()]))
    unknown = await anna.http.post("/v1/assistants", json={"message": message, "policy": "reckless"})
    assert (unknown.status_code, "careful, default" in unknown.json()["detail"]) == (422, True)
    view = await anna.asked((await anna.start(message, policy="careful"))["id"])
    assert pending(view)[0]["rule"] == "all"
    assert pending(view)[0]["args_schema"]["properties"]["place"]  # what is asked can be edited
    args = pending(view)[0]["args"] | {"place": 7}
    assert (await decide(anna, view, "edit", args=args))[0] == 422
    await decide(anna, view)
    await anna.ended(view["id"])


async def test_a_chat_may_do_again_what_it_did_and_its_receipt_holds_all_turns(stack: Stack, fresh: Fresh) -> None:
    first, title = fresh("Dentist"), fresh("Again")
    stack.model.script(first, *[plan_answer([event(title=title)])] * 2, *[plan_answer(reply="Fine.")] * 2)
    view = await stack.start(first, mode="chat", wait_seconds=20)
    again = await say(stack, view["id"], "Once more, the same")
    assert steps(again)["2.s1"]["status"] == "completed"
    await say(stack, view["id"], "Thanks")
    quiet = await say(stack, view["id"], "Bye")
    assert quiet["reply"] == "Fine."
    assert quiet["plan"] is None
    made = (await stack.http.get(f"/v1/assistants/{view['id']}/receipt")).json()
    assert [(deed["step_id"], deed["consent"]["how"]) for deed in made["did"]] == [
        ("s1", "automatic"),
        ("2.s1", "automatic"),
    ]
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel", json={"undo": True})
    done = await stack.ended(view["id"])
    assert [(step["step_id"], step["status"]) for step in done["undo"]] == [("2.s1", "undone"), ("s1", "undone")]
