"""A stand-in for Retinue's API on a real port, and the command line run against it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from typer.testing import CliRunner, Result

from cli.app import app

View = dict[str, Any]
LINKS = {"self": "/v1/assistants/a-1", "temporal_ui": "http://127.0.0.1:8233/namespaces/default/workflows/a-1"}
ME = {
    "name": "anna",
    "tenant": "quay",
    "roles": ["owner"],
    "permissions": ["ask", "read"],
    "recognised_by": None,
    "notice": "Only you.",
}
Run = Callable[..., Result]
CARD = {
    "form": "mail",
    "lines": [
        {"argument": "/to", "label": "to", "role": "destination", "values": ["ana@example.com"]},
        {"argument": "subject", "label": "subject", "role": "change", "values": ["Hello"]},
        {"argument": "body", "label": "body", "role": "text", "values": ["Hi"]},
    ],
    "origins": [
        {
            "label": "to",
            "value": "ana@example.com",
            "words": "chosen by the model; you did not type it",
            "trusted": False,
        }
    ],
    "undo": "It cannot be undone.",
}


def step(step_id: str, tool: str, status: str, **more: Any) -> View:
    """A step of a view."""
    capability = tool.partition(".")[0]
    return {
        "id": step_id,
        "tool": tool,
        "capability": capability,
        "args": {},
        "depends_on": [],
        "status": status,
    } | more


def approval(**more: Any) -> View:
    """A pending approval of a mail."""
    return {
        "id": "ap-s1",
        "step_id": "s1",
        "tool": "email.send",
        "title": "Send a mail",
        "args": {"to": ["ana@example.com"], "subject": "Hello", "body": "Hi"},
        "args_hash": "a" * 64,
        "args_schema": {
            "properties": {
                "to": {"type": "array", "items": {"type": "string"}},
                "subject": {"type": "string"},
                "copies": {"type": "integer"},
                "urgent": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
                "folder": {"$ref": "#/$defs/Folder"},
            },
            "$defs": {"Folder": {"type": "string"}},
        },
        "preview": "Send a mail\nto: ana@example.com\nsubject: Hello",
        "reasons": ["it reaches other people or systems"],
        "origins": [{"path": "/to/0", "source": "model", "trusted": False}],
        "card": CARD,
        "asked_at": "2026-11-22T12:00:00Z",
        "status": "pending",
    } | more


def view(status: str, **more: Any) -> View:
    """A view of the run `a-1`."""
    shown: View = {"id": "a-1", "status": status, "message": "say hello", "messages": [], "plan": None, "approvals": []}
    return shown | {"question": None, "reply": None, "error": None, "notices": [], "links": LINKS} | more


def waiting(**more: Any) -> View:
    """A run that waits for the decision about a mail."""
    plan = {"steps": [step("s1", "email.send", "awaiting_approval")]}
    return view("awaiting_approval", plan=plan, approvals=[approval(**more)])


def done(reply: str = "All is done.") -> View:
    """A run that came to its end."""
    return view("completed", plan={"steps": [step("s1", "email.send", "completed", attempts=1)]}, reply=reply)


@dataclass
class FakeApi:
    """What the API shows, in order (the last one stays), and what it was sent."""

    url: str = ""
    views: list[View] = field(default_factory=lambda: [done()])
    unavailable: int = 0
    refusal: tuple[int, str] | None = None
    refused_decision: tuple[int, str] | None = None
    wanted_key: str = ""
    credentials: list[str | None] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    sent: list[tuple[str, View]] = field(default_factory=list)
    pauses: list[View] = field(default_factory=list)
    forms: list[View] = field(default_factory=list)

    def shown(self) -> View:
        """The next view."""
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]

    def answer(self, code: int = 200) -> JSONResponse:
        """The next view, or the refusal that was asked for."""
        if self.unavailable:
            self.unavailable -= 1
            return _problem(503, "Temporal does not answer at the moment.")
        return _problem(*self.refusal) if self.refusal else JSONResponse(self.shown(), code)


def _problem(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"title": "Refused", "status": status, "detail": detail}, status)


def _application(fake: FakeApi) -> FastAPI:
    application = FastAPI()

    @application.post("/v1/assistants")
    async def start(request: Request) -> JSONResponse:
        fake.keys.append(request.headers["Idempotency-Key"])
        fake.sent.append(("start", await request.json()))
        return fake.answer(202)

    @application.get("/v1/assistants/{assistant_id}")
    async def read(assistant_id: str) -> JSONResponse:
        return fake.answer()

    @application.post("/v1/assistants/{assistant_id}/{rest:path}")
    async def act(assistant_id: str, rest: str, request: Request) -> JSONResponse:
        fake.sent.append((rest, await request.json() if await request.body() else {}))
        return _problem(*fake.refused_decision) if fake.refused_decision else fake.answer()

    @application.get("/v1/pauses")
    async def pauses() -> JSONResponse:
        return JSONResponse({"pauses": fake.pauses})

    @application.delete("/v1/pauses")
    async def end_pauses() -> JSONResponse:
        fake.pauses = []
        return JSONResponse({"pauses": []})

    @application.get("/v1/language-model")
    async def language_models() -> JSONResponse:
        found: View = {"source": "environment", "roles": [], "servers": [], "is_sent": "", "forms": fake.forms}
        return JSONResponse(found)

    @application.get("/v1/me")
    async def me(request: Request) -> JSONResponse:
        fake.credentials.append(request.headers.get("Authorization"))
        if fake.wanted_key and fake.credentials[-1] != f"Bearer {fake.wanted_key}":
            return _problem(401, "there are no credentials, or they are not valid")
        return JSONResponse(ME)

    @application.get("/v1/approvals")
    async def inbox() -> JSONResponse:
        about = {"assistant_id": "a-1", "request": "say hello", "links": LINKS}
        items = [item | about for item in fake.views[0]["approvals"]]
        return JSONResponse({"approvals": items})

    return application


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A config folder of this test's own, empty; whoever runs the tests may be logged in somewhere."""
    folder = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    for name in ("RETINUE_URL", "RETINUE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="session")
def served() -> Iterator[FakeApi]:
    """The stand-in, served in a thread."""
    fake = FakeApi()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        fake.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(_application(fake), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield fake
        server.should_exit = True
        thread.join(5)


@pytest.fixture
def api(served: FakeApi) -> FakeApi:
    """The stand-in as new."""
    served.__dict__ |= FakeApi(url=served.url).__dict__
    return served


@pytest.fixture
def retinue(api: FakeApi) -> Run:
    """Runs `retinue` with its arguments in this process, without a terminal."""

    def run(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(app, ["--url", api.url, *arguments], **options)

    return run
