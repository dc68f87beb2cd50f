"""Every form of the console, filled in and sent: whatever it sends on is what the API's own models take.

The pages stand before a stand-in of the API that shows one of everything. What the console sends to it is read by the
model of the real route, so a field that the API forbids fails here, in whichever form it hides.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, get_type_hints
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter
from starlette.routing import Match

import activities
from api.app import create_app
from api.settings import ApiSettings
from console import accounts, actions
from console.app import install
from tests.api.auth.test_routes_declare import routes
from tests.cli.conftest import CARD, LINKS, ME, approval, step, view

Fields = dict[str, str]
MAIL = activities.load("email").CONTRACT.manifest()
SEND = next(spec for spec in MAIL.tools if spec.name == "email.send")
FAR = "2099-01-01T00:00:00Z"
GIVEN = {"to": ["ana@example.com"], "subject": "Hello", "body": "Hi"}
PLANNED = {"steps": [{"id": "s1", "tool": "email.send", "args": GIVEN}]}
OPEN = {"args": {"/to": ["ana@example.com"], "/cc": []}, "closed": False}
CLOSED = {"args": {"/task_id": ["t-1"]}, "closed": True}


def asked(**more: Any) -> dict[str, Any]:
    """A run that waits for that decision about a mail."""
    waits = approval(args_schema=SEND.args_schema, args=GIVEN, **more)
    plan = {"steps": [step("s1", "email.send", "awaiting_approval", effect=True)]}
    return view(
        "awaiting_approval", plan=plan, approvals=[waits], links=LINKS | {"events": "/v1/assistants/a-1/events"}
    )


def chat(status: str, **more: Any) -> dict[str, Any]:
    """A conversation whose one step has run."""
    done = step("s1", "email.send", "completed", args=GIVEN, effect=True, undo="email.move")
    return view(status, mode="chat", plan={"steps": [done]}, **more)


RUNS = {
    "offered": asked(offer=OPEN),
    "offered-closed": asked(offer=CLOSED),
    "asked": asked(),
    "planned": asked(kind="plan", tool="plan.run"),
    "answers": chat("awaiting_input", question="Which one?", question_id="q-1"),
    "talks": chat("awaiting_input"),
    "ended": chat("completed"),
    "alone": view(
        "awaiting_worker",
        waiting_for=[{"capability": "email", "since": FAR, "times_out_at": FAR, "steps": ["s1"]}],
    ),
}
RUNS["planned"]["approvals"][0]["args"] = PLANNED
for name, shown in RUNS.items():
    shown["id"] = name
GRANT = {"grant_id": "g-1", "tool": "email.send", "created_at": FAR, "says": "From now on", "live": True}
FACT = {"fact_id": "f-1", "kind": "fact", "text": "Tea", "noted_at": FAR, "source": {"how": "typed"}}
PAUSED = {"id": "sc-2", "paused": True}
SCHEDULE = {
    "id": "sc-1",
    "name": "Morning",
    "message": "What is on?",
    "cron": "0 7 * * *",
    "timezone": "UTC",
    "paused": False,
    "links": LINKS,
    "catch_up_seconds": 60,
    "next_runs": [],
    "recent_runs": [],
    "skipped": 0,
    "missed": 0,
    "created_at": FAR,
}
TRIGGER: dict[str, Any] = {
    "id": "t-1",
    "event": "mail",
    "name": "Rent",
    "message": "Add a task",
    "conditions": {"senders": ["landlord@example.com"], "words": ["rent"]},
    "timezone": "UTC",
    "quiet_hours": {"begins": "22:00:00", "ends": "07:00:00"},
    "per_hour": 10,
    "per_day": 50,
    "paused": False,
    "resets": [],
    "waiting": 0,
    "left_out": 3,
    "recent_runs": [],
    "problem": "no answer",
    "links": LINKS,
    "created_at": FAR,
}
KEY: dict[str, Any] = {
    "id": "k-1",
    "name": "laptop",
    "prefix": "rtn_x",
    "scopes": [],
    "created_at": FAR,
    "expires_at": FAR,
    "last_used_at": None,
}
LISTED = [
    run["approvals"][0] | {"assistant_id": name, "request": "Mail", "links": LINKS}
    for name, run in RUNS.items()
    if run["approvals"]
]
CAPABILITY = MAIL.model_dump(mode="json") | {"pollers": 1, "healthy": True}
MODELS: dict[str, Any] = {
    "source": "choice",
    "roles": [{"role": "plan", "models": ["m@127.0.0.1:11434/v1"]}],
    "servers": [{"name": "Ollama", "address": "http://127.0.0.1:11434/v1", "models": ["m", "n"]}],
    "is_sent": "your messages",
}
ACCOUNT: dict[str, Any] = {
    "account_id": "c-1",
    "name": "work",
    "address": "anna@example.com",
    "provider": "google",
    "provider_id": "google",
    "kind": "bearer",
    "capabilities": ["calendar", "email"],
    "endpoints": {},
    "default_for": ["calendar"],
    "may": ["read your calendar"],
    "state": "connected",
    "problem": "",
    "connected_at": FAR,
    "last_used_at": FAR,
    "last_used_for": "calendar",
}
BROKEN = ACCOUNT | {"account_id": "c-2", "state": "disconnected", "problem": "Google must be connected again"}
MAILBOX = ACCOUNT | {
    "account_id": "c-3",
    "provider": "imap",
    "provider_id": "imap",
    "kind": "password",
    "capabilities": ["email"],
    "endpoints": {"imap": "imaps://imap.example.com:993", "smtp": "smtps://smtp.example.com:465"},
    "state": "disconnected",
}
PROVIDERS: list[dict[str, Any]] = [
    {"id": name, "provider": name, "title": name.upper(), "kind": kind, "capabilities": uses}
    for name, kind, uses in (
        ("google", "bearer", ["calendar", "email"]),
        ("caldav", "password", ["calendar"]),
        ("imap", "password", ["email"]),
    )
]
ANSWERS: dict[str, Any] = {
    "/v1/accounts": {"accounts": [ACCOUNT, BROKEN, MAILBOX]},
    "/v1/accounts/mine/c-3": MAILBOX,
    "/v1/accounts/providers": {"providers": PROVIDERS},
    "/v1/accounts/organisation/connections": {"connections": [ACCOUNT | {"person": "quay:anna"}]},
    "/v1/accounts/organisation/events": {"events": [{"id": 1, "at": FAR, "kind": "connected", "person": "quay:anna"}]},
    "/v1/accounts/organisation/rules": {"allowed_providers": ["google"], "roles": {"email": "owner"}},
    "/v1/me": ME | {"recognised_by": "key", "permissions": ["ask", "decide", "operate", "read"]},
    "/v1/assistants": {"assistants": []},
    "/v1/approvals": {"approvals": LISTED, "waiting": len(LISTED)},
    "/v1/capabilities": {"capabilities": [CAPABILITY, CAPABILITY | {"name": "reasoning"}]},
    "/v1/pauses": {"pauses": [{"model": "m@models.example/v1", "until": FAR, "since": FAR, "asked_seconds": 3e8}]},
    "/v1/language-model": MODELS,
    "/v1/language-model/test": MODELS | {"test": {"ok": True, "seconds": 1.5, "words": "it answered"}},
    "/v1/grants": {"grants": [GRANT]},
    "/v1/memory": {"facts": [FACT], "total": 1},
    "/v1/schedules": {"schedules": [SCHEDULE, SCHEDULE | PAUSED]},
    "/v1/triggers": {"triggers": [TRIGGER, TRIGGER | {"id": "t-2", "paused": True}]},
    "/v1/keys": {"keys": [KEY]},
}
MADE: dict[str, Any] = {
    "/v1/accounts": MAILBOX,
    "/v1/accounts/oauth": {"authorize_url": "https://accounts.example.com/auth?state=x", "state": "x"},
    "/v1/accounts/discover": {"found": [{"provider_id": "imap", "endpoints": {"imap": "imaps://imap.example.com"}}]},
    **{f"/v1/accounts/mine/{name}/test": {"works": name == "c-1", "problem": "No."} for name in ("c-1", "c-2", "c-3")},
    "/v1/session": {},
    "/v1/schedules": SCHEDULE,
    "/v1/triggers": TRIGGER,
    "/v1/keys": KEY | {"key": "rtn_x_secret"},
    "/v1/memory": {"fact_id": "f-1", "created": True},
    "/v1/assistants": RUNS["talks"],
    "/v1/approvals": {"outcomes": []},
}
PAGES = (
    *(
        "/accounts",
        "/accounts/connect/google",
        "/accounts/organisation",
        "/accounts/c-3/connect",
        "/accounts/c-1/remove",
    ),
    *("/", "/approvals", "/schedules", "/triggers", "/grants", "/memory", "/capabilities", "/account", "/signin"),
    "/model",
    "/model?server=http%3A%2F%2F127.0.0.1%3A11434%2Fv1&model=n",
    *(f"/assistants/{name}" for name in RUNS),
    *(f"/approvals/{name}/ap-s1" for name in ("offered", "offered-closed", "asked", "planned")),
    *(f"/approvals/{name}/ap-s1?edit=1" for name in ("asked", "planned")),
    "/assistants/ended/fork?step=s1",
)
FILLED = {"credential": "rtn_x", "cron": "30 7 1 * *", "comment": "Because.", "q": "mail", "message": "Do it"} | {
    "senders": "landlord@example.com",
    "quiet-from": "22:00",
    "quiet-to": "07:00",
}
"""What a person writes where a form has nothing yet; everything else gets its name."""

NOT_CHOSEN = ("Choose at least one permission for the key.", "Choose at least one use of the account.")


@dataclass
class Form:
    """A form of a page as a browser knows it, with the controls outside of it that belong to it."""

    method: str
    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    boxes: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)

    def submissions(self) -> Iterator[list[tuple[str, str]]]:
        """By each of its buttons, with all boxes ticked and with none."""
        for name, value in self.buttons:
            pressed = [(name, value)] if name else []
            yield [*self.fields, *self.boxes, *pressed]
            yield [*self.fields, *pressed]


class Forms(HTMLParser):
    """Reads the forms of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._named: dict[str, Form] = {}
        self._elsewhere: list[tuple[str, str, dict[str, str]]] = []
        self._open: Form | None = None
        self._text: str | None = None
        self._select: str = ""
        self.feed(page)
        for tag, name, given in self._elsewhere:
            if name in self._named:
                self._control(self._named[name], tag, given)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form, or a control of one."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(given.get("method", "get"), given.get("action", ""))
            self.found.append(self._open)
            self._named[given.get("id", "")] = self._open
        elif "form" in given:
            self._elsewhere.append((tag, given["form"], given))
        elif self._open is not None:
            self._control(self._open, tag, given)

    def _control(self, form: Form, tag: str, given: dict[str, str]) -> None:
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "button" and given.get("type") != "button":
            form.buttons.append((name, value))
        elif tag == "input" and given.get("type") == "checkbox":
            form.boxes.append((name, value or "on"))
        elif tag == "input" and name:
            form.fields.append((name, value if given.get("type") == "hidden" else value or _filled(name)))
        elif tag == "textarea":
            form.fields.append((name, ""))
            self._text = ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            form.fields.append((self._select, value))
            self._select = ""

    def handle_data(self, data: str) -> None:
        """What stands in a text area."""
        if self._text is not None:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        """The end of a form, or of a text area."""
        if tag == "textarea" and self._open is not None and self._text is not None:
            name, _ = self._open.fields.pop()
            self._open.fields.append((name, self._text or _filled(name)))
            self._text = None
        elif tag == "form":
            self._open = None


def _filled(name: str) -> str:
    return FILLED.get(name, "" if name.startswith("/") else name)


@dataclass
class StandIn:
    """The API: what it was sent, and what of it the real one would not take."""

    real: FastAPI
    refused: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        """Show one of everything; read what is written by the model of the real route."""
        path = request.url.path
        if request.method != "GET":
            self._read(request, await request.body())
        if request.method == "POST" and path in MADE:
            return JSONResponse(MADE[path], 201)
        if path in ANSWERS:
            return JSONResponse(ANSWERS[path])
        part = path.removeprefix("/v1/").split("/")
        gone = request.method == "DELETE" and part[0] not in ("grants", "memory", "pauses", "language-model")
        found = {
            "assistants": RUNS.get(part[1]),
            "accounts": ACCOUNT,
            "grants": GRANT,
            "memory": MADE["/v1/memory"],
            "schedules": SCHEDULE,
            "triggers": TRIGGER,
        }.get(part[0])
        return Response(status_code=204) if gone else JSONResponse(found)

    def _read(self, request: Request, body: bytes) -> None:
        name = f"{request.method} {request.url.path}"
        route = next((one for one in _routes(self.real) if one.matches(request.scope)[0] is Match.FULL), None)
        if route is None:
            self.refused.append(f"{name}: no such route")
            return
        model = _body(route)
        try:
            if model is not None:
                TypeAdapter(model).validate_json(body or b"{}")
            elif body not in (b"", b"{}"):
                self.refused.append(f"{name}: it takes no body: {body!r}")
        except ValueError as error:
            self.refused.append(f"{name}: {error}")
        self.taken.append(name)


def _routes(app: FastAPI) -> list[APIRoute]:
    return [route for route in routes(app) if route.path.startswith("/v1/")]


def _body(route: APIRoute) -> Any:
    """The model of what a route is sent; None where it is sent nothing."""
    hints = get_type_hints(inspect.unwrap(route.endpoint))
    found = [hint for name, hint in hints.items() if name != "return" and _is_model(hint)]
    return found[0] if found else None


def _is_model(hint: Any) -> bool:
    return any(inspect.isclass(one) and issubclass(one, BaseModel) for one in (hint, *getattr(hint, "__args__", ())))


@pytest.fixture
async def stand_in(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[httpx.AsyncClient, StandIn]]:
    """The console before the stand-in, and the stand-in."""
    database = tmp_path_factory.mktemp("forms") / "api.db"
    behind = StandIn(create_app(ApiSettings(api_database_url=f"sqlite+aiosqlite:///{database}")))
    front = FastAPI()
    front.add_api_route("/v1/{path:path}", behind.answer, methods=["GET", "POST", "DELETE", "PUT", "PATCH"])
    install(front)
    transport = httpx.ASGITransport(app=front)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers={"cookie": "retinue_session=x"}
    ) as browser:
        yield browser, behind


async def test_every_form_sends_what_the_api_takes(stand_in: tuple[httpx.AsyncClient, StandIn]) -> None:
    browser, behind = stand_in
    reached: set[str] = set()
    wrong: list[str] = []
    for page in PAGES:
        shown = await browser.get(page)
        assert shown.status_code == 200, (page, shown.text)
        for form in Forms(shown.text).found:
            assert form.buttons, (page, form)
            for fields in form.submissions():
                answer = await browser.request(
                    form.method.upper(),
                    form.action,
                    **({"params": fields} if form.method == "get" else {"content": urlencode(fields)}),
                )
                reached |= {form.action} if form.method == "post" else set()
                if answer.status_code >= 400 and not any(said in answer.text for said in NOT_CHOSEN):
                    wrong.append(f"{page} {form.action} {fields}: {answer.status_code}")
    assert (behind.refused, wrong) == ([], [])
    unreached = [route.path for route in _posts() if not any(route.path_regex.match(path) for path in reached)]
    assert unreached == [], "no page above shows a form for these"


async def test_tools_that_cannot_be_used_are_named_with_the_service(
    stand_in: tuple[httpx.AsyncClient, StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = ["files.paint: the schema of its arguments <b>cannot</b> be used"]
    monkeypatch.setitem(ANSWERS, "/v1/capabilities", {"capabilities": [CAPABILITY | {"left_out": left_out}]})
    browser, _ = stand_in

    shown = (await browser.get("/capabilities")).text

    assert "1 tool cannot be used:" in shown
    assert "files.paint: the schema of its arguments &lt;b&gt;cannot&lt;/b&gt; be used" in shown


def _posts() -> list[APIRoute]:
    ours = (*routes(actions.router), *routes(accounts.router))
    sends_nothing = "/first-run"
    return [route for route in ours if "POST" in (route.methods or ()) and route.path != sends_nothing]


@pytest.mark.parametrize("bounds", [{"uses": "1001"}, {"days": "367"}, {"uses": "0"}, {"days": "ten"}])
async def test_bounds_that_the_api_would_refuse_are_said_in_words_and_nothing_is_sent(
    stand_in: tuple[httpx.AsyncClient, StandIn], bounds: Fields
) -> None:
    browser, behind = stand_in
    form = {"decision": "approve", "args_hash": "a" * 64, "grant": "yes", "uses": "10", "days": "30"} | bounds
    answer = await browser.post("/approvals/asked/ap-s1", content=urlencode(form))
    assert (answer.status_code, behind.taken) == (422, [])
    assert "write a whole number" in answer.text


async def test_a_mail_names_where_it_goes_out_once(
    stand_in: tuple[httpx.AsyncClient, StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, _ = stand_in
    assert "your mailbox" in (await browser.get("/approvals/asked/ap-s1")).text
    account = {"argument": "account", "label": "from", "role": "destination", "values": ["ana@example.com (work)"]}
    waits = asked(card=CARD | {"lines": [account, *CARD["lines"]]}) | {"id": "asked"}
    monkeypatch.setitem(RUNS, "asked", waits)

    shown = (await browser.get("/approvals/asked/ap-s1")).text

    assert "ana@example.com (work)" in shown
    assert "your mailbox" not in shown
