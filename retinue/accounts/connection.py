"""A person's account at a service elsewhere, as a worker gets it for one step.

The accounts service alone keeps secrets. For each step it gives a worker the `Connection` of exactly the person, the account
and the capability of that step. A connection lives in memory only: never in a result, an error, a log or a store.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, Field, SecretStr


class Provider(StrEnum):
    """By which protocol an account is used."""

    CALDAV = "caldav"
    CARDDAV = "carddav"
    IMAP = "imap"
    """Reading by IMAP, sending by SMTP; with a bearer token by XOAUTH2 or OAUTHBEARER."""
    GOOGLE = "google"
    """Gmail, Google Calendar and People by their REST APIs."""
    MICROSOFT = "microsoft"
    """Calendar and contacts by Microsoft Graph; mail by IMAP and SMTP with a bearer token."""


class SecretKind(StrEnum):
    """How the secret of a connection is shown to the service."""

    PASSWORD = "password"  # noqa: S105  # a kind, not a password
    BEARER = "bearer"


class Connection(BaseModel):
    """What a worker needs to use one account in one step."""

    account_id: str = Field(description="never changes; also the key of what a worker keeps per account")
    name: str = Field(description="as its person calls it: work")
    address: str = Field("", description="the mail address or login that the service knows, shown on cards")
    provider: Provider
    endpoints: dict[str, str] = Field(
        default_factory=dict,
        description="addresses: `caldav`, `carddav`, `imap`, `smtp` (imaps://host:993), `api` (base of REST APIs)",
    )
    username: str = Field("", description="for passwords, and for XOAUTH2; empty: the address")
    secret: SecretStr = Field(description="an app password, or an access token")
    kind: SecretKind
    expires_at: datetime | None = Field(None, description="of an access token")
    private_hosts: bool = Field(False, description="its servers may have private addresses: the operator allows it")

    @property
    def login(self) -> str:
        """The name to sign in with."""
        return self.username or self.address


class AccountName(BaseModel):
    """One of a person's accounts, without anything secret."""

    account_id: str
    name: str = Field(description="as its person calls it: work")
    address: str = Field("", description="the mail address or login that the service knows")
    capabilities: list[str] = Field(default_factory=list, description="what it may be used for")
    default_for: list[str] = Field(default_factory=list, description="capabilities that use it where none is named")

    @property
    def words(self) -> str:
        """What a person sees of it: `you@work.example (work)`."""
        return f"{self.address} ({self.name})" if self.address not in ("", self.name) else self.name


class BrokenAccount(BaseModel):
    """Which account must be connected again; a detail of `AccountDisconnected`."""

    account_id: str
    name: str
    provider: Provider
    link: str = Field("", description="where its person connects it again")


class Accounts(Protocol):
    """Where a tool gets the connection of the step that is running.

    A tool whose service refuses the secret of a connection asks again with `rejected`, and raises no error itself: the
    service renews a token, or raises `AccountDisconnected` and remembers that the step's run waits.
    """

    async def connection(self, *, account: str | None = None, rejected: Connection | None = None) -> Connection | None:
        """Return the connection of the running step's person and capability; None if the person has none: use `own`.

        Args:
            account: The name or id of an account; None: the person's default one.
            rejected: A connection whose token the service refused with 401; another token is obtained, once.

        Raises:
            NotFound: The person has no account of that name; the message names those that exist.
            AccountDisconnected: The person must connect it again; the step waits and goes on afterwards.
            ServiceUnavailable: The accounts service, or the provider's token endpoint, does not answer.
        """


class NamedAccounts(Accounts, Protocol):
    """It also tells which accounts there are, without their secrets."""

    async def names(self) -> list[AccountName]:
        """Return the accounts of the running step's person that its capability may use; all, for planning.

        Raises:
            ServiceUnavailable: The accounts service does not answer.
        """
