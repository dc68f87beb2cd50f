"""Three people of one organisation with three kinds of accounts, on one stack with the real accounts service.

Each asks what is on their calendar and has the newest mail answered: right account, right card, right outcome, and the
others see nothing of it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import httpx
import pytest
from aiosmtpd.smtp import Envelope
from fastapi import Header
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

import activities
import activities.calendar.worker as calendar_worker
import activities.email.worker as email_worker
import activities.reasoning.worker as reasoning_worker
from accounts.oauth_flows import Tokens
from activities.calendar.settings import CalendarSettings
from activities.email.settings import EmailSettings
from activities.reasoning.settings import ReasoningSettings
from api.app import create_app
from api.auth.principals import Person, Role
from api.deps import caller
from api.settings import ApiSettings
from retinue.accounts import caller_keys
from retinue.accounts.connection import Provider
from retinue.accounts.wire import BeginOAuth, ConnectPassword, FinishOAuth
from retinue.temporal.connection import DATA_CONVERTER, connect
from retinue.temporal.registry import announce
from retinue.temporal.search_attributes import SEARCH_ATTRIBUTES
from retinue.testing import ScriptedModel, plan_answer
from tests.accounts.emulators import Emulators
from tests.accounts.google_calendar import GoogleCalendar, google_calendar
from tests.accounts.service import Service, service
from tests.activities.email import mail_servers
from tests.activities.email.mail_servers import DOVECOT, NO_DOVECOT, Dovecot, dovecot
from tests.conftest import Stack, patient, pending, steps
from tests.radicale import PASSWORD, USER, Radicale, radicale
from workers import temporal_server
from workers.runner import capability_worker, workflows_worker

ANA, BEN, CARL = "acme:ana", "acme:ben", "acme:carl"
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date()
DAY = {"start": f"{TOMORROW}T00:00:00+00:00", "end": f"{TOMORROW + timedelta(days=1)}T00:00:00+00:00"}


@pytest.fixture
def dav(tmp_path: Path) -> Iterator[Radicale]:
    with radicale(tmp_path) as running:
        yield running


@pytest.fixture
def mail() -> Iterator[Dovecot]:
    if DOVECOT is None:
        pytest.skip(NO_DOVECOT)
    with dovecot() as running:
        yield running


@pytest.fixture
def diary() -> Iterator[GoogleCalendar]:
    with google_calendar() as running:
        yield running


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """A Temporal server of this test's own: its workers are others than the stack's."""
    async with await WorkflowEnvironment.start_local(
        data_converter=DATA_CONVERTER,
        dev_server_existing_path=str(temporal_server.binary()),
        dev_server_log_level="error",
        dev_server_extra_args=[
            *(f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()),
            *(f"--dynamic-config-value={value}" for value in temporal_server.DYNAMIC_CONFIG),
        ],
    ) as environment:
        monkeypatch.setenv("TEMPORAL_ADDRESS", environment.client.service_client.config.target_host)
        yield await connect()


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Service]:
    async with service(tmp_path) as one:
        yield one


class Everybody:
    """The stack as each person sees it."""

    def __init__(self, stack: Stack, app: Any) -> None:
        self.model = stack.model
        self._stack, self._app = stack, app

    def __call__(self, owner: str) -> Stack:
        tenant, _, name = owner.partition(":")
        http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self._app),
            base_url="http://localhost",
            timeout=60,
            headers={"X-Name": name, "X-Tenant": tenant},
        )
        return Stack(http, self._stack.temporal, self._stack.model, self._stack.data)


def _caller(x_name: Annotated[str, Header()], x_tenant: Annotated[str, Header()]) -> Person:
    return Person(x_name, frozenset({Role.OWNER}), x_tenant)


@pytest.fixture
async def people(
    server: Client, running: Service, model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Everybody]:
    """The product with accounts; each worker has the service's key of its own capability alone."""
    variables = {
        "RETINUE_DATA_DIR": str(tmp_path / "data"),
        "OPENAI_BASE_URL": model.url,
        "OPENAI_API_KEY": "sk-canary-0123456789",
        "RETINUE_MODEL": "scripted",
        "RETINUE_ACCOUNTS_PASS_KEYS": caller_keys.pass_keys(running.root),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RETINUE_ONLY_PERSON", raising=False)
    plugins = {
        "calendar": calendar_worker.plugin(CalendarSettings(), running.worker("calendar")),
        "email": email_worker.plugin(EmailSettings(), running.worker("email")),
        "reasoning": reasoning_worker.plugin(ReasoningSettings(), running.worker("reasoning")),
    }
    app = create_app(ApiSettings(retinue_rate_limit="10000000/60"), client=server)
    app.dependency_overrides[caller] = _caller
    async with AsyncExitStack() as open_things:
        await open_things.enter_async_context(patient(workflows_worker(server)))
        for name, plugin in plugins.items():
            contract = activities.load(name).CONTRACT
            await open_things.enter_async_context(capability_worker(server, contract, plugin))
            await announce(server, contract.manifest(accounts=True))
        await open_things.enter_async_context(app.router.lifespan_context(app))
        yield Everybody(Stack(httpx.AsyncClient(), server, model, tmp_path), app)


async def connect_google(
    running: Service, owner: str, name: str, api: str, token: str, capability: str, address: str
) -> None:
    """Connect by the consent of a provider whose APIs are at `api`."""

    async def finish(*_: Any, **__: Any) -> Tokens:
        life = datetime.now(UTC) + timedelta(hours=1)
        return Tokens(
            access_token=SecretStr(token),
            refresh_token=SecretStr(f"canary-{name}"),
            expires_at=life,
            scopes=[],
            subject=name,
            address=address,
        )

    setattr(running.oauth, "finish", finish)  # noqa: B010  # an instance's own
    setattr(running.oauth, "endpoints", lambda _: {"api": api})  # noqa: B010  # the class declares it as a method
    asked = BeginOAuth(
        provider_id="google", capabilities=[capability], redirect_uri="http://localhost/accounts/callback", name=name
    )
    begun = await running.of(owner).begin_oauth(asked)
    await running.of(owner).finish_oauth(FinishOAuth(state=begun.state, code=SecretStr("code-1")))


async def connect_password(
    running: Service, owner: str, name: str, provider: Provider, endpoints: dict[str, str], username: str, password: str
) -> None:
    running.servers.passwords.add(password)
    account = ConnectPassword(
        provider=provider,
        address=f"{owner.rpartition(':')[2]}@{name}.example",
        password=SecretStr(password),
        username=username,
        endpoints=endpoints,
        name=name,
    )
    await running.of(owner).connect(account)


def letter(to: str, subject: str) -> bytes:
    head = f"From: Clara <clara@example.org>\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{uuid4().hex}@example.org>\r\n"
    return f"{head}\r\nAre you coming?\r\n".encode()


def plan() -> Any:
    newest = {"$from": "s2", "path": "/messages/0/message_id"}
    return plan_answer(
        [
            {"id": "s1", "tool": "calendar.list_events", "args": DAY},
            {"id": "s2", "tool": "email.search", "args": {"limit": 1}},
            {
                "id": "s3",
                "tool": "email.reply",
                "args": {"message_id": newest, "body": "Yes."},
                "depends_on": ["s2"],
            },
        ]
    )


async def gmail(emulators: Emulators, token: str, method: str, path: str, **request: Any) -> Any:
    url = f"{emulators.google}/gmail/v1/users/me/{path}"
    async with httpx.AsyncClient(timeout=20, headers={"Authorization": f"Bearer {token}"}) as http:
        answer = await http.request(method, url, **request)
    return answer.raise_for_status().json() if answer.content else {}


async def test_each_of_three_people_is_served_by_their_own_accounts(
    people: Everybody,
    running: Service,
    emulators: Emulators,
    diary: GoogleCalendar,
    dav: Radicale,
    mail: Dovecot,
    outgoing: tuple[str, list[Envelope]],
) -> None:
    smtp, taken = outgoing
    # Ana: Google. Its mail and its calendar are two servers here, so she has connected it twice.
    token = emulators.tokens("google", "ana")["access_token"]
    await connect_google(running, ANA, "gmail", emulators.google, token, "email", "ana@example.com")
    await connect_google(running, ANA, "gcal", diary.url, "token", "calendar", "ana@example.com")
    raw = base64.urlsafe_b64encode(letter("ana@example.com", "For Ana")).decode()
    await gmail(emulators, token, "POST", "messages", json={"raw": raw, "labelIds": ["INBOX", "UNREAD"]})
    at = {"start": {"dateTime": f"{TOMORROW}T10:00:00Z"}, "end": {"dateTime": f"{TOMORROW}T11:00:00Z"}}
    diary.put("anasevent1", summary="Ana's review", **at)
    # Ben: Dovecot and Radicale.
    user = f"u{uuid4().hex[:8]}"
    imap = f"imap://127.0.0.1:{mail.port}?starttls=false"
    mail.deliver(user, letter("ben@work.example", "For Ben"))
    calendar = dav.calendar(uuid4().hex)
    await connect_password(
        running, BEN, "work", Provider.IMAP, {"imap": imap, "smtp": smtp}, user, mail_servers.PASSWORD
    )
    await connect_password(running, BEN, "cloud", Provider.CALDAV, {"caldav": calendar}, USER, PASSWORD)
    event = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:b1\r\nDTSTAMP:20260101T000000Z\r\n"
    when = f"DTSTART:{TOMORROW:%Y%m%d}T120000Z\r\nDTEND:{TOMORROW:%Y%m%d}T130000Z\r\n"
    content = f"{event}{when}SUMMARY:Ben's lunch\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    async with httpx.AsyncClient(auth=(USER, PASSWORD), timeout=20) as http:
        (await http.put(f"{calendar}b1.ics", content=content.encode())).raise_for_status()

    views = {}
    for owner in (ANA, BEN):
        message = f"What's on my calendar, and answer the newest mail #{uuid4().hex[:8]}"
        people.model.script(message, plan())
        mine = people(owner)
        views[owner] = await mine.asked((await mine.start(message))["id"])
    message = f"What's on my calendar? #{uuid4().hex[:8]}"
    people.model.script(message, plan_answer([{"id": "s1", "tool": "calendar.list_events", "args": DAY}]))
    carl = await people(CARL).ended((await people(CARL).start(message))["id"])

    cards = {owner: pending(view)[0]["preview"].splitlines()[1] for owner, view in views.items()}
    assert cards == {ANA: "from: ana@example.com (gmail)", BEN: "from: ben@work.example (work)"}
    events = {owner: [one["title"] for one in steps(view)["s1"]["result"]["events"]] for owner, view in views.items()}
    assert events == {ANA: ["Ana's review"], BEN: ["Ben's lunch"]}
    assert steps(carl)["s1"]["result"]["events"] == []
    for owner in (BEN, CARL):
        assert (await people(owner).http.get(f"/v1/assistants/{views[ANA]['id']}")).status_code == 404

    for owner, view in views.items():
        assert (await people(owner).decide(view)).status_code == 200
        done = await people(owner).ended(view["id"])
        assert done["status"] == "completed", done
    sent = await gmail(emulators, token, "GET", "messages", params={"labelIds": ["SENT"]})
    assert len(sent["messages"]) == 1
    assert [(envelope.mail_from, envelope.rcpt_tos) for envelope in taken] == [
        ("ben@work.example", ["clara@example.org"])
    ]
    histories = [await _history(people(ANA).temporal, view["id"]) for view in views.values()]
    secrets = [token, mail_servers.PASSWORD, PASSWORD]
    assert not [secret for secret in secrets for history in histories if secret in history]


async def _history(client: Client, assistant_id: str) -> str:
    return str((await client.get_workflow_handle(assistant_id).fetch_history()).events)


async def test_planner_and_agents_read_the_names_of_several_accounts_and_use_them(
    people: Everybody, running: Service, dav: Radicale
) -> None:
    calendars = {name: dav.calendar(uuid4().hex) for name in ("cloud", "club")}
    for name, url in calendars.items():
        await connect_password(running, BEN, name, Provider.CALDAV, {"caldav": url}, USER, PASSWORD)
    event = {"title": "Regatta", "start": f"{TOMORROW}T10:00:00+00:00", "end": f"{TOMORROW}T11:00:00+00:00"}
    message, goal = f"Enter the regatta #{uuid4().hex[:8]}", f"enter it in the club's calendar #{uuid4().hex[:8]}"
    people.model.script(message, plan_answer([{"id": "s1", "agent": "calendar", "goal": goal}]))
    wish = {"tool": "calendar.create_event", "args": {**event, "account": "club"}}
    people.model.agent(goal, [wish], "Done.")
    ben = people(BEN)
    done = await ben.ended((await ben.start(message))["id"])
    assert done["status"] == "completed", done
    assert {name: "Regatta" in dav.content(url) for name, url in calendars.items()} == {"cloud": False, "club": True}

    [planned, *_] = people.model.requests_for(message)
    [told] = [part["content"] for part in planned["messages"] if part["content"].startswith("Accounts (JSON):")]
    assert json.loads(told.splitlines()[1]) == {"calendar": ["cloud", "club"]}
    [turn, *_] = [request for request in people.model.requests_for(goal) if "tools" in request]
    taking = [tool["function"] for tool in turn["tools"] if "account" in tool["function"]["parameters"]["properties"]]
    assert taking
    assert all('["cloud", "club"]' in json.dumps(each["parameters"]["properties"]["account"]) for each in taking)

    message = f"What's on? #{uuid4().hex[:8]}"
    people.model.script(message, plan_answer([{"id": "s1", "tool": "calendar.list_events", "args": DAY}]))
    carl = people(CARL)
    await carl.ended((await carl.start(message))["id"])
    assert "Accounts (JSON):" not in json.dumps(people.model.requests_for(message))
