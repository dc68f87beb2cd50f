"""The ledger's answer to cancellation; that it makes effects happen once is shown for each capability and under kills."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

from pydantic import BaseModel
from sqlalchemy import MetaData, text
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio.testing import ActivityEnvironment

from retinue.ledger import Ledger
from retinue.store import Store


class Word(BaseModel):
    word: str


async def test_a_cancelled_effect_tells_what_really_happened(tmp_path: Path) -> None:
    """Cancelled in the middle of its transaction, it finishes it and returns the result, not `cancelled`."""
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/x.db", MetaData(), owner="test")
    await store.open()
    began = asyncio.Event()

    async def effect(session: AsyncSession) -> Word:
        began.set()
        await asyncio.sleep(0.2)
        return Word(word="done")

    async def tool() -> Word:
        return await Ledger(store).once(Word(word="asked"), Word, effect)

    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, workflow_id="w", activity_id="s1")
    running = asyncio.ensure_future(environment.run(tool))
    await began.wait()
    running.cancel()
    assert (await running).word == "done"
    async with store.read() as session:
        rows = await (await session.connection()).execute(text("SELECT key FROM ledger"))
        assert rows.scalars().all() == ["w/s1"]
    await store.close()
