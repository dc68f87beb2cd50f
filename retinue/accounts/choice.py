"""Which of a person's accounts is meant: the one rule for cards, steps and the accounts service. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from retinue.errors import Ambiguous, NotFound


class Choosable(Protocol):
    """An account, as far as the choice depends on it."""

    account_id: str
    name: str
    address: str
    default_for: list[str]


Chosen = TypeVar("Chosen", bound=Choosable)


def choose(accounts: Sequence[Chosen], named: str | None, capability: str) -> Chosen | None:
    """Return the named account; else the only one, or the default one. None if the person has none and names none.

    Args:
        accounts: Those of the person that may be used for the capability.
        named: An id, a name, or an address.
        capability: For which it is used.

    Raises:
        NotFound: There is no such account; the message names those that there are.
        Ambiguous: There are several, and none is the default.
    """
    if named is not None:
        return _named(accounts, named, capability)
    if len(accounts) < 2:
        return accounts[0] if accounts else None
    if found := next((one for one in accounts if capability in one.default_for), None):
        return found
    raise Ambiguous(f"which account is meant? There are: {_names(accounts)}")


def _named(accounts: Sequence[Chosen], wanted: str, capability: str) -> Chosen:
    found = [one for one in accounts if wanted == one.account_id or wanted.casefold() == one.name.casefold()]
    found = found or [one for one in accounts if one.address and wanted.casefold() == one.address.casefold()]
    if len(found) != 1:
        raise NotFound(f"you have no account {wanted[:60]!r} for {capability}; you have: {_names(accounts) or 'none'}")
    return found[0]


def _names(accounts: Sequence[Choosable]) -> str:
    return ", ".join(one.name for one in accounts)
