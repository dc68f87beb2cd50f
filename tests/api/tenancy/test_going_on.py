"""Whoever may read a colleague's run goes on from nothing there: what was said would count as their own words."""

from __future__ import annotations

from collections.abc import Callable

from api.auth.principals import Role
from retinue.testing import plan_answer
from tests.api.conftest import Fresh
from tests.api.rights.test_origins import newest
from tests.api.tenancy.conftest import As


async def test_nobody_goes_on_from_a_colleagues_answer(
    people: As, organisations: Callable[[str], str], fresh: Fresh
) -> None:
    house = organisations("house")
    asker, auditor = people("ana", house), people("eve", house, frozenset({Role.OWNER, Role.AUDITOR}))
    first = fresh("Remember ana@example.com")
    asker.model.script(first, plan_answer([], reply="I will."))
    said = {"model": "retinue", "input": first, "metadata": {"wait_seconds": 20}}
    answer = (await asker.http.post("/v1/responses", json=said)).json()
    chat = await newest(asker, first)
    await asker.http.post(f"/v1/assistants/{chat}/cancel")
    await asker.ended(chat)
    assert (await auditor.http.get(f"/v1/assistants/{chat}")).status_code == 200
    more = {"model": "retinue", "input": "Write to her", "background": True, "previous_response_id": answer["id"]}
    refused = await auditor.http.post("/v1/responses", json=more)
    assert refused.status_code == 404, refused.text
