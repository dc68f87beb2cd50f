"""The providers with OAuth, as data: where each describes itself, what each capability asks for, what it serves."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from accounts.oauth.settings import Address, OAuthSettings
from retinue.accounts.connection import Provider
from retinue.errors import InvalidArguments
from retinue.operator_config import checked, entries, filled

_GOOGLE = "https://www.googleapis.com/auth"
_OUTLOOK = "https://outlook.office.com"
_GRAPH = "https://graph.microsoft.com"


@dataclass(frozen=True)
class Use:
    """What one capability asks of a provider."""

    read: tuple[str, ...]
    """Scopes that are enough for reading."""
    write: tuple[str, ...] = ()
    """Scopes for everything that the capability does; empty: those for reading."""
    resource: str = ""
    """What an access token is for, at providers that issue one for each API."""

    def scopes(self, *, read_only: bool) -> tuple[str, ...]:
        """Return the scopes to ask for."""
        return self.read if read_only or not self.write else self.write


@dataclass(frozen=True)
class OAuthProvider:
    """One provider."""

    id: str
    title: str
    provider: Provider
    issuer: str
    """Its issuer; its description is below it at `.well-known/openid-configuration`, or as RFC 8414 says."""
    client_id: str | None
    client_secret: SecretStr | None
    uses: Mapping[str, Use]
    base_scopes: tuple[str, ...] = ("openid", "email", "offline_access")
    """Asked for always: who the person is, and access that lasts."""
    parameters: Mapping[str, str] = field(default_factory=lambda: {"prompt": "consent"})
    """Further parameters of the request for consent."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """`Connection.endpoints` of its accounts."""
    any_tenant: bool = False
    """Its tokens name the issuer of the person's own tenant."""
    secret_in_body: bool = False
    """How the client shows its secret, where the provider's description does not say it."""
    device: bool = True
    """Whether its device flow grants these scopes, if it has one."""
    loopback: str = "127.0.0.1"
    """The host that a program on the person's machine names in its redirect."""
    manage: str | None = None
    """Where people see and withdraw what they allowed."""

    def use(self, capability: str) -> Use:
        """Return what a capability asks for.

        Raises:
            InvalidArguments: It is not served.
        """
        if capability not in self.uses:
            raise InvalidArguments(f"{self.title} is not set up for {capability}; it serves {', '.join(self.uses)}")
        return self.uses[capability]

    def scopes(self, capabilities: Iterable[str], *, read_only: Collection[str] = ()) -> list[str]:
        """Return what to ask for, without doubles.

        Raises:
            InvalidArguments: A capability is not served.
        """
        asked = [*self.base_scopes]
        for capability in capabilities:
            asked += self.use(capability).scopes(read_only=capability in read_only)
        return list(dict.fromkeys(asked))

    def allowed(self, scopes: Collection[str]) -> dict[str, Literal["read", "write"]]:
        """Return what each capability may do with these scopes; what it may not do at all is left out."""
        found: dict[str, Literal["read", "write"]] = {}
        for capability, use in self.uses.items():
            if set(use.scopes(read_only=False)) <= set(scopes):
                found[capability] = "write"
            elif set(use.read) <= set(scopes):
                found[capability] = "read"
        return found

    def for_resource(self, capability: str, scopes: Collection[str]) -> list[str]:
        """Return those of the granted scopes that one access token can hold: a capability's, and those of its API."""
        resource = self.use(capability).resource
        if not resource:
            return list(scopes)
        others = {scope for use in self.uses.values() if use.resource != resource for scope in (*use.read, *use.write)}
        return [scope for scope in scopes if scope not in others]


def google(settings: OAuthSettings) -> OAuthProvider:
    """Google: Gmail, Calendar and People by their REST APIs."""
    return OAuthProvider(
        id="google",
        title="Google",
        provider=Provider.GOOGLE,
        issuer=settings.google_url or "https://accounts.google.com",
        client_id=settings.google_client_id,
        client_secret=settings.google_client_secret,
        uses={
            "email": Use(read=(f"{_GOOGLE}/gmail.readonly",), write=(f"{_GOOGLE}/gmail.modify",)),
            "calendar": Use(
                read=(f"{_GOOGLE}/calendar.readonly",),
                write=(f"{_GOOGLE}/calendar.readonly", f"{_GOOGLE}/calendar.events"),
            ),
            "contacts": Use(read=(f"{_GOOGLE}/contacts.readonly",), write=(f"{_GOOGLE}/contacts",)),
        },
        base_scopes=("openid", "email"),
        # without `consent` Google gives a refresh token only the first time
        parameters={"access_type": "offline", "prompt": "consent", "include_granted_scopes": "true"},
        endpoints={"api": settings.google_url} if settings.google_url else {},
        secret_in_body=True,
        device=False,  # Google's device flow grants neither Gmail nor Calendar
        manage="https://myaccount.google.com/connections",
    )


def microsoft(settings: OAuthSettings) -> OAuthProvider:
    """Microsoft: mail by IMAP and SMTP, calendar and contacts by Graph; an access token is for one of the two."""
    base = settings.microsoft_url or "https://login.microsoftonline.com"
    return OAuthProvider(
        id="microsoft",
        title="Microsoft",
        provider=Provider.MICROSOFT,
        issuer=f"{base}/{settings.microsoft_tenant}/v2.0",
        client_id=settings.microsoft_client_id,
        client_secret=settings.microsoft_client_secret,
        uses={
            "email": Use(read=(f"{_OUTLOOK}/IMAP.AccessAsUser.All", f"{_OUTLOOK}/SMTP.Send"), resource=_OUTLOOK),
            "calendar": Use(
                read=(f"{_GRAPH}/Calendars.Read",), write=(f"{_GRAPH}/Calendars.ReadWrite",), resource=_GRAPH
            ),
            "contacts": Use(
                read=(f"{_GRAPH}/Contacts.Read",), write=(f"{_GRAPH}/Contacts.ReadWrite",), resource=_GRAPH
            ),
        },
        base_scopes=("openid", "email", "profile", "offline_access"),
        parameters={"prompt": "select_account"},
        endpoints={
            "imap": settings.microsoft_imap,
            "smtp": settings.microsoft_smtp,
            "api": settings.microsoft_api_url or f"{_GRAPH}/v1.0",
        },
        any_tenant=True,
        secret_in_body=True,
        loopback="localhost",  # of loopback redirects Microsoft takes any port for this name alone
        manage="https://account.live.com/consent/Manage",
    )


class _Scopes(BaseModel):
    model_config = ConfigDict(extra="forbid")

    read: tuple[str, ...] = Field(min_length=1, max_length=20)
    write: tuple[str, ...] = Field((), max_length=20)


class ProviderEntry(BaseModel):
    """One provider of the operator's file: any that describes itself as OpenID Connect or RFC 8414 asks."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    title: str = Field(min_length=1, max_length=60)
    provider: Literal[Provider.CALDAV, Provider.CARDDAV, Provider.IMAP] = Field(description="how accounts are used")
    issuer: Address
    client_id: str = Field(min_length=1, max_length=500)
    client_secret: SecretStr | None = Field(None, description="may name a variable: ${NAME}; none: a public client")
    capabilities: dict[Literal["calendar", "contacts", "email"], _Scopes] = Field(min_length=1)
    endpoints: dict[Literal["caldav", "carddav", "imap", "smtp"], str] = Field(min_length=1)
    base_scopes: tuple[str, ...] = ("openid", "email", "offline_access")
    parameters: dict[str, str] = Field(default_factory=lambda: {"prompt": "consent"})
    manage: Address | None = Field(None, description="where people withdraw what they allowed")


def providers(settings: OAuthSettings, environment: Mapping[str, str] = os.environ) -> dict[str, OAuthProvider]:
    """Return all providers by id.

    Raises:
        InvalidArguments: The operator's file is invalid; the message says where, without a value.
    """
    found: dict[str, OAuthProvider] = {"google": google(settings), "microsoft": microsoft(settings)}
    taken: Sequence[str] = [*found, *Provider]
    for name, entry in entries(settings.oauth_providers, "providers").items():
        told = checked(name, entry, ProviderEntry, taken=taken, kind="provider")
        found[name] = OAuthProvider(
            id=name,
            title=told.title,
            provider=told.provider,
            issuer=told.issuer,
            client_id=told.client_id,
            client_secret=filled(told.client_secret, environment) if told.client_secret else None,
            uses={str(capability): Use(scopes.read, scopes.write) for capability, scopes in told.capabilities.items()},
            base_scopes=told.base_scopes,
            parameters=told.parameters,
            endpoints={str(protocol): address for protocol, address in told.endpoints.items()},
            manage=told.manage,
        )
    for provider in found.values():
        _check_scheme(provider)
    return found


def _check_scheme(provider: OAuthProvider) -> None:
    if provider.issuer.startswith("http://") and not is_loopback(provider.issuer):
        raise InvalidArguments(f"the issuer of {provider.title} must begin with https://")


def is_loopback(address: str) -> bool:
    """Whether an address is on this machine, where plain http is private."""
    host = address.partition("://")[2].partition("/")[0]
    return host.partition(":")[0] in ("127.0.0.1", "localhost")
