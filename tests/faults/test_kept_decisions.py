"""Decisions while no workflow worker answers: kept, told, and counted once when one does. Real processes in the mode
`proved`: two APIs, of which one is restarted meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from a2a.client import ClientConfig, create_client
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

import activities
from retinue.settings import ROOT
from retinue.temporal.registry import announce
from retinue.testing import ScriptedModel, plan_answer, scripted_model
from tests.api.protocols.a2a.conftest import request
from tests.conftest import View, pending, steps
from tests.faults.conftest import Server, connected, kill
from tests.test_main_job import mail
from workers import children
from workers.children import Child
from workers.temporal_server import free_port

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("heavy"), pytest.mark.timeout(240)]
WAYS = ("approve", "reject", "edit", "batch", "console", "cli", "mcp", "a2a", "twice", "changed mind", "stale")
EDITED = {"to": ["team@example.com"], "subject": "Porto", "body": "Hello"}
SENT_ONCE = dict.fromkeys(("approve", "batch", "console", "cli", "mcp", "a2a", "twice", "changed mind"), "Lisbon") | {
    "edit": "Porto"
}
CHOSEN = {"skip": ("completed", "skipped")}
"""What is chosen for a step that no worker takes, and what its run and the step become."""
NO_STEP = "no such step"
REFUSED = {"stale": "args_hash does not match", NO_STEP: "step k9 does not wait for a worker"}


@dataclass
class House:
    """The product as processes."""

    data: Path
    environment: Mapping[str, str]
    model: ScriptedModel
    ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))

    def __post_init__(self) -> None:
        self.apis = [self.child("api", f"api{n}", RETINUE_PORT=str(port)) for n, port in enumerate(self.ports)]
        self.workflows = self.child("workers", "workflows")
        self.others = [self.child("workers", name) for name in ("email", "reasoning")]

    def child(self, module: str, name: str, **more: str) -> Child:
        arguments = [] if module == "api" else [name]
        return Child(name, module, arguments, {**self.environment, **more}, self.data / f"{name}.log")

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.ports[number]}"

    async def answers(self, number: int, path: str = "/readyz") -> None:
        async with asyncio.timeout(60), httpx.AsyncClient() as http:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(f"{self.url(number)}{path}", timeout=20)).status_code == 200:
                        return
                await asyncio.sleep(0.1)

    async def get(self, assistant_id: str, *, api: int = 0) -> View:
        async with httpx.AsyncClient(timeout=60) as http:
            view: View = (await http.get(f"{self.url(api)}/v1/assistants/{assistant_id}")).json()
            return view

    async def until(self, assistant_id: str, *statuses: str) -> View:
        view: View = {}
        for _ in range(600):
            view = await self.get(assistant_id, api=1)
            if view.get("status") in statuses:
                return view
            await asyncio.sleep(0.1)
        raise AssertionError(f"did not come about: {view}")

    async def post(self, path: str, body: Any, *, api: int = 0) -> httpx.Response:
        async with httpx.AsyncClient(timeout=60) as http:
            return await http.post(f"{self.url(api)}{path}", json=body)


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    data = tmp_path_factory.mktemp("kept")
    server = Server(data)
    server.start()
    async with scripted_model() as model:
        environment = {
            "TEMPORAL_ADDRESS": f"127.0.0.1:{server.port}",
            "RETINUE_DATA_DIR": str(data),
            "RETINUE_DECISIONS": "proved",
            "RETINUE_DOORS": "mcp,a2a",
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": "sk-canary-0123456789",
            "RETINUE_MODEL": "scripted",
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            children.prepare()
            made = House(data, environment, model)
            everybody = [*made.apis, made.workflows, *made.others]
            try:
                client = await connected()
                for child in everybody:
                    child.start()
                for name in ("email", "reasoning", "contacts"):
                    await announce(client, activities.load(name).CONTRACT.manifest())
                await made.answers(0)
                await made.answers(1)
                yield made
            finally:
                for child in everybody:
                    kill(child)
                server.kill()


@dataclass
class Outage:
    """What was answered while no workflow worker lived, and what became of it."""

    answers: dict[str, Any]
    meanwhile: dict[str, View]
    after_restart: dict[str, View]
    final: dict[str, View]


@pytest.fixture(scope="module")
async def outage(house: House) -> Outage:
    runs = {}
    for way in WAYS:
        message = f"Mail team@example.com, {way}"
        house.model.script(message, *[plan_answer([mail("s1")])] * 4)
        runs[way] = (await house.post("/v1/assistants", {"message": message})).json()["id"]
    asked = {way: await house.until(assistant_id, "awaiting_approval") for way, assistant_id in runs.items()}
    for view in asked.values():
        await house.get(view["id"])  # so that both APIs have seen what is asked
    waiting = {choice: await awaiting_worker(house, choice) for choice in (*CHOSEN, NO_STEP)}
    kill(house.workflows)
    chosen = await asyncio.gather(*[choose(house, choice, view) for choice, view in waiting.items()])
    runs |= {choice: view["id"] for choice, view in waiting.items()}
    decided = await asyncio.gather(*[decide(house, way, view) for way, view in asked.items()])
    meanwhile = {way: await house.get(assistant_id) for way, assistant_id in runs.items()}
    kill(house.apis[0])
    house.apis[0].start()
    await house.answers(0, "/healthz")
    after_restart = {"approve": await house.get(runs["approve"])}
    house.workflows.start()
    final = {
        way: await house.until(assistant_id, "completed", "failed")
        for way, assistant_id in runs.items()
        if way not in REFUSED
    }
    final |= {way: await noticed(house, runs[way]) for way in REFUSED}
    answers = dict(zip((*WAYS, *waiting), (*decided, *chosen), strict=True))
    return Outage(answers, meanwhile, after_restart, final)


async def awaiting_worker(house: House, choice: str) -> View:
    """A run whose step waits for a worker of contacts, of which there is none."""
    message = f"Remember Ada, {choice}"
    step = {"id": "k1", "tool": "contacts.add", "args": {"name": "Ada", "email": "ada@example.com"}}
    house.model.script(message, *[plan_answer([step])] * 4)
    assistant_id = (await house.post("/v1/assistants", {"message": message})).json()["id"]
    view = await house.until(assistant_id, "awaiting_worker", "awaiting_approval")
    for approval in pending(view):
        decision = {"decision": "approve", "args_hash": approval["args_hash"]}
        await house.post(f"/v1/assistants/{assistant_id}/approvals/{approval['id']}", decision)
    return await house.until(assistant_id, "awaiting_worker")


async def choose(house: House, choice: str, view: View) -> list[httpx.Response]:
    """Choose twice, and then otherwise."""
    if choice == NO_STEP:
        return [await house.post(f"/v1/assistants/{view['id']}/steps/k9", {"choice": "skip"})]
    path = f"/v1/assistants/{view['id']}/steps/k1"
    chosen = [await house.post(path, {"choice": choice}, api=api) for api in (0, 1)]
    said = await house.post(f"/v1/assistants/{view['id']}/messages", {"message": "Hello"})
    return [*chosen, await house.post(path, {"choice": "wait"}), said]


async def noticed(house: House, assistant_id: str) -> View:
    """The view once a decision was refused."""
    for _ in range(600):
        view = await house.get(assistant_id, api=1)
        if [one for one in view["recorded_decisions"] if one["state"] == "refused"]:
            return view
        await asyncio.sleep(0.1)
    raise AssertionError(f"nothing was refused: {view}")


async def decide(house: House, way: str, view: View) -> Any:
    """Decide in one of the ways; what was answered."""
    [approval] = pending(view)
    assistant_id, approval_id, args_hash = view["id"], approval["id"], approval["args_hash"]
    if way in DOORS:
        return await DOORS[way](house, assistant_id, approval_id, args_hash)
    path, said = f"/v1/assistants/{assistant_id}/approvals/{approval_id}", {"args_hash": args_hash}
    match way:
        case "reject":
            return await house.post(path, {**said, "decision": "reject"}, api=1)
        case "edit":
            return await house.post(path, {**said, "decision": "edit", "args": EDITED})
        case "batch":
            one = {**said, "assistant_id": assistant_id, "approval_id": approval_id, "decision": "approve"}
            return await house.post("/v1/approvals", {"decisions": [one]})
        case "twice":
            both = [house.post(path, {**said, "decision": "approve"}, api=api) for api in (0, 1)]
            return [*await asyncio.gather(*both), await house.post(path, {**said, "decision": "approve"})]
        case "changed mind":
            first = await house.post(path, {**said, "decision": "approve"})
            return [first, await house.post(path, {**said, "decision": "reject"}, api=1)]
        case "stale":
            return [await house.post(path, {"args_hash": "0" * 64, "decision": "approve"})]
        case _:
            return await house.post(path, {**said, "decision": "approve"})


async def by_console(house: House, assistant_id: str, approval_id: str, args_hash: str) -> httpx.Response:
    """The form of the console."""
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": house.url(0)}
    form = {"decision": "approve", "args_hash": args_hash, "back": "/approvals"}
    async with httpx.AsyncClient(timeout=60, headers=headers, follow_redirects=True) as http:
        return await http.post(f"{house.url(0)}/approvals/{assistant_id}/{approval_id}", data=form)


async def by_command(house: House, assistant_id: str, approval_id: str, args_hash: str) -> str:
    """The command line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "cli", "approve", assistant_id, approval_id, "--args-hash", args_hash),
        env={**os.environ, "RETINUE_URL": house.url(0), "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 90)
    return " ".join(output.decode().split())


async def by_mcp(house: House, assistant_id: str, approval_id: str, args_hash: str) -> str:
    """A tool of the MCP door."""
    said = {"assistant_id": assistant_id, "approval_id": approval_id, "args_hash": args_hash, "decision": "approve"}
    async with (
        httpx2.AsyncClient(timeout=90) as http,
        McpClient(streamable_http_client(f"{house.url(0)}/mcp", http_client=http)) as client,
    ):
        return str(await client.call_tool("decide_approval", said))


async def by_a2a(house: House, assistant_id: str, approval_id: str, args_hash: str) -> str:
    """A data part for the A2A door."""
    data = {"approval_id": approval_id, "args_hash": args_hash, "decision": "approve"}
    async with httpx.AsyncClient(timeout=90) as http:
        client = await create_client(house.url(0), client_config=ClientConfig(streaming=False, httpx_client=http))
        return "".join(
            [str(one) async for one in client.send_message(request(data=data, task=assistant_id, at_once=True))]
        )


DOORS = {"console": by_console, "cli": by_command, "mcp": by_mcp, "a2a": by_a2a}


def sent(house: House, way: str, outage: Outage) -> list[str]:
    """The subjects of the mails that a run has sent."""
    with contextlib.closing(sqlite3.connect(house.data / "email.db")) as database:
        return [
            subject
            for (subject,) in database.execute(
                "SELECT m.subject FROM messages m JOIN ledger l ON m.message_id = l.result ->> 'message_id'"
                " WHERE lower(m.folder) = 'sent' AND l.key LIKE ?",
                (f"{outage.final[way]['id']}/%",),
            )
        ]


@pytest.mark.parametrize("way", SENT_ONCE)
async def test_what_was_decided_meanwhile_happens_once(way: str, house: House, outage: Outage) -> None:
    assert outage.final[way]["status"] == "completed"
    assert outage.final[way]["recorded_decisions"] == []
    assert outage.final[way]["approvals"][0]["decided_by"] == "local"
    assert sent(house, way, outage) == [SENT_ONCE[way]]


async def test_a_rejection_counts_too(house: House, outage: Outage) -> None:
    assert outage.final["reject"]["approvals"][0]["status"] == "rejected"
    assert sent(house, "reject", outage) == []


@pytest.mark.parametrize("way", ["approve", "reject", "edit"])
async def test_it_is_answered_as_kept_and_the_view_says_so(way: str, outage: Outage) -> None:
    answer, view = outage.answers[way], outage.meanwhile[way]
    told = f"Your decision ({way} ap-s1) is recorded and takes effect when a workflow worker answers again."
    assert answer.status_code == 202
    assert told in answer.json()["notices"]
    assert told in view["notices"]
    assert [(one["decision"], one["state"]) for one in view["recorded_decisions"]] == [(way, "waiting")]
    assert view["approvals"][0]["recorded"] == told


async def test_an_api_that_was_restarted_says_so_too(outage: Outage) -> None:
    assert "Your decision (approve ap-s1) is recorded" in " ".join(outage.after_restart["approve"]["notices"])


async def test_the_batch_the_console_and_the_command_line_say_so(outage: Outage) -> None:
    [one] = outage.answers["batch"].json()["outcomes"]
    assert (one["recorded"], one["status"]) == (True, 202)
    assert "recorded" in one["detail"]
    assert outage.answers["console"].status_code == 200
    assert "is recorded" in outage.answers["console"].text
    assert "is recorded and takes effect when" in outage.answers["cli"]


@pytest.mark.parametrize("way", ["mcp", "a2a"])
async def test_the_doors_say_so(way: str, outage: Outage) -> None:
    assert "Your decision (approve ap-s1) is recorded and takes effect when a workflow worker" in outage.answers[way]


async def test_the_same_again_is_the_same_and_another_one_comes_too_late(outage: Outage) -> None:
    assert [answer.status_code for answer in outage.answers["twice"]] == [202, 202, 202]
    first, second = outage.answers["changed mind"]
    assert (first.status_code, second.status_code) == (202, 409)
    assert "you have decided ap-s1 already (approve)" in second.json()["detail"]


@pytest.mark.parametrize("way", REFUSED)
async def test_what_does_not_fit_any_more_is_refused_and_told(way: str, house: House, outage: Outage) -> None:
    assert [answer.status_code for answer in outage.answers[way]] == [202]
    assert REFUSED[way] in " ".join(outage.final[way]["notices"])
    assert outage.final[way]["status"] in ("awaiting_approval", "awaiting_worker")
    assert sent(house, way, outage) == []


@pytest.mark.parametrize("choice", CHOSEN)
async def test_a_choice_about_a_step_without_a_worker_is_kept_too_and_counts_once(choice: str, outage: Outage) -> None:
    told = f"Your decision ({choice} k1) is recorded and takes effect when a workflow worker answers again."
    first, again, otherwise, _said = outage.answers[choice]
    assert (first.status_code, again.status_code, otherwise.status_code) == (202, 202, 409)
    assert f"you have decided k1 already ({choice})" in otherwise.json()["detail"]
    assert told in first.json()["notices"]
    [recorded] = outage.meanwhile[choice]["recorded_decisions"]
    assert (recorded["step_id"], recorded["approval_id"], recorded["decision"]) == ("k1", None, choice)
    final = outage.final[choice]
    assert (final["status"], steps(final)["k1"]["status"]) == CHOSEN[choice]
    assert final["recorded_decisions"] == []
    assert final["notices"].count(f"local chose to {choice} on k1") == 1


@pytest.mark.parametrize("choice", CHOSEN)
async def test_a_message_is_not_kept_and_its_answer_says_so(choice: str, outage: Outage) -> None:
    *_, said = outage.answers[choice]
    assert (said.status_code, said.headers["Retry-After"]) == (503, "2")
    assert "this was not stored" in said.json()["detail"]
    assert "send it again with the same Idempotency-Key" in said.json()["detail"]
