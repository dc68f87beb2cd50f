"""Consents of OAuth, from where the browser goes to the stored account. Each state is valid once, for its person."""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

from sqlmodel import col, delete, select

from accounts.oauth_flows import OAuthFlows, Tokens
from accounts.sealing import Sealer
from accounts.services.accounts import AccountBook, another_account
from accounts.services.audit import Refusals
from accounts.services.clock import now
from accounts.services.rules import RuleBook
from accounts.storage.tables import Account, Consent
from retinue.accounts.connection import SecretKind
from retinue.accounts.wire import (
    BeginDevice,
    BeginOAuth,
    Connected,
    DeviceBegun,
    DevicePolled,
    FinishOAuth,
    OAuthBegun,
    PollDevice,
    ProviderInfo,
)
from retinue.errors import InvalidArguments, NotAllowed
from retinue.store import Store

GOOD_FOR = timedelta(minutes=10)
_ON_A_DEVICE = ""
"""In place of the redirect address of a consent that is given on another device."""
_UNKNOWN = "this consent is unknown, was finished or has expired; begin again"


@dataclass(frozen=True)
class _Begun:
    """A consent that has begun at a provider."""

    person: str
    provider_id: str
    again: Account | None
    name: str
    capabilities: list[str]
    memory: dict[str, str] = field(repr=False)


class Consents:
    """Begins and finishes consents."""

    def __init__(
        self, store: Store, sealer: Sealer, book: AccountBook, rules: RuleBook, oauth: OAuthFlows, refusals: Refusals
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._book = book
        self._rules = rules
        self._oauth = oauth
        self._refusals = refusals

    async def begin(self, person: str, roles: Collection[str], wanted: BeginOAuth) -> OAuthBegun:
        """Return where the browser goes.

        Raises:
            InvalidArguments: No such provider, or it is not set up or does not serve a capability.
            NotAllowed: The organisation does not allow it.
            NotFound: The person has no such account to connect again.
        """
        provider, again, capabilities = await self._checked(person, roles, wanted)
        state = secrets.token_urlsafe(32)
        flow = await self._oauth.begin(
            provider.id,
            capabilities=capabilities,
            redirect_uri=wanted.redirect_uri,
            state=state,
            address=again.address if again else "",
            read_only=self._read_only(wanted, again, capabilities),
        )
        begun = _Begun(person, provider.id, again, wanted.name, capabilities, flow.memory)
        await self._keep(begun, state, redirect_uri=wanted.redirect_uri, good_for=GOOD_FOR)
        return OAuthBegun(authorize_url=flow.authorize_url, state=state)

    async def begin_device(self, person: str, roles: Collection[str], wanted: BeginDevice) -> DeviceBegun:
        """Return the code that the person types on another device.

        Raises:
            InvalidArguments: As `begin`, or the provider has no such flow.
            NotAllowed: The organisation does not allow it.
            NotFound: The person has no such account to connect again.
        """
        provider, again, capabilities = await self._checked(person, roles, wanted)
        flow = await self._oauth.begin_device(
            provider.id, capabilities=capabilities, read_only=self._read_only(wanted, again, capabilities)
        )
        state = secrets.token_urlsafe(32)
        begun = _Begun(person, provider.id, again, wanted.name, capabilities, flow.memory)
        await self._keep(begun, state, redirect_uri=_ON_A_DEVICE, good_for=timedelta(seconds=flow.expires_in))
        return DeviceBegun(
            user_code=flow.user_code,
            verification_uri=flow.verification_uri,
            verification_uri_complete=flow.verification_uri_complete,
            interval=flow.interval,
            expires_in=flow.expires_in,
            state=state,
        )

    async def poll_device(self, person: str, roles: Collection[str], asked: PollDevice) -> DevicePolled:
        """Store the account once the person has agreed on the other device.

        Raises:
            InvalidArguments: The state is unknown or another person's, the person declined, or the code has expired.
            NotAllowed: The organisation does not allow it any more.
        """
        consent = await self._valid(person, asked.state, on_a_device=True)
        await self._rules.check(person, consent.provider_id, consent.capabilities, roles)
        tokens = await self._oauth.poll_device(consent.provider_id, memory=self._memory(consent))
        if tokens is None:
            return DevicePolled(connected=None)
        await self._valid(person, asked.state, on_a_device=True, take=True)
        return DevicePolled(connected=await self._stored(person, consent, tokens))

    async def _checked(
        self, person: str, roles: Collection[str], wanted: BeginOAuth | BeginDevice
    ) -> tuple[ProviderInfo, Account | None, list[str]]:
        """Return the provider, the account to connect again, and for what scopes are asked."""
        provider = self._provider(wanted.provider_id)
        for capability in wanted.capabilities:
            if capability not in provider.capabilities:
                raise InvalidArguments(f"{provider.title} cannot be used for {capability[:40]!r}")
        await self._rules.check(person, provider.id, wanted.capabilities, roles)
        again = await self._book.stored(person, wanted.account_id) if wanted.account_id else None
        if again is not None and (again.provider_id != provider.id or not again.subject):
            raise another_account(again)
        return provider, again, sorted({*wanted.capabilities, *(again.capabilities if again else ())})

    def _read_only(
        self, wanted: BeginOAuth | BeginDevice, again: Account | None, capabilities: Collection[str]
    ) -> list[str]:
        """Return for what reading is enough: as is wanted, else as the account has it, so that rights only grow by will."""
        had = self._oauth.allowed(again.provider_id, again.scopes) if again else {}
        decided = set() if wanted.read_only is None else set(wanted.capabilities)
        kept = [name for name in capabilities if name not in decided and had.get(name) == "read"]
        return [*(wanted.read_only or ()), *kept]

    async def _keep(self, begun: _Begun, state: str, *, redirect_uri: str, good_for: timedelta) -> None:
        """Store what is needed to finish."""
        account_id = begun.again.account_id if begun.again else uuid.uuid4().hex
        consent = Consent(
            state_digest=_digest(state),
            person=begun.person,
            provider_id=begun.provider_id,
            account_id=account_id,
            again=begun.again is not None,
            name=begun.name,
            capabilities=begun.capabilities,
            redirect_uri=redirect_uri,
            sealed=self._sealer.seal(json.dumps(begun.memory), person=begun.person, account_id=f"consent/{account_id}"),
            expires_at=now() + good_for,
        )
        async with self._store.write() as session:
            await session.exec(delete(Consent).where(col(Consent.expires_at) < now()))
            session.add(consent)

    def _memory(self, consent: Consent) -> dict[str, str]:
        opened = self._sealer.open(consent.sealed, person=consent.person, account_id=f"consent/{consent.account_id}")
        found: dict[str, str] = json.loads(opened)
        return found

    async def finish(self, person: str, roles: Collection[str], brought: FinishOAuth) -> Connected:
        """Exchange the code, and store the account.

        Raises:
            InvalidArguments: The state or the code is unknown, used or expired, or belongs to another person.
            NotAllowed: The person declined, or the organisation does not allow it any more.
            Conflict: It is another account at the provider than the one that was to be connected again.
        """
        consent = await self._valid(person, brought.state, take=True)
        if brought.error or brought.code is None:
            raise NotAllowed("the consent was not given", hint="begin again if that was not meant")
        await self._rules.check(person, consent.provider_id, consent.capabilities, roles)
        tokens = await self._oauth.finish(
            consent.provider_id,
            code=brought.code,
            iss=brought.iss,
            redirect_uri=consent.redirect_uri,
            memory=self._memory(consent),
        )
        return await self._stored(person, consent, tokens)

    async def _stored(self, person: str, consent: Consent, tokens: Tokens) -> Connected:
        account = await self._account(person, consent, tokens)
        granted = consent.capabilities if tokens.capabilities is None else tokens.capabilities
        if not granted:
            raise NotAllowed("nothing of what was asked for was allowed at the provider")
        return await self._book.put(account, tokens, capabilities=granted)

    async def _valid(self, person: str, state: str, *, on_a_device: bool = False, take: bool = False) -> Consent:
        """Return the consent of a state; `take` uses it.

        Raises:
            InvalidArguments: It is unknown, used, expired, another person's, or begun in another way.
        """
        async with self._store.write() as session:
            consent = await session.get(Consent, _digest(state))
            valid = (
                consent is not None
                and consent.person == person
                and consent.expires_at >= now()
                and (consent.redirect_uri == _ON_A_DEVICE) == on_a_device
            )
            if take and valid:
                await session.delete(consent)
        if consent is None or not valid:
            await self._refusals.record(person, "a consent was finished with a state that is not valid for this person")
            raise InvalidArguments(_UNKNOWN)
        return consent

    async def _account(self, person: str, consent: Consent, tokens: Tokens) -> Account:
        """Return the account of these tokens: connected again, the same one at the provider, or a new one."""
        if consent.again:
            account = await self._book.stored(person, consent.account_id)
            if not tokens.subject or tokens.subject != account.subject:
                raise another_account(account)
        else:
            account = await self._same(person, consent.provider_id, tokens.subject) or self._book.new(
                person, self._provider(consent.provider_id).provider, consent.provider_id, SecretKind.BEARER
            )
        account.name = consent.name or account.name or (tokens.address or consent.provider_id)[:60]
        account.address, account.subject = tokens.address or account.address, tokens.subject
        account.endpoints, account.scopes = self._oauth.endpoints(consent.provider_id), tokens.scopes
        return account

    async def _same(self, person: str, provider_id: str, subject: str) -> Account | None:
        if not subject:
            return None
        query = select(Account).where(
            Account.person == person, Account.provider_id == provider_id, Account.subject == subject
        )
        async with self._store.read() as session:
            return (await session.exec(query)).first()

    def _provider(self, provider_id: str) -> ProviderInfo:
        found = next((one for one in self._oauth.providers() if one.id == provider_id), None)
        if found is None:
            raise InvalidArguments(f"there is no provider {provider_id[:40]!r} with a sign-in")
        if not found.ready:
            raise InvalidArguments(f"{found.title} is not set up here", hint="the operator sets its client id")
        return found


def _digest(state: str) -> str:
    return hashlib.sha256(state.encode(errors="surrogatepass")).hexdigest()
