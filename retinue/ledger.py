"""The effect ledger: what makes every effect happen once although activities run at least once.

Each capability's database has one table `ledger`. An effect and its row are committed in one transaction; the row's key
is `workflow id / step id`, which stays the same over retries, worker crashes, resets and continue-as-new. A second
attempt, later or at the same time, finds the row and returns the recorded result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel
from sqlalchemy import Column, DateTime, MetaData, String, Table, Text, insert, select, update
from sqlalchemy.exc import IntegrityError
from temporalio import activity

from retinue import faults
from retinue.errors import Conflict

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from retinue.store import Store

Result = TypeVar("Result", bound=BaseModel)

LEDGER = Table(
    "ledger",
    MetaData(),
    Column("key", String(500), primary_key=True),
    Column("tool", String(100), nullable=False),
    Column("args_hash", String(64), nullable=False),
    Column("result", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
)


def effect_key() -> str:
    """The idempotency key of the running activity: workflow id and step id (the activity's id).

    An activity that runs without a workflow has an id that is unique by itself.
    """
    info = activity.info()
    return f"{info.workflow_id or 'standalone'}/{info.activity_id}"


class Ledger:
    """Runs effects once. One per store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def once(
        self, arguments: BaseModel, result_type: type[Result], effect: Callable[[AsyncSession], Awaitable[Result]]
    ) -> Result:
        """Run `effect` in one transaction with its ledger row, or return what an earlier attempt recorded.

        `effect` must only touch the session that it is given: whatever it does elsewhere is not undone with it.

        Raises:
            Conflict: The same step already ran with other arguments.
            ServiceUnavailable: The database does not answer; nothing happened.
        """
        key = effect_key()
        args_hash = hashlib.sha256(arguments.model_dump_json().encode()).hexdigest()
        try:
            async with self._store.write() as session:
                if recorded := await self._recorded(session, key, args_hash, result_type):
                    return recorded
                await self._claim(session, key, args_hash)
                result = await effect(session)
                connection = await session.connection()
                await connection.execute(
                    update(LEDGER).where(LEDGER.c.key == key).values(result=result.model_dump_json(by_alias=True))
                )
        except _ClaimedMeanwhile:
            return await self.once(arguments, result_type, effect)
        faults.after_effect(self._store.owner)
        return result

    async def _recorded(
        self, session: AsyncSession, key: str, args_hash: str, result_type: type[Result]
    ) -> Result | None:
        connection = await session.connection()
        row = (await connection.execute(select(LEDGER).where(LEDGER.c.key == key))).one_or_none()
        if row is None:
            return None
        if row.args_hash != args_hash:
            raise Conflict("this step was already done with other arguments; it is not done again")
        return result_type.model_validate_json(row.result)

    async def _claim(self, session: AsyncSession, key: str, args_hash: str) -> None:
        """Insert the row first: where locks are per row, a concurrent attempt waits here and then finds it."""
        values = {
            "key": key,
            "tool": activity.info().activity_type,
            "args_hash": args_hash,
            "result": "",
            "recorded_at": datetime.now(UTC),
        }
        connection = await session.connection()
        try:
            await connection.execute(insert(LEDGER).values(values))
        except IntegrityError as error:
            raise _ClaimedMeanwhile from error


class _ClaimedMeanwhile(Exception):
    """A concurrent attempt committed the same key between our look and our claim."""
