"""Administrators: who is connected, what is allowed, what happened; never content. The front door checks who they are."""

from __future__ import annotations

from fastapi import APIRouter, Query

from accounts.deps import Held, TheOrganisation, ThePerson
from accounts.services import audit
from retinue.accounts.wire import AuditEvents, ConnectionList, OrganisationRules
from retinue.errors import NotAllowed
from retinue.tenancy import organisation as organisation_of

router = APIRouter(prefix="/admin")


@router.get("/connections")
async def connections(held: Held, organisation: TheOrganisation, after: str = "") -> ConnectionList:
    """Return who is connected to what."""
    return await held.rules.connections(organisation, after=after)


@router.get("/rules")
async def rules(held: Held, organisation: TheOrganisation) -> OrganisationRules:
    """Return the organisation's rules."""
    return await held.rules.of(organisation)


@router.put("/rules")
async def set_rules(
    held: Held, organisation: TheOrganisation, person: ThePerson, body: OrganisationRules
) -> OrganisationRules:
    """Replace the organisation's rules."""
    if organisation_of(person) != organisation:
        raise NotAllowed("only people of an organisation set its rules")
    return await held.rules.set(organisation, body, by=person)


@router.get("/events")
async def events(
    held: Held,
    organisation: TheOrganisation,
    before: int | None = None,
    limit: int = Query(50, ge=1, le=audit.MOST_EVENTS),
) -> AuditEvents:
    """Return events about all accounts of the organisation."""
    return await audit.events_of_organisation(held.store, organisation, before=before, limit=limit)
