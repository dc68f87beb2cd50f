"""`Accounts` for tests of tools: it holds connections, and records what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from retinue.accounts.connection import AccountName, Connection
from retinue.errors import AccountDisconnected, NotFound
from retinue.temporal import person_header


@dataclass
class FakeAccounts:
    """Accounts of one person for one capability; the first one is the default.

    Args:
        connections: What the person has.
        disconnected: Names of accounts that must be connected again.
        after_rejection: Given where a connection of this name was rejected once; else it is disconnected.
    """

    connections: Sequence[Connection] = ()
    disconnected: set[str] = field(default_factory=set)
    after_rejection: dict[str, Connection] = field(default_factory=dict)
    default_for: tuple[str, ...] = ("calendar", "contacts", "email")
    asked: list[tuple[str | None, Connection | None]] = field(default_factory=list)

    async def names(self) -> list[AccountName]:
        told = [AccountName(**one.model_dump(include={"account_id", "name", "address"})) for one in self.connections]
        return [*(one.model_copy(update={"default_for": list(self.default_for)}) for one in told[:1]), *told[1:]]

    async def connection(self, *, account: str | None = None, rejected: Connection | None = None) -> Connection | None:
        self.asked.append((account, rejected))
        found = [one for one in self.connections if account in (None, one.name, one.account_id)]
        if not found:
            if account is None:
                return None
            names = ", ".join(one.name for one in self.connections)
            raise NotFound(f"there is no account {account!r}; there are: {names}")
        if found[0].name in self.disconnected or (rejected and found[0].name not in self.after_rejection):
            raise AccountDisconnected(f"{found[0].name} must be connected again", hint="/accounts")
        return self.after_rejection[found[0].name] if rejected else found[0]


@dataclass
class AccountsOfPeople:
    """Accounts of several people; those of the person of the running step are used."""

    people: dict[str, FakeAccounts] = field(default_factory=dict)

    async def names(self) -> list[AccountName]:
        return await self._mine().names()

    async def connection(self, *, account: str | None = None, rejected: Connection | None = None) -> Connection | None:
        return await self._mine().connection(account=account, rejected=rejected)

    def _mine(self) -> FakeAccounts:
        asked_by = person_header.current()
        assert asked_by is not None, "no step without a person asks for an account"
        return self.people.get(asked_by.person) or FakeAccounts()
