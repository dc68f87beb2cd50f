"""What an organisation's administrators decide: which providers are allowed, which capabilities need which role."""

from __future__ import annotations

from collections.abc import Collection

from sqlmodel import col, select

from accounts.services import audit
from accounts.storage.tables import Account, Rules
from retinue.accounts.wire import AccountState, ConnectionInfo, ConnectionList, EventKind, OrganisationRules
from retinue.errors import NotAllowed
from retinue.store import Store
from retinue.tenancy import organisation

MOST_CONNECTIONS = 500


class RuleBook:
    """The rules of all organisations; without rules everything is allowed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, name: str) -> OrganisationRules:
        """Return an organisation's rules."""
        async with self._store.read() as session:
            found = await session.get(Rules, name)
        return OrganisationRules.model_validate(found.content) if found else OrganisationRules()

    async def set(self, name: str, rules: OrganisationRules, *, by: str) -> OrganisationRules:
        """Replace an organisation's rules."""
        async with self._store.write() as session:
            found = await session.get(Rules, name) or Rules(organisation=name, content={})
            found.content = rules.model_dump()
            session.add(found)
            allowed = "all" if rules.allowed_providers is None else ", ".join(rules.allowed_providers) or "none"
            roles = ", ".join(f"{capability} needs {role}" for capability, role in sorted(rules.roles.items()))
            detail = f"allowed providers: {allowed}" + (f"; {roles}" if roles else "")
            audit.record_of_person(session, EventKind.RULES_CHANGED, by, detail)
        return rules

    async def check(self, person: str, provider_id: str, capabilities: Collection[str], roles: Collection[str]) -> None:
        """Refuse a connection that the person's organisation does not allow.

        Raises:
            NotAllowed: The provider is not allowed, or the person lacks a capability's role.
        """
        rules = await self.of(organisation(person))
        if not provider_allowed(rules, provider_id):
            raise NotAllowed(f"your organisation does not allow accounts of {provider_id}")
        for capability in capabilities:
            role = rules.roles.get(capability)
            if role is not None and role not in roles:
                raise NotAllowed(f"your organisation allows accounts for {capability} only to the role {role}")

    async def connections(self, name: str, *, after: str = "") -> ConnectionList:
        """Return who in an organisation is connected to what, by account id."""
        query = (
            select(Account)
            .where(Account.organisation == name, col(Account.account_id) > after)
            .order_by(col(Account.account_id))
            .limit(MOST_CONNECTIONS + 1)
        )
        async with self._store.read() as session:
            found = list((await session.exec(query)).all())
        shown = [
            ConnectionInfo(
                person=one.person,
                account_id=one.account_id,
                provider=one.provider,
                provider_id=one.provider_id,
                capabilities=one.capabilities,
                state=AccountState(one.state),
                connected_at=one.connected_at,
                last_used_at=one.last_used_at,
            )
            for one in found[:MOST_CONNECTIONS]
        ]
        return ConnectionList(
            connections=shown, next_after=shown[-1].account_id if len(found) > MOST_CONNECTIONS else None
        )


def provider_allowed(rules: OrganisationRules, provider_id: str) -> bool:
    """Whether an organisation allows a provider."""
    return rules.allowed_providers is None or provider_id in rules.allowed_providers
