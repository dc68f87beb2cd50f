"""The effect ledger: what makes every effect happen once although activities run at least once.

Each capability's database has one table `ledger`. An effect and its row are committed in one transaction; the row's key
is `workflow id / step id`, which stays the same over retries, worker crashes, resets and continue-as-new. A second
attempt, later or at the same time, finds the row and returns the recorded result.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel
from sqlalchemy import Column, DateTime, MetaData, String, Table, Text, insert, select
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

        A cancelled attempt waits for its transaction: whoever cancelled is told what really happened.

        Raises:
            Conflict: The same step already ran with other arguments.
            ServiceUnavailable: The database does not answer; nothing happened.
        """
        work = asyncio.ensure_future(self._once(arguments, result_type, effect))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            return await work

    async def _once(
        self, arguments: BaseModel, result_type: type[Result], effect: Callable[[AsyncSession], Awaitable[Result]]
    ) -> Result:
        key = effect_key()
        args_hash = hashlib.sha256(arguments.model_dump_json().encode()).hexdigest()
        try:
            async with self._store.write() as session:
                if recorded := await self._recorded(session, key, args_hash, result_type):
                    return recorded
                result = await effect(session)
                await session.flush()
                await self._record(session, key, args_hash, result)
        except _DoneMeanwhile:
            return await self._once(arguments, result_type, effect)
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

    async def _record(self, session: AsyncSession, key: str, args_hash: str, result: BaseModel) -> None:
        """Insert the row. Where a concurrent attempt was first, the key refuses and our whole transaction is undone."""
        values = {
            "key": key,
            "tool": activity.info().activity_type,
            "args_hash": args_hash,
            "result": result.model_dump_json(by_alias=True),
            "recorded_at": datetime.now(UTC),
        }
        connection = await session.connection()
        try:
            await connection.execute(insert(LEDGER).values(values))
        except IntegrityError as error:
            raise _DoneMeanwhile from error


class _DoneMeanwhile(Exception):
    """A concurrent attempt committed the same key between our look and our record."""
