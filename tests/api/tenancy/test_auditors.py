"""An auditor reads all of their organisation and nobody else's, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from api.auth.principals import Role
from retinue.testing import plan_answer
from tests.api.conftest import eventually
from tests.api.tenancy.conftest import AUDITOR, OWNER, As
from tests.conftest import Stack, View, pending
from tests.test_main_job import mail

Fresh = Callable[[str], str]
Organisations = Callable[[str], str]


async def listed(person: Stack, **query: Any) -> dict[str, str]:
    """Whose the runs are that somebody's list shows, newest first."""
    page = (await person.http.get("/v1/assistants", params={"limit": 100, **query})).json()
    return {item["id"]: item["owner"] for item in page["assistants"]}


async def asked(person: Stack, message: str) -> View:
    person.model.script(message, plan_answer([mail("s1")]))
    return await person.asked((await person.start(message))["id"])


def changes(view: View) -> list[tuple[str, str, Any]]:
    """Everything by which a run could be changed."""
    [approval] = pending(view)
    decision = {"decision": "approve", "args_hash": approval["args_hash"]}
    at = f"/v1/assistants/{view['id']}"
    return [
        ("POST", f"{at}/messages", {"message": "Hello"}),
        ("POST", f"{at}/cancel", {}),
        ("POST", f"{at}/cancel", {"undo": True}),
        ("POST", f"{at}/undo", {}),
        ("POST", f"{at}/fork", {"from_step": "s1"}),
        ("POST", f"{at}/steps/s1", {"choice": "skip"}),
        ("POST", f"{at}/approvals/{approval['id']}", decision),
    ]


@pytest.mark.parametrize("tenant", ["acme", ""])
async def test_an_auditor_reads_every_run_of_the_organisation_and_no_other(
    people: As, fresh: Fresh, organisations: Organisations, tenant: str
) -> None:
    ours = tenant and organisations(tenant)
    anna, zoe = people("anna", ours), people("zoe", ours)
    elsewhere = [people("anna", organisations("umbrella")), people("anna", "" if tenant else organisations("acme"))]
    runs = [await asked(person, fresh(f"Mail {n}")) for n, person in enumerate((anna, zoe, *elsewhere))]
    mine, foreign = {run["id"] for run in runs[:2]}, {run["id"] for run in runs[2:]}
    auditor = people("otto", ours, AUDITOR)
    found = await eventually(lambda: listed(auditor), lambda found: mine <= found.keys())
    assert not foreign & found.keys()
    prefix = f"{ours}:" if ours else ""
    assert [found[run["id"]] for run in runs[:2]] == [f"{prefix}anna", f"{prefix}zoe"]
    reads = ("", "/receipt", "/messages", "?wait_seconds=0.1")
    for assistant_id, status in [
        *((assistant_id, 200) for assistant_id in mine),
        *((assistant_id, 404) for assistant_id in foreign),
    ]:
        answers = [await auditor.http.get(f"/v1/assistants/{assistant_id}{read}") for read in reads]
        assert [answer.status_code for answer in answers] == [status] * len(reads)
    inbox = (await auditor.http.get("/v1/approvals")).json()
    assert inbox == {"approvals": [], "unreadable": [], "waiting": 0, "next_cursor": None}
    for person, run in zip((anna, zoe, *elsewhere), runs, strict=True):
        await person.http.post(f"/v1/assistants/{run['id']}/cancel")


@pytest.mark.parametrize(("roles", "status"), [(AUDITOR, 403), (AUDITOR | OWNER, 404), (frozenset(Role), 404)])
async def test_an_auditor_changes_nothing_that_is_not_their_own(
    people: As, fresh: Fresh, organisations: Organisations, roles: frozenset[Role], status: int
) -> None:
    acme = organisations("acme")
    anna, otto = people("anna", acme), people("otto", acme, roles)
    view = await asked(anna, fresh("Mail team@example.com"))
    answers = [await otto.http.request(method, path, json=body) for method, path, body in changes(view)]
    assert [answer.status_code for answer in answers] == [status] * len(answers)
    now = await anna.view(view["id"])
    assert (now["status"], now["approvals"], now["notices"]) == (view["status"], view["approvals"], [])
    await anna.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_who_does_not_audit_sees_their_own_list_and_an_auditor_may(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    acme = organisations("acme")
    both = [people("anna", acme), people("otto", acme, OWNER | AUDITOR)]
    runs = [await asked(person, fresh(f"Mail {n}")) for n, person in enumerate(both)]
    anna, otto = both
    await eventually(lambda: listed(otto), lambda found: len(found) == 2)
    assert await listed(anna) == {runs[0]["id"]: f"{acme}:anna"}
    assert await listed(otto, mine=True) == {runs[1]["id"]: f"{acme}:otto"}
    assert set(await listed(otto, status="awaiting_approval")) == {run["id"] for run in runs}
    await asyncio.gather(*[p.http.post(f"/v1/assistants/{r['id']}/cancel") for p, r in zip(both, runs, strict=True)])
