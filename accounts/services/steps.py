"""Workers' side: the connection of exactly the person, account and capability of the step that a worker runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import SecretStr
from sqlmodel import col, delete

from accounts.services.accounts import of_person
from accounts.services.audit import Refusals
from accounts.services.clock import now
from accounts.services.rules import RuleBook, provider_allowed
from accounts.services.secrets import AccountSecrets
from accounts.storage.tables import Account, Waiting
from retinue.accounts.choice import choose
from retinue.accounts.connection import AccountName, Provider, SecretKind
from retinue.accounts.wire import AskConnection, AskNames, ConnectionGiven, StepAccounts, StepConnection
from retinue.capability import OWN
from retinue.errors import AccountDisconnected, NotAllowed, NotAuthenticated, ServiceRefused
from retinue.store import Store
from retinue.temporal.keyring import Keyring
from retinue.temporal.step_pass import StepPass, verify
from retinue.tenancy import organisation

_USED_EACH = timedelta(minutes=1)
"""How exactly the last use of an account is recorded."""
_PLANS = "reasoning"
"""The capability that plans: it learns the names of all accounts, and gets no connection."""
_WAITS_AT_MOST = timedelta(days=60)


class Steps:
    """Gives workers the connections of their steps."""

    def __init__(
        self,
        store: Store,
        secrets: AccountSecrets,
        rules: RuleBook,
        refusals: Refusals,
        passes: Keyring,
        *,
        private: bool,
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._rules = rules
        self._refusals = refusals
        self._passes = passes
        self._private = private

    async def connection(self, capability: str, asked: AskConnection) -> StepConnection:
        """Return the connection of a step; none if the person has no account for its capability.

        Args:
            capability: Whose worker asks, by its key.
            asked: The pass and what is wanted.

        Raises:
            NotAuthenticated: The pass is not valid.
            NotAllowed: The pass is of another capability, person or account, or for the own data.
            NotFound: The person has no account of that name.
            Ambiguous: There are several, and none is the default.
            AccountDisconnected: It must be connected again; the step's run is remembered.
            ServiceRefused: The organisation does not allow the provider, or the secret is unreadable.
        """
        step = await self._checked(capability, asked.step_pass)
        async with self._store.read() as session:
            accounts = [one for one in await of_person(session, step.person) if capability in one.capabilities]
        account = await self._chosen(step, asked.account, accounts)
        if account is None:
            return StepConnection(connection=None)
        if not provider_allowed(await self._rules.of(step.organisation), account.provider_id):
            await self._refusals.record(
                step.person, f"{capability} asked for an account of a provider that is not allowed"
            )
            raise ServiceRefused(f"your organisation does not allow accounts of {account.provider_id}")
        try:
            secret, expires_at = await self._secrets.usable(account, capability=capability, rejected=asked.rejected)
        except AccountDisconnected:
            await self._remember(account, step)
            raise
        await self._used(account, capability)
        given = ConnectionGiven(
            account_id=account.account_id,
            name=account.name,
            address=account.address,
            provider=Provider(account.provider),
            endpoints=account.endpoints,
            username=account.username,
            secret=secret,
            kind=SecretKind(account.kind),
            expires_at=expires_at,
            # the operator names the servers of accounts with OAuth
            private_hosts=self._private or account.kind == SecretKind.BEARER,
        )
        return StepConnection(connection=given)

    async def names(self, capability: str, asked: AskNames) -> StepAccounts:
        """Return the accounts of the step's person that the capability may use; all, for planning; none on the own data.

        Raises:
            NotAuthenticated: The pass is not valid.
            NotAllowed: The pass is of another capability.
        """
        step = await self._checked(capability, asked.step_pass)
        async with self._store.read() as session:
            accounts = await of_person(session, step.person) if step.account != OWN else []
        return StepAccounts(
            accounts=[
                AccountName.model_validate(one.model_dump(include=set(AccountName.model_fields)))
                for one in accounts
                if capability in (_PLANS, *one.capabilities)
            ]
        )

    async def _checked(self, capability: str, step_pass: SecretStr) -> StepPass:
        try:
            step = verify(step_pass.get_secret_value(), self._passes, now=now())
        except NotAuthenticated as refused:
            await self._refusals.record("", f"{capability} asked for an account: {refused.message}")
            raise
        if step.capability != capability or step.organisation != organisation(step.person):
            await self._refusals.record(step.person, f"{capability} showed the pass of a step of {step.capability}")
            raise NotAllowed("the step's pass is of another capability")
        return step

    async def _chosen(self, step: StepPass, named: str | None, accounts: Sequence[Account]) -> Account | None:
        """Return the account that a worker may use; None if the person has none and none is named."""
        if step.account == OWN:
            await self._refusals.record(
                step.person, f"{step.capability} asked for an account in a step on the own data"
            )
            raise NotAllowed("the step's pass is for the own data")
        account = choose(accounts, step.account or named, step.capability)
        if step.account and named and choose(accounts, named, step.capability) is not account:
            await self._refusals.record(step.person, f"{step.capability} asked for another account than its step's")
            raise NotAllowed("the step's pass is of another account")
        return account

    async def _remember(self, account: Account, step: StepPass) -> None:
        """Remember that a run waits for an account."""
        async with self._store.write() as session:
            await session.exec(delete(Waiting).where(col(Waiting.since) < now() - _WAITS_AT_MOST))
            if await session.get(Waiting, (account.account_id, step.workflow_id)) is None:
                session.add(Waiting(account_id=account.account_id, workflow_id=step.workflow_id, since=now()))

    async def _used(self, account: Account, capability: str) -> None:
        """Record that an account is used now."""
        at = account.last_used_at
        if at is not None and now() - at < _USED_EACH and account.last_used_for == capability:
            return
        async with self._store.write() as session:
            stored = await session.get(Account, account.account_id)
            if stored is not None:
                stored.last_used_at, stored.last_used_for = now(), capability
                session.add(stored)
