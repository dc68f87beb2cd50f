"""The people's side of the accounts service, as the front door calls it for people that it has authenticated."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from pydantic import BaseModel

from retinue.accounts import wire
from retinue.accounts.service import AccountsService
from retinue.accounts.wire import (
    AccountInfo,
    AccountList,
    AuditEvents,
    BeginDevice,
    BeginOAuth,
    ChangeAccount,
    Connected,
    ConnectionList,
    ConnectPassword,
    DeviceBegun,
    DevicePolled,
    Discover,
    Discovered,
    FinishOAuth,
    OAuthBegun,
    OrganisationRules,
    PollDevice,
    ProviderList,
    Tested,
)


class Nothing(BaseModel):
    """An answer without content."""


class PersonsAccounts:
    """The accounts of one person. All methods raise the service's `RetinueError`s; a foreign id is `NotFound`.

    Args:
        service: With the front door's key.
        person: The authenticated owner's name, as in `acme:anna`.
        roles: The person's roles, for capabilities whose accounts need one.
    """

    def __init__(self, service: AccountsService, person: str, roles: Iterable[str] = ()) -> None:
        self._service = service
        self._headers = {wire.PERSON: quote(person, safe=""), wire.ROLES: ",".join(quote(role) for role in roles)}

    async def list(self) -> AccountList:
        """Return the person's accounts."""
        return await self._service.ask(AccountList, "GET", "/people/accounts", headers=self._headers)

    async def get(self, account_id: str) -> AccountInfo:
        """Return one account."""
        return await self._service.ask(AccountInfo, "GET", _path(account_id), headers=self._headers)

    async def discover(self, request: Discover) -> Discovered:
        """Look for the servers of an address; nothing is stored and no password is sent.

        Raises:
            InvalidArguments: It is no address.
            ServiceUnavailable: Nothing could be looked up.
        """
        return await self._service.ask(Discovered, "POST", "/people/discover", body=request, headers=self._headers)

    async def connect(self, request: ConnectPassword) -> Connected:
        """Connect an account by an app password, or connect it again; signal the runs in `waiting` afterwards.

        Raises:
            AccountDisconnected: The service refuses the password; nothing was stored.
            NotFound: Its servers were not found by the address; the person gives them.
            NotAllowed: The organisation does not allow this provider, or the person lacks the role.
            ServiceUnavailable: The server does not answer; nothing was stored.
        """
        return await self._service.ask(Connected, "POST", "/people/accounts", body=request, headers=self._headers)

    async def begin_oauth(self, request: BeginOAuth) -> OAuthBegun:
        """Begin a consent: the browser goes to `authorize_url`.

        Raises:
            NotAllowed: The organisation does not allow this provider, or the person lacks the role.
            InvalidArguments: No such provider, or the operator has not set it up.
        """
        return await self._service.ask(OAuthBegun, "POST", "/people/oauth/begin", body=request, headers=self._headers)

    async def finish_oauth(self, request: FinishOAuth) -> Connected:
        """Finish a consent with what the redirect brought; signal the runs in `waiting` afterwards.

        Raises:
            InvalidArguments: The state or the code is unknown, used, expired or of another person or provider.
            NotAllowed: The person declined.
        """
        return await self._service.ask(Connected, "POST", "/people/oauth/finish", body=request, headers=self._headers)

    async def begin_device(self, request: BeginDevice) -> DeviceBegun:
        """Begin a consent that is given on another device.

        Raises:
            NotAllowed: The organisation does not allow this provider, or the person lacks the role.
            InvalidArguments: No such provider, it is not set up, or has no such flow.
        """
        return await self._service.ask(DeviceBegun, "POST", "/people/oauth/device", body=request, headers=self._headers)

    async def poll_device(self, request: PollDevice) -> DevicePolled:
        """Ask whether the person has agreed; signal the runs in `waiting` afterwards.

        Raises:
            InvalidArguments: The state is unknown or another person's, the person declined, or the code has expired.
        """
        return await self._service.ask(
            DevicePolled, "POST", "/people/oauth/device/poll", body=request, headers=self._headers
        )

    async def test(self, account_id: str) -> Tested:
        """Try whether an account works now; signal the runs in `waiting` afterwards."""
        return await self._service.ask(Tested, "POST", f"{_path(account_id)}/test", headers=self._headers)

    async def change(self, account_id: str, change: ChangeAccount) -> AccountInfo:
        """Rename an account, or say what it is used for."""
        return await self._service.ask(AccountInfo, "PATCH", _path(account_id), body=change, headers=self._headers)

    async def revoke(self, account_id: str) -> None:
        """Delete an account and its secret here, and withdraw the consent at the provider where it offers that."""
        await self._service.ask(Nothing, "DELETE", _path(account_id), headers=self._headers)

    async def providers(self) -> ProviderList:
        """Return all ways to connect an account, and whether the person's organisation allows them."""
        return await self._service.ask(ProviderList, "GET", "/people/providers", headers=self._headers)

    async def events(self, *, before: int | None = None, limit: int = 50) -> AuditEvents:
        """Return events about the person's own accounts, newest first."""
        params = {"limit": limit} | ({"before": before} if before is not None else {})
        return await self._service.ask(AuditEvents, "GET", "/people/events", headers=self._headers, params=params)


class AdminsAccounts:
    """What an organisation's administrators see and decide; the front door checks that the caller is one.

    Args:
        service: With the front door's key.
        organisation: Of the caller; empty without organisations.
    """

    def __init__(self, service: AccountsService, organisation: str) -> None:
        self._service = service
        self._headers = {wire.ORGANISATION: quote(organisation, safe="")}

    async def connections(self, *, after: str = "") -> ConnectionList:
        """Return who is connected to what; never content, addresses or secrets."""
        return await self._service.ask(
            ConnectionList, "GET", "/admin/connections", headers=self._headers, params={"after": after}
        )

    async def rules(self) -> OrganisationRules:
        """Return which providers are allowed, and which capabilities need which role."""
        return await self._service.ask(OrganisationRules, "GET", "/admin/rules", headers=self._headers)

    async def set_rules(self, rules: OrganisationRules, *, by: str) -> OrganisationRules:
        """Replace the rules; `by` is the administrator, for the audit event."""
        headers = {**self._headers, wire.PERSON: quote(by, safe="")}
        return await self._service.ask(OrganisationRules, "PUT", "/admin/rules", body=rules, headers=headers)

    async def events(self, *, before: int | None = None, limit: int = 50) -> AuditEvents:
        """Return events about all accounts of the organisation, newest first."""
        params = {"limit": limit} | ({"before": before} if before is not None else {})
        return await self._service.ask(AuditEvents, "GET", "/admin/events", headers=self._headers, params=params)


def _path(account_id: str) -> str:
    return f"/people/accounts/{quote(account_id, safe='')}"
