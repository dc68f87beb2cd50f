"""What the accounts service and its callers say to each other over HTTP.

Two sides. People's side: only the front door calls it, with its own key, for a person that it has authenticated (header
`Retinue-Person`, the owner's name as in `acme:anna`). Workers' side: a capability's worker asks for the connection of the
step that it runs, with the capability's key and the step's pass. Errors are `Problem`s; clients raise them as the types of
`retinue.errors`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field, SecretStr, field_serializer

from retinue.accounts.connection import AccountName, BrokenAccount, Provider, SecretKind

PERSON = "Retinue-Person"
"""Header of the people's side: the authenticated owner's name, percent-encoded."""
ROLES = "Retinue-Roles"
"""Header of the people's side: the person's roles, by comma, for capabilities that need one."""
ORGANISATION = "Retinue-Organisation"
"""Header of the administrators' routes: the organisation, percent-encoded; empty without organisations."""

CAPABILITIES: dict[Provider, tuple[str, ...]] = {
    Provider.CALDAV: ("calendar",),
    Provider.CARDDAV: ("contacts",),
    Provider.IMAP: ("email",),
    Provider.GOOGLE: ("calendar", "contacts", "email"),
    Provider.MICROSOFT: ("calendar", "contacts", "email"),
}
"""What an account of each provider may be used for."""


class AccountState(StrEnum):
    """Whether an account can be used."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    """The person must connect it again: the service refused its secret."""
    UNREADABLE = "unreadable"
    """The key of its sealed secret is missing: the operator restores the key, or the person connects it again."""


class AccountInfo(BaseModel):
    """One account as its person sees it; never a secret."""

    account_id: str
    name: str = Field(description="as its person calls it; unique among the person's accounts")
    address: str = Field("", description="the mail address or login that the service knows")
    provider: Provider
    provider_id: str = Field(description="which of `ProviderInfo.id` it was connected by")
    kind: SecretKind
    capabilities: list[str] = Field(description="what it may be used for")
    default_for: list[str] = Field(default_factory=list, description="capabilities that use it where none is named")
    endpoints: dict[str, str] = Field(default_factory=dict)
    scopes: list[str] = Field(default_factory=list, description="what the service granted, in its own words")
    access: dict[str, str] = Field(default_factory=dict, description="by capability, `read` or `write`")
    state: AccountState
    problem: str = Field("", description="in words, why it cannot be used")
    connected_at: datetime
    last_used_at: datetime | None = None
    last_used_for: str = Field("", description="the capability")


class AccountList(BaseModel):
    """A person's accounts, by name."""

    accounts: list[AccountInfo]


class ConnectPassword(BaseModel):
    """Connects an account by an app password, or connects it again."""

    provider: Provider = Field(description="caldav, carddav or imap")
    address: str = Field(min_length=1, max_length=320, description="mail address or login; enough for discovery")
    password: SecretStr = Field(min_length=1, max_length=1000)
    username: str = Field("", max_length=320, description="if it is not the address")
    endpoints: dict[str, str] = Field(
        default_factory=dict, max_length=5, description="`caldav`, `carddav`, `imap`, `smtp`; empty: discovered"
    )
    name: str = Field("", max_length=60, description="empty: the address")
    account_id: str | None = Field(None, description="of the account that is connected again")

    @field_serializer("password", when_used="json")
    def _password(self, password: SecretStr) -> str:
        return password.get_secret_value()


class Discover(BaseModel):
    """Looks for the servers of an address. No password is sent anywhere."""

    address: str = Field(min_length=1, max_length=2048, description="you@example.com, or https://dav.example.com")


class FoundServers(BaseModel):
    """One way to connect an address."""

    provider_id: str = Field(description="which of `ProviderInfo.id`")
    endpoints: dict[str, str] = Field(default_factory=dict, description="addresses by protocol, for `ConnectPassword`")
    username: str = Field("", description="to sign in with; empty: the address")
    source: str = Field("", description="where they were found, in words")


class Discovered(BaseModel):
    """The ways to connect an address, best first; empty if none was found."""

    found: list[FoundServers]


class BeginOAuth(BaseModel):
    """Begins the consent of a provider with OAuth."""

    provider_id: str = Field(max_length=60)
    capabilities: list[str] = Field(min_length=1, max_length=5, description="scopes for these are asked for")
    read_only: list[str] | None = Field(
        None, max_length=5, description="for which reading is enough; None: as the account has it, a new one all rights"
    )
    redirect_uri: str = Field(max_length=500, description="where the provider sends the browser; part of the check")
    name: str = Field("", max_length=60)
    account_id: str | None = Field(None, description="of the account that is connected again or gets more scopes")


class OAuthBegun(BaseModel):
    """Where the browser goes now."""

    authorize_url: str
    state: str = Field(description="comes back with the code; valid once, for this person, for ten minutes")


class FinishOAuth(BaseModel):
    """What the provider's redirect brought."""

    state: str = Field(min_length=1, max_length=200)
    code: SecretStr | None = Field(None, max_length=4000)
    iss: str | None = Field(None, max_length=500, description="RFC 9207: which provider answers")
    error: str | None = Field(None, max_length=200, description="as the provider calls it: access_denied")

    @field_serializer("code", when_used="json")
    def _code(self, code: SecretStr | None) -> str | None:
        return code.get_secret_value() if code else None


class BeginDevice(BaseModel):
    """Begins a consent that is given on another device, by a code that the person types there."""

    provider_id: str = Field(max_length=60)
    capabilities: list[str] = Field(min_length=1, max_length=5, description="scopes for these are asked for")
    read_only: list[str] | None = Field(
        None, max_length=5, description="for which reading is enough; None: as the account has it, a new one all rights"
    )
    name: str = Field("", max_length=60)
    account_id: str | None = Field(None, description="of the account that is connected again or gets more scopes")


class DeviceBegun(BaseModel):
    """What the person does on the other device."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str = Field("", description="the same with the code in it; empty if there is none")
    interval: int = Field(description="seconds between two questions whether the person has agreed")
    expires_in: int = Field(description="seconds")
    state: str = Field(description="to ask with; for this person alone")


class PollDevice(BaseModel):
    """Asks whether the person has agreed."""

    state: str = Field(min_length=1, max_length=200)


class DevicePolled(BaseModel):
    """Whether the person has agreed."""

    connected: Connected | None = Field(description="null: not yet")


class Connected(BaseModel):
    """An account that was connected, and the runs that waited for it: the front door signals them."""

    account: AccountInfo
    waiting: list[str] = Field(default_factory=list, description="workflow ids of runs that wait for it")


class ChangeAccount(BaseModel):
    """Renames an account, or says what it is used for; what is left out stays."""

    name: str | None = Field(None, min_length=1, max_length=60)
    capabilities: list[str] | None = Field(None, max_length=5)
    default_for: list[str] | None = Field(None, max_length=5, description="it is the default of exactly these")


class Tested(BaseModel):
    """Whether an account works now."""

    works: bool
    problem: str = ""
    waiting: list[str] = Field(default_factory=list, description="workflow ids of runs that waited for it")


class ProviderInfo(BaseModel):
    """A way to connect an account."""

    id: str = Field(description="google, microsoft, caldav, carddav, imap, or the name of a configured one")
    provider: Provider
    title: str
    kind: SecretKind = Field(description="bearer: by OAuth; password: by an app password")
    capabilities: list[str]
    allowed: bool = Field(True, description="false: the organisation does not allow it")
    ready: bool = Field(True, description="false: the operator has not set its client id")
    device: bool = Field(False, description="a code on another device may connect it, if the provider offers that")


class ProviderList(BaseModel):
    """All ways to connect an account."""

    providers: list[ProviderInfo]


class EventKind(StrEnum):
    """What is recorded about accounts."""

    CONNECTED = "connected"
    CONNECTED_AGAIN = "connected_again"
    CHANGED = "changed"
    REVOKED = "revoked"
    DISCONNECTED = "disconnected"
    """The service refused the secret: a refresh failed, or the password does not hold any more."""
    DENIED = "denied"
    """A worker asked for what it may not have, or a person for what the organisation does not allow."""
    RULES_CHANGED = "rules_changed"


class AuditEvent(BaseModel):
    """One event about an account; never a secret or content."""

    id: int
    at: datetime
    kind: EventKind
    person: str = Field("", description="whose account; empty if unknown")
    account_id: str = ""
    name: str = ""
    provider_id: str = ""
    detail: str = Field("", description="in words")


class AuditEvents(BaseModel):
    """Events, newest first."""

    events: list[AuditEvent]
    next_before: int | None = Field(None, description="ask with `before` for older ones")


class ConnectionInfo(BaseModel):
    """Who in an organisation is connected to what; never content, address or secret."""

    person: str
    account_id: str
    provider: Provider
    provider_id: str
    capabilities: list[str]
    state: AccountState
    connected_at: datetime
    last_used_at: datetime | None = None


class ConnectionList(BaseModel):
    """The connections of an organisation, by account id."""

    connections: list[ConnectionInfo]
    next_after: str | None = Field(None, description="ask with `after` for more")


class OrganisationRules(BaseModel):
    """What an organisation's administrators decide about accounts."""

    allowed_providers: list[str] | None = Field(None, max_length=50, description="ids of providers; None: all")
    roles: dict[str, str] = Field(default_factory=dict, description="the role that a capability's accounts need")


class AskConnection(BaseModel):
    """A worker asks for the connection of the step that it runs."""

    step_pass: SecretStr = Field(description="of the header `retinue-account-pass`")
    account: str | None = Field(None, max_length=100, description="name or id; None: the default")
    rejected: str | None = Field(None, max_length=64, description="fingerprint of a token that the service refused")

    @field_serializer("step_pass", when_used="json")
    def _pass(self, step_pass: SecretStr) -> str:
        return step_pass.get_secret_value()


class ConnectionGiven(BaseModel):
    """The connection of a step; the only message with a secret in it."""

    account_id: str
    name: str
    address: str
    provider: Provider
    endpoints: dict[str, str]
    username: str
    secret: SecretStr
    kind: SecretKind
    expires_at: datetime | None
    private_hosts: bool = False

    @field_serializer("secret", when_used="json")
    def _secret(self, secret: SecretStr) -> str:
        return secret.get_secret_value()


class StepConnection(BaseModel):
    """The answer to `AskConnection`."""

    connection: ConnectionGiven | None = Field(description="null: the person has no account for it; use the own data")


class AskNames(BaseModel):
    """A worker asks which accounts the person of its step has."""

    step_pass: SecretStr = Field(description="of the header `retinue-account-pass`")

    @field_serializer("step_pass", when_used="json")
    def _pass(self, step_pass: SecretStr) -> str:
        return step_pass.get_secret_value()


class StepAccounts(BaseModel):
    """The answer to `AskNames`: those that the step's capability may use, and all for `reasoning`, which plans."""

    accounts: list[AccountName]


class Problem(BaseModel):
    """An error of the service: the type of `retinue.errors`, and its texts for people."""

    error: str
    message: str
    hint: str | None = None
    retry_after: float | None = None
    account: BrokenAccount | None = Field(None, description="which one must be connected again")
