"""A kept decision in the API's database: whoever can write there decides nothing, and one that was kept counts once."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, update
from temporalio.client import Client

from api.services.pending_decisions import PendingDecisions, deliver_for_ever
from api.storage.idempotency import IdempotencyKeys
from api.storage.tables import PENDING_DECISIONS
from retinue.errors import Conflict
from retinue.testing import plan_answer
from tests.conftest import Stack, View, pending
from tests.security.backdoor.conftest import Fresh, Keys, asking
from tests.security.backdoor.installation import Installation
from tests.test_main_job import mail, sent_mails
from workflows.messages import Decide, DecisionKind, RecordedDecision

pytestmark = pytest.mark.xdist_group("backdoor")


@dataclass
class Outbox:
    """A table of kept decisions, and the client of the front door that it belongs to."""

    client: Client
    keys: IdempotencyKeys

    def __post_init__(self) -> None:
        self.pending = PendingDecisions(self.keys.store)

    async def keep(self, decide: Decide, assistant_id: str) -> str:
        update_id = str(uuid.uuid4())
        await self.pending.keep(self.client, assistant_id, decide, update_id=update_id)
        return update_id

    async def change(self, update_id: str, **values: object) -> None:
        changed = update(PENDING_DECISIONS).where(PENDING_DECISIONS.c.id == update_id).values(**values)
        async with self.keys.store.write() as session:
            await (await session.connection()).execute(changed)

    async def payload(self, update_id: str) -> bytes:
        query = select(PENDING_DECISIONS.c.payload).where(PENDING_DECISIONS.c.id == update_id)
        async with self.keys.store.read() as session:
            return bytes((await (await session.connection()).execute(query)).scalar_one())

    async def delivered(self, assistant_id: str, *, processes: int = 1) -> list[RecordedDecision]:
        """What is left of a run's decisions, when so many processes have delivered them."""
        tasks = [asyncio.create_task(deliver_for_ever(self.pending, self.client, nothing)) for _ in range(processes)]
        try:
            for _ in range(200):
                left = [one for _, one in await self.pending.of(assistant_id)]
                if not [one for one in left if one.state == "waiting"]:
                    return left
                await asyncio.sleep(0.1)
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        raise AssertionError(f"not delivered: {left}")


async def nothing() -> None:
    """Be connected."""


@pytest.fixture
async def outbox(installation: Installation, house: Stack, keys: Keys, tmp_path: Path) -> AsyncIterator[Outbox]:
    table = IdempotencyKeys(f"sqlite+aiosqlite:///{tmp_path}/api.db")
    await table.open()
    yield Outbox(await installation.client(RETINUE_DECISIONS="proved", RETINUE_DECISION_KEYS=keys.new), table)
    await table.close()


def decision(view: View, kind: DecisionKind = DecisionKind.APPROVE, **more: object) -> Decide:
    approval = pending(view)[0]
    said = {"approval_id": approval["id"], "decision": kind, "args_hash": approval["args_hash"], "by": "local"}
    return Decide.model_validate(said | more)


async def test_four_processes_deliver_it_once(outbox: Outbox, house: Stack, fresh: Fresh) -> None:
    view = await asking(house, fresh("Mail team@example.com"))
    await outbox.keep(decision(view), view["id"])
    assert await outbox.delivered(view["id"], processes=4) == []
    done = await house.ended(view["id"])
    assert done["approvals"][0]["decided_by"] == "local"
    assert len(sent_mails(house, view["id"])) == 1


async def test_what_was_delivered_before_a_crash_is_not_told_as_refused(
    outbox: Outbox, house: Stack, fresh: Fresh
) -> None:
    """The process had no time to note it: the same id is the same update."""
    view = await asking(house, fresh("Mail team@example.com"))
    update_id = await outbox.keep(decision(view), view["id"])
    await outbox.client.get_workflow_handle(view["id"]).execute_update("decide", decision(view), id=update_id)
    assert await outbox.delivered(view["id"]) == []


async def test_nonsense_in_a_row_decides_nothing_and_stops_nothing(outbox: Outbox, house: Stack, fresh: Fresh) -> None:
    asked, other = [await asking(house, fresh("Mail team@example.com")) for _ in range(2)]
    await outbox.change(await outbox.keep(decision(asked), asked["id"]), payload=b"\xff\x00nonsense")
    await outbox.keep(decision(other), other["id"])
    [left] = await outbox.delivered(asked["id"])
    assert left.detail == "it was changed in the database; decide again"
    assert await outbox.delivered(other["id"]) == []


async def test_another_persons_words_in_a_row_decide_nothing(outbox: Outbox, house: Stack, fresh: Fresh) -> None:
    rejected, asked = [await asking(house, fresh("Mail team@example.com")) for _ in range(2)]
    yes = await outbox.keep(decision(rejected), rejected["id"])
    no = await outbox.keep(decision(asked, DecisionKind.REJECT), asked["id"])
    await outbox.change(no, payload=await outbox.payload(yes), mac="")
    [left] = await outbox.delivered(asked["id"])
    assert (left.state, left.detail) == ("refused", "it was changed in the database; decide again")
    assert len(pending(await house.view(asked["id"]))) == 1


async def test_what_does_not_fit_any_more_is_refused_in_words(outbox: Outbox, house: Stack, fresh: Fresh) -> None:
    """Another decision was heard before; the run goes on asking about its second mail."""
    message = fresh("Mail team@example.com twice")
    house.model.script(message, plan_answer([mail("s1"), mail("s2", to="other@example.com")]))
    view = await house.asked((await house.start(message))["id"], count=2)
    await outbox.keep(decision(view), view["id"])
    assert (await house.decide(view, "reject")).status_code == 200
    [left] = await outbox.delivered(view["id"])
    assert left.state == "refused"
    assert "already rejected by local" in (left.detail or "")


async def test_a_run_that_has_ended_is_named(outbox: Outbox, house: Stack, fresh: Fresh) -> None:
    view = await asking(house, fresh("Mail team@example.com"))
    await outbox.keep(decision(view), view["id"])
    await house.temporal.get_workflow_handle(view["id"]).terminate()
    [left] = await outbox.delivered(view["id"])
    assert left.detail == "the assistant had already ended; nothing was changed"


async def test_one_person_keeps_one_decision_about_one_thing(outbox: Outbox, house: Stack, waiting: View) -> None:
    yes, no = decision(waiting), decision(waiting, DecisionKind.REJECT)
    await outbox.keep(yes, waiting["id"])
    await outbox.keep(yes, waiting["id"])
    assert len(await outbox.pending.of(waiting["id"])) == 1
    assert await outbox.pending.is_pending(outbox.client, waiting["id"], yes)
    with pytest.raises(Conflict, match="you have decided"):
        await outbox.pending.is_pending(outbox.client, waiting["id"], no)
