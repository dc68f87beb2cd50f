"""Proofs hold for minutes: what happens where clocks differ, or where a run is refused after it was acknowledged."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import httpx
import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from api.services import runs
from retinue.capability import WORKFLOW_QUEUE
from retinue.temporal import proofs
from retinue.temporal.keyring import new_key
from retinue.temporal.search_keys import OWNER
from retinue.testing import plan_answer
from tests.conftest import Stack, View
from tests.security.backdoor.conftest import Fresh
from tests.security.backdoor.installation import Installation
from workflows.messages import StartAssistant

pytestmark = pytest.mark.xdist_group("backdoor")
RIGHT = timedelta()


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Moves the clock of the front door; workers and the Temporal server keep theirs."""

    def by(amount: timedelta) -> None:
        monkeypatch.setattr(proofs, "clock", lambda: datetime.now().astimezone() + amount)
        monkeypatch.setattr(runs, "clock", proofs.clock)
        monkeypatch.setattr("api.services.clocks.clock", proofs.clock)

    return by


async def ask(http: httpx.AsyncClient, message: str, key: str) -> httpx.Response:
    return await http.post("/v1/assistants", json={"message": message}, headers={"Idempotency-Key": key})


async def started(house: Stack, message: str) -> int:
    """How many runs with this message there are."""
    listed = (await house.http.get("/v1/assistants", params={"limit": 100})).json()["assistants"]
    return sum(run["message"] == message for run in listed)


async def test_a_request_is_refused_at_the_door_whose_clock_is_behind(
    house: Stack, fresh: Fresh, shift: Callable[[timedelta], None]
) -> None:
    """And works with the same key when the clock is right."""
    message, key = fresh("Hello"), uuid.uuid4().hex
    house.model.script(message, plan_answer(reply="Hello!"))
    shift(timedelta(minutes=-5))
    refused = await ask(house.http, message, key)
    ready = await house.http.get("/readyz")
    assert (refused.status_code, await started(house, message)) == (503, 0), refused.text
    assert "minutes behind Temporal's" in refused.json()["detail"]
    assert ready.status_code == 503
    assert "minutes behind Temporal's" in ready.json()["waiting_for"][0]
    shift(RIGHT)
    assert (await house.http.get("/readyz")).status_code == 200
    answer = await ask(house.http, message, key)
    assert answer.status_code == 202, answer.text
    assert (await house.ended(answer.json()["id"]))["reply"] == "Hello!"


@pytest.mark.parametrize(("minutes", "words"), [(-3, "3 minutes behind"), (3, "3 minutes ahead of")])
async def test_a_run_whose_proof_does_not_hold_is_not_acknowledged_and_stays_readable(
    house: Stack,
    fresh: Fresh,
    shift: Callable[[timedelta], None],
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
    words: str,
) -> None:
    """As where no worker has polled lately, so that nobody could know before that the clock is wrong."""
    monkeypatch.setattr(runs, "check_clocks", nothing)
    message, key = fresh("Hello"), uuid.uuid4().hex
    shift(timedelta(minutes=minutes))
    refused = await ask(house.http, message, key)
    assert refused.status_code == 503, refused.text
    assert words in refused.json()["detail"]
    shift(RIGHT)
    again = await ask(house.http, message, key)
    view = await house.ended(again.json()["id"])
    assert (view["status"], view["error"]["type"], view["message"]) == ("failed", "NotProved", message)


async def nothing(_client: Client) -> None:
    """Know nothing of clocks."""


async def test_a_run_that_was_acknowledged_and_refused_in_its_first_task_is_readable_everywhere(
    house: Stack, fresh: Fresh, installation: Installation
) -> None:
    """The front door has got a new key, and the workflow workers have not."""
    message, key = fresh("Hello"), uuid.uuid4().hex
    other = await installation.client(RETINUE_DECISIONS="proved", RETINUE_DECISION_KEYS=new_key())
    async with installation.front(other) as http:
        first = await ask(http, message, key)
        assistant_id = first.json()["id"]
        view = await house.ended(assistant_id)
        again = await ask(http, message, key)
        events = await http.get(f"/v1/assistants/{assistant_id}/events")
    assert (first.status_code, first.json()["status"]) == (202, "planning")
    assert (view["status"], view["error"]["type"]) == ("failed", "NotProved")
    assert "a key that this workflow worker does not have" in view["error"]["message"]
    assert (again.status_code, again.json()["status"], again.json()["id"]) == (202, "failed", assistant_id)
    assert "does not have" in again.json()["error"]["message"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "does not have" in events.text


async def test_a_run_whose_start_nobody_can_read_is_shown(house: Stack, fresh: Fresh) -> None:
    """It goes on by itself when a version that can read it is there."""
    assistant_id = f"a-{uuid.uuid4().hex}"
    await begin(house, assistant_id, "no such input")
    view: View = await house.until(assistant_id, lambda view: bool(view["notices"]))
    await house.temporal.get_workflow_handle(assistant_id).terminate()
    ended = await house.view(assistant_id)
    assert view["status"] == "awaiting_worker"
    assert ended["status"] == "failed"


async def test_a_run_that_a_stranger_started_is_shown_as_refused(house: Stack, fresh: Fresh) -> None:
    assistant_id = f"a-{uuid.uuid4().hex}"
    await begin(house, assistant_id, StartAssistant(message=fresh("Hello"), timezone="UTC", owner="local"))
    view = await house.ended(assistant_id)
    assert (view["status"], view["error"]["type"]) == ("failed", "NotProved")
    assert "it carries no proof" in view["error"]["message"]


async def begin(house: Stack, assistant_id: str, given: object) -> None:
    own = TypedSearchAttributes([SearchAttributePair(OWNER, "local")])
    await house.temporal.start_workflow(
        "AssistantWorkflow",
        given,
        id=assistant_id,
        task_queue=WORKFLOW_QUEUE,
        search_attributes=own,
        memo={"message": "Hi"},
    )
