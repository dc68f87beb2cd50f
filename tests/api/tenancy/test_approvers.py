"""Who may decide: people of the run's own organisation, whatever a policy names and whoever asks Temporal directly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from retinue.tenancy import folder_of
from retinue.testing import plan_answer
from tests.api.conftest import eventually
from tests.api.tenancy.conftest import As
from tests.conftest import Stack, View, pending, steps
from tests.test_main_job import forecast, mail, sent_mails

Fresh = Callable[[str], str]
Organisations = Callable[[str], str]


async def asked(person: Stack, message: str, policy: str) -> View:
    """A run of theirs that waits for consent to a mail."""
    person.model.script(message, plan_answer([mail("s1")]))
    return await person.asked((await person.start(message, policy=policy))["id"])


async def inbox(person: Stack) -> list[str]:
    """The runs in somebody's inbox, readable or not."""
    found = (await person.http.get("/v1/approvals")).json()
    return [*(item["assistant_id"] for item in found["approvals"]), *found["unreadable"]]


async def refusals(person: Stack, view: View) -> list[int]:
    """What somebody is answered who looks at a run and decides in it, alone and in a batch."""
    [approval] = pending(view)
    decision = {"decision": "approve", "args_hash": approval["args_hash"]}
    batch = [{**decision, "assistant_id": view["id"], "approval_id": approval["id"]}]
    outcomes = (await person.http.post("/v1/approvals", json={"decisions": batch})).json()["outcomes"]
    return [
        (await person.http.get(f"/v1/assistants/{view['id']}")).status_code,
        (await person.decide(view)).status_code,
        *(outcome["status"] for outcome in outcomes),
    ]


async def test_a_name_in_a_policy_is_a_person_of_the_runs_own_organisation(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    acme, umbrella = organisations("acme"), organisations("umbrella")
    view = await asked(people("anna", acme), fresh("Mail team@example.com"), "ben")
    assert pending(view)[0]["by"] == [f"{acme}:ben"]
    ben = people("ben", acme)
    await eventually(lambda: inbox(ben), lambda found: found == [view["id"]])
    for stranger in (people("ben", umbrella), people("ben"), people("Ben", acme)):
        assert view["id"] not in await inbox(stranger)
        assert await refusals(stranger, view) == [404, 404, 404]
    assert (await people("anna", acme).decide(view)).status_code == 403
    assert (await ben.decide(view)).status_code == 200
    done = await ben.ended(view["id"])
    assert done["approvals"][0]["decided_by"] == f"{acme}:ben"
    data = ben.data / "organisations" / folder_of(acme)
    assert len(sent_mails(dataclasses.replace(ben, data=data), view["id"])) == 1


@pytest.mark.parametrize("home", ["acme", ""])
async def test_anybody_means_anybody_of_the_organisation(
    people: As, fresh: Fresh, organisations: Organisations, home: str
) -> None:
    ours = home and organisations(home)
    view = await asked(people("anna", ours), fresh("Mail team@example.com"), "anybody")
    zoe = people("zoe", ours)
    await eventually(lambda: inbox(zoe), lambda found: view["id"] in found)
    for stranger in (people("zoe", organisations("umbrella")), people("zoe", "" if home else organisations("acme"))):
        assert view["id"] not in await inbox(stranger)
        assert await refusals(stranger, view) == [404, 404, 404]
    assert (await zoe.decide(view)).status_code == 200
    await zoe.ended(view["id"])


async def test_a_policy_cannot_hand_a_decision_to_another_organisation(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    """Nor does that leave it to whoever asked: nobody can decide, and the person can only cancel."""
    anna, ben = people("anna", organisations("acme")), people("ben", "umbrella")
    view = await asked(anna, fresh("Mail team@example.com"), "elsewhere")
    assert await refusals(ben, view) == [404, 404, 404]
    assert (await anna.decide(view)).status_code == 403
    at_home = await asked(people("anna"), fresh("Another mail to team@example.com"), "elsewhere")
    assert await refusals(ben, at_home) == [404, 404, 404]
    assert at_home["id"] not in await inbox(ben)
    for person, run in ((anna, view), (people("anna"), at_home)):
        assert (await person.http.post(f"/v1/assistants/{run['id']}/cancel")).status_code == 202


async def test_whoever_is_asked_later_is_of_the_same_organisation(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    acme = organisations("acme")
    anna = people("anna", acme)
    view = await asked(anna, fresh("Mail team@example.com"), "escalates")
    view = await anna.until(view["id"], lambda seen: bool(pending(seen)[0]["escalated_at"]))
    assert pending(view)[0]["by"] == [f"{acme}:anna", f"{acme}:ben"]
    assert await refusals(people("ben", organisations("umbrella")), view) == [404, 404, 404]
    assert (await people("ben", acme).decide(view, "reject")).status_code == 200


@pytest.mark.parametrize(
    ("policy", "by"),
    [
        ("anybody", "umbrella:ben"),
        ("two", "ben"),
        ("ben", "ben"),
        ("ben", "umbrella:ben"),
        ("two", "signal"),
        ("anybody", "*"),
    ],
)
async def test_the_run_itself_refuses_people_of_other_organisations(
    people: As, fresh: Fresh, organisations: Organisations, policy: str, by: str
) -> None:
    """Whatever the front door believes: the update is sent to Temporal itself here."""
    anna = people("anna", organisations("acme"))
    view = await asked(anna, fresh(f"Mail team@example.com, {by}"), policy)
    [approval] = pending(view)
    decision = {"approval_id": approval["id"], "decision": "approve", "args_hash": approval["args_hash"], "by": by}
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await anna.temporal.get_workflow_handle(view["id"]).execute_update("decide", decision)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "NotAllowed"
    await anna.http.post(f"/v1/assistants/{view['id']}/cancel")


@pytest.mark.parametrize(
    ("policy", "tenant", "becomes"),
    [
        ("anna-never", "", "rejected"),
        ("anna-never", "acme", "rejected"),
        ("anna-always", "", "completed"),
        ("anna-always", "acme", "awaiting_approval"),
    ],
)
async def test_a_rule_about_a_name_forbids_in_every_organisation_and_allows_in_none(
    people: As, fresh: Fresh, organisations: Organisations, policy: str, tenant: str, becomes: str
) -> None:
    anna, message = people("anna", tenant and organisations(tenant)), fresh(f"Weather for {tenant} by {policy}")
    anna.model.script(message, plan_answer([forecast()]), plan_answer())
    view = await anna.until(
        (await anna.start(message, policy=policy))["id"],
        lambda seen: bool(seen["plan"]) and steps(seen)["s1"]["status"] == becomes,
    )
    await anna.http.post(f"/v1/assistants/{view['id']}/cancel")
