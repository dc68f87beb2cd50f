"""People's accounts elsewhere, as the front door shows them. Secrets go through it and stay in the accounts service."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints
from temporalio.client import Client
from temporalio.service import RPCError

from api.auth.principals import Person, Role
from retinue.accounts import wire
from retinue.accounts.connection import Provider, SecretKind
from retinue.accounts.people import AdminsAccounts, PersonsAccounts
from retinue.accounts.service import AccountsService
from retinue.errors import (
    AccountDisconnected,
    Conflict,
    InvalidArguments,
    NotAllowed,
    NotFound,
    RetinueError,
    ServiceRefused,
)
from retinue.times import Moment

CapabilityName = Literal["calendar", "contacts", "email"]
PasswordProvider = Literal["caldav", "carddav", "imap"]
CALLBACK = "/v1/accounts/oauth/callback"
"""Where a provider sends the browser back; registered with it as the redirect address, after `RETINUE_PUBLIC_URL`."""
_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
_LOOPBACK = r"^http://(127\.0\.0\.1|\[::1\]|localhost):\d{1,5}/callback$"
Name = Annotated[str, StringConstraints(max_length=60, pattern=_NO_CONTROLS)]
Login = Annotated[str, StringConstraints(max_length=320, pattern=_NO_CONTROLS)]
Address = Annotated[str, StringConstraints(max_length=2048, pattern=_NO_CONTROLS)]
AccountId = Annotated[str, StringConstraints(max_length=64, pattern=_NO_CONTROLS)]
_MAY = {
    "calendar": ("read your calendar", "read and change your calendar"),
    "contacts": ("read your contacts", "read and change your contacts"),
    "email": ("read your mail", "read, send and file your mail"),
}
_log = logging.getLogger("retinue.api")


class ConnectAccount(BaseModel):
    """An account with an app password. It is tested before it is kept; the password is never shown again."""

    model_config = ConfigDict(extra="forbid")

    provider: PasswordProvider
    address: Login = Field(min_length=1, description="the mail address or login; often enough to find the servers")
    password: SecretStr = Field(min_length=1, max_length=1000, json_schema_extra={"writeOnly": True})
    username: Login = Field("", description="if it is not the address")
    endpoints: dict[Literal["caldav", "carddav", "imap", "smtp"], Address] = Field(
        default_factory=dict, description="addresses by protocol, as `discover` finds them; empty: found by the address"
    )
    name: Name = Field("", description="what to call it; empty: the address")
    account_id: AccountId | None = Field(None, description="the account that is connected again")


class DiscoverServers(BaseModel):
    """A mail address, or the address of a server."""

    model_config = ConfigDict(extra="forbid")

    address: Address = Field(min_length=1, description="you@example.com, or https://dav.example.com")


class BeginConsent(BaseModel):
    """A provider at which a person agrees in the browser."""

    model_config = ConfigDict(extra="forbid")

    provider_id: str = Field(min_length=1, max_length=60, pattern=_NO_CONTROLS)
    capabilities: list[CapabilityName] = Field(min_length=1, max_length=3, description="for what it is to be used")
    read_only: list[CapabilityName] | None = Field(
        None, max_length=3, description="for which reading is enough; null: as the account has it, a new one all rights"
    )
    name: Name = Field("", description="what to call it; empty: the address")
    account_id: AccountId | None = Field(None, description="the account that is connected again, or gets more rights")
    redirect_uri: str | None = Field(
        None,
        max_length=100,
        pattern=_LOOPBACK,
        description="of a program on the person's machine, as in http://127.0.0.1:50123/callback; default: the console",
    )


class ConsentBegun(BaseModel):
    """Where the person's browser goes now."""

    authorize_url: str
    state: str = Field(description="comes back with the code; valid once, for this person, for ten minutes")


class BeginDeviceConsent(BaseModel):
    """A provider at which a person agrees on another device, by a code."""

    model_config = ConfigDict(extra="forbid")

    provider_id: str = Field(min_length=1, max_length=60, pattern=_NO_CONTROLS)
    capabilities: list[CapabilityName] = Field(min_length=1, max_length=3, description="for what it is to be used")
    read_only: list[CapabilityName] | None = Field(
        None, max_length=3, description="for which reading is enough; null: as the account has it, a new one all rights"
    )
    name: Name = Field("", description="what to call it; empty: the address")
    account_id: AccountId | None = Field(None, description="the account that is connected again, or gets more rights")


class DeviceConsentState(BaseModel):
    """A consent that is given on another device."""

    model_config = ConfigDict(extra="forbid")

    state: str = Field(min_length=1, max_length=200, description="as it was begun with")


class DeviceConsent(BaseModel):
    """Whether the person has agreed on the other device."""

    account: ShownAccount | None = Field(description="null: not yet; ask again after `interval` seconds")


class FinishConsent(BaseModel):
    """What the provider's redirect brought to a program on the person's machine."""

    model_config = ConfigDict(extra="forbid")

    state: str = Field(min_length=1, max_length=200)
    code: SecretStr | None = Field(None, min_length=1, max_length=4000, json_schema_extra={"writeOnly": True})
    iss: str | None = Field(None, max_length=500, description="RFC 9207: which provider answers")
    error: str | None = Field(None, max_length=200, description="as the provider calls it: access_denied")


class ChangeAccount(BaseModel):
    """A new name, or what the account is used for. What is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=_NO_CONTROLS)] | None = None
    capabilities: list[CapabilityName] | None = Field(None, max_length=3)
    default_for: list[CapabilityName] | None = Field(
        None, max_length=3, description="capabilities that use it where a request names no account: exactly these"
    )


class ShownAccount(BaseModel):
    """One of the caller's accounts, without its secret."""

    account_id: str
    name: str = Field(description="as its person calls it; unique among theirs")
    address: str = Field(description="the mail address or login that the service knows")
    provider: Provider
    provider_id: str = Field(description="which of the providers it was connected by")
    kind: SecretKind = Field(description="bearer: by consent at the provider; password: by an app password")
    capabilities: list[str] = Field(description="what it is used for")
    endpoints: dict[str, str] = Field(description="its servers, by protocol")
    default_for: list[str] = Field(description="capabilities that use it where a request names no account")
    may: list[str] = Field(description="what your assistants may do with it, in words")
    state: wire.AccountState
    problem: str = Field(description="in words, why it cannot be used; empty if it can")
    connected_at: Moment
    last_used_at: Moment | None
    last_used_for: str = Field(description="the capability; empty if it was not used yet")


class ShownAccounts(BaseModel):
    """The caller's accounts, by name."""

    accounts: list[ShownAccount]


class TestedAccount(BaseModel):
    """Whether an account works now."""

    works: bool
    problem: str = Field(description="in words; empty if it works")


class AccountRules(BaseModel):
    """Which accounts the people of an organisation may connect."""

    model_config = ConfigDict(extra="forbid")

    allowed_providers: list[Annotated[str, StringConstraints(max_length=60, pattern=_NO_CONTROLS)]] | None = Field(
        None, max_length=50, description="ids of providers; null: all"
    )
    roles: dict[CapabilityName, Role] = Field(
        default_factory=dict, description="the role that a person needs to connect an account for a capability"
    )


class AccountsOfPerson:
    """The caller's accounts.

    Args:
        service: The accounts service.
        person: The authenticated caller.
        client: Signals the runs that waited for an account.
    """

    def __init__(self, service: AccountsService, person: Person, client: Client) -> None:
        self._side = PersonsAccounts(service, person.owner, sorted(person.roles))
        self._client = client

    async def list(self) -> ShownAccounts:
        """Return the caller's accounts."""
        return ShownAccounts(accounts=[shown(account) for account in (await self._side.list()).accounts])

    async def get(self, account_id: str) -> ShownAccount:
        """Return one of them."""
        return shown(await self._side.get(account_id))

    async def providers(self) -> wire.ProviderList:
        """Return where accounts can be connected."""
        return await self._side.providers()

    async def discover(self, body: DiscoverServers) -> wire.Discovered:
        """Look for the servers of an address."""
        return await self._side.discover(wire.Discover(address=body.address))

    async def connect(self, body: ConnectAccount) -> ShownAccount:
        """Connect an account by an app password.

        Raises:
            InvalidArguments: The service refuses the password, or its servers were not found; nothing was stored.
        """
        async with _of_the_caller():
            return await self._connected(
                await self._side.connect(
                    wire.ConnectPassword(
                        provider=Provider(body.provider),
                        address=body.address,
                        password=body.password,
                        username=body.username,
                        endpoints={str(name): address for name, address in body.endpoints.items()},
                        name=body.name,
                        account_id=body.account_id,
                    )
                )
            )

    async def begin(self, body: BeginConsent, *, callback: str) -> ConsentBegun:
        """Begin a consent at a provider."""
        begun = await self._side.begin_oauth(
            wire.BeginOAuth(
                provider_id=body.provider_id,
                capabilities=list(dict.fromkeys(body.capabilities)),
                read_only=None if body.read_only is None else list(body.read_only),
                redirect_uri=body.redirect_uri or callback,
                name=body.name,
                account_id=body.account_id,
            )
        )
        return ConsentBegun(authorize_url=begun.authorize_url, state=begun.state)

    async def finish(self, body: FinishConsent) -> ShownAccount:
        """Finish a consent. The service knows for whom it was begun.

        Raises:
            InvalidArguments: State or code is unknown, used, expired or another person's.
            NotAllowed: The person declined.
        """
        async with _of_the_caller():
            finished = await self._side.finish_oauth(
                wire.FinishOAuth(state=body.state, code=body.code, iss=body.iss, error=body.error)
            )
            return await self._connected(finished)

    async def begin_device(self, body: BeginDeviceConsent) -> wire.DeviceBegun:
        """Begin a consent that is given on another device."""
        return await self._side.begin_device(
            wire.BeginDevice(
                provider_id=body.provider_id,
                capabilities=list(dict.fromkeys(body.capabilities)),
                read_only=None if body.read_only is None else list(body.read_only),
                name=body.name,
                account_id=body.account_id,
            )
        )

    async def poll_device(self, body: DeviceConsentState) -> DeviceConsent:
        """Return the account once the person has agreed on the other device."""
        async with _of_the_caller():
            polled = await self._side.poll_device(wire.PollDevice(state=body.state))
            return DeviceConsent(account=await self._connected(polled.connected) if polled.connected else None)

    async def test(self, account_id: str) -> TestedAccount:
        """Try whether an account works now."""
        tested = await self._side.test(account_id)
        await self._wake(tested.waiting)
        return TestedAccount(works=tested.works, problem=tested.problem)

    async def change(self, account_id: str, body: ChangeAccount) -> ShownAccount:
        """Rename an account, or say what it is used for."""
        return shown(await self._side.change(account_id, wire.ChangeAccount(**body.model_dump(exclude_unset=True))))

    async def revoke(self, account_id: str) -> None:
        """Delete an account and its secret, and withdraw the consent at the provider where it offers that."""
        await self._side.revoke(account_id)

    async def events(self, *, before: int | None, limit: int) -> wire.AuditEvents:
        """Return what happened to the caller's accounts, newest first."""
        return await self._side.events(before=before, limit=limit)

    async def _connected(self, connected: wire.Connected) -> ShownAccount:
        await self._wake(connected.waiting)
        return shown(connected.account)

    async def _wake(self, waiting: Sequence[str]) -> None:
        """Signal the runs that waited. They look again themselves, only later, if Temporal does not answer."""
        for workflow_id in waiting:
            try:
                await self._client.get_workflow_handle(workflow_id).signal(ACCOUNT_CONNECTED)
            except (RPCError, RuntimeError) as error:
                _log.warning("a run that waits for an account was not told: %s", type(error).__name__)


ACCOUNT_CONNECTED = "account_connected"


def administration(service: AccountsService, person: Person) -> AdminsAccounts:
    """Return the accounts of the caller's organisation."""
    return AdminsAccounts(service, person.tenant)


@asynccontextmanager
async def _of_the_caller() -> AsyncIterator[None]:
    """A refused password or code is the caller's to correct, so it is no outage.

    Raises:
        InvalidArguments: In place of a refusal of the service elsewhere.
    """
    try:
        yield
    except (AccountDisconnected, ServiceRefused) as error:
        raise InvalidArguments(error.message, hint=error.hint) from None


def shown(account: wire.AccountInfo) -> ShownAccount:
    """Return an account as its person sees it."""
    fields = account.model_dump(exclude={"scopes", "access"})
    return ShownAccount(**fields, may=[_may(name, account.access.get(name, "")) for name in account.capabilities])


def _may(capability: str, access: str) -> str:
    """Return in words what may be done for a capability."""
    if not access:
        return f"not use {capability}: the provider was not allowed it"
    reads, changes = _MAY.get(capability, (f"read {capability}", f"use {capability}"))
    return changes if access == "write" else reads


def service_of(service: AccountsService | None) -> AccountsService:
    """Return the accounts service.

    Raises:
        NotFound: There is none here.
    """
    if service is None:
        raise NotFound(
            "accounts are switched off here",
            hint="the operator of this installation can set RETINUE_ACCOUNTS_URL and RETINUE_ACCOUNTS_KEY",
        )
    return service


def outcome_of(error: RetinueError) -> str:
    """Return the word by which the console says why a consent did not become an account."""
    match error:
        case NotAllowed():
            return "declined"
        case Conflict():
            return "other-account"
        case InvalidArguments():
            return "stale-consent"
    return "provider-away"
