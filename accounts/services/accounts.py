"""The accounts of people: list, connect by password, test, change, revoke."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence

from pydantic import SecretStr
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from accounts.oauth_flows import OAuthFlows, Tokens
from accounts.password_accounts import Discovery
from accounts.sealing import Sealer
from accounts.services import audit, endpoints
from accounts.services.clock import now
from accounts.services.rules import RuleBook, provider_allowed
from accounts.services.secrets import AccountSecrets, Password
from accounts.storage.tables import Account, Waiting
from retinue.accounts.client import fingerprint
from retinue.accounts.connection import Connection, Provider, SecretKind
from retinue.accounts.wire import (
    CAPABILITIES,
    AccountInfo,
    AccountList,
    AccountState,
    ChangeAccount,
    Connected,
    ConnectPassword,
    Discover,
    Discovered,
    EventKind,
    ProviderInfo,
    ProviderList,
    Tested,
)
from retinue.capability import OWN
from retinue.errors import (
    AccountDisconnected,
    Conflict,
    InvalidArguments,
    NotAllowed,
    NotFound,
    RetinueError,
    ServiceRefused,
    ServiceUnavailable,
    TooMany,
)
from retinue.store import Store
from retinue.tenancy import organisation

MOST_ACCOUNTS = 50
_PASSWORD_PROVIDERS = {
    Provider.CALDAV: "Calendar server (CalDAV): Nextcloud, iCloud, Fastmail ...",
    Provider.CARDDAV: "Address book (CardDAV): Nextcloud, iCloud, Fastmail ...",
    Provider.IMAP: "Mailbox (IMAP and SMTP) with an app password",
}
_log = logging.getLogger("retinue.accounts")


class AccountBook:
    """The accounts of all people. A foreign account is answered like an unknown one.

    Args:
        store: The service's database.
        sealer: Seals the secrets.
        secrets: Opens them.
        rules: Of the organisations.
        oauth: Providers with OAuth.
        discovery: Finds and tests servers.
        private: Whether servers may be on private addresses.
    """

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        secrets: AccountSecrets,
        rules: RuleBook,
        oauth: OAuthFlows,
        discovery: Discovery,
        *,
        private: bool,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._secrets = secrets
        self._rules = rules
        self._oauth = oauth
        self._discovery = discovery
        self._private = private

    async def list(self, person: str) -> AccountList:
        """Return a person's accounts, by name."""
        async with self._store.read() as session:
            found = await of_person(session, person)
        return AccountList(accounts=[self.info(account) for account in found])

    async def get(self, person: str, account_id: str) -> AccountInfo:
        """Return one account.

        Raises:
            NotFound: The person has none with this id.
        """
        return self.info(await self.stored(person, account_id))

    async def stored(self, person: str, account_id: str) -> Account:
        """Return the row of one account.

        Raises:
            NotFound: The person has none with this id.
        """
        async with self._store.read() as session:
            return await one_of_person(session, person, account_id)

    async def connect(self, person: str, roles: Collection[str], wanted: ConnectPassword) -> Connected:
        """Connect an account by an app password, or connect it again. Nothing is stored unless signing in works.

        Raises:
            InvalidArguments: The password is refused, or the servers were not found or cannot be used.
            NotAllowed: The organisation does not allow it.
            NotFound: The person has no such account to connect again.
            Conflict: It is another account than the one that was to be connected again.
        """
        if wanted.provider not in _PASSWORD_PROVIDERS:
            raise InvalidArguments(f"{wanted.provider} needs no password: connect it by signing in there")
        await self._rules.check(person, wanted.provider, CAPABILITIES[wanted.provider], roles)
        again = await self.stored(person, wanted.account_id) if wanted.account_id else None
        if again is not None and not _is_of(again, wanted):
            raise another_account(again)
        found = wanted.endpoints or (again.endpoints if again else {})
        try:
            found = found or await self._discovery.endpoints(
                wanted.provider, wanted.address, username=wanted.username, password=wanted.password
            )
            await endpoints.check(wanted.provider, found, private=self._private)
            account = again or self.new(person, wanted.provider, wanted.provider, SecretKind.PASSWORD)
            account.address, account.endpoints = wanted.address, dict(found)
            account.username = wanted.username or account.username
            await self._discovery.test(self._connection(account, wanted.password))
        except (AccountDisconnected, ServiceRefused) as refused:
            raise InvalidArguments(refused.message, hint=refused.hint) from None
        account.name = wanted.name or account.name or wanted.address[:60]
        return await self.put(account, Password(password=wanted.password), capabilities=CAPABILITIES[wanted.provider])

    async def discover(self, wanted: Discover) -> Discovered:
        """Look for the servers of an address; no password is sent."""
        return Discovered(found=list(await self._discovery.discover(wanted.address)))

    @staticmethod
    def new(person: str, provider: Provider, provider_id: str, kind: SecretKind) -> Account:
        """Return a new row, not yet stored."""
        return Account(
            account_id=uuid.uuid4().hex,
            organisation=organisation(person),
            person=person,
            name="",
            provider=provider,
            provider_id=provider_id,
            kind=kind,
            address="",
            username="",
            subject="",
            endpoints={},
            capabilities=[],
            default_for=[],
            scopes=[],
            state=AccountState.CONNECTED,
            problem="",
            sealed="",
            connected_at=now(),
        )

    async def put(self, account: Account, secret: Password | Tokens, *, capabilities: Iterable[str]) -> Connected:
        """Store an account with its secret, new or connected again, and take the runs that wait for it."""
        sealed = self._secrets.seal(account, secret)
        async with self._store.write() as session:
            others = [one for one in await of_person(session, account.person) if one.account_id != account.account_id]
            stored = await session.get(Account, account.account_id)
            if stored is None and len(others) >= MOST_ACCOUNTS:
                raise TooMany(f"at most {MOST_ACCOUNTS} accounts can be connected", retry_after=3600)
            kept = stored or account
            for field in ("address", "username", "subject", "endpoints", "scopes"):
                setattr(kept, field, getattr(account, field))
            kept.name = _free_name(account.name, {one.name for one in others})
            kept.capabilities = sorted({*kept.capabilities, *capabilities})
            taken = {capability for one in others for capability in one.default_for}
            kept.default_for = sorted({*kept.default_for, *(set(kept.capabilities) - taken)})
            kept.sealed, kept.state, kept.problem, kept.connected_at = sealed, AccountState.CONNECTED, "", now()
            kept.refresher = ""
            session.add(kept)
            audit.record(session, EventKind.CONNECTED_AGAIN if stored else EventKind.CONNECTED, kept)
            waiting = await _take_waiting(session, kept.account_id)
        return Connected(account=self.info(kept), waiting=waiting)

    async def change(self, person: str, account_id: str, change: ChangeAccount) -> AccountInfo:
        """Rename an account, or say what it is used for.

        Raises:
            NotFound: The person has none with this id.
            Conflict: Another one has this name.
            InvalidArguments: It cannot be used for a capability.
        """
        async with self._store.write() as session:
            account = await one_of_person(session, person, account_id)
            others = [one for one in await of_person(session, person) if one.account_id != account_id]
            if change.name is not None:
                if change.name.casefold() == OWN:
                    raise InvalidArguments(f"{OWN} stands for the own data, so no account can be called that")
                if any(one.name.casefold() == change.name.casefold() for one in others):
                    raise Conflict(f"another account is called {change.name}")
                account.name = change.name
            if change.capabilities is not None:
                _check_among(change.capabilities, CAPABILITIES[Provider(account.provider)], "it cannot be used for")
                account.capabilities = sorted(set(change.capabilities))
                account.default_for = sorted(set(account.default_for) & set(account.capabilities))
            if change.default_for is not None:
                _check_among(change.default_for, account.capabilities, "it is not used for")
                account.default_for = sorted(set(change.default_for))
                for one in others:
                    if set(one.default_for) & set(account.default_for):
                        one.default_for = sorted(set(one.default_for) - set(account.default_for))
                        session.add(one)
            session.add(account)
            audit.record(session, EventKind.CHANGED, account)
        return self.info(account)

    async def revoke(self, person: str, account_id: str) -> None:
        """Withdraw the consent at the provider, as far as possible, and delete the account and its secret.

        Raises:
            NotFound: The person has none with this id.
        """
        account = await self.stored(person, account_id)
        detail = await self._withdraw(account) if account.kind == SecretKind.BEARER else ""
        async with self._store.write() as session:
            found = await one_of_person(session, person, account_id)
            others = [one for one in await of_person(session, person) if one.account_id != account_id]
            for capability in found.default_for:
                users = [one for one in others if capability in one.capabilities]
                if len(users) == 1:  # of several the person chooses
                    users[0].default_for = sorted({*users[0].default_for, capability})
                    session.add(users[0])
            audit.record(session, EventKind.REVOKED, found, detail)
            await session.exec(delete(Waiting).where(col(Waiting.account_id) == account_id))
            await session.delete(found)

    async def _withdraw(self, account: Account) -> str:
        """Withdraw a consent; returns in words what did not work, since the account is deleted all the same."""
        try:
            withdrawn = await self._oauth.revoke(account.provider_id, self._secrets.tokens(account))
        except RetinueError as error:
            _log.warning("a consent was not withdrawn at the provider: %s", type(error).__name__)
            withdrawn = False
        if withdrawn:
            return "the access was withdrawn at the provider"
        return "it was deleted here, but not withdrawn at the provider: remove the access there too"

    async def test(self, person: str, account_id: str) -> Tested:
        """Try whether an account works now.

        Raises:
            NotFound: The person has none with this id.
        """
        account = await self.stored(person, account_id)
        was_disconnected = account.state == AccountState.DISCONNECTED
        if was_disconnected and account.kind == SecretKind.PASSWORD:
            account.state = AccountState.CONNECTED  # the server may accept it again
        try:
            secret, _ = await self._secrets.usable(account)
            if (
                account.kind == SecretKind.BEARER
            ):  # a token may outlive its consent: only its renewal shows that it holds
                await self._secrets.usable(account, rejected=fingerprint(secret))
            else:
                await self._discovery.test(self._connection(account, secret))
        except AccountDisconnected as error:
            if not was_disconnected:
                await self._secrets.disconnect(account, "the service refused the account's secret")
            return Tested(works=False, problem=error.message)
        except (ServiceUnavailable, ServiceRefused, NotAllowed) as error:
            return Tested(works=False, problem=error.message)
        async with self._store.write() as session:
            stored = await one_of_person(session, person, account_id)
            stored.state, stored.problem = AccountState.CONNECTED, ""
            session.add(stored)
            waiting = await _take_waiting(session, account_id)
        return Tested(works=True, waiting=waiting)

    async def providers(self, person: str) -> ProviderList:
        """Return all ways to connect an account."""
        rules = await self._rules.of(organisation(person))
        by_password = [
            ProviderInfo(
                id=provider,
                provider=provider,
                title=title,
                kind=SecretKind.PASSWORD,
                capabilities=list(CAPABILITIES[provider]),
            )
            for provider, title in _PASSWORD_PROVIDERS.items()
        ]
        return ProviderList(
            providers=[
                one.model_copy(update={"allowed": provider_allowed(rules, one.id)})
                for one in [*self._oauth.providers(), *by_password]
            ]
        )

    def _connection(self, account: Account, secret: SecretStr) -> Connection:
        return Connection(
            account_id=account.account_id,
            name=account.name,
            address=account.address,
            provider=Provider(account.provider),
            endpoints=account.endpoints,
            username=account.username,
            secret=secret,
            kind=SecretKind(account.kind),
            private_hosts=self._private,
        )

    def info(self, account: Account) -> AccountInfo:
        """Return an account as its person sees it."""
        state, problem = AccountState(account.state), account.problem
        if not self._sealer.readable(account.sealed):
            state = AccountState.UNREADABLE
            problem = (
                "the key of its stored secret is missing; connect it again, or ask the operator to restore the key"
            )
        return AccountInfo(
            account_id=account.account_id,
            name=account.name,
            address=account.address,
            provider=Provider(account.provider),
            provider_id=account.provider_id,
            kind=SecretKind(account.kind),
            capabilities=account.capabilities,
            default_for=account.default_for,
            endpoints=account.endpoints,
            scopes=account.scopes,
            access=self._access(account),
            state=state,
            problem=problem,
            connected_at=account.connected_at,
            last_used_at=account.last_used_at,
            last_used_for=account.last_used_for,
        )

    def _access(self, account: Account) -> dict[str, str]:
        """Return by capability whether reading is all that the provider allows; an app password opens everything."""
        if account.kind == SecretKind.PASSWORD or account.provider_id not in {
            one.id for one in self._oauth.providers()
        }:
            return dict.fromkeys(account.capabilities, "write")
        allowed = self._oauth.allowed(account.provider_id, account.scopes)
        return {capability: allowed[capability] for capability in account.capabilities if capability in allowed}


async def of_person(session: AsyncSession, person: str) -> Sequence[Account]:
    """Return a person's accounts, by name."""
    return (await session.exec(select(Account).where(Account.person == person).order_by(col(Account.name)))).all()


async def one_of_person(session: AsyncSession, person: str, account_id: str) -> Account:
    """Return one account of a person.

    Raises:
        NotFound: The person has none with this id.
    """
    account = await session.get(Account, account_id)
    if account is None or account.person != person:
        raise NotFound("there is no such account")
    return account


def another_account(account: Account) -> Conflict:
    """Return the error that an account is connected again as another one: its grants and defaults are not for that."""
    return Conflict(
        f"this is another account than {account.name}, or nobody can tell",
        hint="disconnect it and connect the new one",
    )


def _is_of(account: Account, wanted: ConnectPassword) -> bool:
    """Whether a password is for the same user at the same servers as an account's."""
    login = account.username or account.address
    same_servers = not wanted.endpoints or _servers(wanted.endpoints) == _servers(account.endpoints)
    return (
        wanted.provider == account.provider
        and wanted.address.casefold() == account.address.casefold()
        and (not wanted.username or wanted.username == login)
        and same_servers
    )


def _servers(endpoints: Mapping[str, str]) -> dict[str, str]:
    return {name: url.rstrip("/") for name, url in endpoints.items()}


async def _take_waiting(session: AsyncSession, account_id: str) -> list[str]:
    found = (await session.exec(select(Waiting.workflow_id).where(Waiting.account_id == account_id))).all()
    await session.exec(delete(Waiting).where(col(Waiting.account_id) == account_id))
    return list(found)


def _check_among(wanted: Iterable[str], known: Collection[str], words: str) -> None:
    for capability in wanted:
        if capability not in known:
            raise InvalidArguments(f"{words} {capability[:40]!r}")


def _free_name(name: str, taken: Collection[str]) -> str:
    """Return the name, with a number if another account of the person has it."""
    used = {OWN, *(one.casefold() for one in taken)}
    wanted = name[:55]
    candidates = [name, *(f"{wanted} {number}" for number in range(2, MOST_ACCOUNTS + 2))]
    return next(one for one in candidates if one.casefold() not in used)
