"""An account elsewhere belongs to one organisation: whoever is not of it is refused in words, by every capability."""

from __future__ import annotations

import dataclasses
import json
from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import AnyHttpUrl, BaseModel, SecretStr
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.plugin import SimplePlugin
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

import activities
from activities.calendar import worker as calendar
from activities.calendar.settings import CalendarSettings
from activities.contacts import worker as contacts
from activities.contacts.settings import ContactsSettings
from activities.email import worker as email
from activities.email.settings import EmailSettings
from activities.tasks import worker as tasks
from activities.tasks.contract import Channel
from activities.tasks.settings import TasksSettings
from retinue.activity_adapter import build_activities
from retinue.capability import Annotations, Capability, tool
from retinue.settings import ROOT
from retinue.temporal.registry import announce
from retinue.temporal.tenant_header import HEADER, OrganisationOfWorkers, current_tenant, use_tenant, working_for
from retinue.tenancy import ANY_TENANT, HOME, folder_of
from retinue.testing import activities_by_name, plan_answer
from retinue.times import present
from tests.activities.tasks.conftest import Timers, timers
from tests.api.tenancy.conftest import As
from tests.conftest import steps
from workers.runner import capability_worker

__all__ = ["timers"]
Fresh = Callable[[str], str]
SERVER = "https://outside.example/"
DAY = {"start": "2030-03-01T00:00:00Z", "end": "2030-03-02T00:00:00Z"}


class Opened(BaseModel):
    asked_by: str


class Vault(Capability):
    """Opens one safe."""

    name = "vault"
    version = "1"
    description = "One safe."
    instructions = ""

    @activity.defn(name="vault.open")
    @tool(title="Open the safe", annotations=Annotations(read_only=True, destructive=False, open_world=False))
    @abstractmethod
    async def open(self) -> Opened:
        """Open the safe."""


class VaultTools(Vault):
    async def open(self) -> Opened:
        return Opened(asked_by=current_tenant())


SAYS_NOTHING = SimplePlugin("vault", activities=build_activities(VaultTools()))


def of(tenant: str) -> SimplePlugin:
    return SimplePlugin("vault", activities=build_activities(VaultTools(), tenant=tenant))


@pytest.mark.parametrize(
    ("plugin", "served"),
    [
        (SAYS_NOTHING, ["home"]),
        (of(HOME), ["home"]),
        (of("acme"), ["acme"]),
        (of(ANY_TENANT), ["home", "acme", "umbrella"]),
    ],
)
async def test_an_account_serves_its_organisation_and_tells_others_why_not(
    people: As, fresh: Fresh, plugin: SimplePlugin, served: list[str]
) -> None:
    """A capability that says nothing about organisations serves those people alone who are of none."""
    outcome = {}
    home = people("anna")
    await announce(home.temporal, Vault.manifest())
    async with capability_worker(home.temporal, Vault, plugin):
        for name, tenant in (("home", HOME), ("acme", "acme"), ("umbrella", "umbrella")):
            anna, message = people("anna", tenant), fresh(f"Open it for {name}")
            anna.model.script(message, plan_answer([{"id": "s1", "tool": "vault.open"}]), plan_answer(reply="No."))
            outcome[name] = steps(await anna.ended((await anna.start(message))["id"]))["s1"]
    assert [name for name, step in outcome.items() if step["status"] == "completed"] == served
    refused = [step["error"] for name, step in outcome.items() if name not in served]
    assert {error["type"] for error in refused} <= {"ServiceRefused"}
    assert all("does not belong to your organisation" in error["message"] for error in refused)
    assert all("VAULT_ORGANISATION" in error["message"] for error in refused)
    assert all(outcome[name]["result"]["asked_by"] in (name, HOME) for name in served)


def accounts(tmp_path: Path) -> dict[str, SimplePlugin]:
    """Every provider whose data are on a server: each is acme's."""
    url = f"sqlite+aiosqlite:///{tmp_path}/x.db"
    smtp, imap = SecretStr("smtps://a:b@outside.example"), SecretStr("imaps://a:b@outside.example")
    on_caldav = CalendarSettings(provider="caldav", url=SERVER, database_url=url, organisation="acme")
    on_carddav = ContactsSettings(provider="carddav", url=AnyHttpUrl(SERVER), database_url=url, organisation="acme")
    return {
        "calendar.list_events": calendar.plugin(on_caldav),
        "contacts.list": contacts.plugin(on_carddav),
        "email.search": email.plugin(
            EmailSettings(
                provider="imap",
                smtp_url=smtp,
                imap_url=imap,
                from_="a@outside.example",
                database_url=url,
                organisation="acme",
            )
        ),
    }


@pytest.mark.parametrize("name", ["calendar.list_events", "contacts.list", "email.search"])
@pytest.mark.parametrize("asking", ["umbrella", HOME, "Acme", ANY_TENANT])
async def test_a_server_elsewhere_is_not_even_asked_for_others(tmp_path: Path, name: str, asking: str) -> None:
    """No store is open and no server is there, so whatever was let through would fail otherwise."""
    run = activities_by_name(accounts(tmp_path)[name].activities)[name]
    with use_tenant(asking), pytest.raises(ApplicationError, match="does not belong to your organisation") as refused:
        await ActivityEnvironment().run(run, DAY if name == "calendar.list_events" else {})
    assert (refused.value.type, refused.value.non_retryable) == ("ServiceRefused", True)


@pytest.mark.parametrize(("tenant", "asking"), [("", "acme"), ("acme", ""), ("acme", "umbrella")])
async def test_an_mcp_server_serves_one_organisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tenant: str, asking: str
) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"files": {"command": "nobody-starts-this"}}}))
    monkeypatch.setenv("RETINUE_MCP_CONFIG", str(file))
    monkeypatch.setenv("FILES_ORGANISATION", tenant)
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    run = activities.load("files").plugin().activities[0]
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, activity_type="files.read")
    raw = RawValue(environment.payload_converter.to_payload({}))
    with use_tenant(asking), pytest.raises(ApplicationError, match="files is connected to an account"):
        await environment.run(run, [raw])


async def test_a_webhook_hears_the_reminders_of_one_organisation(tmp_path: Path, timers: Timers) -> None:
    """All others' reminders stand in their lists, and no title of theirs leaves."""
    settings = TasksSettings(
        notify=Channel.WEBHOOK,
        webhook_url=AnyHttpUrl(SERVER),
        webhook_secret=SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        database_url=f"sqlite+aiosqlite:///{tmp_path}/tasks.db",
        organisation="acme",
    )
    plugin = tasks.plugin(settings)
    by_name = activities_by_name(plugin.activities)
    at = present() + timedelta(hours=1)

    async def call(tool: str, step: str, **arguments: Any) -> dict[str, Any]:
        environment = ActivityEnvironment(client=cast(Client, timers))
        environment.info = dataclasses.replace(
            environment.info, workflow_id="w", activity_id=step, activity_type=f"tasks.{tool}"
        )
        return cast(dict[str, Any], await environment.run(by_name[f"tasks.{tool}"], arguments))

    channels = {}
    assert plugin.run_context is not None
    async with plugin.run_context():
        for name in ("acme", "umbrella", HOME):
            with working_for("anna", of_organisation=name):
                made = await call("remind", f"{name}1", title="Tea", at=at.isoformat())
                reminder = {"task_id": made["task_id"], "title": "Tea", "at": at.isoformat()}
                channels[name] = (await call("notify", f"{name}2", **reminder)).get("channel", "console")
        content = {"task_id": "1", "title": "Tea", "due": at.isoformat(), "reminded_at": at.isoformat()}
        with (
            working_for("umbrella:anna"),
            pytest.raises(ApplicationError, match="does not belong to your organisation"),
        ):
            await call("post_reminder", "u3", **content)
    assert channels == {"acme": "webhook", "umbrella": "console", HOME: "console"}


async def test_a_file_is_imported_into_the_organisation_that_the_settings_name(tmp_path: Path) -> None:
    people_file = tmp_path / "people.vcf"
    people_file.write_text("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Alex\r\nEMAIL:alex@example.com\r\nEND:VCARD\r\n")
    settings = ContactsSettings(database_url=f"sqlite+aiosqlite:///{tmp_path}/contacts.db", organisation="acme")
    said = await contacts.import_file(people_file, settings, person="anna")
    assert "1" in said
    plugin = contacts.plugin(settings)
    run = activities_by_name(plugin.activities)["contacts.list"]
    found = {}
    assert plugin.run_context is not None
    async with plugin.run_context():
        for name in ("acme", HOME):
            with working_for("anna", of_organisation=name):
                found[name] = [one["name"] for one in (await ActivityEnvironment().run(run))["contacts"]]
    assert found == {"acme": ["Alex"], HOME: []}
    assert (tmp_path / "organisations" / folder_of("acme") / "contacts.db").exists()


@pytest.mark.parametrize("header", [b"", b"{", b"7", b"null", b'["acme"]', b'"' + b"a" * 5000 + b'"', b"\xff"])
async def test_nothing_is_done_where_it_cannot_be_read_for_whom(header: bytes) -> None:
    class Next(ActivityInboundInterceptor):
        def __init__(self) -> None:
            pass

        async def execute_activity(self, input: ExecuteActivityInput) -> str:  # noqa: A002  # as its base calls it
            return current_tenant()

    first = OrganisationOfWorkers().intercept_activity(Next())

    def told(data: bytes) -> ExecuteActivityInput:
        payload = Payload(metadata={"encoding": b"json/plain"}, data=data)
        return ExecuteActivityInput(fn=print, args=[], executor=None, headers={HEADER: payload})

    with pytest.raises(ApplicationError, match="the organisation header is unreadable"):
        await first.execute_activity(told(header))
    assert await first.execute_activity(told(b'"acme"')) == "acme"
    assert current_tenant() == HOME


@pytest.mark.parametrize("name", activities.folders())
def test_every_capability_says_whose_it_is(name: str) -> None:
    """What says nothing would refuse everybody who is of an organisation."""
    assert "tenant=" in (ROOT / "activities" / name / "worker.py").read_text()
