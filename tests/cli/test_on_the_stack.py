"""The command line on the running product: what a person types is what the engine does."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.app import create_app
from api.settings import ApiSettings
from cli.app import app
from retinue.settings import ROOT
from retinue.testing import Answer, plan_answer, serving
from tests.cli.test_ask import _read_until
from tests.conftest import Stack
from tests.days import SOON
from tests.scenarios.test_plans import event
from tests.test_main_job import forecast, mail, sent_mails

Fresh = Callable[[str], str]
Run = Callable[..., Awaitable[Result]]
POLICY = """
[policies.two]
extends = "default"
[[policies.two.rules]]
name = "two-people"
tools = ["email.send"]
decide = "ask"
approvers = 2
by = ["*"]
expires_after = "2h"
"""


@pytest.fixture
async def url(stack: Stack, tmp_path: Path) -> AsyncIterator[str]:
    """The front door on a real port."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    door = create_app(ApiSettings(retinue_policy=policy), client=stack.temporal)
    async with door.router.lifespan_context(door), serving(door) as address:
        yield address


@pytest.fixture
def retinue(url: str) -> Run:
    """Runs `retinue` beside the front door, without a terminal."""

    async def run(*arguments: str) -> Result:
        result = await asyncio.to_thread(CliRunner().invoke, app, ["--url", url, *arguments])
        assert "Traceback" not in result.output
        return result

    return run


def assistant_id(result: Result) -> str:
    [first, *_] = re.findall(r"a-[0-9a-f]{32}", result.output)
    return str(first)


async def test_a_plan_is_shown_first_and_approved(stack: Stack, fresh: Fresh, retinue: Run) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([forecast(), mail("s2")]))
    asked = await retinue("ask", message, "--preview")
    assert asked.exit_code == 3
    assert "You will be asked before it" in asked.stdout
    assert re.search(r"At most it uses \d+ requests to the language model", asked.stdout)
    approved = await retinue("approve", assistant_id(asked), "ap-plan-1")
    assert "ap-plan-1 is approved" in approved.stdout
    left = await retinue("show", assistant_id(asked), "--follow")
    assert left.exit_code == 3
    assert "approval ap-s2 (email.send)" in left.stdout
    assert left.stdout.lower().count("cannot be undone") == 1
    rejected = await retinue("reject", assistant_id(asked), "ap-s2", "--comment", "no")
    assert rejected.exit_code == 0
    await stack.ended(assistant_id(asked))
    assert sent_mails(stack, assistant_id(asked)) == []


async def test_a_budget_asks_and_is_topped_up_by_an_edit(stack: Stack, fresh: Fresh, retinue: Run) -> None:
    message = fresh("Two forecasts")
    stack.model.script(message, plan_answer([forecast("s1"), forecast("s2", "Rome")]))
    asked = await retinue("ask", message, "--budget", "steps=1,requests=20")
    assert asked.exit_code == 3
    assert "Used up: 1 of 1 steps of this run." in asked.stdout
    shown = await retinue("show", assistant_id(asked))
    assert re.search(r"Budget: \d of 20 requests, 1 of 1 steps\.", shown.stdout)
    edited = await retinue("edit", assistant_id(asked), "--set", "steps=1")
    assert edited.exit_code == 0, edited.output
    assert (await retinue("show", assistant_id(asked), "--follow")).exit_code == 0
    wrong = await retinue("ask", message, "--budget", "steps")
    assert (wrong.exit_code, "NAME=NUMBER" in wrong.stderr) == (2, True)


async def test_a_chat_is_talked_on_line_by_line(stack: Stack, fresh: Fresh, retinue: Run) -> None:
    first = fresh("Hello")
    plans = [plan_answer(reply="Hi"), plan_answer([forecast()]), plan_answer(question="Where?"), Answer(status=400)]
    stack.model.script(first, *plans)
    started = await retinue("ask", first, "--chat")
    assert (started.exit_code, started.stdout.strip()) == (0, "Hi")
    chat = assistant_id(started)
    assert f"bin/retinue say {chat}" in started.stderr
    said = await retinue("say", chat, "And the weather?")
    assert (said.exit_code, said.stdout.strip()) == (0, "weather.forecast completed")
    asked = await retinue("say", chat, "And there?")
    assert asked.exit_code == 3
    assert "Where?" in asked.stdout
    shown = await retinue("show", chat)
    assert "Hello" in shown.stdout
    assert "And there?" in shown.stdout
    failed = await retinue("say", chat, "There")
    assert failed.exit_code == 1
    assert "That did not work" in failed.stdout
    ended = await retinue("cancel", chat, "--json")
    assert json.loads(ended.stdout)["id"] == chat


async def test_at_a_terminal_a_chat_keeps_talking_and_is_left_by_an_empty_line(
    stack: Stack, fresh: Fresh, url: str
) -> None:
    first = fresh("Hello")
    stack.model.script(first, plan_answer(reply="Hi there"), plan_answer(reply="Still here"))
    leader, follower = pty.openpty()
    command = [str(ROOT / "bin/retinue"), "--url", url, "ask", "--chat", first]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower)  # noqa: ASYNC220  # it is watched by a terminal
    os.close(follower)
    assert "Hi there" in await asyncio.to_thread(_read_until, leader, "You (empty to leave): ")
    os.write(leader, b"And now?\n")
    assert "Still here" in await asyncio.to_thread(_read_until, leader, "You (empty to leave): ")
    os.write(leader, b"\n")
    told = await asyncio.to_thread(_read_until, leader, "cancel it: bin/retinue cancel")
    assert await asyncio.to_thread(process.wait, 10) == 0
    os.close(leader)
    [chat, *_] = re.findall(r"a-[0-9a-f]{32}", told)
    assert (await stack.view(chat))["turns"] == 2
    await stack.http.post(f"/v1/assistants/{chat}/cancel")


async def test_what_a_run_did_is_receipted_undone_and_forked(stack: Stack, fresh: Fresh, retinue: Run) -> None:
    message = fresh("Dentist, then the weather")
    stack.model.script(message, plan_answer([event(title=fresh("Dentist")), {**forecast("s2"), "depends_on": ["s1"]}]))
    done = await retinue("ask", message)
    assert done.exit_code == 0
    old = assistant_id(done)
    assert "automatic (reversible-writes)" in (await retinue("show", old)).stdout
    receipt = await retinue("receipt", old)
    assert "allowed by: automatic by the policy's rule 'reversible-writes'" in receipt.stdout
    assert json.loads((await retinue("receipt", old, "--json")).stdout)["assistant_id"] == old
    args = json.dumps({"place": "Rome", "start": SOON, "end": SOON})
    forked = await retinue("fork", old, "s2", "--args", args, "--no-wait")
    assert (await stack.ended(assistant_id(forked)))["forked_from"] == old
    shown = await retinue("show", assistant_id(forked))
    assert f"done by {old}" in shown.stdout
    assert f"Forked from {old}." in shown.stdout
    undone = await retinue("undo", old)
    assert (undone.exit_code, undone.stdout) == (0, "s1 calendar.create_event: undone by calendar.delete_event\n")
    assert "undone" in (await retinue("show", old)).stdout
    nothing = await retinue("undo", assistant_id(forked))
    assert nothing.exit_code == 1
    missing = await retinue("fork", old, "s9")
    assert (missing.exit_code, "there is no step 's9'" in missing.stderr) == (1, True)


async def test_cancel_with_undo_says_what_stays_done(stack: Stack, fresh: Fresh, retinue: Run) -> None:
    message, title = fresh("Dentist, mail team@example.com, and again"), fresh("Cancelled")
    steps = [event(title=title), mail("s2", depends_on=["s1"]), mail("s3", body="More", depends_on=["s2"])]
    stack.model.script(message, plan_answer(steps))
    asked = await retinue("ask", message)
    await retinue("approve", assistant_id(asked), "ap-s2")
    await stack.until(assistant_id(asked), lambda v: any(a["id"] == "ap-s3" for a in v["approvals"]))
    stopped = await retinue("cancel", assistant_id(asked), "--undo")
    assert stopped.exit_code == 1
    assert "s2 email.send: CANNOT be undone" in stopped.stdout
    assert "s1 calendar.create_event: undone by calendar.delete_event" in stopped.stdout


async def test_a_missing_worker_is_named_with_the_choices(
    stack: Stack, fresh: Fresh, lonely: str, retinue: Run
) -> None:
    message = fresh("Ask the lonely one")
    stack.model.script(message, plan_answer([{"id": "s1", "tool": f"{lonely}.ask", "args": {}}]))
    started = await retinue("ask", message, "--no-wait")
    run = assistant_id(started)
    await stack.until(run, lambda v: bool(v["waiting_for"]), seconds=20)
    shown = await retinue("show", run)
    assert re.search(rf"No worker of {lonely} since [\d:]+: step s1 waits, times out .+\.", shown.stdout)
    assert f"bin/retinue choose {run} s1 wait|skip|fail" in shown.stdout
    assert (await retinue("choose", run, "s1", "perhaps")).exit_code == 2
    chosen = await retinue("choose", run, "s1", "skip")
    assert chosen.exit_code == 0, chosen.output
    assert "you chose to skip it" in (await retinue("show", run, "--follow")).stderr
    late = await retinue("choose", run, "s1", "skip")
    assert late.exit_code == 1


async def test_several_people_must_approve_and_the_card_says_who_and_until_when(
    stack: Stack, fresh: Fresh, retinue: Run
) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    asked = await retinue("ask", message, "--policy", "two")
    assert "0 of 2 people have approved." in asked.stdout
    assert "May decide: anyone." in asked.stdout
    assert re.search(r"Expires in 2 hours \(.+\); then it is denied\.", asked.stdout)
    voted = await retinue("approve", assistant_id(asked))
    assert "is approved by 1 of 2 people; the others are pending" in voted.stdout
    assert "1 of 2 people have approved: local." in (await retinue("show", assistant_id(asked))).stdout
    again = await retinue("approve", assistant_id(asked))
    assert again.exit_code == 1
    await stack.http.post(f"/v1/assistants/{assistant_id(asked)}/cancel")


async def test_the_like_is_allowed_from_now_on_until_it_is_revoked(stack: Stack, fresh: Fresh, retinue: Run) -> None:
    to = f"c{uuid.uuid4().hex[:8]}@example.com"

    async def ask(*more: str) -> Result:
        message = fresh(f"Mail {to}{' again' * len(more)}")
        stack.model.script(message, plan_answer([mail("s1", to=to)]))
        return await retinue("ask", message, *more)

    asked = await ask()
    until = (datetime.now(UTC) + timedelta(days=9)).date().isoformat()
    given = await retinue("approve", assistant_id(asked), "--from-now-on", "--uses", "3", "--until", until)
    assert given.exit_code == 0, given.output
    assert f"Allowed: email.send, to exactly {to}, no cc, 3 more times, until {until} 23:59" in given.stdout
    [grant_id] = re.findall(r"grants revoke (g-\w+)", given.stdout)
    held = assistant_id(await ask("--no-wait"))
    await stack.until(held, lambda v: bool(v["plan"] and v["plan"]["steps"][0]["held_until"]))
    shown = await retinue("show", held)
    assert "can still be cancelled" in shown.stdout
    assert f"Cancel held steps: `bin/retinue cancel {held}`." in shown.stdout
    await retinue("cancel", held)
    assert grant_id in (await retinue("grants")).stdout
    assert (await retinue("grants", "revoke", grant_id)).exit_code == 0
    assert grant_id not in (await retinue("grants", "list")).stdout
    assert f"{grant_id}  (ended)" in (await retinue("grants", "list", "--all")).stdout


async def test_a_grant_is_added_and_offered_by_its_own_words(stack: Stack, fresh: Fresh, retinue: Run) -> None:
    added = await retinue("grants", "add", "email.send", "--arg", "to=*@quay.example", "--without", "cc", "--json")
    assert added.exit_code == 0, added.output
    grant = json.loads(added.stdout)
    assert grant["args"] == {"/to": ["*@quay.example"], "/cc": []}
    assert (await retinue("grants", "revoke", grant["grant_id"])).exit_code == 0
    unknown = await retinue("grants", "add", "email.send", "--arg", "who=ana")
    assert (unknown.exit_code, "no argument at /who" in unknown.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("grants", "add", "email.send"), "--any-arguments"),
        (("grants", "add", "email.send", "--arg", "to"), "NAME=PATTERN"),
        (("grants", "add", "email.send", "--any-arguments", "--until", "soon"), "is not a date"),
        (("grants", "add", "email.send", "--any-arguments", "--until", "2027-01-31T08:00"), "no UTC offset"),
        (("approve", "a-1", "--uses", "2"), "--from-now-on"),
        (("fork", "a-1", "s1", "--message", "x", "--args", "{}"), "not both"),
    ],
)
async def test_what_cannot_be_meant_is_wrong_usage(retinue: Run, arguments: tuple[str, ...], said: str) -> None:
    result = await retinue(*arguments)
    assert result.exit_code == 2
    assert said in re.sub(r"\s+", " ", result.stderr)


async def test_what_is_remembered_is_listed_added_corrected_exported_and_forgotten(retinue: Run) -> None:
    await retinue("memory", "forget", "--all", "--yes")
    added = await retinue("memory", "add", "Lisbon", "--kind", "home_place")
    fact_id = re.findall(r"[0-9a-f]{32}", added.stdout)[0]
    assert added.stdout.strip() == f"Remembered as {fact_id}."
    listed = (await retinue("memory")).stdout
    assert f"{fact_id}  home place: Lisbon" in listed
    assert "typed by you on 20" in listed
    await retinue("memory", "correct", fact_id, "Porto")
    export = json.loads((await retinue("memory", "export")).stdout)
    assert [fact["text"] for fact in export["facts"]] == ["Porto"]
    refused = await retinue("memory", "forget", "--all")
    assert (refused.exit_code, "--yes" in refused.output) == (2, True)
    assert (await retinue("memory", "forget", fact_id)).stdout.strip() == "1 forgotten."
    assert (await retinue("memory", "list")).stdout.strip() == "Nothing is remembered."
    unknown = await retinue("memory", "forget", fact_id)
    assert (unknown.exit_code != 0, "nothing of that id is remembered" in unknown.output) == (True, True)
