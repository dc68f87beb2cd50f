"""Personal API keys: 256 random bits each, of which the table holds the hash.

A key says who its person is, and may narrow what they may do. What they may at most is looked up anew at each use: for
people of an identity provider it is what their latest token said.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from api.auth.principals import Permission, Person, Role
from api.storage.tables import API_KEYS, PEOPLE
from retinue.errors import Conflict, NotFound
from retinue.store import Store

PREFIX = "rtn_"
LASTS, LONGEST = timedelta(days=90), timedelta(days=366)
MOST = 50
"""Keys of one person."""
_SHOWN = len(PREFIX) + 6
_COARSE = timedelta(hours=1)
"""How exactly the last use is noted."""


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret. `scopes` is None where it may do all that its person may."""

    id: str
    name: str
    prefix: str
    scopes: frozenset[Permission] | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True)
class KeyOwner:
    """Whose a key is that somebody brought along."""

    name: str
    tenant: str
    key: ApiKey


class ApiKeys:
    """The table of keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(
        self, person: Person, name: str, scopes: frozenset[Permission] | None, expires_at: datetime
    ) -> tuple[ApiKey, str]:
        """Make a key; gives it and its secret, which is kept nowhere.

        Raises:
            Conflict: They have `MOST` already.
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        made = ApiKey(f"k-{secrets.token_hex(8)}", name, secret[:_SHOWN], scopes, datetime.now(UTC), expires_at)
        row = {
            "id": made.id,
            "owner": person.owner,
            "person": person.name,
            "tenant": person.tenant,
            "name": name,
            "prefix": made.prefix,
            "digest": _digest(secret),
            "scopes": None if scopes is None else " ".join(sorted(scopes)),
            "created_at": made.created_at,
            "expires_at": expires_at,
        }
        count = select(func.count()).where(API_KEYS.c.owner == person.owner)
        async with self._store.write() as session:
            connection = await session.connection()
            if (await connection.execute(count)).scalar_one() >= MOST:
                raise Conflict(f"you have {MOST} keys", hint="revoke one that you no longer use")
            await connection.execute(insert(API_KEYS).values(row))
        return made, secret

    async def of(self, person: Person) -> list[ApiKey]:
        """Somebody's keys, newest first, expired ones too."""
        query = select(API_KEYS).where(API_KEYS.c.owner == person.owner).order_by(API_KEYS.c.created_at.desc())
        async with self._store.read() as session:
            return [_key(row) for row in (await (await session.connection()).execute(query)).all()]

    async def revoke(self, person: Person, key_id: str) -> None:
        """End a key at once.

        Raises:
            NotFound: They have none of that id.
        """
        gone = delete(API_KEYS).where(API_KEYS.c.id == key_id, API_KEYS.c.owner == person.owner)
        async with self._store.write() as session:
            if not (await (await session.connection()).execute(gone)).rowcount:
                raise NotFound("there is no such key")

    async def live(self, key_id: str, owner: str) -> ApiKey | None:
        """Somebody's key by its id; None where it is unknown, revoked or expired."""
        query = select(API_KEYS).where(
            API_KEYS.c.id == key_id, API_KEYS.c.owner == owner, API_KEYS.c.expires_at > datetime.now(UTC)
        )
        async with self._store.read() as session:
            row = (await (await session.connection()).execute(query)).one_or_none()
        return _key(row) if row else None

    async def held(self, secret: str) -> KeyOwner | None:
        """Whose key it is; None where it is unknown, revoked or expired."""
        now = datetime.now(UTC)
        query = select(API_KEYS).where(API_KEYS.c.digest == _digest(secret), API_KEYS.c.expires_at > now)
        async with self._store.read() as session:
            row = (await (await session.connection()).execute(query)).one_or_none()
        if row is None:
            return None
        if row.last_used_at is None or now - row.last_used_at > _COARSE:
            await self._used(row.id, now)
        return KeyOwner(row.person, row.tenant, _key(row))

    async def _used(self, key_id: str, now: datetime) -> None:
        unnoted = or_(API_KEYS.c.last_used_at.is_(None), API_KEYS.c.last_used_at < now - _COARSE)
        noted = update(API_KEYS).where(API_KEYS.c.id == key_id, unnoted).values(last_used_at=now)
        async with self._store.write() as session:
            await (await session.connection()).execute(noted)

    async def roles(self, owner: str) -> frozenset[Role] | None:
        """What somebody's latest token said; None where there never was one."""
        query = select(PEOPLE.c.roles).where(PEOPLE.c.owner == owner)
        async with self._store.read() as session:
            said: str | None = (await (await session.connection()).execute(query)).scalar_one_or_none()
        return None if said is None else frozenset(Role(role) for role in said.split())

    async def note_roles(self, person: Person) -> None:
        """Remember what somebody's token says about their roles, where that is news."""
        if await self.roles(person.owner) == person.roles:
            return
        row = {"roles": _words(person.roles), "seen_at": datetime.now(UTC)}
        changed = update(PEOPLE).where(PEOPLE.c.owner == person.owner).values(row)
        try:
            async with self._store.write() as session:
                connection = await session.connection()
                if not (await connection.execute(changed)).rowcount:
                    await connection.execute(insert(PEOPLE).values(owner=person.owner, **row))
        except IntegrityError:  # another request of theirs was first
            async with self._store.write() as session:
                await (await session.connection()).execute(changed)


def _key(row: Row[Any]) -> ApiKey:
    scopes = None if row.scopes is None else frozenset(Permission(scope) for scope in row.scopes.split())
    return ApiKey(row.id, row.name, row.prefix, scopes, row.created_at, row.expires_at, row.last_used_at)


def _words(values: Iterable[str]) -> str:
    return " ".join(sorted(values))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
