"""What is remembered belongs to one person of one organisation."""

from __future__ import annotations

from collections.abc import Callable

from retinue.testing import plan_answer
from tests.api.tenancy.conftest import As
from tests.conftest import Stack, View, steps

Fresh = Callable[[str], str]
Organisations = Callable[[str], str]


async def remembered(person: Stack, message: str, text: str) -> None:
    """A run of theirs in which they say something of themselves."""
    plan = [{"id": "s1", "tool": "memory.remember", "args": {"text": text, "kind": "home_place"}}]
    person.model.script(message, plan_answer(plan))
    view = await person.ended((await person.start(message))["id"])
    assert (steps(view)["s1"]["status"], view["approvals"]) == ("completed", [])


async def asked(person: Stack, message: str) -> View:
    """A run of theirs that lists what is remembered."""
    person.model.script(message, plan_answer([{"id": "s1", "tool": "memory.list", "args": {}}]))
    return await person.ended((await person.start(message))["id"])


async def test_people_and_organisations_see_nothing_of_each_other(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    acme, umbrella = organisations("acme"), organisations("umbrella")
    everybody = [people("anna", acme), people("ben", acme), people("anna", umbrella), people("anna")]
    for person, place in zip(everybody, ("Lisbon", "Porto", "Faro", "Braga"), strict=True):
        await remembered(person, fresh(f"I live in {place}"), place)
    for person, place in zip(everybody, ("Lisbon", "Porto", "Faro", "Braga"), strict=True):
        view = await asked(person, fresh("What do you know?"))
        assert [fact["text"] for fact in steps(view)["s1"]["result"]["facts"]] == [place]
        assert [fact["text"] for fact in view["facts"]] == [place]
        assert [fact["text"] for fact in (await person.http.get("/v1/memory")).json()["facts"]] == [place]


async def test_who_approves_a_run_sees_nothing_of_what_is_remembered_of_its_owner(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    acme = organisations("acme")
    anna, ben = people("anna", acme), people("ben", acme)
    await remembered(anna, fresh("I live in Lisbon"), "Lisbon")
    message = fresh("Mail them")
    mail = {"to": ["team@example.com"], "subject": "x", "body": "y"}
    anna.model.script(message, plan_answer([{"id": "s1", "tool": "email.send", "args": mail}]))
    view = await anna.asked((await anna.start(message, policy="ben"))["id"])
    assert [fact["text"] for fact in view["facts"]] == ["Lisbon"]
    assert (await ben.view(view["id"]))["facts"] == []
    receipt = (await ben.http.get(f"/v1/assistants/{view['id']}/receipt")).json()
    assert receipt["remembered"] == []
    await ben.decide(await ben.view(view["id"]), "reject")
    await anna.ended(view["id"])


async def test_another_s_fact_is_neither_corrected_nor_forgotten(
    people: As, fresh: Fresh, organisations: Organisations
) -> None:
    acme = organisations("acme")
    anna, ben = people("anna", acme), people("ben", acme)
    fact_id = (await anna.http.post("/v1/memory", json={"text": "tea"})).json()["fact_id"]
    for answer in (
        await ben.http.put(f"/v1/memory/facts/{fact_id}", json={"text": "coffee"}),
        await ben.http.delete(f"/v1/memory/facts/{fact_id}"),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (404, "nothing of that id is remembered")
    assert (await ben.http.delete("/v1/memory")).json()["forgotten"] == 0
    assert [fact["text"] for fact in (await anna.http.get("/v1/memory")).json()["facts"]] == ["tea"]
