"""One Retinue asks another: the capability of one talks to the A2A door of the other, under a key of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from retinue.settings import ROOT
from retinue.testing import plan_answer
from tests.api.protocols.conftest import NewKey
from tests.conftest import Stack, pending, steps

pytestmark = [pytest.mark.xdist_group("judges"), pytest.mark.timeout(120)]
Fresh = Callable[[str], str]


@pytest.fixture
async def neighbour(stack: Stack, door: str, new_key: NewKey, tmp_path: Path) -> AsyncIterator[str]:
    """The name under which one Retinue knows the other; its worker is a process."""
    name = f"neighbour-{uuid.uuid4().hex[:6]}"
    headers = {"Authorization": f"Bearer {await new_key('read', 'ask')}"}
    (tmp_path / "a2a.json").write_text(json.dumps({"agents": {name: {"url": door, "headers": headers}}}))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RETINUE_A2A_CONFIG": str(tmp_path / "a2a.json"),
        f"{name.upper().replace('-', '_')}_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/neighbour.db",
    }
    with (tmp_path / "worker.log").open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220  # it is to outlive this line, and starting takes no time
            [sys.executable, "-P", "-m", "workers", name], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        async with asyncio.timeout(50):
            while name not in (await stack.http.get("/v1/capabilities")).text:  # noqa: ASYNC110  # it has no event
                await asyncio.sleep(0.2)
        yield name
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


async def test_one_asks_the_other_and_answers_its_question(stack: Stack, neighbour: str, fresh: Fresh) -> None:
    message, asked, answer = fresh("Ask the neighbour"), fresh("Book a table"), fresh("On Friday")
    first: dict[str, Any] = {"id": "s1", "tool": f"{neighbour}.ask", "args": {"message": asked}}
    task = {"$from": "s1", "path": "/task_id"}
    then: dict[str, Any] = {"id": "s2", "tool": f"{neighbour}.ask", "args": {"message": answer, "task_id": task}}
    stack.model.script(message, plan_answer([first, then]))
    stack.model.script(asked, plan_answer(question="Which day?"), plan_answer(reply="Noted: Friday."))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view)
    view = await stack.until(view["id"], lambda found: [one["step_id"] for one in pending(found)] == ["s2"])
    told = steps(view)["s1"]["result"]
    assert (told["state"], told["text"]) == ("input-required", "Which day?")
    await stack.decide(view)
    view = await stack.ended(view["id"])
    assert steps(view)["s2"]["result"]["text"] == "Noted: Friday."
    other = await stack.view(told["task_id"])
    assert (other["status"], other["message"]) == ("completed", asked)


async def test_what_the_other_one_must_ask_its_own_person_is_not_done_by_asking(
    stack: Stack, neighbour: str, fresh: Fresh
) -> None:
    message, asked = fresh("Ask the neighbour"), fresh("Mail the guest")
    mail = {"to": ["guest@example.org"], "subject": "Lunch", "body": "at noon"}
    stack.model.script(message, plan_answer([{"id": "s1", "tool": f"{neighbour}.ask", "args": {"message": asked}}]))
    stack.model.script(asked, plan_answer([{"id": "s1", "tool": "email.send", "args": mail}]))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view)
    view = await stack.ended(view["id"])
    told = steps(view)["s1"]["result"]
    assert told["state"] == "input-required"
    other = await stack.view(told["task_id"])
    assert [approval["status"] for approval in other["approvals"]] == ["pending"]
    await stack.http.post(f"/v1/assistants/{told['task_id']}/cancel")
