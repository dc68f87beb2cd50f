"""The accounts service on a real port of this process, with a scripted provider and scripted servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from accounts.app import create_app
from accounts.oauth_flows import AccessToken, DeviceFlow, Flow, Tokens
from accounts.settings import AccountsServiceSettings
from retinue.accounts import caller_keys
from retinue.accounts.client import AccountsClient
from retinue.accounts.connection import Connection, Provider, SecretKind
from retinue.accounts.people import AdminsAccounts, PersonsAccounts
from retinue.accounts.service import AccountsService
from retinue.accounts.wire import Connected, ConnectPassword, FoundServers, ProviderInfo
from retinue.errors import AccountDisconnected, InvalidArguments, NotFound, RetinueError
from retinue.temporal import keyring
from retinue.temporal.step_pass import StepPass, sign, with_pass
from retinue.tenancy import organisation
from retinue.testing import serving

ANNA, BEN, CARA = "acme:anna", "acme:ben", "globex:cara"
CAPABILITIES = ["calendar", "contacts", "email"]


@dataclass
class ScriptedOAuth:
    """A provider: codes are `code-<subject>`, tokens are numbered, each refresh token works once."""

    life: timedelta = timedelta(hours=1)
    refreshes: int = 0
    slow: float = 0
    revoked: list[str] = field(default_factory=list)
    withdrawn: set[str] = field(default_factory=set)
    failing: RetinueError | None = None
    issued: list[str] = field(default_factory=list)
    address: str = ""
    anonymous: bool = False

    def providers(self) -> Sequence[ProviderInfo]:
        title, kind = "Google", SecretKind.BEARER
        google = ProviderInfo(id="google", provider=Provider.GOOGLE, title=title, kind=kind, capabilities=CAPABILITIES)
        return [google, google.model_copy(update={"id": "microsoft", "provider": Provider.MICROSOFT, "ready": False})]

    def endpoints(self, provider_id: str) -> dict[str, str]:
        return {"api": f"https://{provider_id}.example.com"}

    async def begin(
        self,
        provider_id: str,
        *,
        capabilities: Sequence[str],
        redirect_uri: str,
        state: str,
        address: str = "",
        read_only: Collection[str] = (),
    ) -> Flow:
        return Flow(f"https://{provider_id}.example.com/authorize?state={state}", {"verifier": f"verifier-{state}"})

    async def finish(
        self, provider_id: str, *, code: SecretStr, iss: str | None, redirect_uri: str, memory: dict[str, str]
    ) -> Tokens:
        assert memory["verifier"].startswith("verifier-")
        start, _, subject = code.get_secret_value().partition("code-")
        if start or not subject:
            raise InvalidArguments("the provider does not accept the code")
        return self._tokens(subject)

    async def begin_device(
        self, provider_id: str, *, capabilities: Sequence[str], read_only: Collection[str] = ()
    ) -> DeviceFlow:
        raise InvalidArguments("no such flow")

    async def poll_device(self, provider_id: str, *, memory: dict[str, str]) -> Tokens | None:
        raise InvalidArguments("no such flow")

    def token(self, provider_id: str, tokens: Tokens, *, capability: str) -> AccessToken | None:
        assert tokens.expires_at is not None
        if tokens.expires_at - datetime.now(UTC) < timedelta(minutes=5):
            return None
        return AccessToken(token=tokens.access_token, expires_at=tokens.expires_at)

    def allowed(self, provider_id: str, scopes: Collection[str]) -> dict[str, str]:
        return dict.fromkeys(CAPABILITIES, "read")

    async def close(self) -> None: ...

    async def refresh(self, provider_id: str, tokens: Tokens, *, capability: str | None = None) -> Tokens:
        self.refreshes += 1
        await asyncio.sleep(self.slow)
        if self.failing:
            raise self.failing
        if tokens.subject in self.withdrawn:
            raise AccountDisconnected("consent was withdrawn")
        assert tokens.refresh_token is not None
        assert tokens.refresh_token.get_secret_value() == self.issued[-1], "a refresh token was used twice"
        return self._tokens(tokens.subject)

    async def revoke(self, provider_id: str, tokens: Tokens) -> bool:
        self.revoked.append(tokens.subject)
        return True

    def _tokens(self, subject: str) -> Tokens:
        self.issued.append(f"canary-refresh-{len(self.issued)}")
        return Tokens(
            access_token=SecretStr(f"canary-access-{len(self.issued)}"),
            refresh_token=SecretStr(self.issued[-1]),
            expires_at=datetime.now(UTC) + self.life,
            scopes=["calendar.readonly"],
            subject="" if self.anonymous else subject,
            address=self.address or f"{subject}@google.example",
        )


@dataclass
class ScriptedServers:
    """Servers that take the passwords in `passwords`, and are found by addresses at nextcloud.example."""

    passwords: set[str] = field(default_factory=lambda: {"canary-password"})
    tested: list[str] = field(default_factory=list)

    async def endpoints(
        self, provider: Provider, address: str, *, username: str, password: SecretStr
    ) -> dict[str, str]:
        if not address.endswith("@nextcloud.example"):
            raise NotFound("the servers were not found by the address")
        return {"caldav": "https://127.0.0.1:1/dav"}

    async def discover(self, address: str) -> Sequence[FoundServers]:
        return [FoundServers(provider_id="caldav", endpoints={"caldav": "https://127.0.0.1:1/dav"})]

    async def test(self, connection: Connection) -> None:
        self.tested.append(connection.name)
        if connection.secret.get_secret_value() not in self.passwords:
            raise AccountDisconnected("the server does not accept the user name or password")

    async def close(self) -> None: ...


@dataclass
class Service:
    """The running service, and keys to call it."""

    url: str
    root: keyring.Keyring
    data: Path
    oauth: ScriptedOAuth
    servers: ScriptedServers

    @property
    def passes(self) -> keyring.Keyring:
        return keyring.parse_keys(caller_keys.pass_keys(self.root), kind="test")

    def with_key(self, key: str) -> AccountsService:
        return AccountsService(self.url, SecretStr(key))

    def of(self, person: str, *roles: str) -> PersonsAccounts:
        return PersonsAccounts(self.with_key(caller_keys.bearer_of_people(self.root)), person, roles)

    def admin(self, name: str) -> AdminsAccounts:
        return AdminsAccounts(self.with_key(caller_keys.bearer_of_people(self.root)), name)

    def worker(self, capability: str) -> AccountsClient:
        return AccountsClient(self.with_key(caller_keys.bearer_of(capability, self.root)))

    def passed(self, person: str, capability: str = "calendar", **changes: object) -> str:
        step = StepPass(
            organisation=organisation(person),
            person=person,
            capability=capability,
            workflow_id="assistant-1",
            activity_id="s1",
            expires=int(datetime.now(UTC).timestamp()) + 60,
        )
        return sign(step.model_copy(update=changes), self.passes)

    async def connection(
        self,
        person: str,
        capability: str = "calendar",
        *,
        account: str | None = None,
        rejected: Connection | None = None,
    ) -> Connection | None:
        """What a worker gets in a step of this person."""
        with with_pass(self.passed(person, capability)):
            return await self.worker(capability).connection(account=account, rejected=rejected)

    async def connect_calendar(
        self, person: str, name: str = "", password: str = "canary-password", account_id: str | None = None
    ) -> Connected:
        return await self.of(person).connect(
            ConnectPassword(
                provider=Provider.CALDAV,
                address=f"{organisation(person)}-{person.rpartition(':')[2]}@nextcloud.example",
                password=SecretStr(password),
                name=name,
                account_id=account_id,
            )
        )


@asynccontextmanager
async def service(data: Path, **variables: object) -> AsyncIterator[Service]:
    """Run the service with its own files in `data`; a second run finds the state of the first."""
    root_file = keyring.create_key_file(data / caller_keys.ROOT_FILE)
    settings = AccountsServiceSettings.model_validate(
        {
            "accounts_database_url": f"sqlite+aiosqlite:///{data / 'accounts.db'}",
            "retinue_accounts_root_key_file": root_file,
            "accounts_private_hosts": True,
            **variables,
        }
    )
    oauth, servers = ScriptedOAuth(), ScriptedServers()
    root = settings.root_keys()
    async with serving(create_app(settings, oauth=oauth, discovery=servers)) as url:
        yield Service(url, root, data, oauth, servers)
