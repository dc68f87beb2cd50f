"""Replies through the front door: whom they reach stands in a stranger's mail, and a person sees that before they decide."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activities.email.worker import import_file
from retinue.capability import READ, SENDS, Annotations, Manifest, ToolSpec
from retinue.temporal.registry import announce
from retinue.testing import plan_answer
from tests.activities.email.test_replying import incoming, with_files
from tests.conftest import Stack, pending, steps
from tests.scenarios.test_agents import call, delegated
from tests.scenarios.test_people import Opened, rule
from tests.test_main_job import sent_mails

Fresh = Callable[[str], str]


@pytest.fixture
def arrived(stack: Stack, tmp_path: Path) -> Callable[..., Any]:
    """Deliver a mail; returns its id."""

    async def deliver(content: bytes, *, person: str = "local") -> str:
        name = f"<{uuid.uuid4().hex}@example.com>"
        (tmp_path / "mail.eml").write_bytes(content.replace(b"<m@example.com>", name.encode()))
        await import_file(tmp_path / "mail.eml", person=person)
        return name

    return deliver


def reply(message_id: str, **args: Any) -> dict[str, Any]:
    return {"id": "s1", "tool": "email.reply", "args": {"message_id": message_id, "body": "Gladly.", **args}}


async def test_the_card_of_a_reply_shows_whom_it_reaches_and_that_strangers_say_so(
    stack: Stack, fresh: Fresh, arrived: Callable[..., Any]
) -> None:
    name = await arrived(incoming("Reply-To: eve@attacker.example"))
    message = fresh("Answer Clara's mail: gladly")
    stack.model.script(message, plan_answer([reply(name, cc=[], attachments=[])]))
    view = await stack.asked((await stack.start(message))["id"])
    [approval] = pending(view)
    origins = {origin["path"]: (origin["source"], origin["tool"]) for origin in approval["origins"]}

    assert approval["args"]["to"] == ["eve@attacker.example"]
    assert origins["/to"] == ("strangers", "email.prepare_reply")
    assert approval["preview"].splitlines()[:2] == ["Reply to a mail", "to: eve@attacker.example"]
    assert "replies go elsewhere eve@attacker.example" in approval["preview"]
    assert "from clara@example.com" in approval["preview"]
    assert "subject: Re: Lunch" in approval["preview"]
    assert "removes" not in approval["preview"]  # a reply changes nothing of the mail that it answers
    assert "now:" not in approval["preview"]
    assert "a recipient" in " ".join(approval["reasons"])
    assert sent_mails(stack, view["id"]) == []

    await stack.decide(view)
    done = await stack.ended(view["id"])
    [(recipients, text)] = sent_mails(stack, view["id"])
    assert (done["status"], recipients) == ("completed", '["eve@attacker.example"]')
    assert text.startswith("Gladly.\n\nOn ")
    assert (steps(done)["s1.message_id"]["parent"], steps(done)["s1"]["status"]) == ("s1", "completed")


async def test_a_recipient_can_be_taken_off_before_it_goes(
    stack: Stack, fresh: Fresh, arrived: Callable[..., Any]
) -> None:
    name = await arrived(incoming("Cc: ben@example.com, cleo@example.com"))
    message = fresh("Answer all")
    stack.model.script(message, plan_answer([reply(name, all=True)]))
    view = await stack.asked((await stack.start(message))["id"])
    args = pending(view)[0]["args"]
    assert args["cc"] == ["ben@example.com", "cleo@example.com"]

    await stack.decide(view, "edit", args=args | {"cc": ["ben@example.com"]})
    await stack.ended(view["id"])
    [(recipients, _)] = sent_mails(stack, view["id"])
    assert "cleo" not in recipients


async def test_an_agents_reply_is_asked_in_the_same_way(
    stack: Stack, fresh: Fresh, arrived: Callable[..., Any]
) -> None:
    name = await arrived(incoming())
    message, goal = fresh("Let the mail agent answer"), fresh("answer it")
    stack.model.script(message, plan_answer([delegated("email", goal)]))
    stack.model.agent(goal, [call("email.reply", message_id=name, body="Yes")], "Done.")
    view = await stack.asked((await stack.start(message))["id"])
    assert pending(view)[0]["args"]["to"] == ["clara@example.com"]
    await stack.decide(view, "reject")
    assert steps(await stack.ended(view["id"]))["s1.1.message_id"]["status"] == "completed"


async def test_nobody_is_asked_about_a_reply_that_can_reach_nobody(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Answer it")
    stack.model.script(
        message, plan_answer([reply("<none@example.com>")]), plan_answer([], reply="There is no such mail.")
    )
    view = await stack.ended((await stack.start(message))["id"])
    assert view["approvals"] == []
    assert (steps(view)["s1"]["status"], steps(view)["s1"]["error"]["type"]) == ("failed", "NotFound")


async def test_an_imitated_address_in_a_mail_is_refused_before_anybody_is_asked(
    stack: Stack, fresh: Fresh, arrived: Callable[..., Any]
) -> None:
    name = await arrived(incoming("Reply-To: ana@xn--exmple-4nf.com"))
    message = fresh("Answer it")
    stack.model.script(message, plan_answer([reply(name)]), plan_answer([], reply="I cannot."))
    view = await stack.ended((await stack.start(message))["id"])
    assert view["approvals"] == []
    assert "may imitate another address" in steps(view)["s1"]["error"]["message"]


async def test_the_card_names_each_attachment(stack: Stack, fresh: Fresh, arrived: Callable[..., Any]) -> None:
    name = await arrived(with_files(("plan.csv", b"a,b\n1,2\n")))
    message = fresh("Send Clara's plan to ana@example.com")
    save = {"id": "s1", "tool": "email.save_attachment", "args": {"message_id": name, "name": "plan"}}
    wanted = [{"file_id": {"$from": "s1", "path": "/file_id"}}]
    sent = {"to": ["ana@example.com"], "subject": "Plan", "body": "Here it is.", "attachments": wanted}
    stack.model.script(message, plan_answer([save, {"id": "s2", "tool": "email.send", "args": sent}]))
    view = await stack.asked((await stack.start(message))["id"])
    assert "attached: plan.csv (text/csv, 8 bytes)" in pending(view)[0]["preview"]

    await stack.decide(view)
    done = await stack.ended(view["id"])
    assert done["status"] == "completed"
    mail = steps(done)["s2"]["result"]["message_id"]
    read = fresh("What is attached")
    stack.model.script(read, plan_answer([{"id": "s1", "tool": "email.read", "args": {"message_id": mail}}]))
    found = steps(await stack.ended((await stack.start(read))["id"]))["s1"]["result"]["attachments"]
    assert [(each["number"], each["name"], each["content_type"], each["size"]) for each in found] == [
        (1, "plan.csv", "text/csv", 8)
    ]


@pytest.mark.parametrize("change", [None, {"body": "With pleasure."}, {"cc": ["ben@example.com"]}])
async def test_a_fork_reads_again_whom_the_reply_reaches(
    stack: Stack, fresh: Fresh, arrived: Callable[..., Any], change: dict[str, Any] | None
) -> None:
    name = await arrived(incoming())
    message = fresh("Answer it")
    stack.model.script(message, plan_answer([reply(name)]))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view, "reject")
    old = await stack.ended(view["id"])

    args = {**steps(old)["s1"]["args"], **change} if change else None
    body = {"from_step": "s1", "args": args}
    forked = await stack.http.post(f"/v1/assistants/{old['id']}/fork", json=body)
    assert forked.status_code == 202, forked.text
    [approval] = pending(await stack.asked(forked.json()["id"]))
    origins = {origin["path"]: origin["source"] for origin in approval["origins"]}
    assert (approval["args"]["to"], origins["/to"]) == (["clara@example.com"], "strangers")
    assert approval["args"]["body"] == (change or {}).get("body", "Gladly.")
    assert approval["args"].get("cc", []) == (change or {}).get("cc", [])
    await stack.decide(await stack.view(forked.json()["id"]), "reject")


async def test_a_reply_that_a_policy_allows_waits_as_long_as_any_mail(
    stack: Stack, fresh: Fresh, people: Opened, arrived: Callable[..., Any]
) -> None:
    policy = rule('tools = ["email.reply"]\nargs = {"/to" = ["*@example.com"]}\ndecide = "auto"')
    anna = (await people(policy.replace("[[", "hold = 60\n[[", 1)))("anna")
    name = await arrived(incoming(), person="anna")
    message = fresh("Answer it")
    stack.model.script(message, plan_answer([reply(name)]))
    view = await anna.start(message)
    held = await anna.until(view["id"], lambda seen: bool(seen["plan"] and steps(seen)["s1"].get("held_until")))
    await anna.http.post(f"/v1/assistants/{view['id']}/cancel")
    done = await anna.ended(view["id"])

    assert held["approvals"] == []
    assert steps(done)["s1"]["status"] == "cancelled"
    assert sent_mails(stack, view["id"]) == []


async def test_a_reply_waits_for_a_worker_that_can_read_its_mail(
    stack: Stack, fresh: Fresh, arrived: Callable[..., Any]
) -> None:
    """What a rule allows depends on the recipients: without them nothing is decided, and nothing is sent."""
    name = f"mute{uuid.uuid4().hex[:8]}"
    args = {"type": "object", "properties": {"id": {"type": "string"}, "to": {"type": "string"}}, "required": ["id"]}
    by_id = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    tell = Annotations(sensitive=("/to",), fills_in={"id": f"{name}.read"})
    for read in (READ, SENDS):
        tools = [
            ToolSpec(name=f"{name}.tell", title="Tell", description="Tells.", args_schema=args, annotations=tell),
            ToolSpec(name=f"{name}.read", title="Read", description="Reads.", args_schema=by_id, annotations=read),
        ]
        manifest = Manifest(name=name, version="1", description="Mute.", task_queue=name, tools=tools)
        await announce(stack.temporal, manifest)
        message = fresh(f"Tell {read.read_only}")
        step = {"id": "s1", "tool": f"{name}.tell", "args": {"id": "1"}}
        stack.model.script(message, plan_answer([step]), plan_answer([], reply="I cannot."))
        view = await stack.start(message)
        if read is READ:
            view = await stack.until(view["id"], lambda seen: seen["status"] == "awaiting_worker")
            assert (steps(view)["s1"]["status"], view["approvals"]) == ("pending", [])
            await stack.http.post(f"/v1/assistants/{view['id']}/cancel")
            continue
        view = await stack.ended(view["id"])
        assert (view["approvals"], steps(view)["s1"]["status"]) == ([], "failed")
        assert f"nobody can tell what {name}.read would fill in" in steps(view)["s1"]["error"]["message"]


@pytest.mark.parametrize(
    ("terms", "asks"),
    [
        ('args = {"/to" = []}\ndecide = "auto"', True),
        ('args = {"/to" = ["*"]}\ndecide = "auto"', True),
        ('origins = ["user", "contacts"]\ndecide = "auto"', True),
        ('decide = "auto"', False),
    ],
)
async def test_a_plan_that_is_shown_first_announces_no_reply_as_automatic_that_may_be_asked(
    fresh: Fresh, people: Opened, stack: Stack, arrived: Callable[..., Any], terms: str, asks: bool
) -> None:
    """Whom it reaches is unknown until its mail is read."""
    anna = (await people(rule(f'tools = ["email.reply"]\n{terms}')))("anna")
    name = await arrived(incoming())
    message = fresh("Answer it")
    stack.model.script(message, plan_answer([reply(name)]))
    view = await anna.asked((await anna.start(message, preview=True))["id"])
    [step] = view["plan"]["card"]["steps"]
    assert bool(step["asks"]) is asks
    await anna.decide(view, "reject")


async def test_a_saved_attachment_is_undone(stack: Stack, fresh: Fresh, arrived: Callable[..., Any]) -> None:
    name = await arrived(with_files((f"{uuid.uuid4().hex}.csv", b"a,b\n")))
    message = fresh("Save it")
    save = {"id": "s1", "tool": "email.save_attachment", "args": {"message_id": name}}
    stack.model.script(message, plan_answer([save]))
    done = await stack.ended((await stack.start(message))["id"])
    saved = steps(done)["s1"]["result"]
    assert done["approvals"] == []

    undone = await stack.http.post(f"/v1/assistants/{done['id']}/undo", json={"wait_seconds": 20})
    assert [step["status"] for step in undone.json()["undo"]] == ["undone"]
    message = fresh("Which files are saved")
    listing = {"id": "s1", "tool": "email.list_files", "args": {"query": saved["name"]}}
    stack.model.script(message, plan_answer([listing]))
    assert steps(await stack.ended((await stack.start(message))["id"]))["s1"]["result"].get("files", []) == []
