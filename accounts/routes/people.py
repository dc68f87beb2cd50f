"""People's side: what the front door asks for a person that it has authenticated."""

from __future__ import annotations

from fastapi import APIRouter, Query

from accounts.deps import Held, TheirRoles, ThePerson
from accounts.services import audit
from retinue.accounts.people import Nothing
from retinue.accounts.wire import (
    AccountInfo,
    AccountList,
    AuditEvents,
    BeginDevice,
    BeginOAuth,
    ChangeAccount,
    Connected,
    ConnectPassword,
    DeviceBegun,
    DevicePolled,
    Discover,
    Discovered,
    FinishOAuth,
    OAuthBegun,
    PollDevice,
    ProviderList,
    Tested,
)

router = APIRouter(prefix="/people")


@router.get("/accounts")
async def list_accounts(held: Held, person: ThePerson) -> AccountList:
    """Return the person's accounts."""
    return await held.book.list(person)


@router.post("/accounts")
async def connect(held: Held, person: ThePerson, roles: TheirRoles, body: ConnectPassword) -> Connected:
    """Connect an account by an app password."""
    return await held.book.connect(person, roles, body)


@router.post("/discover")
async def discover(held: Held, _: ThePerson, body: Discover) -> Discovered:
    """Look for the servers of an address."""
    return await held.book.discover(body)


@router.get("/accounts/{account_id}")
async def get_account(held: Held, person: ThePerson, account_id: str) -> AccountInfo:
    """Return one account."""
    return await held.book.get(person, account_id)


@router.patch("/accounts/{account_id}")
async def change(held: Held, person: ThePerson, account_id: str, body: ChangeAccount) -> AccountInfo:
    """Rename an account, or say what it is used for."""
    return await held.book.change(person, account_id, body)


@router.delete("/accounts/{account_id}")
async def revoke(held: Held, person: ThePerson, account_id: str) -> Nothing:
    """Withdraw the consent and delete the account."""
    await held.book.revoke(person, account_id)
    return Nothing()


@router.post("/accounts/{account_id}/test")
async def test(held: Held, person: ThePerson, account_id: str) -> Tested:
    """Try whether an account works now."""
    return await held.book.test(person, account_id)


@router.post("/oauth/begin")
async def begin_oauth(held: Held, person: ThePerson, roles: TheirRoles, body: BeginOAuth) -> OAuthBegun:
    """Begin a consent."""
    return await held.consents.begin(person, roles, body)


@router.post("/oauth/finish")
async def finish_oauth(held: Held, person: ThePerson, roles: TheirRoles, body: FinishOAuth) -> Connected:
    """Finish a consent."""
    return await held.consents.finish(person, roles, body)


@router.post("/oauth/device")
async def begin_device(held: Held, person: ThePerson, roles: TheirRoles, body: BeginDevice) -> DeviceBegun:
    """Begin a consent that is given on another device."""
    return await held.consents.begin_device(person, roles, body)


@router.post("/oauth/device/poll")
async def poll_device(held: Held, person: ThePerson, roles: TheirRoles, body: PollDevice) -> DevicePolled:
    """Ask whether the person has agreed."""
    return await held.consents.poll_device(person, roles, body)


@router.get("/providers")
async def providers(held: Held, person: ThePerson) -> ProviderList:
    """Return all ways to connect an account."""
    return await held.book.providers(person)


@router.get("/events")
async def events(
    held: Held, person: ThePerson, before: int | None = None, limit: int = Query(50, ge=1, le=audit.MOST_EVENTS)
) -> AuditEvents:
    """Return events about the person's accounts."""
    return await audit.events_of_person(held.store, person, before=before, limit=limit)
