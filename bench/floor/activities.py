"""The bare activities: two requests to the model, two reads and one committed insert in SQLite files.

The stores are SQLAlchemy on aiosqlite with the product's pragmas; what is missing against the product is on purpose: an
effect that happens twice when its reply is lost, no checks of arguments beyond their types, no heartbeats.
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from temporalio import activity

from bench import seeds
from bench.floor.messages import Contact, Event, Facts, Job, NewEvent, Window

_PLAN = "You plan for a personal assistant: find the person, list the events of the day, enter the meeting. Write JSON."
_ANSWER = "You write the final answer of a personal assistant, short and plain, from the JSON that follows."
_JOB_FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "job", "schema": Job.model_json_schema()}}


class ModelActivities:
    """What the model does."""

    def __init__(self) -> None:
        self._client = AsyncOpenAI(
            api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"], timeout=30, max_retries=0
        )

    @activity.defn(name="floor.plan")
    async def plan(self, message: str) -> Job:
        """Ask what to do."""
        return Job.model_validate_json(await self._ask(_PLAN, message, response_format=_JOB_FORMAT))

    @activity.defn(name="floor.answer")
    async def answer(self, facts: Facts) -> str:
        """Write the answer."""
        return await self._ask(_ANSWER, facts.model_dump_json())

    async def _ask(self, instruction: str, content: str, **extra: Any) -> str:
        completion = await self._client.chat.completions.create(
            model="bench",
            messages=[{"role": "system", "content": instruction}, {"role": "user", "content": content}],
            **extra,
        )
        return completion.choices[0].message.content or ""


class Base(DeclarativeBase):
    """Base of the tables."""


class ContactRow(Base):
    """One person."""

    __tablename__ = "contact"

    contact_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]


class EventRow(Base):
    """One event; times are UTC."""

    __tablename__ = "event"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    starts_at: Mapped[datetime] = mapped_column(index=True)
    ends_at: Mapped[datetime]

    def as_event(self) -> Event:
        """The event as the workflow sees it."""
        start, end = self.starts_at.replace(tzinfo=UTC), self.ends_at.replace(tzinfo=UTC)
        return Event(event_id=self.event_id, title=self.title, start=start, end=end)


class ToolActivities:
    """What the three tools do, on one file."""

    def __init__(self, database: Path) -> None:
        self._engine = _engine(database)
        self._session = async_sessionmaker(self._engine, expire_on_commit=False)

    @activity.defn(name="floor.find_contact")
    async def find_contact(self, name: str) -> Contact:
        """Find one person by name."""
        async with self._session() as session:
            row = (await session.scalars(select(ContactRow).where(ContactRow.name.contains(name)))).one()
        return Contact(contact_id=row.contact_id, name=row.name, email=row.email)

    @activity.defn(name="floor.list_events")
    async def list_events(self, window: Window) -> list[Event]:
        """List the events of a window, earliest first."""
        start, end = _naive(window.start), _naive(window.end)
        overlapping = select(EventRow).where(EventRow.starts_at < end, EventRow.ends_at > start)
        async with self._session() as session:
            return [row.as_event() for row in await session.scalars(overlapping.order_by(EventRow.starts_at))]

    @activity.defn(name="floor.create_event")
    async def create_event(self, new: NewEvent) -> Event:
        """Enter one event, in one transaction."""
        row = _row(new.title, new.start, new.end)
        async with self._session.begin() as session:
            session.add(row)
        return row.as_event()


async def seed(database: Path) -> None:
    """Make the tables and fill in what stands there before the first run."""
    engine = _engine(database)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with async_sessionmaker(engine).begin() as session:
        session.add_all(ContactRow(contact_id=uuid.uuid4().hex, name=name, email=email) for name, email in seeds.PEOPLE)
        session.add_all(_row(*entry) for entry in seeds.EVENTS)
    await engine.dispose()


def _engine(database: Path) -> AsyncEngine:
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
    event.listen(engine.sync_engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _row(title: str, start: datetime, end: datetime) -> EventRow:
    return EventRow(event_id=uuid.uuid4().hex, title=title, starts_at=_naive(start), ends_at=_naive(end))


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
