"""Keys of sealed secrets: which accounts lost theirs, and how all are sealed under a new one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import col, func, select

from accounts.sealing import Sealer, Unreadable
from accounts.storage.tables import Account
from retinue.store import Store

_BATCH = 100


async def accounts_without_key(store: Store, sealer: Sealer) -> Sequence[Account]:
    """Return the accounts whose key is missing, by person."""
    async with store.read() as session:
        found = (await session.exec(select(Account).order_by(col(Account.person), col(Account.name)))).all()
    return [one for one in found if not sealer.readable(one.sealed)]


async def any_sealed(store: Store) -> bool:
    """Whether there is any sealed secret."""
    async with store.read() as session:
        return bool((await session.exec(select(func.count()).select_from(Account))).one())


async def reseal(store: Store, sealer: Sealer) -> tuple[int, int]:
    """Seal all secrets under the first key, a hundred in a transaction.

    Returns:
        How many were sealed again, and how many cannot be read.
    """
    done = lost = 0
    after = ""
    while True:
        async with store.write() as session:
            query = (
                select(Account).where(col(Account.account_id) > after).order_by(col(Account.account_id)).limit(_BATCH)
            )
            found = (await session.exec(query)).all()
            for account in found:
                if sealer.is_current(account.sealed):
                    continue
                bound = {"person": account.person, "account_id": account.account_id}
                try:
                    account.sealed = sealer.seal(sealer.open(account.sealed, **bound), **bound)
                except Unreadable:
                    lost += 1
                else:
                    done += 1
                    session.add(account)
        if len(found) < _BATCH:
            return done, lost
        after = found[-1].account_id
