"""The pages and forms of people's accounts elsewhere: connect, test, rename, remove; what an organisation allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response

from console import words
from console.caller import Retinue
from console.pages import FIRST_RUN, missing, new_key
from console.rendering import page
from console.submitted import Form, errors_by_field, redirect
from retinue.client import AsyncClient, ClientError, Conflict, InvalidArguments, NotFound
from retinue.client.calls import AccountUse, PasswordProvider
from retinue.client.errors import TooManyRequests
from retinue.client.models import Account, AccountProvider, AccountTest, FoundServers

router = APIRouter(include_in_schema=False)
_SERVERS: Mapping[PasswordProvider, Sequence[str]] = {
    "caldav": ("caldav",),
    "carddav": ("carddav",),
    "imap": ("imap", "smtp"),
}
"""The servers of each provider with app passwords, by protocol."""
_USES: Sequence[AccountUse] = ("calendar", "contacts", "email")
_DISMISSED_FOR = timedelta(days=365)
_EVENTS = 50


@router.get("/accounts")
async def accounts(request: Request, client: Retinue) -> Response:
    """Show the person's accounts, and where they can connect another."""
    return await show_accounts(request, client)


async def show_accounts(
    request: Request,
    client: AsyncClient,
    *,
    tested: Mapping[str, AccountTest] | None = None,
    wrong: str = "",
) -> Response:
    """Render the page, with the result of a test, or why nothing was changed."""
    off = ""
    mine: Sequence[Account] = ()
    providers: Sequence[AccountProvider] = ()
    try:
        mine = (await client.accounts.list()).accounts
        providers = (await client.accounts.providers()).providers
    except NotFound as error:
        off = error.detail
    me = await client.me()
    return await page(
        request,
        "accounts.html",
        client,
        title="Accounts",
        here="/accounts",
        me=me,
        accounts=mine,
        providers={one.id: one for one in providers},
        may_change="decide" in me.permissions,
        oversees="operate" in me.permissions or "auditor" in me.roles,
        tested=tested or {},
        wrong=wrong,
        off=off,
        code=422 if wrong else 200,
    )


@router.get("/accounts/organisation")
async def organisation(request: Request, client: Retinue, after: str | None = None) -> Response:
    """Show who in the organisation is connected to what, and what is allowed."""
    me = await client.me()
    found = await client.accounts.connections(after=after)
    return await page(
        request,
        "organisation.html",
        client,
        title="Accounts of the organisation",
        here="/accounts",
        me=me,
        connections=found.connections,
        following=found.next_after,
        events=(await client.accounts.all_events(limit=_EVENTS)).events,
        providers=(await client.accounts.providers()).providers,
        rules=await client.accounts.rules(),
        uses=_USES,
        roles=words.ROLES,
        may_change="operate" in me.permissions,
    )


@router.post("/accounts/organisation")
async def set_rules(client: Retinue, form: Form) -> Response:
    """Say which providers are allowed, and which role the accounts of a capability need."""
    known = [one.id for one in (await client.accounts.providers()).providers]
    allowed = [one for one in known if form.get(f"allow-{one}")]
    await client.accounts.set_rules(
        allowed_providers=None if allowed == known else allowed,
        roles={use: role for use in _USES if (role := form.get(f"role-{use}", ""))},
    )
    return redirect("/accounts/organisation", "changed")


@router.get("/accounts/connect/{provider_id}")
async def connect(request: Request, client: Retinue, provider_id: str) -> Response:
    """Show the form for a consent at a provider."""
    provider = await _provider(client, provider_id)
    if provider is None or provider.kind != "bearer":
        return await missing(request, client, "There is no such provider")
    return await page(
        request, "consent.html", client, title=f"Connect {provider.title}", here="/accounts", provider=provider
    )


async def _provider(client: AsyncClient, provider_id: str) -> AccountProvider | None:
    return next((one for one in (await client.accounts.providers()).providers if one.id == provider_id), None)


@router.post("/accounts/consent")
async def begin_consent(request: Request, client: Retinue, form: Form) -> Response:
    """Begin a consent, and show where it leads: a form's answer may not redirect to another site."""
    uses = [use for use in _USES if form.get(f"use-{use}")]
    if not uses:
        return await show_accounts(request, client, wrong="Choose at least one use of the account.")
    try:
        begun = await client.accounts.begin(
            form.get("provider", ""),
            uses,
            name=form.get("name", "").strip() or None,
            account_id=form.get("account_id") or None,
            read_only=uses if form.get("read_only") else None,
        )
    except InvalidArguments as error:
        return await show_accounts(request, client, wrong=error.detail)
    where = urlsplit(begun.authorize_url)
    if where.scheme not in ("http", "https") or not where.hostname:
        return await show_accounts(request, client, wrong="The provider is not set up correctly.")
    return await page(
        request,
        "leave.html",
        client,
        title="Continue at the provider",
        here="/accounts",
        url=begun.authorize_url,
        host=where.hostname,
        uses=uses,
    )


@dataclass(frozen=True)
class Servers:
    """A form for an account with an app password."""

    provider: str
    title: str
    address: str
    endpoints: Mapping[str, str]
    username: str = ""
    name: str = ""
    source: str = ""
    wrong: str = ""
    account_id: str = ""
    key: str = field(default_factory=new_key)

    @property
    def found(self) -> bool:
        """Whether it shall be open."""
        return any(self.endpoints.values())


@router.post("/accounts/find")
async def find(request: Request, client: Retinue, form: Form) -> Response:
    """Look for the servers of an address, and show them before anything is sent there."""
    address = form.get("address", "").strip()
    try:
        found = (await client.accounts.discover(address)).found
    except InvalidArguments as error:
        return await show_accounts(request, client, wrong=error.detail)
    except ClientError:
        found = []  # whoever knows the servers can write them
    return await _show_found(request, client, address, found)


async def _show_found(
    request: Request,
    client: AsyncClient,
    address: str,
    found: Sequence[FoundServers],
    *,
    instead: Servers | None = None,
) -> Response:
    """Render a form for each provider with app passwords, filled in as far as its servers were found."""
    known = {one.id: one for one in (await client.accounts.providers()).providers}
    by_provider = {one.provider_id: one for one in reversed(found)}
    forms = [
        _servers(known[provider], address, by_provider.get(provider))
        for provider in _SERVERS
        if provider in known and known[provider].can_connect
    ]
    shown = [instead if instead and one.provider == instead.provider else one for one in forms]
    return await page(
        request,
        "servers.html",
        client,
        title="Connect with an app password",
        here="/accounts",
        address=address,
        consents=[
            known[one.provider_id]
            for one in found
            if one.provider_id in known and known[one.provider_id].kind == "bearer"
        ],
        forms=sorted(shown, key=lambda one: not (one.found or one.wrong)),
        any_found=bool(found),
        code=422 if instead and instead.wrong else 200,
    )


def _servers(provider: AccountProvider, address: str, found: FoundServers | None) -> Servers:
    protocols = next(names for known, names in _SERVERS.items() if known == provider.id)
    endpoints = {name: found.endpoints.get(name, "") if found else "" for name in protocols}
    username, source = (found.username, found.source) if found else ("", "")
    return Servers(provider.id, provider.title, address, endpoints, username=username, source=source)


@router.get("/accounts/{account_id}")
async def one_account(client: Retinue, account_id: str) -> Response:
    """Lead to the page with the account."""
    await client.accounts.get(account_id)
    return redirect("/accounts")


@router.get("/accounts/{account_id}/connect")
async def connect_again(request: Request, client: Retinue, account_id: str) -> Response:
    """Show the form to connect an account with an app password again."""
    account = await client.accounts.get(account_id)
    return await _show_again(request, client, _again(account))


def _again(account: Account) -> Servers:
    return Servers(
        account.provider,
        account.name,
        account.address,
        account.endpoints,
        name=account.name,
        account_id=account.account_id,
    )


async def _show_again(request: Request, client: AsyncClient, servers: Servers) -> Response:
    return await page(
        request,
        "servers.html",
        client,
        title=f"Connect {servers.title} again",
        here="/accounts",
        address=servers.address,
        consents=[],
        forms=[servers],
        any_found=True,
        code=422 if servers.wrong else 200,
    )


@router.post("/accounts/password")
async def connect_by_password(request: Request, client: Retinue, form: Form) -> Response:
    """Connect an account by an app password. A page that is shown again has everything but the password."""
    provider = next((known for known in _SERVERS if known == form.get("provider")), None)
    if provider is None:
        return await missing(request, client, "There is no such provider")
    endpoints = {name: value for name in _SERVERS[provider] if (value := form.get(f"server-{name}", "").strip())}
    address, username, name = (form.get(part, "").strip() for part in ("address", "username", "name"))
    account_id = form.get("account_id", "")
    try:
        await client.accounts.connect(
            provider,
            address,
            form.get("password", ""),
            username=username or None,
            endpoints=endpoints or None,
            name=name or None,
            account_id=account_id or None,
            idempotency_key=form.get("key") or None,
        )
    except (InvalidArguments, Conflict) as error:
        wrong = str(error) if isinstance(error, Conflict) else " ".join(errors_by_field(error).values())
        known = await _provider(client, provider)
        filled = Servers(
            provider,
            name if account_id else known.title if known else provider,
            address,
            {each: endpoints.get(each, "") for each in _SERVERS[provider]},
            username=username,
            name=name,
            wrong=wrong,
            account_id=account_id,
        )
        if account_id:
            return await _show_again(request, client, filled)
        return await _show_found(request, client, address, [], instead=filled)
    return redirect("/accounts", "connected")


@router.get("/accounts/{account_id}/remove")
async def ask_to_remove(request: Request, client: Retinue, account_id: str) -> Response:
    """Ask whether an account is to be removed."""
    return await page(
        request,
        "remove.html",
        client,
        title="Remove an account",
        here="/accounts",
        account=await client.accounts.get(account_id),
    )


@router.post("/accounts/{account_id}")
async def change_account(request: Request, client: Retinue, account_id: str, form: Form) -> Response:
    """Test, rename or remove an account, or say when it is used."""
    match form.get("do"):
        case "test":
            try:
                result = await client.accounts.test(account_id)
            except TooManyRequests as error:
                return await show_accounts(request, client, wrong=str(error))
            return await show_accounts(request, client, tested={account_id: result})
        case "remove":
            await client.accounts.revoke(account_id)
            return redirect("/accounts", "removed")
        case "save":
            try:
                await client.accounts.change(
                    account_id,
                    name=form.get("name", "").strip() or None,
                    default_for=[use for use in _USES if form.get(f"default-{use}")],
                )
            except ClientError as error:
                return await show_accounts(request, client, wrong=str(error))
    return redirect("/accounts", "changed")


@router.post("/first-run")
async def dismiss_first_run(request: Request) -> Response:
    """Do not offer it in this browser again."""
    done = redirect("/")
    done.set_cookie(
        FIRST_RUN,
        "dismissed",
        max_age=int(_DISMISSED_FOR.total_seconds()),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return done
