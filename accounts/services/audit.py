"""Audit events: who connected what, what was refused. They hold no secret and no content."""

from __future__ import annotations

import logging

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from accounts.services.clock import now
from accounts.storage.tables import Account, Event
from retinue.accounts.wire import AuditEvent, AuditEvents, EventKind
from retinue.store import Store
from retinue.tenancy import organisation

MOST_EVENTS = 200
_MOST_DENIED = 60
"""Refused requests that are recorded per minute; more are only logged, so that no caller fills the database."""
_LONGEST = 300
_log = logging.getLogger("retinue.accounts")


def record(session: AsyncSession, kind: EventKind, account: Account, detail: str = "") -> None:
    """Record an event of an account in the caller's transaction."""
    session.add(
        Event(
            at=now(),
            kind=kind,
            organisation=account.organisation,
            person=account.person,
            account_id=account.account_id,
            name=account.name,
            provider_id=account.provider_id,
            detail=detail[:_LONGEST],
        )
    )


def record_of_person(
    session: AsyncSession, kind: EventKind, person: str, detail: str, *, provider_id: str = ""
) -> None:
    """Record an event without an account in the caller's transaction; an empty person is unknown."""
    session.add(
        Event(
            at=now(),
            kind=kind,
            organisation=organisation(person),
            person=person,
            account_id="",
            name="",
            provider_id=provider_id,
            detail=detail[:_LONGEST],
        )
    )


class Refusals:
    """Records refused requests, a bounded number per minute."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._minute = 0
        self._recorded = 0

    async def record(self, person: str, detail: str, *, provider_id: str = "") -> None:
        """Record that something was refused; an empty person is unknown."""
        _log.warning("refused: %s", detail)
        minute = int(now().timestamp() // 60)
        if minute != self._minute:
            self._minute, self._recorded = minute, 0
        self._recorded += 1
        if self._recorded > _MOST_DENIED:
            return
        async with self._store.write() as session:
            record_of_person(session, EventKind.DENIED, person, detail, provider_id=provider_id)


async def events_of_person(store: Store, person: str, *, before: int | None, limit: int) -> AuditEvents:
    """Return the events about a person's accounts, newest first."""
    return await _events(store, col(Event.person) == person, before, limit)


async def events_of_organisation(store: Store, name: str, *, before: int | None, limit: int) -> AuditEvents:
    """Return the events about an organisation's accounts, newest first."""
    return await _events(store, col(Event.organisation) == name, before, limit)


async def _events(store: Store, condition: object, before: int | None, limit: int) -> AuditEvents:
    limit = max(1, min(limit, MOST_EVENTS))
    query = select(Event).where(condition).order_by(col(Event.id).desc()).limit(limit + 1)  # type: ignore[arg-type]  # a column's comparison
    if before is not None:
        query = query.where(col(Event.id) < before)
    async with store.read() as session:
        found = list((await session.exec(query)).all())
    shown = [
        AuditEvent.model_validate(event.model_dump(exclude={"organisation"}) | {"id": event.id})
        for event in found[:limit]
    ]
    return AuditEvents(events=shown, next_before=shown[-1].id if len(found) > limit else None)
