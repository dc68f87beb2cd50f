"""The secret of an account: a password, or a provider's tokens, and when tokens are renewed.

Many processes may need a token at once. One of them claims the account's row and asks the provider; the others wait for
what it stores. A claim ends without its process once another one has seen it unchanged for long enough. No time is stored
with it, since the clocks of two machines differ, and a refresh token that is used twice may end the whole access.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import datetime

from pydantic import BaseModel, ConfigDict, SecretStr, field_serializer
from sqlmodel.ext.asyncio.session import AsyncSession

from accounts.oauth_flows import AccessToken, OAuthFlows, Tokens
from accounts.sealing import Sealer
from accounts.services import audit
from accounts.storage.tables import Account
from retinue.accounts.client import fingerprint
from retinue.accounts.connection import BrokenAccount, Provider, SecretKind
from retinue.accounts.wire import AccountState, EventKind
from retinue.errors import AccountDisconnected, NotFound, ServiceUnavailable
from retinue.store import Store

CLAIM = 40.0
"""Seconds after which a claim counts as left behind; a renewal takes less (`accounts.oauth.flows.RENEWAL`)."""
_PATIENCE = 25.0
_LOOK = 0.1


class Password(BaseModel):
    """The secret of an account by an app password."""

    model_config = ConfigDict(hide_input_in_errors=True)

    password: SecretStr

    @field_serializer("password", when_used="json")
    def _shown(self, password: SecretStr) -> str:
        return password.get_secret_value()


class AccountSecrets:
    """Opens the secrets of accounts, and renews tokens."""

    def __init__(self, store: Store, sealer: Sealer, oauth: OAuthFlows, *, hint: str) -> None:
        self._store = store
        self._sealer = sealer
        self._oauth = oauth
        self._hint = hint
        self._seen: dict[str, tuple[str, float]] = {}

    def seal(self, account: Account, secret: Password | Tokens) -> str:
        """Return a secret sealed for an account.

        Raises:
            ServiceRefused: There is no key.
        """
        return self._sealer.seal(secret.model_dump_json(), person=account.person, account_id=account.account_id)

    def tokens(self, account: Account) -> Tokens:
        """Return the stored tokens.

        Raises:
            Unreadable: They cannot be opened.
        """
        return Tokens.model_validate_json(self._open(account))

    async def usable(
        self, account: Account, *, capability: str | None = None, rejected: str | None = None
    ) -> tuple[SecretStr, datetime | None]:
        """Return a secret that should work, and when it ends.

        Args:
            account: As it is stored.
            capability: For what; None: any that the account is used for.
            rejected: The fingerprint of a secret that the service refused.

        Raises:
            AccountDisconnected: The person must connect it again.
            Unreadable: It cannot be opened.
            ServiceUnavailable: The provider does not answer.
        """
        if account.state == AccountState.DISCONNECTED:
            raise self.disconnected(account)
        if account.kind == SecretKind.PASSWORD:
            password = Password.model_validate_json(self._open(account)).password
            if rejected is not None and fingerprint(password) == rejected:
                raise await self.disconnect(account, "the service refused the password")
            return password, None
        try:
            token = await self._fresh(account, capability or account.capabilities[0], rejected)
        except AccountDisconnected:
            raise self.disconnected(account) from None
        return token.token, token.expires_at

    def disconnected(self, account: Account) -> AccountDisconnected:
        """Return the error of an account that must be connected again."""
        error = AccountDisconnected(f"the account {account.name} must be connected again", hint=self._hint)
        link = self._hint if self._hint.startswith("http") else ""
        error.details = (
            BrokenAccount(
                account_id=account.account_id, name=account.name, provider=Provider(account.provider), link=link
            ),
        )
        return error

    async def disconnect(self, account: Account, why: str) -> AccountDisconnected:
        """Store that an account must be connected again; returns the error to raise."""
        async with self._store.write() as session:
            stored = await session.get(Account, account.account_id)
            if stored is not None and stored.sealed == account.sealed:  # not connected again meanwhile
                stored.refresher = ""
                if stored.state != AccountState.DISCONNECTED:
                    stored.state, stored.problem = AccountState.DISCONNECTED, why
                    audit.record(session, EventKind.DISCONNECTED, stored, why)
                session.add(stored)
        return self.disconnected(account)

    def _open(self, account: Account) -> str:
        return self._sealer.open(account.sealed, person=account.person, account_id=account.account_id)

    async def _fresh(self, account: Account, capability: str, rejected: str | None) -> AccessToken:
        claim = uuid.uuid4().hex
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            stored, token = await self._claimed(account.account_id, capability, claim, rejected)
            if token is None and stored.refresher == claim:
                token = await self._renewed(stored, capability, claim)
            if token is not None:
                account.address = stored.address
                return token
            await asyncio.sleep(_LOOK)
        raise ServiceUnavailable("another process renews this account's token and takes long")

    async def _claimed(
        self, account_id: str, capability: str, claim: str, rejected: str | None
    ) -> tuple[Account, AccessToken | None]:
        """Return the token, or None if it must be renewed, which this process claims if nobody does."""
        async with self._store.write() as session:
            account = await session.get(Account, account_id)
            if account is None:
                raise NotFound("the account was deleted")
            if account.state == AccountState.DISCONNECTED:
                raise self.disconnected(account)
            token = self._oauth.token(account.provider_id, self.tokens(account), capability=capability)
            if token is not None and (rejected is None or fingerprint(token.token) != rejected):
                return account, token
            if self._is_free(account):
                account.refresher = claim
                session.add(account)
            return account, None

    def _is_free(self, account: Account) -> bool:
        """Whether nobody renews the token, or whoever did seems to have died."""
        if not account.refresher:
            self._seen.pop(account.account_id, None)
            return True
        claim, since = self._seen.get(account.account_id, ("", 0.0))
        if claim != account.refresher:
            self._seen[account.account_id] = (account.refresher, time.monotonic())
            return False
        return time.monotonic() - since > CLAIM

    async def _renewed(self, account: Account, capability: str, claim: str) -> AccessToken:
        try:
            renewed = await self._oauth.refresh(account.provider_id, self.tokens(account), capability=capability)
        except AccountDisconnected:
            raise await self.disconnect(account, "the provider does not renew the access") from None
        except (Exception, asyncio.CancelledError):
            await self._end_claim(account, claim)
            raise
        await self._end_claim(account, claim, renewed)
        token = self._oauth.token(account.provider_id, renewed, capability=capability)
        return token or AccessToken(token=renewed.access_token, expires_at=renewed.expires_at)

    async def _end_claim(self, account: Account, claim: str, renewed: Tokens | None = None) -> None:
        """Store new tokens and end the claim, unless another process claimed it or it was connected again."""
        async with self._store.write() as session:
            stored = await session.get(Account, account.account_id)
            if stored is None or stored.refresher != claim:
                return
            if renewed is not None:
                stored.sealed, stored.scopes = self.seal(stored, renewed), renewed.scopes or stored.scopes
                _say_changes(session, stored, renewed)
                account.address = stored.address
            stored.refresher = ""
            session.add(stored)


def _say_changes(session: AsyncSession, stored: Account, renewed: Tokens) -> None:
    """Take over what changed at the provider, and record it for the person."""
    if renewed.address and renewed.address != stored.address:
        detail = f"the provider calls it {renewed.address} now, before {stored.address or 'without an address'}"
        stored.address = renewed.address
        audit.record(session, EventKind.CHANGED, stored, detail)
    allowed = stored.capabilities if renewed.capabilities is None else renewed.capabilities
    lost = sorted(set(stored.capabilities) - set(allowed))
    problem = f"it was not allowed to use {', '.join(lost)} any more" if lost else ""
    if problem and problem != stored.problem:
        audit.record(session, EventKind.DISCONNECTED, stored, problem)
    stored.problem = problem
