"""Accounts of the caller at services elsewhere, and what an organisation decides about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import RedirectResponse

from api.auth.principals import Permission, Person
from api.deps import AppState, Caller, StateAtRest, needs
from api.errors import PROBLEMS
from api.idempotent_route import IdempotentAnswer, IdempotentRoute
from api.services.accounts import (
    CALLBACK,
    AccountRules,
    AccountsOfPerson,
    BeginConsent,
    BeginDeviceConsent,
    ChangeAccount,
    ConnectAccount,
    ConsentBegun,
    DeviceConsent,
    DeviceConsentState,
    DiscoverServers,
    FinishConsent,
    ShownAccount,
    ShownAccounts,
    TestedAccount,
    administration,
    outcome_of,
    service_of,
)
from retinue.accounts import wire
from retinue.errors import NotAllowed, RetinueError, TooMany

router = APIRouter(prefix="/v1/accounts", tags=["accounts"], responses=PROBLEMS, route_class=IdempotentRoute)
AccountId = Annotated[str, Path(max_length=64)]
Before = Annotated[int | None, Query(ge=1, description="only events before this one, for the next page")]
Limit = Annotated[int, Query(ge=1, le=200)]
_BACK = "/accounts"
"""The console's page."""


@router.get("", summary="List accounts", dependencies=[needs(Permission.READ)])
async def list_accounts(state: StateAtRest, person: Caller) -> ShownAccounts:
    """List your accounts at services elsewhere: whether they work, and what your assistants may do with them."""
    return await _mine(state, person).list()


@router.get("/providers", summary="List providers of accounts", dependencies=[needs(Permission.READ)])
async def list_providers(state: StateAtRest, person: Caller) -> wire.ProviderList:
    """List where you can connect an account, and which of these your organisation allows."""
    return await _mine(state, person).providers()


@router.get("/events", summary="List what happened to accounts", dependencies=[needs(Permission.READ)])
async def list_events(state: StateAtRest, person: Caller, before: Before = None, limit: Limit = 50) -> wire.AuditEvents:
    """List what happened to your accounts, newest first: connected, refused, revoked."""
    return await _mine(state, person).events(before=before, limit=limit)


@router.post("", status_code=201, summary="Connect an account", dependencies=[needs(Permission.DECIDE)])
async def connect_account(
    body: ConnectAccount, state: StateAtRest, person: Caller, once: IdempotentAnswer
) -> ShownAccount:
    """Connect an account by an app password. It is tested first; if its service refuses it, nothing is stored.

    The password is not part of what an Idempotency-Key compares.
    """
    mine = _mine(state, person)
    await once.claim(body)
    return await mine.connect(body)


@router.post("/discover", summary="Find the servers of an address", dependencies=[needs(Permission.ASK)])
async def discover_servers(body: DiscoverServers, state: StateAtRest, person: Caller) -> wire.Discovered:
    """Look for the calendar, contacts and mail servers of an address. No password is needed or sent."""
    return await _mine(state, person).discover(body)


@router.post("/oauth", summary="Begin a consent", dependencies=[needs(Permission.DECIDE)])
async def begin_consent(body: BeginConsent, state: StateAtRest, person: Caller) -> ConsentBegun:
    """Begin to connect an account by consent at its provider: open `authorize_url` in a browser.

    The provider sends the browser back to `/v1/accounts/oauth/callback`, where the same person must be signed in.
    """
    return await _mine(state, person).begin(body, callback=state.settings.public_url() + CALLBACK)


@router.get(
    "/oauth/callback",
    summary="Come back from a provider",
    status_code=303,
    response_class=RedirectResponse,
    dependencies=[needs(Permission.DECIDE)],
)
async def come_back(
    person: Caller,
    house: StateAtRest,
    state: Annotated[str, Query(min_length=1, max_length=200)],
    code: Annotated[str | None, Query(min_length=1, max_length=4000)] = None,
    iss: Annotated[str | None, Query(max_length=500)] = None,
    error: Annotated[str | None, Query(max_length=200)] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> RedirectResponse:
    """Connect the account to which a person has just agreed, and lead their browser to the console.

    It works once, for the person who began, within ten minutes.
    """
    try:
        body = FinishConsent.model_validate({"state": state, "code": code, "iss": iss, "error": error})
        await _mine(house, person).finish(body)
    except RetinueError as problem:
        if "text/html" not in accept:
            raise
        return RedirectResponse(f"{_BACK}?said={outcome_of(problem)}", 303)
    return RedirectResponse(f"{_BACK}?said=connected", 303)


@router.post("/oauth/finish", status_code=201, summary="Finish a consent", dependencies=[needs(Permission.DECIDE)])
async def finish_consent(body: FinishConsent, state: StateAtRest, person: Caller) -> ShownAccount:
    """Connect the account, for a program on the person's machine to which the provider sent the browser."""
    return await _mine(state, person).finish(body)


@router.post("/oauth/device", summary="Begin a consent on another device", dependencies=[needs(Permission.DECIDE)])
async def begin_device_consent(body: BeginDeviceConsent, state: StateAtRest, person: Caller) -> wire.DeviceBegun:
    """Begin a consent that is given on another device: the person opens `verification_uri` there and types `user_code`."""
    return await _mine(state, person).begin_device(body)


@router.post(
    "/oauth/device/poll", summary="Finish a consent on another device", dependencies=[needs(Permission.DECIDE)]
)
async def poll_device_consent(body: DeviceConsentState, state: StateAtRest, person: Caller) -> DeviceConsent:
    """Connect the account once the person has agreed on the other device. Ask every `interval` seconds."""
    return await _mine(state, person).poll_device(body)


@router.get(
    "/organisation/connections", summary="Who in the organisation is connected", dependencies=[needs(Permission.READ)]
)
async def list_connections(
    state: StateAtRest,
    person: Caller,
    after: Annotated[str, Query(max_length=64, description="`next_after` of the page before")] = "",
) -> wire.ConnectionList:
    """List who in your organisation is connected to which provider; never what is there. For operators and auditors."""
    _check_overview(person)
    return await administration(service_of(state.accounts), person).connections(after=after)


@router.get("/organisation/events", summary="Events of all accounts", dependencies=[needs(Permission.READ)])
async def list_all_events(
    state: StateAtRest, person: Caller, before: Before = None, limit: Limit = 50
) -> wire.AuditEvents:
    """List what happened to the accounts of your organisation, newest first. For operators and auditors."""
    _check_overview(person)
    return await administration(service_of(state.accounts), person).events(before=before, limit=limit)


@router.get("/organisation/rules", summary="Which accounts are allowed", dependencies=[needs(Permission.READ)])
async def read_rules(state: StateAtRest, person: Caller) -> AccountRules:
    """Read which providers your organisation allows, and which role a capability's accounts need."""
    found = await administration(service_of(state.accounts), person).rules()
    return AccountRules.model_validate(found.model_dump())


@router.put("/organisation/rules", summary="Say which accounts are allowed", dependencies=[needs(Permission.OPERATE)])
async def set_rules(body: AccountRules, state: StateAtRest, person: Caller) -> AccountRules:
    """Say which providers your organisation allows, and which role a capability's accounts need."""
    rules = wire.OrganisationRules(
        allowed_providers=body.allowed_providers, roles={str(name): str(role) for name, role in body.roles.items()}
    )
    found = await administration(service_of(state.accounts), person).set_rules(rules, by=person.owner)
    return AccountRules.model_validate(found.model_dump())


@router.get("/mine/{account_id}", summary="Read an account", dependencies=[needs(Permission.READ)])
async def read_account(account_id: AccountId, state: StateAtRest, person: Caller) -> ShownAccount:
    """Read one of your accounts."""
    return await _mine(state, person).get(account_id)


@router.patch("/mine/{account_id}", summary="Change an account", dependencies=[needs(Permission.DECIDE)])
async def change_account(
    account_id: AccountId, body: ChangeAccount, state: StateAtRest, person: Caller
) -> ShownAccount:
    """Rename an account, or say what it is used for."""
    return await _mine(state, person).change(account_id, body)


@router.delete(
    "/mine/{account_id}", status_code=204, summary="Remove an account", dependencies=[needs(Permission.DECIDE)]
)
async def revoke_account(account_id: AccountId, state: StateAtRest, person: Caller) -> None:
    """Delete an account and its secret here, and withdraw the consent at its provider where that is offered.

    Requests that name no account then use another one of yours, or Retinue's own calendar, contacts and mail.
    """
    await _mine(state, person).revoke(account_id)


@router.post("/mine/{account_id}/test", summary="Test an account", dependencies=[needs(Permission.ASK)])
async def test_account(account_id: AccountId, state: StateAtRest, person: Caller) -> TestedAccount:
    """Sign in to the service and out again, to see whether the account works now: at most once a minute."""
    mine = _mine(state, person)
    await mine.get(account_id)  # a foreign one answers like an unknown one, also when it was just tested
    if wait := (await state.account_tests.try_acquire(account_id)).seconds:
        raise TooMany("this account was tested a moment ago", retry_after=wait, hint=f"test it again in {wait} seconds")
    return await mine.test(account_id)


def _mine(state: AppState, person: Person) -> AccountsOfPerson:
    return AccountsOfPerson(service_of(state.accounts), person, state.client)


def _check_overview(person: Person) -> None:
    """Let only operators and auditors see who is connected.

    Raises:
        NotAllowed: The caller is neither.
    """
    if not (person.may(Permission.OPERATE) or person.audits()):
        raise NotAllowed("only operators and auditors of an organisation see who is connected")
